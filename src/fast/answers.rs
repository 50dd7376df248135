//! Whole answers, kept as they were written: the same request again costs little more than its bytes.
//!
//! An answer is found by the request as it was sent and by its caller, both compared whole. Only answers that cost nothing
//! are kept, and none is given out once it might be another one ([`Lasting`]).

use std::sync::{Arc, Mutex, PoisonError, Weak};

use bytes::Bytes;

use super::kept::Kept;
use crate::domain::{Caller, MemoryPool, Reservation};
use crate::query::Lasting;
use crate::telemetry::meters::CacheReading;

/// What an entry weighs beside its texts: handles and the cache's own book-keeping, roughly.
const ENTRY_BYTES: usize = 500;

/// A request, as far as its answer depends on it.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub(crate) struct Key {
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
    pub(crate) fn of_body(caller: Caller, body: Bytes) -> Self {
        Self { caller, spelling: Spelling::Body(body) }
    }

    /// A request as it was sent, in the query string of a GET.
    pub(crate) fn of_query_string(caller: Caller, text: impl Into<Bytes>) -> Self {
        Self { caller, spelling: Spelling::QueryString(text.into()) }
    }

    /// A key that keeps nothing alive but its own text: a body is a part of all that the connection read.
    fn detached(&self) -> Self {
        let spelling = match &self.spelling {
            Spelling::Body(body) => Spelling::Body(Bytes::copy_from_slice(body)),
            Spelling::QueryString(text) => Spelling::QueryString(text.clone()),
        };
        Self { caller: self.caller.clone(), spelling }
    }

    fn bytes(&self) -> usize {
        match &self.spelling {
            Spelling::Body(text) | Spelling::QueryString(text) => text.len(),
        }
    }
}

/// An answer that may be given again.
#[derive(Debug)]
pub(crate) struct KeptAnswer {
    /// The answer as it was written, in pieces.
    pub(crate) json: Vec<Bytes>,
    /// The operation that it answers, for the log.
    pub(crate) operation: Option<Arc<str>>,
    /// What that asks for, for metrics.
    pub(crate) root: Arc<str>,
    /// Until when it holds.
    pub(crate) lasting: Lasting,
    /// What is reserved for it while it is being sent.
    pub(crate) sending: Sending,
}

/// Those who are sent the same bytes share what is reserved for them.
#[derive(Debug, Default)]
pub(crate) struct Sending(Mutex<Weak<Reservation>>);

impl KeptAnswer {
    /// What is reserved by those who are being sent it: its bytes are there once, however many they are.
    pub(crate) fn reserved(&self, memory: &Arc<MemoryPool>) -> Arc<Reservation> {
        let mut sending = self.sending.0.lock().unwrap_or_else(PoisonError::into_inner);
        sending.upgrade().unwrap_or_else(|| {
            let reserved = Arc::new(memory.reservation());
            *sending = Arc::downgrade(&reserved);
            reserved
        })
    }

    /// The bytes of the answer.
    pub(crate) fn bytes(&self) -> usize {
        self.json.iter().map(Bytes::len).sum()
    }
}

/// The answers that are kept.
pub(crate) struct Answers(Kept<Key, Arc<KeptAnswer>>);

impl Answers {
    /// Keeps answers in at most `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self(Kept::new(max_bytes, |key, kept| key.bytes() + kept.bytes() + ENTRY_BYTES))
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    /// How they stand.
    pub(crate) fn reading(&self) -> CacheReading {
        self.0.reading()
    }

    /// The answer to the request, if it still holds.
    pub(crate) fn get(&self, key: &Key, still_holds: impl FnOnce(&Lasting) -> bool) -> Option<Arc<KeptAnswer>> {
        self.0.get(key).filter(|kept| still_holds(&kept.lasting))
    }

    /// This is the answer of this request, if it is asked for more than once.
    pub(crate) fn put(&self, key: &Key, answer: impl FnOnce() -> KeptAnswer) {
        self.0.put(key, || (key.detached(), Arc::new(answer())));
    }
}
