//! One room per vendor, and what the rooms share: the way out ([`transport`]), the address to go to ([`endpoint`]),
//! the key to sign with ([`credential`]) and the primitives of signing ([`crypto`]), one request and its reply
//! (`exchange`), what any reply says before a vendor's codes are read (`reply`), and numbers as vendors write them
//! (`loose`).
//!
//! Every room has the same files: `config` (one entry of the config), `wire` (the vendor's own words), `signer` (pure),
//! `client` (the only file that does I/O), `error` (the only place that reads the vendor's codes), and one for each
//! operation: its facts, its typed subjects and answers, the checks on its rows, and how a reply is cut.

pub mod alibaba_cams;
pub mod credential;
pub mod crypto;
pub mod endpoint;
mod exchange;
mod loose;
pub mod quotas;
mod reply;
#[cfg(test)]
mod scripted;
pub mod transport;
pub mod volcengine_rtc;
