//! Calls of a day are counted at all replicas together, and a restart does not forget them.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tokio::time::sleep;
use tower::ServiceExt;
use weir::http::{HttpConfig, Site};

use crate::access::api_key;
use crate::support::DISTRIBUTION;
use crate::support::fleet::{Fleet, quick, window};
use crate::support::redis::Redis;

/// Calls that the key may cause on a day.
const CALLS: u32 = 6;
/// Within it every replica has told the others.
const TOLD: Duration = Duration::from_millis(2_500);

/// Asks a replica for windows that nobody has asked for, each of which takes a call; the limits that refused some.
async fn ask(fleet: &Fleet, replica: usize, key: &str, windows: std::ops::Range<u32>) -> Vec<Value> {
    let app = &fleet.apps[replica];
    let site = Site::new(HttpConfig::default(), Arc::new(app.gateway().clone()), Arc::clone(app.access()));
    let mut refused = Vec::new();
    for n in windows {
        let request = Request::post("/graphql").header("host", "localhost").header("x-api-key", key);
        let request = request.header("content-type", "application/json");
        let body = json!({ "query": window(n) }).to_string();
        let response = site.clone().oneshot(request.body(Body::from(body)).unwrap()).await.unwrap();
        let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let answer: Value = serde_json::from_slice(&bytes).unwrap();
        if let Some(error) = answer["errors"].get(0) {
            refused.push(error["extensions"]["limitName"].clone());
        }
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn replicas_count_the_calls_of_a_day_together() {
    let Some(mut redis) = Redis::start(&[]).await else { return };
    let mut config = quick(&redis);
    config.api_keys = vec![api_key("own", "weir_own"), api_key("other", "weir_other")];
    config.api_keys.iter_mut().for_each(|key| key.calls_per_day = Some(u64::from(CALLS)));
    let mut fleet = Fleet::start(2, config, 77);
    assert_eq!(ask(&fleet, 0, "weir_own", 0..2).await, Vec::<Value>::new());
    assert_eq!(ask(&fleet, 1, "weir_own", 2..4).await, Vec::<Value>::new());
    sleep(TOLD).await;
    let refused = || vec![json!("calls_per_day")];
    assert_eq!(ask(&fleet, 0, "weir_own", 4..7).await, refused(), "two were left");
    sleep(TOLD).await;
    assert_eq!(ask(&fleet, 1, "weir_own", 7..8).await, refused());
    assert_eq!(ask(&fleet, 1, "weir_other", 8..9).await, Vec::<Value>::new(), "that is another's");

    // Whoever comes anew hears of it.
    fleet.join();
    drop(fleet.apps.remove(0));
    sleep(TOLD).await;
    assert_eq!(ask(&fleet, 1, "weir_own", 10..11).await, refused(), "a restart renews nothing");

    // While Redis is away each goes on with what it knows.
    redis.kill();
    assert_eq!(ask(&fleet, 0, "weir_own", 11..12).await, refused());
    assert_eq!(fleet.arrivals(DISTRIBUTION).len(), CALLS as usize + 1);
}
