//! `/graphql`: one request in, one answer out.
//!
//! A request that was answered before is answered again from its bytes, as long as they hold. Any other runs in one task, so
//! that its fields gather their keys together; the task ends with the connection of its caller. Calls to vendors run
//! elsewhere and are not hurt by that.

use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Value;
use async_graphql::parser::types::OperationType;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{Extensions, HeaderMap, StatusCode, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use futures_util::FutureExt;
use tokio::task::JoinSet;
use tracing::{Instrument, Span, error};

use super::access_log::{RequestId, Told};
use super::admission::Asking;
use super::answer::{Refusal, for_mistake, refuse, status_of, write};
use super::body::{Bodies, HeldBody};
use super::held::{self, Made};
use super::load::{Haste, Load};
use super::negotiate::{MediaType, is_json, wanted};
use super::observer::Notes;
use super::params::Params;
use super::{HttpConfig, Kept, Rooms, overload};
use crate::config::Graphiql;
use crate::document::{Limits, Operation};
use crate::domain::{Caller, LimitName, Live, RequestCost};
use crate::error::Code;
use crate::fast::{Answers, Documents, KeptAnswer, Key, Sending};
use crate::schema::{Answer, Gateway};

struct Endpoint {
    gateway: Arc<Gateway>,
    documents: Arc<Documents>,
    answers: Arc<Answers>,
    limits: Arc<Live<Limits>>,
    max_body: usize,
    body_timeout: Duration,
    bodies: Arc<Bodies>,
    held: Arc<held::Answers>,
    load: Arc<Load>,
    has_page: bool,
}

/// `/graphql`.
pub(super) fn routes(config: &HttpConfig, gateway: Arc<Gateway>, kept: &Kept, rooms: &Rooms) -> Router {
    let endpoint = Endpoint {
        gateway,
        documents: Arc::clone(&kept.documents),
        answers: Arc::clone(&kept.answers),
        limits: Arc::clone(&kept.limits),
        max_body: config.max_body,
        body_timeout: config.body_timeout,
        bodies: Arc::clone(&rooms.bodies),
        held: Arc::clone(&rooms.answers),
        load: Arc::clone(&rooms.load),
        has_page: config.graphiql != Graphiql::Off,
    };
    Router::new().route("/graphql", get(by_get).post(by_post).fallback(by_other_method)).with_state(Arc::new(endpoint))
}

async fn by_get(State(endpoint): State<Arc<Endpoint>>, Asking(caller): Asking, request: Request) -> Response {
    let wanted = wanted(request.headers());
    let query = request.uri().query().unwrap_or_default().to_owned();
    if wanted.page && endpoint.has_page {
        let separator = if query.is_empty() { "" } else { "?" };
        return Redirect::to(&format!("/graphiql{separator}{query}")).into_response();
    }
    let Some(media) = wanted.media else { return refuse(MediaType::Json, &not_acceptable()) };
    endpoint.respond(media, caller, Sent::ByGet(query), request.extensions()).await
}

async fn by_post(State(endpoint): State<Arc<Endpoint>>, Asking(caller): Asking, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Some(media) = wanted(&head.headers).media else { return refuse(MediaType::Json, &not_acceptable()) };
    match endpoint.read(&head.headers, body).await {
        Ok(read) => endpoint.respond(media, caller, Sent::ByPost(read.bytes.clone()), &head.extensions).await,
        Err(refusal) => {
            if let Some(limit) = refusal.limit() {
                endpoint.refused(limit, &caller);
            }
            refuse(media, &refusal)
        }
    }
}

async fn by_other_method(headers: HeaderMap) -> Response {
    let media = wanted(&headers).media.unwrap_or(MediaType::Json);
    refuse(media, &Refusal::wrong_method("GET, POST", "GraphQL is asked by GET or POST"))
}

fn not_acceptable() -> Refusal {
    Refusal::of_http(
        StatusCode::NOT_ACCEPTABLE,
        Code::BadUserInput,
        "answers are application/graphql-response+json or application/json; accept one of them",
    )
}

/// A request as it came.
enum Sent {
    /// Its query string.
    ByGet(String),
    /// Its body.
    ByPost(Bytes),
}

impl Sent {
    fn key(&self, caller: Caller) -> Key {
        match self {
            Self::ByGet(query) => Key::of_query_string(caller, query.clone()),
            Self::ByPost(body) => Key::of_body(caller, body.clone()),
        }
    }

    fn params(&self) -> Result<Params, Refusal> {
        match self {
            Self::ByGet(query) => Params::from_query_string(query),
            Self::ByPost(body) => Params::from_body(body),
        }
    }
}

/// A request whose operation may be run, if its values fit.
struct Prepared {
    operation: Arc<Operation>,
    params: Params,
}

impl Endpoint {
    async fn read(&self, headers: &HeaderMap, body: Body) -> Result<HeldBody, Refusal> {
        if !is_json(headers) || headers.contains_key(header::CONTENT_ENCODING) {
            return Err(Refusal::of_http(
                StatusCode::UNSUPPORTED_MEDIA_TYPE,
                Code::BadUserInput,
                "send the request as content-type: application/json, in UTF-8 and not compressed",
            ));
        }
        self.bodies.read(body, self.max_body, self.body_timeout).await
    }

    async fn respond(&self, media: MediaType, caller: Caller, sent: Sent, extensions: &Extensions) -> Response {
        let as_sent = sent.key(caller.clone());
        let id = extensions.get::<RequestId>();
        if let Some(kept) = self.answers.get(&as_sent, |lasting| self.gateway.still_holds(lasting)) {
            if let Some(id) = id {
                id.notes().asks_for(Arc::clone(&kept.root));
            }
            self.gateway.service().meters().kept();
            return self.again(media, &kept);
        }
        // In a box of its own: a request that is answered from its bytes does not carry the room for all the rest.
        let span = id.map_or_else(Span::none, RequestId::span);
        let notes = id.map(RequestId::notes);
        Box::pin(self.work_out(media, caller, sent, as_sent, notes).instrument(span)).await
    }

    /// Answers what has not been answered before, or not in these words.
    async fn work_out(
        &self,
        media: MediaType,
        caller: Caller,
        sent: Sent,
        as_sent: Key,
        notes: Option<&Notes>,
    ) -> Response {
        let Prepared { operation, params } = match sent.params().and_then(|params| self.prepare(&caller, params, &sent))
        {
            Ok(prepared) => prepared,
            Err(refusal) => return told(refuse(media, &refusal), None, false),
        };
        let bound = match self.gateway.bind(&operation, &params.variables) {
            Ok(bound) => bound,
            Err(refusal) => {
                if let Some(limit) = refusal.limit() {
                    self.refused(limit, &caller);
                }
                return told(refuse(media, &Refusal::of_query(refusal)), None, false);
            }
        };
        let _turn = match self.load.begin(haste(&params), &caller) {
            Ok(turn) => turn,
            Err(full) => return told(refuse(media, &overload::refusal(full)), None, false),
        };
        let (gateway, cost) = (Arc::clone(&self.gateway), Arc::new(RequestCost::of(&caller)));
        if let Some(notes) = notes {
            notes.asks_for(Arc::clone(operation.root()));
            notes.costs(&cost);
        }
        let asks = caller.clone();
        let work = async move { gateway.run(asks, bound, &params.extensions, cost).await };
        let Some(answer) = in_one_task(work).await else { return for_mistake(media) };
        let name = operation.name().cloned();
        if answer.limit() == Some(LimitName::HeldAnswerBytes) {
            return told(refuse(media, &overload::refusal(self.held.not_made(&caller))), name, false);
        }
        let json = answer.pieces();
        if let Some(lasting) = answer.lasting().filter(|_| operation.kind() == OperationType::Query) {
            let root = || Arc::clone(operation.root());
            let keep = || KeptAnswer {
                json: json.clone(),
                operation: name.clone(),
                root: root(),
                lasting: *lasting,
                sending: Sending::default(),
            };
            self.answers.put(&as_sent, keep);
        }
        let mut response = told(write(status_of(media, &answer), media, json), name, false);
        if let Some(code) = answer.code() {
            response.extensions_mut().insert(code);
        }
        if let Some(reserved) = answer.into_reserved() {
            response.extensions_mut().insert(Made(reserved));
        }
        response
    }

    /// An answer that was given before.
    fn again(&self, media: MediaType, kept: &KeptAnswer) -> Response {
        let mut response = told(write(StatusCode::OK, media, kept.json.clone()), kept.operation.clone(), true);
        if kept.bytes() > Answer::SMALL {
            response.extensions_mut().insert(Made(kept.reserved(self.gateway.memory())));
        }
        response
    }

    /// Counts that a limit has refused a request.
    fn refused(&self, limit: LimitName, caller: &Caller) {
        self.gateway.service().meters().refused(limit, caller);
    }

    /// Everything that can be refused before the values of variables are looked at.
    fn prepare(&self, caller: &Caller, params: Params, sent: &Sent) -> Result<Prepared, Refusal> {
        let read = |text: &str| {
            self.gateway.read(text, &self.limits.get()).map_err(|refusal| {
                if let Some(limit) = refusal.limit() {
                    self.refused(limit, caller);
                }
                Refusal::of_query(refusal)
            })
        };
        let document = self.documents.get(&params.query, read)?;
        for limit in document.exceeded() {
            self.gateway.service().meters().shadowed(*limit, caller);
        }
        let operation = document.operation(params.operation_name.as_deref()).map(Arc::clone);
        let operation = operation.map_err(|complaint| Refusal::of_query(Box::new(Answer::refused(&[complaint]))))?;
        match operation.kind() {
            OperationType::Mutation if matches!(sent, Sent::ByGet(_)) => {
                Err(Refusal::wrong_method("POST", "a mutation is asked by POST"))
            }
            OperationType::Subscription => Err(Refusal::malformed("subscriptions are not answered over plain HTTP")),
            OperationType::Mutation | OperationType::Query => Ok(Prepared { operation, params }),
        }
    }
}

/// Whoever has said how long they would wait, or that they are in no hurry, can come back as well.
fn haste(params: &Params) -> Haste {
    let Some(Value::Object(controls)) = params.extensions.get("weir") else { return Haste::Interactive };
    let is_hasty = controls.get("priority").is_none_or(|class| *class == Value::from("INTERACTIVE"));
    if is_hasty && !controls.contains_key("maxWait") { Haste::Interactive } else { Haste::Patient }
}

/// Tells the log what was answered.
fn told(mut response: Response, operation: Option<Arc<str>>, kept: bool) -> Response {
    response.extensions_mut().insert(Told { operation, kept });
    response
}

/// Runs `work`, in a task of its own unless it is done at once; the task is aborted when this future is dropped. `None`
/// if it panicked.
async fn in_one_task<F>(work: F) -> Option<F::Output>
where
    F: Future<Output: Send + 'static> + Send + 'static,
{
    let mut work = Box::pin(AssertUnwindSafe(work).catch_unwind());
    // What memory answers never waits, and another task would only hand it to another thread.
    let output = if let Some(output) = (&mut work).now_or_never() {
        output.ok()
    } else {
        let mut task = JoinSet::new();
        task.spawn(work.instrument(Span::current()));
        task.join_next().await.and_then(Result::ok).and_then(Result::ok)
    };
    if output.is_none() {
        error!("a request panicked");
    }
    output
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
        let late = async {
            tokio::task::yield_now().await;
            assert_eq!(1, 2, "deliberate");
        };
        assert_eq!(in_one_task(late).await, None);
    }
}
