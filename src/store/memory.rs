//! What is held in memory: slices and windows, weighed in bytes, each with its own lifetime; and refusals, which are
//! errors and never data.
//!
//! Neighbouring slices of a grid are held together, in blocks ([0018](../../docs/decisions/0018-blocks.md)).

use std::fmt;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use moka::sync::Cache;
use tokio::time::Instant;

use super::block::{Block, Cell, UntilUseless, is_heavy, place};
use super::lifetime::{Lifetimes, Use, lifetime, usable};
use crate::domain::{Ask, Cut, Held, Keep, Operation, Slice, Subject, Timestamp, Window};
use crate::error::WeirError;
use crate::planner::{Landed, SliceCache};
use crate::telemetry::meters::CacheReading;

/// How long a refusal that will repeat is remembered.
const REFUSAL_TTL: Duration = Duration::from_secs(30);
/// How many refusals are remembered at most.
const MAX_REFUSALS: u64 = 10_000;

/// How often what may still change of a slice is fetched again without being asked for, if it is.
pub type RefetchedEvery<O> = Box<dyn Fn(&<O as Operation>::Subject, Window) -> Option<Duration> + Send + Sync>;

/// How much longer an answer lives than until it is fetched again: the fetching takes its time.
const REFETCH_MARGIN: Duration = Duration::from_mins(2);

/// The memory of one operation. moka keeps the bound and drops what has expired by real time; whether an entry may be
/// served is judged here, by tokio's time.
pub struct Memory<O: Operation> {
    operation: Arc<O>,
    blocks: Cache<Slice<O::Subject>, Arc<Block<O::Data>>>,
    refusals: Cache<O::Subject, (Instant, Arc<WeirError>)>,
    lifetimes: Lifetimes,
    /// How often what may still change of a slice is fetched again without being asked for, if it is.
    refetched: Option<RefetchedEvery<O>>,
    epoch: AtomicU64,
    max_bytes: u64,
    /// The newest instant that anything tells of, and tells of finally, in milliseconds; `i64::MIN` before.
    told_until: AtomicI64,
    final_until: AtomicI64,
    /// Held while a block is compared with what is to be held of it, and replaced.
    keeping: Mutex<()>,
}

impl<O: Operation> Memory<O> {
    /// A memory of `max_bytes`, as far as the estimates of rows and keys hold.
    #[must_use]
    pub fn new(operation: Arc<O>, max_bytes: u64, lifetimes: Lifetimes) -> Self {
        let blocks = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|_, block: &Arc<Block<O::Data>>| block.bytes())
            .expire_after(UntilUseless)
            .build();
        let refusals = Cache::builder().max_capacity(MAX_REFUSALS).time_to_live(REFUSAL_TTL).build();
        let (epoch, keeping) = (AtomicU64::new(0), Mutex::new(()));
        let (told_until, final_until) = (AtomicI64::new(i64::MIN), AtomicI64::new(i64::MIN));
        Self {
            operation,
            blocks,
            refusals,
            lifetimes,
            refetched: None,
            epoch,
            max_bytes,
            told_until,
            final_until,
            keeping,
        }
    }

    /// The same, where slices are fetched again without being asked for: until then they are good enough.
    #[must_use]
    pub fn refetched_every(self, every: RefetchedEvery<O>) -> Self {
        Self { refetched: Some(every), ..self }
    }

    fn lifetimes_of(&self, subject: &O::Subject, window: Window) -> Lifetimes {
        let every = self.refetched.as_ref().and_then(|every| every(subject, window));
        let provisional_ttl = every.map_or(Duration::ZERO, |every| every + REFETCH_MARGIN);
        Lifetimes { provisional_ttl: provisional_ttl.max(self.lifetimes.provisional_ttl), ..self.lifetimes }
    }

    /// What is held for the slice and what it is good for to `ask`: the slice of the whole subject or the slice itself,
    /// whichever is better.
    #[must_use]
    pub fn lookup(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Option<(Arc<Held<O::Data>>, Use)> {
        self.look(slice, ask).up(slice.window)
    }

    /// Looks slices of the subject of `run` up as [`lookup`](Self::lookup) does, one by one; neighbours are cheap.
    pub(super) fn look<'a>(&'a self, run: &Slice<O::Subject>, ask: &'a Ask) -> Look<'a, O> {
        let whole = run.subject.whole().map(|subject| Slice { subject, window: run.window });
        let of = |at| Shelf { memory: self, at, block: None };
        Look { ask, now: Instant::now(), own: of(run.clone()), whole: whole.map(of) }
    }

    /// Keeps what was fetched elsewhere `age` ago, as if it had been fetched here, if it is of use yet. Answers what is
    /// held then: a better one, if there is.
    pub(super) fn adopt(
        &self,
        slice: &Slice<O::Subject>,
        keep: Keep,
        age: Duration,
        held: impl FnOnce(Option<Instant>, Option<Instant>) -> Held<O::Data>,
    ) -> Arc<Held<O::Data>> {
        let now = Instant::now();
        let left = |life: Duration| now + life.saturating_sub(age);
        let life = lifetime(keep, self.lifetimes_of(&slice.subject, slice.window));
        let held = held(life.map(|(fresh, _)| left(fresh)), life.map(|(_, stale)| left(stale)));
        let mut kept = [(slice.window, Arc::new(held))];
        if kept[0].1.stale_until.is_none_or(|until| now < until) {
            self.keep(&slice.subject, &mut kept);
        }
        let [(_, held)] = kept;
        held
    }

    /// How it stands.
    #[must_use]
    pub fn reading(&self) -> CacheReading {
        // What was dropped or put since is counted only then.
        self.blocks.run_pending_tasks();
        let instant = |of: &AtomicI64| Some(of.load(Ordering::Relaxed)).filter(|ms| *ms > i64::MIN);
        CacheReading {
            bytes: self.blocks.weighted_size(),
            max_bytes: self.max_bytes,
            entries: self.blocks.entry_count(),
            told_until: instant(&self.told_until).map(Timestamp::from_ms),
            final_until: instant(&self.final_until).map(Timestamp::from_ms),
        }
    }

    /// Notes how far what was fetched tells: to the end of its window, or to when it was asked for.
    fn note_told(&self, fetched: &[(Window, Arc<Held<O::Data>>)]) {
        for (window, held) in fetched {
            let until = window.end().min(held.sent_at).as_ms();
            self.told_until.fetch_max(until, Ordering::Relaxed);
            if held.is_settled() {
                self.final_until.fetch_max(until, Ordering::Relaxed);
            }
        }
    }

    /// Keeps slices of one reply, unless better ones are held: those come in their stead.
    fn keep(&self, subject: &O::Subject, fetched: &mut [(Window, Arc<Held<O::Data>>)]) {
        let (now, grid) = (Instant::now(), self.operation.grid());
        self.note_told(fetched);
        let block_of = |window: Window| place(window, grid).0;
        for neighbours in fetched.chunk_by_mut(|(one, _), (other, _)| block_of(*one) == block_of(*other)) {
            let Some(window) = neighbours.first().map(|(window, _)| block_of(*window)) else { continue };
            let key = Slice { subject: subject.clone(), window };
            // What moka offers for this costs several times as much.
            let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            let known = self.blocks.get(&key);
            let is_apart = |own: Window, held: &Held<_>| own != window && is_heavy(held);
            let cells = neighbours.iter_mut().map(|(own, held)| (place(*own, grid).1, is_apart(*own, held), held));
            let block = Block::with(known.as_deref(), cells, now);
            for (own, held) in neighbours.iter().filter(|(own, held)| is_apart(*own, held)) {
                let key = Slice { subject: subject.clone(), window: *own };
                self.blocks.insert(key, Arc::new(Block::of_one(held)));
            }
            self.blocks.insert(key, Arc::new(block));
            drop(keeping);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
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
        for (key, _) in self.blocks.iter().filter(|(key, _)| concerns(&key.subject)) {
            let keeping = self.keeping.lock().unwrap_or_else(PoisonError::into_inner);
            // It may have been replaced since.
            if let Some(rest) = self.blocks.get(&*key).and_then(|block| block.without_empty()) {
                self.blocks.insert((*key).clone(), Arc::new(rest));
            }
            drop(keeping);
        }
        self.epoch.fetch_add(1, Ordering::AcqRel);
    }
}

impl<O: Operation> SliceCache<O> for Memory<O> {
    fn fresh(&self, run: &Slice<O::Subject>, ask: &Ask) -> Landed<O::Data> {
        let mut look = self.look(run, ask);
        let cells = run.window.cells_of(self.operation.grid());
        let fresh = cells.filter_map(|window| match look.up(window)? {
            (held, Use::Fresh) => Some((window, held)),
            (_, Use::WhileRefreshing | Use::IfNothingBetter | Use::Useless) => None,
        });
        fresh.collect()
    }

    fn has_fresh(&self, slice: &Slice<O::Subject>) -> bool {
        let held = Shelf { memory: self, at: slice.clone(), block: None }.held(slice.window);
        held.is_some_and(|held| held.is_fresh(Instant::now()))
    }

    fn epoch(&self) -> u64 {
        Memory::epoch(self)
    }

    fn put(&self, subject: &O::Subject, cuts: Vec<Cut<O::Data>>, sent_at: Timestamp) -> Landed<O::Data> {
        let now = Instant::now();
        // Either all slices of a reply are fetched again, or none.
        let lifetimes = cuts.first().map_or(self.lifetimes, |cut| self.lifetimes_of(subject, cut.window));
        // All empty slices of a reply that live equally long are one.
        let mut empty: Vec<(Keep, Arc<Held<O::Data>>)> = Vec::new();
        let mut hold = |cut: Cut<O::Data>| {
            let known = empty.iter().find(|(keep, _)| cut.is_empty && *keep == cut.keep);
            if let Some((_, held)) = known {
                return (cut.window, Arc::clone(held));
            }
            let life = lifetime(cut.keep, lifetimes);
            let held = Arc::new(Held {
                data: Arc::new(cut.data),
                sent_at,
                fresh_until: life.map(|(fresh, _)| now + fresh),
                stale_until: life.map(|(_, stale)| now + stale),
                is_empty: cut.is_empty,
                bytes: cut.bytes,
            });
            if cut.is_empty {
                empty.push((cut.keep, Arc::clone(&held)));
            }
            (cut.window, held)
        };
        let mut fetched: Vec<_> = cuts.into_iter().map(&mut hold).collect();
        self.keep(subject, &mut fetched);
        Landed::from(fetched)
    }

    fn refuse(&self, subject: &O::Subject, error: &Arc<WeirError>) {
        self.refusals.insert(subject.clone(), (Instant::now() + REFUSAL_TTL, Arc::clone(error)));
    }
}

/// A look at slices of one subject for one ask, one after the other.
pub(super) struct Look<'a, O: Operation> {
    ask: &'a Ask,
    now: Instant,
    own: Shelf<'a, O>,
    whole: Option<Shelf<'a, O>>,
}

impl<O: Operation> Look<'_, O> {
    /// What is held and what it is good for.
    pub(super) fn up(&mut self, window: Window) -> Option<(Arc<Held<O::Data>>, Use)> {
        let Self { ask, now, own, whole } = self;
        let best = match whole.as_mut().and_then(|whole| whole.judged(window, ask, *now)) {
            Some((held, Use::Fresh)) => Some((held, Use::Fresh)),
            // In doubt the one that was fetched later.
            Some(whole) => match own.judged(window, ask, *now) {
                Some(own) if own.1 == Use::Fresh || own.0.sent_at > whole.0.sent_at => Some(own),
                _ => Some(whole),
            },
            None => own.judged(window, ask, *now),
        };
        best.filter(|(_, good_for)| *good_for != Use::Useless)
    }
}

/// A block as moka hands it out.
type Shared<O> = Arc<Block<<O as Operation>::Data>>;

/// What is held of one subject, with the block that was looked at last.
struct Shelf<'a, O: Operation> {
    memory: &'a Memory<O>,
    /// Of the subject; over what is looked at.
    at: Slice<O::Subject>,
    block: Option<(Window, Option<Shared<O>>)>,
}

impl<O: Operation> Shelf<'_, O> {
    fn held(&mut self, window: Window) -> Option<Arc<Held<O::Data>>> {
        let (block, cell) = place(window, self.memory.operation.grid());
        if self.block.as_ref().is_none_or(|(known, _)| *known != block) {
            self.at.window = block;
            self.block = Some((block, self.memory.blocks.get(&self.at)));
        }
        let cell = self.block.as_ref()?.1.as_ref()?.cell(cell)?;
        if let Cell::Apart(_) = cell {
            // moka is to know that it is of use.
            self.at.window = window;
            drop(self.memory.blocks.get(&self.at));
        }
        cell.held()
    }

    fn judged(&mut self, window: Window, ask: &Ask, now: Instant) -> Option<(Arc<Held<O::Data>>, Use)> {
        let held = self.held(window)?;
        if held.is_settled() {
            return Some((held, Use::Fresh));
        }
        self.at.window = window;
        let final_from = self.memory.operation.final_from(&self.at).1;
        let good_for = usable(&held, ask, self.memory.lifetimes, final_from, now);
        Some((held, good_for))
    }
}

impl<O: Operation> fmt::Debug for Memory<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Memory").field("blocks", &self.blocks.entry_count()).finish_non_exhaustive()
    }
}
