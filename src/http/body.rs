//! Bodies of requests: each is read up to a length, and all that are held at once share one measure of memory.
//!
//! A little is not counted, so that whoever asks for little is answered however much is held for others. What is refused is
//! thrown away slowly: it costs others nothing, however much of it comes.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::http::StatusCode;
use bytes::BytesMut;
use futures_util::FutureExt;
use http_body_util::BodyExt;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use super::answer::Refusal;
use super::overload::{self, Full};
use crate::domain::{LimitName, MemoryPool, Reservation};
use crate::error::{Code, WeirError};

/// So much of a body is not counted: most requests are shorter.
const SMALL: usize = 16 << 10;

/// How many times the limit of a body is read and thrown away before the connection is cut, so that callers who send
/// all before they read still see why they were refused.
const LONG_BODY_FACTOR: usize = 32;

/// For how long a body for which there is no room is read and thrown away, for the same reason.
const HEARD_OUT: Duration = Duration::from_secs(1);

/// After so much that was thrown away, of all callers together, nothing more of it is read for a [`PAUSE`]: 64 MB a second.
const AT_A_TIME: usize = 64 << 10;
const PAUSE: Duration = Duration::from_millis(1);

/// What is held of all bodies.
#[derive(Debug)]
pub(super) struct Bodies {
    memory: Arc<MemoryPool>,
    /// Whoever throws something away waits for its turn.
    thrown_away: Semaphore,
}

/// A body, and its part of what is held.
#[derive(Debug)]
pub(super) struct HeldBody {
    pub(super) bytes: Bytes,
    _reserved: Reservation,
}

impl Bodies {
    /// Holds so many bytes at most.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self { memory: MemoryPool::new(most), thrown_away: Semaphore::new(1) })
    }

    /// From now on holds so many.
    pub(super) fn resize(&self, most: usize) {
        self.memory.resize(most);
    }

    /// Reads a body, at most so long and for at most so long.
    pub(super) async fn read(&self, mut body: Body, limit: usize, patience: Duration) -> Result<HeldBody, Refusal> {
        let mut reading = std::pin::pin!(self.read_at_most(limit, &mut body));
        // Nearly always all of it came with the head, and no clock is needed.
        if let Some(read) = reading.as_mut().now_or_never() {
            return read;
        }
        timeout(patience, reading).await.unwrap_or_else(|_| {
            let message = format!("the body did not arrive within {patience:?}");
            Err(Refusal::of_http(StatusCode::REQUEST_TIMEOUT, Code::BadUserInput, message))
        })
    }

    /// Collects a body; one that came in one piece is not copied.
    async fn read_at_most(&self, limit: usize, body: &mut Body) -> Result<HeldBody, Refusal> {
        let reserved = self.memory.reservation();
        let mut held = Bytes::new();
        while let Some(frame) = body.frame().await {
            let frame = frame.map_err(|_| Refusal::malformed("the body broke off"))?;
            let Ok(data) = frame.into_data() else { continue };
            let length = held.len().saturating_add(data.len());
            let refusal = if length > limit {
                too_long(limit)
            } else if length > SMALL && !reserved.try_resize(length, self.memory.most()) {
                overload::refusal(Full { limit: LimitName::HeldBodyBytes, most: self.memory.most() })
            } else if held.is_empty() {
                held = data;
                continue;
            } else {
                let mut longer = BytesMut::from(held);
                longer.extend_from_slice(&data);
                held = longer.freeze();
                continue;
            };
            drop((held, data, reserved));
            let rest = self.throw_away(limit.saturating_mul(LONG_BODY_FACTOR).saturating_sub(length), body);
            if length > limit {
                rest.await;
            } else {
                let _whether_or_not = timeout(HEARD_OUT, rest).await;
            }
            return Err(refusal);
        }
        Ok(HeldBody { bytes: held, _reserved: reserved })
    }

    /// Throws away what still comes of a body, so much at most.
    async fn throw_away(&self, most: usize, body: &mut Body) {
        let (mut length, mut since_pause) = (0_usize, 0_usize);
        while let Some(Ok(frame)) = body.frame().await {
            let bytes = frame.data_ref().map_or(0, Bytes::len);
            (length, since_pause) = (length.saturating_add(bytes), since_pause.saturating_add(bytes));
            if length > most {
                return;
            }
            if since_pause >= AT_A_TIME {
                since_pause = 0;
                let _turn = self.thrown_away.acquire().await;
                sleep(PAUSE).await;
            }
        }
    }
}

fn too_long(limit: usize) -> Refusal {
    let message = format!("the body is longer than {limit} bytes, the limit of this gateway");
    let error = WeirError::exceeding(LimitName::MaxBody, message, limit, None::<usize>);
    Refusal::of_error(StatusCode::PAYLOAD_TOO_LARGE, &error)
}

#[cfg(test)]
mod tests {
    use futures_util::future::join_all;
    use futures_util::{StreamExt, stream};
    use tokio::time::Instant;

    use super::*;

    const KB: usize = 1 << 10;

    /// A body that comes in pieces of 64 KB.
    fn pieces(n: usize) -> Body {
        Body::from_stream(stream::iter((0..n).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![b' '; 64 * KB])))))
    }

    async fn read(bodies: &Bodies, length: usize) -> Result<HeldBody, Refusal> {
        bodies.read(Body::from(vec![b' '; length]), 200 * KB, Duration::from_secs(30)).await
    }

    #[tokio::test(start_paused = true)]
    async fn bodies_are_counted_together_and_short_ones_not_at_all() {
        let bodies = Bodies::new(100 * KB);
        let small = join_all((0..50).map(|_| read(&bodies, SMALL))).await;
        assert!(small.iter().all(Result::is_ok));
        let (one, other) = (read(&bodies, 60 * KB).await.unwrap(), read(&bodies, 40 * KB).await.unwrap());
        assert_eq!((one.bytes.len(), bodies.memory.reserved()), (60 * KB, 100 * KB));
        let refused = read(&bodies, 17 * KB).await.unwrap_err();
        assert_eq!(refused.limit(), Some(LimitName::HeldBodyBytes));
        drop(other);
        assert!(read(&bodies, 40 * KB).await.is_ok());
        assert!(read(&bodies, 41 * KB).await.is_err());
        drop((one, small));
        assert_eq!(bodies.memory.reserved(), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn a_body_in_pieces_is_put_together_and_one_that_is_too_long_holds_nothing() {
        let bodies = Bodies::new(1_000 * KB);
        let patience = Duration::from_secs(30);
        let whole = bodies.read(pieces(3), 200 * KB, patience).await.unwrap();
        assert_eq!((whole.bytes.len(), bodies.memory.reserved()), (192 * KB, 192 * KB));
        drop(whole);
        let four = stream::iter((0..4).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![b' '; 64 * KB]))));
        let endless = Body::from_stream(four.chain(stream::pending()));
        let refused = bodies.read(endless, 200 * KB, patience);
        let mut refused = std::pin::pin!(refused);
        assert!(timeout(Duration::from_secs(1), &mut refused).await.is_err(), "it is heard out");
        assert_eq!(bodies.memory.reserved(), 0);
    }

    /// However many send what is refused, all of them together are read at one pace.
    #[tokio::test(start_paused = true)]
    async fn what_is_refused_is_thrown_away_slowly() {
        let bodies = Bodies::new(1_000 * KB);
        let began = Instant::now();
        let refused = join_all((0..4).map(|_| bodies.read(pieces(1_000), 1_000 * KB, Duration::from_secs(30)))).await;
        assert!(refused.iter().all(|refused| refused.as_ref().unwrap_err().limit().is_some()));
        // Four times 32 times the limit, for each of which the limit itself was not thrown away.
        assert!(began.elapsed() >= Duration::from_millis(4 * 30_000 / 64), "{:?}", began.elapsed());
    }
}
