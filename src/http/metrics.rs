//! `/metrics` for Prometheus: what was counted since the start, and what is read where it is kept: the permits of every
//! account, the caches, how the archive is written, and how far each series is that is collected.

use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::Kept;
use super::admission::Asking;
use super::answer::{Refusal, refuse};
use super::negotiate::MediaType;
use super::serve::Tls;
use crate::archive::Standing;
use crate::domain::{Class, Timestamp};
use crate::error::{Code, WeirError};
use crate::fast::{Answers, Documents};
use crate::query::Quota;
use crate::query::collections::Collection;
use crate::schema::Gateway;
use crate::telemetry::meters::{CacheReading, Readings, class_name};
use crate::telemetry::names::{self, Name};

/// What is read.
struct Sources {
    gateway: Arc<Gateway>,
    answers: Arc<Answers>,
    documents: Arc<Documents>,
    tls: Option<Arc<Tls>>,
}

/// `/metrics`.
pub(super) fn routes(gateway: Arc<Gateway>, kept: &Kept, tls: Option<Arc<Tls>>) -> Router {
    let (answers, documents) = (Arc::clone(&kept.answers), Arc::clone(&kept.documents));
    let sources = Arc::new(Sources { gateway, answers, documents, tls });
    Router::new().route("/metrics", get(exposition)).with_state(sources)
}

async fn exposition(State(sources): State<Arc<Sources>>, Asking(caller): Asking) -> Response {
    if !caller.sees_everything() {
        let message = "metrics are of weir as a whole: a key that sees all channels and applications reads them";
        let error = WeirError::new(Code::Forbidden, message);
        return refuse(MediaType::Json, &Refusal::of_error(StatusCode::FORBIDDEN, &error));
    }
    let mut readings = Readings::default();
    let service = sources.gateway.service();
    for quota in sources.gateway.quotas() {
        permits(&quota, &mut readings);
    }
    for (operation, reading) in service.caches() {
        cache(operation, &reading, &mut readings);
        let now = service.now();
        freshness(operation, "any", reading.told_until, now, &mut readings);
        freshness(operation, "final", reading.final_until, now, &mut readings);
    }
    cache("answers", &sources.answers.reading(), &mut readings);
    cache("documents", &sources.documents.reading(), &mut readings);
    if let Some(writing) = service.writing() {
        archive(&writing, &mut readings);
    }
    for one in service.collections().seen_by(&caller) {
        collection(&one, &mut readings);
    }
    if let Some(ends_at) = sources.tls.as_ref().and_then(|tls| tls.ends_at()) {
        readings.set(&names::CERTIFICATE_END, &[], since_epoch(ends_at));
    }
    let text = service.meters().exposition(&readings);
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "counts of permits and calls are small")]
fn permits(quota: &Quota<'_>, readings: &mut Readings) {
    let Quota { account, operation, permits, status, is_failing } = quota;
    let labels = [account.vendor().as_str(), account.name(), *operation];
    let mut set = |name: &Name, value: f64| readings.set(name, &labels, value);
    set(&names::QUOTA_LIMIT, f64::from(*permits));
    set(&names::QUOTA_BUDGET, status.budget as f64);
    set(&names::QUOTA_AVAILABLE, status.available as f64);
    set(&names::PERMITS_IN_USE, status.in_use as f64);
    set(&names::QUOTA_QUEUED, status.queued as f64);
    set(&names::QUOTA_EXPECTED_WAIT, seconds(status.expected_wait));
    set(&names::QUOTA_THROTTLED, status.throttled_total as f64);
    set(&names::BREAKER_OPEN, flag(*is_failing));
    for (class, queued) in [Class::Interactive, Class::Bulk, Class::Background].into_iter().zip(status.queued_by_class)
    {
        let [vendor, account, operation] = labels;
        readings.set(&names::QUEUE_LENGTH, &[vendor, account, operation, class_name(class)], queued as f64);
    }
}

#[expect(clippy::cast_precision_loss, reason = "no cache has 2^53 bytes")]
fn cache(name: &str, reading: &CacheReading, readings: &mut Readings) {
    readings.set(&names::CACHE_BYTES, &[name], reading.bytes as f64);
    readings.set(&names::CACHE_MAX_BYTES, &[name], reading.max_bytes as f64);
    readings.set(&names::CACHE_ENTRIES, &[name], reading.entries as f64);
}

fn freshness(operation: &str, finality: &str, until: Option<Timestamp>, now: Timestamp, readings: &mut Readings) {
    if let Some(until) = until {
        readings.set(&names::FRESHNESS_LAG, &[operation, finality], seconds(now.since(until)));
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows that wait are bounded")]
fn archive(writing: &Standing, readings: &mut Readings) {
    let mut set = |name: &Name, value: f64| readings.set(name, &[], value);
    set(&names::ARCHIVE_WAITING, writing.waiting as f64);
    set(&names::ARCHIVE_ROWS, writing.rows as f64);
    set(&names::ARCHIVE_SLICES, writing.slices as f64);
    set(&names::ARCHIVE_LOST, writing.lost as f64);
    set(&names::ARCHIVE_RESTATED, writing.restated as f64);
    set(&names::ARCHIVE_FAILING, flag(writing.failing.is_some()));
}

#[expect(clippy::cast_precision_loss, reason = "counts of windows are small")]
fn collection(collection: &Collection, readings: &mut Readings) {
    let Collection { name, progress, is_ours, .. } = collection;
    let (entity, kind) = (name.entity.as_deref().unwrap_or_default(), name.kind.to_string());
    let labels = [name.dataset.as_str(), name.account.as_str(), entity, kind.as_str()];
    for (state, windows) in [
        ("final", progress.finals),
        ("provisional", progress.provisional),
        ("due", progress.due),
        ("missing", progress.missing),
    ] {
        let [dataset, account, entity, kind] = labels;
        readings.set(&names::COLLECTION_WINDOWS, &[dataset, account, entity, kind, state], windows as f64);
    }
    readings.set(&names::COLLECTION_LATE, &labels, seconds(progress.late.unwrap_or_default()));
    readings.set(&names::COLLECTION_IS_COLLECTOR, &labels, flag(*is_ours));
}

fn seconds(duration: Duration) -> f64 {
    duration.as_secs_f64()
}

#[expect(clippy::cast_precision_loss, reason = "no certificate lasts for 2^53 milliseconds")]
fn since_epoch(at: Timestamp) -> f64 {
    at.as_ms() as f64 / 1_000.0
}

fn flag(is_set: bool) -> f64 {
    f64::from(u8::from(is_set))
}
