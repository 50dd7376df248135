//! How many requests are worked on at a time. Those that nobody sits before are let in to half of them, so that they go
//! first when there is too much.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use super::overload::Full;
use crate::domain::{Caller, LimitName, Shadow};
use crate::telemetry::meters::Meters;

/// The requests that are worked on.
#[derive(Debug)]
pub(super) struct Load {
    state: Mutex<State>,
    meters: Arc<Meters>,
}

#[derive(Debug)]
struct State {
    most: usize,
    shadow: Shadow,
    running: usize,
}

/// Whether somebody waits for the answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Haste {
    /// They do.
    Interactive,
    /// They said that they have time.
    Patient,
}

impl Haste {
    /// How many of so many requests may be of this kind.
    fn share_of(self, most: usize) -> usize {
        match self {
            Self::Interactive => most,
            Self::Patient => most.div_ceil(2),
        }
    }
}

impl Load {
    /// So many are worked on, and more are counted.
    pub(super) fn new(most: usize, shadow: Shadow, meters: Arc<Meters>) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(State { most, shadow, running: 0 }), meters })
    }

    /// From now on so many are.
    pub(super) fn resize(&self, most: usize, shadow: Shadow) {
        let mut state = self.lock();
        (state.most, state.shadow) = (most, shadow);
    }

    /// Lets one more in, if there is room.
    pub(super) fn begin(self: &Arc<Self>, haste: Haste, caller: &Caller) -> Result<Turn, Full> {
        let mut state = self.lock();
        let full = state.full(haste);
        if let Some(full) = full
            && !state.shadow.holds(full.limit)
        {
            drop(state);
            self.meters.refused(full.limit, caller);
            return Err(full);
        }
        state.running += 1;
        drop(state);
        if let Some(full) = full {
            self.meters.shadowed(full.limit, caller);
        }
        Ok(Turn(Arc::clone(self)))
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What leaves no room for one more, if anything does.
    fn full(&self, haste: Haste) -> Option<Full> {
        let most = haste.share_of(self.most);
        (self.running >= most).then_some(Full { limit: LimitName::Requests, most })
    }
}

/// A request that is worked on, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn(Arc<Load>);

impl Drop for Turn {
    fn drop(&mut self) {
        self.0.lock().running -= 1;
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Timestamp;

    fn load(most: usize, shadow: &[LimitName]) -> Arc<Load> {
        Load::new(most, shadow.iter().copied().collect(), Meters::new(Timestamp::from_ms(0)).unwrap())
    }

    fn begin(load: &Arc<Load>, haste: Haste) -> Option<Turn> {
        load.begin(haste, &Caller::Anonymous).ok()
    }

    #[test]
    fn who_has_time_is_let_in_to_half() {
        let load = load(5, &[]);
        let patient: Vec<_> = (0..3).map(|_| begin(&load, Haste::Patient).unwrap()).collect();
        assert!(begin(&load, Haste::Patient).is_none());
        let hasty: Vec<_> = (0..2).map(|_| begin(&load, Haste::Interactive).unwrap()).collect();
        assert!(begin(&load, Haste::Interactive).is_none());
        drop(patient);
        assert!(begin(&load, Haste::Interactive).is_some());
        drop(hasty);
        assert_eq!(load.lock().running, 0);
        assert!(begin(&self::load(1, &[]), Haste::Patient).is_some());
    }

    #[test]
    fn what_is_only_counted_lets_everybody_in() {
        let load = load(1, &[LimitName::Requests]);
        let all: Vec<_> = (0..9).map(|_| begin(&load, Haste::Patient).unwrap()).collect();
        load.resize(1, Shadow::default());
        assert!(begin(&load, Haste::Interactive).is_none(), "those who are in are counted");
        drop(all);
        assert!(begin(&load, Haste::Interactive).is_some());
    }
}
