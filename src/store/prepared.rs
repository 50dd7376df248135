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

/// What fetching would mean.
#[derive(Debug, Default)]
pub struct Outlook {
    /// The calls that would bring what is missing, as they would be sent.
    pub calls: Vec<PlannedCall>,
    /// How many of them are not planned already.
    pub new_calls: usize,
    /// Slices that memory answers.
    pub cached: usize,
    /// Slices that somebody else's call brings.
    pub joined: usize,
    /// How long the last call would wait for its permit.
    pub wait: Duration,
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
        self.new_calls += other.new_calls;
        self.cached += other.cached;
        self.joined += other.joined;
        self.wait = self.wait.max(other.wait);
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

    /// Does without calls of `account` where it can: what has a stale answer gets it, and is to be fetched again. What
    /// has none gets the refusal, if there is one.
    pub(super) fn settle(&mut self, account: &Account, refusal: Option<&Arc<WeirError>>) {
        for (_, step) in &mut self.steps {
            let Step::Gap(Gap { slice, fallback }) = step else { continue };
            if slice.subject.account() != account {
                continue;
            }
            let settled = match (fallback.take(), refusal) {
                (Some(held), _) => Ok(Served::stale(held)),
                (None, Some(refusal)) => Err(Arc::clone(refusal)),
                (None, None) => continue,
            };
            if settled.is_ok() {
                self.refresh.push(slice.clone());
            }
            *step = Step::Ready(settled);
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
