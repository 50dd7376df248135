//! Serves the routes on a socket: bounds how many callers there are and how long each may keep it waiting, and stops
//! without dropping anybody.
//!
//! Who is there and who leaves for whom is decided in [`table`]; what happens on one connection, in [`connection`].

mod connection;
mod table;
mod tls;

use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use tracing::{debug, info, warn};

use super::Site;
use super::overload::Full;
use connection::{Terms, connection};
use table::{Places, Rank, Seat, Seated, Table};

pub(super) use table::Share;
pub use tls::{Certified, Tls, TlsError};

/// For how many callers the server is there, and how long it waits for each.
#[derive(Debug, Clone, Copy)]
pub struct Timeouts {
    /// Connections at once. Whoever comes when all of them are in the middle of a request is told to come back.
    pub max_connections: usize,
    /// The same for one peer, unless it is a proxy that is trusted; zero for a quarter of all, and at least [`LEAST_PER_PEER`].
    pub max_per_peer: usize,
    /// Connections beyond all those, on which the health of the process is told, and everybody else to come back.
    pub max_reserve: usize,
    /// For the handshake of TLS.
    pub handshake: Duration,
    /// For the head of a request, and for the next request on an idle connection.
    pub head: Duration,
    /// For a caller's system to take any more of its answer. Systems make room in steps, on loopback of more than 100 KiB:
    /// a caller that reads less than a step in this time (measured: 4 KB a second) cannot be told from one that reads
    /// nothing, and is cut off like it.
    pub stall: Duration,
    /// For both on a connection in reserve.
    pub reserve: Duration,
    /// How long `/health/ready` says 503 before no more connections are taken, so that a load balancer can see it. What is
    /// answered meanwhile is the last answer of its connection.
    pub notice: Duration,
    /// For the requests that are being answered when the server stops. Shorter than a caller's deadline, and callers
    /// may be cut off.
    pub finish: Duration,
}

impl Default for Timeouts {
    fn default() -> Self {
        Self {
            max_connections: 10_000,
            max_per_peer: 0,
            max_reserve: 32,
            handshake: Duration::from_secs(10),
            head: Duration::from_secs(30),
            stall: Duration::from_secs(30),
            reserve: Duration::from_secs(5),
            notice: Duration::ZERO,
            finish: Duration::from_secs(45),
        }
    }
}

/// So many connections one peer may have, however few there are.
pub const LEAST_PER_PEER: usize = 64;

impl Timeouts {
    fn places(&self) -> Places {
        let share = (self.max_connections / 4).max(LEAST_PER_PEER);
        let per_peer = if self.max_per_peer == 0 { share } else { self.max_per_peer };
        Places { all: self.max_connections, per_peer, reserve: self.max_reserve }
    }
}

/// How long to wait when no connection can be taken, as when the process has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// Connections without a request end within 200 ms once they are told; those that are left after this have one.
const IDLE_END: Duration = Duration::from_millis(300);

/// How often it is told what is waited for.
const TOLD_EVERY: Duration = Duration::from_secs(5);

/// How far the server has come in its life.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Serving,
    /// No connection takes a further request.
    Ending,
    /// What has not begun a request by now is not waited for.
    Last,
}

/// The connection on which a request came.
#[derive(Debug, Clone)]
pub(super) struct Line(Arc<Seat>);

impl Line {
    fn of(seat: &Arc<Seat>) -> Self {
        Self(Arc::clone(seat))
    }

    /// Ends it, with all that is still to be sent.
    pub(super) fn cut(&self) {
        self.0.cut();
    }

    /// One that nobody has accepted.
    #[cfg(test)]
    pub(super) fn alone(peer: IpAddr) -> Self {
        let places = Places { all: 1, per_peer: 1, reserve: 0 };
        Table::new(places).enter(peer, Share::Bounded).map(|seated| Self::of(seated.seat())).unwrap()
    }

    /// Whether it has to end.
    #[cfg(test)]
    pub(super) fn is_cut(&self) -> bool {
        self.0.is_cut()
    }

    /// The limit for which only the health of the process is told on it, if it is so.
    pub(super) fn full(&self) -> Option<Full> {
        self.0.over().filter(|_| self.0.rank() == Rank::Reserve)
    }
}

/// Where callers come in.
#[derive(Debug)]
pub struct Door {
    /// The socket.
    pub listener: TcpListener,
    /// How it speaks TLS, if it does.
    pub tls: Option<Arc<Tls>>,
}

impl From<TcpListener> for Door {
    fn from(listener: TcpListener) -> Self {
        Self { listener, tls: None }
    }
}

/// Serves `site` at `door` until `shutdown` ends, then lets the requests in progress finish. There is no limit
/// on a request as a whole: its deadline is the caller's, kept further down.
pub async fn serve(door: impl Into<Door>, site: Site, timeouts: Timeouts, shutdown: impl Future<Output = ()>) {
    let Door { listener, tls } = door.into();
    let (phase, told) = watch::channel(Phase::Serving);
    let terms = Terms { timeouts, phase: told, stopping: site.stopping.clone() };
    let mut connections = JoinSet::new();
    let table = Table::new(timeouts.places());
    let take = |connections: &mut JoinSet<()>, stream, from| {
        let observer = &site.guarded.observer;
        let seated = match table.enter(from, site.share_of(from)) {
            Ok(seated) => seated,
            Err(full) => {
                debug!(limit = full.limit.as_str(), "a connection was turned away, all are taken");
                observer.turned_away(full.limit);
                return;
            }
        };
        if let Some(over) = seated.seat().over()
            && seated.seat().rank() == Rank::Ordinary
        {
            observer.let_in(over.limit);
        }
        let (site, terms) = (site.clone(), terms.clone());
        match &tls {
            None => connections.spawn(connection(stream, site, seated, from, terms)),
            Some(tls) => connections.spawn(in_private(Arc::clone(tls), stream, site, seated, from, terms)),
        };
    };

    let mut until = std::pin::pin!(async {
        shutdown.await;
        site.stopping.begin();
        info!("stopping");
        sleep(timeouts.notice).await;
    });
    loop {
        tokio::select! {
            () = &mut until => break,
            accepted = accept(&listener) => match accepted {
                Ok((stream, from)) => take(&mut connections, stream, from),
                Err(error) => {
                    warn!(%error, "no connection could be taken");
                    sleep(ACCEPT_PAUSE).await;
                }
            },
            Some(_) = connections.join_next() => {}
        }
    }
    for (stream, from) in last_ones(listener) {
        take(&mut connections, stream, from);
    }
    end(connections, &phase, timeouts.finish).await;
    info!("stopped");
}

/// One connection, in TLS. Until it is agreed on, no request has begun.
async fn in_private(tls: Arc<Tls>, stream: TcpStream, site: Site, seated: Seated, from: IpAddr, mut terms: Terms) {
    let seat = Arc::clone(seated.seat());
    let limit = if seat.rank() == Rank::Reserve { terms.timeouts.reserve } else { terms.timeouts.handshake };
    let agreed = tokio::select! {
        agreed = timeout(limit, tls.acceptor().accept(stream)) => agreed,
        () = seat.told_to_leave() => return,
        Ok(_) = terms.phase.wait_for(|phase| *phase == Phase::Last) => return,
    };
    match agreed {
        Ok(Ok(stream)) => connection(stream, site, seated, from, terms).await,
        Ok(Err(error)) => debug!(%error, "TLS could not be agreed on"),
        Err(_) => debug!("TLS was not agreed on in time"),
    }
}

/// Lets the requests in progress finish, and tells every few seconds how many are waited for.
async fn end(mut connections: JoinSet<()>, phase: &watch::Sender<Phase>, at_most: Duration) {
    let all_ended = async |connections: &mut JoinSet<()>| while connections.join_next().await.is_some() {};
    phase.send_replace(Phase::Ending);
    if timeout(IDLE_END, all_ended(&mut connections)).await.is_ok() {
        return;
    }
    phase.send_replace(Phase::Last);
    let finished = timeout(at_most, async {
        let mut patience = IDLE_END;
        while timeout(patience, all_ended(&mut connections)).await.is_err() {
            info!(n_requests = connections.len(), ?at_most, "requests in progress are waited for");
            patience = TOLD_EVERY;
        }
    });
    if finished.await.is_err() {
        warn!(n_connections = connections.len(), "requests were cut off, they took too long to finish");
    }
}

/// Takes the next connection.
async fn accept(listener: &TcpListener) -> io::Result<(TcpStream, IpAddr)> {
    let (stream, from): (TcpStream, SocketAddr) = listener.accept().await?;
    Ok((tuned(stream), from.ip().to_canonical()))
}

/// Whoever the system has let in meanwhile: they know of no refusal, and closing the socket would cut them off. The next ones
/// are refused, and may go elsewhere.
fn last_ones(listener: TcpListener) -> Vec<(TcpStream, IpAddr)> {
    let mut last = Vec::new();
    // The runtime may not have heard of all of them; the system has.
    let Ok(listener) = listener.into_std() else { return last };
    while let Ok((stream, from)) = listener.accept()
        && stream.set_nonblocking(true).is_ok()
        && let Ok(stream) = TcpStream::from_std(stream)
    {
        last.push((tuned(stream), from.ip().to_canonical()));
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
