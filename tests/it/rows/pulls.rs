//! Long pulls: complete in time, in their class, with what is alike asked once.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use futures_util::future::join_all;
use http_body_util::BodyExt;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{door, frame, get, send};
use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes, window};
use weir::sim::DEMO_KEY;

fn twenty_apps() -> TestGateway {
    let apps = |config: &mut weir::config::Config| {
        config.volcengine_rtc[0].apps = (0..20).map(|n| format!("app-{n}")).collect();
    };
    TestGateway::builder().legs(20..80, 20..80).config(apps).build()
}

#[tokio::test(start_paused = true)]
async fn thirty_days_of_twenty_applications_come_through_a_read_timeout_of_100_s() {
    let gateway = twenty_apps();
    let site = door(&gateway);
    let began = Instant::now();
    let mut body = send(&site, Method::GET, "/rows/operation_distributions.csv?last=P29D", &[]).await.into_body();
    let (mut bytes, mut last, mut longest) = (Vec::new(), began, Duration::ZERO);
    while let Some(frame) = body.frame().await {
        bytes.extend_from_slice(&frame.unwrap().into_data().unwrap());
        longest = longest.max(last.elapsed());
        last = Instant::now();
    }
    assert!(longest < Duration::from_secs(10), "{longest:?} without a byte");
    let (calls, took) = (gateway.calls(DISTRIBUTION), began.elapsed());
    assert!((580..=620).contains(&calls), "{calls}: a call a window");
    assert!(took < Duration::from_secs(340), "{took:?} at two calls a second");
    assert!(gateway.sim().widest_second(DEMO_KEY.0, DISTRIBUTION) <= 2);
    let days = csv::Reader::from_reader(&bytes[..]).into_records().map(|row| {
        let row = row.unwrap();
        (row[1].to_owned(), row[4].to_owned())
    });
    let days: std::collections::BTreeSet<_> = days.collect();
    assert!(days.len() >= 580, "{} windows have rows", days.len());
}

#[tokio::test(start_paused = true)]
async fn equal_pulls_share_every_call() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let uris = ["csv", "json", "jsonl", "parquet", "csv"]
        .map(|format| format!("/rows/operation_distributions.{format}?last=P5D&app_id=app-one"));
    let all = join_all(uris.iter().map(|uri| get(&site, uri))).await;
    assert!(all.iter().all(|got| got.status == 200 && got.is_whole));
    assert!((5..=6).contains(&gateway.calls(DISTRIBUTION)), "{}", gateway.calls(DISTRIBUTION));
}

#[tokio::test(start_paused = true)]
async fn what_would_cost_too_much_or_wait_too_long_is_refused_before_anything_is_asked() {
    let gateway = TestGateway::builder().config(|config| config.limits.pull_calls = 10).build();
    let site = door(&gateway);
    for format in ["csv", "json", "jsonl", "parquet"] {
        let much = get(&site, &format!("/rows/operation_distributions.{format}?last=P20D")).await;
        assert_eq!((much.status, much.code().as_str()), (400, "TOO_EXPENSIVE"));
        assert_eq!(much.json()["limit"], json!(10));
        let late = get(&site, &format!("/rows/operation_distributions.{format}?last=P4D&max_wait=PT0.5S")).await;
        assert_eq!((late.status, late.code().as_str()), (503, "QUOTA_WAIT_TOO_LONG"), "{late:?}");
        let after: u64 = late.header("retry-after").parse().unwrap();
        assert!((1..10).contains(&after), "{after}");
    }
    assert_eq!(gateway.sim().arrivals().len(), 0);
    // A page takes what it needs, and no more than a pull may.
    let page = get(&site, "/rows/operation_distributions.json?last=P20D&limit=50").await;
    assert_eq!(page.status, 200, "{page:?}");
    assert!(gateway.calls(DISTRIBUTION) <= 10);
    let pages = get(&site, "/rows/operation_distributions.json?last=P20D&limit=100000").await;
    assert_eq!((pages.status, pages.code().as_str()), (400, "TOO_EXPENSIVE"));
}

/// What an error tells to do can be done at this door; where another door has another word for it, it says so.
#[tokio::test(start_paused = true)]
async fn errors_speak_the_words_of_this_door() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let controls = json!({ "priority": "BULK", "maxWait": "PT1H" });
    let before_it: Vec<_> =
        (0..40).map(|n| gateway.ask_with(&window("app-one", n), json!({}), controls.clone())).collect();
    let before_it: Vec<_> = before_it.into_iter().map(tokio::spawn).collect();
    sleep(Duration::from_secs(1)).await;
    for (asked, code, advice) in [
        ("last=P1D&app_id=app-two&max_wait=PT2S", "QUOTA_WAIT_TOO_LONG", "max_wait"),
        ("last=P1D&app_id=app-two&max_wait=PT0S", "QUOTA_WAIT_TOO_LONG", "max_wait"),
        ("last=P24D&app_id=app-two&window=PT6H&max_wait=PT4S", "QUOTA_WAIT_TOO_LONG", "max_wait"),
        ("start=2026-11-01T00:00:00Z&end=2026-11-20T00:00:00Z&window=P8D", "RANGE_TOO_LONG", "shorter windows"),
        ("last=P29D&window=PT0.001S", "BAD_USER_INPUT", "window"),
        ("start=2016-01-01T00:00:00Z&end=2026-11-20T00:00:00Z&window=PT1S", "TOO_EXPENSIVE", "longer windows"),
        ("app_id=nobody", "UNKNOWN_APPLICATION", "nobody"),
    ] {
        let got = get(&site, &format!("/rows/operation_distributions.json?{asked}")).await;
        assert_eq!(got.code(), code, "{asked}: {got:?}");
        let problem = got.json();
        let (here, _) = problem["detail"]
            .as_str()
            .unwrap()
            .split_once("in GraphQL")
            .unwrap_or((problem["detail"].as_str().unwrap(), ""));
        assert!(here.contains(advice), "{asked}: {problem}");
        for word in ["maxWait", "extensions", "appId", "operationDistributions", "field"] {
            assert!(!here.contains(word), "{asked}: {word} in {problem}");
        }
    }
    before_it.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_long_range_is_asked_for_in_pieces_that_a_request_may_have() {
    let few = TestGateway::builder().config(|config| config.limits.slices = 12).build();
    let (few, many) = (door(&few), door(&TestGateway::start()));
    let range = "start=2026-08-01T07:30:00Z&end=2026-10-20T00:00:00Z";
    let phones = get(&many, "/rows/phone_number_metrics.json?last=P7D&cust_space_id=cams-alpha").await.json();
    let phones: std::collections::BTreeSet<_> =
        phones["rows"].as_array().unwrap().iter().map(|row| row["phone_number"].as_str().unwrap().to_owned()).collect();
    assert!(phones.len() > 2);
    let phones: String = phones.iter().take(3).map(|phone| format!("&phone_number={phone}")).collect();
    for asked in ["phone_number_metrics.json?", "phone_number_totals.json?period=DAY&"] {
        for whose in ["cust_space_id=cams-alpha".to_owned(), format!("cust_space_id=cams-alpha{phones}")] {
            let path = format!("/rows/{asked}{range}&{whose}&columns=start_time,phone_number,sent_count");
            let (few, many) = (get(&few, &path).await, get(&many, &path).await);
            let rows = few.json()["rows"].clone();
            assert!(rows.as_array().is_some_and(|rows| rows.len() > 70), "{path}: {few:?}");
            assert_eq!(rows, many.json()["rows"], "{path}");
        }
    }
    let too_many: String = (10..23).map(|n| format!("&phone_number=+86138000000{n}")).collect();
    let refused =
        get(&few, &format!("/rows/phone_number_metrics.json?last=P2D&cust_space_id=cams-alpha{too_many}")).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "TOO_EXPENSIVE"), "{refused:?}");
}

#[tokio::test(start_paused = true)]
async fn rows_may_take_more_calls_than_a_graphql_request() {
    let gateway = twenty_apps();
    let site = door(&gateway);
    let got = get(&site, "/rows/operation_distributions.jsonl?last=P24D").await;
    assert!(got.status == 200 && got.is_whole);
    assert!(gateway.calls(DISTRIBUTION) > 400, "{}", gateway.calls(DISTRIBUTION));
    assert!(!frame("jsonl", &got, &BTreeMap::new()).is_empty());
}

#[tokio::test(start_paused = true)]
async fn forty_pulls_at_once_leave_interactive_queries_as_quick_as_before() {
    let query = |n: u32| {
        format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{between: {{start: \"2026-0{}-{:02}T00:00:00Z\", end: \"2026-0{}-{:02}T12:00:00Z\"}}}}) {{ totalCount }} }}",
            1 + n / 28,
            1 + n % 28,
            1 + n / 28,
            1 + n % 28,
        )
    };
    let p99 = async |gateway: &TestGateway| {
        let mut took = Vec::new();
        for n in 0..100 {
            let began = Instant::now();
            assert_eq!(codes(&gateway.query(&query(n)).await), Vec::<String>::new());
            took.push(began.elapsed());
            sleep(Duration::from_millis(u64::from(n) * 37 % 300)).await;
        }
        took.sort();
        took[98]
    };
    let unloaded = p99(&TestGateway::builder().legs(20..80, 20..80).build()).await;
    // Short replies, so that the pulls take many calls.
    let gateway = TestGateway::builder().legs(20..80, 20..80).config(|config| config.upstream.max_rows = 60).build();
    let site = door(&gateway);
    let pulls: Vec<_> = (0..40_u32)
        .map(|n| {
            let (site, days) = (site.clone(), 200 + n * 3);
            let uri = format!("/rows/measurements.csv?start=2025-01-{:02}T00:00:00Z&end=2025-03-20T00:00:00Z&cust_space_id=cams-beta&cust_space_id=cams-gamma&granularity=HALF_HOUR&max_wait=PT1H&columns=name,value", 1 + n % 28);
            let users = format!("/rows/operation_distributions.csv?last=P{}D&window=PT{}H&max_wait=PT1H", days % 20 + 2, [4, 6, 8, 12][n as usize % 4]);
            tokio::spawn(async move { get(&site, if n % 2 == 0 { &uri } else { &users }).await })
        })
        .collect();
    sleep(Duration::from_secs(3)).await;
    let loaded = p99(&gateway).await;
    let calls = (gateway.calls(DISTRIBUTION), gateway.calls(METRIC));
    assert!(calls.0 > 20 && calls.1 > 200, "{calls:?}: the pulls go on");
    assert!(loaded <= 2 * unloaded, "{loaded:?} beside 40 pulls, {unloaded:?} alone");
    for (operation, limit) in [(METRIC, 50), (DISTRIBUTION, 2)] {
        assert!(gateway.sim().widest_second(DEMO_KEY.0, operation) <= limit, "{operation}");
        assert_eq!(gateway.sim().throttled(operation), 0, "{operation}");
    }
    pulls.iter().for_each(tokio::task::JoinHandle::abort);
    // A window that nobody pulls waits for its turn alone.
    let began = Instant::now();
    assert_eq!(codes(&gateway.query(&window("app-two", 3)).await), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
}
