//! The datasets, and what their columns hold: the same at every door.

use super::Timestamp;
use super::calendar::Date;

/// A table of flat rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Dataset {
    /// A row for a phone number in a bucket.
    PhoneNumberMetrics,
    /// A row for a group in a period.
    PhoneNumberTotals,
    /// A row for a place in a window.
    OperationDistributions,
    /// A row for one number of either vendor.
    Measurements,
}

/// What a column holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Text.
    Text,
    /// An instant in UTC, to the millisecond.
    Instant,
    /// A local date.
    Date,
    /// A whole number of 64 bits.
    Integer,
    /// A number of 64 bits.
    Float,
    /// True or false.
    Flag,
}

impl Kind {
    /// Its name for people and machines.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Text => "text",
            Self::Instant => "timestamp",
            Self::Date => "date",
            Self::Integer => "int64",
            Self::Float => "float64",
            Self::Flag => "boolean",
        }
    }
}

/// A value of a row.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Cell<'a> {
    /// Nothing.
    Null,
    /// Of [`Kind::Text`].
    Text(&'a str),
    /// Of [`Kind::Instant`].
    Instant(Timestamp),
    /// Of [`Kind::Date`].
    Date(Date),
    /// Of [`Kind::Integer`].
    Integer(i64),
    /// Of [`Kind::Float`].
    Float(f64),
    /// Of [`Kind::Flag`].
    Flag(bool),
}

/// The same, on its own.
#[derive(Debug, Clone, PartialEq)]
#[expect(missing_docs, reason = "the same as of a cell")]
pub enum Value {
    Null,
    Text(String),
    Instant(Timestamp),
    Date(Date),
    Integer(i64),
    Float(f64),
    Flag(bool),
}

impl Value {
    /// As a cell.
    #[must_use]
    pub fn cell(&self) -> Cell<'_> {
        match self {
            Self::Null => Cell::Null,
            Self::Text(text) => Cell::Text(text),
            Self::Instant(at) => Cell::Instant(*at),
            Self::Date(date) => Cell::Date(*date),
            Self::Integer(number) => Cell::Integer(*number),
            Self::Float(number) => Cell::Float(*number),
            Self::Flag(flag) => Cell::Flag(*flag),
        }
    }
}

/// What a column is about, whatever the dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[expect(missing_docs, reason = "the columns say what each means")]
pub enum Field {
    Account,
    AppId,
    Buckets,
    CustSpaceId,
    Date,
    DeliveredCount,
    DeliveryRate,
    Dimension,
    DistinctUsers,
    EndTime,
    Entity,
    FetchedAt,
    Finality,
    Granularity,
    Indicator,
    IsAdditive,
    IsPartial,
    Metric,
    Name,
    PhoneNumber,
    PlaceName,
    Proportion,
    SentCount,
    Source,
    StartTime,
    Value,
    Vendor,
}

/// A column of a dataset.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Column {
    /// What it is about.
    pub field: Field,
    /// Its name at every door.
    pub name: &'static str,
    /// What it holds.
    pub kind: Kind,
    /// Whether a row may have none.
    pub is_nullable: bool,
    /// The unit of a number.
    pub unit: Option<&'static str>,
    /// Whether numbers of several rows may be added up; `None` where it holds none.
    pub adds_up: Option<bool>,
    /// What it means, for people.
    pub description: &'static str,
}

const fn column(field: Field, name: &'static str, kind: Kind, description: &'static str) -> Column {
    Column { field, name, kind, is_nullable: false, unit: None, adds_up: None, description }
}

impl Column {
    const fn or_null(self) -> Self {
        Self { is_nullable: true, ..self }
    }

    const fn number(self, unit: &'static str, adds_up: bool) -> Self {
        Self { unit: Some(unit), adds_up: Some(adds_up), ..self }
    }
}

const ACCOUNT: Column = column(Field::Account, "account", Kind::Text, "The configured account that serves it.");
const CUST_SPACE_ID: Column = column(
    Field::CustSpaceId,
    "cust_space_id",
    Kind::Text,
    "The channel, the vendor's CustSpaceId; null where an account's only channel has none.",
)
.or_null();
const PHONE_NUMBER: Column =
    column(Field::PhoneNumber, "phone_number", Kind::Text, "The business phone number, by its digits.");
const GRANULARITY: Column =
    column(Field::Granularity, "granularity", Kind::Text, "The step of the series: DAILY or HALF_HOUR.");
const START_TIME: Column = column(Field::StartTime, "start_time", Kind::Instant, "The first instant inside.");
const END_TIME: Column = column(Field::EndTime, "end_time", Kind::Instant, "The first instant after.");
const DATE: Column = column(
    Field::Date,
    "date",
    Kind::Date,
    "The local date on which it begins: of a channel in its time zone, of an application in its account's.",
);
const SENT_COUNT: Column =
    column(Field::SentCount, "sent_count", Kind::Integer, "Messages sent.").number("messages", true);
const DELIVERED_COUNT: Column = column(
    Field::DeliveredCount,
    "delivered_count",
    Kind::Integer,
    "Messages delivered; may lag behind the messages sent, and may exceed them in one bucket.",
)
.number("messages", true);
const DELIVERY_RATE: Column = column(
    Field::DeliveryRate,
    "delivery_rate",
    Kind::Float,
    "Delivered divided by sent, a share of 1; null when nothing was sent.",
)
.number("share of 1", false)
.or_null();
const FINALITY: Column = column(
    Field::Finality,
    "finality",
    Kind::Text,
    "FINAL, or PROVISIONAL where the vendor may still change the numbers.",
);
const FETCHED_AT: Column =
    column(Field::FetchedAt, "fetched_at", Kind::Instant, "When the request was sent that brought the numbers.");
const SOURCE: Column = column(
    Field::Source,
    "source",
    Kind::Text,
    "Where the numbers came from this time: UPSTREAM, CACHE, ARCHIVE or STALE.",
);
const DIMENSION: Column =
    column(Field::Dimension, "dimension", Kind::Text, "By which kind of place: PROVINCE or COUNTRY.");

const PHONE_NUMBER_METRICS: &[Column] = &[
    ACCOUNT,
    CUST_SPACE_ID,
    PHONE_NUMBER,
    GRANULARITY,
    START_TIME,
    END_TIME,
    DATE.or_null(),
    SENT_COUNT,
    DELIVERED_COUNT,
    DELIVERY_RATE,
    FINALITY,
    FETCHED_AT,
    SOURCE,
];

const PHONE_NUMBER_TOTALS: &[Column] = &[
    column(Field::CustSpaceId, "cust_space_id", Kind::Text, "The channel; null unless totals are by CHANNEL.")
        .or_null(),
    column(Field::PhoneNumber, "phone_number", Kind::Text, "The phone number; null unless totals are by PHONE_NUMBER.")
        .or_null(),
    START_TIME,
    END_TIME,
    DATE.or_null(),
    SENT_COUNT,
    DELIVERED_COUNT,
    DELIVERY_RATE,
    column(Field::Buckets, "buckets", Kind::Integer, "How many buckets of the series were added up.")
        .number("buckets", true),
    column(Field::IsPartial, "is_partial", Kind::Flag, "Whether the range holds only a part of the period."),
    FINALITY,
    column(Field::FetchedAt, "fetched_at", Kind::Instant, "When the oldest answer under it was asked for."),
];

const OPERATION_DISTRIBUTIONS: &[Column] = &[
    ACCOUNT,
    column(Field::AppId, "app_id", Kind::Text, "The application, the vendor's AppId."),
    column(Field::Indicator, "indicator", Kind::Text, "What is counted: user_num, users of calls, each once."),
    DIMENSION,
    START_TIME,
    END_TIME,
    DATE,
    column(Field::PlaceName, "distribution_name", Kind::Text, "The place as the vendor names it."),
    column(
        Field::DistinctUsers,
        "distinct_users",
        Kind::Float,
        "Distinct users of the place over the window. Never to be summed: a user may be in two windows or places.",
    )
    .number("users", false),
    column(
        Field::Proportion,
        "proportion",
        Kind::Float,
        "The vendor's own percentage, 0 to 100, of all users of the window.",
    )
    .number("percent", false),
    FINALITY,
    FETCHED_AT,
    SOURCE,
];

const MEASUREMENTS: &[Column] = &[
    column(Field::Vendor, "vendor", Kind::Text, "ALIBABA_CAMS or VOLCENGINE_RTC."),
    ACCOUNT,
    column(
        Field::Entity,
        "entity",
        Kind::Text,
        "The CustSpaceId or AppId; null where an account's only channel has none.",
    )
    .or_null(),
    column(Field::Metric, "metric", Kind::Text, "sent_count, delivered_count or distinct_users."),
    column(Field::Dimension, "dimension", Kind::Text, "What `name` is: phone_number, province or country."),
    column(Field::Name, "name", Kind::Text, "The phone number, or the place as the vendor names it."),
    START_TIME,
    END_TIME,
    column(Field::Value, "value", Kind::Float, "The number.").number("messages or users", false),
    column(
        Field::IsAdditive,
        "is_additive",
        Kind::Flag,
        "Whether values of this metric may be added up: messages may, distinct users never.",
    ),
    FINALITY,
    FETCHED_AT,
];

impl Dataset {
    /// All of them.
    pub const ALL: [Self; 4] =
        [Self::PhoneNumberMetrics, Self::PhoneNumberTotals, Self::OperationDistributions, Self::Measurements];

    /// Its name at every door.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::PhoneNumberMetrics => "phone_number_metrics",
            Self::PhoneNumberTotals => "phone_number_totals",
            Self::OperationDistributions => "operation_distributions",
            Self::Measurements => "measurements",
        }
    }

    /// The dataset of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|dataset| dataset.as_str() == name)
    }

    /// Its columns, in their order.
    #[must_use]
    pub const fn columns(self) -> &'static [Column] {
        match self {
            Self::PhoneNumberMetrics => PHONE_NUMBER_METRICS,
            Self::PhoneNumberTotals => PHONE_NUMBER_TOTALS,
            Self::OperationDistributions => OPERATION_DISTRIBUTIONS,
            Self::Measurements => MEASUREMENTS,
        }
    }

    /// What one row is, for people.
    #[must_use]
    pub const fn description(self) -> &'static str {
        match self {
            Self::PhoneNumberMetrics => {
                "WhatsApp messages sent and delivered: a row for each phone number and bucket. Buckets without messages \
                 are absent."
            }
            Self::PhoneNumberTotals => {
                "The same messages added up: a row for each group and period, over the whole range without `period`."
            }
            Self::OperationDistributions => {
                "Distinct call users: a row for each place and window. Windows, applications and places do not add up."
            }
            Self::Measurements => {
                "Every number of both vendors in one long table: a row for each number, with a flag that says whether \
                 it adds up."
            }
        }
    }

    /// Which columns a row is known by: no two rows of an answer share their values.
    #[must_use]
    pub const fn key(self) -> &'static [&'static str] {
        match self {
            Self::PhoneNumberMetrics => &["cust_space_id", "phone_number", "granularity", "start_time"],
            Self::PhoneNumberTotals => &["cust_space_id", "phone_number", "start_time"],
            Self::OperationDistributions => &["app_id", "dimension", "start_time", "end_time", "distribution_name"],
            Self::Measurements => &["vendor", "entity", "metric", "dimension", "name", "start_time", "end_time"],
        }
    }

    /// Whether rows of message counts are in it.
    #[must_use]
    pub const fn has_messages(self) -> bool {
        !matches!(self, Self::OperationDistributions)
    }

    /// Whether rows of distinct users are in it.
    #[must_use]
    pub const fn has_users(self) -> bool {
        matches!(self, Self::OperationDistributions | Self::Measurements)
    }
}
