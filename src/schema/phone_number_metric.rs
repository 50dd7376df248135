//! `PhoneNumberMetric`: WhatsApp messages per phone number, and the connection that pages them.

use std::borrow::Cow;
use std::sync::Arc;

use async_graphql::{ID, Object, SimpleObject};

use super::context::{QUARTER, RequestContext};
use super::cursor::{self, Position};
use super::range::TimeRange;
use super::raw::{Json, Plan, RawItem, RawList, Selected};
use super::scalars::{DateTime, Finality, Granularity, Long, Source};
use crate::domain::{self, Ask, Caller, Freshness, PhoneNumber, Slice, Timestamp, Window};
use crate::error::WeirError;
use crate::loader::MetricSeries;
use crate::vendor::alibaba_cams::{self, MetricSubject, PhoneNumberPoint};

/// Rows that a connection answers when nobody says how many.
const DEFAULT_FIRST: usize = 10_000;
/// Rows that a connection answers at most.
const MAX_FIRST: usize = 100_000;
/// More phones than these are looked up as the whole channel, which answers for each of them.
const MANY_PHONES: usize = 100;

/// WhatsApp messages of one business phone number in one bucket. Source: `GetChatappPhoneNumberMetric` of Alibaba Cloud
/// CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone)]
pub(super) struct PhoneNumberMetric {
    point: PhoneNumberPoint,
    subject: Arc<MetricSubject>,
    fetched_at: Timestamp,
    source: Source,
}

#[Object]
impl PhoneNumberMetric {
    /// The channel, the vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    async fn cust_space_id(&self) -> Option<ID> {
        self.subject.channel.as_ref().map(|channel| ID(channel.as_str().to_owned()))
    }

    /// The business phone number, by its digits.
    async fn phone_number(&self) -> &str {
        self.point.phone.expose()
    }

    /// The step of the series.
    async fn granularity(&self) -> Granularity {
        self.subject.granularity.into()
    }

    /// The bucket's first instant. Daily buckets begin at midnight of the account's own time zone, not of UTC.
    async fn start(&self) -> DateTime {
        DateTime(self.point.start)
    }

    /// The first instant after the bucket. A day where clocks change has 23 or 25 hours.
    async fn end(&self) -> DateTime {
        DateTime(self.point.end)
    }

    /// Messages sent. Adds up over buckets and numbers.
    async fn sent_count(&self) -> Long {
        Long(self.point.sent.as_i64())
    }

    /// Messages delivered. Adds up; may lag behind the messages sent, and may exceed them in one bucket.
    async fn delivered_count(&self) -> Long {
        Long(self.point.delivered.as_i64())
    }

    /// Delivered divided by sent, a share of 1; null when nothing was sent.
    async fn delivery_rate(&self) -> Option<f64> {
        self.rate()
    }

    /// Whether the vendor may still change the counts.
    async fn finality(&self) -> Finality {
        self.point.finality.into()
    }

    /// When the request that brought the counts was sent.
    async fn fetched_at(&self) -> DateTime {
        DateTime(self.fetched_at)
    }

    /// Where the counts came from for this request.
    async fn source(&self) -> Source {
        self.source
    }
}

/// The fields of [`PhoneNumberMetric`], to be written without the engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum MetricField {
    CustSpaceId,
    PhoneNumber,
    Granularity,
    Start,
    End,
    SentCount,
    DeliveredCount,
    DeliveryRate,
    Finality,
    FetchedAt,
    Source,
}

impl RawItem for PhoneNumberMetric {
    type Field = MetricField;

    fn field(selected: &Selected<'_>) -> Option<MetricField> {
        Some(match selected.name() {
            "custSpaceId" => MetricField::CustSpaceId,
            "phoneNumber" => MetricField::PhoneNumber,
            "granularity" => MetricField::Granularity,
            "start" => MetricField::Start,
            "end" => MetricField::End,
            "sentCount" => MetricField::SentCount,
            "deliveredCount" => MetricField::DeliveredCount,
            "deliveryRate" => MetricField::DeliveryRate,
            "finality" => MetricField::Finality,
            "fetchedAt" => MetricField::FetchedAt,
            "source" => MetricField::Source,
            _ => return None,
        })
    }

    fn write(&self, field: &MetricField, out: &mut Json) {
        match field {
            MetricField::CustSpaceId => match &self.subject.channel {
                Some(channel) => out.string(channel.as_str()),
                None => out.null(),
            },
            MetricField::PhoneNumber => out.string(self.point.phone.expose()),
            MetricField::Granularity => out.choice(Granularity::from(self.subject.granularity)),
            MetricField::Start => out.instant(self.point.start),
            MetricField::End => out.instant(self.point.end),
            MetricField::SentCount => out.integer(self.point.sent.as_i64()),
            MetricField::DeliveredCount => out.integer(self.point.delivered.as_i64()),
            MetricField::DeliveryRate => match self.rate() {
                Some(rate) => out.float(rate),
                None => out.null(),
            },
            MetricField::Finality => out.choice(Finality::from(self.point.finality)),
            MetricField::FetchedAt => out.instant(self.fetched_at),
            MetricField::Source => out.choice(self.source),
        }
    }
}

/// What a field of message counts asks for.
#[derive(Debug)]
pub(super) struct MetricQuery {
    /// The channel as a whole.
    pub(super) subject: MetricSubject,
    /// Some of its phones, in order; `None` for all.
    pub(super) phones: Option<Vec<PhoneNumber>>,
    /// Rows are chosen by their own start inside it.
    pub(super) window: Window,
}

impl MetricQuery {
    /// Phones from an argument.
    pub(super) fn parse_phones(texts: Option<&[String]>) -> Result<Option<Vec<PhoneNumber>>, WeirError> {
        let Some(texts) = texts else { return Ok(None) };
        let parse = |text: &String| {
            PhoneNumber::parse(text).ok_or_else(|| WeirError::bad_input("a phone number must have at least one digit"))
        };
        let mut phones = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        phones.sort_unstable();
        phones.dedup();
        Ok(Some(phones))
    }

    /// All rows, ordered by (phone number, start).
    pub(super) async fn rows(
        &self,
        context: &RequestContext,
    ) -> Result<Option<Vec<PhoneNumberMetric>>, Arc<WeirError>> {
        // Buckets begin in the past: what lies ahead needs no call.
        let Some(window) = Window::new(self.window.start(), self.window.end().min(context.quarter() + QUARTER)) else {
            return Ok((!context.ask().explain).then(Vec::new));
        };
        let whole = MetricSubject { phone: None, ..self.subject.clone() };
        let subjects: Vec<MetricSubject> = match &self.phones {
            Some(phones) if phones.len() <= MANY_PHONES => {
                let seen = phones.iter().filter(|phone| context.caller().may_see_phone(phone));
                seen.map(|phone| MetricSubject { phone: Some(phone.clone()), ..whole.clone() }).collect()
            }
            _ => vec![whole],
        };
        let wants = subjects.iter().map(|subject| Slice { subject: subject.clone(), window }).collect();
        let Some(series) = context.metrics(wants).await? else { return Ok(None) };
        collect(&subjects, self, series, context.ask()).map(Some)
    }
}

/// Chooses rows by phone and by their own start.
fn collect(
    subjects: &[MetricSubject],
    query: &MetricQuery,
    series: MetricSeries,
    ask: &Ask,
) -> Result<Vec<PhoneNumberMetric>, Arc<WeirError>> {
    let mut rows = Vec::new();
    for answered in series {
        let served = answered.outcome?;
        let Some(subject) = subjects.get(answered.want) else { continue };
        let points: &[PhoneNumberPoint] = &served.held.data;
        // A slice of the whole channel is ordered by phone.
        let points = match &subject.phone {
            None => points,
            Some(phone) => {
                let from = points.partition_point(|point| point.phone < *phone);
                let to = points.partition_point(|point| point.phone <= *phone);
                points.get(from..to).unwrap_or_default()
            }
        };
        let subject = Arc::new(MetricSubject { phone: None, ..subject.clone() });
        let chosen = points.iter().filter(|point| {
            query.window.contains(point.start)
                && query.phones.as_ref().is_none_or(|phones| phones.binary_search(&point.phone).is_ok())
                && ask.caller.may_see_phone(&point.phone)
                && (ask.freshness == Freshness::Any || point.finality == domain::Finality::Final)
        });
        rows.extend(chosen.map(|point| PhoneNumberMetric {
            point: point.clone(),
            subject: Arc::clone(&subject),
            fetched_at: served.held.sent_at,
            source: match (served.source, point.finality) {
                // What cannot change is never out of date, whatever else is in its slice.
                (domain::Source::Stale, domain::Finality::Final) => Source::Cache,
                (source, _) => source.into(),
            },
        }));
    }
    rows.sort_by(|one, other| one.position().cmp(&other.position()));
    Ok(rows)
}

impl PhoneNumberMetric {
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose digits that no rate shows")]
    fn rate(&self) -> Option<f64> {
        let sent = self.point.sent.as_i64();
        (sent > 0).then(|| self.point.delivered.as_i64() as f64 / sent as f64)
    }

    fn position(&self) -> (&PhoneNumber, Timestamp) {
        (&self.point.phone, self.point.start)
    }
}

/// A page of message counts, ordered by (custSpaceId, phoneNumber, start).
#[derive(Debug)]
pub(super) struct PhoneNumberMetricConnection {
    rows: Vec<PhoneNumberMetric>,
    from: usize,
    to: usize,
    seal: cursor::Seal,
}

/// A row and its place.
#[derive(Debug, Clone)]
pub(super) struct PhoneNumberMetricEdge<'a> {
    row: &'a PhoneNumberMetric,
    seal: &'a cursor::Seal,
}

#[Object]
impl PhoneNumberMetricEdge<'_> {
    /// Stands for the row's place: `after` goes on behind it, also when rows were refreshed or added meanwhile.
    async fn cursor(&self) -> String {
        self.place()
    }

    /// The row.
    async fn node(&self) -> &PhoneNumberMetric {
        self.row
    }
}

impl PhoneNumberMetricEdge<'_> {
    fn place(&self) -> String {
        self.seal.cursor(&self.row.point.phone, self.row.point.start)
    }
}

/// The fields of [`PhoneNumberMetricEdge`], to be written without the engine.
#[derive(Debug)]
pub(super) enum EdgeField {
    Cursor,
    Node(Plan<PhoneNumberMetric>),
}

impl RawItem for PhoneNumberMetricEdge<'_> {
    type Field = EdgeField;

    fn field(selected: &Selected<'_>) -> Option<EdgeField> {
        match selected.name() {
            "cursor" => Some(EdgeField::Cursor),
            "node" => selected.plan().map(EdgeField::Node),
            _ => None,
        }
    }

    fn write(&self, field: &EdgeField, out: &mut Json) {
        match field {
            EdgeField::Cursor => out.string(&self.place()),
            EdgeField::Node(plan) => out.object(self.row, plan),
        }
    }
}

/// Where a page lies among all rows.
#[derive(Debug, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether rows follow this page.
    pub has_next_page: bool,
    /// Whether rows come before this page.
    pub has_previous_page: bool,
    /// The cursor of the first row; null on an empty page.
    pub start_cursor: Option<String>,
    /// The cursor of the last row; null on an empty page.
    pub end_cursor: Option<String>,
}

impl PhoneNumberMetricConnection {
    /// The page of `first` rows behind `after`.
    pub(super) fn new(
        rows: Vec<PhoneNumberMetric>,
        first: Option<i32>,
        after: Option<&Position>,
        seal: cursor::Seal,
    ) -> Result<Self, WeirError> {
        let first = Self::check_first(first)?;
        let from = after.map_or(0, |after| rows.partition_point(|row| row.position() <= (&after.phone, after.start)));
        let to = rows.len().min(from + first);
        Ok(Self { rows, from, to, seal })
    }

    /// How many rows a page has; checked before anything is fetched.
    pub(super) fn check_first(first: Option<i32>) -> Result<usize, WeirError> {
        match first.map(usize::try_from) {
            None => Ok(DEFAULT_FIRST),
            Some(Ok(first)) if first <= MAX_FIRST => Ok(first),
            Some(_) => Err(WeirError::bad_input(format!("first must be between 0 and {MAX_FIRST}"))),
        }
    }

    fn page(&self) -> &[PhoneNumberMetric] {
        self.rows.get(self.from..self.to).unwrap_or_default()
    }

    fn edge<'a>(&'a self, row: &'a PhoneNumberMetric) -> PhoneNumberMetricEdge<'a> {
        PhoneNumberMetricEdge { row, seal: &self.seal }
    }
}

#[Object]
impl PhoneNumberMetricConnection {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> RawList<'_, PhoneNumberMetricEdge<'_>> {
        RawList(self.page().iter().map(|row| self.edge(row)).collect())
    }

    /// The rows of the page.
    async fn nodes(&self) -> RawList<'_, PhoneNumberMetric> {
        RawList(Cow::Borrowed(self.page()))
    }

    /// Where the page lies.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.to < self.rows.len(),
            has_previous_page: self.from > 0,
            start_cursor: self.page().first().map(|row| self.edge(row).place()),
            end_cursor: self.page().last().map(|row| self.edge(row).place()),
        }
    }

    /// How many rows there are on all pages together.
    async fn total_count(&self) -> usize {
        self.rows.len()
    }
}

/// What a cursor of this query is bound to. A walk over `last` and one over `between` are different queries even where
/// their windows are the same: only the first may be older than the range it names.
pub(super) fn seal(query: &MetricQuery, range: TimeRange, caller: &Caller) -> cursor::Seal {
    let phones = query.phones.as_ref().map(|phones| phones.iter().map(PhoneNumber::expose).collect::<Vec<_>>());
    cursor::Seal::new(&[
        caller.scope(),
        match range {
            TimeRange::Between(_) => "between",
            TimeRange::Last(_) => "last",
        },
        query.subject.account.name(),
        query.subject.channel.as_ref().map_or("", |channel| channel.as_str()),
        alibaba_cams::Granularity::as_str(query.subject.granularity),
        &phones.map_or_else(|| "*".to_owned(), |phones| phones.join(",")),
        &query.window.to_string(),
    ])
}
