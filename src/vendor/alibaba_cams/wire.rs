//! The vendor's own words, and the checks that turn its rows into ours.
//!
//! Tolerant where the vendor is known to be sloppy: unknown fields, `Data` null or absent, numbers as strings, an
//! `AccessDeniedDetail` of any shape, a `Start` that is not before its `End` (as in the sample of the vendor's own
//! page: such a row is taken by its `Start`, and its end is then one step later). Strict where a wrong number could
//! get through.

use std::borrow::Cow;
use std::collections::HashMap;
use std::collections::hash_map::Entry;

use serde::Deserialize;
use serde_json::value::RawValue;

use super::operation::{MetricRow, MetricSubject};
use crate::domain::{ChannelId, MessageCount, PhoneNumber, Timestamp, Window};
use crate::vendor::loose::number;

/// The version of the API.
pub(super) const VERSION: &str = "2020-06-06";

/// The `Code` of a success.
pub(super) const OK: &str = "OK";

/// The parameters of one call.
pub(super) type Params = Vec<(&'static str, String)>;

/// What to ask for `subject` over the span as it goes on the wire.
pub(super) fn metric_params(subject: &MetricSubject, span: Window, isv_code: Option<&str>) -> Params {
    let mut params = enable_params(subject.channel.as_ref(), isv_code);
    params.push(("Granularity", subject.granularity.as_str().to_owned()));
    params.push(("Start", span.start().as_ms().to_string()));
    params.push(("End", span.end().as_ms().to_string()));
    params.extend(subject.phone.as_ref().map(|phone| ("PhoneNumber", phone.expose().to_owned())));
    params
}

/// What to ask to enable a channel.
pub(super) fn enable_params(channel: Option<&ChannelId>, isv_code: Option<&str>) -> Params {
    let channel = channel.map(|channel| ("CustSpaceId", channel.as_str().to_owned()));
    channel.into_iter().chain(isv_code.map(|code| ("IsvCode", code.to_owned()))).collect()
}

/// What every reply has, good or bad; the data stay unread until the code is known to be good.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

impl Envelope<'_> {
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
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

/// The rows of a successful reply to a question for `asked`, ordered by phone, then start. Equal duplicates collapse.
/// `None` if the reply holds no list of rows, not even an empty one.
///
/// # Errors
/// Why the reply makes no sense. The reason repeats nothing of the reply: rows hold phone numbers.
pub(super) fn metric_rows(
    data: Option<&RawValue>,
    asked: &MetricSubject,
) -> Result<Option<Vec<MetricRow>>, &'static str> {
    let Some(data) = data else { return Ok(None) };
    let rows: Vec<Row<'_>> =
        serde_json::from_str(data.get()).map_err(|_not_shown| "a row is not what the vendor documents")?;
    let mut phones = HashMap::new();
    let rows: Result<Vec<_>, _> = rows.into_iter().map(|row| row.check(asked, &mut phones)).collect();
    let mut rows = rows?;
    rows.sort_unstable();
    rows.dedup();
    let overlap = |pair: &[MetricRow]| pair[0].phone == pair[1].phone && pair[1].start < pair[0].end;
    if rows.windows(2).any(overlap) {
        return Err("two rows of one phone overlap and differ");
    }
    Ok(Some(rows))
}

impl<'a> Row<'a> {
    /// `phones` holds one copy of each phone of the reply, which all its rows share.
    fn check(
        self,
        asked: &MetricSubject,
        phones: &mut HashMap<Cow<'a, str>, PhoneNumber>,
    ) -> Result<MetricRow, &'static str> {
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
        Ok(MetricRow { phone, start, end, sent, delivered })
    }
}

#[cfg(test)]
mod tests;
