//! What replies have taught of channels: which keys (phone numbers, languages) show rows.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use crate::domain::Timestamp;
use crate::domain::time::DAY;

/// What is known of one channel, or of whatever else is asked for as a whole.
#[derive(Debug)]
pub(super) struct Seen<K> {
    /// Keys that have shown a row, and when the last reply that did was asked for.
    keys: BTreeMap<K, Timestamp>,
    /// When the latest of all replies was asked for.
    latest: Option<Timestamp>,
    /// Whether any reply has come.
    has_replied: bool,
    /// Whether a reply for the whole has come, so that `keys` is likely all of them.
    is_surveyed: bool,
    /// Keys that were asked for alone: the first two, which is enough to know that there are several.
    asked_alone: BTreeSet<K>,
    /// How long after UTC's midnight days have begun. Where clocks change there are two.
    midnights: BTreeSet<Duration>,
}

impl<K> Default for Seen<K> {
    fn default() -> Self {
        let (keys, asked_alone, midnights) = (BTreeMap::new(), BTreeSet::new(), BTreeSet::new());
        Self { keys, latest: None, has_replied: false, is_surveyed: false, asked_alone, midnights }
    }
}

impl<K: Ord + Clone> Seen<K> {
    /// No more are expected, whatever a reply has shown: half hours of two days fit into one call then.
    const MOST_EXPECTED: usize = 1_000;
    /// No more are remembered; those that have not shown for the longest time go first.
    const MOST_REMEMBERED: usize = 10_000;
    /// No zone has more in the memory of its clocks.
    const MOST_MIDNIGHTS: usize = 8;
    /// A key that no reply has shown for so long is forgotten.
    const REMEMBERED: Duration = DAY.saturating_mul(31);

    /// How many keys a reply is expected to show; what was never asked as a whole is taken for `assumed` of them.
    pub(super) fn expected(&self, assumed: usize) -> usize {
        self.keys.len().clamp(if self.is_surveyed { 1 } else { assumed }, Self::MOST_EXPECTED)
    }

    /// The keys that replies have shown, in order; `None` before the first reply.
    pub(super) fn seen(&self) -> Option<Vec<K>> {
        self.has_replied.then(|| self.keys.keys().cloned().collect())
    }

    /// Days begin at these instants.
    pub(super) fn note_midnights(&mut self, starts: impl Iterator<Item = Timestamp>) {
        for start in starts {
            let midnight = start.since(start.floor(DAY));
            if self.midnights.len() < Self::MOST_MIDNIGHTS && !self.midnights.contains(&midnight) {
                self.midnights.insert(midnight);
            }
        }
    }

    /// How long after UTC's midnight days have begun, each once.
    pub(super) fn midnights(&self) -> &BTreeSet<Duration> {
        &self.midnights
    }

    /// A key is asked for alone.
    pub(super) fn note_asked(&mut self, key: &K) {
        if self.asked_alone.len() < 2 {
            self.asked_alone.insert(key.clone());
        }
    }

    /// Whether no other key was ever asked for alone.
    pub(super) fn is_the_only_one_asked(&self, key: Option<&K>) -> bool {
        self.asked_alone.iter().all(|asked| Some(asked) == key)
    }

    /// Takes in what a reply to a question for `asked`, or for `None` for the whole, shows; answers whether that has ever
    /// shown a row, as far as it is remembered.
    pub(super) fn learn<'a>(&mut self, asked: Option<&K>, keys: impl Iterator<Item = &'a K>, sent_at: Timestamp) -> bool
    where
        K: 'a,
    {
        self.has_replied = true;
        self.is_surveyed |= asked.is_none();
        self.latest = self.latest.max(Some(sent_at));
        for key in keys {
            match self.keys.get_mut(key) {
                Some(shown_at) => *shown_at = sent_at.max(*shown_at),
                None => drop(self.keys.insert(key.clone(), sent_at)),
            }
        }
        self.forget();
        asked.map_or(!self.keys.is_empty(), |key| self.keys.contains_key(key))
    }

    /// Time passes with replies: while nobody asks, nothing is forgotten.
    fn forget(&mut self) {
        let Some(oldest) = self.latest.map(|latest| latest - Self::REMEMBERED) else { return };
        self.keys.retain(|_, shown_at| *shown_at >= oldest);
        let surplus = self.keys.len().saturating_sub(Self::MOST_REMEMBERED);
        let Some(nth) = surplus.checked_sub(1) else { return };
        let mut times: Vec<Timestamp> = self.keys.values().copied().collect();
        let (before, &mut last_to_go, _) = times.select_nth_unstable(nth);
        // Those of one reply are of one moment: only so many of them go.
        let mut of_that_moment = surplus - before.iter().filter(|at| **at < last_to_go).count();
        self.keys.retain(|_, shown_at| {
            let goes = *shown_at < last_to_go || (*shown_at == last_to_go && of_that_moment > 0);
            of_that_moment -= usize::from(goes && *shown_at == last_to_go);
            !goes
        });
    }
}
