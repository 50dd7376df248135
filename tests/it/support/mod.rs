//! What several tests share.

pub(crate) mod require;
pub(crate) mod server;
