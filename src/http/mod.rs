//! The HTTP surface: GraphQL over HTTP to the letter, `GraphiQL`, the schema as text and the health of the process.
//!
//! It promises that nobody asks under a foreign name or from a foreign page (`origin.rs`), that nothing a caller sends is
//! held without a bound (headers, body, parsed documents, size of a query), that a caller who goes away stops the work
//! done for them alone, and that no query text, variable, header or phone number reaches the log. It knows nothing of
//! vendors: it hands one request to [`Gateway`] and writes down the answer.
//!
//! A [`Site`] has the routes, [`serve`](serve()) runs them on a socket. Look next at `graphql.rs`, the endpoint.

mod access_log;
mod admission;
mod answer;
mod body;
mod by_door;
#[doc(hidden)]
pub mod fuzzing;
mod graphiql;
mod graphql;
mod health;
mod held;
mod load;
mod loggable;
mod metrics;
mod negotiate;
mod observer;
mod origin;
mod overload;
mod params;
mod peer;
mod pieces;
mod rows;
mod serve;

use std::convert::Infallible;
use std::future::ready;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use axum::body::{Bytes, HttpBody as Body};
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Uri, header};
use axum::response::{IntoResponse, Redirect, Response};
use axum::routing::get;
use axum::{BoxError, Router};
use futures_util::FutureExt;
use futures_util::future::Either;
use tower::Service;
use tower_http::CompressionLevel;
use tower_http::compression::Compression;
use tower_http::compression::predicate::{DefaultPredicate, Predicate};
use tower_http::cors::{AllowOrigin, CorsLayer};

use admission::Admission;
use body::Bodies;
use health::Stopping;
use held::Recipient;
use ipnet::IpNet;
use load::{Haste, Load, Room};
use observer::Observer;
use origin::{Sites, is_listed};
use overload::Full;
use peer::Proxies;
use serve::{Line, Share};

pub use crate::document::Limits;
pub use graphiql::is_built as has_graphiql;
pub use serve::{Certified, Door, LEAST_PER_PEER, Timeouts, Tls, TlsError, serve};

use crate::access::Access;
use crate::config::Graphiql;
use crate::domain::{LimitName, Live, MemoryPool};
use crate::fast::{Answers, Documents};
use crate::schema::Gateway;
use crate::telemetry::meters::Meters;

/// What the HTTP surface may be told. The defaults suit everybody who has no reason to differ.
#[derive(Debug, Clone)]
pub struct HttpConfig {
    /// Where `/graphiql` takes its files from, if it is there at all.
    pub graphiql: Graphiql,
    /// The longest body of a request, in bytes; more is answered 413.
    pub max_body: usize,
    /// How long a caller may take to send a body.
    pub body_timeout: Duration,
    /// Names under which weir may be asked beside loopback's, for example `metrics.example.com`.
    pub hosts: Vec<String>,
    /// Origins of other sites whose pages may ask, for example `http://localhost:5173`.
    pub cors_origins: Vec<String>,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<IpNet>,
    /// How its door speaks TLS, if it does: metrics tell when the certificate ends.
    pub tls: Option<Arc<Tls>>,
    /// What a single query may ask for.
    pub limits: Limits,
    /// A request that takes longer is logged with what it cost; zero logs none.
    pub slow: Duration,
    /// What of all bodies that are read is held at once, in bytes; more is answered 503.
    pub held_bodies: usize,
    /// What of all answers is held while they are made and until they are read, in bytes; more is answered 503.
    pub held_answers: usize,
    /// How many requests are worked on at once; more are answered 503, of rows beyond half of it.
    pub requests: usize,
    /// The same of one caller who shows a key or a token; zero for a quarter of all, and 64 at least.
    pub requests_per_caller: usize,
}

impl Default for HttpConfig {
    fn default() -> Self {
        Self {
            graphiql: Graphiql::default(),
            max_body: 1 << 20,
            body_timeout: Duration::from_secs(30),
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: None,
            limits: Limits::default(),
            slow: Duration::from_secs(1),
            held_bodies: 32 << 20,
            held_answers: 64 << 20,
            requests: 1_000,
            requests_per_caller: 0,
        }
    }
}

impl HttpConfig {
    /// What of it may change while it is asked.
    fn bounds(&self) -> Bounds {
        Bounds {
            limits: self.limits,
            held_bodies: self.held_bodies,
            held_answers: self.held_answers,
            requests: self.requests,
            requests_per_caller: self.requests_per_caller,
        }
    }
}

/// The room that all requests share.
#[derive(Debug, Clone)]
struct Rooms {
    bodies: Arc<Bodies>,
    answers: Arc<held::Answers>,
    load: Arc<Load>,
}

impl Rooms {
    /// `answers` is shared with whoever makes them.
    fn new(bounds: &Bounds, answers: Arc<MemoryPool>, meters: &Arc<Meters>) -> Self {
        answers.resize(bounds.held_answers);
        Self {
            bodies: Bodies::new(bounds.held_bodies),
            answers: held::Answers::new(answers, Arc::clone(meters)),
            load: Load::new(bounds.room(), Arc::clone(meters)),
        }
    }
}

/// What of a config may change while it is served.
#[derive(Debug, Clone, Copy)]
pub struct Bounds {
    /// What a single query may ask for.
    pub limits: Limits,
    /// As in [`HttpConfig`].
    pub held_bodies: usize,
    /// As in [`HttpConfig`].
    pub held_answers: usize,
    /// As in [`HttpConfig`].
    pub requests: usize,
    /// As in [`HttpConfig`].
    pub requests_per_caller: usize,
}

impl Bounds {
    fn room(&self) -> Room {
        Room { all: self.requests, per_caller: self.requests_per_caller, shadow: self.limits.shadow }
    }
}

/// All routes, ready for [`serve`](serve()) or for a test that calls them directly. Cheap to clone.
#[derive(Clone)]
pub struct Site {
    guarded: Guarded,
    /// The same, compressing only for clients that accept it.
    compressing: Compression<Guarded, WhatIsWhole>,
    stopping: Stopping,
    kept: Kept,
}

/// What was read and answered before, and the limits by which it was judged.
#[derive(Clone)]
struct Kept {
    limits: Arc<Live<Limits>>,
    answers: Arc<Answers>,
    documents: Arc<Documents>,
}

impl Site {
    /// The site that answers from `gateway` whoever `access` lets in.
    #[must_use]
    pub fn new(config: HttpConfig, gateway: Arc<Gateway>, access: Arc<Access>) -> Self {
        let mode = config.graphiql;
        let sdl = gateway.sdl();
        let stopping = Stopping::default();
        let (meters, traces) = (gateway.service().meters(), gateway.service().traces());
        let observer = Observer::new(Arc::clone(meters), config.slow, traces.cloned());
        let fast_path = gateway.fast_path();
        let kept = Kept {
            limits: Arc::new(Live::new(config.limits)),
            answers: Arc::new(Answers::new(fast_path.answer_bytes)),
            documents: Arc::new(Documents::new(fast_path.document_bytes)),
        };
        let limits = Arc::clone(&kept.limits);
        let rooms = Rooms::new(&config.bounds(), Arc::clone(gateway.memory()), meters);
        let routes = Router::new()
            .merge(rows::routes(gateway.service().clone()))
            .merge(graphiql::routes(mode, gateway.service().clone()))
            .merge(metrics::routes(Arc::clone(&gateway), &kept, config.tls.clone()))
            .merge(graphql::routes(&config, gateway, &kept, &rooms))
            .merge(health::routes(stopping.clone()))
            .route("/schema.graphql", get(async move |uri: Uri| schema(limits.get().introspection, sdl, uri).await))
            .route("/", get(async move || front_page(mode)))
            .fallback(not_found);
        let origins: Arc<[String]> = config.cors_origins.into();
        let routes = if origins.is_empty() { routes } else { routes.layer(cors_layer(Arc::clone(&origins))) };
        let sites = Sites { hosts: config.hosts.into(), origins, pages: pages(mode) };
        let proxies = Proxies::new(config.trusted_proxies);
        Self::of(Guarded { routes, sites, proxies, admission: Admission(access), rooms, observer }, stopping, kept)
    }

    /// From now on requests are bounded so. What was judged by other limits is forgotten.
    pub fn set_bounds(&self, bounds: &Bounds) {
        let Rooms { bodies, answers, load } = &self.guarded.rooms;
        bodies.resize(bounds.held_bodies);
        answers.resize(bounds.held_answers);
        load.resize(bounds.room());
        self.kept.limits.set(bounds.limits);
        self.kept.documents.clear();
        self.kept.answers.clear();
    }

    /// How many connections a peer may have.
    fn share_of(&self, peer: IpAddr) -> Share {
        if self.guarded.proxies.has(peer) {
            Share::Any
        } else if self.kept.limits.get().shadow.holds(LimitName::ConnectionsPerPeer) {
            Share::Counted
        } else {
            Share::Bounded
        }
    }

    fn of(guarded: Guarded, stopping: Stopping, kept: Kept) -> Self {
        let compressing =
            Compression::new(guarded.clone()).quality(CompressionLevel::Fastest).compress_when(WhatIsWhole);
        Self { guarded, compressing, stopping, kept }
    }
}

/// What is compressed here: not what arrives piece by piece, which would wait for more.
#[derive(Debug, Clone, Copy)]
struct WhatIsWhole;

impl Predicate for WhatIsWhole {
    fn should_compress<B: Body>(&self, response: &axum::http::Response<B>) -> bool {
        let is_piecemeal = response.extensions().get::<rows::AsTheyArrive>().is_some();
        !is_piecemeal && DefaultPredicate::new().should_compress(response)
    }
}

impl std::fmt::Debug for Site {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Site").field("guarded", &self.guarded).finish_non_exhaustive()
    }
}

/// How a service of this site answers.
type Answering = Pin<Box<dyn Future<Output = Result<Response, Infallible>> + Send>>;

impl<B> Service<Request<B>> for Site
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<B>) -> Answering {
        if !request.headers().contains_key(header::ACCEPT_ENCODING) {
            return self.guarded.call(request);
        }
        let answered = self.compressing.call(request);
        Box::pin(async { Ok(answered.await?.map(axum::body::Body::new)) })
    }
}

/// The routes, and what holds for all of them.
#[derive(Debug, Clone)]
struct Guarded {
    routes: Router,
    sites: Sites,
    proxies: Proxies,
    admission: Admission,
    rooms: Rooms,
    observer: Arc<Observer>,
}

impl Guarded {
    /// Lets a request in, or says why there is no room for it.
    fn room_for<B>(&self, request: &Request<B>) -> Result<Recipient, Full> {
        let line = request.extensions().get::<Line>().cloned();
        let caller = admission::noted(request.extensions()).cloned().unwrap_or_default();
        let path = request.uri().path();
        if let Some(full) = line.as_ref().and_then(Line::full)
            && !overload::is_health(path)
        {
            self.observer.refused(full.limit, &caller);
            return Err(full);
        }
        if !overload::is_bulk(path) {
            return Ok(Recipient { caller, line, bulk: None });
        }
        self.rooms.answers.admit_rows(&caller)?;
        let turn = self.rooms.load.begin(Haste::Patient, &caller)?;
        Ok(Recipient { caller, line, bulk: Some(turn) })
    }

    /// Answers a request whose caller is known.
    fn answer<B>(&mut self, request: Request<B>) -> impl Future<Output = Result<Response, Infallible>> + use<B>
    where
        B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
    {
        match self.room_for(&request) {
            Ok(recipient) => {
                let (answers, answered) = (Arc::clone(&self.rooms.answers), self.routes.call(request));
                Either::Left(async move { Ok(answers.send(answered.await?, recipient)) })
            }
            Err(full) => Either::Right(ready(Ok(overload::refuse(&request, full)))),
        }
    }
}

impl<B> Service<Request<B>> for Guarded
where
    B: Body<Data = Bytes, Error: Into<BoxError>> + Send + 'static,
{
    type Response = Response;
    type Error = Infallible;
    type Future = Answering;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, mut request: Request<B>) -> Answering {
        self.proxies.resolve(&mut request);
        let entry = access_log::Entry::begin(&mut request, &self.observer);
        if let Err((status, error)) = self.sites.check(&request) {
            let refusal = by_door::refuse(&request, status, &error);
            return Box::pin(guard(entry, ready(Ok(refusal))));
        }
        match self.admission.admit_now(&mut request) {
            Some(Ok(())) => Box::pin(guard(entry, self.answer(request))),
            Some(Err(refused)) => {
                let refusal = admission::refuse(refused, &request);
                Box::pin(guard(entry, ready(Ok(refusal))))
            }
            None => {
                let mut guarded = self.clone();
                let admitted = async move {
                    match guarded.admission.admit(&mut request).await {
                        Ok(()) => guarded.answer(request).await,
                        Err(refused) => Ok(admission::refuse(refused, &request)),
                    }
                };
                Box::pin(guard(entry, admitted))
            }
        }
    }
}

/// Headers that are set wherever the route did not set them itself.
const GUARDING: [(HeaderName, HeaderValue); 3] = [
    (header::X_CONTENT_TYPE_OPTIONS, HeaderValue::from_static("nosniff")),
    (header::REFERRER_POLICY, HeaderValue::from_static("no-referrer")),
    (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'")),
];

/// Every request has an id, a line in the log and an answer, even if its handler panics. One function and not a layer for
/// each: a layer costs a request about as much as looking its answer up.
async fn guard(
    entry: access_log::Entry,
    answered: impl Future<Output = Result<Response, Infallible>>,
) -> Result<Response, Infallible> {
    let mut response = match AssertUnwindSafe(answered).catch_unwind().await {
        Ok(answered) => answered?,
        Err(panic) => answer::for_panic(panic),
    };
    for (name, value) in GUARDING {
        response.headers_mut().entry(name).or_insert(value);
    }
    entry.end(&mut response);
    Ok(response)
}

/// Tells browsers that pages of these origins may read answers.
fn cors_layer(origins: Arc<[String]>) -> CorsLayer {
    CorsLayer::new()
        .allow_methods([Method::GET, Method::POST])
        .allow_headers([
            header::ACCEPT,
            header::AUTHORIZATION,
            header::CONTENT_TYPE,
            access_log::REQUEST_ID,
            admission::API_KEY,
        ])
        .expose_headers([
            access_log::REQUEST_ID,
            observer::TRACE_RESPONSE,
            header::ETAG,
            header::LINK,
            header::RETRY_AFTER,
            // Readers of Parquet in a page ask for parts.
            header::ACCEPT_RANGES,
            header::CONTENT_RANGE,
        ])
        .max_age(Duration::from_hours(1))
        .allow_origin(AllowOrigin::predicate(move |origin, _| is_listed(&origins, origin)))
}

/// Where a browser that wants a page is shown one, or led to one, and nothing is run: `/graphql` leads to `GraphiQL`.
fn pages(mode: Graphiql) -> &'static [&'static str] {
    match mode {
        Graphiql::Off => &["/", "/rows"],
        Graphiql::Embedded | Graphiql::Cdn => &["/", "/rows", "/graphiql", "/graphiql/", "/graphql"],
    }
}

/// Leads a person to something to look at.
fn front_page(mode: Graphiql) -> Response {
    match mode {
        Graphiql::Off => (
            StatusCode::NOT_FOUND,
            "weir answers GraphQL at /graphql; GraphiQL is off, the schema is at /schema.graphql\n",
        )
            .into_response(),
        Graphiql::Embedded | Graphiql::Cdn => Redirect::to("/graphiql").into_response(),
    }
}

/// The schema as text, where it is told at all.
async fn schema(is_told: bool, sdl: String, uri: Uri) -> Response {
    if is_told {
        ([(header::CONTENT_TYPE, "text/plain; charset=utf-8")], sdl).into_response()
    } else {
        not_found(uri).await
    }
}

async fn not_found(uri: Uri) -> Response {
    let path = uri.path();
    (StatusCode::NOT_FOUND, format!("nothing is at {path}; weir answers GraphQL at /graphql and rows at /rows\n"))
        .into_response()
}

#[cfg(test)]
mod tests {
    use axum::body::to_bytes;
    use tower::ServiceExt;

    use super::*;

    #[tokio::test]
    async fn a_handler_that_panics_is_answered_all_the_same() {
        let routes = Router::new().route("/", get(async || assert_eq!(1, 2, "deliberate")));
        let sites = Sites { hosts: [].into(), origins: [].into(), pages: &[] };
        let meters = Meters::new(crate::domain::Timestamp::from_ms(0)).unwrap();
        let rooms = Rooms::new(&HttpConfig::default().bounds(), MemoryPool::new(0), &meters);
        let observer = Observer::new(meters, Duration::ZERO, None);
        let proxies = Proxies::new(Vec::new());
        let admission = Admission(Access::anyone());
        let guarded = Guarded { routes, sites, proxies, admission, rooms, observer };
        let (answers, documents) = (Arc::new(Answers::new(0)), Arc::new(Documents::new(0)));
        let kept = Kept { limits: Arc::default(), answers, documents };
        let site = Site::of(guarded, Stopping::default(), kept);
        let request = Request::get("/").header(header::HOST, "localhost").body(axum::body::Body::empty());
        let response = site.oneshot(request.unwrap()).await.unwrap();
        assert_eq!(response.status(), 500);
        assert!(response.headers().contains_key(access_log::REQUEST_ID), "{:?}", response.headers());
        let body = String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap();
        assert!(body.contains(r#""code":"INTERNAL""#) && !body.contains("deliberate"), "{body}");
    }
}
