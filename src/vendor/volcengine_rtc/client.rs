//! Makes the calls: the only file of this room that does I/O.
//!
//! Every attempt is signed after its permit is there, with a new date. A call is sent once; whoever wants it again
//! needs another permit.

use std::sync::Arc;

use super::operation_distributions::{DistributionSubject, FACTS, OperationDistributions, Share};
use super::{Config, error, signer, wire};
use crate::domain::{Account, CallError, Clock, Operation, Sent, Slice, Timestamp};
use crate::quota::{Call, Permit};
use crate::vendor::credential::Credential;
use crate::vendor::endpoint::{Endpoint, EndpointError};
use crate::vendor::exchange;
use crate::vendor::transport::{Reply, Request, Transport};

/// Calls `ListOperationDistribution` for one account.
pub struct Client {
    account: Account,
    endpoint: Endpoint,
    region: String,
    version: String,
    credential: Credential,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    operation: Arc<OperationDistributions>,
}

impl Client {
    /// A client of one account.
    ///
    /// # Errors
    /// When the config's endpoint cannot be used.
    pub fn new(
        config: &Config,
        account: Account,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        operation: Arc<OperationDistributions>,
    ) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let (region, version) = (config.region.clone(), config.version.clone());
        Ok(Self { account, endpoint, region, version, credential: config.credential(), transport, clock, operation })
    }

    /// Signs at `at` and makes one exchange; the permit ends with it.
    async fn exchange(
        &self,
        action: &'static str,
        body: String,
        at: Timestamp,
        permit: Permit,
    ) -> Result<Reply, CallError> {
        let request = self.request(action, body, at)?;
        exchange::send(&*self.transport, request, permit, &self.account, action).await
    }

    fn request(&self, action: &'static str, body: String, at: Timestamp) -> Result<Request, CallError> {
        let query = signer::canonical_query(&[("Action", action), ("Version", &self.version)]);
        let host = self.endpoint.authority();
        let parts = signer::Parts { host, region: &self.region, query: &query, body: body.as_bytes() };
        let headers = signer::sign(&parts, &self.credential, at).map_err(|_not_shown| error::unwritable())?;
        exchange::post(&self.endpoint, &query, headers, body.into()).map_err(|_not_shown| error::unwritable())
    }
}

impl Call for Client {
    type Request = Slice<DistributionSubject>;
    type Answer = Sent<Option<Vec<Share>>>;

    async fn call(&self, request: &Slice<DistributionSubject>, permit: Permit) -> Result<Self::Answer, CallError> {
        let at = self.clock.now();
        self.operation.check_retention(request, at)?;
        let body = wire::distribution_body(&request.subject, request.window, &self.version)
            .map_err(|_not_shown| error::unwritable())?;
        let reply = self.exchange(FACTS.operation, body, at, permit).await?;
        let envelope = error::open(&reply)?;
        match wire::shares(envelope.result, &request.subject) {
            Ok(answer) => Ok(Sent { answer, at }),
            Err(why) => Err(error::nonsense(why, envelope.request_id())),
        }
    }
}

#[cfg(test)]
mod tests;
