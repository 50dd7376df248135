//! What several tests share.

pub(crate) mod certificate;
pub(crate) mod cpu;
pub(crate) mod disciplines;
pub(crate) mod documents;
pub(crate) mod failures;
pub(crate) mod fast_path;
pub(crate) mod fleet;
pub(crate) mod forwarder;
pub(crate) mod gateway;
pub(crate) mod log;
pub(crate) mod postgres;
pub(crate) mod process;
pub(crate) mod proxy;
pub(crate) mod redis;
pub(crate) mod require;
pub(crate) mod rooms;
pub(crate) mod server;
pub(crate) mod sources;
pub(crate) mod stalls;
pub(crate) mod table;

pub(crate) use fast_path::demo_config;
pub(crate) use gateway::{Builder, DISTRIBUTION, ENABLE, METRIC, NOW, REST, TEMPLATE, TestGateway, codes, window};
pub(crate) use rooms::{ROOMS, Room, Want};
