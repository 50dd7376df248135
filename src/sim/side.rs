//! What the simulator needs of a vendor's server side, and which vendor a request is for.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::meter::Parameters;
use super::signature::{Refusal, Verified, header, query_pairs, value};
use super::{Fault, Simulator, alibaba_cams, volcengine_rtc};
use crate::domain::{Timestamp, Vendor};

/// A request's claims, before anything of it is believed.
#[derive(Debug, Clone)]
pub(super) struct Incoming {
    pub(super) vendor: Vendor,
    pub(super) operation: String,
    pub(super) key_id: String,
    pub(super) parameters: Parameters,
}

/// One vendor's server side.
pub(super) trait Side: Sync {
    /// What the request claims to be.
    fn read(&self, request: &Request<Bytes>) -> Incoming;

    /// Checks the operation's name and the signature.
    fn admit(&self, simulator: &Simulator, request: &Request<Bytes>, now: Timestamp) -> Result<Verified, Refusal>;

    /// Checks the parameters and answers the body.
    fn answer(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Value, Refusal>;

    /// Where the rows of a good answer stand, as a JSON pointer.
    fn rows(&self) -> &'static str;

    /// The refusal of a call over the limit.
    fn throttle(&self, retry_after: Option<Duration>) -> Refusal;

    /// The refusal that a fault stands for; `None` if it stands for something else.
    fn refusal_of(&self, fault: &Fault) -> Option<Refusal>;

    /// A good answer as the vendor sends it.
    fn accept(&self, body: &Value, request_id: &str) -> Response<Bytes>;

    /// A refusal as the vendor sends it.
    fn refuse(&self, refusal: &Refusal, request: &Request<Bytes>, request_id: &str) -> Response<Bytes>;
}

/// The vendor that a request is for: by what its scheme leaves in headers or query, which all operations show, so that
/// also a request without signature or without name finds its vendor.
pub(super) fn side_for(request: &Request<Bytes>) -> &'static dyn Side {
    let query = query_pairs(request);
    let is_volcengine = value(&query, "Action") == Some(volcengine_rtc::OPERATION_DISTRIBUTION)
        || header(request, "x-date").is_some()
        || header(request, "authorization").is_some_and(|text| text.starts_with("HMAC-SHA256"));
    let is_alibaba = request.headers().keys().any(|name| name.as_str().starts_with("x-acs-"))
        || value(&query, "SignatureNonce").is_some();
    if is_volcengine && !is_alibaba { &volcengine_rtc::Volcengine } else { &alibaba_cams::Alibaba }
}
