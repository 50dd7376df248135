//! What is never forgotten: slices in a database that other tools read as it is.
//!
//! Two stores behind one small trait: a file of SQLite ([`sqlite`]), and PostgreSQL, which replicas share ([`postgres`]).
//! What of a slice is written beside what is there is decided in one place, for both ([`merge`]); what the tables look like
//! too ([`tables`]). Asks never wait for a write: slices are handed to a [`Writer`].

mod ddl;
mod merge;
mod postgres;
mod slices;
mod sqlite;
mod tables;
mod writer;

use std::fmt;
use std::sync::Arc;

use futures_util::future::BoxFuture;

pub use postgres::Postgres;
pub use sqlite::Sqlite;
pub use writer::{Making, Standing, Writer};

use crate::domain::calendar::Date;
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
