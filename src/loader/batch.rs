//! All keys of a request that memory does not answer, handed over together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dataloader::BatchFn;
use futures_util::future::join_all;

use super::any::{AnyRecalled, AnyStore, Part};
use super::key::{Gathered, Key};
use super::{Most, Stores};
use crate::domain::wording::echo;
use crate::domain::{Ask, Budget, LimitName};
use crate::error::{Code, WeirError};
use crate::planner;
use crate::store::Outlook;

/// Hands keys to the stores and counts what the request has planned so far.
#[derive(Clone)]
pub(super) struct Batch {
    stores: Arc<Stores>,
    ask: Ask,
    most: Most,
    planned: usize,
    plan: Arc<Mutex<Outlook>>,
}

impl Batch {
    /// Where the plan is only explained, it goes into `plan`.
    pub(super) fn new(stores: Arc<Stores>, ask: Ask, most: Most, plan: Arc<Mutex<Outlook>>) -> Self {
        Self { stores, ask, most, planned: 0, plan }
    }

    /// The keys of each store, in the order in which their fields asked.
    fn by_store(&self, keys: &[Key]) -> Vec<Vec<Key>> {
        let mut keys = keys.to_vec();
        keys.sort_by_key(|key| key.id);
        let mut sorted = vec![Vec::new(); self.stores.all.len()];
        for key in keys {
            if let Some(own) = sorted.get_mut(key.store) {
                own.push(key);
            }
        }
        sorted
    }

    fn gather(&mut self, keys: Vec<Vec<Key>>, recalled: &[AnyRecalled]) -> HashMap<Key, Gathered> {
        let (stores, ask) = (Arc::clone(&self.stores), self.ask.clone());
        let explained: Vec<Key> = if ask.explain { keys.iter().flatten().cloned().collect() } else { Vec::new() };
        let asked = stores.all.iter().zip(keys).zip(recalled).filter(|((_, keys), _)| !keys.is_empty());
        let mut parts: Vec<Box<dyn Part>> =
            asked.map(|((store, keys), recalled)| store.prepare(keys, recalled, &ask)).collect();
        let mut refusal = self.check(&mut parts);
        // What asks for too much may have taken long to see, and what is only explained takes nothing: others need not wait.
        let deciding =
            (refusal.is_none() && !ask.explain).then(|| stores.deciding.lock().unwrap_or_else(PoisonError::into_inner));
        if deciding.is_some() {
            for part in &mut parts {
                part.look_again(&ask);
            }
            refusal = self.check(&mut parts).or_else(|| self.charge(&mut parts));
        }
        // What somebody waits for is counted first.
        self.planned += parts.iter_mut().map(|part| part.admit(refusal.as_ref(), &ask)).sum::<usize>();
        if let Some(refusal) = &refusal {
            if let Some(limit) = refusal.limit_name() {
                self.stores.refused(limit, &ask);
            }
        } else {
            for refusal in parts.iter().flat_map(|part| part.not_admitted()) {
                self.stores.refused(refusal.limit_name().unwrap_or(LimitName::MaxWait), &ask);
            }
        }
        let room = self.room_for_refreshes();
        let mut left = room;
        for part in &mut parts {
            part.plan_refresh(&mut left, &ask);
        }
        self.planned += room - left;
        if !ask.explain {
            ask.cost.charge().spend((room - left) as u64);
        }
        if ask.explain {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            for part in &parts {
                plan.add(part.explain(&ask));
            }
            return explained.into_iter().map(|key| (key, Gathered::Explained)).collect();
        }
        let mut tasks = Vec::new();
        let gathered = parts.iter_mut().flat_map(|part| part.submit(&ask, &mut tasks)).collect();
        drop(deciding);
        planner::spawn(tasks);
        gathered
    }

    /// The calls that the parts would add.
    fn survey(&self, parts: &mut [Box<dyn Part>]) -> usize {
        parts.iter_mut().map(|part| part.survey(&self.ask)).sum()
    }

    /// Why the request may not plan what its parts would add.
    fn check(&self, parts: &mut [Box<dyn Part>]) -> Option<Arc<WeirError>> {
        let added = self.survey(parts);
        let planned = self.planned + added;
        let most = self.most.calls;
        if planned > most && self.most.shadow.holds(LimitName::Calls) {
            self.stores.shadowed(LimitName::Calls, &self.ask);
        } else if planned > most {
            let message = format!(
                "the request plans {planned} upstream calls, and {most} are the most; ask for fewer windows, channels or \
                 applications at a time"
            );
            return Some(Arc::new(WeirError::exceeding(LimitName::Calls, message, most, Some(planned))));
        }
        let budget = self.ask.cost.charge().budget()?;
        let is_refused = budget.left(self.ask.at) < added as u64 && !self.most.spares(budget);
        is_refused.then(|| Arc::new(overspent(budget, added, &self.ask)))
    }

    /// Charges the caller what the parts would add; why it may not, if others were charged meanwhile.
    fn charge(&self, parts: &mut [Box<dyn Part>]) -> Option<Arc<WeirError>> {
        self.ask.cost.charge().budget()?;
        let added = self.survey(parts);
        charge(&self.stores, &self.most, &self.ask, added).err().map(Arc::new)
    }

    /// How many calls may refresh what is stale: those that neither the request nor its caller needs otherwise.
    fn room_for_refreshes(&self) -> usize {
        let room = self.most.calls.saturating_sub(self.planned);
        let budget = self.ask.cost.charge().budget().filter(|budget| !self.most.spares(budget));
        let left = budget.map(|budget| budget.left(self.ask.at));
        left.map_or(room, |left| room.min(usize::try_from(left).unwrap_or(usize::MAX)))
    }
}

impl BatchFn<Key, Gathered> for Batch {
    async fn load(&mut self, keys: &[Key]) -> HashMap<Key, Gathered> {
        let keys = self.by_store(keys);
        let stores = Arc::clone(&self.stores);
        let recall = async |(store, keys): (&Arc<dyn AnyStore>, &Vec<Key>)| -> AnyRecalled {
            // Most requests ask one store.
            if keys.is_empty() { Box::new(()) } else { store.recall(keys, &self.ask).await }
        };
        let recalled = join_all(stores.all.iter().zip(&keys).map(recall)).await;
        let of_store = |(store, keys): (&Arc<dyn AnyStore>, &Vec<Key>)| -> u64 {
            keys.iter().map(|key| store.n_slices(key)).sum()
        };
        if stores.all.iter().zip(&keys).map(of_store).sum::<u64>() <= planner::MANY_SLICES {
            return self.gather(keys, &recalled);
        }
        let mut batch = self.clone();
        let gather = move || {
            let gathered = batch.gather(keys, &recalled);
            (gathered, batch.planned)
        };
        // Keys without an answer are reported by whoever waits for them.
        let Some((gathered, planned)) = planner::beside(gather).await else { return HashMap::new() };
        self.planned = planned;
        gathered
    }
}

/// Charges a caller so many calls of its day; why it may not, where they are not left and the limit is not only counted.
pub(super) fn charge(stores: &Stores, most: &Most, ask: &Ask, added: usize) -> Result<(), WeirError> {
    let charge = ask.cost.charge();
    let Some(budget) = charge.budget() else { return Ok(()) };
    if charge.take(added as u64, ask.at) {
        return Ok(());
    }
    if !most.spares(budget) {
        return Err(overspent(budget, added, ask));
    }
    charge.take_beyond(added as u64, ask.at);
    stores.shadowed(LimitName::CallsPerDay, ask);
    Ok(())
}

/// What is said to a caller whose calls of the day do not suffice.
fn overspent(budget: &Budget, added: usize, ask: &Ask) -> WeirError {
    let (name, per_day, left) = (echo(ask.caller.name()), budget.per_day(), budget.left(ask.at));
    if per_day == 0 {
        let message = format!("`{name}` is answered from what is held alone, and this takes {added} upstream calls");
        return WeirError::new(Code::Forbidden, message).limited_by(LimitName::CallsPerDay, per_day, Some(added));
    }
    let message = format!(
        "the request takes {added} upstream calls, and `{name}` has {left} left of {per_day} a day (UTC); what is held is \
         answered still"
    );
    let refusal =
        WeirError::new(Code::QuotaWaitTooLong, message).limited_by(LimitName::CallsPerDay, per_day, Some(added));
    WeirError { retryable: true, retry_after: Some(Budget::renewed_in(ask.at)), ..refusal }
}
