//! `/metrics`: the permits of every account for Prometheus, as they are when it asks.

use std::sync::Arc;

use axum::Router;
use axum::extract::State;
use axum::http::header;
use axum::response::IntoResponse;
use axum::routing::get;
use metrics::{counter, describe_counter, describe_gauge, gauge, with_local_recorder};
use metrics_exporter_prometheus::PrometheusBuilder;

use crate::query::Quota;
use crate::schema::Gateway;

/// `/metrics`.
pub(super) fn routes(gateway: Arc<Gateway>) -> Router {
    Router::new().route("/metrics", get(exposition)).with_state(gateway)
}

async fn exposition(State(gateway): State<Arc<Gateway>>) -> impl IntoResponse {
    // Everything is read where it is kept: there is nothing to hold between two scrapes.
    let recorder = PrometheusBuilder::new().build_recorder();
    with_local_recorder(&recorder, || record(&gateway));
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], recorder.handle().render())
}

#[expect(clippy::cast_precision_loss, reason = "counts of permits and calls are small")]
fn record(gateway: &Gateway) {
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
