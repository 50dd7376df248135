//! All keys of a request that memory does not answer, handed over together.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Mutex, PoisonError};

use dataloader::BatchFn;

use super::Stores;
use crate::domain::{Ask, Operation, Sent, Slice};
use crate::error::{Code, WeirError};
use crate::planner::{self, Errand};
use crate::quota::Call;
use crate::store::{Outlook, Prepared, Store, Ticket};
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// The upstream calls that one request may plan.
const MAX_PLANNED_CALLS: usize = 400;

/// One field's wants, by the order in which the fields asked: fields are admitted in that order, and two fields that
/// want the same meet at the desk, where it is counted.
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

enum Looked {
    Metrics(Prepared<alibaba_cams::PhoneNumberMetrics>),
    Distributions(Prepared<volcengine_rtc::OperationDistributions>),
}

/// Hands keys to the stores and counts what the request has planned so far.
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
        let mut keys = keys.to_vec();
        keys.sort_by_key(|key| key.id);
        let looked: Vec<(Key, Looked)> = keys
            .into_iter()
            .map(|key| {
                let looked = match &*key.wants {
                    Wants::Metrics(wants) => Looked::Metrics(self.stores.metrics.prepare(wants, &self.ask)),
                    Wants::Distributions(wants) => {
                        Looked::Distributions(self.stores.distributions.prepare(wants, &self.ask))
                    }
                };
                (key, looked)
            })
            .collect();
        let outlook = self.outlook(&looked);
        if self.ask.explain {
            self.plan.lock().unwrap_or_else(PoisonError::into_inner).add(outlook);
            return looked.into_iter().map(|(key, _)| (key, Gathered::Explained)).collect();
        }
        let too_expensive = self.count(outlook.new_calls).err().map(Arc::new);
        let mut errands = Vec::new();
        let gathered = looked
            .into_iter()
            .map(|(key, looked)| {
                let refusal = too_expensive.as_ref().filter(|_| looked.has_gaps());
                let gathered = match looked {
                    Looked::Metrics(field) => {
                        Gathered::Metrics(self.submit(&self.stores.metrics, field, refusal, &mut errands))
                    }
                    Looked::Distributions(field) => {
                        Gathered::Distributions(self.submit(&self.stores.distributions, field, refusal, &mut errands))
                    }
                };
                (key, gathered)
            })
            .collect();
        planner::spawn(errands);
        gathered
    }

    /// What all fields together would mean.
    fn outlook(&self, looked: &[(Key, Looked)]) -> Outlook {
        let metrics = looked.iter().filter_map(|(_, looked)| match looked {
            Looked::Metrics(field) => Some(field),
            Looked::Distributions(_) => None,
        });
        let distributions = looked.iter().filter_map(|(_, looked)| match looked {
            Looked::Distributions(field) => Some(field),
            Looked::Metrics(_) => None,
        });
        let mut outlook = self.stores.metrics.outlook(metrics, &self.ask);
        outlook.add(self.stores.distributions.outlook(distributions, &self.ask));
        outlook
    }

    /// Counts the calls that the request plans, this batch's included.
    fn count(&mut self, new_calls: usize) -> Result<(), WeirError> {
        let planned = self.planned + new_calls;
        if planned > MAX_PLANNED_CALLS {
            return Err(WeirError::new(
                Code::TooExpensive,
                format!(
                    "the request plans {planned} upstream calls, and {MAX_PLANNED_CALLS} are the most; ask for fewer \
                     windows, channels or applications at a time"
                ),
            ));
        }
        self.planned = planned;
        Ok(())
    }

    fn submit<O, C>(
        &self,
        store: &Arc<Store<O, C>>,
        field: Prepared<O>,
        refusal: Option<&Arc<WeirError>>,
        errands: &mut Vec<Errand>,
    ) -> Result<Ticket<O::Data>, Arc<WeirError>>
    where
        O: Operation,
        C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
    {
        if let Some(refusal) = refusal {
            return Err(Arc::clone(refusal));
        }
        let (ticket, more) = store.submit(field, &self.ask)?;
        errands.extend(more);
        Ok(ticket)
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
        self.gather(keys)
    }
}

impl Looked {
    fn has_gaps(&self) -> bool {
        match self {
            Self::Metrics(field) => field.has_gaps(),
            Self::Distributions(field) => field.has_gaps(),
        }
    }
}
