//! One scheduler per (account, operation): locks the state, does what it says is to be done, and lets the tasks run that
//! wait for permits, make the calls and land them.

use std::sync::{Arc, Mutex};

use tokio::time::Instant;

use super::flight::Flight;
use super::group::Entry;
use super::peers::{self, Landing};
use super::state::{Action, State, lock};
use super::tasks::{self, Task};
use super::upstream::Upstream;
use super::{Draft, GATHER, GroupKey, Landed, MANY_SLICES, Parts, Peers, SliceCache, Subscriber};
use crate::domain::{Account, CallError, Operation, Sent, Slice, Window};
use crate::error::{Code, WeirError};
use crate::quota::{Call, Limiter, Metered, Permit};
use crate::telemetry::meters::{Origin, SliceMeter};

/// Plans and makes the calls of one (account, operation).
pub struct Scheduler<O: Operation>(Arc<Inner<O>>);

struct Inner<O: Operation> {
    operation: Arc<O>,
    upstream: Box<dyn Upstream<O>>,
    cache: Arc<dyn SliceCache<O>>,
    peers: Option<Arc<dyn Peers<O>>>,
    account: Account,
    meter: Option<SliceMeter>,
    state: Arc<Mutex<State<O>>>,
}

impl<O: Operation> Scheduler<O> {
    /// A scheduler of `account` that shares calls in flight with `peers`, if there are any, and counts the slices that calls
    /// bring, if somebody wants to know.
    pub fn new<C>(
        peers: Option<Arc<dyn Peers<O>>>,
        operation: Arc<O>,
        metered: Metered<C>,
        cache: Arc<dyn SliceCache<O>>,
        account: Account,
        max_rows: u64,
        meter: Option<SliceMeter>,
    ) -> Self
    where
        C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
    {
        let state = Arc::new(Mutex::new(State::new(Arc::clone(&operation), max_rows)));
        Self(Arc::new(Inner { operation, upstream: Box::new(metered), cache, peers, account, meter, state }))
    }

    /// The permits its calls are made with.
    #[must_use]
    pub fn limiter(&self) -> &Limiter {
        self.0.upstream.limiter()
    }

    /// Why nothing is asked now; `None` while the vendor is asked.
    #[must_use]
    pub fn refusal(&self) -> Option<WeirError> {
        self.0.upstream.refusal().map(|refusal| WeirError::from_call(&refusal, &self.0.account))
    }

    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    #[must_use]
    pub fn is_failing(&self) -> bool {
        self.0.upstream.is_failing()
    }

    /// Begins to work out what submitting slices would mean.
    #[must_use]
    pub fn draft(&self) -> Draft<O> {
        Draft::new(Arc::clone(&self.0.state), self.limiter().clone())
    }

    /// Lets each subscriber wait for its run of slices; answers in their order, each with all its parts in order of time.
    /// All that is asked for together belongs in one call, and the tasks are to be spawned once it has been submitted
    /// everywhere. `seen` is the cache's epoch at which the slices were looked up in vain: while it lasts, they are not
    /// looked up again.
    pub fn submit(
        &self,
        wanted: &[(&Slice<O::Subject>, &Arc<Subscriber>)],
        seen: u64,
    ) -> (Vec<Parts<O::Data>>, Vec<Task>) {
        let mut state = lock(&self.0.state);
        // Whoever lands puts what it brought before it tells anybody, so that one of both is seen here.
        let has_changed = self.0.cache.epoch() != seen;
        let fresh = |run: &_, ask: &_| has_changed.then(|| self.0.cache.fresh(run, ask));
        let (found, actions) = state.submit(wanted, fresh, Instant::now());
        let tasks = self.0.act(&mut state, actions);
        (found, tasks)
    }

    /// Those of `slices` that no call is bringing and nobody waits for.
    #[must_use]
    pub fn unawaited<'a>(&self, mut slices: Vec<&'a Slice<O::Subject>>) -> Vec<&'a Slice<O::Subject>> {
        let (now, state) = (Instant::now(), lock(&self.0.state));
        slices.retain(|slice| !state.is_awaited(slice, now));
        slices
    }

    /// Somebody who waited for runs has left: what nobody waits for any more is taken from the queue.
    pub fn leave(&self, runs: &[&Slice<O::Subject>]) {
        if lock(&self.0.state).leave(runs) {
            let inner = Arc::clone(&self.0);
            tasks::spawn([tasks::soon(move || inner.change(|state| state.tidy(Instant::now())))]);
        }
    }
}

impl<O: Operation> Inner<O> {
    /// Changes the state and does what is to be done then.
    fn change(self: &Arc<Self>, change: impl FnOnce(&mut State<O>) -> Vec<Action<O::Subject>>) {
        let mut state = lock(&self.state);
        let actions = change(&mut state);
        let tasks = self.act(&mut state, actions);
        drop(state);
        tasks::spawn(tasks);
    }

    /// Does what is to be done; what takes time is left to the tasks that it answers.
    fn act(self: &Arc<Self>, state: &mut State<O>, actions: Vec<Action<O::Subject>>) -> Vec<Task> {
        let limiter = self.upstream.limiter();
        let act = |action| match action {
            Action::Enqueue(group, class, caller) => {
                let entry = limiter.enqueue(class, caller.clone());
                state.note_entry(&group, Entry { id: entry.id(), class, caller });
                let (inner, id, since) = (Arc::clone(self), entry.id(), Instant::now());
                Some(tasks::with_permit(entry, move |permit| inner.fly(group, id, since, permit)))
            }
            Action::Cancel(entry) => {
                limiter.cancel(entry);
                None
            }
            Action::Lift(Entry { id, class, caller }) => {
                limiter.move_to(id, class, &caller);
                None
            }
            Action::Gather(group) => {
                let inner = Arc::clone(self);
                let go_on = move || inner.change(|state| state.stop_gathering(&group, Instant::now()));
                Some(tasks::after(GATHER, go_on))
            }
        };
        actions.into_iter().filter_map(act).collect()
    }

    /// The permit of an entry is there: makes the call that is due now.
    async fn fly(self: Arc<Self>, group: GroupKey<O::Subject>, entry: u64, since: Instant, permit: Permit) {
        let Some(flight) = self.take_off(group, entry) else { return };
        let landing = match &self.peers {
            None => {
                let result = self.upstream.run(&flight.call, permit, since.elapsed(), &flight).await;
                Landing::Answered(result, None)
            }
            Some(peers) => peers::fly(&flight, permit, peers, &*self.upstream, &*self.cache, since).await,
        };
        if flight.call.window.n_cells_of(self.operation.grid()) <= MANY_SLICES {
            self.land(flight, landing);
        } else {
            tasks::beside(move || self.land(flight, landing)).await;
        }
    }

    fn take_off(self: &Arc<Self>, group: GroupKey<O::Subject>, entry: u64) -> Option<Flight<O>> {
        let mut departure = None;
        self.change(|state| {
            let is_held = |slice: &_| self.cache.has_fresh(slice);
            let (departs, actions) = state.take_off(&group, entry, is_held, Instant::now());
            departure = departs;
            actions
        });
        let (state, facts) = (Arc::clone(&self.state), (self.operation.grid(), self.operation.facts().operation));
        Some(Flight::new(state, facts, self.account.clone(), group, departure?))
    }

    /// Keeps what a call brought, tells everybody who waits, and lets the group go on.
    fn land(self: &Arc<Self>, mut flight: Flight<O>, landing: Landing<O>) {
        match landing {
            Landing::Answered(Ok(Sent { answer, at }), claim) => {
                let cuts = self.operation.cut(&flight.call, answer, at);
                if let (Some(peers), Some(claim)) = (&self.peers, &claim) {
                    tasks::spawn([peers.share(&flight.call, &cuts, at, claim)]);
                }
                let held = self.cache.put(&flight.call.subject, cuts, at);
                self.count(flight.shares());
                self.tell_held(&flight, &held);
            }
            Landing::Answered(Err(error), claim) => {
                if let (Some(peers), Some(claim)) = (&self.peers, &claim) {
                    tasks::spawn([peers.release(claim)]);
                }
                self.tell_failed(&flight, &error);
            }
            Landing::Held(held) => {
                flight.count_collapsed();
                let (own, joined) = flight.shares();
                self.count((0, own + joined));
                self.tell_held(&flight, &held);
            }
        }
        flight.has_landed = true;
        if let Some(refusal) = self.upstream.refusal() {
            let told = Arc::new(WeirError::from_call(&refusal, &self.account));
            self.change(|state| state.send_away(&told, Instant::now()));
        }
    }

    fn count(&self, (own, joined): (usize, usize)) {
        if let Some(meter) = &self.meter {
            meter.handed(Origin::Vendor, own);
            meter.handed(Origin::Joined, joined);
        }
    }

    fn tell_held(self: &Arc<Self>, flight: &Flight<O>, held: &Landed<O::Data>) {
        let outcome = |span: Window| if held.fills(span) { Ok(held.clone()) } else { Err(self.lost()) };
        self.change(|state| state.land(&flight.group, &flight.brought, outcome, false, Instant::now()));
    }

    fn tell_failed(self: &Arc<Self>, flight: &Flight<O>, error: &CallError) {
        let told = Arc::new(WeirError::from_call(error, &self.account));
        if error.is_lasting() {
            self.cache.refuse(&flight.call.subject, &told);
        }
        let outcome = |_| Err(Arc::clone(&told));
        let is_transient = error.is_transient();
        self.change(|state| state.land(&flight.group, &flight.brought, outcome, is_transient, Instant::now()));
    }

    fn lost(&self) -> Arc<WeirError> {
        tracing::error!(account = ?self.account, "a reply was not cut into the slices of its call");
        Arc::new(WeirError::new(Code::Internal, "the reply was lost inside weir").of(&self.account))
    }
}

impl<O: Operation> std::fmt::Debug for Scheduler<O> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Scheduler").field("account", &self.0.account).finish_non_exhaustive()
    }
}
