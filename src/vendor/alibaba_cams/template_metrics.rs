//! `GetChatappTemplateMetric`: messages sent, delivered and read, and buttons clicked, of one message template.
//!
//! The vendor's SDK shows its names and types; everything else is taken to be as for `GetChatappPhoneNumberMetric`
//! (docs/vendors/alibaba-cams.md).

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Granularity;
use super::series::{CountSubject, Counts, Series};
use super::wire::Params;
use crate::domain::{
    Account, Caller, ChannelId, Facts, Finality, Key, Mask, MessageCount, Point, Subject, Timestamp, Vendor,
};
use crate::vendor::loose::number;

/// 5 calls a second: no limit is published, and this is the least of the product's others.
pub const FACTS: Facts = Facts {
    vendor: Vendor::AlibabaCams,
    operation: "GetChatappTemplateMetric",
    dataset: "template_metrics",
    calls_per_second: 5,
    max_window: None,
    lookback: None,
    additive: true,
    memory_share: 1,
};

/// The operation, with what its replies have taught so far.
pub type TemplateMetrics = Series<Templates>;

/// Counts by the language of a template.
#[derive(Debug)]
pub struct Templates;

/// The language of a template as the vendor writes it, such as `en_US`.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Language(Arc<str>);

impl Key for Language {
    fn text(&self) -> &str {
        &self.0
    }

    fn read(text: &str) -> Option<Self> {
        Some(Self(text.into()))
    }
}

/// Whose numbers: a template's, or those of one of its languages.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct TemplateSubject {
    /// The account that serves the channel.
    pub account: Account,
    /// The channel; `None` for the only one of an account without named channels.
    pub channel: Option<ChannelId>,
    /// The vendor's code of the template.
    pub template: Arc<str>,
    /// The step of the series.
    pub granularity: Granularity,
    /// One language; `None` for all of the template.
    pub language: Option<Language>,
}

impl Subject for TemplateSubject {
    fn account(&self) -> &Account {
        &self.account
    }

    fn text(&self) -> String {
        let Self { account: _, channel, template, granularity, language } = self;
        let (channel, language) = (channel.as_ref().map(ChannelId::as_str), language.as_ref().map(Key::text));
        serde_json::json!([channel, template, granularity.as_str(), language]).to_string()
    }

    fn is_seen_by(&self, caller: &Caller) -> bool {
        caller.may_see_channel(self.channel.as_ref())
    }

    fn whole(&self) -> Option<Self> {
        self.language.is_some().then(|| Self { language: None, ..self.clone() })
    }
}

impl CountSubject for TemplateSubject {
    type Key = Language;
    type Whole = (Account, Option<ChannelId>, Arc<str>);

    fn granularity(&self) -> Granularity {
        self.granularity
    }

    fn channel(&self) -> Option<&ChannelId> {
        self.channel.as_ref()
    }

    fn key(&self) -> Option<&Language> {
        self.language.as_ref()
    }

    fn learned_by(&self) -> Self::Whole {
        (self.account.clone(), self.channel.clone(), Arc::clone(&self.template))
    }
}

/// The messages of one language of a template in one bucket, with the vendor's own edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct TemplatePoint {
    /// The language.
    pub language: Language,
    /// The bucket's first instant.
    pub start: Timestamp,
    /// The first instant after the bucket.
    pub end: Timestamp,
    /// Messages sent.
    pub sent: MessageCount,
    /// Messages delivered.
    pub delivered: MessageCount,
    /// Messages read: events, as far as is documented, and not distinct readers.
    pub read: MessageCount,
    /// Clicks, by kind and text of the button; each pair once.
    pub clicks: Vec<ButtonClicks>,
    /// Whether the vendor may still change the counts.
    pub finality: Finality,
}

/// Clicks on the buttons of one kind with one text.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ButtonClicks {
    /// What the button does.
    pub kind: ButtonKind,
    /// What is written on it.
    pub text: String,
    /// How often it was clicked.
    pub count: MessageCount,
}

/// What a button does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum ButtonKind {
    /// Calls a number.
    PhoneNumber,
    /// Opens a page.
    Url,
    /// Sends a prepared answer.
    QuickReply,
    /// A kind that the vendor added since.
    Other,
}

impl ButtonKind {
    /// The vendor writes `relpy`; should it mend that, both are understood.
    fn read(text: &str) -> Self {
        match text {
            "phone_number_button" => Self::PhoneNumber,
            "url_button" => Self::Url,
            "quick_relpy_button" | "quick_reply_button" => Self::QuickReply,
            _ => Self::Other,
        }
    }
}

impl Point for TemplatePoint {
    type Key = Language;

    fn key(&self) -> &Language {
        &self.language
    }

    fn start(&self) -> Timestamp {
        self.start
    }

    fn end(&self) -> Timestamp {
        self.end
    }

    fn finality(&self) -> Finality {
        self.finality
    }
}

impl Counts for Templates {
    type Subject = TemplateSubject;
    type Point = TemplatePoint;

    const FACTS: &'static Facts = &FACTS;
    const ASSUMED_KEYS: usize = 3;

    fn params(subject: &TemplateSubject) -> Params {
        let language = subject.language.as_ref().map(|language| ("Language", language.text().to_owned()));
        [("TemplateCode", subject.template.to_string())].into_iter().chain(language).collect()
    }

    fn rows(data: Option<&RawValue>, asked: &TemplateSubject) -> Result<Option<Vec<TemplatePoint>>, &'static str> {
        let Some(data) = data else { return Ok(None) };
        let rows: Vec<Row<'_>> =
            serde_json::from_str(data.get()).map_err(|_not_shown| "a row is not what the vendor documents")?;
        let mut rows = rows.into_iter().map(|row| row.check(asked)).collect::<Result<Vec<_>, _>>()?;
        rows.sort_by(|one, other| (&one.language, one.start, one.end).cmp(&(&other.language, other.start, other.end)));
        rows.dedup();
        let overlap = |pair: &[TemplatePoint]| pair[0].language == pair[1].language && pair[1].start < pair[0].end;
        if rows.windows(2).any(overlap) {
            return Err("two rows of one language overlap and differ");
        }
        Ok(Some(rows))
    }

    fn settle(point: TemplatePoint, finality: Finality) -> TemplatePoint {
        TemplatePoint { finality, ..point }
    }

    fn masked(_: &[TemplatePoint], _: &Mask) -> Option<Vec<TemplatePoint>> {
        None
    }

    fn bytes(point: &TemplatePoint) -> usize {
        let clicks = point.clicks.iter().map(|clicks| size_of::<ButtonClicks>() + clicks.text.len());
        size_of::<TemplatePoint>() + point.language.0.len() + clicks.sum::<usize>()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(borrow, default)]
    template_code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    language: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "number")]
    start: i64,
    #[serde(deserialize_with = "number")]
    end: i64,
    #[serde(deserialize_with = "number")]
    sent_count: i64,
    #[serde(deserialize_with = "number")]
    delivered_count: i64,
    #[serde(deserialize_with = "number")]
    read_count: i64,
    /// Spelled so by the vendor.
    #[serde(borrow, default)]
    cliented: Option<Vec<Clicked<'a>>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Clicked<'a> {
    #[serde(borrow, rename = "Type", default)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    button_content: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "number")]
    count: i64,
}

impl Row<'_> {
    fn check(self, asked: &TemplateSubject) -> Result<TemplatePoint, &'static str> {
        if self.template_code.is_some_and(|code| *code != *asked.template) {
            return Err("a row is of another template than the one asked for");
        }
        let language = match (self.language, &asked.language) {
            (Some(language), Some(asked)) if *language != *asked.0 => {
                return Err("a row is of another language than the one asked for");
            }
            (None, Some(asked)) => asked.clone(),
            (language, _) => Language(language.unwrap_or_default().into()),
        };
        let granularity = asked.granularity;
        let (start, end) = (Timestamp::from_ms(self.start), Timestamp::from_ms(self.end));
        let end = if start < end { end } else { start + granularity.step() };
        if end.since(start) > granularity.longest() {
            return Err("a row covers more time than one step can");
        }
        let count = |number| MessageCount::new(number).ok_or("a row counts less than nothing");
        let (sent, delivered, read) = (count(self.sent_count)?, count(self.delivered_count)?, count(self.read_count)?);
        let mut buttons: BTreeMap<(ButtonKind, String), MessageCount> = BTreeMap::new();
        for clicked in self.cliented.into_iter().flatten() {
            let kind = ButtonKind::read(clicked.kind.as_deref().unwrap_or_default());
            let clicks = buttons.entry((kind, clicked.button_content.unwrap_or_default().into_owned())).or_default();
            *clicks = *clicks + count(clicked.count)?;
        }
        let clicks = buttons.into_iter().map(|((kind, text), count)| ButtonClicks { kind, text, count }).collect();
        Ok(TemplatePoint { language, start, end, sent, delivered, read, clicks, finality: Finality::Provisional })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::vendor::alibaba_cams::series::params;

    fn asked(language: Option<&str>) -> TemplateSubject {
        TemplateSubject {
            account: Account::new(Vendor::AlibabaCams, "retail", "host", "owner"),
            channel: Some(ChannelId::new("cams-alpha")),
            template: "welcome".into(),
            granularity: Granularity::Daily,
            language: language.and_then(Language::read),
        }
    }

    /// A row of one UTC day, counted from the epoch, with more fields in front.
    fn day(more: &str, day: i64) -> String {
        let (start, end) = (day * 86_400_000, (day + 1) * 86_400_000);
        format!(
            r#"{{{more}"TemplateCode":"welcome","Start":{start},"End":"{end}","SentCount":10,"DeliveredCount":9,"ReadCount":7}}"#
        )
    }

    fn rows(rows: &[String], asked: &TemplateSubject) -> Result<Vec<TemplatePoint>, &'static str> {
        let data = RawValue::from_string(format!("[{}]", rows.join(","))).unwrap();
        Templates::rows(Some(&data), asked).map(Option::unwrap_or_default)
    }

    #[test]
    fn rows_are_ordered_by_language_and_their_clicks_add_up() {
        let clicks = r#""Cliented":[{"Type":"url_button","ButtonContent":"Track","Count":2},
            {"Type":"quick_relpy_button","ButtonContent":"Stop","Count":1},
            {"Type":"url_button","ButtonContent":"Track","Count":"3"},{"Type":"new_button","Count":4}],"#;
        let given = [
            day(r#""Language":"zh_CN","#, 3),
            day(&format!(r#""Language":"en_US",{clicks}"#), 4),
            day(r#""Language":"en_US","#, 3),
        ];
        let read = rows(&given, &asked(None)).unwrap();
        let order: Vec<_> = read.iter().map(|row| (row.language.text(), row.start.as_ms() / 86_400_000)).collect();
        assert_eq!(order, [("en_US", 3), ("en_US", 4), ("zh_CN", 3)]);
        let clicks: Vec<_> = read[1].clicks.iter().map(|c| (c.kind, c.text.as_str(), c.count.as_i64())).collect();
        let expected = [(ButtonKind::Url, "Track", 5), (ButtonKind::QuickReply, "Stop", 1), (ButtonKind::Other, "", 4)];
        assert_eq!(clicks, expected);
        assert_eq!((read[1].sent.as_i64(), read[1].delivered.as_i64(), read[1].read.as_i64()), (10, 9, 7));
    }

    #[test]
    fn what_was_not_asked_for_is_no_answer() {
        for (row, asked, why) in [
            (day("", 1).replace("welcome", "other"), asked(None), "another template"),
            (day(r#""Language":"es","#, 1), asked(Some("en_US")), "another language"),
            (day("", 1).replace(":7", ":-7"), asked(None), "less than nothing"),
            (day("", 1).replace(r#""End":"172800000""#, r#""End":999999999"#), asked(None), "more time"),
        ] {
            assert!(rows(std::slice::from_ref(&row), &asked).unwrap_err().contains(why), "{row}");
        }
        let twice = [day("", 1), day("", 1).replace(":10", ":11")];
        assert!(rows(&twice, &asked(None)).unwrap_err().contains("overlap"));
        assert_eq!(rows(&[day("", 1), day("", 1)], &asked(None)).unwrap().len(), 1);
        assert_eq!(rows(&[day("", 1)], &asked(Some("es"))).unwrap()[0].language.text(), "es");
    }

    #[test]
    fn parameters_are_spelled_as_the_vendor_spells_them() {
        let span = crate::domain::Window::new(Timestamp::from_ms(5), Timestamp::from_ms(7)).unwrap();
        let mut params = params::<Templates>(&asked(Some("en_US")), span, None);
        params.sort();
        let expected = [
            ("CustSpaceId", "cams-alpha"),
            ("End", "7"),
            ("Granularity", "DAILY"),
            ("Language", "en_US"),
            ("Start", "5"),
            ("TemplateCode", "welcome"),
        ];
        assert_eq!(params, expected.map(|(name, value)| (name, value.to_owned())));
    }
}
