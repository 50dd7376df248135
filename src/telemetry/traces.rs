//! Traces for a collector: a span for each request, for what its fields ask, for each wait for a permit and each call.
//!
//! Spans are made of what weir tells step by step ([`Follower`]), not of what is logged: nothing gets into one that is not put
//! there by name. Vendors are strangers and learn no id of a trace; a collector learns no phone number and no query. Why it is
//! done like this is told in `docs/decisions/0022-metrics.md`.

use std::fmt;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use bytes::Bytes;
use opentelemetry::propagation::{Extractor, TextMapPropagator};
use opentelemetry::trace::{Span as _, SpanKind, TraceContextExt, Tracer, TracerProvider};
use opentelemetry::{Context, KeyValue};
use opentelemetry_http::{HttpClient, HttpError};
use opentelemetry_otlp::{Protocol, SpanExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::propagation::TraceContextPropagator;
use opentelemetry_sdk::trace::{SdkTracer, SdkTracerProvider, Span};
use reqwest::redirect::Policy;
use tokio::runtime::Handle;
use tokio::time::Instant;

use crate::domain::{Clock, Follower, Step};

/// How long a collector may take for a batch of spans, and the end of weir for the last of them.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why nothing can be sent to a collector.
#[derive(Debug, thiserror::Error)]
#[error("`telemetry.otlp`: {0}")]
pub struct TracesError(String);

/// The way to a collector. Batches are sent in the background; what a collector does not take in time is thrown away.
pub struct Traces {
    provider: SdkTracerProvider,
    tracer: SdkTracer,
    clock: Arc<dyn Clock>,
}

impl Traces {
    /// Sends to the collector at `endpoint`, such as `http://127.0.0.1:4318`. Must be made inside a tokio runtime.
    ///
    /// # Errors
    /// No client for HTTP, or an endpoint that is not one.
    pub fn new(endpoint: &str, clock: Arc<dyn Clock>) -> Result<Arc<Self>, TracesError> {
        let client = reqwest::Client::builder().no_proxy().redirect(Policy::none()).timeout(PATIENCE).build();
        let client = client.map_err(|error| TracesError(error.to_string()))?;
        let way = Way { client, runtime: Handle::current(), is_failing: AtomicBool::new(false) };
        let exporter = SpanExporter::builder()
            .with_http()
            .with_http_client(way)
            .with_endpoint(format!("{}/v1/traces", endpoint.trim_end_matches('/')))
            .with_timeout(PATIENCE)
            // Whatever the environment says: nothing else is compiled in.
            .with_protocol(Protocol::HttpBinary)
            .build()
            .map_err(|error| TracesError(error.to_string()))?;
        let version = KeyValue::new("service.version", env!("CARGO_PKG_VERSION"));
        let resource = Resource::builder_empty().with_service_name("weir").with_attribute(version).build();
        let provider = SdkTracerProvider::builder().with_batch_exporter(exporter).with_resource(resource).build();
        let tracer = provider.tracer("weir");
        Ok(Arc::new(Self { provider, tracer, clock }))
    }

    /// A request begins; `traceparent` is what its caller says of the trace that it belongs to. Only its ids are taken, and
    /// only if they are ids.
    #[must_use]
    pub fn begin(&self, traceparent: Option<&str>) -> Arc<Trace> {
        let parent = traceparent.map_or_else(Context::new, |header| {
            TraceContextPropagator::new().extract_with_context(&Context::new(), &Parent(header))
        });
        let (began, at) = (Instant::now(), wall_clock(&*self.clock));
        let builder = self.tracer.span_builder("request").with_kind(SpanKind::Server).with_start_time(at);
        let span = self.tracer.build_with_context(builder, &parent);
        let context = Context::new().with_remote_span_context(span.span_context().clone());
        Arc::new(Trace { tracer: self.tracer.clone(), context, span: Mutex::new(Some(span)), began, at })
    }

    /// Sends what is there, and ends. Takes a while: not to be called on a worker.
    pub fn end(&self) {
        // A collector that is away has been logged.
        drop(self.provider.shutdown_with_timeout(PATIENCE));
    }
}

fn wall_clock(clock: &dyn Clock) -> SystemTime {
    SystemTime::UNIX_EPOCH + Duration::from_millis(u64::try_from(clock.now().as_ms()).unwrap_or_default())
}

/// The one header that is read of a caller's trace.
struct Parent<'a>(&'a str);

impl Extractor for Parent<'_> {
    fn get(&self, key: &str) -> Option<&str> {
        (key == "traceparent").then_some(self.0)
    }

    fn keys(&self) -> Vec<&str> {
        vec!["traceparent"]
    }
}

/// One request that is followed.
pub struct Trace {
    tracer: SdkTracer,
    /// That of the request's span.
    context: Context,
    /// `None` once it has ended.
    span: Mutex<Option<Span>>,
    began: Instant,
    at: SystemTime,
}

impl Trace {
    /// What tells the caller which trace its request is in, as W3C Trace Context writes it.
    #[must_use]
    pub fn header(&self) -> String {
        let span = self.context.span();
        let ids = span.span_context();
        format!("00-{}-{}-{:02x}", ids.trace_id(), ids.span_id(), ids.trace_flags().to_u8())
    }

    /// The request has ended.
    pub fn end(&self, facts: &[(&'static str, &str)]) {
        let span = self.span.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(mut span) = span {
            span.set_attributes(attributes(facts));
            span.end_with_timestamp(self.at + self.began.elapsed());
        }
    }
}

fn attributes(facts: &[(&'static str, &str)]) -> Vec<KeyValue> {
    facts.iter().map(|(name, value)| KeyValue::new(*name, (*value).to_owned())).collect()
}

impl Follower for Trace {
    fn took(&self, step: &Step<'_>) {
        let at = |instant: Instant| self.at + instant.saturating_duration_since(self.began);
        let kind = if step.name == "vendor call" { SpanKind::Client } else { SpanKind::Internal };
        let builder = self.tracer.span_builder(step.name).with_kind(kind).with_start_time(at(step.began));
        let builder = builder.with_attributes(attributes(step.facts));
        let mut span = self.tracer.build_with_context(builder, &self.context);
        span.end_with_timestamp(at(step.ended));
    }
}

/// How batches get to the collector. The library sends from a thread of its own, and the client needs a runtime.
#[derive(Debug)]
struct Way {
    client: reqwest::Client,
    runtime: Handle,
    is_failing: AtomicBool,
}

type Sent = Result<http::Response<Bytes>, HttpError>;

impl HttpClient for Way {
    fn send_bytes<'life0, 'async_trait>(
        &'life0 self,
        request: http::Request<Bytes>,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send + 'async_trait>>
    where
        'life0: 'async_trait,
        Self: 'async_trait,
    {
        Box::pin(async move {
            let (client, request) = (self.client.clone(), reqwest::Request::try_from(request)?);
            let sent = self.runtime.spawn(async move { send(&client, request).await }).await;
            let sent = sent.unwrap_or_else(|ended| Err(ended.into()));
            let is_taken = sent.as_ref().is_ok_and(|answer| answer.status().is_success());
            if self.is_failing.swap(!is_taken, Ordering::Relaxed) == is_taken {
                if is_taken {
                    tracing::info!("the collector takes traces again");
                } else {
                    tracing::warn!("the collector does not take traces: they are thrown away");
                }
            }
            sent
        })
    }
}

#[expect(clippy::disallowed_methods, reason = "it goes to the collector, and no vendor is asked")]
async fn send(client: &reqwest::Client, request: reqwest::Request) -> Sent {
    let answer = client.execute(request).await?;
    // What it says is of no use here, and may be long.
    let mut sent = http::Response::new(Bytes::new());
    *sent.status_mut() = answer.status();
    Ok(sent)
}

impl fmt::Debug for Traces {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Traces").finish_non_exhaustive()
    }
}

impl fmt::Debug for Trace {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Trace").finish_non_exhaustive()
    }
}
