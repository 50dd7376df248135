//! How long a slice is used: pure.

use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Ask, Freshness, Held, Keep, Timestamp};

/// How long emptiness is believed of a subject that never showed a row: data may begin a day after enabling.
const UNPROVEN_TTL: Duration = Duration::from_hours(1);

/// The configured lifetimes.
#[derive(Debug, Clone, Copy)]
pub struct Lifetimes {
    /// How long an answer that may still change is served without asking again.
    pub provisional_ttl: Duration,
    /// How far past that it may be served while the vendor fails.
    pub max_stale: Duration,
    /// How far past that it may be served while it is being refreshed.
    pub stale_while_refresh: Duration,
}

/// What a held slice is good for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Use {
    /// To be served.
    Fresh,
    /// To be served as stale, while it is fetched again.
    WhileRefreshing,
    /// To be served as stale if it cannot be fetched again.
    IfNothingBetter,
    /// Nothing.
    Useless,
}

/// What a held slice is good for to `ask` `now`. `final_from` is when all of the slice becomes final.
#[must_use]
pub fn usable<D>(held: &Held<D>, ask: &Ask, configured: Lifetimes, final_from: Timestamp, now: Instant) -> Use {
    let Some(fresh_until) = held.fresh_until else { return Use::Fresh };
    // Held as provisional, it would hide what has become final.
    let hides = ask.freshness == Freshness::FinalOnly && final_from <= ask.at;
    let hides = hides || ask.fetched_since.is_some_and(|since| held.sent_at <= since);
    if now < fresh_until && !hides {
        return Use::Fresh;
    }
    let max_stale = ask.max_stale.map_or(configured.max_stale, |most| most.min(configured.max_stale));
    let past = now.saturating_duration_since(fresh_until);
    if past >= max_stale || held.stale_until.is_some_and(|until| until <= now) {
        Use::Useless
    } else if past < configured.stale_while_refresh && !hides {
        Use::WhileRefreshing
    } else {
        Use::IfNothingBetter
    }
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
    use crate::domain::{Caller, Class};
    use std::sync::Arc;

    const CONFIGURED: Lifetimes = Lifetimes {
        provisional_ttl: Duration::from_mins(5),
        max_stale: Duration::from_hours(24),
        stale_while_refresh: Duration::from_mins(5),
    };

    #[tokio::test(start_paused = true)]
    async fn an_ask_decides_how_stale_is_too_stale() {
        let (now, at) = (Instant::now() + Duration::from_hours(100), Timestamp::from_ms(0));
        let mins = Duration::from_mins;
        let held = |past: Duration| Held {
            data: Arc::new(()),
            sent_at: at,
            fresh_until: Some(now - past),
            stale_until: None,
            is_empty: false,
            bytes: 0,
        };
        let ask = |max_stale, freshness| Ask {
            caller: Caller::Anonymous,
            at,
            class: Class::Interactive,
            deadline: now,
            max_wait: mins(1),
            max_stale,
            freshness,
            fetched_since: None,
            explain: false,
            cost: Arc::default(),
        };
        let any = |past, max_stale| usable(&held(past), &ask(max_stale, Freshness::Any), CONFIGURED, at, now);
        assert_eq!(any(Duration::ZERO, None), Use::WhileRefreshing);
        assert_eq!(any(mins(4), None), Use::WhileRefreshing);
        assert_eq!(any(mins(5), None), Use::IfNothingBetter);
        assert_eq!(any(mins(24 * 60), None), Use::Useless);
        assert_eq!(any(mins(1), Some(Duration::ZERO)), Use::Useless, "PT0S forbids both");
        assert_eq!(any(mins(1), Some(mins(2))), Use::WhileRefreshing);
        assert_eq!(any(mins(3), Some(mins(2))), Use::Useless);
        assert_eq!(any(mins(24 * 60), Some(mins(48 * 60))), Use::Useless, "never longer than configured");
        let unproven = Held { stale_until: Some(now), ..held(mins(0)) };
        let unproven = usable(&unproven, &ask(None, Freshness::Any), CONFIGURED, at, now);
        assert_eq!(unproven, Use::Useless, "emptiness that nothing proves is not served as stale");
        let fresh = Held { fresh_until: Some(now + mins(1)), ..held(mins(0)) };
        let only = |from| usable(&fresh, &ask(None, Freshness::FinalOnly), CONFIGURED, from, now);
        assert_eq!(only(at + mins(1)), Use::Fresh, "nothing has become final since");
        assert_eq!(only(at), Use::IfNothingBetter, "held as provisional, it hides what is final by now");
    }

    #[test]
    fn only_settled_slices_live_for_ever() {
        let configured = CONFIGURED;
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
