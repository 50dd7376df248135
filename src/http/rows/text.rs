//! Rows as text, written as their windows arrive.
//!
//! The first megabyte is held back for a moment: what is complete by then has its length, and what fails by then its status.
//! Beyond it nothing is collected: a caller who reads slowly slows the asking down.

use std::sync::{Arc, LazyLock};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::{HeaderMap, HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::stream::{self, BoxStream, StreamExt};
use tokio::sync::Semaphore;
use tokio::time::{Instant, timeout, timeout_at};

use super::{AsTheyArrive, Asked, HeldBack, is_known, not_modified, problem, tag};
use crate::error::{Code, WeirError};
use crate::formats::{Format, TextWriter, Trailer};
use crate::http::access_log::RowsSent;
use crate::http::negotiate::accepts_gzip;
use crate::query::pull::{Batch, Batches, Pull};

/// What is complete within so many bytes has its length told.
const HELD_BYTES: usize = 1 << 20;
/// How long the first row is waited for before the answer begins without it.
const FIRST_ROW: Duration = Duration::from_secs(20);
/// How long the rest is waited for once there are rows.
const REST: Duration = Duration::from_secs(2);
/// Rows that are written in one go.
const CHUNK_ROWS: usize = 4_096;
/// Fewer rows than these are written where they came, without another thread.
const FEW_ROWS: usize = 256;
/// JSON may have blanks between its rows: one is sent so often while no row comes, so that nobody takes the gateway for dead.
const SIGN_OF_LIFE: Duration = Duration::from_secs(15);

/// Threads that write rows at once: half of the processor stays with those who ask interactively.
static WRITERS: LazyLock<Semaphore> = LazyLock::new(|| {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    Semaphore::new((cores / 2).max(1))
});

type Chunks = BoxStream<'static, Result<Bytes, Arc<WeirError>>>;

/// All rows, or a page.
pub(super) async fn answer(pull: Arc<Pull>, asked: &Asked, headers: &HeaderMap) -> Result<Response, Arc<WeirError>> {
    let (batches, next, sealed, takes_long) = if pull.is_paged() {
        let page = pull.page().await?;
        (stream::iter(page.batches.into_iter().map(Ok)).boxed(), page.next, pull.seal_of_answer(), false)
    } else {
        let sealed = pull.seal().await;
        if let Some(etag) = sealed.as_deref().map(weak).filter(|etag| is_known(headers, etag)) {
            return Ok(not_modified(&etag));
        }
        let takes_long = pull.plan().await?.wait > REST;
        (Arc::clone(&pull).batches(), None, sealed, takes_long)
    };
    let writes_gzip = accepts_gzip(headers);
    let Some(writer) = TextWriter::new(asked.format, pull.columns().to_vec(), pull.has_bom()) else {
        return Err(Arc::new(WeirError::new(Code::Internal, "the format is no text")));
    };
    let sent = Arc::new(RowsSent::new(Arc::clone(pull.cost())));
    let work = Work { writer, out: Out::new(writes_gzip) };
    let writing = Writing {
        work: Some(work),
        batches,
        batch: None,
        state: State::Begin,
        next: next.clone(),
        has_blanks: asked.format == Format::Json,
        sent: Arc::clone(&sent),
    };
    // Whoever wants the head alone wants the rest for its length, which no one will know in time.
    let is_begun = |held: &[Bytes]| asked.is_head && takes_long && held.len() > 1;
    let (held, rest) = hold_back(writing.chunks(), is_begun).await?;
    let sealed = if rest.is_none() { pull.seal_of_answer() } else { sealed };
    if rest.is_some() && !asked.has_chunks {
        return Ok(problem::with_status(StatusCode::HTTP_VERSION_NOT_SUPPORTED, &needs_chunks()));
    }
    let etag = sealed.as_deref().map(weak);
    if let Some(etag) = etag.as_deref().filter(|etag| is_known(headers, etag)) {
        return Ok(not_modified(etag));
    }
    let held_back = HeldBack(held.iter().map(Bytes::len).sum());
    let body = match rest {
        None => Body::from(held.concat()),
        Some(rest) => Body::from_stream(stream::iter(held.into_iter().map(Ok)).chain(rest)),
    };
    let mut response = body.into_response();
    response.extensions_mut().insert(held_back);
    let headers = response.headers_mut();
    headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(asked.format.media_type()));
    headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    if writes_gzip {
        headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    }
    if let Some(link) = next.as_deref().and_then(|next| asked.link(next)) {
        headers.insert(header::LINK, link);
    }
    if let Some(etag) = etag {
        tag(headers, &etag);
    }
    response.extensions_mut().insert(AsTheyArrive);
    response.extensions_mut().insert(sent);
    Ok(response)
}

/// To a caller of before HTTP/1.1 the end of a connection is the end of an answer: what failed would look complete.
fn needs_chunks() -> WeirError {
    WeirError::bad_input(
        "rows that arrive little by little need HTTP/1.1, which tells their end from a failure (nginx: `proxy_http_version \
         1.1`); ask for less at a time, or for Parquet, which has its length",
    )
}

/// The same rows may be compressed or say that they came from memory this time.
fn weak(seal: &str) -> String {
    format!("W/\"{seal}\"")
}

/// What is there of an answer when its head is sent: all of it, or its beginning and the rest. No more of it is waited for
/// once what is there `will_do`.
async fn hold_back(
    mut chunks: Chunks,
    will_do: impl Fn(&[Bytes]) -> bool,
) -> Result<(Vec<Bytes>, Option<Chunks>), Arc<WeirError>> {
    let (mut held, mut bytes) = (Vec::new(), 0);
    let mut until = Instant::now() + FIRST_ROW;
    while bytes < HELD_BYTES && !will_do(&held) {
        match timeout_at(until, chunks.next()).await {
            Err(_) => return Ok((held, Some(chunks))),
            Ok(None) => return Ok((held, None)),
            Ok(Some(chunk)) => {
                let chunk = chunk?;
                bytes += chunk.len();
                // The first chunk has no row yet.
                if held.len() == 1 {
                    until = until.min(Instant::now() + REST);
                }
                held.push(chunk);
            }
        }
    }
    Ok((held, Some(chunks)))
}

/// An answer that is written.
struct Writing {
    /// `None` while a thread has it.
    work: Option<Work>,
    batches: Batches,
    /// What is written of the batch that came last.
    batch: Option<(Arc<Batch>, usize)>,
    state: State,
    /// The cursor of the next page.
    next: Option<String>,
    /// Whether blanks may stand between rows.
    has_blanks: bool,
    sent: Arc<RowsSent>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum State {
    Begin,
    Rows,
    Done,
}

/// What a thread needs to write.
struct Work {
    writer: TextWriter,
    out: Out,
}

impl Writing {
    fn chunks(self) -> Chunks {
        let chunk = |mut writing: Self| async move {
            match writing.chunk().await {
                Ok(Some(chunk)) => Some((Ok(chunk), writing)),
                Ok(None) => None,
                Err(error) => {
                    writing.sent.note_failed(error.code);
                    writing.state = State::Done;
                    Some((Err(error), writing))
                }
            }
        };
        stream::unfold(self, chunk).boxed()
    }

    async fn chunk(&mut self) -> Result<Option<Bytes>, Arc<WeirError>> {
        match self.state {
            State::Begin => {
                self.state = State::Rows;
                self.write(TextWriter::begin).map(Some)
            }
            State::Rows => loop {
                if let Some((batch, from)) = self.batch.take().filter(|(batch, from)| *from < batch.len()) {
                    let to = batch.len().min(from + CHUNK_ROWS);
                    self.batch = Some((Arc::clone(&batch), to));
                    let written = self.rows(batch, from..to).await?;
                    self.sent.add_rows(to - from);
                    return Ok(Some(written));
                }
                let wait = if self.has_blanks { SIGN_OF_LIFE } else { Duration::MAX };
                match timeout(wait, self.batches.next()).await {
                    Err(_) => return self.write(|_, out| out.push(b'\n')).map(Some),
                    Ok(Some(batch)) => self.batch = Some((Arc::new(batch?), 0)),
                    Ok(None) => return self.end().map(Some),
                }
            },
            State::Done => Ok(None),
        }
    }

    fn end(&mut self) -> Result<Bytes, Arc<WeirError>> {
        self.state = State::Done;
        let trailer = Trailer::new(self.next.take(), self.sent.cost());
        let written = self.write(|writer, out| writer.end(&trailer, out))?;
        let rest = self.work.take().map(|work| work.out.finish()).unwrap_or_default();
        self.sent.note_whole();
        Ok([written, rest.into()].concat().into())
    }

    /// Writes something short.
    fn write(&mut self, write: impl FnOnce(&mut TextWriter, &mut Vec<u8>)) -> Result<Bytes, Arc<WeirError>> {
        let work = self.work.as_mut().ok_or_else(lost)?;
        Ok(work.write(write))
    }

    async fn rows(&mut self, batch: Arc<Batch>, rows: std::ops::Range<usize>) -> Result<Bytes, Arc<WeirError>> {
        let mut work = self.work.take().ok_or_else(lost)?;
        if rows.len() < FEW_ROWS {
            let written = work.write(|writer, out| writer.rows(&batch, rows, out));
            self.work = Some(work);
            return Ok(written);
        }
        let _turn = WRITERS.acquire().await;
        let written = tokio::task::spawn_blocking(move || {
            let written = work.write(|writer, out| writer.rows(&batch, rows, out));
            (work, written)
        });
        let (work, written) = written.await.map_err(|_| lost())?;
        self.work = Some(work);
        Ok(written)
    }
}

fn lost() -> Arc<WeirError> {
    Arc::new(WeirError::new(Code::Internal, "rows could not be written; the log has the details"))
}

impl Work {
    fn write(&mut self, write: impl FnOnce(&mut TextWriter, &mut Vec<u8>)) -> Bytes {
        let mut text = Vec::new();
        write(&mut self.writer, &mut text);
        self.out.take(text)
    }
}

/// Where text goes.
enum Out {
    Plain,
    Gzip(GzEncoder<Vec<u8>>),
}

impl Out {
    fn new(gzip: bool) -> Self {
        if gzip { Self::Gzip(GzEncoder::new(Vec::new(), Compression::fast())) } else { Self::Plain }
    }

    /// Compresses what was written, so that it can be read at once.
    fn take(&mut self, text: Vec<u8>) -> Bytes {
        use std::io::Write as _;
        match self {
            Self::Plain => text.into(),
            Self::Gzip(encoder) => {
                // Writing into memory does not fail.
                let _never_fails = encoder.write_all(&text);
                let _never_fails = encoder.flush();
                std::mem::take(encoder.get_mut()).into()
            }
        }
    }

    /// What ends it.
    fn finish(self) -> Vec<u8> {
        match self {
            Self::Plain => Vec::new(),
            Self::Gzip(encoder) => encoder.finish().unwrap_or_default(),
        }
    }
}
