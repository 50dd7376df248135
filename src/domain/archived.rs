//! Slices as an archive keeps them: flat rows under the names that people know, whatever the operation.

use std::sync::Arc;

use super::dataset::Dataset;
use super::{Finality, Held, Operation, Slice, Timestamp, Window};

/// Whose slices, as the tables of an archive name them. Compared whole.
#[derive(Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct ArchiveKey {
    /// In which table.
    pub dataset: Dataset,
    /// The name of the account in the config: whoever renames an account begins anew.
    pub account: String,
    /// The channel or the application; `None` for the only channel of an account without named ones.
    pub entity: Option<String>,
    /// The step of a series, where it has one.
    pub granularity: Option<&'static str>,
    /// By what the rows of a window are told apart, where that can be chosen.
    pub dimension: Option<&'static str>,
    /// The one phone number that was asked for; `None` for all.
    pub name: Option<String>,
}

/// Neither a phone number nor anything else that is the caller's own.
impl std::fmt::Debug for ArchiveKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}/{}", self.dataset.as_str(), self.account)
    }
}

/// A number of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Number {
    /// A count that adds up.
    Integer(i64),
    /// Any other.
    Float(f64),
}

/// One row of a slice.
#[derive(Clone, PartialEq)]
pub struct ArchiveRow {
    /// The phone number or the place.
    pub name: Arc<str>,
    /// The first instant inside.
    pub start: Timestamp,
    /// The first instant after.
    pub end: Timestamp,
    /// In the order of the dataset's columns.
    pub numbers: [Number; 2],
    /// Whether the vendor may still change the numbers.
    pub finality: Finality,
}

/// Without its name, which may be a phone number.
impl std::fmt::Debug for ArchiveRow {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}..{} {:?} {:?}", self.start, self.end, self.numbers, self.finality)
    }
}

/// One slice.
#[derive(Debug, Clone, PartialEq)]
pub struct ArchivedSlice {
    /// Whose.
    pub key: Arc<ArchiveKey>,
    /// Over which span.
    pub window: Window,
    /// Whether the vendor may still change any of it.
    pub finality: Finality,
    /// When the request was sent that brought it.
    pub fetched_at: Timestamp,
    /// Ordered as they were answered.
    pub rows: Vec<ArchiveRow>,
}

impl ArchivedSlice {
    /// What is held of a slice, as it is kept under a key.
    #[must_use]
    pub fn of<O: Archived>(key: &Arc<ArchiveKey>, slice: &Slice<O::Subject>, held: &Held<O::Data>) -> Self {
        let finality = if held.is_settled() { Finality::Final } else { Finality::Provisional };
        let (window, rows) = (slice.window, O::to_rows(slice, &held.data));
        Self { key: Arc::clone(key), window, finality, fetched_at: held.sent_at, rows }
    }
}

/// An operation whose slices are archived.
pub trait Archived: Operation {
    /// In which table its rows are.
    const DATASET: Dataset;

    /// What the archive knows a subject by.
    fn archive_key(subject: &Self::Subject) -> ArchiveKey;

    /// Whose rows show in which zone those of `subject` are dated, if they do not themselves.
    fn dated_by(_subject: &Self::Subject) -> Option<Self::Subject> {
        None
    }

    /// The rows of a slice.
    fn to_rows(slice: &Slice<Self::Subject>, data: &Self::Data) -> Vec<ArchiveRow>;

    /// A slice made of its rows again, in any order, and what it weighs in memory; `None` if they make no sense.
    fn from_rows(subject: &Self::Subject, rows: Vec<ArchiveRow>, finality: Finality) -> Option<(Self::Data, u32)>;
}
