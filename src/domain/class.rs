//! How urgent an ask is.

/// How urgent an ask is. Later variants yield to earlier ones.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Default)]
pub enum Class {
    /// Somebody is looking at the screen.
    #[default]
    Interactive,
    /// A report or an export: may wait, never starves.
    Bulk,
    /// A refresh that nobody waits for.
    Background,
}

impl Class {
    /// Every class, the most urgent first.
    pub const ALL: [Self; 3] = [Self::Interactive, Self::Bulk, Self::Background];

    /// The spelling of `priority` and of the config.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Interactive => "INTERACTIVE",
            Self::Bulk => "BULK",
            Self::Background => "BACKGROUND",
        }
    }
}
