//! How many requests are worked on at a time. Those that nobody sits before are let in to half of them, so that they go
//! first when there is too much.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// The requests that are worked on.
#[derive(Debug)]
pub(super) struct Load {
    most: AtomicUsize,
    running: AtomicUsize,
}

/// Whether somebody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// They do.
    Interactive,
    /// They said that they have time.
    Patient,
}

impl Load {
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { most: AtomicUsize::new(most), running: AtomicUsize::new(0) })
    }

    /// From now on so many are.
    pub(super) fn resize(&self, most: usize) {
        self.most.store(most, Ordering::Relaxed);
    }

    /// Lets one more in, if there is room.
    pub(super) fn begin(self: &Arc<Self>, haste: Haste) -> Option<Turn> {
        let most = self.most.load(Ordering::Relaxed);
        let most = match haste {
            Haste::Interactive => most,
            Haste::Patient => most.div_ceil(2),
        };
        let more = |running: usize| (running < most).then_some(running + 1);
        self.running.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        Some(Turn(Arc::clone(self)))
    }
}

/// A request that is worked on, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Load>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_time_is_let_in_to_half() {
        let load = Load::new(5);
        let patient: Vec<_> = (0..3).map(|_| load.begin(Haste::Patient).unwrap()).collect();
        assert!(load.begin(Haste::Patient).is_none());
        let hasty: Vec<_> = (0..2).map(|_| load.begin(Haste::Interactive).unwrap()).collect();
        assert!(load.begin(Haste::Interactive).is_none());
        drop(patient);
        assert!(load.begin(Haste::Interactive).is_some());
        drop(hasty);
        assert_eq!(load.running.load(Ordering::Relaxed), 0);
        assert!(Load::new(1).begin(Haste::Patient).is_some());
    }
}
