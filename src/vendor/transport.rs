//! The way out: one request, one reply, nothing sent twice.
//!
//! [`Transport`] is what the rooms know; [`HttpTransport`] is the one that reaches the network. What a complete reply
//! means is read in `super::reply` and in each room's `error`.

use std::error::Error;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use http::HeaderValue;
use http::header::CONTENT_LENGTH;

use crate::domain::{CallError, CallErrorKind, Vendor};
use crate::quota::{Expired, Permit};

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
    /// The permit was too old; nothing was written.
    #[error(transparent)]
    PermitExpired(#[from] Expired),
    /// The connection ended before the reply was complete.
    #[error("the connection broke off: {0}")]
    Broken(String),
    /// The reply was not complete in time.
    #[error("no complete reply in time")]
    TimedOut,
    /// The reply's body is longer than anything expected.
    #[error("the reply is longer than {0} bytes")]
    TooLong(usize),
    /// The reply's head is none, or has more headers than anything expected.
    #[error("the reply's head cannot be read: {0}")]
    BadHead(String),
    /// The reply's body came in more pieces than anything honest sends.
    #[error("the reply came in too many small pieces")]
    Crumbled,
}

impl TransportError {
    /// The same failure as the layers above know it.
    #[must_use]
    pub fn into_call_error(self, vendor: Vendor) -> CallError {
        let kind = match self {
            Self::NotConnected(_) | Self::Broken(_) => CallErrorKind::Unavailable,
            Self::PermitExpired(_) => CallErrorKind::PermitExpired,
            Self::TimedOut => CallErrorKind::TimedOut,
            Self::TooLong(_) | Self::BadHead(_) | Self::Crumbled => CallErrorKind::BadReply,
        };
        CallError::new(vendor, kind, self.to_string())
    }
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

/// How long an unused connection is kept: shorter than the idle limits of common load balancers (60 s), so that a
/// request seldom meets a connection that is just being closed.
const POOL_IDLE: Duration = Duration::from_secs(30);

/// So many pieces of a body are read whatever their size,
const PIECES: usize = 4_096;
/// and beyond them one more for each so many bytes. A piece costs the same to read whether it holds a byte or thousands:
/// without a bound a reply of single bytes keeps a processor busy until its time is over.
const PIECE_BYTES: usize = 256;

/// [`Transport`] over HTTP/1.1, with TLS where the URI says so. Never follows a redirect, never goes through a proxy,
/// never sends again: each of these would spend quota that nobody holds a permit for.
///
/// What a reply may take is bounded: its head by hyper (100 headers, some 400 KB), its body in bytes and in pieces, all of it
/// in time. No encoding is asked for and none is undone: a compressed reply is not the JSON that the vendor documents, and
/// nothing of it is ever unpacked.
#[derive(Debug)]
pub struct HttpTransport {
    client: reqwest::Client,
    timeout: Duration,
    max_reply_bytes: usize,
}

/// The HTTP client cannot be set up: no TLS backend or no root certificates.
#[derive(Debug, thiserror::Error)]
#[error("the HTTP client cannot be set up: {0}")]
pub struct SetupError(String);

impl HttpTransport {
    /// `timeout` runs from the start of a send to the end of the reply's body; `guard` bounds how long the kernel may
    /// go on delivering what was written before a send was given up; a longer body than `max_reply_bytes` is refused.
    ///
    /// # Errors
    /// When TLS cannot be set up.
    pub fn new(
        connect_timeout: Duration,
        timeout: Duration,
        guard: Duration,
        max_reply_bytes: usize,
    ) -> Result<Self, SetupError> {
        let client = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .retry(reqwest::retry::never())
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .http1_only()
            .connect_timeout(connect_timeout)
            .tcp_nodelay(true)
            .pool_idle_timeout(POOL_IDLE);
        #[cfg(any(target_os = "linux", target_os = "android"))]
        let client = client.tcp_user_timeout(guard);
        #[cfg(not(any(target_os = "linux", target_os = "android")))]
        let _ = guard; // no such socket option
        let client = client.build().map_err(|error| SetupError(chain(&error)))?;
        Ok(Self { client, timeout, max_reply_bytes })
    }

    async fn exchange(&self, mut request: Request, permit: &mut Permit) -> Result<Reply, TransportError> {
        if request.body().is_empty() {
            // hyper leaves it out, and a POST without it is answered 411 by some servers.
            request.headers_mut().insert(CONTENT_LENGTH, HeaderValue::from_static("0"));
        }
        let request = reqwest::Request::try_from(request).map_err(not_connected)?;
        permit.begin_write()?;
        #[expect(clippy::disallowed_methods, reason = "the one place that sends")]
        let mut response = match self.client.execute(request).await {
            Ok(response) => response,
            Err(error) if error.is_connect() => {
                permit.not_written();
                return Err(not_connected(error));
            }
            Err(error) if is_no_head(&error) => return Err(TransportError::BadHead(chain(&error.without_url()))),
            Err(error) => return Err(broken(error)),
        };
        permit.head_read(response.status().as_u16());
        let mut reply = Reply::default();
        *reply.status_mut() = response.status();
        *reply.headers_mut() = std::mem::take(response.headers_mut());
        *reply.body_mut() = self.read_body(response).await?;
        Ok(reply)
    }

    async fn read_body(&self, mut response: reqwest::Response) -> Result<Bytes, TransportError> {
        let mut body = BytesMut::new();
        let mut pieces = 0_usize;
        while let Some(chunk) = response.chunk().await.map_err(broken)? {
            pieces += 1;
            if pieces > PIECES + body.len() / PIECE_BYTES {
                return Err(TransportError::Crumbled);
            }
            if body.len() + chunk.len() > self.max_reply_bytes {
                return Err(TransportError::TooLong(self.max_reply_bytes));
            }
            body.extend_from_slice(&chunk);
        }
        Ok(body.freeze())
    }
}

impl Transport for HttpTransport {
    fn send<'a>(
        &'a self,
        request: Request,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>> {
        Box::pin(async move {
            tokio::time::timeout(self.timeout, self.exchange(request, permit))
                .await
                .unwrap_or(Err(TransportError::TimedOut))
        })
    }
}

fn not_connected(error: reqwest::Error) -> TransportError {
    TransportError::NotConnected(chain(&error.without_url()))
}

fn broken(error: reqwest::Error) -> TransportError {
    TransportError::Broken(chain(&error.without_url()))
}

/// Whether what came is no head of a reply, or too much of one.
fn is_no_head(error: &reqwest::Error) -> bool {
    let causes = std::iter::successors(error.source(), |&error| error.source());
    causes.filter_map(|error| error.downcast_ref::<hyper::Error>()).any(hyper::Error::is_parse)
}

/// An error and its causes in one line. Take the URL out first: its query holds phone numbers.
fn chain(error: &reqwest::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text = format!("{text}: {error}");
        cause = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
