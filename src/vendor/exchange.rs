//! One exchange with a vendor, as both rooms make it: a signed `POST /` goes out once, and its permit ends with it.

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, header};

use super::endpoint::Endpoint;
use super::transport::{Reply, Request, Transport};
use crate::domain::{Account, CallError};
use crate::quota::Permit;

/// A request with signed headers.
///
/// # Errors
/// A query that no address can carry.
pub(super) fn post(endpoint: &Endpoint, query: &str, signed: HeaderMap, body: Bytes) -> http::Result<Request> {
    let mut request = http::Request::post(endpoint.uri(query)).body(body)?;
    *request.headers_mut() = signed;
    request.headers_mut().insert(header::ACCEPT, HeaderValue::from_static("application/json"));
    Ok(request)
}

/// Sends `request` for `account`.
///
/// # Errors
/// No complete reply came.
pub(super) async fn send(
    transport: &dyn Transport,
    request: Request,
    mut permit: Permit,
    account: &Account,
    operation: &'static str,
) -> Result<Reply, CallError> {
    let sent = transport.send(request, &mut permit).await;
    let reply = sent.map_err(|error| error.into_call_error(account.vendor()))?;
    tracing::debug!(account = account.name(), operation, status = reply.status().as_u16(), "vendor replied");
    Ok(reply)
}
