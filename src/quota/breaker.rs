//! Stops asking a vendor that fails, and finds out with one call when it is back.

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::{CallError, CallErrorKind};

/// So many transient failures in a row open it.
const IN_A_ROW: u32 = 5;
/// Or half of the attempts of this span,
const SPAN: Duration = Duration::from_secs(30);
/// if there were at least so many.
const AT_LEAST: usize = 10;
/// How long it stays open at first; it doubles with every probe that fails.
const FIRST_PAUSE: Duration = Duration::from_secs(5);
/// How long it stays open at most.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// The breaker of one (account, operation). Throttles and refusals never open it: they are answers.
#[derive(Debug, Clone)]
pub struct Breaker(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    state: Mutex<State>,
    probed: Notify,
}

#[derive(Debug)]
struct State {
    phase: Phase,
    in_a_row: u32,
    /// When the attempts of the last [`SPAN`] ended, and whether they failed.
    recent: VecDeque<(Instant, bool)>,
    pause: Duration,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Closed,
    Open {
        until: Instant,
    },
    /// A probe is out.
    Probing,
}

/// Leave to make an attempt. What became of it is told with [`Passage::note`]; a passage that is dropped without a word
/// tells nothing, and a probe's place is free again.
#[derive(Debug)]
pub struct Passage {
    breaker: Breaker,
    is_probe: bool,
    is_noted: bool,
}

impl Breaker {
    /// Closed: everybody may pass.
    #[must_use]
    pub fn new() -> Self {
        let state = State { phase: Phase::Closed, in_a_row: 0, recent: VecDeque::new(), pause: FIRST_PAUSE };
        Self(Arc::new(Shared { state: Mutex::new(state), probed: Notify::new() }))
    }

    /// Time until the circuit half-opens; `None` if it is closed, or a probe is under way that others may wait for.
    #[must_use]
    pub fn open_for(&self) -> Option<Duration> {
        match self.lock().phase {
            Phase::Open { until } => {
                Some(until.saturating_duration_since(Instant::now())).filter(|left| !left.is_zero())
            }
            Phase::Closed | Phase::Probing => None,
        }
    }

    /// Whether the last that is known of the vendor is that it fails, also when the next attempt is due.
    #[must_use]
    pub fn is_tripped(&self) -> bool {
        self.lock().phase != Phase::Closed
    }

    /// Waits while a probe is out.
    ///
    /// # Errors
    /// Time until the circuit half-opens.
    pub async fn enter(&self) -> Result<Passage, Duration> {
        loop {
            let probed = self.0.probed.notified();
            {
                let mut state = self.lock();
                match state.phase {
                    Phase::Closed => return Ok(self.passage(false)),
                    Phase::Open { until } if Instant::now() < until => {
                        return Err(until.saturating_duration_since(Instant::now()));
                    }
                    Phase::Open { .. } => {
                        state.phase = Phase::Probing;
                        return Ok(self.passage(true));
                    }
                    Phase::Probing => {}
                }
            }
            probed.await;
        }
    }

    fn passage(&self, is_probe: bool) -> Passage {
        Passage { breaker: self.clone(), is_probe, is_noted: false }
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Default for Breaker {
    fn default() -> Self {
        Self::new()
    }
}

impl Passage {
    /// Whether it is the one call that finds out.
    #[must_use]
    pub fn is_probe(&self) -> bool {
        self.is_probe
    }

    /// Tells what became of the attempt.
    pub fn note<A>(mut self, result: &Result<A, CallError>) {
        self.is_noted = true;
        let failed = match result {
            Ok(_) => false,
            Err(error) => match error.kind {
                CallErrorKind::Unavailable | CallErrorKind::TimedOut => true,
                // The vendor is there, whatever it thinks of the call; but a throttle says nothing of its health.
                CallErrorKind::Throttled | CallErrorKind::Internal if !self.is_probe => return,
                _ => false,
            },
        };
        let mut state = self.breaker.lock();
        state.note(failed, self.is_probe, Instant::now());
        drop(state);
        if self.is_probe {
            self.breaker.0.probed.notify_waiters();
        }
    }
}

impl Drop for Passage {
    fn drop(&mut self) {
        if self.is_probe && !self.is_noted {
            // Nobody knows; the next ask finds out.
            let mut state = self.breaker.lock();
            state.phase = Phase::Open { until: Instant::now() };
            drop(state);
            self.breaker.0.probed.notify_waiters();
        }
    }
}

impl State {
    fn note(&mut self, failed: bool, is_probe: bool, now: Instant) {
        if is_probe {
            if failed {
                self.pause = (self.pause * 2).min(LONGEST_PAUSE);
                self.open(now);
            } else {
                (self.phase, self.pause, self.in_a_row) = (Phase::Closed, FIRST_PAUSE, 0);
                self.recent.clear();
            }
            return;
        }
        self.in_a_row = if failed { self.in_a_row + 1 } else { 0 };
        self.recent.push_back((now, failed));
        while self.recent.front().is_some_and(|(at, _)| *at + SPAN < now) {
            self.recent.pop_front();
        }
        let failures = self.recent.iter().filter(|(_, failed)| *failed).count();
        let is_half = self.recent.len() >= AT_LEAST && failures * 2 >= self.recent.len();
        if self.phase == Phase::Closed && failed && (self.in_a_row >= IN_A_ROW || is_half) {
            self.open(now);
        }
    }

    fn open(&mut self, now: Instant) {
        tracing::warn!(pause_s = self.pause.as_secs(), "the vendor keeps failing; nobody asks it for a while");
        self.phase = Phase::Open { until: now + self.pause };
        self.recent.clear();
        self.in_a_row = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Vendor;

    fn failure(kind: CallErrorKind) -> Result<(), CallError> {
        Err(CallError::new(Vendor::VolcengineRtc, kind, "no"))
    }

    async fn attempt(breaker: &Breaker, result: Result<(), CallError>) {
        breaker.enter().await.expect("nobody is kept out").note(&result);
    }

    #[tokio::test(start_paused = true)]
    async fn five_failures_in_a_row_open_it_and_throttles_do_not() {
        let breaker = Breaker::new();
        for _ in 0..4 {
            attempt(&breaker, failure(CallErrorKind::TimedOut)).await;
            attempt(&breaker, failure(CallErrorKind::Throttled)).await;
        }
        attempt(&breaker, failure(CallErrorKind::Denied)).await;
        assert_eq!(breaker.open_for(), None, "a refusal is an answer: the row is broken");
        let breaker = Breaker::new();
        for _ in 0..5 {
            assert_eq!(breaker.open_for(), None);
            attempt(&breaker, failure(CallErrorKind::TimedOut)).await;
        }
        assert_eq!(breaker.enter().await.unwrap_err(), FIRST_PAUSE);
        let breaker = Breaker::new();
        for _ in 0..100 {
            attempt(&breaker, failure(CallErrorKind::Throttled)).await;
            attempt(&breaker, failure(CallErrorKind::Denied)).await;
        }
        assert_eq!(breaker.open_for(), None);
    }

    #[tokio::test(start_paused = true)]
    async fn half_of_ten_in_half_a_minute_opens_it() {
        let breaker = Breaker::new();
        for n in 0..20 {
            attempt(&breaker, if n % 3 == 0 { failure(CallErrorKind::TimedOut) } else { Ok(()) }).await;
        }
        assert_eq!(breaker.open_for(), None, "a third is not half");
        tokio::time::sleep(SPAN * 2).await;
        for n in 0..10 {
            assert_eq!(breaker.open_for(), None, "attempt {n}");
            attempt(&breaker, if n % 2 == 1 { failure(CallErrorKind::TimedOut) } else { Ok(()) }).await;
        }
        assert_eq!(breaker.open_for(), Some(FIRST_PAUSE));
    }

    #[tokio::test(start_paused = true)]
    async fn one_probe_finds_out_and_the_others_wait_for_it() {
        let breaker = Breaker::new();
        for _ in 0..5 {
            attempt(&breaker, failure(CallErrorKind::TimedOut)).await;
        }
        for pause in [5, 10, 20, 40, 60, 60] {
            assert_eq!(breaker.open_for(), Some(Duration::from_secs(pause)));
            tokio::time::sleep(Duration::from_secs(pause)).await;
            let probe = breaker.enter().await.unwrap();
            assert!(probe.is_probe());
            let other = tokio::spawn({
                let breaker = breaker.clone();
                async move { breaker.enter().await.map(|passage| passage.is_probe()) }
            });
            tokio::time::sleep(Duration::from_secs(1)).await;
            assert!(!other.is_finished());
            probe.note(&failure(CallErrorKind::Unavailable));
            assert!(other.await.unwrap().is_err());
        }
        tokio::time::sleep(LONGEST_PAUSE).await;
        drop(breaker.enter().await.unwrap());
        let probe = breaker.enter().await.unwrap();
        assert!(probe.is_probe(), "a probe that told nothing leaves its place to the next");
        probe.note(&Ok::<_, CallError>(()));
        assert!(!breaker.enter().await.unwrap().is_probe());
    }
}
