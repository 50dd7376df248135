//! Nobody calls a vendor without a [`Permit`], and only this module can make one.
//!
//! The rule, with its proof, is in `docs/quota.md`: N permits per (vendor, endpoint host, account identity,
//! operation), each back [`Rule::hold`] after the response head that proves the request's arrival, or `guard` later than
//! that when nothing proves it. [`Limiter`] keeps the permits, `queue` decides who is next, [`Metered`] is the only
//! way to a vendor's client, [`state_file`] carries the rule over a restart, [`agent`] shares the permits with replicas.

pub mod agent;
mod breaker;
mod budget;
mod elsewhere;
mod forecast;
pub mod lease;
mod limiter;
mod metered;
mod permit;
mod queue;
mod stamp;
pub mod state_file;
mod turns;

use std::future::Future;
use std::time::Duration;

pub use breaker::Breaker;
pub use limiter::{Limiter, QueueEntry, QuotaStatus};
pub use metered::{Audience, Metered};
pub use permit::{Ending, Expired, Permit};

use crate::domain::CallError;

/// One kind of upstream call. A call consumes its permit; a retry needs another.
pub trait Call: Send + Sync + 'static {
    /// What to ask the vendor.
    type Request: Clone + Send + Sync + 'static;
    /// The parsed and checked reply.
    type Answer: Send + 'static;

    /// Makes exactly one request.
    fn call(
        &self,
        request: &Self::Request,
        permit: Permit,
    ) -> impl Future<Output = Result<Self::Answer, CallError>> + Send;
}

/// How many permits there are and how long each is held after its call.
#[derive(Debug, Clone, Copy)]
pub struct Rule {
    /// Calls that the vendor allows in any second.
    pub permits: u32,
    /// How long after a response head a permit stays out: a second, and a margin for closed windows and clock drift.
    pub hold: Duration,
    /// How much later a request that we gave up on may still be counted by the vendor.
    pub guard: Duration,
}

impl Rule {
    /// A second and one percent (`docs/quota.md`, letter S).
    pub const HOLD: Duration = Duration::from_millis(1_010);

    /// The rule for `permits` calls a second.
    #[must_use]
    pub const fn per_second(permits: u32, guard: Duration) -> Self {
        Self { permits, hold: Self::HOLD, guard }
    }

    /// How long a permit stays out after a call whose arrival nothing proves.
    #[must_use]
    pub fn hold_unproven(&self) -> Duration {
        self.guard + self.hold
    }
}
