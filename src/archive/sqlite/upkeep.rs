//! A file of SQLite as a whole: what it holds, whether it is sound, and what is to be forgotten.

use std::fs::{OpenOptions, TryLockError};
use std::path::{Path, PathBuf};

use rusqlite::{Connection, Row, TransactionBehavior, params_from_iter};

use super::super::upkeep::{self, COUNT_RESTATED};
use super::super::{Extent, Holding, Miscount, RestatedNumber, TableName};
use super::slices::grow;
use super::values::{count, finality, found, instant, nonsense, time, value, window};
use crate::domain::dataset::Value;
use crate::domain::{ArchiveKey, Clock, SystemClock, Window};

/// `path` and what else SQLite and weir keep beside it.
pub(super) fn beside(path: &Path, what: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(what);
    name.into()
}

/// Takes the lock by which a process collects, unless another has it.
pub(super) fn take_lead(path: &Path) -> std::io::Result<Option<std::fs::File>> {
    let file = OpenOptions::new().write(true).create(true).truncate(false).open(beside(path, ".collector"))?;
    match file.try_lock() {
        Ok(()) => Ok(Some(file)),
        Err(TryLockError::WouldBlock) => Ok(None),
        Err(TryLockError::Error(error)) => Err(error),
    }
}

/// The bytes of the file and of what is not yet in it.
pub(super) fn size(path: &Path) -> u64 {
    let bytes = |path: PathBuf| std::fs::metadata(path).map_or(0, |file| file.len());
    bytes(path.to_owned()) + bytes(beside(path, "-wal"))
}

fn key(row: &Row<'_>) -> rusqlite::Result<ArchiveKey> {
    let (dataset, account, kind) = (row.get_ref(0)?.as_str()?, row.get_ref(1)?.as_str()?, row.get_ref(3)?.as_str()?);
    upkeep::key(dataset, account, row.get_ref(2)?.as_str_or_null()?, kind).ok_or_else(|| nonsense(0, "key"))
}

pub(super) fn extent(connection: &Connection) -> rusqlite::Result<Option<Extent>> {
    connection.query_row(&upkeep::extent(), [], |row| {
        let slices = count(row, 2)?;
        if slices == 0 { Ok(None) } else { Ok(Some(Extent { span: window(row, 0)?, slices })) }
    })
}

pub(super) fn holdings(connection: &Connection) -> rusqlite::Result<Vec<Holding>> {
    let holding = |row: &Row<'_>| {
        let between = window(row, 5)?;
        Ok(Holding {
            key: key(row)?,
            window_length: row.get(4)?,
            first: between.start(),
            last: between.end(),
            final_slices: count(row, 7)?,
            provisional_slices: count(row, 8)?,
            rows: count(row, 9)?,
            fetched_at: time(row, 10)?,
        })
    };
    connection.prepare(&upkeep::holdings())?.query_map([], holding)?.collect()
}

pub(super) fn restated(connection: &Connection, limit: usize) -> rusqlite::Result<(u64, Vec<RestatedNumber>)> {
    let number = |row: &Row<'_>| {
        Ok(RestatedNumber {
            key: key(row)?,
            name: row.get(4)?,
            window: window(row, 5)?,
            metric: row.get(7)?,
            held_value: row.get(8)?,
            told_value: row.get(9)?,
            held_fetched_at: if row.get_ref(10)? == rusqlite::types::ValueRef::Null {
                None
            } else {
                Some(time(row, 10)?)
            },
            told_fetched_at: time(row, 11)?,
        })
    };
    let all = connection.query_row(COUNT_RESTATED, [], |row| count(row, 0))?;
    let newest: rusqlite::Result<_> = connection.prepare(&upkeep::restated(limit))?.query_map([], number)?.collect();
    Ok((all, newest?))
}

pub(super) fn miscounts(connection: &Connection) -> rusqlite::Result<Vec<Miscount>> {
    let sound: String = connection.query_row("PRAGMA integrity_check(1)", [], |row| row.get(0))?;
    if sound != "ok" {
        return Err(found(sound));
    }
    let miscount = |row: &Row<'_>| {
        Ok(Miscount {
            key: ArchiveKey { name: row.get(9)?, ..key(row)? },
            window: window(row, 4)?,
            finality: finality(row, 6)?,
            row_count: count(row, 7)?,
            counted: count(row, 8)?,
        })
    };
    let mut all = Vec::new();
    for statement in upkeep::miscounts() {
        for found in connection.prepare(&statement)?.query_map([], miscount)? {
            all.push(found?);
        }
    }
    Ok(all)
}

/// Deletes what is kept of a phone number, from the log of writes too; `None` if somebody who reads keeps that from it.
pub(super) fn forget(connection: &mut Connection, phone: &str) -> rusqlite::Result<Option<u64>> {
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate)?;
    let rows: rusqlite::Result<Vec<_>> = transaction
        .prepare(&upkeep::rows_of_phone("?1"))?
        .query_map([phone], |row| Ok((key(row)?, time(row, 4)?)))?
        .collect();
    let mut gone = 0;
    for statement in upkeep::forget_phone("?1") {
        gone += transaction.execute(&statement, [phone])? as u64;
    }
    for ((key, window), by) in upkeep::shrinking(rows?) {
        grow(&transaction, &key, window, -by)?;
    }
    transaction.commit()?;
    let is_busy: bool = connection.query_row("PRAGMA wal_checkpoint(TRUNCATE)", [], |row| row.get(0))?;
    Ok((!is_busy).then_some(gone))
}

/// Renames a file and what SQLite keeps beside it; the file's new name.
pub(super) fn set_aside(path: &Path) -> std::io::Result<PathBuf> {
    let stamp = SystemClock.now().to_jiff().strftime("%Y%m%dT%H%M%SZ").to_string();
    let aside = beside(path, &format!(".damaged-{stamp}"));
    // The log first: a new file must not find the old one's.
    for what in ["-shm", "-wal", ""] {
        let from = beside(path, what);
        if what.is_empty() || from.exists() {
            std::fs::rename(from, beside(&aside, what))?;
        }
    }
    Ok(aside)
}

/// Rows as they are.
pub(super) fn dump(connection: &Connection, table: TableName, span: Window) -> rusqlite::Result<Vec<Vec<Value>>> {
    let columns = table.columns();
    let mut statement = connection.prepare_cached(&table.select())?;
    let mut found = statement.query(params_from_iter([instant(span.start()), instant(span.end())]))?;
    let mut rows = Vec::new();
    while let Some(row) = found.next()? {
        rows.push(
            columns.iter().enumerate().map(|(at, column)| value(row, at, column.kind)).collect::<Result<_, _>>()?,
        );
    }
    Ok(rows)
}
