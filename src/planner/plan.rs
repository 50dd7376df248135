//! Gaps in, the fewest calls out: pure.

use std::collections::{HashMap, HashSet};
use std::time::Duration;

use super::GroupKey;
use super::cells::{Cells, spans};
use crate::domain::{Class, Operation, Slice, Subject, Window};

/// The longest call that is thought of, in cells.
const MOST_CELLS: u32 = 1 << 20;

/// The fewest calls that cover all gaps, which are of one group (see [`group_of`]) and, on a grid, runs of its cells.
///
/// Windows without a grid are good only as they are: a call each. On a grid a call may span several gaps and what lies
/// between them, as long as the expected reply stays under `max_rows`; and the phones of one channel may share a call
/// for the whole channel. Calls are scarce, bytes are not: with as many calls either way, the wider subject wins, since
/// its slices answer more.
pub fn plan<O: Operation>(operation: &O, gaps: &[&Slice<O::Subject>], max_rows: u64) -> Vec<Slice<O::Subject>> {
    let mut wanted = Wanted::default();
    for gap in gaps {
        wanted.add(&gap.subject, gap.window, Class::default());
    }
    calls(operation, &[&wanted], max_rows)
}

/// What gaps must share to be planned together: the widest subject that answers for them; on no grid, the window too.
pub fn group_of<O: Operation>(operation: &O, gap: &Slice<O::Subject>) -> GroupKey<O::Subject> {
    let subject = gap.subject.whole().unwrap_or_else(|| gap.subject.clone());
    (subject, operation.grid().is_none().then_some(gap.window))
}

/// What is wanted of one group, kept in the order in which it is planned.
#[derive(Debug, Clone)]
pub(super) struct Wanted<S> {
    own: HashMap<S, Own>,
    /// What is wanted of any subject, where there are several.
    all: Cells,
    next_rank: u64,
}

/// What is wanted of one subject.
#[derive(Debug, Clone)]
struct Own {
    /// The order of first mention.
    rank: u64,
    cells: Cells,
}

impl<S: Subject> Wanted<S> {
    pub(super) fn add(&mut self, subject: &S, cells: Window, class: Class) {
        self.of(subject).add(cells, class);
        if self.own.len() > 1 {
            self.all.add(cells, class);
        }
    }

    pub(super) fn take(&mut self, subject: &S, cells: Window, class: Class) {
        let Some(own) = self.own.get_mut(subject) else { return };
        own.cells.take(cells, class);
        if own.cells.is_empty() {
            self.own.remove(subject);
        }
        if self.own.len() > 1 {
            self.all.take(cells, class);
        } else {
            self.all = Cells::default();
        }
    }

    pub(super) fn append(&mut self, other: Self) {
        if self.is_empty() {
            *self = other;
            return;
        }
        let mut more: Vec<(S, Own)> = other.own.into_iter().collect();
        more.sort_unstable_by_key(|(_, own)| own.rank);
        for (subject, own) in more {
            self.of(&subject).append(&own.cells);
            if self.own.len() > 1 {
                self.all.append(&own.cells);
            }
        }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.own.is_empty()
    }

    /// The parts of a span in which nothing is wanted of the subject.
    pub(super) fn lacking(&self, subject: &S, span: Window) -> Vec<Window> {
        self.own.get(subject).map_or_else(|| vec![span], |own| own.cells.lacking(span))
    }

    /// The highest class in which anything is wanted that the call brings, if anything is; `whole` is the group's own
    /// subject.
    pub(super) fn class_of(&self, call: &Slice<S>, whole: &S) -> Option<Class> {
        if call.subject == *whole {
            return self.all().class_in(call.window);
        }
        self.own.get(&call.subject)?.cells.class_in(call.window)
    }

    /// Whether the call brings all of it.
    pub(super) fn is_brought_by(&self, call: &Slice<S>, whole: &S) -> bool {
        let is_its = call.subject == *whole || (self.own.len() == 1 && self.own.contains_key(&call.subject));
        is_its && self.all().hull().is_none_or(|hull| call.window.covers(hull))
    }

    fn of(&mut self, subject: &S) -> &mut Cells {
        if !self.own.contains_key(subject) {
            if self.own.len() == 1 {
                self.all = self.all().clone();
            }
            self.own.insert(subject.clone(), Own { rank: self.next_rank, cells: Cells::default() });
            self.next_rank += 1;
        }
        &mut self.own.entry(subject.clone()).or_insert_with(|| Own { rank: 0, cells: Cells::default() }).cells
    }

    fn all(&self) -> &Cells {
        match self.own.values().next() {
            Some(own) if self.own.len() == 1 => &own.cells,
            _ => &self.all,
        }
    }
}

impl<S> Default for Wanted<S> {
    fn default() -> Self {
        Self { own: HashMap::new(), all: Cells::default(), next_rank: 0 }
    }
}

/// The fewest calls for what is wanted in any of `parts`, all of one group: what waits, and what may come to it.
pub(super) fn calls<O: Operation>(
    operation: &O,
    parts: &[&Wanted<O::Subject>],
    max_rows: u64,
) -> Vec<Slice<O::Subject>> {
    let subjects = subjects(parts);
    if subjects.is_empty() {
        return Vec::new();
    }
    let of = |subject: &O::Subject, cells: &[&Cells]| -> Vec<Slice<O::Subject>> {
        let reach = reach(operation, subject, cells, max_rows);
        let spans = spans(cells, reach).into_iter();
        spans.map(|window| Slice { subject: subject.clone(), window }).collect()
    };
    let apart = || {
        let own = |subject| parts.iter().filter_map(move |part| part.own.get(subject)).map(|own| &own.cells);
        subjects.iter().flat_map(|subject| of(subject, &own(*subject).collect::<Vec<_>>())).collect::<Vec<_>>()
    };
    if operation.grid().is_none() {
        return apart();
    }
    let all: Vec<&Cells> = parts.iter().map(|part| part.all()).collect();
    let joint = of(&operation.joint_subject(&subjects), &all);
    if joint.len() <= subjects.len() {
        return joint;
    }
    let apart = apart();
    if apart.len() < joint.len() { apart } else { joint }
}

/// The subjects of all parts in the order of their first mention, each once.
fn subjects<'a, S: Subject>(parts: &[&'a Wanted<S>]) -> Vec<&'a S> {
    let mut subjects: Vec<&S> = Vec::new();
    for part in parts {
        let mut own: Vec<_> = part.own.iter().collect();
        own.sort_unstable_by_key(|(_, own)| own.rank);
        subjects.extend(own.into_iter().map(|(subject, _)| subject));
    }
    let mut seen = HashSet::with_capacity(subjects.len());
    subjects.retain(|subject| seen.insert(*subject));
    subjects
}

/// How long a call for the subject may be, so that no more than `max_rows` are expected of it; a cell at least. What is
/// expected depends on the length alone and grows with it, so that it is found by halving.
fn reach<O: Operation>(operation: &O, subject: &O::Subject, cells: &[&Cells], max_rows: u64) -> Duration {
    let Some(hull) = cells.iter().filter_map(|cells| cells.hull()).reduce(Window::hull) else { return Duration::ZERO };
    let Some(step) = operation.grid() else { return hull.length() };
    let fits = |n: u32| {
        let window = Window::new(hull.start(), hull.start() + step * n);
        let call = window.map(|window| Slice { subject: subject.clone(), window });
        call.is_some_and(|call| operation.expected_rows(&call) <= max_rows)
    };
    let needed = u32::try_from(hull.length().as_millis() / step.as_millis().max(1)).unwrap_or(MOST_CELLS);
    if fits(needed) {
        return step * needed;
    }
    // So many fit, and so many do not.
    let (mut most, mut too_many) = (1, needed.min(MOST_CELLS));
    while most + 1 < too_many {
        let middle = most.midpoint(too_many);
        if fits(middle) { most = middle } else { too_many = middle }
    }
    step * most
}
