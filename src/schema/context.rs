//! What every resolver of one request shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Selection;
use async_graphql::{Context, InputType, Name, Result, ScalarType, Value};

use super::answer::MAX_ERRORS;
use super::error::{self, Nullable};
use super::scalars::{DateTime, Dimension};
use crate::domain::{Tally, Timestamp, Vendor, Window};
use crate::error::{Code, WeirError};
use crate::query::{Omitted, Outlook, PlannedCall, Request};

/// What every resolver of one request shares.
#[derive(Debug)]
pub(super) struct RequestContext {
    /// The request as all doors ask it.
    pub(super) query: Request,
    /// The bytes that the answer may still grow by.
    room: AtomicUsize,
    /// Entries of lists that have failed.
    n_failed: AtomicUsize,
    answer_bytes: usize,
    /// Whether long lists are written in one go.
    pub(super) writes_raw: bool,
}

impl RequestContext {
    /// The answer may have `answer_bytes`.
    pub(super) fn new(query: Request, answer_bytes: usize, writes_raw: bool) -> Self {
        let (room, n_failed) = (AtomicUsize::new(answer_bytes), AtomicUsize::new(0));
        Self { query, room, n_failed, answer_bytes, writes_raw }
    }

    /// The bytes that the answer may still grow by.
    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of the answer's room, before they are made.
    pub(super) fn take_room(&self, bytes: usize) -> std::result::Result<(), WeirError> {
        let taken = self.room.try_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes));
        taken.map(drop).map_err(|_| self.too_large())
    }

    /// What is said of an answer that has no more room.
    pub(super) fn too_large(&self) -> WeirError {
        let most = self.answer_bytes;
        let message =
            format!("the answer would be longer than {most} bytes, the limit of this gateway; ask for less at a time");
        WeirError::new(Code::TooExpensive, message).limited(most, None::<usize>)
    }

    /// An entry of a list that failed: null with its error beside it, or null alone where there are errors enough.
    pub(super) fn failed<T>(&self, error: &WeirError) -> Nullable<T> {
        let n_before = self.n_failed.fetch_add(1, Ordering::Relaxed);
        (n_before < MAX_ERRORS).then(|| Err(error::failed(error)))
    }

    /// How many entries of lists failed without an error beside them.
    pub(super) fn n_untold(&self) -> usize {
        self.n_failed.load(Ordering::Relaxed).saturating_sub(MAX_ERRORS)
    }

    /// `extensions.weir`: what the request really cost.
    pub(super) fn extension(&self) -> Value {
        let ask = self.query.ask();
        let mut extension = cost(&ask.tally);
        let omitted = self.query.omitted();
        if !omitted.is_empty() {
            extension.insert(Name::new("omitted"), Value::List(omitted.iter().map(left_out).collect()));
        }
        if ask.explain {
            extension.insert(Name::new("plan"), plan(&self.query.plan()));
        }
        Value::Object(extension)
    }
}

/// What a request really cost, by the names of `extensions.weir`.
fn cost(tally: &Tally) -> IndexMap<Name, Value> {
    let calls = Vendor::ALL.map(|vendor| (Name::new(vendor.as_str()), Value::from(tally.calls(vendor))));
    IndexMap::from([
        (Name::new("upstreamCalls"), Value::Object(calls.into_iter().collect())),
        (Name::new("cacheHits"), Value::from(tally.cache_hits())),
        (Name::new("collapsed"), Value::from(tally.collapsed())),
        (Name::new("queueWaitMs"), Value::from(tally.queue_wait_ms())),
    ])
}

/// `extensions.weir` of a request that was refused before it could cost anything.
pub(super) fn no_cost() -> Value {
    Value::Object(cost(&Tally::default()))
}

/// `extensions.weir.plan`: what the request would do.
fn plan(outlook: &Outlook) -> Value {
    let wait_ms = u64::try_from(outlook.wait.as_millis()).unwrap_or(u64::MAX);
    let refused = outlook.refused.iter().map(|error| error::to_value(error)).collect();
    Value::Object(IndexMap::from([
        (Name::new("upstreamCalls"), calls(&outlook.calls)),
        (Name::new("refreshes"), calls(&outlook.refreshes)),
        (Name::new("cached"), Value::from(outlook.cached)),
        (Name::new("joined"), Value::from(outlook.joined)),
        (Name::new("expectedWaitMs"), Value::from(wait_ms)),
        (Name::new("refused"), Value::List(refused)),
    ]))
}

/// Planned calls, in an order of their own.
fn calls(calls: &[PlannedCall]) -> Value {
    let call = |call: &PlannedCall| {
        let edge = |at: Option<Timestamp>| at.map_or(Value::Null, |at| ScalarType::to_value(&DateTime(at)));
        Value::Object(IndexMap::from([
            (Name::new("vendor"), Value::from(call.account.vendor().as_str())),
            (Name::new("account"), Value::from(call.account.name())),
            (Name::new("operation"), Value::from(call.operation)),
            (Name::new("start"), edge(call.span.map(Window::start))),
            (Name::new("end"), edge(call.span.map(Window::end))),
        ]))
    };
    let mut calls: Vec<_> = calls.iter().collect();
    calls.sort_by_key(|call| (call.account.vendor(), call.account.name(), call.operation, call.span));
    Value::List(calls.into_iter().map(call).collect())
}

/// A window that was left out.
fn left_out(omitted: &Omitted) -> Value {
    Value::Object(IndexMap::from([
        (Name::new("appId"), Value::from(omitted.app.as_str())),
        (Name::new("dimension"), InputType::to_value(&Dimension::from(omitted.dimension))),
        (Name::new("start"), ScalarType::to_value(&DateTime(omitted.window.start()))),
        (Name::new("end"), ScalarType::to_value(&DateTime(omitted.window.end()))),
    ]))
}

/// The context of the request that a resolver runs in.
pub(super) fn request<'a>(context: &Context<'a>) -> Result<&'a RequestContext> {
    context.data::<Arc<RequestContext>>().map(AsRef::as_ref)
}

/// The bytes that an entry of a list takes while the answer is made, lists in it not counted: its keys, and what the engine
/// needs for each value.
pub(super) fn entry_width(context: &Context<'_>) -> usize {
    const BYTES_A_VALUE: usize = 96;
    let fields = context.item.node.selection_set.node.items.iter();
    let keys = fields.map(|selection| match &selection.node {
        Selection::Field(field) => field.node.response_key().node.len() + BYTES_A_VALUE,
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => BYTES_A_VALUE,
    });
    keys.sum::<usize>() + BYTES_A_VALUE
}
