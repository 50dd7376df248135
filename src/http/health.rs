//! Whether the process lives and whether it wants requests.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use axum::routing::get;
use axum::{Extension, Router};

/// Raised when the server begins to stop. [`serve`](super::serve()) hands it to the routes.
#[derive(Debug, Clone, Default)]
pub(super) struct Stopping(Arc<AtomicBool>);

impl Stopping {
    pub(super) fn begin(&self) {
        self.0.store(true, Ordering::Release);
    }

    fn has_begun(&self) -> bool {
        self.0.load(Ordering::Acquire)
    }
}

/// `/health/live` and `/health/ready`.
pub(super) fn routes() -> Router {
    Router::new().route("/health/live", get(live)).route("/health/ready", get(ready))
}

async fn live() -> impl IntoResponse {
    report(StatusCode::OK, "live")
}

async fn ready(stopping: Option<Extension<Stopping>>) -> impl IntoResponse {
    match stopping {
        Some(Extension(stopping)) if stopping.has_begun() => report(StatusCode::SERVICE_UNAVAILABLE, "stopping"),
        _ => report(StatusCode::OK, "ready"),
    }
}

fn report(status: StatusCode, word: &str) -> impl IntoResponse + use<> {
    let headers = [(header::CONTENT_TYPE, "application/json"), (header::CACHE_CONTROL, "no-store")];
    (status, headers, format!("{{\"status\":\"{word}\"}}"))
}
