//! What is held in memory: slices and windows, weighed in bytes, each with its own lifetime; and refusals, which are
//! errors and never data.

use std::fmt;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::Expiry;
use moka::sync::Cache;
use tokio::time::Instant;

use super::lifetime::{Lifetimes, Use, lifetime, usable};
use crate::domain::{Ask, Cut, Held, Keep, Operation, Slice, Subject, Timestamp, Window};
use crate::error::WeirError;
use crate::planner::SliceCache;

/// How long a refusal that will repeat is remembered.
const REFUSAL_TTL: Duration = Duration::from_secs(30);
/// How many refusals are remembered at most.
const MAX_REFUSALS: u64 = 10_000;
/// What an entry weighs beside its rows: key, handles and the cache's own book-keeping, roughly.
const ENTRY_BYTES: u32 = 700;

/// The memory of one operation. moka keeps the bound and drops what has expired by real time; whether an entry may be
/// served is judged here, by tokio's time.
pub struct Memory<O: Operation> {
    operation: Arc<O>,
    slices: Cache<Slice<O::Subject>, Arc<Held<O::Data>>>,
    refusals: Cache<O::Subject, (Instant, Arc<WeirError>)>,
    lifetimes: Lifetimes,
    epoch: AtomicU64,
    /// Held while a slice is compared with what is held already, and replaced.
    keeping: Mutex<()>,
}

impl<O: Operation> Memory<O> {
    /// A memory of `max_bytes`, as far as the estimates of rows and keys hold.
    #[must_use]
    pub fn new(operation: Arc<O>, max_bytes: u64, lifetimes: Lifetimes) -> Self {
        let slices = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, held: &Arc<Held<O::Data>>| held.bytes.saturating_add(ENTRY_BYTES))
            .expire_after(UntilUseless)
            .build();
        let refusals = Cache::builder().max_capacity(MAX_REFUSALS).time_to_live(REFUSAL_TTL).build();
        Self { operation, slices, refusals, lifetimes, epoch: AtomicU64::new(0), keeping: Mutex::new(()) }
    }

    /// What is held for the slice and what it is good for to `ask`: the slice of the whole subject or the slice itself,
    /// whichever is better.
    #[must_use]
    pub fn lookup(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Option<(Arc<Held<O::Data>>, Use)> {
        let now = Instant::now();
        let judge = |slice: &Slice<O::Subject>| {
            let held = self.slices.get(slice)?;
            let good_for = match held.fresh_until {
                None => Use::Fresh,
                Some(_) => usable(&held, ask, self.lifetimes, self.operation.final_from(slice).1, now),
            };
            Some((held, good_for))
        };
        let whole = slice.subject.whole().map(|subject| Slice { subject, window: slice.window });
        let best = match whole.and_then(|whole| judge(&whole)) {
            Some((held, Use::Fresh)) => Some((held, Use::Fresh)),
            // In doubt the one that was fetched later.
            Some(whole) => match judge(slice) {
                Some(own) if own.1 == Use::Fresh || own.0.sent_at > whole.0.sent_at => Some(own),
                _ => Some(whole),
            },
            None => judge(slice),
        };
        best.filter(|(_, good_for)| *good_for != Use::Useless)
    }

    /// Keeps what another replica fetched `age` ago, as if it had been fetched here.
    pub(super) fn adopt(
        &self,
        slice: Slice<O::Subject>,
        keep: Keep,
        age: Duration,
        held: impl FnOnce(Option<Instant>, Option<Instant>) -> Held<O::Data>,
    ) {
        let now = Instant::now();
        let left = |life: Duration| now + life.saturating_sub(age);
        let life = lifetime(keep, self.lifetimes);
        let held = held(life.map(|(fresh, _)| left(fresh)), life.map(|(_, stale)| left(stale)));
        if held.stale_until.is_none_or(|until| now < until) {
            self.keep(slice, Arc::new(held));
        }
    }

    /// An older result never replaces a newer one that is fresh, and a settled slice is never replaced. What is past its
    /// time gives way whatever its instant says: the clock may have been set back since. Answers what is now held.
    fn keep(&self, slice: Slice<O::Subject>, held: Arc<Held<O::Data>>) -> Arc<Held<O::Data>> {
        let now = Instant::now();
        // What moka offers for this costs several times as much for each slice.
        let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
        let kept = match self.slices.get(&slice) {
            Some(old) if old.is_settled() || (old.sent_at > held.sent_at && old.is_fresh(now)) => old,
            _ => {
                self.slices.insert(slice, Arc::clone(&held));
                held
            }
        };
        drop(keeping);
        self.epoch.fetch_add(1, Ordering::AcqRel);
        kept
    }

    /// How often what is held was changed: whatever was made of it before is out of date once this has grown. Slices that
    /// are dropped to keep the bound do not count, since what they said still holds.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.epoch.load(Ordering::Acquire)
    }

    /// The remembered refusal of every call for this subject, or for the whole it is part of.
    #[must_use]
    pub fn refusal(&self, subject: &O::Subject) -> Option<Arc<WeirError>> {
        let now = Instant::now();
        let known = |subject: &O::Subject| self.refusals.get(subject).filter(|(until, _)| now < *until);
        subject.whole().and_then(|whole| known(&whole)).or_else(|| known(subject)).map(|(_, error)| error)
    }

    /// Forgets the empty slices of the subjects that `concerns` names: rows may begin to appear in them.
    pub fn forget_empty(&self, concerns: impl Fn(&O::Subject) -> bool) {
        for (slice, held) in &self.slices {
            if held.is_empty && concerns(&slice.subject) {
                self.slices.invalidate(&*slice);
            }
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }

    /// How many slices are held, about.
    #[must_use]
    pub fn entry_count(&self) -> u64 {
        self.slices.entry_count()
    }
}

impl<O: Operation> SliceCache<O> for Memory<O> {
    fn fresh(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Option<Arc<Held<O::Data>>> {
        self.lookup(slice, ask).filter(|(_, good_for)| *good_for == Use::Fresh).map(|(held, _)| held)
    }

    fn has_fresh(&self, slice: &Slice<O::Subject>) -> bool {
        self.slices.get(slice).is_some_and(|held| held.is_fresh(Instant::now()))
    }

    fn epoch(&self) -> u64 {
        Memory::epoch(self)
    }

    fn put(
        &self,
        subject: &O::Subject,
        cuts: Vec<Cut<O::Data>>,
        sent_at: Timestamp,
    ) -> Vec<(Window, Arc<Held<O::Data>>)> {
        let now = Instant::now();
        let put = |cut: Cut<O::Data>| {
            let life = lifetime(cut.keep, self.lifetimes);
            let held = Arc::new(Held {
                data: Arc::new(cut.data),
                sent_at,
                fresh_until: life.map(|(fresh, _)| now + fresh),
                stale_until: life.map(|(_, stale)| now + stale),
                is_empty: cut.is_empty,
                bytes: cut.bytes,
            });
            let slice = Slice { subject: subject.clone(), window: cut.window };
            (cut.window, self.keep(slice, held))
        };
        cuts.into_iter().map(put).collect()
    }

    fn refuse(&self, subject: &O::Subject, error: &Arc<WeirError>) {
        self.refusals.insert(subject.clone(), (Instant::now() + REFUSAL_TTL, Arc::clone(error)));
    }
}

/// Lets moka drop what may not even be served as stale any more.
struct UntilUseless;

impl<K, D> Expiry<K, Arc<Held<D>>> for UntilUseless {
    fn expire_after_create(&self, _: &K, held: &Arc<Held<D>>, _: std::time::Instant) -> Option<Duration> {
        held.stale_until.map(|until| until.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        key: &K,
        held: &Arc<Held<D>>,
        updated_at: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, held, updated_at)
    }
}

impl<O: Operation> fmt::Debug for Memory<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("entries", &self.entry_count()).finish_non_exhaustive()
    }
}
