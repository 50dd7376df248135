//! A set of keys in, tickets out: first memory, then what replicas share, then the archive, then what is in flight, then the
//! planner.
//!
//! Keys are compared whole, and what is shared does not depend on the caller; whoever may not see something is turned
//! away before the store is asked.

mod admission;
mod archived;
mod block;
pub mod lifetime;
mod memory;
mod prepared;
mod shared;
mod ticket;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use admission::{Admitted, Survey};
pub use archived::{ArchivedSlices, IsWatched, Keeping, Recalled, SliceArchive, Told, ZoneOf};
pub use memory::{Memory, RefetchedEvery};
pub use prepared::{Outlook, PlannedCall, Prepared};
pub use shared::SharedAnswers;
pub use ticket::{Answered, Series, Served, Ticket};

use crate::archive::Collected;
use crate::domain::{Account, Ask, Caller, Class, Freshness, Held, Operation, RequestCost, Slice, Subject, Window};
use crate::error::{Code, WeirError};
use crate::planner::{Parts, Scheduler, SliceCache as _, Subscriber, Task};
use crate::quota::Limiter;
use crate::telemetry::meters::{CacheReading, Origin, SliceMeter};
use lifetime::Use;
use prepared::{Gap, Lookup};
use ticket::Queue;

/// In hand beyond the expected wait when a window is judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);
/// How long a refresh that nobody waits for stays in the queue.
const REFRESH_TIMEOUT: Duration = Duration::from_mins(5);

/// A ticket for each field, or why it failed as a whole.
pub type Tickets<D> = Vec<Result<Ticket<D>, Arc<WeirError>>>;

/// What was found for the gaps of a field, in their order; nothing without a scheduler.
type FoundOf<O> = Vec<Parts<<O as Operation>::Data>>;

/// Why a subject may not be asked for as usual.
struct Outage {
    refusal: Option<Arc<WeirError>>,
    pause: Option<Arc<WeirError>>,
    is_failing: bool,
}

/// The answers of one operation: what is held, what is in flight, and the schedulers that fetch the rest.
pub struct Store<O: Operation> {
    operation: Arc<O>,
    memory: Arc<Memory<O>>,
    schedulers: HashMap<Account, Scheduler<O>>,
    shared: Option<Arc<SharedAnswers<O>>>,
    archive: Option<Arc<dyn SliceArchive<O>>>,
    meter: Option<SliceMeter>,
}

impl<O: Operation> Store<O> {
    /// A store over `memory` that fetches through `schedulers`.
    #[must_use]
    pub fn new(operation: Arc<O>, memory: Arc<Memory<O>>, schedulers: HashMap<Account, Scheduler<O>>) -> Self {
        Self { operation, memory, schedulers, shared: None, archive: None, meter: None }
    }

    /// The same, looking into what replicas share after memory.
    #[must_use]
    pub fn sharing(self, shared: Option<Arc<SharedAnswers<O>>>) -> Self {
        Self { shared, ..self }
    }

    /// The same, looking into the archive after that.
    #[must_use]
    pub fn archiving(self, archive: Option<Arc<dyn SliceArchive<O>>>) -> Self {
        Self { archive, ..self }
    }

    /// The same, counting the slices that are handed out.
    #[must_use]
    pub fn counted(self, meter: Option<SliceMeter>) -> Self {
        Self { meter, ..self }
    }

    /// Takes over what other replicas hold of the wants and memory lacks, and then what the archive does; at once if there
    /// are none, if nothing is lacking or if they are away.
    pub async fn recall(&self, wants: Vec<&[Slice<O::Subject>]>, ask: &Ask) -> Recalled<O> {
        let taken = match self.shared.as_ref().filter(|shared| shared.is_there()) {
            Some(shared) => shared.take_over(self.lacking(&wants, ask), false).await,
            None => HashSet::new(),
        };
        let recalled = match &self.archive {
            // Whoever only asks what it would take needs no rows.
            Some(archive) if ask.explain => archive.know(self.lacking(&wants, ask)).await,
            Some(archive) => archive.recall(self.lacking(&wants, ask), ask.at).await,
            None => Recalled::default(),
        };
        recalled.and_taken(taken)
    }

    /// The slices of the wants that memory does not answer.
    fn lacking(&self, wants: &[&[Slice<O::Subject>]], ask: &Ask) -> Vec<Slice<O::Subject>> {
        let mut lacking = Vec::new();
        for want in wants.iter().copied().flatten() {
            let mut look = self.memory.look(want, ask);
            let windows = self.windows(want, ask).filter(|window| !matches!(look.up(*window), Some((_, Use::Fresh))));
            lacking.extend(windows.map(|window| Slice { subject: want.subject.clone(), window }));
        }
        lacking
    }

    /// What the archive keeps of a subject inside a span, in order of time; `None` without one, and if it cannot be asked.
    pub async fn collected(&self, subject: &O::Subject, span: Window) -> Option<Vec<Collected>> {
        match &self.archive {
            Some(archive) => archive.collected(subject, span).await,
            None => None,
        }
    }

    /// What is known of the operation.
    #[must_use]
    pub fn operation(&self) -> &Arc<O> {
        &self.operation
    }

    /// What is held.
    #[must_use]
    pub fn memory(&self) -> &Arc<Memory<O>> {
        &self.memory
    }

    /// The permits of an account.
    #[must_use]
    pub fn limiter(&self, account: &Account) -> Option<&Limiter> {
        self.schedulers.get(account).map(Scheduler::limiter)
    }

    /// Whether the last that is known of an account's vendor is that it fails: the next call finds out.
    #[must_use]
    pub fn is_failing(&self, account: &Account) -> bool {
        self.schedulers.get(account).is_some_and(Scheduler::is_failing)
    }

    /// How memory stands.
    #[must_use]
    pub fn reading(&self) -> CacheReading {
        self.memory.reading()
    }

    /// How many slices a window of one subject is cut into.
    #[must_use]
    pub fn n_slices(&self, window: Window) -> u64 {
        window.n_cells_of(self.operation.grid())
    }

    /// Answers a field from memory alone, if all of it is there and fresh; `None` otherwise, and nothing is counted.
    #[must_use]
    pub fn peek(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Option<Series<O::Data>> {
        let mut series = Series::new();
        for (index, want) in wants.iter().enumerate() {
            let mut look = self.memory.look(want, ask);
            for window in self.windows(want, ask) {
                match look.up(window)? {
                    (held, Use::Fresh) => {
                        series.push(Answered { want: index, outcome: Ok(Served::from_cache(held)) });
                    }
                    (_, Use::WhileRefreshing | Use::IfNothingBetter | Use::Useless) => return None,
                }
            }
        }
        ask.cost.count_hits(series.len());
        if let Some(meter) = &self.meter {
            meter.handed(Origin::Memory, series.len());
        }
        Some(series)
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    #[must_use]
    pub fn is_answerable(&self, want: &Slice<O::Subject>, ask: &Ask) -> bool {
        let (mut look, mut slice) = (self.memory.look(want, ask), want.clone());
        self.windows(want, ask).all(|window| {
            slice.window = window;
            look.up(window).is_some() || self.check(&slice, ask).is_ok()
        })
    }

    /// Looks a field up; nothing is asked for and nothing is counted yet. Slices that need a call are judged against
    /// the vendor's lookback, and against what is known to fail. `recalled` is what was found for them in the archive.
    #[must_use]
    pub fn prepare(&self, wants: &[Slice<O::Subject>], recalled: &Recalled<O>, ask: &Ask) -> Prepared<O> {
        let mut prepared = Prepared::new(self.memory.epoch());
        for (index, want) in wants.iter().enumerate() {
            let (mut look, mut slice, mut outage) = (self.memory.look(want, ask), want.clone(), None);
            for window in self.windows(want, ask) {
                slice.window = window;
                let archived = recalled.get(&slice);
                let lookup = match look.up(window) {
                    // Memory may have had no room for it.
                    _ if let Some(held) = archived.filter(|held| held.is_settled()) => {
                        Lookup::Ready(Ok(Served::from_archive(Arc::clone(held))))
                    }
                    Some((held, Use::Fresh)) if archived.is_some_and(|archived| Arc::ptr_eq(archived, &held)) => {
                        Lookup::Ready(Ok(Served::from_archive(held)))
                    }
                    Some((held, Use::Fresh)) if recalled.has_taken(&slice) => {
                        Lookup::Ready(Ok(Served::from_replica(held)))
                    }
                    Some((held, Use::Fresh)) => Lookup::Ready(Ok(Served::from_cache(held))),
                    _ if recalled.knows(&slice) => Lookup::Known,
                    Some((held, Use::WhileRefreshing)) => {
                        prepared.refresh.push(slice.clone());
                        Lookup::Ready(Ok(Served::stale(held)))
                    }
                    held => {
                        let outage = outage.get_or_insert_with(|| self.outage(&want.subject));
                        let fallback = held.map(|(held, _)| held);
                        match self.fetch(&slice, fallback, outage, ask, &mut prepared.refresh) {
                            // It has become nothing better, and never will.
                            Some(Lookup::Ready(Err(error)))
                                if let Some(held) = archived.filter(|_| error.code == Code::OutOfRetention) =>
                            {
                                Lookup::Ready(Ok(Served::from_archive(Arc::clone(held))))
                            }
                            Some(lookup) => lookup,
                            None if prepared.widen(index, window) => continue,
                            None => Lookup::Gap(Gap { slice: slice.clone(), fallback: None }),
                        }
                    }
                };
                prepared.lookups.push((index, lookup));
            }
        }
        prepared
    }

    /// Looks once more for what `fields` lack, if anything was fetched since.
    pub fn look_again(&self, fields: &mut [Prepared<O>], ask: &Ask) {
        let epoch = self.memory.epoch();
        for field in fields.iter_mut().filter(|field| field.epoch != epoch) {
            field.epoch = epoch;
            field.fill(|run| self.memory.fresh(run, ask));
        }
    }

    /// Why a subject may not be asked for as usual.
    fn outage(&self, subject: &O::Subject) -> Outage {
        let account = subject.account();
        Outage {
            refusal: self.memory.refusal(subject),
            pause: self.pause(account),
            is_failing: self.schedulers.get(account).is_some_and(Scheduler::is_failing),
        }
    }

    /// What becomes of a slice that has to be fetched, unless it is a gap like others, with nothing to fall back on; in
    /// `refresh` goes what nobody waits for.
    fn fetch(
        &self,
        slice: &Slice<O::Subject>,
        fallback: Option<Arc<Held<O::Data>>>,
        outage: &Outage,
        ask: &Ask,
        refresh: &mut Vec<Slice<O::Subject>>,
    ) -> Option<Lookup<O>> {
        if let Some(refusal) = &outage.refusal {
            return Some(Lookup::Ready(Err(Arc::clone(refusal))));
        }
        let asked = self.check(slice, ask).and_then(|()| outage.pause.clone().map_or(Ok(()), Err));
        Some(match (asked, fallback) {
            (Ok(()), None) => return None,
            // The next call finds out whether the vendor is back; a known answer does not wait for that.
            (Ok(()), Some(held)) if outage.is_failing => {
                refresh.push(slice.clone());
                Lookup::Ready(Ok(Served::stale(held)))
            }
            (Ok(()), fallback) => Lookup::Gap(Gap { slice: slice.clone(), fallback }),
            // No call could bring anything better.
            (Err(_), Some(held)) => Lookup::Ready(Ok(Served::stale(held))),
            (Err(error), None) => Lookup::Ready(Err(error)),
        })
    }

    /// Why nothing is asked of an account now.
    fn pause(&self, account: &Account) -> Option<Arc<WeirError>> {
        self.schedulers.get(account).and_then(Scheduler::refusal).map(Arc::new)
    }

    /// Asks for all that was admitted, and answers for each field. The tasks are to be spawned once everything that is
    /// asked for together has been submitted.
    pub fn submit(self: &Arc<Self>, admitted: Admitted<O>, ask: &Ask, tasks: &mut Vec<Task>) -> Tickets<O::Data> {
        let Admitted { fields, refresh, .. } = admitted;
        let subscribers: Vec<_> = fields.iter().map(|_| Subscriber::new(ask.clone())).collect();
        let nobody = Subscriber::new(Ask {
            class: Class::Background,
            deadline: Instant::now() + REFRESH_TIMEOUT,
            cost: Arc::new(RequestCost::default()),
            ..ask.clone()
        });
        // Whoever waits goes first.
        let seen = fields.iter().flatten().map(|field| field.epoch).min().unwrap_or_default();
        let n_gaps = |field: &Result<Prepared<O>, _>| field.as_ref().map_or(0, |field| field.gaps().count());
        let mut found: Vec<FoundOf<O>> =
            fields.iter().map(|field| std::iter::repeat_with(Vec::new).take(n_gaps(field)).collect()).collect();
        let gaps = fields.iter().enumerate().filter_map(|(at, field)| Some((at, field.as_ref().ok()?)));
        let gaps =
            gaps.flat_map(|(at, field)| field.gaps().enumerate().map(move |(n, gap)| (Some((at, n)), &gap.slice)));
        let wanted = gaps.chain(refresh.iter().map(|slice| (None, slice)));
        for (account, own) in by_account(wanted, |(_, slice)| *slice) {
            let Some(scheduler) = self.schedulers.get(account) else { continue };
            let subscriber = |at: Option<(usize, usize)>| at.and_then(|(at, _)| subscribers.get(at)).unwrap_or(&nobody);
            let asked: Vec<_> = own.iter().map(|(at, slice)| (*slice, subscriber(*at))).collect();
            let (submitted, more) = scheduler.submit(&asked, seen);
            tasks.extend(more);
            for ((at, _), submitted) in own.into_iter().zip(submitted) {
                if let Some(place) = at.and_then(|(at, n)| found.get_mut(at)?.get_mut(n)) {
                    *place = submitted;
                }
            }
        }
        let tickets = fields.into_iter().zip(found).zip(subscribers);
        tickets.map(|((field, found), subscriber)| Ok(self.ticket(field?, found, subscriber))).collect()
    }

    fn ticket(self: &Arc<Self>, field: Prepared<O>, found: FoundOf<O>, subscriber: Arc<Subscriber>) -> Ticket<O::Data> {
        subscriber.ask.cost.count_hits(field.ready());
        let gaps: Vec<Slice<O::Subject>> = field.gaps().map(|gap| gap.slice.clone()).collect();
        let parts = field.into_parts(found);
        if let Some(meter) = &self.meter {
            ticket::count(&parts, meter);
        }
        let queue = Queued {
            store: Arc::clone(self),
            gaps,
            class: subscriber.ask.class,
            caller: subscriber.ask.caller.clone(),
        };
        Ticket::new(parts, subscriber, Box::new(queue))
    }

    /// The cells of the grid that a wanted window touches, or the window as it is; without those in which nothing can be
    /// final yet, if nothing else will do.
    fn windows<'a>(&'a self, want: &'a Slice<O::Subject>, ask: &Ask) -> impl Iterator<Item = Window> + 'a {
        let (final_only, at) = (ask.freshness == Freshness::FinalOnly, ask.at);
        let is_final =
            move |window: Window| self.operation.final_from(&Slice { subject: want.subject.clone(), window }).0 <= at;
        want.window.cells_of(self.operation.grid()).filter(move |window| !final_only || is_final(*window))
    }

    /// Whether the vendor would still answer when the permit is there.
    fn check(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Result<(), Arc<WeirError>> {
        let account = slice.subject.account();
        let after = |wait: Duration| self.operation.check_retention(slice, ask.at + wait + RETENTION_MARGIN);
        // The forecast costs as much as the queue is long, and matters only to windows on the very edge.
        let checked = after(ask.max_wait).or_else(|_| {
            after(Duration::ZERO)?;
            let wait = self
                .limiter(account)
                .map_or(Duration::ZERO, |limiter| limiter.expected_wait(ask.class, &ask.caller, 1));
            after(wait.min(ask.max_wait))
        });
        checked.map_err(|error| Arc::new(WeirError::from_call(&error, account)))
    }
}

/// What a ticket waits for.
struct Queued<O: Operation> {
    store: Arc<Store<O>>,
    gaps: Vec<Slice<O::Subject>>,
    class: Class,
    caller: Caller,
}

impl<O: Operation> Queue for Queued<O> {
    fn expected_wait(&self, account: &Account) -> Duration {
        self.store.limiter(account).map_or(Duration::ZERO, |limiter| limiter.expected_wait(self.class, &self.caller, 1))
    }

    fn fell_back(&self) {
        if let Some(meter) = &self.store.meter {
            meter.handed(Origin::Memory, 1);
            meter.stale(1);
        }
    }

    fn leave(&self) {
        for (account, own) in by_account(&self.gaps, |slice| *slice) {
            if let Some(scheduler) = self.store.schedulers.get(account) {
                scheduler.leave(&own);
            }
        }
    }
}

/// What concerns each account, in the order of the first mention.
fn by_account<'a, S: Subject, T>(
    items: impl IntoIterator<Item = T>,
    slice: impl Fn(&T) -> &'a Slice<S>,
) -> Vec<(&'a Account, Vec<T>)> {
    let mut accounts: Vec<(&Account, Vec<T>)> = Vec::new();
    for item in items {
        let account = slice(&item).subject.account();
        match accounts.iter_mut().find(|(known, _)| *known == account) {
            Some((_, own)) => own.push(item),
            None => accounts.push((account, vec![item])),
        }
    }
    accounts
}

impl<O: Operation> fmt::Debug for Store<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("operation", &self.operation.facts().operation).finish_non_exhaustive()
    }
}
