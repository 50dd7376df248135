//! The scalars and enums of the schema.

use std::borrow::Cow;
use std::time::Duration;

use crate::document::Scalar;
use crate::domain;
use crate::domain::Timestamp;
use crate::domain::duration::{format_iso, parse_iso};
use crate::domain::wording::echo;
use crate::vendor::{alibaba_cams, volcengine_rtc};
use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{
    ContextSelectionSet, Enum, ID, InputValueError, InputValueResult, OutputType, Positioned, ScalarType, ServerResult,
    Value,
};

/// How values of the schema's own scalars are judged, before anything runs.
pub(super) const SCALARS: [(&str, Scalar); 4] = [
    ("Date", |value| match value {
        Value::String(text) => Date::read(text).map(drop),
        _ => Err("expected a date in quotes, such as \"2026-09-01\"".to_owned()),
    }),
    ("DateTime", |value| match value {
        Value::String(text) => DateTime::read(text).map(drop),
        _ => Err("expected an instant in quotes, such as \"2026-09-01T08:00:00Z\"".to_owned()),
    }),
    ("Duration", |value| match value {
        Value::String(text) => parse_iso(text).map(drop),
        _ => Err("expected a duration in quotes, such as \"P7D\"".to_owned()),
    }),
    ("Long", |value| {
        let is_valid = <Long as ScalarType>::is_valid(value);
        if is_valid { Ok(()) } else { Err("expected a whole number of 64 bits".to_owned()) }
    }),
];

/// Texts where they are held: only the engine needs a copy. They print nothing, since some are private.
macro_rules! borrowed {
    ($($(#[$doc:meta])* $text:ident as $known:ty;)+) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy)]
        pub(super) struct $text<'a>(pub &'a str);

        impl OutputType for $text<'_> {
            fn type_name() -> Cow<'static, str> {
                <$known as OutputType>::type_name()
            }

            fn create_type_info(registry: &mut Registry) -> String {
                <$known as OutputType>::create_type_info(registry)
            }

            async fn resolve(&self, _: &ContextSelectionSet<'_>, _: &Positioned<Field>) -> ServerResult<Value> {
                Ok(Value::String(self.0.to_owned()))
            }
        }
    )+};
}

borrowed! {
    /// An `ID`.
    Id as ID;
    /// A `String` of digits alone, in which nothing has to be escaped.
    Digits as String;
}

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

/// A length of time as ISO 8601, for example `P7D` or `PT30M`. A day is 24 hours and a week is seven of them; months and
/// years have no fixed length and are refused.
#[async_graphql::Scalar(name = "Duration", specified_by_url = "https://scalars.graphql.org/chillicream/duration.html")]
impl ScalarType for IsoDuration {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        parse_iso(text).map(Self).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(format_iso(self.0))
    }
}

/// A date of the calendar.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Date(pub domain::calendar::Date);

impl Date {
    /// Reads it; says what is wrong with it.
    fn read(text: &str) -> Result<Self, String> {
        let date = domain::calendar::Date::parse(text).map(Self);
        date.ok_or_else(|| format!("`{}` is no date of the calendar, such as 2026-09-01", echo(text)))
    }
}

/// A date of the calendar in some zone, `YYYY-MM-DD`.
#[async_graphql::Scalar(name = "Date", specified_by_url = "https://scalars.graphql.org/andimarek/local-date.html")]
impl ScalarType for Date {
    fn parse(value: Value) -> InputValueResult<Self> {
        let Value::String(text) = &value else { return Err(InputValueError::expected_type(value)) };
        Self::read(text).map_err(InputValueError::custom)
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
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
