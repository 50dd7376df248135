//! Files that `weir archive import` takes in: what is read is the same when it is written again, and what is taken in adds up,
//! can be used, and can be taken elsewhere. CSV files stand one after the other, each behind a line `== TABLE`; what begins as
//! Parquet does is tried as every table.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use tempfile::TempDir;
use weir::archive::{Dated, TableName, Want, Windows, open, restated, slices};
use weir::domain::dataset::{Dataset, Value};
use weir::domain::{
    Account, AppId, ArchiveKey, ArchiveRow, Archived as _, ChannelId, Finality, PhoneNumber, Timestamp, Vendor, Window,
};
use weir::formats::table::{self, TableFormat};
use weir::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics};
use weir::vendor::volcengine_rtc::{Dimension, DistributionSubject, OperationDistributions};

use super::stage;

type Rows = Vec<Vec<Value>>;

pub fn run(data: &[u8]) -> bool {
    // In memory, where there is such a place: nothing of this is worth a disk.
    let memory = Path::new("/dev/shm");
    let dir = if memory.is_dir() { TempDir::new_in(memory) } else { TempDir::new() }.expect("a folder can be made");
    if data.starts_with(b"PAR1") {
        return parquet(dir.path(), data);
    }
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let read = |name: TableName| text.split("== ").find_map(|part| Some((name, csv(dir.path(), name, part)?)));
    let tables: Vec<(TableName, Rows)> = TableName::ALL.into_iter().filter_map(read).collect();
    let rows = |wanted: TableName| {
        tables.iter().find(|(name, _)| *name == wanted).map(|(_, rows)| rows.clone()).unwrap_or_default()
    };
    let (lines, phones) = (rows(TableName::Collected), rows(TableName::CollectedPhones));
    let noted = restated(rows(TableName::Restated));
    let mut taken = Vec::new();
    for name in TableName::ALL {
        let TableName::Rows(dataset) = name else { continue };
        let Ok(own) = slices(dataset, &rows(name), &lines, &phones) else { return false };
        taken.extend(own);
    }
    for dated in &taken {
        let slice = &dated.slice;
        assert!(is_usable(&slice.key, slice.rows.clone(), slice.finality), "taken in, and of no use: {slice:?}");
    }
    let Ok(noted) = noted else { return false };
    let is_something = !taken.is_empty() || !noted.is_empty();
    if is_something {
        stage::run(keep(dir.path(), taken, noted));
    }
    is_something
}

/// The rows of a CSV file; `None` where it is another table's, or is refused.
fn csv(dir: &Path, name: TableName, part: &str) -> Option<Rows> {
    let text = part.strip_prefix(name.as_str())?.strip_prefix('\n')?;
    let path = dir.join("read.csv");
    std::fs::write(&path, text).expect("a file can be written");
    let rows = table::read(&path, &name.columns()).ok()?;
    for format in [TableFormat::Csv, TableFormat::Parquet] {
        assert_eq!(again(dir, name, format, &rows), rows, "by {format:?}");
    }
    Some(rows)
}

fn parquet(dir: &Path, data: &[u8]) -> bool {
    let path = dir.join("read.parquet");
    std::fs::write(&path, data).expect("a file can be written");
    let mut is_read = false;
    for name in TableName::ALL {
        let Ok(rows) = table::read(&path, &name.columns()) else { continue };
        assert_eq!(again(dir, name, TableFormat::Parquet, &rows), rows, "{name:?}");
        // Whatever an instant or a date is, it can be written.
        drop(again(dir, name, TableFormat::Csv, &rows));
        is_read = true;
    }
    is_read
}

/// Rows, written and read again.
fn again(dir: &Path, name: TableName, format: TableFormat, rows: &[Vec<Value>]) -> Rows {
    let path: PathBuf = dir.join(format!("again.{}", format.as_str()));
    table::write(&path, format, &name.columns(), rows).expect("what was read can be written");
    table::read(&path, &name.columns()).expect("what was written can be read")
}

/// Whether rows make the slice that is asked for later.
fn is_usable(key: &ArchiveKey, rows: Vec<ArchiveRow>, finality: Finality) -> bool {
    let account = |vendor| Account::new(vendor, &key.account, "vendor.example", "owner");
    if key.dataset == Dataset::PhoneNumberMetrics {
        let granularity = [Granularity::Daily, Granularity::HalfHour]
            .into_iter()
            .find(|granularity| Some(granularity.as_str()) == key.granularity)
            .expect("a step that is known");
        let channel = key.entity.as_deref().map(ChannelId::new);
        let phone = key.name.as_deref().map(|name| PhoneNumber::parse(name).expect("a phone number"));
        let subject = MetricSubject { account: account(Vendor::AlibabaCams), channel, granularity, phone };
        return PhoneNumberMetrics::from_rows(&subject, rows, finality).is_some();
    }
    let app = AppId::new(key.entity.as_deref().expect("an application"));
    let account = account(Vendor::VolcengineRtc);
    let subject = DistributionSubject { account, app, dimension: Dimension::Province };
    OperationDistributions::from_rows(&subject, rows, finality).is_some()
}

/// Writes all of it into an archive, which adds up afterwards and tells the same to another.
async fn keep(dir: &Path, taken: Vec<Dated>, noted: Rows) {
    let archive = open(&format!("sqlite:{}", dir.join("weir.db").display()), "").expect("a new archive");
    archive.prepare().await.expect("a new archive");
    let wants = taken
        .iter()
        .map(|dated| Want { key: Arc::clone(&dated.slice.key), windows: Windows::Exactly(vec![dated.slice.window]) });
    let wants: Vec<Want> = wants.collect();
    let n_lines = noted.len() as u64;
    archive.write(Arc::new(taken)).await.expect("what makes sense is written");
    assert!(archive.note(noted).await.expect("what makes sense is noted") <= n_lines);
    assert_eq!(archive.miscounts().await.expect("it is counted"), []);
    for slice in archive.read(wants).await.expect("it is read").into_iter().flatten() {
        assert!(is_usable(&slice.key, slice.rows.clone(), slice.finality), "kept, and of no use: {slice:?}");
    }
    let ever = Window::new(Timestamp::from_ms(i64::MIN), Timestamp::from_ms(i64::MAX)).expect("all there is");
    let mut all = Vec::new();
    for name in TableName::ALL {
        all.push((name, archive.dump(name, ever).await.expect("it is dumped")));
    }
    let rows = |wanted| all.iter().find(|(name, _)| *name == wanted).map(|(_, rows)| rows.clone()).unwrap_or_default();
    for (name, own) in &all {
        if let TableName::Rows(dataset) = name {
            let (lines, phones) = (rows(TableName::Collected), rows(TableName::CollectedPhones));
            slices(*dataset, own, &lines, &phones).expect("what is kept can be taken elsewhere");
        }
    }
    restated(rows(TableName::Restated)).expect("what is noted can be taken elsewhere");
}
