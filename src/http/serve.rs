//! Serves the routes on a socket: bounds how many callers there are and how long each may keep it waiting, and stops
//! without dropping anybody.

use std::convert::Infallible;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::http::Request;
use axum::response::Response;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};
use tokio_io_timeout::TimeoutStream;
use tower::Service;
use tracing::{debug, info, warn};

use super::Site;

/// For how many callers the server is there, and how long it waits for each.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Connections at once. Those who come later wait, unanswered, until one of them ends.
    pub max_connections: usize,
    /// For the head of a request, and for the next request on an idle connection.
    pub head: Duration,
    /// For a caller to read any more of its answer. One that reads, however slowly, is not cut off.
    pub stall: Duration,
    /// How long `/health/ready` says 503 before no more connections are taken, so that a load balancer can see it.
    pub notice: Duration,
    /// For the requests that are being answered when the server stops. Shorter than a caller's deadline, and callers
    /// may be cut off.
    pub finish: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            head: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            notice: Duration::ZERO,
            finish: Duration::from_secs(45),
        }
    }
}

/// How long to wait when no connection can be taken, as when the process has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// How long a connection may be without its first request when the server stops: whoever has just come is still asking.
const JUST_COME: Duration = Duration::from_millis(200);

/// Connections without a request end within [`JUST_COME`]; those that are left after this have one.
const IDLE_END: Duration = Duration::from_millis(300);

/// Serves `site` on `listener` until `shutdown` ends, then lets the requests in progress finish. There is no limit
/// on a request as a whole: its deadline is the caller's, kept further down.
pub async fn serve(listener: TcpListener, site: Site, timeouts: Timeouts, shutdown: impl Future<Output = ()>) {
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();
    let room = Arc::new(Semaphore::new(timeouts.max_connections));

    let mut until = std::pin::pin!(async {
        shutdown.await;
        site.stopping.begin();
        info!("stopping");
        sleep(timeouts.notice).await;
    });
    loop {
        tokio::select! {
            () = &mut until => break,
            accepted = accept(&listener, &room) => match accepted {
                Ok((stream, slot)) => {
                    connections.spawn(held(slot, connection(stream, site.clone(), timeouts, stopped.clone())));
                }
                Err(error) => {
                    warn!(%error, "no connection could be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }

    for (stream, slot) in last_ones(listener, &room) {
        connections.spawn(held(slot, connection(stream, site.clone(), timeouts, stopped.clone())));
    }
    drop(stop);
    let all_ended = async |connections: &mut JoinSet<()>| while connections.join_next().await.is_some() {};
    if timeout(IDLE_END, all_ended(&mut connections)).await.is_err() {
        info!(n_requests = connections.len(), at_most = ?timeouts.finish, "requests in progress are waited for");
    }
    if timeout(timeouts.finish, all_ended(&mut connections)).await.is_err() {
        warn!(n_connections = connections.len(), "requests were cut off, they took too long to finish");
    }
    info!("stopped");
}

/// Takes the next connection once there is room for it.
async fn accept(listener: &TcpListener, room: &Arc<Semaphore>) -> io::Result<(TcpStream, OwnedSemaphorePermit)> {
    if room.available_permits() == 0 {
        debug!("all connections are taken, new callers wait");
    }
    let slot = Arc::clone(room).acquire_owned().await.map_err(io::Error::other)?;
    let (stream, _) = listener.accept().await?;
    Ok((tuned(stream), slot))
}

/// Whoever the system has let in meanwhile, as far as there is room: they know of no refusal, and closing the socket
/// would cut them off. The next ones are refused, and may go elsewhere.
fn last_ones(listener: TcpListener, room: &Arc<Semaphore>) -> Vec<(TcpStream, OwnedSemaphorePermit)> {
    let mut last = Vec::new();
    // The runtime may not have heard of all of them; the system has.
    let Ok(listener) = listener.into_std() else { return last };
    while let Ok(slot) = Arc::clone(room).try_acquire_owned()
        && let Ok((stream, _)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        last.push((tuned(stream), slot));
    }
    last
}

/// An answer is written at once; waiting for more to send would only delay it.
fn tuned(stream: TcpStream) -> TcpStream {
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection could not be tuned");
    }
    stream
}

/// A connection that takes a place until its end.
async fn held(slot: OwnedSemaphorePermit, connection: impl Future<Output = ()>) {
    connection.await;
    drop(slot);
}

/// One connection to its end; after `stopped` it takes no further request, but for the first one of whoever has just come.
async fn connection<S, R>(stream: S, service: R, timeouts: Timeouts, mut stopped: watch::Receiver<()>)
where
    S: AsyncRead + AsyncWrite + Send + 'static,
    R: Service<Request<Incoming>, Response = Response, Error = Infallible, Future: Send> + Clone + Send,
{
    let came = Instant::now();
    let mut stream = TimeoutStream::new(stream);
    stream.set_write_timeout(Some(timeouts.stall));
    let stream = TokioIo::new(Box::pin(stream));
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(timeouts.head);
    let mut connection =
        std::pin::pin!(server.serve_connection(stream, TowerToHyperService::new(service)).with_upgrades());
    let told = async {
        // The other end goes away, which is all that it has to say.
        let _gone = stopped.changed().await;
        sleep_until(came + JUST_COME).await;
    };
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        () = told => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use axum::Router;
    use axum::routing::get;
    use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
    use tokio::task::JoinHandle;

    const LENGTH: usize = 100_000;

    /// A caller that has asked for a long answer over a line that holds a thousand bytes of it.
    async fn asked() -> (DuplexStream, JoinHandle<()>, watch::Sender<()>) {
        let router = Router::new().route("/", get(async || "x".repeat(LENGTH)));
        let (mut caller, server) = duplex(1_000);
        let (stop, stopped) = watch::channel(());
        let serving = tokio::spawn(connection(server, router, Timeouts::default(), stopped));
        caller.write_all(b"GET / HTTP/1.1\r\nhost: weir\r\nconnection: close\r\n\r\n").await.unwrap();
        (caller, serving, stop)
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_nothing_is_cut_off() {
        let began = Instant::now();
        let (mut caller, serving, _stop) = asked().await;
        serving.await.unwrap();
        assert_eq!(began.elapsed().as_secs(), Timeouts::default().stall.as_secs());
        let mut got = Vec::new();
        caller.read_to_end(&mut got).await.unwrap();
        assert!(got.len() < LENGTH, "{}", got.len());
    }

    #[tokio::test(start_paused = true)]
    async fn a_caller_that_reads_slowly_gets_all_of_it() {
        let (mut caller, serving, _stop) = asked().await;
        let (mut got, mut piece) = (0, [0; 1_000]);
        loop {
            sleep(Duration::from_secs(20)).await;
            match caller.read(&mut piece).await.unwrap() {
                0 => break,
                length => got += length,
            }
        }
        assert!(got > LENGTH, "the head and the body: {got}");
        serving.await.unwrap();
    }
}
