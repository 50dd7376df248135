//! `Dataset` and `Quota`: what the vendors promise, and how much of it is used.

use async_graphql::SimpleObject;

use super::scalars::{IsoDuration, Long, Vendor};
use crate::domain::Facts;
use crate::query;

/// What is known of one upstream operation.
#[derive(Debug, SimpleObject)]
pub(super) struct Dataset {
    /// The name under which its rows are offered.
    pub name: String,
    /// The vendor that offers it.
    pub vendor: Vendor,
    /// The vendor's name for it.
    pub operation: String,
    /// Published calls a second.
    pub limit_per_second: i32,
    /// The longest window of one call; null if the vendor documents none.
    pub max_window: Option<IsoDuration>,
    /// How far back the vendor answers; null if it documents none.
    pub lookback: Option<IsoDuration>,
    /// How long after a window's end the vendor may still change it, as configured.
    pub settle: IsoDuration,
    /// Whether its numbers may be summed over windows.
    pub additive: bool,
}

/// The permits of one operation of one account.
#[derive(Debug, SimpleObject)]
pub(super) struct Quota {
    /// The vendor that counts.
    pub vendor: Vendor,
    /// The configured account.
    pub account: String,
    /// The operation that is counted.
    pub operation: String,
    /// Calls a second that weir makes at most.
    pub limit_per_second: i32,
    /// Calls a second that are used of it: fewer for a while after throttles that weir did not cause.
    pub budget_per_second: i32,
    /// Permits that could be given at once.
    pub available: i32,
    /// Calls that wait for a permit.
    pub queued: i32,
    /// How long the next interactive call would wait for its permit, in milliseconds.
    pub estimated_wait_ms: Long,
    /// Calls that the vendor throttled since the start: somebody else uses the account.
    pub throttled_total: Long,
}

impl Dataset {
    pub(super) fn new(facts: &Facts, settle: std::time::Duration) -> Self {
        Self {
            name: facts.dataset.to_owned(),
            vendor: facts.vendor.into(),
            operation: facts.operation.to_owned(),
            limit_per_second: count(facts.calls_per_second as usize),
            max_window: facts.max_window.map(IsoDuration),
            lookback: facts.lookback.map(IsoDuration),
            settle: IsoDuration(settle),
            additive: facts.additive,
        }
    }
}

impl Quota {
    pub(super) fn new(quota: &query::Quota<'_>) -> Self {
        let query::Quota { account, operation, permits, status, .. } = quota;
        Self {
            vendor: account.vendor().into(),
            account: account.name().to_owned(),
            operation: (*operation).to_owned(),
            limit_per_second: count(*permits as usize),
            budget_per_second: count(status.budget),
            available: count(status.available),
            queued: count(status.queued),
            estimated_wait_ms: Long::from(u64::try_from(status.expected_wait.as_millis()).unwrap_or(u64::MAX)),
            throttled_total: Long::from(status.throttled_total),
        }
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
