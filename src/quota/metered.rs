//! The only way to a vendor's client: every attempt pays with a permit of its own.

use std::time::Duration;

use backon::{BackoffBuilder, ExponentialBuilder};
use tokio::time::Instant;

use super::{Breaker, Call, Limiter, Permit, Rule};
use crate::domain::{CallError, CallErrorKind, Caller, Class, Vendor};

/// How many times a call may be repeated after a transient failure.
const MAX_RETRIES: usize = 2;

/// Those who wait for a call. They may change while it runs.
pub trait Audience: Send + Sync {
    /// The latest moment at which any of them still waits.
    fn deadline(&self) -> Instant;
    /// The highest class among them.
    fn class(&self) -> Class;
    /// In whose turn the call is made.
    fn caller(&self) -> Caller;
    /// An attempt is about to be sent; `number` counts from 1.
    fn attempt_starts(&self, number: u32, queue_wait: Duration);
    /// The next attempt is queued: whoever joins from now on may lift it.
    fn queued_again(&self, place: u64, class: Class);
}

/// A client behind its limiter.
#[derive(Debug)]
pub struct Metered<C> {
    client: C,
    limiter: Limiter,
    breaker: Breaker,
    vendor: Vendor,
}

impl<C: Call> Metered<C> {
    /// Puts `client` behind `limiter`.
    pub fn new(client: C, limiter: Limiter, vendor: Vendor) -> Self {
        Self { client, limiter, breaker: Breaker::new(), vendor }
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
        audience: &impl Audience,
    ) -> Result<C::Answer, CallError> {
        let mut pauses =
            ExponentialBuilder::new().with_jitter().with_max_times(MAX_RETRIES).with_min_delay(FIRST_PAUSE).build();
        let (mut permit, mut queue_wait, mut number) = (permit, queue_wait, 1);
        loop {
            let passage = self.breaker.enter().await.map_err(|left| self.kept_out(left))?;
            audience.attempt_starts(number, queue_wait);
            let result = self.client.call(request, permit).await;
            // Nothing was sent with a permit that has expired: that tells nothing of the vendor, and is no retry.
            let is_expired = matches!(&result, Err(error) if error.kind == CallErrorKind::PermitExpired);
            if is_expired {
                drop(passage);
            } else {
                passage.note(&result);
            }
            let error = match result {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            if error.kind == CallErrorKind::Throttled {
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
            if since + pause + self.limiter.expected_wait(class, 1) >= deadline {
                return Err(error);
            }
            tracing::warn!(attempt = number, kind = ?error.kind, vendor = %error.vendor,
                vendor_code = error.vendor_code.as_deref(), "vendor call failed, retrying");
            tokio::time::sleep(pause).await;
            let class = audience.class();
            let place = self.limiter.enqueue(class, audience.caller());
            audience.queued_again(place.id(), class);
            let Ok(Some(next)) = tokio::time::timeout_at(deadline, place.permit()).await else { return Err(error) };
            (permit, queue_wait, number) = (next, since.elapsed(), number + 1);
        }
    }
}

impl<C> Metered<C> {
    /// Why no call is made now; `None` while the vendor is asked.
    pub fn refusal(&self) -> Option<CallError> {
        self.breaker.open_for().map(|left| self.kept_out(left))
    }

    fn kept_out(&self, left: Duration) -> CallError {
        let message = format!("the vendor keeps failing; it is asked again in {:.1} s", left.as_secs_f64());
        CallError { retry_after: Some(left), ..CallError::new(self.vendor, CallErrorKind::Unavailable, message) }
    }
}

/// The pause before the first retry, before jitter; it doubles.
const FIRST_PAUSE: Duration = Duration::from_millis(100);

const _: () = assert!(FIRST_PAUSE.as_millis() < Rule::HOLD.as_millis(), "a permit takes longer than the pause");
