//! A database that comes late, stands still, is cut off and starts again, while weir is asked: answers go on, and what was
//! fetched meanwhile is kept once it can be.

use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;
use weir::app::Start;
use weir::archive::{ArchiveErrorKind, Writer, open};

use super::stores::{FINAL, channel, dated, read, row, span, write};
use super::{apart, written};
use crate::support::log::Log;
use crate::support::postgres::Postgres;
use crate::support::{METRIC, TestGateway};

/// How long an answer may take while the archive is away: its patience, and the vendor's calls.
const MOST: Duration = Duration::from_secs(10);

async fn days(gateway: &TestGateway, first: u32) -> Value {
    let last = first + 2;
    let query = format!(
        r#"{{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {{between: {{start: "2026-11-{first:02}T00:00:00Z", end: "2026-11-{last:02}T00:00:00Z"}}}}) {{ totalCount nodes {{ phoneNumber start sentCount finality source }} }} }}"#
    );
    tokio::time::timeout(MOST, gateway.query(&query)).await.expect("an answer comes without the archive")
}

#[tokio::test]
async fn answers_go_on_and_what_was_fetched_is_kept_later() {
    let Some(mut server) = Postgres::start().await else { return };
    let url = server.url();
    // It is not there yet.
    server.kill();
    let gateway = TestGateway::builder().config(|config| config.archive.url = url.into()).build();
    gateway.app().prepare().await.unwrap();
    let mut before = vec![days(&gateway, 1).await];
    server.restart().await;
    written(&gateway).await;
    // It stands still.
    server.pause(true);
    before.push(days(&gateway, 3).await);
    before.push(days(&gateway, 5).await);
    server.pause(false);
    written(&gateway).await;
    // Its connections are cut, again and again.
    let cut = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'weir'";
    let admin = server.client("postgres").await;
    for first in [7, 9] {
        let cuts = async {
            for _ in 0..20 {
                admin.batch_execute(cut).await.unwrap();
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        before.push(tokio::join!(days(&gateway, first), cuts).0);
    }
    written(&gateway).await;
    // It crashes, and comes back.
    server.kill();
    before.push(days(&gateway, 11).await);
    server.restart().await;
    written(&gateway).await;
    let calls = gateway.calls(METRIC);
    let next = gateway.crash(Start::Free);
    for (first, before) in (1..).step_by(2).zip(before) {
        let (before, _) = apart(before);
        assert!(before["phoneNumberMetrics"]["totalCount"].as_u64().unwrap() > 0, "{before}");
        let (answer, sources) = apart(days(&next, first).await);
        assert_eq!((answer, sources), (before, vec!["ARCHIVE".to_owned()]), "from November {first}");
    }
    assert_eq!(next.calls(METRIC), calls, "nothing was lost");
}

/// Whoever gives an answer up leaves no query behind for the next user of its connection.
#[tokio::test]
async fn a_read_that_nobody_waits_for_any_more_ends_at_the_server() {
    let Some(server) = Postgres::start().await else { return };
    let archive = open(&server.url(), "").unwrap();
    archive.prepare().await.unwrap();
    write(&archive, &[dated(&channel("a"), span(0, 24), 90, FINAL, vec![row("861", 3, 7, FINAL)])]).await;
    // Readers wait for whoever locks the tables.
    let admin = server.client("postgres").await;
    admin.batch_execute("BEGIN; LOCK weir.phone_number_metrics, weir.collected").await.unwrap();
    let key = channel("a");
    for _ in 0..20 {
        let read = read(&archive, &key, span(0, 24));
        assert!(tokio::time::timeout(Duration::from_millis(50), read).await.is_err());
    }
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'weir' AND wait_event_type = 'Lock'";
    for _ in 0..200 {
        if server.column(waiting).await == ["0"] {
            break;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(server.column(waiting).await, ["0"], "what was given up has ended");
    admin.batch_execute("ROLLBACK").await.unwrap();
    assert_eq!(read(&archive, &key, span(0, 24)).await.len(), 1);
}

#[tokio::test]
async fn a_server_that_has_no_room_for_another_is_written_to_later() {
    let Some(server) = Postgres::start().await else { return };
    let archive = open(&server.url(), "").unwrap();
    archive.prepare().await.unwrap();
    server.run("ALTER ROLE weir CONNECTION LIMIT 0; SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'weir'").await;
    let slices = [dated(&channel("a"), span(0, 24), 90, FINAL, vec![row("861", 3, 7, FINAL)])];
    let mut errors = Vec::new();
    for _ in 0..10 {
        errors.extend(archive.write(std::sync::Arc::new(slices.to_vec())).await.err());
    }
    assert_eq!(errors.len(), 10);
    assert!(errors.iter().all(|error| error.kind == ArchiveErrorKind::Unavailable), "{errors:?}");
    server.run("ALTER ROLE weir CONNECTION LIMIT -1").await;
    assert_eq!(write(&archive, &slices).await.rows, 1);
}

#[tokio::test]
async fn what_finds_no_room_to_wait_is_counted_and_told_once_each_time() {
    let dir = TempDir::new().unwrap();
    let archive = open(&format!("sqlite:{}", dir.path().join("weir.db").display()), "").unwrap();
    let (log, _guard) = Log::of_thread();
    let writer = Writer::new(archive);
    let slice = |day: u32| dated(&channel("a"), span(day * 24, day * 24 + 24), 90, FINAL, vec![]);
    for time in 1..3 {
        for _ in 0..5 {
            writer.take(2, 600_000, Box::new(|| panic!("what is lost is not made")));
        }
        assert_eq!(writer.standing().lost, 10 * u64::from(time));
        let told = log.text().lines().filter(|line| line.contains("slices are not written until")).count();
        assert_eq!(told, usize::try_from(time).unwrap(), "{}", log.text());
        // What comes when there is room again is written.
        let dated = slice(time);
        writer.take(1, 1, Box::new(move || vec![dated]));
        assert!(writer.flush(MOST).await);
        let standing = writer.standing();
        assert_eq!((standing.slices, standing.waiting), (u64::from(time), 0));
    }
}
