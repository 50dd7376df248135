//! What a request wants of the store beside its keys, and what it cost.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::budget::Charge;
use super::steps::{Follower, Step};
use super::{Caller, Class, Timestamp, Vendor};

/// Which answers will do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum Freshness {
    /// All of them; each says how final it is.
    #[default]
    Any,
    /// Only those that the vendor will not change any more.
    FinalOnly,
}

/// What one request wants of the store, beside the keys.
#[derive(Debug, Clone)]
pub struct Ask {
    /// Who asks.
    pub caller: Caller,
    /// The wall clock's time of the request: everything in it is judged by one instant.
    pub at: Timestamp,
    /// How urgent it is.
    pub class: Class,
    /// When the caller stops waiting: arrival + `max_wait` + `timeout`.
    pub deadline: Instant,
    /// The longest wait for permits that is worth admitting.
    pub max_wait: Duration,
    /// How far past its time to live an answer may be served, if less than configured; zero forbids it.
    pub max_stale: Option<Duration>,
    /// Which answers will do.
    pub freshness: Freshness,
    /// What may still change must have been asked for after this instant.
    pub fetched_since: Option<Timestamp>,
    /// Whether only the plan is wanted, and nothing is to be run.
    pub explain: bool,
    /// What the request really cost, counted as it happens.
    pub cost: Arc<RequestCost>,
}

/// What one request really cost; `extensions.weir` shows it.
#[derive(Debug, Default)]
pub struct RequestCost {
    calls: [AtomicU64; Vendor::ALL.len()],
    cache_hits: AtomicU64,
    collapsed: AtomicU64,
    queue_wait_ms: AtomicU64,
    charge: Charge,
    made: Mutex<Vec<Made>>,
    follower: OnceLock<Arc<dyn Follower>>,
}

/// Attempts of one kind of call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Made {
    /// Whom they asked.
    pub vendor: Vendor,
    /// The vendor's name for what was asked.
    pub operation: &'static str,
    /// How many there were.
    pub calls: u64,
}

impl RequestCost {
    /// What a request costs that is charged to its caller.
    #[must_use]
    pub fn of(caller: &Caller) -> Self {
        Self { charge: Charge::to(caller.budget().cloned()), ..Self::default() }
    }

    /// What the caller's calls of the day are charged by.
    #[must_use]
    pub fn charge(&self) -> &Charge {
        &self.charge
    }

    /// From now on `follower` is told what is done for the request.
    pub fn follow(&self, follower: Arc<dyn Follower>) {
        self.follower.get_or_init(|| follower);
    }

    /// A step is over; it is told to whoever follows the request.
    pub fn took(&self, step: &Step<'_>) {
        if let Some(follower) = self.follower.get() {
            follower.took(step);
        }
    }

    /// One attempt to call an operation was started for this request.
    pub fn count_call(&self, vendor: Vendor, operation: &'static str) {
        self.charge.note_call();
        self.calls[vendor as usize].fetch_add(1, Ordering::Relaxed);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        match made.iter_mut().find(|made| made.vendor == vendor && made.operation == operation) {
            Some(made) => made.calls += 1,
            None => made.push(Made { vendor, operation, calls: 1 }),
        }
    }

    /// `n` slices or windows were answered from memory.
    pub fn count_hits(&self, n: usize) {
        self.cache_hits.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// `n` slices or windows were answered by a call of somebody else.
    pub fn count_collapsed(&self, n: usize) {
        self.collapsed.fetch_add(n as u64, Ordering::Relaxed);
    }

    /// A call waited this long for its permit; the longest counts.
    pub fn note_queue_wait(&self, wait: Duration) {
        self.queue_wait_ms.fetch_max(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX), Ordering::Relaxed);
    }

    /// Attempts started for `vendor`.
    #[must_use]
    pub fn calls(&self, vendor: Vendor) -> u64 {
        self.calls[vendor as usize].load(Ordering::Relaxed)
    }

    /// Attempts started for any vendor.
    #[must_use]
    pub fn all_calls(&self) -> u64 {
        Vendor::ALL.iter().map(|vendor| self.calls(*vendor)).sum()
    }

    /// Attempts by what they called, in the order of the first of each.
    #[must_use]
    pub fn made(&self) -> Vec<Made> {
        self.made.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Slices and windows answered from memory.
    #[must_use]
    pub fn cache_hits(&self) -> u64 {
        self.cache_hits.load(Ordering::Relaxed)
    }

    /// Slices and windows answered by somebody else's call.
    #[must_use]
    pub fn collapsed(&self) -> u64 {
        self.collapsed.load(Ordering::Relaxed)
    }

    /// The longest wait for a permit, in milliseconds.
    #[must_use]
    pub fn queue_wait_ms(&self) -> u64 {
        self.queue_wait_ms.load(Ordering::Relaxed)
    }
}
