//! What every resolver of one request shares.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_graphql::indexmap::IndexMap;
use async_graphql::parser::types::Selection;
use async_graphql::{Context, InputType, Name, Result, ScalarType, Value};

use super::answer::MAX_ERRORS;
use super::catalog::Catalog;
use super::error::{self, Nullable};
use super::reuse::{Epoch, Lasting, Reuse};
use super::scalars::{DateTime, Dimension};
use crate::domain::{AppId, Ask, Caller, Freshness, Slice, Source, Tally, Timestamp, Vendor, Window};
use crate::error::{Code, WeirError};
use crate::loader::{DistributionSeries, Loader, MetricSeries};
use crate::store::{Outlook, PlannedCall, Series};
use crate::vendor::alibaba_cams::MetricSubject;
use crate::vendor::volcengine_rtc::{self, DistributionSubject};

/// In hand beside the longest wait when calendar windows are judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Time zones differ by multiples of it, and so do the beginnings of all buckets.
pub(super) const QUARTER: Duration = Duration::from_mins(15);

/// What every resolver of one request shares.
#[derive(Debug)]
pub(super) struct RequestContext {
    loader: Loader,
    reuse: Reuse,
    pub(super) catalog: Arc<Catalog>,
    omitted: Mutex<Vec<Omitted>>,
    /// The bytes that the answer may still grow by.
    room: AtomicUsize,
    /// Entries of lists that have failed.
    n_failed: AtomicUsize,
    answer_bytes: usize,
    /// Whether long lists are written in one go.
    pub(super) writes_raw: bool,
}

/// A calendar window that the vendor no longer answers and that is not held.
#[derive(Debug)]
pub(super) struct Omitted {
    pub(super) app: AppId,
    pub(super) dimension: Dimension,
    pub(super) window: Window,
}

impl RequestContext {
    /// `epoch` is that of before anything is looked up.
    pub(super) fn new(
        loader: Loader,
        catalog: Arc<Catalog>,
        epoch: Epoch,
        answer_bytes: usize,
        writes_raw: bool,
    ) -> Self {
        let reuse = Reuse::new(epoch, loader.ask().at);
        let (room, n_failed) = (AtomicUsize::new(answer_bytes), AtomicUsize::new(0));
        Self { loader, reuse, catalog, omitted: Mutex::new(Vec::new()), room, n_failed, answer_bytes, writes_raw }
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

    /// What the request asks with.
    pub(super) fn ask(&self) -> &Ask {
        self.loader.ask()
    }

    /// What answers things that are true only now, or changes them: the answer is never given again.
    pub(super) fn live(&self) -> &Loader {
        self.reuse.forbid();
        &self.loader
    }

    /// What answers things that stay what they are until something new is held.
    pub(super) fn lore(&self) -> &Loader {
        &self.loader
    }

    /// The slices of message counts that a field wants; `None` where the request is only explained.
    pub(super) async fn metrics(
        &self,
        wants: Vec<Slice<MetricSubject>>,
    ) -> std::result::Result<Option<MetricSeries>, Arc<WeirError>> {
        let series = self.loader.metrics(wants).await?;
        self.note(series.as_ref());
        Ok(series)
    }

    /// The windows of distributions that a field wants; `None` where the request is only explained.
    pub(super) async fn distributions(
        &self,
        wants: Vec<Slice<DistributionSubject>>,
    ) -> std::result::Result<Option<DistributionSeries>, Arc<WeirError>> {
        let series = self.loader.distributions(wants).await?;
        self.note(series.as_ref());
        Ok(series)
    }

    fn note<D>(&self, series: Option<&Series<D>>) {
        for answered in series.into_iter().flatten() {
            match &answered.outcome {
                Ok(served) if served.source == Source::Cache => self.reuse.note_fresh_until(served.held.fresh_until),
                _ => self.reuse.forbid(),
            }
        }
    }

    /// Until when the same request would be answered the same, if that is known.
    pub(super) fn lasting(&self) -> Option<Lasting> {
        let Ask { freshness, explain, tally, .. } = self.ask();
        let is_free = Vendor::ALL.iter().all(|vendor| tally.calls(*vendor) == 0) && tally.collapsed() == 0;
        let omits = !self.omitted.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        // What becomes final is judged by the instant of each request.
        let is_steady = is_free && tally.queue_wait_ms() == 0 && *freshness == Freshness::Any && !explain && !omits;
        self.reuse.lasting().filter(|_| is_steady)
    }

    /// The request's instant, to the second: every `last` of the request counts back from it.
    pub(super) fn now(&self) -> Timestamp {
        self.instant(SECOND)
    }

    /// The beginning of the quarter of an hour in which the request came: all that matters where buckets are chosen.
    pub(super) fn quarter(&self) -> Timestamp {
        self.instant(QUARTER)
    }

    fn instant(&self, step: Duration) -> Timestamp {
        let at = self.ask().at.floor(step);
        self.reuse.note_until(at + step);
        at
    }

    pub(super) fn caller(&self) -> &Caller {
        &self.ask().caller
    }

    /// The earliest start of a distribution that the vendor will still answer when its permit is there.
    pub(super) fn earliest(&self) -> Timestamp {
        let lookback = volcengine_rtc::FACTS.lookback.unwrap_or(Duration::MAX);
        self.now() + RETENTION_MARGIN + self.ask().max_wait - lookback
    }

    pub(super) fn omit(&self, omitted: Omitted) {
        self.omitted.lock().unwrap_or_else(PoisonError::into_inner).push(omitted);
    }

    /// `extensions.weir`: what the request really cost.
    pub(super) fn extension(&self) -> Value {
        let mut extension = cost(&self.ask().tally);
        let omitted = self.omitted.lock().unwrap_or_else(PoisonError::into_inner);
        if !omitted.is_empty() {
            let omitted = omitted.iter().map(Omitted::to_value).collect();
            extension.insert(Name::new("omitted"), Value::List(omitted));
        }
        if self.ask().explain {
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
