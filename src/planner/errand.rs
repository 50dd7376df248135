//! Tasks of a desk: each waits for one permit, flies the call that is due then, and lands it. They belong to nobody: a
//! caller that goes away takes no call with it.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::desk::{GroupKey, Inner};
use crate::domain::{Operation, Sent, Slice};
use crate::quota::{Call, Place};

/// A task that is ready to be spawned.
pub type Errand = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts errands; they end by themselves.
pub(crate) fn spawn(errands: impl IntoIterator<Item = Errand>) {
    for errand in errands {
        // Without a runtime the process is ending, and so does everybody who waits.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(errand);
        }
    }
}

pub(super) fn make<O, C>(desk: &Arc<Inner<O, C>>, group: &GroupKey<O::Subject>, place: Place) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let (desk, group, id, since) = (Arc::clone(desk), group.clone(), place.id(), Instant::now());
    Box::pin(async move {
        let Some(permit) = place.permit().await else { return };
        let Some(flight) = desk.take_off(&group, id) else { return };
        match &desk.peers {
            None => {
                let result = flight.run(permit, since).await;
                flight.land(result);
            }
            Some(peers) => super::peers::fly(flight, permit, Arc::clone(peers), since).await,
        }
    })
}

/// Takes from the queue what nobody waits for any more.
pub(super) fn tidy<O, C>(desk: &Arc<Inner<O, C>>) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let desk = Arc::clone(desk);
    Box::pin(async move { desk.tidy() })
}

/// Ends the gathering of a group after `pause`.
pub(super) fn later<O, C>(desk: &Arc<Inner<O, C>>, group: &GroupKey<O::Subject>, pause: Duration) -> Errand
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    let (desk, group) = (Arc::clone(desk), group.clone());
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        desk.stop_gathering(&group);
    })
}
