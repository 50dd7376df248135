//! What is wanted together: the gaps of one group, who waits for each, and the places it holds in the queue.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use tokio::time::Instant;

use super::plan::Wanted;
use super::subscriber::{Pending, Subscriber, Subscribers};
use crate::domain::{Caller, Class, Slice, Subject, Window};

/// Windows by the subject under which they are waited for.
pub(super) type Brought<S> = Vec<(S, Vec<Window>)>;

/// A slice that is waited for, or that a call in flight will bring.
#[derive(Debug)]
pub(super) struct Gap<D> {
    /// The order in which gaps came to be.
    pub(super) rank: u64,
    /// The first `on_time` of them joined before the last attempt was sent.
    pub(super) subscribers: Vec<Subscribers<D>>,
    pub(super) on_time: usize,
    pub(super) is_out: bool,
    /// In which class it is planned while it waits.
    class: Class,
    /// Where the call that is out waits for the permit of another attempt, or has waited.
    pub(super) place: Option<(u64, Class)>,
}

impl<D> Gap<D> {
    pub(super) fn new(rank: u64, is_out: bool) -> Self {
        Self { rank, subscribers: Vec::new(), on_time: 0, is_out, class: Class::Background, place: None }
    }

    pub(super) fn join(&mut self, subscriber: &Arc<Subscriber>) -> Pending<D> {
        if self.subscribers.len() == self.on_time {
            self.subscribers.push(Subscribers::new(self.is_out));
        }
        let last = self.subscribers.len() - 1;
        self.subscribers[last].join(subscriber)
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

/// The gaps that are planned together.
#[derive(Debug)]
pub(super) struct Group<S, D> {
    gaps: HashMap<S, BTreeMap<Window, Gap<D>>>,
    /// The gaps that wait, each in its class.
    pub(super) wanted: Wanted<S>,
    /// Its places in the limiter's queue, with the class of each.
    pub(super) places: Vec<(u64, Class)>,
    /// How many of its calls have taken off and not landed.
    pub(super) out: usize,
    pub(super) is_gathering: bool,
}

impl<S: Subject, D> Group<S, D> {
    pub(super) fn gap(&self, subject: &S, window: Window) -> Option<&Gap<D>> {
        self.gaps.get(subject)?.get(&window)
    }

    pub(super) fn gap_mut(&mut self, subject: &S, window: Window) -> Option<&mut Gap<D>> {
        self.gaps.get_mut(subject)?.get_mut(&window)
    }

    pub(super) fn insert(&mut self, subject: &S, window: Window, gap: Gap<D>) {
        if !self.gaps.contains_key(subject) {
            self.gaps.insert(subject.clone(), BTreeMap::new());
        }
        if let Some(own) = self.gaps.get_mut(subject) {
            own.insert(window, gap);
        }
    }

    pub(super) fn remove(&mut self, subject: &S, window: Window) -> Option<Gap<D>> {
        let own = self.gaps.get_mut(subject)?;
        let gap = own.remove(&window);
        if own.is_empty() {
            self.gaps.remove(subject);
        }
        gap
    }

    /// Lets a new gap wait for a call.
    pub(super) fn begin_waiting(&mut self, subject: &S, window: Window, mut gap: Gap<D>, class: Class) {
        gap.class = class;
        self.wanted.add(subject, window, class);
        self.insert(subject, window, gap);
    }

    /// Plans a gap that waits in the highest class of those who are still there, and forgets it if nobody is; whether
    /// that changed anything.
    pub(super) fn review(&mut self, subject: &S, window: Window, now: Instant) -> bool {
        let Some(gap) = self.gaps.get_mut(subject).and_then(|own| own.get_mut(&window)) else { return false };
        let before = gap.class;
        match gap.present(now).map(|(one, _)| one.ask.class).min() {
            _ if gap.is_out => return false,
            Some(class) if class == before => return false,
            Some(class) => {
                gap.class = class;
                self.wanted.add(subject, window, class);
            }
            None => drop(self.remove(subject, window)),
        }
        self.wanted.take(subject, window, before);
        true
    }

    /// The gaps that wait and that `call` would bring; `whole` is the group's own subject, which answers for all.
    pub(super) fn waiting_for(&self, call: &Slice<S>, whole: &S) -> Brought<S> {
        let waiting = |(subject, own): (&S, &BTreeMap<Window, Gap<D>>)| {
            let begun = own.range(first_at(call.window)..).take_while(|(window, _)| call.window.covers(**window));
            let waiting: Vec<_> = begun.filter(|(_, gap)| !gap.is_out).map(|(window, _)| *window).collect();
            (!waiting.is_empty()).then(|| (subject.clone(), waiting))
        };
        if call.subject == *whole {
            return self.gaps.iter().filter_map(waiting).collect();
        }
        self.gaps.get_key_value(&call.subject).and_then(waiting).into_iter().collect()
    }

    /// The gaps wait no more: the call that brings them is out.
    pub(super) fn take_off(&mut self, brought: &Brought<S>) {
        for (subject, windows) in brought {
            let Some(own) = self.gaps.get_mut(subject) else { continue };
            for window in windows {
                let Some(gap) = own.get_mut(window) else { continue };
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

    pub(super) fn gaps_of<'a>(&'a self, brought: &'a Brought<S>) -> impl Iterator<Item = &'a Gap<D>> {
        let of_subject = |(subject, windows): &'a (S, Vec<Window>)| Some((self.gaps.get(subject)?, windows));
        brought.iter().filter_map(of_subject).flat_map(|(own, windows)| windows.iter().filter_map(|at| own.get(at)))
    }

    pub(super) fn gaps_of_mut(&mut self, brought: &Brought<S>, mut change: impl FnMut(&mut Gap<D>)) {
        for (subject, windows) in brought {
            let Some(own) = self.gaps.get_mut(subject) else { continue };
            for window in windows {
                own.get_mut(window).into_iter().for_each(&mut change);
            }
        }
    }

    /// In whose turn a call is queued.
    pub(super) fn caller_of(&self, call: &Slice<S>, whole: &S, now: Instant) -> Caller {
        let of_subject = |own: &BTreeMap<Window, Gap<D>>| {
            let begun = own.range(first_at(call.window)..).take_while(|(window, _)| call.window.covers(**window));
            begun.flat_map(|(_, gap)| gap.present(now)).next().map(|(one, _)| one.ask.caller.clone())
        };
        let caller = if call.subject == *whole {
            self.gaps.values().find_map(of_subject)
        } else {
            self.gaps.get(&call.subject).and_then(of_subject)
        };
        caller.unwrap_or_default()
    }
}

/// No window of those that begin with `span` or later is before this one.
fn first_at(span: Window) -> Window {
    Window::new(span.start(), span.start() + std::time::Duration::from_millis(1)).unwrap_or(span)
}

impl<S, D> Default for Group<S, D> {
    fn default() -> Self {
        Self { gaps: HashMap::new(), wanted: Wanted::default(), places: Vec::new(), out: 0, is_gathering: false }
    }
}
