//! What weir refuses because it is too much: each limit by its name.

/// One of them. What it is called is told in errors (`limitName`), in metrics (`limit`) and in `limits.shadow`.
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
    /// Connections.
    Connections,
    /// Those of one peer.
    ConnectionsPerPeer,
    /// Requests that are worked on at once.
    Requests,
    /// Those of one caller.
    RequestsPerCaller,
    /// The bytes that are held of all bodies.
    HeldBodyBytes,
    /// The bytes that are held of all answers.
    HeldAnswerBytes,
    /// The upstream calls of a key on a day.
    CallsPerDay,
    /// The bytes of one body.
    MaxBody,
    /// How long is waited for permits.
    MaxWait,
    /// The calls of one caller that wait for their permits.
    Queue,
    /// How deep selections and values of a document nest, fragments counted.
    Nesting,
    /// The bytes of a name in a document.
    NameBytes,
    /// The bytes of the values that are put in for the variables of a document.
    ValueBytes,
    /// How deep the schema's description is asked for.
    IntrospectionDepth,
    /// The rows of a page.
    PageRows,
    /// The length of a range of message counts.
    Range,
    /// The length of a window of distinct users.
    Window,
    /// The windows of a field.
    Windows,
    /// The totals of a field.
    Totals,
}

/// Why a limit always refuses.
const MEMORY: &str = "it keeps the process from running out of memory";
const STACK: &str = "it keeps the process from running out of stack";
const FIXED: &str = "it is no setting of the config";

impl LimitName {
    /// All of them: those of the config in its order, then those that are fixed.
    pub const ALL: [Self; 30] = [
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
        Self::Connections,
        Self::ConnectionsPerPeer,
        Self::Requests,
        Self::RequestsPerCaller,
        Self::HeldBodyBytes,
        Self::HeldAnswerBytes,
        Self::CallsPerDay,
        Self::MaxBody,
        Self::MaxWait,
        Self::Queue,
        Self::Nesting,
        Self::NameBytes,
        Self::ValueBytes,
        Self::IntrospectionDepth,
        Self::PageRows,
        Self::Range,
        Self::Window,
        Self::Windows,
        Self::Totals,
    ];

    /// Its key in the config, where it has one.
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
            Self::Connections => "connections",
            Self::ConnectionsPerPeer => "connections_per_peer",
            Self::Requests => "requests",
            Self::RequestsPerCaller => "requests_per_caller",
            Self::HeldBodyBytes => "held_body_bytes",
            Self::HeldAnswerBytes => "held_answer_bytes",
            Self::CallsPerDay => "calls_per_day",
            Self::MaxBody => "max_body",
            Self::MaxWait => "max_wait",
            Self::Queue => "queue",
            Self::Nesting => "nesting",
            Self::NameBytes => "name_bytes",
            Self::ValueBytes => "value_bytes",
            Self::IntrospectionDepth => "introspection_depth",
            Self::PageRows => "page_rows",
            Self::Range => "range",
            Self::Window => "window",
            Self::Windows => "windows",
            Self::Totals => "totals",
        }
    }

    /// Why it may not be counted alone, without refusing anybody; `None` if it may.
    #[must_use]
    pub const fn always_holds(self) -> Option<&'static str> {
        match self {
            Self::Depth
            | Self::Fields
            | Self::RootFields
            | Self::Aliases
            | Self::Directives
            | Self::Slices
            | Self::Calls
            | Self::PullCalls
            | Self::ConnectionsPerPeer
            | Self::Requests
            | Self::RequestsPerCaller
            | Self::CallsPerDay => None,
            Self::QueryBytes
            | Self::Tokens
            | Self::AnswerBytes
            | Self::HeldBodyBytes
            | Self::HeldAnswerBytes
            | Self::MaxBody
            | Self::ValueBytes => Some(MEMORY),
            Self::Connections => Some("each takes one of the files that the process may open"),
            Self::Nesting => Some(STACK),
            Self::MaxWait => Some("what it refuses would be given up later, with its permits wasted"),
            Self::Window => Some("the vendor answers no longer one"),
            Self::Queue
            | Self::NameBytes
            | Self::IntrospectionDepth
            | Self::PageRows
            | Self::Range
            | Self::Windows
            | Self::Totals => Some(FIXED),
        }
    }
}

/// Limits that are only counted and logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Shadow(u32);

impl Shadow {
    /// Whether this one is.
    #[must_use]
    pub const fn holds(self, name: LimitName) -> bool {
        self.0 & (1 << name as u32) != 0
    }
}

impl FromIterator<LimitName> for Shadow {
    fn from_iter<I: IntoIterator<Item = LimitName>>(names: I) -> Self {
        Self(names.into_iter().fold(0, |all, name| all | 1 << name as u32))
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
        assert!(LimitName::ALL.len() <= 32, "each has its bit");
    }
}
