//! `EnableWhatsappROIMetric`: the one call that changes something.

use std::sync::Arc;

use super::client::Client;
use super::{error, wire};
use crate::domain::{CallError, ChannelId, Facts, Sent, Vendor};
use crate::quota::{Call, Permit};

/// 5 calls a second per user, by its page. It has no rows, so its dataset has no name.
pub const FACTS: Facts = Facts {
    vendor: Vendor::AlibabaCams,
    operation: "EnableWhatsappROIMetric",
    dataset: "",
    calls_per_second: 5,
    max_window: None,
    lookback: None,
    additive: false,
    memory_share: 0,
};

/// Asks the vendor to begin collecting a channel's metrics. Nothing from before is collected, and the first data come
/// a day later at the earliest.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EnableWhatsappRoi {
    /// The channel; `None` for the only one of an account without named channels.
    pub channel: Option<ChannelId>,
    /// The verification code of an independent software vendor; `None` for the configured one.
    pub isv_code: Option<String>,
}

/// The vendor has agreed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WhatsappRoiEnabled {
    /// The vendor's id of the request.
    pub request_id: String,
}

/// Calls it for one account.
pub struct EnableClient(pub Arc<Client>);

impl Call for EnableClient {
    type Request = EnableWhatsappRoi;
    type Answer = Sent<WhatsappRoiEnabled>;

    async fn call(&self, request: &EnableWhatsappRoi, permit: Permit) -> Result<Self::Answer, CallError> {
        let Self(client) = self;
        let at = client.now();
        let isv_code = request.isv_code.as_deref().or(client.isv_code());
        let params = wire::channel_params(request.channel.as_ref(), isv_code);
        let reply = client.exchange(FACTS.operation, &params, at, permit).await?;
        let request_id = error::open(&reply)?.request_id().unwrap_or_default().trim().to_owned();
        Ok(Sent { answer: WhatsappRoiEnabled { request_id }, at })
    }
}
