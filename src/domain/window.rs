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

    /// What the two share.
    #[must_use]
    pub fn intersection(self, other: Self) -> Option<Self> {
        Self::new(self.start.max(other.start), self.end.min(other.end))
    }

    /// What is before `at` and what is not, if there is something of both.
    #[must_use]
    pub fn split_at(self, at: Timestamp) -> Option<(Self, Self)> {
        Some((Self::new(self.start, at)?, Self::new(at, self.end)?))
    }

    /// The whole window in order, in parts: what is `known` of it, which comes in order and does not overlap, and what
    /// lies between.
    pub fn laid_out<T>(self, known: impl IntoIterator<Item = (Self, T)>) -> Vec<(Self, Option<T>)> {
        let (mut parts, mut left) = (Vec::new(), Some(self));
        for (window, what) in known {
            let Some((open, own)) = left.and_then(|left| Some((left, left.intersection(window)?))) else { continue };
            parts.extend(Self::new(open.start, own.start).map(|between| (between, None)));
            parts.push((own, Some(what)));
            left = Self::new(own.end, open.end);
        }
        parts.extend(left.map(|left| (left, None)));
        parts
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

    /// The [`cells`](Self::cells) of a grid; without one the window itself is the only one.
    pub fn cells_of(self, grid: Option<Duration>) -> impl Iterator<Item = Self> + Clone {
        let whole = grid.is_none().then_some(self);
        grid.into_iter().flat_map(move |step| self.cells(step)).chain(whole)
    }

    /// How many [`cells_of`](Self::cells_of) a grid there are.
    #[must_use]
    pub fn n_cells_of(self, grid: Option<Duration>) -> u64 {
        grid.map_or(1, |step| self.n_cells(step))
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

        #[test]
        fn what_is_laid_out_is_the_window_and_what_is_known_of_it(
            edges in prop::collection::btree_set(0_i64..40, 0..10), start in 0_i64..20, len in 1_i64..20,
        ) {
            let edges: Vec<_> = edges.into_iter().collect();
            let known: Vec<_> = edges.chunks_exact(2).map(|pair| (window(pair[0], pair[1]), pair[0])).collect();
            let parts = window(start, start + len).laid_out(known.clone());
            prop_assert_eq!((parts[0].0.start().as_ms(), parts[parts.len() - 1].0.end().as_ms()), (start, start + len));
            prop_assert!(parts.windows(2).all(|pair| pair[0].0.end() == pair[1].0.start()));
            for at in start..start + len {
                let holds = |window: Window| window.contains(Timestamp::from_ms(at));
                let here = parts.iter().find(|(window, _)| holds(*window)).unwrap().1;
                prop_assert_eq!(here, known.iter().find(|(window, _)| holds(*window)).map(|(_, what)| *what));
            }
        }
    }

    #[test]
    fn an_empty_span_is_no_window() {
        let at = Timestamp::from_ms(5);
        assert!(Window::new(at, at).is_none());
        assert!(Window::new(at + HOUR, at).is_none());
    }
}
