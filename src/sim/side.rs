//! What the simulator needs of a vendor's server side.

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde_json::Value;

use super::meter::{Operation, Parameters};
use super::signature::{VendorRefusal, Verified};
use super::{Fault, Simulator};
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
    /// Every operation that is offered.
    fn operations(&self) -> &'static [Operation];

    /// The operation of this name; names are case sensitive.
    fn operation(&self, name: &str) -> Option<&'static Operation> {
        self.operations().iter().find(|known| known.name == name)
    }

    /// What the request claims to be.
    fn read(&self, request: &Request<Bytes>) -> Incoming;

    /// Checks the operation's name and the signature.
    fn admit(&self, simulator: &Simulator, request: &Request<Bytes>, now: Timestamp)
    -> Result<Verified, VendorRefusal>;

    /// Checks the parameters and answers the body.
    fn answer(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Value, VendorRefusal>;

    /// Where the rows of a good answer stand, as a JSON pointer.
    fn rows(&self) -> &'static str;

    /// The refusal of a call over the limit.
    fn throttle(&self, retry_after: Option<Duration>) -> VendorRefusal;

    /// The refusal that a fault stands for; `None` if it stands for something else.
    fn refusal_of(&self, fault: &Fault) -> Option<VendorRefusal>;

    /// A good answer as the vendor sends it.
    fn accept(&self, body: &Value, request_id: &str) -> Response<Bytes>;

    /// A refusal as the vendor sends it.
    fn refuse(&self, refusal: &VendorRefusal, request: &Request<Bytes>, request_id: &str) -> Response<Bytes>;
}
