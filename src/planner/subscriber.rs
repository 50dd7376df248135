//! Those who wait for slices: who they are, what they are told, and when they leave.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use super::landed::Landed;
use crate::domain::{Ask, Window};
use crate::error::WeirError;

/// What becomes of slices that were waited for: where they are among what came to be held, or why they are not.
pub type Outcome<D> = Result<Landed<D>, Arc<WeirError>>;

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

/// A run of slices that calls will bring.
#[derive(Debug)]
pub struct Pending<D> {
    window: Window,
    progress: Arc<Progress<D>>,
}

/// How far the calls of a run have come, part by part: it may have been cut since, and each part has its own call.
#[derive(Debug)]
struct Progress<D>(Mutex<Vec<Told<D>>>);

/// What some slices of a run are told.
#[derive(Debug)]
pub struct Told<D> {
    /// The span of the slices.
    pub window: Window,
    /// Whether their call has its permit.
    pub is_under_way: bool,
    /// What became of it, as soon as anybody was told: `Some(None)` if nobody will ever say.
    pub told: Option<Option<Outcome<D>>>,
}

impl<D> Pending<D> {
    /// The span of the slices.
    #[must_use]
    pub fn window(&self) -> Window {
        self.window
    }

    /// Whether a call of them waits for a permit.
    #[must_use]
    pub fn is_queued(&self) -> bool {
        self.any(|part| !part.is_under_way)
    }

    fn any(&self, mut is_it: impl FnMut(&Told<D>) -> bool) -> bool {
        self.progress.parts().iter().any(|part| part.window.overlaps(self.window) && is_it(part))
    }

    /// How far they are, in order of time.
    #[must_use]
    pub fn parts(&self) -> Vec<Told<D>> {
        let parts = self.progress.parts();
        let own = |part: &Told<D>| Some(Told { window: part.window.intersection(self.window)?, ..part.clone() });
        parts.iter().filter_map(own).collect()
    }

    /// What `subscriber`, who was promised the slices, is told of them, part by part.
    pub async fn outcome(&self, subscriber: &Subscriber) -> Vec<Told<D>> {
        loop {
            let mut told = std::pin::pin!(subscriber.told.notified());
            // Whatever is told from here on wakes us; what was told before is there.
            told.as_mut().enable();
            if self.any(|part| part.told.is_none()) {
                told.await;
            } else {
                return self.parts();
            }
        }
    }
}

impl<D> Progress<D> {
    fn parts(&self) -> MutexGuard<'_, Vec<Told<D>>> {
        // Every change is whole before the lock is let go.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Changes the parts of a span.
    fn change(&self, span: Window, change: impl FnMut(&mut Told<D>)) {
        let mut parts = self.parts();
        for at in [span.start(), span.end()] {
            let n = parts.partition_point(|part| part.window.end() <= at);
            let Some(part) = parts.get_mut(n) else { continue };
            let Some((before, after)) = part.window.split_at(at) else { continue };
            let rest = Told { window: after, ..part.clone() };
            part.window = before;
            parts.insert(n + 1, rest);
        }
        let first = parts.partition_point(|part| part.window.start() < span.start());
        parts.iter_mut().skip(first).take_while(|part| span.covers(part.window)).for_each(change);
    }
}

impl<D> Clone for Told<D> {
    fn clone(&self) -> Self {
        Self { told: self.told.clone(), ..*self }
    }
}

/// Those who are told the same of a run of slices. Dropped before they are told anything, they are told that nobody will.
#[derive(Debug)]
pub(super) struct Subscribers<D> {
    window: Window,
    members: Vec<Arc<Subscriber>>,
    progress: Arc<Progress<D>>,
}

impl<D> Subscribers<D> {
    pub(super) fn new(window: Window, is_under_way: bool) -> Self {
        let progress = Progress(Mutex::new(vec![Told { window, is_under_way, told: None }]));
        Self { window, members: Vec::new(), progress: Arc::new(progress) }
    }

    pub(super) fn members(&self) -> &[Arc<Subscriber>] {
        &self.members
    }

    pub(super) fn join(&mut self, subscriber: &Arc<Subscriber>) -> Pending<D> {
        self.members.push(Arc::clone(subscriber));
        Pending { window: self.window, progress: Arc::clone(&self.progress) }
    }

    /// The same of `after`, which these are told no more: of `before` alone.
    pub(super) fn split_off(&mut self, before: Window, after: Window) -> Self {
        self.window = before;
        Self { window: after, members: self.members.clone(), progress: Arc::clone(&self.progress) }
    }

    pub(super) fn note_under_way(&self, is_under_way: bool) {
        self.progress.change(self.window, |part| part.is_under_way = is_under_way);
    }

    pub(super) fn tell(&self, outcome: &Outcome<D>) {
        self.end(Some(outcome));
    }

    fn end(&self, outcome: Option<&Outcome<D>>) {
        let mut is_news = false;
        self.progress.change(self.window, |part| {
            is_news |= part.told.is_none();
            part.told.get_or_insert_with(|| outcome.cloned());
        });
        if is_news {
            self.members.iter().for_each(|subscriber| subscriber.told.notify_waiters());
        }
    }
}

impl<D> Drop for Subscribers<D> {
    fn drop(&mut self) {
        self.end(None);
    }
}
