//! Calls in flight at other replicas: whoever is about to make a call first claims it, and waits for the result of
//! another's claim instead. A claim is advice: one that is lost costs a doubled call, never an overrun.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::flight::Flight;
use super::tasks::{self, Task};
use super::upstream::Upstream;
use super::{GATHER, GroupKey, Landed, SliceCache};
use crate::domain::{CallError, CallErrorKind, Cut, Operation, Sent, Slice, Timestamp};
use crate::quota::{Audience, Permit};

/// What other replicas hold and fetch. When nothing is known of them, everything is as if there were none.
pub trait Peers<O: Operation>: Send + Sync + 'static {
    /// Takes over what others have fetched of the slices and this process does not hold; `in_flight` says that their
    /// calls were waited for, so that even emptiness that nothing proves will do.
    fn recall(&self, slices: Vec<Slice<O::Subject>>, in_flight: bool) -> BoxFuture<'_, ()>;

    /// Claims a call of the group.
    fn claim<'a>(&'a self, group: &'a GroupKey<O::Subject>, call: &'a Slice<O::Subject>) -> BoxFuture<'a, Claim>;

    /// Waits until a claim of the group may have ended, `pause` at most; whether it still stands.
    fn news<'a>(&'a self, group: &'a GroupKey<O::Subject>, pause: Duration) -> BoxFuture<'a, bool>;

    /// Keeps what a call brought for the others and ends the claim.
    fn share(&self, call: &Slice<O::Subject>, cuts: &[Cut<O::Data>], sent_at: Timestamp, claim: &Claim) -> Task;

    /// Ends the claim of a call that brought nothing.
    fn release(&self, claim: &Claim) -> Task;
}

/// Who makes a call.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Claim {
    /// This process.
    Ours {
        /// What the claim is known by.
        name: String,
        /// What tells it from a later one.
        value: String,
    },
    /// Another one, which has claimed it for so long; whether its call brings all of ours.
    Theirs {
        /// Until when the claim stands if it does not end before.
        until: Instant,
        /// Whether its call brings all that ours would.
        covers: bool,
    },
    /// Nobody knows: this process, as if it were alone.
    Nobody,
}

/// How a call lands.
pub(super) enum Landing<O: Operation> {
    /// The vendor was asked, under a claim if replicas share theirs.
    Answered(Result<Sent<O::Answer>, CallError>, Option<Claim>),
    /// Another replica's call has brought everything.
    Held(Landed<O::Data>),
}

/// How long the end of another's claim is waited for at a time; news come sooner.
const LOOK: Duration = Duration::from_millis(250);

/// Makes a call that has taken off, or waits for another replica that makes it. `since` is when it was queued.
pub(super) async fn fly<O: Operation>(
    flight: &Flight<O>,
    permit: Permit,
    peers: &Arc<dyn Peers<O>>,
    upstream: &dyn Upstream<O>,
    cache: &dyn SliceCache<O>,
    since: Instant,
) -> Landing<O> {
    let mut permit = Some(permit);
    let mut alone = false;
    loop {
        let Some(paid) = next_permit(flight, permit.take(), upstream).await else {
            let late = CallError::new(flight.vendor(), CallErrorKind::PermitExpired, "no other permit came in time");
            return Landing::Answered(Err(late), None);
        };
        // Redis keeps their order, so that the look is later than the claim: whoever landed before it is seen.
        let claiming = async { if alone { Claim::Nobody } else { peers.claim(&flight.group, &flight.call).await } };
        let (claim, ()) = tokio::join!(claiming, peers.recall(flight.slices(), true));
        if let Claim::Theirs { until, covers } = claim {
            // Another replica can use the permit meanwhile.
            drop(paid);
            let until = if covers { until } else { until.min(Instant::now() + GATHER) };
            match wait(flight, &**peers, cache, until).await {
                Waited::Held(held) => return Landing::Held(held),
                Waited::Ended => {}
                Waited::InVain => alone = true,
            }
            continue;
        }
        if let Some(held) = flight.held(cache) {
            tasks::spawn([peers.release(&claim)]);
            return Landing::Held(held);
        }
        let result = upstream.run(&flight.call, paid, since.elapsed(), flight).await;
        return Landing::Answered(result, Some(claim));
    }
}

/// What became of waiting for another's call.
enum Waited<D> {
    /// It brought everything.
    Held(Landed<D>),
    /// It is over, and something is still missing.
    Ended,
    /// It took too long.
    InVain,
}

async fn wait<O: Operation>(
    flight: &Flight<O>,
    peers: &dyn Peers<O>,
    cache: &dyn SliceCache<O>,
    until: Instant,
) -> Waited<O::Data> {
    loop {
        let now = Instant::now();
        // Whatever the claim says: when nobody waits for the call any more, nobody waits for its claim.
        if now >= until || !flight.is_there() {
            return Waited::InVain;
        }
        let stands = peers.news(&flight.group, LOOK.min(until - now)).await;
        peers.recall(flight.slices(), true).await;
        if let Some(held) = flight.held(cache) {
            return Waited::Held(held);
        }
        if !stands {
            return Waited::Ended;
        }
    }
}

async fn next_permit<O: Operation>(
    flight: &Flight<O>,
    permit: Option<Permit>,
    upstream: &dyn Upstream<O>,
) -> Option<Permit> {
    if permit.is_some() {
        return permit;
    }
    let entry = upstream.limiter().enqueue(flight.class(), flight.caller());
    tokio::time::timeout_at(flight.deadline(), entry.permit()).await.ok().flatten()
}
