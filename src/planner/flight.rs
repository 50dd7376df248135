//! A call that has taken off: what it brings, who waits for it, and how it lands.

use std::collections::HashMap;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use super::desk::{Gap, GroupKey, Inner, State};
use super::waiter::{News, Waiter};
use super::{Claim, Outcome, errand};
use crate::domain::{CallError, Caller, Class, Operation, Sent, Slice, Vendor, Window};
use crate::error::{Code, WeirError};
use crate::quota::{Audience, Call, Limiter, Permit};

/// A call that has taken off, and the slices it brings.
pub(super) struct Flight<O: Operation, C: Call> {
    pub(super) desk: Arc<Inner<O, C>>,
    pub(super) group: GroupKey<O::Subject>,
    pub(super) call: Slice<O::Subject>,
    pub(super) slices: Vec<Slice<O::Subject>>,
    /// Whom the attempts are counted for.
    pub(super) owner: Option<Arc<Waiter>>,
    /// Under which claim the call was made, if replicas share theirs.
    pub(super) claimed: Option<Claim>,
    pub(super) has_landed: bool,
}

impl<O, C> Flight<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    /// Tells everybody who waits, and lets the group go on.
    pub(super) fn land(mut self, result: Result<Sent<O::Answer>, CallError>) {
        match result {
            Ok(Sent { answer, at }) => {
                let cuts = self.desk.operation.cut(&self.call, answer, at);
                if let (Some(peers), Some(claim)) = (&self.desk.peers, &self.claimed) {
                    errand::spawn([peers.share(&self.call, &cuts, at, claim)]);
                }
                let held: HashMap<_, _> = self.desk.shelf.put(&self.call.subject, cuts, at).into_iter().collect();
                self.tell(|window| held.get(&window).map(Arc::clone).ok_or_else(|| self.lost()), false);
            }
            Err(error) => {
                if let (Some(peers), Some(claim)) = (&self.desk.peers, &self.claimed) {
                    errand::spawn([peers.release(claim)]);
                }
                let told = Arc::new(WeirError::from_call(&error, &self.desk.account));
                if error.is_lasting() {
                    self.desk.shelf.refuse(&self.call.subject, &told);
                }
                self.tell(|_| Err(Arc::clone(&told)), error.is_transient());
            }
        }
        self.has_landed = true;
        if let Some(refusal) = self.desk.metered.refusal() {
            self.desk.send_away(&Arc::new(WeirError::from_call(&refusal, &self.desk.account)));
        }
    }

    /// Lands with what the shelf has come to hold meanwhile, if that is all that anybody waits for.
    pub(super) fn land_if_held(&mut self) -> bool {
        let wanted: Vec<Window> = {
            let state = self.desk.lock();
            let is_wanted = |slice: &&Slice<_>| state.gaps.get(*slice).is_some_and(|gap| !gap.cohorts.is_empty());
            self.slices.iter().filter(is_wanted).map(|slice| slice.window).collect()
        };
        let Some(owner) = &self.owner else { return false };
        let held: HashMap<_, _> = self
            .brought()
            .into_iter()
            .filter_map(|slice| Some((slice.window, self.desk.shelf.fresh(&slice, &owner.ask)?)))
            .collect();
        if !wanted.iter().all(|window| held.contains_key(window)) {
            return false;
        }
        self.for_waiters(|waiter, is_late| {
            // Whoever joined what was out has been counted.
            if !is_late {
                waiter.ask.tally.count_collapsed(1);
            }
        });
        self.tell(|window| held.get(&window).map(Arc::clone).ok_or_else(|| self.lost()), false);
        self.has_landed = true;
        true
    }

    /// The slices that the call brings.
    pub(super) fn brought(&self) -> Vec<Slice<O::Subject>> {
        let mut windows: Vec<_> = self.slices.iter().map(|slice| slice.window).collect();
        windows.sort_unstable();
        windows.dedup();
        windows.into_iter().map(|window| Slice { subject: self.call.subject.clone(), window }).collect()
    }

    /// Makes the call.
    pub(super) async fn run(&self, permit: Permit, since: Instant) -> Result<Sent<O::Answer>, CallError> {
        self.desk.metered.run(&self.call, permit, since.elapsed(), self).await
    }

    pub(super) fn limiter(&self) -> &Limiter {
        self.desk.metered.limiter()
    }

    /// `spare_late`: those who joined after the last attempt was sent begin to wait anew.
    fn tell(&self, outcome: impl Fn(Window) -> Outcome<O::Data>, spare_late: bool) {
        let mut guard = self.desk.lock();
        let State { gaps, groups, .. } = &mut *guard;
        for slice in &self.slices {
            let Some(mut gap) = gaps.remove(slice) else { continue };
            let late = if spare_late { gap.cohorts.split_off(gap.on_time) } else { Vec::new() };
            if !late.is_empty() {
                for cohort in &late {
                    cohort.note(News::Queued);
                }
                gaps.insert(slice.clone(), Gap { cohorts: late, on_time: 0, is_out: false, place: None });
                groups.entry(self.group.clone()).or_default().waiting.push(slice.clone());
            }
            if !gap.cohorts.is_empty() {
                let outcome = outcome(slice.window);
                gap.cohorts.iter().for_each(|cohort| cohort.tell(&outcome));
            }
        }
        if let Some(group) = groups.get_mut(&self.group) {
            group.out = group.out.saturating_sub(1);
        }
        let errands = self.desk.reconcile(&mut guard, &self.group, true);
        drop(guard);
        errand::spawn(errands);
    }

    fn lost(&self) -> Arc<WeirError> {
        tracing::error!(account = ?self.desk.account, "a reply was not cut into the slices of its call");
        Arc::new(WeirError::new(Code::Internal, "the reply was lost inside weir").of(&self.desk.account))
    }

    /// Looks at everybody who waits for this call, and whether they joined when it was under way already.
    fn for_waiters(&self, mut look: impl FnMut(&Arc<Waiter>, bool)) {
        let (now, state) = (Instant::now(), self.desk.lock());
        for gap in self.slices.iter().filter_map(|slice| state.gaps.get(slice)) {
            for (at, cohort) in gap.cohorts.iter().enumerate() {
                let present = cohort.waiters.iter().filter(|waiter| waiter.is_present(now));
                present.for_each(|waiter| look(waiter, at >= gap.on_time));
            }
        }
    }

    pub(super) fn vendor(&self) -> Vendor {
        self.desk.account.vendor()
    }
}

impl<O, C> Audience for Flight<O, C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn is_there(&self) -> bool {
        let mut is_there = false;
        self.for_waiters(|_, _| is_there = true);
        is_there
    }

    fn deadline(&self) -> Instant {
        let mut latest = Instant::now();
        self.for_waiters(|waiter, _| latest = latest.max(waiter.ask.deadline));
        latest
    }

    fn class(&self) -> Class {
        let mut highest = Class::Background;
        self.for_waiters(|waiter, _| highest = highest.min(waiter.ask.class));
        highest
    }

    fn caller(&self) -> Caller {
        self.owner.as_ref().map(|owner| owner.ask.caller.clone()).unwrap_or_default()
    }

    fn attempt_starts(&self, number: u32, queue_wait: Duration) {
        if let Some(owner) = &self.owner {
            owner.ask.tally.count_call(self.vendor());
        }
        self.for_waiters(|waiter, is_late| {
            waiter.ask.tally.note_queue_wait(queue_wait.min(waiter.since.elapsed()));
            // Whoever is late was counted on joining.
            if number == 1 && !is_late && !self.owner.as_ref().is_some_and(|owner| Arc::ptr_eq(owner, waiter)) {
                waiter.ask.tally.count_collapsed(1);
            }
        });
        // Whoever has joined by now is told what becomes of this attempt.
        let mut state = self.desk.lock();
        for slice in &self.slices {
            if let Some(gap) = state.gaps.get_mut(slice) {
                gap.on_time = gap.cohorts.len();
            }
        }
    }

    fn queued_again(&self, place: u64, class: Class) {
        let mut state = self.desk.lock();
        for slice in &self.slices {
            if let Some(gap) = state.gaps.get_mut(slice) {
                gap.place = Some((place, class));
            }
        }
    }
}

impl<O: Operation, C: Call> Drop for Flight<O, C> {
    fn drop(&mut self) {
        if self.has_landed {
            return;
        }
        // The call panicked, or the runtime is ending: nobody may be left waiting.
        let told = Arc::new(WeirError::new(Code::Internal, "the call was abandoned").of(&self.desk.account));
        let mut guard = self.desk.state.lock().unwrap_or_else(PoisonError::into_inner);
        let State { gaps, groups, .. } = &mut *guard;
        for gap in self.slices.iter().filter_map(|slice| gaps.remove(slice)) {
            gap.cohorts.iter().for_each(|cohort| cohort.tell(&Err(Arc::clone(&told))));
        }
        if let Some(group) = groups.get_mut(&self.group) {
            group.out = group.out.saturating_sub(1);
        }
    }
}
