//! The Volcengine RTC room.

pub mod config;
pub mod signer;

pub use config::Config;
pub use signer::Credential;
