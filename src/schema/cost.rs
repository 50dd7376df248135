//! `extensions.weir`: what a request really cost, and what it would do.

use async_graphql::indexmap::IndexMap;
use async_graphql::{InputType, Name, ScalarType, Value};

use super::error;
use super::scalars::{DateTime, Dimension};
use crate::domain::{RequestCost, Timestamp, Vendor, Window};
use crate::query::{Omitted, Outlook, PlannedCall, Request};

/// `extensions.weir` of a request that was run.
pub(super) fn of(query: &Request) -> Value {
    let ask = query.ask();
    let mut extension = cost(&ask.cost);
    let omitted = query.omitted();
    if !omitted.is_empty() {
        extension.insert(Name::new("omitted"), Value::List(omitted.iter().map(left_out).collect()));
    }
    if ask.explain {
        extension.insert(Name::new("plan"), plan(&query.plan()));
    }
    Value::Object(extension)
}

/// What a request really cost, by the names of `extensions.weir`.
fn cost(cost: &RequestCost) -> IndexMap<Name, Value> {
    let calls = Vendor::ALL.map(|vendor| (Name::new(vendor.as_str()), Value::from(cost.calls(vendor))));
    IndexMap::from([
        (Name::new("upstreamCalls"), Value::Object(calls.into_iter().collect())),
        (Name::new("cacheHits"), Value::from(cost.cache_hits())),
        (Name::new("collapsed"), Value::from(cost.collapsed())),
        (Name::new("queueWaitMs"), Value::from(cost.queue_wait_ms())),
    ])
}

/// `extensions.weir` of a request that was refused before it could cost anything.
pub(super) fn none() -> Value {
    Value::Object(cost(&RequestCost::default()))
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
