use super::*;
use crate::domain::time::{DAY, HOUR, SECOND};
use std::collections::HashMap;
use std::time::Duration;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn window(start: &str, end: &str) -> Window {
    Window::new(at(start), at(end)).unwrap()
}

fn world(zone: &str) -> World {
    World::new(7, TimeZone::get(zone).unwrap())
}

const LATER: &str = "2026-12-31T00:00:00Z";

#[test]
fn the_same_seed_gives_the_same_rows_and_another_seed_others() {
    let range = window("2026-08-01T00:00:00Z", "2026-08-08T00:00:00Z");
    let ask = |world: &World| world.metrics("cams-alpha", Granularity::Daily, range, at(LATER));
    let (one, two) = (world("Asia/Shanghai"), world("Asia/Shanghai"));
    let _ = two.metrics("cams-beta", Granularity::HalfHour, range, at(LATER));
    assert_eq!(ask(&one), ask(&two));
    assert!(!ask(&one).is_empty());
    assert_ne!(ask(&one), ask(&World::new(8, TimeZone::get("Asia/Shanghai").unwrap())));
}

#[test]
fn channels_have_distinct_phones_and_one_has_more_than_twenty() {
    let world = world("UTC");
    let mut all = BTreeSet::new();
    for (channel, count) in CHANNELS {
        let phones = world.phones(channel);
        assert_eq!(phones.len(), count);
        all.extend(phones);
    }
    assert_eq!(all.len(), CHANNELS.iter().map(|(_, count)| count).sum::<usize>());
    assert!(world.phones("cams-epsilon").len() > 20);
    assert!((3..9).contains(&world.phones("293483938849493").len()));
}

#[test]
fn days_begin_at_local_midnight_also_when_clocks_change() {
    let world = world("Europe/Berlin");
    let range = window("2026-03-20T00:00:00Z", "2026-11-01T00:00:00Z");
    let rows = world.metrics("cams-epsilon", Granularity::Daily, range, at(LATER));
    let lengths: BTreeSet<_> = rows.iter().map(|row| row.end.since(row.start).as_secs() / 3_600).collect();
    assert_eq!(lengths, BTreeSet::from([23, 24, 25]));
    let zone = TimeZone::get("Europe/Berlin").unwrap();
    assert!(rows.iter().all(|row| row.start.to_jiff().to_zoned(zone.clone()).hour() == 0));
}

#[test]
fn a_day_is_the_sum_of_its_half_hours_whatever_its_length_and_age() {
    for (zone, as_of) in
        [("Asia/Kathmandu", LATER), ("America/New_York", LATER), ("Asia/Shanghai", "2026-11-03T03:00:00Z")]
    {
        let world = world(zone);
        let range = window("2026-10-25T00:00:00Z", "2026-11-05T00:00:00Z");
        let days = world.metrics("cams-beta", Granularity::Daily, range, at(as_of));
        assert!(days.len() > 20, "{zone}");
        for day in days {
            let within = Window::new(day.start, day.end).unwrap();
            let halves = world.metrics("cams-beta", Granularity::HalfHour, within, at(as_of));
            let of_phone = halves.iter().filter(|row| row.phone == day.phone);
            let sum = of_phone.fold((0, 0), |sum, row| (sum.0 + row.sent, sum.1 + row.delivered));
            assert_eq!(sum, (day.sent, day.delivered), "{zone} {day:?}");
        }
    }
}

#[test]
fn rows_are_sparse_and_phones_differ() {
    let world = world("Asia/Shanghai");
    let range = window("2026-08-01T16:00:00Z", "2026-08-29T16:00:00Z");
    let rows = world.metrics("cams-epsilon", Granularity::Daily, range, at(LATER));
    assert!(rows.iter().all(|row| row.sent > 0 && row.delivered <= row.sent));
    let mut totals: HashMap<&str, u64> = HashMap::new();
    for row in &rows {
        *totals.entry(&row.phone).or_default() += row.sent;
    }
    let possible = world.phones("cams-epsilon").len() * 28;
    assert!(rows.len() < possible * 19 / 20, "{} of {possible}", rows.len());
    assert!(totals.values().max() > totals.values().min().map(|least| least * 10).as_ref());
    let on = |weekday: i8| -> u64 {
        let is_on = |row: &&Row| {
            (row.start + 12 * HOUR).to_jiff().to_zoned(TimeZone::UTC).weekday().to_monday_zero_offset() == weekday
        };
        rows.iter().filter(is_on).map(|row| row.sent).sum()
    };
    assert!(on(4) > 2 * on(6), "{} {}", on(4), on(6));
}

#[test]
fn counts_grow_until_a_day_after_the_end_and_then_rest() {
    let world = world("Asia/Shanghai");
    let day = window("2026-09-01T16:00:00Z", "2026-09-02T16:00:00Z");
    let seen = |as_of: Timestamp| -> u64 {
        world.metrics("cams-delta", Granularity::Daily, day, as_of).iter().map(|row| row.sent).sum()
    };
    let steps = [-25i64, -12, -1, 0, 6, 12, 23]
        .map(|hours| at("2026-09-02T16:00:00Z") + HOUR * 30 - HOUR * u32::try_from(30 - hours).unwrap());
    assert_eq!(seen(steps[0]), 0, "not begun");
    assert!(steps.windows(2).all(|pair| seen(pair[0]) < seen(pair[1])), "{:?}", steps.map(seen));
    let settled = day.end() + DAY;
    assert!(seen(settled - SECOND) < seen(settled));
    assert_eq!(seen(settled), seen(at(LATER)));
}

#[test]
fn the_three_readings_of_a_range_differ_at_its_edges_alone() {
    let world = world("Asia/Shanghai");
    let range = window("2026-08-03T04:00:00Z", "2026-08-10T04:00:00Z");
    let starts = |selection| -> BTreeSet<Timestamp> {
        let rows = world.rows("cams-epsilon", Granularity::Daily, range, at(LATER), selection);
        rows.into_iter().map(|row| row.start).collect()
    };
    let (by_start, overlap, contained) =
        (starts(Selection::ByStart), starts(Selection::ByOverlap), starts(Selection::ByContainment));
    let extra: Vec<_> = overlap.difference(&by_start).collect();
    assert_eq!(extra, [&at("2026-08-02T16:00:00Z")]);
    let lost: Vec<_> = by_start.difference(&contained).collect();
    assert_eq!(lost, [&at("2026-08-09T16:00:00Z")]);
    assert!(contained.is_subset(&by_start));
}

#[test]
fn a_new_channel_has_data_a_day_after_it_was_enabled() {
    let world = world("UTC");
    let range = window("2026-08-01T00:00:00Z", "2026-08-20T00:00:00Z");
    let ask = || world.metrics("new-shop", Granularity::HalfHour, range, at(LATER));
    assert!(ask().is_empty());
    world.enable("new-shop", at("2026-08-05T12:00:00Z"));
    world.enable("new-shop", at("2026-08-09T12:00:00Z"));
    let first = ask().iter().map(|row| row.start).min().unwrap();
    assert!(first >= at("2026-08-06T12:00:00Z") && first < at("2026-08-07T12:00:00Z"), "{first}");
}

#[test]
fn sums_of_distinct_users_over_windows_are_visibly_wrong() {
    let world = world("UTC");
    let week = window("2026-08-02T16:00:00Z", "2026-08-09T16:00:00Z");
    let count = |window| world.shares("app-one", Dimension::Province, window, at(LATER)).total;
    let summed: u64 = week.tiles(DAY).map(count).sum();
    assert!(summed > 2 * count(week), "{summed} {}", count(week));
    assert!(count(week) > week.tiles(DAY).map(count).max().unwrap() * 11 / 10);
}

#[test]
fn a_window_counts_the_union_of_the_users_of_its_parts() {
    let world = world("UTC");
    let whole = window("2026-08-02T03:17:05Z", "2026-08-05T16:00:00Z");
    let mut union: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
    for part in whole.tiles(Duration::from_secs(40_001)) {
        for (place, users) in world.users("app-two", Dimension::Province, part) {
            union.entry(place).or_default().extend(users);
        }
    }
    assert_eq!(union, world.users("app-two", Dimension::Province, whole));
    let told: BTreeMap<_, _> =
        world.distribution("app-two", Dimension::Province, whole, at(LATER)).into_iter().collect();
    let sizes: BTreeMap<_, _> = union.into_iter().map(|(place, users)| (place, users.len() as u64)).collect();
    assert_eq!(told, sizes);
    assert!(sizes.contains_key("广东") && sizes.contains_key("香港"));
}

#[test]
fn some_users_are_in_no_row_and_some_in_two() {
    let world = world("UTC");
    let week = window("2026-08-02T16:00:00Z", "2026-08-09T16:00:00Z");
    let sets = world.users("app-one", Dimension::Province, week);
    let rows: usize = sets.values().map(BTreeSet::len).sum();
    let placed: BTreeSet<_> = sets.values().flatten().collect();
    let total = usize::try_from(world.shares("app-one", Dimension::Province, week, at(LATER)).total).unwrap();
    assert!(placed.len() < total && placed.len() < rows, "{} {rows} {total}", placed.len());
    let countries = world.distribution("app-one", Dimension::Country, week, at(LATER));
    assert_eq!(countries[0].0, "中国");
    assert!(countries.len() > 8);
}

#[test]
fn late_calls_are_all_known_eight_hours_after_the_window() {
    let world = world("UTC");
    let hours = window("2026-08-02T04:00:00Z", "2026-08-02T12:00:00Z");
    let seen = |as_of| world.shares("app-one", Dimension::Country, hours, as_of).total;
    let steps = [0, 2, 5, 8].map(|late| seen(hours.end() + HOUR * late));
    assert!(steps.windows(2).all(|pair| pair[0] < pair[1]), "{steps:?}");
    assert_eq!(steps[3], seen(at(LATER)));
}
