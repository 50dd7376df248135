//! `PhoneNumberMetric`: WhatsApp messages of one phone number in one bucket.

use async_graphql::{Description, ID, Object};

use super::raw::{Json, RawItem, Selected};
use super::scalars::{DateTime, Finality, Granularity, Long, Source};
use crate::domain::{self, PhoneNumber, Timestamp};
use crate::vendor::alibaba_cams::{MetricSubject, PhoneNumberPoint};

/// WhatsApp messages of one business phone number in one bucket. Source: `GetChatappPhoneNumberMetric` of Alibaba Cloud
/// CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct PhoneNumberMetric<'a> {
    pub(super) point: &'a PhoneNumberPoint,
    /// The channel that it was asked of.
    pub(super) subject: &'a MetricSubject,
    pub(super) fetched_at: Timestamp,
    /// Where its slice came from.
    pub(super) slice: domain::Source,
}

#[Object(use_type_description)]
impl PhoneNumberMetric<'_> {
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
        self.served_from()
    }
}

impl PhoneNumberMetric<'_> {
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose digits that no rate shows")]
    fn rate(&self) -> Option<f64> {
        let sent = self.point.sent.as_i64();
        (sent > 0).then(|| self.point.delivered.as_i64() as f64 / sent as f64)
    }

    fn served_from(&self) -> Source {
        match (self.slice, self.point.finality) {
            // What cannot change is never out of date, whatever else is in its slice.
            (domain::Source::Stale, domain::Finality::Final) => Source::Cache,
            (source, _) => source.into(),
        }
    }

    /// Its place in the order of rows.
    pub(super) fn position(&self) -> (&PhoneNumber, Timestamp) {
        (&self.point.phone, self.point.start)
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

impl RawItem for PhoneNumberMetric<'_> {
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
            MetricField::PhoneNumber => out.plain(self.point.phone.expose()),
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
            MetricField::Source => out.choice(self.served_from()),
        }
    }
}
