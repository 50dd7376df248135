//! Which fields of a request are admitted, and what they would cost. Nothing is asked for yet: what is admitted here is
//! either submitted or only explained, so that the plan is what then happens.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::prepared::{Outlook, PlannedCall, Prepared};
use super::{Store, by_account};
use crate::domain::{Account, Ask, Class, Operation, Slice, Subject};
use crate::error::WeirError;
use crate::planner::{self, Draft, Proposal};

/// What all that fields lack would need together.
#[derive(Debug)]
pub struct Survey<O: Operation> {
    drafts: Drafts<O>,
    joined: usize,
    wait: Duration,
    /// Whether the queue has no room for so many calls.
    is_too_much: bool,
}

/// Fields that were admitted or refused, in the order in which they asked.
pub struct Admitted<O: Operation> {
    pub(super) fields: Vec<Result<Prepared<O>, Arc<WeirError>>>,
    /// What was served as stale and is to be fetched again.
    pub(super) refresh: Vec<Slice<O::Subject>>,
    survey: Survey<O>,
}

/// What each account would add.
type Proposals<S> = Vec<(Account, Proposal<S>)>;

/// The drafts of the accounts that are needed.
#[derive(Debug)]
struct Drafts<O: Operation>(HashMap<Account, Draft<O>>);

impl<O: Operation> Store<O> {
    /// What all that `fields` lack would need together.
    #[must_use]
    pub fn survey(&self, fields: &[Prepared<O>], ask: &Ask) -> Survey<O> {
        let mut survey = Survey::new(Duration::ZERO);
        let gaps = fields.iter().flat_map(Prepared::gaps).map(|gap| &gap.slice);
        for (account, own) in by_account(gaps, |slice| *slice) {
            let Some(proposal) = survey.drafts.weigh(self, account, &own, ask, &Proposals::new()) else { continue };
            survey.joined += proposal.joined;
            survey.wait = survey.wait.max(proposal.wait);
            survey.is_too_much |= survey.drafts.admit(self, account, &proposal, ask, &Proposals::new()).is_err();
            survey.drafts.accept(vec![(account.clone(), proposal)], true);
        }
        survey
    }

    /// Admits the fields one after the other, each with those before it: all that a field lacks is admitted, or nothing
    /// is and it fails with [`QuotaWaitTooLong`](crate::error::Code::QuotaWaitTooLong), unless stale answers do
    /// instead of the calls that would come too late. With a `refusal` every field fails that needs a call.
    #[must_use]
    pub fn admit(
        &self,
        fields: Vec<Prepared<O>>,
        survey: Survey<O>,
        refusal: Option<&Arc<WeirError>>,
        ask: &Ask,
    ) -> Admitted<O> {
        // What is in time all together is in time one after the other.
        if survey.wait <= ask.max_wait && !survey.is_too_much && refusal.is_none() {
            return Admitted { fields: fields.into_iter().map(Ok).collect(), refresh: Vec::new(), survey };
        }
        let mut survey = Survey::new(survey.wait);
        let fields = fields.into_iter().map(|mut field| {
            if let Some(refusal) = refusal.filter(|_| field.has_gaps()) {
                return Err(Arc::clone(refusal));
            }
            let proposals = survey.drafts.proposals(self, &mut field, ask)?;
            survey.joined += proposals.iter().map(|(_, proposal)| proposal.joined).sum::<usize>();
            survey.drafts.accept(proposals, true);
            Ok(field)
        });
        Admitted { fields: fields.collect(), refresh: Vec::new(), survey }
    }

    /// Plans to fetch again what is served as stale, as far as there is `room` for calls that nobody waits for. What is
    /// being fetched already, or would be refused, is left alone.
    pub fn plan_refresh(&self, admitted: &mut Admitted<O>, room: &mut usize, ask: &Ask) {
        let mut seen = HashSet::new();
        let stale = admitted.fields.iter().flatten().flat_map(|field| &field.refresh);
        let stale: Vec<_> = stale.filter(|slice| seen.insert(*slice)).collect();
        for (account, own) in by_account(stale, |slice| *slice) {
            let Some(scheduler) = self.schedulers.get(account).filter(|scheduler| scheduler.refusal().is_none()) else {
                continue;
            };
            let draft = admitted.survey.drafts.of(account, scheduler);
            let mut own = scheduler.unawaited(own);
            own.retain(|slice| !draft.has(slice) && self.memory.refusal(&slice.subject).is_none());
            let mut proposal = draft.weigh(&own, Class::Background, &ask.caller, 0);
            let limiter = scheduler.limiter();
            let queued = limiter.queued_by(&ask.caller) + draft.new_calls();
            let most = limiter.most_queued().saturating_sub(queued).min(*room);
            if proposal.new_calls > most {
                // A slice costs one call at most.
                own.truncate(most);
                proposal = draft.weigh(&own, Class::Background, &ask.caller, 0);
            }
            *room = room.saturating_sub(proposal.new_calls);
            draft.accept(proposal, false);
            admitted.refresh.extend(own.into_iter().cloned());
        }
    }

    /// What submitting all that was admitted would do.
    #[must_use]
    pub fn explain(&self, admitted: &Admitted<O>, ask: &Ask) -> Outlook {
        let Survey { drafts, joined, wait, .. } = &admitted.survey;
        let mut outlook = Outlook { joined: *joined, wait: *wait, ..Outlook::default() };
        for field in &admitted.fields {
            match field {
                Ok(field) => {
                    outlook.cached += field.ready();
                    outlook.refused.extend(field.refusals());
                }
                Err(refusal) => outlook.refused.push(Arc::clone(refusal)),
            }
        }
        for (call, is_awaited) in drafts.0.values().flat_map(Draft::calls) {
            let calls = if is_awaited { &mut outlook.calls } else { &mut outlook.refreshes };
            calls.push(PlannedCall {
                account: call.subject.account().clone(),
                operation: self.operation.facts().operation,
                span: Some(self.operation.sent_span(&call, ask.at)),
            });
        }
        outlook
    }
}

impl<O: Operation> Survey<O> {
    fn new(wait: Duration) -> Self {
        Self { drafts: Drafts(HashMap::new()), joined: 0, wait, is_too_much: false }
    }

    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.drafts.new_calls()
    }
}

impl<O: Operation> Admitted<O> {
    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.survey.new_calls()
    }

    /// Why fields were refused.
    pub fn refusals(&self) -> impl Iterator<Item = Arc<WeirError>> {
        self.fields.iter().filter_map(|field| field.as_ref().err().cloned())
    }
}

impl<O: Operation> Drafts<O> {
    fn new_calls(&self) -> usize {
        self.0.values().map(Draft::new_calls).sum()
    }

    fn of(&mut self, account: &Account, scheduler: &planner::Scheduler<O>) -> &mut Draft<O> {
        self.0.entry(account.clone()).or_insert_with(|| scheduler.draft())
    }

    /// What a field would add. Where the calls of an account would come too late, what has a stale answer does without.
    fn proposals(
        &mut self,
        store: &Store<O>,
        field: &mut Prepared<O>,
        ask: &Ask,
    ) -> Result<Proposals<O::Subject>, Arc<WeirError>> {
        let mut proposals = Vec::new();
        for account in field.accounts() {
            let proposal = match self.in_time(store, field, &account, &proposals, ask) {
                Err(error) => {
                    field.settle(&account);
                    self.in_time(store, field, &account, &proposals, ask).map_err(|_| error)?
                }
                in_time => in_time?,
            };
            proposals.extend(proposal.map(|proposal| (account, proposal)));
        }
        Ok(proposals)
    }

    fn in_time(
        &mut self,
        store: &Store<O>,
        field: &Prepared<O>,
        account: &Account,
        pending: &Proposals<O::Subject>,
        ask: &Ask,
    ) -> Result<Option<Proposal<O::Subject>>, Arc<WeirError>> {
        let own = field.gaps().map(|gap| &gap.slice).filter(|slice| slice.subject.account() == account);
        let Some(proposal) = self.weigh(store, account, &own.collect::<Vec<_>>(), ask, pending) else {
            return Ok(None);
        };
        let admitted = planner::admit(proposal.wait, proposal.least_wait, proposal.new_calls, ask);
        let admitted = admitted.map_err(|error| Arc::new(error.of(account)));
        admitted.and_then(|()| self.admit(store, account, &proposal, ask, pending))?;
        Ok(Some(proposal))
    }

    /// Whether the queue has room for a proposal.
    fn admit(
        &self,
        store: &Store<O>,
        account: &Account,
        proposal: &Proposal<O::Subject>,
        ask: &Ask,
        pending: &Proposals<O::Subject>,
    ) -> Result<(), Arc<WeirError>> {
        let Some(limiter) = store.limiter(account) else { return Ok(()) };
        let admitted = planner::admit_queued(limiter, self.ahead(account, pending), proposal.new_calls, ask);
        admitted.map_err(|error| Arc::new(error.of(account)))
    }

    /// `None` if no scheduler serves the account.
    fn weigh(
        &mut self,
        store: &Store<O>,
        account: &Account,
        slices: &[&Slice<O::Subject>],
        ask: &Ask,
        pending: &Proposals<O::Subject>,
    ) -> Option<Proposal<O::Subject>> {
        let scheduler = store.schedulers.get(account)?;
        let ahead = self.ahead(account, pending);
        Some(self.of(account, scheduler).weigh(slices, ask.class, &ask.caller, ahead))
    }

    /// How many calls were drafted for the permits of an account. Two keys of one vendor account share its permits.
    fn ahead(&self, account: &Account, pending: &Proposals<O::Subject>) -> usize {
        let shares = |other: &Account| other.shares_quota_with(account);
        let drafted = self.0.iter().filter(|(other, _)| shares(other)).map(|(_, draft)| draft.new_calls());
        let pending = pending.iter().filter(|(other, _)| shares(other)).map(|(_, proposal)| proposal.new_calls);
        drafted.chain(pending).sum()
    }

    fn accept(&mut self, proposals: Proposals<O::Subject>, is_awaited: bool) {
        for (account, proposal) in proposals {
            if let Some(draft) = self.0.get_mut(&account) {
                draft.accept(proposal, is_awaited);
            }
        }
    }
}

impl<O: Operation> fmt::Debug for Admitted<O> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}
