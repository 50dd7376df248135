//! What gathers, what is planned and what has taken off: a pure state machine. It is told what happens and when, and
//! returns what is to be done.
//!
//! An entry in the limiter's queue is not tied to a call. While a group waits, every new gap of the group is planned
//! together with those still waiting, and the number of queued entries follows the number of planned calls; when an entry
//! gets its permit, the first call of the plan *as it is then* takes off. While a call of the group is out and none is
//! queued, new gaps gather until it ends, a moment at most. Groups never wait for one another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::time::Instant;

use super::group::{Brought, Entry, Gap, Group};
use super::plan::{Wanted, calls, group_of};
use super::subscriber::{Outcome, Subscriber};
use super::{Found, GroupKey, Landed, Parts, Pending};
use crate::domain::{Ask, Caller, Class, Operation, Slice, Subject, Window};
use crate::error::WeirError;

/// What waits and what is out, of one (account, operation).
pub(super) struct State<O: Operation> {
    operation: Arc<O>,
    max_rows: u64,
    groups: Groups<O::Subject, O::Data>,
    /// Runs whose subscribers have left, and that nobody has looked at since.
    left: Vec<Slice<O::Subject>>,
    next_rank: u64,
}

/// What is to be done, in this order and before the state is told anything else.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Action<S> {
    /// Join the queue for a call of the group; the state is told the entry's number by [`State::note_entry`].
    Enqueue(GroupKey<S>, Class, Caller),
    /// Give an entry up.
    Cancel(u64),
    /// Move an entry to a higher class, or into the turns of another caller, where those come sooner.
    Lift(Entry),
    /// Come back to the group when it has gathered for long enough.
    Gather(GroupKey<S>),
}

/// Where slices are found that somebody wants.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Whereabouts<S> {
    /// A call that is out brings them, under this subject.
    Out(S),
    /// They wait for a call, under this subject.
    Queued(S),
    /// Nobody waits for them and nothing brings them.
    Nowhere,
}

/// A call that takes off.
#[derive(Debug)]
pub(super) struct Departure<S> {
    pub(super) call: Slice<S>,
    pub(super) brought: Brought<S>,
    /// Whom its attempts are counted for.
    pub(super) owner: Option<Arc<Subscriber>>,
}

type Actions<S> = Vec<Action<S>>;
type Groups<S, D> = HashMap<GroupKey<S>, Group<S, D>>;

/// Locks a state. Whoever panicked with it left whole changes behind.
pub(super) fn lock<O: Operation>(state: &Mutex<State<O>>) -> MutexGuard<'_, State<O>> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

impl<O: Operation> State<O> {
    pub(super) fn new(operation: Arc<O>, max_rows: u64) -> Self {
        Self { operation, max_rows, groups: HashMap::new(), left: Vec::new(), next_rank: 0 }
    }

    pub(super) fn key_of(&self, slice: &Slice<O::Subject>) -> GroupKey<O::Subject> {
        group_of(&*self.operation, slice)
    }

    /// How many slices a span has.
    pub(super) fn n_slices(&self, span: Window) -> usize {
        usize::try_from(span.n_cells_of(self.operation.grid())).unwrap_or(usize::MAX)
    }

    /// Where the parts of a run are, in order of time, each by itself or as part of its whole: what submitting it then
    /// goes by, and what a draft of it does.
    pub(super) fn whereabouts(
        &self,
        key: &GroupKey<O::Subject>,
        run: &Slice<O::Subject>,
    ) -> Vec<(Window, Whereabouts<O::Subject>)> {
        let Some(group) = self.groups.get(key) else { return vec![(run.window, Whereabouts::Nowhere)] };
        let known = |subject: &O::Subject, span: Window| {
            let whereabouts = |gap: &Gap<_>| {
                if gap.is_out { Whereabouts::Out(subject.clone()) } else { Whereabouts::Queued(subject.clone()) }
            };
            span.laid_out(group.gaps_in(subject, span).map(|gap| (gap.window, whereabouts(gap))))
        };
        let mut parts = Vec::new();
        for (span, of_whole) in known(&key.0, run.window) {
            if let Some(whereabouts) = of_whole {
                parts.push((span, whereabouts));
            } else {
                let own = known(&run.subject, span).into_iter();
                parts.extend(own.map(|(span, own)| (span, own.unwrap_or(Whereabouts::Nowhere))));
            }
        }
        parts
    }

    /// Lets each subscriber wait for its run; answers in their order, each with all its parts in order of time. `fresh`
    /// looks up what nobody waits for.
    pub(super) fn submit(
        &mut self,
        wanted: &[(&Slice<O::Subject>, &Arc<Subscriber>)],
        fresh: impl Fn(&Slice<O::Subject>, &Ask) -> Option<Landed<O::Data>>,
        now: Instant,
    ) -> (Vec<Parts<O::Data>>, Actions<O::Subject>) {
        let (mut found, mut actions) = (Vec::with_capacity(wanted.len()), Vec::new());
        let mut touched = Touched::default();
        for (run, subscriber) in wanted {
            let key = self.key_of(run);
            let mut parts = Vec::new();
            for (window, whereabouts) in self.whereabouts(&key, run) {
                let part = |subject: &O::Subject, window| Slice { subject: subject.clone(), window };
                match whereabouts {
                    Whereabouts::Out(subject) => {
                        let pending = self.join_out(&key, &part(&subject, window), subscriber, &mut actions);
                        parts.extend(pending.map(Found::Pending));
                    }
                    Whereabouts::Queued(subject) => {
                        let Some(group) = self.groups.get_mut(&key) else { continue };
                        let pending = group.part_mut(&subject, window).map(|gap| gap.join(subscriber));
                        parts.extend(pending.map(Found::Pending));
                        actions.extend(group.share_turns(&subscriber.ask).map(Action::Lift));
                        // The newcomer may be more urgent.
                        if group.review(&subject, window, now) {
                            touched.add(&key);
                        }
                    }
                    Whereabouts::Nowhere => {
                        let held = fresh(&part(&run.subject, window), &subscriber.ask).unwrap_or_default();
                        subscriber.ask.cost.count_hits(held.len());
                        for (window, held) in held.laid_out(window) {
                            parts.push(if let Some(held) = held {
                                Found::Held(Arc::clone(held))
                            } else {
                                touched.add(&key);
                                Found::Pending(self.begin(&key, &part(&run.subject, window), subscriber))
                            });
                        }
                    }
                }
            }
            found.push(parts);
        }
        self.reconcile_all(touched, now, &mut actions);
        (found, actions)
    }

    /// Joins a call that is out.
    fn join_out(
        &mut self,
        key: &GroupKey<O::Subject>,
        part: &Slice<O::Subject>,
        subscriber: &Arc<Subscriber>,
        actions: &mut Actions<O::Subject>,
    ) -> Option<Pending<O::Data>> {
        let class = subscriber.ask.class;
        subscriber.ask.cost.count_collapsed(self.n_slices(part.window));
        let gap = self.groups.get_mut(key)?.part_mut(&part.subject, part.window)?;
        if let Some((entry, known)) = gap.entry.as_mut().filter(|(_, known)| class < *known) {
            *known = class;
            let (id, caller) = (*entry, subscriber.ask.caller.clone());
            actions.push(Action::Lift(Entry { id, class, caller }));
        }
        Some(gap.join(subscriber))
    }

    /// Begins to wait for what nobody waits for yet.
    fn begin(
        &mut self,
        key: &GroupKey<O::Subject>,
        part: &Slice<O::Subject>,
        subscriber: &Arc<Subscriber>,
    ) -> Pending<O::Data> {
        let mut gap = Gap::new(part.window, self.next_rank, false);
        self.next_rank += 1;
        let pending = gap.join(subscriber);
        let group = self.groups.entry(key.clone()).or_default();
        group.begin_waiting(&part.subject, gap, subscriber.ask.class);
        pending
    }

    /// An entry was taken for a call of the group.
    pub(super) fn note_entry(&mut self, key: &GroupKey<O::Subject>, entry: Entry) {
        if let Some(group) = self.groups.get_mut(key) {
            group.entries.push(entry);
        }
    }

    /// Whether calls bring all of a run or somebody waits for it.
    pub(super) fn is_awaited(&self, run: &Slice<O::Subject>, now: Instant) -> bool {
        let key = self.key_of(run);
        self.whereabouts(&key, run).into_iter().all(|(window, whereabouts)| match whereabouts {
            Whereabouts::Out(_) => true,
            Whereabouts::Queued(subject) => {
                let group = self.groups.get(&key).into_iter();
                group.flat_map(|group| group.gaps_in(&subject, window)).all(|gap| gap.is_wanted(now))
            }
            Whereabouts::Nowhere => false,
        })
    }

    /// Subscribers of these runs have left; whether [`tidy`](Self::tidy) is to be called. Many fields leave together,
    /// so that it is called once for all of them.
    pub(super) fn leave(&mut self, runs: &[&Slice<O::Subject>]) -> bool {
        let is_first = self.left.is_empty();
        self.left.extend(runs.iter().map(|run| (*run).clone()));
        is_first && !self.left.is_empty()
    }

    /// Forgets what nobody waits for any more.
    pub(super) fn tidy(&mut self, now: Instant) -> Actions<O::Subject> {
        let (mut touched, mut actions) = (Touched::default(), Vec::new());
        for slice in std::mem::take(&mut self.left) {
            let key = self.key_of(&slice);
            let Some(group) = self.groups.get_mut(&key) else { continue };
            let own = group.review(&slice.subject, slice.window, now);
            // It may have been waited for as part of its whole.
            let whole = slice.subject != key.0 && group.review(&key.0, slice.window, now);
            if own || whole {
                touched.add(&key);
            }
        }
        self.reconcile_all(touched, now, &mut actions);
        actions
    }

    /// A group has gathered for long enough.
    pub(super) fn stop_gathering(&mut self, key: &GroupKey<O::Subject>, now: Instant) -> Actions<O::Subject> {
        let mut actions = Vec::new();
        if self.groups.get(key).is_some_and(|group| group.is_gathering) {
            self.reconcile(key, true, now, &mut actions);
        }
        actions
    }

    /// The permit of `entry` is there: the most urgent call of the plan takes off; `None` if there is none any more.
    /// `is_held` tells what is held already of what the call brings beside.
    pub(super) fn take_off(
        &mut self,
        key: &GroupKey<O::Subject>,
        entry: u64,
        is_held: impl Fn(&Slice<O::Subject>) -> bool,
        now: Instant,
    ) -> (Option<Departure<O::Subject>>, Actions<O::Subject>) {
        let (grid, mut actions) = (self.operation.grid(), Vec::new());
        let Some(group) = self.groups.get_mut(key) else { return (None, actions) };
        group.entries.retain(|known| known.id != entry);
        let next = loop {
            let calls = calls(&*self.operation, &[&group.wanted], self.max_rows);
            let class = |call: &Slice<_>| group.wanted.class_of(call, &key.0);
            let Some(call) = calls.into_iter().min_by_key(|call| class(call).unwrap_or_default()) else { break None };
            let brought = group.waiting_for(&call, &key.0);
            // Some may have waited until their deadlines.
            let mut has_changed = false;
            for (subject, _) in &brought {
                has_changed |= group.review(subject, call.window, now);
            }
            if !has_changed {
                break Some((call, brought));
            }
        };
        let Some((call, mut brought)) = next else {
            // Whoever waited has gone: so does the group, unless a call of it is out.
            self.reconcile(key, false, now, &mut actions);
            return (None, actions);
        };
        group.out += 1;
        group.take_off(&brought);
        let owner = group.first_of(&brought, now);
        // What else the call brings may be joined as well.
        let mut beside: Vec<Window> = Vec::new();
        let known = group.gaps_in(&call.subject, call.window).map(|gap| (gap.window, ()));
        let others = call.window.laid_out(known).into_iter().filter(|(_, known)| known.is_none());
        let others = others.flat_map(|(window, _)| window.cells_of(grid));
        for window in others.filter(|window| !is_held(&Slice { subject: call.subject.clone(), window: *window })) {
            match beside.last_mut().filter(|last| last.end() == window.start()) {
                Some(last) => *last = last.hull(window),
                None => beside.push(window),
            }
        }
        for window in &beside {
            group.insert(&call.subject, Gap::new(*window, self.next_rank, true));
            self.next_rank += 1;
        }
        if !beside.is_empty() {
            brought.push((call.subject.clone(), beside));
        }
        self.reconcile(key, false, now, &mut actions);
        (Some(Departure { call, brought, owner }), actions)
    }

    /// A call has ended: tells everybody who waits for it, and lets the group go on. `spare_late`: those who joined
    /// after the last attempt was sent begin to wait anew.
    pub(super) fn land(
        &mut self,
        key: &GroupKey<O::Subject>,
        brought: &Brought<O::Subject>,
        outcome: impl Fn(Window) -> Outcome<O::Data>,
        spare_late: bool,
        now: Instant,
    ) -> Actions<O::Subject> {
        let mut actions = Vec::new();
        let Some(group) = self.groups.get_mut(key) else { return actions };
        let spans = brought.iter().flat_map(|(subject, spans)| spans.iter().map(move |span| (subject, *span)));
        for (subject, span) in spans {
            for mut gap in group.remove(subject, span) {
                let late = if spare_late { gap.subscribers.split_off(gap.on_time) } else { Vec::new() };
                if !gap.subscribers.is_empty() {
                    let outcome = outcome(gap.window);
                    gap.subscribers.iter().for_each(|subscribers| subscribers.tell(&outcome));
                }
                let mut again = Gap::new(gap.window, gap.rank, false);
                again.subscribers = late;
                if let Some(class) = again.present(now).map(|(one, _)| one.ask.class).min() {
                    again.subscribers.iter().for_each(|subscribers| subscribers.note_under_way(false));
                    group.begin_waiting(subject, again, class);
                }
            }
        }
        group.out = group.out.saturating_sub(1);
        self.reconcile(key, true, now, &mut actions);
        actions
    }

    /// A call will never end: nobody may be left waiting.
    pub(super) fn abandon(&mut self, key: &GroupKey<O::Subject>, brought: &Brought<O::Subject>, told: &Arc<WeirError>) {
        let Some(group) = self.groups.get_mut(key) else { return };
        for (subject, span) in brought.iter().flat_map(|(subject, own)| own.iter().map(move |at| (subject, *at))) {
            for gap in group.remove(subject, span) {
                gap.subscribers.iter().for_each(|subscribers| subscribers.tell(&Err(Arc::clone(told))));
            }
        }
        group.out = group.out.saturating_sub(1);
    }

    /// The vendor is not asked for a while: tells everybody who waits, instead of letting them wait for that.
    pub(super) fn send_away(&mut self, told: &Arc<WeirError>, now: Instant) -> Actions<O::Subject> {
        for gap in self.groups.values_mut().flat_map(Group::drain_waiting) {
            gap.subscribers.iter().for_each(|subscribers| subscribers.tell(&Err(Arc::clone(told))));
        }
        let (mut touched, mut actions) = (Touched::default(), Vec::new());
        self.groups.keys().for_each(|key| touched.add(key));
        self.reconcile_all(touched, now, &mut actions);
        actions
    }

    /// The group, if anything of it waits or is out.
    pub(super) fn group(&self, key: &GroupKey<O::Subject>) -> Option<&Group<O::Subject, O::Data>> {
        self.groups.get(key)
    }

    pub(super) fn group_mut(&mut self, key: &GroupKey<O::Subject>) -> Option<&mut Group<O::Subject, O::Data>> {
        self.groups.get_mut(key)
    }

    /// The calls of a group, if `more` came to what waits.
    pub(super) fn calls_with(
        &self,
        key: &GroupKey<O::Subject>,
        more: &[&Wanted<O::Subject>],
    ) -> Vec<Slice<O::Subject>> {
        let waiting = self.groups.get(key).map(|group| &group.wanted);
        let parts: Vec<_> = waiting.into_iter().chain(more.iter().copied()).collect();
        calls(&*self.operation, &parts, self.max_rows)
    }

    fn reconcile_all(&mut self, touched: Touched<O::Subject>, now: Instant, actions: &mut Actions<O::Subject>) {
        for key in touched.order {
            self.reconcile(&key, false, now, actions);
        }
    }

    /// Makes the queued entries of a group match its plan. `gathered` says that waiting for the call that is out has
    /// ended.
    fn reconcile(
        &mut self,
        key: &GroupKey<O::Subject>,
        gathered: bool,
        now: Instant,
        actions: &mut Actions<O::Subject>,
    ) {
        let Some(group) = self.groups.get_mut(key) else { return };
        if gathered {
            group.is_gathering = false;
        }
        if !group.wanted.is_empty() && group.out > 0 && group.entries.is_empty() && !gathered {
            if !group.is_gathering {
                group.is_gathering = true;
                actions.push(Action::Gather(key.clone()));
            }
            return;
        }
        let calls = calls(&*self.operation, &[&group.wanted], self.max_rows);
        let class = |call: Slice<_>| (group.wanted.class_of(&call, &key.0).unwrap_or_default(), call);
        let mut calls: Vec<_> = calls.into_iter().map(class).collect();
        calls.sort_by_key(|(class, _)| *class);
        let surplus = group.entries.split_off(group.entries.len().min(calls.len()));
        actions.extend(surplus.into_iter().rev().map(|entry| Action::Cancel(entry.id)));
        for (entry, (class, _)) in
            group.entries.iter_mut().zip(&calls).filter(|(entry, (class, _))| *class < entry.class)
        {
            entry.class = *class;
            actions.push(Action::Lift(entry.clone()));
        }
        for (class, call) in calls.iter().skip(group.entries.len()) {
            actions.push(Action::Enqueue(key.clone(), *class, group.caller_of(call, &key.0, now)));
        }
        if group.wanted.is_empty() && group.out == 0 {
            self.groups.remove(key);
        }
    }
}

/// Groups in the order of their first mention, each once.
struct Touched<S> {
    order: Vec<GroupKey<S>>,
    seen: HashSet<GroupKey<S>>,
}

impl<S: Subject> Touched<S> {
    fn add(&mut self, key: &GroupKey<S>) {
        if self.order.last() != Some(key) && self.seen.insert(key.clone()) {
            self.order.push(key.clone());
        }
    }
}

impl<S> Default for Touched<S> {
    fn default() -> Self {
        Self { order: Vec::new(), seen: HashSet::new() }
    }
}
