//! An archive in one file of SQLite, for a process alone.
//!
//! Instants are text as SQLite's own functions write them, in UTC with six digits of a second: the one spelling in which
//! comparing texts is comparing instants for the tools that read the file (docs/bi/archive.md).

mod slices;
mod upkeep;
mod values;

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::future::BoxFuture;
use rusqlite::{Connection, ErrorCode, OpenFlags, TransactionBehavior};

use super::ddl::{Dialect, tables};
use super::upkeep::in_order;
use super::{
    Archive, ArchiveError, ArchiveErrorKind, Collected, Dated, Extent, Holding, Miscount, RestatedNumber, TableName,
    Want, Written,
};
use crate::domain::dataset::{Kind, Value};
use crate::domain::{ArchiveKey, ArchivedSlice, Window};

/// Marks a file as one of weir's: "weir".
const APPLICATION: i32 = 0x7765_6972;
/// The schema that this weir writes.
const VERSION: i32 = 1;
/// Connections that are kept open for reading.
const READERS: usize = 4;
/// How long a lock of the file is waited for.
const BUSY: Duration = Duration::from_secs(5);
/// A file up to this many bytes is checked as a whole at start.
const CHECKED_AT_START: u64 = 256 * 1024 * 1024;

/// An archive in a file.
pub struct Sqlite(Arc<File>);

struct File {
    path: PathBuf,
    writer: Mutex<Connection>,
    readers: Mutex<Vec<Connection>>,
    /// The lock by which this process collects, while it does.
    lead: Mutex<Option<std::fs::File>>,
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
            readers: Mutex::default(),
            lead: Mutex::default(),
            is_damaged: AtomicBool::new(false),
        };
        Ok(Self(Arc::new(file)))
    }

    /// Puts a file that is damaged out of the way, with what belongs to it, so that a new one may be begun; its new name.
    ///
    /// # Errors
    /// There is no such file, it cannot be renamed, or a weir that runs collects into it.
    pub fn set_aside(path: &Path) -> Result<PathBuf, ArchiveError> {
        let wrong = |error: std::io::Error| unusable(path, format!("cannot be set aside ({error})"));
        if !path.is_file() {
            return Err(unusable(path, "is not there".to_owned()));
        }
        let Some(_lock) = upkeep::take_lead(path).map_err(wrong)? else {
            return Err(unusable(path, "is in use by a weir that runs; stop it first".to_owned()));
        };
        upkeep::set_aside(path).map_err(wrong)
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
                work(&file).map_err(|error| {
                    if is_damage(&error) {
                        file.is_damaged.store(true, Ordering::Relaxed);
                    }
                    explain(&file.path, &error)
                })
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
    // What is deleted is overwritten, so that a phone number that is to be forgotten is not in the file any more.
    // A reader never waits for the writer, nor the other way round; what is committed outlives a loss of power.
    connection.pragma_update(None, "secure_delete", "ON").map_err(wrong)?;
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
const MIGRATIONS: [fn() -> String; 1] = [first];

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

fn first() -> String {
    tables(&DIALECT).into_iter().map(|statement| statement + ";\n").collect()
}

impl Archive for Sqlite {
    /// Opening it has done so.
    fn prepare(&self) -> BoxFuture<'_, Result<(), ArchiveError>> {
        self.run(|_| Ok(()))
    }

    fn read(&self, wants: Vec<Want>) -> BoxFuture<'_, Result<Vec<Vec<ArchivedSlice>>, ArchiveError>> {
        self.run(move |file| {
            file.reading(|connection| wants.iter().map(|want| slices::read(connection, want)).collect())
        })
    }

    fn write(&self, slices: Arc<Vec<Dated>>) -> BoxFuture<'_, Result<Written, ArchiveError>> {
        self.run(move |file| {
            let mut writer = lock(&file.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let mut written = Written::default();
            for slice in slices.iter() {
                slices::write(&transaction, slice, &mut written)?;
            }
            transaction.commit()?;
            Ok(written)
        })
    }

    fn collected(&self, key: ArchiveKey, span: Window) -> BoxFuture<'_, Result<Vec<Collected>, ArchiveError>> {
        self.run(move |file| file.reading(|connection| slices::lines(connection, &key, span)))
    }

    fn lead(&self) -> BoxFuture<'_, Result<bool, ArchiveError>> {
        let file = Arc::clone(&self.0);
        self.run(move |_| {
            let mut lead = lock(&file.lead);
            if lead.is_none() {
                *lead = upkeep::take_lead(&file.path).map_err(|error| {
                    rusqlite::Error::SqliteFailure(
                        rusqlite::ffi::Error::new(rusqlite::ffi::SQLITE_IOERR),
                        Some(error.to_string()),
                    )
                })?;
            }
            Ok(lead.is_some())
        })
    }

    fn extent(&self) -> BoxFuture<'_, Result<Option<Extent>, ArchiveError>> {
        self.run(|file| file.reading(upkeep::extent))
    }

    fn holdings(&self) -> BoxFuture<'_, Result<Vec<Holding>, ArchiveError>> {
        self.run(|file| {
            let mut holdings = file.reading(upkeep::holdings)?;
            in_order(&mut holdings);
            Ok(holdings)
        })
    }

    fn size(&self) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        self.run(|file| Ok(upkeep::size(&file.path)))
    }

    fn restated(&self, limit: usize) -> BoxFuture<'_, Result<(u64, Vec<RestatedNumber>), ArchiveError>> {
        self.run(move |file| file.reading(|connection| upkeep::restated(connection, limit)))
    }

    fn note(&self, lines: Vec<Vec<Value>>) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        self.run(move |file| {
            let mut writer = lock(&file.writer);
            let transaction = writer.transaction_with_behavior(TransactionBehavior::Immediate)?;
            let new = slices::note_lines(&transaction, lines.iter().map(|line| line.iter().map(Value::cell)))?;
            transaction.commit()?;
            Ok(new)
        })
    }

    fn miscounts(&self) -> BoxFuture<'_, Result<Vec<Miscount>, ArchiveError>> {
        self.run(|file| file.reading(upkeep::miscounts))
    }

    fn dump(&self, table: TableName, span: Window) -> BoxFuture<'_, Result<Vec<Vec<Value>>, ArchiveError>> {
        self.run(move |file| file.reading(|connection| upkeep::dump(connection, table, span)))
    }

    fn forget(&self, phone: String) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        let file = Arc::clone(&self.0);
        Box::pin(async move {
            let gone = self.run(move |file| upkeep::forget(&mut lock(&file.writer), &phone)).await?;
            let message = "has forgotten the number, but a program that reads it keeps its log from being emptied; \
                           end that program and do it again";
            gone.ok_or_else(|| unavailable(message.to_owned(), place(&file.path)))
        })
    }
}

impl File {
    fn reading<T>(&self, work: impl FnOnce(&Connection) -> rusqlite::Result<T>) -> rusqlite::Result<T> {
        let kept = lock(&self.readers).pop();
        let connection = match kept {
            Some(connection) => connection,
            None => self.reader()?,
        };
        // Lines and rows are of one moment.
        let done = connection.unchecked_transaction().and_then(|transaction| work(&transaction));
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

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // A transaction that was cut off is rolled back when it is dropped.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Whether what was read cannot be what weir has written.
fn is_damage(error: &rusqlite::Error) -> bool {
    let code = error.sqlite_error_code();
    values::is_nonsense(error) || matches!(code, Some(ErrorCode::DatabaseCorrupt | ErrorCode::NotADatabase))
}

fn explain(path: &Path, error: &rusqlite::Error) -> ArchiveError {
    if is_damage(error) {
        return damaged(path, &values::told(error));
    }
    let place = place(path);
    let unavailable = |message: &str| unavailable(format!("{message} ({error})"), place.clone());
    match error.sqlite_error_code() {
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
    // A check answers a heading and a line.
    let found = found.lines().last().unwrap_or_default();
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
