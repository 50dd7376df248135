//! The only way to a vendor's client: every attempt pays with a permit of its own.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::{Breaker, Call, Limiter, Permit, Rule};
use crate::domain::{CallError, CallErrorKind, Caller, Class, Vendor};
use crate::telemetry::meters::{CallMeter, outcome};

/// How many times a call may be repeated after a transient failure.
const MAX_RETRIES: usize = 2;

/// Those who wait for a call. They may change while it runs.
pub trait Audience: Send + Sync {
    /// Whether anybody still waits.
    fn is_there(&self) -> bool;
    /// The latest moment at which any of them still waits.
    fn deadline(&self) -> Instant;
    /// The highest class among them.
    fn class(&self) -> Class;
    /// In whose turn the call is made.
    fn caller(&self) -> Caller;
    /// An attempt is about to be sent; `number` counts from 1.
    fn attempt_starts(&self, number: u32, queue_wait: Duration);
    /// An attempt that began at `began` has ended.
    fn attempt_ended(&self, _began: Instant, _outcome: &'static str) {}
    /// The next attempt is queued: whoever joins from now on may lift it.
    fn queued_again(&self, entry: u64, class: Class);
}

/// A client behind its limiter.
#[derive(Debug)]
pub struct Metered<C> {
    client: C,
    limiter: Limiter,
    breaker: Breaker,
    vendor: Vendor,
    meter: Option<CallMeter>,
}

impl<C: Call> Metered<C> {
    /// Puts `client` behind `limiter`.
    pub fn new(client: C, limiter: Limiter, vendor: Vendor) -> Self {
        Self { client, limiter, breaker: Breaker::new(), vendor, meter: None }
    }

    /// The same, counting its calls.
    #[must_use]
    pub fn counted(self, meter: CallMeter) -> Self {
        Self { meter: Some(meter), ..self }
    }

    /// Where the permits come from.
    pub fn limiter(&self) -> &Limiter {
        &self.limiter
    }

    /// Calls with `permit`, and again after a transient failure, each time with a new permit, while anybody waits.
    ///
    /// # Errors
    /// The last attempt's failure.
    pub async fn run(
        &self,
        request: &C::Request,
        permit: Permit,
        queue_wait: Duration,
        audience: &(impl Audience + ?Sized),
    ) -> Result<C::Answer, CallError> {
        let mut pauses =
            ExponentialBuilder::new().with_jitter().with_max_times(MAX_RETRIES).with_min_delay(FIRST_PAUSE).build();
        let (mut permit, mut queue_wait, mut number) = (permit, queue_wait, 1);
        loop {
            let passage = self.breaker.enter().await.map_err(|left| self.kept_out(left))?;
            // Waiting for a probe takes time, and so does waiting for another permit.
            if !audience.is_there() {
                return Err(CallError::new(self.vendor, CallErrorKind::TimedOut, "nobody waits for it any more"));
            }
            audience.attempt_starts(number, queue_wait);
            let sent_at = Instant::now();
            let result = self.client.call(request, permit).await;
            audience.attempt_ended(sent_at, outcome(&result));
            if let Some(meter) = &self.meter {
                meter.waited(audience.class(), queue_wait);
                meter.called(&result, sent_at.elapsed());
            }
            if result.as_ref().is_err_and(CallError::is_ours) {
                drop(passage);
            } else {
                passage.note(&result);
            }
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            // Nothing was sent with a permit that has expired, so that trying again is no retry.
            let is_expired = error.kind == CallErrorKind::PermitExpired;
            if error.kind == CallErrorKind::Throttled {
                if let Some(meter) = &self.meter {
                    meter.throttled(self.limiter.cause_of_throttle());
                }
                self.limiter.throttled(error.retry_after);
            }
            // A probe that failed has opened it again.
            if !is_expired && self.breaker.open_for().is_some() {
                return Err(error);
            }
            let pause = if is_expired { Some(Duration::ZERO) } else { pauses.next() };
            let Some(pause) = pause.filter(|_| error.is_transient()) else { return Err(error) };
            let pause = if error.kind == CallErrorKind::Adjusted { Duration::ZERO } else { pause };
            let (class, deadline) = (audience.class(), audience.deadline());
            let since = Instant::now();
            if since + pause + self.limiter.expected_wait(class, &audience.caller(), 1) >= deadline {
                return Err(error);
            }
            tracing::warn!(attempt = number, kind = ?error.kind, vendor = %error.vendor,
                vendor_code = error.vendor_code.as_deref(), "vendor call failed, retrying");
            tokio::time::sleep(pause).await;
            let class = audience.class();
            let entry = self.limiter.enqueue(class, audience.caller());
            audience.queued_again(entry.id(), class);
            let Ok(Some(next)) = tokio::time::timeout_at(deadline, entry.permit()).await else { return Err(error) };
            (permit, queue_wait, number) = (next, since.elapsed(), number + 1);
        }
    }
}

impl<C> Metered<C> {
    /// Why no call is made now; `None` while the vendor is asked.
    pub fn refusal(&self) -> Option<CallError> {
        self.breaker.open_for().map(|left| self.kept_out(left))
    }

    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    pub fn is_failing(&self) -> bool {
        self.breaker.is_tripped()
    }

    fn kept_out(&self, left: Duration) -> CallError {
        let message = format!("the vendor keeps failing; it is asked again in {:.1} s", left.as_secs_f64());
        CallError { retry_after: Some(left), ..CallError::new(self.vendor, CallErrorKind::Unavailable, message) }
    }
}

/// The pause before the first retry, before jitter; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(FIRST_PAUSE.as_millis() < Rule::HOLD.as_millis(), "a permit takes longer than the pause");

#[cfg(test)]
mod tests {
    use std::collections::VecDeque;
    use std::sync::Mutex;

    use super::*;

    /// A vendor that answers by a script.
    struct Scripted(Mutex<VecDeque<CallErrorKind>>);

    impl Call for Scripted {
        type Request = ();
        type Answer = ();

        async fn call(&self, (): &(), _: Permit) -> Result<(), CallError> {
            let next = self.0.lock().unwrap().pop_front();
            next.map_or(Ok(()), |kind| Err(CallError::new(Vendor::VolcengineRtc, kind, "no")))
        }
    }

    /// Somebody who wants one attempt.
    struct Once;

    impl Audience for Once {
        fn is_there(&self) -> bool {
            true
        }

        fn deadline(&self) -> Instant {
            Instant::now()
        }

        fn class(&self) -> Class {
            Class::Interactive
        }

        fn caller(&self) -> Caller {
            Caller::Anonymous
        }

        fn attempt_starts(&self, _: u32, _: Duration) {}

        fn queued_again(&self, _: u64, _: Class) {}
    }

    #[tokio::test(start_paused = true)]
    async fn a_probe_that_was_never_sent_finds_nothing_out() {
        let kinds = [CallErrorKind::Unavailable; 5].into_iter();
        let script = kinds.chain([CallErrorKind::OutOfRetention, CallErrorKind::Unavailable]).collect();
        let limiter = Limiter::new(Rule::per_second(50, Duration::ZERO), None);
        let metered = Metered::new(Scripted(Mutex::new(script)), limiter, Vendor::VolcengineRtc);
        let attempt = async || metered.run(&(), Permit::uncounted(), Duration::ZERO, &Once).await;
        for _ in 0..5 {
            attempt().await.unwrap_err();
        }
        assert!(metered.refusal().is_some(), "five failures have opened it");
        tokio::time::sleep(Duration::from_secs(6)).await;
        assert_eq!(attempt().await.unwrap_err().kind, CallErrorKind::OutOfRetention, "refused here");
        assert_eq!(attempt().await.unwrap_err().kind, CallErrorKind::Unavailable, "the probe that was sent");
        assert!(metered.refusal().is_some(), "one failed probe opens it again");
    }
}
