//! The Alibaba Cloud CAMS room: what the business phone numbers of a WhatsApp channel sent.
//!
//! What is odd about this vendor (the sources stand in `docs/vendors/alibaba-cams.md`):
//! - Rows are sparse and keep their own edges. Days begin at midnight of a time zone that nobody tells us, and which
//!   buckets a range selects is undocumented; so spans are padded and rows are chosen by their `Start`.
//! - A throttle is HTTP 400, and a refusal may come with HTTP 200: only the code tells.
//! - Nothing is collected before `EnableWhatsappROIMetric`, and a channel that is not enabled looks like an idle one.

pub mod client;
pub mod config;
mod error;
pub mod operation;
pub mod signer;
mod wire;

use crate::domain::{Facts, Vendor};

pub use client::{Client, EnableClient};
pub use config::Config;
pub use operation::{
    EnableWhatsappRoi, Granularity, MetricRow, MetricSubject, PhoneNumberMetrics, PhoneNumberPoint, WhatsappRoiEnabled,
};

/// `GetChatappPhoneNumberMetric`: 50 calls a second per account, by its page. Neither a longest range nor a lookback is
/// documented.
pub const FACTS: Facts = Facts {
    vendor: Vendor::AlibabaCams,
    operation: "GetChatappPhoneNumberMetric",
    dataset: "phone_number_metrics",
    calls_per_second: 50,
    max_window: None,
    lookback: None,
    additive: true,
};

/// `EnableWhatsappROIMetric`: 5 calls a second per user, by its page. It has no rows, so its dataset has no name.
pub const ENABLE_FACTS: Facts = Facts {
    vendor: Vendor::AlibabaCams,
    operation: "EnableWhatsappROIMetric",
    dataset: "",
    calls_per_second: 5,
    max_window: None,
    lookback: None,
    additive: false,
};
