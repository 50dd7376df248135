//! Per-request batching: hot keys at once, the rest gathered into one ask of the stores, a ticket per key.
//!
//! The batch function never awaits a vendor: it hands all keys of the request to the stores, both vendors' together, so
//! that the whole request is counted before anything is sent. Each field then awaits its own ticket.

mod batch;

use std::collections::HashMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use dataloader::non_cached;

use batch::{Batch, Gathered, Key};

use crate::domain::{Account, Ask, ChannelId, Facts, Operation, PhoneNumber, Sent, Slice, Window};
use crate::error::{Code, WeirError};
use crate::planner::Command;
use crate::quota::Standing;
use crate::store::{Outlook, PlannedCall, Series, Store};
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// The store of phone number metrics.
pub type MetricStore = Store<alibaba_cams::PhoneNumberMetrics>;
/// The slices of phone number metrics.
pub type MetricSeries = Series<Vec<alibaba_cams::PhoneNumberPoint>>;
/// The store of operation distributions.
pub type DistributionStore = Store<volcengine_rtc::OperationDistributions>;
/// The windows of operation distributions.
pub type DistributionSeries = Series<volcengine_rtc::Distribution>;

/// Everything that answers, shared by all requests.
pub struct Stores {
    /// WhatsApp messages per phone number.
    pub metrics: Arc<MetricStore>,
    /// Call users per place.
    pub distributions: Arc<DistributionStore>,
    /// The mutation, per account.
    pub enable: HashMap<Account, Command<alibaba_cams::EnableClient>>,
    /// Held from the forecast that lets a request in until its calls are queued, or gather: two that decide at once would
    /// both be pendingd the same permits.
    deciding: Mutex<()>,
}

impl Stores {
    /// All of them together.
    #[must_use]
    pub fn new(
        metrics: Arc<MetricStore>,
        distributions: Arc<DistributionStore>,
        enable: HashMap<Account, Command<alibaba_cams::EnableClient>>,
    ) -> Self {
        Self { metrics, distributions, enable, deciding: Mutex::new(()) }
    }

    /// How often held data was changed: it only grows.
    #[must_use]
    pub fn epoch(&self) -> u64 {
        self.metrics.memory().epoch() + self.distributions.memory().epoch()
    }

    /// What is known of each operation that answers rows, and how long its vendor may still change them.
    #[must_use]
    pub fn datasets(&self) -> Vec<(&'static Facts, Duration)> {
        let (metrics, distributions) = (self.metrics.operation(), self.distributions.operation());
        vec![(metrics.facts(), metrics.settle()), (distributions.facts(), distributions.settle())]
    }

    /// The permits of every (account, operation), in the order of the accounts.
    #[must_use]
    pub fn standings(&self, account: &Account) -> Vec<(&'static str, u32, Standing)> {
        let metrics =
            self.metrics.limiter(account).map(|limiter| (alibaba_cams::phone_number_metrics::FACTS.operation, limiter));
        let enable = self.enable.get(account);
        let enable = enable.map(|command| (alibaba_cams::enable_whatsapp_roi::FACTS.operation, command.limiter()));
        let calls = self.distributions.limiter(account);
        let calls = calls.map(|limiter| (volcengine_rtc::operation_distributions::FACTS.operation, limiter));
        let limiters = [metrics, enable, calls].into_iter().flatten();
        limiters.map(|(operation, limiter)| (operation, limiter.permits(), limiter.standing())).collect()
    }
}

/// The loader of one request: made with it, dropped with it.
pub struct Loader {
    stores: Arc<Stores>,
    ask: Ask,
    gathering: non_cached::Loader<Key, Gathered, Batch>,
    next_key: AtomicU64,
    /// The slices that were asked for so far, and the most that may be.
    asked: AtomicU64,
    max_slices: u64,
    plan: Arc<Mutex<Outlook>>,
}

impl Loader {
    /// A loader for one request, which may ask for so many slices.
    #[must_use]
    pub fn new(stores: Arc<Stores>, ask: Ask, max_slices: u64) -> Self {
        let plan = Arc::new(Mutex::new(Outlook::default()));
        let batch = Batch::new(Arc::clone(&stores), ask.clone(), Arc::clone(&plan));
        let gathering = non_cached::Loader::new(batch).with_max_batch_size(usize::MAX);
        Self { stores, ask, gathering, next_key: AtomicU64::new(0), asked: AtomicU64::new(0), max_slices, plan }
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

    /// The phone numbers of a channel that were seen in replies so far; `None` before the first.
    #[must_use]
    pub fn seen_phones(&self, account: &Account, channel: Option<&ChannelId>) -> Option<Vec<PhoneNumber>> {
        let subject = alibaba_cams::MetricSubject {
            account: account.clone(),
            channel: channel.cloned(),
            granularity: alibaba_cams::Granularity::Daily,
            phone: None,
        };
        self.stores.metrics.operation().seen(&subject)
    }

    /// What the request would do, as far as its fields have asked; empty unless it is to be explained.
    pub fn plan(&self) -> MutexGuard<'_, Outlook> {
        self.plan.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Counts what a field is about to want of `n_subjects` channels or phones over `window`, before any of it is made.
    ///
    /// # Errors
    /// [`Code::TooExpensive`] if the request asks for too many slices with it.
    pub fn take_metrics(&self, n_subjects: usize, window: Window) -> Result<(), WeirError> {
        self.take_slices(self.stores.metrics.n_slices(window).saturating_mul(n_subjects as u64))
    }

    /// Counts so many windows that a field is about to want, before any of them is made.
    ///
    /// # Errors
    /// [`Code::TooExpensive`] if the request asks for too many slices with them.
    pub fn take_distributions(&self, n_windows: u64) -> Result<(), WeirError> {
        self.take_slices(n_windows)
    }

    fn take_slices(&self, n: u64) -> Result<(), WeirError> {
        let (asked, most) = (self.asked.fetch_add(n, Ordering::Relaxed).saturating_add(n), self.max_slices);
        if asked <= most {
            return Ok(());
        }
        let message = format!(
            "the request asks for {asked} slices (days of channels and phones, windows of applications), and {most} are \
             the most; ask for shorter ranges, longer windows or fewer phones at a time"
        );
        Err(WeirError::new(Code::TooExpensive, message).limited(most, Some(asked)))
    }

    /// The slices of phone number metrics that a field wants, in the order of its wants; `None` where the request is
    /// only explained.
    ///
    /// # Errors
    /// What failed for the field as a whole: too expensive, or the permits would come too late.
    pub async fn metrics(
        &self,
        wants: Vec<Slice<alibaba_cams::MetricSubject>>,
    ) -> Result<Option<MetricSeries>, Arc<WeirError>> {
        if !self.ask.explain
            && let Some(series) = self.stores.metrics.peek(&wants, &self.ask)
        {
            return Ok(Some(series));
        }
        match self.gather(|id| Key::metrics(id, wants)).await? {
            Gathered::Metrics(ticket) => Ok(Some(ticket?.wait().await)),
            Gathered::Explained => Ok(None),
            Gathered::Distributions(_) => Err(mixed_up()),
        }
    }

    /// The windows of operation distributions that a field wants, in the order of its wants; `None` where the request
    /// is only explained.
    ///
    /// # Errors
    /// What failed for the field as a whole: too expensive, or the permits would come too late.
    pub async fn distributions(
        &self,
        wants: Vec<Slice<volcengine_rtc::DistributionSubject>>,
    ) -> Result<Option<DistributionSeries>, Arc<WeirError>> {
        if !self.ask.explain
            && let Some(series) = self.stores.distributions.peek(&wants, &self.ask)
        {
            return Ok(Some(series));
        }
        match self.gather(|id| Key::distributions(id, wants)).await? {
            Gathered::Distributions(ticket) => Ok(Some(ticket?.wait().await)),
            Gathered::Explained => Ok(None),
            Gathered::Metrics(_) => Err(mixed_up()),
        }
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    #[must_use]
    pub fn is_answerable(&self, want: &Slice<volcengine_rtc::DistributionSubject>) -> bool {
        self.stores.distributions.is_answerable(want, &self.ask)
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
            let wait = command.limiter().expected_wait(self.ask.class, 1);
            let mut outlook = Outlook { wait, ..Outlook::default() };
            match command.admit(&self.ask) {
                Ok(()) => outlook.calls.push(call),
                Err(refusal) => outlook.refused.push(Arc::new(refusal)),
            }
            self.plan().add(outlook);
            return Ok(None);
        }
        let (metrics, account, channel) = (Arc::clone(&self.stores.metrics), account.clone(), request.channel.clone());
        let landed = move || {
            metrics.memory().forget_empty(|subject| subject.account == account && subject.channel == channel);
        };
        command.run(request, &self.ask, landed).await.map(Some)
    }

    async fn gather(&self, key: impl FnOnce(u64) -> Key) -> Result<Gathered, Arc<WeirError>> {
        let key = key(self.next_key.fetch_add(1, Ordering::Relaxed));
        self.gathering.try_load(key).await.map_err(|_| mixed_up())
    }
}

impl std::fmt::Debug for Stores {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Stores").field("metrics", &self.metrics).finish_non_exhaustive()
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
