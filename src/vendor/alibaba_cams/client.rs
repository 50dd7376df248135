//! Makes the calls of one account: the only file of this room that does I/O.
//!
//! Every attempt is signed after its permit is there, with a new nonce and date. A call is sent once; whoever wants it
//! again needs another permit.

use std::sync::Arc;

use bytes::Bytes;

use super::series::{self, Counts, Series};
use super::{Config, error, signer, wire};
use crate::domain::{Account, CallError, CallErrorKind, Clock, Sent, Slice, Subject, Timestamp};
use crate::quota::{Call, Permit};
use crate::vendor::credential::Credential;
use crate::vendor::endpoint::{Endpoint, EndpointError};
use crate::vendor::exchange;
use crate::vendor::transport::{Reply, Request, Transport};

/// Signs and sends for one account, whatever the operation.
pub struct Client {
    account: Account,
    endpoint: Endpoint,
    credential: Credential,
    isv_code: Option<String>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
}

/// Calls an operation that answers counts, for one account.
pub struct SeriesClient<C: Counts> {
    client: Arc<Client>,
    operation: Arc<Series<C>>,
}

impl Client {
    /// The client of one account.
    ///
    /// # Errors
    /// When the config's endpoint cannot be used.
    pub fn new(
        config: &Config,
        account: Account,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let isv_code = Some(config.isv_code.clone()).filter(|code| !code.is_empty());
        Ok(Self { account, endpoint, credential: config.credential(), isv_code, transport, clock })
    }

    pub(super) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// The configured ISV code, if there is one.
    pub(super) fn isv_code(&self) -> Option<&str> {
        self.isv_code.as_deref()
    }

    /// Signs at `at` and makes one exchange; the permit ends with it.
    pub(super) async fn exchange(
        &self,
        action: &'static str,
        params: &wire::Params,
        at: Timestamp,
        permit: Permit,
    ) -> Result<Reply, CallError> {
        let request = self.request(action, params, at)?;
        exchange::send(&*self.transport, request, permit, &self.account, action).await
    }

    fn request(&self, action: &'static str, params: &wire::Params, at: Timestamp) -> Result<Request, CallError> {
        let params: Vec<_> = params.iter().map(|(name, value)| (*name, value.as_str())).collect();
        let query = signer::canonical_query(&params);
        let nonce = format!("{:032x}", rand::random::<u128>());
        let host = self.endpoint.authority();
        let parts = signer::Parts { host, action, version: wire::VERSION, query: &query, more: &[] };
        let headers = signer::sign(&parts, &self.credential, at, &nonce).map_err(|_not_shown| error::unwritable())?;
        exchange::post(&self.endpoint, &query, headers, Bytes::new()).map_err(|_not_shown| error::unwritable())
    }
}

impl<C: Counts> SeriesClient<C> {
    /// What replies teach goes into `operation`.
    #[must_use]
    pub fn new(client: Arc<Client>, operation: Arc<Series<C>>) -> Self {
        Self { client, operation }
    }
}

impl<C: Counts> Call for SeriesClient<C> {
    type Request = Slice<C::Subject>;
    type Answer = Sent<Option<Vec<C::Point>>>;

    async fn call(&self, request: &Slice<C::Subject>, permit: Permit) -> Result<Self::Answer, CallError> {
        let (subject, at) = (&request.subject, self.client.now());
        let Some(span) = self.operation.span_on_wire(request, at) else {
            return Ok(Sent { answer: Some(Vec::new()), at }); // nobody can have sent anything by then
        };
        self.operation.note_asked(subject);
        let params = series::params::<C>(subject, span, self.client.isv_code());
        let reply = self.client.exchange(C::FACTS.operation, &params, at, permit).await?;
        match error::open(&reply) {
            Ok(envelope) => match C::rows(envelope.data, subject) {
                Ok(answer) => Ok(Sent { answer, at }),
                Err(why) => Err(error::nonsense(why, envelope.request_id())),
            },
            Err(refusal) if span.end() > at && error::may_be_about_the_end(&refusal) => {
                tracing::info!(
                    account = self.client.account.name(),
                    "the vendor refuses an end in the future: it is now from here on"
                );
                self.operation.learn_end_at_now(subject.account());
                Err(CallError { kind: CallErrorKind::Adjusted, ..refusal })
            }
            Err(refusal) => Err(refusal),
        }
    }
}

#[cfg(test)]
mod tests;
