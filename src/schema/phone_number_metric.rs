//! `PhoneNumberMetric`: WhatsApp messages of one phone number in one bucket.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{ContextSelectionSet, Description, ID, Object, OutputType, Positioned, ServerResult, Value};

use super::raw::{Json, RawItem, RawList, Selected};
use super::scalars::{DateTime, Finality, Granularity, Long, Source};
use crate::query::phone_number_metrics::{MetricRow, MetricRows};

/// WhatsApp messages of one business phone number in one bucket. Source: `GetChatappPhoneNumberMetric` of Alibaba Cloud
/// CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct PhoneNumberMetric<'a>(pub(super) MetricRow<'a>);

#[Object(use_type_description)]
impl PhoneNumberMetric<'_> {
    /// The channel, the vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    async fn cust_space_id(&self) -> Option<ID> {
        self.0.subject.channel.as_ref().map(|channel| ID(channel.as_str().to_owned()))
    }

    /// The business phone number, by its digits.
    async fn phone_number(&self) -> &str {
        self.0.point.phone.expose()
    }

    /// The step of the series.
    async fn granularity(&self) -> Granularity {
        self.0.subject.granularity.into()
    }

    /// The bucket's first instant. Daily buckets begin at midnight of the account's own time zone, not of UTC.
    async fn start(&self) -> DateTime {
        DateTime(self.0.point.start)
    }

    /// The first instant after the bucket. A day where clocks change has 23 or 25 hours.
    async fn end(&self) -> DateTime {
        DateTime(self.0.point.end)
    }

    /// Messages sent. Adds up over buckets and numbers.
    async fn sent_count(&self) -> Long {
        Long(self.0.point.sent.as_i64())
    }

    /// Messages delivered. Adds up; may lag behind the messages sent, and may exceed them in one bucket.
    async fn delivered_count(&self) -> Long {
        Long(self.0.point.delivered.as_i64())
    }

    /// Delivered divided by sent, a share of 1; null when nothing was sent.
    async fn delivery_rate(&self) -> Option<f64> {
        self.rate()
    }

    /// Whether the vendor may still change the counts.
    async fn finality(&self) -> Finality {
        self.0.point.finality.into()
    }

    /// When the request that brought the counts was sent.
    async fn fetched_at(&self) -> DateTime {
        DateTime(self.0.fetched_at)
    }

    /// Where the counts came from for this request.
    async fn source(&self) -> Source {
        self.0.source().into()
    }
}

impl PhoneNumberMetric<'_> {
    #[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose digits that no rate shows")]
    fn rate(&self) -> Option<f64> {
        let sent = self.0.point.sent.as_i64();
        (sent > 0).then(|| self.0.point.delivered.as_i64() as f64 / sent as f64)
    }
}

/// All rows of a query. In the schema they are the list of their items.
#[derive(Debug)]
pub(super) struct PhoneNumberMetrics(pub(super) MetricRows);

impl OutputType for PhoneNumberMetrics {
    fn type_name() -> Cow<'static, str> {
        RawList::<PhoneNumberMetric<'static>>::type_name()
    }

    fn qualified_type_name() -> String {
        RawList::<PhoneNumberMetric<'static>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        RawList::<PhoneNumberMetric<'static>>::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let rows = self.0.items(0..self.0.len()).into_iter().map(PhoneNumberMetric).collect();
        RawList(rows).resolve(context, field).await
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
            MetricField::CustSpaceId => match &self.0.subject.channel {
                Some(channel) => out.string(channel.as_str()),
                None => out.null(),
            },
            MetricField::PhoneNumber => out.plain(self.0.point.phone.expose()),
            MetricField::Granularity => out.choice(Granularity::from(self.0.subject.granularity)),
            MetricField::Start => out.instant(self.0.point.start),
            MetricField::End => out.instant(self.0.point.end),
            MetricField::SentCount => out.integer(self.0.point.sent.as_i64()),
            MetricField::DeliveredCount => out.integer(self.0.point.delivered.as_i64()),
            MetricField::DeliveryRate => out.float_or_null(self.rate()),
            MetricField::Finality => out.choice(Finality::from(self.0.point.finality)),
            MetricField::FetchedAt => out.instant(self.0.fetched_at),
            MetricField::Source => out.choice(Source::from(self.0.source())),
        }
    }
}
