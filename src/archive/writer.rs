//! Writes slices in the background: asks never wait for it. What waits is bounded; what finds no room is counted, and is
//! written when it is fetched again.

use std::collections::{HashMap, VecDeque};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::time::Instant;

use super::{Archive, ArchiveError, Collected, Dated};
use crate::domain::{ArchiveKey, Finality, Window};

/// The most rows that wait: about 50 MB.
const MOST_WAITING: usize = 500_000;
/// About how many rows one transaction writes.
const BATCH_ROWS: usize = 5_000;
/// The most slices of one transaction.
const BATCH_SLICES: usize = 1_000;
/// How long the first failure is waited out, and the longest that any is.
const PAUSE: (Duration, Duration) = (Duration::from_secs(1), Duration::from_mins(1));

/// Makes the slices that it was handed, when it is their turn.
pub type Making = Box<dyn FnOnce() -> Vec<Dated> + Send>;

/// A handle on what is written. Cheap to clone.
#[derive(Clone)]
pub struct Writer(Arc<Inner>);

struct Inner {
    archive: Arc<dyn Archive>,
    queue: Mutex<Queue>,
    idle: Notify,
}

#[derive(Default)]
struct Queue {
    waiting: VecDeque<Waiting>,
    /// Rows in `waiting`, and of the batch that is being written.
    rows: usize,
    is_running: bool,
    /// Whether anything was lost since the queue was empty: each time is told once.
    is_losing: bool,
    standing: Standing,
}

/// Slices that wait to be written.
struct Waiting {
    slices: usize,
    rows: usize,
    making: Making,
    /// Where they lie, if they may be kept already.
    told: Option<(ArchiveKey, Window)>,
}

/// How the writing goes.
#[derive(Debug, Clone, Default)]
pub struct Standing {
    /// Rows that wait to be written.
    pub waiting: usize,
    /// Slices that were written.
    pub slices: u64,
    /// Rows that were written.
    pub rows: u64,
    /// Slices that found no room to wait, or could not be written when weir ended.
    pub lost: u64,
    /// FINAL numbers that the vendor has told otherwise since.
    pub restated: u64,
    /// Why the last write failed, if it did.
    pub failing: Option<ArchiveError>,
}

impl Writer {
    /// Writes into `archive`.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>) -> Self {
        let (queue, idle) = (Mutex::default(), Notify::new());
        Self(Arc::new(Inner { archive, queue, idle }))
    }

    /// Where it writes.
    #[must_use]
    pub fn archive(&self) -> &Arc<dyn Archive> {
        &self.0.archive
    }

    /// Takes so many slices of about so many rows in, to be written soon.
    pub fn take(&self, slices: usize, rows: usize, making: Making) {
        self.wait(Waiting { slices, rows: rows.max(1), making, told: None });
    }

    /// The same of slices of one key inside a span that another replica has fetched. Most often it has written them too, where
    /// it writes here: the lines of what is kept tell that, without the rows and without the lock that all writers share.
    pub fn take_told(&self, key: ArchiveKey, span: Window, slices: usize, rows: usize, making: Making) {
        self.wait(Waiting { slices, rows: rows.max(1), making, told: Some((key, span)) });
    }

    fn wait(&self, waiting: Waiting) {
        let Waiting { slices, rows, .. } = waiting;
        let mut queue = self.0.lock();
        if queue.rows + rows > MOST_WAITING {
            if !std::mem::replace(&mut queue.is_losing, true) {
                tracing::error!("the archive is too slow or gone: slices are not written until they are fetched again");
            }
            queue.standing.lost += slices as u64;
            return;
        }
        queue.rows += rows;
        queue.waiting.push_back(waiting);
        if !queue.is_running {
            // Without a runtime the process is ending.
            let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
            queue.is_running = true;
            let writer = self.clone();
            runtime.spawn(async move { writer.run().await });
        }
    }

    /// How the writing goes.
    #[must_use]
    pub fn standing(&self) -> Standing {
        let queue = self.0.lock();
        Standing { waiting: queue.rows, ..queue.standing.clone() }
    }

    /// Waits until all is written that was taken in so far, `most` at most; whether it is.
    pub async fn flush(&self, most: Duration) -> bool {
        let written = async {
            loop {
                let idle = self.0.idle.notified();
                if self.0.lock().rows == 0 {
                    return;
                }
                idle.await;
            }
        };
        tokio::time::timeout(most, written).await.is_ok()
    }

    /// The same at the end: what is left then is counted as lost.
    pub async fn finish(&self, most: Duration) {
        if !self.flush(most).await {
            let mut queue = self.0.lock();
            let left: usize = queue.waiting.drain(..).map(|waiting| waiting.slices).sum();
            queue.standing.lost += left as u64;
            tracing::error!(rows = queue.rows, "weir ends before the archive has taken everything that was fetched");
        }
    }

    async fn run(self) {
        loop {
            let Some(batch) = self.next_batch() else { return };
            let rows: usize = batch.iter().map(|waiting| waiting.rows).sum();
            let mut known = Vec::with_capacity(batch.len());
            for told in batch.iter().map(|waiting| waiting.told.clone()).collect::<Vec<_>>() {
                known.push(self.known(told).await);
            }
            let make = |(waiting, known): (Waiting, HashMap<Window, Collected>)| {
                let is_new =
                    move |dated: &Dated| known.get(&dated.slice.window).is_none_or(|line| is_news(dated, line));
                (waiting.making)().into_iter().filter(is_new)
            };
            let make = move || batch.into_iter().zip(known).flat_map(make).collect::<Vec<_>>();
            let slices = tokio::task::spawn_blocking(make).await.unwrap_or_default();
            if !slices.is_empty() {
                self.write(Arc::new(slices)).await;
            }
            self.0.lock().rows -= rows;
        }
    }

    /// The lines of what is kept already, if that may be; of an archive that cannot be asked, none.
    async fn known(&self, told: Option<(ArchiveKey, Window)>) -> HashMap<Window, Collected> {
        let Some((key, span)) = told else { return HashMap::new() };
        let lines = self.0.archive.collected(key, span).await.unwrap_or_default();
        lines.into_iter().map(|line| (line.window, line)).collect()
    }

    /// What is written next; `None` when nothing waits, and this task ends.
    fn next_batch(&self) -> Option<Vec<Waiting>> {
        let mut queue = self.0.lock();
        let (mut batch, mut rows) = (Vec::new(), 0);
        while rows < BATCH_ROWS
            && batch.len() < BATCH_SLICES
            && let Some(waiting) = queue.waiting.pop_front()
        {
            rows += waiting.rows;
            batch.push(waiting);
        }
        if batch.is_empty() {
            queue.is_running = false;
            queue.is_losing = false;
            drop(queue);
            self.0.idle.notify_waiters();
            return None;
        }
        Some(batch)
    }

    /// Writes a batch, however long the archive is gone.
    async fn write(&self, slices: Arc<Vec<Dated>>) {
        let mut pause = PAUSE.0;
        loop {
            let began = Instant::now();
            match self.0.archive.write(Arc::clone(&slices)).await {
                Ok(written) => {
                    let mut queue = self.0.lock();
                    let standing = &mut queue.standing;
                    standing.slices += written.slices;
                    standing.rows += written.rows;
                    standing.restated += written.restated;
                    if standing.failing.take().is_some() {
                        tracing::info!("the archive is written again");
                    }
                    drop(queue);
                    if written.restated > 0 {
                        tracing::warn!(
                            numbers = written.restated,
                            "the vendor tells numbers otherwise that were final; the first stay, the others are in `restated`"
                        );
                    }
                    tracing::debug!(rows = written.rows, elapsed = ?began.elapsed(), "written to the archive");
                    return;
                }
                Err(error) => {
                    let known = self.0.lock().standing.failing.replace(error.clone());
                    if known.is_none_or(|known| known.message != error.message) {
                        tracing::error!(%error, "not written to the archive; it is tried again");
                    }
                    tokio::time::sleep(pause).await;
                    pause = (pause * 2).min(PAUSE.1);
                }
            }
        }
    }
}

/// Whether what is told of a slice may change what is kept: it is another answer, and not one that gives way to it.
fn is_news(dated: &Dated, line: &Collected) -> bool {
    let slice = &dated.slice;
    let gives_way = slice.finality == Finality::Provisional
        && (line.finality == Finality::Final || line.fetched_at >= slice.fetched_at);
    line.fetched_at != slice.fetched_at && !gives_way
}

impl Inner {
    fn lock(&self) -> MutexGuard<'_, Queue> {
        self.queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Writer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Writer").field(&self.0.archive).finish()
    }
}
