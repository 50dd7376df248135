//! What is there for speed alone: a request is answered the same without it, only later.
//!
//! One switch turns all of it off, `[http] fast_path`, which the composition root reads and nobody else:
//! [`FastPath::OFF`]. What each piece gains and takes is told in `docs/decisions/0019-fast-path.md`.

mod answers;
mod documents;
mod kept;
mod raw;

pub(crate) use answers::{Answers, KeptAnswer, Key, Sending};
pub(crate) use documents::Documents;
pub(crate) use raw::{Json, Plan, RawItem, RawValue, Selected};

/// How much is done for speed alone.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FastPath {
    /// Whether long lists are written in one go, without the engine.
    pub raw_lists: bool,
    /// How much memory whole answers may take, in bytes; none are kept with 0.
    pub answer_bytes: u64,
    /// How much memory parsed queries may take, in bytes; none are kept with 0.
    pub document_bytes: u64,
}

impl FastPath {
    /// Every request is read, run by the engine and written anew.
    pub const OFF: Self = Self { raw_lists: false, answer_bytes: 0, document_bytes: 0 };
}
