//! Whether an answer can still change, where it came from, and how long it may be kept.

use std::sync::Arc;

use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::Timestamp;

/// Whether the vendor may still change a number. Decided once, when it is fetched.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Finality {
    /// The request was sent at or after the end plus the settle time.
    Final,
    /// All else.
    Provisional,
}

impl Finality {
    /// The spelling of GraphQL's enum, of rows and of tables.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Final => "FINAL",
            Self::Provisional => "PROVISIONAL",
        }
    }

    /// The one that is spelled so.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        [Self::Final, Self::Provisional].into_iter().find(|finality| finality.as_str() == name)
    }
}

/// Where an answer came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Source {
    /// A vendor call that this ask started or joined.
    Upstream,
    /// Memory.
    Cache,
    /// The archive.
    Archive,
    /// Memory, past its time to live.
    Stale,
}

/// How long a freshly fetched slice may be used.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub enum Keep {
    /// The vendor will not change it any more: for ever.
    Settled,
    /// It may still change: for the provisional time to live.
    Provisional,
    /// It is empty, and nothing proves that the subject ever shows rows: for an hour.
    Unproven,
}

/// One slice as memory holds it.
#[derive(Debug)]
pub struct Held<D> {
    /// What the vendor answered for the slice.
    pub data: Arc<D>,
    /// When the request was sent.
    pub sent_at: Timestamp,
    /// Until when it is served without a new call; `None` for ever.
    pub fresh_until: Option<Instant>,
    /// Until when it may be served as stale; `None` for ever.
    pub stale_until: Option<Instant>,
    /// Whether the slice holds no rows.
    pub is_empty: bool,
    /// What it weighs in memory.
    pub bytes: u32,
}

impl<D> Held<D> {
    /// Whether it may be served at `now` without a call.
    #[must_use]
    pub fn is_fresh(&self, now: Instant) -> bool {
        self.fresh_until.is_none_or(|until| now < until)
    }

    /// The same slice with other data.
    #[must_use]
    pub fn with<E>(&self, data: E) -> Held<E> {
        let Self { data: _, sent_at, fresh_until, stale_until, is_empty, bytes } = *self;
        Held { data: Arc::new(data), sent_at, fresh_until, stale_until, is_empty, bytes }
    }

    /// Whether it will never be fetched again.
    #[must_use]
    pub fn is_settled(&self) -> bool {
        self.fresh_until.is_none()
    }
}
