//! What of a slice is written beside what is kept already: pure, the same for every store.
//!
//! What is FINAL stays as it was written. Where the vendor tells it otherwise later, both are kept: the first in its table,
//! the other in `restated`. What is PROVISIONAL goes when something newer or FINAL is told. A channel and one of its phone
//! numbers may be asked for apart from one another: then the number's rows are those of the better answer.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use crate::domain::{ArchiveRow, ArchivedSlice, Finality, Number, Timestamp};

/// A row that is kept, with when it was fetched.
pub(super) type KeptRow = (ArchiveRow, Timestamp);

/// What is kept of a slice that is to be written.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Its line in `collected`: of a single phone number, the better of its own and its channel's.
    pub(super) line: Option<(Finality, Timestamp)>,
    /// Its rows.
    pub(super) rows: Vec<KeptRow>,
    /// Of a channel as a whole: the phone numbers that were asked for alone, with their lines.
    pub(super) alone: HashMap<Arc<str>, (Finality, Timestamp)>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing: better is kept.
    None,
    /// What is provisional of it goes, and other rows come.
    Replace(Replacement),
    /// It stays as it is, and the vendor tells it otherwise.
    Restate(Vec<Restated>),
}

/// What goes and what comes.
#[derive(Debug, PartialEq)]
pub(super) struct Replacement {
    /// Provisional rows and lines go that were fetched no later.
    pub(super) until: Timestamp,
    /// How many rows go.
    pub(super) dropped: usize,
    /// Which rows of the slice come.
    pub(super) insert: Vec<usize>,
    /// How many rows are there then.
    pub(super) row_count: u64,
    /// What of what stays is told otherwise.
    pub(super) restated: Vec<Restated>,
}

impl Replacement {
    /// By how many rows there are more then.
    pub(super) fn growth(&self) -> i64 {
        let rows = |n: usize| i64::try_from(n).unwrap_or(i64::MAX);
        rows(self.insert.len()) - rows(self.dropped)
    }
}

/// A number that was FINAL and is told otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Restated {
    /// The row as it is kept; `None` if it was not there.
    pub(super) held: Option<KeptRow>,
    /// The row as it is told now; `None` if it is there no more.
    pub(super) told: Option<ArchiveRow>,
    /// Which of its numbers.
    pub(super) number: usize,
}

impl Restated {
    /// The row, whichever there is.
    pub(super) fn row(&self) -> Option<&ArchiveRow> {
        self.held.as_ref().map(|(row, _)| row).or(self.told.as_ref())
    }
}

/// What becomes of `slice`.
pub(super) fn merge(slice: &ArchivedSlice, kept: &Kept) -> Change {
    let is_final = slice.finality == Finality::Final;
    match kept.line {
        Some((Finality::Final, _)) if !is_final => return Change::None,
        Some((Finality::Final, _)) => {
            let restated = differences(slice, kept, true);
            return if restated.is_empty() { Change::None } else { Change::Restate(restated) };
        }
        Some((Finality::Provisional, fetched_at)) if !is_final && fetched_at >= slice.fetched_at => {
            return Change::None;
        }
        _ => {}
    }
    // Whatever is provisional gives way to what is final; to what is not, only if that is newer.
    let until = if is_final { Timestamp::from_ms(i64::MAX) } else { slice.fetched_at };
    let stays = |(row, at): &&KeptRow| row.finality == Finality::Final || *at > until;
    let mut there: HashSet<Id<'_>> = kept.rows.iter().filter(stays).map(|(row, _)| id(row)).collect();
    let dropped = kept.rows.len() - there.len();
    let is_better_alone = |row: &ArchiveRow| {
        kept.alone.get(&row.name).is_some_and(|(finality, at)| *finality == Finality::Final || *at > until)
    };
    // A row that is told twice is kept once.
    let comes = |(at, row)| (!is_better_alone(row) && there.insert(id(row))).then_some(at);
    let insert: Vec<usize> = slice.rows.iter().enumerate().filter_map(comes).collect();
    let row_count = there.len() as u64;
    Change::Replace(Replacement { until, dropped, insert, row_count, restated: differences(slice, kept, is_final) })
}

/// The FINAL numbers that are kept and that `slice` tells otherwise. If it is `whole`, rows that it lacks or has more are
/// told otherwise too.
fn differences(slice: &ArchivedSlice, kept: &Kept, whole: bool) -> Vec<Restated> {
    let told: HashMap<_, _> = slice.rows.iter().map(|row| (id(row), row)).collect();
    let mut restated = Vec::new();
    for held in kept.rows.iter().filter(|(row, _)| row.finality == Finality::Final) {
        match told.get(&id(&held.0)) {
            // What is provisional is no word of how it ends.
            Some(told) if told.finality == Finality::Final => compare(Some(held), Some(told), &mut restated),
            None if whole => compare(Some(held), None, &mut restated),
            Some(_) | None => {}
        }
    }
    let is_final =
        |line: Option<&(Finality, Timestamp)>| line.is_some_and(|(finality, _)| *finality == Finality::Final);
    let is_all_final = is_final(kept.line.as_ref());
    let mut held: HashSet<_> = kept.rows.iter().map(|(row, _)| id(row)).collect();
    for row in slice.rows.iter().filter(|row| row.finality == Finality::Final) {
        if (is_all_final || is_final(kept.alone.get(&row.name))) && held.insert(id(row)) {
            compare(None, Some(row), &mut restated);
        }
    }
    restated
}

/// Notes the numbers in which the two differ.
fn compare(held: Option<&KeptRow>, told: Option<&ArchiveRow>, restated: &mut Vec<Restated>) {
    for number in 0..2 {
        let of = |row: &ArchiveRow| row.numbers.get(number).copied();
        if !same(held.and_then(|(row, _)| of(row)), told.and_then(of)) {
            restated.push(Restated { held: held.cloned(), told: told.cloned(), number });
        }
    }
}

/// What tells the rows of a slice apart.
type Id<'a> = (&'a str, Timestamp);

fn id(row: &ArchiveRow) -> Id<'_> {
    (&row.name, row.start)
}

fn same(one: Option<Number>, other: Option<Number>) -> bool {
    match (one, other) {
        (Some(Number::Float(one)), Some(Number::Float(other))) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
