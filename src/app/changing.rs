//! What of a config can change while requests are answered.

use std::sync::Arc;

use crate::access::{Access, AccessError, Policy};
use crate::config::Config;
use crate::query::Limits;
use crate::schema::Gateway;

/// What of a config can change while requests are answered: who is let in, and what one request may take.
#[derive(Debug)]
pub struct Changing {
    pub(super) gateway: Gateway,
    pub(super) access: Arc<Access>,
}

/// What is to take its place.
#[derive(Debug)]
pub struct Changed {
    policy: Policy,
    limits: Limits,
    answer_bytes: usize,
}

impl Changing {
    /// Reads what is to take its place; nothing is changed yet.
    ///
    /// # Errors
    /// An issuer's keys that cannot be read.
    pub fn read(&self, config: &Config) -> Result<Changed, AccessError> {
        let policy = self.access.read(config)?;
        // Waits and calls go on as they were set up.
        let Limits { max_wait, bulk_max_wait, timeout, call_rows, .. } = self.gateway.service().limits();
        let limits = Limits { max_wait, bulk_max_wait, timeout, call_rows, ..limits(config) };
        Ok(Changed { policy, limits, answer_bytes: answer_bytes(config) })
    }

    /// Puts it in place, whole.
    pub fn put(&self, changed: Changed) {
        self.access.replace(changed.policy);
        self.gateway.service().set_limits(changed.limits);
        self.gateway.set_answer_bytes(changed.answer_bytes);
    }
}

/// What one request may take.
pub(super) fn limits(config: &Config) -> Limits {
    Limits {
        max_wait: config.queue.max_wait,
        timeout: config.upstream.timeout,
        bulk_max_wait: config.queue.bulk_max_wait,
        slices: u64::from(config.limits.slices),
        calls: usize::try_from(config.limits.calls).unwrap_or(usize::MAX),
        pull_calls: usize::try_from(config.limits.pull_calls).unwrap_or(usize::MAX),
        shadow: config.limits.shadow.iter().copied().collect(),
        call_rows: u64::from(config.upstream.max_rows),
    }
}

/// The longest answer, in bytes.
pub(super) fn answer_bytes(config: &Config) -> usize {
    usize::try_from(config.limits.answer_bytes).unwrap_or(usize::MAX)
}
