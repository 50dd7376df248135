//! What is counted while requests are answered, one set for each gateway; what can be read where it is kept is read when
//! somebody asks ([`Readings`]).
//!
//! The label of an outcome, an operation or a caller is always one of few: nothing that a caller may choose freely becomes a
//! label. Why it is counted like this is told in `docs/decisions/0022-metrics.md`.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use prometheus::core::Collector;
use prometheus::{
    CounterVec, Gauge, GaugeVec, Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, Opts, Registry,
    TextEncoder,
};
use tracing::info;

use super::names::{self, Kind, Name};
use crate::domain::{Account, CallError, CallErrorKind, Caller, Class, LimitName, Timestamp};

/// Why there is nothing to count with: a name that is not one, which a test would have found.
pub use prometheus::Error as MetersError;

/// Requests are answered between a microsecond, from memory, and minutes, for rows that wait for permits.
const REQUEST_SECONDS: [f64; 14] =
    [0.000_1, 0.000_5, 0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 10.0, 30.0, 120.0];
/// A call ends by `upstream.timeout`, and what sets it up by `upstream.connect_timeout`.
const CALL_SECONDS: [f64; 11] = [0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0];
/// A permit is there at once, or after so many rounds of a second; pulls of rows wait for up to an hour.
const WAIT_SECONDS: [f64; 11] = [0.001, 0.01, 0.1, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 300.0, 3_600.0];

/// What one gateway counts.
pub struct Meters {
    registry: Registry,
    requests: IntCounterVec,
    request_duration: HistogramVec,
    kept: IntCounter,
    refusals: IntCounterVec,
    shadowed: IntCounterVec,
    calls: IntCounterVec,
    call_duration: HistogramVec,
    permit_wait: HistogramVec,
    throttles: IntCounterVec,
    slices: IntCounterVec,
    stale: IntCounterVec,
}

impl Meters {
    /// Nothing was counted yet; the gateway starts at `started`.
    ///
    /// # Errors
    /// Two metrics of one name, or a name that is not one.
    pub fn new(started: Timestamp) -> Result<Arc<Self>, MetersError> {
        let all = Registry::new();
        let build = in_registry(&all, GaugeVec::new(opts(&names::BUILD), names::BUILD.labels)?)?;
        build.get_metric_with_label_values(&[env!("CARGO_PKG_VERSION")])?.set(1.0);
        let start = in_registry(&all, Gauge::with_opts(opts(&names::START))?)?;
        start.set(seconds(Duration::from_millis(u64::try_from(started.as_ms()).unwrap_or_default())));
        Ok(Arc::new(Self {
            requests: counters(&all, &names::REQUESTS)?,
            request_duration: histograms(&all, &names::REQUEST_DURATION, &REQUEST_SECONDS)?,
            kept: in_registry(&all, IntCounter::with_opts(opts(&names::KEPT))?)?,
            refusals: counters(&all, &names::REFUSALS)?,
            shadowed: counters(&all, &names::SHADOWED)?,
            calls: counters(&all, &names::CALLS)?,
            call_duration: histograms(&all, &names::CALL_DURATION, &CALL_SECONDS)?,
            permit_wait: histograms(&all, &names::PERMIT_WAIT, &WAIT_SECONDS)?,
            throttles: counters(&all, &names::THROTTLES)?,
            slices: counters(&all, &names::SLICES)?,
            stale: counters(&all, &names::STALE)?,
            registry: all,
        }))
    }

    /// A request has ended.
    pub fn request(&self, door: &'static str, operation: &str, outcome: &'static str) {
        if let Ok(requests) = self.requests.get_metric_with_label_values(&[door, operation, outcome]) {
            requests.inc();
        }
    }

    /// How long the requests of a door took.
    ///
    /// # Errors
    /// None for a door: it has the one label that is asked for.
    pub fn durations(&self, door: &'static str) -> Result<Histogram, MetersError> {
        self.request_duration.get_metric_with_label_values(&[door])
    }

    /// A request was answered from bytes that were kept.
    pub fn kept(&self) {
        self.kept.inc();
    }

    /// A limit has refused a request, or a field of it.
    pub fn refused(&self, limit: LimitName, caller: &Caller) {
        count(&self.refusals, limit, caller.label());
    }

    /// A limit has refused a connection, on which nobody has said who they are.
    pub fn turned_away(&self, limit: LimitName) {
        count(&self.refusals, limit, NOBODY);
    }

    /// A limit would have refused a connection, and is only counted.
    pub fn let_in(&self, limit: LimitName) {
        info!(limit = limit.as_str(), caller = NOBODY, "a limit that is only counted is exceeded");
        count(&self.shadowed, limit, NOBODY);
    }

    /// A limit would have refused a request, or a field of it, and is only counted.
    pub fn shadowed(&self, limit: LimitName, caller: &Caller) {
        info!(limit = limit.as_str(), caller = caller.label(), "a limit that is only counted is exceeded");
        count(&self.shadowed, limit, caller.label());
    }

    /// What the calls of one operation of one account are counted with.
    #[must_use]
    pub fn calls(self: &Arc<Self>, account: &Account, operation: &'static str) -> CallMeter {
        let meter = CallMeter { meters: Arc::clone(self), account: account.clone(), operation };
        // What has not happened yet is 0 and not absent, so that its first time is seen.
        drop(self.calls.get_metric_with_label_values(&meter.labels("ok")));
        for cause in [Cause::Own, Cause::Stranger, Cause::Unknown] {
            drop(self.throttles.get_metric_with_label_values(&meter.labels(cause.as_str())));
        }
        meter
    }

    /// What the slices of one operation are counted with.
    #[must_use]
    pub fn slices(&self, operation: &'static str) -> Option<SliceMeter> {
        let of = |source: Origin| self.slices.get_metric_with_label_values(&[operation, source.as_str()]).ok();
        let [memory, redis, archive, joined, vendor] = Origin::ALL.map(of);
        let stale = self.stale.get_metric_with_label_values(&[operation]).ok()?;
        Some(SliceMeter { by_source: [memory?, redis?, archive?, joined?, vendor?], stale })
    }

    /// All that was counted, and `readings`, as Prometheus reads it.
    #[must_use]
    pub fn exposition(&self, readings: &Readings) -> String {
        let mut families = self.registry.gather();
        families.extend(readings.registry.gather());
        families.sort_by(|one, other| one.name().cmp(other.name()));
        TextEncoder::new().encode_to_string(&families).unwrap_or_default()
    }
}

/// Where a slice came from that was handed to a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Origin {
    /// It was held.
    Memory,
    /// Another replica held it.
    Redis,
    /// The archive did.
    Archive,
    /// Somebody else's call has brought it.
    Joined,
    /// A call that was made for the request.
    Vendor,
}

impl Origin {
    /// All of them.
    pub const ALL: [Self; 5] = [Self::Memory, Self::Redis, Self::Archive, Self::Joined, Self::Vendor];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Memory => "memory",
            Self::Redis => "redis",
            Self::Archive => "archive",
            Self::Joined => "joined",
            Self::Vendor => "vendor",
        }
    }
}

/// Counts the slices of one operation.
#[derive(Debug, Clone)]
pub struct SliceMeter {
    by_source: [IntCounter; Origin::ALL.len()],
    stale: IntCounter,
}

impl SliceMeter {
    /// So many slices were handed to a request.
    pub fn handed(&self, from: Origin, n: usize) {
        if let Some(counter) = self.by_source.get(from as usize).filter(|_| n > 0) {
            counter.inc_by(n as u64);
        }
    }

    /// So many of them were stale.
    pub fn stale(&self, n: usize) {
        self.stale.inc_by(n as u64);
    }
}

/// Whose calls a throttle counts against.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Cause {
    /// weir had all its permits out: the vendor allows less than is configured, or somebody else came on top.
    Own,
    /// It had not: somebody else uses the account.
    Stranger,
    /// Permits are shared with replicas, and nobody knows who had how many out.
    Unknown,
}

impl Cause {
    const fn as_str(self) -> &'static str {
        match self {
            Self::Own => "own",
            Self::Stranger => "stranger",
            Self::Unknown => "unknown",
        }
    }
}

/// Counts the calls of one operation of one account.
#[derive(Clone)]
pub struct CallMeter {
    meters: Arc<Meters>,
    account: Account,
    operation: &'static str,
}

impl CallMeter {
    /// The vendor's name for what is called.
    #[must_use]
    pub fn operation(&self) -> &'static str {
        self.operation
    }

    fn labels<'a>(&'a self, last: &'a str) -> [&'a str; 4] {
        [self.account.vendor().as_str(), self.account.name(), self.operation, last]
    }

    /// An attempt has its permit, for which it has waited.
    pub fn waited(&self, class: Class, wait: Duration) {
        if let Ok(waits) = self.meters.permit_wait.get_metric_with_label_values(&self.labels(class_name(class))) {
            waits.observe(seconds(wait));
        }
    }

    /// An attempt has ended.
    pub fn called<A>(&self, result: &Result<A, CallError>, took: Duration) {
        let outcome = outcome(result);
        if let Ok(calls) = self.meters.calls.get_metric_with_label_values(&self.labels(outcome)) {
            calls.inc();
        }
        let [vendor, account, operation, _] = self.labels("");
        let durations = self.meters.call_duration.get_metric_with_label_values(&[vendor, account, operation]);
        if let Ok(durations) = durations
            && outcome != "not_sent"
        {
            durations.observe(seconds(took));
        }
    }

    /// The vendor has throttled a call.
    pub fn throttled(&self, cause: Cause) {
        if let Ok(throttles) = self.meters.throttles.get_metric_with_label_values(&self.labels(cause.as_str())) {
            throttles.inc();
        }
    }
}

/// How a cache stands.
#[derive(Debug, Clone, Copy, Default)]
pub struct CacheReading {
    /// What it holds, as estimated.
    pub bytes: u64,
    /// What it may hold.
    pub max_bytes: u64,
    /// How many entries it has.
    pub entries: u64,
    /// The newest instant that anything in it has told of.
    pub told_until: Option<Timestamp>,
    /// The newest instant that anything in it has told of finally.
    pub final_until: Option<Timestamp>,
}

/// What is read where it is kept, each time somebody asks.
#[derive(Default)]
pub struct Readings {
    registry: Registry,
    gauges: BTreeMap<&'static str, GaugeVec>,
    counters: BTreeMap<&'static str, CounterVec>,
}

impl Readings {
    /// The metric stands at `value` for these values of its labels.
    pub fn set(&mut self, name: &Name, labels: &[&str], value: f64) {
        // A metric that cannot be shown is left out: the others are shown all the same, and a test misses it.
        drop(self.try_set(name, labels, value));
    }

    fn try_set(&mut self, name: &Name, labels: &[&str], value: f64) -> Result<(), MetersError> {
        if name.kind == Kind::Counter {
            if !self.counters.contains_key(name.name) {
                let counters = in_registry(&self.registry, CounterVec::new(opts(name), name.labels)?)?;
                self.counters.insert(name.name, counters);
            }
            let Some(counters) = self.counters.get(name.name) else { return Ok(()) };
            counters.get_metric_with_label_values(labels)?.inc_by(value);
        } else {
            if !self.gauges.contains_key(name.name) {
                let gauges = in_registry(&self.registry, GaugeVec::new(opts(name), name.labels)?)?;
                self.gauges.insert(name.name, gauges);
            }
            let Some(gauges) = self.gauges.get(name.name) else { return Ok(()) };
            gauges.get_metric_with_label_values(labels)?.set(value);
        }
        Ok(())
    }
}

/// Who stands behind a connection before its first request.
const NOBODY: &str = "anonymous";

fn count(counters: &IntCounterVec, limit: LimitName, caller: &str) {
    if let Ok(counter) = counters.get_metric_with_label_values(&[limit.as_str(), caller]) {
        counter.inc();
    }
}

fn opts(name: &Name) -> Opts {
    Opts::new(name.name, name.help)
}

fn in_registry<C: Collector + Clone + 'static>(all: &Registry, metric: C) -> Result<C, MetersError> {
    all.register(Box::new(metric.clone()))?;
    Ok(metric)
}

fn counters(all: &Registry, name: &Name) -> Result<IntCounterVec, MetersError> {
    in_registry(all, IntCounterVec::new(opts(name), name.labels)?)
}

fn histograms(all: &Registry, name: &Name, buckets: &[f64]) -> Result<HistogramVec, MetersError> {
    let opts = HistogramOpts::new(name.name, name.help).buckets(buckets.to_vec());
    in_registry(all, HistogramVec::new(opts, name.labels)?)
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

/// How labels spell how an attempt ended.
#[must_use]
pub fn outcome<A>(result: &Result<A, CallError>) -> &'static str {
    match result {
        Ok(_) => "ok",
        Err(error) if error.is_ours() => "not_sent",
        Err(error) => kind_name(error.kind),
    }
}

/// How labels spell a class.
#[must_use]
pub const fn class_name(class: Class) -> &'static str {
    match class {
        Class::Interactive => "interactive",
        Class::Bulk => "bulk",
        Class::Background => "background",
    }
}

/// How labels spell why a call failed.
#[must_use]
pub const fn kind_name(kind: CallErrorKind) -> &'static str {
    match kind {
        CallErrorKind::Throttled => "throttled",
        CallErrorKind::Denied => "denied",
        CallErrorKind::NotSubscribed => "not_subscribed",
        CallErrorKind::UnknownChannel => "unknown_channel",
        CallErrorKind::UnknownApplication => "unknown_application",
        CallErrorKind::OutOfRetention => "out_of_retention",
        CallErrorKind::BadInput => "bad_input",
        CallErrorKind::Adjusted => "adjusted",
        CallErrorKind::PermitExpired => "permit_expired",
        CallErrorKind::Unavailable => "unavailable",
        CallErrorKind::TimedOut => "timed_out",
        CallErrorKind::BadReply => "bad_reply",
        CallErrorKind::Internal => "internal",
    }
}

impl fmt::Debug for Meters {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Meters").finish_non_exhaustive()
    }
}

impl fmt::Debug for CallMeter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("CallMeter").field("operation", &self.operation).finish_non_exhaustive()
    }
}

impl fmt::Debug for Readings {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Readings").finish_non_exhaustive()
    }
}
