//! Whole answers, kept as they were written: the same request again costs little more than its bytes.
//!
//! An answer is found by the request as it was sent or, failing that, by what it means: its document without what
//! the grammar ignores, the operation's name, the variables and the controls, whatever their order. Both are compared
//! whole, together with the caller's scope. Only answers that cost nothing are kept, and none is given out once it
//! might be another one ([`Gateway::still_holds`]).

use std::sync::Arc;

use async_graphql::Value;
use axum::body::Bytes;
use moka::sync::Cache;

use super::door::Door;
use super::params::Params;
use crate::domain::Caller;
use crate::schema::{Answer, Gateway, Lasting};

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
    /// The document, and all else in its one canonical form.
    Meaning { document: Arc<str>, rest: Box<str> },
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

    /// A request by what it means: whichever way it was sent, and whatever the order of its values.
    pub(super) fn of_meaning(caller: Caller, document: &Arc<str>, params: &Params) -> Self {
        let mut rest = String::new();
        let name = params.operation_name.as_deref().map_or(Value::Null, Value::from);
        write_canonical(&name, &mut rest);
        for (name, value) in &*params.variables {
            write_canonical(&Value::from(name.as_str()), &mut rest);
            write_canonical(value, &mut rest);
        }
        if let Some(controls) = params.extensions.get("weir") {
            rest.push(';');
            write_canonical(controls, &mut rest);
        }
        Self { caller, spelling: Spelling::Meaning { document: Arc::clone(document), rest: rest.into() } }
    }

    /// A key that keeps nothing alive but its own text: a body is a part of all that the connection read.
    fn detached(self) -> Self {
        let spelling = match self.spelling {
            Spelling::Body(body) => Spelling::Body(Bytes::copy_from_slice(&body)),
            other => other,
        };
        Self { spelling, ..self }
    }

    fn bytes(&self) -> usize {
        match &self.spelling {
            Spelling::Body(text) | Spelling::QueryString(text) => text.len(),
            Spelling::Meaning { document, rest } => document.len() + rest.len(),
        }
    }
}

/// Writes a value so that equal ones are written alike and different ones are not: JSON with its keys in order.
fn write_canonical(value: &Value, out: &mut String) {
    match value {
        Value::Object(fields) => {
            let mut fields: Vec<_> = fields.iter().collect();
            fields.sort_unstable_by_key(|(name, _)| *name);
            out.push('{');
            for (name, value) in fields {
                write_canonical(&Value::from(name.as_str()), out);
                write_canonical(value, out);
            }
            out.push('}');
        }
        Value::List(items) => {
            out.push('[');
            for item in items {
                write_canonical(item, out);
                out.push(',');
            }
            out.push(']');
        }
        leaf => {
            out.push_str(&leaf.to_string());
            out.push(' ');
        }
    }
}

/// An answer that was kept.
#[derive(Debug)]
pub(super) struct Kept {
    pub(super) json: Bytes,
    pub(super) operation: Option<Arc<str>>,
    lasting: Lasting,
}

/// The answers that are kept.
#[derive(Debug)]
pub(super) struct Answers {
    kept: Cache<Key, Arc<Kept>>,
    door: Door,
}

impl Answers {
    /// Keeps answers in at most `max_bytes`.
    pub(super) fn new(max_bytes: u64) -> Self {
        let weigher = |key: &Key, kept: &Arc<Kept>| {
            u32::try_from(key.bytes() + kept.json.len() + ENTRY_BYTES).unwrap_or(u32::MAX)
        };
        Self { kept: Cache::builder().max_capacity(max_bytes).weigher(weigher).build(), door: Door::new() }
    }

    /// The answer to the request, if the same would be answered now.
    pub(super) fn get(&self, key: &Key, gateway: &Gateway) -> Option<Arc<Kept>> {
        self.kept.get(key).filter(|kept| gateway.still_holds(&kept.lasting))
    }

    /// This is the answer of this request, if it is asked for more than once.
    pub(super) fn put(&self, key: Key, kept: &Arc<Kept>) {
        if self.door.lets_in(&key) {
            self.kept.insert(key.detached(), Arc::clone(kept));
        }
    }
}

impl Kept {
    /// `json` is the answer as it was written; `None` if it must not be given again.
    pub(super) fn new(answer: &Answer, json: Bytes, operation: Option<Arc<str>>) -> Option<Arc<Self>> {
        answer.lasting().map(|lasting| Arc::new(Self { json, operation, lasting: *lasting }))
    }
}
