//! What is asked for more than once is kept; what is new each time costs no memory.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;

use crate::telemetry::meters::CacheReading;

/// Values by their keys, which are compared whole.
pub(super) struct Kept<K, V>(Option<(Cache<K, V>, Doorkeeper)>, u64);

impl<K, V> Kept<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps at most `max_bytes`, as `weigh` counts them; nothing at all with 0.
    pub(super) fn new(max_bytes: u64, weigh: fn(&K, &V) -> usize) -> Self {
        let weigher = move |key: &K, value: &V| u32::try_from(weigh(key, value)).unwrap_or(u32::MAX);
        let cache = || Cache::builder().max_capacity(max_bytes).weigher(weigher).build();
        Self((max_bytes > 0).then(|| (cache(), Doorkeeper::new())), max_bytes)
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        if let Some((cache, _)) = &self.0 {
            cache.invalidate_all();
        }
    }

    /// How it stands.
    pub(super) fn reading(&self) -> CacheReading {
        let Some((cache, _)) = &self.0 else { return CacheReading::default() };
        cache.run_pending_tasks();
        let (bytes, entries) = (cache.weighted_size(), cache.entry_count());
        CacheReading { bytes, max_bytes: self.1, entries, ..CacheReading::default() }
    }

    /// What is kept under the key.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.0.as_ref().and_then(|(cache, _)| cache.get(key))
    }

    /// Keeps a value, if its key comes a second time; only then `entry` has to make them.
    pub(super) fn put(&self, key: &(impl Hash + ?Sized), entry: impl FnOnce() -> (K, V)) {
        if let Some((cache, _)) = self.0.as_ref().filter(|(_, door)| door.lets_in(key)) {
            let (key, value) = entry();
            cache.insert(key, value);
        }
    }
}

/// How many of the last comers are remembered, about.
const PLACES: usize = 4_096;

/// Remembers the hashes of those who came last. A wrong answer, when two hashes are the same, lets something in early: it
/// never decides what a key means.
#[derive(Debug)]
struct Doorkeeper {
    hasher: RandomState,
    last: Box<[AtomicU64]>,
}

impl Doorkeeper {
    fn new() -> Self {
        Self { hasher: RandomState::new(), last: (0..PLACES).map(|_| AtomicU64::new(0)).collect() }
    }

    /// Whether the key has come before, as far as is remembered.
    fn lets_in(&self, key: &(impl Hash + ?Sized)) -> bool {
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

    #[test]
    fn nothing_is_kept_in_no_room() {
        for (max_bytes, found) in [(1_000, Some(7)), (0, None)] {
            let kept: Kept<String, u32> = Kept::new(max_bytes, |_, _| 1);
            kept.put("a", || unreachable!("it comes for the first time"));
            kept.put("a", || ("a".to_owned(), 7));
            assert_eq!(kept.get("a"), found);
        }
    }
}
