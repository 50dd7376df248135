//! One desk per (account, operation): gaps of one group gather here until a permit is there, and only then become
//! calls.
//!
//! A place in the limiter's queue is not tied to a call. While a group waits, every new gap of the group is planned
//! together with those still waiting, and the number of queued places follows the number of planned calls; when a place
//! gets its permit, the first call of the plan *as it is then* takes off. While a call of the group is out and none is
//! queued, new gaps gather until it ends, [`GATHER`] at most. Groups never wait for one another.

use std::collections::{HashMap, HashSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::flight::Flight;
use super::plan::{group_of, plan, serves};
use super::waiter::{Cohort, News, Promise, Waiter};
use super::{Draft, Errand, Peers, Shelf, errand};
use crate::domain::{Account, Caller, Class, Held, Operation, Sent, Slice, Subject, Window};
use crate::error::WeirError;
use crate::quota::{Call, Limiter, Metered};

/// How long new gaps of a group gather at most while a call of the group is out.
pub(super) const GATHER: Duration = Duration::from_millis(250);

/// What the gaps of one plan share.
pub type GroupKey<S> = (S, Option<Window>);

/// A slice at the desk: there already, or promised.
#[derive(Debug)]
pub enum Found<D> {
    /// It was fetched between two looks.
    Held(Arc<Held<D>>),
    /// A call will bring it.
    Promised(Promise<D>),
}

/// Plans and makes the calls of one (account, operation).
#[derive(Debug)]
pub struct Desk<O: Operation, C>(Arc<Inner<O, C>>);

pub(super) struct Inner<O: Operation, C> {
    pub(super) operation: Arc<O>,
    pub(super) metered: Metered<C>,
    pub(super) shelf: Arc<dyn Shelf<O>>,
    pub(super) peers: Option<Arc<dyn Peers<O>>>,
    pub(super) account: Account,
    pub(super) max_rows: u64,
    pub(super) state: Mutex<State<O>>,
}

pub(super) struct State<O: Operation> {
    pub(super) gaps: HashMap<Slice<O::Subject>, Gap<O::Data>>,
    pub(super) groups: HashMap<GroupKey<O::Subject>, Group<O::Subject>>,
    /// Groups that somebody has left, and that nobody has looked at since.
    left: Vec<GroupKey<O::Subject>>,
}

/// A slice that is waited for, or that a call in flight will bring.
pub(super) struct Gap<D> {
    /// The first `on_time` of them joined before the last attempt was sent.
    pub(super) cohorts: Vec<Cohort<D>>,
    pub(super) on_time: usize,
    pub(super) is_out: bool,
    /// Where the call that is out waits for the permit of another attempt, or has waited.
    pub(super) place: Option<(u64, Class)>,
}

pub(super) struct Group<S> {
    pub(super) waiting: Vec<Slice<S>>,
    pub(super) places: Vec<(u64, Class)>,
    pub(super) out: usize,
    pub(super) is_gathering: bool,
}

impl<O, C> Desk<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// A desk of `account` that shares calls in flight with `peers`, if there are any.
    pub fn new(
        peers: Option<Arc<dyn Peers<O>>>,
        operation: Arc<O>,
        metered: Metered<C>,
        shelf: Arc<dyn Shelf<O>>,
        account: Account,
        max_rows: u64,
    ) -> Self {
        let state = Mutex::new(State { gaps: HashMap::new(), groups: HashMap::new(), left: Vec::new() });
        Self(Arc::new(Inner { operation, metered, shelf, peers, account, max_rows, state }))
    }

    /// The permits its calls are made with.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        self.0.metered.limiter()
    }

    /// Why nothing is asked now; `None` while the vendor is asked.
    #[must_use]
    pub fn refusal(&self) -> Option<WeirError> {
        self.0.metered.refusal().map(|refusal| WeirError::from_call(&refusal, &self.0.account))
    }

    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.metered.is_failing()
    }

    /// Begins to work out what submitting slices would mean.
    #[must_use]
    pub fn draft(&self) -> Draft<O, C> {
        Draft::new(Arc::clone(&self.0))
    }

    /// Lets each waiter wait for its slice; answers in their order. All that is asked for together belongs in one call,
    /// and the errands are to be spawned once it has been submitted everywhere.
    pub fn submit(&self, wanted: &[(&Slice<O::Subject>, &Arc<Waiter>)]) -> (Vec<Found<O::Data>>, Vec<Errand>) {
        let mut state = self.0.lock();
        let mut touched = Vec::new();
        let found = wanted
            .iter()
            .map(|(slice, waiter)| {
                if let Some(key) = state.gap_for(slice)
                    && let Some(gap) = state.gaps.get_mut(&key)
                {
                    if gap.is_out {
                        waiter.ask.tally.count_collapsed(1);
                        if let Some((place, class)) = &mut gap.place
                            && waiter.ask.class < *class
                        {
                            *class = waiter.ask.class;
                            self.limiter().move_to(*place, *class);
                        }
                    } else {
                        // The newcomer may be more urgent.
                        touched.push(group_of(&*self.0.operation, slice));
                    }
                    return Found::Promised(gap.join(waiter));
                }
                if let Some(held) = self.0.shelf.fresh(slice, &waiter.ask) {
                    waiter.ask.tally.count_hits(1);
                    return Found::Held(held);
                }
                let group = group_of(&*self.0.operation, slice);
                let mut gap = Gap { cohorts: Vec::new(), on_time: 0, is_out: false, place: None };
                let promise = gap.join(waiter);
                state.gaps.insert((*slice).clone(), gap);
                state.groups.entry(group.clone()).or_default().waiting.push((*slice).clone());
                touched.push(group);
                Found::Promised(promise)
            })
            .collect();
        (found, self.0.reconcile_all(&mut state, touched))
    }

    /// Those of `slices` that no call is bringing and nobody waits for.
    #[must_use]
    pub fn unawaited<'a>(&self, mut slices: Vec<&'a Slice<O::Subject>>) -> Vec<&'a Slice<O::Subject>> {
        let (now, state) = (Instant::now(), self.0.lock());
        let gap = |slice: &Slice<O::Subject>| state.gaps.get(&state.gap_for(slice)?);
        slices.retain(|slice| !gap(slice).is_some_and(|gap| gap.is_out || gap.is_wanted(now)));
        slices
    }

    /// Somebody who waited for `slices` has left: what nobody waits for any more is taken from the queue. Many fields
    /// leave together, so that this is done once for all of them.
    pub fn leave(&self, slices: &[&Slice<O::Subject>]) {
        let mut state = self.0.lock();
        let is_first = state.left.is_empty();
        state.left.extend(slices.iter().map(|slice| group_of(&*self.0.operation, slice)));
        drop(state);
        if is_first {
            errand::spawn([errand::tidy(&self.0)]);
        }
    }
}

impl<O, C> Inner<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    pub(super) fn lock(&self) -> MutexGuard<'_, State<O>> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// How long a slice that waits already would wait for its permit if somebody of `class` joined it.
    pub(super) fn queued_wait(&self, state: &State<O>, group: &GroupKey<O::Subject>, class: Class) -> Duration {
        let limiter = self.metered.limiter();
        let lifted = limiter.expected_wait(class, 1);
        let places = state.groups.get(group).map(|group| group.places.as_slice()).unwrap_or_default();
        let last = places.iter().filter_map(|(place, _)| limiter.expected_wait_of(*place)).max();
        last.map_or(lifted, |queued| queued.min(lifted))
    }

    /// Reconciles each of the groups once, in the order of their first mention.
    fn reconcile_all(
        self: &Arc<Self>,
        state: &mut State<O>,
        groups: impl IntoIterator<Item = GroupKey<O::Subject>>,
    ) -> Vec<Errand> {
        let mut seen = HashSet::new();
        let groups = groups.into_iter().filter(|group| seen.insert(group.clone()));
        groups.flat_map(|group| self.reconcile(state, &group, false)).collect()
    }

    /// Makes the queued places of a group match its plan. `gathered` says that waiting for the call that is out has
    /// ended.
    pub(super) fn reconcile(
        self: &Arc<Self>,
        state: &mut State<O>,
        key: &GroupKey<O::Subject>,
        gathered: bool,
    ) -> Vec<Errand> {
        let State { gaps, groups, .. } = state;
        let Some(group) = groups.get_mut(key) else { return Vec::new() };
        let now = Instant::now();
        group.forget_unwanted(gaps, now);
        if gathered {
            group.is_gathering = false;
        }
        let mut errands = Vec::new();
        if !group.waiting.is_empty() && group.out > 0 && group.places.is_empty() && !gathered {
            if !group.is_gathering {
                group.is_gathering = true;
                errands.push(errand::later(self, key, GATHER));
            }
            return errands;
        }
        let classes: Vec<Class> = {
            let waiting: Vec<_> = group.waiting.iter().collect();
            let calls = plan(&*self.operation, &waiting, self.max_rows);
            let mut classes: Vec<_> = calls.iter().map(|call| group.class_of(gaps, call, now)).collect();
            classes.sort_unstable();
            classes
        };
        while group.places.len() > classes.len()
            && let Some((place, _)) = group.places.pop()
        {
            self.metered.limiter().cancel(place);
        }
        for (at, class) in classes.into_iter().enumerate() {
            match group.places.get_mut(at) {
                Some((_, known)) if *known <= class => {}
                Some((place, known)) => {
                    self.metered.limiter().move_to(*place, class);
                    *known = class;
                }
                None => {
                    let caller = group.caller(gaps, now);
                    let place = self.metered.limiter().enqueue(class, caller);
                    group.places.push((place.id(), class));
                    errands.push(errand::make(self, key, place));
                }
            }
        }
        if group.waiting.is_empty() && group.out == 0 {
            groups.remove(key);
        }
        errands
    }

    /// Nothing is asked for a while: nobody needs to wait for that.
    pub(super) fn send_away(self: &Arc<Self>, told: &Arc<WeirError>) {
        let mut guard = self.lock();
        let State { gaps, groups, .. } = &mut *guard;
        for slice in groups.values_mut().flat_map(|group| std::mem::take(&mut group.waiting)) {
            if let Some(gap) = gaps.remove(&slice) {
                gap.cohorts.iter().for_each(|cohort| cohort.tell(&Err(Arc::clone(told))));
            }
        }
        let keys: Vec<_> = groups.keys().cloned().collect();
        let errands = self.reconcile_all(&mut guard, keys);
        drop(guard);
        errand::spawn(errands);
    }

    /// Takes from the queue what nobody waits for any more.
    pub(super) fn tidy(self: &Arc<Self>) {
        let mut state = self.lock();
        let left = std::mem::take(&mut state.left);
        let errands = self.reconcile_all(&mut state, left);
        drop(state);
        errand::spawn(errands);
    }

    /// A call of the group that is out has been waited for long enough.
    pub(super) fn stop_gathering(self: &Arc<Self>, key: &GroupKey<O::Subject>) {
        let mut state = self.lock();
        let is_gathering = state.groups.get(key).is_some_and(|group| group.is_gathering);
        let errands = if is_gathering { self.reconcile(&mut state, key, true) } else { Vec::new() };
        drop(state);
        errand::spawn(errands);
    }

    /// The permit of `place` is there: the most urgent call of the plan takes off; `None` if there is none any more.
    pub(super) fn take_off(self: &Arc<Self>, key: &GroupKey<O::Subject>, place: u64) -> Option<Flight<O, C>> {
        let now = Instant::now();
        let mut guard = self.lock();
        let State { gaps, groups, .. } = &mut *guard;
        let group = groups.get_mut(key)?;
        group.places.retain(|(id, _)| *id != place);
        group.forget_unwanted(gaps, now);
        let calls = plan(&*self.operation, &group.waiting.iter().collect::<Vec<_>>(), self.max_rows);
        let Some(call) = calls.into_iter().min_by_key(|call| group.class_of(gaps, call, now)) else {
            // Whoever waited has gone: so does the group, unless a call of it is out.
            self.reconcile(&mut guard, key, false);
            return None;
        };

        let mut slices: Vec<_> = group.waiting.extract_if(.., |slice| serves(&call, slice)).collect();
        group.out += 1;
        for slice in &slices {
            if let Some(gap) = gaps.get_mut(slice) {
                gap.is_out = true;
                gap.on_time = gap.cohorts.len();
                gap.cohorts.iter().for_each(|cohort| cohort.note(News::UnderWay));
            }
        }
        let owner = slices.iter().find_map(|slice| gaps.get(slice)?.waiters().find(|w| w.is_present(now))).cloned();
        // What else the call brings may be joined as well.
        for window in self.operation.grid().into_iter().flat_map(|step| call.window.cells(step)) {
            let slice = Slice { subject: call.subject.clone(), window };
            if !gaps.contains_key(&slice) && !self.shelf.has_fresh(&slice) {
                gaps.insert(slice.clone(), Gap { cohorts: Vec::new(), on_time: 0, is_out: true, place: None });
                slices.push(slice);
            }
        }
        let errands = self.reconcile(&mut guard, key, false);
        drop(guard);
        errand::spawn(errands);
        Some(Flight {
            desk: Arc::clone(self),
            group: key.clone(),
            call,
            slices,
            owner,
            claimed: None,
            has_landed: false,
        })
    }
}

impl<O: Operation> State<O> {
    /// The slice under which somebody already waits for this one.
    pub(super) fn gap_for(&self, slice: &Slice<O::Subject>) -> Option<Slice<O::Subject>> {
        let whole = slice.subject.whole().map(|subject| Slice { subject, window: slice.window });
        whole
            .filter(|whole| self.gaps.contains_key(whole))
            .or_else(|| self.gaps.contains_key(slice).then(|| slice.clone()))
    }
}

impl<D> Gap<D> {
    pub(super) fn waiters(&self) -> impl Iterator<Item = &Arc<Waiter>> {
        self.cohorts.iter().flat_map(|cohort| &cohort.waiters)
    }

    fn is_wanted(&self, now: Instant) -> bool {
        self.waiters().any(|waiter| waiter.is_present(now))
    }

    fn join(&mut self, waiter: &Arc<Waiter>) -> Promise<D> {
        if self.cohorts.len() == self.on_time {
            self.cohorts.push(Cohort::new(if self.is_out { News::UnderWay } else { News::Queued }));
        }
        let last = self.cohorts.len() - 1;
        self.cohorts[last].join(waiter)
    }
}

impl<S: Subject> Group<S> {
    /// What nobody waits for any more is not planned any more.
    fn forget_unwanted<D>(&mut self, gaps: &mut HashMap<Slice<S>, Gap<D>>, now: Instant) {
        self.waiting.retain(|slice| {
            let is_wanted = gaps.get(slice).is_some_and(|gap| gap.is_wanted(now));
            if !is_wanted {
                gaps.remove(slice);
            }
            is_wanted
        });
    }

    fn class_of<D>(&self, gaps: &HashMap<Slice<S>, Gap<D>>, call: &Slice<S>, now: Instant) -> Class {
        let served = self.waiting.iter().filter(|slice| serves(call, slice));
        let waiters = served.filter_map(|slice| gaps.get(slice)).flat_map(Gap::waiters);
        waiters.filter(|waiter| waiter.is_present(now)).map(|waiter| waiter.ask.class).min().unwrap_or_default()
    }

    fn caller<D>(&self, gaps: &HashMap<Slice<S>, Gap<D>>, now: Instant) -> Caller {
        let mut waiters = self.waiting.iter().filter_map(|slice| gaps.get(slice)).flat_map(Gap::waiters);
        waiters.find(|waiter| waiter.is_present(now)).map(|waiter| waiter.ask.caller.clone()).unwrap_or_default()
    }
}

impl<S> Default for Group<S> {
    fn default() -> Self {
        Self { waiting: Vec::new(), places: Vec::new(), out: 0, is_gathering: false }
    }
}

impl<O: Operation, C> std::fmt::Debug for Inner<O, C> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Desk").field("account", &self.account).finish_non_exhaustive()
    }
}
