//! What the log is told of a series, once each.

use crate::query::collections::{Name, Progress};

/// What the log was told of a series since this process began.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether anything was due so far.
    was_due: bool,
    is_filled: bool,
    is_lost: bool,
}

impl Told {
    /// Tells what is new.
    pub(super) fn tell(&mut self, name: &Name, progress: &Progress) {
        let (dataset, account, entity) = (name.dataset.as_str(), name.account.as_str(), name.entity.as_deref());
        let (kind, missing) = (&name.kind, progress.missing);
        if !self.is_lost && missing > 0 {
            self.is_lost = true;
            tracing::warn!(dataset, account, entity, %kind, missing, "the vendor forgot windows of the series before they were collected");
        }
        self.was_due |= progress.due > 0;
        if !self.is_filled && self.was_due && progress.due == 0 {
            self.is_filled = true;
            let (windows, kept) = (progress.windows, progress.finals + progress.provisional);
            tracing::info!(dataset, account, entity, %kind, windows, kept, "the series is filled");
        }
    }
}
