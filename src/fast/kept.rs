//! What is asked for more than once is kept; what is new each time costs no memory.

use std::borrow::Borrow;
use std::hash::{BuildHasher, Hash, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};

use moka::sync::Cache;

use crate::telemetry::meters::CacheReading;

/// One value takes at most so much of the memory for all of them: one over `LARGEST`. A few large ones would drive out
/// all others.
const LARGEST: usize = 8;

/// Values by their keys, which are compared whole.
pub(super) struct Kept<K, V> {
    /// `None` where nothing is kept.
    values: Option<Values<K, V>>,
    max_bytes: u64,
}

struct Values<K, V> {
    cache: Cache<K, V>,
    door: Doorkeeper,
    weigh: fn(&K, &V) -> usize,
    /// What a value may weigh.
    most: usize,
}

impl<K, V> Kept<K, V>
where
    K: Hash + Eq + Send + Sync + 'static,
    V: Clone + Send + Sync + 'static,
{
    /// Keeps at most `max_bytes`, as `weigh` counts them; nothing at all with 0.
    pub(super) fn new(max_bytes: u64, weigh: fn(&K, &V) -> usize) -> Self {
        let weigher = move |key: &K, value: &V| u32::try_from(weigh(key, value)).unwrap_or(u32::MAX);
        let values = (max_bytes > 0).then(|| Values {
            cache: Cache::builder().max_capacity(max_bytes).weigher(weigher).build(),
            door: Doorkeeper::new(),
            weigh,
            most: usize::try_from(max_bytes).unwrap_or(usize::MAX) / LARGEST,
        });
        Self { values, max_bytes }
    }

    /// Forgets everything.
    pub(super) fn clear(&self) {
        if let Some(values) = &self.values {
            values.cache.invalidate_all();
        }
    }

    /// How it stands.
    pub(super) fn reading(&self) -> CacheReading {
        let Some(Values { cache, .. }) = &self.values else { return CacheReading::default() };
        cache.run_pending_tasks();
        let (bytes, entries) = (cache.weighted_size(), cache.entry_count());
        CacheReading { bytes, max_bytes: self.max_bytes, entries, ..CacheReading::default() }
    }

    /// What is kept under the key.
    pub(super) fn get<Q>(&self, key: &Q) -> Option<V>
    where
        K: Borrow<Q>,
        Q: Hash + Eq + ?Sized,
    {
        self.values.as_ref().and_then(|values| values.cache.get(key))
    }

    /// Keeps a value that is not too large, if its key comes a second time; only then `entry` has to make them.
    pub(super) fn put(&self, key: &(impl Hash + ?Sized), entry: impl FnOnce() -> (K, V)) {
        let Some(values) = self.values.as_ref().filter(|values| values.door.lets_in(key)) else { return };
        let (key, value) = entry();
        if (values.weigh)(&key, &value) <= values.most {
            values.cache.insert(key, value);
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
    fn nothing_is_kept_in_too_little_room() {
        for (max_bytes, found) in [(800, Some(7)), (799, None), (0, None)] {
            let kept: Kept<String, u32> = Kept::new(max_bytes, |_, _| 100);
            kept.put("a", || unreachable!("it comes for the first time"));
            kept.put("a", || ("a".to_owned(), 7));
            assert_eq!(kept.get("a"), found);
        }
    }
}
