//! What submitting slices would mean, worked out step by step beside the desk, where nothing changes.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::desk::{GroupKey, Inner};
use super::plan::{group_of, plan, serves};
use crate::domain::{Ask, Class, Operation, Sent, Slice, Subject};
use crate::quota::Call;

/// The plan of a desk as it would become.
#[derive(Debug)]
pub struct Draft<O: Operation, C> {
    desk: Arc<Inner<O, C>>,
    groups: HashMap<GroupKey<O::Subject>, Drafted<O::Subject>>,
    new_calls: usize,
}

/// The plan of a group as it would become.
#[derive(Debug)]
struct Drafted<S> {
    /// What waits at the desk, and what was added.
    gaps: Vec<Slice<S>>,
    /// What was added, and whether somebody would wait for it.
    added: HashMap<Slice<S>, bool>,
    calls: Vec<Slice<S>>,
}

/// What would be added to a group, and its calls then.
#[derive(Debug)]
struct Change<S> {
    group: GroupKey<S>,
    added: Vec<Slice<S>>,
    calls: Vec<Slice<S>>,
}

/// What adding slices to a draft would mean.
#[derive(Debug)]
pub struct Step<S> {
    changes: Vec<Change<S>>,
    /// How many calls it would add to those that are planned already.
    pub new_calls: usize,
    /// How many of the slices somebody else's call brings.
    pub joined: usize,
    /// How long the last new call would wait for its permit.
    pub wait: Duration,
    /// How long it would wait if nobody else wanted anything.
    pub least_wait: Duration,
}

impl<O, C> Draft<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    pub(super) fn new(desk: Arc<Inner<O, C>>) -> Self {
        Self { desk, groups: HashMap::new(), new_calls: 0 }
    }

    /// How many calls it adds to those that are planned already.
    #[must_use]
    pub fn new_calls(&self) -> usize {
        self.new_calls
    }

    /// Whether the slice was added, by itself or as part of its whole.
    #[must_use]
    pub fn has(&self, slice: &Slice<O::Subject>) -> bool {
        let group = self.groups.get(&group_of(&*self.desk.operation, slice));
        group.is_some_and(|group| is_among(|known| group.added.contains_key(known), slice))
    }

    /// What adding `slices` would mean to `ask` in `class`, if `ahead` other calls were drafted for the same permits.
    pub fn weigh(&mut self, slices: &[&Slice<O::Subject>], ask: &Ask, class: Class, ahead: usize) -> Step<O::Subject> {
        let desk = Arc::clone(&self.desk);
        let state = desk.lock();
        let (mut joined, mut queued, mut seen) = (0, HashSet::new(), HashSet::new());
        let mut new: HashMap<GroupKey<O::Subject>, Vec<Slice<O::Subject>>> = HashMap::new();
        for slice in slices {
            if is_among(|known| seen.contains(known), slice) || self.has(slice) {
                continue;
            }
            if let Some(key) = state.gap_for(slice) {
                joined += 1;
                if state.gaps.get(&key).is_some_and(|gap| !gap.is_out) {
                    queued.insert(group_of(&*desk.operation, &key));
                }
            } else if desk.shelf.fresh(slice, ask).is_none() {
                seen.insert((*slice).clone());
                new.entry(group_of(&*desk.operation, slice)).or_default().push((*slice).clone());
            }
        }
        let (mut changes, mut new_calls) = (Vec::new(), 0);
        for (group, added) in new {
            let drafted = self.groups.entry(group.clone()).or_insert_with(|| {
                let gaps = state.groups.get(&group).map(|group| group.waiting.clone()).unwrap_or_default();
                let calls = desk.plan(gaps.iter());
                Drafted { gaps, added: HashMap::new(), calls }
            });
            // What the calls bring as they are leaves them as they are.
            let is_brought = |gap: &Slice<_>| drafted.calls.iter().any(|call| serves(call, gap));
            let calls = if added.iter().all(is_brought) {
                drafted.calls.clone()
            } else {
                desk.plan(drafted.gaps.iter().chain(&added))
            };
            new_calls += calls.len().saturating_sub(drafted.calls.len());
            changes.push(Change { group, added, calls });
        }
        let queued_wait = queued.iter().map(|group| desk.queued_wait(&state, group, class)).max().unwrap_or_default();
        drop(state);
        let limiter = desk.metered.limiter();
        let own_wait = if new_calls == 0 { Duration::ZERO } else { limiter.expected_wait(class, ahead + new_calls) };
        Step { changes, new_calls, joined, wait: own_wait.max(queued_wait), least_wait: limiter.least_wait(new_calls) }
    }

    /// Takes a step; `is_awaited` says whether somebody would wait for what it adds.
    pub fn accept(&mut self, step: Step<O::Subject>, is_awaited: bool) {
        self.new_calls += step.new_calls;
        for Change { group, added, calls } in step.changes {
            let Some(drafted) = self.groups.get_mut(&group) else { continue };
            drafted.gaps.extend(added.iter().cloned());
            drafted.added.extend(added.into_iter().map(|slice| (slice, is_awaited)));
            drafted.calls = calls;
        }
    }

    /// The calls that would bring what was added, as they would be sent, and whether somebody would wait for them.
    pub fn calls(&self) -> impl Iterator<Item = (&Slice<O::Subject>, bool)> {
        self.groups.values().flat_map(|group| {
            group.calls.iter().filter_map(|call| {
                let mut brought = group.added.iter().filter(|(slice, _)| serves(call, slice)).peekable();
                brought.peek()?;
                Some((call, brought.any(|(_, is_awaited)| *is_awaited)))
            })
        })
    }
}

impl<O: Operation, C> Inner<O, C> {
    fn plan<'a>(&self, gaps: impl Iterator<Item = &'a Slice<O::Subject>>) -> Vec<Slice<O::Subject>> {
        plan(&*self.operation, &gaps.collect::<Vec<_>>(), self.max_rows)
    }
}

/// Whether the slice is known, by itself or as part of its whole.
fn is_among<S: Subject>(is_known: impl Fn(&Slice<S>) -> bool, slice: &Slice<S>) -> bool {
    let whole = slice.subject.whole().map(|subject| Slice { subject, window: slice.window });
    is_known(slice) || whole.is_some_and(|whole| is_known(&whole))
}
