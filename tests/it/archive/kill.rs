//! A process that is killed while it writes: what it was told is kept is there, whole and once.

use std::io::{BufRead as _, BufReader, Write as _};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use rand::rngs::SmallRng;
use rand::{RngExt as _, SeedableRng as _};
use tempfile::TempDir;
use weir::archive::{self, Archive, Dated, Want, Windows};
use weir::domain::dataset::Dataset;
use weir::domain::time::DAY;
use weir::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Finality, Number, Timestamp, Window};

use crate::support::postgres::Postgres;

const URL: &str = "WEIR_TEST_ARCHIVE_URL";
const FROM: &str = "WEIR_TEST_ARCHIVE_FROM";
/// How often it is killed; more with `WEIR_TEST_KILLS`.
const KILLS: u32 = 40;
const BATCH: u64 = 20;
const CHANNELS: u64 = 5;

/// The `n`th slice that is written: some of them are provisional, and replaced by the next round.
fn slice(n: u64, round: i64) -> ArchivedSlice {
    let start = Timestamp::from_ms(0) + DAY * u32::try_from(n / CHANNELS).unwrap();
    let is_final = !n.is_multiple_of(4) || round > 0;
    let finality = if is_final { Finality::Final } else { Finality::Provisional };
    let row = |phone: i64| ArchiveRow {
        name: format!("86130000000{phone:02}").into(),
        start,
        end: start + DAY,
        numbers: [
            Number::Integer(i64::try_from(n).unwrap() * 100 + phone),
            Number::Integer(if is_final { phone } else { 0 }),
        ],
        finality,
    };
    let key = ArchiveKey {
        dataset: Dataset::PhoneNumberMetrics,
        account: "retail".to_owned(),
        entity: Some(format!("cams-{}", n % CHANNELS)),
        granularity: Some("DAILY"),
        dimension: None,
        name: None,
    };
    ArchivedSlice {
        key: Arc::new(key),
        window: Window::new(start, start + DAY).unwrap(),
        finality,
        fetched_at: start + DAY * u32::try_from(3 + round).unwrap(),
        rows: (0..i64::try_from(n % 30).unwrap()).map(row).collect(),
    }
}

fn dated(slice: ArchivedSlice) -> Dated {
    Dated { dates: vec![None; slice.rows.len()], slice, fetched: Vec::new() }
}

/// The process that is killed: writes slices in order, each batch first provisional in part and then final, and says which
/// are kept.
#[tokio::test]
#[ignore = "run by a_process_that_is_killed_loses_nothing_that_was_kept"]
async fn writes_until_killed() {
    let of = |name: &str| std::env::var_os(name).map(|value| value.into_string().unwrap());
    let Some(url) = of(URL) else { return };
    let mut n: u64 = of(FROM).unwrap().parse().unwrap();
    let archive = archive::open(&url, "").unwrap();
    archive.prepare().await.unwrap();
    loop {
        for round in 0..2 {
            let batch = (n..n + BATCH).map(|n| dated(slice(n, round))).collect();
            archive.write(Arc::new(batch)).await.unwrap();
        }
        n += BATCH;
        writeln!(std::io::stdout(), "\nkept {n}").unwrap();
    }
}

struct Writer {
    child: Child,
    kept: Arc<AtomicU64>,
}

/// Begins to write at the `from`th slice.
fn writer(url: &str, from: u64) -> Writer {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args(["--exact", "archive::kill::writes_until_killed", "--ignored", "--nocapture"])
        .env(URL, url)
        .env(FROM, from.to_string())
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let kept = Arc::new(AtomicU64::new(from));
    let (out, told) = (BufReader::new(child.stdout.take().unwrap()), Arc::clone(&kept));
    std::thread::spawn(move || {
        for line in out.lines().map_while(Result::ok) {
            if let Some(n) = line.strip_prefix("kept ").and_then(|n| n.parse().ok()) {
                told.store(n, Ordering::SeqCst);
            }
        }
    });
    Writer { child, kept }
}

/// Whatever is kept is as it was written; all up to `kept` is there, and final.
async fn check(archive: &dyn Archive, kept: u64, most: u64) {
    let mut n_kept = 0;
    for channel in 0..CHANNELS {
        let key = Arc::clone(&slice(channel, 0).key);
        let span = Window::new(Timestamp::from_ms(0), Timestamp::from_ms(0) + DAY * 100_000).unwrap();
        let mut held = archive.read(vec![Want { key, windows: Windows::Within(span) }]).await.unwrap().remove(0);
        // A database gives rows in whatever order it has them.
        for slice in &mut held {
            slice.rows.sort_by(|one, other| one.name.cmp(&other.name));
        }
        for (held, at) in held.iter().zip(0..) {
            let n = channel + at * CHANNELS;
            let (first, last) = (slice(n, 0), slice(n, 1));
            assert!(*held == first || *held == last, "slice {n} is torn: {held:?}");
            if n < kept {
                assert_eq!(held.finality, Finality::Final, "slice {n} was kept as final");
            }
            n_kept += 1;
        }
    }
    assert!((kept..=most).contains(&n_kept), "{n_kept} slices, of which {kept} were said to be kept");
}

async fn kill_at_random(url: &str) {
    let kills = std::env::var_os("WEIR_TEST_KILLS").map_or(KILLS, |n| n.to_str().unwrap().parse().unwrap());
    let mut random = SmallRng::seed_from_u64(5);
    let mut from = 0;
    for _ in 0..kills {
        let Writer { mut child, kept } = writer(url, from);
        let begun = kept.load(Ordering::SeqCst);
        for _ in 0..2_000 {
            if kept.load(Ordering::SeqCst) > begun {
                break;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        tokio::time::sleep(Duration::from_micros(random.random_range(0..40_000))).await;
        child.kill().unwrap();
        child.wait().unwrap();
        tokio::time::sleep(Duration::from_millis(5)).await;
        let kept = kept.load(Ordering::SeqCst);
        assert!(kept > from, "it came to write");
        let archive = archive::open(url, "").unwrap();
        archive.prepare().await.unwrap();
        check(&*archive, kept, kept + 2 * BATCH).await;
        // The next one writes some of it again.
        from = kept;
    }
}

#[tokio::test]
async fn a_process_that_is_killed_loses_nothing_that_was_kept() {
    let dir = TempDir::new().unwrap();
    kill_at_random(&format!("sqlite:{}", dir.path().join("weir.db").display())).await;
    let file = rusqlite::Connection::open(dir.path().join("weir.db")).unwrap();
    let found: String = file.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(found, "ok");
    let restated: i64 = file.query_row("SELECT count(*) FROM restated", [], |row| row.get(0)).unwrap();
    assert_eq!(restated, 0);
}

#[tokio::test]
async fn a_database_keeps_what_a_killed_process_was_told_is_kept() {
    let Some(server) = Postgres::start().await else { return };
    kill_at_random(&server.url()).await;
}
