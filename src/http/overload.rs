//! What is refused because too much is asked at once, whoever asks: it never runs, and may come back in a moment.
//!
//! The closed list of codes has one for what will be answered later and not now, `QUOTA_WAIT_TOO_LONG`, which the doors answer
//! with 503 and `Retry-After`: what is scarce here is room instead of permits, and callers do the same about it. Nothing is
//! wrong with the request, so that it is no `TOO_EXPENSIVE`.

use axum::http::{Request, StatusCode};
use axum::response::Response;

use super::answer::Refusal;
use super::by_door;
use crate::domain::LimitName;
use crate::error::WeirError;

/// The limit that leaves no room.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Full {
    pub(super) limit: LimitName,
    /// Of what it lets in.
    pub(super) most: usize,
}

/// There is no room for it now.
pub(super) fn come_back(full: Full) -> WeirError {
    WeirError::no_room(full.limit, full.most)
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
