use super::super::operation_distributions::Dimension;
use super::*;
use crate::domain::{Account, AppId, Vendor};

fn subject(dimension: Dimension) -> DistributionSubject {
    let account = Account::new(Vendor::VolcengineRtc, "calls", "host", "owner");
    DistributionSubject { account, app: AppId::new("应用 \"a+b"), dimension }
}

fn shares_of(body: &str) -> Result<Vec<Share>, &'static str> {
    let envelope: Envelope<'_> = serde_json::from_str(body).unwrap();
    shares(envelope.result, &subject(Dimension::Province)).map(Option::unwrap_or_default)
}

/// A reply with these rows.
fn reply(rows: &[&str]) -> String {
    format!(
        r#"{{"ResponseMetadata":{{}},"Result":{{"Name":"user_num","Dimension":"province","Data":[{}]}}}}"#,
        rows.join(",")
    )
}

fn share(name: &str, users: f64, proportion: f64) -> Share {
    Share { name: name.to_owned(), users: DistinctUsers::new(users).unwrap(), proportion }
}

const ROW: &str = r#"{"DistributionName":"上海","Value":666,"Proportion":66.66}"#;

#[test]
fn the_sample_of_the_vendors_page_parses() {
    let body = include_str!("../../../../tests/data/volcengine_rtc_distribution.json");
    let envelope: Envelope<'_> = serde_json::from_str(body).unwrap();
    assert_eq!(envelope.request_id(), Some("Your_RequestId"));
    let expected = [share("上海", 666.0, 66.66), share("北京", 123.0, 12.31)];
    assert_eq!(shares(envelope.result, &subject(Dimension::Province)).unwrap().unwrap(), expected);
}

#[test]
fn sloppy_replies_say_the_same() {
    let good = reply(&[ROW]);
    for body in [
        good.replace("666", "666.00"),
        good.replace("666,", "\"666\","),
        good.replace("66.66", "\" 66.66 \""),
        good.replace(r#""Name":"user_num","#, ""),
        good.replace("user_num", "user_count"),
        good.replace(r#""Dimension":"province","#, r#""More":{"x":[]},"#),
        good.replace("province", "Province"),
        good.replace(r#""province""#, "null"),
        good.replace(ROW, &format!("{ROW},{ROW}")),
    ] {
        assert_eq!(shares_of(&body).unwrap(), [share("上海", 666.0, 66.66)], "{body}");
    }
    for result in ["{}", r#"{"Data":null}"#, r#"{"Data":[]}"#] {
        assert_eq!(shares_of(&format!(r#"{{"Result":{result}}}"#)).unwrap(), [], "{result}");
    }
}

#[test]
fn shares_come_by_users_descending_then_name() {
    let row = |name, users| format!(r#"{{"DistributionName":"{name}","Value":{users},"Proportion":1}}"#);
    let rows = [row("b", 1), row("c", 9), row("", 1), row("a", 1)];
    let found = shares_of(&reply(&rows.each_ref().map(String::as_str))).unwrap();
    assert_eq!(found.iter().map(|share| share.name.as_str()).collect::<Vec<_>>(), ["c", "", "a", "b"]);
}

#[test]
fn rows_that_make_no_sense_make_the_reply_a_bad_one() {
    for (why, body) in [
        ("no result", r#"{"ResponseMetadata":{}}"#.to_owned()),
        ("a null result", r#"{"Result":null}"#.to_owned()),
        ("a result that is none", r#"{"Result":[]}"#.to_owned()),
        ("a null row", reply(&["null"])),
        ("no name", reply(&[&ROW.replace("DistributionName", "Name")])),
        ("no value", reply(&[&ROW.replace("Value", "Number")])),
        ("a value in words", reply(&[&ROW.replace("666", r#""many""#)])),
        ("a value that is no number", reply(&[&ROW.replace("666", r#""NaN""#)])),
        ("a negative value", reply(&[&ROW.replace("666", "-1")])),
        ("a negative proportion", reply(&[&ROW.replace("66.66", "-0.5")])),
        ("no proportion", reply(&[&ROW.replace("Proportion", "Part")])),
        ("unequal duplicates", reply(&[ROW, &ROW.replace("666", "665")])),
        ("another dimension", reply(&[ROW]).replace("province", "country")),
        ("another indicator", reply(&[ROW]).replace("user_num", "minutes")),
    ] {
        assert!(shares_of(&body).is_err(), "{why}");
    }
}

#[test]
fn the_body_is_compact_json_in_the_vendors_spelling() {
    let start = Timestamp::parse_rfc3339("2021-07-24T00:00:00+08:00").unwrap();
    let window = Window::new(start, start + std::time::Duration::from_hours(48)).unwrap();
    let body = |dimension, version| distribution_body(&subject(dimension), window, version).unwrap();
    assert_eq!(
        body(Dimension::Province, "2020-12-01"),
        r#"{"AppId":"应用 \"a+b","StartTime":"2021-07-23T16:00:00Z","EndTime":"2021-07-25T16:00:00Z","Indicator":"user_num","Dimension":"province"}"#
    );
    let newer = body(Dimension::Country, "2023-11-01");
    assert!(newer.contains(r#""Indicator":"user_count","Dimension":"country""#), "{newer}");
}
