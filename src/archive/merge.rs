//! What of a slice is written beside what is kept already: pure, the same for every store.
//!
//! What is FINAL stays as it was written. Where the vendor tells it otherwise later, both are kept: the first in its table,
//! the other in `restated`.

use std::collections::HashMap;

use crate::domain::{ArchiveRow, ArchivedSlice, Finality, Number, Timestamp};

/// What is kept of a slice that is to be written.
#[derive(Debug, Default)]
pub(super) struct Kept {
    /// Its line in `collected`.
    pub(super) line: Option<(Finality, Timestamp)>,
    /// Its rows, each with when it was fetched.
    pub(super) rows: Vec<(ArchiveRow, Timestamp)>,
}

/// What is to be done.
#[derive(Debug, PartialEq)]
pub(super) enum Change {
    /// Nothing: better is kept.
    None,
    /// What is provisional of it goes, and these of its rows come.
    Replace { insert: Vec<usize>, row_count: u64, restated: Vec<Restated> },
    /// It stays as it is, and the vendor tells it otherwise.
    Restate(Vec<Restated>),
}

/// A number that was FINAL and is told otherwise.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Restated {
    /// The row as it is kept; `None` if it was not there.
    pub(super) held: Option<(ArchiveRow, Timestamp)>,
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
    let finals: HashMap<_, _> =
        kept.rows.iter().filter(|(row, _)| row.finality == Finality::Final).map(by_id).collect();
    let insert: Vec<usize> = (0..slice.rows.len())
        .filter(|at| slice.rows.get(*at).is_some_and(|row| !finals.contains_key(&id(row))))
        .collect();
    let row_count = (finals.len() + insert.len()) as u64;
    let restated = differences(slice, kept, is_final);
    Change::Replace { insert, row_count, restated }
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
    if kept.line.is_some_and(|(finality, _)| finality == Finality::Final) {
        let held: HashMap<_, _> = kept.rows.iter().map(by_id).collect();
        for row in slice.rows.iter().filter(|row| !held.contains_key(&id(row))) {
            compare(None, Some(row), &mut restated);
        }
    }
    restated
}

/// Notes the numbers in which the two differ.
fn compare(held: Option<&(ArchiveRow, Timestamp)>, told: Option<&ArchiveRow>, restated: &mut Vec<Restated>) {
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

fn by_id(kept: &(ArchiveRow, Timestamp)) -> (Id<'_>, &ArchiveRow) {
    (id(&kept.0), &kept.0)
}

fn same(one: Option<Number>, other: Option<Number>) -> bool {
    match (one, other) {
        (Some(Number::Float(one)), Some(Number::Float(other))) => one.to_bits() == other.to_bits(),
        (one, other) => one == other,
    }
}
