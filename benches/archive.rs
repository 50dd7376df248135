//! What the archive costs: rows written a second, and questions of thirty days while it grows to ten million rows.
//!
//! `cargo bench --bench archive` measures a file of SQLite in a temporary folder; `-- postgres://…` another archive, which
//! should be empty. `-- 1000000` rows are enough for a look.

use std::io::Write as _;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;
use weir::archive::{self, Archive, Dated, Want, Windows};
use weir::domain::dataset::Dataset;
use weir::domain::time::{DAY, HOUR};
use weir::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Finality, Number, Timestamp, Window};

const CHANNELS: u32 = 20;
const PHONES: u32 = 20;
/// Half hours of a day.
const BUCKETS: u32 = 48;
/// Slices of one transaction, about as many rows as weir writes at a time.
const BATCH: usize = 5;
const READS: u32 = 50;

type Outcome = Result<(), Box<dyn std::error::Error>>;

fn start() -> Timestamp {
    Timestamp::from_secs(1_700_006_400)
}

fn key(channel: u32, phone: Option<u32>) -> Arc<ArchiveKey> {
    Arc::new(ArchiveKey {
        dataset: Dataset::PhoneNumberMetrics,
        account: "retail".to_owned(),
        entity: Some(format!("cams-{channel:02}")),
        granularity: Some("HALF_HOUR"),
        dimension: None,
        name: phone.map(|phone| name(channel, phone)),
    })
}

fn name(channel: u32, phone: u32) -> String {
    format!("86130{channel:04}{phone:04}")
}

/// A day of a channel.
fn slice(channel: u32, day: u32) -> Option<Dated> {
    let begin = start() + DAY * day;
    let row = |n: u32| {
        let (phone, bucket) = (n / BUCKETS, n % BUCKETS);
        let from = begin + HOUR / 2 * bucket;
        ArchiveRow {
            name: name(channel, phone).into(),
            start: from,
            end: from + HOUR / 2,
            numbers: [i64::from(n * 7 % 1_000), i64::from(n * 5 % 900)].map(Number::Integer),
            finality: Finality::Final,
        }
    };
    let rows: Vec<_> = (0..PHONES * BUCKETS).map(row).collect();
    let (dates, fetched) = (vec![None; rows.len()], Vec::new());
    let (window, fetched_at) = (Window::new(begin, begin + DAY)?, begin + DAY * 3);
    Some(Dated {
        slice: ArchivedSlice { key: key(channel, None), window, finality: Finality::Final, fetched_at, rows },
        dates,
        fetched,
    })
}

/// The median of what reading takes.
async fn reading(
    archive: &dyn Archive,
    days: u32,
    phone: Option<u32>,
) -> Result<(usize, Duration), Box<dyn std::error::Error>> {
    let (mut took, mut rows) = (Vec::new(), 0);
    for n in 0..READS {
        let from = start() + DAY * (n * 7_919 % (days - 30));
        let window = Window::new(from, from + DAY * 30).ok_or("no window")?;
        let want = Want { key: key(n % CHANNELS, phone), windows: Windows::Within(window) };
        let began = Instant::now();
        let found = archive.read(vec![want]).await?;
        took.push(began.elapsed());
        rows = found.iter().flatten().map(|slice| slice.rows.len()).sum();
    }
    took.sort_unstable();
    Ok((rows, took[took.len() / 2]))
}

async fn measure(archive: &dyn Archive, rows: u32) -> Outcome {
    let a_day = CHANNELS * PHONES * BUCKETS;
    let (all, step) = (rows / a_day, (rows / 10 / a_day).max(31));
    let mut out = std::io::stdout();
    writeln!(
        out,
        "{:>12} {:>12} {:>26} {:>26}",
        "rows held", "written/s", "30 days of one phone", "30 days of a channel"
    )?;
    let mut day = 0;
    while day < all {
        let until = all.min(day + step);
        let mut slices: Vec<Dated> =
            (day..until).flat_map(|day| (0..CHANNELS).filter_map(move |channel| slice(channel, day))).collect();
        let began = Instant::now();
        while !slices.is_empty() {
            let rest = slices.split_off(BATCH.min(slices.len()));
            archive.write(Arc::new(std::mem::replace(&mut slices, rest))).await?;
        }
        let rate = f64::from((until - day) * a_day) / began.elapsed().as_secs_f64();
        day = until;
        let (one_rows, one) = reading(archive, day, Some(7)).await?;
        let (all_rows, whole) = reading(archive, day, None).await?;
        let ms = |took: Duration| took.as_secs_f64() * 1e3;
        writeln!(
            out,
            "{:>12} {rate:>12.0} {:>10} rows {:>7.1} ms {:>10} rows {:>7.1} ms",
            day * a_day,
            one_rows,
            ms(one),
            all_rows,
            ms(whole)
        )?;
    }
    writeln!(out, "{:.0} bytes a row", size_per_row(archive.size().await?, day * a_day))?;
    Ok(())
}

#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn size_per_row(size: u64, rows: u32) -> f64 {
    size as f64 / f64::from(rows)
}

fn main() -> Outcome {
    let arguments: Vec<String> = std::env::args().skip(1).filter(|argument| !argument.starts_with("--")).collect();
    let rows = arguments.iter().find_map(|argument| argument.parse().ok()).unwrap_or(10_000_000);
    let folder = tempfile::tempdir()?;
    let file = format!("sqlite:{}", folder.path().join("weir.db").display());
    let url = arguments.iter().find(|argument| argument.contains(':')).unwrap_or(&file);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build()?;
    runtime.block_on(async {
        let archive = archive::open(url, "")?;
        archive.prepare().await?;
        measure(&*archive, rows).await
    })
}
