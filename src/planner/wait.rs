//! Decides whether an ask waits for its permits, and the error if not.

use std::time::Duration;

use crate::domain::{Ask, LimitName};
use crate::error::{Code, WeirError};
use crate::quota::Limiter;

/// What a caller sets to wait for longer: these errors are told at every door.
const MAX_WAIT: &str = "max_wait (in GraphQL extensions.weir.maxWait)";

/// Lets calls in whose last permit comes after `wait`, if their caller waits that long.
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
                 are waited for; ask for less at a time, or wait for longer with {MAX_WAIT} (the operator's \
                 defaults are queue.max_wait and, for rows, queue.bulk_max_wait)",
                least_wait.as_secs_f64()
            ),
        ));
    }
    Err(WeirError {
        retryable: true,
        retry_after: Some(retry_after(wait, ask)),
        ..WeirError::new(
            Code::QuotaWaitTooLong,
            format!(
                "the permits would come in {seconds:.1} s, and at most {most:.1} s are waited for; come back later, or \
                 wait for longer with {MAX_WAIT}"
            ),
        )
    })
}

/// Whether `calls` more of the ask's caller may be queued behind those that are, `ahead` of which are not queued yet.
pub(crate) fn admit_queued(limiter: &Limiter, ahead: usize, calls: usize, ask: &Ask) -> Result<(), WeirError> {
    let (queued, most) = (limiter.queued_by(&ask.caller) + ahead, limiter.most_queued());
    let all = queued + calls;
    if calls == 0 || all <= most {
        return Ok(());
    }
    let message = format!(
        "{queued} upstream calls wait for their permits already, and with {calls} more they would be more than {most}"
    );
    let refusal = WeirError::new(Code::QuotaWaitTooLong, message).limited_by(LimitName::Queue, most, Some(all));
    Err(WeirError { retryable: true, retry_after: Some(limiter.least_wait(all - most + 1)), ..refusal })
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
