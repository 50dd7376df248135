//! A field that was looked up: what is ready, what is missing, and what there is to fall back on.

use std::sync::Arc;
use std::time::Duration;

use super::ticket::{Part, Served};
use crate::domain::{Account, Held, Operation, Slice, Subject, Window};
use crate::error::{Code, WeirError};
use crate::planner::Promise;

/// What one field wants, looked up but not yet asked for.
#[derive(Debug)]
pub struct Prepared<O: Operation> {
    /// Each with the want it belongs to.
    pub(super) steps: Vec<(usize, Step<O>)>,
    /// Served as stale, to be fetched again.
    pub(super) refresh: Vec<Slice<O::Subject>>,
}

#[derive(Debug)]
pub(super) enum Step<O: Operation> {
    Ready(Result<Served<O::Data>, Arc<WeirError>>),
    Gap(Gap<O>),
}

#[derive(Debug)]
pub(super) struct Gap<O: Operation> {
    pub(super) slice: Slice<O::Subject>,
    /// What may be served if it cannot be fetched.
    pub(super) fallback: Option<Arc<Held<O::Data>>>,
}

/// What a request would do.
#[derive(Debug, Default)]
pub struct Outlook {
    /// The calls that somebody would wait for, as they would be sent.
    pub calls: Vec<PlannedCall>,
    /// The calls that would only fetch again what is served as stale.
    pub refreshes: Vec<PlannedCall>,
    /// Slices that memory would answer.
    pub cached: usize,
    /// Slices that somebody else's call would bring.
    pub joined: usize,
    /// How long the last call would wait for its permit if no field were refused for it.
    pub wait: Duration,
    /// What would fail without a call, field by field.
    pub refused: Vec<Arc<WeirError>>,
}

/// One upstream call as it would be sent.
#[derive(Debug)]
pub struct PlannedCall {
    /// By whom.
    pub account: Account,
    /// Which operation.
    pub operation: &'static str,
    /// Over which span, padding included; `None` where the operation has none.
    pub span: Option<Window>,
}

impl Outlook {
    /// Both together.
    pub fn add(&mut self, other: Self) {
        self.calls.extend(other.calls);
        self.refreshes.extend(other.refreshes);
        self.cached += other.cached;
        self.joined += other.joined;
        self.wait = self.wait.max(other.wait);
        self.refused.extend(other.refused);
    }
}

impl<O: Operation> Default for Prepared<O> {
    fn default() -> Self {
        Self { steps: Vec::new(), refresh: Vec::new() }
    }
}

impl<O: Operation> Prepared<O> {
    /// What needs a call.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Gap<O>> {
        self.steps.iter().filter_map(|(_, step)| match step {
            Step::Ready(_) => None,
            Step::Gap(gap) => Some(gap),
        })
    }

    /// Whether any of it needs the vendor.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.gaps().next().is_some()
    }

    /// How many slices memory answers.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.steps.iter().filter(|(_, step)| matches!(step, Step::Ready(Ok(_)))).count()
    }

    /// The accounts whose calls it needs, each once.
    pub(super) fn accounts(&self) -> Vec<Account> {
        let mut accounts: Vec<Account> = Vec::new();
        for gap in self.gaps() {
            let account = gap.slice.subject.account();
            if !accounts.contains(account) {
                accounts.push(account.clone());
            }
        }
        accounts
    }

    /// Why parts of it fail without a call, each reason once.
    pub(super) fn refusals(&self) -> Vec<Arc<WeirError>> {
        let mut refusals: Vec<Arc<WeirError>> = Vec::new();
        for (_, step) in &self.steps {
            if let Step::Ready(Err(error)) = step
                && !refusals.iter().any(|known| (known.code, &known.message) == (error.code, &error.message))
            {
                refusals.push(Arc::clone(error));
            }
        }
        refusals
    }

    /// Does without calls of `account` where it can: what has a stale answer gets it, and is to be fetched again.
    pub(super) fn settle(&mut self, account: &Account) {
        for (_, step) in &mut self.steps {
            if let Step::Gap(Gap { slice, fallback }) = step
                && slice.subject.account() == account
                && let Some(held) = fallback.take()
            {
                self.refresh.push(slice.clone());
                *step = Step::Ready(Ok(Served::stale(held)));
            }
        }
    }

    /// `found` tells for each gap what is there, or who promised it.
    pub(super) fn into_parts(
        self,
        found: impl Fn(&Slice<O::Subject>) -> Result<Result<Arc<Held<O::Data>>, Promise<O::Data>>, Arc<WeirError>>,
    ) -> Vec<(usize, Part<O::Data>)> {
        let part = |step| match step {
            Step::Ready(outcome) => Part::Ready(outcome),
            Step::Gap(Gap { slice, fallback }) => match found(&slice) {
                Ok(Ok(held)) => Part::Ready(Ok(Served::from_cache(held))),
                Ok(Err(promise)) => Part::Promised { account: slice.subject.account().clone(), promise, fallback },
                Err(error) => Part::Ready(Err(error)),
            },
        };
        self.steps.into_iter().map(|(want, step)| (want, part(step))).collect()
    }
}

pub(super) fn unserved<S: Subject>(slice: &Slice<S>) -> WeirError {
    tracing::error!(account = ?slice.subject.account(), "a slice of an account without a desk");
    WeirError::new(Code::Internal, "no desk serves this account").of(slice.subject.account())
}
