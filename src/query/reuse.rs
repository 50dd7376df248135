//! Until when an answer may be given again to the same request: pure book-keeping.
//!
//! An answer is made of held data, of the request's instant and of the configuration. It stays what it is as long as
//! nothing new is held (the epoch), none of its data is past its time to live, and the instant means the same to all
//! that was derived from it. Whatever else an answer shows, live numbers, errors, stale data or the cost of a call, is
//! never given again.

use std::sync::{Mutex, PoisonError};

use tokio::time::Instant;

use crate::domain::Timestamp;

/// How often held data was changed, over all stores: it only grows.
pub(super) type Epoch = u64;

/// Until when an answer holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Lasting {
    pub(super) epoch: Epoch,
    fresh_until: Option<Instant>,
    from: Timestamp,
    until: Option<Timestamp>,
}

impl Lasting {
    /// Whether the answer still holds.
    pub(super) fn holds(&self, epoch: Epoch, now: Instant, at: Timestamp) -> bool {
        self.epoch == epoch
            && self.fresh_until.is_none_or(|until| now < until)
            // A clock that was set back means other hours, too.
            && self.from <= at
            && self.until.is_none_or(|until| at < until)
    }
}

/// Gathers while a request runs; the shortest of everything counts.
#[derive(Debug)]
pub(super) struct Reuse(Mutex<Option<Lasting>>);

impl Reuse {
    /// `epoch` is that of before anything was looked up.
    pub(super) fn new(epoch: Epoch, at: Timestamp) -> Self {
        Self(Mutex::new(Some(Lasting { epoch, fresh_until: None, from: at, until: None })))
    }

    /// The answer shows something that is true only now.
    pub(super) fn forbid(&self) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = None;
    }

    /// The answer shows data that is fresh until then; `None` for ever.
    pub(super) fn note_fresh_until(&self, until: Option<Instant>) {
        self.shorten(|lasting| lasting.fresh_until = earlier(lasting.fresh_until, until));
    }

    /// The answer depends on the request's instant, which means something else from then on.
    pub(super) fn note_until(&self, until: Timestamp) {
        self.shorten(|lasting| lasting.until = earlier(lasting.until, Some(until)));
    }

    /// What has been gathered.
    pub(super) fn lasting(&self) -> Option<Lasting> {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn shorten(&self, change: impl FnOnce(&mut Lasting)) {
        if let Some(lasting) = self.0.lock().unwrap_or_else(PoisonError::into_inner).as_mut() {
            change(lasting);
        }
    }
}

fn earlier<T: Ord>(one: Option<T>, other: Option<T>) -> Option<T> {
    match (one, other) {
        (Some(one), Some(other)) => Some(one.min(other)),
        (one, other) => one.or(other),
    }
}
