//! Those who wait for slices: who they are, what they are told, and when they leave.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::sync::watch;
use tokio::time::Instant;

use crate::domain::{Ask, Held};
use crate::error::WeirError;

/// What becomes of a slice that was waited for.
pub type Outcome<D> = Result<Arc<Held<D>>, Arc<WeirError>>;

/// What is known of a slice that is waited for.
#[derive(Debug)]
pub enum News<D> {
    /// Its call waits for a permit.
    Queued,
    /// Its call has its permit.
    UnderWay,
    /// What became of it.
    Told(Outcome<D>),
}

/// Where news of a slice are found.
pub type Promise<D> = watch::Receiver<News<D>>;

impl<D> News<D> {
    /// What became of it, once that is known.
    #[must_use]
    pub fn outcome(&self) -> Option<&Outcome<D>> {
        match self {
            Self::Queued | Self::UnderWay => None,
            Self::Told(outcome) => Some(outcome),
        }
    }
}

/// One field that waits for slices. It leaves when its ticket is dropped, or at its own deadline.
#[derive(Debug)]
pub struct Waiter {
    /// What it asked with.
    pub ask: Ask,
    /// When it began to wait.
    pub since: Instant,
    is_gone: AtomicBool,
}

impl Waiter {
    /// Begins to wait now.
    #[must_use]
    pub fn new(ask: Ask) -> Arc<Self> {
        Arc::new(Self { ask, since: Instant::now(), is_gone: AtomicBool::new(false) })
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

/// Waiters who are told the same.
#[derive(Debug)]
pub(super) struct Cohort<D> {
    sender: watch::Sender<News<D>>,
    pub(super) waiters: Vec<Arc<Waiter>>,
}

impl<D> Cohort<D> {
    pub(super) fn new(news: News<D>) -> Self {
        Self { sender: watch::Sender::new(news), waiters: Vec::new() }
    }

    pub(super) fn join(&mut self, waiter: &Arc<Waiter>) -> Promise<D> {
        self.waiters.push(Arc::clone(waiter));
        self.sender.subscribe()
    }

    pub(super) fn note(&self, news: News<D>) {
        self.sender.send_replace(news);
    }

    pub(super) fn tell(&self, outcome: &Outcome<D>) {
        self.note(News::Told(outcome.clone()));
    }
}
