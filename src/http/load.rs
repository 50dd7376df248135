//! How many requests are worked on at a time, and how many of one caller. Those that nobody sits before are let in to half of
//! them, so that they go first when there is too much.

use std::collections::HashMap;
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
    room: Room,
    running: usize,
    /// Of those who have said who they are.
    by_caller: HashMap<Caller, usize>,
}

/// How many requests there is room for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Room {
    pub(super) all: usize,
    /// Of one caller; zero for a quarter of all, and [`LEAST_PER_CALLER`] at least.
    pub(super) per_caller: usize,
    pub(super) shadow: Shadow,
}

/// So many requests one caller may have, however few there are.
const LEAST_PER_CALLER: usize = 64;

impl Room {
    fn per_caller(self) -> usize {
        if self.per_caller == 0 { (self.all / 4).max(LEAST_PER_CALLER) } else { self.per_caller }
    }
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
    /// So many are worked on; more are counted.
    pub(super) fn new(room: Room, meters: Arc<Meters>) -> Arc<Self> {
        let state = State { room, running: 0, by_caller: HashMap::new() };
        Arc::new(Self { state: Mutex::new(state), meters })
    }

    /// From now on so many are.
    pub(super) fn resize(&self, room: Room) {
        self.lock().room = room;
    }

    /// Lets one more in, if there is room.
    pub(super) fn begin(self: &Arc<Self>, haste: Haste, caller: &Caller) -> Result<Turn, Full> {
        let known = (!caller.is_anonymous()).then_some(caller);
        let mut state = self.lock();
        let shadow = state.room.shadow;
        let full = [state.full(haste), known.and_then(|known| state.full_of(haste, known))];
        let refused = full.iter().flatten().find(|full| !shadow.holds(full.limit)).copied();
        if refused.is_none() {
            state.enter(known);
        }
        drop(state);
        if let Some(refused) = refused {
            self.meters.refused(refused.limit, caller);
            return Err(refused);
        }
        for full in full.iter().flatten() {
            self.meters.shadowed(full.limit, caller);
        }
        Ok(Turn { load: Arc::clone(self), caller: known.cloned() })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// What leaves no room for one more, if anything does.
    fn full(&self, haste: Haste) -> Option<Full> {
        let most = haste.share_of(self.room.all);
        (self.running >= most).then_some(Full { limit: LimitName::Requests, most })
    }

    /// The same for one more of a caller. Whoever shows nothing cannot be told from others, and is no one caller.
    fn full_of(&self, haste: Haste, caller: &Caller) -> Option<Full> {
        let most = haste.share_of(self.room.per_caller());
        let is_full = self.by_caller.get(caller).is_some_and(|running| *running >= most);
        is_full.then_some(Full { limit: LimitName::RequestsPerCaller, most })
    }

    fn enter(&mut self, caller: Option<&Caller>) {
        self.running += 1;
        let Some(caller) = caller else { return };
        match self.by_caller.get_mut(caller) {
            Some(running) => *running += 1,
            None => drop(self.by_caller.insert(caller.clone(), 1)),
        }
    }

    fn leave(&mut self, caller: Option<&Caller>) {
        self.running -= 1;
        let Some(caller) = caller else { return };
        if let Some(running) = self.by_caller.get_mut(caller) {
            *running -= 1;
            if *running == 0 {
                self.by_caller.remove(caller);
            }
        }
    }
}

/// A request that is worked on, until this is dropped.
#[derive(Debug)]
pub(super) struct Turn {
    load: Arc<Load>,
    caller: Option<Caller>,
}

impl Drop for Turn {
    fn drop(&mut self) {
        self.load.lock().leave(self.caller.as_ref());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::{Identity, Rights, Timestamp};

    fn room(all: usize, per_caller: usize, shadow: &[LimitName]) -> Room {
        Room { all, per_caller, shadow: shadow.iter().copied().collect() }
    }

    fn load(all: usize, shadow: &[LimitName]) -> Arc<Load> {
        Load::new(room(all, 0, shadow), Meters::new(Timestamp::from_ms(0)).unwrap())
    }

    fn known(name: &str) -> Caller {
        Caller::known(Identity::new(name, Rights::default(), None))
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
        load.resize(room(1, 0, &[]));
        assert!(begin(&load, Haste::Interactive).is_none(), "those who are in are counted");
        drop(all);
        assert!(begin(&load, Haste::Interactive).is_some());
    }

    #[test]
    fn one_caller_has_its_share_and_leaves_room_for_others() {
        let load = load(9, &[]);
        load.resize(room(9, 2, &[]));
        let (one, other) = (known("one"), known("other"));
        let _patient = load.begin(Haste::Patient, &one).unwrap();
        let full = |most| Full { limit: LimitName::RequestsPerCaller, most };
        assert_eq!(load.begin(Haste::Patient, &one).err(), Some(full(1)));
        let hasty = load.begin(Haste::Interactive, &one).unwrap();
        assert_eq!(load.begin(Haste::Interactive, &one).err(), Some(full(2)));
        let _others =
            [load.begin(Haste::Interactive, &other).unwrap(), load.begin(Haste::Interactive, &other).unwrap()];
        let _nobodys: Vec<_> = (0..3).map(|_| begin(&load, Haste::Interactive).unwrap()).collect();
        drop(hasty);
        assert!(load.begin(Haste::Interactive, &one).is_ok(), "what has ended counts no more");
        load.resize(room(9, 1, &[LimitName::RequestsPerCaller]));
        let _beyond = load.begin(Haste::Interactive, &one).unwrap();
    }

    #[test]
    fn nobody_is_remembered_who_has_left() {
        let load = load(9, &[]);
        drop([load.begin(Haste::Patient, &known("one")), load.begin(Haste::Interactive, &known("other"))]);
        assert!(load.lock().by_caller.is_empty());
        assert_eq!((room(1_000, 0, &[]).per_caller(), room(9, 0, &[]).per_caller()), (250, LEAST_PER_CALLER));
    }
}
