//! The Alibaba Cloud CAMS room.

pub mod config;

pub use config::Config;
