//! Two kinds of number that must not be mistaken for one another.

use std::iter::Sum;
use std::ops::Add;

use serde::de::Error as _;
use serde::{Deserialize, Deserializer, Serialize};

/// Messages sent or delivered. Adds up over time and over phone numbers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize)]
#[serde(transparent)]
pub struct MessageCount(i64);

impl MessageCount {
    /// `None` if negative: no vendor counts less than nothing.
    #[must_use]
    pub fn new(count: i64) -> Option<Self> {
        (count >= 0).then_some(Self(count))
    }

    /// The number itself.
    #[must_use]
    pub const fn as_i64(self) -> i64 {
        self.0
    }

    /// This divided by `all`, a share of 1; `None` where there are none at all.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose digits that no rate shows")]
    pub fn share_of(self, all: Self) -> Option<f64> {
        (all.0 > 0).then(|| self.0 as f64 / all.0 as f64)
    }
}

impl<'de> Deserialize<'de> for MessageCount {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        counted(deserializer, Self::new)
    }
}

impl Add for MessageCount {
    type Output = Self;
    fn add(self, rhs: Self) -> Self {
        Self(self.0.saturating_add(rhs.0))
    }
}

impl Sum for MessageCount {
    fn sum<I: Iterator<Item = Self>>(iter: I) -> Self {
        iter.fold(Self::default(), Add::add)
    }
}

/// What is certain of the distinct users of several windows together: not a sum, which nobody may mistake for a count.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct UserBounds {
    largest: f64,
    all: f64,
}

impl UserBounds {
    /// One more window.
    pub fn include(&mut self, users: DistinctUsers) {
        self.largest = self.largest.max(users.0);
        self.all += users.0;
    }

    /// Those of the largest window.
    #[must_use]
    pub const fn at_least(self) -> f64 {
        self.largest
    }

    /// Those of all windows, as if nobody came back.
    #[must_use]
    pub const fn at_most(self) -> f64 {
        self.all
    }
}

/// Distinct users over one exact window. No `Add`, no `Sum`: a user seen in two windows would count twice.
#[derive(Debug, Clone, Copy, PartialEq, PartialOrd, Serialize)]
#[serde(transparent)]
pub struct DistinctUsers(f64);

impl DistinctUsers {
    /// `None` if negative or not finite.
    #[must_use]
    pub fn new(count: f64) -> Option<Self> {
        (count.is_finite() && count >= 0.0).then_some(Self(count))
    }

    /// The number itself.
    #[must_use]
    pub const fn as_f64(self) -> f64 {
        self.0
    }
}

impl<'de> Deserialize<'de> for DistinctUsers {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        counted(deserializer, Self::new)
    }
}

/// A count as it was written, if it is one.
fn counted<'de, D: Deserializer<'de>, N: Deserialize<'de>, C>(
    deserializer: D,
    read: impl FnOnce(N) -> Option<C>,
) -> Result<C, D::Error> {
    read(N::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("a count below nothing"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_counts_less_than_nothing_is_not_read() {
        assert_eq!(serde_json::from_str::<MessageCount>("0").unwrap().as_i64(), 0);
        assert!(serde_json::from_str::<MessageCount>("-1").is_err());
        assert!(serde_json::from_str::<DistinctUsers>("-0.5").is_err());
        let written = serde_json::to_string(&(MessageCount(7), DistinctUsers(7.5))).unwrap();
        assert_eq!(written, "[7,7.5]");
        assert_eq!(serde_json::from_str::<(MessageCount, DistinctUsers)>(&written).unwrap().0, MessageCount(7));
    }
}
