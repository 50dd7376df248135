//! How much of a quota is ours: less after a throttle that we did not cause, and step by step more again.

use std::time::Duration;

use tokio::time::Instant;

/// How long the vendor must not throttle before a step of the budget comes back.
const STEP_AFTER: Duration = Duration::from_secs(10);
/// A step is this part of the quota, at least one call a second.
const STEP_PART: usize = 10;

/// The calls a second that are used of a quota. A throttle halves them, down to one.
#[derive(Debug)]
pub(super) struct Budget {
    quota: usize,
    calls: usize,
    next_step: Option<Instant>,
}

impl Budget {
    pub(super) fn new(quota: usize) -> Self {
        Self { quota, calls: quota, next_step: None }
    }

    pub(super) fn calls(&self) -> usize {
        self.calls
    }

    /// Somebody else uses the account.
    pub(super) fn shrink(&mut self, now: Instant) {
        self.calls = (self.calls / 2).max(1);
        self.next_step = Some(now + STEP_AFTER);
    }

    /// Takes the steps that are due.
    pub(super) fn recover(&mut self, now: Instant) {
        while let Some(due) = self.next_step.filter(|due| *due <= now) {
            self.calls = (self.calls + (self.quota / STEP_PART).max(1)).min(self.quota);
            self.next_step = (self.calls < self.quota).then_some(due + STEP_AFTER);
        }
    }

    /// When the next step is due.
    pub(super) fn next_step(&self) -> Option<Instant> {
        self.next_step
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_throttle_halves_it_and_quiet_brings_it_back_in_steps() {
        let at = |secs| Instant::now() + Duration::from_secs(secs);
        let mut budget = Budget::new(50);
        budget.shrink(at(0));
        budget.shrink(at(0));
        assert_eq!(budget.calls(), 12);
        budget.recover(at(9));
        assert_eq!(budget.calls(), 12);
        budget.recover(at(31));
        assert_eq!(budget.calls(), 27, "three steps of five");
        budget.recover(at(1_000));
        assert_eq!((budget.calls(), budget.next_step()), (50, None));
        let mut budget = Budget::new(2);
        budget.shrink(at(0));
        budget.shrink(at(0));
        assert_eq!(budget.calls(), 1);
        budget.recover(at(11));
        assert_eq!(budget.calls(), 2);
    }
}
