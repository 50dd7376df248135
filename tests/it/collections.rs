//! Every door tells what is collected, how far that is, and how it is written; and nobody who does not ask.

use std::path::Path;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tower::ServiceExt;
use weir::app::Start;
use weir::config::watch::{Watch, Watched};
use weir::domain::time::{DAY, HOUR, MINUTE};
use weir::sim::{Fault, Scope, Times};

use crate::archive;
use crate::archive::watch::begin;
use crate::rows::door;
use crate::support::log::Log;
use crate::support::{DISTRIBUTION, METRIC, TestGateway};

const ALL: &str = "{ collections { dataset account custSpaceId appId granularity dimension window windows final provisional \
                   due missing oldest lateBy nextRun lastRun isCollector problem } }";

fn watch(dataset: Watched, since: u32) -> Watch {
    Watch { since: since * DAY, ..archive::watch::watch(dataset, 30 * MINUTE) }
}

/// A gateway that watches one channel over ten days and one application over forty.
fn watching(dir: &Path) -> TestGateway {
    let url = format!("sqlite:{}", dir.join("weir.db").display());
    TestGateway::builder()
        .config(|config| {
            config.archive.url = url.into();
            config.watch = vec![watch(Watched::OperationDistributions, 40), watch(Watched::PhoneNumberMetrics, 10)];
            config.alibaba_cams[0].channels = vec!["cams-alpha".to_owned()];
            config.alibaba_cams[0].templates = Vec::new();
            config.volcengine_rtc[0].apps = vec!["app-one".to_owned()];
        })
        .build()
}

async fn collections(gateway: &TestGateway) -> Vec<Value> {
    gateway.data(ALL).await["collections"].as_array().unwrap().clone()
}

pub(crate) async fn get(gateway: &TestGateway, path: &str, accept: &str) -> String {
    let request = Request::get(path).header("host", "localhost").header("accept", accept).body(Body::empty());
    let response = door(gateway).oneshot(request.unwrap()).await.unwrap();
    assert_eq!(response.status(), 200, "{path}");
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

async fn list(gateway: &TestGateway) -> Value {
    serde_json::from_str(&get(gateway, "/rows", "application/json").await).unwrap()
}

/// A number of `/metrics`, of the series that the labels name.
fn metric(text: &str, name: &str, labels: &[&str]) -> f64 {
    let is_it = |line: &&str| {
        line.strip_prefix(name).is_some_and(|rest| rest.starts_with(['{', ' ']))
            && labels.iter().all(|label| line.contains(label))
    };
    let line = text.lines().find(is_it).unwrap_or_else(|| panic!("{name} {labels:?}: {text}"));
    line.rsplit(' ').next().unwrap().parse().unwrap()
}

fn lines<'a>(log: &'a str, words: &str) -> Vec<&'a str> {
    log.lines().filter(|line| line.contains(words)).collect()
}

#[tokio::test(start_paused = true)]
async fn without_an_archive_there_is_nothing_to_tell() {
    let gateway = TestGateway::start();
    assert_eq!(gateway.data(ALL).await, json!({ "collections": [] }));
    let list = list(&gateway).await;
    assert_eq!((&list["collections"], &list["archive"]), (&json!([]), &Value::Null));
    let metrics = get(&gateway, "/metrics", "*/*").await;
    assert!(!metrics.contains("weir_archive") && !metrics.contains("weir_collection"), "{metrics}");
}

#[tokio::test(start_paused = true)]
async fn what_is_configured_is_told_before_it_is_looked_at() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path());
    let told = collections(&gateway).await;
    let zeros = json!({
        "windows": 0, "final": 0, "provisional": 0, "due": 0, "missing": 0, "oldest": null, "lateBy": null,
        "nextRun": null, "lastRun": null, "isCollector": false, "problem": null,
    });
    let names = [
        json!({ "dataset": "phone_number_metrics", "account": "retail", "custSpaceId": "cams-alpha", "appId": null,
                "granularity": "DAILY", "dimension": null, "window": null }),
        json!({ "dataset": "operation_distributions", "account": "calls", "custSpaceId": null, "appId": "app-one",
                "granularity": null, "dimension": "PROVINCE", "window": "P1D" }),
    ];
    for (told, name) in told.iter().zip(names) {
        let mut expected = name.as_object().unwrap().clone();
        expected.extend(zeros.as_object().unwrap().clone());
        assert_eq!(told.as_object().unwrap(), &expected);
    }
    assert_eq!(told.len(), 2);
    assert_eq!(gateway.calls(METRIC) + gateway.calls(DISTRIBUTION), 0, "it costs no call");
}

#[tokio::test(start_paused = true)]
async fn every_door_tells_the_same_of_what_is_collected() {
    let dir = TempDir::new().unwrap();
    let (log, _guard) = Log::of_thread();
    let gateway = watching(dir.path());
    let watch = begin(&gateway);
    sleep(2 * MINUTE).await;
    let told = collections(&gateway).await;
    let [messages, users] = &told[..] else { panic!("{told:?}") };
    // Each day that has begun; the last ones may change.
    assert_eq!((&messages["windows"], &messages["due"], &messages["missing"]), (&json!(10), &json!(0), &json!(0)));
    assert_eq!((&messages["final"], &messages["provisional"]), (&json!(7), &json!(3)));
    assert_eq!(messages["oldest"], "2026-11-13T00:00:00Z");
    // 40 days back, of which the vendor has 29 whole ones and a part of the 30th.
    assert_eq!((&users["windows"], &users["final"], &users["missing"]), (&json!(29), &json!(29), &json!(0)));
    for one in &told {
        assert_eq!((&one["isCollector"], &one["problem"], &one["lateBy"]), (&json!(true), &Value::Null, &Value::Null));
        let next = one["nextRun"].as_str().unwrap();
        let now = gateway.now();
        let soon = [now, now + HOUR].map(|at| at.to_string());
        assert!(*next > *soon[0] && *next <= *soon[1], "{one} at {now}");
        assert!(one["lastRun"].as_str().unwrap() <= now.to_string().as_str(), "{one}");
    }
    assert_eq!(list(&gateway).await["collections"], json!(told), "the list tells the same");

    let standing = gateway.app().archive().unwrap().standing();
    assert!(standing.rows > 0 && standing.slices >= 39, "{standing:?}");
    assert_eq!(
        list(&gateway).await["archive"],
        json!({ "waiting": 0, "slices": standing.slices, "rows": standing.rows, "lost": 0, "restated": 0, "failing": null })
    );
    let metrics = get(&gateway, "/metrics", "*/*").await;
    for (name, value) in [
        ("weir_archive_rows_waiting", 0),
        ("weir_archive_rows_written_total", standing.rows),
        ("weir_archive_slices_written_total", standing.slices),
        ("weir_archive_slices_lost_total", 0),
        ("weir_archive_restated_total", 0),
        ("weir_archive_failing", 0),
    ] {
        assert_eq!(metric(&metrics, name, &[]).to_string(), value.to_string(), "{name}");
    }
    let labels = |one: &Value| {
        let [entity, kind] = if one["appId"].is_null() {
            [&one["custSpaceId"], &one["granularity"]].map(|text| text.as_str().unwrap().to_owned())
        } else {
            ["app-one".to_owned(), "PROVINCE/P1D".to_owned()]
        };
        [("dataset", text(one, "dataset")), ("account", text(one, "account")), ("entity", entity), ("kind", kind)]
            .map(|(name, value)| format!("{name}=\"{value}\""))
    };
    for one in &told {
        let labels = labels(one);
        let labels: Vec<&str> = labels.iter().map(String::as_str).collect();
        for state in ["final", "provisional", "due", "missing"] {
            let own = format!("state=\"{state}\"");
            let with_state = [&labels[..], &[&own]].concat();
            let told = one[state].as_f64().unwrap();
            assert_eq!(metric(&metrics, "weir_collection_windows", &with_state).to_string(), told.to_string(), "{one}");
        }
        assert!(metric(&metrics, "weir_collection_late_seconds", &labels).abs() < f64::EPSILON);
        assert!((metric(&metrics, "weir_collection_is_collector", &labels) - 1.0).abs() < f64::EPSILON);
    }
    let document = include_str!("../../docs/operations/metrics.md");
    let names = metrics.lines().filter_map(|line| line.strip_prefix("# HELP ")?.split(' ').next());
    for name in names {
        assert!(document.contains(&format!("`{name}`")), "docs/operations/metrics.md does not tell of {name}");
    }
    for phone in gateway.sim().world().phones("cams-alpha") {
        assert!(!metrics.contains(phone.as_str()), "a phone number in a label");
    }

    sleep(6 * HOUR).await;
    let log = log.text();
    let filled = lines(&log, "the series is filled");
    assert_eq!(filled.len(), 2, "once each: {filled:?}");
    assert!(filled.iter().all(|line| line.contains(" INFO ") && line.contains("kept=")), "{filled:?}");
    assert!(filled.iter().any(|line| line.contains("entity=\"app-one\" kind=PROVINCE/P1D")), "{filled:?}");
    assert_eq!(lines(&log, "forgot windows"), Vec::<&str>::new(), "what was never there is not lost");
    watch.abort();
}

fn text(value: &Value, name: &str) -> String {
    value[name].as_str().unwrap().to_owned()
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_fails_is_told_with_how_late_the_windows_are() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path());
    gateway.sim().faults().push(Fault::PermissionDenied, Scope::operation(DISTRIBUTION), Times::ForEver);
    let watch = begin(&gateway);
    sleep(50 * MINUTE).await;
    let told = collections(&gateway).await;
    assert_eq!((&told[0]["problem"], &told[0]["due"]), (&Value::Null, &json!(0)), "the other vendor's are collected");
    let users = &told[1];
    assert_eq!((&users["problem"], &users["final"]), (&json!("VENDOR_DENIED"), &json!(0)));
    assert!(users["due"].as_u64().unwrap() >= 29, "{users}");
    let late = users["lateBy"].as_str().unwrap();
    assert!(late.starts_with("P28D") || late.starts_with("P29D"), "{late}");
    assert!(*text(users, "nextRun") > *gateway.now().to_string(), "it is left alone for a while: {users}");
    let metrics = get(&gateway, "/metrics", "*/*").await;
    let late = metric(&metrics, "weir_collection_late_seconds", &["entity=\"app-one\""]);
    assert!(late > 28.0 * 86_400.0, "{late}");
    gateway.sim().faults().clear();
    sleep(35 * MINUTE).await;
    let told = collections(&gateway).await;
    assert_eq!((&told[1]["problem"], &told[1]["due"], &told[1]["lateBy"]), (&Value::Null, &json!(0), &Value::Null));
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_while_nobody_collected_is_warned_of_once() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path());
    let watch = begin(&gateway);
    sleep(2 * MINUTE).await;
    watch.abort();
    drop(watch.await);
    gateway.app().archive().unwrap().finish(HOUR).await;
    let next = gateway.crash(Start::Free);
    // With the process its hold on the archive goes.
    drop(gateway);
    next.clock().set(next.now() + DAY * 35);
    sleep(Duration::from_secs(2)).await;
    let (log, _guard) = Log::of_thread();
    let watch = begin(&next);
    sleep(6 * HOUR).await;
    let told = collections(&next).await;
    let missing = told[1]["missing"].as_u64().unwrap();
    assert!((4..=6).contains(&missing), "{told:?}");
    let log = log.text();
    let warned = lines(&log, "forgot windows of the series");
    assert_eq!(warned.len(), 1, "{warned:?}");
    assert!(warned[0].contains(" WARN ") && warned[0].contains(&format!("missing={missing}")), "{warned:?}");
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn an_archive_that_cannot_be_written_is_told() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path());
    // Somebody has broken it.
    let file = rusqlite::Connection::open(dir.path().join("weir.db")).unwrap();
    file.execute_batch("DROP TABLE collected").unwrap();
    let watch = begin(&gateway);
    gateway.data(r#"{ phoneNumberMetrics(range: {last: "P3D"}) { totalCount } }"#).await;
    sleep(10 * MINUTE).await;
    let archive = list(&gateway).await["archive"].clone();
    assert!(archive["waiting"].as_u64().unwrap() > 0, "{archive}");
    let failing = archive["failing"].as_str().unwrap();
    assert!(!failing.contains(&dir.path().display().to_string()), "where it is, the log says: {failing}");
    let metrics = get(&gateway, "/metrics", "*/*").await;
    assert!((metric(&metrics, "weir_archive_failing", &[]) - 1.0).abs() < f64::EPSILON);
    assert!(metric(&metrics, "weir_archive_rows_waiting", &[]) > 0.0);
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn people_see_what_is_collected_on_the_page() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path());
    let page = get(&gateway, "/rows", "text/html").await;
    assert!(page.contains("id=\"collections\""), "{page}");
    let script = get(&gateway, "/rows/page.js", "*/*").await;
    let told = list(&gateway).await;
    for name in ["final", "provisional", "windows", "missing", "lateBy", "nextRun", "problem"] {
        assert!(script.contains(&format!("series.{name}")) && told["collections"][0].get(name).is_some(), "{name}");
    }
    for name in ["lost", "failing"] {
        assert!(script.contains(&format!("archive.{name}")) && told["archive"].get(name).is_some(), "{name}");
    }
}
