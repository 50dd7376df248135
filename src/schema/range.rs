//! Time ranges as arguments.

use async_graphql::{InputObject, OneofObject};

use super::scalars::{DateTime, IsoDuration};
use crate::query;

/// A span of time, half-open `[start, end)`: exactly one of `between` and `last`.
#[derive(Debug, Clone, Copy, OneofObject)]
pub(super) enum TimeRange {
    /// From an instant up to, not including, another.
    Between(Interval),
    /// Counts back from now, its end lowered to the whole hour (half hour for `HALF_HOUR`), so that everybody who asks
    /// within the hour asks for the same window.
    Last(IsoDuration),
}

/// Half-open `[start, end)`.
#[derive(Debug, Clone, Copy, InputObject)]
pub(super) struct Interval {
    /// The first instant inside.
    pub start: DateTime,
    /// The first instant after.
    pub end: DateTime,
}

impl From<TimeRange> for query::TimeRange {
    fn from(range: TimeRange) -> Self {
        match range {
            TimeRange::Between(Interval { start, end }) => Self::Between { start: start.0, end: end.0 },
            TimeRange::Last(length) => Self::Last(length.0),
        }
    }
}
