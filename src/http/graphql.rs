//! `/graphql`: one request in, one answer out.
//!
//! A request runs in one task, so that its fields gather their keys together; the task ends with the connection of
//! its caller. Calls to vendors run elsewhere and are not hurt by that.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::Request;
use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::body::Body;
use axum::extract::{RawQuery, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use http_body_util::BodyExt;
use tokio::task::JoinSet;
use tokio::time::timeout;
use tracing::{Instrument, Span, error};

use super::HttpConfig;
use super::access_log::OperationName;
use super::answer::{Refusal, answer, for_mistake, refuse};
use super::documents::{Documents, check_variables, operation};
use super::negotiate::{MediaType, is_json, wanted};
use super::params::Params;
use crate::config::Graphiql;
use crate::domain::Caller;
use crate::error::Code;
use crate::schema::Gateway;

/// How many times the limit of a body is read and thrown away before the connection is cut, so that callers who send
/// all before they read still see why they were refused.
const PATIENCE_WITH_LONG_BODIES: usize = 32;

struct Endpoint {
    gateway: Arc<Gateway>,
    documents: Documents,
    max_body: usize,
    body_timeout: Duration,
    has_page: bool,
}

/// `/graphql`.
pub(super) fn routes(config: &HttpConfig, gateway: Arc<Gateway>) -> Router {
    let endpoint = Endpoint {
        gateway,
        documents: Documents::new(config.limits, config.document_cache),
        max_body: config.max_body,
        body_timeout: config.body_timeout,
        has_page: config.graphiql != Graphiql::Off,
    };
    Router::new().route("/graphql", get(by_get).post(by_post).fallback(by_other_method)).with_state(Arc::new(endpoint))
}

async fn by_get(State(endpoint): State<Arc<Endpoint>>, RawQuery(query): RawQuery, headers: HeaderMap) -> Response {
    let wanted = wanted(&headers);
    let query = query.unwrap_or_default();
    if wanted.page && endpoint.has_page {
        let separator = if query.is_empty() { "" } else { "?" };
        return Redirect::to(&format!("/graphiql{separator}{query}")).into_response();
    }
    let Some(media) = wanted.media else { return refuse(MediaType::Json, not_acceptable()) };
    endpoint.respond(media, Verb::Get, Params::from_query_string(&query)).await
}

async fn by_post(State(endpoint): State<Arc<Endpoint>>, headers: HeaderMap, body: Body) -> Response {
    let Some(media) = wanted(&headers).media else { return refuse(MediaType::Json, not_acceptable()) };
    let body = endpoint.read(&headers, body).await;
    endpoint.respond(media, Verb::Post, body.and_then(|body| Params::from_body(&body))).await
}

async fn by_other_method(headers: HeaderMap) -> Response {
    let media = wanted(&headers).media.unwrap_or(MediaType::Json);
    refuse(media, Refusal::wrong_method("GET, POST", "GraphQL is asked by GET or POST"))
}

fn not_acceptable() -> Refusal {
    Refusal::of_http(
        StatusCode::NOT_ACCEPTABLE,
        Code::BadUserInput,
        "answers are application/graphql-response+json or application/json; accept one of them",
    )
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Verb {
    Get,
    Post,
}

/// A request that may be run.
struct Prepared {
    request: Request,
    operation_name: Option<String>,
}

impl Endpoint {
    /// Reads a body, at most so long and for at most so long.
    async fn read(&self, headers: &HeaderMap, mut body: Body) -> Result<Vec<u8>, Refusal> {
        if !is_json(headers) || headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::of_http(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::BadUserInput,
                "send the request as content-type: application/json, in UTF-8 and not compressed",
            ));
        }
        match timeout(self.body_timeout, read_at_most(self.max_body, &mut body)).await {
            Ok(read) => read,
            Err(_) => Err(Refusal::of_http(
                StatusCode::REQUEST_TIMEOUT,
                Code::BadUserInput,
                format!("the body did not arrive within {:?}", self.body_timeout),
            )),
        }
    }

    async fn respond(&self, media: MediaType, verb: Verb, params: Result<Params, Refusal>) -> Response {
        match params.and_then(|params| self.prepare(params, verb)) {
            Ok(prepared) => self.run(media, prepared).await,
            Err(refusal) => refuse(media, refusal),
        }
    }

    /// Everything that can be refused before anything runs.
    fn prepare(&self, params: Params, verb: Verb) -> Result<Prepared, Refusal> {
        let document = self.documents.parse(&params.query)?;
        let (name, operation) = operation(&document, params.operation_name.as_deref())?;
        match operation.ty {
            OperationType::Mutation if verb == Verb::Get => {
                return Err(Refusal::wrong_method("POST", "a mutation is asked by POST"));
            }
            OperationType::Subscription => {
                return Err(Refusal::malformed("subscriptions are not answered over plain HTTP"));
            }
            OperationType::Mutation | OperationType::Query => {}
        }
        check_variables(operation, &params.variables)?;
        let operation_name = name.map(str::to_owned);
        let mut request = params.into_request();
        request.set_parsed_query((*document).clone());
        Ok(Prepared { request, operation_name })
    }

    async fn run(&self, media: MediaType, prepared: Prepared) -> Response {
        let gateway = Arc::clone(&self.gateway);
        let work = async move { gateway.execute(Caller::Anonymous, prepared.request).await };
        let mut response = match in_one_task(work).await {
            Some(response) => answer(media, response),
            None => for_mistake(media),
        };
        if let Some(name) = prepared.operation_name {
            response.extensions_mut().insert(OperationName(name));
        }
        response
    }
}

/// Runs `work` in a task that is aborted when this future is dropped; `None` if it panicked.
async fn in_one_task<F>(work: F) -> Option<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut task = JoinSet::new();
    task.spawn(work.instrument(Span::current()));
    let output = task.join_next().await.and_then(Result::ok);
    if output.is_none() {
        error!("a request panicked");
    }
    output
}

/// Collects a body of at most `limit` bytes.
async fn read_at_most(limit: usize, body: &mut Body) -> Result<Vec<u8>, Refusal> {
    let mut held = Vec::new();
    let mut length = 0_usize;
    while let Some(frame) = body.frame().await {
        let frame = frame.map_err(|_| Refusal::malformed("the body broke off"))?;
        let Ok(data) = frame.into_data() else { continue };
        length = length.saturating_add(data.len());
        if length <= limit {
            held.extend_from_slice(&data);
        } else if length > limit.saturating_mul(PATIENCE_WITH_LONG_BODIES) {
            break;
        }
    }
    if length <= limit {
        return Ok(held);
    }
    Err(Refusal::of_http(
        StatusCode::PAYLOAD_TOO_LARGE,
        Code::TooExpensive,
        format!("the body is longer than {limit} bytes, the limit of this gateway"),
    ))
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[tokio::test]
    async fn work_ends_with_the_caller_who_wanted_it() {
        let (held, dropped) = oneshot::channel::<()>();
        let mut waiting = Box::pin(in_one_task(async move {
            let _held = held;
            std::future::pending::<()>().await;
        }));
        assert!(futures_util::poll!(&mut waiting).is_pending());
        drop(waiting);
        assert!(dropped.await.is_err(), "the task was dropped, and its half of the channel with it");
    }

    #[tokio::test]
    async fn a_panic_is_an_answer_and_not_the_end() {
        assert_eq!(in_one_task(async { 7 }).await, Some(7));
        assert_eq!(in_one_task(async { assert_eq!(1, 2, "deliberate") }).await, None);
    }
}
