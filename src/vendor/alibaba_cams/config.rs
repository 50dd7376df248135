//! The settings of one Alibaba Cloud account.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::OPERATIONS;
use crate::domain::{Account, Vendor};
use crate::vendor::credential::Credential;
use crate::vendor::endpoint::{Endpoint, EndpointError};
use crate::vendor::quotas::{Quotas, names};

/// One `[[alibaba_cams]]` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The entry's name: unique, shown in answers, errors and logs.
    pub name: String,
    /// `https://` anywhere, `http://` only to loopback.
    #[serde(default = "default_endpoint")]
    pub endpoint: String,
    /// The access key's id.
    pub access_key_id: SecretString,
    /// The access key's secret.
    pub access_key_secret: SecretString,
    /// The STS token; empty without STS.
    #[serde(default)]
    pub security_token: SecretString,
    /// Entries with equal `quota_account` share one quota, whatever their hosts; empty means that host and access key id
    /// tell them apart.
    #[serde(default)]
    pub quota_account: String,
    /// The `CustSpaceId`s that this account serves; empty means one channel without an id.
    #[serde(default)]
    pub channels: Vec<String>,
    /// The message templates of its channels, for whoever looks for their codes.
    #[serde(default)]
    pub templates: Vec<Template>,
    /// The IANA name of the zone at whose midnights its days begin; empty where replies are to show it.
    #[serde(default)]
    pub time_zone: String,
    /// The ISV verification code; empty without one.
    #[serde(default)]
    pub isv_code: String,
    /// Calls a second, where fewer than published.
    #[serde(default = "published", deserialize_with = "quotas")]
    pub quota: Quotas,
}

/// A message template.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Template {
    /// The `CustSpaceId` of its channel; empty for the one channel without an id.
    #[serde(default)]
    pub channel: String,
    /// The vendor's `TemplateCode`.
    pub code: String,
}

impl Config {
    /// The account of this entry, and what the vendor counts it by.
    ///
    /// # Errors
    /// When `endpoint` cannot be used.
    pub fn account(&self) -> Result<Account, EndpointError> {
        let endpoint = Endpoint::parse(&self.endpoint)?;
        Ok(endpoint.account(Vendor::AlibabaCams, &self.name, &self.access_key_id, &self.quota_account))
    }

    /// The key that this entry signs with.
    #[must_use]
    pub fn credential(&self) -> Credential {
        Credential::of(&self.access_key_id, &self.access_key_secret, &self.security_token)
    }
}

fn default_endpoint() -> String {
    "https://cams.ap-southeast-1.aliyuncs.com".to_owned()
}

const NAMES: [&str; OPERATIONS.len()] = names(&OPERATIONS);

/// The published limits.
#[must_use]
pub fn published() -> Quotas {
    Quotas::published(&OPERATIONS)
}

fn quotas<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Quotas, D::Error> {
    Quotas::read(&OPERATIONS, &NAMES, deserializer)
}
