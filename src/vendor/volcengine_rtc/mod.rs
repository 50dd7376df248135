//! The Volcengine RTC room: how the distinct users of an application are spread over provinces or countries.
//!
//! What is odd about this vendor (the sources stand in `docs/vendors/volcengine-rtc.md`):
//! - A number counts distinct users of one exact window: it is never summed, sliced or merged.
//! - A window is at most 7 days long and begins at most 30 days ago; its data are 8 hours late.
//! - All applications of an account share its two calls a second.
//! - The two versions of the API spell the indicator differently, and a refusal may come with HTTP 200.

pub mod client;
pub mod config;
mod error;
pub mod operation;
pub mod signer;
mod wire;

use std::time::Duration;

use crate::domain::{Facts, Vendor};

pub use client::Client;
pub use config::Config;
pub use operation::{Dimension, Distribution, DistributionSubject, OperationDistributions, Share};

/// `ListOperationDistribution`: two calls a second, windows of at most 7 days within the last 30, by its page. The
/// page of its request format says that the limit is counted per account.
pub const FACTS: Facts = Facts {
    vendor: Vendor::VolcengineRtc,
    operation: "ListOperationDistribution",
    dataset: "operation_distribution",
    calls_per_second: 2,
    max_window: Some(Duration::from_hours(7 * 24)),
    lookback: Some(LOOKBACK),
    additive: false,
};

/// A window must begin within the last 30 days.
const LOOKBACK: Duration = Duration::from_hours(30 * 24);
