//! Answers in the making share one measure of memory: what finds too little is refused at once, and lets go of all it had.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::timeout;
use tower::ServiceExt;
use weir::access::Access;
use weir::fast::FastPath;
use weir::http::{HttpConfig, Site};
use weir::schema::Gateway;
use weir::telemetry::meters::Readings;

use crate::support::TestGateway;

/// What all answers may take together.
const MOST: usize = 2_000_000;

fn request(query: &str) -> Request<Body> {
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    request.body(Body::from(json!({ "query": query }).to_string())).unwrap()
}

async fn ask(site: &Site, query: impl Into<String>) -> (u16, Value) {
    let response = site.clone().oneshot(request(&query.into())).await.unwrap();
    let (status, length) = (response.status().as_u16(), response.headers().get("content-length").cloned());
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 26).await.unwrap();
    let told = length.map(|length| length.to_str().unwrap().parse::<usize>().unwrap());
    assert!(told.is_none_or(|told| told == bytes.len()), "the length is told as it is");
    (status, serde_json::from_slice(&bytes).unwrap())
}

/// So many lists which are written at once, and one that waits for its turn.
fn lists(n: usize, has_long: bool) -> String {
    let list = |alias: &str, first: usize| {
        format!(
            "{alias}: phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: HALF_HOUR, first: {first}, \
             range: {{last: \"P60D\"}}) {{ nodes {{ phoneNumber start end sentCount deliveredCount source }} }} "
        )
    };
    let short: String = (0..n).map(|n| list(&format!("l{n}"), 1_900)).collect();
    format!("{{ {short} {} }}", if has_long { list("long", 10_000) } else { String::new() })
}

async fn site(raw_lists: bool, turns: &Arc<Semaphore>) -> (TestGateway, Arc<Gateway>, Site) {
    let test = TestGateway::builder().max_wait(600).build();
    let gateway = Arc::unwrap_or_clone(test.gateway()).with_fast_path(FastPath { raw_lists, ..FastPath::OFF });
    let gateway = Arc::new(gateway.with_long_lists(Arc::clone(turns)));
    let config = HttpConfig { held_answers: MOST, ..HttpConfig::default() };
    let site = Site::new(config, Arc::clone(&gateway), Access::anyone());
    assert_eq!(ask(&site, lists(1, false)).await.0, 200); // from now on all of it is held
    (test, gateway, site)
}

#[tokio::test(start_paused = true)]
async fn answers_in_the_making_are_bounded_together() {
    let turns = Arc::new(Semaphore::new(1));
    let (_test, gateway, site) = site(true, &turns).await;
    let memory = gateway.memory();
    assert_eq!((memory.most(), memory.reserved()), (MOST, 0), "what was read is let go");

    let turn = turns.acquire().await.unwrap();
    let mut first = Box::pin(ask(&site, lists(2, true)));
    assert!(timeout(Duration::from_secs(1), &mut first).await.is_err());
    let in_the_making = memory.reserved();
    assert!((800_000..MOST).contains(&in_the_making), "what waits for its turn is counted as well: {in_the_making}");

    let (status, refused) = ask(&site, lists(6, true)).await;
    assert_eq!((status, memory.reserved()), (503, in_the_making), "{refused}");
    let extensions = &refused["errors"][0]["extensions"];
    assert_eq!(extensions["code"], "QUOTA_WAIT_TOO_LONG");
    assert_eq!((&extensions["limitName"], &extensions["limit"]), (&json!("held_answer_bytes"), &json!(MOST)));
    assert_eq!((&extensions["retryable"], refused.get("data")), (&json!(true), None));
    let told = gateway.service().meters().exposition(&Readings::default());
    assert!(told.contains("weir_refusals_total{caller=\"anonymous\",limit=\"held_answer_bytes\"} 1"), "{told}");

    let (status, little) = ask(&site, "{ channels { custSpaceId } }").await;
    assert_eq!((status, little.get("errors")), (200, None), "whoever asks for little is answered");
    drop(turn);
    let (status, answer) = first.await;
    assert_eq!((status, answer.get("errors")), (200, None));
    assert!(answer["data"]["long"]["nodes"].as_array().is_some_and(|rows| rows.len() > 2_000), "it waited for a turn");
    assert_eq!(memory.reserved(), 0);
    let (status, alone) = ask(&site, lists(12, true)).await;
    assert_eq!((status, alone.get("errors")), (200, None), "one alone may be as long as it is");
    assert_eq!(memory.reserved(), 0);
}

/// What the engine makes of long lists is bounded in the same way.
#[tokio::test(start_paused = true)]
async fn so_they_are_without_the_fast_path() {
    let (_test, gateway, site) = site(false, &Arc::new(Semaphore::new(1))).await;
    let others = gateway.memory().reservation();
    assert!(others.try_resize(MOST / 2, MOST));
    let (status, refused) = ask(&site, lists(1, false)).await;
    assert_eq!(status, 503, "{refused}");
    assert_eq!(gateway.memory().reserved(), MOST / 2);
    drop(others);
    assert_eq!(ask(&site, lists(1, false)).await.0, 200);
}

/// An answer that is kept and sent to many at once is there once, and is counted once.
#[tokio::test(start_paused = true)]
async fn what_is_kept_and_sent_to_many_is_counted_once() {
    let test = TestGateway::builder().max_wait(600).build();
    let fast_path = FastPath { raw_lists: true, answer_bytes: 64 << 20, document_bytes: 1 << 20 };
    let gateway = Arc::new(Arc::unwrap_or_clone(test.gateway()).with_fast_path(fast_path));
    let config = HttpConfig { held_answers: MOST, ..HttpConfig::default() };
    let site = Site::new(config, Arc::clone(&gateway), Access::anyone());
    for _ in 0..4 {
        assert_eq!(ask(&site, lists(5, false)).await.0, 200);
    }
    let send = || site.clone().oneshot(request(&lists(5, false)));
    let first = send().await.unwrap();
    let length = gateway.memory().reserved();
    assert!(length > MOST / 2, "{length}");
    let mut all = vec![first];
    for _ in 0..5 {
        all.push(send().await.unwrap());
    }
    assert!(all.iter().all(|response| response.status() == 200));
    assert_eq!(gateway.memory().reserved(), length);
    drop(all.split_off(1));
    assert_eq!(gateway.memory().reserved(), length);
    drop(all);
    assert_eq!(gateway.memory().reserved(), 0);
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_gives_back_what_was_reserved() {
    let turns = Arc::new(Semaphore::new(1));
    let (_test, gateway, site) = site(true, &turns).await;
    let _turn = turns.acquire().await.unwrap();
    let mut gone = Box::pin(ask(&site, lists(2, true)));
    assert!(timeout(Duration::from_secs(1), &mut gone).await.is_err());
    assert!(gateway.memory().reserved() > 0);
    drop(gone);
    tokio::task::yield_now().await;
    assert_eq!(gateway.memory().reserved(), 0);
}
