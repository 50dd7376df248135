//! From gaps to calls: [`plan`] decides which calls are the fewest, a [`Desk`] decides when they are made and who waits
//! for which, a [`Draft`] tells beforehand; `flight` is a call that has taken off, `waiter` who waits and until when. A
//! [`Command`] is the call that changes something, and passes all of this by.

mod command;
mod desk;
mod draft;
mod errand;
mod flight;
mod patience;
mod peers;
pub mod plan;
mod waiter;

use std::sync::Arc;

pub use command::Command;
pub use desk::{Desk, Found, GroupKey};
pub use draft::{Draft, Step};
pub use errand::Errand;
pub(crate) use errand::spawn;
pub(crate) use patience::{admit, no_permit};
pub use peers::{Claim, Peers};
pub use waiter::{News, Outcome, Promise, Waiter};

use crate::domain::{Ask, Cut, Held, Operation, Slice, Timestamp, Window};
use crate::error::WeirError;

/// Where a desk puts what calls brought, and looks once more before it plans one. Memory implements it.
pub trait Shelf<O: Operation>: Send + Sync + 'static {
    /// What is held for the slice, by itself or by the whole it is part of, and answers `ask` without a call.
    fn fresh(&self, slice: &Slice<O::Subject>, ask: &Ask) -> Option<Arc<Held<O::Data>>>;

    /// Whether the slice itself is held, within its time to live.
    fn has_fresh(&self, slice: &Slice<O::Subject>) -> bool;

    /// Keeps what a call brought; an older result never replaces a newer one, and a settled slice is never replaced.
    /// Answers what is now held for each window.
    fn put(
        &self,
        subject: &O::Subject,
        cuts: Vec<Cut<O::Data>>,
        sent_at: Timestamp,
    ) -> Vec<(Window, Arc<Held<O::Data>>)>;

    /// Remembers for a while that the vendor refuses every call for this subject.
    fn refuse(&self, subject: &O::Subject, error: &Arc<WeirError>);
}
