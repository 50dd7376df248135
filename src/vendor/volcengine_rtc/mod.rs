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
pub mod operation_distributions;
pub mod signer;
mod wire;

pub use client::Client;
pub use config::Config;
pub use operation_distributions::{Dimension, Distribution, DistributionSubject, OperationDistributions, Share};

use crate::domain::Facts;

/// Every operation that weir calls.
pub const OPERATIONS: [&Facts; 1] = [&operation_distributions::FACTS];
