//! Whole answers that are kept are the answers that would be given.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{Request, header};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tower::ServiceExt;
use weir::access::Access;
use weir::domain::Clock;
use weir::fast::FastPath;
use weir::http::{HttpConfig, Site};

use crate::support::documents;
use crate::support::log::Log;
use crate::support::{METRIC, TestGateway};

/// The same gateway twice: as it is, and without any kept answer.
struct Pair {
    keeping: Site,
    forgetful: Site,
}

impl Pair {
    fn before(gateway: &TestGateway) -> Self {
        let with = |answer_bytes| {
            let gateway = Arc::unwrap_or_clone(gateway.gateway());
            let fast_path = FastPath { answer_bytes, ..gateway.fast_path() };
            Site::new(HttpConfig::default(), Arc::new(gateway.with_fast_path(fast_path)), Access::anyone())
        };
        Self { keeping: with(1 << 30), forgetful: with(0) }
    }

    /// What is answered after everything that can be held is held: kept, since it has been asked for twice, and worked
    /// out anew.
    async fn both(&self, body: &str) -> (String, String) {
        post(&self.forgetful, body).await;
        let anew = post(&self.forgetful, body).await;
        for _ in 0..2 {
            assert_eq!(post(&self.keeping, body).await, anew, "{body}");
        }
        (post(&self.keeping, body).await, anew)
    }
}

async fn post(site: &Site, body: &str) -> String {
    let request =
        Request::post("/graphql").header(header::HOST, "localhost").header(header::CONTENT_TYPE, "application/json");
    text(site, request.body(Body::from(body.to_owned())).unwrap()).await
}

async fn text(site: &Site, request: Request<Body>) -> String {
    let response = site.clone().oneshot(request).await.unwrap();
    String::from_utf8(to_bytes(response.into_body(), usize::MAX).await.unwrap().to_vec()).unwrap()
}

fn body(query: &str, variables: impl Into<Value>) -> String {
    json!({ "query": query, "variables": variables.into() }).to_string()
}

/// Asks and says whether the answer had been kept.
async fn was_kept(site: &Site, body: &str) -> bool {
    let (log, guard) = Log::of_thread();
    post(site, body).await;
    drop(guard);
    let log = log.text();
    assert!(log.contains("kept="), "{log}");
    log.contains("kept=true")
}

const METRICS: &str = "query Metrics($range: TimeRange!) { \
    phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: HALF_HOUR, range: $range) \
    { nodes { phoneNumber start sentCount finality fetchedAt source } } }";

#[tokio::test(start_paused = true)]
async fn thousands_of_documents_are_answered_the_same_from_their_bytes() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let pair = Pair::before(&gateway);
    let mut rng = StdRng::seed_from_u64(11);
    let (mut kept, mut longest) = (0, 0);
    for n in 0..2_000 {
        let (query, variables) = documents::random(&mut rng);
        let body = body(&query, variables);
        let (again, anew) = pair.both(&body).await;
        assert_eq!(again, anew, "{body}");
        assert!(!again.contains("\"errors\""), "{body}\n{again}");
        longest = longest.max(again.len());
        if n % 10 == 0 {
            kept += usize::from(was_kept(&pair.keeping, &body).await);
        }
    }
    // Two texts share a place of the doorkeeper once in some thousands, by chance.
    assert!(kept >= 197, "all of 200 were kept but by chance: {kept}");
    assert!(longest > 20_000, "{longest}");
}

#[tokio::test(start_paused = true)]
async fn a_request_is_known_as_it_was_sent() {
    let gateway = TestGateway::start();
    let pair = Pair::before(&gateway);
    let query = "query Q($range: TimeRange!, $step: Granularity) { a: phoneNumberMetrics(custSpaceId: \"cams-alpha\", \
                 granularity: $step, range: $range) { totalCount } }";
    let first = body(query, json!({"range": {"last": "P2D"}, "step": "DAILY"}));
    pair.both(&first).await;
    let respelled = query.replace(", ", " , # more\n").replace("{ totalCount }", "{totalCount}");
    for text in [
        body(&respelled, json!({"range": {"last": "P2D"}, "step": "DAILY"})),
        body(query, json!({"range": {"last": "P2D"}, "step": "HALF_HOUR"})),
        body(query, json!({"range": {"last": "P3D"}, "step": "DAILY"})),
        body(&query.replace("a: ", "b: "), json!({"range": {"last": "P2D"}, "step": "DAILY"})),
        body(&query.replace("cams-alpha", "cams-beta"), json!({"range": {"last": "P2D"}, "step": "DAILY"})),
        json!({"query": query, "variables": {"range": {"last": "P2D"}, "step": "DAILY"},
               "extensions": {"weir": {"maxStale": "PT1M"}}})
        .to_string(),
    ] {
        pair.both(&first).await; // others have landed since
        assert!(!was_kept(&pair.keeping, &text).await, "{text}");
        let (again, anew) = pair.both(&text).await;
        assert_eq!(again, anew, "{text}");
        // What comes a second time is kept.
        assert!(was_kept(&pair.keeping, &text).await, "{text}");
    }
    // A body that reads as a query string, too, is not that query string.
    let tricky = "{\"query\":\"{datasets{name}}\",\"a\":\"&query={__typename}&b=\"}";
    let (posted, _) = pair.both(tricky).await;
    let uri = format!("/graphql?{}", tricky.replace('"', "%22").replace('{', "%7B").replace('}', "%7D"));
    let got =
        text(&pair.keeping, Request::get(uri).header(header::HOST, "localhost").body(Body::empty()).unwrap()).await;
    assert!(posted.contains("datasets") && got.contains("__typename") && !got.contains("datasets"), "{got}");
}

/// Time passes, other asks land, statistics are turned on, the clock is set: what is kept is what would be answered.
#[tokio::test(start_paused = true)]
async fn what_was_kept_is_given_only_while_it_is_what_would_be_answered() {
    let (mut given, mut asked) = (0, 0);
    for seed in 0..40 {
        let mut rng = StdRng::seed_from_u64(seed);
        let ttl = Duration::from_secs([60, 300, 3_600, 14_400][rng.random_range(0..4)]);
        let gateway = TestGateway::builder().config(|config| config.cache.provisional_ttl = ttl).max_wait(600).build();
        let pair = Pair::before(&gateway);
        let distribution = "query D($range: TimeRange!) { operationDistribution(appId: \"app-one\", range: $range) \
                            { start end finality fetchedAt source data { distributionName value } } }";
        let bounds = "query B($range: TimeRange!) { operationDistributionBounds(appId: \"app-one\", range: $range) \
                      { start end windows finality data { distributionName atLeast atMost } } }";
        let windows = "query W($range: TimeRange!) { operationDistributions(appIds: [\"app-two\"], range: $range, \
                       window: \"P7D\") { start end source } }";
        let requests = [
            body(METRICS, json!({"range": {"last": "PT6H"}})),
            body(
                METRICS,
                json!({"range": {"between": {"start": "2026-11-21T00:00:00Z", "end": "2026-11-22T10:50:17Z"}}}),
            ),
            body(distribution, json!({"range": {"last": "PT6H"}})),
            body(
                distribution,
                json!({"range": {"between": {"start": "2026-11-22T01:00:00Z", "end": "2026-11-22T10:24:11Z"}}}),
            ),
            body(bounds, json!({"range": {"last": "P20D"}})),
            body(windows, json!({"range": {"last": "P20D"}})),
            body("{ channel(custSpaceId: \"cams-alpha\") { phoneNumbers } }", json!({})),
        ];
        let mut asks = 0;
        for _ in 0..40 {
            match rng.random_range(0..16) {
                0 => {
                    let query = "mutation { enableWhatsappRoiMetric(custSpaceId: \"cams-alpha\") { requestId } }";
                    gateway.ask(query, json!({})).await;
                }
                1 => {
                    let days = rng.random_range(1..20);
                    gateway.ask(METRICS, json!({"range": {"last": format!("P{days}D")}})).await;
                }
                2 => {
                    let step = Duration::from_secs(rng.random_range(1..7_200));
                    let now = gateway.clock().now();
                    gateway.clock().set(if rng.random_bool(0.5) { now + step } else { now - step });
                }
                3 => tokio::time::advance(Duration::from_secs(rng.random_range(1..1_800))).await,
                _ => tokio::time::advance(Duration::from_millis(rng.random_range(1..20_000))).await,
            }
            if rng.random_bool(0.3) {
                asks = rng.random_range(0..requests.len());
            }
            let body = &requests[asks];
            asked += 1;
            if was_kept(&pair.keeping, body).await {
                given += 1;
                // The forgetful one would fetch, or say that it is stale, what is past its time.
                let (kept, anew) = (post(&pair.keeping, body).await, post(&pair.forgetful, body).await);
                assert_eq!(kept, anew, "seed {seed}: {body}");
            }
            let (again, anew) = pair.both(body).await;
            assert_eq!(again, anew, "seed {seed}: {body}");
        }
    }
    assert!(given * 6 > asked, "{given} of {asked}: kept answers were given");
}

#[tokio::test(start_paused = true)]
async fn what_is_true_only_once_is_never_kept() {
    let gateway =
        TestGateway::builder().config(|config| config.cache.stale_while_refresh = Duration::from_mins(5)).build();
    let pair = Pair::before(&gateway);
    let metrics = |controls: Value| {
        json!({"query": METRICS, "variables": {"range": {"last": "PT6H"}}, "extensions": {"weir": controls}})
            .to_string()
    };
    for (body, why) in [
        (body("{ quotas { operation inFlight queued } }", json!({})), "it is true only now"),
        (body("{ datasets { name } quotas { operation } }", json!({})), "a part of it is true only now"),
        (body("{ collections { due } }", json!({})), "it is true only now"),
        (body("{ channel(custSpaceId: \"nobody\") { account } }", json!({})), "an error may end"),
        (body("{ noSuchField }", json!({})), "a refusal costs nothing anyway"),
        (body("mutation { __typename }", json!({})), "a mutation is done each time"),
        (metrics(json!({"explain": true})), "a plan is true only now"),
        (metrics(json!({"freshness": "FINAL_ONLY"})), "what is final is judged anew"),
        (
            body("{ operationDistributions(range: {last: \"P40D\"}, window: \"P7D\") { start } }", json!({})),
            "what is left out changes by the hour",
        ),
    ] {
        for _ in 0..3 {
            assert!(!was_kept(&pair.keeping, &body).await, "{why}: {body}");
        }
    }
    // Upstream, then from memory and kept, then stale while it is refreshed.
    let body = metrics(json!({}));
    assert!(post(&pair.keeping, &body).await.contains("UPSTREAM"));
    for _ in 0..2 {
        assert!(post(&pair.keeping, &body).await.contains("CACHE"));
    }
    assert!(was_kept(&pair.keeping, &body).await);
    let calls = gateway.calls(METRIC);
    tokio::time::advance(Duration::from_mins(6)).await;
    assert!(post(&pair.keeping, &body).await.contains("STALE"));
    tokio::time::sleep(Duration::from_secs(5)).await;
    assert_eq!(gateway.calls(METRIC), calls + 1, "the refresh was not forgotten");
    assert!(!post(&pair.keeping, &body).await.contains("STALE"));
}
