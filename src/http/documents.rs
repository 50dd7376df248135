//! Documents that are asked for more than once are read once.

use std::sync::Arc;

use moka::sync::Cache;

use super::answer::Refusal;
use super::doorkeeper::Doorkeeper;
use crate::document::{Document, Limits};
use crate::schema::Gateway;

/// Reads documents and keeps them by their whole text.
#[derive(Debug)]
pub(super) struct Documents {
    known: Cache<Arc<str>, Arc<Document>>,
    doorkeeper: Doorkeeper,
    limits: Limits,
}

impl Documents {
    /// Keeps documents in at most `max_bytes`.
    pub(super) fn new(limits: Limits, max_bytes: u64) -> Self {
        let known = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|text: &Arc<str>, document: &Arc<Document>| {
                u32::try_from(text.len().saturating_add(document.bytes())).unwrap_or(u32::MAX)
            })
            .build();
        Self { known, doorkeeper: Doorkeeper::new(), limits }
    }

    /// The document, kept if it comes more than once; what is not valid or asks for too much is refused.
    pub(super) fn read(&self, text: &str, gateway: &Gateway) -> Result<Arc<Document>, Refusal> {
        if let Some(known) = self.known.get(text) {
            return Ok(known);
        }
        let document = Arc::new(gateway.read(text, &self.limits).map_err(Refusal::of_query)?);
        if self.doorkeeper.lets_in(text) {
            self.known.insert(Arc::from(text), Arc::clone(&document));
        }
        Ok(document)
    }
}
