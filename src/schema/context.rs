//! What every resolver of one request shares.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::indexmap::IndexMap;
use async_graphql::{Context, InputType, Name, Result, ScalarType, Value};

use super::catalog::Catalog;
use super::scalars::{DateTime, Dimension};
use crate::domain::{AppId, Caller, Tally, Timestamp, Vendor, Window};
use crate::loader::Loader;
use crate::store::{Outlook, PlannedCall};
use crate::vendor::volcengine_rtc;

/// In hand beside the longest wait when calendar windows are judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);

/// What every resolver of one request shares.
#[derive(Debug)]
pub(super) struct RequestContext {
    pub(super) loader: Loader,
    pub(super) catalog: Arc<Catalog>,
    /// Whether the document needs answers of the engine that it can merge.
    pub(super) merges_fields: bool,
    omitted: Mutex<Vec<Omitted>>,
}

/// A calendar window that the vendor no longer answers and that is not held.
#[derive(Debug)]
pub(super) struct Omitted {
    pub(super) app: AppId,
    pub(super) dimension: Dimension,
    pub(super) window: Window,
}

impl RequestContext {
    pub(super) fn new(loader: Loader, catalog: Arc<Catalog>, merges_fields: bool) -> Self {
        Self { loader, catalog, merges_fields, omitted: Mutex::new(Vec::new()) }
    }

    /// The request's instant: every `last` of the request counts back from it.
    pub(super) fn now(&self) -> Timestamp {
        self.loader.ask().at
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.loader.ask().caller
    }

    /// The earliest start of a distribution that the vendor will still answer when its permit is there.
    pub(super) fn earliest(&self) -> Timestamp {
        let lookback = volcengine_rtc::FACTS.lookback.unwrap_or(Duration::MAX);
        self.now() + RETENTION_MARGIN + self.loader.ask().max_wait - lookback
    }

    pub(super) fn omit(&self, omitted: Omitted) {
        self.omitted.lock().unwrap_or_else(PoisonError::into_inner).push(omitted);
    }

    /// `extensions.weir`: what the request really cost.
    pub(super) fn extension(&self) -> Value {
        let mut extension = cost(&self.loader.ask().tally);
        let omitted = self.omitted.lock().unwrap_or_else(PoisonError::into_inner);
        if !omitted.is_empty() {
            let omitted = omitted.iter().map(Omitted::to_value).collect();
            extension.insert(Name::new("omitted"), Value::List(omitted));
        }
        if self.loader.ask().explain {
            extension.insert(Name::new("plan"), plan(&self.loader.plan()));
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
#[must_use]
pub fn no_cost() -> Value {
    Value::Object(cost(&Tally::default()))
}

/// `extensions.weir.plan`: what the request would do.
fn plan(outlook: &Outlook) -> Value {
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
    let mut calls: Vec<_> = outlook.calls.iter().collect();
    calls.sort_by_key(|call| (call.account.vendor(), call.account.name(), call.operation, call.span));
    let wait_ms = u64::try_from(outlook.wait.as_millis()).unwrap_or(u64::MAX);
    Value::Object(IndexMap::from([
        (Name::new("upstreamCalls"), Value::List(calls.into_iter().map(call).collect())),
        (Name::new("cached"), Value::from(outlook.cached)),
        (Name::new("joined"), Value::from(outlook.joined)),
        (Name::new("expectedWaitMs"), Value::from(wait_ms)),
    ]))
}

impl Omitted {
    fn to_value(&self) -> Value {
        Value::Object(IndexMap::from([
            (Name::new("appId"), Value::from(self.app.as_str())),
            (Name::new("dimension"), InputType::to_value(&self.dimension)),
            (Name::new("start"), ScalarType::to_value(&DateTime(self.window.start()))),
            (Name::new("end"), ScalarType::to_value(&DateTime(self.window.end()))),
        ]))
    }
}

/// The context of the request that a resolver runs in.
pub(super) fn request<'a>(context: &Context<'a>) -> Result<&'a RequestContext> {
    context.data::<Arc<RequestContext>>().map(AsRef::as_ref)
}
