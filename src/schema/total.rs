//! `PhoneNumberMetricTotal`: messages of a group in a period.

use async_graphql::{Description, Enum, ID};

use super::item::item;
use super::scalars::{Date, DateTime, Finality, Long};
use crate::query::totals::{self, Total};

/// WhatsApp messages added up: of a group, over a period. Distinct users have no such thing, since they do not add up.
#[derive(Debug, Clone, Description)]
pub(super) struct PhoneNumberMetricTotal(pub(super) Total);

item! { PhoneNumberMetricTotal: Self(total) => {
    /// The channel; null unless totals are by `CHANNEL`.
    cust_space_id: Option<ID> = total.channel.as_ref().map(|channel| ID(channel.as_str().to_owned())),
    /// The business phone number; null unless totals are by `PHONE_NUMBER`.
    phone_number: Option<String> = total.phone_number.as_ref().map(|phone| phone.expose().to_owned()),
    /// The period's first instant; the range's where there are no periods.
    start: DateTime = DateTime(total.period.start()),
    /// The first instant after the period.
    end: DateTime = DateTime(total.period.end()),
    /// The local date on which it begins; null where the zone is not known, or the channels' zones disagree.
    date: Option<Date> = total.date.map(Date),
    /// Messages sent.
    sent_count: Long = Long(total.sent.as_i64()),
    /// Messages delivered.
    delivered_count: Long = Long(total.delivered.as_i64()),
    /// Delivered divided by sent, sum over sum; null when nothing was sent.
    delivery_rate: Option<f64> = total.rate(),
    /// How many buckets of the series were added up.
    buckets: i32 = i32::try_from(total.buckets).unwrap_or(i32::MAX),
    /// Whether the range holds only a part of the period.
    is_partial: bool = total.is_partial,
    /// `FINAL` only if the vendor will change nothing under it any more.
    finality: Finality = total.finality.into(),
    /// When the oldest answer under it was asked for.
    fetched_at: DateTime = DateTime(total.fetched_at),
}}

/// What totals are told apart by, beside their time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
pub(super) enum TotalsKey {
    /// A total for each channel.
    Channel,
    /// A total for each business phone number.
    PhoneNumber,
}

/// A stretch of the calendar. A bucket belongs to the one that holds its own start.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
#[graphql(remote = "totals::Period")]
pub(super) enum Period {
    /// From one whole hour to the next; from half-hourly counts alone.
    Hour,
    /// From one midnight to the next.
    Day,
    /// From Monday's midnight to the next.
    Week,
    /// From the first's midnight to the next.
    Month,
}
