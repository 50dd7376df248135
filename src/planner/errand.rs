//! Tasks of a desk: each waits for one permit, flies the call that is due then, and lands it. They belong to nobody: a
//! caller that goes away takes no call with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::desk::{GroupKey, Inner};
use super::flight::Flight;
use super::waiter::Waiter;
use crate::domain::{Account, Ask, CallError, Caller, Class, Operation, Sent, Slice, Vendor};
use crate::error::{Code, WeirError};
use crate::quota::{Audience, Call, Limiter, Metered, Place};

/// A task that is ready to be spawned.
pub type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts errands; they end by themselves.
pub(crate) fn spawn(errands: impl IntoIterator<Item = Errand>) {
    for errand in errands {
        // Without a runtime the process is ending, and so does everybody who waits.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(errand);
        }
    }
}

pub(super) fn make<O, C>(desk: &Arc<Inner<O, C>>, group: &GroupKey<O::Subject>, place: Place) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let (desk, group, id, since) = (Arc::clone(desk), group.clone(), place.id(), Instant::now());
    Box::pin(async move {
        let Some(permit) = place.permit().await else { return };
        let Some(flight) = desk.take_off(&group, id) else { return };
        match &desk.peers {
            None => {
                let result = flight.run(permit, since).await;
                flight.land(result);
            }
            Some(peers) => super::peers::fly(flight, permit, Arc::clone(peers), since).await,
        }
    })
}

/// Takes from the queue what nobody waits for any more.
pub(super) fn tidy<O, C>(desk: &Arc<Inner<O, C>>) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let desk = Arc::clone(desk);
    Box::pin(async move { desk.tidy() })
}

/// Ends the gathering of a group after `pause`.
pub(super) fn later<O, C>(desk: &Arc<Inner<O, C>>, group: &GroupKey<O::Subject>, pause: Duration) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let (desk, group) = (Arc::clone(desk), group.clone());
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        desk.stop_gathering(&group);
    })
}

impl<O, C> Audience for Flight<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn is_there(&self) -> bool {
        let mut is_there = false;
        self.for_waiters(|_, _| is_there = true);
        is_there
    }

    fn deadline(&self) -> Instant {
        let mut latest = Instant::now();
        self.for_waiters(|waiter, _| latest = latest.max(waiter.ask.deadline));
        latest
    }

    fn class(&self) -> Class {
        let mut highest = Class::Background;
        self.for_waiters(|waiter, _| highest = highest.min(waiter.ask.class));
        highest
    }

    fn caller(&self) -> Caller {
        self.owner().map(|owner| owner.ask.caller.clone()).unwrap_or_default()
    }

    fn attempt_starts(&self, number: u32, queue_wait: Duration) {
        if let Some(owner) = self.owner() {
            owner.ask.tally.count_call(self.vendor());
        }
        self.for_waiters(|waiter, is_late| {
            waiter.ask.tally.note_queue_wait(queue_wait.min(waiter.since.elapsed()));
            // Whoever is late was counted on joining.
            if number == 1 && !is_late && !self.owner().is_some_and(|owner| Arc::ptr_eq(owner, waiter)) {
                waiter.ask.tally.count_collapsed(1);
            }
        });
        self.close_cohorts();
    }

    fn queued_again(&self, place: u64, class: Class) {
        self.note_place(place, class);
    }
}

/// An upstream call that answers no slices: it changes something, so it is neither cached nor joined.
#[derive(Debug)]
pub struct Command<C> {
    metered: Arc<Metered<C>>,
    account: Account,
}

/// Whoever waits for a command: its one caller.
struct Lone {
    waiter: Arc<Waiter>,
    vendor: Vendor,
}

impl<C: Call> Command<C> {
    /// The command of `account`.
    pub fn new(metered: Metered<C>, account: Account) -> Self {
        Self { metered: Arc::new(metered), account }
    }

    /// The permits its calls are made with.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        self.metered.limiter()
    }

    /// Whether the call would be made.
    ///
    /// # Errors
    /// [`Code::QuotaWaitTooLong`] if the permit would come too late, [`Code::VendorUnavailable`] while nobody is asked.
    pub fn admit(&self, ask: &Ask) -> Result<(), WeirError> {
        if let Some(refusal) = self.metered.refusal() {
            return Err(WeirError::from_call(&refusal, &self.account));
        }
        self.judge(self.limiter().expected_wait(ask.class, 1), ask)
    }

    fn judge(&self, wait: Duration, ask: &Ask) -> Result<(), WeirError> {
        admit(wait, self.limiter().least_wait(1), 1, ask).map_err(|error| error.of(&self.account))
    }

    /// Makes the call once its permit is there; a caller that goes away before takes it back, one that goes away later
    /// does not. `landed` runs on success even then.
    ///
    /// # Errors
    /// At once what [`Self::admit`] says; else what the vendor answered.
    pub async fn run(
        &self,
        request: C::Request,
        ask: &Ask,
        landed: impl FnOnce() + Send + 'static,
    ) -> Result<C::Answer, WeirError> {
        self.admit(ask)?;
        let limiter = self.limiter();
        let since = Instant::now();
        let too_late = || no_permit(limiter.expected_wait(ask.class, 1), ask).of(&self.account);
        // Those before it in the request may have taken all its time.
        if since >= ask.deadline {
            return Err(too_late());
        }
        let place = limiter.enqueue(ask.class, ask.caller.clone());
        // By now others may have been promised the same permit.
        if let Some(wait) = limiter.expected_wait_of(place.id()) {
            self.judge(wait, ask)?;
        }
        let permit = tokio::time::timeout_at(ask.deadline, place.permit()).await.ok().flatten().ok_or_else(too_late)?;
        let (sender, answer) = oneshot::channel();
        let lone = Lone { waiter: Waiter::new(ask.clone()), vendor: self.account.vendor() };
        let metered = Arc::clone(&self.metered);
        tokio::spawn(async move {
            let queue_wait = since.elapsed();
            lone.waiter.ask.tally.note_queue_wait(queue_wait);
            let result = metered.run(&request, permit, queue_wait, &lone).await;
            if result.is_ok() {
                landed();
            }
            drop(sender.send(result));
        });
        match tokio::time::timeout_at(ask.deadline, answer).await {
            Ok(Ok(result)) => result.map_err(|error: CallError| WeirError::from_call(&error, &self.account)),
            Ok(Err(_)) => Err(WeirError::new(Code::Internal, "the call was abandoned").of(&self.account)),
            Err(_) => Err(WeirError::new(Code::VendorTimeout, "the vendor did not answer in time").of(&self.account)),
        }
    }
}

impl Audience for Lone {
    fn is_there(&self) -> bool {
        self.waiter.is_present(Instant::now())
    }

    fn deadline(&self) -> Instant {
        self.waiter.ask.deadline
    }

    fn class(&self) -> Class {
        self.waiter.ask.class
    }

    fn caller(&self) -> Caller {
        self.waiter.ask.caller.clone()
    }

    fn attempt_starts(&self, _: u32, _: Duration) {
        self.waiter.ask.tally.count_call(self.vendor);
    }

    fn queued_again(&self, _: u64, _: Class) {}
}

/// Whether calls whose last permit comes after `wait` are worth admitting.
pub(crate) fn admit(wait: Duration, least_wait: Duration, calls: usize, ask: &Ask) -> Result<(), WeirError> {
    if wait <= ask.max_wait {
        return Ok(());
    }
    let (seconds, most) = (wait.as_secs_f64(), ask.max_wait.as_secs_f64());
    if least_wait > ask.max_wait {
        return Err(WeirError::new(
            Code::QuotaWaitTooLong,
            format!(
                "{calls} upstream calls need {:.1} s of the quota even when nobody else asks, and at most {most:.1} s \
                 are waited for; ask for less at a time, or raise queue.max_wait",
                least_wait.as_secs_f64()
            ),
        ));
    }
    Err(WeirError {
        retryable: true,
        retry_after: Some(retry_after(wait, ask)),
        ..WeirError::new(
            Code::QuotaWaitTooLong,
            format!("the permits would come in {seconds:.1} s, and at most {most:.1} s are waited for"),
        )
    })
}

/// What was let in got no permit before its deadline; `wait` is how long it would wait now.
pub(crate) fn no_permit(wait: Duration, ask: &Ask) -> WeirError {
    let message = "no permit came in time: calls took longer than expected, or the account was paused";
    WeirError {
        retryable: true,
        retry_after: Some(retry_after(wait, ask)),
        ..WeirError::new(Code::QuotaWaitTooLong, message)
    }
}

/// From when on an ask is let in that would wait for `wait` now.
fn retry_after(wait: Duration, ask: &Ask) -> Duration {
    // The forecast may be a little short when calls take longer than those before them.
    let excess = wait.saturating_sub(ask.max_wait);
    excess + (wait / 50).min(excess / 10)
}
