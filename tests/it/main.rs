//! The promises of weir, one file each, in one binary.

#![expect(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "a test that cannot go on has failed")]
#![expect(
    clippy::cast_precision_loss,
    clippy::duration_suboptimal_units,
    clippy::format_collect,
    clippy::format_push_string,
    reason = "counts of tests are small, their queries are put together as they read, their times are in seconds"
)]

mod access;
mod answers;
mod archive;
mod batching;
mod bi;
mod blocks;
mod bounds;
mod cancelling;
mod chaos;
mod chart;
mod circles;
mod cli;
mod collections;
mod config;
mod connections;
mod contract;
mod crowded;
mod engine;
mod examples;
mod explain;
mod faults;
mod freshness;
mod fuzz;
mod graphiql;
mod graphql_js;
mod hostile;
mod http;
mod layering;
mod limits;
mod operations;
mod origins;
mod pages;
mod priorities;
mod privacy;
mod processes;
mod proxies;
mod quota;
mod raw;
mod readme;
mod replicas;
mod rows;
mod rows_command;
mod schema;
mod sdk_clients;
mod seeds;
mod signing;
mod signing_verifiers;
mod stale;
mod support;
mod tls;
mod totals;
mod truth;
mod waits;
mod windows;
mod work;
