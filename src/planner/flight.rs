//! A call that has taken off: what it brings, and who waits for it.

use std::collections::HashMap;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use tokio::time::Instant;

use super::group::Brought;
use super::state::{Departure, State, lock};
use super::subscriber::Subscriber;
use super::{GroupKey, SliceCache};
use crate::domain::{Account, Caller, Class, Held, Operation, Slice, Vendor, Window};
use crate::error::{Code, WeirError};
use crate::quota::Audience;

/// What a landing call brings, by window.
pub(super) type HeldByWindow<D> = HashMap<Window, Arc<Held<D>>>;

/// A call that has taken off, and the slices it brings. Dropped before it has landed, it tells those who wait that it
/// never will.
pub(super) struct Flight<O: Operation> {
    state: Arc<Mutex<State<O>>>,
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
        account: Account,
        group: GroupKey<O::Subject>,
        departure: Departure<O::Subject>,
    ) -> Self {
        let Departure { call, brought, owner } = departure;
        Self { state, account, group, call, brought, owner, has_landed: false }
    }

    /// The slices that the call brings.
    pub(super) fn slices(&self) -> Vec<Slice<O::Subject>> {
        let mut windows: Vec<Window> = self.brought.iter().flat_map(|(_, windows)| windows).copied().collect();
        windows.sort_unstable();
        windows.dedup();
        windows.into_iter().map(|window| Slice { subject: self.call.subject.clone(), window }).collect()
    }

    pub(super) fn vendor(&self) -> Vendor {
        self.account.vendor()
    }

    /// What has come to be held meanwhile, if that is all that anybody waits for.
    pub(super) fn held(&self, cache: &dyn SliceCache<O>) -> Option<HeldByWindow<O::Data>> {
        let owner = self.owner.as_ref()?;
        let held = |slice: Slice<_>| Some((slice.window, cache.fresh(&slice, &owner.ask)?));
        let held: HashMap<_, _> = self.slices().into_iter().filter_map(held).collect();
        let state = lock(&self.state);
        let group = state.group(&self.group)?;
        let is_wanted =
            |subject, window: Window| group.gap(subject, window).is_some_and(|gap| !gap.subscribers.is_empty());
        let mut windows =
            self.brought.iter().flat_map(|(subject, own)| own.iter().map(move |window| (subject, *window)));
        windows.all(|(subject, window)| held.contains_key(&window) || !is_wanted(subject, window)).then_some(held)
    }

    /// Counts everybody who waits as answered by somebody else's call. Whoever joined what was out has been counted.
    pub(super) fn count_collapsed(&self) {
        self.for_subscribers(|subscriber, is_late| {
            if !is_late {
                subscriber.ask.cost.count_collapsed(1);
            }
        });
    }

    /// Looks at everybody who waits for this call, and whether they joined when it was under way already.
    fn for_subscribers(&self, mut look: impl FnMut(&Arc<Subscriber>, bool)) {
        let (now, state) = (Instant::now(), lock(&self.state));
        let Some(group) = state.group(&self.group) else { return };
        let present = group.gaps_of(&self.brought).flat_map(|gap| gap.present(now));
        present.for_each(|(subscriber, is_late)| look(subscriber, is_late));
    }
}

impl<O: Operation> Audience for Flight<O> {
    fn is_there(&self) -> bool {
        let (now, state) = (Instant::now(), lock(&self.state));
        state.group(&self.group).is_some_and(|group| group.gaps_of(&self.brought).any(|gap| gap.is_wanted(now)))
    }

    fn deadline(&self) -> Instant {
        let mut latest = Instant::now();
        self.for_subscribers(|subscriber, _| latest = latest.max(subscriber.ask.deadline));
        latest
    }

    fn class(&self) -> Class {
        let mut highest = Class::Background;
        self.for_subscribers(|subscriber, _| highest = highest.min(subscriber.ask.class));
        highest
    }

    fn caller(&self) -> Caller {
        self.owner.as_ref().map(|owner| owner.ask.caller.clone()).unwrap_or_default()
    }

    fn attempt_starts(&self, number: u32, queue_wait: Duration) {
        if let Some(owner) = &self.owner {
            owner.ask.cost.count_call(self.vendor());
        }
        let now = Instant::now();
        self.for_subscribers(|subscriber, is_late| {
            subscriber.ask.cost.note_queue_wait(queue_wait.min(now - subscriber.since));
            // Whoever is late was counted on joining.
            if number == 1 && !is_late && !self.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, subscriber)) {
                subscriber.ask.cost.count_collapsed(1);
            }
        });
        // Whoever has joined by now is told what becomes of this attempt.
        if let Some(group) = lock(&self.state).group_mut(&self.group) {
            group.gaps_of_mut(&self.brought, |gap| gap.on_time = gap.subscribers.len());
        }
    }

    fn queued_again(&self, place: u64, class: Class) {
        if let Some(group) = lock(&self.state).group_mut(&self.group) {
            group.gaps_of_mut(&self.brought, |gap| gap.place = Some((place, class)));
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
