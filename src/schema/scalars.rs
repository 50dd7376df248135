//! The scalars and enums of the schema.

use std::time::Duration;

use async_graphql::{Enum, InputValueError, InputValueResult, ScalarType, Value};
use jiff::{SignedDuration, Span, SpanRelativeTo};

use crate::document::Scalar;
use crate::domain;
use crate::domain::Timestamp;
use crate::domain::wording::echo;
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// How values of the schema's own scalars are judged, before anything runs.
pub(super) const SCALARS: [(&str, Scalar); 3] = [
    ("DateTime", |value| match value {
        Value::String(text) => DateTime::read(text).map(drop),
        _ => Err("expected an instant in quotes, such as \"2026-09-01T08:00:00Z\"".to_owned()),
    }),
    ("Duration", |value| match value {
        Value::String(text) => IsoDuration::read(text).map(drop),
        _ => Err("expected a duration in quotes, such as \"P7D\"".to_owned()),
    }),
    ("Long", |value| {
        let is_valid = <Long as ScalarType>::is_valid(value);
        if is_valid { Ok(()) } else { Err("expected a whole number of 64 bits".to_owned()) }
    }),
];

/// An instant in UTC.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct DateTime(pub Timestamp);

impl DateTime {
    /// Reads it; says what is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        Timestamp::parse_rfc3339(text)
            .map(Self)
            .map_err(|_| format!("`{}` is not RFC 3339 with an offset, such as 2026-09-01T08:00:00Z", echo(text)))
    }
}

/// An instant as RFC 3339 with any offset, for example `2026-09-01T08:00:00+08:00`; answered in UTC. Digits below a
/// millisecond are cut off.
#[async_graphql::Scalar(name = "DateTime", specified_by_url = "https://www.rfc-editor.org/rfc/rfc3339")]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Self::read(text).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

/// A length of time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct IsoDuration(pub Duration);

impl IsoDuration {
    /// Reads it; says what is wrong with it.
    pub(super) fn read(text: &str) -> Result<Self, String> {
        let problem = |why: &str| format!("`{}` {why}", echo(text));
        // jiff reads friendly forms such as `7 days` too; the contract is ISO 8601 alone.
        let span: Span = (text.starts_with(['P', 'p']).then(|| text.parse().ok()).flatten())
            .ok_or_else(|| problem("is not an ISO 8601 duration, such as P7D or PT30M"))?;
        if span.get_months() != 0 || span.get_years() != 0 {
            return Err(problem("has months or years, which have no fixed length: use days, such as P30D"));
        }
        let exact: Option<SignedDuration> = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
        let exact = exact.and_then(|exact| Duration::try_from(exact).ok());
        exact.map(Self).ok_or_else(|| problem("is negative or too long"))
    }
}

/// A length of time as ISO 8601, for example `P7D` or `PT30M`. A day is 24 hours and a week is seven of them; months and
/// years have no fixed length and are refused.
#[async_graphql::Scalar(name = "Duration", specified_by_url = "https://scalars.graphql.org/chillicream/duration.html")]
impl ScalarType for IsoDuration {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Self::read(text).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        let exact = SignedDuration::try_from(self.0).unwrap_or(SignedDuration::MAX);
        let days = exact.as_hours() / 24;
        let rest = exact - SignedDuration::from_hours(days * 24);
        let text = match (days, rest.is_zero()) {
            (0, _) => rest.to_string(),
            (_, true) => format!("P{days}D"),
            (_, false) => rest.to_string().replacen('P', &format!("P{days}D"), 1),
        };
        Value::String(text)
    }
}

/// A 64-bit integer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Long(pub i64);

/// A 64-bit integer as a JSON number: message counts do not fit `Int`.
#[async_graphql::Scalar(name = "Long", specified_by_url = "https://scalars.graphql.org/chillicream/long.html")]
impl ScalarType for Long {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::Number(number) if let Some(number) = number.as_i64() => Ok(Self(number)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn is_valid(value: &Value) -> bool {
        matches!(value, Value::Number(number) if number.is_i64())
    }

    fn to_value(&self) -> Value {
        Value::from(self.0)
    }
}

impl From<u64> for Long {
    fn from(value: u64) -> Self {
        Self(i64::try_from(value).unwrap_or(i64::MAX))
    }
}

/// The upstream a number comes from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Vendor")]
pub(super) enum Vendor {
    /// Alibaba Cloud Chat App Message Service: WhatsApp messages.
    AlibabaCams,
    /// Volcengine Real-Time Communication: call users.
    VolcengineRtc,
}

/// The step of a series of message counts. The two are never derived from one another.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "alibaba_cams::Granularity")]
pub(super) enum Granularity {
    /// One row a day. Days begin at midnight of the account's own time zone, which the vendor does not tell.
    Daily,
    /// One row every thirty minutes.
    HalfHour,
}

/// By which kind of place call users are counted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "volcengine_rtc::Dimension")]
pub(super) enum Dimension {
    /// First-level divisions of China, Hong Kong, Macao and Taiwan included.
    Province,
    /// Countries.
    Country,
}

/// Whether the vendor may still change a number. Decided once, when it was fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Finality")]
pub(super) enum Finality {
    /// It was fetched after its end plus the settle time: it stays as it is.
    Final,
    /// It may still change; it is fetched again after a few minutes when somebody asks.
    Provisional,
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "domain::Source")]
pub(super) enum Source {
    /// A vendor call that this request started or joined.
    Upstream,
    /// Memory, within its time to live.
    Cache,
    /// The archive, which goes on past the vendor's retention.
    Archive,
    /// Memory past its time to live, because the vendor could not be asked in time.
    Stale,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_without_months() {
        let parse = |text: &str| IsoDuration::parse(Value::from(text)).map(|parsed| parsed.0);
        let hours = |n| Duration::from_hours(n);
        for (text, expected) in
            [("P7D", hours(168)), ("PT30M", hours(1) / 2), ("P1W", hours(168)), ("P1DT12H", hours(36))]
        {
            assert_eq!(parse(text).unwrap(), expected, "{text}");
        }
        for text in ["7 days", "P1M", "P1Y", "-P1D", "", "P", "P99999999999999D", "7d"] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["P7D", "PT30M", "P1DT12H", "PT8H30M", "P30D", "PT0S"] {
            let parsed = IsoDuration::parse(Value::from(text)).unwrap();
            assert_eq!(parsed.to_value(), Value::from(text));
        }
    }
}
