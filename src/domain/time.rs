//! Instants in UTC and the clocks that tell them. Logic takes `now` as an argument; only [`SystemClock`] reads the
//! wall clock.

use std::fmt;
use std::ops::{Add, Sub};
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use serde::{Deserialize, Serialize};

/// One second.
pub const SECOND: Duration = Duration::from_secs(1);
/// One minute.
pub const MINUTE: Duration = Duration::from_mins(1);
/// One hour.
pub const HOUR: Duration = Duration::from_hours(1);
/// Twenty-four hours; never a calendar day, which may have 23 or 25.
pub const DAY: Duration = Duration::from_hours(24);

/// An instant in UTC with millisecond resolution, as both vendors can express it.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(from = "i64", into = "i64")]
pub struct Timestamp(i64);

impl Timestamp {
    /// From milliseconds since the UNIX epoch. Values outside the years -9999 to 9999 are clamped to them, so that
    /// every timestamp can be written as RFC 3339.
    #[must_use]
    pub fn from_ms(ms: i64) -> Self {
        // jiff counts nothing in milliseconds within its last second.
        let [first, last] = [jiff::Timestamp::MIN, jiff::Timestamp::MAX].map(|end| end.as_second() * 1_000);
        Self(ms.clamp(first, last))
    }

    /// From whole seconds since the UNIX epoch.
    #[must_use]
    pub fn from_secs(secs: i64) -> Self {
        Self::from_ms(secs.saturating_mul(1_000))
    }

    /// Milliseconds since the UNIX epoch.
    #[must_use]
    pub const fn as_ms(self) -> i64 {
        self.0
    }

    /// Seconds since the UNIX epoch, rounded down.
    #[must_use]
    pub const fn as_secs(self) -> i64 {
        self.0.div_euclid(1_000)
    }

    /// Reads RFC 3339 with any offset. Digits below a millisecond are cut off.
    ///
    /// # Errors
    /// Anything that is not RFC 3339 with an offset, in the words of the parser.
    pub fn parse_rfc3339(text: &str) -> Result<Self, jiff::Error> {
        text.parse::<jiff::Timestamp>().map(Self::from)
    }

    /// The same instant for calendar arithmetic.
    #[must_use]
    pub fn to_jiff(self) -> jiff::Timestamp {
        jiff::Timestamp::from_millisecond(self.0).unwrap_or(jiff::Timestamp::UNIX_EPOCH)
    }

    /// The latest multiple of `step` since the UNIX epoch that is not after this instant.
    #[must_use]
    pub fn floor(self, step: Duration) -> Self {
        let step = duration_ms(step).max(1);
        Self::from_ms(self.0.div_euclid(step) * step)
    }

    /// The earliest multiple of `step` since the UNIX epoch that is not before this instant.
    #[must_use]
    pub fn ceil(self, step: Duration) -> Self {
        let floor = self.floor(step);
        if floor == self { self } else { floor + step }
    }

    /// How long after `earlier` this instant is; zero if it is before.
    #[must_use]
    pub fn since(self, earlier: Self) -> Duration {
        Duration::from_millis(u64::try_from(self.0.saturating_sub(earlier.0)).unwrap_or(0))
    }
}

fn duration_ms(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

impl Add<Duration> for Timestamp {
    type Output = Self;
    fn add(self, rhs: Duration) -> Self {
        Self::from_ms(self.0.saturating_add(duration_ms(rhs)))
    }
}

impl Sub<Duration> for Timestamp {
    type Output = Self;
    fn sub(self, rhs: Duration) -> Self {
        Self::from_ms(self.0.saturating_sub(duration_ms(rhs)))
    }
}

impl From<i64> for Timestamp {
    fn from(ms: i64) -> Self {
        Self::from_ms(ms)
    }
}

impl From<Timestamp> for i64 {
    fn from(at: Timestamp) -> Self {
        at.0
    }
}

impl From<jiff::Timestamp> for Timestamp {
    fn from(value: jiff::Timestamp) -> Self {
        Self(value.as_millisecond())
    }
}

/// RFC 3339 in UTC; fractions only where there are any.
impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.to_jiff().fmt(f)
    }
}

impl fmt::Debug for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Tells the wall-clock time. Durations that must not jump with the wall clock use `tokio::time::Instant` instead.
pub trait Clock: Send + Sync + 'static {
    /// The present instant.
    fn now(&self) -> Timestamp;
}

/// The machine's clock.
#[derive(Debug, Clone, Copy, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "the one place that reads the wall clock")]
    fn now(&self) -> Timestamp {
        jiff::Timestamp::now().into()
    }
}

/// A clock that starts where it is told and goes on with tokio's time, virtual or real; it can be set.
#[derive(Debug)]
pub struct ManualClock {
    base_ms: AtomicI64,
    started: tokio::time::Instant,
    frozen: bool,
}

impl ManualClock {
    /// Starts at `at` and runs.
    #[must_use]
    pub fn starting_at(at: Timestamp) -> Self {
        Self { base_ms: AtomicI64::new(at.as_ms()), started: tokio::time::Instant::now(), frozen: false }
    }

    /// Stands still at `at` until it is set.
    #[must_use]
    pub fn frozen_at(at: Timestamp) -> Self {
        Self { frozen: true, ..Self::starting_at(at) }
    }

    /// Makes the present instant `at`; a running clock runs on from there.
    pub fn set(&self, at: Timestamp) {
        let elapsed = if self.frozen { Duration::ZERO } else { self.started.elapsed() };
        self.base_ms.store((at - elapsed).as_ms(), Ordering::SeqCst);
    }
}

impl Clock for ManualClock {
    fn now(&self) -> Timestamp {
        let base = Timestamp::from_ms(self.base_ms.load(Ordering::SeqCst));
        if self.frozen { base } else { base + self.started.elapsed() }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_clamped_can_be_written() {
        for (ms, year) in [(i64::MIN, "-009999-"), (i64::MAX, "9999-")] {
            let at = Timestamp::from_ms(ms);
            assert!(at.to_string().starts_with(year), "{at}");
            assert_eq!(Timestamp::from(at.to_jiff()), at);
        }
    }

    #[test]
    fn floors_and_ceilings_hold_before_the_epoch_too() {
        for (ms, floor, ceil) in
            [(0, 0, 0), (1, 0, 86_400_000), (-1, -86_400_000, 0), (86_400_000, 86_400_000, 86_400_000)]
        {
            let at = Timestamp::from_ms(ms);
            assert_eq!((at.floor(DAY).as_ms(), at.ceil(DAY).as_ms()), (floor, ceil), "{ms}");
        }
    }

    #[test]
    fn text_goes_both_ways() {
        let at = Timestamp::parse_rfc3339("2026-09-01T08:30:15+08:00").unwrap();
        assert_eq!(at.to_string(), "2026-09-01T00:30:15Z");
        assert!(Timestamp::parse_rfc3339("2026-09-01").is_err());
    }
}
