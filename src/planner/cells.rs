//! Cells of a grid in which something is wanted, and the fewest spans that cover them: pure.

use std::collections::BTreeMap;
use std::collections::btree_map::Entry;
use std::time::Duration;

use crate::domain::{Class, Timestamp, Window};

/// Wanted cells in order of time, by the class they are wanted in, each with how often it is. Whatever is asked of them
/// costs their logarithm: a plan takes as long as it has calls, however much waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells([BTreeMap<Timestamp, Cell>; 3]);

/// Cells that begin together end together.
#[derive(Debug, Clone, Copy)]
struct Cell {
    end: Timestamp,
    n: usize,
}

impl Cells {
    pub(super) fn add(&mut self, cell: Window, class: Class) {
        self.0[class as usize].entry(cell.start()).or_insert(Cell { end: cell.end(), n: 0 }).n += 1;
    }

    pub(super) fn take(&mut self, cell: Window, class: Class) {
        if let Entry::Occupied(mut known) = self.0[class as usize].entry(cell.start()) {
            known.get_mut().n -= 1;
            if known.get().n == 0 {
                known.remove();
            }
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        for (own, more) in self.0.iter_mut().zip(other.0) {
            for (start, cell) in more {
                own.entry(start).or_insert(Cell { n: 0, ..cell }).n += cell.n;
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }

    pub(super) fn has(&self, cell: Window) -> bool {
        self.0.iter().any(|cells| cells.contains_key(&cell.start()))
    }

    /// The highest class in which any cell of the span is wanted.
    pub(super) fn class_in(&self, span: Window) -> Option<Class> {
        let is_wanted = |class: &Class| self.0[*class as usize].range(span.start()..span.end()).next().is_some();
        [Class::Interactive, Class::Bulk, Class::Background].into_iter().find(is_wanted)
    }

    /// The span from the first cell to the last.
    pub(super) fn hull(&self) -> Option<Window> {
        let first = self.0.iter().filter_map(|cells| cells.keys().next()).min()?;
        let last = self.0.iter().filter_map(|cells| cells.values().next_back()).map(|cell| cell.end).max()?;
        Window::new(*first, last)
    }

    fn first_from(&self, at: Timestamp) -> Option<Window> {
        let firsts = self.0.iter().filter_map(|cells| cells.range(at..).next());
        firsts.filter_map(|(start, cell)| Window::new(*start, cell.end)).min()
    }

    fn last_before(&self, end: Timestamp) -> Option<Window> {
        let lasts = self.0.iter().filter_map(|cells| cells.range(..end).next_back());
        lasts.filter_map(|(start, cell)| Window::new(*start, cell.end)).max()
    }
}

/// The fewest spans of at most `reach` (a cell at least) that cover what is wanted in any of `parts`: each begins with
/// the first cell that is not covered yet and is as long as it may be, so that no fewer can do.
pub(super) fn spans(parts: &[&Cells], reach: Duration) -> Vec<Window> {
    let mut spans: Vec<Window> = Vec::new();
    let first_from = |at| parts.iter().filter_map(|cells| cells.first_from(at)).min();
    while let Some(first) = first_from(spans.last().map_or(Timestamp::from_ms(i64::MIN), |span| span.end())) {
        let last = parts.iter().filter_map(|cells| cells.last_before(first.start() + reach)).max();
        spans.push(last.map_or(first, |last| first.hull(last)));
    }
    spans
}
