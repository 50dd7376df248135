//! Writes answers, also to what never reached the engine, with the status that the media type asks for.

use std::any::Any;
use std::time::Duration;

use axum::body::Bytes;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use tracing::error;

use super::negotiate::MediaType;
use super::pieces;
use crate::domain::LimitName;
use crate::error::{Code, WeirError};
use crate::schema::Answer;

/// Why a request was not run.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` where the request is well formed and only its GraphQL is refused: then the media type decides.
    status: Option<StatusCode>,
    /// The methods that would have done.
    allow: Option<&'static str>,
    /// When to come back.
    retry_after: Option<Duration>,
    answer: Box<Answer>,
}

impl Refusal {
    /// The request is no GraphQL request, or not one for this method.
    pub(super) fn of_http(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self::of_error(status, &WeirError::new(code, message))
    }

    /// The same, where more is to be told.
    pub(super) fn of_error(status: StatusCode, error: &WeirError) -> Self {
        Self {
            status: Some(status),
            allow: None,
            retry_after: error.retry_after,
            answer: Box::new(Answer::refusal(error)),
        }
    }

    /// Another method has to be used, one of `allow`.
    pub(super) fn wrong_method(allow: &'static str, message: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::of_http(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, message) }
    }

    /// A parameter is missing or has the wrong type.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::of_http(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }

    /// The limit that refused, if one did.
    pub(super) fn limit(&self) -> Option<LimitName> {
        self.answer.limit()
    }

    /// A well-formed request whose query cannot be run.
    pub(super) fn of_query(answer: Box<Answer>) -> Self {
        Self { status: None, allow: None, retry_after: None, answer }
    }
}

/// The answer to a request that was not run.
pub(super) fn refuse(media: MediaType, refusal: &Refusal) -> Response {
    let status = refusal.status.unwrap_or_else(|| media.status_of_refusal(StatusCode::BAD_REQUEST));
    let mut response = write(status, media, refusal.answer.pieces());
    if let Some(code) = refusal.answer.code() {
        response.extensions_mut().insert(code);
    }
    if let Some(allow) = refusal.allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(refusal.retry_after));
    }
    response
}

/// When to come back, as `Retry-After` says it: never too early.
pub(super) fn whole_seconds(after: Option<Duration>) -> HeaderValue {
    let seconds = after.map_or(1, |after| after.as_millis().div_ceil(1_000).clamp(1, 86_400));
    HeaderValue::from(u64::try_from(seconds).unwrap_or(1))
}

/// The status of an answer.
pub(super) fn status_of(media: MediaType, answer: &Answer) -> StatusCode {
    match answer.is_refused() {
        true if answer.has(Code::Internal) => StatusCode::INTERNAL_SERVER_ERROR,
        true => media.status_of_refusal(StatusCode::BAD_REQUEST),
        false => StatusCode::OK,
    }
}

/// The answer when weir itself failed. What happened stays in the log.
pub(super) fn for_mistake(media: MediaType) -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    refuse(media, &Refusal::of_http(status, Code::Internal, "weir made a mistake; the log has the details"))
}

/// The answer when a handler panicked.
pub(super) fn for_panic(_: Box<dyn Any + Send>) -> Response {
    error!("a request handler panicked");
    for_mistake(MediaType::Json)
}

impl MediaType {
    /// `application/json` leaves the status to the transport: a well-formed request is answered 200 even if its
    /// query is refused.
    fn status_of_refusal(self, status: StatusCode) -> StatusCode {
        match self {
            Self::GraphqlResponse => status,
            Self::Json => StatusCode::OK,
        }
    }
}

/// An answer that is written already, in pieces.
pub(super) fn write(status: StatusCode, media: MediaType, json: Vec<Bytes>) -> Response {
    let headers = [
        (header::CONTENT_TYPE, media.header()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (status, headers, pieces::body(json)).into_response()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_media_type_decides_the_status_of_a_refusal() {
        use MediaType::{GraphqlResponse, Json};
        for (media, code, status) in [
            (GraphqlResponse, Code::BadUserInput, 400),
            (Json, Code::BadUserInput, 200),
            (Json, Code::Internal, 500),
            (GraphqlResponse, Code::Internal, 500),
        ] {
            let refused = Answer::refusal(&WeirError::new(code, "no such field"));
            assert_eq!(status_of(media, &refused), status, "{media:?} {code:?}");
        }
    }
}
