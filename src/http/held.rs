//! The answers that are not yet taken, all of them together and with those that are being made.
//!
//! Little is not counted, so that whoever asks for little is answered however much is held for others. Answers to whoever
//! reads slowly stay as long as there is room; where there is none, those under way for longest are cut off.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::header;
use axum::response::Response;
use futures_util::task::AtomicWaker;
use hyper::body::{Frame, SizeHint};
use tokio::time::Instant;

use super::load::Turn;
use super::negotiate::MediaType;
use super::overload::Full;
use super::rows::HeldBack;
use super::rows::problem::problem;
use super::serve::Line;
use super::{answer, overload};
use crate::domain::{Caller, LimitName, MemoryPool, Reservation};
use crate::schema::Answer;
use crate::telemetry::meters::Meters;

/// An answer that has been under way for so long is cut off where there is no room for others.
const PATIENCE: Duration = Duration::from_secs(30);

/// The answers that are under way. `[limits] held_answer_bytes` bounds all of them together, with those that are being made.
#[derive(Debug)]
pub(super) struct Answers {
    pool: Arc<MemoryPool>,
    under_way: Mutex<UnderWay>,
    meters: Arc<Meters>,
}

#[derive(Debug, Default)]
struct UnderWay {
    last_id: u64,
    /// In the order in which they began.
    all: BTreeMap<u64, Begun>,
}

#[derive(Debug)]
struct Begun {
    at: Instant,
    reserved: Arc<Reservation>,
    line: Option<Line>,
}

/// What was reserved while an answer was made, handed on with it.
#[derive(Debug, Clone)]
pub(super) struct Made(pub(super) Arc<Reservation>);

/// For whom an answer is.
#[derive(Debug)]
pub(super) struct Recipient {
    pub(super) caller: Caller,
    pub(super) line: Option<Line>,
    /// Of rows, which nobody sits before.
    pub(super) bulk: Option<Turn>,
}

impl Answers {
    /// They share `pool` with those that are being made; whoever is refused is counted.
    pub(super) fn new(pool: Arc<MemoryPool>, meters: Arc<Meters>) -> Arc<Self> {
        Arc::new(Self { pool, under_way: Mutex::default(), meters })
    }

    /// From now on so much is held at most.
    pub(super) fn resize(&self, most: usize) {
        self.pool.resize(most);
    }

    /// Whether rows are asked for in vain.
    fn is_short(&self) -> bool {
        self.pool.reserved() > self.most_of(true)
    }

    /// Says why rows are asked for in vain, if they are.
    pub(super) fn admit_rows(&self, caller: &Caller) -> Result<(), Full> {
        if self.is_short() { Err(self.full(caller, true)) } else { Ok(()) }
    }

    /// There was no room to make an answer.
    pub(super) fn not_made(&self, caller: &Caller) -> Full {
        self.lock().make_room(1);
        self.full(caller, false)
    }

    /// Counts that somebody was refused.
    fn full(&self, caller: &Caller, is_bulk: bool) -> Full {
        self.meters.refused(LimitName::HeldAnswerBytes, caller);
        Full { limit: LimitName::HeldAnswerBytes, most: self.most_of(is_bulk) }
    }

    fn most_of(&self, is_bulk: bool) -> usize {
        if is_bulk { self.pool.most() / 2 } else { self.pool.most() }
    }

    /// Counts an answer until its last byte is taken, or puts a refusal in its place.
    pub(super) fn send(self: &Arc<Self>, mut response: Response, to: Recipient) -> Response {
        let Recipient { caller, line, bulk } = to;
        let made = response.extensions_mut().remove::<Made>();
        match response.body().size_hint().exact() {
            Some(length) if length <= Answer::SMALL as u64 => response,
            Some(length) => {
                let (length, is_bulk) = (usize::try_from(length).unwrap_or(usize::MAX), bulk.is_some());
                let reserved = made.map_or_else(|| Arc::new(self.pool.reservation()), |Made(reserved)| reserved);
                match self.hold(reserved, length, line, is_bulk) {
                    Some(held) => response.map(|body| Body::new(Whole { body, held: Some(held), _turn: bulk })),
                    None => refusal(&response, self.full(&caller, is_bulk), is_bulk),
                }
            }
            None => {
                let held_back = response.extensions().get().map_or(0, |HeldBack(bytes)| *bytes);
                let Some(held_back) = self.hold(Arc::new(self.pool.reservation()), held_back, line.clone(), true)
                else {
                    return refusal(&response, self.full(&caller, true), true);
                };
                let (answers, taken) = (Arc::clone(self), Arc::default());
                let pieces = |body| Pieces { body, answers, line, held_back: Some(held_back), taken, _turn: bulk };
                response.map(|body| Body::new(pieces(body)))
            }
        }
    }

    /// Room for an answer of this length. One alone may be as long as it is.
    fn hold(
        self: &Arc<Self>,
        reserved: Arc<Reservation>,
        bytes: usize,
        line: Option<Line>,
        is_bulk: bool,
    ) -> Option<Held> {
        if !reserved.try_resize_alone(bytes, self.most_of(is_bulk)) {
            self.lock().make_room(bytes);
            return None;
        }
        Some(self.held(reserved, line))
    }

    /// The same for what is there already and cannot be refused any more.
    fn hold_anyway(self: &Arc<Self>, bytes: usize, line: Option<Line>) -> Held {
        let reserved = self.pool.reservation();
        reserved.resize(bytes);
        self.held(Arc::new(reserved), line)
    }

    fn held(self: &Arc<Self>, reserved: Arc<Reservation>, line: Option<Line>) -> Held {
        let mut under_way = self.lock();
        under_way.last_id += 1;
        let id = under_way.last_id;
        under_way.all.insert(id, Begun { at: Instant::now(), reserved: Arc::clone(&reserved), line });
        Held { answers: Arc::clone(self), id, reserved: Some(reserved), taken: None }
    }

    fn lock(&self) -> MutexGuard<'_, UnderWay> {
        self.under_way.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl UnderWay {
    /// Cuts off those that have been under way for longest, until there would be room for so much.
    fn make_room(&self, bytes: usize) {
        let mut room = 0_usize;
        for begun in self.all.values().take_while(|begun| begun.at.elapsed() >= PATIENCE) {
            if room >= bytes {
                return;
            }
            let reserved = begun.reserved.bytes();
            if let Some(line) = begun.line.as_ref().filter(|_| reserved > 0) {
                line.cut();
                room = room.saturating_add(reserved);
            }
        }
    }
}

fn refusal(response: &Response, full: Full, is_bulk: bool) -> Response {
    if is_bulk {
        return problem(&overload::come_back(full));
    }
    let own = response.headers().get(header::CONTENT_TYPE);
    let media =
        if own == Some(&MediaType::GraphqlResponse.header()) { MediaType::GraphqlResponse } else { MediaType::Json };
    answer::refuse(media, &overload::refusal(full))
}

/// Bytes that are counted until this is dropped.
#[derive(Debug)]
struct Held {
    answers: Arc<Answers>,
    id: u64,
    /// Others may hold the same: then it is counted until the last of them lets go.
    reserved: Option<Arc<Reservation>>,
    /// Who is told when they are taken.
    taken: Option<Arc<Taken>>,
}

impl Held {
    /// Counts less of it.
    fn shrink(&self, by: usize) {
        if let Some(reserved) = &self.reserved {
            reserved.resize(reserved.bytes().saturating_sub(by));
        }
    }
}

impl Drop for Held {
    fn drop(&mut self) {
        self.answers.lock().all.remove(&self.id);
        self.reserved = None;
        if let Some(taken) = &self.taken {
            taken.waiting.fetch_sub(1, Ordering::AcqRel);
            taken.waker.wake();
        }
    }
}

/// Bytes and their count, which end together: what a connection still has to send keeps both.
struct Counted {
    bytes: Bytes,
    _held: Held,
}

impl Counted {
    fn bytes(bytes: Bytes, held: Held) -> Bytes {
        Bytes::from_owner(Self { bytes, _held: held })
    }
}

impl AsRef<[u8]> for Counted {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

type Polled = Poll<Option<Result<Frame<Bytes>, axum::Error>>>;

/// An answer that is there as a whole: its bytes are counted until the last of them is taken.
struct Whole {
    body: Body,
    held: Option<Held>,
    _turn: Option<Turn>,
}

impl HttpBody for Whole {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        let is_last = self.body.is_end_stream();
        let counted = |frame: Frame<Bytes>| match self.held.take_if(|_| is_last) {
            Some(held) => frame.map_data(|bytes| Counted::bytes(bytes, held)),
            None => frame,
        };
        Poll::Ready(frame.map(|frame| frame.map(counted)))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

/// How many pieces of an answer are waiting to be taken.
#[derive(Debug, Default)]
struct Taken {
    waiting: AtomicUsize,
    waker: AtomicWaker,
}

/// An answer that is made piece by piece. Where there is too little room the next piece is made once the last is taken.
struct Pieces {
    body: Body,
    answers: Arc<Answers>,
    line: Option<Line>,
    held_back: Option<Held>,
    taken: Arc<Taken>,
    _turn: Option<Turn>,
}

impl Pieces {
    fn has_to_wait(&self, context: &Context<'_>) -> bool {
        let is_waiting = || self.taken.waiting.load(Ordering::Acquire) > 0;
        // Whoever takes them without a connection may well put them together first.
        if self.line.is_none() || !is_waiting() || !self.answers.is_short() {
            return false;
        }
        self.taken.waker.register(context.waker());
        is_waiting()
    }

    fn count(&mut self, bytes: Bytes) -> Bytes {
        if let Some(held_back) = &self.held_back {
            held_back.shrink(bytes.len());
        }
        let mut held = self.answers.hold_anyway(bytes.len(), self.line.clone());
        self.taken.waiting.fetch_add(1, Ordering::AcqRel);
        held.taken = Some(Arc::clone(&self.taken));
        Counted::bytes(bytes, held)
    }
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Polled {
        if self.has_to_wait(context) {
            return Poll::Pending;
        }
        let frame = ready!(Pin::new(&mut self.body).poll_frame(context));
        Poll::Ready(frame.map(|frame| frame.map(|frame| frame.map_data(|bytes| self.count(bytes)))))
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests;
