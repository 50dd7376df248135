//! `[[watch]]`: what is collected without being asked for.

use std::time::Duration;

use serde::Deserialize;

use super::units;
use crate::domain::duration::format_iso;
use crate::domain::time::{DAY, MINUTE};
use crate::vendor::alibaba_cams::Granularity;
use crate::vendor::volcengine_rtc::Dimension;

/// Series that are collected as soon as the vendor answers them.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Watch {
    /// Which numbers.
    pub dataset: Watched,
    /// Whose messages: the `CustSpaceId`s; all configured ones without it.
    #[serde(default)]
    pub channels: Vec<String>,
    /// Whose users: the `AppId`s; all configured ones without it.
    #[serde(default)]
    pub apps: Vec<String>,
    /// The step of messages.
    #[serde(default)]
    pub granularity: GranularityWord,
    /// By which kind of place users are told apart.
    #[serde(default)]
    pub dimension: DimensionWord,
    /// The windows of users: those of the calendar.
    #[serde(default = "day", deserialize_with = "units::span")]
    pub window: Duration,
    /// How far back the first filling goes, where the vendor still answers.
    #[serde(default = "since", deserialize_with = "units::span")]
    pub since: Duration,
    /// How often what may still change is fetched again; zero for only when it is final.
    #[serde(default = "every", deserialize_with = "units::duration")]
    pub every: Duration,
}

/// A dataset that can be collected.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Watched {
    /// Messages sent and delivered.
    PhoneNumberMetrics,
    /// Distinct users.
    OperationDistributions,
}

/// The step of messages, as the config spells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum GranularityWord {
    /// Days.
    #[default]
    Daily,
    /// Half hours.
    HalfHour,
}

/// The kind of place, as the config spells it.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum DimensionWord {
    /// Provinces.
    #[default]
    Province,
    /// Countries.
    Country,
}

impl From<GranularityWord> for Granularity {
    fn from(step: GranularityWord) -> Self {
        match step {
            GranularityWord::Daily => Self::Daily,
            GranularityWord::HalfHour => Self::HalfHour,
        }
    }
}

impl From<DimensionWord> for Dimension {
    fn from(place: DimensionWord) -> Self {
        match place {
            DimensionWord::Province => Self::Province,
            DimensionWord::Country => Self::Country,
        }
    }
}

impl Watch {
    /// The first series that `other` names too, in words; `channels` and `apps` are all configured ones.
    pub(super) fn shared_with(&self, other: &Self, channels: &[&str], apps: &[&str]) -> Option<String> {
        if self.dataset != other.dataset {
            return None;
        }
        match self.dataset {
            Watched::PhoneNumberMetrics => {
                let step = Granularity::from(self.granularity).as_str();
                let of = shared(&self.channels, &other.channels, channels)
                    .filter(|_| self.granularity == other.granularity)?;
                Some(format!("messages{of} by {step}"))
            }
            Watched::OperationDistributions => {
                let (place, window) = (Dimension::from(self.dimension).name(), format_iso(self.window));
                let is_same = self.dimension == other.dimension && self.window == other.window;
                let of = shared(&self.apps, &other.apps, apps).filter(|_| is_same)?;
                Some(format!("users{of} by {place}, windows of {window}"))
            }
        }
    }
}

/// The first name that both lists have, as ` of …`; a list without names stands for `all`, which may have none either.
fn shared(own: &[String], other: &[String], all: &[&str]) -> Option<String> {
    let is_in = |list: &[String], name: &str| list.is_empty() || list.iter().any(|own| own == name);
    let mut names = own.iter().map(String::as_str).chain(other.iter().map(String::as_str)).chain(all.iter().copied());
    let both = names.find(|name| is_in(own, name) && is_in(other, name));
    let nameless = own.is_empty() && other.is_empty();
    both.map(|name| format!(" of `{name}`")).or_else(|| nameless.then(String::new))
}

fn day() -> Duration {
    DAY
}

fn since() -> Duration {
    90 * DAY
}

fn every() -> Duration {
    30 * MINUTE
}
