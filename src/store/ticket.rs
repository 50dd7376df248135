//! What a field holds while its slices are fetched.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::{Account, Held, Source};
use crate::error::{Code, WeirError};
use crate::planner::{self, Pending, Subscriber, Told};
use crate::telemetry::meters::{Origin, SliceMeter};

/// One slice as it is served.
#[derive(Debug)]
pub struct Served<D> {
    /// What is held.
    pub held: Arc<Held<D>>,
    /// Where it came from for this ask.
    pub source: Source,
    /// Whether memory had it from another replica, just now.
    pub(super) is_of_replica: bool,
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

/// Counts what is there of a field when it begins to wait.
pub(super) fn count<D>(parts: &[(usize, Part<D>)], meter: &SliceMeter) {
    let ready = parts.iter().filter_map(|(_, part)| match part {
        Part::Ready(Ok(served)) => Some(served),
        Part::Ready(Err(_)) | Part::Pending { .. } => None,
    });
    let (mut held, mut replica, mut archive, mut stale) = (0, 0, 0, 0);
    for served in ready {
        match served.source {
            Source::Cache if served.is_of_replica => replica += 1,
            Source::Cache | Source::Upstream => held += 1,
            Source::Archive => archive += 1,
            Source::Stale => (held, stale) = (held + 1, stale + 1),
        }
    }
    meter.handed(Origin::Memory, held);
    meter.handed(Origin::Redis, replica);
    meter.handed(Origin::Archive, archive);
    meter.stale(stale);
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
    /// A failed slice was answered with a stale one.
    fn fell_back(&self);
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
            let mut answer = |outcome| series.push(Answered { want: *want, outcome });
            match part {
                Part::Ready(Ok(served)) => answer(Ok(served.clone())),
                Part::Ready(Err(error)) => answer(Err(Arc::clone(error))),
                Part::Pending { account, pending, fallback } => {
                    for outcome in self.0.outcomes(account, pending).await {
                        match (outcome, fallback) {
                            (Ok(slices), _) => slices.into_iter().map(Ok).for_each(&mut answer),
                            (Err(error), Some(held)) if leaves_standing(&error) => {
                                self.0.queue.fell_back();
                                answer(Ok(Served::stale(Arc::clone(held))));
                            }
                            (Err(error), _) => answer(Err(error)),
                        }
                    }
                }
            }
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
    /// What becomes of the parts of a run: their slices, or why a part has failed.
    async fn outcomes(&self, account: &Account, pending: &Pending<D>) -> Vec<Result<Vec<Served<D>>, Arc<WeirError>>> {
        let deadline = self.subscriber.ask.deadline;
        let told = tokio::time::timeout_at(deadline, pending.outcome(&self.subscriber)).await;
        let parts = told.unwrap_or_else(|_| pending.parts()).into_iter();
        let outcome = |part: Told<D>| match part.told {
            Some(Some(Ok(landed))) => {
                let slices = landed.within(part.window).iter().map(|(_, held)| Served::from_upstream(Arc::clone(held)));
                Ok(slices.collect())
            }
            Some(Some(Err(error))) => Err(error),
            // The first caller to time out removes the slices that are still queued.
            Some(None) if Instant::now() < deadline => Err(Arc::new(abandoned(account))),
            Some(None) | None if !part.is_under_way => {
                let wait = self.queue.expected_wait(account);
                Err(Arc::new(planner::no_permit(wait, &self.subscriber.ask).of(account)))
            }
            Some(None) | None => Err(Arc::new(self.late(account))),
        };
        parts.map(outcome).collect()
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
        Self::of(held, Source::Cache)
    }

    pub(super) fn from_replica(held: Arc<Held<D>>) -> Self {
        Self { is_of_replica: true, ..Self::of(held, Source::Cache) }
    }

    pub(super) fn from_archive(held: Arc<Held<D>>) -> Self {
        Self::of(held, Source::Archive)
    }

    fn from_upstream(held: Arc<Held<D>>) -> Self {
        Self::of(held, Source::Upstream)
    }

    pub(super) fn stale(held: Arc<Held<D>>) -> Self {
        Self::of(held, Source::Stale)
    }

    fn of(held: Arc<Held<D>>, source: Source) -> Self {
        Self { held, source, is_of_replica: false }
    }
}

impl<D> Clone for Served<D> {
    fn clone(&self) -> Self {
        Self { held: Arc::clone(&self.held), ..*self }
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
