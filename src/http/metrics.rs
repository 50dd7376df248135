//! `/metrics` for Prometheus, as it is when it asks: the permits of every account, how the archive is written, and how far
//! each series is that is collected.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use super::admission::Asking;
use super::answer::{Refusal, refuse};
use super::negotiate::MediaType;
use crate::archive::Standing;
use crate::error::{Code, WeirError};
use crate::query::Quota;
use crate::query::collections::Collection;
use crate::schema::Gateway;

/// `/metrics`.
pub(super) fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/metrics", get(exposition)).with_state(gateway)
}

async fn exposition(State(gateway): State<Arc<Gateway>>, Asking(caller): Asking) -> Response {
    if !caller.sees_everything() {
        let message = "metrics are of weir as a whole: a key that sees all channels and applications reads them";
        let error = WeirError::new(Code::Forbidden, message);
        return refuse(MediaType::Json, &Refusal::of_error(StatusCode::FORBIDDEN, &error));
    }
    // Everything is read where it is kept: there is nothing to hold between two scrapes.
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || {
        quotas(&gateway);
        if let Some(writing) = gateway.service().writing() {
            archive(&writing);
        }
        gateway.service().collections().seen_by(&caller).iter().for_each(collection);
    });
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], recorder.handle().render()).into_response()
}

#[expect(clippy::cast_precision_loss, reason = "counts of permits and calls are small")]
fn quotas(gateway: &Gateway) {
    describe_gauge!("weir_quota_limit", "Calls a second that weir makes at most.");
    describe_gauge!(
        "weir_quota_budget",
        "Calls a second that are used of the limit: fewer for a while after throttles that weir did not cause."
    );
    describe_gauge!("weir_quota_available", "Permits that could be given at once.");
    describe_gauge!("weir_quota_queued", "Calls that wait for a permit.");
    describe_gauge!(
        "weir_quota_expected_wait_seconds",
        "How long the next interactive call would wait for its permit."
    );
    describe_counter!("weir_quota_throttled_total", "Calls that the vendor throttled since the start.");
    for Quota { account, operation, permits, status } in gateway.quotas() {
        let labels = [
            ("vendor", account.vendor().as_str().to_owned()),
            ("account", account.name().to_owned()),
            ("operation", operation.to_owned()),
        ];
        gauge!("weir_quota_limit", &labels).set(f64::from(permits));
        gauge!("weir_quota_budget", &labels).set(status.budget as f64);
        gauge!("weir_quota_available", &labels).set(status.available as f64);
        gauge!("weir_quota_queued", &labels).set(status.queued as f64);
        gauge!("weir_quota_expected_wait_seconds", &labels).set(status.expected_wait.as_secs_f64());
        counter!("weir_quota_throttled_total", &labels).absolute(status.throttled_total);
    }
}

#[expect(clippy::cast_precision_loss, reason = "rows that wait are bounded")]
fn archive(writing: &Standing) {
    describe_gauge!("weir_archive_rows_waiting", "Rows that wait to be written to the archive.");
    describe_counter!("weir_archive_rows_written_total", "Rows that were written to the archive since the start.");
    describe_counter!("weir_archive_slices_written_total", "Slices that were written to the archive since the start.");
    describe_counter!(
        "weir_archive_slices_lost_total",
        "Slices that were not written to the archive, and will be when they are fetched again."
    );
    describe_counter!("weir_archive_restated_total", "Final numbers that the vendor has told otherwise since.");
    describe_gauge!("weir_archive_failing", "1 while the archive cannot be written, else 0.");
    gauge!("weir_archive_rows_waiting").set(writing.waiting as f64);
    counter!("weir_archive_rows_written_total").absolute(writing.rows);
    counter!("weir_archive_slices_written_total").absolute(writing.slices);
    counter!("weir_archive_slices_lost_total").absolute(writing.lost);
    counter!("weir_archive_restated_total").absolute(writing.restated);
    gauge!("weir_archive_failing").set(f64::from(u8::from(writing.failing.is_some())));
}

#[expect(clippy::cast_precision_loss, reason = "counts of windows are small")]
fn collection(collection: &Collection) {
    let Collection { name, progress, is_ours, .. } = collection;
    describe_gauge!(
        "weir_collection_windows",
        "Windows of a series that are kept as final or provisional, are due to be fetched, or were forgotten by the vendor before they were."
    );
    describe_gauge!(
        "weir_collection_late_seconds",
        "For how long the window that waits longest could have been fetched as final; 0 if none waits."
    );
    describe_gauge!("weir_collection_is_collector", "1 if this process collects the series, else 0.");
    let labels = [
        ("dataset", name.dataset.as_str().to_owned()),
        ("account", name.account.clone()),
        ("entity", name.entity.clone().unwrap_or_default()),
        ("kind", name.kind.to_string()),
    ];
    for (state, windows) in [
        ("final", progress.finals),
        ("provisional", progress.provisional),
        ("due", progress.due),
        ("missing", progress.missing),
    ] {
        let labels: Vec<_> = labels.iter().cloned().chain([("state", state.to_owned())]).collect();
        gauge!("weir_collection_windows", &labels).set(windows as f64);
    }
    gauge!("weir_collection_late_seconds", &labels).set(progress.late.unwrap_or_default().as_secs_f64());
    gauge!("weir_collection_is_collector", &labels).set(f64::from(u8::from(*is_ours)));
}
