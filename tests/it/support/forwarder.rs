//! An address that moves: connections to it go to whatever it points at, at once or late.

use std::sync::Arc;
use std::sync::atomic::{AtomicU16, AtomicUsize, Ordering};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// Forwards connections on a loopback port of its own.
pub(crate) struct Forwarder {
    port: u16,
    road: Arc<Road>,
    task: tokio::task::JoinHandle<()>,
}

/// The way to a Redis.
struct Road {
    target: AtomicU16,
    connections: AtomicUsize,
    /// Connections before this one are held up as soon as they bring a script.
    closed_before: watch::Sender<usize>,
}

impl Forwarder {
    /// Forwards to a loopback port.
    pub(crate) async fn to(port: u16) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let own = listener.local_addr().unwrap().port();
        let (target, connections) = (AtomicU16::new(port), AtomicUsize::new(0));
        let road = Arc::new(Road { target, connections, closed_before: watch::Sender::new(0) });
        let open = Arc::clone(&road);
        let task = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let road = Arc::clone(&open);
                tokio::spawn(async move { road.carry(client).await });
            }
        });
        Self { port: own, road, task }
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    /// From now on connections go there; those that are made stay where they are.
    pub(crate) fn point_at(&self, port: u16) {
        self.road.target.store(port, Ordering::SeqCst);
    }

    /// From now on nothing that runs a script gets through.
    pub(crate) fn hold_up(&self) {
        self.road.closed_before.send_replace(usize::MAX);
    }

    /// Connections that are made from now on get through; those before stay held up.
    pub(crate) fn let_new_through(&self) {
        self.road.closed_before.send_replace(self.road.connections.load(Ordering::SeqCst));
    }

    /// What was held up goes on, though its sender may have given it up.
    pub(crate) fn release(&self) {
        self.road.closed_before.send_replace(0);
    }
}

impl Road {
    async fn carry(&self, client: TcpStream) {
        let number = self.connections.fetch_add(1, Ordering::SeqCst);
        let target = self.target.load(Ordering::SeqCst);
        let Ok(server) = TcpStream::connect(("127.0.0.1", target)).await else { return };
        let ((mut asks, mut hears), (mut answers, mut told)) = (client.into_split(), server.into_split());
        let there = async {
            let mut piece = vec![0; 65_536];
            while let Ok(length @ 1..) = asks.read(&mut piece).await {
                if piece[..length].windows(7).any(|word| word == b"EVALSHA") {
                    let mut closed_before = self.closed_before.subscribe();
                    drop(closed_before.wait_for(|before| number >= *before).await);
                }
                if told.write_all(&piece[..length]).await.is_err() {
                    return;
                }
            }
            // The server has the last word; it does not matter whether anybody hears it.
            drop(told.shutdown().await);
        };
        // Either end may go away as it likes.
        tokio::join!(there, async { drop(tokio::io::copy(&mut answers, &mut hears).await) });
    }
}

impl Drop for Forwarder {
    fn drop(&mut self) {
        self.task.abort();
    }
}
