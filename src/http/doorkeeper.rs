//! Who comes a second time: caches keep what is asked for again, and texts that are new each time cost them nothing.

use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

/// How many of the last comers are remembered, about.
const PLACES: usize = 4_096;

/// Remembers the hashes of those who came last. A wrong answer, when two hashes are the same, lets something in early: it
/// never decides what a key means.
#[derive(Debug)]
pub(super) struct Doorkeeper {
    hasher: RandomState,
    last: Box<[AtomicU64]>,
}

impl Doorkeeper {
    pub(super) fn new() -> Self {
        Self { hasher: RandomState::new(), last: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether the key has come before, as far as is remembered.
    pub(super) fn lets_in(&self, key: &(impl Hash + ?Sized)) -> bool {
        let hash = self.hasher.hash_one(key);
        let place = usize::try_from(hash % PLACES as u64).ok().and_then(|place| self.last.get(place));
        place.is_some_and(|last| last.swap(hash, Ordering::Relaxed) == hash)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_time_is_let_in() {
        let door = Doorkeeper::new();
        for key in ["a", "b", "c"] {
            assert!(!door.lets_in(key), "{key}");
        }
        assert!(door.lets_in("a") && door.lets_in("b") && door.lets_in("a"));
        let is_forgotten = (0..10 * PLACES).filter(|n| !door.lets_in(n)).count();
        assert!(is_forgotten > 9 * PLACES && !door.lets_in("c"), "others took the places");
    }
}
