//! What runs by itself; nothing else of the planner spawns. Tasks outlive callers: dropping a request cancels no call.

use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use tokio::sync::Semaphore;

use crate::quota::{Permit, QueueEntry};

/// A task that is ready to be spawned.
pub type Task = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Starts tasks; they end by themselves.
pub(crate) fn spawn(tasks: impl IntoIterator<Item = Task>) {
    for task in tasks {
        // Without a runtime the process is ending, and so does everybody who waits.
        if let Ok(runtime) = tokio::runtime::Handle::try_current() {
            runtime.spawn(task);
        }
    }
}

/// Goes on with the permit of an entry, unless the entry is given up.
pub(super) fn with_permit<F>(entry: QueueEntry, go_on: impl FnOnce(Permit) -> F + Send + 'static) -> Task
where
    F: Future<Output = ()> + Send,
{
    Box::pin(async move {
        if let Some(permit) = entry.permit().await {
            go_on(permit).await;
        }
    })
}

/// How much is done beside the workers at a time: a hundred threads at once would take the cores from them.
static BESIDE: Semaphore = Semaphore::const_new(2);

/// Does what takes milliseconds beside the workers, which have others to answer; `None` if it came to no end.
pub(crate) async fn beside<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> Option<T> {
    let turn = BESIDE.acquire().await.ok()?;
    let work = move || {
        let done = work();
        // Whoever asked may have gone: the turn is over with the work, not with its asking.
        drop(turn);
        done
    };
    tokio::task::spawn_blocking(work).await.ok()
}

/// Goes on after `pause`.
pub(super) fn after(pause: Duration, go_on: impl FnOnce() + Send + 'static) -> Task {
    Box::pin(async move {
        tokio::time::sleep(pause).await;
        go_on();
    })
}

/// Goes on as soon as whatever runs now is done.
pub(super) fn soon(go_on: impl FnOnce() + Send + 'static) -> Task {
    Box::pin(async move { go_on() })
}
