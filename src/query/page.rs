//! Pages of rows.

use std::fmt;
use std::ops::Range;

use super::cursor::{self, Position, Seal};
use super::range::TimeRange;
use super::rows::{Row, Rows};
use crate::domain::{Key, LimitName, Point, Window};
use crate::error::WeirError;

/// Rows on a page when nobody says how many.
const DEFAULT_FIRST: usize = 10_000;
/// Rows on a page at most.
const MAX_FIRST: usize = 100_000;

/// Which page of the rows is wanted.
#[derive(Debug, Clone, Copy, Default)]
pub struct Paging<'a> {
    /// How many rows it has at most: 10,000 unless said, at most 100,000.
    pub first: Option<i64>,
    /// The cursor of the row before it; from the beginning without one.
    pub after: Option<&'a str>,
}

/// A walk over the pages of a query: its window, and where its next page begins.
#[derive(Debug)]
pub(super) struct Walk<K> {
    pub(super) window: Window,
    first: usize,
    after: Option<Position<K>>,
    seal: Seal,
}

impl<K: Key> Walk<K> {
    /// The walk that `paging` begins or goes on with. `window` is what the range means now, and `parts` is all else that
    /// decides which rows there are. A walk over `last` and one over `between` are different even where their windows are
    /// the same: only the first may be older than the range it names.
    pub(super) fn new(
        paging: Paging<'_>,
        range: TimeRange,
        window: Window,
        parts: impl IntoIterator<Item = String>,
    ) -> Result<Self, WeirError> {
        let (kind, window) = match (range, paging.after) {
            // The walk goes on in the window it began with, however long ago that was.
            (TimeRange::Last(_), Some(after)) => {
                let began = cursor::window_of(after)?;
                ("last", if began.length() == window.length() { began } else { window })
            }
            (TimeRange::Last(_), None) => ("last", window),
            (TimeRange::Between { .. }, _) => ("between", window),
        };
        let seal = Seal::new([kind.to_owned()].into_iter().chain(parts).collect(), window);
        let after = paging.after.map(|after| seal.open(after)).transpose()?;
        let first = match paging.first.map(usize::try_from) {
            None => DEFAULT_FIRST,
            Some(Ok(first)) if first <= MAX_FIRST => first,
            Some(asked) => {
                let refusal = WeirError::bad_input(format!("first must be between 0 and {MAX_FIRST}"));
                return Err(refusal.limited_by(LimitName::PageRows, MAX_FIRST, asked.ok()));
            }
        };
        Ok(Self { window, first, after, seal })
    }
}

/// A page of rows, and where it lies among them.
#[derive(Debug)]
pub struct Page<S, P> {
    rows: Rows<S, P>,
    places: Range<usize>,
    seal: Seal,
}

impl<S: fmt::Debug, P: Point> Page<S, P> {
    /// The next page of a walk.
    pub(super) fn new(rows: Rows<S, P>, walk: Walk<P::Key>) -> Self {
        let from = walk.after.as_ref().map_or(0, |after| rows.up_to(after));
        let places = from..rows.len().min(from + walk.first);
        Self { rows, places, seal: walk.seal }
    }

    /// Its rows.
    #[must_use]
    pub fn items(&self) -> Vec<Row<'_, S, P>> {
        self.rows.items(self.places.clone())
    }

    /// How many rows it has.
    #[must_use]
    pub fn len(&self) -> usize {
        self.places.len()
    }

    /// Whether it has none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.places.is_empty()
    }

    /// How many rows there are on all pages together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.rows.len()
    }

    /// The memory that it takes beside the slices, which others may hold as well.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.rows.bytes()
    }

    /// Whether rows follow this page.
    #[must_use]
    pub fn has_next(&self) -> bool {
        self.places.end < self.rows.len()
    }

    /// Whether rows come before this page.
    #[must_use]
    pub fn has_previous(&self) -> bool {
        self.places.start > 0
    }

    /// Stands for the row's place, also when rows are refreshed or added meanwhile.
    #[must_use]
    pub fn cursor(&self, row: Row<'_, S, P>) -> String {
        self.seal.cursor(row.point.key(), row.point.start())
    }

    /// The cursor of its first row.
    #[must_use]
    pub fn start_cursor(&self) -> Option<String> {
        self.cursor_at(Some(self.places.start))
    }

    /// The cursor of its last row.
    #[must_use]
    pub fn end_cursor(&self) -> Option<String> {
        self.cursor_at(self.places.end.checked_sub(1))
    }

    fn cursor_at(&self, place: Option<usize>) -> Option<String> {
        let place = place.filter(|place| self.places.contains(place))?;
        self.rows.items(place..place + 1).first().map(|row| self.cursor(*row))
    }
}
