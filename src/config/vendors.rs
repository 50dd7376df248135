//! The accounts of all vendors seen alike, for the checks and explanations that every vendor needs.

use secrecy::SecretString;

use super::Config;
use crate::domain::{Account, Facts, Vendor};
use crate::vendor::quotas::Quotas;
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
    quotas: &'a Quotas,
    room: Room<'a>,
}

#[derive(Debug, Clone, Copy)]
enum Room<'a> {
    AlibabaCams(&'a alibaba_cams::Config),
    VolcengineRtc(&'a volcengine_rtc::Config),
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
            quotas: &config.quota,
            room: Room::AlibabaCams(config),
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
            quotas: &config.quota,
            room: Room::VolcengineRtc(config),
        }
    }

    /// The quota of each operation.
    #[must_use]
    pub fn quotas(&self) -> Vec<OperationQuota> {
        let quota = |(facts, configured): (&'static Facts, u32)| OperationQuota {
            operation: facts.operation,
            configured,
            published: facts.calls_per_second,
        };
        self.quotas.iter().map(quota).collect()
    }

    /// Whether both share one quota. An endpoint that cannot be used shares nothing; it is refused for itself.
    #[must_use]
    pub fn shares_quota_with(&self, other: &Self) -> bool {
        self.account().zip(other.account()).is_some_and(|(one, other)| one.shares_quota_with(&other))
    }

    /// The account, if its endpoint can be used.
    #[must_use]
    pub fn account(&self) -> Option<Account> {
        match self.room {
            Room::AlibabaCams(config) => config.account().ok(),
            Room::VolcengineRtc(config) => config.account().ok(),
        }
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

impl Config {
    /// The accounts of every vendor, in the order of the file within each.
    pub fn entries(&self) -> impl Iterator<Item = Entry<'_>> {
        let cams = self.alibaba_cams.iter().map(Entry::of_alibaba_cams);
        cams.chain(self.volcengine_rtc.iter().map(Entry::of_volcengine_rtc))
    }
}
