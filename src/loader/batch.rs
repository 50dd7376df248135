//! All keys of a request that memory does not answer, handed over together.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};

use dataloader::BatchFn;
use futures_util::future::join_all;

use super::any::{AnyRecalled, AnyStore, Part};
use super::key::{Gathered, Key};
use super::{MAX_WAIT, Stores};
use crate::domain::Ask;
use crate::error::{Code, WeirError};
use crate::planner;
use crate::store::Outlook;

/// The upstream calls that one request may plan.
const MAX_PLANNED_CALLS: usize = 400;

/// Hands keys to the stores and counts what the request has planned so far.
#[derive(Clone)]
pub(super) struct Batch {
    stores: Arc<Stores>,
    ask: Ask,
    planned: usize,
    plan: Arc<Mutex<Outlook>>,
}

impl Batch {
    /// Where the plan is only explained, it goes into `plan`.
    pub(super) fn new(stores: Arc<Stores>, ask: Ask, plan: Arc<Mutex<Outlook>>) -> Self {
        Self { stores, ask, planned: 0, plan }
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
            refusal = self.check(&mut parts);
        }
        // What somebody waits for is counted first.
        self.planned += parts.iter_mut().map(|part| part.admit(refusal.as_ref(), &ask)).sum::<usize>();
        if refusal.is_some() {
            self.stores.refused("upstream_calls", &ask);
        } else {
            for refusal in parts.iter().flat_map(|part| part.not_admitted()) {
                // The one that names how many calls may wait is about the queue.
                self.stores.refused(if refusal.limit.is_some() { "queue" } else { MAX_WAIT }, &ask);
            }
        }
        let mut room = MAX_PLANNED_CALLS.saturating_sub(self.planned);
        for part in &mut parts {
            part.plan_refresh(&mut room, &ask);
        }
        self.planned = MAX_PLANNED_CALLS - room;
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

    /// Why the request may not plan what its parts would add.
    fn check(&self, parts: &mut [Box<dyn Part>]) -> Option<Arc<WeirError>> {
        let planned = self.planned + parts.iter_mut().map(|part| part.survey(&self.ask)).sum::<usize>();
        let message = format!(
            "the request plans {planned} upstream calls, and {MAX_PLANNED_CALLS} are the most; ask for fewer windows, \
             channels or applications at a time"
        );
        let too_many = || WeirError::new(Code::TooExpensive, message).limited(MAX_PLANNED_CALLS, Some(planned));
        (planned > MAX_PLANNED_CALLS).then(|| Arc::new(too_many()))
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
