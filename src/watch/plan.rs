//! Which windows of a series are due: pure.

use std::collections::HashMap;
use std::time::Duration;

use crate::archive::Collected;
use crate::domain::time::DAY;
use crate::domain::{Finality, Timestamp, Window};
use crate::query::collect::Timed;
use crate::query::collections::Progress;

/// How long before the vendor forgets a window it is fetched before all others.
const URGENT: Duration = DAY;
/// After how long emptiness that nothing proves is looked at again, though its time is over.
const UNPROVEN: Duration = DAY;

/// What is known of a series when it is looked at.
#[derive(Debug)]
pub(super) struct Look<'a> {
    /// Its windows, in order of time.
    pub(super) windows: &'a [Timed],
    pub(super) collected: &'a [Collected],
    pub(super) now: Timestamp,
    /// How often what may still change is fetched again; zero for never.
    pub(super) every: Duration,
    /// How far back the vendor answers.
    pub(super) lookback: Option<Duration>,
}

/// A window to be fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Due {
    pub(super) window: Window,
    /// Whether all of it is final by now.
    pub(super) is_final: bool,
    /// Whether the vendor is about to forget it.
    pub(super) is_urgent: bool,
}

/// What is to be done for a series.
#[derive(Debug, PartialEq)]
pub(super) struct Plan {
    /// In order of time.
    pub(super) due: Vec<Due>,
    /// How far it is; with when the next window is due.
    pub(super) progress: Progress,
}

/// What is due now, and when the next will be.
pub(super) fn plan(look: &Look<'_>) -> Plan {
    let Look { windows, collected, now, every, lookback } = look;
    let collected: HashMap<Window, &Collected> = collected.iter().map(|line| (line.window, line)).collect();
    let mut due = Vec::new();
    let mut progress = Progress::default();
    for Timed { window, final_from } in windows.iter().copied() {
        let line = collected.get(&window);
        let forgotten = lookback.map(|lookback| window.start() + lookback);
        let is_forgotten = forgotten.is_some_and(|forgotten| forgotten <= *now);
        progress.oldest = progress.oldest.or(line.map(|_| window.start()));
        // What the vendor had forgotten before anything was collected is no loss: it cannot be had.
        if is_forgotten && progress.oldest.is_none() {
            continue;
        }
        progress.windows += 1;
        if line.is_some_and(|line| line.finality == Finality::Final) {
            progress.finals += 1;
            continue;
        }
        progress.provisional += usize::from(line.is_some());
        if is_forgotten {
            progress.missing += usize::from(line.is_none());
            continue;
        }
        let is_final = final_from <= *now;
        let at = match line {
            // It is not final though it was fetched when it would have been: nothing proves yet that it is empty.
            Some(line) if is_final && line.fetched_at >= final_from => line.fetched_at + UNPROVEN,
            _ if is_final => *now,
            _ if every.is_zero() => final_from,
            Some(line) => final_from.min(line.fetched_at + *every),
            None => *now,
        };
        if at > *now {
            progress.next = Some(progress.next.map_or(at, |next| next.min(at)));
            continue;
        }
        if is_final && line.is_none_or(|line| line.fetched_at < final_from) {
            let late = Duration::from_secs(now.since(final_from).as_secs());
            progress.late = progress.late.max(Some(late));
        }
        let is_urgent = forgotten.is_some_and(|forgotten| forgotten <= *now + URGENT);
        due.push(Due { window, is_final, is_urgent });
    }
    progress.due = due.len();
    Plan { due, progress }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOUR: Duration = Duration::from_hours(1);

    fn day(n: u32) -> Window {
        let start = Timestamp::from_ms(0) + DAY * n;
        Window::new(start, start + DAY).unwrap()
    }

    fn at(day: u32, hour: u32) -> Timestamp {
        Timestamp::from_ms(0) + DAY * day + HOUR * hour
    }

    fn line(n: u32, finality: Finality, fetched_at: Timestamp) -> Collected {
        Collected { window: day(n), finality, fetched_at, row_count: 1 }
    }

    /// Days that are final eight hours after their end; the vendor keeps thirty.
    fn planned(now: Timestamp, every: Duration, days: std::ops::Range<u32>, collected: &[Collected]) -> Plan {
        let windows: Vec<_> = days.map(|n| Timed { window: day(n), final_from: day(n).end() + HOUR * 8 }).collect();
        plan(&Look { windows: &windows, collected, now, every, lookback: Some(DAY * 30) })
    }

    fn days_of(plan: &Plan) -> Vec<(i64, bool, bool)> {
        let n = |due: &Due| due.window.start().as_ms() / 86_400_000;
        plan.due.iter().map(|due| (n(due), due.is_final, due.is_urgent)).collect()
    }

    #[test]
    fn nothing_collected_is_due_unless_it_is_forgotten() {
        let plan = planned(at(40, 9), HOUR, 8..40, &[]);
        let days = days_of(&plan);
        assert_eq!(days.len(), 29, "8, 9 and 10 are forgotten");
        assert_eq!(days[0], (11, true, true), "about to be");
        assert_eq!(days[1], (12, true, false));
        assert_eq!(days[28], (39, true, false));
        assert_eq!((plan.progress.missing, plan.progress.due, plan.progress.late), (0, 29, Some(DAY * 28 + HOUR)));
        assert_eq!(days_of(&planned(at(40, 7), HOUR, 39..40, &[])), [(39, false, false)]);
    }

    #[test]
    fn what_is_forgotten_after_the_oldest_that_is_kept_is_a_gap() {
        let kept = [line(8, Finality::Final, at(9, 9))];
        let plan = planned(at(40, 9), HOUR, 6..40, &kept);
        let told = (plan.progress.missing, plan.progress.windows);
        assert_eq!(told, (2, 32), "6 and 7 cannot be had; 9 and 10 were lost");
        assert_eq!(planned(at(40, 9), HOUR, 6..40, &[]).progress.missing, 0);
    }

    #[test]
    fn what_may_change_is_fetched_again_and_what_cannot_is_not() {
        let collected = |fetched_at| [line(39, Finality::Provisional, fetched_at)];
        let look = |now, fetched_at| planned(now, HOUR, 39..40, &collected(fetched_at));
        let plan = look(at(40, 2), at(40, 1) + HOUR / 2);
        assert_eq!((days_of(&plan), plan.progress.next), (vec![], Some(at(40, 2) + HOUR / 2)));
        assert_eq!(days_of(&look(at(40, 2), at(40, 1))), [(39, false, false)]);
        assert_eq!(look(at(40, 7), at(40, 6) + HOUR * 2 / 3).progress.next, Some(at(40, 7) + HOUR * 2 / 3));
        assert_eq!(
            look(at(40, 7) + HOUR / 2, at(40, 7) + HOUR / 4).progress.next,
            Some(at(40, 8)),
            "final before that"
        );
        assert_eq!(days_of(&look(at(40, 8), at(40, 7) + HOUR / 2)), [(39, true, false)]);
        let done = planned(at(40, 8), HOUR, 39..40, &[line(39, Finality::Final, at(40, 8))]);
        assert_eq!((days_of(&done), done.progress.finals, done.progress.next), (vec![], 1, None));
    }

    #[test]
    fn with_no_interval_only_what_is_final_is_fetched() {
        let plan = planned(at(40, 7), Duration::ZERO, 38..40, &[]);
        assert_eq!((days_of(&plan), plan.progress.next), (vec![(38, true, false)], Some(at(40, 8))));
    }

    #[test]
    fn emptiness_that_nothing_proves_is_looked_at_once_a_day() {
        let look = |now| planned(now, HOUR, 39..40, &[line(39, Finality::Provisional, at(40, 9))]);
        assert_eq!((days_of(&look(at(40, 20))), look(at(40, 20)).progress.next), (vec![], Some(at(41, 9))));
        assert_eq!(days_of(&look(at(41, 9))), [(39, true, false)]);
        assert_eq!(look(at(41, 9)).progress.late, None);
    }
}
