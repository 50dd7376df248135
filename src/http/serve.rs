//! Serves the routes on a socket: bounds how long a request's head may take, and stops without dropping anybody.

use std::time::Duration;

use axum::{Extension, Router};
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::health::Stopping;

/// How long the server waits for callers.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For the head of a request, and for the next request on an idle connection.
    pub head: Duration,
    /// How long `/health/ready` says 503 before no more connections are taken, so that a load balancer can see it.
    pub notice: Duration,
    /// For the requests that are being answered when the server stops. Shorter than a caller's deadline, and callers
    /// may be cut off.
    pub finish: Duration,
}

impl Default for Patience {
    fn default() -> Self {
        Self { head: Duration::from_secs(30), notice: Duration::ZERO, finish: Duration::from_secs(45) }
    }
}

/// How long to wait when no connection can be taken, as when the process has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Serves `router` on `listener` until `shutdown` ends, then lets the requests in progress finish. There is no limit
/// on a request as a whole: its deadline is the caller's, kept further down.
pub async fn serve(listener: TcpListener, router: Router, patience: Patience, shutdown: impl Future<Output = ()>) {
    let stopping = Stopping::default();
    let router = router.layer(Extension(stopping.clone()));
    let (stop, stopped) = watch::channel(());
    let mut connections = JoinSet::new();

    let mut until = std::pin::pin!(async {
        shutdown.await;
        stopping.begin();
        info!("stopping");
        sleep(patience.notice).await;
    });
    loop {
        tokio::select! {
            () = &mut until => break,
            accepted = listener.accept() => match accepted {
                Ok((stream, _)) => {
                    connections.spawn(connection(stream, router.clone(), patience.head, stopped.clone()));
                }
                Err(error) => {
                    warn!(%error, "no connection could be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }

    drop(listener);
    drop(stop);
    let finished = timeout(patience.finish, async { while connections.join_next().await.is_some() {} }).await;
    if finished.is_err() {
        warn!(n_connections = connections.len(), "requests were cut off, they took too long to finish");
    }
    info!("stopped");
}

/// One connection to its end; after `stopped` it takes no further request.
async fn connection(stream: TcpStream, router: Router, head: Duration, mut stopped: watch::Receiver<()>) {
    // An answer is written at once; waiting for more to send would only delay it.
    if let Err(error) = stream.set_nodelay(true) {
        debug!(%error, "a connection could not be tuned");
    }
    let mut server = http1::Builder::new();
    server.timer(TokioTimer::new()).header_read_timeout(head);
    let mut connection =
        std::pin::pin!(server.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)).with_upgrades());
    let ended = tokio::select! {
        ended = connection.as_mut() => ended,
        _ = stopped.changed() => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        debug!(%error, "a connection broke");
    }
}
