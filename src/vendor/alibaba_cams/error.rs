//! What the vendor's refusals mean: the only place that reads its codes.
//!
//! A reply is a success if its status is 2xx *and* its `Code` is `OK`. Else the code decides; only a code that is not
//! documented goes by the status. The vendor's own message is never passed on: those of signature errors hold the key
//! id and every parameter.

use std::borrow::Cow;

use super::wire::{self, Envelope};
use crate::domain::{CallError, CallErrorKind, Vendor};
use crate::vendor::reply;
use crate::vendor::transport::Reply;

use CallErrorKind::{BadInput, Denied, Internal, NotSubscribed, Throttled, Unavailable, UnknownChannel};

/// How long the gateway asks to be left alone, in milliseconds.
const RETRY_AFTER_MS: &str = "x-acs-retry-after";

/// Codes that mean one thing each, and what we say of them.
const CODES: [(&str, CallErrorKind, &str); 23] = [
    ("System.LimitControl", Throttled, "the vendor is limiting the flow of calls"),
    ("Product.Unsubscript", NotSubscribed, "the account has not subscribed to the vendor's product"),
    ("Unknown.ResourceOwnerId", UnknownChannel, "the vendor does not know the channel as this account's"),
    ("Ram.PermissionDeny", Denied, "the key may not do this: grant it the operation in RAM"),
    ("Forbidden.RAM", Denied, "the key may not do this: grant it the operation in RAM"),
    ("NoPermission", Denied, "the key may not do this: grant it the operation in RAM"),
    ("InvalidTimeStamp.Expired", Denied, "the vendor refuses the time of the request: set this machine's clock"),
    ("InvalidTimeStamp.Format", Denied, "the vendor refuses the time of the request"),
    ("SignatureNonceUsed", Denied, "the vendor has seen the request's nonce before"),
    ("SignatureDoesNotMatch", Denied, "the vendor refuses the signature: check access_key_secret"),
    ("IncompleteSignature", Denied, "the vendor refuses the signature: check access_key_id and access_key_secret"),
    ("InvalidAccessKeyId.NotFound", Denied, "the vendor does not know the key: check access_key_id"),
    ("InvalidAccessKeyId.Inactive", Denied, "the key is disabled: enable it, or use another"),
    ("MissingSecurityToken", Denied, "the key is a temporary one and needs its token: set security_token"),
    ("InvalidSecurityToken.Expired", Denied, "the security token has expired: get a new one"),
    ("InvalidSecurityToken.Malformed", Denied, "the vendor cannot read the security token: check security_token"),
    ("InvalidSecurityToken.MismatchWithAccessKey", Denied, "the security token belongs to another access key"),
    ("InvalidApi.NotFound", Internal, "the endpoint does not know the operation: check endpoint"),
    ("InvalidAction.NotFound", Internal, "the endpoint does not know the operation: check endpoint"),
    ("InternalError", Unavailable, "the vendor has an internal error"),
    ("ServiceUnavailable", Unavailable, "the vendor is temporarily unavailable"),
    ("Throttling.User", Throttled, "the vendor counts too many calls of this account"),
    ("Throttling.Api", Throttled, "the vendor counts too many calls of this operation"),
];

/// Codes of which the vendor documents the pattern alone.
const PREFIXES: [(&str, CallErrorKind, &str); 9] = [
    ("Throttling", Throttled, "the vendor counts too many calls"),
    ("Missing", Internal, "the vendor misses a parameter"),
    ("InvalidParameter", BadInput, "the vendor refuses a value: check channel, phone number and range"),
    ("InvalidStart", BadInput, "the vendor refuses the start of the range"),
    ("InvalidEnd", BadInput, "the vendor refuses the end of the range"),
    ("InvalidGranularity", BadInput, "the vendor refuses the granularity"),
    ("InvalidPhoneNumber", BadInput, "the vendor refuses the phone number"),
    ("InvalidCustSpaceId", BadInput, "the vendor refuses the channel's id"),
    ("InvalidIsvCode", BadInput, "the vendor refuses the ISV code"),
];

fn meaning(code: &str) -> Option<(CallErrorKind, &'static str)> {
    let exact = CODES.iter().find(|(known, ..)| *known == code);
    exact.map(|(_, kind, message)| (*kind, *message)).or_else(|| by_pattern(code))
}

/// Codes that are not documented one by one.
fn by_pattern(code: &str) -> Option<(CallErrorKind, &'static str)> {
    let found = PREFIXES.iter().find(|(prefix, ..)| code.starts_with(prefix))?;
    Some((found.1, found.2))
}

/// Opens a reply: its envelope if it is a success.
///
/// # Errors
/// What the refusal means; a success that cannot be read is a [`CallErrorKind::BadReply`].
pub(super) fn open(reply: &Reply) -> Result<Envelope<'_>, CallError> {
    let (status, envelope) = (reply.status(), serde_json::from_slice::<Envelope<'_>>(reply.body()).ok());
    let code = envelope.as_ref().and_then(|envelope| envelope.code.as_deref()).map(str::trim);
    if status.is_success() && code == Some(wire::OK) {
        return envelope.ok_or_else(|| nonsense("it is not JSON", None));
    }
    let request_id = envelope.as_ref().and_then(Envelope::request_id);
    if status.is_success() && code.is_none() {
        return Err(nonsense("it is not the JSON that the vendor documents", request_id));
    }
    let (kind, message) = match code.and_then(meaning) {
        Some((kind, message)) => (kind, Cow::Borrowed(message)),
        None => (reply::kind_of_status(status), Cow::Owned(format!("the vendor answered {}", status.as_u16()))),
    };
    let wait = reply::retry_after_ms(reply.headers(), RETRY_AFTER_MS).or_else(|| reply::retry_after(reply.headers()));
    let error = CallError::new(Vendor::AlibabaCams, kind, message);
    Err(CallError {
        vendor_code: reply::shown(code),
        request_id: reply::shown(request_id),
        retry_after: wait.filter(|_| error.is_transient()),
        ..error
    })
}

/// A success whose content makes no sense.
pub(super) fn nonsense(why: &str, request_id: Option<&str>) -> CallError {
    let message = format!("the vendor's reply makes no sense: {why}");
    CallError {
        request_id: reply::shown(request_id),
        ..CallError::new(Vendor::AlibabaCams, CallErrorKind::BadReply, message)
    }
}

/// A request that cannot be written: the config holds characters that no header or address can carry.
pub(super) fn unwritable() -> CallError {
    let message = "the request cannot be written: check the account's key, token and channels for odd characters";
    CallError::new(Vendor::AlibabaCams, Internal, message)
}

/// Whether a refusal may have been meant for an `End` in the future.
pub(super) fn may_be_about_the_end(error: &CallError) -> bool {
    let code = error.vendor_code.as_deref().unwrap_or_default();
    error.kind == BadInput && (code.starts_with("InvalidEnd") || code.starts_with("InvalidParameter"))
}

#[cfg(test)]
mod tests;
