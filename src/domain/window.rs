//! Half-open spans of time and the cutting of them: pure, no time zone, no bucket.

use std::fmt;
use std::time::Duration;

use super::Timestamp;

/// Half-open `[start, end)`, never empty. Neighbours touch and never overlap.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Window {
    start: Timestamp,
    end: Timestamp,
}

impl Window {
    /// The window from `start` up to, not including, `end`; `None` if that holds no instant.
    #[must_use]
    pub fn new(start: Timestamp, end: Timestamp) -> Option<Self> {
        (start < end).then_some(Self { start, end })
    }

    /// The first instant inside.
    #[must_use]
    pub const fn start(self) -> Timestamp {
        self.start
    }

    /// The first instant after.
    #[must_use]
    pub const fn end(self) -> Timestamp {
        self.end
    }

    /// How long it is.
    #[must_use]
    pub fn length(self) -> Duration {
        self.end.since(self.start)
    }

    /// Whether `at` lies inside.
    #[must_use]
    pub fn contains(self, at: Timestamp) -> bool {
        self.start <= at && at < self.end
    }

    /// Whether all of `other` lies inside.
    #[must_use]
    pub fn covers(self, other: Self) -> bool {
        self.start <= other.start && other.end <= self.end
    }

    /// Whether the two share an instant.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start < other.end && other.start < self.end
    }

    /// The smallest window that holds both.
    #[must_use]
    pub fn hull(self, other: Self) -> Self {
        Self { start: self.start.min(other.start), end: self.end.max(other.end) }
    }

    /// This window and `before` and `after` more on its sides.
    #[must_use]
    pub fn padded(self, by: Duration) -> Self {
        Self { start: self.start - by, end: self.end + by }
    }

    /// The cells of the grid of `step` (counted from the UNIX epoch) that this window touches, in order.
    pub fn cells(self, step: Duration) -> impl Iterator<Item = Self> + Clone {
        let (mut at, end) = (self.start.floor(step), self.end);
        std::iter::from_fn(move || {
            let cell = Self::new(at, at + step).filter(|cell| cell.start < end)?;
            at = cell.end;
            Some(cell)
        })
    }

    /// How many [`cells`](Self::cells) there are.
    #[must_use]
    pub fn n_cells(self, step: Duration) -> u64 {
        let span = self.end.ceil(step).since(self.start.floor(step)).as_millis();
        u64::try_from(span / step.as_millis().max(1)).unwrap_or(u64::MAX)
    }

    /// Tiles the window from its start in steps of `step`; the last tile may be shorter.
    pub fn tiles(self, step: Duration) -> impl Iterator<Item = Self> + Clone {
        let (mut at, end) = (self.start, self.end);
        std::iter::from_fn(move || {
            let tile = Self::new(at, (at + step).min(end))?;
            at = tile.end;
            Some(tile)
        })
    }
}

impl fmt::Display for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "[{}, {})", self.start, self.end)
    }
}

impl fmt::Debug for Window {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::{DAY, HOUR};
    use proptest::prelude::*;

    fn window(start: i64, end: i64) -> Window {
        Window::new(Timestamp::from_ms(start), Timestamp::from_ms(end)).unwrap()
    }

    proptest! {
        #[test]
        fn tiles_are_neighbours_that_fill_the_window(start in -1_000_000_000i64..1_000_000_000, len in 1i64..500_000_000) {
            let whole = window(start, start + len);
            let tiles: Vec<_> = whole.tiles(HOUR).collect();
            prop_assert_eq!(tiles[0].start(), whole.start());
            prop_assert_eq!(tiles[tiles.len() - 1].end(), whole.end());
            prop_assert!(tiles.windows(2).all(|pair| pair[0].end() == pair[1].start()));
        }

        #[test]
        fn cells_are_exactly_those_the_window_touches(start in -1_000_000_000i64..1_000_000_000, len in 1i64..900_000_000) {
            let whole = window(start, start + len);
            let cells: Vec<_> = whole.cells(DAY).collect();
            prop_assert!(cells.iter().all(|cell| cell.overlaps(whole) && cell.length() == DAY));
            let hull = cells.iter().copied().reduce(Window::hull).unwrap();
            prop_assert!(hull.covers(whole));
            prop_assert!(hull.length() < whole.length() + 2 * DAY);
            prop_assert_eq!(whole.n_cells(DAY), cells.len() as u64);
        }
    }

    #[test]
    fn an_empty_span_is_no_window() {
        let at = Timestamp::from_ms(5);
        assert!(Window::new(at, at).is_none());
        assert!(Window::new(at + HOUR, at).is_none());
    }
}
