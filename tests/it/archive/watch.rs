//! What is watched is collected: as soon as it is final, before it is forgotten, and out of everybody's way.

use std::path::Path;
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use serde_json::Value;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep};
use weir::config::Config;
use weir::config::watch::{DimensionWord, GranularityWord, Watch, Watched};
use weir::domain::time::{DAY, HOUR, MINUTE};

use super::written;
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, METRIC, TestGateway};

/// All days of a dataset.
pub(crate) fn watch(dataset: Watched, every: Duration) -> Watch {
    Watch {
        dataset,
        channels: Vec::new(),
        apps: Vec::new(),
        granularity: GranularityWord::Daily,
        dimension: DimensionWord::Province,
        window: DAY,
        since: 90 * DAY,
        every,
    }
}

/// A gateway that watches all days of so many channels and applications.
fn watching(dir: &Path, entities: usize, every: Duration) -> TestGateway {
    watching_with(dir, entities, every, |_| {})
}

fn watching_with(dir: &Path, entities: usize, every: Duration, change: impl FnOnce(&mut Config)) -> TestGateway {
    let url = format!("sqlite:{}", dir.join("weir.db").display());
    let names = |prefix: &str| (0..entities).map(|n| format!("{prefix}-{n}")).collect();
    TestGateway::builder()
        .legs(15..45, 15..45)
        .config(|config| {
            config.archive.url = url.into();
            config.watch =
                vec![watch(Watched::PhoneNumberMetrics, every), watch(Watched::OperationDistributions, every)];
            config.alibaba_cams[0].channels = names("cams");
            config.alibaba_cams[0].templates = Vec::new();
            config.volcengine_rtc[0].apps = names("app");
            change(config);
        })
        .build()
}

/// Begins to collect.
pub(crate) fn begin(gateway: &TestGateway) -> JoinHandle<()> {
    tokio::spawn(gateway.app().watch().expect("there is something to watch").clone().run())
}

/// What the archive holds, by one number.
fn count(dir: &Path, sql: &str) -> i64 {
    let file = rusqlite::Connection::open(dir.join("weir.db")).unwrap();
    file.query_row(sql, [], |row| row.get(0)).unwrap()
}

const FINAL_DAYS: &str =
    "SELECT count(*) FROM collected WHERE dataset = 'operation_distributions' AND finality = 'FINAL'";

#[tokio::test(start_paused = true)]
async fn the_first_filling_takes_what_is_about_to_be_forgotten_and_then_the_newest() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path(), 2, 30 * MINUTE);
    let began = Instant::now();
    let watch = begin(&gateway);
    sleep(Duration::from_secs(120)).await;
    written(&gateway).await;
    // Each application: 29 or 30 days that the vendor still answers, one of them not final yet.
    let days = count(dir.path(), FINAL_DAYS);
    assert!((56..=58).contains(&days), "{days}");
    assert_eq!(
        count(
            dir.path(),
            "SELECT count(*) FROM collected WHERE dataset = 'phone_number_metrics' AND finality = 'FINAL'"
        ),
        2 * 87
    );
    let asked: Vec<String> = gateway
        .requests()
        .iter()
        .filter_map(|request| {
            serde_json::from_slice::<Value>(request.body()).ok()?["StartTime"].as_str().map(str::to_owned)
        })
        .collect();
    // Eight are asked for at a time, of which two are about to be forgotten.
    let mut asked: Vec<&str> = asked.iter().map(String::as_str).collect();
    asked[..8].sort_unstable();
    let oldest = *asked.iter().min().unwrap();
    assert!(asked[..2].iter().all(|start| *start == oldest), "{asked:?}");
    assert!(asked[2..8].iter().all(|start| *start > asked[20]), "then the newest: {asked:?}");
    assert!(gateway.calls(METRIC) <= 2 * 4 + 4, "neighbouring days share calls: {}", gateway.calls(METRIC));
    assert!(began.elapsed() < Duration::from_secs(130));
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn whoever_looks_goes_before_what_is_collected() {
    let dir = TempDir::new().unwrap();
    let gateway = watching(dir.path(), 20, 30 * MINUTE);
    let watch = begin(&gateway);
    sleep(Duration::from_secs(5)).await;
    let mut longest = Duration::ZERO;
    for n in 0..20 {
        sleep(Duration::from_millis(3_170)).await;
        let began = Instant::now();
        let window = crate::support::window(&format!("app-{n}"), n);
        let answer = gateway.query(&window.replace("appId", "dimension: COUNTRY, appId")).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        longest = longest.max(began.elapsed());
    }
    assert!(gateway.calls(DISTRIBUTION) > 100, "the filling goes on: {}", gateway.calls(DISTRIBUTION));
    assert!(longest < Duration::from_millis(1_200), "one permit at most: {longest:?}");
    watch.abort();
}

#[tokio::test(start_paused = true)]
async fn a_month_is_watched_and_dashboards_need_no_calls() {
    let dir = TempDir::new().unwrap();
    // Twenty of each take minutes; fewer tell the same sooner.
    let entities = std::env::var_os("WEIR_TEST_MONTH").map_or(6, |n| n.to_str().unwrap().parse().unwrap());
    let mut gateway = watching(dir.path(), usize::try_from(entities).unwrap(), 6 * HOUR);
    let mut watch = begin(&gateway);
    let mut random = SmallRng::seed_from_u64(11);
    sleep(HOUR).await;
    let (mut reads, mut with_calls) = (0_u32, 0_u32);
    let days = 31;
    let end = Instant::now() + days * DAY;
    while Instant::now() < end {
        sleep(Duration::from_secs(random.random_range(60..7_200))).await;
        let n = random.random_range(0..entities);
        let question = if random.random_bool(0.5) {
            format!(r#"{{ phoneNumberMetrics(custSpaceId: "cams-{n}", range: {{last: "P30D"}}) {{ totalCount }} }}"#)
        } else {
            format!(
                r#"{{ operationDistributions(appIds: ["app-{n}"], window: "P1D", range: {{last: "P14D"}}) {{ start data {{ value }} }} }}"#
            )
        };
        let answer = gateway.query(&question).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        let calls = &answer["extensions"]["weir"]["upstreamCalls"];
        reads += 1;
        with_calls += u32::from(calls.as_object().unwrap().values().any(|calls| calls.as_u64() != Some(0)));
        // The collector is killed now and then.
        if random.random_bool(0.01) {
            watch.abort();
            gateway = gateway.crash(weir::app::Start::Hold(Duration::from_secs(20)));
            sleep(Duration::from_secs(random.random_range(0..600))).await;
            watch = begin(&gateway);
            sleep(Duration::from_secs(60)).await;
        }
    }
    watch.abort();
    written(&gateway).await;
    assert!(reads > 500 && with_calls * 100 <= reads, "{with_calls} of {reads} reads needed a call");
    // 29 days before, 31 since, less what is not final yet.
    let days = count(dir.path(), FINAL_DAYS);
    assert!((entities * 59..=entities * 61).contains(&days), "{days}");
    let gaps = "SELECT count(*) FROM collected one WHERE dataset = 'operation_distributions' AND finality = 'FINAL' AND NOT EXISTS \
                (SELECT 1 FROM collected other WHERE other.dataset = one.dataset AND other.entity = one.entity AND other.start_time = one.end_time) \
                AND start_time < (SELECT max(start_time) FROM collected last WHERE last.finality = 'FINAL' AND last.dataset = one.dataset)";
    assert_eq!(count(dir.path(), gaps), 0, "nothing is missing in between");
    assert_eq!(count(dir.path(), "SELECT count(*) FROM restated"), 0);
}

#[tokio::test(start_paused = true)]
async fn of_two_on_one_archive_one_collects_and_the_other_takes_over() {
    let dir = TempDir::new().unwrap();
    let one = watching(dir.path(), 1, 30 * MINUTE);
    let other = watching(dir.path(), 1, 30 * MINUTE);
    let (first, second) = (begin(&one), begin(&other));
    sleep(Duration::from_secs(150)).await;
    assert!(one.calls(DISTRIBUTION) > 25, "{}", one.calls(DISTRIBUTION));
    assert_eq!(other.calls(DISTRIBUTION) + other.calls(METRIC), 0, "one of them collects");
    let standing = other.app().gateway().service().collections().seen_by(&weir::domain::Caller::Anonymous);
    assert!(standing.iter().all(|series| !series.is_ours && series.progress.finals > 20), "{standing:?}");
    first.abort();
    drop(first.await);
    written(&one).await;
    drop(one);
    sleep(HOUR).await;
    assert!(other.calls(DISTRIBUTION) > 0, "the other goes on");
    second.abort();
}

#[tokio::test]
async fn of_replicas_with_an_archive_each_one_collects() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let dirs = [TempDir::new().unwrap(), TempDir::new().unwrap()];
    let gateways: Vec<TestGateway> = dirs
        .iter()
        .map(|dir| {
            let url = redis.url();
            watching_with(dir.path(), 1, 30 * MINUTE, move |config| config.shared.redis = url.into())
        })
        .collect();
    let watches: Vec<_> = gateways.iter().map(begin).collect();
    // The first start with an empty Redis waits one lease.
    let began = Instant::now();
    while gateways.iter().all(|gateway| gateway.calls(METRIC) == 0) && began.elapsed() < Duration::from_secs(90) {
        sleep(Duration::from_millis(200)).await;
    }
    sleep(Duration::from_secs(3)).await;
    let calls: Vec<usize> = gateways.iter().map(|gateway| gateway.calls(METRIC)).collect();
    assert_eq!(calls.iter().filter(|calls| **calls > 0).count(), 1, "{calls:?}");
    watches.iter().for_each(JoinHandle::abort);
}
