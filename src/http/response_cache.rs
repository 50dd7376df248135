//! Whole answers, kept as they were written: the same request again costs little more than its bytes.
//!
//! An answer is found by the request as it was sent and by its caller, both compared whole. Only answers that cost nothing
//! are kept, and none is given out once it might be another one ([`Gateway::still_holds`]).

use std::sync::Arc;

use axum::body::Bytes;
use moka::sync::Cache;

use super::doorkeeper::Doorkeeper;
use crate::domain::Caller;
use crate::query::Lasting;
use crate::schema::{Answer, Gateway};

/// What an entry weighs beside its texts: handles and the cache's own book-keeping, roughly.
const ENTRY_BYTES: usize = 500;

/// A request, as far as its answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(super) struct Key {
    caller: Caller,
    spelling: Spelling,
}

#[derive(Debug, Clone, PartialEq, Eq, Hash)]
enum Spelling {
    /// The body of a POST.
    Body(Bytes),
    /// The query string of a GET.
    QueryString(Bytes),
}

impl Key {
    /// A request as it was sent, in the body of a POST.
    pub(super) fn of_body(caller: Caller, body: Bytes) -> Self {
        Self { caller, spelling: Spelling::Body(body) }
    }

    /// A request as it was sent, in the query string of a GET.
    pub(super) fn of_query_string(caller: Caller, text: impl Into<Bytes>) -> Self {
        Self { caller, spelling: Spelling::QueryString(text.into()) }
    }

    /// A key that keeps nothing alive but its own text: a body is a part of all that the connection read.
    fn detached(self) -> Self {
        let spelling = match self.spelling {
            Spelling::Body(body) => Spelling::Body(Bytes::copy_from_slice(&body)),
            Spelling::QueryString(text) => Spelling::QueryString(text),
        };
        Self { spelling, ..self }
    }

    fn bytes(&self) -> usize {
        match &self.spelling {
            Spelling::Body(text) | Spelling::QueryString(text) => text.len(),
        }
    }
}

/// An answer that was kept.
#[derive(Debug)]
pub(super) struct CachedResponse {
    pub(super) json: Bytes,
    pub(super) operation: Option<Arc<str>>,
    lasting: Lasting,
}

/// The answers that are kept.
#[derive(Debug)]
pub(super) struct ResponseCache {
    kept: Cache<Key, Arc<CachedResponse>>,
    doorkeeper: Doorkeeper,
}

impl ResponseCache {
    /// Keeps answers in at most `max_bytes`.
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigher = |key: &Key, kept: &Arc<CachedResponse>| {
            u32::try_from(key.bytes() + kept.json.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().max_capacity(max_bytes).weigher(weigher).build(), doorkeeper: Doorkeeper::new() }
    }

    /// The answer to the request, if the same would be answered now.
    pub(super) fn get(&self, key: &Key, gateway: &Gateway) -> Option<Arc<CachedResponse>> {
        self.kept.get(key).filter(|kept| gateway.still_holds(&kept.lasting))
    }

    /// This is the answer of this request, if it is asked for more than once.
    pub(super) fn put(&self, key: Key, kept: &Arc<CachedResponse>) {
        if self.doorkeeper.lets_in(&key) {
            self.kept.insert(key.detached(), Arc::clone(kept));
        }
    }
}

impl CachedResponse {
    /// `json` is the answer as it was written; `None` if it must not be given again.
    pub(super) fn new(answer: &Answer, json: Bytes, operation: Option<Arc<str>>) -> Option<Arc<Self>> {
        answer.lasting().map(|lasting| Arc::new(Self { json, operation, lasting: *lasting }))
    }
}
