//! The right to make exactly one call, and how that call ended.

use std::sync::Arc;

use tokio::time::Instant;

use super::lease::Lease;

/// How a call ended, as far as the vendor's counting is concerned.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// No byte left: the permit comes back at once.
    NotWritten,
    /// A complete response head was read at this instant: the request has arrived before it.
    HeadRead(Instant),
    /// A byte may have left, and nothing proves when it arrives.
    Unknown,
}

/// The right to make exactly one call. Its end is noted when it is dropped, whatever happened in between: a dropped
/// future, a panic and a cancelled task count as [`Ending::Unknown`] once a byte may have left.
#[derive(Debug)]
pub struct Permit {
    ending: Ending,
    granted_at: Instant,
    slot: Slot,
    on_end: Arc<dyn Ledger>,
}

/// What stands behind a permit: a lease, or nothing where this process is alone on the account.
pub(super) type Slot = Option<Lease>;

/// The permit was granted too long ago to be used; nothing was written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the permit was not used in time")]
pub struct Expired;

/// Where permits come back to.
pub(super) trait Ledger: Send + Sync + std::fmt::Debug {
    fn ended(self: Arc<Self>, ending: Ending, granted_at: Instant, slot: Slot);
}

/// Answers of a proxy in between: they do not prove that the request has arrived at the vendor.
const PROXY_STATUSES: [u16; 4] = [408, 499, 502, 504];

impl Permit {
    pub(super) fn issue(on_end: Arc<dyn Ledger>, granted_at: Instant, slot: Slot) -> Self {
        Self { ending: Ending::NotWritten, granted_at, slot, on_end }
    }

    /// A permit that nobody counts, for unit tests of the rooms.
    #[cfg(test)]
    pub(crate) fn uncounted() -> Self {
        #[derive(Debug)]
        struct Nowhere;
        impl Ledger for Nowhere {
            fn ended(self: Arc<Self>, _: Ending, _: Instant, _: Slot) {}
        }
        Self::issue(Arc::new(Nowhere), Instant::now(), None)
    }

    /// How it would end if it were dropped now.
    #[cfg(test)]
    pub(crate) fn ending(&self) -> Ending {
        self.ending
    }

    /// From now on a byte may have left. Called directly before the transport is handed the request, when the time for
    /// the whole exchange is running already.
    ///
    /// # Errors
    /// [`Expired`] if the permit may not be used any more: then nothing may be written.
    pub fn begin_write(&mut self) -> Result<(), Expired> {
        if self.slot.is_some_and(|lease| lease.is_expired()) {
            return Err(Expired);
        }
        self.ending = Ending::Unknown;
        Ok(())
    }

    /// No connection was made, so nothing was written.
    pub fn not_written(&mut self) {
        self.ending = Ending::NotWritten;
    }

    /// A complete response head with this status was read just now.
    pub fn head_read(&mut self, status: u16) {
        if !PROXY_STATUSES.contains(&status) {
            self.ending = Ending::HeadRead(Instant::now());
        }
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        Arc::clone(&self.on_end).ended(self.ending, self.granted_at, self.slot);
    }
}
