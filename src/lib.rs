//! weir: a GraphQL gateway that unifies two vendors' metrics and never overruns their quotas.
//!
//! The modules in reading order are the map of the tree. A query goes down from `http` to `vendor`, and each layer
//! knows only the next; [`app`] composes them and [`cli`] starts them.

pub mod app;
pub mod cli;
pub mod config;
pub mod telemetry;

pub mod http;

pub mod access;

pub mod watch;

pub mod document;

pub mod schema;

pub mod fast;

pub mod formats;

pub mod query;

pub mod loader;

pub mod store;

pub mod planner;

pub mod quota;

pub mod archive;

pub mod redis;

pub mod vendor;

pub mod domain;
pub mod error;

pub mod sim;
