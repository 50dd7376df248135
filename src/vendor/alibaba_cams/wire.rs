//! The vendor's own words that all its operations share.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::value::RawValue;

use crate::domain::ChannelId;

/// The version of the API.
pub(super) const VERSION: &str = "2020-06-06";

/// The `Code` of a success.
pub(super) const OK: &str = "OK";

/// The parameters of one call.
pub(super) type Params = Vec<(&'static str, String)>;

/// What names a channel.
pub(super) fn channel_params(channel: Option<&ChannelId>, isv_code: Option<&str>) -> Params {
    let channel = channel.map(|channel| ("CustSpaceId", channel.as_str().to_owned()));
    channel.into_iter().chain(isv_code.map(|code| ("IsvCode", code.to_owned()))).collect()
}

/// What every reply has, good or bad; the data stay unread until the code is known to be good.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) code: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) data: Option<&'a RawValue>,
}

impl Envelope<'_> {
    pub(super) fn request_id(&self) -> Option<&str> {
        self.request_id.as_deref()
    }
}
