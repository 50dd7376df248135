//! Which fields of a request are admitted, and what they would cost. Nothing is asked for yet: what is admitted here is
//! either submitted or only explained, so that the plan is what then happens.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use super::prepared::{Outlook, PlannedCall, Prepared};
use super::{Store, by_account};
use crate::domain::{Account, Ask, Class, Operation, Sent, Slice, Subject};
use crate::error::WeirError;
use crate::planner::{self, Draft, Step};
use crate::quota::Call;

/// What all that fields lack would need together.
#[derive(Debug)]
pub struct Survey<O: Operation, C> {
    drafts: Drafts<O, C>,
    joined: usize,
    wait: Duration,
}

/// Fields that were admitted or refused, in the order in which they asked.
pub struct Admitted<O: Operation, C> {
    pub(super) fields: Vec<Result<Prepared<O>, Arc<WeirError>>>,
    /// What was served as stale and is to be fetched again.
    pub(super) refresh: Vec<Slice<O::Subject>>,
    survey: Survey<O, C>,
}

/// What each account would add.
type Steps<S> = Vec<(Account, Step<S>)>;

/// The drafts of the accounts that are needed.
#[derive(Debug)]
struct Drafts<O: Operation, C>(HashMap<Account, Draft<O, C>>);

impl<O, C> Store<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// What all that `fields` lack would need together.
    #[must_use]
    pub fn survey(&self, fields: &[Prepared<O>], ask: &Ask) -> Survey<O, C> {
        let mut survey = Survey::new(Duration::ZERO);
        let gaps = fields.iter().flat_map(Prepared::gaps).map(|gap| &gap.slice);
        for (account, own) in by_account(gaps, |slice| *slice) {
            let Some(step) = survey.drafts.weigh(self, account, &own, ask, &Steps::new()) else { continue };
            survey.joined += step.joined;
            survey.wait = survey.wait.max(step.wait);
            survey.drafts.accept(vec![(account.clone(), step)], true);
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
        survey: Survey<O, C>,
        refusal: Option<&Arc<WeirError>>,
        ask: &Ask,
    ) -> Admitted<O, C> {
        // What is in time all together is in time one after the other.
        if survey.wait <= ask.max_wait && refusal.is_none() {
            return Admitted { fields: fields.into_iter().map(Ok).collect(), refresh: Vec::new(), survey };
        }
        let mut survey = Survey::new(survey.wait);
        let fields = fields.into_iter().map(|mut field| {
            if let Some(refusal) = refusal.filter(|_| field.has_gaps()) {
                return Err(Arc::clone(refusal));
            }
            let steps = survey.drafts.steps(self, &mut field, ask)?;
            survey.joined += steps.iter().map(|(_, step)| step.joined).sum::<usize>();
            survey.drafts.accept(steps, true);
            Ok(field)
        });
        Admitted { fields: fields.collect(), refresh: Vec::new(), survey }
    }

    /// Plans to fetch again what is served as stale, as far as there is `room` for calls that nobody waits for. What is
    /// being fetched already, or would be refused, is left alone.
    pub fn plan_refresh(&self, admitted: &mut Admitted<O, C>, room: &mut usize, ask: &Ask) {
        let mut seen = HashSet::new();
        let stale = admitted.fields.iter().flatten().flat_map(|field| &field.refresh);
        let stale: Vec<_> = stale.filter(|slice| seen.insert(*slice)).collect();
        for (account, own) in by_account(stale, |slice| *slice) {
            let Some(desk) = self.desks.get(account).filter(|desk| desk.refusal().is_none()) else { continue };
            let draft = admitted.survey.drafts.of(account, desk);
            let mut own = desk.unawaited(own);
            own.retain(|slice| !draft.has(slice) && self.memory.refusal(&slice.subject).is_none());
            let mut step = draft.weigh(&own, ask, Class::Background, 0);
            if step.new_calls > *room {
                // A slice costs one call at most.
                own.truncate(*room);
                step = draft.weigh(&own, ask, Class::Background, 0);
            }
            *room = room.saturating_sub(step.new_calls);
            draft.accept(step, false);
            admitted.refresh.extend(own.into_iter().cloned());
        }
    }

    /// What submitting all that was admitted would do.
    #[must_use]
    pub fn explain(&self, admitted: &Admitted<O, C>, ask: &Ask) -> Outlook {
        let Survey { drafts, joined, wait } = &admitted.survey;
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
                span: Some(self.operation.sent_span(call, ask.at)),
            });
        }
        outlook
    }
}

impl<O, C> Survey<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn new(wait: Duration) -> Self {
        Self { drafts: Drafts(HashMap::new()), joined: 0, wait }
    }

    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.drafts.new_calls()
    }
}

impl<O, C> Admitted<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.survey.new_calls()
    }
}

impl<O, C> Drafts<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn new_calls(&self) -> usize {
        self.0.values().map(Draft::new_calls).sum()
    }

    fn of(&mut self, account: &Account, desk: &planner::Desk<O, C>) -> &mut Draft<O, C> {
        self.0.entry(account.clone()).or_insert_with(|| desk.draft())
    }

    /// What a field would add. Where the calls of an account would come too late, what has a stale answer does without.
    fn steps(
        &mut self,
        store: &Store<O, C>,
        field: &mut Prepared<O>,
        ask: &Ask,
    ) -> Result<Steps<O::Subject>, Arc<WeirError>> {
        let mut steps = Vec::new();
        for account in field.accounts() {
            let step = match self.in_time(store, field, &account, &steps, ask) {
                Err(error) => {
                    field.settle(&account);
                    self.in_time(store, field, &account, &steps, ask).map_err(|_| error)?
                }
                in_time => in_time?,
            };
            steps.extend(step.map(|step| (account, step)));
        }
        Ok(steps)
    }

    fn in_time(
        &mut self,
        store: &Store<O, C>,
        field: &Prepared<O>,
        account: &Account,
        pending: &Steps<O::Subject>,
        ask: &Ask,
    ) -> Result<Option<Step<O::Subject>>, Arc<WeirError>> {
        let own = field.gaps().map(|gap| &gap.slice).filter(|slice| slice.subject.account() == account);
        let Some(step) = self.weigh(store, account, &own.collect::<Vec<_>>(), ask, pending) else { return Ok(None) };
        planner::admit(step.wait, step.least_wait, step.new_calls, ask).map_err(|error| Arc::new(error.of(account)))?;
        Ok(Some(step))
    }

    /// `None` if no desk serves the account.
    fn weigh(
        &mut self,
        store: &Store<O, C>,
        account: &Account,
        slices: &[&Slice<O::Subject>],
        ask: &Ask,
        pending: &Steps<O::Subject>,
    ) -> Option<Step<O::Subject>> {
        let desk = store.desks.get(account)?;
        // Two keys of one vendor account share its permits.
        let shares = |other: &Account| other.shares_quota_with(account);
        let drafted = self.0.iter().filter(|(other, _)| shares(other)).map(|(_, draft)| draft.new_calls());
        let pending = pending.iter().filter(|(other, _)| shares(other)).map(|(_, step)| step.new_calls);
        let ahead = drafted.chain(pending).sum();
        Some(self.of(account, desk).weigh(slices, ask, ask.class, ahead))
    }

    fn accept(&mut self, steps: Steps<O::Subject>, is_awaited: bool) {
        for (account, step) in steps {
            if let Some(draft) = self.0.get_mut(&account) {
                draft.accept(step, is_awaited);
            }
        }
    }
}

impl<O: Operation, C> fmt::Debug for Admitted<O, C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Admitted").field("fields", &self.fields.len()).finish_non_exhaustive()
    }
}
