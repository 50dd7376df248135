//! The Alibaba Cloud CAMS room: what the business phone numbers of a WhatsApp channel sent.
//!
//! What is odd about this vendor (the sources stand in `docs/vendors/alibaba-cams.md`):
//! - Rows are sparse and keep their own edges. Days begin at midnight of a time zone that nobody tells us, and which
//!   buckets a range selects is undocumented; so spans are padded and rows are chosen by their `Start`.
//! - A throttle is HTTP 400, and a refusal may come with HTTP 200: only the code tells.
//! - Nothing is collected before `EnableWhatsappROIMetric`, and a channel that is not enabled looks like an idle one.

pub mod client;
pub mod config;
pub mod enable_whatsapp_roi;
mod error;
mod granularity;
pub mod phone_number_metrics;
mod seen;
mod series;
pub mod signer;
pub mod template_metrics;
mod wire;

pub use client::{Client, SeriesClient};
pub use config::Config;
pub use enable_whatsapp_roi::{EnableClient, EnableWhatsappRoi, WhatsappRoiEnabled};
pub use granularity::Granularity;
pub use phone_number_metrics::{MetricSubject, PhoneNumberMetrics, PhoneNumberPoint, PhoneNumbers};
pub use series::{CountSubject, Counts, Series};
pub use template_metrics::{
    ButtonClicks, ButtonKind, Language, TemplateMetrics, TemplatePoint, TemplateSubject, Templates,
};

use crate::domain::Facts;

/// Every operation that weir calls.
pub const OPERATIONS: [&Facts; 3] =
    [&phone_number_metrics::FACTS, &template_metrics::FACTS, &enable_whatsapp_roi::FACTS];
