//! Real processes whose system clocks are wrong, one fast and one slow: no wait of the rule runs on them.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::Instant;
use weir::domain::time::HOUR;
use weir::domain::{Clock, SystemClock, Timestamp};

use crate::support::process::{Process, config, wrong_clock};
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, codes};

/// How long both are under load.
const LOAD: Duration = Duration::from_secs(12);

/// A window that no other number shares.
fn window(n: u32) -> String {
    let end = SystemClock.now().floor(HOUR) - HOUR * 10;
    let between = format!("{{start: \"{}\", end: \"{end}\"}}", end - HOUR * (n + 1));
    format!("{{ operationDistribution(appId: \"app-one\", range: {{between: {between}}}) {{ fetchedAt }} }}")
}

/// The milliseconds by which the clock of a process is ahead of ours, less what the answer took.
async fn ahead_ms(replica: &Process, n: u32) -> i64 {
    let answer = replica.query(&window(n)).await;
    let now = SystemClock.now();
    let told = answer["data"]["operationDistribution"]["fetchedAt"].as_str().unwrap_or_else(|| panic!("{answer}"));
    Timestamp::parse_rfc3339(told).unwrap().as_ms() - now.as_ms()
}

#[tokio::test(flavor = "multi_thread")]
async fn clocks_five_seconds_fast_and_slow_neither_pass_the_quota_nor_spoil_a_signature() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (Some(fast), Some(slow)) = (wrong_clock("+5s").await, wrong_clock("-5s").await) else { return };
    let simulator = Process::simulate(&[]).await;
    let more = format!(
        "upstream = {{ connect_timeout = \"200ms\", timeout = \"500ms\", guard = \"200ms\" }}\n\
         shared = {{ redis = \"{}\", longest_stop = \"200ms\" }}",
        redis.url()
    );
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let files = [&here, &there].map(|dir| config(dir.path(), &simulator.address, &more));
    let (fast, slow) = tokio::join!(Process::serve_in(&files[0], &fast), Process::serve_in(&files[1], &slow));
    let (fast_ms, slow_ms) = tokio::join!(ahead_ms(&fast, 0), ahead_ms(&slow, 1));
    assert!(fast_ms > 3_000 && slow_ms <= -5_000, "their clocks are ahead by {fast_ms} ms and {slow_ms} ms");

    let (until, next) = (Instant::now() + LOAD, Arc::new(AtomicU32::new(2)));
    let load = [fast, slow].map(|replica| {
        let replica = Arc::new(replica);
        let asker = || {
            let (replica, next) = (Arc::clone(&replica), Arc::clone(&next));
            tokio::spawn(async move {
                let mut calls = 0;
                while Instant::now() < until {
                    let answer = replica.query(&window(next.fetch_add(1, Ordering::Relaxed))).await;
                    assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
                    calls += answer["extensions"]["weir"]["upstreamCalls"]["VOLCENGINE_RTC"].as_u64().unwrap();
                }
                calls
            })
        };
        [asker(), asker(), asker()]
    });
    for askers in load {
        let mut calls = 0;
        for asker in askers {
            calls += asker.await.unwrap();
        }
        assert!(calls >= 8, "one of the two made only {calls} calls");
    }

    let arrivals = simulator.get("/_sim/arrivals").await;
    assert!(arrivals.as_array().unwrap().iter().all(|arrival| arrival["outcome"] == json!("ANSWERED")), "{arrivals}");
    let stats = simulator.get("/_sim/stats").await;
    let is_own = |entry: &&Value| entry["operation"] == DISTRIBUTION;
    let own = stats.as_array().unwrap().iter().find(is_own).unwrap();
    assert!(own["widestSecond"].as_u64().unwrap() <= 2 && own["throttled"] == 0, "{own}");
}
