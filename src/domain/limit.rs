//! The limits that an operator sets, by their keys in `[limits]`.

/// One of them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum LimitName {
    /// The bytes of a document.
    QueryBytes,
    /// Its tokens.
    Tokens,
    /// How deep its fields nest.
    Depth,
    /// The fields that it selects.
    Fields,
    /// Those of its operations themselves.
    RootFields,
    /// Its aliases.
    Aliases,
    /// Its directives.
    Directives,
    /// The slices that a request asks for.
    Slices,
    /// The upstream calls of a request.
    Calls,
    /// The upstream calls of a pull of rows.
    PullCalls,
    /// The bytes of an answer.
    AnswerBytes,
}

impl LimitName {
    /// All of them, in the order of the config.
    pub const ALL: [Self; 11] = [
        Self::QueryBytes,
        Self::Tokens,
        Self::Depth,
        Self::Fields,
        Self::RootFields,
        Self::Aliases,
        Self::Directives,
        Self::Slices,
        Self::Calls,
        Self::PullCalls,
        Self::AnswerBytes,
    ];

    /// Its key.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::QueryBytes => "query_bytes",
            Self::Tokens => "tokens",
            Self::Depth => "depth",
            Self::Fields => "fields",
            Self::RootFields => "root_fields",
            Self::Aliases => "aliases",
            Self::Directives => "directives",
            Self::Slices => "slices",
            Self::Calls => "calls",
            Self::PullCalls => "pull_calls",
            Self::AnswerBytes => "answer_bytes",
        }
    }

    /// Whether it may be counted alone, without refusing anybody: not where it keeps the process from running out of memory or
    /// out of stack.
    #[must_use]
    pub const fn may_be_shadowed(self) -> bool {
        !matches!(self, Self::QueryBytes | Self::Tokens | Self::AnswerBytes)
    }
}

/// Limits that are only counted and logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shadow(u16);

impl Shadow {
    /// Whether this one is.
    #[must_use]
    pub const fn holds(self, name: LimitName) -> bool {
        self.0 & (1 << name as u16) != 0
    }
}

impl FromIterator<LimitName> for Shadow {
    fn from_iter<I: IntoIterator<Item = LimitName>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |all, name| all | 1 << name as u16))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_is_shadowed_alone() {
        let shadow: Shadow = [LimitName::Depth, LimitName::AnswerBytes].into_iter().collect();
        let held: Vec<_> = LimitName::ALL.into_iter().filter(|name| shadow.holds(*name)).collect();
        assert_eq!(held, [LimitName::Depth, LimitName::AnswerBytes]);
        assert_eq!(LimitName::ALL.map(|name| name as usize), std::array::from_fn(|nth| nth));
    }
}
