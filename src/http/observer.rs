//! What is seen of a request, at whichever door it came: how it ended and how long it took is counted, and what took long is
//! logged with its cost.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode};
use axum::response::Response;
use prometheus::Histogram;
use tokio::time::Instant;
use tracing::warn;

use super::loggable::loggable;
use crate::domain::{Caller, LimitName, Made, RequestCost};
use crate::error::Code;
use crate::telemetry::meters::Meters;
use crate::telemetry::traces::{Trace, Traces};

/// A way to ask, as metrics and logs call it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Door {
    Graphql,
    Rows,
    Pages,
    Schema,
    Metrics,
    Health,
    /// Whatever is no door.
    Other,
}

impl Door {
    const ALL: [Self; 7] =
        [Self::Graphql, Self::Rows, Self::Pages, Self::Schema, Self::Metrics, Self::Health, Self::Other];

    /// The door that a path leads to.
    fn of(path: &str) -> Self {
        match path {
            "/graphql" => Self::Graphql,
            "/" | "/rows/page.js" | "/rows/page.css" => Self::Pages,
            "/schema.graphql" => Self::Schema,
            "/metrics" => Self::Metrics,
            "/rows" => Self::Rows,
            _ if path.starts_with("/rows/") => Self::Rows,
            _ if path.starts_with("/graphiql") => Self::Pages,
            _ if path.starts_with("/health/") => Self::Health,
            _ => Self::Other,
        }
    }

    pub(super) const fn as_str(self) -> &'static str {
        match self {
            Self::Graphql => "graphql",
            Self::Rows => "rows",
            Self::Pages => "pages",
            Self::Schema => "schema",
            Self::Metrics => "metrics",
            Self::Health => "health",
            Self::Other => "other",
        }
    }
}

/// Counts the requests of a site.
#[derive(Debug)]
pub(super) struct Observer {
    meters: Arc<Meters>,
    /// A request that takes longer is logged; none with zero.
    slow: Duration,
    /// By door.
    durations: [Option<Histogram>; Door::ALL.len()],
    traces: Option<Arc<Traces>>,
}

impl Observer {
    pub(super) fn new(meters: Arc<Meters>, slow: Duration, traces: Option<Arc<Traces>>) -> Arc<Self> {
        let durations = Door::ALL.map(|door| meters.durations(door.as_str()).ok());
        Arc::new(Self { meters, slow, durations, traces })
    }

    /// A limit has refused a request.
    pub(super) fn refused(&self, limit: LimitName, caller: &Caller) {
        self.meters.refused(limit, caller);
    }

    /// A limit has refused a connection.
    pub(super) fn turned_away(&self, limit: LimitName) {
        self.meters.turned_away(limit);
    }

    /// A limit would have refused one, and is only counted.
    pub(super) fn let_in(&self, limit: LimitName) {
        self.meters.let_in(limit);
    }
}

/// What its door learns of a request while it answers it.
#[derive(Debug, Default)]
pub(super) struct Notes {
    operation: OnceLock<Arc<str>>,
    cost: OnceLock<Arc<RequestCost>>,
    trace: OnceLock<Arc<Trace>>,
    caller: OnceLock<Caller>,
}

impl Notes {
    /// Who asks.
    pub(super) fn comes_from(&self, caller: Caller) {
        self.caller.get_or_init(|| caller);
    }

    /// Who asks, once that is known.
    pub(super) fn caller(&self) -> Option<&Caller> {
        self.caller.get()
    }

    /// Who asks, as logs call them; `None` where nobody has to say so.
    pub(super) fn name(&self) -> Option<String> {
        let caller = self.caller().filter(|caller| !caller.is_anonymous())?;
        Some(loggable(caller.name()))
    }

    /// What is asked for, in one of few words: never what a caller may choose freely.
    pub(super) fn asks_for(&self, operation: impl Into<Arc<str>>) {
        self.operation.get_or_init(|| operation.into());
    }

    /// What the request costs.
    pub(super) fn costs(&self, cost: &Arc<RequestCost>) {
        self.cost.get_or_init(|| Arc::clone(cost));
        if let Some(trace) = self.trace.get() {
            cost.follow(Arc::<Trace>::clone(trace));
        }
    }
}

/// A request that is being answered. Dropped before its end is told, its caller went away.
#[derive(Debug)]
pub(super) struct Seen {
    observer: Arc<Observer>,
    id: HeaderValue,
    door: Door,
    is_head: bool,
    pub(super) started: Instant,
    notes: Arc<Notes>,
    is_told: bool,
}

impl Seen {
    pub(super) fn begin<B>(observer: Arc<Observer>, request: &Request<B>, id: HeaderValue, notes: Arc<Notes>) -> Self {
        let (door, is_head) = (Door::of(request.uri().path()), request.method() == Method::HEAD);
        if let Some(traces) = &observer.traces {
            let parent = request.headers().get(TRACE_PARENT).and_then(|header| header.to_str().ok());
            notes.trace.get_or_init(|| traces.begin(parent));
        }
        Self { observer, id, door, is_head, started: Instant::now(), notes, is_told: false }
    }

    /// What tells the caller in which trace its request is.
    pub(super) fn trace_response(&self) -> Option<HeaderValue> {
        HeaderValue::from_str(&self.notes.trace.get()?.header()).ok()
    }

    /// It was answered.
    pub(super) fn end(mut self, response: &Response) {
        self.tell(outcome(response));
    }

    /// Its answer was written as it arrived, and that is over now.
    pub(super) fn end_of_rows(mut self, is_whole: bool, failed: Option<Code>) {
        self.tell(match failed {
            Some(code) => code.as_str(),
            // Whoever asks for the head alone takes no rows.
            None if is_whole || self.is_head => OK,
            None => CALLER_WENT_AWAY,
        });
    }

    fn tell(&mut self, outcome: &'static str) {
        self.is_told = true;
        let took = self.started.elapsed();
        let operation = self.notes.operation.get().map_or("none", |operation| operation);
        self.observer.meters.request(self.door.as_str(), operation, outcome);
        self.observe(took);
        if let Some(trace) = self.notes.trace.get() {
            let id = loggable(self.id.to_str().unwrap_or_default());
            let door = self.door.as_str();
            trace.end(&[("door", door), ("operation", operation), ("outcome", outcome), ("id", &id)]);
        }
        if took > self.observer.slow && !self.observer.slow.is_zero() {
            self.log(operation, outcome, took);
        }
    }

    /// Tells of a request that took long: what was waited for, and which calls were made. No text of a query is in it, no
    /// phone number, and nothing that says whose numbers were asked for.
    fn log(&self, operation: &str, outcome: &'static str, took: Duration) {
        let none = RequestCost::default();
        let cost = self.notes.cost.get().map_or(&none, |cost| &**cost);
        let call = |made: &Made| format!("{} {} {}", made.calls, made.vendor.as_str(), made.operation);
        let plan: Vec<String> = cost.made().iter().map(call).collect();
        warn!(
            id = loggable(self.id.to_str().unwrap_or_default()),
            door = self.door.as_str(),
            caller = self.notes.name(),
            operation,
            outcome,
            duration_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
            calls = cost.all_calls(),
            hits = cost.cache_hits(),
            joined = cost.collapsed(),
            queue_wait_ms = cost.queue_wait_ms(),
            plan = plan.join(", "),
            "slow request"
        );
    }

    fn observe(&self, took: Duration) {
        if let Some(Some(durations)) = self.observer.durations.get(self.door as usize) {
            durations.observe(took.as_secs_f64());
        }
    }
}

impl Drop for Seen {
    fn drop(&mut self) {
        if !self.is_told {
            self.tell(CALLER_WENT_AWAY);
        }
    }
}

/// Where a caller names the trace that its request belongs to.
const TRACE_PARENT: HeaderName = HeaderName::from_static("traceparent");

/// Where it is told the one that its request is in.
pub(super) const TRACE_RESPONSE: HeaderName = HeaderName::from_static("traceresponse");

const OK: &str = "ok";
const CALLER_WENT_AWAY: &str = "caller_went_away";

/// How a request ended: with the code that its door told of, or what its status says.
fn outcome(response: &Response) -> &'static str {
    let status = response.status();
    match response.extensions().get::<Code>() {
        Some(code) => code.as_str(),
        None if status == StatusCode::SERVICE_UNAVAILABLE => "not_ready",
        None if status.is_server_error() => Code::Internal.as_str(),
        None if status.is_client_error() => Code::BadUserInput.as_str(),
        None => OK,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_path_has_its_door() {
        for (path, door) in [
            ("/graphql", Door::Graphql),
            ("/rows", Door::Rows),
            ("/rows/x.csv", Door::Rows),
            ("/rows/page.js", Door::Pages),
            ("/", Door::Pages),
            ("/graphiql/app.js", Door::Pages),
            ("/schema.graphql", Door::Schema),
            ("/metrics", Door::Metrics),
            ("/health/live", Door::Health),
            ("/wp-login.php", Door::Other),
        ] {
            assert_eq!(Door::of(path), door, "{path}");
        }
        for (at, door) in Door::ALL.into_iter().enumerate() {
            assert_eq!(door as usize, at, "durations are found by it");
        }
    }
}
