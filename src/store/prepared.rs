//! A field that was looked up: what is ready, what is missing, and what there is to fall back on.

use std::sync::Arc;
use std::time::Duration;

use super::ticket::{Part, Served};
use crate::domain::{Account, Held, Operation, Slice, Subject, Window};
use crate::error::{Code, WeirError};
use crate::planner::{Found, Landed, Parts};

/// What one field wants, looked up but not yet asked for.
#[derive(Debug)]
pub struct Prepared<O: Operation> {
    /// Each with the want it belongs to; those of one want in order of time.
    pub(super) lookups: Vec<(usize, Lookup<O>)>,
    /// Served as stale, to be fetched again.
    pub(super) refresh: Vec<Slice<O::Subject>>,
    /// The memory's epoch when it was looked up.
    pub(super) epoch: u64,
}

#[derive(Debug)]
pub(super) enum Lookup<O: Operation> {
    Ready(Result<Served<O::Data>, Arc<WeirError>>),
    Gap(Gap<O>),
    /// The archive holds it: enough to explain what a request would take.
    Known,
}

#[derive(Debug)]
pub(super) struct Gap<O: Operation> {
    /// A run of slices, or the one that there is something to fall back on for.
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

impl<O: Operation> Prepared<O> {
    pub(super) fn new(epoch: u64) -> Self {
        Self { lookups: Vec::new(), refresh: Vec::new(), epoch }
    }

    /// Takes a slice that is to be fetched into the gap before it, if they are neighbours in one want.
    pub(super) fn widen(&mut self, want: usize, window: Window) -> bool {
        match self.lookups.last_mut() {
            Some((of, Lookup::Gap(Gap { slice, fallback: None })))
                if *of == want && slice.window.end() == window.start() =>
            {
                slice.window = slice.window.hull(window);
                true
            }
            _ => false,
        }
    }

    /// Fills gaps with what has come to be held.
    pub(super) fn fill(&mut self, fresh: impl Fn(&Slice<O::Subject>) -> Landed<O::Data>) {
        let mut lookups = Vec::with_capacity(self.lookups.len());
        for (want, lookup) in std::mem::take(&mut self.lookups) {
            let Lookup::Gap(Gap { slice, fallback }) = lookup else {
                lookups.push((want, lookup));
                continue;
            };
            for (window, held) in fresh(&slice).laid_out(slice.window) {
                let lookup = if let Some(held) = held {
                    Lookup::Ready(Ok(Served::from_cache(Arc::clone(held))))
                } else {
                    let slice = Slice { subject: slice.subject.clone(), window };
                    Lookup::Gap(Gap { slice, fallback: fallback.clone() })
                };
                lookups.push((want, lookup));
            }
        }
        self.lookups = lookups;
    }

    /// What needs a call.
    pub(super) fn gaps(&self) -> impl Iterator<Item = &Gap<O>> {
        self.lookups.iter().filter_map(|(_, lookup)| match lookup {
            Lookup::Ready(_) | Lookup::Known => None,
            Lookup::Gap(gap) => Some(gap),
        })
    }

    /// Whether any of it needs the vendor.
    #[must_use]
    pub fn has_gaps(&self) -> bool {
        self.gaps().next().is_some()
    }

    /// How many slices memory answers, or the archive.
    #[must_use]
    pub fn ready(&self) -> usize {
        self.lookups.iter().filter(|(_, lookup)| matches!(lookup, Lookup::Ready(Ok(_)) | Lookup::Known)).count()
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
        for (_, lookup) in &self.lookups {
            if let Lookup::Ready(Err(error)) = lookup
                && !refusals.iter().any(|known| (known.code, &known.message) == (error.code, &error.message))
            {
                refusals.push(Arc::clone(error));
            }
        }
        refusals
    }

    /// Does without calls of `account` where it can: what has a stale answer gets it, and is to be fetched again.
    pub(super) fn settle(&mut self, account: &Account) {
        for (_, lookup) in &mut self.lookups {
            if let Lookup::Gap(Gap { slice, fallback }) = lookup
                && slice.subject.account() == account
                && let Some(held) = fallback.take()
            {
                self.refresh.push(slice.clone());
                *lookup = Lookup::Ready(Ok(Served::stale(held)));
            }
        }
    }

    /// `found` tells for each gap, in their order, what is there or on its way.
    pub(super) fn into_parts(self, found: Vec<Parts<O::Data>>) -> Vec<(usize, Part<O::Data>)> {
        let (mut found, mut parts) = (found.into_iter(), Vec::with_capacity(self.lookups.len()));
        for (want, lookup) in self.lookups {
            let Gap { slice, fallback } = match lookup {
                Lookup::Ready(outcome) => {
                    parts.push((want, Part::Ready(outcome)));
                    continue;
                }
                Lookup::Gap(gap) => gap,
                // Nothing is answered where a request is only explained.
                Lookup::Known => continue,
            };
            let found = found.next().unwrap_or_default();
            if found.is_empty() {
                parts.push((want, Part::Ready(Err(Arc::new(unserved(&slice))))));
            }
            let part = |found| match found {
                Found::Held(held) => Part::Ready(Ok(Served::from_cache(held))),
                Found::Pending(pending) => {
                    let account = slice.subject.account().clone();
                    Part::Pending { account, pending, fallback: fallback.clone() }
                }
            };
            parts.extend(found.into_iter().map(part).map(|part| (want, part)));
        }
        parts
    }
}

fn unserved<S: Subject>(slice: &Slice<S>) -> WeirError {
    tracing::error!(account = ?slice.subject.account(), "a slice of an account without a scheduler");
    WeirError::new(Code::Internal, "no scheduler serves this account").of(slice.subject.account())
}
