//! A call that has taken off: what it brings, and who waits for it.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::group::Brought;
use super::state::{Departure, State, lock};
use super::subscriber::Subscriber;
use super::{GroupKey, Landed, SliceCache};
use crate::domain::{Account, Caller, Class, Operation, Slice, Step, Vendor, Window};
use crate::error::{Code, WeirError};
use crate::quota::Audience;

/// A call that has taken off, and the slices it brings. Dropped before it has landed, it tells those who wait that it
/// never will.
pub(super) struct Flight<O: Operation> {
    state: Arc<Mutex<State<O>>>,
    grid: Option<Duration>,
    operation: &'static str,
    account: Account,
    pub(super) group: GroupKey<O::Subject>,
    pub(super) call: Slice<O::Subject>,
    pub(super) brought: Brought<O::Subject>,
    owner: Option<Arc<Subscriber>>,
    pub(super) has_landed: bool,
}

impl<O: Operation> Flight<O> {
    pub(super) fn new(
        state: Arc<Mutex<State<O>>>,
        (grid, operation): (Option<Duration>, &'static str),
        account: Account,
        group: GroupKey<O::Subject>,
        departure: Departure<O::Subject>,
    ) -> Self {
        let Departure { call, brought, owner } = departure;
        Self { state, grid, operation, account, group, call, brought, owner, has_landed: false }
    }

    /// The slices that the call brings.
    pub(super) fn slices(&self) -> Vec<Slice<O::Subject>> {
        let spans = self.brought.iter().flat_map(|(_, spans)| spans);
        let mut windows: Vec<Window> = spans.flat_map(|span| span.cells_of(self.grid)).collect();
        windows.sort_unstable();
        windows.dedup();
        windows.into_iter().map(|window| Slice { subject: self.call.subject.clone(), window }).collect()
    }

    pub(super) fn vendor(&self) -> Vendor {
        self.account.vendor()
    }

    /// What has come to be held meanwhile, if that is all that anybody waits for.
    pub(super) fn held(&self, cache: &dyn SliceCache<O>) -> Option<Landed<O::Data>> {
        let held = cache.fresh(&self.call, &self.owner.as_ref()?.ask);
        let state = lock(&self.state);
        let mut gaps = state.group(&self.group)?.gaps_of(&self.brought);
        gaps.all(|gap| gap.subscribers.is_empty() || held.fills(gap.window)).then_some(held)
    }

    /// Counts everybody who waits as answered by somebody else's call. Whoever joined what was out has been counted.
    pub(super) fn count_collapsed(&self) {
        self.for_subscribers(|subscriber, is_late, n_slices| {
            if !is_late {
                subscriber.ask.cost.count_collapsed(n_slices);
            }
        });
    }

    /// Tells whoever follows the request that the call is made for.
    fn tell(&self, name: &'static str, began: Instant, ended: Instant, outcome: Option<&'static str>) {
        let Some(owner) = &self.owner else { return };
        let facts = call_facts(&self.account, self.operation, outcome);
        let facts = if outcome.is_some() { &facts[..] } else { &facts[..3] };
        owner.ask.cost.took(&Step { name, began, ended, facts });
    }

    /// How many of the slices that it brings are for whoever it was made for, and how many for others.
    pub(super) fn shares(&self) -> (usize, usize) {
        let (mut own, mut joined) = (0, 0);
        self.for_subscribers(|subscriber, _, n_slices| {
            let is_owner = self.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, subscriber));
            *(if is_owner { &mut own } else { &mut joined }) += n_slices;
        });
        (own, joined)
    }

    /// Looks at everybody who waits for this call, whether they joined when it was under way already, and for how many
    /// slices; at each as often as there are gaps.
    fn for_subscribers(&self, mut look: impl FnMut(&Arc<Subscriber>, bool, usize)) {
        let (now, state) = (Instant::now(), lock(&self.state));
        let Some(group) = state.group(&self.group) else { return };
        for gap in group.gaps_of(&self.brought) {
            let n_slices = state.n_slices(gap.window);
            gap.present(now).for_each(|(subscriber, is_late)| look(subscriber, is_late, n_slices));
        }
    }
}

/// What is told of a call.
pub(super) fn call_facts<'a>(
    account: &'a Account,
    operation: &'a str,
    outcome: Option<&'a str>,
) -> [(&'static str, &'a str); 4] {
    [
        ("vendor", account.vendor().as_str()),
        ("account", account.name()),
        ("operation", operation),
        ("outcome", outcome.unwrap_or_default()),
    ]
}

impl<O: Operation> Audience for Flight<O> {
    fn is_there(&self) -> bool {
        let (now, state) = (Instant::now(), lock(&self.state));
        state.group(&self.group).is_some_and(|group| group.gaps_of(&self.brought).any(|gap| gap.is_wanted(now)))
    }

    fn deadline(&self) -> Instant {
        let mut latest = Instant::now();
        self.for_subscribers(|subscriber, _, _| latest = latest.max(subscriber.ask.deadline));
        latest
    }

    fn class(&self) -> Class {
        let mut highest = Class::Background;
        self.for_subscribers(|subscriber, _, _| highest = highest.min(subscriber.ask.class));
        highest
    }

    fn caller(&self) -> Caller {
        self.owner.as_ref().map(|owner| owner.ask.caller.clone()).unwrap_or_default()
    }

    fn attempt_starts(&self, number: u32, queue_wait: Duration) {
        let now = Instant::now();
        if let Some(owner) = &self.owner {
            owner.ask.cost.count_call(self.vendor(), self.operation);
            self.tell("permit wait", now - queue_wait, now, None);
        }
        self.for_subscribers(|subscriber, is_late, n_slices| {
            subscriber.ask.cost.note_queue_wait(queue_wait.min(now - subscriber.since));
            // Whoever is late was counted on joining.
            if number == 1 && !is_late && !self.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, subscriber)) {
                subscriber.ask.cost.count_collapsed(n_slices);
            }
        });
        // Whoever has joined by now is told what becomes of this attempt.
        if let Some(group) = lock(&self.state).group_mut(&self.group) {
            group.gaps_of_mut(&self.brought, |gap| gap.on_time = gap.subscribers.len());
        }
    }

    fn attempt_ended(&self, began: Instant, outcome: &'static str) {
        self.tell("vendor call", began, Instant::now(), Some(outcome));
    }

    fn queued_again(&self, entry: u64, class: Class) {
        if let Some(group) = lock(&self.state).group_mut(&self.group) {
            group.gaps_of_mut(&self.brought, |gap| gap.entry = Some((entry, class)));
        }
    }
}

impl<O: Operation> Drop for Flight<O> {
    fn drop(&mut self) {
        if !self.has_landed {
            // The call panicked, or the runtime is ending.
            let told = Arc::new(WeirError::new(Code::Internal, "the call was abandoned").of(&self.account));
            lock(&self.state).abandon(&self.group, &self.brought, &told);
        }
    }
}
