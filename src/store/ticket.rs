//! What a field holds while its slices are fetched.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Account, Held, Source};
use crate::error::{Code, WeirError};
use crate::planner::{self, Pending, Subscriber};

/// One slice as it is served.
#[derive(Debug)]
pub struct Served<D> {
    /// What is held.
    pub held: Arc<Held<D>>,
    /// Where it came from for this ask.
    pub source: Source,
}

/// What became of one slice.
#[derive(Debug)]
pub struct Answered<D> {
    /// The index of the want it belongs to.
    pub want: usize,
    /// It is there, or it has failed alone.
    pub outcome: Result<Served<D>, Arc<WeirError>>,
}

/// The slices of a field in the order of its wants.
pub type Series<D> = Vec<Answered<D>>;

#[derive(Debug)]
pub(super) enum Part<D> {
    Ready(Result<Served<D>, Arc<WeirError>>),
    Pending { account: Account, pending: Pending<D>, fallback: Option<Arc<Held<D>>> },
}

/// A shared future of a field's slices. When its last clone is dropped before they are all there, the field no longer
/// waits for them.
pub struct Ticket<D>(Arc<Shared<D>>);

struct Shared<D> {
    parts: Vec<(usize, Part<D>)>,
    subscriber: Arc<Subscriber>,
    is_done: AtomicBool,
    queue: Box<dyn Queue>,
}

/// Where the calls of a ticket wait for their permits.
pub(super) trait Queue: Send + Sync {
    /// How long a new ask like the ticket's would wait for its permit.
    fn expected_wait(&self, account: &Account) -> Duration;
    /// The ticket waits no more.
    fn leave(&self);
}

impl<D> Ticket<D> {
    pub(super) fn new(parts: Vec<(usize, Part<D>)>, subscriber: Arc<Subscriber>, queue: Box<dyn Queue>) -> Self {
        Self(Arc::new(Shared { parts, subscriber, is_done: AtomicBool::new(false), queue }))
    }

    /// Waits for every slice, at most until the ask's deadline. Where the vendor fails, a stale answer is served if
    /// there is one.
    pub async fn wait(&self) -> Series<D> {
        let mut series = Vec::with_capacity(self.0.parts.len());
        for (want, part) in &self.0.parts {
            let outcome = match part {
                Part::Ready(Ok(served)) => Ok(served.clone()),
                Part::Ready(Err(error)) => Err(Arc::clone(error)),
                Part::Pending { account, pending, fallback } => {
                    match (self.0.outcome(account, pending).await, fallback) {
                        (Err(error), Some(held)) if leaves_standing(&error) => Ok(Served::stale(Arc::clone(held))),
                        (outcome, _) => outcome,
                    }
                }
            };
            series.push(Answered { want: *want, outcome });
        }
        // Whoever waited in vain has to leave what is still queued.
        self.0.is_done.store(Instant::now() < self.0.subscriber.ask.deadline, Ordering::Relaxed);
        series
    }
}

/// Whether what the vendor said before still stands: it failed, or it no longer answers that far back. A refusal takes
/// it away.
fn leaves_standing(error: &WeirError) -> bool {
    match error.code {
        Code::OutOfRetention
        | Code::VendorThrottled
        | Code::VendorUnavailable
        | Code::VendorTimeout
        | Code::VendorBadReply
        | Code::QuotaWaitTooLong => true,
        Code::BadUserInput
        | Code::RangeTooLong
        | Code::UnknownChannel
        | Code::UnknownApplication
        | Code::NotSubscribed
        | Code::VendorDenied
        | Code::NonAdditive
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::TooExpensive
        | Code::Internal => false,
    }
}

impl<D> Shared<D> {
    async fn outcome(&self, account: &Account, pending: &Pending<D>) -> Result<Served<D>, Arc<WeirError>> {
        let deadline = self.subscriber.ask.deadline;
        match tokio::time::timeout_at(deadline, pending.outcome(&self.subscriber)).await {
            Ok(Some(outcome)) => outcome.map(|held| Served { held, source: Source::Upstream }),
            // The first caller to time out removes the slices that are still queued.
            Ok(None) if Instant::now() < deadline => Err(Arc::new(abandoned(account))),
            Ok(None) | Err(_) if pending.is_queued() => {
                let wait = self.queue.expected_wait(account);
                Err(Arc::new(planner::no_permit(wait, &self.subscriber.ask).of(account)))
            }
            Ok(None) | Err(_) => Err(Arc::new(self.late(account))),
        }
    }

    fn late(&self, account: &Account) -> WeirError {
        let waited = self.subscriber.since.elapsed().as_secs_f64();
        WeirError {
            retryable: true,
            ..WeirError::new(
                Code::VendorTimeout,
                format!("no answer within {waited:.1} s; what is still under way is kept when it arrives"),
            )
            .of(account)
        }
    }
}

fn abandoned(account: &Account) -> WeirError {
    WeirError::new(Code::Internal, "the call was abandoned").of(account)
}

impl<D> Drop for Shared<D> {
    fn drop(&mut self) {
        if !self.is_done.load(Ordering::Relaxed) {
            self.subscriber.leave();
            self.queue.leave();
        }
    }
}

impl<D> Served<D> {
    pub(super) fn from_cache(held: Arc<Held<D>>) -> Self {
        Self { held, source: Source::Cache }
    }

    pub(super) fn stale(held: Arc<Held<D>>) -> Self {
        Self { held, source: Source::Stale }
    }
}

impl<D> Clone for Served<D> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), source: self.source }
    }
}

impl<D> Clone for Ticket<D> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<D> fmt::Debug for Ticket<D> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Ticket").field("parts", &self.0.parts.len()).finish_non_exhaustive()
    }
}
