//! Every metric that `/metrics` shows: its name, its kind, its labels and what it means. Dashboards and alert rules are made
//! of these names, so they do not change. `docs/operations/metrics.md` has the same table.

/// How a metric is read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Only grows, from 0 at the start of the process.
    Counter,
    /// As it is now.
    Gauge,
    /// How often something took at most so long.
    Histogram,
}

impl Kind {
    /// As Prometheus spells it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Counter => "counter",
            Self::Gauge => "gauge",
            Self::Histogram => "histogram",
        }
    }
}

/// One metric.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Name {
    /// What it is called.
    pub name: &'static str,
    /// How it is read.
    pub kind: Kind,
    /// Its labels, in the order in which their values are given.
    pub labels: &'static [&'static str],
    /// What it means.
    pub help: &'static str,
}

const fn counter(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Name {
    Name { name, kind: Kind::Counter, labels, help }
}

const fn gauge(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Name {
    Name { name, kind: Kind::Gauge, labels, help }
}

const fn histogram(name: &'static str, labels: &'static [&'static str], help: &'static str) -> Name {
    Name { name, kind: Kind::Histogram, labels, help }
}

/// The permits of one operation of one account.
const QUOTA: &[&str] = &["vendor", "account", "operation"];
/// A series that is collected.
const SERIES: &[&str] = &["dataset", "account", "entity", "kind"];

/// Which weir this is.
pub const BUILD: Name = gauge("weir_build_info", &["version"], "1, with the version as a label.");
/// Since when it runs.
pub const START: Name =
    gauge("process_start_time_seconds", &[], "When the gateway started, in seconds since 1970-01-01T00:00:00Z.");
/// Until when it can be trusted.
pub const CERTIFICATE_END: Name = gauge(
    "weir_certificate_end_time_seconds",
    &[],
    "When the certificate of `http.tls` that is shown now ends, or one that leads from it to its issuer, in seconds since 1970-01-01T00:00:00Z. Absent without TLS.",
);
/// Requests by how they ended.
pub const REQUESTS: Name = counter(
    "weir_requests_total",
    &["door", "operation", "outcome"],
    "Requests by how they ended: ok, the code of their first error, or caller_went_away.",
);
/// How long requests took.
pub const REQUEST_DURATION: Name = histogram(
    "weir_request_duration_seconds",
    &["door"],
    "From the head of a request to its answer; for rows that arrive little by little, to their last byte.",
);
/// Answers given again from their bytes.
pub const KEPT: Name =
    counter("weir_kept_answers_total", &[], "Requests that were answered again from the bytes of an earlier answer.");
/// Requests that a limit refused.
pub const REFUSALS: Name = counter(
    "weir_refusals_total",
    &["limit", "caller"],
    "Requests, or fields of them, that a limit refused, by the limit and by the name of the caller's key.",
);
/// What limits would refuse that are only counted.
pub const SHADOWED: Name = counter(
    "weir_shadow_refusals_total",
    &["limit", "caller"],
    "Requests, or fields of them, that a limit of `limits.shadow` would have refused.",
);
/// Calls of vendors.
pub const CALLS: Name = counter(
    "weir_upstream_calls_total",
    &["vendor", "account", "operation", "outcome"],
    "Attempts to call a vendor by how they ended: ok, the kind of failure, or not_sent.",
);
/// How long calls took.
pub const CALL_DURATION: Name = histogram(
    "weir_upstream_call_duration_seconds",
    QUOTA,
    "From the permit of an attempt to the end of the vendor's reply; attempts that were not sent are left out.",
);
/// How long calls waited.
pub const PERMIT_WAIT: Name = histogram(
    "weir_permit_wait_seconds",
    &["vendor", "account", "operation", "class"],
    "From the queueing of an attempt to its permit, by the most urgent class that waited for it.",
);
/// Calls that the vendor throttled.
pub const THROTTLES: Name = counter(
    "weir_throttles_total",
    &["vendor", "account", "operation", "cause"],
    "Calls that the vendor throttled, by cause: own if weir had all its permits out, stranger if it had not, unknown where \
     replicas share them.",
);
/// Slices by where they came from.
pub const SLICES: Name = counter(
    "weir_slices_total",
    &["operation", "source"],
    "Slices that were handed to requests: from memory, redis or archive, from a call that another request made (joined), or \
     from a call of their own (vendor).",
);
/// Slices served as stale.
pub const STALE: Name = counter(
    "weir_stale_answers_total",
    &["operation"],
    "Slices that were handed to requests past their time to live; they are in weir_slices_total as well.",
);
/// How far behind the present the newest data are.
pub const FRESHNESS_LAG: Name = gauge(
    "weir_freshness_lag_seconds",
    &["operation", "finality"],
    "How far behind the present the newest instant is that anything held tells of (any), or tells of finally (final), over \
     all channels and applications. Absent until something is held.",
);
/// Bytes of a cache.
pub const CACHE_BYTES: Name =
    gauge("weir_cache_bytes", &["cache"], "What a cache holds, in bytes as weir estimates them.");
/// Room of a cache.
pub const CACHE_MAX_BYTES: Name = gauge("weir_cache_max_bytes", &["cache"], "What a cache may hold at most.");
/// Entries of a cache.
pub const CACHE_ENTRIES: Name =
    gauge("weir_cache_entries", &["cache"], "Entries of a cache: blocks of slices, whole answers, or queries.");
/// Permits a second.
pub const QUOTA_LIMIT: Name = gauge("weir_quota_limit", QUOTA, "Calls a second that weir makes at most.");
/// Permits a second that are used.
pub const QUOTA_BUDGET: Name = gauge(
    "weir_quota_budget",
    QUOTA,
    "Calls a second that are used of the limit: fewer for a while after throttles that weir did not cause.",
);
/// Permits that are free.
pub const QUOTA_AVAILABLE: Name = gauge("weir_quota_available", QUOTA, "Permits that could be given at once.");
/// Permits that are not.
pub const PERMITS_IN_USE: Name =
    gauge("weir_permits_in_use", QUOTA, "Permits that are out with a call, or rest after one.");
/// Calls that wait.
pub const QUOTA_QUEUED: Name = gauge("weir_quota_queued", QUOTA, "Calls that wait for a permit.");
/// The same by class.
pub const QUEUE_LENGTH: Name = gauge(
    "weir_queue_length",
    &["vendor", "account", "operation", "class"],
    "Calls that wait for a permit, by the class of whoever wants them.",
);
/// How long the next call would wait.
pub const QUOTA_EXPECTED_WAIT: Name =
    gauge("weir_quota_expected_wait_seconds", QUOTA, "How long the next interactive call would wait for its permit.");
/// Throttles, whoever caused them.
pub const QUOTA_THROTTLED: Name =
    counter("weir_quota_throttled_total", QUOTA, "Calls that the vendor throttled since the start.");
/// Whether a vendor is asked.
pub const BREAKER_OPEN: Name = gauge(
    "weir_breaker_open",
    QUOTA,
    "1 while the vendor is not asked since it keeps failing, and until the call that finds out has succeeded; else 0.",
);
/// Rows that wait for the archive.
pub const ARCHIVE_WAITING: Name =
    gauge("weir_archive_rows_waiting", &[], "Rows that wait to be written to the archive.");
/// Rows in the archive.
pub const ARCHIVE_ROWS: Name =
    counter("weir_archive_rows_written_total", &[], "Rows that were written to the archive since the start.");
/// Slices in the archive.
pub const ARCHIVE_SLICES: Name =
    counter("weir_archive_slices_written_total", &[], "Slices that were written to the archive since the start.");
/// Slices that found no room.
pub const ARCHIVE_LOST: Name = counter(
    "weir_archive_slices_lost_total",
    &[],
    "Slices that were not written to the archive, and will be when they are fetched again.",
);
/// Numbers told otherwise.
pub const ARCHIVE_RESTATED: Name =
    counter("weir_archive_restated_total", &[], "Final numbers that the vendor has told otherwise since.");
/// Whether the archive is written.
pub const ARCHIVE_FAILING: Name = gauge("weir_archive_failing", &[], "1 while the archive cannot be written, else 0.");
/// Windows of a series.
pub const COLLECTION_WINDOWS: Name = gauge(
    "weir_collection_windows",
    &["dataset", "account", "entity", "kind", "state"],
    "Windows of a series that are kept as final or provisional, are due to be fetched, or were forgotten by the vendor \
     before they were (missing).",
);
/// How late a series is.
pub const COLLECTION_LATE: Name = gauge(
    "weir_collection_late_seconds",
    SERIES,
    "For how long the window that waits longest could have been fetched as final; 0 if none waits.",
);
/// Who collects a series.
pub const COLLECTION_IS_COLLECTOR: Name =
    gauge("weir_collection_is_collector", SERIES, "1 if this process collects the series, else 0.");

/// All of them.
pub const ALL: [Name; 36] = [
    BUILD,
    START,
    CERTIFICATE_END,
    REQUESTS,
    REQUEST_DURATION,
    KEPT,
    REFUSALS,
    SHADOWED,
    CALLS,
    CALL_DURATION,
    PERMIT_WAIT,
    THROTTLES,
    SLICES,
    STALE,
    FRESHNESS_LAG,
    CACHE_BYTES,
    CACHE_MAX_BYTES,
    CACHE_ENTRIES,
    QUOTA_LIMIT,
    QUOTA_BUDGET,
    QUOTA_AVAILABLE,
    PERMITS_IN_USE,
    QUOTA_QUEUED,
    QUEUE_LENGTH,
    QUOTA_EXPECTED_WAIT,
    QUOTA_THROTTLED,
    BREAKER_OPEN,
    ARCHIVE_WAITING,
    ARCHIVE_ROWS,
    ARCHIVE_SLICES,
    ARCHIVE_LOST,
    ARCHIVE_RESTATED,
    ARCHIVE_FAILING,
    COLLECTION_WINDOWS,
    COLLECTION_LATE,
    COLLECTION_IS_COLLECTOR,
];
