//! Documents that are asked for more than once are read once.

use std::sync::Arc;

use super::kept::Kept;
use crate::document::Document;
use crate::telemetry::meters::CacheReading;

/// Documents by their whole text.
pub(crate) struct Documents(Kept<Arc<str>, Arc<Document>>);

impl Documents {
    /// Keeps documents in at most `max_bytes`.
    pub(crate) fn new(max_bytes: u64) -> Self {
        Self(Kept::new(max_bytes, |text, document| text.len().saturating_add(document.bytes())))
    }

    /// Forgets all of them.
    pub(crate) fn clear(&self) {
        self.0.clear();
    }

    /// How they stand.
    pub(crate) fn reading(&self) -> CacheReading {
        self.0.reading()
    }

    /// The document of this text, `read` only where it is not kept.
    pub(crate) fn get<E>(
        &self,
        text: &str,
        read: impl FnOnce(&str) -> Result<Document, E>,
    ) -> Result<Arc<Document>, E> {
        if let Some(known) = self.0.get(text) {
            return Ok(known);
        }
        let document = Arc::new(read(text)?);
        self.0.put(text, || (Arc::from(text), Arc::clone(&document)));
        Ok(document)
    }
}
