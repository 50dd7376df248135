//! An archive in one file of SQLite, for a process alone.
//!
//! Instants are text as SQLite's own functions write them, in UTC with six digits of a second: the one spelling in which
//! comparing texts is comparing instants for the tools that read the file (docs/bi/archive.md).

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::BoxFuture;
use jiff::civil;
use jiff::tz::TimeZone;
use rusqlite::types::{ToSql, ToSqlOutput, Value, ValueRef};
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior, params_from_iter};

use super::merge::{Change, Kept, Restated, merge};
use super::tables::{
    BUSY, COLLECTED, Dialect, RESTATED, TABLES, Table, cell, create, finality_of, indexes, key_values, line_cells,
    line_names, lines_of, phone_lines, restated_cells, slice_of, views, window_length,
};
use super::{Archive, ArchiveError, ArchiveErrorKind, Collected, Dated, Want, Windows, Written};
use crate::domain::dataset::{Cell, Column, Kind};
use crate::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Finality, Number, Timestamp, Window};

/// Marks a file as one of weir's: "weir".
const APPLICATION: i32 = 0x7765_6972;
/// The schema that this weir writes.
const VERSION: i32 = 1;
/// Connections that are kept open for reading.
const READERS: usize = 4;
/// A file up to this many bytes is checked as a whole at start.
const CHECKED_AT_START: u64 = 256 * 1024 * 1024;

/// An archive in a file.
pub struct Sqlite(Arc<File>);

struct File {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// Once it is seen to be damaged it is not used any more.
    is_damaged: AtomicBool,
}

impl Sqlite {
    /// Opens the file, which is created where there is none.
    ///
    /// # Errors
    /// A file that cannot be read and written, that is another program's, is damaged, or was made by a newer weir.
    pub fn open(path: &Path) -> Result<Self, ArchiveError> {
        let opened = Connection::open(path).and_then(|connection| {
            connection.busy_timeout(BUSY)?;
            Ok(connection)
        });
        let mut connection = opened.map_err(|error| explain(path, &error))?;
        prepare(&mut connection, path)?;
        let file = File {
            path: path.to_owned(),
            writer: Mutex::new(connection),
            readers: Mutex::new(Vec::new()),
            is_damaged: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(file)))
    }

    fn run<T: Send + 'static>(
        &self,
        work: impl FnOnce(&File) -> Result<T, rusqlite::Error> + Send + 'static,
    ) -> BoxFuture<'static, Result<T, ArchiveError>> {
        let file = Arc::clone(&self.0);
        Box::pin(async move {
            let work = move || {
                if file.is_damaged.load(Ordering::Relaxed) {
                    return Err(damaged(&file.path, "it was found so while it was read"));
                }
                let done = work(&file).map_err(|error| explain(&file.path, &error));
                if done.as_ref().is_err_and(|error| error.kind == ArchiveErrorKind::Unusable) {
                    file.is_damaged.store(true, Ordering::Relaxed);
                }
                done
            };
            let gone = || Err(unavailable("it was given up".to_owned(), String::new()));
            tokio::task::spawn_blocking(work).await.unwrap_or_else(|_| gone())
        })
    }
}

/// Sees that the file may be used, and brings its tables up to what this weir writes.
fn prepare(connection: &mut Connection, path: &Path) -> Result<(), ArchiveError> {
    let wrong = |error: rusqlite::Error| explain(path, &error);
    let number = |connection: &Connection, pragma: &str| connection.pragma_query_value(None, pragma, |row| row.get(0));
    let (application, version): (i32, i32) =
        (number(connection, "application_id").map_err(wrong)?, number(connection, "user_version").map_err(wrong)?);
    let tables: i64 =
        connection.query_row("SELECT count(*) FROM sqlite_master", [], |row| row.get(0)).map_err(wrong)?;
    if tables > 0 && application != APPLICATION {
        return Err(unusable(path, "is a database of another program; name another file".to_owned()));
    }
    if version > VERSION {
        let message = format!("was written by a newer weir (schema {version}, this one knows {VERSION}); update weir");
        return Err(unusable(path, message));
    }
    if std::fs::metadata(path).is_ok_and(|file| file.len() <= CHECKED_AT_START) {
        let found: String = connection.query_row("PRAGMA quick_check(1)", [], |row| row.get(0)).map_err(wrong)?;
        if found != "ok" {
            return Err(damaged(path, &found));
        }
    }
    // A reader never waits for the writer, nor the other way round; what is committed outlives a loss of power.
    connection.pragma_update(None, "journal_mode", "WAL").map_err(wrong)?;
    connection.pragma_update(None, "synchronous", "FULL").map_err(wrong)?;
    let transaction = connection.transaction_with_behavior(TransactionBehavior::Immediate).map_err(wrong)?;
    // Whoever had the lock before may have done it.
    let version: i32 = number(&transaction, "user_version").map_err(wrong)?;
    for migration in MIGRATIONS.iter().skip(usize::try_from(version).unwrap_or(usize::MAX)) {
        transaction.execute_batch(&migration()).map_err(wrong)?;
    }
    transaction.pragma_update(None, "application_id", APPLICATION).map_err(wrong)?;
    transaction.pragma_update(None, "user_version", VERSION).map_err(wrong)?;
    transaction.commit().map_err(wrong)
}

/// From each schema to the next. What has been released is never changed.
const MIGRATIONS: [fn() -> String; 1] = [tables];

const DIALECT: Dialect = Dialect {
    type_of: |kind| match kind {
        Kind::Text => "TEXT",
        Kind::Instant => "TIMESTAMP",
        Kind::Date => "DATE",
        Kind::Integer => "BIGINT",
        Kind::Float => "DOUBLE",
        Kind::Flag => "BOOLEAN",
    },
    true_false: ["1", "0"],
};

fn tables() -> String {
    let phones = phone_lines();
    let rows = TABLES.iter().map(|table| create(table.name(), table.columns(), &DIALECT));
    let other = [("collected", &COLLECTED[..]), ("collected_phones", &phones), ("restated", &RESTATED)];
    let other = other.into_iter().map(|(name, columns)| create(name, columns, &DIALECT));
    rows.chain(other).chain(indexes()).chain(views(&DIALECT)).map(|statement| statement + ";\n").collect()
}

impl Archive for Sqlite {
    /// Opening it has done so.
    fn prepare(&self) -> BoxFuture<'_, Result<(), ArchiveError>> {
        self.run(|_| Ok(()))
    }

    fn read(&self, wants: Vec<Want>) -> BoxFuture<'_, Result<Vec<Vec<ArchivedSlice>>, ArchiveError>> {
        self.run(move |file| file.reading(|connection| wants.iter().map(|want| read(connection, want)).collect()))
    }

    fn write(&self, slices: Arc<Vec<Dated>>) -> BoxFuture<'_, Result<Written, ArchiveError>> {
        self.run(move |file| {
            let mut writer = lock(&file.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut written = Written::default();
            for slice in slices.iter() {
                write(&transaction, slice, &mut written)?;
            }
            transaction.commit()?;
            Ok(written)
        })
    }

    fn collected(&self, key: ArchiveKey, span: Window) -> BoxFuture<'_, Result<Vec<Collected>, ArchiveError>> {
        self.run(move |file| file.reading(|connection| lines(connection, &key, span)))
    }
}

impl File {
    fn reading<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let kept = lock(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.reader()?,
        };
        let done = work(&connection);
        let mut readers = lock(&self.readers);
        if readers.len() < READERS {
            readers.push(connection);
        }
        done
    }

    fn reader(&self) -> rusqlite::Result<Connection> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        connection.busy_timeout(BUSY)?;
        Ok(connection)
    }
}

/// The lines of a key inside a span; those of the whole where one phone number is wanted, too: the better of both.
fn lines(connection: &Connection, key: &ArchiveKey, span: Window) -> rusqlite::Result<Vec<Collected>> {
    let mut found = lines_in(connection, key, span)?;
    if key.name.is_some() {
        let whole = ArchiveKey { name: None, ..key.clone() };
        for line in lines_in(connection, &whole, span)? {
            match found.iter_mut().find(|own| own.window == line.window) {
                Some(own) if own.finality == Finality::Final => {}
                Some(own) => *own = line,
                None => found.push(line),
            }
        }
        found.sort_by_key(|line| line.window);
    }
    Ok(found)
}

fn lines_in(connection: &Connection, key: &ArchiveKey, span: Window) -> rusqlite::Result<Vec<Collected>> {
    let (of_key, n) = Table::of(key.dataset).of_key(key, true);
    let phone = if key.name.is_some() { format!(" AND phone_number = ${}", n + 4) } else { String::new() };
    let sql = format!(
        "SELECT start_time, end_time, finality, fetched_at, row_count FROM {} WHERE {of_key} AND dataset = ${} \
         AND start_time >= ${} AND start_time < ${}{phone} ORDER BY start_time, end_time",
        lines_of(key),
        n + 1,
        n + 2,
        n + 3
    );
    let mut values: Vec<Parameter<'_>> = key_values(key).into_iter().map(text).collect();
    values.extend([text(key.dataset.as_str()), instant(span.start()), instant(span.end())]);
    values.extend(key.name.as_deref().map(text));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut rows = statement.query(params_from_iter(values))?;
    let mut lines = Vec::new();
    while let Some(row) = rows.next()? {
        let Some(window) = Window::new(time(row.get_ref(0)?), time(row.get_ref(1)?)) else { continue };
        if !span.covers(window) {
            continue;
        }
        let finality = finality_of(row.get_ref(2)?.as_str().unwrap_or_default());
        let row_count = u64::try_from(row.get::<_, i64>(4)?).unwrap_or_default();
        lines.push(Collected { window, finality, fetched_at: time(row.get_ref(3)?), row_count });
    }
    Ok(lines)
}

fn read(connection: &Connection, want: &Want) -> rusqlite::Result<Vec<ArchivedSlice>> {
    let key = &want.key;
    let spans = match &want.windows {
        Windows::Within(span) => vec![*span],
        Windows::Exactly(windows) => windows.clone(),
    };
    let is_exact = matches!(want.windows, Windows::Exactly(_));
    let mut slices: Vec<ArchivedSlice> = Vec::new();
    for span in spans {
        let own = lines(connection, key, span)?.into_iter().filter(|line| !is_exact || line.window == span);
        let first = slices.len();
        slices.extend(own.map(|line| ArchivedSlice {
            key: Arc::clone(key),
            window: line.window,
            finality: line.finality,
            fetched_at: line.fetched_at,
            rows: Vec::new(),
        }));
        if first == slices.len() {
            continue;
        }
        let mut at = first;
        for (row, _) in rows(connection, key, span, is_exact)? {
            let Some(window) = slice_of(key, &row) else { continue };
            // Both are in order of time.
            while slices.get(at).is_some_and(|slice| slice.window.start() < window.start()) {
                at += 1;
            }
            if let Some(slice) = slices.get_mut(at).filter(|slice| slice.window == window) {
                slice.rows.push(row);
            }
        }
    }
    Ok(slices)
}

/// The rows of a key that begin inside a span, in order of time; only those of the very window if it `is_exact`.
fn rows(
    connection: &Connection,
    key: &ArchiveKey,
    span: Window,
    is_exact: bool,
) -> rusqlite::Result<Vec<(ArchiveRow, Timestamp)>> {
    let table = Table::of(key.dataset);
    let (of_key, n) = table.of_key(key, false);
    let [one, other] = table.numbers;
    let times = if is_exact {
        format!("start_time = ${} AND end_time = ${}", n + 1, n + 2)
    } else {
        format!("start_time >= ${} AND start_time < ${}", n + 1, n + 2)
    };
    let phone = if key.name.is_some() { format!(" AND {} = ${}", table.row_name, n + 3) } else { String::new() };
    let sql = format!(
        "SELECT {}, start_time, end_time, {one}, {other}, finality, fetched_at FROM {} \
         WHERE {of_key} AND {times}{phone} ORDER BY start_time",
        table.row_name,
        table.name(),
    );
    let mut values: Vec<Parameter<'_>> = key_values(key).into_iter().map(text).collect();
    values.extend([instant(span.start()), instant(span.end())]);
    values.extend(key.name.as_deref().map(text));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values))?;
    let mut rows: Vec<(ArchiveRow, Timestamp)> = Vec::new();
    let number = |value: ValueRef<'_>| match (value, table.counts) {
        (ValueRef::Integer(count), true) => Number::Integer(count),
        #[expect(clippy::cast_precision_loss, reason = "SQLite stores whole floats as integers")]
        (ValueRef::Integer(number), false) => Number::Float(number as f64),
        (ValueRef::Real(number), _) => Number::Float(number),
        _ => Number::Float(f64::NAN),
    };
    while let Some(row) = found.next()? {
        let name = row.get_ref(0)?.as_str().unwrap_or_default();
        let name = match rows.last() {
            Some((last, _)) if &*last.name == name => Arc::clone(&last.name),
            _ => name.into(),
        };
        let row = (
            ArchiveRow {
                name,
                start: time(row.get_ref(1)?),
                end: time(row.get_ref(2)?),
                numbers: [number(row.get_ref(3)?), number(row.get_ref(4)?)],
                finality: finality_of(row.get_ref(5)?.as_str().unwrap_or_default()),
            },
            time(row.get_ref(6)?),
        );
        rows.push(row);
    }
    Ok(rows)
}

fn write(connection: &Connection, dated: &Dated, written: &mut Written) -> rusqlite::Result<()> {
    let slice = &dated.slice;
    let (key, is_exact) = (&*slice.key, slice.key.granularity.is_none());
    let line = lines(connection, key, slice.window)?.into_iter().find(|line| line.window == slice.window);
    let rows = rows(connection, key, slice.window, is_exact)?;
    let kept = Kept { line: line.map(|line| (line.finality, line.fetched_at)), rows };
    match merge(slice, &kept) {
        Change::None => {}
        Change::Restate(restated) => written.restated += note(connection, slice, &restated)?,
        Change::Replace { insert, row_count, restated } => {
            written.restated += note(connection, slice, &restated)?;
            if kept.rows.iter().any(|(row, _)| row.finality == Finality::Provisional) {
                forget_provisional(connection, slice, is_exact)?;
            }
            let table = Table::of(key.dataset);
            let columns = table.columns();
            let mut statement = connection.prepare_cached(&insert_into(table.name(), columns))?;
            for at in &insert {
                let Some(row) = slice.rows.get(*at) else { continue };
                let cells = columns.iter().map(|column| Parameter(cell(column.field, dated, *at, row)));
                statement.execute(params_from_iter(cells))?;
            }
            put_line(connection, slice, row_count)?;
            written.slices += 1;
            written.rows += insert.len() as u64;
        }
    }
    Ok(())
}

fn insert_into(table: &str, columns: &[Column]) -> String {
    let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
    let places: Vec<String> = (1..=columns.len()).map(|n| format!("${n}")).collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places.join(", "))
}

fn forget_provisional(connection: &Connection, slice: &ArchivedSlice, is_exact: bool) -> rusqlite::Result<()> {
    let (key, table) = (&slice.key, Table::of(slice.key.dataset));
    let (of_key, n) = table.of_key(key, false);
    let end = if is_exact { "end_time =" } else { "start_time <" };
    let start = if is_exact { "=" } else { ">=" };
    let phone = if key.name.is_some() { format!(" AND {} = ${}", table.row_name, n + 3) } else { String::new() };
    let sql = format!(
        "DELETE FROM {} WHERE {of_key} AND start_time {start} ${} AND {end} ${}{phone} AND finality = 'PROVISIONAL'",
        table.name(),
        n + 1,
        n + 2
    );
    let mut values: Vec<Parameter<'_>> = key_values(key).into_iter().map(text).collect();
    values.extend([instant(slice.window.start()), instant(slice.window.end())]);
    values.extend(key.name.as_deref().map(text));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

fn put_line(connection: &Connection, slice: &ArchivedSlice, row_count: u64) -> rusqlite::Result<()> {
    let key = &*slice.key;
    let (of_key, n) = Table::of(key.dataset).of_key(key, true);
    let phone = if key.name.is_some() { format!(" AND phone_number = ${}", n + 4) } else { String::new() };
    let sql = format!(
        "DELETE FROM {} WHERE {of_key} AND dataset = ${} AND start_time = ${} AND end_time = ${}{phone}",
        lines_of(key),
        n + 1,
        n + 2,
        n + 3
    );
    let mut values: Vec<Parameter<'_>> = key_values(key).into_iter().map(text).collect();
    let (start, end) = (instant(slice.window.start()), instant(slice.window.end()));
    values.extend([text(key.dataset.as_str()), start, end]);
    values.extend(key.name.as_deref().map(text));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values))?;
    let length = window_length(key, slice.window);
    let names = line_names(key);
    let values: Vec<Parameter<'_>> =
        line_cells(slice, length.as_deref(), row_count).into_iter().map(Parameter).collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let sql = format!("INSERT INTO {} ({}) VALUES ({})", lines_of(key), names.join(", "), places.join(", "));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

/// Notes what is told otherwise, each only once; how many were new.
fn note(connection: &Connection, slice: &ArchivedSlice, restated: &[Restated]) -> rusqlite::Result<u64> {
    let names: Vec<&str> = RESTATED.iter().map(|column| column.name).collect();
    let places: Vec<String> = (1..=names.len()).map(|n| format!("${n}")).collect();
    let known = "dataset = $1 AND account = $2 AND entity IS $3 AND granularity IS $4 AND dimension IS $5 AND name = $6 \
                 AND start_time = $7 AND end_time = $8 AND metric = $9 AND told_value IS $11";
    let sql = format!(
        "INSERT INTO restated ({}) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM restated WHERE {known})",
        names.join(", "),
        places.join(", "),
    );
    let mut new = 0;
    for one in restated {
        let Some(values) = restated_cells(slice, one) else { continue };
        new += connection.prepare_cached(&sql)?.execute(params_from_iter(values.into_iter().map(Parameter)))? as u64;
    }
    Ok(new)
}

/// A value on its way into a statement.
struct Parameter<'a>(Cell<'a>);

fn text(text: &str) -> Parameter<'_> {
    Parameter(Cell::Text(text))
}

fn instant(at: Timestamp) -> Parameter<'static> {
    Parameter(Cell::Instant(at))
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Instant(at) => ToSqlOutput::Owned(Value::Text(written(at))),
            Cell::Date(date) => ToSqlOutput::Owned(Value::Text(date.to_string())),
            Cell::Integer(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Cell::Float(number) => ToSqlOutput::Owned(Value::Real(number)),
            Cell::Flag(flag) => ToSqlOutput::Owned(Value::Integer(i64::from(flag))),
        })
    }
}

fn written(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// An instant as it is written; what is none is the beginning of 1970, which no slice holds.
fn time(value: ValueRef<'_>) -> Timestamp {
    let text = value.as_str().unwrap_or_default();
    let read = text.parse::<civil::DateTime>().ok().and_then(|time| TimeZone::UTC.to_timestamp(time).ok());
    read.map_or(Timestamp::from_ms(0), Timestamp::from)
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A transaction that was cut off is rolled back when it is dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn explain(path: &Path, error: &rusqlite::Error) -> ArchiveError {
    let place = place(path);
    let unavailable = |message: &str| unavailable(format!("{message} ({error})"), place.clone());
    match error.sqlite_error_code() {
        Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase) => damaged(path, &error.to_string()),
        Some(ErrorCode::CannotOpen) => {
            unusable(path, format!("cannot be opened: its folder must be there and be writable ({error})"))
        }
        Some(ErrorCode::ReadOnly | ErrorCode::PermissionDenied) => {
            unusable(path, format!("cannot be written: the file and its folder must be writable ({error})"))
        }
        Some(ErrorCode::DiskFull) => unavailable("is on a full disk; what is fetched again later is kept then"),
        Some(ErrorCode::DatabaseBusy | ErrorCode::DatabaseLocked) => unavailable("is locked by another process"),
        _ => unavailable("fails"),
    }
}

fn place(path: &Path) -> String {
    format!("`sqlite:{}`", path.display())
}

fn unavailable(message: String, place: String) -> ArchiveError {
    ArchiveError { kind: ArchiveErrorKind::Unavailable, place, message }
}

fn unusable(path: &Path, message: String) -> ArchiveError {
    ArchiveError { kind: ArchiveErrorKind::Unusable, place: place(path), message }
}

fn damaged(path: &Path, found: &str) -> ArchiveError {
    let message = format!(
        "is damaged ({found}); put a backup in its place, or set it aside with `weir archive set-aside` and begin a new one"
    );
    unusable(path, message)
}

impl fmt::Debug for Sqlite {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Sqlite").field(&self.0.path).finish()
    }
}
