//! Parquet files, which are written as a whole before the first byte is sent: their length has to be known, and readers ask
//! for their end first.
//!
//! A file is made once for all who ask the same, goes on being made for a while when they go away, and stays for a while: a
//! reader asks for it many times, piece by piece. It has no name on the disk, so that nothing is left of it whatever happens.

use std::collections::HashMap;
use std::fs::File;
use std::io::{BufWriter, Write};
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use futures_util::future::{BoxFuture, FutureExt as _, Shared};
use futures_util::stream::{self, StreamExt as _};
use moka::Expiry;
use moka::sync::Cache;
use sha2::{Digest as _, Sha256};
use tokio::time::{Instant, sleep_until, timeout};

use super::range::{Part, wanted_part};
use super::{AsTheyArrive, Asked, is_known, not_modified, problem, tag, wants_another};
use crate::error::{Code, WeirError};
use crate::formats::{ParquetError, ParquetWriter};
use crate::http::access_log::RowsSent;
use crate::query::pull::{Outlook, Pull};

/// How long an ask waits for its file before it is told to come back.
const PATIENCE: Duration = Duration::from_secs(20);
/// How long a file stays: one that will never change, and one that may.
const FINAL_TTL: Duration = Duration::from_mins(30);
const PROVISIONAL_TTL: Duration = Duration::from_mins(2);
/// Bytes of all files that are kept.
const MAX_BYTES: u64 = 2 << 30;
/// Files that wait for upstream calls at a time.
const MAX_RUNNING: usize = 16;
/// A file that nobody has asked for during so long is made no further: whoever was told to come back has not.
const ABANDONED: Duration = Duration::from_mins(3);
/// Bytes that are read of a file at a time.
const PIECE: usize = 256 << 10;

type Made = Result<Arc<Spooled>, Arc<WeirError>>;
type Making = Shared<BoxFuture<'static, Made>>;

/// The files that there are, by what was asked for.
pub(super) struct Spool {
    kept: Cache<String, Arc<Spooled>>,
    running: Mutex<HashMap<String, Running>>,
}

#[derive(Clone)]
struct Running {
    making: Making,
    /// When the last of its calls would have its permit, as it was planned.
    until: Instant,
    /// Whether it waits for upstream calls.
    is_slow: bool,
    /// When it was asked for last.
    asked_at: Arc<Mutex<Instant>>,
}

/// A file.
struct Spooled {
    file: Arc<File>,
    made_at: Instant,
    length: u64,
    etag: String,
    next: Option<String>,
    is_final: bool,
    rows: usize,
}

impl Default for Spool {
    fn default() -> Self {
        let weigher = |_: &String, made: &Arc<Spooled>| u32::try_from(made.length >> 10).unwrap_or(u32::MAX).max(1);
        let kept = Cache::builder().max_capacity(MAX_BYTES >> 10).weigher(weigher).expire_after(ByFinality).build();
        Self { kept, running: Mutex::default() }
    }
}

struct ByFinality;

impl Expiry<String, Arc<Spooled>> for ByFinality {
    fn expire_after_create(&self, _: &String, made: &Arc<Spooled>, _: std::time::Instant) -> Option<Duration> {
        Some(if made.is_final { FINAL_TTL } else { PROVISIONAL_TTL })
    }
}

impl Spool {
    /// The file of `pull`, or a part of it.
    pub(super) async fn answer(
        self: &Arc<Self>,
        pull: Arc<Pull>,
        asked: &Asked,
        headers: &HeaderMap,
    ) -> Result<Response, Arc<WeirError>> {
        let key = pull.key();
        let is_fresh =
            |file: &Arc<Spooled>| file.is_final || pull.max_stale().is_none_or(|most| file.made_at.elapsed() < most);
        let (file, cost) = match self.kept.get(&key).filter(is_fresh) {
            Some(kept) => (kept, Arc::default()),
            None => (self.made(Arc::clone(&pull), key).await?, Arc::clone(pull.cost())),
        };
        if is_known(headers, &file.etag) {
            return Ok(not_modified(&file.etag));
        }
        if wants_another(headers, &file.etag) {
            let error = WeirError::bad_input("the file is another one by now; ask for it without If-Match");
            return Ok(problem::with_status(StatusCode::PRECONDITION_FAILED, &error));
        }
        let mut response = match wanted_part(headers, file.length, &file.etag) {
            Part::Whole => file.part(None),
            Part::Bytes(bytes) => file.part(Some(*bytes.start()..bytes.end() + 1)),
            Part::Nothing => return Ok(file.beyond()),
        };
        response.extensions_mut().insert(AsTheyArrive);
        response.extensions_mut().insert(RowsSent::whole(file.rows, cost));
        if let Some(link) = file.next.as_deref().and_then(|next| asked.link(next)) {
            response.headers_mut().insert(header::LINK, link);
        }
        Ok(response)
    }

    async fn made(self: &Arc<Self>, pull: Arc<Pull>, key: String) -> Made {
        let known = self.all_running().get(&key).cloned();
        let running = if let Some(running) = known {
            running
        } else {
            let outlook = pull.plan().await?;
            self.running(pull, key, outlook)?
        };
        let Running { making, until, asked_at, .. } = running;
        *asked_at.lock().unwrap_or_else(PoisonError::into_inner) = Instant::now();
        if let Ok(made) = timeout(PATIENCE, making).await {
            return made;
        }
        let left =
            until.saturating_duration_since(Instant::now()).clamp(Duration::from_secs(1), Duration::from_mins(1));
        Err(Arc::new(come_back(left, "the file is being made; ask for the same again, and it is there")))
    }

    /// Who makes the file: somebody who has begun already, or a new task.
    fn running(self: &Arc<Self>, pull: Arc<Pull>, key: String, outlook: Outlook) -> Result<Running, Arc<WeirError>> {
        let mut all = self.all_running();
        if let Some(running) = all.get(&key) {
            return Ok(running.clone());
        }
        let is_slow = pull.is_paged() || outlook.calls > 0;
        if is_slow && all.values().filter(|running| running.is_slow).count() >= MAX_RUNNING {
            let message = "too many other Parquet files are being made; ask again";
            return Err(Arc::new(come_back(Duration::from_secs(5), message)));
        }
        let asked_at = Arc::new(Mutex::new(Instant::now()));
        let (spool, name, asked) = (Arc::clone(self), key.clone(), Arc::clone(&asked_at));
        let task = tokio::spawn(async move {
            let _listed = Listed { spool: Arc::clone(&spool), key: name };
            let asked_for = Arc::clone(&pull);
            let made = tokio::select! {
                made = make(pull) => made,
                () = abandoned(&asked) => Err(Arc::new(come_back(Duration::from_secs(1), "nobody came back for the file"))),
            };
            if let Ok(made) = &made {
                // Its own replies may have been the first to show in which zone rows are dated.
                spool.kept.insert(asked_for.key(), Arc::clone(made));
            }
            made
        });
        let making = async move { task.await.unwrap_or_else(|_| Err(failed("the task that made it ended"))) };
        let running =
            Running { making: making.boxed().shared(), until: Instant::now() + outlook.wait, is_slow, asked_at };
        all.insert(key, running.clone());
        Ok(running)
    }

    fn all_running(&self) -> MutexGuard<'_, HashMap<String, Running>> {
        self.running.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits until nobody has asked for so long.
async fn abandoned(asked_at: &Mutex<Instant>) {
    loop {
        let until = *asked_at.lock().unwrap_or_else(PoisonError::into_inner) + ABANDONED;
        if until <= Instant::now() {
            return;
        }
        sleep_until(until).await;
    }
}

/// Takes a file that is made from the list, however its making ends.
struct Listed {
    spool: Arc<Spool>,
    key: String,
}

impl Drop for Listed {
    fn drop(&mut self) {
        self.spool.all_running().remove(&self.key);
    }
}

fn come_back(after: Duration, message: &str) -> WeirError {
    let refusal = WeirError::new(Code::QuotaWaitTooLong, message);
    WeirError { retryable: true, retry_after: Some(after), ..refusal }
}

fn failed(why: &str) -> Arc<WeirError> {
    tracing::error!(why, "a Parquet file could not be made");
    Arc::new(WeirError::new(Code::Internal, "the file could not be made; the log has the details"))
}

async fn make(pull: Arc<Pull>) -> Made {
    let (mut batches, next) = if pull.is_paged() {
        let page = pull.page().await?;
        (stream::iter(page.batches.into_iter().map(Ok)).boxed(), page.next)
    } else {
        (Arc::clone(&pull).batches(), None)
    };
    let columns = pull.columns().to_vec();
    let begin = move || {
        let out = Hashing { out: BufWriter::new(tempfile::tempfile()?), digest: Sha256::new(), length: 0 };
        ParquetWriter::new(&columns, out)
    };
    let mut writer = beside(begin).await?;
    let mut rows = 0;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        rows += batch.len();
        writer = beside(move || {
            writer.rows(&batch, 0..batch.len())?;
            Ok(writer)
        })
        .await?;
    }
    let Hashing { out, digest, length } = beside(move || writer.finish()).await?;
    let file = Arc::new(out.into_inner().map_err(|error| failed(&error.to_string()))?);
    let etag = URL_SAFE_NO_PAD.encode(digest.finalize().get(..18).unwrap_or_default());
    // Where only final rows will do, more of them may come: all of it has to be there.
    let is_final = pull.seal_of_answer().is_some() && pull.seal().await.is_some();
    Ok(Arc::new(Spooled { file, made_at: Instant::now(), length, etag: format!("\"{etag}\""), next, is_final, rows }))
}

/// Writes on a thread that may wait for the disk.
async fn beside<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, ParquetError> + Send + 'static,
) -> Result<T, Arc<WeirError>> {
    let done = tokio::task::spawn_blocking(work).await.map_err(|error| failed(&error.to_string()))?;
    done.map_err(|error| failed(&error.to_string()))
}

/// Counts and hashes what is written.
struct Hashing<W> {
    out: W,
    digest: Sha256,
    length: u64,
}

impl<W: Write> Write for Hashing<W> {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        let written = self.out.write(bytes)?;
        self.digest.update(bytes.get(..written).unwrap_or_default());
        self.length += written as u64;
        Ok(written)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        self.out.flush()
    }
}

impl Spooled {
    /// Bytes that the file does not have.
    fn beyond(&self) -> Response {
        let message = format!("the file has {} bytes, and the range begins behind them", self.length);
        let error = WeirError::bad_input(message).limited(self.length, None::<u64>);
        let mut response = problem::with_status(StatusCode::RANGE_NOT_SATISFIABLE, &error);
        let range = HeaderValue::from_str(&format!("bytes */{}", self.length));
        response.headers_mut().extend(range.map(|range| (header::CONTENT_RANGE, range)));
        response
    }

    /// Some of its bytes, or all of them.
    fn part(&self, bytes: Option<Range<u64>>) -> Response {
        let status = if bytes.is_some() { StatusCode::PARTIAL_CONTENT } else { StatusCode::OK };
        let range = bytes.unwrap_or(0..self.length);
        let pieces = stream::try_unfold((Arc::clone(&self.file), range.start), move |(file, at)| async move {
            let mut piece = vec![0; usize::try_from(range.end - at).unwrap_or(usize::MAX).min(PIECE)];
            if piece.is_empty() {
                return Ok::<_, std::io::Error>(None);
            }
            let read = move || file.read_exact_at(&mut piece, at).map(|()| (piece, file));
            let (piece, file) = tokio::task::spawn_blocking(read).await.map_err(std::io::Error::other)??;
            let next = at + piece.len() as u64;
            Ok(Some((Bytes::from(piece), (file, next))))
        });
        let mut response = (status, Body::from_stream(pieces)).into_response();
        let headers = response.headers_mut();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/vnd.apache.parquet"));
        headers.insert(header::ACCEPT_RANGES, HeaderValue::from_static("bytes"));
        headers.insert(header::CONTENT_LENGTH, HeaderValue::from(range.end - range.start));
        if status == StatusCode::PARTIAL_CONTENT {
            let range = format!("bytes {}-{}/{}", range.start, range.end - 1, self.length);
            headers.extend(HeaderValue::from_str(&range).map(|range| (header::CONTENT_RANGE, range)));
        }
        tag(headers, &self.etag);
        response
    }
}
