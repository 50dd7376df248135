//! The simulator on a port: both vendors' APIs at `/`, the control path at `/_sim/`.
//!
//! Faults of the connection are acted out on the socket: a reset is a TCP reset, a hang holds the connection open.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll};
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::extract::connect_info::Connected;
use axum::extract::{ConnectInfo, Request, State};
use axum::response::{IntoResponse, Response};
use axum::serve::{IncomingStream, Listener};
use bytes::Bytes;
use futures_util::stream;
use http::StatusCode;
use http::header::CONTENT_LENGTH;
use http_body_util::{BodyExt, Limited};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::{Early, SimOutcome, Simulator, control, reply};

/// No vendor's request is near this.
const MAX_BODY_BYTES: usize = 1024 * 1024;

/// In how many pieces a slow body comes.
const SLOW_PIECES: u32 = 10;

/// Serves until `shutdown` is ready; then requests under way end, and hanging ones are cut off.
///
/// # Errors
/// Those of the listener.
pub async fn serve(
    simulator: Arc<Simulator>,
    listener: TcpListener,
    shutdown: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let (stop, stopped) = watch::channel(false);
    let router = Router::new()
        .nest("/_sim", control::router(Arc::clone(&simulator)))
        .fallback(take_request)
        .with_state(Desk { simulator, stopped });
    let service = router.into_make_service_with_connect_info::<Cut>();
    let until = async move {
        shutdown.await;
        stop.send_replace(true);
    };
    axum::serve(CuttableListener(listener), service).with_graceful_shutdown(until).await
}

#[derive(Clone)]
struct Desk {
    simulator: Arc<Simulator>,
    stopped: watch::Receiver<bool>,
}

async fn take_request(State(desk): State<Desk>, ConnectInfo(cut): ConnectInfo<Cut>, request: Request) -> Response {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, MAX_BODY_BYTES).collect().await else {
        return StatusCode::PAYLOAD_TOO_LARGE.into_response();
    };
    let request = http::Request::from_parts(head, body.to_bytes());
    match desk.simulator.early(&request) {
        None => {}
        Some(Early::Refused) => return cut.now(),
        Some(Early::Reset { arrival }) => {
            if let Some(later) = arrival {
                arrive_later(desk.simulator, request, later);
            }
            return cut.now();
        }
        Some(Early::Status { status, arrival }) => {
            arrive_later(desk.simulator, request, arrival);
            return reply::html(StatusCode::from_u16(status).unwrap_or(StatusCode::BAD_GATEWAY)).map(Body::from);
        }
    }
    match desk.simulator.handle(request).await {
        SimOutcome::Reply(reply) => reply.map(Body::from),
        SimOutcome::SlowBody { reply, over } => slow(reply, over),
        SimOutcome::BrokenBody(reply) => broken(reply),
        SimOutcome::Reset => cut.now(),
        SimOutcome::Hang => {
            let mut stopped = desk.stopped;
            // An error means that the server is gone, which is as good as stopped.
            let _ = stopped.wait_for(|stopped| *stopped).await;
            cut.now()
        }
    }
}

/// The request's bytes are under way although its connection is dead; the task ends with the arrival.
fn arrive_later(simulator: Arc<Simulator>, request: http::Request<Bytes>, later: Duration) {
    tokio::spawn(async move {
        tokio::time::sleep(later).await;
        simulator.take_unheard(&request);
    });
}

fn slow(reply: http::Response<Bytes>, over: Duration) -> Response {
    let (mut head, body) = reply.into_parts();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let piece = body.len().div_ceil(SLOW_PIECES as usize).max(1);
    let pieces = stream::unfold(body, move |mut rest| async move {
        if rest.is_empty() {
            return None;
        }
        tokio::time::sleep(over / SLOW_PIECES).await;
        let next = rest.split_to(piece.min(rest.len()));
        Some((io::Result::Ok(next), rest))
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Announces the whole body, sends half of it, and fails; hyper then closes the connection.
fn broken(reply: http::Response<Bytes>) -> Response {
    let (mut head, body) = reply.into_parts();
    head.headers.insert(CONTENT_LENGTH, body.len().into());
    let half = body.slice(..body.len() / 2);
    let pieces = stream::unfold(Some(half), |half| async {
        if let Some(half) = half {
            return Some((Ok(half), None));
        }
        // Being pending once lets hyper write what it has.
        tokio::task::yield_now().await;
        Some((Err(io::Error::from(io::ErrorKind::ConnectionReset)), None))
    });
    Response::from_parts(head, Body::from_stream(pieces))
}

/// Breaks the connection it belongs to.
#[derive(Debug, Clone, Default)]
struct Cut(Arc<AtomicBool>);

impl Cut {
    /// A response that never gets out.
    fn now(&self) -> Response {
        self.0.store(true, Ordering::Release);
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    }
}

impl Connected<IncomingStream<'_, CuttableListener>> for Cut {
    fn connect_info(stream: IncomingStream<'_, CuttableListener>) -> Self {
        stream.io().cut.clone()
    }
}

/// Accepts connections that a handler can break.
struct CuttableListener(TcpListener);

impl Listener for CuttableListener {
    type Io = CuttableStream;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        let (stream, address) = Listener::accept(&mut self.0).await;
        (CuttableStream { stream, cut: Cut::default() }, address)
    }

    fn local_addr(&self) -> io::Result<Self::Addr> {
        self.0.local_addr()
    }
}

struct CuttableStream {
    stream: TcpStream,
    cut: Cut,
}

impl CuttableStream {
    /// Once it is cut nothing is written any more, and closing it sends a reset.
    fn check(&self) -> io::Result<()> {
        if self.cut.0.load(Ordering::Acquire) {
            self.stream.set_zero_linger()?;
            return Err(io::ErrorKind::ConnectionReset.into());
        }
        Ok(())
    }
}

impl AsyncRead for CuttableStream {
    fn poll_read(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for CuttableStream {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check()?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
