//! What the vendor's refusals mean: the only place that reads its codes.
//!
//! A reply is a success if its status is 2xx *and* its `ResponseMetadata` holds no `Error`. Else the code decides; only
//! a code that is not documented goes by the status. The vendor's own message is never passed on: it may repeat the key
//! id and parameters.

use std::borrow::Cow;

use super::wire::Envelope;
use crate::domain::{CallError, CallErrorKind, Vendor};
use crate::vendor::reply;
use crate::vendor::transport::Reply;

use CallErrorKind::{
    BadInput, Denied, Internal, NotSubscribed, OutOfRetention, Throttled, Unavailable, UnknownApplication,
};

/// Codes that mean one thing each, and what we say of them.
const CODES: [(&str, CallErrorKind, &str); 27] = [
    ("FlowLimitExceeded.QPSOverLimit", Throttled, "the vendor counts too many calls of this account"),
    ("InvalidParameter.StartTimeAfterEndTime", BadInput, "the vendor takes the range to end before it starts"),
    (
        "InvalidParameter.OutofTimeRange",
        OutOfRetention,
        "the vendor answers only the last 30 days, and at most 7 days at once",
    ),
    ("InvalidParameter.BodyIsEmpty", Internal, "the vendor got no body"),
    ("InvalidParameter.Unmarshal", Internal, "the vendor cannot read the body"),
    ("InvalidParameter.NotExistAppId", UnknownApplication, "the vendor does not know the application"),
    ("InvalidParameter.IllegalAppId", UnknownApplication, "the vendor refuses the application's id"),
    ("InvalidParameter.EmptyAccountId", Denied, "the vendor finds no account behind the key: check access_key_id"),
    ("AccessDenied.NoPermissionForApp", Denied, "the account may not read this application"),
    ("AccessDenied.ServiceNotEnabled", NotSubscribed, "the account has not enabled the vendor's product"),
    ("MissingParameter", Internal, "the vendor misses a parameter"),
    ("MissingAuthenticationToken", Internal, "the vendor misses the credential"),
    ("MissingRequestInfo", Internal, "the vendor misses a header"),
    ("MissingSignature", Internal, "the vendor misses the signature"),
    ("InvalidTimestamp", Denied, "the vendor refuses the time of the request: set this machine's clock"),
    ("ServiceNotFound", Internal, "the endpoint does not know the product: check endpoint"),
    ("InvalidActionOrVersion", Internal, "the endpoint does not know the operation: check endpoint and version"),
    ("InvalidAccessKey", Denied, "the vendor does not know the key: check access_key_id"),
    ("SignatureDoesNotMatch", Denied, "the vendor refuses the signature: check access_key_secret and region"),
    ("InvalidAuthorization", Denied, "the vendor cannot read the signature: check access_key_id"),
    ("InvalidCredential", Denied, "the vendor refuses the signature's scope: check access_key_id and region"),
    ("InvalidSecretToken", Denied, "the vendor refuses the security token: get a new one"),
    ("LackPolicy", Denied, "the key may not do this: grant it the operation in IAM"),
    ("AccessDenied", Denied, "the key may not do this: grant it the operation in IAM"),
    ("FailToConnect", Unavailable, "the vendor's gateway cannot reach its service"),
    ("InternalServiceTimeout", Unavailable, "the vendor's service does not answer its gateway in time"),
    ("ServiceUnavailableTemp", Unavailable, "the vendor is temporarily unavailable"),
];

fn meaning(code: &str) -> Option<(CallErrorKind, &'static str)> {
    let exact = CODES.iter().find(|(known, ..)| *known == code);
    exact.map(|(_, kind, message)| (*kind, *message)).or_else(|| by_pattern(code))
}

/// Codes that are not documented one by one.
fn by_pattern(code: &str) -> Option<(CallErrorKind, &'static str)> {
    if code.contains("FlowLimit") {
        // Sister products say AccountFlowLimitExceeded, with status 400.
        Some((Throttled, "the vendor counts too many calls"))
    } else if code.starts_with("InternalError") {
        Some((Unavailable, "the vendor has an internal error"))
    } else if code.starts_with("InvalidParameter") {
        Some((BadInput, "the vendor refuses a value: check application and range"))
    } else {
        None
    }
}

/// Opens a reply: its envelope if it is a success.
///
/// # Errors
/// What the refusal means; a success that cannot be read is a [`CallErrorKind::BadReply`].
pub(super) fn open(reply: &Reply) -> Result<Envelope<'_>, CallError> {
    let (status, envelope) = (reply.status(), serde_json::from_slice::<Envelope<'_>>(reply.body()).ok());
    let metadata = envelope.as_ref().and_then(|envelope| envelope.response_metadata.as_ref());
    let refusal = metadata.and_then(|metadata| metadata.error.as_ref());
    if status.is_success() && refusal.is_none() {
        return match metadata {
            Some(_) => envelope.ok_or_else(|| nonsense("it is not JSON", None)),
            None => Err(nonsense("it is not the JSON that the vendor documents", None)),
        };
    }
    let code = refusal.and_then(|refusal| refusal.code.as_deref()).map(str::trim);
    let (kind, message) = match code.and_then(meaning) {
        Some((kind, message)) => (kind, Cow::Borrowed(message)),
        None => (reply::kind_of_status(status), Cow::Owned(format!("the vendor answered {}", status.as_u16()))),
    };
    let wait = reply::retry_after(reply.headers());
    let error = CallError::new(Vendor::VolcengineRtc, kind, message);
    Err(CallError {
        vendor_code: reply::shown(code),
        request_id: reply::shown(envelope.as_ref().and_then(Envelope::request_id)),
        retry_after: wait.filter(|_| error.is_transient()),
        ..error
    })
}

/// A success whose content makes no sense.
pub(super) fn nonsense(why: &str, request_id: Option<&str>) -> CallError {
    let message = format!("the vendor's reply makes no sense: {why}");
    CallError {
        request_id: reply::shown(request_id),
        ..CallError::new(Vendor::VolcengineRtc, CallErrorKind::BadReply, message)
    }
}

/// A request that cannot be written: the config holds characters that no header or address can carry.
pub(super) fn unwritable() -> CallError {
    let message = "the request cannot be written: check the account's key, token and version for odd characters";
    CallError::new(Vendor::VolcengineRtc, Internal, message)
}

#[cfg(test)]
mod tests;
