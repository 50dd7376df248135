//! What submitting slices would mean, worked out step by step beside the state, where nothing changes.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use super::GroupKey;
use super::group::Entry;
use super::plan::Wanted;
use super::state::{State, Whereabouts, lock};
use crate::domain::{Caller, Class, Operation, Slice, Subject, Window};
use crate::quota::Limiter;

/// What would come to the plan of a scheduler.
pub struct Draft<O: Operation> {
    state: Arc<Mutex<State<O>>>,
    limiter: Limiter,
    groups: HashMap<GroupKey<O::Subject>, Drafted<O::Subject>>,
    new_calls: usize,
}

/// What would come to a group.
#[derive(Debug)]
struct Drafted<S> {
    /// What somebody would wait for.
    awaited: Wanted<S>,
    /// What would only be fetched again.
    unawaited: Wanted<S>,
    /// Its calls then.
    calls: Vec<Slice<S>>,
}

/// What a proposal adds to a group, and its calls then.
#[derive(Debug)]
struct Change<S> {
    added: Wanted<S>,
    calls: Vec<Slice<S>>,
}

/// What adding slices to a draft would mean.
#[derive(Debug)]
pub struct Proposal<S> {
    changes: HashMap<GroupKey<S>, Change<S>>,
    /// How many calls it would add to those that are planned already.
    pub new_calls: usize,
    /// How many of the slices somebody else's call brings.
    pub joined: usize,
    /// How long the last new call would wait for its permit.
    pub wait: Duration,
    /// How long it would wait if nobody else wanted anything.
    pub least_wait: Duration,
}

impl<O: Operation> Draft<O> {
    pub(super) fn new(state: Arc<Mutex<State<O>>>, limiter: Limiter) -> Self {
        Self { state, limiter, groups: HashMap::new(), new_calls: 0 }
    }

    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.new_calls
    }

    /// Whether all of a run was added, each slice by itself or as part of its whole.
    #[must_use]
    pub fn has(&self, run: &Slice<O::Subject>) -> bool {
        let key = lock(&self.state).key_of(run);
        self.groups.get(&key).is_some_and(|drafted| lacking(&drafted.parts(), &key, run).is_empty())
    }

    /// What adding `runs` would mean to a caller in `class`, if `ahead` other calls were drafted for the same permits.
    /// Nothing of the runs is held.
    pub fn weigh(
        &self,
        runs: &[&Slice<O::Subject>],
        class: Class,
        caller: &Caller,
        ahead: usize,
    ) -> Proposal<O::Subject> {
        let state = lock(&self.state);
        let (mut joined, mut queued) = (0, HashSet::new());
        let mut added: HashMap<GroupKey<O::Subject>, Wanted<O::Subject>> = HashMap::new();
        for run in runs {
            let key = state.key_of(run);
            let drafted = self.groups.get(&key).map(Drafted::parts).into_iter().flatten();
            let known: Vec<_> = drafted.chain(added.get(&key)).collect();
            for window in lacking(&known, &key, run) {
                let new = Slice { subject: run.subject.clone(), window };
                for (window, whereabouts) in state.whereabouts(&key, &new) {
                    match whereabouts {
                        Whereabouts::Out(_) => joined += state.n_slices(window),
                        Whereabouts::Queued(_) => {
                            joined += state.n_slices(window);
                            queued.insert(key.clone());
                        }
                        Whereabouts::Nowhere => {
                            added.entry(key.clone()).or_default().add(&run.subject, window, class);
                        }
                    }
                }
            }
        }
        let (mut new_calls, mut changes) = (0, HashMap::with_capacity(added.len()));
        for (key, added) in added {
            let (calls, more) = self.calls_with(&state, &key, &added);
            new_calls += more;
            changes.insert(key, Change { added, calls });
        }
        let entries: Vec<_> =
            queued.iter().filter_map(|key| state.group(key)).map(|group| group.entries.as_slice()).collect();
        let queued_wait = |entries: &&[Entry]| {
            let joined = self.limiter.expected_wait_of(entries.iter().map(|entry| entry.id), class, caller);
            joined.unwrap_or_else(|| self.limiter.expected_wait(class, caller, 1))
        };
        let queued_wait = entries.iter().map(queued_wait).max().unwrap_or_default();
        drop(state);
        let own_wait =
            if new_calls == 0 { Duration::ZERO } else { self.limiter.expected_wait(class, caller, ahead + new_calls) };
        let least_wait = self.limiter.least_wait(new_calls);
        Proposal { changes, new_calls, joined, wait: own_wait.max(queued_wait), least_wait }
    }

    /// Takes a proposal; `is_awaited` says whether somebody would wait for what it adds.
    pub fn accept(&mut self, proposal: Proposal<O::Subject>, is_awaited: bool) {
        self.new_calls += proposal.new_calls;
        for (key, Change { added, calls }) in proposal.changes {
            let drafted = self.groups.entry(key).or_default();
            drafted.calls = calls;
            let part = if is_awaited { &mut drafted.awaited } else { &mut drafted.unawaited };
            part.append(added);
        }
    }

    /// The calls that would bring what was added, as they would be sent, and whether somebody would wait for them.
    #[must_use]
    pub fn calls(&self) -> Vec<(Slice<O::Subject>, bool)> {
        let state = lock(&self.state);
        let of_group = |(key, drafted): (&GroupKey<O::Subject>, &Drafted<O::Subject>)| {
            let calls = state.calls_with(key, &drafted.parts()).into_iter();
            let brings = |part: &Wanted<_>, call: &_| part.class_of(call, &key.0).is_some();
            let call = |call| (brings(&drafted.awaited, &call), brings(&drafted.unawaited, &call), call);
            let calls = calls.map(call).filter(|(awaited, unawaited, _)| *awaited || *unawaited);
            calls.map(|(awaited, _, call)| (call, awaited)).collect::<Vec<_>>()
        };
        self.groups.iter().flat_map(of_group).collect()
    }

    /// The calls of a group with `added`, and how many more they are than those before.
    fn calls_with(
        &self,
        state: &State<O>,
        key: &GroupKey<O::Subject>,
        added: &Wanted<O::Subject>,
    ) -> (Vec<Slice<O::Subject>>, usize) {
        let drafted = self.groups.get(key);
        let before = drafted.map_or_else(|| state.calls_with(key, &[]), |drafted| drafted.calls.clone());
        // What a call brings as it is leaves the calls as they are, unless every subject has calls of its own.
        let is_joint = before.iter().all(|call| call.subject == key.0);
        let stays = |call: &Slice<_>| added.is_brought_by(call, &key.0) && (is_joint || call.subject != key.0);
        if before.iter().any(stays) {
            return (before, 0);
        }
        let parts = drafted.map(Drafted::parts).into_iter().flatten().chain([added]);
        let calls = state.calls_with(key, &parts.collect::<Vec<_>>());
        let more = calls.len().saturating_sub(before.len());
        (calls, more)
    }
}

impl<S> Drafted<S> {
    fn parts(&self) -> [&Wanted<S>; 2] {
        [&self.awaited, &self.unawaited]
    }
}

/// The parts of a run that are wanted neither by themselves nor as part of their whole.
fn lacking<S: Subject>(known: &[&Wanted<S>], key: &GroupKey<S>, run: &Slice<S>) -> Vec<Window> {
    let subjects = known.iter().flat_map(|wanted| [(wanted, &key.0), (wanted, &run.subject)]);
    subjects.fold(vec![run.window], |spans, (wanted, subject)| {
        spans.into_iter().flat_map(|span| wanted.lacking(subject, span)).collect()
    })
}

impl<S> Default for Drafted<S> {
    fn default() -> Self {
        Self { awaited: Wanted::default(), unawaited: Wanted::default(), calls: Vec::new() }
    }
}

impl<O: Operation> std::fmt::Debug for Draft<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Draft").field("new_calls", &self.new_calls).finish_non_exhaustive()
    }
}
