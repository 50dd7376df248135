//! In which zone the days of a channel begin.

use std::sync::atomic::Ordering;

use jiff::tz::TimeZone;

use super::catalog::CatalogChannel;
use super::request::Request;
use crate::domain::Timestamp;
use crate::domain::calendar::{zone_name, zone_of_midnight};
use crate::domain::time::DAY;
use crate::error::WeirError;
use crate::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics};

/// The zone of a channel's days: the configured one, else the offset that the edges of replies show. `None` before the first
/// reply, and where no single offset fits.
///
/// # Errors
/// No store answers message counts.
pub fn channel_zone(request: &Request, channel: &CatalogChannel) -> Result<Option<TimeZone>, WeirError> {
    request.operation::<PhoneNumberMetrics>().map(|operation| zone_of_days(channel, operation))
}

/// The same, by what `operation` has learned.
#[must_use]
pub fn zone_of_days(channel: &CatalogChannel, operation: &PhoneNumberMetrics) -> Option<TimeZone> {
    if let Some(zone) = &channel.zone {
        return Some(zone.clone());
    }
    let midnights = operation.midnights(&days(channel));
    let [only] = midnights.as_slice() else { return None };
    zone_of_midnight(*only)
}

/// The days of a channel as a whole.
pub(super) fn days(channel: &CatalogChannel) -> MetricSubject {
    let (account, channel) = (channel.account.clone(), channel.id.clone());
    MetricSubject { account, channel, granularity: Granularity::Daily, phone: None }
}

/// Whether a day of the zone begins at `at`.
#[must_use]
pub fn is_midnight(at: Timestamp, zone: &TimeZone) -> bool {
    let offset = i64::from(zone.to_offset(at.to_jiff()).seconds()) * 1_000;
    let day = i64::try_from(DAY.as_millis()).unwrap_or(i64::MAX);
    (at.as_ms() + offset).rem_euclid(day) == 0
}

/// Says once in the log that the days of a channel begin elsewhere than its configured zone has it.
pub(super) fn warn_of_edges(channel: &CatalogChannel, day: Timestamp) {
    let Some(zone) = channel.zone.as_ref().filter(|zone| !is_midnight(day, zone)) else { return };
    if channel.warned.swap(true, Ordering::Relaxed) {
        return;
    }
    tracing::warn!(
        account = ?channel.account,
        channel = channel.id.as_ref().map(tracing::field::debug),
        configured = zone_name(zone),
        day = %day,
        "days of this channel do not begin at midnight of its time_zone; dates and totals by day go by the config"
    );
}
