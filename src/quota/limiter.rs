//! The permits of one (account, operation): given in turn, taken back when the rule says so.

use std::cmp::Reverse;
use std::collections::BinaryHeap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Rule;
use super::budget::Budget;
use super::permit::{Ending, Ledger, Permit};
use super::queue::Queue;
use crate::domain::{Caller, Class};

/// A call's usual time from permit to response head before any was measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// Keeps the permits of one (account, operation). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    rule: Rule,
    state: Mutex<State>,
    wake: Arc<Notify>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct State {
    free: usize,
    /// When each permit that is out with a call was granted.
    out: Vec<Instant>,
    /// When each permit that is held after its call comes back.
    held: BinaryHeap<Reverse<Instant>>,
    /// Until when nothing proves that calls given up on have been counted.
    unproven_until: Option<Instant>,
    paused_until: Option<Instant>,
    budget: Budget,
    queue: Queue<oneshot::Sender<Permit>>,
    round_trip: Duration,
    throttled_total: u64,
}

/// What can be seen of a limiter.
#[derive(Debug, Clone, Copy)]
pub struct Standing {
    /// Permits that could be given at once.
    pub available: usize,
    /// Asks that wait for one.
    pub queued: usize,
    /// How long the next interactive ask would wait.
    pub expected_wait: Duration,
    /// Calls a second that are used: fewer than the limit after throttles that we did not cause.
    pub budget: usize,
    /// Calls that the vendor throttled since the start.
    pub throttled_total: u64,
}

/// A place in the queue; wait for it to get the permit. Dropping it leaves the queue.
#[derive(Debug)]
pub struct Place {
    id: u64,
    granted: oneshot::Receiver<Permit>,
    limiter: Limiter,
    is_queued: bool,
}

impl Limiter {
    /// All permits are out for `start_hold` at first. Must be made inside a tokio runtime.
    #[must_use]
    pub fn new(rule: Rule, start_hold: Option<Duration>) -> Self {
        let permits = rule.permits as usize;
        let now = Instant::now();
        let held = start_hold.map(|hold| Reverse(now + hold));
        let state = State {
            free: if held.is_some() { 0 } else { permits },
            out: Vec::with_capacity(permits),
            held: held.into_iter().flat_map(|until| std::iter::repeat_n(until, permits)).collect(),
            // A start that waits for more than the rule's hold has calls of its predecessor to wait for.
            unproven_until: start_hold.map(|hold| now + hold.saturating_sub(rule.hold)),
            paused_until: None,
            budget: Budget::new(permits),
            queue: Queue::new(),
            round_trip: FIRST_ROUND_TRIP,
            throttled_total: 0,
        };
        let wake = Arc::new(Notify::new());
        let shared =
            Arc::new(Shared { rule, state: Mutex::new(state), wake: Arc::clone(&wake), next_id: AtomicU64::new(0) });
        tokio::spawn(give_back(Arc::downgrade(&shared), wake));
        Self { shared }
    }

    /// Calls a second.
    #[must_use]
    pub fn permits(&self) -> u32 {
        self.shared.rule.permits
    }

    /// Joins the queue.
    #[must_use]
    pub fn enqueue(&self, class: Class, caller: Caller) -> Place {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, granted) = oneshot::channel();
        self.shared.lock().queue.push(class, caller, id, sender);
        Shared::grant(&self.shared);
        Place { id, granted, limiter: self.clone(), is_queued: true }
    }

    /// Takes a place out of the queue: whoever waits for it gets `None`, unless the permit was granted already.
    pub fn cancel(&self, place: u64) {
        self.shared.lock().queue.remove(place);
    }

    /// Moves a queued place to another class, behind those who are there, unless its turn comes sooner as it is.
    pub fn move_to(&self, place: u64, class: Class) {
        let mut state = self.shared.lock();
        if state.queue.ahead_of(place).is_some_and(|ahead| ahead <= state.queue.ahead(class, 0)) {
            return;
        }
        if let Some((caller, sender)) = state.queue.remove(place) {
            state.queue.push(class, caller, place, sender);
        }
    }

    /// How long the last of `n` new asks would wait for its permit; zero for none.
    #[must_use]
    pub fn expected_wait(&self, class: Class, n: usize) -> Duration {
        let Some(last) = n.checked_sub(1) else { return Duration::ZERO };
        let state = self.shared.lock();
        let ahead = state.queue.ahead(class, last);
        state.expected_wait(ahead, &self.shared.rule, Instant::now())
    }

    /// How long a queued place still waits for its permit; `None` if it is not queued any more.
    #[must_use]
    pub fn expected_wait_of(&self, place: u64) -> Option<Duration> {
        let state = self.shared.lock();
        let ahead = state.queue.ahead_of(place)?;
        Some(state.expected_wait(ahead, &self.shared.rule, Instant::now()))
    }

    /// How long the last of `n` asks would wait if nobody else wanted anything and all permits were free.
    #[must_use]
    pub fn least_wait(&self, n: usize) -> Duration {
        let rounds = n.saturating_sub(1) / (self.shared.rule.permits as usize).max(1);
        let cycle = self.shared.lock().round_trip + self.shared.rule.hold;
        cycle.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// The vendor says that somebody uses the account beside us: no permit for `pause`, at least the rule's hold, and
    /// fewer for some time after.
    pub fn throttled(&self, pause: Option<Duration>) {
        let now = Instant::now();
        let until = now + pause.unwrap_or_default().max(self.shared.rule.hold);
        let mut state = self.shared.lock();
        state.throttled_total += 1;
        // Calls that were out together are throttled together: that is one hint, not several.
        if !state.is_paused(now) {
            state.budget.shrink(now);
        }
        state.paused_until = state.paused_until.max(Some(until));
    }

    /// What can be seen of it.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.take_back(now);
        Standing {
            available: if state.is_paused(now) { 0 } else { state.grantable() },
            budget: state.budget.calls(),
            queued: state.queue.len(),
            expected_wait: state.expected_wait(state.queue.ahead(Class::Interactive, 0), &self.shared.rule, now),
            throttled_total: state.throttled_total,
        }
    }

    /// Whether every call so far is known to have been counted: then a successor needs only the rule's hold.
    #[must_use]
    pub fn is_proven(&self) -> bool {
        let state = self.shared.lock();
        state.out.is_empty() && state.unproven_until.is_none_or(|until| until <= Instant::now())
    }
}

impl Shared {
    fn lock(&self) -> MutexGuard<'_, State> {
        // A panic cannot leave the counts half changed: each change is one statement.
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Gives permits to those whose turn it is. They are sent outside the lock: a receiver that has gone drops its
    /// permit, which comes back through the same lock.
    fn grant(shared: &Arc<Self>) {
        let next = || {
            let now = Instant::now();
            let mut state = shared.lock();
            state.take_back(now);
            if state.grantable() == 0 || state.is_paused(now) {
                return None;
            }
            let receiver = state.queue.pop()?;
            state.free -= 1;
            state.out.push(now);
            Some((receiver, now))
        };
        while let Some((receiver, now)) = next() {
            let ledger: Arc<dyn Ledger> = Arc::<Self>::clone(shared);
            drop(receiver.send(Permit::issue(ledger, now)));
        }
        shared.wake.notify_one();
    }
}

impl Ledger for Shared {
    fn ended(self: Arc<Self>, ending: Ending, granted_at: Instant) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(at) = state.out.iter().position(|granted| *granted == granted_at) {
            state.out.swap_remove(at);
        }
        match ending {
            Ending::NotWritten => state.free += 1,
            Ending::HeadRead(at) => {
                let sample = at.saturating_duration_since(granted_at);
                state.round_trip = (state.round_trip * 7 + sample) / 8;
                state.held.push(Reverse(at + self.rule.hold));
            }
            Ending::Unknown => {
                let until = now + self.rule.hold_unproven();
                state.held.push(Reverse(until));
                state.unproven_until = state.unproven_until.max(Some(now + self.rule.guard));
            }
        }
        drop(state);
        Self::grant(&self);
    }
}

impl State {
    fn take_back(&mut self, now: Instant) {
        while self.held.peek().is_some_and(|Reverse(until)| *until <= now) {
            self.held.pop();
            self.free += 1;
        }
        self.budget.recover(now);
    }

    /// How many permits may be given now: what is free, as far as the budget goes.
    fn grantable(&self) -> usize {
        let used = self.out.len() + self.held.len();
        self.free.min(self.budget.calls().saturating_sub(used))
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// When somebody has to look again.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        let back = self.held.peek().map(|Reverse(until)| *until);
        let pause = self.paused_until.filter(|until| now < *until);
        [back, pause, self.budget.next_step()].into_iter().flatten().min()
    }

    /// How long until the permit after `ahead` others: each comes back a round trip and a hold after it was given.
    fn expected_wait(&self, ahead: usize, rule: &Rule, now: Instant) -> Duration {
        let earliest = self.paused_until.map_or(now, |until| until.max(now));
        let cycle = self.round_trip + rule.hold;
        let out = self.out.iter().map(|granted| (*granted + self.round_trip).max(now) + rule.hold);
        let mut back: Vec<Instant> =
            out.chain(self.held.iter().map(|Reverse(until)| *until)).map(|at| at.max(earliest)).collect();
        // Of those that are used the budget keeps back what comes first, and of those that are free what is too many.
        back.sort_unstable_by(|one, other| other.cmp(one));
        back.resize(self.budget.calls().min(back.len() + self.free), earliest);
        let mut back: BinaryHeap<_> = back.into_iter().map(Reverse).collect();
        for _ in 0..ahead {
            let Some(Reverse(at)) = back.pop() else { break };
            back.push(Reverse(at + cycle));
        }
        back.peek().map_or(Duration::MAX, |Reverse(at)| at.saturating_duration_since(now))
    }
}

/// Wakes when the next permit is due, for as long as the limiter lives.
async fn give_back(shared: std::sync::Weak<Shared>, wake: Arc<Notify>) {
    loop {
        let due = {
            let Some(shared) = shared.upgrade() else { return };
            let now = Instant::now();
            let mut state = shared.lock();
            state.take_back(now);
            let ready = state.grantable() > 0 && state.queue.len() > 0 && !state.is_paused(now);
            let due = state.next_event(now);
            drop(state);
            if ready {
                Shared::grant(&shared);
                continue;
            }
            due
        };
        match due {
            Some(at) => tokio::select! { () = tokio::time::sleep_until(at) => {}, () = wake.notified() => {} },
            None => wake.notified().await,
        }
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wake.notify_one();
    }
}

impl Place {
    /// Its number, for [`Limiter::cancel`] and [`Limiter::move_to`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the permit; `None` if the place was cancelled.
    pub async fn permit(mut self) -> Option<Permit> {
        let permit = (&mut self.granted).await.ok();
        self.is_queued = false;
        permit
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if self.is_queued {
            self.limiter.cancel(self.id);
        }
    }
}
