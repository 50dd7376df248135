//! What is done for a request, step by step, told to whoever follows it.

use std::fmt;

use tokio::time::Instant;

/// Somebody who follows a request.
pub trait Follower: Send + Sync + fmt::Debug {
    /// A step is over.
    fn took(&self, step: &Step<'_>);
}

/// A step of a request. Its facts are words of weir and names of the config: never a phone number, a query or a secret.
#[derive(Debug, Clone, Copy)]
pub struct Step<'a> {
    /// What was done.
    pub name: &'static str,
    /// When it began.
    pub began: Instant,
    /// When it was over.
    pub ended: Instant,
    /// What is known of it.
    pub facts: &'a [(&'static str, &'a str)],
}
