//! How long a slice is used: pure.

use std::time::Duration;

use crate::domain::Keep;

/// How long emptiness is believed of a subject that never showed a row: data may begin a day after enabling.
const UNPROVEN_TTL: Duration = Duration::from_hours(1);

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// How long an answer that may still change is served without asking again.
    pub provisional_ttl: Duration,
    /// How far past that it may be served while the vendor fails.
    pub max_stale: Duration,
}

/// How long from its sending a slice is fresh, and how long it may be served at all; `None` is for ever.
#[must_use]
pub fn lifetime(keep: Keep, configured: Lifetimes) -> Option<(Duration, Duration)> {
    match keep {
        Keep::Settled => None,
        Keep::Provisional => {
            Some((configured.provisional_ttl, configured.provisional_ttl.saturating_add(configured.max_stale)))
        }
        Keep::Unproven => Some((UNPROVEN_TTL, UNPROVEN_TTL)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_settled_slices_live_for_ever() {
        let configured = Lifetimes { provisional_ttl: Duration::from_mins(5), max_stale: Duration::from_hours(24) };
        let cases = [
            (Keep::Settled, None),
            (Keep::Provisional, Some((Duration::from_mins(5), Duration::from_mins(24 * 60 + 5)))),
            (Keep::Unproven, Some((Duration::from_hours(1), Duration::from_hours(1)))),
        ];
        for (keep, expected) in cases {
            assert_eq!(lifetime(keep, configured), expected, "{keep:?}");
        }
    }
}
