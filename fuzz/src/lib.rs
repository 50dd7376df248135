//! Entry points for fuzzing, one for each kind of text that comes from outside. Each reads bytes as weir would, asks what is
//! promised of the outcome and panics where that does not hold. `fuzz/README.md` says how they are run.
//!
//! The files are part of two programs: libfuzzer's, and weir's own tests, which run every seed.

pub mod archives;
pub mod config;
pub mod documents;
pub mod replicas;
pub mod replies;
pub mod requests;
pub mod stage;
pub mod tokens;

/// Reads bytes and says whether they were accepted.
pub type Target = fn(&[u8]) -> bool;

/// All of them, by name.
pub const TARGETS: [(&str, Target); 7] = [
    ("archives", archives::run),
    ("config", config::run),
    ("documents", documents::run),
    ("replicas", replicas::run),
    ("replies", replies::run),
    ("requests", requests::run),
    ("tokens", tokens::run),
];
