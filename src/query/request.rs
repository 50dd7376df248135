//! One request: who asks, with which controls, at which instant, and what it has cost so far.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use super::Outlook;
use super::catalog::{Catalog, CatalogChannel};
use super::collections::{Collection, Collections};
use super::quota::Quota;
use super::reuse::{Epoch, Lasting, Reuse};
use crate::archive::Collected;
use crate::domain::{
    AppId, Ask, Caller, Facts, Freshness, Held, LimitName, Mask, Operation, PhoneNumber, Sent, Slice, Source, Subject,
    Timestamp, Vendor, Window,
};
use crate::error::{Code, WeirError};
use crate::loader::Loader;
use crate::store::Series;
use crate::vendor::alibaba_cams::{EnableWhatsappRoi, WhatsappRoiEnabled};
use crate::vendor::volcengine_rtc::{self, Dimension};

/// The bound of what may be asked that has refused, if one has: others are counted where they are kept.
pub(super) fn bound_of_questions(error: &WeirError) -> Option<LimitName> {
    error.limit_name().filter(|name| {
        use LimitName::{PageRows, Range, Window, Windows};
        matches!(name, PageRows | Range | Window | Windows)
    })
}

/// The longest code of a software vendor: no more than an address carries.
const LONGEST_CODE: usize = 512;

/// In hand beside the longest wait when calendar windows are judged against the vendor's lookback.
const RETENTION_MARGIN: Duration = Duration::from_mins(1);
const SECOND: Duration = Duration::from_secs(1);
/// Time zones differ by multiples of it, and so do the beginnings of all buckets.
pub(super) const QUARTER: Duration = Duration::from_mins(15);

/// One request. Its questions are answered together: those that are asked before the first of them waits share their calls.
#[derive(Debug)]
pub struct Request {
    loader: Loader,
    reuse: Reuse,
    catalog: Arc<Catalog>,
    collections: Arc<Collections>,
    mask: Arc<Mask>,
    omitted: Mutex<Vec<Omitted>>,
}

/// A calendar window that the vendor no longer answers and that is not held.
#[derive(Debug, Clone)]
pub struct Omitted {
    /// Whose.
    pub app: AppId,
    /// By which kind of place.
    pub dimension: Dimension,
    /// Which.
    pub window: Window,
}

impl Request {
    /// `epoch` is that of before anything is looked up.
    pub(super) fn new(
        loader: Loader,
        catalog: Arc<Catalog>,
        collections: Arc<Collections>,
        mask: Arc<Mask>,
        epoch: Epoch,
    ) -> Self {
        let reuse = Reuse::new(epoch, loader.ask().at);
        Self { loader, reuse, catalog, collections, mask, omitted: Mutex::new(Vec::new()) }
    }

    /// What is configured.
    #[must_use]
    pub fn catalog(&self) -> &Catalog {
        &self.catalog
    }

    /// What the request asks with, and its cost so far.
    #[must_use]
    pub fn ask(&self) -> &Ask {
        self.loader.ask()
    }

    /// Who asks.
    #[must_use]
    pub fn caller(&self) -> &Caller {
        &self.ask().caller
    }

    /// The request's instant, to the second: every `last` of the request counts back from it.
    #[must_use]
    pub fn now(&self) -> Timestamp {
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

    /// The earliest start of a distribution that the vendor will still answer when its permit is there.
    pub(super) fn earliest(&self) -> Timestamp {
        let lookback = volcengine_rtc::operation_distributions::FACTS.lookback.unwrap_or(Duration::MAX);
        self.now() + RETENTION_MARGIN + self.ask().max_wait - lookback
    }

    /// Counts that a limit has refused the request, or a part of it.
    pub fn refused(&self, limit: LimitName) {
        self.loader.refused(limit);
    }

    /// Counts that a bound of what may be asked has refused a question, if one has.
    pub(super) fn judged<T>(&self, result: Result<T, WeirError>) -> Result<T, WeirError> {
        if let Some(limit) = result.as_ref().err().and_then(bound_of_questions) {
            self.refused(limit);
        }
        result
    }

    /// Counts the slices that a question is about to want of so many subjects, before any of them is made.
    pub(super) fn take<O: Operation>(&self, n_subjects: usize, window: Window) -> Result<(), WeirError> {
        self.loader.take::<O>(n_subjects, window)
    }

    /// Counts so many slices that a question is about to want, before any of them is made.
    pub(super) fn take_slices(&self, n: u64) -> Result<(), WeirError> {
        self.loader.take_slices(n)
    }

    /// The slices that a question wants, as the caller may see them; `None` where the request is only explained. The way of
    /// all numbers to all doors.
    pub(super) async fn series<O: Operation>(
        &self,
        wants: Vec<Slice<O::Subject>>,
    ) -> Result<Option<Series<O::Data>>, Arc<WeirError>> {
        if !wants.iter().all(|want| self.sees(&want.subject)) {
            return Err(Arc::new(not_theirs()));
        }
        let mut series = self.loader.series::<O>(wants).await?;
        self.note(series.as_ref());
        if self.caller().has_masked_phones()
            && let Some(series) = &mut series
        {
            self.mask::<O>(series)?;
        }
        Ok(series)
    }

    /// Whether the caller may see a subject. Asked here once more, whatever the doors have asked before.
    fn sees(&self, subject: &impl Subject) -> bool {
        subject.is_seen_by(self.caller())
    }

    fn mask<O: Operation>(&self, series: &mut Series<O::Data>) -> Result<(), WeirError> {
        let operation = self.loader.operation::<O>()?;
        for served in series.iter_mut().filter_map(|answered| answered.outcome.as_mut().ok()) {
            if let Some(data) = operation.masked(&served.held.data, &self.mask) {
                served.held = Arc::new(served.held.with(data));
            }
        }
        Ok(())
    }

    /// A phone number as the caller is shown it.
    pub(super) fn shown(&self, phone: PhoneNumber) -> PhoneNumber {
        if self.caller().has_masked_phones() { self.mask.of(&phone) } else { phone }
    }

    fn note<D>(&self, series: Option<&Series<D>>) {
        for answered in series.into_iter().flatten() {
            match &answered.outcome {
                Ok(served) if served.source == Source::Cache => self.reuse.note_fresh_until(served.held.fresh_until),
                _ => self.reuse.forbid(),
            }
        }
    }

    /// When all that is wanted was fetched and how long it lasts, without its numbers; `None` if anything is missing or not
    /// fresh.
    pub(super) fn peek<O: Operation>(&self, wants: &[Slice<O::Subject>]) -> Option<Vec<Held<()>>> {
        let series = wants.iter().all(|want| self.sees(&want.subject)).then(|| self.loader.peek::<O>(wants))??;
        series.into_iter().map(|one| one.outcome.ok().map(|served| served.held.with(()))).collect()
    }

    /// Whether a window would be answered: it is held, or the vendor still answers it.
    pub(super) fn is_answerable<O: Operation>(&self, want: &Slice<O::Subject>) -> bool {
        self.sees(&want.subject) && self.loader.is_answerable::<O>(want)
    }

    /// What the archive keeps of a subject inside a span, in order of time; `None` without one, and if it cannot be asked.
    pub(super) async fn collected<O: Operation>(&self, subject: &O::Subject, span: Window) -> Option<Vec<Collected>> {
        if !self.sees(subject) {
            return None;
        }
        self.loader.collected::<O>(subject, span).await
    }

    /// The windows of it.
    pub(super) async fn archived<O: Operation>(&self, subject: &O::Subject, span: Window) -> Vec<Window> {
        let collected = self.collected::<O>(subject, span).await;
        collected.into_iter().flatten().map(|collected| collected.window).collect()
    }

    /// An operation, with what its replies have taught.
    pub(super) fn operation<O: Operation>(&self) -> Result<&O, WeirError> {
        self.loader.operation::<O>()
    }

    pub(super) fn omit(&self, omitted: Omitted) {
        self.omitted.lock().unwrap_or_else(PoisonError::into_inner).push(omitted);
    }

    /// The calendar windows that were left out so far.
    #[must_use]
    pub fn omitted(&self) -> Vec<Omitted> {
        self.omitted.lock().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// What the request would do, as far as it has asked; empty unless it is to be explained.
    pub fn plan(&self) -> MutexGuard<'_, Outlook> {
        self.loader.plan()
    }

    /// What is known of each upstream operation that answers rows, and how long it may still change them.
    #[must_use]
    pub fn datasets(&self) -> Vec<(&'static Facts, Duration)> {
        self.loader.stores().datasets()
    }

    /// The permits of every operation of the accounts that serve what the caller may see, as they are now. An answer that
    /// shows them is never given again.
    #[must_use]
    pub fn quotas(&self) -> Vec<Quota<'_>> {
        self.reuse.forbid();
        let all = Quota::all(&self.catalog, self.loader.stores(), self.caller().clone());
        all.filter(|quota| self.catalog.may_see_account(quota.account, self.caller())).collect()
    }

    /// The series that are collected and that the caller may see, and how far each is now. An answer that shows them is
    /// never given again.
    #[must_use]
    pub fn collections(&self) -> Vec<Collection> {
        self.reuse.forbid();
        self.collections.seen_by(self.caller())
    }

    /// Turns the vendor's statistics on for a channel; `None` where the request is only explained.
    ///
    /// # Errors
    /// A code that no vendor gives, what the vendor answered, or that the permit would come too late.
    pub async fn enable_whatsapp_roi(
        &self,
        channel: &CatalogChannel,
        isv_code: Option<String>,
    ) -> Result<Option<Sent<WhatsappRoiEnabled>>, WeirError> {
        self.reuse.forbid();
        if isv_code.as_ref().is_some_and(|code| code.len() > LONGEST_CODE) {
            return Err(WeirError::bad_input(format!("isvCode has at most {LONGEST_CODE} bytes")));
        }
        let request = EnableWhatsappRoi { channel: channel.id.clone(), isv_code };
        self.loader.enable_whatsapp_roi(&channel.account, request).await
    }

    /// Until when the same request would be answered the same, if that is known.
    #[must_use]
    pub fn lasting(&self) -> Option<Lasting> {
        let Ask { freshness, explain, cost, .. } = self.ask();
        let is_free = Vendor::ALL.iter().all(|vendor| cost.calls(*vendor) == 0) && cost.collapsed() == 0;
        let omits = !self.omitted.lock().unwrap_or_else(PoisonError::into_inner).is_empty();
        // What becomes final is judged by the instant of each request.
        let is_steady = is_free && cost.queue_wait_ms() == 0 && *freshness == Freshness::Any && !explain && !omits;
        self.reuse.lasting().filter(|_| is_steady)
    }
}

/// Whatever asks for a subject has asked the [`Catalog`] for it: this is the second lock of the same door.
fn not_theirs() -> WeirError {
    WeirError::new(Code::Forbidden, "the caller may not see all that was asked for")
}
