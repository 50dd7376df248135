//! `PhoneNumberMetric`: WhatsApp messages of one phone number in one bucket.

use std::borrow::Cow;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{ContextSelectionSet, Description, OutputType, Positioned, ServerResult, Value};

use super::item::{RawList, item};
use super::scalars::{Date, DateTime, Digits, Finality, Granularity, Id, Long, Source};
use crate::query::phone_number_metrics::{MetricRow, MetricRows};

/// WhatsApp messages of one business phone number in one bucket. Source: `GetChatappPhoneNumberMetric` of Alibaba Cloud
/// CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct PhoneNumberMetric<'a>(pub(super) MetricRow<'a>);

item! { PhoneNumberMetric<'a>: Self(row) => {
    /// The channel, the vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    cust_space_id: Option<Id<'a>> = row.subject.channel.as_ref().map(|channel| Id(channel.as_str())),
    /// The business phone number, by its digits.
    phone_number: Digits<'a> = Digits(row.point.phone.expose()),
    /// The step of the series.
    granularity: Granularity = row.subject.granularity.into(),
    /// The bucket's first instant. Daily buckets begin at midnight of the account's own time zone, not of UTC.
    start: DateTime = DateTime(row.point.start),
    /// The first instant after the bucket. A day where clocks change has 23 or 25 hours.
    end: DateTime = DateTime(row.point.end),
    /// The date of the channel's zone on which it begins; null where that is not known: before the first reply, and where
    /// no single offset fits.
    date: Option<Date> = row.date().map(Date),
    /// Messages sent. Adds up over buckets and numbers.
    sent_count: Long = Long(row.point.sent.as_i64()),
    /// Messages delivered. Adds up; may lag behind the messages sent, and may exceed them in one bucket.
    delivered_count: Long = Long(row.point.delivered.as_i64()),
    /// Delivered divided by sent, a share of 1; null when nothing was sent.
    delivery_rate: Option<f64> = row.point.delivered.share_of(row.point.sent),
    /// Whether the vendor may still change the counts.
    finality: Finality = row.point.finality.into(),
    /// When the request that brought the counts was sent.
    fetched_at: DateTime = DateTime(row.fetched_at),
    /// Where the counts came from for this request.
    source: Source = row.source().into(),
}}

/// All rows of a query. In the schema they are the list of their items.
#[derive(Debug)]
pub(super) struct PhoneNumberMetrics(pub(super) MetricRows);

impl OutputType for PhoneNumberMetrics {
    fn type_name() -> Cow<'static, str> {
        RawList::<'static, PhoneNumberMetric<'static>>::type_name()
    }

    fn qualified_type_name() -> String {
        RawList::<'static, PhoneNumberMetric<'static>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        RawList::<'static, PhoneNumberMetric<'static>>::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        let rows = || self.0.items(0..self.0.len()).into_iter().map(PhoneNumberMetric).collect();
        RawList::later(self.0.len(), rows).resolve(context, field).await
    }
}
