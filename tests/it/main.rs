//! The promises of weir, one file each, in one binary.

mod cli;
mod config;
#[cfg(test)]
mod signing;
mod signing_verifiers;
