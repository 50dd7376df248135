//! When an ask will have its permit: used for estimates that callers are told, never for granting permits.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::time::Duration;

use tokio::time::Instant;

use super::elsewhere::Elsewhere;

/// When permits are back, and what waits for them at other replicas.
#[derive(Debug)]
pub(super) struct Forecast {
    pub(super) now: Instant,
    /// When each of the permits is there for the next ask.
    pub(super) back: Vec<Instant>,
    /// From one grant of a permit to the next.
    pub(super) cycle: Duration,
    /// `None` where permits are not shared.
    pub(super) elsewhere: Option<Elsewhere>,
}

impl Forecast {
    /// How long until the permit after `ahead` others.
    pub(super) fn wait(self, ahead: usize) -> Duration {
        let mut back: BinaryHeap<_> = self.back.into_iter().map(Reverse).collect();
        for _ in 0..ahead {
            let Some(Reverse(at)) = back.pop() else { break };
            back.push(Reverse(at + self.cycle));
        }
        back.peek().map_or(Duration::MAX, |Reverse(at)| at.saturating_duration_since(self.now))
    }
}
