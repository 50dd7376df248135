//! `GetChatappPhoneNumberMetric`: messages sent and delivered per business phone number.
//!
//! Tolerant where the vendor is known to be sloppy: unknown fields, `Data` null or absent, numbers as strings, an
//! `AccessDeniedDetail` of any shape, a `Start` that is not before its `End` (as in the sample of the vendor's own
//! page: such a row is taken by its `Start`, and its end is then one step later). Strict where a wrong number could
//! get through.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::sync::Arc;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::Granularity;
use super::series::{CountSubject, Counts, Series};
use super::wire::Params;
use crate::domain::dataset::Dataset;
use crate::domain::{
    Account, ArchiveKey, ArchiveRow, Archived, Caller, ChannelId, Facts, Finality, Mask, MessageCount, Number,
    PhoneNumber, Point, Slice, Subject, Timestamp, Vendor,
};
use crate::vendor::loose::number;

/// 50 calls a second per account, by its page. Neither a longest range nor a lookback is documented.
pub const FACTS: Facts = Facts {
    vendor: Vendor::AlibabaCams,
    operation: "GetChatappPhoneNumberMetric",
    dataset: "phone_number_metrics",
    calls_per_second: 50,
    max_window: None,
    lookback: None,
    additive: true,
    memory_share: 8,
};

/// The operation, with what its replies have taught so far. One for all accounts, shared with their clients.
pub type PhoneNumberMetrics = Series<PhoneNumbers>;

/// Counts by phone number.
#[derive(Debug)]
pub struct PhoneNumbers;

/// Whose numbers: a channel's, or those of one of its phones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricSubject {
    /// The account that serves the channel.
    pub account: Account,
    /// The channel; `None` for the only one of an account without named channels.
    pub channel: Option<ChannelId>,
    /// The step of the series.
    pub granularity: Granularity,
    /// One phone; `None` for all of the channel.
    pub phone: Option<PhoneNumber>,
}

impl Subject for MetricSubject {
    fn account(&self) -> &Account {
        &self.account
    }

    fn text(&self) -> String {
        let Self { account: _, channel, granularity, phone } = self;
        let phone = phone.as_ref().map(PhoneNumber::expose);
        serde_json::json!([channel.as_ref().map(ChannelId::as_str), granularity.as_str(), phone]).to_string()
    }

    fn is_seen_by(&self, caller: &Caller) -> bool {
        caller.may_see_channel(self.channel.as_ref()) && !(self.phone.is_some() && caller.has_masked_phones())
    }

    fn whole(&self) -> Option<Self> {
        self.phone.is_some().then(|| Self { phone: None, ..self.clone() })
    }
}

impl CountSubject for MetricSubject {
    type Key = PhoneNumber;
    type Whole = (Account, Option<ChannelId>);

    fn granularity(&self) -> Granularity {
        self.granularity
    }

    fn channel(&self) -> Option<&ChannelId> {
        self.channel.as_ref()
    }

    fn key(&self) -> Option<&PhoneNumber> {
        self.phone.as_ref()
    }

    fn learned_by(&self) -> Self::Whole {
        (self.account.clone(), self.channel.clone())
    }
}

/// The messages of one phone in one bucket, with the vendor's own edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneNumberPoint {
    /// The phone that sent.
    #[serde(with = "whole")]
    pub phone: PhoneNumber,
    /// The bucket's first instant.
    pub start: Timestamp,
    /// The first instant after the bucket.
    pub end: Timestamp,
    /// Messages sent.
    pub sent: MessageCount,
    /// Messages delivered; the vendor does not say whether in this bucket or of this bucket's messages.
    pub delivered: MessageCount,
    /// Whether the vendor may still change the counts.
    pub finality: Finality,
}

impl Point for PhoneNumberPoint {
    type Key = PhoneNumber;

    fn key(&self) -> &PhoneNumber {
        &self.phone
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

/// A phone number for other replicas, all digits. Elsewhere it has no form that can be written by accident.
mod whole {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::PhoneNumber;

    pub(super) fn serialize<S: Serializer>(phone: &PhoneNumber, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(phone.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PhoneNumber, D::Error> {
        PhoneNumber::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("not a phone number"))
    }
}

impl Counts for PhoneNumbers {
    type Subject = MetricSubject;
    type Point = PhoneNumberPoint;

    const FACTS: &'static Facts = &FACTS;
    const ASSUMED_KEYS: usize = 20;

    fn params(subject: &MetricSubject) -> Params {
        subject.phone.as_ref().map(|phone| ("PhoneNumber", phone.expose().to_owned())).into_iter().collect()
    }

    fn rows(data: Option<&RawValue>, asked: &MetricSubject) -> Result<Option<Vec<PhoneNumberPoint>>, &'static str> {
        metric_rows(data, asked)
    }

    fn settle(point: PhoneNumberPoint, finality: Finality) -> PhoneNumberPoint {
        PhoneNumberPoint { finality, ..point }
    }

    fn masked(points: &[PhoneNumberPoint], mask: &Mask) -> Option<Vec<PhoneNumberPoint>> {
        let mut masked = Vec::with_capacity(points.len());
        for own in points.chunk_by(|one, other| one.phone == other.phone) {
            let phone = own.first().map(|point| mask.of(&point.phone))?;
            masked.extend(own.iter().map(|point| PhoneNumberPoint { phone: phone.clone(), ..point.clone() }));
        }
        masked.sort_by(|one, other| order(one).cmp(&order(other)));
        Some(masked)
    }

    /// The phones of one reply share their text.
    fn bytes(_: &PhoneNumberPoint) -> usize {
        size_of::<PhoneNumberPoint>()
    }
}

impl Archived for PhoneNumberMetrics {
    const DATASET: Dataset = Dataset::PhoneNumberMetrics;

    fn archive_key(subject: &MetricSubject) -> ArchiveKey {
        ArchiveKey {
            dataset: Self::DATASET,
            account: subject.account.name().to_owned(),
            entity: subject.channel.as_ref().map(|channel| channel.as_str().to_owned()),
            granularity: Some(subject.granularity.as_str()),
            dimension: None,
            name: subject.phone.as_ref().map(|phone| phone.expose().to_owned()),
        }
    }

    /// Days begin at midnight; half hours do at any time.
    fn dated_by(subject: &MetricSubject) -> Option<MetricSubject> {
        let days = || MetricSubject { granularity: Granularity::Daily, ..subject.clone() };
        (subject.granularity != Granularity::Daily).then(days)
    }

    fn to_rows(_: &Slice<MetricSubject>, points: &Vec<PhoneNumberPoint>) -> Vec<ArchiveRow> {
        let row = |point: &PhoneNumberPoint| ArchiveRow {
            name: point.phone.expose().into(),
            start: point.start,
            end: point.end,
            numbers: [point.sent, point.delivered].map(|count| Number::Integer(count.as_i64())),
            finality: point.finality,
        };
        points.iter().map(row).collect()
    }

    fn from_rows(_: &MetricSubject, rows: Vec<ArchiveRow>, _: Finality) -> Option<(Vec<PhoneNumberPoint>, u32)> {
        let mut last: Option<(Arc<str>, PhoneNumber)> = None;
        let mut point = |row: ArchiveRow| {
            let phone = match &last {
                Some((text, phone)) if *text == row.name => phone.clone(),
                _ => PhoneNumber::parse(&row.name)?,
            };
            last = Some((row.name, phone.clone()));
            let [Number::Integer(sent), Number::Integer(delivered)] = row.numbers else { return None };
            let (sent, delivered) = (MessageCount::new(sent)?, MessageCount::new(delivered)?);
            let (start, end, finality) = (row.start, row.end, row.finality);
            Some(PhoneNumberPoint { phone, start, end, sent, delivered, finality })
        };
        let mut points: Vec<_> = rows.into_iter().map(&mut point).collect::<Option<_>>()?;
        points.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
        let bytes = size_of::<Vec<PhoneNumberPoint>>() + size_of_val(points.as_slice());
        Some((points, u32::try_from(bytes).unwrap_or(u32::MAX)))
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row<'a> {
    #[serde(borrow)]
    phone_number: Cow<'a, str>,
    #[serde(borrow, default)]
    granularity: Option<Cow<'a, str>>,
    #[serde(deserialize_with = "number")]
    start: i64,
    #[serde(deserialize_with = "number")]
    end: i64,
    #[serde(deserialize_with = "number")]
    sent_count: i64,
    #[serde(deserialize_with = "number")]
    delivered_count: i64,
}

fn metric_rows(data: Option<&RawValue>, asked: &MetricSubject) -> Result<Option<Vec<PhoneNumberPoint>>, &'static str> {
    let Some(data) = data else { return Ok(None) };
    let rows: Vec<Row<'_>> =
        serde_json::from_str(data.get()).map_err(|_not_shown| "a row is not what the vendor documents")?;
    let mut phones = HashMap::new();
    let rows: Result<Vec<_>, _> = rows.into_iter().map(|row| row.check(asked, &mut phones)).collect();
    let mut rows = rows?;
    rows.sort_unstable_by(|one, other| order(one).cmp(&order(other)));
    rows.dedup();
    let overlap = |pair: &[PhoneNumberPoint]| pair[0].phone == pair[1].phone && pair[1].start < pair[0].end;
    if rows.windows(2).any(overlap) {
        return Err("two rows of one phone overlap and differ");
    }
    Ok(Some(rows))
}

fn order(row: &PhoneNumberPoint) -> (&PhoneNumber, Timestamp, Timestamp, MessageCount, MessageCount) {
    (&row.phone, row.start, row.end, row.sent, row.delivered)
}

impl<'a> Row<'a> {
    /// `phones` holds one copy of each phone of the reply, which all its rows share.
    fn check(
        self,
        asked: &MetricSubject,
        phones: &mut HashMap<Cow<'a, str>, PhoneNumber>,
    ) -> Result<PhoneNumberPoint, &'static str> {
        let phone = match phones.entry(self.phone_number) {
            Entry::Occupied(known) => known.get().clone(),
            Entry::Vacant(new) => {
                let phone = PhoneNumber::parse(new.key()).ok_or("a row names no phone")?;
                new.insert(phone).clone()
            }
        };
        if asked.phone.as_ref().is_some_and(|asked| *asked != phone) {
            return Err("a row is of another phone than the one asked for");
        }
        let granularity = asked.granularity;
        if self.granularity.is_some_and(|text| !text.eq_ignore_ascii_case(granularity.as_str())) {
            return Err("a row has another granularity than the one asked for");
        }
        let (start, end) = (Timestamp::from_ms(self.start), Timestamp::from_ms(self.end));
        let end = if start < end { end } else { start + granularity.step() };
        if end.since(start) > granularity.longest() {
            return Err("a row covers more time than one step can");
        }
        let counts = (MessageCount::new(self.sent_count), MessageCount::new(self.delivered_count));
        let (Some(sent), Some(delivered)) = counts else { return Err("a row counts less than nothing") };
        Ok(PhoneNumberPoint { phone, start, end, sent, delivered, finality: Finality::Provisional })
    }
}

#[cfg(test)]
mod tests;
