//! What all requests are answered from.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::catalog::Catalog;
use super::controls::Controls;
use super::quota::Quota;
use super::request::Request;
use super::reuse::Lasting;
use crate::domain::{Ask, Caller, Clock, RequestCost};
use crate::loader::{Loader, Stores};

/// What one request may take.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// How long it waits for its permits, if it does not say so itself.
    pub max_wait: Duration,
    /// How long a call may take, from its first byte to the end of the reply.
    pub timeout: Duration,
    /// The slices that it may ask for.
    pub slices: u64,
}

/// What all requests are answered from. Cheap to clone.
#[derive(Clone)]
pub struct Service {
    stores: Arc<Stores>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    limits: Limits,
}

impl Service {
    /// Answers from `stores` for what `catalog` names.
    #[must_use]
    pub fn new(stores: Arc<Stores>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>, limits: Limits) -> Self {
        Self { stores, catalog, clock, limits }
    }

    /// A request that begins now.
    #[must_use]
    pub fn request(&self, caller: Caller, controls: &Controls) -> Request {
        // What is held changes while the request runs, too.
        let epoch = self.stores.epoch();
        let max_wait = controls.max_wait.unwrap_or(self.limits.max_wait);
        let ask = Ask {
            caller,
            at: self.clock.now(),
            class: controls.priority,
            deadline: Instant::now() + max_wait + self.limits.timeout,
            max_wait,
            max_stale: controls.max_stale,
            freshness: controls.freshness,
            explain: controls.explain,
            cost: Arc::new(RequestCost::default()),
        };
        let loader = Loader::new(Arc::clone(&self.stores), ask, self.limits.slices);
        Request::new(loader, Arc::clone(&self.catalog), epoch)
    }

    /// Whether an answer would be given again if the same request were run now.
    #[must_use]
    pub fn still_holds(&self, lasting: &Lasting) -> bool {
        lasting.holds(self.stores.epoch(), Instant::now(), self.clock.now())
    }

    /// The permits of every operation of every configured account, as they are now.
    pub fn quotas(&self) -> impl Iterator<Item = Quota<'_>> {
        Quota::all(&self.catalog, &self.stores)
    }
}

impl std::fmt::Debug for Service {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Service").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
