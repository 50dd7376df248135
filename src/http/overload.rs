//! What is refused because too much is asked at once, whoever asks: it never runs, and may come back in a moment.
//!
//! The closed list of codes has one for what will be answered later and not now, `QUOTA_WAIT_TOO_LONG`, which the doors answer
//! with 503 and `Retry-After`: what is scarce here is room instead of permits, and callers do the same about it. Nothing is
//! wrong with the request, so that it is no `TOO_EXPENSIVE`.

use std::time::Duration;

use axum::http::{Request, StatusCode};
use axum::response::Response;

use super::answer::Refusal;
use super::by_door;
use crate::domain::LimitName;
use crate::error::{Code, WeirError};

/// The limit that leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) limit: LimitName,
    /// Of what it lets in.
    pub(super) most: usize,
}

impl Full {
    fn message(self) -> &'static str {
        match self.limit {
            LimitName::Connections => "all connections are taken by requests in progress; come back",
            LimitName::ConnectionsPerPeer => {
                "all connections of your address are taken by requests in progress; come back"
            }
            LimitName::RequestsPerCaller => "too many other requests of yours are in progress; come back",
            LimitName::HeldBodyBytes => "too many other requests are still being sent; come back",
            LimitName::HeldAnswerBytes => {
                "too much of other answers is waiting to be read by those who asked for it; come back"
            }
            _ => "too many other requests are in progress; come back",
        }
    }
}

/// When to come back: a moment is all that is needed where callers read what they asked for.
const MOMENT: Duration = Duration::from_secs(1);

/// There is no room for it now.
pub(super) fn come_back(full: Full) -> WeirError {
    let error = WeirError::new(Code::QuotaWaitTooLong, full.message());
    let error = error.limited_by(full.limit, full.most, None::<usize>);
    WeirError { retryable: true, retry_after: Some(MOMENT), ..error }
}

/// The same, to somebody at `/graphql`.
pub(super) fn refusal(full: Full) -> Refusal {
    Refusal::of_error(StatusCode::SERVICE_UNAVAILABLE, &come_back(full))
}

/// The answer to a request for which there is no room, in the form of its door.
pub(super) fn refuse<B>(request: &Request<B>, full: Full) -> Response {
    by_door::refuse(request, StatusCode::SERVICE_UNAVAILABLE, &come_back(full))
}

/// Whether rows are asked for: they are many, and nobody sits before them.
pub(super) fn is_bulk(path: &str) -> bool {
    path.starts_with("/rows/")
}

/// Whether the health of the process is asked for: that is always answered.
pub(super) fn is_health(path: &str) -> bool {
    path.starts_with("/health/")
}
