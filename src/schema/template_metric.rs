//! `TemplateMetric`: what became of the messages of one template, in one language and one bucket.

use async_graphql::{Description, Enum, ID, Object};

use super::raw::{Json, Plan, RawItem, RawList, Selected};
use super::scalars::{DateTime, Finality, Granularity, Long, Source};
use crate::domain::Key as _;
use crate::query::template_metrics::TemplateRow;
use crate::vendor::alibaba_cams;

/// What became of the messages of one template, in one language and one bucket. Source: `GetChatappTemplateMetric` of
/// Alibaba Cloud CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct TemplateMetric<'a>(pub(super) TemplateRow<'a>);

#[Object(use_type_description)]
impl TemplateMetric<'_> {
    /// The channel, the vendor's `CustSpaceId`; null where the account's only channel is asked without one.
    async fn cust_space_id(&self) -> Option<ID> {
        self.0.subject.channel.as_ref().map(|channel| ID(channel.as_str().to_owned()))
    }

    /// The vendor's code of the template.
    async fn template_code(&self) -> &str {
        &self.0.subject.template
    }

    /// The language as the vendor writes it, such as `en_US`.
    async fn language(&self) -> &str {
        self.0.point.language.text()
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

    /// Messages sent. Adds up over buckets and languages.
    async fn sent_count(&self) -> Long {
        Long(self.0.point.sent.as_i64())
    }

    /// Messages delivered. Adds up.
    async fn delivered_count(&self) -> Long {
        Long(self.0.point.delivered.as_i64())
    }

    /// Messages read. Adds up: as far as is documented they are events, not distinct readers.
    async fn read_count(&self) -> Long {
        Long(self.0.point.read.as_i64())
    }

    /// Clicks on the template's buttons, by kind and text.
    async fn clicks(&self) -> RawList<ButtonClicks<'_>> {
        RawList(self.0.point.clicks.iter().map(ButtonClicks).collect())
    }

    /// Delivered divided by sent, a share of 1; null when nothing was sent.
    async fn delivery_rate(&self) -> Option<f64> {
        self.delivered_of_sent()
    }

    /// Read divided by delivered, a share of 1; null when nothing was delivered.
    async fn read_rate(&self) -> Option<f64> {
        self.read_of_delivered()
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

impl TemplateMetric<'_> {
    fn delivered_of_sent(&self) -> Option<f64> {
        rate(self.0.point.delivered.as_i64(), self.0.point.sent.as_i64())
    }

    fn read_of_delivered(&self) -> Option<f64> {
        rate(self.0.point.read.as_i64(), self.0.point.delivered.as_i64())
    }
}

#[expect(clippy::cast_precision_loss, reason = "counts beyond 2^53 lose digits that no rate shows")]
fn rate(part: i64, whole: i64) -> Option<f64> {
    (whole > 0).then(|| part as f64 / whole as f64)
}

/// Clicks on the buttons of one kind with one text.
#[derive(Debug, Clone, Copy)]
pub(super) struct ButtonClicks<'a>(&'a alibaba_cams::ButtonClicks);

/// Clicks on the buttons of one kind with one text.
#[Object]
impl ButtonClicks<'_> {
    /// What the button does.
    async fn kind(&self) -> ButtonKind {
        self.0.kind.into()
    }

    /// What is written on it.
    async fn text(&self) -> &str {
        &self.0.text
    }

    /// How often it was clicked. Adds up.
    async fn count(&self) -> Long {
        Long(self.0.count.as_i64())
    }
}

/// What a button of a template does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "alibaba_cams::ButtonKind")]
pub(super) enum ButtonKind {
    /// Calls a number.
    PhoneNumber,
    /// Opens a page.
    Url,
    /// Sends a prepared answer.
    QuickReply,
    /// A kind that the vendor added since.
    Other,
}

/// The fields of [`TemplateMetric`], to be written without the engine.
#[derive(Debug)]
pub(super) enum TemplateField<T: RawItem> {
    CustSpaceId,
    TemplateCode,
    Language,
    Granularity,
    Start,
    End,
    SentCount,
    DeliveredCount,
    ReadCount,
    Clicks(Plan<T>),
    DeliveryRate,
    ReadRate,
    Finality,
    FetchedAt,
    Source,
}

impl<'a> RawItem for TemplateMetric<'a> {
    type Field = TemplateField<ButtonClicks<'a>>;

    fn field(selected: &Selected<'_>) -> Option<Self::Field> {
        Some(match selected.name() {
            "custSpaceId" => TemplateField::CustSpaceId,
            "templateCode" => TemplateField::TemplateCode,
            "language" => TemplateField::Language,
            "granularity" => TemplateField::Granularity,
            "start" => TemplateField::Start,
            "end" => TemplateField::End,
            "sentCount" => TemplateField::SentCount,
            "deliveredCount" => TemplateField::DeliveredCount,
            "readCount" => TemplateField::ReadCount,
            "clicks" => TemplateField::Clicks(selected.plan()?),
            "deliveryRate" => TemplateField::DeliveryRate,
            "readRate" => TemplateField::ReadRate,
            "finality" => TemplateField::Finality,
            "fetchedAt" => TemplateField::FetchedAt,
            "source" => TemplateField::Source,
            _ => return None,
        })
    }

    fn write(&self, field: &Self::Field, out: &mut Json) {
        let Self(row) = self;
        match field {
            TemplateField::CustSpaceId => match &row.subject.channel {
                Some(channel) => out.string(channel.as_str()),
                None => out.null(),
            },
            TemplateField::TemplateCode => out.string(&row.subject.template),
            TemplateField::Language => out.string(row.point.language.text()),
            TemplateField::Granularity => out.choice(Granularity::from(row.subject.granularity)),
            TemplateField::Start => out.instant(row.point.start),
            TemplateField::End => out.instant(row.point.end),
            TemplateField::SentCount => out.integer(row.point.sent.as_i64()),
            TemplateField::DeliveredCount => out.integer(row.point.delivered.as_i64()),
            TemplateField::ReadCount => out.integer(row.point.read.as_i64()),
            TemplateField::Clicks(plan) => {
                let clicks: Vec<_> = row.point.clicks.iter().map(ButtonClicks).collect();
                out.array(&clicks, plan);
            }
            TemplateField::DeliveryRate => out.float_or_null(self.delivered_of_sent()),
            TemplateField::ReadRate => out.float_or_null(self.read_of_delivered()),
            TemplateField::Finality => out.choice(Finality::from(row.point.finality)),
            TemplateField::FetchedAt => out.instant(row.fetched_at),
            TemplateField::Source => out.choice(Source::from(row.source())),
        }
    }
}

/// The fields of [`ButtonClicks`], to be written without the engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum ClicksField {
    Kind,
    Text,
    Count,
}

impl RawItem for ButtonClicks<'_> {
    type Field = ClicksField;

    fn field(selected: &Selected<'_>) -> Option<ClicksField> {
        Some(match selected.name() {
            "kind" => ClicksField::Kind,
            "text" => ClicksField::Text,
            "count" => ClicksField::Count,
            _ => return None,
        })
    }

    fn write(&self, field: &ClicksField, out: &mut Json) {
        match field {
            ClicksField::Kind => out.choice(ButtonKind::from(self.0.kind)),
            ClicksField::Text => out.string(&self.0.text),
            ClicksField::Count => out.integer(self.0.count.as_i64()),
        }
    }
}
