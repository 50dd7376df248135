//! What several tests share.

pub(crate) mod disciplines;
pub(crate) mod fleet;
pub(crate) mod gateway;
pub(crate) mod redis;
pub(crate) mod require;
pub(crate) mod server;

pub(crate) use gateway::{Builder, DISTRIBUTION, METRIC, NOW, TestGateway, codes};
