//! All keys of a request that memory does not answer, handed over together.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use dataloader::BatchFn;

use super::Stores;
use crate::domain::{Ask, Slice};
use crate::error::{Code, WeirError};
use crate::planner;
use crate::store::{Outlook, Survey, Ticket};
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// The upstream calls that one request may plan.
const MAX_PLANNED_CALLS: usize = 400;

/// More slices than these take milliseconds to look up and plan: that is done beside the workers, which have others to
/// answer.
const MANY_SLICES: u64 = 2_000;

/// One field's wants, by the order in which the fields asked: fields are admitted in that order, and two fields that
/// want the same meet at the scheduler, where it is counted.
#[derive(Clone, Debug)]
pub(super) struct Key {
    id: u64,
    wants: Arc<Wants>,
}

#[derive(Debug)]
enum Wants {
    Metrics(Vec<Slice<alibaba_cams::MetricSubject>>),
    Distributions(Vec<Slice<volcengine_rtc::DistributionSubject>>),
}

/// A field's ticket, or why the field failed as a whole.
#[derive(Clone)]
pub(super) enum Gathered {
    Metrics(Result<Ticket<Vec<alibaba_cams::PhoneNumberPoint>>, Arc<WeirError>>),
    Distributions(Result<Ticket<volcengine_rtc::Distribution>, Arc<WeirError>>),
    /// Only the plan was wanted.
    Explained,
}

/// What a request lacks of both.
type Surveys = (Survey<alibaba_cams::PhoneNumberMetrics>, Survey<volcengine_rtc::OperationDistributions>);

/// Hands keys to the stores and counts what the request has planned so far.
#[derive(Clone)]
pub(super) struct Batch {
    stores: Arc<Stores>,
    ask: Ask,
    planned: usize,
    plan: Arc<Mutex<Outlook>>,
}

impl Key {
    pub(super) fn metrics(id: u64, wants: Vec<Slice<alibaba_cams::MetricSubject>>) -> Self {
        Self { id, wants: Arc::new(Wants::Metrics(wants)) }
    }

    pub(super) fn distributions(id: u64, wants: Vec<Slice<volcengine_rtc::DistributionSubject>>) -> Self {
        Self { id, wants: Arc::new(Wants::Distributions(wants)) }
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Batch {
    /// Where the plan is only explained, it goes into `plan`.
    pub(super) fn new(stores: Arc<Stores>, ask: Ask, plan: Arc<Mutex<Outlook>>) -> Self {
        Self { stores, ask, planned: 0, plan }
    }

    fn gather(&mut self, keys: &[Key]) -> HashMap<Key, Gathered> {
        let (stores, ask) = (Arc::clone(&self.stores), self.ask.clone());
        let mut keys: Vec<&Key> = keys.iter().collect();
        keys.sort_by_key(|key| key.id);
        let (mut metric_keys, mut distribution_keys) = (Vec::new(), Vec::new());
        let (mut metrics, mut distributions) = (Vec::new(), Vec::new());
        for key in keys {
            match &*key.wants {
                Wants::Metrics(wants) => {
                    metric_keys.push(key.clone());
                    metrics.push(stores.metrics.prepare(wants, &ask));
                }
                Wants::Distributions(wants) => {
                    distribution_keys.push(key.clone());
                    distributions.push(stores.distributions.prepare(wants, &ask));
                }
            }
        }
        let survey = |metrics: &[_], distributions: &[_]| {
            (stores.metrics.survey(metrics, &ask), stores.distributions.survey(distributions, &ask))
        };
        let check = |(metrics, distributions): &Surveys| {
            self.check(metrics.new_calls() + distributions.new_calls()).err().map(Arc::new)
        };
        let mut surveys = survey(&metrics, &distributions);
        let mut refusal = check(&surveys);
        // What asks for too much may have taken long to see, and what is only explained takes nothing: others need not wait.
        let deciding =
            (refusal.is_none() && !ask.explain).then(|| stores.deciding.lock().unwrap_or_else(PoisonError::into_inner));
        if deciding.is_some() {
            stores.metrics.look_again(&mut metrics, &ask);
            stores.distributions.look_again(&mut distributions, &ask);
            surveys = survey(&metrics, &distributions);
            refusal = check(&surveys);
        }
        let (metric_survey, distribution_survey) = surveys;
        let mut metrics = stores.metrics.admit(metrics, metric_survey, refusal.as_ref(), &ask);
        let mut distributions = stores.distributions.admit(distributions, distribution_survey, refusal.as_ref(), &ask);
        // What somebody waits for is counted first.
        self.planned += metrics.new_calls() + distributions.new_calls();
        let mut room = MAX_PLANNED_CALLS.saturating_sub(self.planned);
        stores.metrics.plan_refresh(&mut metrics, &mut room, &ask);
        stores.distributions.plan_refresh(&mut distributions, &mut room, &ask);
        self.planned = MAX_PLANNED_CALLS - room;
        let keys = metric_keys.into_iter().chain(distribution_keys);
        if ask.explain {
            let mut plan = self.plan.lock().unwrap_or_else(PoisonError::into_inner);
            plan.add(stores.metrics.explain(&metrics, &ask));
            plan.add(stores.distributions.explain(&distributions, &ask));
            return keys.map(|key| (key, Gathered::Explained)).collect();
        }
        let mut tasks = Vec::new();
        let metrics = stores.metrics.submit(metrics, &ask, &mut tasks);
        let distributions = stores.distributions.submit(distributions, &ask, &mut tasks);
        drop(deciding);
        planner::spawn(tasks);
        let gathered = metrics.into_iter().map(Gathered::Metrics);
        keys.zip(gathered.chain(distributions.into_iter().map(Gathered::Distributions))).collect()
    }

    fn n_slices(&self, keys: &[Key]) -> u64 {
        let of_key = |key: &Key| match &*key.wants {
            Wants::Metrics(wants) => wants.iter().map(|want| self.stores.metrics.n_slices(want.window)).sum(),
            Wants::Distributions(wants) => wants.len() as u64,
        };
        keys.iter().map(of_key).sum()
    }

    /// Whether the request may plan so many more calls.
    fn check(&self, new_calls: usize) -> Result<(), WeirError> {
        let planned = self.planned + new_calls;
        if planned <= MAX_PLANNED_CALLS {
            return Ok(());
        }
        Err(WeirError::new(
            Code::TooExpensive,
            format!(
                "the request plans {planned} upstream calls, and {MAX_PLANNED_CALLS} are the most; ask for fewer windows, \
                 channels or applications at a time"
            ),
        )
        .limited(MAX_PLANNED_CALLS, Some(planned)))
    }
}

impl BatchFn<Key, Gathered> for Batch {
    async fn load(&mut self, keys: &[Key]) -> HashMap<Key, Gathered> {
        let metrics = keys.iter().filter_map(|key| match &*key.wants {
            Wants::Metrics(wants) => Some(&wants[..]),
            Wants::Distributions(_) => None,
        });
        let distributions = keys.iter().filter_map(|key| match &*key.wants {
            Wants::Metrics(_) => None,
            Wants::Distributions(wants) => Some(&wants[..]),
        });
        self.stores.metrics.recall(metrics, &self.ask).await;
        self.stores.distributions.recall(distributions, &self.ask).await;
        if self.n_slices(keys) <= MANY_SLICES {
            return self.gather(keys);
        }
        let (mut batch, keys) = (self.clone(), keys.to_vec());
        let beside = tokio::task::spawn_blocking(move || {
            let gathered = batch.gather(&keys);
            (gathered, batch.planned)
        });
        // Keys without an answer are reported by whoever waits for them.
        let Ok((gathered, planned)) = beside.await else { return HashMap::new() };
        self.planned = planned;
        gathered
    }
}
