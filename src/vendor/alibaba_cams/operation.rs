//! `GetChatappPhoneNumberMetric` and `EnableWhatsappROIMetric` as typed operations: whose numbers, over which span, and
//! how a reply is cut into slices.
//!
//! Slices are UTC days: a grid for storage that says nothing about where the vendor's buckets begin. A row belongs to
//! the day that holds its `start`; no edge of a bucket is ever computed.

use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::FACTS;
use crate::domain::time::{DAY, HOUR};
use crate::domain::{
    Account, CallError, ChannelId, Cut, Facts, Finality, Keep, MessageCount, Operation, PhoneNumber, Slice, Subject,
    Timestamp, Window,
};

/// The step of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Granularity {
    /// Days of the account's own time zone, which nobody tells us.
    Daily,
    /// Half hours.
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

    /// The usual length of a bucket.
    #[must_use]
    pub const fn step(self) -> Duration {
        match self {
            Self::Daily => DAY,
            Self::HalfHour => Duration::from_mins(30),
        }
    }

    /// The longest bucket there can be: a day on which clocks go back has 25 hours.
    #[must_use]
    pub const fn longest(self) -> Duration {
        match self {
            Self::Daily => Duration::from_hours(25),
            Self::HalfHour => Duration::from_mins(30),
        }
    }

    /// How much more is asked for on both sides of a wanted span: more than one bucket, so that every bucket that
    /// begins in the span is in the reply, whether the vendor selects buckets by start, by overlap or by containment.
    #[must_use]
    pub const fn padding(self) -> Duration {
        match self {
            Self::Daily => Duration::from_hours(26),
            Self::HalfHour => HOUR,
        }
    }
}

/// Whose numbers: a channel's, or those of one of its phones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct MetricSubject {
    /// The account that serves the channel.
    pub account: Account,
    /// The channel; `None` for the only one of an account without named channels.
    pub channel: Option<ChannelId>,
    /// The step of the series.
    pub granularity: Granularity,
    /// One phone; `None` for all of the channel.
    pub phone: Option<PhoneNumber>,
}

impl Subject for MetricSubject {
    fn account(&self) -> &Account {
        &self.account
    }

    fn text(&self) -> String {
        let Self { account: _, channel, granularity, phone } = self;
        let phone = phone.as_ref().map(PhoneNumber::expose);
        serde_json::json!([channel.as_ref().map(ChannelId::as_str), granularity.as_str(), phone]).to_string()
    }

    fn whole(&self) -> Option<Self> {
        self.phone.is_some().then(|| Self { phone: None, ..self.clone() })
    }
}

/// The messages of one phone in one bucket, with the vendor's own edges.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PhoneNumberPoint {
    /// The phone that sent.
    #[serde(with = "whole")]
    pub phone: PhoneNumber,
    /// The bucket's first instant.
    pub start: Timestamp,
    /// The first instant after the bucket.
    pub end: Timestamp,
    /// Messages sent.
    pub sent: MessageCount,
    /// Messages delivered; the vendor does not say whether in this bucket or of this bucket's messages.
    pub delivered: MessageCount,
    /// Whether the vendor may still change the counts.
    pub finality: Finality,
}

/// A phone number for other replicas, all digits. Elsewhere it has no form that can be written by accident.
mod whole {
    use serde::de::Error;
    use serde::{Deserialize, Deserializer, Serializer};

    use crate::domain::PhoneNumber;

    pub(super) fn serialize<S: Serializer>(phone: &PhoneNumber, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.serialize_str(phone.expose())
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<PhoneNumber, D::Error> {
        PhoneNumber::parse(&String::deserialize(deserializer)?).ok_or_else(|| D::Error::custom("not a phone number"))
    }
}

/// A checked row of a reply. Comes ordered by phone, then start.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct MetricRow {
    pub(super) phone: PhoneNumber,
    pub(super) start: Timestamp,
    pub(super) end: Timestamp,
    pub(super) sent: MessageCount,
    pub(super) delivered: MessageCount,
}

/// Asks the vendor to begin collecting a channel's metrics. Nothing from before is collected, and the first data come
/// a day later at the earliest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnableWhatsappRoi {
    /// The channel; `None` for the only one of an account without named channels.
    pub channel: Option<ChannelId>,
    /// The verification code of an independent software vendor; `None` for the configured one.
    pub isv_code: Option<String>,
}

/// The vendor has agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatsappRoiEnabled {
    /// The vendor's id of the request.
    pub request_id: String,
}

/// `GetChatappPhoneNumberMetric`, with what its replies have taught so far. One for all accounts, shared with their
/// clients.
pub struct PhoneNumberMetrics {
    settle: Duration,
    lore: Mutex<Lore>,
}

/// What replies have taught.
#[derive(Default)]
struct Lore {
    channels: HashMap<(Account, Option<ChannelId>), ChannelLore>,
    /// Accounts whose endpoint refuses an `End` in the future.
    end_at_now: HashSet<Account>,
}

#[derive(Default)]
struct ChannelLore {
    /// Phones that have shown a row, and when the last reply that did was asked for.
    phones: BTreeMap<PhoneNumber, Timestamp>,
    /// When the latest of all replies was asked for.
    latest: Option<Timestamp>,
    /// Whether any reply has come.
    has_replied: bool,
    /// Whether a reply for the whole channel has come, so that `phones` is likely all of them.
    is_surveyed: bool,
    /// Phones that were asked for alone: the first two, which is enough to know that there are several.
    asked_alone: BTreeSet<PhoneNumber>,
}

impl ChannelLore {
    /// A channel that was never asked as a whole is taken for one with this many phones.
    const ASSUMED_PHONES: usize = 20;
    /// No more are expected, whatever a reply has shown: half hours of two days fit into one call then.
    const MOST_EXPECTED: usize = 1_000;
    /// No more are remembered; those that have not shown for the longest time go first.
    const MOST_REMEMBERED: usize = 10_000;
    /// A phone that no reply has shown for so long is forgotten.
    const REMEMBERED: Duration = DAY.saturating_mul(31);

    fn expected_phones(&self) -> usize {
        self.phones.len().clamp(if self.is_surveyed { 1 } else { Self::ASSUMED_PHONES }, Self::MOST_EXPECTED)
    }

    /// Time passes with replies: while nobody asks, nothing is forgotten.
    fn forget(&mut self) {
        let Some(oldest) = self.latest.map(|latest| latest - Self::REMEMBERED) else { return };
        self.phones.retain(|_, shown_at| *shown_at >= oldest);
        let surplus = self.phones.len().saturating_sub(Self::MOST_REMEMBERED);
        let Some(nth) = surplus.checked_sub(1) else { return };
        let mut times: Vec<Timestamp> = self.phones.values().copied().collect();
        let (before, &mut last_to_go, _) = times.select_nth_unstable(nth);
        // Those of one reply are of one moment: only so many of them go.
        let mut of_that_moment = surplus - before.iter().filter(|at| **at < last_to_go).count();
        self.phones.retain(|_, shown_at| {
            let goes = *shown_at < last_to_go || (*shown_at == last_to_go && of_that_moment > 0);
            of_that_moment -= usize::from(goes && *shown_at == last_to_go);
            !goes
        });
    }

    /// Whether `phone`, or for `None` any phone of the channel, has shown a row.
    fn has_shown(&self, phone: Option<&PhoneNumber>) -> bool {
        phone.map_or(!self.phones.is_empty(), |phone| self.phones.contains_key(phone))
    }
}

impl PhoneNumberMetrics {
    /// `settle` is how long after a bucket's end the vendor may still change it.
    #[must_use]
    pub fn new(settle: Duration) -> Self {
        Self { settle, lore: Mutex::default() }
    }

    /// The phones that replies for the subject's channel have shown, in order; `None` before the first reply.
    #[must_use]
    pub fn seen_phones(&self, of: &MetricSubject) -> Option<Vec<PhoneNumber>> {
        let lore = self.lore();
        let channel = lore.channels.get(&channel_of(of)).filter(|channel| channel.has_replied)?;
        Some(channel.phones.keys().cloned().collect())
    }

    /// What goes on the wire for a wanted span: padded on both sides, and cut off at `now` where the vendor is known to
    /// refuse a future end. `None` where nothing is left: all of it lies in the future.
    pub(super) fn span_on_wire(&self, call: &Slice<MetricSubject>, now: Timestamp) -> Option<Window> {
        let padded = call.window.padded(call.subject.granularity.padding());
        let end =
            if self.lore().end_at_now.contains(&call.subject.account) { padded.end().min(now) } else { padded.end() };
        Window::new(padded.start(), end)
    }

    /// Remembers that the vendor refuses an `End` in the future.
    pub(super) fn learn_end_at_now(&self, account: &Account) {
        self.lore().end_at_now.insert(account.clone());
    }

    /// Remembers that a phone is asked for alone.
    pub(super) fn note_asked(&self, subject: &MetricSubject) {
        let Some(phone) = &subject.phone else { return };
        let mut lore = self.lore();
        let asked = &mut lore.channels.entry(channel_of(subject)).or_default().asked_alone;
        if asked.len() < 2 {
            asked.insert(phone.clone());
        }
    }

    /// Takes in what a reply shows; answers whether the subject has ever shown a row, as far as it is remembered.
    fn learn<'a>(
        &self,
        subject: &MetricSubject,
        phones: impl Iterator<Item = &'a PhoneNumber>,
        sent_at: Timestamp,
    ) -> bool {
        let mut lore = self.lore();
        let channel = lore.channels.entry(channel_of(subject)).or_default();
        channel.has_replied = true;
        channel.is_surveyed |= subject.phone.is_none();
        channel.latest = channel.latest.max(Some(sent_at));
        for phone in phones {
            match channel.phones.get_mut(phone) {
                Some(shown_at) => *shown_at = sent_at.max(*shown_at),
                None => drop(channel.phones.insert(phone.clone(), sent_at)),
            }
        }
        channel.forget();
        channel.has_shown(subject.phone.as_ref())
    }

    fn lore(&self) -> MutexGuard<'_, Lore> {
        // Every change is whole before the lock is let go, so that a panic elsewhere leaves nothing half done.
        self.lore.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Operation for PhoneNumberMetrics {
    type Subject = MetricSubject;
    type Data = Vec<PhoneNumberPoint>;
    /// `None` is a reply without a list of rows: believed to mean none, for a while.
    type Answer = Option<Vec<MetricRow>>;

    fn facts(&self) -> &'static Facts {
        &FACTS
    }

    fn settle(&self) -> Duration {
        self.settle
    }

    /// Rows are final `longest` after their start and the settle time; a slice holds those that start in it.
    fn final_from(&self, slice: &Slice<MetricSubject>) -> (Timestamp, Timestamp) {
        let after = slice.subject.granularity.longest() + self.settle;
        (slice.window.start() + after, slice.window.end() + after)
    }

    fn sent_span(&self, call: &Slice<MetricSubject>, at: Timestamp) -> Window {
        self.span_on_wire(call, at).unwrap_or(call.window)
    }

    fn grid(&self) -> Option<Duration> {
        Some(DAY)
    }

    /// Phones times buckets, as if every phone had sent in every bucket of the padded span.
    fn expected_rows(&self, call: &Slice<MetricSubject>) -> u64 {
        let MetricSubject { granularity, phone, .. } = &call.subject;
        let phones = match phone {
            Some(_) => 1,
            None => self
                .lore()
                .channels
                .get(&channel_of(&call.subject))
                .map_or(ChannelLore::ASSUMED_PHONES, ChannelLore::expected_phones),
        };
        let span = call.window.padded(granularity.padding()).length().as_secs();
        span.div_ceil(granularity.step().as_secs()).saturating_mul(phones as u64)
    }

    /// One phone is asked for alone while it is the only one ever asked for alone. From the second on the whole channel
    /// is asked, which answers for every phone: calls are scarce, bytes are not.
    fn joint_subject(&self, subjects: &[&MetricSubject]) -> MetricSubject {
        let first = subjects[0];
        let Some(whole) = first.whole() else { return first.clone() };
        let is_the_only_one = subjects.iter().all(|subject| *subject == first)
            && self
                .lore()
                .channels
                .get(&channel_of(first))
                .is_none_or(|channel| channel.asked_alone.iter().all(|phone| Some(phone) == first.phone.as_ref()));
        if is_the_only_one { first.clone() } else { whole }
    }

    /// The vendor documents no lookback: whatever it still has, it may be asked for.
    fn check_retention(&self, _call: &Slice<MetricSubject>, _at: Timestamp) -> Result<(), CallError> {
        Ok(())
    }

    fn learn_from(&self, slice: &Slice<MetricSubject>, data: &Vec<PhoneNumberPoint>, sent_at: Timestamp) {
        self.learn(&slice.subject, data.iter().map(|point| &point.phone), sent_at);
    }

    /// One slice for each UTC day that the call covers as a whole; rows of the padding are thrown away. A slice that
    /// would be settled but is empty is settled only if the channel (or the phone, if one was asked for) has ever shown
    /// a row, data may begin a day after collecting was enabled, and if the reply held a list at all.
    fn cut(&self, call: &Slice<MetricSubject>, answer: Self::Answer, sent_at: Timestamp) -> Vec<Cut<Self::Data>> {
        let longest = call.subject.granularity.longest();
        let (has_list, answer) = (answer.is_some(), answer.unwrap_or_default());
        let has_shown = self.learn(&call.subject, answer.iter().map(|row| &row.phone), sent_at);
        let mut by_day: HashMap<Timestamp, Vec<PhoneNumberPoint>> = HashMap::new();
        for row in answer {
            let is_final = sent_at >= row.end.max(row.start + longest) + self.settle;
            by_day.entry(row.start.floor(DAY)).or_default().push(PhoneNumberPoint {
                phone: row.phone,
                start: row.start,
                end: row.end,
                sent: row.sent,
                delivered: row.delivered,
                finality: if is_final { Finality::Final } else { Finality::Provisional },
            });
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
            Cut { window: day, bytes: weight(&data), data, keep, is_empty }
        };
        call.window.cells(DAY).filter(|day| call.window.covers(*day)).map(cut_day).collect()
    }
}

/// What lore is kept by: one channel, whatever the granularity and the phone.
fn channel_of(subject: &MetricSubject) -> (Account, Option<ChannelId>) {
    (subject.account.clone(), subject.channel.clone())
}

/// Bytes in memory. The phones of one reply share their text.
fn weight(points: &[PhoneNumberPoint]) -> u32 {
    let bytes = size_of::<Vec<PhoneNumberPoint>>() + size_of_val(points);
    u32::try_from(bytes).unwrap_or(u32::MAX)
}

#[cfg(test)]
mod tests;
