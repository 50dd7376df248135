//! Cells of a grid in which something is wanted, and the fewest spans that cover them: pure.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::domain::{Class, Timestamp, Window};

/// Wanted cells in order of time, by the class they are wanted in, in runs of neighbours that are wanted equally often.
/// Whatever is asked of them costs the logarithm of the runs: a plan takes as long as it has calls, however much waits.
#[derive(Debug, Clone, Default)]
pub(super) struct Cells([BTreeMap<Timestamp, Run>; 3]);

/// Cells without a gap between them. Runs do not overlap.
#[derive(Debug, Clone, Copy)]
struct Run {
    end: Timestamp,
    /// How often each of them is wanted.
    n: usize,
}

impl Cells {
    pub(super) fn add(&mut self, cells: Window, class: Class) {
        self.add_times(cells, class, 1);
    }

    fn add_times(&mut self, cells: Window, class: Class, n: usize) {
        let runs = &mut self.0[class as usize];
        split(runs, cells);
        let within = runs.range(cells.start()..cells.end());
        let known = within.filter_map(|(start, run)| Some((Window::new(*start, run.end)?, run.n)));
        for (window, before) in cells.laid_out(known.collect::<Vec<_>>()) {
            runs.insert(window.start(), Run { end: window.end(), n: before.unwrap_or_default() + n });
        }
    }

    pub(super) fn take(&mut self, cells: Window, class: Class) {
        let runs = &mut self.0[class as usize];
        split(runs, cells);
        runs.range_mut(cells.start()..cells.end()).for_each(|(_, run)| run.n -= 1);
        runs.extract_if(cells.start()..cells.end(), |_, run| run.n == 0).for_each(drop);
    }

    pub(super) fn append(&mut self, other: &Self) {
        for (class, runs) in CLASSES.into_iter().zip(&other.0) {
            for (start, run) in runs {
                if let Some(cells) = Window::new(*start, run.end) {
                    self.add_times(cells, class, run.n);
                }
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.0.iter().all(BTreeMap::is_empty)
    }

    /// The parts of a span in which nothing is wanted.
    pub(super) fn lacking(&self, span: Window) -> Vec<Window> {
        let without = |spans: Vec<Window>, runs| {
            let lacking = |span: Window| span.laid_out(overlapping(runs, span).map(|window| (window, ()))).into_iter();
            let lacking = |span| lacking(span).filter(|(_, known)| known.is_none()).map(|(window, _)| window);
            spans.into_iter().flat_map(lacking).collect()
        };
        self.0.iter().fold(vec![span], without)
    }

    /// The highest class in which any cell of the span is wanted.
    pub(super) fn class_in(&self, span: Window) -> Option<Class> {
        CLASSES.into_iter().find(|class| overlapping(&self.0[*class as usize], span).next().is_some())
    }

    /// The span from the first cell to the last.
    pub(super) fn hull(&self) -> Option<Window> {
        let first = self.0.iter().filter_map(|runs| runs.keys().next()).min()?;
        let last = self.0.iter().filter_map(|runs| runs.values().next_back()).map(|run| run.end).max()?;
        Window::new(*first, last)
    }

    /// The first that is wanted of a span.
    fn first_in(&self, span: Window) -> Option<Timestamp> {
        let firsts = self.0.iter().filter_map(|runs| overlapping(runs, span).next());
        firsts.map(|run| run.start().max(span.start())).min()
    }

    /// Where what is wanted of a span ends.
    fn end_in(&self, span: Window) -> Option<Timestamp> {
        let lasts = self.0.iter().filter_map(|runs| runs.range(..span.end()).next_back());
        lasts.map(|(_, run)| run.end.min(span.end())).filter(|end| span.start() < *end).max()
    }
}

/// In their order.
const CLASSES: [Class; 3] = [Class::Interactive, Class::Bulk, Class::Background];

/// The runs that share a cell with the span.
fn overlapping(runs: &BTreeMap<Timestamp, Run>, span: Window) -> impl Iterator<Item = Window> {
    let before = runs.range(..span.start()).next_back().filter(|(_, run)| span.start() < run.end);
    let within = before.into_iter().chain(runs.range(span.start()..span.end()));
    within.filter_map(|(start, run)| Window::new(*start, run.end))
}

/// Lets runs begin and end where `cells` do.
fn split(runs: &mut BTreeMap<Timestamp, Run>, cells: Window) {
    for at in [cells.start(), cells.end()] {
        let Some((_, run)) = runs.range_mut(..at).next_back().filter(|(_, run)| at < run.end) else { continue };
        let rest = *run;
        run.end = at;
        runs.insert(at, rest);
    }
}

/// The fewest spans of at most `reach` that cover what is wanted in any of `parts`: each begins with
/// the first cell that is not covered yet and is as long as it may be, so that no fewer can do.
pub(super) fn spans(parts: &[&Cells], reach: Duration) -> Vec<Window> {
    let mut spans: Vec<Window> = Vec::new();
    let Some(hull) = parts.iter().filter_map(|cells| cells.hull()).reduce(Window::hull) else { return spans };
    let mut left = Some(hull);
    while let Some(first) = left.and_then(|left| parts.iter().filter_map(|cells| cells.first_in(left)).min()) {
        let Some(reached) = Window::new(first, first + reach) else { break };
        let end = parts.iter().filter_map(|cells| cells.end_in(reached)).max();
        let span = end.and_then(|end| Window::new(first, end)).unwrap_or(reached);
        spans.push(span);
        left = Window::new(span.end(), hull.end());
    }
    spans
}
