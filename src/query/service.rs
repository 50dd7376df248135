//! What all requests are answered from.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::catalog::Catalog;
use super::collections::Collections;
use super::controls::Controls;
use super::quota::Quota;
use super::request::Request;
use super::reuse::Lasting;
use crate::archive::{Standing, Writer};
use crate::domain::{Ask, Caller, Class, Clock, Facts, Live, Mask, RequestCost, Shadow, Timestamp};
use crate::error::WeirError;
use crate::loader::{Loader, Most, Stores};
use crate::telemetry::meters::{CacheReading, Meters};
use crate::telemetry::traces::Traces;

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it waits for its permits, if it does not say so itself.
    pub max_wait: Duration,
    /// The same for pulls of rows.
    pub bulk_max_wait: Duration,
    /// How long a call may take, from its first byte to the end of the reply.
    pub timeout: Duration,
    /// The slices that it may ask for.
    pub slices: u64,
    /// The upstream calls that it may plan.
    pub calls: usize,
    /// The upstream calls of one pull of rows.
    pub pull_calls: usize,
    /// The limits that are only counted.
    pub shadow: Shadow,
    /// The rows that one call is expected to bring at most.
    pub call_rows: u64,
}

impl Limits {
    fn of_loader(&self) -> Most {
        Most { slices: self.slices, calls: self.calls, shadow: self.shadow }
    }
}

/// What all requests are answered from. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    stores: Arc<Stores>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    limits: Arc<Live<Limits>>,
    collections: Arc<Collections>,
    archive: Option<Writer>,
    mask: Arc<Mask>,
    meters: Arc<Meters>,
    traces: Option<Arc<Traces>>,
}

impl Service {
    /// Answers from `stores` for what `catalog` names.
    #[must_use]
    pub fn new(
        stores: Arc<Stores>,
        catalog: Arc<Catalog>,
        clock: Arc<dyn Clock>,
        limits: Limits,
        meters: Arc<Meters>,
    ) -> Self {
        let (limits, collections, mask) = (Arc::new(Live::new(limits)), Arc::default(), Arc::default());
        Self { stores, catalog, clock, limits, collections, archive: None, mask, meters, traces: None }
    }

    /// The same, where what is fetched is written to an archive, if there is one.
    #[must_use]
    pub fn archiving(self, archive: Option<Writer>) -> Self {
        Self { archive, ..self }
    }

    /// The same, where phone numbers are masked so.
    #[must_use]
    pub fn masking(self, mask: Mask) -> Self {
        Self { mask: Arc::new(mask), ..self }
    }

    /// The same, where requests are followed for a collector, if there is one.
    #[must_use]
    pub fn traced(self, traces: Option<Arc<Traces>>) -> Self {
        Self { traces, ..self }
    }

    /// Where requests are followed, if they are.
    #[must_use]
    pub fn traces(&self) -> Option<&Arc<Traces>> {
        self.traces.as_ref()
    }

    /// From now on requests may take so much: those of all clones.
    pub fn set_limits(&self, limits: Limits) {
        self.limits.set(limits);
    }

    /// What is counted while requests are answered.
    #[must_use]
    pub fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// A request that begins now, with what it costs counted in `cost`, which is made [of](RequestCost::of) its caller.
    ///
    /// # Errors
    /// [`Code::Forbidden`](crate::error::Code::Forbidden) if the caller may not ask in its class.
    pub fn request(&self, caller: Caller, controls: &Controls, cost: Arc<RequestCost>) -> Result<Request, WeirError> {
        let max_wait = controls.max_wait.unwrap_or(self.limits().max_wait);
        let class = controls.class(&caller, Class::Interactive)?;
        Ok(self.request_within(caller, class, controls, controls.explain, max_wait, cost))
    }

    /// A request of weir's own, in class BACKGROUND.
    #[must_use]
    pub fn own_request(&self, controls: &Controls) -> Request {
        let max_wait = controls.max_wait.unwrap_or(self.limits().max_wait);
        self.request_within(Caller::Own, Class::Background, controls, controls.explain, max_wait, Arc::default())
    }

    /// The same, with what is left of a longer patience, and what it costs counted elsewhere.
    pub(super) fn request_within(
        &self,
        caller: Caller,
        class: Class,
        controls: &Controls,
        explain: bool,
        max_wait: Duration,
        cost: Arc<RequestCost>,
    ) -> Request {
        // What is held changes while the request runs, too.
        let epoch = self.stores.epoch();
        let limits = self.limits();
        let ask = Ask {
            caller,
            at: self.clock.now(),
            class,
            deadline: Instant::now() + max_wait + limits.timeout,
            max_wait,
            max_stale: controls.max_stale,
            freshness: controls.freshness,
            fetched_since: controls.fetched_since,
            explain,
            cost,
        };
        let loader = Loader::new(Arc::clone(&self.stores), ask, limits.of_loader());
        let (catalog, collections) = (Arc::clone(&self.catalog), Arc::clone(&self.collections));
        Request::new(loader, catalog, collections, Arc::clone(&self.mask), epoch)
    }

    /// What is collected, and how far that is.
    #[must_use]
    pub fn collections(&self) -> &Collections {
        &self.collections
    }

    /// How the writing to the archive goes; `None` without one.
    #[must_use]
    pub fn writing(&self) -> Option<Standing> {
        self.archive.as_ref().map(Writer::standing)
    }

    /// The present instant.
    #[must_use]
    pub fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// What one request may take.
    #[must_use]
    pub fn limits(&self) -> Limits {
        self.limits.get()
    }

    /// What answers.
    pub(super) fn stores(&self) -> &Stores {
        &self.stores
    }

    /// What is configured.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// The upstream calls that one pull of rows may take.
    #[must_use]
    pub fn pull_calls(&self) -> usize {
        self.limits().pull_calls
    }

    /// What is known of each upstream operation that answers rows, and how long its vendor may still change them.
    #[must_use]
    pub fn sources(&self) -> Vec<(&'static Facts, Duration)> {
        self.stores.datasets()
    }

    /// How the memory of each upstream operation stands.
    #[must_use]
    pub fn caches(&self) -> Vec<(&'static str, CacheReading)> {
        self.stores.readings()
    }

    /// Whether an answer would be given again if the same request were run now.
    #[must_use]
    pub fn still_holds(&self, lasting: &Lasting) -> bool {
        lasting.holds(self.stores.epoch(), Instant::now(), self.clock.now())
    }

    /// The permits of every operation of every configured account, as they are now; waits are those of somebody who shows
    /// no key.
    pub fn quotas(&self) -> impl Iterator<Item = Quota<'_>> {
        Quota::all(&self.catalog, &self.stores, Caller::default())
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
