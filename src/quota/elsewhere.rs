//! What waits at other replicas for the same permits, and how it is served: each of them in turn, like callers in a queue.

use std::mem;

use super::turns::{CLASSES, Turns};
use crate::domain::Class;

/// How much waits at each of the others for the same permits, by class, in the order of turns.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Elsewhere {
    /// At those whose turn comes before ours.
    pub(super) before: [Vec<usize>; 3],
    /// At those whose turn comes after ours.
    pub(super) after: [Vec<usize>; 3],
    /// Of all replicas together.
    pub(super) turns: Turns,
}

impl Elsewhere {
    /// How many wait of a class.
    pub(super) fn len(&self, class: Class) -> usize {
        self.before[class as usize].iter().chain(&self.after[class as usize]).sum()
    }

    /// How many of a class go before one of ours that `own` of ours go before: each replica has one turn a round.
    pub(super) fn ahead(&self, class: Class, own: usize) -> usize {
        let before = self.before[class as usize].iter().map(|waiting| (*waiting).min(own + 1));
        let after = self.after[class as usize].iter().map(|waiting| (*waiting).min(own));
        before.chain(after).sum()
    }

    /// A permit went to one of the others, in turn; whether anybody waits there.
    pub(super) fn take_turn(&mut self) -> bool {
        let class = self.turns.next(CLASSES.map(|class| self.len(class)));
        let (before, after) = (&mut self.before[class as usize], &mut self.after[class as usize]);
        let next = |list: &[usize]| list.iter().position(|waiting| *waiting > 0);
        // Whoever had the turn, and those who left theirs out, come last.
        if let Some(at) = next(before) {
            before[at] -= 1;
            after.extend(before.drain(..=at));
        } else if let Some(at) = next(after) {
            after[at] -= 1;
            let mut first = after.split_off(at + 1);
            first.append(before);
            (*before, *after) = (first, mem::take(after));
        } else {
            return false;
        }
        true
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn others_are_served_in_turn_and_come_before_us_as_often_as_they_have_turns() {
        let of = |before: &[usize], after: &[usize]| Elsewhere {
            before: [before.to_vec(), vec![], vec![]],
            after: [after.to_vec(), vec![], vec![]],
            turns: Turns::default(),
        };
        let mut elsewhere = of(&[3, 1], &[0, 2]);
        assert_eq!([0, 1, 2, 9].map(|own| elsewhere.ahead(Class::Interactive, own)), [2, 4, 6, 6]);
        let mut seen = Vec::new();
        while elsewhere.take_turn() {
            seen.push(elsewhere.clone());
        }
        assert_eq!(
            seen,
            [
                of(&[1], &[0, 2, 2]),
                of(&[], &[0, 2, 2, 0]),
                of(&[2, 0], &[0, 1]),
                of(&[0], &[0, 1, 1]),
                of(&[1, 0], &[0, 0]),
                of(&[0], &[0, 0, 0]),
            ]
        );
    }

    #[test]
    fn others_bulk_has_every_fifth_turn_and_background_the_last() {
        let list = |waiting: usize| vec![waiting];
        let mut elsewhere =
            Elsewhere { before: [list(6), list(2), list(1)], after: Default::default(), turns: Turns::since_bulk(2) };
        let mut order = String::new();
        loop {
            let waiting = CLASSES.map(|class| elsewhere.len(class));
            if !elsewhere.take_turn() {
                break;
            }
            let now = CLASSES.map(|class| elsewhere.len(class));
            order.push(['i', 'b', 'x'][(0..3).find(|class| now[*class] < waiting[*class]).unwrap()]);
        }
        assert_eq!(order, "iibiiiibx");
    }
}
