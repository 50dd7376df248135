//! The Volcengine RTC room.

pub mod config;

pub use config::Config;
