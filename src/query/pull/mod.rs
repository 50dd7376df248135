//! Flat rows of a dataset, from the first to the last: in portions, so that no range is too long, in an order that lets
//! each be sent on as it arrives.
//!
//! Portions are asked for a few at a time: enough that permits are never left unused, and few enough that a caller who goes
//! away leaves little behind. Rows are ordered by the channels and applications as they were named, then by start, then by
//! phone number or place: an order that a vendor's later word does not change.

mod batch;
mod portion;
mod question;
mod walk;

use std::collections::HashMap;
use std::pin::pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::stream::{self, BoxStream, Stream, StreamExt, TryStreamExt};
use sha2::{Digest, Sha256};
use tokio::time::Instant;

pub use batch::Batch;
pub use question::MAX_LIMIT;
pub use walk::Pairs;

use super::request::{QUARTER, Request, bound_of_questions};
use super::service::Service;
use super::totals::{Sums, TotalsQuery};
use super::zone::channel_zone;
use crate::domain::calendar::zone_name;
use crate::domain::dataset::{Column, Dataset};
use crate::domain::{Account, Caller, Class, Facts, LimitName, RequestCost};
use crate::error::{Code, WeirError};
use crate::vendor::{alibaba_cams, volcengine_rtc};
use batch::Stamp;
use portion::{Entity, Portion};
use question::Question;

/// Portions that are asked for at a time.
const AHEAD: usize = 8;

/// Whether the operation with these facts answers the rows of a dataset.
#[must_use]
pub fn is_made_of(dataset: Dataset, facts: &Facts) -> bool {
    let is_of = |own: &Facts| facts.operation == own.operation;
    (dataset.has_messages() && is_of(&alibaba_cams::phone_number_metrics::FACTS))
        || (dataset.has_users() && is_of(&volcengine_rtc::operation_distributions::FACTS))
}

/// A question for flat rows that is about to be answered.
pub struct Pull {
    service: Service,
    caller: Caller,
    class: Class,
    question: Question,
    entities: Vec<Entity>,
    totals: Option<TotalsQuery>,
    portions: Vec<Portion>,
    cost: Arc<RequestCost>,
    /// Portions that have been answered.
    done: AtomicUsize,
    /// Of what was answered.
    sealing: Mutex<Sealing>,
    /// When the last permit must be there.
    patience: Instant,
}

/// What a pull would take.
#[derive(Debug, Clone, Copy)]
pub struct Outlook {
    /// Upstream calls that it would make.
    pub calls: usize,
    /// How long its last call would wait for its permit.
    pub wait: Duration,
}

/// Rows as they come, portion by portion.
pub type Batches = BoxStream<'static, Result<Batch, Arc<WeirError>>>;

/// A page of rows.
#[derive(Debug)]
pub struct FlatPage {
    /// Its rows.
    pub batches: Vec<Batch>,
    /// The cursor of the page after it; `None` on the last.
    pub next: Option<String>,
}

/// A seal that is made stamp by stamp; `None` once something may change.
struct Sealing(Option<Sha256>);

impl Sealing {
    fn new() -> Self {
        Self(Some(Sha256::new()))
    }

    fn add(&mut self, stamp: Option<&Stamp>) {
        self.0 = self.0.take().zip(stamp).map(|(digest, stamp)| digest.chain_update(stamp));
    }
}

impl Service {
    /// Reads a question for the rows of a dataset; nothing is asked yet. `path` is where it was asked: a cursor goes on
    /// there alone.
    ///
    /// # Errors
    /// Parameters that make no sense, unknown channels and applications, and those that the caller may not see.
    pub fn pull(&self, caller: Caller, dataset: Dataset, path: &str, pairs: Pairs) -> Result<Pull, WeirError> {
        let asking = caller.clone();
        self.pull_of(caller, dataset, path, pairs).inspect_err(|error| {
            if let Some(limit) = bound_of_questions(error) {
                self.meters().refused(limit, &asking);
            }
        })
    }

    fn pull_of(&self, caller: Caller, dataset: Dataset, path: &str, pairs: Pairs) -> Result<Pull, WeirError> {
        let question = Question::read(dataset, path, pairs, self.now())?;
        let max_wait = question.controls.max_wait.unwrap_or(self.limits().bulk_max_wait);
        let class = question.controls.class(&caller, Class::Bulk)?;
        let cost = Arc::new(RequestCost::of(&caller));
        let mut pull = Pull {
            service: self.clone(),
            caller,
            class,
            question,
            entities: Vec::new(),
            totals: None,
            portions: Vec::new(),
            cost,
            done: AtomicUsize::new(0),
            sealing: Mutex::new(Sealing::new()),
            patience: Instant::now() + max_wait,
        };
        let request = pull.request(false);
        pull.entities = pull.named(&request)?;
        let entities: Vec<_> = pull.entities.iter().map(Entity::names).collect();
        pull.question.walk.goes_on_with(&pull.caller, &entities)?;
        pull.totals = pull.totals()?;
        pull.portions = pull.portions(&request)?;
        Ok(pull)
    }
}

impl Pull {
    /// The columns that are wanted, in their order.
    #[must_use]
    pub fn columns(&self) -> &[Column] {
        &self.question.columns
    }

    /// Whether a page is wanted and not all rows.
    #[must_use]
    pub fn is_paged(&self) -> bool {
        self.question.limit.is_some()
    }

    /// How old an answer may be that may still change.
    #[must_use]
    pub fn max_stale(&self) -> Option<Duration> {
        self.question.controls.max_stale
    }

    /// What tells its answer from those to other questions that come at the same time: whose rows of which windows, and how
    /// they are told. How long its calls may wait is no part of it.
    #[must_use]
    pub fn key(&self) -> String {
        let Question { dataset, columns, limit, updated_since, controls, range, .. } = &self.question;
        let Question { phones, granularity, dimension, window, terms, walk, .. } = &self.question;
        let columns: Vec<&str> = columns.iter().map(|column| column.name).collect();
        let answer = (
            self.caller.scope(),
            self.zones(),
            dataset,
            columns,
            limit,
            updated_since,
            controls.freshness,
            &walk.after,
        );
        let rows = (&walk.entities, &self.portions, phones, granularity, dimension, window, terms);
        // The hours of a range that is asked for exactly are in its windows; of totals they are not.
        let range = self.totals.as_ref().map(|_| range);
        URL_SAFE_NO_PAD.encode(Sha256::digest(format!("{answer:?}{rows:?}{range:?}")))
    }

    /// Whether text is to be marked for Excel.
    #[must_use]
    pub fn has_bom(&self) -> bool {
        self.question.bom
    }

    /// What it has cost so far.
    #[must_use]
    pub fn cost(&self) -> &Arc<RequestCost> {
        &self.cost
    }

    /// How many portions there are: [`batches`](Self::batches) has one for each, and a single one for totals.
    #[must_use]
    pub fn n_portions(&self) -> usize {
        self.portions.len()
    }

    /// How many of them have been answered so far.
    #[must_use]
    pub fn n_done(&self) -> usize {
        self.done.load(Ordering::Relaxed)
    }

    fn note_done(&self) {
        self.done.fetch_add(1, Ordering::Relaxed);
    }

    /// What all of it would take, as things are. A page takes what it needs, and is not planned.
    ///
    /// # Errors
    /// What would fail before anything is asked: too many calls, permits that would come too late, a window that the vendor
    /// no longer answers.
    pub async fn plan(&self) -> Result<Outlook, Arc<WeirError>> {
        let mut all = 0;
        let mut calls: HashMap<(Account, &'static str), usize> = HashMap::new();
        let portions: &[Portion] = if self.is_paged() { &[] } else { &self.portions };
        let explained = |portion: &Portion| {
            let portion = *portion;
            async move {
                let request = self.request(true);
                self.explain(&portion, &request).await?;
                let calls = request.plan().calls.iter().map(|call| (call.account.clone(), call.operation)).collect();
                Ok::<Vec<_>, Arc<WeirError>>(calls)
            }
        };
        let mut plans = pin!(one_by_one(portions).map(explained).buffered(AHEAD));
        while let Some(planned) = plans.try_next().await? {
            all += planned.len();
            for call in planned {
                *calls.entry(call).or_default() += 1;
            }
            self.check_calls(all)?;
        }
        let (mut wait, asked) = (Duration::ZERO, self.request(true));
        for ((account, operation), n) in &calls {
            let own = self.service.stores().expected_wait(account, operation, asked.ask(), *n);
            if own > self.patience() {
                return Err(Arc::new(self.too_late(own, account)));
            }
            wait = wait.max(own);
        }
        Ok(Outlook { calls: all, wait })
    }

    fn check_calls(&self, calls: usize) -> Result<(), Arc<WeirError>> {
        let (most, shadow) = (self.service.limits().pull_calls, self.service.limits().shadow);
        if calls <= most {
            return Ok(());
        }
        if shadow.holds(LimitName::PullCalls) {
            self.service.meters().shadowed(LimitName::PullCalls, &self.caller);
            return Ok(());
        }
        self.service.meters().refused(LimitName::PullCalls, &self.caller);
        let message = format!(
            "the pull takes more than {most} upstream calls; ask for a shorter range, or for fewer channels or applications \
             at a time"
        );
        Err(Arc::new(WeirError::exceeding(LimitName::PullCalls, message, most, Some(calls))))
    }

    /// What would tell the answer from any other, where all of it is held and final: it will say the same for ever. `None`
    /// otherwise.
    pub async fn seal(&self) -> Option<String> {
        let request = self.request(false);
        let mut sealing = Sealing::new();
        for portion in &self.portions {
            tokio::task::yield_now().await;
            sealing.add(Some(&self.stamp_of_held(portion, &request)?));
        }
        self.finish(&sealing)
    }

    /// The same of what was answered so far, whatever is held by now.
    #[must_use]
    pub fn seal_of_answer(&self) -> Option<String> {
        self.finish(&self.sealing.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// A seal with what was asked, and with the zones in which rows are dated: replies under them may have been the first to
    /// show those.
    fn finish(&self, sealing: &Sealing) -> Option<String> {
        let walk = &self.question.walk;
        let asked = (self.caller.scope(), &walk.path, &walk.pairs, &walk.after, &walk.entities, self.zones());
        let digest = sealing.0.clone()?.chain_update(serde_json::to_vec(&asked).ok()?).finalize();
        Some(URL_SAFE_NO_PAD.encode(digest.get(..18).unwrap_or_default()))
    }

    /// In which zones rows are dated, as far as they are known.
    fn zones(&self) -> Vec<Option<String>> {
        let request = self.request(false);
        let zone = |entity: &Entity| match entity {
            Entity::Channel(channel) => channel_zone(&request, channel).ok().flatten().map(|zone| zone_name(&zone)),
            Entity::App(app) => Some(zone_name(&app.zone)),
        };
        self.entities.iter().map(zone).collect()
    }

    fn seal_in(&self, batch: &Batch) {
        self.sealing.lock().unwrap_or_else(PoisonError::into_inner).add(batch.stamp());
    }

    /// All rows, portion by portion, each as it arrives. Where one fails, nothing comes after it. Dropping the stream leaves
    /// the calls that nobody else waits for.
    #[must_use]
    pub fn batches(self: Arc<Self>) -> Batches {
        let all = 0..self.n_batches();
        let pull = Arc::clone(&self);
        let fetch = move |nth| {
            let pull = Arc::clone(&self);
            async move { pull.batch(nth).await }
        };
        one_by_one(all).map(fetch).buffered(AHEAD).inspect_ok(move |batch| pull.seal_in(batch)).boxed()
    }

    /// The page that was asked for, and how the walk goes on. Portions are asked for together with as many again as the page
    /// has used: it may need but the first.
    ///
    /// # Errors
    /// What failed for any row of it, or that it takes too many calls.
    pub async fn page(&self) -> Result<FlatPage, Arc<WeirError>> {
        let limit = self.question.limit.unwrap_or(usize::MAX);
        let (mut batches, mut rows, mut used) = (Vec::new(), 0, 0);
        while used < self.n_batches() {
            let ahead = used.clamp(1, AHEAD).min(self.n_batches() - used);
            let mut fetched = pin!(one_by_one(used..used + ahead).map(|nth| self.batch(nth)).buffered(AHEAD));
            used += ahead;
            while let Some(mut batch) = fetched.try_next().await? {
                self.check_calls(usize::try_from(self.cost.all_calls()).unwrap_or(usize::MAX))?;
                self.seal_in(&batch);
                let (room, len) = (limit - rows, batch.len());
                batch.truncate(room);
                rows += batch.len();
                if !batch.is_empty() {
                    batches.push(batch);
                }
                // The row after the last is what tells that there is a page after it.
                if len > room {
                    let last = batches.last().and_then(Batch::last_position);
                    return Ok(FlatPage { batches, next: last.map(|last| self.question.walk.cursor(last)) });
                }
            }
        }
        Ok(FlatPage { batches, next: None })
    }

    /// Totals come in one piece.
    fn n_batches(&self) -> usize {
        if self.totals.is_some() { 1 } else { self.portions.len() }
    }

    async fn batch(&self, nth: usize) -> Result<Batch, Arc<WeirError>> {
        if self.totals.is_some() {
            return self.add_up().await;
        }
        let Some(portion) = self.portions.get(nth) else { return Ok(Batch::empty()) };
        self.fetched(portion).await
    }

    /// How long its permits may still take.
    fn patience(&self) -> Duration {
        self.patience.saturating_duration_since(Instant::now())
    }

    fn too_late(&self, wait: Duration, account: &Account) -> WeirError {
        let (seconds, patience) = (wait.as_secs_f64().ceil(), self.patience().as_secs_f64().ceil());
        let message = format!(
            "the last of the pull's calls would have its permit in about {seconds} s, and the pull waits {patience} s; \
             raise max_wait, or ask for less"
        );
        let after = wait.saturating_sub(self.patience()).max(Duration::from_secs(1));
        let refusal = WeirError::new(Code::QuotaWaitTooLong, message).of(account);
        WeirError { retryable: true, retry_after: Some(after), ..refusal }
    }

    fn request(&self, explain: bool) -> Request {
        let controls = &self.question.controls;
        // What is only explained costs nothing.
        let cost = if explain { Arc::new(RequestCost::of(&self.caller)) } else { Arc::clone(&self.cost) };
        self.service.request_within(self.caller.clone(), self.class, controls, explain, self.patience(), cost)
    }

    /// The channels and applications whose rows are wanted, in their order.
    fn named(&self, request: &Request) -> Result<Vec<Entity>, WeirError> {
        let Question { dataset, channels, phones, apps, .. } = &self.question;
        let (catalog, caller) = (request.catalog(), &self.caller);
        // Whoever names one vendor's wants that one's numbers alone.
        let names_messages = channels.is_some() || phones.is_some();
        let wants_messages = dataset.has_messages() && (apps.is_none() || names_messages);
        let wants_users = dataset.has_users() && (!names_messages || apps.is_some());
        let mut entities = Vec::new();
        match channels {
            Some(ids) => {
                for id in ids {
                    entities.push(Entity::Channel(catalog.channel(Some(id), caller)?.clone()));
                }
            }
            None if wants_messages => entities.extend(catalog.channels(caller).cloned().map(Entity::Channel)),
            None => {}
        }
        match apps {
            Some(ids) => {
                for id in ids {
                    entities.push(Entity::App(catalog.app(id, caller)?.clone()));
                }
            }
            None if wants_users => entities.extend(catalog.apps(caller).cloned().map(Entity::App)),
            None => {}
        }
        Ok(entities)
    }

    fn totals(&self) -> Result<Option<TotalsQuery>, WeirError> {
        let Question { dataset, phones, granularity, range, terms, .. } = &self.question;
        if *dataset != Dataset::PhoneNumberTotals {
            return Ok(None);
        }
        let channels = self.entities.iter().filter_map(|entity| match entity {
            Entity::Channel(channel) => Some(channel),
            Entity::App(_) => None,
        });
        TotalsQuery::new(channels, phones.as_deref(), *granularity, *range, terms.clone(), &self.caller).map(Some)
    }

    /// Totals of all portions: one answer, once the last is there.
    async fn add_up(&self) -> Result<Batch, Arc<WeirError>> {
        let Some(query) = &self.totals else { return Ok(Batch::empty()) };
        let mut stamp = Some(Stamp::new());
        let mut sums = Sums::new(query, query.window(self.question.walk.now.floor(QUARTER))?);
        let points = |portion: &Portion| {
            let portion @ Portion { entity, window } = *portion;
            async move {
                let request = self.request(false);
                let points = query.points(entity, window, &request).await?;
                self.note_done();
                Ok::<_, Arc<WeirError>>((portion, points, request))
            }
        };
        let mut all = Box::pin(one_by_one(&self.portions).map(points).buffered(AHEAD));
        while let Some((portion, points, request)) = all.try_next().await? {
            let own = points.as_ref().and_then(|points| portion.stamp_of(&points.series));
            stamp = stamp.zip(own).map(|(known, own)| [known, own].concat());
            if let Some(points) = points {
                sums.add(portion.entity, portion.window, points, &request)?;
            }
        }
        drop(all);
        let totals = sums.into_totals(&self.request(false))?;
        let mut batch = Batch::of_totals(totals, self.question.updated_since).stamped(stamp);
        if let Some(after) = self.question.after() {
            batch.skip_to(after);
        }
        Ok(batch)
    }
}

/// Lets others work before each: what is held is answered without ever waiting, however long a pull of it is. (Were it done
/// where several are asked for at a time, they would be asked for in another order.)
fn one_by_one<T>(all: impl IntoIterator<Item = T>) -> impl Stream<Item = T> {
    stream::iter(all).then(async |one| {
        tokio::task::yield_now().await;
        one
    })
}

impl std::fmt::Debug for Pull {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (dataset, portions) = (self.question.dataset, self.portions.len());
        f.debug_struct("Pull").field("dataset", &dataset).field("portions", &portions).finish_non_exhaustive()
    }
}
