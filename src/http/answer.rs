//! Writes answers: GraphQL-shaped bodies, also for what never reached the engine, with the status that the media type
//! asks for.

use std::any::Any;
use std::collections::BTreeMap;

use async_graphql::{ErrorExtensionValues, ServerError, Value};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde::Serialize;
use tracing::error;

use super::negotiate::MediaType;
use crate::domain::ids::masked;
use crate::error::Code;
use crate::schema::no_cost;

/// Why a request was not run.
#[derive(Debug)]
pub(super) struct Refusal {
    /// `None` where the request is well formed and only its GraphQL is refused: then the media type decides.
    status: Option<StatusCode>,
    /// The methods that would have done.
    allow: Option<&'static str>,
    error: Box<ServerError>,
}

impl Refusal {
    /// The request is no GraphQL request, or not one for this method.
    pub(super) fn of_http(status: StatusCode, code: Code, message: impl Into<String>) -> Self {
        Self { status: Some(status), allow: None, error: Box::new(with_code(ServerError::new(message, None), code)) }
    }

    /// Another method has to be used, one of `allow`.
    pub(super) fn wrong_method(allow: &'static str, message: &'static str) -> Self {
        Self { allow: Some(allow), ..Self::of_http(StatusCode::METHOD_NOT_ALLOWED, Code::BadUserInput, message) }
    }

    /// A parameter is missing or has the wrong type.
    pub(super) fn malformed(message: impl Into<String>) -> Self {
        Self::of_http(StatusCode::BAD_REQUEST, Code::BadUserInput, message)
    }

    /// A well-formed request whose query cannot be run.
    pub(super) fn of_query(code: Code, error: impl Into<ServerError>) -> Self {
        Self { status: None, allow: None, error: Box::new(with_code(error.into(), code)) }
    }
}

/// The answer to a request that was not run.
pub(super) fn refuse(media: MediaType, refusal: Refusal) -> Response {
    let status = refusal.status.unwrap_or_else(|| media.status_of_refusal(StatusCode::BAD_REQUEST));
    let mut response = write(status, media, async_graphql::Response::from_errors(vec![*refusal.error]));
    if let Some(allow) = refusal.allow {
        response.headers_mut().insert(header::ALLOW, HeaderValue::from_static(allow));
    }
    response
}

/// What the engine answered.
pub(super) fn answer(media: MediaType, response: async_graphql::Response) -> Response {
    let status = match is_refused(&response) {
        true if response.errors.iter().any(|error| code_of(error) == Some(Code::Internal.as_str())) => {
            StatusCode::INTERNAL_SERVER_ERROR
        }
        true => media.status_of_refusal(StatusCode::BAD_REQUEST),
        false => StatusCode::OK,
    };
    write(status, media, response)
}

/// The answer when weir itself failed. What happened stays in the log.
pub(super) fn for_mistake(media: MediaType) -> Response {
    let status = StatusCode::INTERNAL_SERVER_ERROR;
    refuse(media, Refusal::of_http(status, Code::Internal, "weir made a mistake; the log has the details"))
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

/// Whether the engine refused to execute: an error that happened while executing has a path.
fn is_refused(response: &async_graphql::Response) -> bool {
    response.data == Value::Null
        && !response.errors.is_empty()
        && response.errors.iter().all(|error| error.path.is_empty())
}

fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        Value::Enum(code) => Some(code),
        _ => None,
    }
}

fn with_code(mut error: ServerError, code: Code) -> ServerError {
    if code == Code::BadUserInput {
        // Complaints about what was sent repeat it.
        error.message = masked(&error.message);
    }
    let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
    extensions.set("code", code.as_str());
    error
}

#[derive(Serialize)]
struct Body<'a> {
    #[serde(skip_serializing_if = "Vec::is_empty")]
    errors: Vec<ServerError>,
    /// Absent, not null, where nothing was executed.
    #[serde(skip_serializing_if = "Option::is_none")]
    data: Option<&'a Value>,
    extensions: BTreeMap<String, Value>,
}

fn write(status: StatusCode, media: MediaType, mut response: async_graphql::Response) -> Response {
    response.extensions.entry("weir".to_owned()).or_insert_with(no_cost);
    let data = (!is_refused(&response)).then_some(&response.data);
    // The engine's own complaints are about the query and carry no code.
    let errors = std::mem::take(&mut response.errors).into_iter().map(|error| match code_of(&error) {
        Some(_) => error,
        None => with_code(error, Code::BadUserInput),
    });
    let body = Body { data, errors: errors.collect(), extensions: response.extensions };
    let Ok(body) = serde_json::to_vec(&body) else {
        error!("an answer could not be written as JSON");
        return StatusCode::INTERNAL_SERVER_ERROR.into_response();
    };
    let headers = [
        (header::CONTENT_TYPE, media.header()),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
        (header::VARY, HeaderValue::from_static("accept")),
    ];
    (status, headers, body).into_response()
}

#[cfg(test)]
mod tests {
    use async_graphql::{PathSegment, Response as Answer, value};
    use axum::body::to_bytes;

    use super::*;

    fn failed_field() -> ServerError {
        ServerError::new("no", None).with_path(vec![PathSegment::Field("a".to_owned())])
    }

    async fn written(media: MediaType, answer_: Answer) -> (u16, serde_json::Value) {
        let response = answer(media, answer_);
        let status = response.status().as_u16();
        (status, serde_json::from_slice(&to_bytes(response.into_body(), 1 << 20).await.unwrap()).unwrap())
    }

    #[tokio::test]
    async fn data_is_left_out_only_where_nothing_was_executed() {
        use MediaType::{GraphqlResponse, Json};
        let refused = || Answer::from_errors(vec![ServerError::new("no such field", None)]);
        let nulled = || Answer::from_errors(vec![failed_field()]);
        let mistake = || Answer::from_errors(vec![with_code(ServerError::new("oh", None), Code::Internal)]);
        let partial = || {
            let mut answer = Answer::new(value!({ "a": null }));
            answer.errors.push(failed_field());
            answer
        };
        for (media, answer, status, data) in [
            (GraphqlResponse, refused(), 400, None),
            (Json, refused(), 200, None),
            (Json, mistake(), 500, None),
            (GraphqlResponse, nulled(), 200, Some(serde_json::Value::Null)),
            (GraphqlResponse, partial(), 200, Some(serde_json::json!({ "a": null }))),
        ] {
            let label = format!("{media:?} {answer:?}");
            let (got, body) = written(media, answer).await;
            assert_eq!((got, body.get("data").cloned()), (status, data), "{label}");
            assert!(body["errors"][0]["extensions"]["code"].is_string(), "{label}");
            assert_eq!(body["extensions"]["weir"]["upstreamCalls"]["ALIBABA_CAMS"], 0, "{label}");
        }
    }

    #[tokio::test]
    async fn what_the_engine_reports_as_cost_is_left_alone() {
        let counted = Answer::new(value!({})).extension("weir", value!({ "cacheHits": 3 }));
        let (_, body) = written(MediaType::Json, counted).await;
        assert_eq!(body, serde_json::json!({ "data": {}, "extensions": { "weir": { "cacheHits": 3 } } }));
    }
}
