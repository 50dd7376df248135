//! Which class the next permit is for: interactive asks first, every fifth permit to bulk, background last. `leases.lua`
//! says the same of all replicas together.

use crate::domain::Class;

/// The classes in the order of their lanes.
pub(super) const CLASSES: [Class; 3] = [Class::Interactive, Class::Bulk, Class::Background];

/// While bulk asks wait, one permit of so many is theirs.
const BULK_TURN: usize = 5;

/// Whose turn it is, from the permits that were given so far.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(super) struct Turns {
    /// Permits given to interactive asks since bulk last had its turn, or began to wait.
    since_bulk: usize,
}

impl Turns {
    /// After so many permits to interactive asks in a row.
    pub(super) fn since_bulk(permits: usize) -> Self {
        // It is as much bulk's turn after any more.
        Self { since_bulk: permits.min(BULK_TURN - 1) }
    }

    /// The class that the next permit goes to, where so many wait of each.
    pub(super) fn next(&mut self, waiting: [usize; 3]) -> Class {
        let [interactive, bulk, _] = waiting;
        if bulk > 0 && (interactive == 0 || self.since_bulk + 1 >= BULK_TURN) {
            self.since_bulk = 0;
            Class::Bulk
        } else if interactive > 0 {
            self.since_bulk = if bulk > 0 { self.since_bulk + 1 } else { 0 };
            Class::Interactive
        } else {
            Class::Background
        }
    }

    /// How many permits go to anybody before an ask of `class` that `before` others of its class go before, where so many
    /// wait of each and nobody else comes.
    pub(super) fn ahead(self, class: Class, before: usize, waiting: [usize; 3]) -> usize {
        let [interactive, bulk, _] = waiting;
        match class {
            Class::Interactive => before + bulk.min((before + self.since_bulk) / (BULK_TURN - 1)),
            Class::Bulk => before + interactive.min(((before + 1) * (BULK_TURN - 1)).saturating_sub(self.since_bulk)),
            Class::Background => interactive + bulk + before,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The script of the permits has its own count of it.
    #[test]
    fn replicas_have_the_same_turns() {
        let declared = include_str!("leases.lua").lines().find(|line| line.contains("BULK_TURN")).unwrap();
        let (names, numbers) = declared.trim_start_matches("local ").split_once(" = ").unwrap();
        let place = names.split(", ").position(|name| name == "BULK_TURN").unwrap();
        assert_eq!(numbers.split(", ").nth(place), Some(BULK_TURN.to_string().as_str()));
    }

    #[test]
    fn what_is_ahead_is_what_goes_before() {
        for waiting in [[9, 3, 2], [0, 2, 1], [3, 0, 1], [4, 4, 4], [12, 1, 0]] {
            for (class, before) in CLASSES.into_iter().flat_map(|class| (0..3).map(move |before| (class, before))) {
                if waiting[class as usize] <= before {
                    continue;
                }
                for since_bulk in 0..BULK_TURN {
                    let turns = Turns::since_bulk(since_bulk);
                    let (mut left, mut now, mut gone, mut own) = (waiting, turns, 0, before);
                    loop {
                        let next = now.next(left);
                        left[next as usize] -= 1;
                        if next == class && own == 0 {
                            break;
                        }
                        own -= usize::from(next == class);
                        gone += 1;
                    }
                    assert_eq!(
                        turns.ahead(class, before, waiting),
                        gone,
                        "{class:?} {before} {waiting:?} {since_bulk}"
                    );
                }
            }
        }
    }
}
