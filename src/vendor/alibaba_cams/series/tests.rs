use std::time::Duration;

use proptest::prelude::*;

use super::super::{MetricSubject, PhoneNumberMetrics, PhoneNumberPoint};
use super::*;
use crate::domain::time::{HOUR, MINUTE};
use crate::domain::{MessageCount, PhoneNumber, Vendor};

const SETTLE: Duration = DAY;

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn phone(digits: &str) -> PhoneNumber {
    PhoneNumber::parse(digits).unwrap()
}

fn subject(granularity: Granularity, of: Option<&str>) -> MetricSubject {
    MetricSubject {
        account: Account::new(Vendor::AlibabaCams, "retail", "host", "owner"),
        channel: Some(ChannelId::new("cams-alpha")),
        granularity,
        phone: of.map(phone),
    }
}

fn call(subject: MetricSubject, start: &str, end: &str) -> Slice<MetricSubject> {
    Slice { subject, window: Window::new(at(start), at(end)).unwrap() }
}

fn row(of: &str, start: Timestamp, length: Duration) -> PhoneNumberPoint {
    let count = MessageCount::new(1).unwrap();
    PhoneNumberPoint {
        phone: phone(of),
        start,
        end: start + length,
        sent: count,
        delivered: count,
        finality: Finality::Provisional,
    }
}

/// Sparse daily rows of some phones in a zone of any offset, with days of 23 and 25 hours.
fn series() -> impl Strategy<Value = Vec<PhoneNumberPoint>> {
    let day = (prop_oneof![8 => Just(24u64), 1 => Just(23), 1 => Just(25)], any::<[bool; 3]>());
    (-56i64..=56, prop::collection::vec(day, 1..14)).prop_map(|(quarters, days)| {
        let mut start = Timestamp::from_ms(quarters * 15 * 60_000);
        let mut rows = Vec::new();
        for (hours, sent) in days {
            let length = Duration::from_hours(hours);
            let phones = ["1", "2", "3"].into_iter().zip(sent).filter(|(_, sent)| *sent);
            rows.extend(phones.map(|(of, _)| row(of, start, length)));
            start = start + length;
        }
        rows.sort_by_key(|row: &PhoneNumberPoint| (row.phone.clone(), row.start));
        rows
    })
}

proptest! {
    #[test]
    fn every_row_of_the_span_is_in_the_day_of_its_start_and_none_is_lost_or_doubled(
        rows in series(), first in -2i64..10, days in 1i64..6,
    ) {
        let window = Window::new(Timestamp::from_secs(first * 86_400), Timestamp::from_secs((first + days) * 86_400));
        let call = Slice { subject: subject(Granularity::Daily, None), window: window.unwrap() };
        let wanted: Vec<_> = rows.iter().filter(|row| call.window.contains(row.start)).cloned().collect();

        let cuts = PhoneNumberMetrics::new(SETTLE).cut(&call, Some(rows), at("2026-01-01T00:00:00Z"));

        prop_assert!(cuts.iter().map(|cut| cut.window).eq(call.window.cells(DAY)));
        let mut found = Vec::new();
        for cut in &cuts {
            prop_assert!(cut.data.iter().all(|point| cut.window.contains(point.start)));
            prop_assert!(cut.data.is_sorted_by_key(|point| (point.phone.clone(), point.start)));
            prop_assert_eq!(cut.is_empty, cut.data.is_empty());
            let rows = cut.data.iter();
            found.extend(rows.map(|point| row(point.phone.expose(), point.start, point.end.since(point.start))));
        }
        found.sort_by_key(|row| (row.phone.clone(), row.start));
        prop_assert_eq!(found, wanted);
    }
}

#[test]
fn a_day_that_the_call_covers_in_part_is_no_slice() {
    let call = call(subject(Granularity::Daily, None), "2025-11-01T06:00:00Z", "2025-11-03T06:00:00Z");
    let cuts = PhoneNumberMetrics::new(SETTLE).cut(&call, Some(Vec::new()), at("2026-01-01T00:00:00Z"));
    let windows: Vec<_> = cuts.iter().map(|cut| cut.window.to_string()).collect();
    assert_eq!(windows, ["[2025-11-02T00:00:00Z, 2025-11-03T00:00:00Z)"]);
}

#[test]
fn finality_of_a_row_counts_from_the_longest_bucket_there_can_be() {
    for (granularity, length, age, finality) in [
        (Granularity::Daily, 24 * HOUR, 25 * HOUR, Finality::Final),
        (Granularity::Daily, 24 * HOUR, 24 * HOUR + 59 * MINUTE, Finality::Provisional),
        (Granularity::Daily, 23 * HOUR, 24 * HOUR + 59 * MINUTE, Finality::Provisional),
        (Granularity::Daily, 25 * HOUR, 25 * HOUR, Finality::Final),
        (Granularity::HalfHour, 30 * MINUTE, 30 * MINUTE, Finality::Final),
        (Granularity::HalfHour, 10 * MINUTE, 29 * MINUTE, Finality::Provisional),
    ] {
        let call = call(subject(granularity, None), "2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z");
        let start = at("2025-11-01T16:00:00Z");
        let cuts =
            PhoneNumberMetrics::new(SETTLE).cut(&call, Some(vec![row("1", start, length)]), start + age + SETTLE);
        assert_eq!(cuts[0].data[0].finality, finality, "{granularity:?} {length:?} {age:?}");
    }
}

#[test]
fn a_slice_settles_when_its_last_bucket_can_no_longer_change() {
    for (granularity, longest) in [(Granularity::Daily, 25 * HOUR), (Granularity::HalfHour, 30 * MINUTE)] {
        let call = call(subject(granularity, None), "2025-11-01T00:00:00Z", "2025-11-03T00:00:00Z");
        let sent_at = at("2025-11-02T00:00:00Z") + longest + SETTLE;
        let rows = || vec![row("1", at("2025-11-01T16:00:00Z"), 30 * MINUTE)];
        let keeps = |sent_at| {
            let cuts = PhoneNumberMetrics::new(SETTLE).cut(&call, Some(rows()), sent_at);
            cuts.iter().map(|cut| cut.keep).collect::<Vec<_>>()
        };
        assert_eq!(keeps(sent_at), [Keep::Settled, Keep::Provisional]);
        assert_eq!(keeps(sent_at - MINUTE), [Keep::Provisional, Keep::Provisional]);
        assert_eq!(
            keeps(sent_at + DAY),
            [Keep::Settled, Keep::Settled],
            "an empty day of a channel that has shown rows"
        );
    }
}

#[test]
fn emptiness_settles_only_for_a_subject_that_has_shown_a_row() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let later = at("2026-01-01T00:00:00Z");
    let ask = |of| call(subject(Granularity::Daily, of), "2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z");
    let keep = |of, rows| metrics.cut(&ask(of), Some(rows), later)[0].keep;

    assert_eq!(keep(None, vec![]), Keep::Unproven);
    assert_eq!(
        metrics.cut(&ask(None), Some(vec![]), at("2025-11-02T00:00:00Z"))[0].keep,
        Keep::Unproven,
        "still running"
    );
    // A row of the padding proves it as well as any other.
    assert_eq!(keep(Some("1"), vec![row("1", at("2025-11-02T16:00:00Z"), DAY)]), Keep::Settled);
    assert_eq!(keep(None, vec![]), Keep::Settled);
    assert_eq!(keep(Some("2"), vec![]), Keep::Unproven, "the channel has shown rows, this phone has not");
    assert_eq!(metrics.cut(&ask(None), None, later)[0].keep, Keep::Unproven, "the reply held no list of rows");
    // Another channel learns nothing from this one.
    let other = MetricSubject { channel: None, ..subject(Granularity::Daily, None) };
    let other = call(other, "2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z");
    assert_eq!(metrics.cut(&other, Some(vec![]), later)[0].keep, Keep::Unproven);
}

#[test]
fn phones_are_those_that_replies_have_shown() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let (daily, half_hour) = (subject(Granularity::Daily, None), subject(Granularity::HalfHour, None));
    assert_eq!(metrics.seen(&daily), None);
    metrics.note_asked(&subject(Granularity::Daily, Some("9")));
    assert_eq!(metrics.seen(&daily), None, "asking is no reply");

    let call = call(daily.clone(), "2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z");
    metrics.cut(&call, Some(vec![]), call.window.end());
    assert_eq!(metrics.seen(&daily), Some(vec![]));
    let rows = vec![row("1", call.window.start(), DAY), row("2", call.window.start(), DAY)];
    metrics.cut(&call, Some(rows), call.window.end());
    assert_eq!(metrics.seen(&half_hour), Some(vec![phone("1"), phone("2")]));
}

#[test]
fn expected_rows_are_phones_times_buckets_of_the_padded_span() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let ask = |granularity, of| call(subject(granularity, of), "2025-11-01T00:00:00Z", "2025-11-11T00:00:00Z");
    // 240 h and 2 x 26 h are 13 days; 240 h and 2 x 1 h are 484 half hours.
    assert_eq!(metrics.expected_rows(&ask(Granularity::Daily, Some("1"))), 13);
    assert_eq!(metrics.expected_rows(&ask(Granularity::HalfHour, Some("1"))), 484);
    assert_eq!(metrics.expected_rows(&ask(Granularity::Daily, None)), 13 * 20, "unknown channels are taken for large");

    let one = ask(Granularity::Daily, Some("1"));
    metrics.cut(&one, Some(vec![row("1", one.window.start(), DAY)]), one.window.end());
    assert_eq!(metrics.expected_rows(&ask(Granularity::Daily, None)), 13 * 20, "one phone says nothing of the others");
    let all = ask(Granularity::Daily, None);
    metrics.cut(&all, Some(vec![]), all.window.end());
    assert_eq!(metrics.expected_rows(&all), 13);
}

#[test]
fn phones_are_forgotten_and_never_too_many_for_calls_of_some_days() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let call = call(subject(Granularity::HalfHour, None), "2025-11-01T00:00:00Z", "2025-11-03T00:00:00Z");
    let (start, end) = (call.window.start(), call.window.end());
    let rows = |from: u32, to: u32| (from..to).map(|n| row(&n.to_string(), start, 30 * MINUTE)).collect::<Vec<_>>();
    let known = || metrics.seen(&call.subject).unwrap();

    metrics.cut(&call, Some(rows(0, 3)), end);
    metrics.cut(&call, Some(rows(2, 12_000)), end + DAY);
    assert_eq!(known().len(), 10_000);
    assert!(metrics.expected_rows(&call) <= 100_000, "two days still are one call");
    metrics.cut(&call, Some(rows(100_000, 100_005)), end + DAY * 2);
    assert!(known().contains(&phone("100004")) && !known().contains(&phone("0")), "the latest stay");

    // What another replica has learned ages as well.
    let data = metrics.cut(&call, Some(rows(7, 9)), end + DAY * 20).remove(0).data;
    metrics.learn_from(&Slice { window: call.window, ..call.clone() }, &data, end + DAY * 30);
    metrics.cut(&call, Some(rows(1, 2)), end + DAY * 34);
    assert_eq!(known(), [phone("1"), phone("7"), phone("8")], "a month later");
    assert_eq!(metrics.expected_rows(&call), 100 * 3);
}

#[test]
fn the_second_phone_makes_it_a_call_for_the_whole_channel() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let (one, two, all) = (
        subject(Granularity::Daily, Some("1")),
        subject(Granularity::Daily, Some("2")),
        subject(Granularity::Daily, None),
    );
    assert_eq!(metrics.joint_subject(&[&one, &one]), one);
    assert_eq!(metrics.joint_subject(&[&one, &two]), all);
    assert_eq!(metrics.joint_subject(&[&one, &all]), all);
    assert_eq!(metrics.joint_subject(&[&all]), all);

    metrics.note_asked(&one);
    assert_eq!(metrics.joint_subject(&[&one]), one, "the same phone again");
    assert_eq!(metrics.joint_subject(&[&two]), all);
    metrics.note_asked(&two);
    assert_eq!(metrics.joint_subject(&[&one]), all);
}

#[test]
fn spans_are_padded_and_end_now_once_the_vendor_has_refused_the_future() {
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let now = at("2025-11-02T12:00:00Z");
    let today = |granularity| call(subject(granularity, None), "2025-11-02T00:00:00Z", "2025-11-03T00:00:00Z");
    let (daily, half_hour) = (today(Granularity::Daily), today(Granularity::HalfHour));
    let wire = |call: &Slice<_>| metrics.span_on_wire(call, now).map(|span| span.to_string());
    assert_eq!(wire(&daily).unwrap(), "[2025-10-31T22:00:00Z, 2025-11-04T02:00:00Z)");
    assert_eq!(wire(&half_hour).unwrap(), "[2025-11-01T23:00:00Z, 2025-11-03T01:00:00Z)");

    metrics.learn_end_at_now(&daily.subject.account);
    assert_eq!(wire(&daily).unwrap(), "[2025-10-31T22:00:00Z, 2025-11-02T12:00:00Z)");
    let past = call(subject(Granularity::Daily, None), "2025-10-02T00:00:00Z", "2025-10-03T00:00:00Z");
    assert_eq!(wire(&past).unwrap(), "[2025-09-30T22:00:00Z, 2025-10-04T02:00:00Z)");
    let future = call(subject(Granularity::Daily, None), "2025-12-02T00:00:00Z", "2025-12-03T00:00:00Z");
    assert_eq!(wire(&future), None);
}

#[test]
fn a_phone_is_part_of_its_channel_and_prints_masked() {
    let one = subject(Granularity::Daily, Some("8613800001234"));
    assert_eq!(one.whole(), Some(subject(Granularity::Daily, None)));
    assert_eq!(subject(Granularity::Daily, None).whole(), None);
    assert!(!format!("{one:?}").contains("138"));
}

#[test]
fn what_a_slice_weighs_grows_with_its_rows() {
    let call = call(subject(Granularity::HalfHour, None), "2025-11-01T00:00:00Z", "2025-11-02T00:00:00Z");
    let rows = (0..48).map(|i| row("1", call.window.start() + i * 30 * MINUTE, 30 * MINUTE)).collect();
    let metrics = PhoneNumberMetrics::new(SETTLE);
    let (full, empty) =
        (metrics.cut(&call, Some(rows), call.window.end()), metrics.cut(&call, Some(vec![]), call.window.end()));
    assert_eq!((full[0].bytes - empty[0].bytes) as usize, 48 * size_of::<PhoneNumberPoint>());
}
