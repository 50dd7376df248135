//! Memory that all requests share: what each of them holds is reserved first.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// Bytes that may be reserved by all together.
#[derive(Debug)]
pub struct MemoryPool {
    most: AtomicUsize,
    reserved: AtomicUsize,
}

impl MemoryPool {
    /// So many bytes.
    #[must_use]
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(most), reserved: AtomicUsize::new(0) })
    }

    /// From now on there are so many bytes; what is reserved already stays so.
    pub fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// The bytes that there are.
    #[must_use]
    pub fn most(&self) -> usize {
        self.most.load(Ordering::Relaxed)
    }

    /// The bytes that are reserved.
    #[must_use]
    pub fn reserved(&self) -> usize {
        self.reserved.load(Ordering::Relaxed)
    }

    /// A reservation of nothing as yet.
    #[must_use]
    pub fn reservation(self: &Arc<Self>) -> Reservation {
        Reservation { pool: Arc::clone(self), bytes: Mutex::new(0) }
    }
}

/// Bytes of a pool, until this is dropped.
#[derive(Debug)]
pub struct Reservation {
    pool: Arc<MemoryPool>,
    bytes: Mutex<usize>,
}

impl Reservation {
    /// What it is of.
    #[must_use]
    pub fn pool(&self) -> &MemoryPool {
        &self.pool
    }

    /// The bytes that are reserved by it.
    #[must_use]
    pub fn bytes(&self) -> usize {
        *self.lock()
    }

    /// Reserves so many bytes instead, unless all together would then be more than `most`. Fewer than before always fit.
    pub fn try_resize(&self, bytes: usize, most: usize) -> bool {
        self.resize_if(bytes, |others| bytes <= most.saturating_sub(others))
    }

    /// The same, where one that is alone may be as large as it wants.
    pub fn try_resize_alone(&self, bytes: usize, most: usize) -> bool {
        self.resize_if(bytes, |others| others == 0 || bytes <= most.saturating_sub(others))
    }

    /// Reserves so many bytes instead, whether there is room for them or not.
    pub fn resize(&self, bytes: usize) {
        self.resize_if(bytes, |_| true);
    }

    /// `fits` is asked what others have reserved.
    fn resize_if(&self, bytes: usize, fits: impl Fn(usize) -> bool) -> bool {
        let mut own = self.lock();
        let resized = self.pool.reserved.try_update(Ordering::Relaxed, Ordering::Relaxed, |all| {
            let others = all.saturating_sub(*own);
            (bytes <= *own || fits(others)).then(|| others.saturating_add(bytes))
        });
        if resized.is_ok() {
            *own = bytes;
        }
        resized.is_ok()
    }

    fn lock(&self) -> MutexGuard<'_, usize> {
        self.bytes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.resize(0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_together_reserve_no_more_than_there_is() {
        let pool = MemoryPool::new(100);
        let (one, other) = (pool.reservation(), pool.reservation());
        assert!(one.try_resize(60, pool.most()) && other.try_resize(40, pool.most()));
        assert!(!other.try_resize(41, pool.most()) && !one.try_resize_alone(61, pool.most()));
        assert_eq!((one.bytes(), other.bytes(), pool.reserved()), (60, 40, 100));
        pool.resize(50);
        assert!(one.try_resize(59, pool.most()), "less always fits");
        drop(other);
        assert!(!one.try_resize(60, pool.most()) && one.try_resize_alone(1_000, pool.most()));
        let third = pool.reservation();
        assert!(!third.try_resize_alone(1, pool.most()), "it is not alone");
        third.resize(7);
        drop(one);
        assert_eq!(pool.reserved(), 7);
        drop(third);
        assert_eq!(pool.reserved(), 0);
    }

    #[test]
    fn threads_that_reserve_at_once_are_all_counted() {
        let pool = MemoryPool::new(1_000);
        let shared = pool.reservation();
        std::thread::scope(|scope| {
            for _ in 0..4 {
                scope.spawn(|| {
                    for bytes in 1..2_000 {
                        let own = pool.reservation();
                        own.try_resize(bytes % 400, pool.most());
                        shared.try_resize(bytes % 300, pool.most());
                        assert!(pool.reserved() <= 1_000);
                    }
                });
            }
        });
        drop(shared);
        assert_eq!(pool.reserved(), 0);
    }
}
