//! Who answers: weir and its yardsticks.

/// A server that is measured.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Side {
    Weir,
    /// weir with its access log on.
    Logged,
    Bare,
    Plain,
}

impl Side {
    /// Where it answers the case with this id.
    pub(crate) fn path(self, case: &str) -> String {
        if self == Self::Bare { format!("/{case}") } else { "/graphql".to_owned() }
    }
}
