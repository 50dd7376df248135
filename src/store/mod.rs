//! A set of keys in, tickets out: first memory, then what is in flight, then the planner.
//!
//! Keys are compared whole, and what is shared does not depend on the caller; whoever may not see something is turned
//! away before the store is asked.

pub mod lifetime;
mod memory;
mod ticket;

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

pub use memory::Memory;
pub use ticket::{Series, Served, Ticket};

use crate::domain::{Account, Ask, Clock, Operation, Sent, Slice, Subject};
use crate::error::{Code, WeirError};
use crate::planner::{self, Desk, Errand, Found, Waiter};
use crate::quota::Call;
use ticket::Part;

/// In hand beyond the expected wait when a window is judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);

/// The answers of one operation: what is held, what is in flight, and the desks that fetch the rest.
pub struct Store<O: Operation, C> {
    operation: Arc<O>,
    memory: Arc<Memory<O>>,
    desks: HashMap<Account, Desk<O, C>>,
    clock: Arc<dyn Clock>,
}

/// What one field wants, looked up but not yet asked for.
#[derive(Debug)]
pub struct Prepared<O: Operation> {
    parts: Vec<Step<O>>,
}

#[derive(Debug)]
enum Step<O: Operation> {
    Ready(Part<O::Data>),
    Gap(Slice<O::Subject>),
}

impl<O, C> Store<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// A store over `memory` that fetches through `desks`.
    #[must_use]
    pub fn new(
        operation: Arc<O>,
        memory: Arc<Memory<O>>,
        desks: HashMap<Account, Desk<O, C>>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { operation, memory, desks, clock }
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
    pub fn limiter(&self, account: &Account) -> Option<&crate::quota::Limiter> {
        self.desks.get(account).map(Desk::limiter)
    }

    /// Answers a field from memory alone, if all of it is there; `None` otherwise, and nothing is counted.
    #[must_use]
    pub fn peek(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Option<Series<O::Data>> {
        let now = Instant::now();
        let held = wants
            .iter()
            .flat_map(|want| self.slices(want))
            .map(|slice| self.memory.lookup(&slice, now).map(Served::from_cache))
            .collect::<Option<Vec<_>>>()?;
        ask.tally.count_hits(held.len());
        Some(held.into_iter().map(Ok).collect())
    }

    /// Whether a window is held, whatever its age.
    #[must_use]
    pub fn is_held(&self, want: &Slice<O::Subject>) -> bool {
        let now = Instant::now();
        self.slices(want).all(|slice| self.memory.lookup(&slice, now).is_some())
    }

    /// Looks a field up. Slices that are held are counted as hits; those that need a call are judged against the
    /// vendor's lookback.
    #[must_use]
    pub fn prepare(&self, wants: &[Slice<O::Subject>], ask: &Ask) -> Prepared<O> {
        let (now, mut hits) = (Instant::now(), 0);
        let parts = wants
            .iter()
            .flat_map(|want| self.slices(want))
            .map(|slice| {
                if let Some(held) = self.memory.lookup(&slice, now) {
                    hits += 1;
                    return Step::Ready(Part::Ready(Ok(Served::from_cache(held))));
                }
                match self.memory.refusal(&slice.subject).map_or_else(|| self.check(&slice, ask), Err) {
                    Ok(()) => Step::Gap(slice),
                    Err(error) => Step::Ready(Part::Ready(Err(error))),
                }
            })
            .collect();
        ask.tally.count_hits(hits);
        Prepared { parts }
    }

    /// How many calls all of `fields` together would add to those that are planned already.
    #[must_use]
    pub fn planned_calls<'a>(&self, fields: impl Iterator<Item = &'a Prepared<O>>, ask: &Ask) -> usize {
        let gaps: Vec<_> = fields.flat_map(Prepared::gaps).collect();
        self.by_account(&gaps).map(|(desk, gaps)| desk.forecast(&gaps, ask).new_calls).sum()
    }

    /// Asks for what a field lacks: all of it is admitted, or nothing is. The errands are to be spawned once all fields
    /// that are asked for together have been submitted.
    ///
    /// # Errors
    /// [`Code::QuotaWaitTooLong`] if the last of the field's calls would wait too long.
    pub fn submit(
        self: &Arc<Self>,
        field: Prepared<O>,
        ask: &Ask,
    ) -> Result<(Ticket<O::Data>, Vec<Errand>), WeirError> {
        let gaps: Vec<Slice<O::Subject>> = field.gaps().cloned().collect();
        let borrowed: Vec<_> = gaps.iter().collect();
        for (desk, own) in self.by_account(&borrowed) {
            let forecast = desk.forecast(&own, ask);
            planner::admit(forecast.wait, forecast.least_wait, forecast.new_calls, ask)
                .map_err(|error| own.first().map_or(error.clone(), |slice| error.of(slice.subject.account())))?;
        }
        let waiter = Waiter::new(ask.clone());
        let mut found = HashMap::with_capacity(gaps.len());
        let mut errands = Vec::new();
        for (desk, own) in self.by_account(&borrowed) {
            let (promises, more) = desk.submit(&own, &waiter);
            found.extend(own.into_iter().cloned().zip(promises));
            errands.extend(more);
        }
        let parts = field
            .parts
            .into_iter()
            .map(|step| match step {
                Step::Ready(part) => part,
                Step::Gap(slice) => match found.get(&slice) {
                    Some(Found::Held(held)) => Part::Ready(Ok(Served::from_cache(Arc::clone(held)))),
                    Some(Found::Promised(promise)) => Part::Promised(slice.subject.account().clone(), promise.clone()),
                    None => Part::Ready(Err(Arc::new(unserved(&slice)))),
                },
            })
            .collect();
        let store = Arc::clone(self);
        let leave = Box::new(move || {
            let borrowed: Vec<_> = gaps.iter().collect();
            for (desk, own) in store.by_account(&borrowed) {
                desk.leave(&own.into_iter().cloned().collect::<Vec<_>>());
            }
        });
        Ok((Ticket::new(parts, waiter, leave), errands))
    }

    /// The cells of the grid that a wanted window touches, or the window as it is.
    fn slices<'a>(&'a self, want: &'a Slice<O::Subject>) -> impl Iterator<Item = Slice<O::Subject>> + 'a {
        let grid = self.operation.grid();
        let cells = grid.into_iter().flat_map(|step| want.window.cells(step));
        let whole = grid.is_none().then_some(want.window);
        cells.chain(whole).map(|window| Slice { subject: want.subject.clone(), window })
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
        let wait = self.limiter(account).map_or(Duration::ZERO, |limiter| limiter.expected_wait(ask.class, 1));
        let at = self.clock.now() + wait.min(ask.max_wait) + RETENTION_MARGIN;
        let checked = self.operation.check_retention(slice, at);
        checked.map_err(|error| Arc::new(WeirError::from_call(&error, account)))
    }
}

impl<O: Operation> Prepared<O> {
    fn gaps(&self) -> impl Iterator<Item = &Slice<O::Subject>> {
        self.parts.iter().filter_map(|step| match step {
            Step::Ready(_) => None,
            Step::Gap(slice) => Some(slice),
        })
    }

    /// Whether any of it needs the vendor.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.gaps().next().is_some()
    }
}

fn unserved<S: Subject>(slice: &Slice<S>) -> WeirError {
    tracing::error!(account = ?slice.subject.account(), "a slice of an account without a desk");
    WeirError::new(Code::Internal, "no desk serves this account").of(slice.subject.account())
}

impl<O: Operation, C> fmt::Debug for Store<O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Store").field("operation", &self.operation.facts().operation).finish_non_exhaustive()
    }
}
