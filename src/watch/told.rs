//! What the log is told of a series, once each.

use crate::query::collections::{Name, Progress};

/// What the log was told of a series since this process began.
#[derive(Debug, Default)]
pub(super) struct Told {
    /// Whether anything was due so far.
    was_due: bool,
    is_filled: bool,
    /// The windows that were missing at first.
    missing: Option<usize>,
    is_lost: bool,
}

impl Told {
    /// Tells what is new; `gaps` are those that are missing between what is kept.
    pub(super) fn tell(&mut self, name: &Name, progress: &Progress, gaps: usize) {
        let (dataset, account, entity) = (name.dataset.as_str(), name.account.as_str(), name.entity.as_deref());
        let (kind, missing) = (&name.kind, progress.missing);
        // What the vendor had forgotten before anything was collected is no loss: it is all that it still has.
        if self.missing.is_none() && missing > gaps {
            let before = missing - gaps;
            tracing::info!(dataset, account, entity, %kind, windows = before, "the vendor no longer has the oldest windows of the series");
        }
        let at_first = *self.missing.get_or_insert(missing);
        if !self.is_lost && (gaps > 0 || missing > at_first) {
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
