//! Distinct users of RTC applications: a few thousand per app, each active on some days in a handful of calls.
//!
//! A user counts in a window if one of their calls began inside; many come back day after day, so neighbouring windows
//! share most of their users and sums over windows are far too high. Some travel and are counted in two provinces.

use super::places::{self, COUNTRIES, Dimension, PROVINCES};
use super::{World, blend, weighted};
use crate::domain::{Timestamp, Window};

const DAY_SECS: i64 = 86_400;

/// Days and hours of users are those of China, UTC+8.
const SHIFT_SECS: i64 = 8 * 3_600;

/// A call is known at the latest 8 h after it began (the page's "data delayed 8 hours").
const LATENESS_SECS: u64 = 8 * 3_600;

/// When calls begin: weights of the hours of a day.
const BY_HOUR: [u32; 24] = [10, 5, 3, 2, 2, 3, 8, 16, 30, 44, 50, 48, 36, 40, 46, 48, 46, 44, 52, 70, 84, 76, 48, 24];

/// Weights of places, without their names.
const PROVINCE_WEIGHTS: [u32; PROVINCES.len()] = weights(&PROVINCES);
const COUNTRY_WEIGHTS: [u32; COUNTRIES.len()] = weights(&COUNTRIES);

const fn weights<const N: usize>(places: &[(&str, u32); N]) -> [u32; N] {
    let mut weights = [0; N];
    let mut n = 0;
    while n < N {
        weights[n] = places[n].1;
        n += 1;
    }
    weights
}

/// Users by place, and all of them.
#[derive(Debug)]
pub(in crate::sim) struct Shares {
    /// Distinct users of each place that has any, in the order of the table.
    pub(in crate::sim) places: Vec<(&'static str, u64)>,
    /// Distinct users overall, those of an unknown place included.
    pub(in crate::sim) total: u64,
}

struct User {
    hash: u64,
    /// How likely a day has a call, in percent.
    habit: u64,
    travels: bool,
}

impl User {
    fn new(hash: u64) -> Self {
        let habit = [12, 30, 55, 85][weighted(&[4, 3, 2, 2], hash >> 8)];
        Self { hash, habit, travels: (hash >> 50).is_multiple_of(12) }
    }

    /// The bit of the user's place on a day; none if nobody knows it.
    fn place(&self, dimension: Dimension, day: u64) -> u64 {
        let unknown_country = (self.hash >> 20) % 100 < 4;
        let country = weighted(&COUNTRY_WEIGHTS, self.hash >> 24);
        match dimension {
            _ if unknown_country => 0,
            Dimension::Country => 1 << country,
            Dimension::Province if country != 0 || (self.hash >> 40) % 100 < 3 => 0,
            Dimension::Province => {
                let is_away = self.travels && day.is_multiple_of(3);
                1 << weighted(&PROVINCE_WEIGHTS, if is_away { day >> 16 } else { self.hash >> 28 })
            }
        }
    }

    /// The places of all calls that began in `window` and are known at `as_of` (`None`: all that ever will be);
    /// `None` if there are no such calls.
    fn seen(&self, dimension: Dimension, window: Window, as_of: Option<Timestamp>) -> Option<u64> {
        let (start_ms, end_ms) = (window.start().as_ms(), window.end().as_ms());
        let local_day = |secs: i64| (secs + SHIFT_SECS).div_euclid(DAY_SECS);
        let mut seen = None;
        for n in local_day(window.start().as_secs())..=local_day(window.end().as_secs()) {
            let day = blend(self.hash, n.cast_unsigned());
            let weekend = if (n + 3).rem_euclid(7) >= 5 { 15 } else { 0 };
            if day % 100 >= self.habit + weekend {
                continue;
            }
            let calls = (0..=(day >> 8) % 3).map(|call| blend(day, call));
            let is_counted = calls.into_iter().any(|call| {
                let hour = i64::try_from(weighted(&BY_HOUR, call)).unwrap_or(0);
                let within = i64::try_from((call >> 32) % 3_600).unwrap_or(0);
                let at = n * DAY_SECS - SHIFT_SECS + hour * 3_600 + within;
                let known_at = at + i64::try_from((call >> 16) % LATENESS_SECS).unwrap_or(0);
                (start_ms..end_ms).contains(&(at * 1_000))
                    && as_of.is_none_or(|as_of| known_at * 1_000 <= as_of.as_ms())
            });
            if is_counted {
                seen = Some(seen.unwrap_or(0) | self.place(dimension, day));
                if !self.travels {
                    break;
                }
            }
        }
        seen
    }
}

impl World {
    /// Calls `each` with the number and the places of every user who was seen.
    pub(super) fn for_each_seen(
        &self,
        app: &str,
        dimension: Dimension,
        window: Window,
        as_of: Option<Timestamp>,
        mut each: impl FnMut(u64, u64),
    ) {
        let app = self.app_hash(app);
        for n in 0..2_000 + app % 2_000 {
            if let Some(mask) = User::new(blend(app, n)).seen(dimension, window, as_of) {
                each(n, mask);
            }
        }
    }

    /// Distinct users over exactly `window`, as the vendor knows them at `as_of`.
    pub(in crate::sim) fn shares(&self, app: &str, dimension: Dimension, window: Window, as_of: Timestamp) -> Shares {
        let table = places::table(dimension);
        let mut counts = vec![0; table.len()];
        let mut total = 0;
        self.for_each_seen(app, dimension, window, Some(as_of), |_, mask| {
            total += 1;
            counts.iter_mut().enumerate().for_each(|(bit, count)| *count += mask >> bit & 1);
        });
        let places = table.iter().map(|(name, _)| *name).zip(counts).filter(|(_, count)| *count > 0).collect();
        Shares { places, total }
    }
}
