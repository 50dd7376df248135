//! Makes the calls: the only file of this room that does I/O.
//!
//! Every attempt is signed after its permit is there, with a new nonce and date. A call is sent once; whoever wants it
//! again needs another permit.

use std::sync::Arc;

use bytes::Bytes;

use super::operation::{EnableWhatsappRoi, MetricRow, MetricSubject, PhoneNumberMetrics, WhatsappRoiEnabled};
use super::{Config, ENABLE_FACTS, FACTS, error, signer, wire};
use crate::domain::{Account, CallError, CallErrorKind, Clock, Sent, Slice, Timestamp};
use crate::quota::{Call, Permit};
use crate::vendor::credential::Credential;
use crate::vendor::endpoint::{Endpoint, EndpointError};
use crate::vendor::exchange;
use crate::vendor::transport::{Reply, Request, Transport};

/// Calls `GetChatappPhoneNumberMetric` for one account.
pub struct Client {
    account: Account,
    endpoint: Endpoint,
    credential: Credential,
    isv_code: Option<String>,
    transport: Arc<dyn Transport>,
    clock: Arc<dyn Clock>,
    operation: Arc<PhoneNumberMetrics>,
}

/// Calls `EnableWhatsappROIMetric` for the same account.
pub struct EnableClient(pub Arc<Client>);

impl Client {
    /// A client of one account; what replies teach goes into `operation`.
    ///
    /// # Errors
    /// When the config's endpoint cannot be used.
    pub fn new(
        config: &Config,
        account: Account,
        transport: Arc<dyn Transport>,
        clock: Arc<dyn Clock>,
        operation: Arc<PhoneNumberMetrics>,
    ) -> Result<Self, EndpointError> {
        let endpoint = Endpoint::parse(&config.endpoint)?;
        let isv_code = Some(config.isv_code.clone()).filter(|code| !code.is_empty());
        Ok(Self { account, endpoint, credential: config.credential(), isv_code, transport, clock, operation })
    }

    /// Signs at `at` and makes one exchange; the permit ends with it.
    async fn exchange(
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

impl Call for Client {
    type Request = Slice<MetricSubject>;
    type Answer = Sent<Option<Vec<MetricRow>>>;

    async fn call(&self, request: &Slice<MetricSubject>, permit: Permit) -> Result<Self::Answer, CallError> {
        let at = self.clock.now();
        let Some(span) = self.operation.span_on_wire(request, at) else {
            return Ok(Sent { answer: Some(Vec::new()), at }); // nobody can have sent anything by then
        };
        self.operation.note_asked(&request.subject);
        let params = wire::metric_params(&request.subject, span, self.isv_code.as_deref());
        let reply = self.exchange(FACTS.operation, &params, at, permit).await?;
        match error::open(&reply) {
            Ok(envelope) => match wire::metric_rows(envelope.data, &request.subject) {
                Ok(answer) => Ok(Sent { answer, at }),
                Err(why) => Err(error::nonsense(why, envelope.request_id())),
            },
            Err(refusal) if span.end() > at && error::may_be_about_the_end(&refusal) => {
                tracing::info!(
                    account = self.account.name(),
                    "the vendor refuses an end in the future: it is now from here on"
                );
                self.operation.learn_end_at_now(&request.subject.account);
                Err(CallError { kind: CallErrorKind::Adjusted, ..refusal })
            }
            Err(refusal) => Err(refusal),
        }
    }
}

impl Call for EnableClient {
    type Request = EnableWhatsappRoi;
    type Answer = Sent<WhatsappRoiEnabled>;

    async fn call(&self, request: &EnableWhatsappRoi, permit: Permit) -> Result<Self::Answer, CallError> {
        let Self(client) = self;
        let at = client.clock.now();
        let isv_code = request.isv_code.as_deref().or(client.isv_code.as_deref());
        let params = wire::enable_params(request.channel.as_ref(), isv_code);
        let reply = client.exchange(ENABLE_FACTS.operation, &params, at, permit).await?;
        let request_id = error::open(&reply)?.request_id().unwrap_or_default().trim().to_owned();
        Ok(Sent { answer: WhatsappRoiEnabled { request_id }, at })
    }
}

#[cfg(test)]
mod tests;
