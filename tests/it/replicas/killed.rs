//! A real process that dies with calls under way takes its permits with it, for a whole lease.

use std::path::PathBuf;
use std::time::Duration;

use serde_json::json;
use weir::domain::time::HOUR;
use weir::domain::{Clock, SystemClock};

use crate::support::process::{Process, config};
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, codes};

/// 0.2 s for a connection and 1 s for Redis, stops of 0.2 s, 2 s for an exchange, a guard of 0.2 s, the hold.
const LEASE_MS: f64 = 4_610.0;

fn replica(dir: &tempfile::TempDir, simulator: &Process, redis: &Redis) -> PathBuf {
    let more = format!(
        "upstream = {{ connect_timeout = \"200ms\", timeout = \"2s\", guard = \"200ms\" }}\n\
         shared = {{ redis = \"{}\", longest_stop = \"200ms\" }}",
        redis.url()
    );
    config(dir.path(), &simulator.address, &more)
}

/// A window that no other number shares.
fn window(n: u32) -> String {
    let end = SystemClock.now().floor(HOUR) - HOUR * 10;
    let between = format!("{{start: \"{}\", end: \"{end}\"}}", end - HOUR * (n + 1));
    format!("{{ operationDistribution(appId: \"app-one\", range: {{between: {between}}}) {{ start }} }}")
}

async fn arrivals(simulator: &Process) -> Vec<f64> {
    let all = simulator.arrivals().await;
    all.into_iter().filter(|(operation, _)| operation == DISTRIBUTION).map(|(_, at)| at).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_of_calls_under_way_are_back_one_lease_after_their_process_was_killed() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let simulator = Process::simulate(&[]).await;
    let (here, there) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
    let (dying, survivor) = tokio::join!(async { Process::serve(&replica(&here, &simulator, &redis)).await }, async {
        Process::serve(&replica(&there, &simulator, &redis)).await
    });
    // Both have waited out the first lease when this is answered.
    assert_eq!(codes(&survivor.query(&window(0)).await), Vec::<String>::new());
    tokio::time::sleep(Duration::from_millis(1_100)).await;

    let fault = json!({ "fault": { "latency": 1_500 }, "operation": DISTRIBUTION, "times": 2 });
    simulator.post("/_sim/faults", &fault).await;
    let (first, second) = (window(1), window(2));
    let asked = async { tokio::join!(dying.query(&first), dying.query(&second)) };
    tokio::select! {
        answers = asked => panic!("answered while the vendor was slow: {answers:?}"),
        () = async { while arrivals(&simulator).await.len() < 3 {} } => {}
    }
    // Both permits are out with calls that have arrived and are not answered.
    dying.kill().await;
    let (third, fourth) = (window(3), window(4));
    let (one, two) = tokio::join!(survivor.query(&third), survivor.query(&fourth));
    assert_eq!((codes(&one), codes(&two)), (vec![], vec![]));
    let at = arrivals(&simulator).await;
    let [_, _, last, next, _] = at[..] else { panic!("{at:?}") };
    let (after, longest) = (next - last, LEASE_MS * 1.005 + 2_000.0);
    assert!((LEASE_MS - 100.0..=longest).contains(&after), "back {after} ms after, not {LEASE_MS}..{longest}");
    let stats = simulator.get("/_sim/stats").await;
    let own = stats.as_array().unwrap().iter().find(|entry| entry["operation"] == DISTRIBUTION).unwrap();
    assert!(own["widestSecond"].as_u64().unwrap() <= 2 && own["throttled"] == 0, "{own}");
}
