//! What is told before any route has seen a request, in the form of the door that was asked.

use axum::http::{Request, StatusCode};
use axum::response::Response;

use super::answer::{self, Refusal};
use super::negotiate::{MediaType, wanted};
use super::rows::problem;
use crate::error::WeirError;

/// A refusal in the form of the door that was asked.
pub(super) fn refuse<B>(request: &Request<B>, status: StatusCode, error: &WeirError) -> Response {
    let path = request.uri().path();
    if path == "/rows" || path.starts_with("/rows/") {
        problem::with_status(status, error)
    } else {
        let media = wanted(request.headers()).media.unwrap_or(MediaType::Json);
        answer::refuse(media, &Refusal::of_error(status, error))
    }
}
