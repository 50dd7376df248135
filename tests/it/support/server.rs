//! A gateway on a loopback port, and a client that writes its requests byte by byte.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use weir::access::Access;
use weir::http::{Door, HttpConfig, Site, Timeouts, serve};
use weir::schema::Gateway;

use super::gateway::TestGateway;

/// A served gateway. Dropped, it stops at once.
pub(crate) struct Server {
    pub(crate) address: SocketAddr,
    stop: Option<oneshot::Sender<()>>,
    serving: JoinHandle<()>,
}

impl Server {
    pub(crate) async fn start(config: HttpConfig, timeouts: Timeouts) -> Self {
        Self::before(gateway(), config, timeouts).await
    }

    /// Serves this gateway.
    pub(crate) async fn before(gateway: Arc<Gateway>, config: HttpConfig, timeouts: Timeouts) -> Self {
        Self::at(Door::from, Site::new(config, gateway, Access::anyone()), timeouts).await
    }

    /// Serves the demo's gateway behind a door of its own.
    pub(crate) async fn behind(door: impl FnOnce(TcpListener) -> Door, config: HttpConfig, timeouts: Timeouts) -> Self {
        Self::at(door, Site::new(config, gateway(), Access::anyone()), timeouts).await
    }

    /// Serves this site.
    pub(crate) async fn of(site: Site) -> Self {
        Self::at(Door::from, site, Timeouts::default()).await
    }

    async fn at(door: impl FnOnce(TcpListener) -> Door, site: Site, timeouts: Timeouts) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let (stop, stopped) = oneshot::channel::<()>();
        let shutdown = async { stopped.await.unwrap_or_default() };
        let serving = tokio::spawn(serve(door(listener), site, timeouts, shutdown));
        Self { address, stop: Some(stop), serving }
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Asks the server to stop; it may still have requests to finish.
    pub(crate) fn begin_to_stop(&mut self) {
        self.stop.take().unwrap().send(()).unwrap();
    }

    pub(crate) async fn stopped(mut self) {
        (&mut self.serving).await.unwrap();
    }

    pub(crate) async fn connect(&self) -> TcpStream {
        TcpStream::connect(self.address).await.unwrap()
    }

    /// Sends bytes as they are and reads until the server closes the connection.
    pub(crate) async fn raw(&self, request: impl AsRef<[u8]>) -> String {
        let mut stream = self.connect().await;
        stream.write_all(request.as_ref()).await.unwrap();
        read_all(&mut stream).await
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

pub(crate) async fn read_all(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes).await.unwrap();
    String::from_utf8(bytes).unwrap()
}

/// The demo's gateway.
pub(crate) fn gateway() -> Arc<Gateway> {
    TestGateway::start().gateway()
}
