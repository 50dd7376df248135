//! A call that changes something: it has one caller, and nobody joins it.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::flight::call_facts;
use super::subscriber::Subscriber;
use super::tasks;
use super::wait::{admit, admit_queued, no_permit};
use crate::domain::{Account, Ask, CallError, Caller, Class, Step};
use crate::error::{Code, WeirError};
use crate::quota::{Audience, Call, Limiter, Metered};

/// An upstream call that answers no slices: it changes something, so it is neither cached nor joined.
#[derive(Debug)]
pub struct Command<C> {
    metered: Arc<Metered<C>>,
    account: Account,
    operation: &'static str,
}

/// Whoever waits for a command: its one caller.
struct Lone {
    subscriber: Arc<Subscriber>,
    account: Account,
    operation: &'static str,
}

impl<C: Call> Command<C> {
    /// The command of `account` that calls `operation`.
    pub fn new(metered: Metered<C>, account: Account, operation: &'static str) -> Self {
        Self { metered: Arc::new(metered), account, operation }
    }

    /// The permits its calls are made with.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        self.metered.limiter()
    }

    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.metered.is_failing()
    }

    /// Whether the call would be made.
    ///
    /// # Errors
    /// [`Code::QuotaWaitTooLong`] if the permit would come too late, [`Code::VendorUnavailable`] while nobody is asked.
    pub fn admit(&self, ask: &Ask) -> Result<(), WeirError> {
        if let Some(refusal) = self.metered.refusal() {
            return Err(WeirError::from_call(&refusal, &self.account));
        }
        admit_queued(self.limiter(), 0, 1, ask).map_err(|error| error.of(&self.account))?;
        self.judge(self.limiter().expected_wait(ask.class, &ask.caller, 1), ask)
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
        let too_late = || no_permit(limiter.expected_wait(ask.class, &ask.caller, 1), ask).of(&self.account);
        // Those before it in the request may have taken all its time.
        if since >= ask.deadline {
            return Err(too_late());
        }
        let entry = limiter.enqueue(ask.class, ask.caller.clone());
        // By now others may have been promised the same permit.
        if let Some(wait) = limiter.expected_wait_of([entry.id()], ask.class, &ask.caller) {
            self.judge(wait, ask)?;
        }
        let permit = tokio::time::timeout_at(ask.deadline, entry.permit()).await.ok().flatten().ok_or_else(too_late)?;
        let (sender, answer) = oneshot::channel();
        let (account, operation) = (self.account.clone(), self.operation);
        let lone = Lone { subscriber: Subscriber::new(ask.clone()), account, operation };
        let metered = Arc::clone(&self.metered);
        let call = async move {
            let queue_wait = since.elapsed();
            lone.subscriber.ask.cost.note_queue_wait(queue_wait);
            let result = metered.run(&request, permit, queue_wait, &lone).await;
            if result.is_ok() {
                landed();
            }
            drop(sender.send(result));
        };
        tasks::spawn([Box::pin(call) as tasks::Task]);
        match tokio::time::timeout_at(ask.deadline, answer).await {
            Ok(Ok(result)) => result.map_err(|error: CallError| WeirError::from_call(&error, &self.account)),
            Ok(Err(_)) => Err(WeirError::new(Code::Internal, "the call was abandoned").of(&self.account)),
            Err(_) => Err(WeirError::new(Code::VendorTimeout, "the vendor did not answer in time").of(&self.account)),
        }
    }
}

impl Audience for Lone {
    fn is_there(&self) -> bool {
        self.subscriber.is_present(Instant::now())
    }

    fn deadline(&self) -> Instant {
        self.subscriber.ask.deadline
    }

    fn class(&self) -> Class {
        self.subscriber.ask.class
    }

    fn caller(&self) -> Caller {
        self.subscriber.ask.caller.clone()
    }

    fn attempt_starts(&self, _: u32, queue_wait: Duration) {
        let (cost, ended) = (&self.subscriber.ask.cost, Instant::now());
        cost.count_call(self.account.vendor(), self.operation);
        let facts = &call_facts(&self.account, self.operation, None)[..3];
        cost.took(&Step { name: "permit wait", began: ended - queue_wait, ended, facts });
    }

    fn attempt_ended(&self, began: Instant, outcome: &'static str) {
        let facts = &call_facts(&self.account, self.operation, Some(outcome));
        self.subscriber.ask.cost.took(&Step { name: "vendor call", began, ended: Instant::now(), facts });
    }

    fn queued_again(&self, _: u64, _: Class) {}
}
