//! The accounts of all vendors seen alike, for the checks and explanations that every vendor needs.

use secrecy::{ExposeSecret, SecretString};

use super::Config;
use crate::domain::Vendor;
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// One configured account, whatever its vendor.
#[derive(Debug, Clone, Copy)]
pub struct Entry<'a> {
    /// The vendor.
    pub vendor: Vendor,
    /// The entry's name.
    pub name: &'a str,
    /// The endpoint as configured.
    pub endpoint: &'a str,
    /// The access key's id.
    pub access_key_id: &'a SecretString,
    /// The access key's secret.
    pub access_key_secret: &'a SecretString,
    /// The STS token; empty without STS.
    pub security_token: &'a SecretString,
    /// Who owns the quota; empty for the key itself.
    pub quota_account: &'a str,
    /// The channels or apps that the account serves.
    pub ids: &'a [String],
    quota: Quotas<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Quotas<'a> {
    AlibabaCams(&'a alibaba_cams::config::QuotaConfig),
    VolcengineRtc(&'a volcengine_rtc::config::QuotaConfig),
}

/// Calls a second that are configured and published for one operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationQuota {
    /// The vendor's name of the operation.
    pub operation: &'static str,
    /// As configured.
    pub configured: u32,
    /// As the vendor publishes it.
    pub published: u32,
}

impl<'a> Entry<'a> {
    /// Sees an Alibaba Cloud account.
    #[must_use]
    pub fn of_alibaba_cams(config: &'a alibaba_cams::Config) -> Self {
        Self {
            vendor: Vendor::AlibabaCams,
            name: &config.name,
            endpoint: &config.endpoint,
            access_key_id: &config.access_key_id,
            access_key_secret: &config.access_key_secret,
            security_token: &config.security_token,
            quota_account: &config.quota_account,
            ids: &config.channels,
            quota: Quotas::AlibabaCams(&config.quota),
        }
    }

    /// Sees a Volcengine account.
    #[must_use]
    pub fn of_volcengine_rtc(config: &'a volcengine_rtc::Config) -> Self {
        Self {
            vendor: Vendor::VolcengineRtc,
            name: &config.name,
            endpoint: &config.endpoint,
            access_key_id: &config.access_key_id,
            access_key_secret: &config.access_key_secret,
            security_token: &config.security_token,
            quota_account: &config.quota_account,
            ids: &config.apps,
            quota: Quotas::VolcengineRtc(&config.quota),
        }
    }

    /// The quota of each operation.
    #[must_use]
    pub fn quotas(&self) -> Vec<OperationQuota> {
        let quota = |operation, configured, published| OperationQuota { operation, configured, published };
        match self.quota {
            Quotas::AlibabaCams(configured) => {
                let published = alibaba_cams::config::QuotaConfig::default();
                vec![
                    quota(
                        "GetChatappPhoneNumberMetric",
                        configured.get_chatapp_phone_number_metric,
                        published.get_chatapp_phone_number_metric,
                    ),
                    quota(
                        "EnableWhatsappROIMetric",
                        configured.enable_whatsapp_roi_metric,
                        published.enable_whatsapp_roi_metric,
                    ),
                ]
            }
            Quotas::VolcengineRtc(configured) => {
                let published = volcengine_rtc::config::QuotaConfig::default();
                vec![quota(
                    "ListOperationDistribution",
                    configured.list_operation_distribution,
                    published.list_operation_distribution,
                )]
            }
        }
    }

    /// What the vendor counts against: vendor, endpoint host and owner. Entries with one identity share permits.
    /// Holds the key id: compare it, never show it.
    #[must_use]
    pub fn identity(&self) -> (Vendor, String, &'a str) {
        let owner = if self.quota_account.is_empty() { self.access_key_id.expose_secret() } else { self.quota_account };
        (self.vendor, authority(self.endpoint), owner)
    }

    /// The table of this vendor in the file.
    #[must_use]
    pub const fn section(&self) -> &'static str {
        match self.vendor {
            Vendor::AlibabaCams => "alibaba_cams",
            Vendor::VolcengineRtc => "volcengine_rtc",
        }
    }

    /// The key that lists what an account of this vendor serves.
    #[must_use]
    pub const fn ids_key(&self) -> &'static str {
        match self.vendor {
            Vendor::AlibabaCams => "channels",
            Vendor::VolcengineRtc => "apps",
        }
    }
}

/// The host of an endpoint, with its port unless that is the scheme's own. Text that is no URL stays as it is.
#[must_use]
pub fn authority(endpoint: &str) -> String {
    let Ok(url) = url::Url::parse(endpoint) else { return endpoint.to_owned() };
    let host = url.host_str().unwrap_or_default();
    url.port().map_or_else(|| host.to_owned(), |port| format!("{host}:{port}"))
}

impl Config {
    /// The accounts of every vendor, in the order of the file within each.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let cams = self.alibaba_cams.iter().map(Entry::of_alibaba_cams);
        cams.chain(self.volcengine_rtc.iter().map(Entry::of_volcengine_rtc))
    }
}
