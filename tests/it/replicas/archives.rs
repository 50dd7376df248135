//! What a replica takes over from another is in its own archive afterwards, as if it had fetched it.

use std::time::Duration;

use tempfile::TempDir;
use tokio::time::sleep;
use weir::archive::Writer;
use weir::config::watch::Watched;
use weir::domain::time::MINUTE;

use crate::archive::watch::watch;
use crate::support::codes;
use crate::support::fleet::{Fleet, channel, quick, window};
use crate::support::postgres::Postgres;
use crate::support::redis::Redis;
use crate::support::table::rows;

fn questions() -> String {
    [channel(1), window(1)].concat().replace("} } {", "} ").replace("}{", "")
}

fn writer(fleet: &Fleet, replica: usize) -> &Writer {
    fleet.apps[replica].archive().expect("there is an archive")
}

/// A replica with the archive at `url` asks what one before it has fetched: that costs no call.
async fn join_and_ask(fleet: &mut Fleet, url: &str) -> usize {
    fleet.config.archive.url = url.into();
    fleet.join();
    let replica = fleet.apps.len() - 1;
    fleet.apps[replica].prepare().await.unwrap();
    let answer = fleet.query(replica, questions()).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    let calls = &answer["extensions"]["weir"]["upstreamCalls"];
    assert_eq!((&calls["ALIBABA_CAMS"], &calls["VOLCENGINE_RTC"]), (&0.into(), &0.into()), "{answer}");
    replica
}

/// The first replica, with the archive at `url`, has fetched what is asked; what may still change of the channel is watched.
async fn fetched(redis: &Redis, url: &str) -> Fleet {
    let mut config = quick(redis);
    config.archive.url = url.into();
    let mut messages = watch(Watched::PhoneNumberMetrics, 30 * MINUTE);
    messages.channels = vec!["cams-1".to_owned()];
    config.watch = vec![messages];
    let fleet = Fleet::start(1, config, 27);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    let answer = fleet.query(0, questions()).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    // The answer comes before it is shared.
    sleep(Duration::from_millis(100)).await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_has_fetched_is_in_the_file_of_each() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let dir = TempDir::new().unwrap();
    let [own, other] = ["own.db", "other.db"].map(|name| dir.path().join(name));
    let [own_url, other_url] = [&own, &other].map(|path| format!("sqlite:{}", path.display()));
    let mut fleet = fetched(&redis, &own_url).await;
    let replica = join_and_ask(&mut fleet, &other_url).await;
    for replica in [0, replica] {
        assert!(writer(&fleet, replica).flush(Duration::from_secs(20)).await);
    }
    for table in ["phone_number_metrics", "operation_distributions", "collected"] {
        let rows = [rows(&own, table), rows(&other, table)];
        assert!(!rows[0].is_empty(), "{table}");
        assert_eq!(rows[0], rows[1], "{table}");
    }
    let lines = rows(&other, "collected");
    for finality in ["FINAL", "PROVISIONAL"] {
        assert!(lines.iter().any(|line| line.contains(&format!("{:?}", finality.as_bytes()))), "{finality}: {lines:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_another_could_not_write_is_written_by_whoever_takes_it_over_and_only_once() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let Some(server) = Postgres::start().await else { return };
    // The one that has fetched it never reaches its archive.
    let mut fleet = fetched(&redis, "postgres://weir@127.0.0.1:9/metrics?sslmode=disable").await;
    assert!(writer(&fleet, 0).standing().waiting > 0);
    let replica = join_and_ask(&mut fleet, &server.url()).await;
    assert!(writer(&fleet, replica).flush(Duration::from_secs(20)).await);
    let standing = writer(&fleet, replica).standing();
    assert!(standing.slices >= 2 && standing.rows > 2, "{standing:?}");
    let count = |table: &str| format!("SELECT count(*) FROM weir.{table}");
    let mut held = Vec::new();
    for table in ["phone_number_metrics", "operation_distributions"] {
        held.push(server.column(&count(table)).await.remove(0));
    }
    assert!(!held.contains(&"0".to_owned()), "{held:?}");
    // A third finds it there by its lines alone: no row is read, and nothing is written. Who did would wait for this one.
    fleet.config.archive.url = server.url().into();
    let client = server.client("postgres").await;
    fleet.join();
    let third = fleet.apps.len() - 1;
    fleet.apps[third].prepare().await.unwrap();
    let rows = "LOCK TABLE weir.phone_number_metrics, weir.operation_distributions IN ACCESS EXCLUSIVE MODE";
    client.batch_execute(&format!("BEGIN; {rows}")).await.unwrap();
    let answer = fleet.query(third, questions()).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert!(writer(&fleet, third).flush(Duration::from_secs(20)).await, "it waits for the rows");
    let standing = writer(&fleet, third).standing();
    assert_eq!((standing.slices, standing.rows, standing.restated), (0, 0, 0));
    client.batch_execute("ROLLBACK").await.unwrap();
}
