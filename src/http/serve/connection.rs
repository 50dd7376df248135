//! One connection from its first byte to its last: what its peer may keep it waiting with, and when it ends.

use std::convert::Infallible;
use std::io::{self, IoSlice};
use std::net::IpAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::http::{HeaderValue, Request, header};
use axum::response::Response;
use hyper::body::{Frame, Incoming, SizeHint};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_io_timeout::TimeoutStream;
use tower::Service;
use tracing::debug;

use super::table::{Rank, Seat, Seated};
use super::{Line, Phase, Timeouts};
use crate::http::health::Stopping;
use crate::http::peer::Peer;

/// How long a connection may be without its first request when the server stops.
const JUST_COME: Duration = Duration::from_millis(200);
/// What is read of a head at most, and held of an answer for the socket.
const BUFFER: usize = 80 << 10;
/// The same for a place in reserve.
const RESERVE_BUFFER: usize = 16 << 10;

/// What holds for all connections.
#[derive(Clone)]
pub(super) struct Terms {
    pub(super) timeouts: Timeouts,
    pub(super) phase: watch::Receiver<Phase>,
    pub(super) stopping: Stopping,
}

/// One connection to its end. From [`Phase::Ending`] on it takes no further request, but for the first one of whoever has just
/// come.
pub(super) async fn connection<S, R>(stream: S, service: R, seated: Seated, remote: IpAddr, terms: Terms)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    R: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + Unpin> + Clone + Send,
{
    let Terms { timeouts, mut phase, stopping } = terms;
    let (came, mut ends_at) = (Instant::now(), None);
    let seat = Arc::clone(seated.seat());
    let is_reserve = seat.rank() == Rank::Reserve;
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(if is_reserve { timeouts.stall.min(timeouts.reserve) } else { timeouts.stall }));
    let stream = TokioIo::new(Watched { stream: Box::pin(stream), seated });
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new());
    if is_reserve {
        server.header_read_timeout(timeouts.head.min(timeouts.reserve)).max_buf_size(RESERVE_BUFFER).keep_alive(false);
    } else {
        server.header_read_timeout(timeouts.head).max_buf_size(BUFFER);
    }
    let asked = Asked { service, seat: Arc::clone(&seat), remote, stopping };
    let mut connection = std::pin::pin!(server.serve_connection(stream, asked).with_upgrades());
    let ended = loop {
        tokio::select! {
            ended = connection.as_mut() => break ended,
            () = seat.told_to_leave() => {
                if seat.is_cut() || seat.is_idle() {
                    return;
                }
                connection.as_mut().graceful_shutdown();
            }
            Ok(()) = phase.changed() => match *phase.borrow_and_update() {
                Phase::Last if seat.is_idle() => return,
                // Whoever has just come is still asking.
                _ => ends_at = Some(came + JUST_COME),
            },
            () = sleep_until(ends_at.unwrap_or(came)), if ends_at.is_some() => {
                ends_at = None;
                connection.as_mut().graceful_shutdown();
            }
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

/// A socket that keeps its place for as long as it is open, and notes whether its peer takes what is sent.
struct Watched<S> {
    stream: Pin<Box<S>>,
    seated: Seated,
}

impl<S> Watched<S> {
    fn noted<T>(&self, sent: Poll<io::Result<T>>) -> Poll<io::Result<T>> {
        self.seated.seat().note_stuck(sent.is_pending());
        sent
    }
}

impl<S: AsyncRead> AsyncRead for Watched<S> {
    fn poll_read(mut self: Pin<&mut Self>, context: &mut Context<'_>, into: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_read(context, into)
    }
}

impl<S: AsyncWrite> AsyncWrite for Watched<S> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        let sent = self.stream.as_mut().poll_write(context, bytes);
        self.noted(sent)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let sent = self.stream.as_mut().poll_flush(context);
        self.noted(sent)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.stream.as_mut().poll_shutdown(context)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        pieces: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        let sent = self.stream.as_mut().poll_write_vectored(context, pieces);
        self.noted(sent)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

/// The service as one connection asks it.
struct Asked<R> {
    service: R,
    seat: Arc<Seat>,
    remote: IpAddr,
    stopping: Stopping,
}

impl<R> hyper::service::Service<Request<Incoming>> for Asked<R>
where
    R: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Unpin> + Clone,
{
    type Response = axum::http::Response<Answered>;
    type Error = Infallible;
    type Future = Answering<R::Future>;

    fn call(&self, mut request: Request<Incoming>) -> Self::Future {
        let busy = Busy::begin(&self.seat);
        request.extensions_mut().insert(Peer(self.remote));
        request.extensions_mut().insert(Line::of(&self.seat));
        // A service of this crate is always ready.
        let answer = self.service.clone().call(request);
        Answering { answer, busy: Some(busy), stopping: self.stopping.clone() }
    }
}

/// An answer that is worked out.
struct Answering<F> {
    answer: F,
    busy: Option<Busy>,
    stopping: Stopping,
}

impl<F: Future<Output = Result<Response, Infallible>> + Unpin> Future for Answering<F> {
    type Output = Result<axum::http::Response<Answered>, Infallible>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        let mut answer = ready!(Pin::new(&mut self.answer).poll(context))?;
        if self.stopping.has_begun() {
            answer.headers_mut().insert(header::CONNECTION, HeaderValue::from_static("close"));
        }
        let busy = self.busy.take();
        Poll::Ready(Ok(answer.map(|body| Answered { body, _busy: busy })))
    }
}

/// A request in progress: until its answer is handed over, or dropped.
struct Busy(Arc<Seat>);

impl Busy {
    fn begin(seat: &Arc<Seat>) -> Self {
        seat.note_busy();
        Self(Arc::clone(seat))
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.note_idle();
    }
}

/// The body of an answer.
struct Answered {
    body: Body,
    _busy: Option<Busy>,
}

impl HttpBody for Answered {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        Pin::new(&mut self.body).poll_frame(context)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.body.size_hint()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;
    use tokio::time::{Instant, sleep, timeout};

    use super::super::table::{Places, Share, Table};
    use super::*;

    const LENGTH: usize = 100_000;
    const ASK: &[u8] = b"GET / HTTP/1.1\r\nhost: localhost\r\n\r\n";

    fn places(all: usize) -> Places {
        Places { all, per_peer: all, reserve: 1 }
    }

    struct Served {
        caller: DuplexStream,
        serving: JoinHandle<()>,
        phase: watch::Sender<Phase>,
        stopping: Stopping,
        seat: Arc<Seat>,
    }

    /// A line that holds a thousand bytes of what is sent.
    fn serve(table: &Arc<Table>) -> Served {
        let router = Router::new().route("/", get(async || "x".repeat(LENGTH))).route("/short", get(async || "short"));
        let (caller, server) = duplex(1_000);
        let (phase, told) = watch::channel(Phase::Serving);
        let remote = IpAddr::from([127, 0, 0, 1]);
        let seated = table.enter(remote, Share::Bounded).unwrap();
        let (seat, stopping) = (Arc::clone(seated.seat()), Stopping::default());
        let terms = Terms { timeouts: Timeouts::default(), phase: told, stopping: stopping.clone() };
        let serving = tokio::spawn(connection(server, boxed(router), seated, remote, terms));
        Served { caller, serving, phase, stopping, seat }
    }

    fn boxed(
        router: Router,
    ) -> impl Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send + Unpin> + Clone + Send
    {
        tower::service_fn(move |request: Request<Incoming>| {
            let mut router = router.clone();
            Box::pin(async move { router.call(request).await })
        })
    }

    async fn asked() -> Served {
        let mut served = serve(&Table::new(places(9)));
        served.caller.write_all(&[&ASK[..ASK.len() - 2], b"connection: close\r\n\r\n"].concat()).await.unwrap();
        served
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_cut_off() {
        let began = Instant::now();
        let mut served = asked().await;
        served.serving.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), Timeouts::default().stall.as_secs());
        let mut got = Vec::new();
        served.caller.read_to_end(&mut got).await.unwrap();
        assert!(got.len() < LENGTH, "{}", got.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_slowly_gets_all_of_it() {
        let mut served = asked().await;
        let (mut got, mut piece) = (0, [0; 1_000]);
        loop {
            sleep(Duration::from_secs(20)).await;
            match served.caller.read(&mut piece).await.unwrap() {
                0 => break,
                length => got += length,
            }
        }
        assert!(got > LENGTH, "the head and the body: {got}");
        served.serving.await.unwrap();
    }

    /// Has the connection answered once, and leaves it open.
    async fn answered(served: &mut Served) {
        served.caller.write_all(b"GET /short HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut got = Vec::new();
        while !got.ends_with(b"short") {
            assert_ne!(served.caller.read_buf(&mut got).await.unwrap(), 0);
        }
        sleep(Duration::from_millis(1)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn what_asks_for_nothing_or_for_half_leaves_at_once_and_an_answer_is_sent_first() {
        let halves = [&b""[..], b"GET / HTT", b"GET /short HTTP/1.1\r\nhost: localhost\r\n"];
        for (half, is_new) in halves.into_iter().flat_map(|half| [(half, true), (half, false)]) {
            let table = Table::new(places(1));
            let mut first = serve(&table);
            if !is_new {
                answered(&mut first).await;
            }
            first.caller.write_all(half).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            let began = Instant::now();
            let _second = serve(&table);
            first.serving.await.unwrap();
            assert!(began.elapsed() < Duration::from_millis(10), "{:?}", began.elapsed());
        }

        let table = Table::new(places(1));
        let mut first = serve(&table);
        first.caller.write_all(ASK).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert!(!first.seat.is_idle(), "the answer is not taken yet");
        let second = serve(&table);
        assert_eq!(second.seat.rank(), Rank::Reserve);
        let mut got = vec![0; LENGTH];
        first.caller.read_exact(&mut got).await.unwrap();
        sleep(Duration::from_millis(1)).await;
        assert!(first.seat.is_idle());
        first.seat.cut();
        timeout(Duration::from_millis(10), first.serving).await.unwrap().unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn what_has_begun_no_request_does_not_hold_up_the_end() {
        for half in [&b""[..], b"GET / HTT"] {
            let mut served = serve(&Table::new(places(9)));
            served.caller.write_all(half).await.unwrap();
            sleep(Duration::from_millis(1)).await;
            served.phase.send(Phase::Ending).unwrap();
            sleep(Duration::from_millis(1)).await;
            assert!(!served.serving.is_finished(), "whoever has just come is still asking");
            sleep(JUST_COME).await;
            assert_eq!(served.serving.is_finished(), half.is_empty(), "the rest of a head may be on its way");
            let _nobody_listens = served.phase.send(Phase::Last);
            timeout(Duration::from_millis(10), served.serving).await.unwrap().unwrap();
        }
    }

    #[tokio::test(start_paused = true)]
    async fn an_answer_given_while_the_server_stops_is_the_last_of_its_connection() {
        let mut served = serve(&Table::new(places(9)));
        answered(&mut served).await;
        served.stopping.begin();
        served.caller.write_all(b"GET /short HTTP/1.1\r\nhost: localhost\r\n\r\n").await.unwrap();
        let mut got = String::new();
        served.caller.read_to_string(&mut got).await.unwrap();
        assert!(got.contains("\r\nconnection: close\r\n"), "{got}");
        served.serving.await.unwrap();
    }
}
