//! Message counts of WhatsApp channels: half hours hashed from (phone, start), days as the sums of their half hours.

use std::time::Duration;

use jiff::Zoned;
use jiff::civil::Date;
use jiff::tz::TimeZone;

use super::{World, blend, weighted};
use crate::domain::time::{DAY, HOUR};
use crate::domain::{Timestamp, Window};

/// No channel has older data: the date of the API's version, 2020-06-06, in seconds since the UNIX epoch.
pub(super) const BEGINNING_SECS: i64 = 1_591_401_600;

/// How long after a bucket's end its counts still grow. Chosen: the vendor documents no lateness.
const SETTLE: Duration = DAY;

pub(super) const HALF_HOUR: Duration = Duration::from_mins(30);

/// Messages by hour of the day and by weekday from Monday, in percent of a busy one.
const BY_HOUR: [u64; 24] =
    [6, 3, 0, 0, 0, 4, 12, 30, 62, 95, 110, 100, 70, 82, 96, 100, 92, 84, 90, 112, 104, 66, 34, 14];
const BY_WEEKDAY: [u64; 7] = [100, 106, 98, 102, 115, 62, 41];

/// Busy half hours of phones of different size, and how often one is empty, in percent.
const SIZES: [(u64, u64); 6] = [(3, 62), (9, 40), (24, 25), (55, 12), (120, 6), (260, 3)];

/// How fine the rows are.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Granularity {
    /// Local days of the bucket zone, 23 to 25 hours long.
    Daily,
    /// 1,800 seconds, counted from local midnight.
    HalfHour,
}

impl Granularity {
    /// The vendor's spelling.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Daily => "DAILY",
            Self::HalfHour => "HALF_HOUR",
        }
    }
}

impl Granularity {
    /// The buckets of a local day.
    pub(super) fn buckets(self, day: Window) -> impl Iterator<Item = Window> {
        day.tiles(match self {
            Self::Daily => day.length(),
            Self::HalfHour => HALF_HOUR,
        })
    }
}

/// Which buckets a range asks for. The vendor does not say.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Default)]
pub enum Selection {
    /// Those that start inside.
    #[default]
    ByStart,
    /// Those that share an instant with it.
    ByOverlap,
    /// Those that lie inside as a whole.
    ByContainment,
}

impl Selection {
    pub(super) fn selects(self, range: Window, bucket: Window) -> bool {
        match self {
            Self::ByStart => range.contains(bucket.start()),
            Self::ByOverlap => range.overlaps(bucket),
            Self::ByContainment => range.covers(bucket),
        }
    }
}

/// One bucket of one phone that has messages.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Row {
    /// The phone's digits.
    pub phone: String,
    /// The bucket's start.
    pub start: Timestamp,
    /// The bucket's end, also while it has not ended yet.
    pub end: Timestamp,
    /// Messages sent.
    pub sent: u64,
    /// Messages delivered.
    pub delivered: u64,
}

/// With the phone masked, so that a failed test prints none.
impl std::fmt::Debug for Row {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let masked = &self.phone[self.phone.len().saturating_sub(2)..];
        write!(f, "Row(***{masked} [{}, {}) {}/{})", self.start, self.end, self.delivered, self.sent)
    }
}

/// What one phone is like.
pub(super) struct Phone {
    hash: u64,
    busy: u64,
    empty_percent: u64,
    closed_on_sundays: bool,
}

impl Phone {
    pub(super) fn new(hash: u64) -> Self {
        let (busy, empty_percent) = SIZES[weighted(&[2, 3, 4, 3, 2, 1], hash)];
        let busy = busy * (75 + (hash >> 16) % 50) / 100;
        Self { hash, busy: busy.max(2), empty_percent, closed_on_sundays: (hash >> 24).is_multiple_of(3) }
    }

    pub(super) fn is_closed(&self, day: &Day) -> bool {
        let one_in_twelve = blend(self.hash, !seconds(day.window.start())).is_multiple_of(12);
        one_in_twelve || (self.closed_on_sundays && day.weekday == 6)
    }

    /// Messages sent and delivered in a bucket, as known at `as_of`.
    pub(super) fn messages(&self, day: &Day, bucket: Window, as_of: Timestamp) -> (u64, u64) {
        let hash = blend(self.hash, seconds(bucket.start()));
        if (hash >> 32) % 100 < self.empty_percent {
            return (0, 0);
        }
        // Hours since midnight; on the day of a clock change that is an hour off the wall for part of the day.
        let hour = bucket.start().since(day.window.start()).as_secs() / HOUR.as_secs();
        let by_hour = BY_HOUR[usize::try_from(hour).unwrap_or(0).min(23)];
        let sent = self.busy * by_hour * BY_WEEKDAY[day.weekday] * (40 + hash % 121) / 1_000_000;
        let delivered = sent * (850 + (hash >> 40) % 150) / 1_000;
        (sent * arrived(bucket, as_of, 800) / 1_000, delivered * arrived(bucket, as_of, 600) / 1_000)
    }
}

/// The share of a bucket's messages that the vendor knows at `as_of`, in thousandths: grows to `at_end` while the
/// bucket runs and to the whole within [`SETTLE`] after it.
fn arrived(bucket: Window, as_of: Timestamp, at_end: u64) -> u64 {
    let share = |of: u64, past: Duration, whole: Duration| {
        let (past, whole) = (past.min(whole).as_millis(), whole.as_millis().max(1));
        u64::try_from(u128::from(of) * past / whole).unwrap_or(of)
    };
    share(at_end, as_of.since(bucket.start()), bucket.length())
        + share(1_000 - at_end, as_of.since(bucket.end()), SETTLE)
}

/// A local day of the bucket zone.
pub(super) struct Day {
    pub(super) window: Window,
    /// From Monday, 0, to Sunday, 6.
    weekday: usize,
}

impl World {
    /// The rows that `selection` finds for `range`, as known at `as_of`; ordered by phone, then start.
    pub(in crate::sim) fn rows(
        &self,
        channel: &str,
        granularity: Granularity,
        range: Window,
        as_of: Timestamp,
        selection: Selection,
    ) -> Vec<Row> {
        let Some(from) = self.data_from(channel) else { return Vec::new() };
        let Some(reach) = Window::new(range.start().max(from), range.end().min(as_of + DAY)) else { return Vec::new() };
        let days = days(&self.bucket_zone, reach);
        let channel_hash = self.channel_hash(channel);
        let mut rows = Vec::new();
        for (n, number) in (0..).zip(self.phones(channel)) {
            let phone = Phone::new(blend(channel_hash, n));
            for day in days.iter().filter(|day| !phone.is_closed(day)) {
                let buckets = granularity.buckets(day.window);
                for bucket in buckets.filter(|bucket| bucket.start() >= from && selection.selects(range, *bucket)) {
                    let counts = bucket.tiles(HALF_HOUR).map(|part| phone.messages(day, part, as_of));
                    let (sent, delivered) = counts.fold((0, 0), |sum, one| (sum.0 + one.0, sum.1 + one.1));
                    if sent > 0 {
                        let (start, end) = (bucket.start(), bucket.end());
                        rows.push(Row { phone: number.clone(), start, end, sent, delivered });
                    }
                }
            }
        }
        rows
    }
}

/// The local days that touch `reach`, in order.
pub(super) fn days(zone: &TimeZone, reach: Window) -> Vec<Day> {
    let mut days = Vec::new();
    let mut date = reach.start().to_jiff().to_zoned(zone.clone()).date();
    while let Some((start, end)) = midnight(date, zone).zip(date.tomorrow().ok().and_then(|next| midnight(next, zone)))
    {
        if start >= reach.end() {
            break;
        }
        // A zone that crosses the date line skips a date altogether.
        if let Some(window) = Window::new(start, end) {
            let weekday = usize::try_from(date.weekday().to_monday_zero_offset()).unwrap_or(0);
            days.push(Day { window, weekday });
        }
        let Ok(next) = date.tomorrow() else { break };
        date = next;
    }
    days
}

/// The first instant of a date.
fn midnight(date: Date, zone: &TimeZone) -> Option<Timestamp> {
    date.to_zoned(zone.clone()).ok().as_ref().map(Zoned::timestamp).map(Timestamp::from)
}

fn seconds(at: Timestamp) -> u64 {
    at.as_secs().cast_unsigned()
}
