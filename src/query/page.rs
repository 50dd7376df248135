//! Pages of rows.

use std::fmt;
use std::ops::Range;

use super::cursor::{Position, Seal};
use super::rows::{Row, Rows};
use crate::domain::Point;
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

impl Paging<'_> {
    /// How many rows the page has at most.
    pub(super) fn first(&self) -> Result<usize, WeirError> {
        match self.first.map(usize::try_from) {
            None => Ok(DEFAULT_FIRST),
            Some(Ok(first)) if first <= MAX_FIRST => Ok(first),
            Some(asked) => {
                Err(WeirError::bad_input(format!("first must be between 0 and {MAX_FIRST}"))
                    .limited(MAX_FIRST, asked.ok()))
            }
        }
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
    /// The page of `first` rows behind `after`.
    pub(super) fn new(rows: Rows<S, P>, first: usize, after: Option<&Position<P::Key>>, seal: Seal) -> Self {
        let from = after.map_or(0, |after| rows.up_to(after));
        let places = from..rows.len().min(from + first);
        Self { rows, places, seal }
    }

    /// Its rows.
    #[must_use]
    pub fn items(&self) -> Vec<Row<'_, S, P>> {
        self.rows.items(self.places.clone())
    }

    /// How many rows there are on all pages together.
    #[must_use]
    pub fn total(&self) -> usize {
        self.rows.len()
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
