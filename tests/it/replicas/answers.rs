//! What replicas share beside permits: answers, and calls in flight.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::quota::Rule;
use weir::sim::{Fault, Scope, Times};

use crate::operations::Samples;
use crate::support::fleet::{Fleet, channel, quick, window};
use crate::support::redis::Redis;
use crate::support::stalls::{ensure, steadily};
use crate::support::{DISTRIBUTION, METRIC, codes};

async fn opened(redis: &Redis, replicas: usize) -> Fleet {
    let fleet = Fleet::start(replicas, quick(redis), 21);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    fleet
}

fn cost(answer: &Value) -> (u64, u64) {
    let calls = &answer["extensions"]["weir"]["upstreamCalls"];
    let of = |vendor: &str| calls[vendor].as_u64().unwrap();
    (of("ALIBABA_CAMS"), of("VOLCENGINE_RTC"))
}

#[tokio::test(flavor = "multi_thread")]
async fn five_hundred_clients_of_four_replicas_cost_what_one_would() {
    steadily(five_hundred_clients).await;
}

async fn five_hundred_clients() -> Result<(), String> {
    let Some(redis) = Redis::start(&[]).await else { return Ok(()) };
    let fleet = opened(&redis, 4).await;
    let query = format!("{{ {} {} }}", inner(&channel(1)), inner(&window(1)));
    // They come within 50 ms: all replicas share the workers of one process here, and a claim that stood behind five
    // hundred answers would come later than Redis is waited for.
    let client = async |n: usize| {
        sleep(Duration::from_millis(n as u64 / 50 * 5)).await;
        fleet.query(n % 4, query.clone()).await
    };
    let answers = join_all((0..500).map(client)).await;
    for answer in &answers {
        assert_eq!(codes(answer), Vec::<String>::new(), "{answer}");
        assert_eq!(answer["data"], answers[0]["data"]);
    }
    assert!(answers[0]["data"]["phoneNumberMetrics"]["totalCount"].as_u64().unwrap() > 0);
    fleet.assert_bound("five hundred clients");
    let calls = (fleet.arrivals(METRIC).len(), fleet.arrivals(DISTRIBUTION).len());
    ensure(calls == (1, 1), || format!("{calls:?} calls"))
}

fn inner(query: &str) -> &str {
    query.strip_prefix('{').unwrap().strip_suffix('}').unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn what_one_replica_fetched_costs_the_others_nothing() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut fleet = opened(&redis, 1).await;
    let query = format!("{{ {} {} }}", inner(&channel(2)), inner(&window(2)));
    let first = fleet.query(0, query.clone()).await;
    assert_eq!((codes(&first), cost(&first)), (vec![], (1, 1)));
    sleep(Duration::from_millis(50)).await;
    fleet.join();
    let second = fleet.query(1, query.clone()).await;
    assert_eq!((codes(&second), cost(&second)), (vec![], (0, 0)), "another replica has it");
    let told = Samples::of(&fleet.site(1)).await;
    let slices = |operation, source| told.count("weir_slices_total", &[("operation", operation), ("source", source)]);
    assert_eq!(["redis", "memory", "vendor"].map(|source| slices(DISTRIBUTION, source)), [1, 0, 0]);
    assert!(slices(METRIC, "redis") > 0 && slices(METRIC, "memory") == 0);
    assert_eq!(second["data"], first["data"]);
    let seen = |at| {
        let channels = "{ channel(custSpaceId: \"cams-2\") { phoneNumbers } }".to_owned();
        fleet.query(at, channels)
    };
    // Those that only the padding of the call showed are known to its maker alone.
    let (own, others) = (seen(0).await, seen(1).await);
    let phones = |answer: &Value| answer["data"]["channel"]["phoneNumbers"].as_array().cloned().unwrap_or_default();
    assert!(
        !phones(&others).is_empty() && phones(&others).iter().all(|phone| phones(&own).contains(phone)),
        "{others}"
    );
    // Without Redis there is nothing to be had of others, and it is not waited for again and again.
    redis.signal("STOP");
    sleep(Duration::from_millis(1_600)).await;
    let began = Instant::now();
    let held = fleet.query(1, query).await;
    assert_eq!(codes(&held), Vec::<String>::new(), "memory goes on");
    assert!(began.elapsed() < Duration::from_millis(100), "after {:?}", began.elapsed());
    redis.signal("CONT");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_brings_nothing_is_taken_over() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let fleet = Arc::new(opened(&redis, 2).await);
    // The owner's call fails for good; the other asks itself and gets its answer.
    fleet.sim.faults().push(Fault::MalformedJson, Scope::operation(DISTRIBUTION), Times::Next(1));
    let answers = join_all((0..2).map(|at| fleet.query(at, window(3)))).await;
    let failed: Vec<_> = answers.iter().filter(|answer| !codes(answer).is_empty()).collect();
    assert_eq!((failed.len(), fleet.arrivals(DISTRIBUTION).len()), (1, 2), "{answers:?}");
    sleep(Duration::from_millis(200)).await; // the answer comes before the claim ends
    let keys: Vec<String> = redis.run(&["KEYS", "weir:flight:*"]).await;
    assert_eq!(keys, Vec::<String>::new(), "claims end with their calls");
    for key in redis.run::<Vec<String>>(&["KEYS", "weir:slice:*"]).await {
        let left: i64 = redis.run(&["PTTL", &key]).await;
        assert!(left > 0, "{key} never expires");
        let value: String = redis.run(&["GET", &key]).await;
        assert!(!value.contains("weir-demo"), "an access key in Redis");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn without_redis_asks_are_refused_early_and_truthfully_and_never_let_through() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut config = quick(&redis);
    config.queue.max_wait = Duration::from_secs(3);
    // Past its time, an answer is served only because the vendor cannot be asked.
    config.cache.provisional_ttl = Duration::from_secs(2);
    config.cache.stale_while_refresh = Duration::ZERO;
    let fleet = Fleet::start(1, config, 22);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    let today = "{ operationDistribution(appId: \"app-one\", range: {between: {start: \"2026-11-22T00:00:00Z\", \
                 end: \"2026-11-22T10:00:00Z\"}}) { source } }";
    for query in [window(4), today.to_owned()] {
        assert_eq!(codes(&fleet.query(0, query).await), Vec::<String>::new());
    }
    redis.signal("STOP");
    sleep(Duration::from_millis(5_500)).await;
    let began = Instant::now();
    let refused = fleet.query(0, window(5)).await;
    assert_eq!(codes(&refused), ["QUOTA_WAIT_TOO_LONG"], "{refused}");
    assert!(began.elapsed() < Duration::from_millis(300), "after {:?}", began.elapsed());
    assert!(refused["errors"][0]["extensions"]["retryAfterMs"].as_u64().unwrap() > 0);
    assert_eq!(fleet.query(0, window(4)).await["errors"], json!(null), "what is held is answered");
    let stale = fleet.query(0, today.to_owned()).await;
    assert_eq!(stale["data"]["operationDistribution"]["source"], "STALE", "{stale}");
    assert_eq!(fleet.arrivals(DISTRIBUTION).len(), 2);
    redis.signal("CONT");
    sleep(Duration::from_secs(2).saturating_sub(Rule::HOLD / 2)).await;
    assert_eq!(codes(&fleet.query(0, window(5)).await), Vec::<String>::new());
}

#[tokio::test(flavor = "multi_thread")]
async fn a_replica_that_ends_gives_its_permits_back_first() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut fleet = opened(&redis, 2).await;
    let leaving = fleet.apps.remove(0);
    for n in [6, 7] {
        let query = async_graphql::Request::new(window(n));
        let gateway = leaving.gateway().clone();
        let answer = tokio::spawn(async move { gateway.execute(weir::domain::Caller::Anonymous, query).await }).await;
        assert!(answer.unwrap().errors().is_empty());
    }
    let began = Instant::now();
    Arc::into_inner(leaving).unwrap().end().await;
    assert!(began.elapsed() < Rule::HOLD + Duration::from_millis(200), "ended after {:?}", began.elapsed());
    let answers = join_all([8, 9].map(|n| fleet.query(0, window(n)))).await;
    assert!(answers.iter().all(|answer| codes(answer).is_empty()));
    let all = began.elapsed();
    assert!(all < Rule::HOLD + Duration::from_millis(600), "both permits were there at once: {all:?}");
    fleet.assert_bound("one has left");
}
