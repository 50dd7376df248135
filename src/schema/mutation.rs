//! The roots of all changing.

use async_graphql::{Context, Description, ID, Object, SimpleObject};

use super::context::request;
use super::error::{Nullable, nullable};
use super::scalars::DateTime;
use crate::domain::time::DAY;

/// What changes something at a vendor.
#[derive(Debug, Description)]
pub(super) struct Mutation;

/// The vendor has turned a channel's statistics on.
#[derive(Debug, SimpleObject)]
pub(super) struct EnableWhatsappRoiMetricPayload {
    /// The vendor's id of the request, for its support.
    pub request_id: String,
    /// The channel; null where the account's only channel is named without an id.
    pub cust_space_id: Option<ID>,
    /// Before this instant no data is to be expected: a day after the call.
    pub data_expected_from: DateTime,
}

#[Object(use_type_description)]
impl Mutation {
    /// Turns WhatsApp statistics on for a channel. Messages sent before are never counted. Source:
    /// `EnableWhatsappROIMetric` of Alibaba Cloud CAMS, 5 calls a second.
    async fn enable_whatsapp_roi_metric(
        &self,
        context: &Context<'_>,
        #[graphql(desc = "The channel; may be left out where only one is configured.")] cust_space_id: Option<ID>,
        #[graphql(desc = "The ISV verification code, where the configured one does not fit.")] isv_code: Option<String>,
    ) -> Nullable<EnableWhatsappRoiMetricPayload> {
        nullable(async {
            let request = &request(context)?.query;
            let id = cust_space_id.as_ref().map(|id| id.as_str());
            let channel = request.catalog().channel(id, request.caller())?;
            let enabled = request.enable_whatsapp_roi(channel, isv_code).await?;
            Ok(enabled.map(|enabled| EnableWhatsappRoiMetricPayload {
                request_id: enabled.answer.request_id,
                cust_space_id: channel.id.as_ref().map(|id| ID(id.as_str().to_owned())),
                data_expected_from: DateTime(enabled.at + DAY),
            }))
        })
        .await
    }
}
