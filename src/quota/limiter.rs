//! The permits of one (account, operation): given in turn, taken back when the rule says so.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, HashSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::Rule;
use super::budget::Budget;
use super::forecast::Forecast;
use super::lease::{Answer, LeaseRequest, Pool};
use super::permit::{Ending, Ledger, Permit, Slot};
use super::queue::Queue;
use crate::domain::{Caller, Class};
use crate::redis::PATIENCE;
use crate::telemetry::meters::Cause;

/// A call's usual time from permit to response head before any was measured.
const FIRST_ROUND_TRIP: Duration = Duration::from_millis(100);

/// The longest pause after a throttle, as docs/quota.md has it; whatever names a longer one is not believed: a minute later
/// one call finds out whether the vendor meant it.
const LONGEST_PAUSE: Duration = Duration::from_mins(1);

/// How many calls one caller may have in the queue: what the permits let through in a minute,
const MOST_QUEUED_FOR: usize = 60;
/// and as many as some patient requests need together where permits are few.
const MOST_QUEUED_AT_LEAST: usize = 1_000;

/// Keeps the permits of one (account, operation). Cheap to clone.
#[derive(Debug, Clone)]
pub struct Limiter {
    pub(super) shared: Arc<Shared>,
}

#[derive(Debug)]
pub(super) struct Shared {
    rule: Rule,
    state: Mutex<State>,
    wake: Arc<Notify>,
    /// Tells the agent of leases that there is something to ask or to give back.
    pub(super) changed: Arc<Notify>,
    next_id: AtomicU64,
}

#[derive(Debug)]
struct State {
    free: Vec<Slot>,
    /// When each permit that is out with a call was granted.
    out: Vec<(Instant, Slot)>,
    /// When each permit that is held after its call comes back.
    held: BinaryHeap<Reverse<Hold>>,
    /// Where permits come from and go to if they are shared with replicas.
    pool: Option<Pool>,
    /// Until when nothing proves that calls given up on have been counted.
    unproven_until: Option<Instant>,
    paused_until: Option<Instant>,
    budget: Budget,
    queue: Queue<Caller, oneshot::Sender<Permit>>,
    /// From permit to response head, smoothed, once a call was made.
    round_trip: Option<Duration>,
    throttled_total: u64,
}

/// A permit after its call, until it comes back.
#[derive(Debug)]
struct Hold {
    until: Instant,
    slot: Slot,
}

/// What can be seen of a limiter.
#[derive(Debug, Clone, Copy)]
pub struct QuotaStatus {
    /// Permits that could be given at once.
    pub available: usize,
    /// Permits that are out with a call, or rest after one.
    pub in_use: usize,
    /// Asks that wait for one.
    pub queued: usize,
    /// The same by class.
    pub queued_by_class: [usize; 3],
    /// How long the next interactive ask would wait.
    pub expected_wait: Duration,
    /// Calls a second that are used: fewer than the limit after throttles that we did not cause.
    pub budget: usize,
    /// Calls that the vendor throttled since the start.
    pub throttled_total: u64,
}

/// An entry in the queue; wait for it to get the permit. Dropping it leaves the queue.
#[derive(Debug)]
pub struct QueueEntry {
    id: u64,
    granted: oneshot::Receiver<Permit>,
    limiter: Limiter,
    is_queued: bool,
}

impl Limiter {
    /// All permits are out for `start_hold` at first. Must be made inside a tokio runtime.
    #[must_use]
    pub fn new(rule: Rule, start_hold: Option<Duration>) -> Self {
        let now = Instant::now();
        let slots = vec![None; rule.permits as usize];
        let (free, held) = match start_hold.map(|hold| now + hold) {
            None => (slots, BinaryHeap::new()),
            Some(until) => (Vec::new(), slots.into_iter().map(|slot| Reverse(Hold { until, slot })).collect()),
        };
        // A start that waits for more than the rule's hold has calls of its predecessor to wait for.
        let unproven_until = start_hold.map(|hold| now + hold.saturating_sub(rule.hold));
        Self { shared: Shared::start(rule, free, held, unproven_until, None) }
    }

    /// Has only what an agent leases for it, and shares permits with replicas. Must be made inside a tokio runtime.
    #[must_use]
    pub(super) fn without_permits(rule: Rule) -> Self {
        let pool = Pool::new(Instant::now(), rule.permits as usize);
        Self { shared: Shared::start(rule, Vec::new(), BinaryHeap::new(), None, Some(pool)) }
    }

    /// Calls a second.
    #[must_use]
    pub fn permits(&self) -> u32 {
        self.shared.rule.permits
    }

    /// Joins the queue.
    #[must_use]
    pub fn enqueue(&self, class: Class, caller: Caller) -> QueueEntry {
        let id = self.shared.next_id.fetch_add(1, Ordering::Relaxed);
        let (sender, granted) = oneshot::channel();
        self.shared.lock().queue.push(class, caller, id, sender);
        Shared::grant(&self.shared);
        QueueEntry { id, granted, limiter: self.clone(), is_queued: true }
    }

    /// The most calls that one caller may have in the queue. Nothing else keeps those who wait for hours from filling it.
    #[must_use]
    pub fn most_queued(&self) -> usize {
        (self.shared.rule.permits as usize).saturating_mul(MOST_QUEUED_FOR).max(MOST_QUEUED_AT_LEAST)
    }

    /// How many calls of a caller are in the queue.
    #[must_use]
    pub fn queued_by(&self, caller: &Caller) -> usize {
        self.shared.lock().queue.len_of(caller)
    }

    /// Takes an entry out of the queue: whoever waits for it gets `None`, unless the permit was granted already.
    pub fn cancel(&self, entry: u64) {
        self.shared.lock().queue.remove(entry);
    }

    /// Moves a queued entry into the turns of a caller in another class, behind those who are there, unless its turn comes
    /// sooner as it is.
    pub fn move_to(&self, entry: u64, class: Class, caller: &Caller) {
        let mut state = self.shared.lock();
        let now = Instant::now();
        let elsewhere = state.forecast(&self.shared.rule, now).elsewhere;
        let lifted = state.queue.ahead(class, caller, 0, elsewhere.as_ref());
        if state.queue.ahead_of(entry, elsewhere.as_ref()).is_some_and(|ahead| ahead <= lifted) {
            return;
        }
        if let Some((_, sender)) = state.queue.remove(entry) {
            state.queue.push(class, caller.clone(), entry, sender);
        }
    }

    /// How long the last of `n` new asks of a caller would wait for its permit; zero for none.
    #[must_use]
    pub fn expected_wait(&self, class: Class, caller: &Caller, n: usize) -> Duration {
        let Some(last) = n.checked_sub(1) else { return Duration::ZERO };
        self.shared.lock().expected_wait(class, caller, last, &self.shared.rule, Instant::now())
    }

    /// How long the last of these entries still waits for its permit, if they [move](Self::move_to) to `class` and `caller`;
    /// `None` if none of them is queued any more.
    #[must_use]
    pub fn expected_wait_of(
        &self,
        entries: impl IntoIterator<Item = u64>,
        class: Class,
        caller: &Caller,
    ) -> Option<Duration> {
        let entries: HashSet<u64> = entries.into_iter().collect();
        let state = self.shared.lock();
        let forecast = state.forecast(&self.shared.rule, Instant::now());
        let ahead = state.queue.ahead_of_joined(&entries, class, caller, forecast.elsewhere.as_ref())?;
        Some(forecast.wait(ahead))
    }

    /// How long the last of `n` asks would wait if nobody else wanted anything and all permits were free.
    #[must_use]
    pub fn least_wait(&self, n: usize) -> Duration {
        let rounds = n.saturating_sub(1) / (self.shared.rule.permits as usize).max(1);
        let cycle = self.shared.lock().round_trip() + self.shared.rule.hold;
        cycle.saturating_mul(u32::try_from(rounds).unwrap_or(u32::MAX))
    }

    /// The vendor says that somebody uses the account beside us: no permit for `pause`, at least the rule's hold, and
    /// fewer for some time after.
    pub fn throttled(&self, pause: Option<Duration>) {
        let now = Instant::now();
        let until = now + pause.unwrap_or_default().min(LONGEST_PAUSE).max(self.shared.rule.hold);
        let mut state = self.shared.lock();
        state.throttled_total += 1;
        // Calls that were out together are throttled together: that is one hint, not several. The budget that replicas
        // share is kept in Redis.
        if state.pool.is_none() && !state.is_paused(now) {
            state.budget.shrink(now);
        }
        state.paused_until = state.paused_until.max(Some(until));
        if let Some(pool) = &mut state.pool {
            pool.pause = pool.pause.max(Some(until - now));
            self.shared.changed.notify_one();
        }
    }

    /// Who is to blame for a call that the vendor has throttled just now, as far as it is known here.
    #[must_use]
    pub fn cause_of_throttle(&self) -> Cause {
        let mut state = self.shared.lock();
        state.take_back(Instant::now());
        match state.pool {
            Some(_) => Cause::Unknown,
            None if state.in_use() >= self.shared.rule.permits as usize => Cause::Own,
            None => Cause::Stranger,
        }
    }

    /// What can be seen of it, with the wait of this caller.
    #[must_use]
    pub fn status(&self, caller: &Caller) -> QuotaStatus {
        let now = Instant::now();
        let mut state = self.shared.lock();
        state.take_back(now);
        QuotaStatus {
            available: if state.is_paused(now) { 0 } else { state.available() },
            budget: state.calls(),
            in_use: state.in_use(),
            queued: state.queue.len(),
            queued_by_class: state.queue.by_class(),
            expected_wait: state.expected_wait(Class::Interactive, caller, 0, &self.shared.rule, now),
            throttled_total: state.throttled_total,
        }
    }

    /// Waits until every lease is back where it came from, for as long as one can be held at most. To be called when
    /// nobody asks any more: the other replicas would else wait for the leases to end.
    pub async fn all_given_back(&self) {
        let deadline = Instant::now() + self.shared.rule.hold_unproven() + PATIENCE;
        while self.shared.lock().pool.as_ref().is_some_and(Pool::owes) && Instant::now() < deadline {
            tokio::time::sleep(Duration::from_millis(10)).await;
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
    fn start(
        rule: Rule,
        free: Vec<Slot>,
        held: BinaryHeap<Reverse<Hold>>,
        unproven_until: Option<Instant>,
        pool: Option<Pool>,
    ) -> Arc<Self> {
        let permits = rule.permits as usize;
        let state = State {
            free,
            out: Vec::with_capacity(permits),
            held,
            pool,
            unproven_until,
            paused_until: None,
            budget: Budget::new(permits),
            queue: Queue::new(),
            round_trip: None,
            throttled_total: 0,
        };
        let wake = Arc::new(Notify::new());
        let shared = Arc::new(Self {
            rule,
            state: Mutex::new(state),
            wake: Arc::clone(&wake),
            changed: Arc::default(),
            next_id: AtomicU64::new(0),
        });
        tokio::spawn(give_back(Arc::downgrade(&shared), wake));
        shared
    }

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
            if !state.can_grant(now) {
                return None;
            }
            let slot = state.free.pop()?;
            let receiver = match slot {
                Some(lease) => state.queue.pop_of(lease.class()),
                None => state.queue.pop(),
            }?;
            state.out.push((now, slot));
            Some((receiver, now, slot))
        };
        while let Some((receiver, now, slot)) = next() {
            let ledger: Arc<dyn Ledger> = Arc::<Self>::clone(shared);
            drop(receiver.send(Permit::issue(ledger, now, slot)));
        }
        shared.wake.notify_one();
        shared.lock().give_back_unused(&shared.changed);
    }

    /// What waits for permits, by class, and whether there is something that cannot wait.
    pub(super) fn wants(&self) -> ([usize; 3], bool) {
        let state = self.lock();
        let is_urgent = state.pool.as_ref().is_some_and(|pool| !pool.returns.is_empty() || pool.pause.is_some());
        (state.wants(Instant::now()).0, is_urgent)
    }

    /// What to ask Redis for. With `sync`, it lists all that is held in `epoch`, else what is to be given back.
    pub(super) fn wish(&self, sync: bool, epoch: u64) -> LeaseRequest {
        let mut state = self.lock();
        let (by_class, most) = state.wants(Instant::now());
        let is_last = state.out.is_empty() && state.held.is_empty() && state.free.is_empty();
        let Some(pool) = &mut state.pool else { return LeaseRequest::default() };
        pool.gives_all_back = is_last;
        let (returns, pause) = (std::mem::take(&mut pool.returns), pool.pause.take());
        let mut listed: Vec<_> = if sync {
            let held = state.held.iter().map(|Reverse(hold)| hold.slot);
            let out = state.out.iter().map(|(_, slot)| *slot);
            held.chain(out).chain(state.free.iter().copied()).flatten().collect()
        } else {
            returns
        };
        // Events are counted anew in every epoch: a lease of another one could be mistaken for one of this.
        listed.retain(|lease| lease.is_of(epoch));
        LeaseRequest { by_class, most, listed, pause, round_trip: state.round_trip }
    }

    /// Redis has answered.
    pub(super) fn take_answer(shared: &Arc<Self>, answer: Answer) {
        let now = Instant::now();
        let mut state = shared.lock();
        if !answer.paused.is_zero() {
            state.paused_until = state.paused_until.max(Some(now + answer.paused.min(LONGEST_PAUSE)));
        }
        if let Some(pool) = &mut state.pool {
            let granted = pool.take(answer);
            state.free.extend(granted.into_iter().map(Some));
        }
        drop(state);
        Self::grant(shared);
    }

    /// Redis has not answered; a `pause` that it was to be told of is still to be told.
    pub(super) fn note_lost(&self, pause: Option<Duration>) {
        if let Some(pool) = &mut self.lock().pool {
            pool.note_lost(Instant::now(), pause);
        }
    }
}

impl Ledger for Shared {
    fn ended(self: Arc<Self>, ending: Ending, granted_at: Instant, slot: Slot) {
        let now = Instant::now();
        let mut state = self.lock();
        if let Some(at) = state.out.iter().position(|out| *out == (granted_at, slot)) {
            state.out.swap_remove(at);
        }
        match ending {
            Ending::NotWritten => state.regain(slot),
            Ending::HeadRead(at) => {
                let sample = at.saturating_duration_since(granted_at);
                state.round_trip = Some(state.round_trip.map_or(sample, |before| (before * 7 + sample) / 8));
                state.held.push(Reverse(Hold { until: at + self.rule.hold, slot }));
            }
            Ending::Unknown => {
                let until = now + self.rule.hold_unproven();
                state.held.push(Reverse(Hold { until, slot }));
                state.unproven_until = state.unproven_until.max(Some(now + self.rule.guard));
            }
        }
        drop(state);
        Self::grant(&self);
    }
}

impl State {
    fn take_back(&mut self, now: Instant) {
        while self.held.peek().is_some_and(|Reverse(hold)| hold.until <= now)
            && let Some(Reverse(hold)) = self.held.pop()
        {
            self.regain(hold.slot);
        }
        self.budget.recover(now);
    }

    fn in_use(&self) -> usize {
        self.out.len() + self.held.len()
    }

    /// A permit is over and done with: it is free again, or goes back to where it was leased.
    fn regain(&mut self, slot: Slot) {
        match (slot, &mut self.pool) {
            (Some(lease), Some(pool)) => pool.returns.push(lease),
            _ => self.free.push(slot),
        }
    }

    /// Leases that nobody here waits for go back at once.
    fn give_back_unused(&mut self, changed: &Notify) {
        let Some(pool) = &mut self.pool else { return };
        pool.returns.extend(self.free.drain(..).flatten());
        if !pool.returns.is_empty() || self.queue.len() > 0 {
            changed.notify_one();
        }
    }

    /// What waits for leases, by class, and how many may be taken.
    fn wants(&self, now: Instant) -> ([usize; 3], usize) {
        (self.queue.by_class(), if self.is_paused(now) { 0 } else { self.queue.len() })
    }

    /// Calls a second that are used, by all replicas together if there are others.
    fn calls(&self) -> usize {
        self.pool.as_ref().map_or_else(|| self.budget.calls(), Pool::budget)
    }

    /// Permits that could be given at once, as far as is known.
    fn available(&self) -> usize {
        self.pool.as_ref().map_or_else(|| self.grantable(), Pool::available)
    }

    /// How many permits may be given now: what is free, as far as the budget goes. What is leased is within it.
    fn grantable(&self) -> usize {
        let allowance = self.budget.calls().saturating_sub(self.out.len() + self.held.len());
        if self.pool.is_some() { self.free.len() } else { self.free.len().min(allowance) }
    }

    /// Whether somebody's turn has come.
    fn can_grant(&self, now: Instant) -> bool {
        self.grantable() > 0 && self.queue.len() > 0 && !self.is_paused(now)
    }

    fn is_paused(&self, now: Instant) -> bool {
        self.paused_until.is_some_and(|until| now < until)
    }

    /// When somebody has to look again.
    fn next_event(&self, now: Instant) -> Option<Instant> {
        let back = self.held.peek().map(|Reverse(hold)| hold.until);
        let pause = self.paused_until.filter(|until| now < *until);
        [back, pause, self.budget.next_step()].into_iter().flatten().min()
    }

    /// How long a call takes: here, else at the others.
    fn round_trip(&self) -> Duration {
        self.round_trip.or_else(|| self.pool.as_ref()?.round_trip()).unwrap_or(FIRST_ROUND_TRIP)
    }

    /// When permits are back, and what is ahead of ours: each comes back a round trip and a hold after it was given.
    fn forecast(&self, rule: &Rule, now: Instant) -> Forecast {
        let round_trip = self.round_trip();
        let cycle = round_trip + rule.hold;
        let pool = self.pool.as_ref();
        let earliest = self.paused_until.max(pool.and_then(|pool| pool.earliest(now))).map_or(now, |at| at.max(now));
        // What came back just now may be ours yet.
        let given_until = if earliest > now { None } else { now.checked_sub(round_trip) };
        let (elsewhere, others) = pool.map(|pool| pool.others(cycle, given_until)).unzip();
        let out = self.out.iter().map(|(granted, _)| (*granted + round_trip).max(now) + rule.hold);
        let mut back: Vec<Instant> = out
            .chain(self.held.iter().map(|Reverse(hold)| hold.until))
            .chain(others.unwrap_or_default())
            .map(|at| at.max(earliest))
            .collect();
        // The budget keeps back what comes first; all that is not told of is free, or on its way back.
        back.sort_unstable_by(|one, other| other.cmp(one));
        back.resize(self.calls(), earliest);
        Forecast { now, back, cycle, elsewhere }
    }

    /// How long the `nth` new ask of a caller would wait.
    fn expected_wait(&self, class: Class, caller: &Caller, nth: usize, rule: &Rule, now: Instant) -> Duration {
        let forecast = self.forecast(rule, now);
        let ahead = self.queue.ahead(class, caller, nth, forecast.elsewhere.as_ref());
        forecast.wait(ahead)
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
            let ready = state.can_grant(now);
            let due = state.next_event(now);
            state.give_back_unused(&shared.changed);
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
        self.changed.notify_one();
    }
}

impl Ord for Hold {
    fn cmp(&self, other: &Self) -> std::cmp::Ordering {
        self.until.cmp(&other.until)
    }
}

impl PartialOrd for Hold {
    fn partial_cmp(&self, other: &Self) -> Option<std::cmp::Ordering> {
        Some(self.cmp(other))
    }
}

impl PartialEq for Hold {
    fn eq(&self, other: &Self) -> bool {
        self.until == other.until
    }
}

impl Eq for Hold {}

impl QueueEntry {
    /// Its number, for [`Limiter::cancel`] and [`Limiter::move_to`].
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// Waits for the permit; `None` if the entry was cancelled.
    pub async fn permit(mut self) -> Option<Permit> {
        let permit = (&mut self.granted).await.ok();
        self.is_queued = false;
        permit
    }
}

impl Drop for QueueEntry {
    fn drop(&mut self) {
        if self.is_queued {
            self.limiter.cancel(self.id);
        }
    }
}
