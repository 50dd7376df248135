//! Who gets the next permit: one of the class whose turn it is, and callers of one class in turn.

use std::cmp::Ordering;
use std::collections::{HashSet, VecDeque};

use super::elsewhere::Elsewhere;
use super::turns::{CLASSES, Turns};
use crate::domain::Class;

/// Entries by class, round robin between the callers of a class, first come first served within one.
#[derive(Debug)]
pub(super) struct Queue<C, T> {
    lanes: [Lane<C, T>; 3],
    turns: Turns,
}

#[derive(Debug)]
struct Lane<C, T> {
    callers: VecDeque<(C, VecDeque<(u64, T)>)>,
    length: usize,
}

impl<C: Clone + PartialEq, T> Queue<C, T> {
    pub(super) fn new() -> Self {
        let lane = || Lane { callers: VecDeque::new(), length: 0 };
        Self { lanes: [lane(), lane(), lane()], turns: Turns::default() }
    }

    pub(super) fn len(&self) -> usize {
        self.lanes.iter().map(|lane| lane.length).sum()
    }

    /// How many wait in one caller's turns.
    pub(super) fn len_of(&self, caller: &C) -> usize {
        let lanes = self.lanes.iter().flat_map(|lane| &lane.callers);
        lanes.filter(|(known, _)| known == caller).map(|(_, entries)| entries.len()).sum()
    }

    /// How many wait, by class.
    pub(super) fn by_class(&self) -> [usize; 3] {
        self.lanes.each_ref().map(|lane| lane.length)
    }

    pub(super) fn push(&mut self, class: Class, caller: C, id: u64, entry: T) {
        if class == Class::Bulk && self.lanes[Class::Bulk as usize].length == 0 {
            self.turns = Turns::default();
        }
        self.lanes[class as usize].push(caller, id, entry);
    }

    /// Takes an entry out of turn: it left, or it moves to another class.
    pub(super) fn remove(&mut self, id: u64) -> Option<(C, T)> {
        self.lanes.iter_mut().find_map(|lane| lane.remove(id))
    }

    pub(super) fn pop(&mut self) -> Option<T> {
        let class = self.turns.next(self.by_class());
        self.lanes[class as usize].pop()
    }

    /// The next entry for a permit that was leased for `class`; another one if nobody of that class is left.
    pub(super) fn pop_of(&mut self, class: Class) -> Option<T> {
        self.lanes[class as usize].pop().or_else(|| self.pop())
    }

    /// How many permits are given before the `nth` new entry (from 0) of a caller in `class` gets its own, if nobody else
    /// comes. With what waits `elsewhere`, where permits are shared.
    pub(super) fn ahead(&self, class: Class, caller: &C, nth: usize, elsewhere: Option<&Elsewhere>) -> usize {
        self.ahead_in(class, self.lanes[class as usize].before_new(caller, nth), elsewhere)
    }

    /// The same for an entry that is queued already.
    pub(super) fn ahead_of(&self, id: u64, elsewhere: Option<&Elsewhere>) -> Option<usize> {
        CLASSES
            .into_iter()
            .find_map(|class| Some(self.ahead_in(class, self.lanes[class as usize].before(id)?, elsewhere)))
    }

    /// The same for the last of several entries.
    fn ahead_of_last(&self, ids: &HashSet<u64>, elsewhere: Option<&Elsewhere>) -> Option<usize> {
        let classes = [Class::Interactive, Class::Bulk, Class::Background].into_iter();
        classes
            .filter_map(|class| {
                let own = self.lanes[class as usize].before_last(|id| ids.contains(&id))?;
                Some(self.ahead_in(class, own, elsewhere))
            })
            .max()
    }

    /// The same for the last of several entries, if they go into the turns of `caller` in `class` where those come sooner.
    pub(super) fn ahead_of_joined(
        &self,
        ids: &HashSet<u64>,
        class: Class,
        caller: &C,
        elsewhere: Option<&Elsewhere>,
    ) -> Option<usize> {
        let last = self.ahead_of_last(ids, elsewhere)?;
        Some(last.min(self.ahead(class, caller, ids.len().saturating_sub(1), elsewhere)))
    }

    /// `own` entries of the same class go first.
    fn ahead_in(&self, class: Class, own: usize, elsewhere: Option<&Elsewhere>) -> usize {
        let before = own + elsewhere.map_or(0, |elsewhere| elsewhere.ahead(class, own));
        let others = |class| elsewhere.map_or(0, |elsewhere| elsewhere.len(class));
        let waiting = CLASSES.map(|class| self.lanes[class as usize].length + others(class));
        elsewhere.map_or(self.turns, |elsewhere| elsewhere.turns).ahead(class, before, waiting)
    }
}

impl<C: Clone + PartialEq, T> Lane<C, T> {
    fn push(&mut self, caller: C, id: u64, entry: T) {
        self.length += 1;
        if let Some((_, entries)) = self.callers.iter_mut().find(|(known, _)| *known == caller) {
            entries.push_back((id, entry));
        } else {
            self.callers.push_back((caller, VecDeque::from([(id, entry)])));
        }
    }

    fn pop(&mut self) -> Option<T> {
        let (caller, mut entries) = self.callers.pop_front()?;
        let (_, entry) = entries.pop_front()?;
        if !entries.is_empty() {
            self.callers.push_back((caller, entries));
        }
        self.length -= 1;
        Some(entry)
    }

    /// How many entries of the lane go before the `nth` new one (from 0) of a caller.
    fn before_new(&self, caller: &C, nth: usize) -> usize {
        match self.callers.iter().enumerate().find(|(_, (known, _))| known == caller) {
            Some((at, (_, entries))) => self.before_entry(at, entries.len() + nth),
            None => self.before_entry(self.callers.len(), nth) + nth,
        }
    }

    /// How many entries of the lane go before this one.
    fn before(&self, id: u64) -> Option<usize> {
        self.before_last(|known| known == id)
    }

    /// How many entries of the lane go before the last of those that are meant: each caller has one turn a round.
    fn before_last(&self, is_meant: impl Fn(u64) -> bool) -> Option<usize> {
        let entries = self.callers.iter().map(|(_, entries)| entries).enumerate();
        let last = entries.filter_map(|(at, entries)| Some((at, entries.iter().rposition(|(id, _)| is_meant(*id))?)));
        last.map(|(at, depth)| self.before_entry(at, depth)).max()
    }

    /// How many entries go before the one at `depth` of the caller at `at`.
    fn before_entry(&self, at: usize, depth: usize) -> usize {
        let turns = |other: usize, length: usize| match other.cmp(&at) {
            Ordering::Less => length.min(depth + 1),
            Ordering::Equal => depth,
            Ordering::Greater => length.min(depth),
        };
        self.callers.iter().enumerate().map(|(other, (_, entries))| turns(other, entries.len())).sum()
    }

    fn remove(&mut self, id: u64) -> Option<(C, T)> {
        let (at, inner) = self.callers.iter().enumerate().find_map(|(at, (_, entries))| {
            entries.iter().position(|(known, _)| *known == id).map(|inner| (at, inner))
        })?;
        let (caller, entries) = self.callers.get_mut(at)?;
        let (caller, (_, entry)) = (caller.clone(), entries.remove(inner)?);
        if entries.is_empty() {
            self.callers.remove(at);
        }
        self.length -= 1;
        Some((caller, entry))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn queue(interactive: usize, bulk: usize, background: usize) -> Queue<(), &'static str> {
        let mut queue = Queue::new();
        let mut id = 0;
        for (class, n, name) in
            [(Class::Interactive, interactive, "i"), (Class::Bulk, bulk, "b"), (Class::Background, background, "x")]
        {
            for _ in 0..n {
                id += 1;
                queue.push(class, (), id, name);
            }
        }
        queue
    }

    fn order<C: Clone + PartialEq>(mut queue: Queue<C, &'static str>) -> String {
        std::iter::from_fn(|| queue.pop()).collect()
    }

    #[test]
    fn every_fifth_permit_is_for_bulk_and_background_is_last() {
        assert_eq!(order(queue(9, 3, 2)), "iiiibiiiibibxx");
        assert_eq!(order(queue(0, 3, 1)), "bbbx");
        assert_eq!(order(queue(3, 0, 1)), "iiix");
    }

    #[test]
    fn callers_of_one_class_have_turns_and_their_own_order() {
        let mut queue = Queue::new();
        for (id, (caller, name)) in (0..).zip([(1, "a"), (1, "b"), (1, "c"), (2, "X"), (3, "y"), (2, "Z")]) {
            queue.push(Class::Interactive, caller, id, name);
        }
        let ahead: Vec<_> = (0..6).map(|id| queue.ahead_of(id, None)).collect();
        assert_eq!(ahead, [0, 3, 5, 1, 2, 4].map(Some));
        assert_eq!(queue.ahead_of_last(&HashSet::from([0, 5, 3]), None), Some(4));
        assert_eq!([1, 2, 3, 4].map(|caller| queue.len_of(&caller)), [3, 2, 1, 0]);
        assert_eq!(order(queue), "aXybZc");
    }

    #[test]
    fn the_forecast_is_what_then_happens() {
        for (i, b, x) in [(0, 0, 0), (9, 3, 2), (3, 7, 1), (12, 1, 0), (0, 5, 5), (4, 4, 4)] {
            for class in [Class::Interactive, Class::Bulk, Class::Background] {
                for taken in 0..3 {
                    let mut queue = queue(i, b, x);
                    for _ in 0..taken {
                        queue.pop();
                    }
                    let ahead = queue.ahead(class, &(), 0, None);
                    queue.push(class, (), 999, "me");
                    assert_eq!(queue.ahead_of(999, None), Some(ahead), "{class:?} behind {i} {b} {x}, {taken} taken");
                    let served = std::iter::from_fn(|| queue.pop()).position(|name| name == "me").unwrap();
                    assert_eq!(ahead, served, "{class:?} behind {i} {b} {x}, {taken} taken");
                }
            }
        }
    }

    /// Whoever has little in the queue is told of their own turns, and not of all that others have before them.
    #[test]
    fn the_forecast_of_each_caller_is_what_then_happens() {
        for lengths in [vec![], vec![40], vec![40, 3], vec![1, 0, 7], vec![2, 2, 2]] {
            for taken in 0..3 {
                for (caller, n) in (0..=lengths.len()).flat_map(|caller| (1..4).map(move |n| (caller, n))) {
                    let mut queue = Queue::new();
                    for (other, length) in lengths.iter().enumerate() {
                        (0..*length)
                            .for_each(|n| queue.push(Class::Interactive, other, 100 * other as u64 + n, "other"));
                    }
                    for _ in 0..taken {
                        queue.pop();
                    }
                    let ahead = queue.ahead(Class::Interactive, &caller, n - 1, None);
                    (0..n as u64).for_each(|n| queue.push(Class::Interactive, caller, 900 + n, "me"));
                    assert_eq!(queue.ahead_of(899 + n as u64, None), Some(ahead), "{caller} behind {lengths:?}");
                    let mut served = std::iter::from_fn(|| queue.pop()).enumerate().filter(|(_, name)| *name == "me");
                    assert_eq!(served.nth(n - 1).map(|(at, _)| at), Some(ahead), "{caller} behind {lengths:?}");
                }
            }
        }
    }

    #[test]
    fn what_others_wait_for_comes_in_the_turns_of_whoever_has_it_sooner() {
        let mut queue = Queue::new();
        (0..40).for_each(|id| queue.push(Class::Interactive, 1, id, "1"));
        let joined = |caller: i32, ids: &[u64], class| {
            queue.ahead_of_joined(&ids.iter().copied().collect(), class, &caller, None)
        };
        assert_eq!(joined(1, &[30], Class::Interactive), Some(30));
        assert_eq!(joined(2, &[30], Class::Interactive), Some(1));
        assert_eq!(joined(2, &[20, 30], Class::Interactive), Some(3));
        assert_eq!(joined(2, &[0], Class::Interactive), Some(0));
        assert_eq!(joined(2, &[30], Class::Background), Some(30));
        assert_eq!(joined(2, &[77], Class::Interactive), None);
    }

    #[test]
    fn a_removed_entry_is_gone_and_counted_out() {
        let mut queue = queue(3, 0, 0);
        assert!(queue.remove(2).is_some());
        assert!(queue.remove(2).is_none());
        assert_eq!((queue.len(), order(queue)), (2, "ii".to_owned()));
    }
}
