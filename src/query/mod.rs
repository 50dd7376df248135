//! What a question means, for every door alike: no GraphQL, no HTTP.
//!
//! A door begins a [`Request`] with who asks and their [`Controls`], and asks one of the datasets:
//! [`phone_number_metrics`], [`template_metrics`] or [`operation_distributions`]. What is answered are typed rows; what it has cost, whether the
//! answer may be given again and what was left out, the request says. Choosing rows, cutting windows, finality and rights
//! are decided here and nowhere else. Look next at `request.rs`.

pub mod catalog;
pub mod collect;
pub mod collections;
mod controls;
mod counts;
mod cursor;
pub mod operation_distributions;
mod page;
pub mod phone_number_metrics;
pub mod pull;
mod quota;
mod range;
mod request;
mod reuse;
mod rows;
mod service;
pub mod template_metrics;
pub mod totals;
pub mod zone;

pub use catalog::{Catalog, CatalogApp, CatalogChannel};
pub use controls::{Controls, Setting};
pub use page::{Page, Paging};
pub use quota::Quota;
pub use range::TimeRange;
pub use request::{Omitted, Request};
pub use reuse::Lasting;
pub use rows::{Row, Rows};
pub use service::{Limits, Service};

pub use crate::store::{Outlook, PlannedCall};
