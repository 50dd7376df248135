//! Counts arrivals as strictly as a vendor may: a sliding window of one second per account and operation, and a log.
//!
//! An arrival is let in if fewer than the limit were let in during the second before it. The second is half-open: two
//! arrivals exactly 1.000 s apart do not share one. Throttled arrivals stand in the log but do not fill the window, and
//! requests refused for their signature or their operation's name do neither fill it nor wait for it.

use std::collections::{HashMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::time::SECOND;
use crate::domain::{Timestamp, Vendor};

/// How many arrivals the log keeps; counts go on.
const MAX_LOG: usize = 100_000;

/// What is known of an operation before it is asked for. Each vendor's side has a list of its own, never the rooms'
/// `FACTS`: a limit that is wrong there must be found out here.
#[derive(Debug, Clone, Copy)]
pub(super) struct Operation {
    pub(super) name: &'static str,
    /// Published calls a second and account (the operation's page).
    pub(super) calls_per_second: u32,
}

/// Calls a second that each operation takes per account: the published ones, unless another number is set.
#[derive(Debug, Clone, Default)]
pub struct Limits(HashMap<&'static str, u32>);

impl Limits {
    /// Sets the limit of the operation that the vendor calls so.
    pub fn set(&mut self, operation: &'static str, calls_per_second: u32) {
        self.0.insert(operation, calls_per_second);
    }

    pub(super) fn of(&self, operation: &Operation) -> u32 {
        self.0.get(operation.name).copied().unwrap_or(operation.calls_per_second)
    }
}

/// What a request asked for, in short.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Parameters {
    /// The channel or the app.
    pub subject: Option<String>,
    /// Whether one phone was named. Which one is not kept.
    pub has_phone: bool,
    /// Granularity or dimension, as sent.
    pub detail: Option<String>,
    /// The range's start, if it could be read.
    pub start: Option<Timestamp>,
    /// The range's end, if it could be read.
    pub end: Option<Timestamp>,
}

/// How an arrival ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ArrivalOutcome {
    /// Not yet.
    Pending,
    /// With data.
    Answered,
    /// Over the limit.
    Throttled,
    /// With this code of the vendor.
    Refused(String),
    /// With an injected fault.
    Faulted,
}

/// One request that reached the simulator.
#[derive(Debug, Clone)]
pub struct Arrival {
    /// When it was counted.
    pub at: Instant,
    /// Which vendor it was for.
    pub vendor: Vendor,
    /// The account: the claimed key's owner, which is the key id unless said otherwise.
    pub account: String,
    /// The operation's name, as sent.
    pub operation: String,
    /// What it asked for.
    pub parameters: Parameters,
    /// How it ended.
    pub outcome: ArrivalOutcome,
}

/// Arrivals of one operation of one account since the last reset.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Counts {
    /// All of them.
    pub calls: usize,
    /// Those over the limit.
    pub throttled: usize,
}

/// The log and the windows.
#[derive(Debug, Default)]
pub(super) struct Meter(Mutex<State>);

/// An arrival's place in the log.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry(u64);

#[derive(Debug, Default)]
struct State {
    log: VecDeque<Arrival>,
    dropped: u64,
    admitted: HashMap<(String, String), VecDeque<Instant>>,
    counts: HashMap<(String, String), Counts>,
}

impl Meter {
    /// Notes an arrival that is counted now. Under `limit` the window must have room, else how long until it has.
    pub(super) fn arrive(&self, mut arrival: Arrival, limit: Option<u32>) -> (Entry, Result<(), Duration>) {
        let mut state = self.lock();
        // Under the lock, so that the log and the windows are in order.
        arrival.at = Instant::now();
        let key = (arrival.account.clone(), arrival.operation.clone());
        let verdict = limit.map_or(Ok(()), |limit| state.admit(key.clone(), arrival.at, limit as usize));
        let counts = state.counts.entry(key).or_default();
        counts.calls += 1;
        if verdict.is_err() {
            counts.throttled += 1;
            arrival.outcome = ArrivalOutcome::Throttled;
        }
        if state.log.len() >= MAX_LOG {
            state.log.pop_front();
            state.dropped += 1;
        }
        state.log.push_back(arrival);
        (Entry(state.dropped + state.log.len() as u64 - 1), verdict)
    }

    /// Notes how an arrival ended.
    pub(super) fn settle(&self, entry: Entry, outcome: ArrivalOutcome) {
        let mut state = self.lock();
        let place = entry.0.checked_sub(state.dropped).and_then(|place| usize::try_from(place).ok());
        if let Some(arrival) = place.and_then(|place| state.log.get_mut(place)) {
            arrival.outcome = outcome;
        }
    }

    pub(super) fn arrivals(&self) -> Vec<Arrival> {
        self.lock().log.iter().cloned().collect()
    }

    /// Counts by account and operation.
    pub(super) fn counts(&self) -> Vec<((String, String), Counts)> {
        let mut counts: Vec<_> = self.lock().counts.iter().map(|(key, counts)| (key.clone(), *counts)).collect();
        counts.sort_by(|a, b| a.0.cmp(&b.0));
        counts
    }

    /// The most arrivals of one account and operation in any half-open second.
    pub(super) fn widest_second(&self, account: &str, operation: &str) -> usize {
        let state = self.lock();
        let mut window: VecDeque<Instant> = VecDeque::new();
        let ours = state.log.iter().filter(|arrival| arrival.account == account && arrival.operation == operation);
        ours.map(|arrival| {
            forget_before(&mut window, arrival.at);
            window.push_back(arrival.at);
            window.len()
        })
        .max()
        .unwrap_or(0)
    }

    /// Forgets everything; arrivals still under way are settled into nothing.
    pub(super) fn reset(&self) {
        let mut state = self.lock();
        let dropped = state.dropped + state.log.len() as u64;
        *state = State { dropped, ..State::default() };
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn admit(&mut self, key: (String, String), at: Instant, limit: usize) -> Result<(), Duration> {
        let window = self.admitted.entry(key).or_default();
        forget_before(window, at);
        match window.len().checked_sub(limit).map(|excess| window.get(excess)) {
            None => {
                window.push_back(at);
                Ok(())
            }
            Some(blocker) => Err(blocker.map_or(SECOND, |blocker| (*blocker + SECOND).duration_since(at))),
        }
    }
}

/// Leaves only what shares a half-open second with `at`.
fn forget_before(window: &mut VecDeque<Instant>, at: Instant) {
    while window.front().is_some_and(|earlier| at.duration_since(*earlier) >= SECOND) {
        window.pop_front();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::time::advance;

    fn arrival(account: &str, operation: &str) -> Arrival {
        Arrival {
            at: Instant::now(),
            vendor: Vendor::VolcengineRtc,
            account: account.into(),
            operation: operation.into(),
            parameters: Parameters::default(),
            outcome: ArrivalOutcome::Pending,
        }
    }

    fn is_let_in(meter: &Meter, account: &str, operation: &str) -> bool {
        meter.arrive(arrival(account, operation), Some(2)).1.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn two_arrivals_a_second_apart_share_no_window_and_a_millisecond_less_does() {
        let meter = Meter::default();
        assert!(is_let_in(&meter, "a", "op"));
        advance(Duration::from_millis(500)).await;
        assert!(is_let_in(&meter, "a", "op"));
        advance(Duration::from_millis(499)).await;
        let verdict = meter.arrive(arrival("a", "op"), Some(2)).1;
        assert_eq!(verdict, Err(Duration::from_millis(1)));
        advance(Duration::from_millis(1)).await;
        assert!(is_let_in(&meter, "a", "op"));
        assert!(!is_let_in(&meter, "a", "op"), "the window slides: the one at 500 ms still counts");
        advance(Duration::from_millis(500)).await;
        assert!(is_let_in(&meter, "a", "op"));
        assert_eq!(meter.counts(), [(("a".into(), "op".into()), Counts { calls: 6, throttled: 2 })]);
    }

    #[tokio::test(start_paused = true)]
    async fn accounts_and_operations_do_not_share_and_a_limit_of_nothing_lets_nothing_in() {
        let meter = Meter::default();
        for (account, operation) in [("a", "x"), ("a", "y"), ("b", "x")] {
            assert!(is_let_in(&meter, account, operation) && is_let_in(&meter, account, operation));
            assert!(!is_let_in(&meter, account, operation));
        }
        assert_eq!(meter.arrive(arrival("c", "x"), Some(0)).1, Err(SECOND));
    }

    #[tokio::test(start_paused = true)]
    async fn the_widest_second_counts_throttled_arrivals_too() {
        let meter = Meter::default();
        for wait in [0, 999, 1, 300, 400] {
            advance(Duration::from_millis(wait)).await;
            let _ = meter.arrive(arrival("a", "op"), Some(2));
        }
        assert_eq!(meter.widest_second("a", "op"), 4);
        assert_eq!(meter.widest_second("b", "op"), 0);
        meter.reset();
        assert_eq!((meter.widest_second("a", "op"), meter.arrivals().len()), (0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn an_arrival_is_settled_where_it_stands_even_after_a_reset() {
        let meter = Meter::default();
        let (lost, _) = meter.arrive(arrival("a", "op"), None);
        meter.reset();
        let (kept, _) = meter.arrive(arrival("a", "op"), None);
        meter.settle(lost, ArrivalOutcome::Faulted);
        assert_eq!(meter.arrivals()[0].outcome, ArrivalOutcome::Pending);
        meter.settle(kept, ArrivalOutcome::Answered);
        assert_eq!(meter.arrivals()[0].outcome, ArrivalOutcome::Answered);
    }
}
