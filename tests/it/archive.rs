//! The archive: what was told once is known for ever, after a restart and past the vendor's own memory.

mod clients;
mod commands;
mod damage;
mod kill;
mod moving;
mod outages;
mod postgres;
mod stores;
mod upkeep;
pub(crate) mod watch;

use std::path::Path;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use weir::app::Start;
use weir::domain::time::DAY;

use crate::support::{DISTRIBUTION, METRIC, TestGateway};

/// A gateway with an archive in a file of its own.
fn archiving(dir: &Path) -> TestGateway {
    let url = format!("sqlite:{}", dir.join("weir.db").display());
    TestGateway::builder().config(|config| config.archive.url = url.into()).build()
}

/// Waits until all that was fetched is written.
async fn written(gateway: &TestGateway) {
    let writer = gateway.app().archive().expect("there is an archive");
    writer.finish(Duration::from_secs(3_600)).await;
    let standing = writer.standing();
    assert_eq!((standing.waiting, standing.lost), (0, 0), "{:?}", standing.failing);
}

/// The next process on the same archive, so many days later.
async fn days_later(gateway: &TestGateway, days: u32) -> TestGateway {
    written(gateway).await;
    let next = gateway.crash(Start::Free);
    next.clock().set(next.now() + DAY * days);
    // The vendors count the calls of the process before it.
    tokio::time::sleep(Duration::from_secs(2)).await;
    next
}

const MESSAGES: &str = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {between: {start: "2026-11-01T00:00:00Z", end: "2026-11-15T00:00:00Z"}}) { totalCount nodes { phoneNumber start end date sentCount deliveredCount deliveryRate finality fetchedAt source } } }"#;
const ONE_PHONE: &str = r#"{ phoneNumberMetrics(custSpaceId: "cams-beta", phoneNumbers: ["PHONE"], granularity: HALF_HOUR, range: {between: {start: "2026-11-10T00:00:00Z", end: "2026-11-12T00:00:00Z"}}) { totalCount nodes { phoneNumber start sentCount finality source } } }"#;
const USERS: &str = r#"{ operationDistributions(appIds: ["app-one"], dimension: PROVINCE, window: "P1D", range: {between: {start: "2026-11-01T00:00:00Z", end: "2026-11-15T00:00:00Z"}}) { start end date source finality fetchedAt data { distributionName value proportion } } }"#;
const TOTALS: &str = r#"{ phoneNumberMetricTotals(custSpaceIds: ["cams-alpha"], range: {between: {start: "2026-11-01T00:00:00Z", end: "2026-11-15T00:00:00Z"}}, by: [PHONE_NUMBER], period: WEEK, timeZone: "Asia/Shanghai") { phoneNumber start sentCount deliveredCount finality buckets } }"#;

/// An answer with its sources taken out, and each source that was in it once.
fn apart(mut answer: Value) -> (Value, Vec<String>) {
    fn take(value: &mut Value, sources: &mut Vec<String>) {
        match value {
            Value::Object(fields) => {
                if let Some(Value::String(source)) = fields.remove("source")
                    && !sources.contains(&source)
                {
                    sources.push(source);
                }
                fields.values_mut().for_each(|value| take(value, sources));
            }
            Value::Array(items) => items.iter_mut().for_each(|item| take(item, sources)),
            _ => {}
        }
    }
    let mut sources = Vec::new();
    take(&mut answer["data"], &mut sources);
    assert_eq!(answer.get("errors"), None, "{answer}");
    (answer["data"].take(), sources)
}

#[tokio::test(start_paused = true)]
async fn forty_five_days_later_the_same_questions_are_answered_without_a_call() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    let phone = TestGateway::start().data(r#"{ phoneNumberMetrics(custSpaceId: "cams-beta", range: {last: "P9D"}, first: 1) { nodes { phoneNumber } } }"#).await;
    let phone = phone["phoneNumberMetrics"]["nodes"][0]["phoneNumber"].as_str().unwrap();
    let one_phone = ONE_PHONE.replace("PHONE", phone);
    let mut before = Vec::new();
    for question in [MESSAGES, &one_phone, USERS, TOTALS] {
        before.push(apart(gateway.query(question).await).0);
    }
    assert!(before[0]["phoneNumberMetrics"]["totalCount"].as_u64().unwrap() > 0, "{}", before[0]);
    let calls = [METRIC, DISTRIBUTION].map(|operation| gateway.calls(operation));
    let next = days_later(&gateway, 45).await;
    for (question, before) in [MESSAGES, &one_phone, USERS].into_iter().zip(&before) {
        let (answer, sources) = apart(next.query(question).await);
        assert_eq!((&answer, sources), (before, vec!["ARCHIVE".to_owned()]), "{question}");
        let (answer, sources) = apart(next.query(question).await);
        assert_eq!((&answer, sources), (before, vec!["CACHE".to_owned()]), "memory has it by now");
    }
    assert_eq!(apart(next.query(TOTALS).await).0, before[3]);
    assert_eq!([METRIC, DISTRIBUTION].map(|operation| next.calls(operation)), calls, "no call");
    // Without the archive the vendor is asked, who has forgotten.
    let bare = TestGateway::start();
    bare.clock().set(bare.now() + DAY * 45);
    let answer = bare.query(USERS).await;
    assert_eq!(answer["errors"][0]["extensions"]["code"], json!("OUT_OF_RETENTION"), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn half_hours_are_dated_as_they_were_when_days_are_only_in_the_archive() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    // The edges of a day show the zone, long before the half hours and in another reply.
    let days = MESSAGES.replace("2026-11-15", "2026-11-04");
    assert!(!apart(gateway.query(&days).await).0["phoneNumberMetrics"]["nodes"].as_array().unwrap().is_empty());
    let half_hours = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", granularity: HALF_HOUR, range: {between: {start: "2026-11-10T00:00:00Z", end: "2026-11-11T00:00:00Z"}}) { nodes { phoneNumber start date sentCount } } }"#;
    let before = gateway.query(half_hours).await;
    let nodes = before["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    assert!(!nodes.is_empty() && nodes.iter().all(|node| node["date"].is_string()), "{before}");
    let calls = gateway.calls(METRIC);
    let next = days_later(&gateway, 45).await;
    assert_eq!(next.query(half_hours).await["data"], before["data"]);
    // One number of the channel is dated by its own days.
    let phone = nodes[0]["phoneNumber"].as_str().unwrap();
    let one = half_hours.replace("granularity", &format!("phoneNumbers: [\"{phone}\"], granularity"));
    let last = days_later(&next, 1).await;
    let answer = last.query(&one).await;
    let own: Vec<&Value> = nodes.iter().filter(|node| node["phoneNumber"] == phone).collect();
    assert_eq!(answer["data"]["phoneNumberMetrics"]["nodes"], json!(own));
    assert_eq!(last.calls(METRIC), calls, "no call");
}

#[tokio::test(start_paused = true)]
async fn only_what_is_final_is_kept_of_what_is_asked() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    gateway.data(r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {between: {start: "2026-11-18T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { totalCount } }"#).await;
    written(&gateway).await;
    let file = rusqlite::Connection::open(dir.path().join("weir.db")).unwrap();
    let one = |sql: &str| file.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(one("SELECT group_concat(DISTINCT finality) FROM phone_number_metrics"), "FINAL");
    assert_eq!(
        one(
            "SELECT group_concat(finality || ' ' || start_time, ', ') FROM (SELECT * FROM collected ORDER BY start_time)"
        ),
        "FINAL 2026-11-18 00:00:00.000000, FINAL 2026-11-19 00:00:00.000000"
    );
    assert_eq!(
        one("SELECT sum(row_count) || '' FROM collected"),
        one("SELECT count(*) || '' FROM phone_number_metrics")
    );
}

#[tokio::test(start_paused = true)]
async fn bounds_go_back_as_far_as_the_archive_does() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    let days = |start: &str, end: &str| {
        format!(
            r#"{{ operationDistributions(appIds: ["app-one"], window: "P1D", range: {{between: {{start: "{start}T16:00:00Z", end: "{end}T16:00:00Z"}}}}) {{ start data {{ distributionName value }} }} }}"#
        )
    };
    let mut users: Vec<Value> = Vec::new();
    users.extend(
        gateway.data(&days("2026-10-25", "2026-11-20")).await["operationDistributions"].as_array().unwrap().clone(),
    );
    let next = days_later(&gateway, 27).await;
    users.extend(
        next.data(&days("2026-11-20", "2026-12-17")).await["operationDistributions"].as_array().unwrap().clone(),
    );
    let next = days_later(&next, 27).await;
    users.extend(
        next.data(&days("2026-12-17", "2027-01-13")).await["operationDistributions"].as_array().unwrap().clone(),
    );
    let next = days_later(&next, 3).await;
    let before = next.calls(DISTRIBUTION);
    let bounds = next.data(r#"{ operationDistributionBounds(appId: "app-one", range: {between: {start: "2026-10-25T16:00:00Z", end: "2027-01-13T16:00:00Z"}}) { windows data { distributionName atLeast atMost } } }"#).await;
    let bounds = &bounds["operationDistributionBounds"];
    let shanghai =
        |values: &Value| values.as_array().unwrap().iter().find(|place| place["distributionName"] == "上海").cloned();
    let own: Vec<f64> = users.iter().filter_map(|window| shanghai(&window["data"])?["value"].as_f64()).collect();
    assert_eq!(users.len(), 80);
    let place = shanghai(&bounds["data"]).unwrap();
    // Days that the vendor has forgotten are the archive's; the others are weeks, which bound more tightly.
    let at_most = place["atMost"].as_f64().unwrap();
    assert!(at_most <= own.iter().sum::<f64>() && at_most > own.iter().sum::<f64>() / 2.0, "{place} {own:?}");
    assert!(place["atLeast"].as_f64().unwrap() >= own.iter().copied().fold(0.0, f64::max));
    let calls = next.calls(DISTRIBUTION) - before;
    assert_eq!(calls, 4, "the vendor's own thirty days in as few windows as it answers: {bounds}");
}

#[tokio::test(start_paused = true)]
async fn only_what_memory_lacks_is_read() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    gateway.data(MESSAGES).await;
    let next = days_later(&gateway, 1).await;
    let middle = MESSAGES.replace("2026-11-01T00", "2026-11-06T00").replace("2026-11-15T00", "2026-11-08T00");
    assert_eq!(apart(next.query(&middle).await).1, ["ARCHIVE"]);
    let answer = next.data(MESSAGES).await;
    let nodes = answer["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    assert!(nodes.len() > 30);
    for node in nodes {
        let is_middle = ("2026-11-06".."2026-11-08").contains(&node["start"].as_str().unwrap());
        assert_eq!(node["source"], if is_middle { "CACHE" } else { "ARCHIVE" }, "{node}");
    }
}

#[tokio::test(start_paused = true)]
async fn rows_come_from_the_archive_and_say_so() {
    let dir = TempDir::new().unwrap();
    let gateway = archiving(dir.path());
    let paths = [
        "/rows/phone_number_metrics.json?cust_space_id=cams-alpha&start=2026-11-01T00:00:00Z&end=2026-11-15T00:00:00Z",
        "/rows/operation_distributions.json?app_id=app-one&start=2026-11-01T16:00:00Z&end=2026-11-15T16:00:00Z",
    ];
    let mut before = Vec::new();
    for path in paths {
        before.push(rows(&gateway, path).await);
    }
    assert!(before.iter().all(|(rows, sources)| rows.len() > 10 && sources == &["UPSTREAM"]), "{before:?}");
    let calls = [METRIC, DISTRIBUTION].map(|operation| gateway.calls(operation));
    let next = days_later(&gateway, 45).await;
    for (path, (before, _)) in paths.iter().zip(before) {
        assert_eq!(rows(&next, path).await, (before.clone(), vec!["ARCHIVE".to_owned()]), "{path}");
        assert_eq!(rows(&next, path).await, (before, vec!["CACHE".to_owned()]), "{path}");
    }
    assert_eq!([METRIC, DISTRIBUTION].map(|operation| next.calls(operation)), calls, "no call");
}

/// The rows at a path, without their sources, and each source that was in them once.
async fn rows(gateway: &TestGateway, path: &str) -> (Vec<Value>, Vec<String>) {
    let text = crate::collections::get(gateway, path, "application/json").await;
    let answer: Value = serde_json::from_str(&text).unwrap();
    let mut rows = answer["rows"].as_array().unwrap_or_else(|| panic!("{text}")).clone();
    let mut sources: Vec<String> = Vec::new();
    for row in &mut rows {
        let source = row.as_object_mut().unwrap().remove("source").unwrap().as_str().unwrap().to_owned();
        if !sources.contains(&source) {
            sources.push(source);
        }
    }
    (rows, sources)
}
