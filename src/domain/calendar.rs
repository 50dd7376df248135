//! Whole hours, dates and calendar windows of a time zone: pure.

use std::fmt;
use std::time::Duration;

use jiff::civil::{self, Weekday};
use jiff::tz::{Offset, TimeZone};
use jiff::{RoundMode, ToSpan, Unit, Zoned, ZonedRound};

use super::time::{DAY, HOUR};
use super::wording::nearest;
use super::{Timestamp, Window};

/// Dates are counted from it.
const EPOCH: civil::Date = civil::date(1970, 1, 1);

/// A date of the calendar, of whatever zone.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Date(i32);

impl Date {
    /// On which `at` lies in `zone`.
    #[must_use]
    pub fn of(at: Timestamp, zone: &TimeZone) -> Self {
        let days = local_secs(at, zone).div_euclid(86_400);
        Self(i32::try_from(days).unwrap_or_default())
    }

    /// Reads `YYYY-MM-DD`, the one form in which it is written.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        let date: civil::Date = text.parse().ok().filter(|date: &civil::Date| date.to_string() == text)?;
        EPOCH.until(date).ok().map(|span| Self(span.get_days()))
    }

    /// The date so many days after 1970-01-01; `None` before the year -9999 and after 9999, which no date is written with.
    #[must_use]
    pub fn of_days(days: i32) -> Option<Self> {
        let [first, last] =
            [civil::Date::MIN, civil::Date::MAX].map(|end| EPOCH.until(end).map(|span| span.get_days()));
        (first.ok()?..=last.ok()?).contains(&days).then_some(Self(days))
    }

    /// Days since 1970-01-01, as Parquet counts them.
    #[must_use]
    pub const fn days(self) -> i32 {
        self.0
    }
}

/// `YYYY-MM-DD`.
impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        EPOCH.checked_add(i64::from(self.0).days()).unwrap_or(civil::Date::MAX).fmt(f)
    }
}

/// The zone of a fixed offset in which midnight is `edge` after UTC's. `None` where two are: between UTC-12 and UTC+14 a
/// clock may be half a day ahead or behind.
#[must_use]
pub fn zone_of_midnight(edge: Duration) -> Option<TimeZone> {
    let behind = i32::try_from(edge.as_secs() % DAY.as_secs()).ok()?;
    let usual = |offset: &i32| (-12 * 3_600..=14 * 3_600).contains(offset);
    let mut offsets = [-behind, 86_400 - behind].into_iter().filter(usual);
    let (offset, None) = (offsets.next()?, offsets.next()) else { return None };
    Offset::from_seconds(offset).ok().map(TimeZone::fixed)
}

/// The zone of an IANA name.
///
/// # Errors
/// No zone is called so; the name that is nearest, if one is near.
pub fn time_zone(name: &str) -> Result<TimeZone, Option<String>> {
    TimeZone::get(name).map_err(|_| {
        let names: Vec<String> = jiff::tz::db().available().map(|name| name.to_string()).collect();
        nearest(name, names.iter().map(String::as_str)).map(str::to_owned)
    })
}

/// What a zone is called: its IANA name, or its offset, such as `+08:00`.
#[must_use]
pub fn zone_name(zone: &TimeZone) -> String {
    let offset = || zone.to_fixed_offset().map_or_else(|_| "unknown".to_owned(), offset_text);
    zone.iana_name().map_or_else(offset, str::to_owned)
}

fn offset_text(offset: Offset) -> String {
    let (sign, minutes) = (if offset.is_negative() { '-' } else { '+' }, offset.seconds().abs() / 60);
    format!("{sign}{:02}:{:02}", minutes / 60, minutes % 60)
}

/// The latest whole hour of `zone` that is not after `at`.
#[must_use]
pub fn floor_hour(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let floor = ZonedRound::new().smallest(Unit::Hour).mode(RoundMode::Floor);
    zoned(at, zone).round(floor).map_or_else(|_| at.floor(HOUR), |zoned| zoned.timestamp().into())
}

/// The earliest whole hour of `zone` that is not before `at`.
#[must_use]
pub fn ceil_hour(at: Timestamp, zone: &TimeZone) -> Timestamp {
    let ceil = ZonedRound::new().smallest(Unit::Hour).mode(RoundMode::Ceil);
    zoned(at, zone).round(ceil).map_or_else(|_| at.ceil(HOUR), |zoned| zoned.timestamp().into())
}

/// The hours of `zone` that hold instants of a window. Wherever it begins, an hour ends where hours of the zone do.
#[must_use]
pub fn hours(window: Window, zone: &TimeZone) -> Vec<Window> {
    let hour = |start| Window::new(start, hour_end(start, zone));
    let all = std::iter::successors(hour(floor_hour(window.start(), zone)), |last| hour(last.end()));
    all.take_while(|hour| hour.start() < window.end()).collect()
}

/// Where the hour of `zone` that holds `at` ends: at the next instant at which its clocks show another hour, or a whole one
/// again. Where they go back by an hour, one that is passed twice is two; by half an hour, one that lasts an hour and a half.
fn hour_end(at: Timestamp, zone: &TimeZone) -> Timestamp {
    // Clocks are off by quarters at the finest.
    const STEP: Duration = HOUR.checked_div(4).expect("four is not zero");
    let hour = |local: i64| local.div_euclid(3_600);
    let begun = hour(local_secs(at, zone));
    let mut end = at.floor(STEP) + STEP;
    loop {
        let local = local_secs(end, zone);
        if hour(local) != begun || local.rem_euclid(3_600) == 0 {
            return end;
        }
        end = end + STEP;
    }
}

/// What the clocks of `zone` show at `at`, in seconds since they showed the beginning of 1970.
fn local_secs(at: Timestamp, zone: &TimeZone) -> i64 {
    at.as_secs() + i64::from(zone.to_offset(at.to_jiff()).seconds())
}

fn zoned(at: Timestamp, zone: &TimeZone) -> Zoned {
    at.to_jiff().to_zoned(zone.clone())
}

/// Windows that everybody who asks for the same kind shares for ever.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CalendarStep {
    /// So many hours, a divisor of 24, counted from local midnight.
    Hours(i8),
    /// From local midnight to local midnight: 23 to 25 hours where clocks change.
    Day,
    /// From Monday's local midnight to the next.
    Week,
    /// From the first's local midnight to the next.
    Month,
}

impl CalendarStep {
    /// The step of this length, if there is one.
    #[must_use]
    pub fn of(length: Duration) -> Option<Self> {
        if length == DAY {
            return Some(Self::Day);
        }
        if length == 7 * DAY {
            return Some(Self::Week);
        }
        let hours = i8::try_from(length.as_secs() / HOUR.as_secs()).ok()?;
        let is_whole = HOUR * u32::try_from(hours).ok()? == length;
        (is_whole && (1..24).contains(&hours) && 24 % hours == 0).then_some(Self::Hours(hours))
    }

    fn next(self, from: civil::DateTime) -> Result<civil::DateTime, jiff::Error> {
        match self {
            Self::Hours(hours) => from.checked_add(i64::from(hours).hours()),
            Self::Day => from.checked_add(1.day()),
            Self::Week => from.checked_add(7.days()),
            Self::Month => from.checked_add(1.month()),
        }
    }

    /// The last boundary at or before `at`, in local time.
    fn boundary(self, at: civil::DateTime) -> Result<civil::DateTime, jiff::Error> {
        let midnight = at.date().to_datetime(civil::Time::midnight());
        match self {
            Self::Hours(hours) => midnight.checked_add(i64::from(at.hour() / hours * hours).hours()),
            Self::Day => Ok(midnight),
            Self::Week => midnight.checked_sub(i64::from(at.weekday().since(Weekday::Monday)).days()),
            Self::Month => Ok(at.date().first_of_month().to_datetime(civil::Time::midnight())),
        }
    }
}

/// The calendar windows of `zone` whose start lies in `[from, until)`, in order. Where clocks change, a boundary in the
/// hour that is left out falls on the instant of the change, and one in the hour that is repeated on its first passing:
/// so windows are longer or shorter there, and still tile the time.
#[must_use]
pub fn calendar_windows(from: Timestamp, until: Timestamp, step: CalendarStep, zone: &TimeZone) -> Vec<Window> {
    let instant = |at: civil::DateTime| at.to_zoned(zone.clone()).map(|zoned| Timestamp::from(zoned.timestamp()));
    let mut windows = Vec::new();
    let mut walk = || -> Result<(), jiff::Error> {
        // One step back: an offset change may put the first boundary a little earlier than the clock face says.
        let mut at = step.boundary(step.boundary(zoned(from, zone).datetime())?.checked_sub(1.second())?)?;
        let mut start = instant(at)?;
        while start < until {
            at = step.next(at)?;
            let end = instant(at)?;
            windows.extend(Window::new(start, end).filter(|window| window.start() >= from));
            start = start.max(end);
        }
        Ok(())
    };
    // The calendar ends in the year 9999, and so do the windows.
    walk().unwrap_or_default();
    windows
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn at(text: &str) -> Timestamp {
        Timestamp::parse_rfc3339(text).unwrap()
    }

    fn zone(name: &str) -> TimeZone {
        TimeZone::get(name).unwrap()
    }

    #[test]
    fn every_date_can_be_written() {
        for (days, written) in [(-4_371_587, "-009999-01-01"), (0, "1970-01-01"), (2_932_896, "9999-12-31")] {
            let date = Date::of_days(days).unwrap();
            assert_eq!((date.to_string().as_str(), Date::parse(written)), (written, Some(date)));
        }
        for days in [i32::MIN, -4_371_588, 2_932_897, i32::MAX] {
            assert_eq!(Date::of_days(days), None, "{days}");
        }
    }

    #[test]
    fn hours_are_those_of_the_zone() {
        let cases = [
            ("2026-11-22T10:59:59.999Z", "Asia/Shanghai", "2026-11-22T10:00:00Z", "2026-11-22T11:00:00Z"),
            ("2026-11-22T10:00:00Z", "Asia/Shanghai", "2026-11-22T10:00:00Z", "2026-11-22T10:00:00Z"),
            ("2026-11-22T10:10:00Z", "Asia/Kolkata", "2026-11-22T09:30:00Z", "2026-11-22T10:30:00Z"),
            // The repeated hour of the end of summer time: 01:30 for the second time.
            ("2026-10-25T01:30:00Z", "Europe/Berlin", "2026-10-25T01:00:00Z", "2026-10-25T02:00:00Z"),
        ];
        for (text, name, floor, ceil) in cases {
            assert_eq!(floor_hour(at(text), &zone(name)), at(floor), "{text} {name}");
            assert_eq!(ceil_hour(at(text), &zone(name)), at(ceil), "{text} {name}");
        }
    }

    #[test]
    fn days_have_the_hours_that_the_zone_gives_them() {
        let days = |from, until, name| -> Vec<_> {
            let windows = calendar_windows(at(from), at(until), CalendarStep::Day, &zone(name));
            windows.iter().map(|window| window.length().as_secs() / 3_600).collect()
        };
        assert_eq!(days("2026-03-28T00:00:00Z", "2026-03-31T00:00:00Z", "Europe/Berlin"), [23, 24, 24]);
        assert_eq!(days("2026-10-23T22:00:00Z", "2026-10-26T00:00:00Z", "Europe/Berlin"), [24, 25, 24]);
        assert_eq!(days("2026-03-28T16:00:00Z", "2026-03-30T16:00:00Z", "Asia/Shanghai"), [24, 24]);
    }

    #[test]
    fn weeks_begin_on_monday() {
        let weeks = calendar_windows(
            at("2026-11-01T00:00:00Z"),
            at("2026-11-22T00:00:00Z"),
            CalendarStep::Week,
            &zone("Asia/Shanghai"),
        );
        let starts: Vec<_> = weeks.iter().map(|window| window.start().to_string()).collect();
        assert_eq!(starts, ["2026-11-01T16:00:00Z", "2026-11-08T16:00:00Z", "2026-11-15T16:00:00Z"]);
    }

    #[test]
    fn dates_are_those_of_the_zone() {
        for (text, name, date) in [
            ("2026-11-22T15:59:59.999Z", "Asia/Shanghai", "2026-11-22"),
            ("2026-11-22T16:00:00Z", "Asia/Shanghai", "2026-11-23"),
            ("2026-11-22T07:59:59Z", "America/Los_Angeles", "2026-11-21"),
            ("2026-10-24T22:00:00Z", "Europe/Berlin", "2026-10-25"),
            ("2026-10-25T23:00:00Z", "Europe/Berlin", "2026-10-26"),
            ("1969-12-31T23:59:59Z", "UTC", "1969-12-31"),
        ] {
            assert_eq!(Date::of(at(text), &zone(name)).to_string(), date, "{text} {name}");
        }
        assert_eq!(Date::of(at("1970-01-02T00:00:00Z"), &TimeZone::UTC).days(), 1);
        for text in ["0000-01-01", "1969-12-31", "2024-02-29", "9999-12-31"] {
            assert_eq!(Date::parse(text).map(|date| date.to_string()).as_deref(), Some(text));
        }
        for text in ["", "2023-02-29", "20240229", "2024-2-29", "2024-02-29T00:00:00", "24-02-29", " 2024-02-29"] {
            assert_eq!(Date::parse(text), None, "{text}");
        }
    }

    #[test]
    fn a_midnight_shows_its_offset_where_only_one_fits() {
        for (hours, name) in [
            (16, Some("+08:00")),
            (0, Some("UTC")),
            (7, Some("-07:00")),
            (23, Some("+01:00")),
            (12, None),
            (11, None),
            (10, None),
            (9, Some("-09:00")),
        ] {
            assert_eq!(zone_of_midnight(HOUR * hours).map(|zone| zone_name(&zone)).as_deref(), name, "{hours} h");
        }
        let kathmandu = zone_of_midnight(Duration::from_mins(18 * 60 + 15)).unwrap();
        assert_eq!(zone_name(&kathmandu), "+05:45");
        assert_eq!(zone_name(&zone("Europe/Berlin")), "Europe/Berlin");
    }

    #[test]
    fn months_have_their_days() {
        let zone = zone("Europe/Berlin");
        let months =
            calendar_windows(at("2026-01-31T23:00:00Z"), at("2026-04-30T00:00:00Z"), CalendarStep::Month, &zone);
        let hours: Vec<_> = months.iter().map(|month| month.length().as_secs() / 3_600).collect();
        assert_eq!(hours, [28 * 24, 31 * 24 - 1, 30 * 24]);
    }

    #[test]
    fn only_lengths_that_divide_the_calendar_are_steps() {
        for (hours, step) in [
            (1, Some(CalendarStep::Hours(1))),
            (5, None),
            (6, Some(CalendarStep::Hours(6))),
            (12, Some(CalendarStep::Hours(12))),
            (24, Some(CalendarStep::Day)),
            (48, None),
            (168, Some(CalendarStep::Week)),
        ] {
            assert_eq!(CalendarStep::of(HOUR * hours), step, "{hours} h");
        }
        assert_eq!(CalendarStep::of(Duration::from_mins(90)), None);
        assert_eq!(CalendarStep::of(Duration::ZERO), None);
    }

    proptest! {
        #[test]
        fn calendar_windows_tile_the_time(
            day in 0i64..800, offset in 0i64..86_400, days in 1u32..40, step in 0usize..6, name in 0usize..5,
        ) {
            let zone = zone(["Asia/Shanghai", "Europe/Berlin", "Australia/Lord_Howe", "America/St_Johns", "UTC"][name]);
            let steps = [CalendarStep::Hours(1), CalendarStep::Hours(3), CalendarStep::Hours(8), CalendarStep::Hours(12), CalendarStep::Day, CalendarStep::Week];
            let from = at("2025-01-01T00:00:00Z") + DAY * u32::try_from(day).unwrap() + Duration::from_secs(offset.unsigned_abs());
            let until = from + DAY * days;
            let windows = calendar_windows(from, until, steps[step], &zone);
            prop_assert!(windows.windows(2).all(|pair| pair[0].end() == pair[1].start()));
            prop_assert!(windows.iter().all(|window| window.start() >= from && window.start() < until));
            let wider = calendar_windows(from - DAY * 8, until, steps[step], &zone);
            let shared: Vec<_> = wider.into_iter().filter(|window| window.start() >= from).collect();
            prop_assert_eq!(windows, shared, "everybody shares the same windows");
        }
    }

    #[test]
    fn hours_have_the_same_edges_wherever_a_window_begins() {
        let half = HOUR / 2;
        // Clocks go back by half an hour, forward by half an hour, back by an hour; quarters.
        for (name, day) in [
            ("Australia/Lord_Howe", "2026-04-04T12:00:00Z"),
            ("Australia/Lord_Howe", "2026-10-03T12:00:00Z"),
            ("Europe/Berlin", "2026-10-24T20:00:00Z"),
            ("Asia/Kathmandu", "2026-10-24T20:00:00Z"),
        ] {
            let (zone, begin) = (zone(name), at(day));
            let end = begin + DAY;
            let all = hours(Window::new(begin, end).unwrap(), &zone);
            assert!(all.windows(2).all(|pair| pair[0].end() == pair[1].start()), "{name}: {all:?}");
            for n in 1..40 {
                let from = begin + half * n;
                let own = hours(Window::new(from, end).unwrap(), &zone);
                let expected: Vec<_> = all.iter().copied().filter(|hour| hour.end() > from).collect();
                assert_eq!(own, expected, "{name} from {from}");
            }
        }
    }
}
