//! The promises of weir, one file each, in one binary.

mod cli;
mod config;
#[cfg(test)]
mod signing;
mod signing_verifiers;
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod graphiql;
mod http;
mod support;
