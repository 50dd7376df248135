//! `TemplateMetric`: what became of the messages of one template, in one language and one bucket; and pages of them.

use async_graphql::{Description, Enum, ID, Object};

use super::metric_connection::PageInfo;
use super::raw::{Json, Plan, RawItem, RawList, Selected};
use super::scalars::{DateTime, Finality, Granularity, Long, Source};
use crate::domain::Key as _;
use crate::query::template_metrics::{TemplatePage, TemplateRow};
use crate::vendor::alibaba_cams;

/// What became of the messages of one template, in one language and one bucket. Source: `GetChatappTemplateMetric` of
/// Alibaba Cloud CAMS. Buckets without messages are absent: a gap means zero.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct TemplateMetric<'a>(TemplateRow<'a>);

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

/// A page of template counts, ordered by (language, start).
#[derive(Debug, Description)]
pub(super) struct TemplateMetricConnection(pub(super) TemplatePage);

/// A row and its place.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct TemplateMetricEdge<'a> {
    row: TemplateRow<'a>,
    page: &'a TemplatePage,
}

#[Object(use_type_description)]
impl TemplateMetricEdge<'_> {
    /// Stands for the row's place: `after` goes on behind it, also when rows were refreshed or added meanwhile.
    async fn cursor(&self) -> String {
        self.page.cursor(self.row)
    }

    /// The row.
    async fn node(&self) -> TemplateMetric<'_> {
        TemplateMetric(self.row)
    }
}

/// The fields of [`TemplateMetricEdge`], to be written without the engine.
#[derive(Debug)]
pub(super) enum EdgeField<T: RawItem> {
    Cursor,
    Node(Plan<T>),
}

impl<'a> RawItem for TemplateMetricEdge<'a> {
    type Field = EdgeField<TemplateMetric<'a>>;

    fn field(selected: &Selected<'_>) -> Option<Self::Field> {
        match selected.name() {
            "cursor" => Some(EdgeField::Cursor),
            "node" => selected.plan().map(EdgeField::Node),
            _ => None,
        }
    }

    fn write(&self, field: &Self::Field, out: &mut Json) {
        match field {
            EdgeField::Cursor => out.string(&self.page.cursor(self.row)),
            EdgeField::Node(plan) => out.object(&TemplateMetric(self.row), plan),
        }
    }
}

#[Object(use_type_description)]
impl TemplateMetricConnection {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> RawList<TemplateMetricEdge<'_>> {
        RawList(self.0.items().into_iter().map(|row| TemplateMetricEdge { row, page: &self.0 }).collect())
    }

    /// The rows of the page.
    async fn nodes(&self) -> RawList<TemplateMetric<'_>> {
        RawList(self.0.items().into_iter().map(TemplateMetric).collect())
    }

    /// Where the page lies.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.0)
    }

    /// How many rows there are on all pages together.
    async fn total_count(&self) -> usize {
        self.0.total()
    }
}
