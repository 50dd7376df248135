//! From gaps to calls, in three parts: `state` decides what is planned and when it takes off, and touches nothing else;
//! `tasks` wait for permits and make the calls; a [`Scheduler`] locks the one and starts the others.
//!
//! What is asked for, waits and is told is runs: neighbouring slices of one subject that share their fate, as one window. A
//! run is cut in two only where somebody wants a part of it, or a call brings one.
//!
//! [`plan`] decides which calls are the fewest, a [`Draft`] tells beforehand what submitting would mean, `flight` is a
//! call that has taken off, `subscriber` who waits and until when. A [`Command`] is the call that changes something, and
//! passes all of this by.

mod cells;
mod command;
mod draft;
mod flight;
mod group;
mod landed;
mod peers;
pub mod plan;
mod scheduler;
mod state;
mod subscriber;
mod tasks;
#[cfg(test)]
mod tests;
mod upstream;
mod wait;

use std::sync::Arc;
use std::time::Duration;

pub use command::Command;
pub use draft::{Draft, Proposal};
pub use landed::Landed;
pub use peers::{Claim, Peers};
pub use scheduler::Scheduler;
pub use subscriber::{Outcome, Pending, Subscriber, Told};
pub use tasks::Task;
pub(crate) use tasks::{beside, spawn};
pub(crate) use wait::{admit, admit_queued, no_permit};

use crate::domain::{Ask, Cut, Held, Operation, Slice, Timestamp, Window};
use crate::error::WeirError;

/// How long new gaps of a group gather at most while a call of the group is out.
const GATHER: Duration = Duration::from_millis(250);

/// More slices than these take milliseconds to look up, plan or keep: that is done [`beside`] the workers.
pub(crate) const MANY_SLICES: u64 = 2_000;

/// What the gaps of one plan share.
pub type GroupKey<S> = (S, Option<Window>);

/// A part of what was submitted: there already, or on its way.
#[derive(Debug)]
pub enum Found<D> {
    /// A slice that was fetched between two looks.
    Held(Arc<Held<D>>),
    /// Slices that a call will bring.
    Pending(Pending<D>),
}

/// All that was found of a run, in order of time.
pub type Parts<D> = Vec<Found<D>>;

/// Where a scheduler puts what calls brought, and looks once more before it plans one. Memory implements it.
pub trait SliceCache<O: Operation>: Send + Sync + 'static {
    /// The slices of a run that are held, each by itself or by the whole it is part of, and answer `ask` without a call.
    fn fresh(&self, run: &Slice<O::Subject>, ask: &Ask) -> Landed<O::Data>;

    /// Whether the slice itself is held, within its time to live.
    fn has_fresh(&self, slice: &Slice<O::Subject>) -> bool;

    /// How often what is held was changed: as long as it stays the same, what was not there is not there.
    fn epoch(&self) -> u64;

    /// Keeps what a call brought; an older result never replaces a newer one, and a settled slice is never replaced.
    /// Answers what is now held for each window.
    fn put(&self, subject: &O::Subject, cuts: Vec<Cut<O::Data>>, sent_at: Timestamp) -> Landed<O::Data>;

    /// Remembers for a while that the vendor refuses every call for this subject.
    fn refuse(&self, subject: &O::Subject, error: &Arc<WeirError>);
}
