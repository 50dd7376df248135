//! Per-request batching: hot keys at once, the rest gathered into one ask of the stores, a ticket per key.
//!
//! The batch function never awaits a vendor: it hands all keys of the request to the stores, both vendors' together, so
//! that the whole request is counted before anything is sent. Each field then awaits its own ticket.

mod any;
mod batch;
mod key;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataloader::non_cached;
use tokio::time::Instant;

use any::{AnyStore, Face};
use batch::Batch;
use key::{Answer, Gathered, Key};

use crate::archive::Collected;
use crate::domain::{Account, Ask, Budget, Caller, Facts, LimitName, Operation, Sent, Shadow, Slice, Step, Window};
use crate::error::{Code, WeirError};
use crate::planner::Command;
use crate::quota::{Limiter, QuotaStatus};
use crate::store::{Outlook, PlannedCall, Series, Store};
use crate::telemetry::meters::{CacheReading, Meters};
use crate::vendor::alibaba_cams;

/// Everything that answers, shared by all requests.
pub struct Stores {
    all: Vec<Arc<dyn AnyStore>>,
    /// The mutation, per account.
    enable: HashMap<Account, Command<alibaba_cams::EnableClient>>,
    /// Held from the forecast that lets a request in until its calls are queued, or gather: two that decide at once would
    /// both be promised the same permits.
    deciding: Mutex<()>,
    meters: Arc<Meters>,
}

impl Stores {
    /// No store yet.
    #[must_use]
    pub fn new(enable: HashMap<Account, Command<alibaba_cams::EnableClient>>, meters: Arc<Meters>) -> Self {
        Self { all: Vec::new(), enable, deciding: Mutex::new(()), meters }
    }

    /// With one more: the only one of its operation.
    #[must_use]
    pub fn with<O: Operation>(mut self, store: Store<O>) -> Self {
        self.all.push(Arc::new(Face(Arc::new(store))));
        self
    }

    /// The store of an operation, and its place.
    fn of<O: Operation>(&self) -> Result<(usize, &Arc<Store<O>>), WeirError> {
        let found = self
            .all
            .iter()
            .enumerate()
            .find_map(|(at, store)| store.as_any().downcast_ref::<Face<O>>().map(|Face(store)| (at, store)));
        found.ok_or_else(|| WeirError::new(Code::Internal, "no store answers this operation"))
    }

    /// Counts that a limit has refused a part of a request. What is only explained is not refused.
    fn refused(&self, limit: LimitName, ask: &Ask) {
        if !ask.explain {
            self.meters.refused(limit, &ask.caller);
        }
    }

    /// Counts that a limit would have refused a part of a request.
    fn shadowed(&self, limit: LimitName, ask: &Ask) {
        if !ask.explain {
            self.meters.shadowed(limit, &ask.caller);
        }
    }

    /// How often held data was changed: it only grows.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.all.iter().map(|store| store.epoch()).sum()
    }

    /// What is known of each operation that answers rows, and how long its vendor may still change them.
    #[must_use]
    pub fn datasets(&self) -> Vec<(&'static Facts, Duration)> {
        self.all.iter().map(|store| (store.facts(), store.settle())).collect()
    }

    /// How long the last of `n` calls that `ask` makes now would wait for its permit; not at all if nobody makes them.
    #[must_use]
    pub fn expected_wait(&self, account: &Account, operation: &str, ask: &Ask, n: usize) -> Duration {
        let store = self.all.iter().find(|store| store.facts().operation == operation);
        let limiter = store.and_then(|store| store.limiter(account));
        limiter.map_or(Duration::ZERO, |limiter| limiter.expected_wait(ask.class, &ask.caller, n))
    }

    /// The permits of every operation of an account, with the waits of `caller`.
    #[must_use]
    pub fn statuses(&self, account: &Account, caller: &Caller) -> Vec<Status> {
        let stores = self
            .all
            .iter()
            .filter_map(|store| Some((store.facts().operation, store.limiter(account)?, store.is_failing(account))));
        let enable = self.enable.get(account).into_iter();
        let name = alibaba_cams::enable_whatsapp_roi::FACTS.operation;
        let enable = enable.map(|command| (name, command.limiter(), command.is_failing()));
        let status = |(operation, limiter, is_failing): (&'static str, &Limiter, bool)| Status {
            operation,
            permits: limiter.permits(),
            quota: limiter.status(caller),
            is_failing,
        };
        stores.chain(enable).map(status).collect()
    }

    /// How the memory of each operation stands.
    #[must_use]
    pub fn readings(&self) -> Vec<(&'static str, CacheReading)> {
        self.all.iter().map(|store| (store.facts().operation, store.reading())).collect()
    }
}

/// How one operation of an account stands.
#[derive(Debug, Clone, Copy)]
pub struct Status {
    /// The vendor's name for it.
    pub operation: &'static str,
    /// Calls a second at most.
    pub permits: u32,
    /// Its permits.
    pub quota: QuotaStatus,
    /// Whether the last that is known of the vendor is that it fails.
    pub is_failing: bool,
}

/// The most that one request may ask for.
#[derive(Debug, Clone, Copy)]
pub struct Most {
    /// Slices.
    pub slices: u64,
    /// Upstream calls that it plans.
    pub calls: usize,
    /// Which limits are only counted.
    pub shadow: Shadow,
}

impl Most {
    /// Whether a caller whose calls of the day are spent is let through. Whoever may have none at all is not: that is no limit
    /// but a right.
    fn spares(&self, budget: &Budget) -> bool {
        budget.per_day() > 0 && self.shadow.holds(LimitName::CallsPerDay)
    }
}

/// The loader of one request: made with it, dropped with it.
pub struct Loader {
    stores: Arc<Stores>,
    ask: Ask,
    gathering: non_cached::Loader<Key, Gathered, Batch>,
    next_key: AtomicU64,
    /// The slices that were asked for so far.
    asked: AtomicU64,
    most: Most,
    plan: Arc<Mutex<Outlook>>,
}

impl Loader {
    /// A loader for one request, which may ask for so much.
    #[must_use]
    pub fn new(stores: Arc<Stores>, ask: Ask, most: Most) -> Self {
        let plan = Arc::new(Mutex::new(Outlook::default()));
        let batch = Batch::new(Arc::clone(&stores), ask.clone(), most, Arc::clone(&plan));
        let gathering = non_cached::Loader::new(batch).with_max_batch_size(usize::MAX);
        Self { stores, ask, gathering, next_key: AtomicU64::new(0), asked: AtomicU64::new(0), most, plan }
    }

    /// What this request asks with.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        &self.ask
    }

    /// Everything that answers.
    #[must_use]
    pub fn stores(&self) -> &Stores {
        &self.stores
    }

    /// An operation, with what its replies have taught.
    ///
    /// # Errors
    /// No store answers it.
    pub fn operation<O: Operation>(&self) -> Result<&O, WeirError> {
        self.stores.of::<O>().map(|(_, store)| &**store.operation())
    }

    /// What the request would do, as far as its fields have asked; empty unless it is to be explained.
    pub fn plan(&self) -> MutexGuard<'_, Outlook> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts that a limit has refused the request, or a part of it.
    pub fn refused(&self, limit: LimitName) {
        self.stores.refused(limit, &self.ask);
    }

    /// Counts what a field is about to want of `n_subjects` over `window`, before any of it is made.
    ///
    /// # Errors
    /// [`Code::TooExpensive`] if the request asks for too many slices with it.
    pub fn take<O: Operation>(&self, n_subjects: usize, window: Window) -> Result<(), WeirError> {
        let (_, store) = self.stores.of::<O>()?;
        self.take_slices(store.n_slices(window).saturating_mul(n_subjects as u64))
    }

    /// Counts so many slices that a field is about to want.
    ///
    /// # Errors
    /// [`Code::TooExpensive`] if the request asks for too many slices with them.
    pub fn take_slices(&self, n: u64) -> Result<(), WeirError> {
        let (asked, most) = (self.asked.fetch_add(n, Ordering::Relaxed).saturating_add(n), self.most.slices);
        if asked <= most {
            return Ok(());
        }
        if self.most.shadow.holds(LimitName::Slices) {
            self.stores.shadowed(LimitName::Slices, &self.ask);
            return Ok(());
        }
        self.refused(LimitName::Slices);
        let message = format!(
            "the request asks for {asked} slices (days of channels and phones, windows of applications), and {most} are \
             the most; ask for shorter ranges, longer windows or fewer phones at a time"
        );
        Err(WeirError::exceeding(LimitName::Slices, message, most, Some(asked)))
    }

    /// The slices that a field wants, in the order of its wants; `None` where the request is only explained.
    ///
    /// # Errors
    /// What failed for the field as a whole: too expensive, or the permits would come too late.
    pub async fn series<O: Operation>(
        &self,
        wants: Vec<Slice<O::Subject>>,
    ) -> Result<Option<Series<O::Data>>, Arc<WeirError>> {
        let (at, store) = self.stores.of::<O>()?;
        if !self.ask.explain
            && let Some(series) = store.peek(&wants, &self.ask)
        {
            return Ok(Some(series));
        }
        let began = Instant::now();
        let series = self.gathered::<O>(at, wants).await;
        let outcome = series.as_ref().map_or_else(|error| error.code.as_str(), |_| "ok");
        let facts = &[("operation", store.operation().facts().operation), ("outcome", outcome)];
        self.ask.cost.took(&Step { name: "field", began, ended: Instant::now(), facts });
        series
    }

    /// The slices that a field wants and memory does not answer alone.
    async fn gathered<O: Operation>(
        &self,
        at: usize,
        wants: Vec<Slice<O::Subject>>,
    ) -> Result<Option<Series<O::Data>>, Arc<WeirError>> {
        let key = Key::new::<O>(self.next_key.fetch_add(1, Ordering::Relaxed), at, wants);
        match self.gathering.try_load(key).await.map_err(|_| mixed_up())? {
            Gathered::Explained => Ok(None),
            Gathered::Answered(answer) => {
                let ticket = answer.downcast_ref::<Answer<O>>().cloned().ok_or_else(mixed_up)?;
                // The answer of the batch goes, so that the field alone holds its ticket.
                drop(answer);
                Ok(Some(ticket?.wait().await))
            }
        }
    }

    /// What memory holds of all that is wanted; `None` if anything is missing or not fresh.
    #[must_use]
    pub fn peek<O: Operation>(&self, wants: &[Slice<O::Subject>]) -> Option<Series<O::Data>> {
        let (_, store) = self.stores.of::<O>().ok()?;
        store.peek(wants, &self.ask)
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    #[must_use]
    pub fn is_answerable<O: Operation>(&self, want: &Slice<O::Subject>) -> bool {
        self.stores.of::<O>().is_ok_and(|(_, store)| store.is_answerable(want, &self.ask))
    }

    /// What the archive keeps of a subject inside a span, in order of time; `None` without one, and if it cannot be asked.
    pub async fn collected<O: Operation>(&self, subject: &O::Subject, span: Window) -> Option<Vec<Collected>> {
        let (_, store) = self.stores.of::<O>().ok()?;
        store.collected(subject, span).await
    }

    /// Turns the vendor's statistics on; on success the channel's empty slices are forgotten. `None` where the request
    /// is only explained.
    ///
    /// # Errors
    /// What the vendor answered, or that the permit would come too late.
    pub async fn enable_whatsapp_roi(
        &self,
        account: &Account,
        request: alibaba_cams::EnableWhatsappRoi,
    ) -> Result<Option<Sent<alibaba_cams::WhatsappRoiEnabled>>, WeirError> {
        let command = self
            .stores
            .enable
            .get(account)
            .ok_or_else(|| WeirError::new(Code::Internal, "no command serves this account").of(account))?;
        if self.ask.explain {
            let call = PlannedCall {
                account: account.clone(),
                operation: alibaba_cams::enable_whatsapp_roi::FACTS.operation,
                span: None,
            };
            let wait = command.limiter().expected_wait(self.ask.class, &self.ask.caller, 1);
            let mut outlook = Outlook { wait, ..Outlook::default() };
            match command.admit(&self.ask) {
                Ok(()) => outlook.calls.push(call),
                Err(refusal) => outlook.refused.push(Arc::new(refusal)),
            }
            self.plan().add(outlook);
            return Ok(None);
        }
        if let Err(refusal) = batch::charge(&self.stores, &self.most, &self.ask, 1) {
            self.refused(LimitName::CallsPerDay);
            return Err(refusal.of(account));
        }
        let (_, metrics) = self.stores.of::<alibaba_cams::PhoneNumberMetrics>()?;
        let (metrics, account, channel) = (Arc::clone(metrics), account.clone(), request.channel.clone());
        let landed = move || {
            metrics.memory().forget_empty(|subject| subject.account == account && subject.channel == channel);
        };
        let answered = command.run(request, &self.ask, landed).await;
        if answered.as_ref().is_err_and(|error| error.code == Code::QuotaWaitTooLong) {
            self.refused(LimitName::MaxWait);
        }
        answered.map(Some)
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_list().entries(self.all.iter().map(|store| store.facts().operation)).finish()
    }
}

impl std::fmt::Debug for Loader {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Loader").field("ask", &self.ask).finish_non_exhaustive()
    }
}

fn mixed_up() -> Arc<WeirError> {
    tracing::error!("a batch answered a key with another key's ticket, or not at all");
    Arc::new(WeirError::new(Code::Internal, "the request was mixed up inside weir"))
}
