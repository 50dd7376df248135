use super::super::series::params;
use super::super::wire::{Envelope, OK, channel_params};
use super::*;
use crate::domain::Window;

fn subject(granularity: Granularity, phone: Option<&str>) -> MetricSubject {
    MetricSubject {
        account: Account::new(Vendor::AlibabaCams, "retail", "host", "owner"),
        channel: Some(ChannelId::new("cams-alpha")),
        granularity,
        phone: phone.and_then(PhoneNumber::parse),
    }
}

fn daily() -> MetricSubject {
    subject(Granularity::Daily, None)
}

fn rows_of(body: &str, asked: &MetricSubject) -> Result<Vec<PhoneNumberPoint>, &'static str> {
    let envelope: Envelope<'_> = serde_json::from_str(body).unwrap();
    metric_rows(envelope.data, asked).map(Option::unwrap_or_default)
}

/// A reply with these rows.
fn reply(rows: &[&str]) -> String {
    format!(r#"{{"Code":"OK","Data":[{}]}}"#, rows.join(","))
}

/// A row of one UTC day, counted from the epoch, with more fields in front.
fn day(more: &str, day: i64) -> String {
    let (start, end) = (day * 86_400_000, (day + 1) * 86_400_000);
    format!(
        r#"{{{more}"PhoneNumber":"1","Granularity":"DAILY","Start":{start},"End":{end},"SentCount":10,"DeliveredCount":5}}"#
    )
}

#[test]
fn the_samples_of_the_vendors_pages_parse() {
    for (body, request_id) in [
        (include_str!("../../../../tests/data/alibaba_cams_metrics.json"), "608F9CCA-B5EB-3D72-8047-B25D6D75BDEC\n"),
        (include_str!("../../../../tests/data/alibaba_cams_metrics_2024.json"), "1612C226-E271-4CFE-9F18-4066D******"),
    ] {
        let envelope: Envelope<'_> = serde_json::from_str(body).unwrap();
        assert_eq!((envelope.code.as_deref(), envelope.request_id()), (Some(OK), Some(request_id)));
        let start = Timestamp::from_ms(1_669_619_491_000);
        let expected = PhoneNumberPoint {
            phone: PhoneNumber::parse("861380000").unwrap(),
            start,
            end: start + Granularity::Daily.step(), // the sample's own end lies before its start
            sent: MessageCount::new(10).unwrap(),
            delivered: MessageCount::new(5).unwrap(),
            finality: Finality::Provisional,
        };
        assert_eq!(metric_rows(envelope.data, &daily()).unwrap().unwrap(), [expected]);
    }
    let enabled: Envelope<'_> =
        serde_json::from_str(include_str!("../../../../tests/data/alibaba_cams_enable.json")).unwrap();
    assert_eq!((enabled.code.as_deref(), enabled.data.is_none()), (Some(OK), true));
}

#[test]
fn sloppy_replies_say_the_same() {
    let expected = rows_of(&reply(&[&day("", 1)]), &daily()).unwrap();
    assert_eq!(expected.len(), 1);
    for row in [
        day(r#""Unknown":{"deep":[1]},"#, 1),
        day("", 1).replace("86400000", "\"86400000\"").replace("10", "\" 10 \""),
        day("", 1).replace(r#""Granularity":"DAILY","#, ""),
        day("", 1).replace(r#""DAILY""#, "null"),
        day("", 1).replace("DAILY", "daily"),
        day("", 1).replace(r#""1""#, r#""+1""#),
        format!("{},{}", day("", 1), day("", 1)),
    ] {
        assert_eq!(rows_of(&reply(&[&row]), &daily()).unwrap(), expected, "{row}");
    }
    for empty in [
        r#"{"Code":"OK"}"#,
        r#"{"Code":"OK","Data":null}"#,
        r#"{"Code":"OK","Data":[],"AccessDeniedDetail":{"AuthAction":"x"},"More":1}"#,
    ] {
        assert_eq!(rows_of(empty, &daily()).unwrap(), [], "{empty}");
    }
}

#[test]
fn rows_come_ordered_by_phone_then_start() {
    let other = day("", 1).replace(r#""1""#, r#""0""#);
    let rows = rows_of(&reply(&[&day("", 2), &day("", 1), &other]), &daily()).unwrap();
    let order: Vec<_> = rows.iter().map(|row| (row.phone.expose(), row.start.as_ms() / 86_400_000)).collect();
    assert_eq!(order, [("0", 1), ("1", 1), ("1", 2)]);
}

#[test]
fn rows_that_make_no_sense_make_the_reply_a_bad_one() {
    let (good, hour) = (day("", 1), 3_600_000);
    let ending = |end: i64| good.replace("172800000", &end.to_string());
    assert!(rows_of(&reply(&[&ending(86_400_000 + 25 * hour)]), &daily()).is_ok(), "a day of 25 hours");
    for (why, rows) in [
        ("a null row", vec!["null".to_owned()]),
        ("not a row", vec!["1".to_owned()]),
        ("no phone", vec![good.replace("PhoneNumber", "Phone")]),
        ("a phone without digits", vec![good.replace(r#""1""#, r#""None""#)]),
        ("no count", vec![good.replace("SentCount", "Sent")]),
        ("a count in words", vec![good.replace("10", r#""ten""#)]),
        ("a broken count", vec![good.replace("10", "10.5")]),
        ("a negative count", vec![good.replace("10", "-1")]),
        ("a negative delivery", vec![good.replace(":5", ":\"-5\"")]),
        ("another granularity", vec![good.replace("DAILY", "HALF_HOUR")]),
        ("a bucket too long", vec![ending(86_400_000 + 25 * hour + 1)]),
        ("unequal duplicates", vec![good.clone(), good.replace("10", "11")]),
        ("overlapping buckets", vec![ending(86_400_000 + 25 * hour), day("", 2)]),
    ] {
        let rows: Vec<_> = rows.iter().map(String::as_str).collect();
        assert!(rows_of(&reply(&rows), &daily()).is_err(), "{why}");
    }
    let half_hour = subject(Granularity::HalfHour, None);
    let row = |end: i64| good.replace("DAILY", "HALF_HOUR").replace("172800000", &(86_400_000 + end).to_string());
    assert!(rows_of(&reply(&[&row(1_800_000)]), &half_hour).is_ok());
    assert!(rows_of(&reply(&[&row(1_800_001)]), &half_hour).is_err());
    assert!(rows_of(r#"{"Data":"None"}"#, &daily()).is_err());
}

#[test]
fn a_reply_for_one_phone_holds_no_other() {
    assert!(rows_of(&reply(&[&day("", 1)]), &subject(Granularity::Daily, Some("1"))).is_ok());
    assert!(rows_of(&reply(&[&day("", 1)]), &subject(Granularity::Daily, Some("2"))).is_err());
}

#[test]
fn no_reason_repeats_a_phone_or_a_number() {
    let row = day("", 1).replace(r#""1""#, r#""8613800001234""#);
    for bad in
        [row.replace("10", r#""x8613800001234""#), row.replace("10", "-1"), row.replace("DAILY", "8613800001234")]
    {
        assert!(!rows_of(&reply(&[&bad]), &daily()).unwrap_err().contains(char::is_numeric));
    }
}

#[test]
fn parameters_are_spelled_as_the_vendor_spells_them() {
    let span = Window::new(Timestamp::from_ms(5), Timestamp::from_ms(7)).unwrap();
    let mut params = params::<PhoneNumbers>(&subject(Granularity::HalfHour, Some("+86 138")), span, Some("isv"));
    params.sort();
    let expected = [
        ("CustSpaceId", "cams-alpha"),
        ("End", "7"),
        ("Granularity", "HALF_HOUR"),
        ("IsvCode", "isv"),
        ("PhoneNumber", "86138"),
        ("Start", "5"),
    ];
    assert_eq!(params, expected.map(|(name, value)| (name, value.to_owned())));
    assert_eq!(channel_params(None, None), []);
}
