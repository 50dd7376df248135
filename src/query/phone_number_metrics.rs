//! WhatsApp messages per business phone number and bucket.

use std::sync::Arc;

use super::catalog::CatalogChannel;
use super::counts::{self, Points};
use super::page::{Page, Paging, Walk};
use super::range::TimeRange;
use super::request::Request;
use super::rows::{Row, Rows};
use super::zone::{channel_zone, days, warn_of_edges};
use crate::domain::{Caller, PhoneNumber, Window};
use crate::error::WeirError;
use crate::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics, PhoneNumberPoint, PhoneNumbers};

/// More phones than these are looked up as the whole channel, which answers for each of them.
const MANY_PHONES: usize = 100;

/// Rows, ordered by (phone number, start).
pub type MetricRows = Rows<MetricSubject, PhoneNumberPoint>;
/// A page of them.
pub type MetricPage = Page<MetricSubject, PhoneNumberPoint>;
/// One of them.
pub type MetricRow<'a> = Row<'a, MetricSubject, PhoneNumberPoint>;

/// Which message counts are asked for.
#[derive(Debug)]
pub struct MetricQuery {
    channel: CatalogChannel,
    /// The channel as a whole.
    subject: MetricSubject,
    /// Some of its phones, in order; `None` for all.
    phones: Option<Vec<PhoneNumber>>,
    range: TimeRange,
}

impl MetricQuery {
    /// The messages of a channel, or of some of its phones, which are told by their digits; by the names that the caller knows
    /// them by, where phone numbers are masked.
    ///
    /// # Errors
    /// A phone without digits.
    pub fn new(
        channel: &CatalogChannel,
        granularity: Granularity,
        phones: Option<&[String]>,
        range: TimeRange,
        caller: &Caller,
    ) -> Result<Self, WeirError> {
        let subject = MetricSubject { granularity, ..days(channel) };
        let phones = phones.map(|phones| parse_phones(phones, caller)).transpose()?;
        Ok(Self { channel: channel.clone(), subject, phones, range })
    }

    /// All rows; `None` where the request is only explained.
    ///
    /// # Errors
    /// A range that makes no sense, or what failed upstream.
    pub async fn rows(self, request: &Request) -> Result<Option<MetricRows>, Arc<WeirError>> {
        let window = self.window(request)?;
        self.rows_in(window, request).await
    }

    /// A page of the rows; `None` where the request is only explained.
    ///
    /// # Errors
    /// A range or a cursor that makes no sense, or what failed upstream.
    pub async fn page(self, paging: Paging<'_>, request: &Request) -> Result<Option<MetricPage>, Arc<WeirError>> {
        let walk = request.judged(Walk::new(paging, self.range, self.window(request)?, self.parts(request)))?;
        let rows = self.rows_in(walk.window, request).await?;
        Ok(rows.map(|rows| Page::new(rows, walk)))
    }

    fn window(&self, request: &Request) -> Result<Window, WeirError> {
        request.judged(self.range.metric_window(self.subject.granularity, request.quarter()))
    }

    /// The rows whose own start lies in a window.
    pub(super) async fn rows_in(self, window: Window, request: &Request) -> Result<Option<MetricRows>, Arc<WeirError>> {
        let asked = self.asked(request);
        let is_wanted = |phone: &PhoneNumber| self.wants(phone);
        let rows = counts::rows::<PhoneNumbers>(request, self.subject.clone(), asked, window, is_wanted).await?;
        let Some(rows) = rows else { return Ok(None) };
        if self.subject.granularity == Granularity::Daily
            && let Some(day) = rows.first_start()
        {
            warn_of_edges(&self.channel, day);
        }
        Ok(Some(rows.dated_in(channel_zone(request, &self.channel)?)))
    }

    /// The slices whose points may begin inside a window.
    pub(super) async fn points_in(
        &self,
        window: Window,
        request: &Request,
    ) -> Result<Option<Points<PhoneNumbers>>, Arc<WeirError>> {
        counts::points::<PhoneNumbers>(request, self.asked(request), window).await
    }

    /// What of the channel is looked up: all of it, or a phone each.
    pub(super) fn asked(&self, request: &Request) -> Vec<MetricSubject> {
        let Self { subject, phones, .. } = self;
        // A masked number is found among all of the channel.
        let alone = |phones: &&Vec<PhoneNumber>| phones.len() <= MANY_PHONES && !request.caller().has_masked_phones();
        match phones.as_ref().filter(alone) {
            Some(phones) => {
                phones.iter().map(|phone| MetricSubject { phone: Some(phone.clone()), ..subject.clone() }).collect()
            }
            None => vec![subject.clone()],
        }
    }

    /// The phones that were asked for, in order.
    pub(super) fn named(&self) -> &[PhoneNumber] {
        self.phones.as_deref().unwrap_or_default()
    }

    /// Whether a phone was asked for.
    pub(super) fn wants(&self, phone: &PhoneNumber) -> bool {
        self.phones.as_ref().is_none_or(|phones| phones.binary_search(phone).is_ok())
    }

    /// What decides which rows there are, beside the window.
    fn parts(&self, request: &Request) -> [String; 5] {
        let phones = self.phones.as_ref().map(|phones| phones.iter().map(PhoneNumber::expose).collect::<Vec<_>>());
        let channel = self.subject.channel.as_ref().map_or("", |channel| channel.as_str());
        let (account, step) = (self.subject.account.name(), self.subject.granularity.as_str());
        let phones = phones.map_or_else(|| "*".to_owned(), |phones| phones.join(","));
        [request.caller().scope(), account, channel, step, &phones].map(str::to_owned)
    }
}

/// The phone numbers of a channel that replies have shown so far, as the caller may read them; `None` before the first.
/// Never an upstream call.
///
/// # Errors
/// No store answers message counts.
pub fn seen_phones(request: &Request, channel: &CatalogChannel) -> Result<Option<Vec<PhoneNumber>>, WeirError> {
    let seen = request.operation::<PhoneNumberMetrics>()?.seen(&days(channel));
    Ok(seen.map(|phones| phones.into_iter().map(|phone| request.shown(phone)).collect()))
}

/// Phones in order, each once.
fn parse_phones(texts: &[String], caller: &Caller) -> Result<Vec<PhoneNumber>, WeirError> {
    let read = if caller.has_masked_phones() { PhoneNumber::read_shown } else { PhoneNumber::parse };
    let parse = |text: &String| {
        let refused = || format!("a phone number has at least one digit and at most {}", PhoneNumber::MOST_DIGITS);
        read(text).ok_or_else(|| WeirError::bad_input(refused()))
    };
    let mut phones = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
    phones.sort_unstable();
    phones.dedup();
    Ok(phones)
}
