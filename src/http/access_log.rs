//! One line a request: what was asked for, how it ended and how long it took. Never the query string, query text,
//! variables or headers; long runs of digits, which may be a phone number, are cut out of what remains.

use std::net::IpAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};
use std::task::{Context, Poll};

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, Request};
use axum::response::Response;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;
use tracing::field::display;
use tracing::{Level, Span, debug, enabled, info, info_span};

use super::loggable::loggable;
use super::observer::{Notes, Observer, Seen, TRACE_RESPONSE};
use super::peer::Peer;
use crate::domain::RequestCost;
use crate::error::Code;

/// The header that names a request in the log of the caller and in ours.
pub(super) const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// What the endpoint tells the log of an answer.
#[derive(Debug, Clone)]
pub(super) struct Told {
    /// The name of the operation that was run.
    pub(super) operation: Option<Arc<str>>,
    /// Whether the whole answer was kept from before.
    pub(super) kept: bool,
}

/// What is told of an answer that is written as its rows arrive, once its last byte is sent or its caller has gone.
#[derive(Debug)]
pub(super) struct RowsSent {
    rows: AtomicU64,
    is_whole: AtomicBool,
    failed: OnceLock<Code>,
    cost: Arc<RequestCost>,
}

impl RowsSent {
    /// No row yet.
    pub(super) fn new(cost: Arc<RequestCost>) -> Self {
        Self { rows: AtomicU64::new(0), is_whole: AtomicBool::new(false), failed: OnceLock::new(), cost }
    }

    /// All of them at once.
    pub(super) fn whole(rows: usize, cost: Arc<RequestCost>) -> Arc<Self> {
        let (rows, is_whole) = (AtomicU64::new(rows as u64), AtomicBool::new(true));
        Arc::new(Self { rows, is_whole, failed: OnceLock::new(), cost })
    }

    /// So many more were written.
    pub(super) fn add_rows(&self, rows: usize) {
        self.rows.fetch_add(rows as u64, Ordering::Relaxed);
    }

    /// The last was written.
    pub(super) fn note_whole(&self) {
        self.is_whole.store(true, Ordering::Relaxed);
    }

    /// The rest will not come.
    pub(super) fn note_failed(&self, code: Code) {
        self.failed.get_or_init(|| code);
    }

    /// What they have cost so far.
    pub(super) fn cost(&self) -> &RequestCost {
        &self.cost
    }
}

/// What a request is called in the log, and where is noted what is learned of it.
#[derive(Debug, Clone)]
pub(super) struct RequestId {
    id: HeaderValue,
    notes: Arc<Notes>,
}

impl RequestId {
    /// What is learned of the request.
    pub(super) fn notes(&self) -> &Notes {
        &self.notes
    }

    /// What is logged inside belongs to the request. Only for requests that have work to do: it costs as much as answering
    /// one from its bytes.
    pub(super) fn span(&self) -> Span {
        info_span!("request", id = loggable(self.id.to_str().unwrap_or_default()))
    }
}

/// The caller's id if it is fit to be passed on, else a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let fit = |id: &&HeaderValue| {
        (1..=64).contains(&id.len())
            && id.as_bytes().iter().all(|byte| byte.is_ascii_alphanumeric() || b"-_.".contains(byte))
    };
    headers.get(REQUEST_ID).filter(fit).cloned().unwrap_or_else(|| {
        // Letters alone: a run of digits would be taken for a phone number and cut from the log.
        let letters = rand::random::<[u8; 24]>().map(|byte| b'a' + byte % 26);
        HeaderValue::from_bytes(&letters).unwrap_or(HeaderValue::from_static("no-id"))
    })
}

/// A request on its way. Dropped before its end, it logs that the caller went away.
pub(super) struct Entry {
    id: HeaderValue,
    /// `None` where nobody reads the log, and once the end is told.
    begun: Option<Begun>,
    /// `None` once the end is counted.
    seen: Option<Seen>,
}

struct Begun {
    id: String,
    method: Method,
    path: String,
    peer: Option<IpAddr>,
    started: Instant,
    notes: Arc<Notes>,
}

impl Entry {
    /// Gives the request its id.
    pub(super) fn begin<B>(request: &mut Request<B>, observer: &Arc<Observer>) -> Self {
        let id = request_id(request.headers());
        let notes = Arc::<Notes>::default();
        request.extensions_mut().insert(RequestId { id: id.clone(), notes: Arc::clone(&notes) });
        let seen = Seen::begin(Arc::clone(observer), request, id.clone(), Arc::clone(&notes));
        let begun = enabled!(Level::INFO).then(|| Begun {
            id: loggable(id.to_str().unwrap_or_default()),
            method: request.method().clone(),
            path: loggable(request.uri().path()),
            peer: request.extensions().get::<Peer>().map(|peer| peer.0),
            started: seen.started,
            notes,
        });
        Self { id, begun, seen: Some(seen) }
    }

    /// Logs how the request ended, and tells the caller its id.
    pub(super) fn end(mut self, response: &mut Response) {
        let (begun, seen) = (self.begun.take(), self.seen.take());
        if let Some(trace) = seen.as_ref().and_then(Seen::trace_response) {
            response.headers_mut().insert(TRACE_RESPONSE, trace);
        }
        if let Some(sent) = response.extensions().get::<Arc<RowsSent>>().cloned() {
            let (body, status) = (std::mem::take(response.body_mut()), response.status().as_u16());
            *response.body_mut() = Body::new(Logged { body, begun, seen, sent, status, bytes: 0 });
        } else {
            if let Some(begun) = begun {
                begun.end(response);
            }
            if let Some(seen) = seen {
                seen.end(response);
            }
        }
        response.headers_mut().insert(REQUEST_ID, self.id.clone());
    }
}

impl Begun {
    fn end(self, response: &Response) {
        let duration_ms = self.duration_ms();
        let caller = self.notes.name();
        let Self { id, method, path, peer, .. } = self;
        let peer = peer.map(display);
        let told: Option<&Told> = response.extensions().get();
        let operation = told.and_then(|told| told.operation.as_deref()).map(loggable);
        let kept = told.map(|told| told.kept);
        let (status, bytes) = (response.status().as_u16(), response.body().size_hint().exact());
        // Probes come every few seconds and say little.
        if path.starts_with("/health/") {
            debug!(id, %method, path, caller, peer, status, duration_ms, bytes, operation, kept, "request answered");
        } else {
            info!(id, %method, path, caller, peer, status, duration_ms, bytes, operation, kept, "request answered");
        }
    }

    fn duration_ms(&self) -> u64 {
        u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX)
    }
}

/// A body that is logged once it is sent, or dropped.
struct Logged {
    body: Body,
    begun: Option<Begun>,
    seen: Option<Seen>,
    sent: Arc<RowsSent>,
    status: u16,
    bytes: u64,
}

impl HttpBody for Logged {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        let frame = std::task::ready!(Pin::new(&mut self.body).poll_frame(context));
        if let Some(Ok(frame)) = &frame {
            self.bytes += frame.data_ref().map_or(0, |data| data.len() as u64);
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

impl Drop for Logged {
    fn drop(&mut self) {
        let whole = self.sent.is_whole.load(Ordering::Relaxed);
        if let Some(seen) = self.seen.take() {
            seen.end_of_rows(whole, self.sent.failed.get().copied());
        }
        let Some(begun) = self.begun.take() else { return };
        let duration_ms = begun.duration_ms();
        let caller = begun.notes.name();
        let (Begun { id, method, path, peer, .. }, status, bytes) = (begun, self.status, self.bytes);
        let peer = peer.map(display);
        let (rows, calls) = (self.sent.rows.load(Ordering::Relaxed), self.sent.cost.all_calls());
        info!(id, %method, path, caller, peer, status, duration_ms, bytes, rows, calls, whole, "rows sent");
    }
}

impl Drop for Entry {
    fn drop(&mut self) {
        if let Some(begun) = self.begun.take() {
            let duration_ms = begun.duration_ms();
            let caller = begun.notes.name();
            let Begun { id, method, path, peer, .. } = begun;
            let peer = peer.map(display);
            info!(id, %method, path, caller, peer, duration_ms, "caller went away");
        }
    }
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
        let own = own.to_str().unwrap();
        assert_eq!(loggable(own), own, "the log tells an own id whole");
    }
}
