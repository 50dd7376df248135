//! The steps in which this vendor counts.

use std::time::Duration;

use crate::domain::time::{DAY, HOUR};

/// The step of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Granularity {
    /// Days of the account's own time zone, which nobody tells us.
    Daily,
    /// Half hours.
    HalfHour,
}

impl Granularity {
    /// The vendor's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::HalfHour => "HALF_HOUR",
        }
    }

    /// The usual length of a bucket.
    #[must_use]
    pub const fn step(self) -> Duration {
        match self {
            Self::Daily => DAY,
            Self::HalfHour => Duration::from_mins(30),
        }
    }

    /// The longest bucket there can be: a day on which clocks go back has 25 hours.
    #[must_use]
    pub const fn longest(self) -> Duration {
        match self {
            Self::Daily => Duration::from_hours(25),
            Self::HalfHour => Duration::from_mins(30),
        }
    }

    /// How much more is asked for on both sides of a wanted span: more than one bucket, so that every bucket that
    /// begins in the span is in the reply, whether the vendor selects buckets by start, by overlap or by containment.
    #[must_use]
    pub const fn padding(self) -> Duration {
        match self {
            Self::Daily => Duration::from_hours(26),
            Self::HalfHour => HOUR,
        }
    }
}
