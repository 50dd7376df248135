//! Operations of this vendor that answer counts by buckets: over which span a call asks, and how a reply is cut into slices.
//!
//! Slices are UTC days: a grid for storage that says nothing about where the vendor's buckets begin. A row belongs to
//! the day that holds its `start`; no edge of a bucket is ever computed.

use std::cmp::Ordering;
use std::collections::{HashMap, HashSet};
use std::fmt;
use std::hash::Hash;
use std::marker::PhantomData;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::value::RawValue;

use super::Granularity;
use super::seen::Seen;
use super::wire::{self, Params};
use crate::domain::time::DAY;
use crate::domain::{
    Account, CallError, ChannelId, Cut, Facts, Finality, Keep, Key, Mask, Operation, Point, Slice, Subject, Timestamp,
    Window,
};

/// What tells one such operation from another.
pub trait Counts: Send + Sync + 'static {
    /// Whose numbers.
    type Subject: CountSubject;
    /// A checked row of a reply.
    type Point: Point<Key = <Self::Subject as CountSubject>::Key>
        + fmt::Debug
        + Serialize
        + DeserializeOwned
        + Send
        + Sync
        + 'static;

    /// Names, limits and lateness.
    const FACTS: &'static Facts;
    /// How many keys a subject is taken to have that was never asked for as a whole.
    const ASSUMED_KEYS: usize;

    /// What names the subject on the wire, beside its channel, its step and the span.
    fn params(subject: &Self::Subject) -> Params;

    /// The rows of a successful reply to a question for `asked`, provisional, ordered by key, then start. Equal duplicates
    /// collapse. `None` if the reply holds no list of rows, not even an empty one.
    ///
    /// # Errors
    /// Why the reply makes no sense. The reason repeats nothing of the reply: rows may hold phone numbers.
    fn rows(data: Option<&RawValue>, asked: &Self::Subject) -> Result<Option<Vec<Self::Point>>, &'static str>;

    /// The same point, with another finality.
    fn settle(point: Self::Point, finality: Finality) -> Self::Point;

    /// The same points for a caller who may not read phone numbers, in their new order; `None` where there are none in them.
    fn masked(points: &[Self::Point], mask: &Mask) -> Option<Vec<Self::Point>>;

    /// What a point weighs in memory.
    fn bytes(point: &Self::Point) -> usize;
}

/// A subject of such an operation: one key of a channel (of a template, …), or all of them.
pub trait CountSubject: Subject {
    /// What its points are told apart by.
    type Key: Key + Clone + fmt::Debug + Send + Sync + 'static;
    /// What replies teach about.
    type Whole: Eq + Hash + Send + 'static;

    /// The step of the series.
    fn granularity(&self) -> Granularity;

    /// The channel; `None` for the only one of an account without named channels.
    fn channel(&self) -> Option<&ChannelId>;

    /// One key; `None` for all of them.
    fn key(&self) -> Option<&Self::Key>;

    /// What replies teach about, whatever the step and the key.
    fn learned_by(&self) -> Self::Whole;
}

/// One such operation, with what its replies have taught so far. One for all accounts, shared with their clients.
pub struct Series<C: Counts> {
    settle: Duration,
    learned: Mutex<Learned<C>>,
    counts: PhantomData<C>,
}

/// What replies have taught.
struct Learned<C: Counts> {
    of: HashMap<<C::Subject as CountSubject>::Whole, Seen<<C::Subject as CountSubject>::Key>>,
    /// Accounts whose endpoint refuses an `End` in the future.
    end_at_now: HashSet<Account>,
}

impl<C: Counts> Series<C> {
    /// `settle` is how long after a bucket's end the vendor may still change it.
    #[must_use]
    pub fn new(settle: Duration) -> Self {
        let learned = Learned { of: HashMap::new(), end_at_now: HashSet::new() };
        Self { settle, learned: Mutex::new(learned), counts: PhantomData }
    }

    /// The keys that replies for the subject as a whole have shown, in order; `None` before the first reply.
    #[must_use]
    pub fn seen(&self, of: &C::Subject) -> Option<Vec<<C::Subject as CountSubject>::Key>> {
        self.learned().of.get(&of.learned_by())?.seen()
    }

    /// How long after UTC's midnight the days of the subject as a whole have begun, as far as replies have shown.
    #[must_use]
    pub fn midnights(&self, of: &C::Subject) -> Vec<Duration> {
        let learned = self.learned();
        learned.of.get(&of.learned_by()).map(|seen| seen.midnights().iter().copied().collect()).unwrap_or_default()
    }

    /// What goes on the wire for a wanted span: padded on both sides, and cut off at `now` where the vendor is known to
    /// refuse a future end. `None` where nothing is left: all of it lies in the future.
    pub(super) fn span_on_wire(&self, call: &Slice<C::Subject>, now: Timestamp) -> Option<Window> {
        let padded = call.window.padded(call.subject.granularity().padding());
        let is_cut_off = self.learned().end_at_now.contains(call.subject.account());
        let end = if is_cut_off { padded.end().min(now) } else { padded.end() };
        Window::new(padded.start(), end)
    }

    /// Remembers that the vendor refuses an `End` in the future.
    pub(super) fn learn_end_at_now(&self, account: &Account) {
        self.learned().end_at_now.insert(account.clone());
    }

    /// Remembers that a key is asked for alone.
    pub(super) fn note_asked(&self, subject: &C::Subject) {
        if let Some(key) = subject.key() {
            self.learned().of.entry(subject.learned_by()).or_default().note_asked(key);
        }
    }

    /// Takes in what a reply shows; answers whether the subject has ever shown a row, as far as it is remembered.
    fn learn(&self, subject: &C::Subject, points: &[C::Point], sent_at: Timestamp) -> bool {
        let mut learned = self.learned();
        let seen = learned.of.entry(subject.learned_by()).or_default();
        if subject.granularity() == Granularity::Daily {
            seen.note_midnights(points.iter().map(Point::start));
        }
        let points = points.iter();
        seen.learn(subject.key(), points.map(Point::key), sent_at)
    }

    fn learned(&self) -> MutexGuard<'_, Learned<C>> {
        // Every change is whole before the lock is let go, so that a panic elsewhere leaves nothing half done.
        self.learned.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// What to ask for a subject over the span as it goes on the wire.
pub(super) fn params<C: Counts>(subject: &C::Subject, span: Window, isv_code: Option<&str>) -> Params {
    let mut params = wire::channel_params(subject.channel(), isv_code);
    params.push(("Granularity", subject.granularity().as_str().to_owned()));
    params.push(("Start", span.start().as_ms().to_string()));
    params.push(("End", span.end().as_ms().to_string()));
    params.extend(C::params(subject));
    params
}

impl<C: Counts> Operation for Series<C> {
    type Subject = C::Subject;
    type Data = Vec<C::Point>;
    /// `None` is a reply without a list of rows: believed to mean none, for a while.
    type Answer = Option<Vec<C::Point>>;

    fn facts(&self) -> &'static Facts {
        C::FACTS
    }

    fn masked(&self, data: &Vec<C::Point>, mask: &Mask) -> Option<Vec<C::Point>> {
        C::masked(data, mask)
    }

    fn settle(&self) -> Duration {
        self.settle
    }

    /// Rows are final `longest` after their start and the settle time; a slice holds those that start in it.
    fn final_from(&self, slice: &Slice<C::Subject>) -> (Timestamp, Timestamp) {
        let after = slice.subject.granularity().longest() + self.settle;
        (slice.window.start() + after, slice.window.end() + after)
    }

    fn sent_span(&self, call: &Slice<C::Subject>, at: Timestamp) -> Window {
        self.span_on_wire(call, at).unwrap_or(call.window)
    }

    fn grid(&self) -> Option<Duration> {
        Some(DAY)
    }

    /// Keys times buckets, as if every key had a row in every bucket of the padded span.
    fn expected_rows(&self, call: &Slice<C::Subject>) -> u64 {
        let (subject, granularity) = (&call.subject, call.subject.granularity());
        let keys = match subject.key() {
            Some(_) => 1,
            None => self
                .learned()
                .of
                .get(&subject.learned_by())
                .map_or(C::ASSUMED_KEYS, |seen| seen.expected(C::ASSUMED_KEYS)),
        };
        let span = call.window.padded(granularity.padding()).length().as_secs();
        span.div_ceil(granularity.step().as_secs()).saturating_mul(keys as u64)
    }

    /// One key is asked for alone while it is the only one ever asked for alone. From the second on the whole is asked,
    /// which answers for every key: calls are scarce, bytes are not.
    fn joint_subject(&self, subjects: &[&C::Subject]) -> C::Subject {
        let first = subjects[0];
        let Some(whole) = first.whole() else { return first.clone() };
        let is_the_only_one = subjects.iter().all(|subject| *subject == first)
            && self.learned().of.get(&first.learned_by()).is_none_or(|seen| seen.is_the_only_one_asked(first.key()));
        if is_the_only_one { first.clone() } else { whole }
    }

    /// The vendor documents no lookback: whatever it still has, it may be asked for.
    fn check_retention(&self, _call: &Slice<C::Subject>, _at: Timestamp) -> Result<(), CallError> {
        Ok(())
    }

    fn rows_told(&self, slice: &Slice<C::Subject>, data: &Vec<C::Point>) -> Option<usize> {
        let (subject, longest) = (&slice.subject, slice.subject.granularity().longest());
        let is_own = |point: &C::Point| {
            slice.window.contains(point.start())
                && point.start() < point.end()
                && point.end().since(point.start()) <= longest
                && subject.key().is_none_or(|key| key == point.key())
        };
        let in_order = |one: &C::Point, next: &C::Point| match one.key().cmp(next.key()) {
            Ordering::Equal => one.end() <= next.start(),
            order => order.is_lt(),
        };
        (data.iter().all(is_own) && data.is_sorted_by(in_order)).then_some(data.len())
    }

    fn learn_from(&self, slice: &Slice<C::Subject>, data: &Vec<C::Point>, sent_at: Timestamp) {
        self.learn(&slice.subject, data, sent_at);
    }

    /// One slice for each UTC day that the call covers as a whole; rows of the padding are thrown away. A slice that
    /// would be settled but is empty is settled only if the whole (or the key, if one was asked for) has ever shown
    /// a row, data may begin a day after collecting was enabled, and if the reply held a list at all.
    fn cut(&self, call: &Slice<C::Subject>, answer: Self::Answer, sent_at: Timestamp) -> Vec<Cut<Self::Data>> {
        let longest = call.subject.granularity().longest();
        let (has_list, answer) = (answer.is_some(), answer.unwrap_or_default());
        let has_shown = self.learn(&call.subject, &answer, sent_at);
        let mut by_day: HashMap<Timestamp, Vec<C::Point>> = HashMap::new();
        for point in answer {
            let is_final = sent_at >= point.end().max(point.start() + longest) + self.settle;
            let finality = if is_final { Finality::Final } else { Finality::Provisional };
            by_day.entry(point.start().floor(DAY)).or_default().push(C::settle(point, finality));
        }
        let cut_day = |day: Window| {
            let mut data = by_day.remove(&day.start()).unwrap_or_default();
            data.shrink_to_fit();
            let is_empty = data.is_empty();
            let keep = if is_empty && !(has_list && has_shown) {
                Keep::Unproven
            } else if sent_at < day.end() + longest + self.settle {
                Keep::Provisional
            } else {
                Keep::Settled
            };
            let bytes = size_of::<Self::Data>() + data.iter().map(C::bytes).sum::<usize>();
            Cut { window: day, bytes: u32::try_from(bytes).unwrap_or(u32::MAX), data, keep, is_empty }
        };
        call.window.cells(DAY).filter(|day| call.window.covers(*day)).map(cut_day).collect()
    }
}

impl<C: Counts> fmt::Debug for Series<C> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct(C::FACTS.operation).field("settle", &self.settle).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests;
