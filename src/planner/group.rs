//! What is wanted together: the gaps of one group, who waits for each, and the entries it holds in the queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::plan::Wanted;
use super::subscriber::{Pending, Subscriber, Subscribers};
use crate::domain::{Ask, Caller, Class, Slice, Subject, Timestamp, Window};

/// Spans by the subject under which they are waited for.
pub(super) type Brought<S> = Vec<(S, Vec<Window>)>;

/// A run of slices that are waited for alike, or that a call in flight will bring.
#[derive(Debug)]
pub(super) struct Gap<D> {
    pub(super) window: Window,
    /// The order in which gaps came to be.
    pub(super) rank: u64,
    /// The first `on_time` of them joined before the last attempt was sent.
    pub(super) subscribers: Vec<Subscribers<D>>,
    pub(super) on_time: usize,
    pub(super) is_out: bool,
    /// In which class it is planned while it waits.
    class: Class,
    /// Where the call that is out waits for the permit of another attempt, or has waited.
    pub(super) entry: Option<(u64, Class)>,
}

/// The gaps of a subject by their starts; they do not overlap.
type Gaps<D> = BTreeMap<Timestamp, Gap<D>>;

impl<D> Gap<D> {
    pub(super) fn new(window: Window, rank: u64, is_out: bool) -> Self {
        let (subscribers, class) = (Vec::new(), Class::Background);
        Self { window, rank, subscribers, on_time: 0, is_out, class, entry: None }
    }

    pub(super) fn join(&mut self, subscriber: &Arc<Subscriber>) -> Pending<D> {
        if self.subscribers.len() == self.on_time {
            self.subscribers.push(Subscribers::new(self.window, self.is_out));
        }
        let last = self.subscribers.len() - 1;
        self.subscribers[last].join(subscriber)
    }

    /// What of it begins at `at` or later, as a gap of its own.
    fn split_off(&mut self, at: Timestamp) -> Option<Self> {
        let (before, after) = self.window.split_at(at)?;
        self.window = before;
        let subscribers = self.subscribers.iter_mut().map(|own| own.split_off(before, after)).collect();
        Some(Self { window: after, subscribers, ..*self })
    }

    /// Those who still wait, and whether each joined after the last attempt was sent.
    pub(super) fn present(&self, now: Instant) -> impl Iterator<Item = (&Arc<Subscriber>, bool)> {
        let all = self.subscribers.iter().enumerate();
        let all = all.flat_map(|(at, subscribers)| subscribers.members().iter().map(move |one| (one, at)));
        all.filter(move |(one, _)| one.is_present(now)).map(|(one, at)| (one, at >= self.on_time))
    }

    pub(super) fn is_wanted(&self, now: Instant) -> bool {
        self.present(now).next().is_some()
    }
}

/// An entry in the limiter's queue.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Entry {
    pub(super) id: u64,
    pub(super) class: Class,
    /// In whose turns it was to be put last.
    pub(super) caller: Caller,
}

/// The gaps that are planned together.
#[derive(Debug)]
pub(super) struct Group<S, D> {
    gaps: HashMap<S, Gaps<D>>,
    /// The gaps that wait, each in its class.
    pub(super) wanted: Wanted<S>,
    /// Its entries in the limiter's queue.
    pub(super) entries: Vec<Entry>,
    /// How many of its calls have taken off and not landed.
    pub(super) out: usize,
    pub(super) is_gathering: bool,
}

impl<S: Subject, D> Group<S, D> {
    /// The gaps that share a slice with the span, in order of time.
    pub(super) fn gaps_in(&self, subject: &S, span: Window) -> impl Iterator<Item = &Gap<D>> {
        self.gaps.get(subject).into_iter().flat_map(move |own| overlapping(own, span))
    }

    /// Somebody waits for what is queued in the turns of others: where their own turns come sooner, it comes in those.
    pub(super) fn share_turns(&mut self, ask: &Ask) -> impl Iterator<Item = Entry> {
        let others = self.entries.iter_mut().filter(|entry| ask.class <= entry.class && entry.caller != ask.caller);
        others.map(|entry| {
            entry.caller = ask.caller.clone();
            entry.clone()
        })
    }

    /// The gap of exactly this window, which lies in a gap: what else that holds becomes gaps of its own.
    pub(super) fn part_mut(&mut self, subject: &S, window: Window) -> Option<&mut Gap<D>> {
        let own = self.gaps.get_mut(subject)?;
        split(own, window);
        own.get_mut(&window.start())
    }

    pub(super) fn insert(&mut self, subject: &S, gap: Gap<D>) {
        if !self.gaps.contains_key(subject) {
            self.gaps.insert(subject.clone(), Gaps::new());
        }
        if let Some(own) = self.gaps.get_mut(subject) {
            own.insert(gap.window.start(), gap);
        }
    }

    /// Takes out the gaps that lie in the span; none reaches beyond it.
    pub(super) fn remove(&mut self, subject: &S, span: Window) -> Vec<Gap<D>> {
        let Some(own) = self.gaps.get_mut(subject) else { return Vec::new() };
        let gaps = own.extract_if(span.start()..span.end(), |_, _| true).map(|(_, gap)| gap).collect();
        if own.is_empty() {
            self.gaps.remove(subject);
        }
        gaps
    }

    /// Lets a new gap wait for a call.
    pub(super) fn begin_waiting(&mut self, subject: &S, mut gap: Gap<D>, class: Class) {
        gap.class = class;
        self.wanted.add(subject, gap.window, class);
        self.insert(subject, gap);
    }

    /// Plans gaps of the span that wait in the highest class of those who are still there, and forgets those where nobody
    /// is; whether that changed anything.
    pub(super) fn review(&mut self, subject: &S, span: Window, now: Instant) -> bool {
        let waiting: Vec<_> = self.gaps_in(subject, span).filter(|gap| !gap.is_out).map(|gap| gap.window).collect();
        let mut has_changed = false;
        for window in waiting {
            let Some(gap) = self.gaps.get_mut(subject).and_then(|own| own.get_mut(&window.start())) else { continue };
            let before = gap.class;
            match gap.present(now).map(|(one, _)| one.ask.class).min() {
                Some(class) if class == before => continue,
                Some(class) => {
                    gap.class = class;
                    self.wanted.add(subject, window, class);
                }
                None => drop(self.remove(subject, window)),
            }
            self.wanted.take(subject, window, before);
            has_changed = true;
        }
        has_changed
    }

    /// The gaps that wait and that `call` would bring, cut where it begins and ends; `whole` is the group's own subject,
    /// which answers for all.
    pub(super) fn waiting_for(&mut self, call: &Slice<S>, whole: &S) -> Brought<S> {
        let waiting = |(subject, own): (&S, &mut Gaps<D>)| {
            split(own, call.window);
            let waiting: Vec<_> =
                overlapping(own, call.window).filter(|gap| !gap.is_out).map(|gap| gap.window).collect();
            (!waiting.is_empty()).then(|| (subject.clone(), waiting))
        };
        if call.subject == *whole {
            return self.gaps.iter_mut().filter_map(waiting).collect();
        }
        let own = self.gaps.get_mut(&call.subject).map(|own| (&call.subject, own));
        own.and_then(waiting).into_iter().collect()
    }

    /// The gaps wait no more: the call that brings them is out.
    pub(super) fn take_off(&mut self, brought: &Brought<S>) {
        for (subject, windows) in brought {
            let Some(own) = self.gaps.get_mut(subject) else { continue };
            for window in windows {
                let Some(gap) = own.get_mut(&window.start()) else { continue };
                gap.is_out = true;
                gap.on_time = gap.subscribers.len();
                gap.subscribers.iter().for_each(|subscribers| subscribers.note_under_way(true));
                self.wanted.take(subject, *window, gap.class);
            }
        }
    }

    /// Takes out all gaps that wait.
    pub(super) fn drain_waiting(&mut self) -> Vec<Gap<D>> {
        self.wanted = Wanted::default();
        let mut waiting = Vec::new();
        self.gaps.retain(|_, own| {
            waiting.extend(own.extract_if(.., |_, gap| !gap.is_out).map(|(_, gap)| gap));
            !own.is_empty()
        });
        waiting
    }

    /// The first of those who wait for what the call brings.
    pub(super) fn first_of(&self, brought: &Brought<S>, now: Instant) -> Option<Arc<Subscriber>> {
        let gaps = self.gaps_of(brought).filter_map(|gap| Some((gap.rank, gap.present(now).next()?.0)));
        gaps.min_by_key(|(rank, _)| *rank).map(|(_, subscriber)| Arc::clone(subscriber))
    }

    /// What is left of the gaps that a call brings; they may have been cut since.
    pub(super) fn gaps_of<'a>(&'a self, brought: &'a Brought<S>) -> impl Iterator<Item = &'a Gap<D>> {
        let spans = brought.iter().flat_map(|(subject, spans)| spans.iter().map(move |span| (subject, *span)));
        spans.flat_map(|(subject, span)| self.gaps_in(subject, span))
    }

    pub(super) fn gaps_of_mut(&mut self, brought: &Brought<S>, mut change: impl FnMut(&mut Gap<D>)) {
        for (subject, spans) in brought {
            let Some(own) = self.gaps.get_mut(subject) else { continue };
            for span in spans {
                own.range_mut(span.start()..span.end()).for_each(|(_, gap)| change(gap));
            }
        }
    }

    /// In whose turn a call is queued.
    pub(super) fn caller_of(&self, call: &Slice<S>, whole: &S, now: Instant) -> Caller {
        let of_subject = |own: &Gaps<D>| {
            let present = overlapping(own, call.window).flat_map(|gap| gap.present(now)).next();
            present.map(|(one, _)| one.ask.caller.clone())
        };
        let caller = if call.subject == *whole {
            self.gaps.values().find_map(of_subject)
        } else {
            self.gaps.get(&call.subject).and_then(of_subject)
        };
        caller.unwrap_or_default()
    }
}

fn overlapping<D>(own: &Gaps<D>, span: Window) -> impl Iterator<Item = &Gap<D>> {
    let before = own.range(..span.start()).next_back().filter(|(_, gap)| gap.window.overlaps(span));
    before.into_iter().chain(own.range(span.start()..span.end())).map(|(_, gap)| gap)
}

/// Lets gaps begin and end where the span does.
fn split<D>(own: &mut Gaps<D>, span: Window) {
    for at in [span.start(), span.end()] {
        let before = own.range_mut(..at).next_back();
        if let Some(rest) = before.and_then(|(_, gap)| gap.split_off(at)) {
            own.insert(at, rest);
        }
    }
}

impl<S, D> Default for Group<S, D> {
    fn default() -> Self {
        Self { gaps: HashMap::new(), wanted: Wanted::default(), entries: Vec::new(), out: 0, is_gathering: false }
    }
}
