//! Those who wait for slices: who they are, what they are told, and when they leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, OnceLock};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::{Ask, Held};
use crate::error::WeirError;

/// What becomes of a slice that was waited for.
pub type Outcome<D> = Result<Arc<Held<D>>, Arc<WeirError>>;

/// One field that waits for slices. It leaves when its ticket is dropped, or at its own deadline.
#[derive(Debug)]
pub struct Subscriber {
    /// What it asked with.
    pub ask: Ask,
    /// When it began to wait.
    pub since: Instant,
    is_gone: AtomicBool,
    told: Notify,
}

impl Subscriber {
    /// Begins to wait now.
    #[must_use]
    pub fn new(ask: Ask) -> Arc<Self> {
        Arc::new(Self { ask, since: Instant::now(), is_gone: AtomicBool::new(false), told: Notify::new() })
    }

    /// Notes that nobody waits here any more.
    pub fn leave(&self) {
        self.is_gone.store(true, Ordering::Relaxed);
    }

    /// Whether it still waits at `now`.
    #[must_use]
    pub fn is_present(&self, now: Instant) -> bool {
        !self.is_gone.load(Ordering::Relaxed) && now < self.ask.deadline
    }
}

/// A slice that a call will bring.
#[derive(Debug)]
pub struct Pending<D>(Arc<Progress<D>>);

/// How far the call of a slice has come.
#[derive(Debug)]
struct Progress<D> {
    /// Whether the call has its permit.
    is_under_way: AtomicBool,
    /// What became of it; `None` if nobody will ever say.
    outcome: OnceLock<Option<Outcome<D>>>,
}

impl<D> Pending<D> {
    /// Whether its call waits for a permit.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        !self.0.is_under_way.load(Ordering::Acquire)
    }

    /// What `subscriber`, who was promised the slice, is told of it; `None` if nobody will ever say.
    pub async fn outcome(&self, subscriber: &Subscriber) -> Option<Outcome<D>> {
        loop {
            if let Some(outcome) = self.0.outcome.get() {
                return outcome.clone();
            }
            let mut told = std::pin::pin!(subscriber.told.notified());
            // Whatever is told from here on wakes us; what was told before is there.
            told.as_mut().enable();
            if self.0.outcome.get().is_none() {
                told.await;
            }
        }
    }
}

impl<D> Clone for Pending<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

/// Those who are told the same of one slice. Dropped before they are told anything, they are told that nobody will.
#[derive(Debug)]
pub(super) struct Subscribers<D> {
    members: Vec<Arc<Subscriber>>,
    pending: Pending<D>,
}

impl<D> Subscribers<D> {
    pub(super) fn new(is_under_way: bool) -> Self {
        let progress = Progress { is_under_way: AtomicBool::new(is_under_way), outcome: OnceLock::new() };
        Self { members: Vec::new(), pending: Pending(Arc::new(progress)) }
    }

    pub(super) fn members(&self) -> &[Arc<Subscriber>] {
        &self.members
    }

    pub(super) fn join(&mut self, subscriber: &Arc<Subscriber>) -> Pending<D> {
        self.members.push(Arc::clone(subscriber));
        self.pending.clone()
    }

    pub(super) fn note_under_way(&self, is_under_way: bool) {
        self.pending.0.is_under_way.store(is_under_way, Ordering::Release);
    }

    pub(super) fn tell(&self, outcome: &Outcome<D>) {
        self.end(Some(outcome.clone()));
    }

    fn end(&self, outcome: Option<Outcome<D>>) {
        if self.pending.0.outcome.set(outcome).is_ok() {
            self.members.iter().for_each(|subscriber| subscriber.told.notify_waiters());
        }
    }
}

impl<D> Drop for Subscribers<D> {
    fn drop(&mut self) {
        self.end(None);
    }
}
