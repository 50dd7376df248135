//! The advisory locks of a database by which processes of weir keep out of each other's way.

/// Held while the schema is brought up to date.
pub(super) const MIGRATE: i64 = 0x7765_6972_0000_0001;
/// Held while a batch is written: what is read of it beforehand stays as it is.
pub(super) const WRITE: i64 = 0x7765_6972_0000_0002;
/// Held by the one process that collects.
pub(super) const LEAD: i64 = 0x7765_6972_0000_0003;
