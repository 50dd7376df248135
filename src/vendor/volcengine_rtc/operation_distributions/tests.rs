use std::time::Duration;

use super::*;
use crate::domain::Window;
use crate::domain::time::{DAY, HOUR};

const SETTLE: Duration = Duration::from_mins(8 * 60 + 30);

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn call(dimension: Dimension, start: Timestamp, length: Duration) -> Slice<DistributionSubject> {
    let account = Account::new(Vendor::VolcengineRtc, "calls", "host", "owner");
    let subject = DistributionSubject { account, app: AppId::new("app-one"), dimension };
    Slice { subject, window: Window::new(start, start + length).unwrap() }
}

fn share(name: &str, users: f64) -> Share {
    Share { name: name.to_owned(), users: DistinctUsers::new(users).unwrap(), proportion: 1.0 }
}

#[test]
fn a_window_is_one_slice_whole_as_it_is() {
    let operation = OperationDistributions::new(SETTLE);
    // Neither whole days nor whole hours: nothing is cut, nothing is moved.
    let call = call(Dimension::Province, at("2025-11-01T05:07:09Z"), 6 * DAY + HOUR);
    let shares = vec![share("上海", 666.0), share("北京", 123.0)];
    let cuts = operation.cut(&call, Some(shares.clone()), at("2026-01-01T00:00:00Z"));
    assert_eq!(cuts.len(), 1);
    assert_eq!((cuts[0].window, &cuts[0].data.shares, cuts[0].is_empty), (call.window, &shares, false));
    assert!(operation.grid().is_none());
}

#[test]
fn a_window_settles_when_the_vendors_lateness_is_over() {
    let operation = OperationDistributions::new(SETTLE);
    let call = call(Dimension::Province, at("2025-11-01T00:00:00Z"), DAY);
    let end = call.window.end();
    for (sent_at, keep, finality) in [
        (end + SETTLE, Keep::Settled, Finality::Final),
        (end + SETTLE - Duration::from_millis(1), Keep::Provisional, Finality::Provisional),
        (end - HOUR, Keep::Provisional, Finality::Provisional),
    ] {
        for shares in [vec![], vec![share("上海", 1.0)]] {
            let cut = operation.cut(&call, Some(shares), sent_at).pop().unwrap();
            assert_eq!((cut.keep, cut.data.finality), (keep, finality), "{sent_at}");
            assert_eq!(cut.is_empty, cut.data.shares.is_empty());
        }
    }
}

#[test]
fn a_reply_without_a_list_is_nobody_for_a_while() {
    let call = call(Dimension::Province, at("2025-11-01T00:00:00Z"), DAY);
    let cut = OperationDistributions::new(SETTLE).cut(&call, None, at("2026-01-01T00:00:00Z")).pop().unwrap();
    assert_eq!((cut.keep, cut.data.finality, cut.is_empty), (Keep::Unproven, Finality::Provisional, true));
}

#[test]
fn windows_that_begin_before_the_last_30_days_are_refused_with_the_limit() {
    let operation = OperationDistributions::new(SETTLE);
    let now = at("2025-11-30T12:00:00Z");
    let first = at("2025-10-31T12:00:00Z");
    assert!(operation.check_retention(&call(Dimension::Province, first, DAY), now).is_ok());
    let early = call(Dimension::Province, first - Duration::from_millis(1), DAY);
    let error = operation.check_retention(&early, now).unwrap_err();
    assert_eq!(error.kind, CallErrorKind::OutOfRetention);
    assert!(error.message.contains("30 days: from 2025-10-31T12:00:00Z on"), "{error}");
}

#[test]
fn equal_subjects_share_a_call_and_none_is_part_of_another() {
    let operation = OperationDistributions::new(SETTLE);
    let province = call(Dimension::Province, at("2025-11-01T00:00:00Z"), DAY);
    let country = call(Dimension::Country, at("2025-11-01T00:00:00Z"), DAY);
    assert_eq!(operation.joint_subject(&[&province.subject, &province.subject]), province.subject);
    assert_eq!(province.subject.whole(), None);
    assert_ne!(province.subject, country.subject);
    assert!(operation.expected_rows(&province) < operation.expected_rows(&country));
}

#[test]
fn what_a_window_weighs_grows_with_its_shares() {
    let operation = OperationDistributions::new(SETTLE);
    let call = call(Dimension::Province, at("2025-11-01T00:00:00Z"), DAY);
    let weight = |shares| operation.cut(&call, Some(shares), call.window.end())[0].bytes as usize;
    assert_eq!(weight(vec![share("上海", 1.0)]) - weight(vec![]), size_of::<Share>() + "上海".len());
}
