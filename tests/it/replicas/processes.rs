//! The built binary as people run it: four gateways, a simulator and a Redis, each a process of its own.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use tokio::time::sleep;
use weir::domain::time::HOUR;
use weir::domain::{Clock, SystemClock};

use crate::support::fast_path;
use crate::support::process::{Process, try_query};
use crate::support::redis::{Redis, send_signal};
use crate::support::{DISTRIBUTION, METRIC};

/// `longest_stop` and the short timeouts below, a second each for Redis and the hold.
const LEASE: Duration = Duration::from_millis(6_000 + 200 + 300 + 200 + 1_000 + 1_010);

fn config(dir: &Path, redis: &Redis, simulator: &str) -> PathBuf {
    let channels: Vec<String> = (0..2_000).map(|n| format!("cams-{n}")).collect();
    let account = format!(
        "endpoint = \"http://{simulator}\"\naccess_key_id = \"weir-demo\"\naccess_key_secret = \"weir-demo-secret\""
    );
    let text = format!(
        "{}[[alibaba_cams]]\nname = \"retail\"\n{account}\nchannels = {channels:?}\n\
         [[volcengine_rtc]]\nname = \"calls\"\n{account}\napps = [\"app-one\"]\n\
         [queue]\nmax_wait = \"10m\"\n[upstream]\nconnect_timeout = \"200ms\"\ntimeout = \"300ms\"\nguard = \"200ms\"\n\
         [shared]\nredis = \"{}\"\n",
        fast_path::line(""),
        redis.url()
    );
    let path = dir.join("weir.toml");
    std::fs::write(&path, text).unwrap();
    path
}

fn window(n: u32) -> String {
    let now = SystemClock.now().floor(HOUR);
    let (end, start) = (now - HOUR * (10 + n / 150), now - HOUR * (12 + n / 150 + n % 150));
    format!(
        "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) {{ start }} }}"
    )
}

fn channel(n: u32) -> String {
    format!("{{ phoneNumberMetrics(custSpaceId: \"cams-{}\", range: {{last: \"P3D\"}}) {{ totalCount }} }}", n % 2_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_the_quota_when_one_is_killed_and_one_stopped() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let simulator = Process::simulate(&[]).await;
    let file = config(dir.path(), &redis, &simulator.address);
    let mut replicas: Vec<Process> = Vec::new();
    for _ in 0..4 {
        // Without a line for each of some thousand requests.
        replicas.push(Process::serve_in(&file, &[("WEIR_LOG", "warn,weir::cli=info".to_owned())]).await);
    }
    let next = Arc::new(AtomicU32::new(0));
    let mut asks = Vec::new();
    for replica in &replicas {
        for asker in 0..12 {
            let (next, address) = (Arc::clone(&next), replica.address.clone());
            asks.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if try_query(&address, &if asker < 4 { window(n) } else { channel(n) }).await.is_none() {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }));
        }
    }
    sleep(LEASE + Duration::from_secs(3)).await;
    assert!(!simulator.arrivals().await.is_empty(), "the first lease is over");
    replicas.remove(0).kill().await;
    sleep(Duration::from_millis(300)).await;
    send_signal("STOP", replicas[0].pid());
    sleep(Duration::from_secs(5)).await;
    send_signal("CONT", replicas[0].pid());
    // What the killed one held is back, and the quota is used in full.
    sleep(LEASE.saturating_sub(Duration::from_secs(3))).await;
    sleep(Duration::from_secs(4)).await;
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    let arrivals = simulator.arrivals().await;
    let last = arrivals.iter().map(|(_, at)| *at).fold(0.0, f64::max);
    let late = |operation: &str| arrivals.iter().filter(|(name, at)| name == operation && *at > last - 3_000.0).count();
    assert!(late(DISTRIBUTION) >= 5, "{} calls in the last 3 s", late(DISTRIBUTION));
    let stats = simulator.get("/_sim/stats").await;
    for (operation, limit) in [(DISTRIBUTION, 2), (METRIC, 50)] {
        let own = stats.as_array().unwrap().iter().find(|entry| entry["operation"] == operation).unwrap();
        assert!(own["widestSecond"].as_u64().unwrap() <= limit, "{own}");
        assert_eq!(own["throttled"], 0, "{own}");
    }
}
