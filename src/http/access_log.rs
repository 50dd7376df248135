//! One line a request: what was asked for, how it ended and how long it took. Never the query string, query text,
//! variables or headers; long runs of digits, which may be a phone number, are cut out of what remains.

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::Request;
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method};
use axum::middleware::Next;
use axum::response::Response;
use tokio::time::Instant;
use tracing::{Instrument, debug, info, info_span};

/// The header that names a request in the log of the caller and in ours.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// More digits in a row than this are not logged.
const DIGITS_LOGGED: usize = 6;

/// No text of a caller is logged longer than this, in bytes.
const TEXT_LOGGED: usize = 100;

/// What the endpoint tells the log of an answer.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The name of the operation that was run.
    pub(super) operation: Option<Arc<str>>,
    /// Whether the whole answer was kept from before.
    pub(super) kept: bool,
}

/// Gives the request its id and logs how it ended.
pub(super) async fn record(request: Request, next: Next) -> Response {
    let id = request_id(request.headers());
    let entry = Entry::begin(&request, &id);
    let span = info_span!("request", id = entry.id);
    let mut response = next.run(request).instrument(span).await;
    entry.end(&response);
    if let Ok(id) = HeaderValue::try_from(id) {
        response.headers_mut().insert(REQUEST_ID, id);
    }
    response
}

/// The caller's id if it is fit to be passed on, else a new one.
fn request_id(headers: &HeaderMap) -> String {
    let fit = |id: &&str| {
        (1..=64).contains(&id.len()) && id.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(&byte))
    };
    match headers.get(REQUEST_ID).and_then(|id| id.to_str().ok()).filter(fit) {
        Some(id) => id.to_owned(),
        // Letters alone: a run of digits would be taken for a phone number and cut from the log.
        None => rand::random::<[u8; 24]>().into_iter().map(|byte| char::from(b'a' + byte % 26)).collect(),
    }
}

/// A request on its way. Dropped before its end, it logs that the caller went away.
struct Entry {
    id: String,
    method: Method,
    path: String,
    started: Instant,
    ended: bool,
}

impl Entry {
    fn begin(request: &Request, id: &str) -> Self {
        Self {
            id: loggable(id),
            method: request.method().clone(),
            path: loggable(request.uri().path()),
            started: Instant::now(),
            ended: false,
        }
    }

    fn end(mut self, response: &Response) {
        self.ended = true;
        let told: Option<&Told> = response.extensions().get();
        let operation = told.and_then(|told| told.operation.as_deref()).map(loggable);
        let kept = told.map(|told| told.kept);
        let (id, method, path, operation) = (&self.id, &self.method, &self.path, operation.as_deref());
        let (status, bytes) = (response.status().as_u16(), response.body().size_hint().exact());
        let duration_ms = self.duration_ms();
        // Probes come every few seconds and say little.
        if path.starts_with("/health/") {
            debug!(id, %method, path, status, duration_ms, bytes, operation, kept, "request answered");
        } else {
            info!(id, %method, path, status, duration_ms, bytes, operation, kept, "request answered");
        }
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if !self.ended {
            let (id, method, path, duration_ms) = (&self.id, &self.method, &self.path, self.duration_ms());
            info!(id, %method, path, duration_ms, "caller went away");
        }
    }
}

/// `text`, short and without runs of digits that may be a phone number.
fn loggable(text: &str) -> String {
    let mut short = String::new();
    for part in text.split_inclusive(|c: char| !c.is_ascii_digit()) {
        let digits = part.bytes().take_while(u8::is_ascii_digit).count();
        if digits > DIGITS_LOGGED {
            short.push('…');
            short.push_str(&part[digits..]);
        } else {
            short.push_str(part);
        }
        if short.len() > TEXT_LOGGED {
            short.truncate(short.floor_char_boundary(TEXT_LOGGED));
            short.push('…');
            break;
        }
    }
    short
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn phone_numbers_and_long_texts_are_cut() {
        for (text, logged) in [
            ("/graphql", "/graphql"),
            ("/rows/8613800138000.csv", "/rows/….csv"),
            ("/rows/%2B8613800138000/8613800138001", "/rows/%2B…/…"),
            ("Last7Days_2026_09", "Last7Days_2026_09"),
            ("P123456", "P123456"),
            ("P1234567", "P…"),
        ] {
            assert_eq!(loggable(text), logged);
        }
        assert_eq!(loggable(&"ä".repeat(80)).chars().count(), 51);
    }

    #[test]
    fn only_a_harmless_request_id_is_kept() {
        let headers = |id: &'static str| HeaderMap::from_iter([(REQUEST_ID, HeaderValue::from_static(id))]);
        assert_eq!(request_id(&headers("web-1.a_B")), "web-1.a_B");
        for id in ["", "a b", "a\tb", "{}", "0123456789012345678901234567890123456789012345678901234567890123456789"] {
            assert_ne!(request_id(&headers(id)), id);
        }
        let own = request_id(&HeaderMap::new());
        assert_ne!(own, request_id(&HeaderMap::new()));
        assert_eq!(loggable(&own), own, "the log tells an own id whole");
    }
}
