//! The way out: one request, one reply, nothing sent twice.

use std::future::Future;
use std::pin::Pin;

use bytes::Bytes;

use crate::quota::Permit;

/// A request as it goes out: absolute URI, all headers but those of the connection, the whole body.
pub type Request = http::Request<Bytes>;
/// A reply with its whole body.
pub type Reply = http::Response<Bytes>;

/// Why there is no complete reply.
#[derive(Debug, thiserror::Error)]
pub enum TransportError {
    /// No connection was made; nothing was written.
    #[error("no connection to the vendor: {0}")]
    NotConnected(String),
    /// The connection ended before the reply was complete.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The reply was not complete in time.
    #[error("no complete reply in time")]
    TimedOut,
    /// The reply's body is longer than anything expected.
    #[error("the reply is longer than {0} bytes")]
    TooLong(usize),
}

/// Sends a request once and reads the whole reply. Tells the permit when writing begins, when a complete response head
/// was read, and when no connection was made.
pub trait Transport: Send + Sync + 'static {
    /// Makes one exchange. Dropping the future ends it.
    fn send<'a>(
        &'a self,
        request: Request,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>>;
}
