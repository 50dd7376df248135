//! Deterministic data of both vendors: the same seed and clock give the same answer, in whatever order it is asked.
//!
//! Nothing is stored. Every number is hashed from (seed, id, time), so a test can ask the world for the truth and
//! compare what came through the gateway. The one exception: channels whose id begins with `new-` hold no data until
//! `EnableWhatsappROIMetric` was called for them, and then only buckets that begin a day later.

mod messages;
mod places;
mod templates;
mod users;

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError};

use jiff::tz::TimeZone;

pub use messages::{Granularity, Row, Selection};
pub use places::Dimension;
pub use templates::TemplateRow;

use crate::domain::{Timestamp, Window};

/// The demo's channels with their numbers of phones. The first also answers for calls without `CustSpaceId`.
pub const CHANNELS: [(&str, usize); 5] =
    [("cams-alpha", 4), ("cams-beta", 6), ("cams-gamma", 9), ("cams-delta", 14), ("cams-epsilon", 24)];

/// Channels with this prefix begin without data.
const NOT_ENABLED_PREFIX: &str = "new-";

/// All that the vendors know.
#[derive(Debug)]
pub struct World {
    seed: u64,
    bucket_zone: TimeZone,
    enabled: Mutex<HashMap<String, Timestamp>>,
}

impl World {
    pub(super) fn new(seed: u64, bucket_zone: TimeZone) -> Self {
        Self { seed, bucket_zone, enabled: Mutex::default() }
    }

    /// The phones of a channel, by their digits, ascending.
    #[must_use]
    pub fn phones(&self, channel: &str) -> Vec<String> {
        let hash = self.channel_hash(channel);
        let known = CHANNELS.iter().find(|(name, _)| *name == channel).map(|(_, count)| *count as u64);
        let count = known.unwrap_or(3 + hash % 6);
        (0..count).map(|n| format!("8613{:07}{n:02}", mix(hash) % 10_000_000)).collect()
    }

    /// The rows whose own start lies in `window`, as the vendor knows them at `as_of`; ordered by phone, then start.
    #[must_use]
    pub fn metrics(&self, channel: &str, granularity: Granularity, window: Window, as_of: Timestamp) -> Vec<Row> {
        self.rows(channel, granularity, window, as_of, Selection::ByStart)
    }

    /// Distinct users by place over exactly `window`, as the vendor knows them at `as_of`; places without users are
    /// left out, the largest comes first, equals by name. Users of an unknown place appear in no entry.
    #[must_use]
    pub fn distribution(
        &self,
        app: &str,
        dimension: Dimension,
        window: Window,
        as_of: Timestamp,
    ) -> Vec<(String, u64)> {
        let mut shares: Vec<_> = self
            .shares(app, dimension, window, as_of)
            .places
            .into_iter()
            .map(|(name, count)| (name.to_owned(), count))
            .collect();
        shares.sort_by(|a, b| b.1.cmp(&a.1).then_with(|| a.0.cmp(&b.0)));
        shares
    }

    /// Who is counted where over `window`, once everything has arrived. Numbers of users mean nothing between apps.
    #[must_use]
    pub fn users(&self, app: &str, dimension: Dimension, window: Window) -> BTreeMap<String, BTreeSet<u64>> {
        let mut sets: BTreeMap<String, BTreeSet<u64>> = BTreeMap::new();
        self.for_each_seen(app, dimension, window, None, |user, mask| {
            for name in places::names(dimension, mask) {
                sets.entry(name.to_owned()).or_default().insert(user);
            }
        });
        sets
    }

    /// Starts the collection of a channel's metrics; the first call counts.
    pub(super) fn enable(&self, channel: &str, now: Timestamp) {
        self.enabled_channels().entry(channel.to_owned()).or_insert(now);
    }

    /// Forgets which channels were enabled.
    pub(super) fn reset(&self) {
        self.enabled_channels().clear();
    }

    /// From when on a channel has data; `None` if it never was enabled.
    fn data_from(&self, channel: &str) -> Option<Timestamp> {
        if !channel.starts_with(NOT_ENABLED_PREFIX) {
            return Some(Timestamp::from_secs(messages::BEGINNING_SECS));
        }
        self.enabled_channels().get(channel).map(|at| *at + crate::domain::time::DAY)
    }

    fn enabled_channels(&self) -> MutexGuard<'_, HashMap<String, Timestamp>> {
        self.enabled.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn channel_hash(&self, channel: &str) -> u64 {
        blend(text_hash(self.seed, channel), 1)
    }

    fn app_hash(&self, app: &str) -> u64 {
        blend(text_hash(self.seed, app), 2)
    }
}

/// The finaliser of splitmix64: every bit of the result depends on every bit of `x`.
pub(super) fn mix(x: u64) -> u64 {
    let x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// A hash of `hash` and one more part; the order matters.
pub(super) fn blend(hash: u64, part: u64) -> u64 {
    mix(hash.rotate_left(23) ^ mix(part.wrapping_add(0x9e37_79b9_7f4a_7c15)))
}

fn text_hash(seed: u64, text: &str) -> u64 {
    text.bytes().fold(mix(seed), |hash, byte| blend(hash, u64::from(byte)))
}

/// Picks an index by weight.
fn weighted(weights: &[u32], hash: u64) -> usize {
    let total: u64 = weights.iter().map(|weight| u64::from(*weight)).sum();
    let mut left = hash % total.max(1);
    weights
        .iter()
        .position(|weight| {
            let is_here = left < u64::from(*weight);
            left = left.saturating_sub(u64::from(*weight));
            is_here
        })
        .unwrap_or(0)
}

#[cfg(test)]
mod tests;
