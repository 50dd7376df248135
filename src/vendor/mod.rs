//! One room per vendor, and what the rooms share: the way out ([`transport`]), the address to go to ([`endpoint`]) and
//! the primitives of signing ([`crypto`]).
//!

pub mod alibaba_cams;
pub mod crypto;
pub mod endpoint;
pub mod transport;
pub mod volcengine_rtc;
