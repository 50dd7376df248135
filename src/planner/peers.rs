//! Calls in flight at other replicas: whoever is about to make a call first claims it, and waits for the result of
//! another's claim instead. A claim is advice: one that is lost costs a doubled call, never an overrun.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::time::Instant;

use super::Errand;
use super::desk::{GATHER, GroupKey};
use super::flight::Flight;
use crate::domain::{CallError, CallErrorKind, Cut, Operation, Sent, Slice, Timestamp};
use crate::quota::{Audience, Call, Permit};

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
    fn share(&self, call: &Slice<O::Subject>, cuts: &[Cut<O::Data>], sent_at: Timestamp, claim: &Claim) -> Errand;

    /// Ends the claim of a call that brought nothing.
    fn release(&self, claim: &Claim) -> Errand;
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

/// How long the end of another's claim is waited for at a time; news come sooner.
const LOOK: Duration = Duration::from_millis(250);

/// Makes a call that has taken off, or waits for another replica that makes it.
pub(super) async fn fly<O, C>(mut flight: Flight<O, C>, permit: Permit, peers: Arc<dyn Peers<O>>, since: Instant)
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let mut permit = Some(permit);
    let mut alone = false;
    loop {
        let Some(paid) = next_permit(&flight, permit.take()).await else {
            let late = CallError::new(flight.vendor(), CallErrorKind::PermitExpired, "no other permit came in time");
            return flight.land(Err(late));
        };
        // Redis keeps their order, so that the look is later than the claim: whoever landed before it is seen.
        let claiming = async { if alone { Claim::Nobody } else { peers.claim(&flight.group, &flight.call).await } };
        let (claim, ()) = tokio::join!(claiming, peers.recall(flight.brought(), true));
        if let Claim::Theirs { until, covers } = claim {
            // Another replica can use the permit meanwhile.
            drop(paid);
            let until = if covers { until } else { until.min(Instant::now() + GATHER) };
            match wait(&mut flight, &*peers, until).await {
                Waited::Landed => return,
                Waited::Ended => {}
                Waited::InVain => alone = true,
            }
            continue;
        }
        if flight.land_if_held() {
            super::spawn([peers.release(&claim)]);
            return;
        }
        let result = flight.run(paid, since).await;
        flight.claimed = Some(claim);
        return flight.land(result);
    }
}

/// What became of waiting for another's call.
enum Waited {
    /// It brought everything.
    Landed,
    /// It is over, and something is still missing.
    Ended,
    /// It took too long.
    InVain,
}

async fn wait<O, C>(flight: &mut Flight<O, C>, peers: &dyn Peers<O>, until: Instant) -> Waited
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    loop {
        let now = Instant::now();
        // Whatever the claim says: when nobody waits for the call any more, nobody waits for its claim.
        if now >= until || !flight.is_there() {
            return Waited::InVain;
        }
        let stands = peers.news(&flight.group, LOOK.min(until - now)).await;
        peers.recall(flight.brought(), true).await;
        if flight.land_if_held() {
            return Waited::Landed;
        }
        if !stands {
            return Waited::Ended;
        }
    }
}

async fn next_permit<O, C>(flight: &Flight<O, C>, permit: Option<Permit>) -> Option<Permit>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    if permit.is_some() {
        return permit;
    }
    let place = flight.limiter().enqueue(flight.class(), flight.caller());
    tokio::time::timeout_at(flight.deadline(), place.permit()).await.ok().flatten()
}
