//! What is counted: each thing that happens once, under the labels that tell it from others.

use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::sleep;
use tower::ServiceExt;
use weir::app::Start;
use weir::domain::time::{HOUR, MINUTE};
use weir::http::Site;
use weir::sim::{Fault, Scope, Times};

use super::{Samples, samples};
use crate::rows::door;
use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes, window};

async fn post(site: &Site, body: impl Into<Body>) -> u16 {
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    site.clone().oneshot(request.body(body.into()).unwrap()).await.unwrap().status().as_u16()
}

async fn ask(site: &Site, query: &str) -> u16 {
    post(site, json!({ "query": query }).to_string()).await
}

async fn get(site: &Site, path: &str) -> u16 {
    let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    let status = response.status().as_u16();
    // To its last byte.
    drop(axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap());
    status
}

#[tokio::test(start_paused = true)]
async fn requests_are_counted_by_door_operation_and_outcome() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let query = window("app-one", 0);
    for _ in 0..4 {
        ask(&site, &query).await;
    }
    ask(&site, "query CallersOwnName { __schema { queryType { name } } __typename }").await;
    ask(&site, "{ quotas { operation } applications { appId } }").await;
    ask(&site, "{ a: quotas { operation } b: quotas { operation } }").await;
    ask(&site, "{ noSuchField }").await;
    post(&site, "no JSON").await;
    ask(&site, r#"{ operationDistribution(appId: "nobody", range: {last: "PT1H"}) { start } }"#).await;
    assert_eq!(get(&site, "/rows/operation_distributions.csv?app_id=app-one&last=P1D").await, 200);
    assert_eq!(get(&site, "/rows/operation_distributions.csv?app_id=nobody&last=P1D").await, 404);
    assert_eq!(get(&site, "/rows/operation_distributions.parquet?app_id=app-one&last=P1D").await, 200);
    assert_eq!(get(&site, "/rows/nothing.csv").await, 404);
    assert_eq!(get(&site, "/rows").await, 200);
    assert_eq!(get(&site, "/health/live").await, 200);
    assert_eq!(get(&site, "/schema.graphql").await, 200);
    assert_eq!(get(&site, "/wp-login.php").await, 404);
    let counted = Samples::of(&site).await;
    let requests = |door, operation, outcome| {
        counted.count("weir_requests_total", &[("door", door), ("operation", operation), ("outcome", outcome)])
    };
    assert_eq!(requests("graphql", "operationDistribution", "ok"), 4);
    assert_eq!(requests("graphql", "introspection", "ok"), 1);
    assert_eq!(requests("graphql", "several", "ok"), 1);
    assert_eq!(requests("graphql", "quotas", "ok"), 1);
    assert_eq!(requests("graphql", "none", "BAD_USER_INPUT"), 2, "what cannot be read asks for nothing");
    assert_eq!(requests("graphql", "operationDistribution", "UNKNOWN_APPLICATION"), 1);
    assert_eq!(requests("rows", "operation_distributions", "ok"), 2);
    assert_eq!(requests("rows", "operation_distributions", "UNKNOWN_APPLICATION"), 1);
    assert_eq!(requests("rows", "none", "BAD_USER_INPUT"), 1);
    assert_eq!(requests("rows", "none", "ok"), 1);
    assert_eq!(requests("health", "none", "ok"), 1);
    assert_eq!(requests("schema", "none", "ok"), 1);
    assert_eq!(requests("other", "none", "BAD_USER_INPUT"), 1);
    assert_eq!(counted.count("weir_requests_total", &[]), 18, "and no others");
    assert_eq!(counted.count("weir_request_duration_seconds_count", &[("door", "graphql")]), 10);
    assert!(!format!("{:?}", counted.0).contains("CallersOwnName"), "what callers choose is no label");
    // The first comes from the vendor, the second is let in, the third is kept: the fourth comes from its bytes.
    let kept = counted.count("weir_kept_answers_total", &[]);
    assert_eq!(kept, i64::from(gateway.gateway().fast_path().answer_bytes > 0));
    // Each gateway counts for itself.
    let other = TestGateway::start();
    assert_eq!(samples(&other).await.count("weir_requests_total", &[]), 0);
    let version = [("version", env!("CARGO_PKG_VERSION"))];
    assert_eq!(counted.count("weir_build_info", &version), 1);
    let start = counted.sum("process_start_time_seconds", &[]);
    assert!((start - 1_795_342_830.0).abs() < 1.0, "{start}");
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_is_counted_as_gone() {
    let gateway = TestGateway::builder().legs(1000..1001, 1000..1001).build();
    let site = door(&gateway);
    let (one, other) = (site.clone(), site.clone());
    let query = window("app-one", 0);
    let asking = tokio::spawn(async move { ask(&one, &query).await });
    let pulling = tokio::spawn(async move { get(&other, "/rows/phone_number_metrics.csv?last=P1D").await });
    sleep(Duration::from_millis(100)).await;
    asking.abort();
    pulling.abort();
    sleep(Duration::from_millis(100)).await;
    let counted = Samples::of(&site).await;
    for (door, operation) in [("graphql", "operationDistribution"), ("rows", "phone_number_metrics")] {
        let labels = [("door", door), ("operation", operation), ("outcome", "caller_went_away")];
        assert_eq!(counted.count("weir_requests_total", &labels), 1, "{door}");
    }
    // One that has begun to read.
    let many = "/rows/operation_distributions.csv?window=PT1H&last=P28D";
    let request = Request::get(many).header("host", "localhost").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    assert_eq!(response.status(), 200);
    drop(response);
    let labels = [("door", "rows"), ("operation", "operation_distributions"), ("outcome", "caller_went_away")];
    assert_eq!(Samples::of(&site).await.count("weir_requests_total", &labels), 1);
    // And one that fails on its way.
    gateway.sim().faults().push(Fault::NotSubscribed, Scope::operation(DISTRIBUTION), Times::ForEver);
    sleep(HOUR).await;
    let request = Request::get(many).header("host", "localhost").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    drop(axum::body::to_bytes(response.into_body(), usize::MAX).await);
    let labels = [("door", "rows"), ("operation", "operation_distributions"), ("outcome", "NOT_SUBSCRIBED")];
    assert_eq!(Samples::of(&site).await.count("weir_requests_total", &labels), 1);
}

#[tokio::test(start_paused = true)]
async fn calls_are_counted_by_how_they_ended_and_waits_by_class() {
    let gateway = TestGateway::builder().legs(50..51, 50..51).build();
    let site = door(&gateway);
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    assert_eq!(ask(&site, &window("app-one", 0)).await, 200);
    let rtc = [("vendor", "VOLCENGINE_RTC"), ("account", "calls"), ("operation", DISTRIBUTION)];
    let with = |more: (&'static str, &'static str)| [rtc[0], rtc[1], rtc[2], more];
    let counted = Samples::of(&site).await;
    assert_eq!(counted.count("weir_upstream_calls_total", &with(("outcome", "ok"))), 1);
    assert_eq!(counted.count("weir_upstream_calls_total", &with(("outcome", "throttled"))), 1);
    assert_eq!(counted.count("weir_upstream_call_duration_seconds_count", &rtc), 2);
    let took = counted.sum("weir_upstream_call_duration_seconds_sum", &rtc);
    assert!((took - 0.2).abs() < 0.01, "{took}");
    assert_eq!(counted.count("weir_throttles_total", &with(("cause", "stranger"))), 1, "one of two permits was out");
    assert_eq!(counted.count("weir_throttles_total", &with(("cause", "own"))), 0);
    assert_eq!(counted.count("weir_permit_wait_seconds_count", &with(("class", "interactive"))), 2);
    assert_eq!(counted.count("weir_permits_in_use", &rtc), 1, "it rests after its call");
    let idle = [("operation", METRIC)];
    assert_eq!(counted.count("weir_upstream_calls_total", &idle), 0, "there, and nothing yet");
    assert!(counted.find("weir_upstream_calls_total", &idle).next().is_some());

    // More than there are permits, from two classes.
    sleep(Duration::from_secs(30)).await;
    let bulk = json!({ "priority": "BULK" });
    let mut asking: Vec<_> = (1..6).map(|n| gateway.ask_with(&window("app-one", n), json!({}), json!({}))).collect();
    asking.extend((6..9).map(|n| gateway.ask_with(&window("app-one", n), json!({}), bulk.clone())));
    let asking = tokio::spawn(join_all(asking));
    sleep(Duration::from_millis(20)).await;
    let counted = Samples::of(&site).await;
    assert_eq!(counted.count("weir_permits_in_use", &rtc), 2);
    assert_eq!(counted.count("weir_queue_length", &with(("class", "bulk"))), 3);
    assert_eq!(counted.count("weir_queue_length", &with(("class", "interactive"))), 3);
    assert_eq!(counted.count("weir_quota_queued", &rtc), 6);
    let answers = asking.await.unwrap();
    assert!(answers.iter().all(|answer| codes(answer).is_empty()));
    let counted = Samples::of(&site).await;
    assert_eq!(counted.count("weir_permit_wait_seconds_count", &with(("class", "bulk"))), 3);
    assert!(counted.sum("weir_permit_wait_seconds_sum", &with(("class", "bulk"))) > 3.0, "they waited for rounds");
    assert_eq!(counted.count("weir_queue_length", &rtc), 0);

    // Both permits are out when the vendor refuses: nobody else is needed to explain it.
    sleep(Duration::from_secs(60)).await;
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(2));
    join_all((9..11).map(|n| gateway.ask(&window("app-one", n), json!({})))).await;
    let counted = Samples::of(&site).await;
    assert_eq!(counted.count("weir_throttles_total", &with(("cause", "own"))), 2);
}

#[tokio::test(start_paused = true)]
async fn a_breaker_that_is_open_is_told() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let open = async || Samples::of(&site).await.count("weir_breaker_open", &[("operation", DISTRIBUTION)]);
    assert_eq!(open().await, 0);
    gateway.sim().faults().push(Fault::Unavailable, Scope::operation(DISTRIBUTION), Times::Next(6));
    for n in 0..3 {
        gateway.query(&window("app-one", n)).await;
    }
    assert_eq!(open().await, 1);
    assert_eq!(Samples::of(&site).await.count("weir_breaker_open", &[("operation", METRIC)]), 0);
    sleep(MINUTE).await;
    assert_eq!(open().await, 1, "nobody has found out yet");
    gateway.query(&window("app-one", 5)).await;
    sleep(MINUTE).await;
    gateway.query(&window("app-one", 6)).await;
    assert_eq!(open().await, 0);
}

#[tokio::test(start_paused = true)]
async fn slices_are_counted_by_where_they_came_from() {
    let dir = TempDir::new().unwrap();
    let url = format!("sqlite:{}", dir.path().join("weir.db").display());
    let gateway = TestGateway::builder().legs(50..51, 50..51).config(|config| config.archive.url = url.into()).build();
    let slices = async |gateway: &TestGateway| {
        let counted = samples(gateway).await;
        let of = |source| counted.count("weir_slices_total", &[("operation", DISTRIBUTION), ("source", source)]);
        (["vendor", "joined", "memory", "archive"].map(of), counted)
    };
    assert_eq!(slices(&gateway).await.0, [0; 4]);
    let query = window("app-one", 0);
    join_all([gateway.query(&query), gateway.query(&query), gateway.query(&query)]).await;
    assert_eq!(slices(&gateway).await.0, [1, 2, 0, 0], "one call for three");
    gateway.query(&query).await;
    assert_eq!(slices(&gateway).await.0, [1, 2, 1, 0]);
    // What is not yet final is stale after its time, and is served while it is fetched again.
    let young = r#"{ operationDistribution(appId: "app-one", range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { source } }"#;
    gateway.query(young).await;
    sleep(6 * MINUTE).await;
    assert_eq!(gateway.query(young).await["data"]["operationDistribution"]["source"], "STALE");
    sleep(MINUTE).await;
    let (counts, counted) = slices(&gateway).await;
    assert_eq!(counts, [3, 2, 2, 0], "the refresh is a call of its own");
    assert_eq!(counted.count("weir_stale_answers_total", &[("operation", DISTRIBUTION)]), 1);
    // While the vendor fails what is there is served as well.
    sleep(20 * MINUTE).await;
    gateway.sim().faults().push(Fault::InternalError, Scope::Everything, Times::ForEver);
    assert_eq!(gateway.query(young).await["data"]["operationDistribution"]["source"], "STALE");
    let (counts, counted) = slices(&gateway).await;
    assert_eq!(counts, [3, 2, 3, 0]);
    assert_eq!(counted.count("weir_stale_answers_total", &[("operation", DISTRIBUTION)]), 2);
    let outcomes =
        counted.count("weir_upstream_calls_total", &[("operation", DISTRIBUTION), ("outcome", "unavailable")]);
    assert!(outcomes > 0);

    gateway.app().archive().unwrap().finish(MINUTE).await;
    let later = gateway.crash(Start::Free);
    assert_eq!(later.query(&query).await["data"]["operationDistribution"]["start"], json!("2026-11-01T00:00:00Z"));
    assert_eq!(slices(&later).await.0, [0, 0, 0, 1], "from the archive");
}

#[tokio::test(start_paused = true)]
async fn the_lag_is_that_of_the_newest_that_was_fetched() {
    let gateway = TestGateway::start();
    let lag = async |finality: &str| {
        let counted = samples(&gateway).await;
        let labels = [("operation", DISTRIBUTION), ("finality", finality)];
        let mut found = counted.find("weir_freshness_lag_seconds", &labels).map(|sample| sample.value);
        found.next().unwrap_or(f64::NAN)
    };
    assert!(lag("any").await.is_nan() && lag("final").await.is_nan(), "nothing is held");
    let between = |start: &str, end: &str| {
        format!(
            "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"2026-11-{start}Z\", end: \"2026-11-{end}Z\"}}}}) {{ start }} }}"
        )
    };
    // It is 10:20:30 on the 22nd.
    gateway.query(&between("20T00:00:00", "20T01:00:00")).await;
    let close = |lag: f64, expected: f64| {
        assert!((lag - expected).abs() < 5.0, "{lag} and not {expected}");
    };
    let day = 86_400.0;
    close(lag("final").await, 2.0 * day + 9.0 * 3_600.0 + 20.0 * 60.0 + 30.0);
    gateway.query(&between("22T09:00:00", "22T10:00:00")).await;
    close(lag("any").await, 20.0 * 60.0 + 30.0);
    close(lag("final").await, 2.0 * day + 9.0 * 3_600.0 + 20.0 * 60.0 + 30.0);
    gateway.query(&between("01T09:00:00", "01T10:00:00")).await;
    close(lag("any").await, 20.0 * 60.0 + 30.0);
    sleep(HOUR).await;
    close(lag("any").await, 80.0 * 60.0 + 30.0);
}

#[tokio::test(start_paused = true)]
async fn caches_tell_their_size() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let entries = async |cache: &str| Samples::of(&site).await.count("weir_cache_entries", &[("cache", cache)]);
    assert_eq!(entries(DISTRIBUTION).await, 0);
    for _ in 0..4 {
        ask(&site, &window("app-one", 0)).await;
    }
    assert_eq!(entries(DISTRIBUTION).await, 1);
    let counted = Samples::of(&site).await;
    let of = |name, cache| counted.count(name, &[("cache", cache)]);
    assert!((1..10_000).contains(&of("weir_cache_bytes", DISTRIBUTION)));
    let fast_path = gateway.gateway().fast_path();
    let n = i64::from(fast_path.answer_bytes > 0);
    assert_eq!((of("weir_cache_entries", "answers"), of("weir_cache_entries", "documents")), (n, n));
    assert_eq!(of("weir_cache_max_bytes", "answers"), i64::try_from(fast_path.answer_bytes).unwrap());
}

#[tokio::test(start_paused = true)]
async fn a_limit_that_refuses_is_counted() {
    let gateway = TestGateway::builder()
        .config(|config| {
            config.limits.pull_calls = 30;
        })
        .build();
    let site = door(&gateway);
    let refusals = async |limit: &str| {
        Samples::of(&site).await.count("weir_refusals_total", &[("limit", limit), ("caller", "anonymous")])
    };
    ask(&site, &format!("{{ {} }}", "a: quotas { operation } ".repeat(20_000))).await;
    assert_eq!(refusals("query_bytes").await, 1);
    assert_eq!(post(&site, vec![b' '; 2 << 20]).await, 413);
    assert_eq!(refusals("max_body").await, 1);
    let list = |days: u32, step: &str, controls: Value| {
        let query = format!(
            "{{ operationDistributions(appIds: [\"app-one\"], range: {{last: \"P{days}D\"}}, window: \"{step}\") {{ start }} }}"
        );
        gateway.ask_with(&query, json!({}), controls)
    };
    let answer = list(18, "PT1H", json!({})).await;
    assert_eq!(codes(&answer), ["TOO_EXPENSIVE"], "{answer}");
    assert_eq!(refusals("calls").await, 1, "432 calls, and 400 are the most");
    let answer = list(2, "PT1H", json!({ "maxWait": "PT1S" })).await;
    assert_eq!(codes(&answer), ["QUOTA_WAIT_TOO_LONG"], "{answer}");
    assert_eq!(refusals("max_wait").await, 1);
    let explained = list(2, "PT1H", json!({ "maxWait": "PT1S", "explain": true })).await;
    assert!(codes(&explained).is_empty(), "{explained}");
    assert_eq!(refusals("max_wait").await, 1, "what is only explained is not refused");
    let rows = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {last: "P30D"}, first: 1000) { nodes { phoneNumber start end sentCount } } }"#;
    let small = TestGateway::builder().config(|config| config.limits.answer_bytes = 2_000).build();
    let answer = small.query(rows).await;
    assert!(codes(&answer).contains(&"TOO_EXPENSIVE".to_owned()), "{answer}");
    let told = samples(&small).await.count("weir_refusals_total", &[("limit", "answer_bytes")]);
    assert!(told >= 1, "{told}");
    let few = TestGateway::builder().config(|config| config.limits.slices = 5).build();
    assert_eq!(codes(&few.query(rows).await), ["TOO_EXPENSIVE"]);
    assert_eq!(samples(&few).await.count("weir_refusals_total", &[("limit", "slices"), ("caller", "anonymous")]), 1);
    get(&site, "/rows/operation_distributions.csv?window=PT1H&last=P28D").await;
    assert!(refusals("pull_calls").await >= 1);
}
