//! The promises of weir, one file each, in one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]

mod batching;
mod cli;
mod config;
mod graphiql;
mod http;
mod quota;
mod replicas;
mod signing;
mod signing_verifiers;
mod support;
