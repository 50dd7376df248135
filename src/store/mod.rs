//! A set of keys in, tickets out: first memory, then what is in flight, then the planner.
//!
//! Keys are compared whole, and what is shared does not depend on the caller; whoever may not see something is turned
//! away before the store is asked.

mod admission;
pub mod lifetime;
mod memory;
mod prepared;
mod shared;
mod ticket;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use admission::{Admitted, Survey};
pub use memory::Memory;
pub use prepared::{Outlook, PlannedCall, Prepared};
pub use shared::SharedAnswers;
pub use ticket::{Answered, Series, Served, Ticket};

use crate::domain::{Account, Ask, Class, Freshness, Held, Operation, Sent, Slice, Subject, Tally};
use crate::error::WeirError;
use crate::planner::{Desk, Errand, Found, Waiter};
use crate::quota::{Call, Limiter};
use lifetime::Use;
use prepared::{Gap, Step};
use ticket::Queue;

/// In hand beyond the expected wait when a window is judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);
/// How long a refresh that nobody waits for stays in the queue.
const REFRESH_PATIENCE: Duration = Duration::from_mins(5);

/// A ticket for each field, or why it failed as a whole.
pub type Tickets<D> = Vec<Result<Ticket<D>, Arc<WeirError>>>;

/// What was found for the slices of a field.
type Promised<O> = HashMap<Slice<<O as Operation>::Subject>, Found<<O as Operation>::Data>>;

/// The answers of one operation: what is held, what is in flight, and the desks that fetch the rest.
pub struct Store<O: Operation, C> {
    operation: Arc<O>,
    memory: Arc<Memory<O>>,
    desks: HashMap<Account, Desk<O, C>>,
    shared: Option<Arc<SharedAnswers<O>>>,
}

impl<O, C> Store<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// A store over `memory` that fetches through `desks`.
    #[must_use]
    pub fn new(operation: Arc<O>, memory: Arc<Memory<O>>, desks: HashMap<Account, Desk<O, C>>) -> Self {
        Self { operation, memory, desks, shared: None }
    }

    /// The same, looking into what replicas share after memory.
    #[must_use]
    pub fn sharing(self, shared: Option<Arc<SharedAnswers<O>>>) -> Self {
        Self { shared, ..self }
    }

    /// Takes over what other replicas hold of the wants and memory lacks; at once if there are none, if nothing is
    /// lacking or if Redis is away.
    pub async fn recall(&self, wants: impl Iterator<Item = &[Slice<O::Subject>]>, ask: &Ask) {
        let Some(shared) = self.shared.as_ref().filter(|shared| shared.is_there()) else { return };
        let mut lacking = Vec::new();
        for want in wants {
            let slices = self.slices(want, ask).map(|(_, slice)| slice);
            lacking.extend(slices.filter(|slice| !matches!(self.memory.lookup(slice, ask), Some((_, Use::Fresh)))));
        }
        shared.take_over(lacking, false).await;
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
        self.desks.get(account).map(Desk::limiter)
    }

    /// Answers a field from memory alone, if all of it is there and fresh; `None` otherwise, and nothing is counted.
    #[must_use]
    pub fn peek(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Option<Series<O::Data>> {
        let fresh = |(want, slice)| match self.memory.lookup(&slice, ask)? {
            (held, Use::Fresh) => Some(Answered { want, outcome: Ok(Served::from_cache(held)) }),
            (_, Use::WhileRefreshing | Use::IfNothingBetter | Use::Useless) => None,
        };
        let series: Series<O::Data> = self.slices(wants, ask).map(fresh).collect::<Option<_>>()?;
        ask.tally.count_hits(series.len());
        Some(series)
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    #[must_use]
    pub fn is_answerable(&self, want: &Slice<O::Subject>, ask: &Ask) -> bool {
        let mut slices = self.slices(std::slice::from_ref(want), ask);
        slices.all(|(_, slice)| self.memory.lookup(&slice, ask).is_some() || self.check(&slice, ask).is_ok())
    }

    /// Looks a field up; nothing is asked for and nothing is counted yet. Slices that need a call are judged against
    /// the vendor's lookback, and against what is known to fail.
    #[must_use]
    pub fn prepare(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Prepared<O> {
        let mut prepared = Prepared::default();
        for (want, slice) in self.slices(wants, ask) {
            let step = match self.memory.lookup(&slice, ask) {
                Some((held, Use::Fresh)) => Step::Ready(Ok(Served::from_cache(held))),
                Some((held, Use::WhileRefreshing)) => {
                    prepared.refresh.push(slice);
                    Step::Ready(Ok(Served::stale(held)))
                }
                held => self.fetch(slice, held.map(|(held, _)| held), ask, &mut prepared.refresh),
            };
            prepared.steps.push((want, step));
        }
        prepared
    }

    /// What becomes of a slice that has to be fetched; in `refresh` goes what nobody waits for.
    fn fetch(
        &self,
        slice: Slice<O::Subject>,
        fallback: Option<Arc<Held<O::Data>>>,
        ask: &Ask,
        refresh: &mut Vec<Slice<O::Subject>>,
    ) -> Step<O> {
        if let Some(refusal) = self.memory.refusal(&slice.subject) {
            return Step::Ready(Err(refusal));
        }
        let account = slice.subject.account();
        let asked = self.check(&slice, ask).and_then(|()| self.pause(account).map_or(Ok(()), Err));
        match (asked, fallback) {
            // The next call finds out whether the vendor is back; a known answer does not wait for that.
            (Ok(()), Some(held)) if self.desks.get(account).is_some_and(Desk::is_failing) => {
                refresh.push(slice);
                Step::Ready(Ok(Served::stale(held)))
            }
            (Ok(()), fallback) => Step::Gap(Gap { slice, fallback }),
            // No call could bring anything better.
            (Err(_), Some(held)) => Step::Ready(Ok(Served::stale(held))),
            (Err(error), None) => Step::Ready(Err(error)),
        }
    }

    /// Why nothing is asked of an account now.
    fn pause(&self, account: &Account) -> Option<Arc<WeirError>> {
        self.desks.get(account).and_then(Desk::refusal).map(Arc::new)
    }

    /// Asks for all that was admitted, and answers for each field. The errands are to be spawned once everything that is
    /// asked for together has been submitted.
    pub fn submit(
        self: &Arc<Self>,
        admitted: Admitted<O, C>,
        ask: &Ask,
        errands: &mut Vec<Errand>,
    ) -> Tickets<O::Data> {
        let Admitted { fields, refresh, .. } = admitted;
        let waiters: Vec<_> = fields.iter().map(|_| Waiter::new(ask.clone())).collect();
        let nobody = Waiter::new(Ask {
            class: Class::Background,
            deadline: Instant::now() + REFRESH_PATIENCE,
            tally: Arc::new(Tally::default()),
            ..ask.clone()
        });
        // Whoever waits goes first.
        let gaps = fields.iter().enumerate().filter_map(|(at, field)| Some((at, field.as_ref().ok()?)));
        let gaps = gaps.flat_map(|(at, field)| field.gaps().map(move |gap| (Some(at), &gap.slice)));
        let wanted = gaps.chain(refresh.iter().map(|slice| (None, slice)));
        let mut found: Vec<Promised<O>> = fields.iter().map(|_| HashMap::new()).collect();
        for (account, own) in by_account(wanted, |(_, slice)| *slice) {
            let Some(desk) = self.desks.get(account) else { continue };
            let waiter = |at: Option<usize>| at.and_then(|at| waiters.get(at)).unwrap_or(&nobody);
            let asked: Vec<_> = own.iter().map(|(at, slice)| (*slice, waiter(*at))).collect();
            let (promises, more) = desk.submit(&asked);
            errands.extend(more);
            for ((at, slice), promise) in own.into_iter().zip(promises) {
                if let Some(found) = at.and_then(|at| found.get_mut(at)) {
                    found.insert(slice.clone(), promise);
                }
            }
        }
        let tickets = fields.into_iter().zip(found).zip(waiters);
        tickets.map(|((field, found), waiter)| Ok(self.ticket(field?, &found, waiter))).collect()
    }

    fn ticket(self: &Arc<Self>, field: Prepared<O>, found: &Promised<O>, waiter: Arc<Waiter>) -> Ticket<O::Data> {
        waiter.ask.tally.count_hits(field.ready());
        let gaps: Vec<Slice<O::Subject>> = field.gaps().map(|gap| gap.slice.clone()).collect();
        let parts = field.into_parts(|slice| match found.get(slice) {
            Some(Found::Held(held)) => Ok(Ok(Arc::clone(held))),
            Some(Found::Promised(promise)) => Ok(Err(promise.clone())),
            None => Err(Arc::new(prepared::unserved(slice))),
        });
        let queue = Queued { store: Arc::clone(self), gaps, class: waiter.ask.class };
        Ticket::new(parts, waiter, Box::new(queue))
    }

    /// The cells of the grid that wanted windows touch, or the windows as they are; without those in which nothing can
    /// be final yet, if nothing else will do.
    fn slices<'a>(
        &'a self,
        wants: &'a [Slice<O::Subject>],
        ask: &Ask,
    ) -> impl Iterator<Item = (usize, Slice<O::Subject>)> + 'a {
        let grid = self.operation.grid();
        let slices = wants.iter().enumerate().flat_map(move |(index, want)| {
            let cells = grid.into_iter().flat_map(|step| want.window.cells(step));
            let whole = grid.is_none().then_some(want.window);
            cells.chain(whole).map(move |window| (index, Slice { subject: want.subject.clone(), window }))
        });
        let (final_only, at) = (ask.freshness == Freshness::FinalOnly, ask.at);
        slices.filter(move |(_, slice)| !final_only || self.operation.final_from(slice).0 <= at)
    }

    /// Whether the vendor would still answer when the permit is there.
    fn check(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Result<(), Arc<WeirError>> {
        let account = slice.subject.account();
        let after = |wait: Duration| self.operation.check_retention(slice, ask.at + wait + RETENTION_MARGIN);
        // The forecast costs as much as the queue is long, and matters only to windows on the very edge.
        let checked = after(ask.max_wait).or_else(|_| {
            after(Duration::ZERO)?;
            let wait = self.limiter(account).map_or(Duration::ZERO, |limiter| limiter.expected_wait(ask.class, 1));
            after(wait.min(ask.max_wait))
        });
        checked.map_err(|error| Arc::new(WeirError::from_call(&error, account)))
    }
}

/// What a ticket waits for.
struct Queued<O: Operation, C> {
    store: Arc<Store<O, C>>,
    gaps: Vec<Slice<O::Subject>>,
    class: Class,
}

impl<O, C> Queue for Queued<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn expected_wait(&self, account: &Account) -> Duration {
        self.store.limiter(account).map_or(Duration::ZERO, |limiter| limiter.expected_wait(self.class, 1))
    }

    fn leave(&self) {
        for (account, own) in by_account(&self.gaps, |slice| *slice) {
            if let Some(desk) = self.store.desks.get(account) {
                desk.leave(&own);
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

impl<O: Operation, C> fmt::Debug for Store<O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("operation", &self.operation.facts().operation).finish_non_exhaustive()
    }
}
