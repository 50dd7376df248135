//! A set of keys in, tickets out: first memory, then what is in flight, then the planner.
//!
//! Keys are compared whole, and what is shared does not depend on the caller; whoever may not see something is turned
//! away before the store is asked.

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

pub use memory::Memory;
pub use prepared::{Outlook, PlannedCall, Prepared};
pub use shared::SharedAnswers;
pub use ticket::{Answered, Series, Served, Ticket};

use crate::domain::{Account, Ask, Class, Freshness, Operation, Sent, Slice, Subject, Tally};
use crate::error::WeirError;
use crate::planner::{self, Desk, Errand, Found, Waiter};
use crate::quota::{Call, Limiter};
use lifetime::Use;
use prepared::{Gap, Step};

/// In hand beyond the expected wait when a window is judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);
/// How long a refresh that nobody waits for stays in the queue.
const REFRESH_PATIENCE: Duration = Duration::from_mins(5);

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

    /// Answers a field from memory alone, if all of it is there; `None` otherwise, and nothing is counted.
    #[must_use]
    pub fn peek(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Option<Series<O::Data>> {
        let (mut series, mut refresh) = (Vec::new(), Vec::new());
        for (want, slice) in self.slices(wants, ask) {
            let (held, good_for) = self.memory.lookup(&slice, ask)?;
            match good_for {
                Use::Fresh => series.push(Answered { want, outcome: Ok(Served::from_cache(held)) }),
                Use::WhileRefreshing => {
                    series.push(Answered { want, outcome: Ok(Served::stale(held)) });
                    refresh.push(slice);
                }
                Use::IfNothingBetter | Use::Useless => return None,
            }
        }
        ask.tally.count_hits(series.len());
        planner::spawn(self.refresh(&refresh, ask));
        Some(series)
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    #[must_use]
    pub fn is_answerable(&self, want: &Slice<O::Subject>, ask: &Ask) -> bool {
        let mut slices = self.slices(std::slice::from_ref(want), ask);
        slices.all(|(_, slice)| self.memory.lookup(&slice, ask).is_some() || self.check(&slice, ask).is_ok())
    }

    /// Looks a field up; nothing is asked for and nothing is counted yet. Slices that need a call are judged against
    /// the vendor's lookback.
    #[must_use]
    pub fn prepare(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Prepared<O> {
        let mut prepared = Prepared::default();
        for (want, slice) in self.slices(wants, ask) {
            let held = self.memory.lookup(&slice, ask);
            let step = match held {
                Some((held, Use::Fresh)) => Step::Ready(Ok(Served::from_cache(held))),
                Some((held, Use::WhileRefreshing)) => {
                    prepared.refresh.push(slice);
                    Step::Ready(Ok(Served::stale(held)))
                }
                held => match (self.memory.refusal(&slice.subject), self.check(&slice, ask), held) {
                    (Some(refusal), ..) => Step::Ready(Err(refusal)),
                    (None, Ok(()), held) => Step::Gap(Gap { slice, fallback: held.map(|(held, _)| held) }),
                    // No call could bring anything better.
                    (None, Err(_), Some((held, _))) => Step::Ready(Ok(Served::stale(held))),
                    (None, Err(error), None) => Step::Ready(Err(error)),
                },
            };
            prepared.steps.push((want, step));
        }
        prepared
    }

    /// What fetching all that `fields` lack would mean.
    #[must_use]
    pub fn outlook<'a>(&self, fields: impl Iterator<Item = &'a Prepared<O>> + Clone, ask: &Ask) -> Outlook {
        let mut outlook = Outlook { cached: fields.clone().map(Prepared::ready).sum(), ..Outlook::default() };
        let is_refused =
            |gap: &&Gap<O>| self.desks.get(gap.slice.subject.account()).is_some_and(|desk| desk.refusal().is_some());
        // Nobody is asked there: what has a stale answer gets it.
        let (refused, gaps): (Vec<_>, Vec<_>) = fields.flat_map(Prepared::gaps).partition(is_refused);
        outlook.cached += refused.iter().filter(|gap| gap.fallback.is_some()).count();
        let gaps: Vec<_> = gaps.iter().map(|gap| &gap.slice).collect();
        for (desk, own) in self.by_account(&gaps) {
            let forecast = desk.forecast(&own, ask);
            outlook.new_calls += forecast.new_calls;
            outlook.joined += forecast.joined;
            outlook.wait = outlook.wait.max(forecast.wait);
            outlook.calls.extend(forecast.calls.iter().map(|call| prepared::PlannedCall {
                account: call.subject.account().clone(),
                operation: self.operation.facts().operation,
                span: Some(self.operation.sent_span(call, ask.at)),
            }));
        }
        outlook
    }

    /// Asks for what a field lacks: all of it is admitted, or nothing is. The errands are to be spawned once all fields
    /// that are asked for together have been submitted.
    ///
    /// # Errors
    /// [`QuotaWaitTooLong`](crate::error::Code::QuotaWaitTooLong) if the last of the field's calls would wait too long
    /// and something has no stale answer to fall back on.
    pub fn submit(
        self: &Arc<Self>,
        mut field: Prepared<O>,
        ask: &Ask,
    ) -> Result<(Ticket<O::Data>, Vec<Errand>), WeirError> {
        for account in self.accounts_of(&field) {
            if let Some(refusal) = self.desks.get(&account).and_then(Desk::refusal) {
                field.settle(&account, Some(&Arc::new(refusal)));
            }
        }
        for account in self.accounts_of(&field) {
            if let Err(error) = self.admit(&field, &account, ask) {
                // Whatever has a stale answer can do without a call.
                field.settle(&account, None);
                self.admit(&field, &account, ask).map_err(|_| error)?;
            }
        }
        ask.tally.count_hits(field.ready());
        let waiter = Waiter::new(ask.clone());
        let gaps: Vec<Slice<O::Subject>> = field.gaps().map(|gap| gap.slice.clone()).collect();
        let borrowed: Vec<_> = gaps.iter().collect();
        let mut found = HashMap::with_capacity(gaps.len());
        let mut errands = self.refresh(&field.refresh, ask);
        for (desk, own) in self.by_account(&borrowed) {
            let (promises, more) = desk.submit(&own, &waiter);
            found.extend(own.into_iter().cloned().zip(promises));
            errands.extend(more);
        }
        let parts = field.into_parts(|slice| match found.get(slice) {
            Some(Found::Held(held)) => Ok(Ok(Arc::clone(held))),
            Some(Found::Promised(promise)) => Ok(Err(promise.clone())),
            None => Err(Arc::new(prepared::unserved(slice))),
        });
        let store = Arc::clone(self);
        let leave = Box::new(move || {
            let borrowed: Vec<_> = gaps.iter().collect();
            for (desk, own) in store.by_account(&borrowed) {
                desk.leave(&own.into_iter().cloned().collect::<Vec<_>>());
            }
        });
        Ok((Ticket::new(parts, waiter, leave), errands))
    }

    fn admit(&self, field: &Prepared<O>, account: &Account, ask: &Ask) -> Result<(), WeirError> {
        let own: Vec<_> =
            field.gaps().map(|gap| &gap.slice).filter(|slice| slice.subject.account() == account).collect();
        let Some(desk) = self.desks.get(account) else { return Ok(()) };
        let forecast = desk.forecast(&own, ask);
        planner::admit(forecast.wait, forecast.least_wait, forecast.new_calls, ask).map_err(|error| error.of(account))
    }

    /// Has slices fetched again that were served past their time to live. Nobody waits, and whoever does goes first.
    fn refresh(&self, slices: &[Slice<O::Subject>], ask: &Ask) -> Vec<Errand> {
        if slices.is_empty() || ask.explain {
            return Vec::new();
        }
        let refresh = Ask {
            class: Class::Background,
            deadline: Instant::now() + REFRESH_PATIENCE,
            tally: Arc::new(Tally::default()),
            ..ask.clone()
        };
        let waiter = Waiter::new(refresh);
        let borrowed: Vec<_> = slices.iter().filter(|slice| self.memory.refusal(&slice.subject).is_none()).collect();
        let desks = self.by_account(&borrowed).filter(|(desk, _)| desk.refusal().is_none());
        desks.flat_map(|(desk, own)| desk.submit(&desk.unawaited(own), &waiter).1).collect()
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

    fn accounts_of(&self, field: &Prepared<O>) -> Vec<Account> {
        let gaps: Vec<_> = field.gaps().map(|gap| &gap.slice).collect();
        self.by_account(&gaps).filter_map(|(_, own)| Some(own.first()?.subject.account().clone())).collect()
    }

    fn by_account<'a>(
        &self,
        slices: &[&'a Slice<O::Subject>],
    ) -> impl Iterator<Item = (&Desk<O, C>, Vec<&'a Slice<O::Subject>>)> {
        let mut accounts: Vec<(&Account, Vec<&'a Slice<O::Subject>>)> = Vec::new();
        for slice in slices {
            let account = slice.subject.account();
            match accounts.iter_mut().find(|(known, _)| *known == account) {
                Some((_, own)) => own.push(slice),
                None => accounts.push((account, vec![slice])),
            }
        }
        accounts.into_iter().filter_map(|(account, own)| Some((self.desks.get(account)?, own)))
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

impl<O: Operation, C> fmt::Debug for Store<O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("operation", &self.operation.facts().operation).finish_non_exhaustive()
    }
}
