//! weir: a GraphQL gateway that unifies two vendors' metrics and never overruns their quotas.
//!
//! The modules in reading order are the map of the tree; data flows from `http` down to `vendor`.

pub mod cli;
pub mod config;
pub mod domain;
pub mod error;
pub mod telemetry;

pub mod planner;
pub mod http;

pub mod quota;
pub mod schema;
pub mod store;
pub mod sim;
pub mod vendor;
