//! What both stores make of the lines and rows that they have read: pure.

use std::collections::{BTreeMap, HashMap, HashSet};
use std::sync::Arc;

use super::Collected;
use super::merge::KeptRow;
use super::tables::slice_of;
use crate::domain::{ArchiveKey, ArchivedSlice, Finality, Timestamp, Window};

/// The lines by which a phone number is answered: of each window the better of its `own` and its channel's, which hold the
/// same rows of it. What is final is better, and what is newer; in order of time.
pub(super) fn better(own: Vec<Collected>, whole: Vec<Collected>) -> Vec<Collected> {
    let rank = |line: &Collected| match line.finality {
        Finality::Final => (1, Timestamp::from_ms(0)),
        Finality::Provisional => (0, line.fetched_at),
    };
    let mut best: BTreeMap<Window, Collected> = BTreeMap::new();
    for line in own.into_iter().chain(whole) {
        let known = best.entry(line.window).or_insert(line);
        if rank(&line) > rank(known) {
            *known = line;
        }
    }
    best.into_values().collect()
}

/// Room is made for no more rows than these before they are read: a line may say anything.
const MOST_EXPECTED: u64 = 100_000;

/// How many rows there will be: growing a long list copies it again and again.
pub(super) fn expected(key: &ArchiveKey, lines: &[Collected]) -> usize {
    // The line of a channel says nothing of one phone number.
    let of_all = lines.iter().map(|line| line.row_count).fold(0, u64::saturating_add);
    let rows = if key.name.is_some() { 0 } else { of_all.min(MOST_EXPECTED) };
    usize::try_from(rows).unwrap_or(0)
}

/// The slices of the lines, which come in order of time, each with its rows.
pub(super) fn assemble(key: &Arc<ArchiveKey>, lines: Vec<Collected>, rows: Vec<KeptRow>) -> Vec<ArchivedSlice> {
    let places: HashMap<Window, usize> = lines.iter().enumerate().map(|(at, line)| (line.window, at)).collect();
    let slice = |line: Collected| ArchivedSlice {
        key: Arc::clone(key),
        window: line.window,
        finality: line.finality,
        fetched_at: line.fetched_at,
        rows: Vec::new(),
    };
    let mut slices: Vec<ArchivedSlice> = lines.into_iter().map(slice).collect();
    // Neighbours are mostly of one slice.
    let mut last: (Option<Window>, Option<usize>) = (None, None);
    for (row, _) in rows {
        let window = slice_of(key, &row);
        if window != last.0 {
            last = (window, window.and_then(|window| places.get(&window)).copied());
        }
        if let Some(slice) = last.1.and_then(|at| slices.get_mut(at)) {
            slice.rows.push(row);
        }
    }
    for slice in &mut slices {
        slice.rows.sort_by_key(|row| row.start);
    }
    slices
}

/// Names of rows, each held once however many rows have it.
#[derive(Debug, Default)]
pub(super) struct Names(HashSet<Arc<str>>);

impl Names {
    /// The one text that all rows of this name share.
    pub(super) fn shared(&mut self, name: &str) -> Arc<str> {
        if let Some(known) = self.0.get(name) {
            return Arc::clone(known);
        }
        let new: Arc<str> = name.into();
        self.0.insert(Arc::clone(&new));
        new
    }
}
