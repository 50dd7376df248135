//! `TemplateMetric`: what became of the messages of one template, in one language and one bucket.

use async_graphql::Description;

use super::item::{RawList, item};
use super::scalars::{ButtonKind, DateTime, Finality, Granularity, Id, Long, Source};
use crate::domain::Key as _;
use crate::query::template_metrics::TemplateRow;
use crate::vendor::alibaba_cams;

/// What became of the messages of one template, in one language and one bucket. Source: `GetChatappTemplateMetric` of
/// Alibaba Cloud CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct TemplateMetric<'a>(pub(super) TemplateRow<'a>);

item! { TemplateMetric<'a>: Self(row) => {
    /// The channel, the vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    cust_space_id: Option<Id<'a>> = row.subject.channel.as_ref().map(|channel| Id(channel.as_str())),
    /// The vendor's code of the template.
    template_code: &'a str = &row.subject.template,
    /// The language as the vendor writes it, such as `en_US`.
    language: &'a str = row.point.language.text(),
    /// The step of the series.
    granularity: Granularity = row.subject.granularity.into(),
    /// The bucket's first instant. Daily buckets begin at midnight of the account's own time zone, not of UTC.
    start: DateTime = DateTime(row.point.start),
    /// The first instant after the bucket. A day where clocks change has 23 or 25 hours.
    end: DateTime = DateTime(row.point.end),
    /// Messages sent. Adds up over buckets and languages.
    sent_count: Long = Long(row.point.sent.as_i64()),
    /// Messages delivered. Adds up.
    delivered_count: Long = Long(row.point.delivered.as_i64()),
    /// Messages read. Adds up: as far as is documented they are events, not distinct readers.
    read_count: Long = Long(row.point.read.as_i64()),
    /// Clicks on the template's buttons, by kind and text.
    clicks: RawList<'a, ButtonClicks<'a>> = RawList::of(row.point.clicks.iter().map(ButtonClicks)),
    /// Delivered divided by sent, a share of 1; null when nothing was sent.
    delivery_rate: Option<f64> = row.point.delivered.share_of(row.point.sent),
    /// Read divided by delivered, a share of 1; null when nothing was delivered.
    read_rate: Option<f64> = row.point.read.share_of(row.point.delivered),
    /// Whether the vendor may still change the counts.
    finality: Finality = row.point.finality.into(),
    /// When the request that brought the counts was sent.
    fetched_at: DateTime = DateTime(row.fetched_at),
    /// Where the counts came from for this request.
    source: Source = row.source().into(),
}}

/// Clicks on the buttons of one kind with one text.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct ButtonClicks<'a>(&'a alibaba_cams::ButtonClicks);

item! { ButtonClicks<'a>: Self(clicks) => {
    /// What the button does.
    kind: ButtonKind = clicks.kind.into(),
    /// What is written on it.
    text: &'a str = &clicks.text,
    /// How often it was clicked. Adds up.
    count: Long = Long(clicks.count.as_i64()),
}}
