//! Whether the process lives and whether it wants requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::Router;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;

/// Raised by [`serve`](super::serve()) when the server begins to stop.
#[derive(Debug, Clone, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    pub(super) fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `/health/live` and `/health/ready`.
pub(super) fn routes(stopping: Stopping) -> Router {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready)).with_state(stopping)
}

async fn live() -> impl IntoResponse {
    report(StatusCode::OK, "live")
}

async fn ready(State(stopping): State<Stopping>) -> impl IntoResponse {
    if stopping.has_begun() {
        report(StatusCode::SERVICE_UNAVAILABLE, "stopping")
    } else {
        report(StatusCode::OK, "ready")
    }
}

fn report(status: StatusCode, word: &str) -> impl IntoResponse + use<> {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{{\"status\":\"{word}\"}}"))
}
