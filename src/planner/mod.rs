//! From gaps to calls: [`plan`] decides which calls are the fewest, a [`Desk`] decides when they are made and who waits
//! for which, [`flight`] holds those who wait.

mod desk;
mod errand;
mod flight;
mod peers;
pub mod plan;

use std::sync::Arc;

pub use desk::GroupKey;
pub use desk::{Desk, Forecast, Found};
pub use errand::{Command, Errand};
pub(crate) use errand::{admit, spawn};
pub use flight::{Outcome, Promise, Waiter};
pub use peers::{Claim, Peers};

use crate::domain::{Cut, Held, Operation, Slice, Timestamp, Window};
use crate::error::WeirError;

/// Where a desk puts what calls brought, and looks once more before it plans one. Memory implements it.
pub trait Shelf<O: Operation>: Send + Sync + 'static {
    /// What is held of the slice and may be served without a call.
    fn fresh(&self, slice: &Slice<O::Subject>) -> Option<Arc<Held<O::Data>>>;

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
