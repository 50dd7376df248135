//! Long answers, sent step by step: between the steps a thread serves others, however fast the answer is read.

use std::convert::Infallible;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::vec;

use axum::body::{Body, Bytes, HttpBody};
use hyper::body::{Frame, SizeHint};

/// So much is handed to the system at a time.
const STEP: usize = 128 << 10;
/// Others are let in after so many bytes: handing them over takes about a tenth of a millisecond.
const TURN: usize = 512 << 10;

/// A body of these pieces.
pub(super) fn body(mut pieces: Vec<Bytes>) -> Body {
    match pieces.as_mut_slice() {
        [] => Body::empty(),
        [alone] if alone.len() <= STEP => Body::from(std::mem::take(alone)),
        _ => Body::new(Pieces { piece: Bytes::new(), rest: pieces.into_iter(), turn: 0 }),
    }
}

/// Pieces whose length is known, so that the response tells it.
struct Pieces {
    /// What is left of the piece that is being sent.
    piece: Bytes,
    rest: vec::IntoIter<Bytes>,
    /// What was sent since others were let in.
    turn: usize,
}

impl HttpBody for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        if self.turn >= TURN {
            self.turn = 0;
            context.waker().wake_by_ref();
            return Poll::Pending;
        }
        while self.piece.is_empty() {
            let Some(next) = self.rest.next() else { return Poll::Ready(None) };
            self.piece = next;
        }
        let step = self.piece.len().min(STEP);
        self.turn += step;
        Poll::Ready(Some(Ok(Frame::data(self.piece.split_to(step)))))
    }

    fn is_end_stream(&self) -> bool {
        self.piece.is_empty() && self.rest.as_slice().iter().all(Bytes::is_empty)
    }

    fn size_hint(&self) -> SizeHint {
        let rest: u64 = self.rest.as_slice().iter().map(|piece| piece.len() as u64).sum();
        SizeHint::with_exact(rest + self.piece.len() as u64)
    }
}

#[cfg(test)]
mod tests {
    use futures_util::poll;
    use http_body_util::BodyExt;

    use super::*;

    #[tokio::test]
    async fn pieces_arrive_whole_in_steps_and_others_are_let_in() {
        let pieces: Vec<_> = [3, 0, STEP, 5 * STEP + 1, 0].map(|length| Bytes::from(vec![b'x'; length])).into();
        let mut body = body(pieces.clone());
        let (mut all, mut n_pauses) = (Vec::new(), 0);
        while !body.is_end_stream() {
            assert_eq!(body.size_hint().exact(), Some((pieces.concat().len() - all.len()) as u64));
            let Poll::Ready(frame) = poll!(body.frame()) else {
                n_pauses += 1;
                continue;
            };
            let data = frame.unwrap().unwrap().into_data().unwrap();
            assert!(data.len() <= STEP);
            all.extend_from_slice(&data);
        }
        assert_eq!((all == pieces.concat(), n_pauses), (true, 1));
        assert!(body.frame().await.is_none());
    }

    #[tokio::test]
    async fn what_is_short_is_one_piece() {
        for (pieces, text) in [(vec![], ""), (vec![Bytes::from("ab")], "ab")] {
            let body = body(pieces);
            assert_eq!(body.size_hint().exact(), Some(text.len() as u64));
            assert_eq!(body.collect().await.unwrap().to_bytes(), text);
        }
    }
}
