//! The settings of one Volcengine account.

use secrecy::SecretString;
use serde::{Deserialize, Deserializer};

use super::OPERATIONS;
use crate::domain::{Account, Vendor};
use crate::vendor::credential::Credential;
use crate::vendor::endpoint::{Endpoint, EndpointError};
use crate::vendor::quotas::{Quotas, names};

/// One `[[volcengine_rtc]]` entry.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Config {
    /// The entry's name: unique, shown in answers, errors and logs.
    pub name: String,
    /// `https://` anywhere, `http://` only to loopback.
    #[serde(default = "default_endpoint")]
    pub endpoint: String,
    /// The region of the signature's scope.
    #[serde(default = "default_region")]
    pub region: String,
    /// The API version; it decides the spelling of the indicator.
    #[serde(default = "default_version")]
    pub version: String,
    /// The IANA zone in which whole hours, days and weeks of distributions are cut.
    #[serde(default = "default_time_zone")]
    pub time_zone: String,
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
    /// The `AppId`s that this account serves.
    #[serde(default)]
    pub apps: Vec<String>,
    /// Calls a second, where fewer than published.
    #[serde(default = "published", deserialize_with = "quotas")]
    pub quota: Quotas,
}

impl Config {
    /// The account of this entry, and what the vendor counts it by.
    ///
    /// # Errors
    /// When `endpoint` cannot be used.
    pub fn account(&self) -> Result<Account, EndpointError> {
        let endpoint = Endpoint::parse(&self.endpoint)?;
        Ok(endpoint.account(Vendor::VolcengineRtc, &self.name, &self.access_key_id, &self.quota_account))
    }

    /// The key that this entry signs with.
    #[must_use]
    pub fn credential(&self) -> Credential {
        Credential::of(&self.access_key_id, &self.access_key_secret, &self.security_token)
    }
}

fn default_endpoint() -> String {
    "https://rtc.volcengineapi.com".to_owned()
}

fn default_region() -> String {
    "cn-north-1".to_owned()
}

fn default_version() -> String {
    "2020-12-01".to_owned()
}

fn default_time_zone() -> String {
    "Asia/Shanghai".to_owned()
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
