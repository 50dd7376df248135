//! The archive as a folder of files: `TABLE/month=YYYY-MM/TABLE.parquet`, the way in which DuckDB, Spark, Trino and
//! ClickHouse read a partitioned table.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::{Failure, output};
use crate::archive::{Archive, Dated, Extent, TableName, restated, slices};
use crate::domain::calendar::{CalendarStep, calendar_windows};
use crate::domain::dataset::Value;
use crate::domain::{Timestamp, Window};
use crate::formats::table::{self, TableFormat};

/// About how many rows are taken in together.
const BATCH_ROWS: usize = 5_000;

/// Writes each table month by month.
pub(super) async fn export(archive: &dyn Archive, dir: &Path, format: TableFormat) -> Result<(), Failure> {
    let Some(Extent { span, .. }) = archive.extent().await? else {
        return output::print("Nothing is kept yet, and nothing was written.");
    };
    let (mut files, mut rows) = (0, 0);
    for month in months(span) {
        for name in TableName::ALL {
            let found = archive.dump(name, month).await?;
            if found.is_empty() {
                continue;
            }
            let file = dir.join(name.as_str()).join(format!("month={}", label(month.start())));
            let file = file.join(format!("{}.{}", name.as_str(), format.as_str()));
            table::write(&file, format, &name.columns(), &found).map_err(Failure::failed)?;
            files += 1;
            rows += found.len();
        }
    }
    output::print(&format!("{rows} rows were written to {files} files in {}", dir.display()))
}

/// Takes in what [`export`] has written, month by month.
pub(super) async fn import(archive: &dyn Archive, dir: &Path) -> Result<(), Failure> {
    let mut months = BTreeSet::new();
    for name in [TableName::Collected, TableName::CollectedPhones, TableName::Restated] {
        months.extend(months_in(&dir.join(name.as_str()))?);
    }
    if months.is_empty() {
        return Err(Failure::failed(format!(
            "{} holds no export of an archive: there is no folder `collected` with months in it",
            dir.display()
        )));
    }
    let mut written = crate::archive::Written::default();
    let (mut most, mut noted) = (0, 0);
    for month in months {
        let of = |name: TableName| read_month(dir, name, &month);
        let (lines, phones) = (of(TableName::Collected)?, of(TableName::CollectedPhones)?);
        for name in TableName::ALL {
            let TableName::Rows(dataset) = name else { continue };
            let slices = slices(dataset, &of(name)?, &lines, &phones);
            let slices = slices.map_err(|problem| Failure::failed(format!("{month}: {problem}")))?;
            most += slices.len();
            for batch in batches(slices) {
                let done = archive.write(Arc::new(batch)).await?;
                written.slices += done.slices;
                written.rows += done.rows;
                written.restated += done.restated;
            }
        }
        let lines =
            restated(of(TableName::Restated)?).map_err(|problem| Failure::failed(format!("{month}: {problem}")))?;
        for lines in lines.chunks(BATCH_ROWS) {
            noted += archive.note(lines.to_vec()).await?;
        }
    }
    let known = most as u64 - written.slices;
    output::print(&format!(
        "{} slices with {} rows were taken in; {known} were known{}{}",
        written.slices,
        written.rows,
        if noted > 0 { format!("; {noted} lines of `restated` came along") } else { String::new() },
        if written.restated > 0 {
            format!("; {} numbers differ from those that are kept (table `restated`)", written.restated)
        } else {
            String::new()
        }
    ))
}

fn months(span: Window) -> impl Iterator<Item = Window> {
    let before = span.start() - std::time::Duration::from_hours(31 * 24);
    let months = calendar_windows(before, span.end(), CalendarStep::Month, &TimeZone::UTC);
    months.into_iter().filter(move |month| month.end() > span.start())
}

/// `YYYY-MM`.
fn label(at: Timestamp) -> String {
    at.to_string().chars().take(7).collect()
}

/// What is in a folder; nothing where there is none.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, Failure> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let paths = std::fs::read_dir(folder).and_then(|found| found.map(|entry| Ok(entry?.path())).collect());
    paths.map_err(|error| Failure::failed(format!("{}: {error}", folder.display())))
}

/// The months of a table.
fn months_in(folder: &Path) -> Result<Vec<String>, Failure> {
    let entries = entries(folder)?;
    let names = entries.iter().filter_map(|path| Some(path.file_name()?.to_string_lossy().into_owned()));
    Ok(names.filter(|name| name.starts_with("month=")).collect())
}

/// The rows of all files of a month.
fn read_month(dir: &Path, name: TableName, month: &str) -> Result<Vec<Vec<Value>>, Failure> {
    let mut paths = entries(&dir.join(name.as_str()).join(month))?;
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "parquet" || extension == "csv"));
    paths.sort();
    let mut rows = Vec::new();
    for path in paths {
        rows.extend(table::read(&path, &name.columns()).map_err(Failure::failed)?);
    }
    Ok(rows)
}

fn batches(slices: Vec<Dated>) -> Vec<Vec<Dated>> {
    let mut batches: Vec<Vec<Dated>> = Vec::new();
    let mut rows = BATCH_ROWS;
    for dated in slices {
        if rows >= BATCH_ROWS {
            batches.push(Vec::new());
            rows = 0;
        }
        rows += dated.slice.rows.len().max(1);
        if let Some(batch) = batches.last_mut() {
            batch.push(dated);
        }
    }
    batches
}
