//! What takes long is logged with what it cost and which calls it made, and with nothing that a caller wrote.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::json;
use tokio::time::sleep;
use tower::ServiceExt;
use weir::access::Access;
use weir::http::{HttpConfig, Site};

use crate::support::log::Log;
use crate::support::{TestGateway, window};

fn slow_vendor() -> TestGateway {
    TestGateway::builder().legs(700..701, 700..701).build()
}

fn post(query: &str, id: &str) -> Request<Body> {
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    request.header("x-request-id", id).body(json!({ "query": query }).to_string().into()).unwrap()
}

async fn send(site: &Site, request: Request<Body>) {
    let response = site.clone().oneshot(request).await.unwrap();
    drop(to_bytes(response.into_body(), usize::MAX).await);
}

fn slow(log: &Log) -> Vec<String> {
    log.text().lines().filter(|line| line.contains("slow request")).map(str::to_owned).collect()
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_is_logged_with_its_plan() {
    let (log, _guard) = Log::of_thread();
    let gateway = slow_vendor();
    let site = Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone());
    let query = format!(
        "query ByName {{ {} phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: [\"8613800138000\"], range: {{last: \"P1D\"}}) {{ totalCount }} }}",
        window("app-one", 0).trim().trim_start_matches('{').trim_end_matches('}')
    );
    send(&site, post(&query, "web-1")).await;
    let lines = slow(&log);
    let [line] = &lines[..] else { panic!("{lines:?} of {}", log.text()) };
    for words in [
        "WARN",
        "id=\"web-1\"",
        "door=\"graphql\"",
        "operation=\"several\"",
        "outcome=\"ok\"",
        "calls=2",
        "hits=0",
        "joined=0",
        "queue_wait_ms=0",
        "1 VOLCENGINE_RTC ListOperationDistribution",
        "1 ALIBABA_CAMS GetChatappPhoneNumberMetric",
    ] {
        assert!(line.contains(words), "{words}: {line}");
    }
    for words in ["ByName", "13800138000", "phoneNumberMetrics", "app-one", "cams-alpha"] {
        assert!(!line.contains(words), "{words}: {line}");
    }
    // From memory it is quick.
    send(&site, post(&query, "web-2")).await;
    assert_eq!(slow(&log).len(), 1);
    // Rows are as slow as their last byte.
    let rows = Request::get("/rows/operation_distributions.csv?app_id=app-two&last=P2D").header("host", "localhost");
    send(&site, rows.body(Body::empty()).unwrap()).await;
    let lines = slow(&log);
    assert!(lines[1].contains("door=\"rows\" operation=\"operation_distributions\""), "{lines:?}");
    assert!(lines[1].contains("VOLCENGINE_RTC ListOperationDistribution"), "{lines:?}");
}

#[tokio::test(start_paused = true)]
async fn whoever_gave_up_is_told_of_too_and_zero_turns_it_off() {
    let (log, _guard) = Log::of_thread();
    let gateway = slow_vendor();
    let site = Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone());
    let asking = tokio::spawn(async move { send(&site, post(&window("app-one", 0), "web-3")).await });
    sleep(Duration::from_millis(1_200)).await;
    asking.abort();
    sleep(Duration::from_millis(1)).await;
    let lines = slow(&log);
    assert!(lines[0].contains("outcome=\"caller_went_away\"") && lines[0].contains("calls=1"), "{lines:?}");
    for (time, logged) in [(Duration::ZERO, 1), (Duration::from_secs(2), 1), (Duration::from_millis(1_399), 2)] {
        let gateway = slow_vendor();
        let site = Site::new(HttpConfig { slow: time, ..HttpConfig::default() }, gateway.gateway(), Access::anyone());
        send(&site, post(&window("app-one", 1), "web-4")).await;
        assert_eq!(slow(&log).len(), logged, "{time:?}");
    }
}
