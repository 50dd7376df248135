//! What is never forgotten: slices in a database that other tools read as it is.
//!
//! Two stores behind one small trait: a file ([`Sqlite`]), and a database that replicas share ([`Postgres`]).
//! What of a slice is written beside what is there is decided in one place, for both (`merge`); what the tables look like
//! too (`tables`). Asks never wait for a write: slices are handed to a [`Writer`].

mod ddl;
mod dump;
mod merge;
mod postgres;
mod slices;
mod sqlite;
mod tables;
mod upkeep;
mod writer;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use dump::{TableName, restated, slices};
pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use writer::{Making, Standing, Writer};

use crate::domain::calendar::Date;
use crate::domain::dataset::Value;
use crate::domain::{ArchiveKey, ArchivedSlice, Finality, Timestamp, Window};

/// Where slices are kept.
pub trait Archive: fmt::Debug + Send + Sync + 'static {
    /// Sees that the archive may be used, and brings its tables up to what this weir writes.
    ///
    /// # Errors
    /// It cannot be reached, or must not be used as it is.
    fn prepare(&self) -> BoxFuture<'_, Result<(), ArchiveError>>;

    /// The slices that are kept of each want, in order of time. Where one phone number is wanted and the whole channel is
    /// kept, the slice holds the rows of that number.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn read(&self, wants: Vec<Want>) -> BoxFuture<'_, Result<Vec<Vec<ArchivedSlice>>, ArchiveError>>;

    /// Keeps slices, all or none: each with its rows and its line in `collected`. What is FINAL is never overwritten.
    ///
    /// # Errors
    /// The database cannot be written; nothing of the batch is kept.
    fn write(&self, slices: Arc<Vec<Dated>>) -> BoxFuture<'_, Result<Written, ArchiveError>>;

    /// Which slices of a key are kept inside a span, in order of time, without their rows.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn collected(&self, key: ArchiveKey, span: Window) -> BoxFuture<'_, Result<Vec<Collected>, ArchiveError>>;

    /// Whether this process is the one that collects, of all that use this archive. To be asked every few seconds: it becomes
    /// so when nobody else is, and stays so until it ends or its connection does.
    ///
    /// # Errors
    /// It cannot be found out; then it is not.
    fn lead(&self) -> BoxFuture<'_, Result<bool, ArchiveError>>;

    /// From when to when slices are kept, and how many, those of single phone numbers too; `None` where there are none.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn extent(&self) -> BoxFuture<'_, Result<Option<Extent>, ArchiveError>>;

    /// What is kept, key by key, in their order; single phone numbers that were asked for alone are not told apart.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn holdings(&self) -> BoxFuture<'_, Result<Vec<Holding>, ArchiveError>>;

    /// The bytes that it takes up on disk.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn size(&self) -> BoxFuture<'_, Result<u64, ArchiveError>>;

    /// How many FINAL numbers were told otherwise later, and the newest of them, at most so many.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn restated(&self, limit: usize) -> BoxFuture<'_, Result<(u64, Vec<RestatedNumber>), ArchiveError>>;

    /// Takes lines of `restated` in as [`dump`](Self::dump) has answered them, each only once; how many were new.
    ///
    /// # Errors
    /// The database cannot be written.
    fn note(&self, lines: Vec<Vec<Value>>) -> BoxFuture<'_, Result<u64, ArchiveError>>;

    /// Looks for damage: the slices whose rows are not as many as their line in `collected` or `collected_phones` says. Reads
    /// all of it.
    ///
    /// # Errors
    /// The database cannot be asked, or is damaged.
    fn miscounts(&self) -> BoxFuture<'_, Result<Vec<Miscount>, ArchiveError>>;

    /// The rows of a table that begin inside a span, as they are, in order of time.
    ///
    /// # Errors
    /// The database cannot be asked.
    fn dump(&self, table: TableName, span: Window) -> BoxFuture<'_, Result<Vec<Vec<Value>>, ArchiveError>>;

    /// Deletes whatever is kept of a phone number, by its digits; how many rows went. What a vendor still tells of it comes
    /// back when it is fetched again.
    ///
    /// # Errors
    /// The database cannot be written; nothing is deleted, or, of a file, something else still reads what is.
    fn forget(&self, phone: String) -> BoxFuture<'_, Result<u64, ArchiveError>>;
}

/// How much is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Extent {
    /// From the first slice until the last.
    pub span: Window,
    /// How many slices.
    pub slices: u64,
}

/// What is kept of a key.
#[derive(Debug, Clone, PartialEq)]
pub struct Holding {
    /// Whose.
    pub key: ArchiveKey,
    /// How long its windows are, ISO 8601, where that can be chosen.
    pub window_length: Option<String>,
    /// Where the first slice begins.
    pub first: Timestamp,
    /// Where the last one ends.
    pub last: Timestamp,
    /// How many slices are FINAL.
    pub final_slices: u64,
    /// How many are not.
    pub provisional_slices: u64,
    /// How many rows they hold.
    pub rows: u64,
    /// When the newest was fetched.
    pub fetched_at: Timestamp,
}

/// A FINAL number that was told otherwise later.
#[derive(Clone, PartialEq)]
pub struct RestatedNumber {
    /// Whose, without the name.
    pub key: ArchiveKey,
    /// The phone number or the place.
    pub name: String,
    /// Of which span the row is.
    pub window: Window,
    /// Which of its numbers.
    pub metric: String,
    /// The number as it is kept; `None` if there was no such row.
    pub held_value: Option<f64>,
    /// The number as it was told later; `None` if there was no such row any more.
    pub told_value: Option<f64>,
    /// When the kept one was fetched.
    pub held_fetched_at: Option<Timestamp>,
    /// When the other one was fetched.
    pub told_fetched_at: Timestamp,
}

/// Without its name, which may be a phone number.
impl fmt::Debug for RestatedNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { key, window, metric, held_value, told_value, .. } = self;
        write!(f, "{key:?} {window:?} {metric}: {held_value:?}, then {told_value:?}")
    }
}

/// A slice whose rows are not as many as its line says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Miscount {
    /// Whose; it names the phone number if that was asked for alone.
    pub key: ArchiveKey,
    /// Over which span.
    pub window: Window,
    /// Whether the vendor may still change any of it.
    pub finality: Finality,
    /// How many rows there should be.
    pub row_count: u64,
    /// How many there are.
    pub counted: u64,
}

/// Slices that are wanted of one key.
#[derive(Debug, Clone)]
pub struct Want {
    /// Whose.
    pub key: Arc<ArchiveKey>,
    /// Which.
    pub windows: Windows,
}

/// Which slices.
#[derive(Debug, Clone)]
pub enum Windows {
    /// Those that lie in a span.
    Within(Window),
    /// These, if they are kept as they are.
    Exactly(Vec<Window>),
}

/// A slice with the local dates of its rows.
#[derive(Debug, Clone)]
pub struct Dated {
    /// The slice.
    pub slice: ArchivedSlice,
    /// Of each row, where the zone is known.
    pub dates: Vec<Option<Date>>,
    /// When each row was fetched, where that is not known to be when the slice was.
    pub fetched: Vec<Timestamp>,
}

/// A slice that is kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Collected {
    /// Over which span.
    pub window: Window,
    /// Whether the vendor may still change any of it.
    pub finality: Finality,
    /// When the request was sent that brought it.
    pub fetched_at: Timestamp,
    /// How many rows are kept of it.
    pub row_count: u64,
}

/// What a write has done.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Written {
    /// Slices that were kept: new ones, and those that replaced a provisional one.
    pub slices: u64,
    /// Rows that were written for them.
    pub rows: u64,
    /// Numbers that the vendor tells otherwise than the FINAL ones that are kept, noted for the first time.
    pub restated: u64,
}

/// Why an archive cannot be used.
#[derive(Debug, Clone, thiserror::Error)]
#[error("the archive {place}: {message}")]
pub struct ArchiveError {
    /// What it means.
    pub kind: ArchiveErrorKind,
    /// Which archive, without its password.
    pub place: String,
    /// What is wrong and how to mend it, in one line.
    pub message: String,
}

/// Why an archive cannot be used, sorted.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ArchiveErrorKind {
    /// It cannot be reached, is busy or full: it may be there again later.
    Unavailable,
    /// It is there and must not be used as it is.
    Unusable,
    /// The url makes no sense.
    Misconfigured,
}

/// Opens the archive at `url`: `sqlite:FILE`, whose tables are created where there are none, or `postgres://…`, which is
/// connected to later and may be read by the role `reader`, unless that is empty.
///
/// # Errors
/// An url that is neither; a file that cannot be opened or written, is damaged, or was made by a newer weir.
pub fn open(url: &str, reader: &str) -> Result<Arc<dyn Archive>, ArchiveError> {
    match url.split_once(':') {
        Some(("sqlite", path)) if !path.is_empty() => Ok(Arc::new(Sqlite::open(path.as_ref())?)),
        Some(("postgres" | "postgresql", _)) => Ok(Arc::new(Postgres::new(url, reader)?)),
        _ => Err(ArchiveError {
            kind: ArchiveErrorKind::Misconfigured,
            place: "at `[archive] url`".to_owned(),
            message: "is neither sqlite:FILE nor postgres://USER:PASSWORD@HOST/DATABASE".to_owned(),
        }),
    }
}
