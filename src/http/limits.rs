//! What a single query may ask for, measured before the engine sees it. Pure.
//!
//! The engine walks every use of a fragment, so a short query can ask for a great deal. Here a fragment is measured
//! once; its uses only add up.

use std::collections::HashMap;

use async_graphql::Name;
use async_graphql::parser::types::{ExecutableDocument, Selection, SelectionSet};

/// What a single query may ask for. The defaults leave room for any query a person would write and for `GraphiQL`'s
/// introspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub text: usize,
    /// How deep brackets of any kind, or selections with the fragments they use, may nest.
    pub nesting: usize,
    /// How deep fields may nest.
    pub depth: usize,
    /// How many fields all operations select together, aliases and every use of a fragment counted.
    pub fields: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self { text: 128 << 10, nesting: 100, depth: 24, fields: 10_000 }
    }
}

/// A limit that was passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(super) enum TooMuch {
    #[error("the query is {0} bytes long; the limit is {1}")]
    Text(usize, usize),
    #[error("the query nests more than {0} levels, fragments counted; the limit is {0}")]
    Nesting(usize),
    #[error("the query nests fields {0} deep; the limit is {1}")]
    Depth(usize, usize),
    #[error("the query selects {0} fields, every use of a fragment counted; the limit is {1}")]
    Fields(usize, usize),
}

impl Limits {
    /// Judges the text before it is parsed, for the parser recurses once a bracket.
    pub(super) fn check_text(&self, text: &str) -> Result<(), TooMuch> {
        if text.len() > self.text {
            return Err(TooMuch::Text(text.len(), self.text));
        }
        if deepest_bracket(text) > self.nesting { Err(TooMuch::Nesting(self.nesting)) } else { Ok(()) }
    }

    /// Judges what the parsed query asks for. A fragment that uses itself counts once; naming it is for validation.
    pub(super) fn check(&self, document: &ExecutableDocument) -> Result<(), TooMuch> {
        let mut measure = Measure { document, limits: self, known: HashMap::new() };
        let mut fields = 0_usize;
        for (_, operation) in document.operations.iter() {
            let extent = measure.selection(&operation.node.selection_set.node, 1)?;
            fields = fields.saturating_add(extent.fields);
            self.compare(Extent { fields, ..extent })?;
        }
        // Validation walks the fragments that nobody uses as well.
        for name in document.fragments.keys() {
            let extent = measure.fragment(name, 1)?;
            self.compare(extent)?;
        }
        Ok(())
    }

    fn compare(&self, extent: Extent) -> Result<(), TooMuch> {
        if extent.depth > self.depth {
            return Err(TooMuch::Depth(extent.depth, self.depth));
        }
        if extent.fields > self.fields {
            return Err(TooMuch::Fields(extent.fields, self.fields));
        }
        Ok(())
    }
}

#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    /// Fields within fields.
    depth: usize,
    /// Selections within selections, whatever joins them.
    levels: usize,
    fields: usize,
}

struct Measure<'a> {
    document: &'a ExecutableDocument,
    limits: &'a Limits,
    /// Fragments measured so far; one that is being measured counts as nothing.
    known: HashMap<&'a Name, Extent>,
}

impl<'a> Measure<'a> {
    /// `level` is how deep `set` lies; it bounds the recursion.
    fn selection(&mut self, set: &'a SelectionSet, level: usize) -> Result<Extent, TooMuch> {
        let mut sum = Extent::default();
        if !set.items.is_empty() {
            sum.levels = 1;
            self.bound(level)?;
        }
        for item in &set.items {
            let part = match &item.node {
                Selection::Field(field) => {
                    let inner = self.selection(&field.node.selection_set.node, level + 1)?;
                    Extent { depth: inner.depth + 1, fields: inner.fields.saturating_add(1), ..inner }
                }
                Selection::InlineFragment(inline) => self.selection(&inline.node.selection_set.node, level + 1)?,
                Selection::FragmentSpread(spread) => self.fragment(&spread.node.fragment_name.node, level + 1)?,
            };
            sum = Extent {
                depth: sum.depth.max(part.depth),
                levels: sum.levels.max(part.levels + 1),
                fields: sum.fields.saturating_add(part.fields),
            };
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'a Name, level: usize) -> Result<Extent, TooMuch> {
        if let Some(known) = self.known.get(name).copied() {
            self.bound(level + known.levels.saturating_sub(1))?;
            return Ok(known);
        }
        // An unknown fragment is for validation to name.
        let Some(fragment) = self.document.fragments.get(name) else { return Ok(Extent::default()) };
        self.known.insert(name, Extent::default());
        let extent = self.selection(&fragment.node.selection_set.node, level)?;
        self.known.insert(name, extent);
        Ok(extent)
    }

    fn bound(&self, level: usize) -> Result<(), TooMuch> {
        if level > self.limits.nesting { Err(TooMuch::Nesting(self.limits.nesting)) } else { Ok(()) }
    }
}

/// The depth of open brackets, those inside strings and comments left out.
fn deepest_bracket(text: &str) -> usize {
    let (mut depth, mut deepest) = (0_usize, 0);
    let mut rest = text.as_bytes();
    while let [first, tail @ ..] = rest {
        rest = match first {
            b'#' => after(tail, |tail| tail.starts_with(b"\n") || tail.starts_with(b"\r")),
            b'"' if tail.starts_with(b"\"\"") => after_string(&tail[2..], b"\"\"\""),
            b'"' => after_string(tail, b"\""),
            b'{' | b'[' | b'(' => {
                depth += 1;
                deepest = deepest.max(depth);
                tail
            }
            b'}' | b']' | b')' => {
                depth = depth.saturating_sub(1);
                tail
            }
            _ => tail,
        };
    }
    deepest
}

fn after(mut text: &[u8], is_end: impl Fn(&[u8]) -> bool) -> &[u8] {
    while !text.is_empty() && !is_end(text) {
        text = &text[1..];
    }
    text
}

/// What follows the closing quotes; a backslash takes the next character with it.
fn after_string<'a>(mut text: &'a [u8], quotes: &[u8]) -> &'a [u8] {
    while let [first, tail @ ..] = text {
        if let Some(rest) = text.strip_prefix(quotes) {
            return rest;
        }
        text = if *first == b'\\' { tail.get(1..).unwrap_or_default() } else { tail };
    }
    text
}

#[cfg(test)]
mod tests {
    use async_graphql::parser::parse_query;

    use super::*;

    const SMALL: Limits = Limits { text: 10_000, nesting: 20, depth: 3, fields: 10 };

    fn check(text: &str) -> Result<(), TooMuch> {
        SMALL.check_text(text)?;
        SMALL.check(&parse_query(text).unwrap())
    }

    #[test]
    fn each_limit_is_named_with_what_was_asked() {
        let chain = (0..40).map(|i| format!("fragment F{i} on Q {{ ...F{} }} ", i + 1)).collect::<Vec<_>>().concat();
        for (text, verdict) in [
            ("{ a { b { c } } }".to_owned(), Ok(())),
            ("{ a { b { c { d } } } }".to_owned(), Err(TooMuch::Depth(4, 3))),
            (format!("{{ {} }}", "a ".repeat(10)), Ok(())),
            (format!("{{ {} }}", "a ".repeat(11)), Err(TooMuch::Fields(11, 10))),
            ("query A { a b c d e f } query B { a b c d e f }".to_owned(), Err(TooMuch::Fields(12, 10))),
            (
                "{ ...F } fragment F on Q { a { ...G } } fragment G on Q { b { c { d } } }".to_owned(),
                Err(TooMuch::Depth(4, 3)),
            ),
            ("{ a } fragment F on Q { ... on Q { b { c { d { e } } } } }".to_owned(), Err(TooMuch::Depth(4, 3))),
            (format!("{{ ...F0 }} {chain} fragment F40 on Q {{ a }}"), Err(TooMuch::Nesting(20))),
            (format!("{{ ...F30 ...F15 ...F0 }} {chain} fragment F40 on Q {{ a }}"), Err(TooMuch::Nesting(20))),
            (format!("{{ a(x: {}{}) }}", "[".repeat(19), "]".repeat(19)), Err(TooMuch::Nesting(20))),
            (" ".repeat(10_001), Err(TooMuch::Text(10_001, 10_000))),
        ] {
            assert_eq!(check(&text), verdict, "{text}");
        }
    }

    #[test]
    fn uses_of_fragments_multiply_without_being_walked() {
        let doubling =
            (0..19).map(|i| format!("fragment F{i} on Q {{ ...F{0} ...F{0} }} ", i + 1)).collect::<Vec<_>>().concat();
        let text = format!("{{ ...F0 }} {doubling} fragment F19 on Q {{ a }}");
        let limits = Limits { nesting: 100, ..SMALL };
        assert_eq!(limits.check(&parse_query(text).unwrap()), Err(TooMuch::Fields(1 << 19, 10)));
    }

    #[test]
    fn fragments_in_a_circle_come_to_an_end() {
        assert_eq!(check("{ ...F } fragment F on Q { a ...G } fragment G on Q { b ...F }"), Ok(()));
    }

    #[test]
    fn brackets_in_strings_and_comments_do_not_nest() {
        for (text, depth) in [
            ("{ a }", 1),
            ("{ a(x: [1, {b: 2}]) } { c }", 4),
            (r#"{ a(x: "{[(\"{[(") }"#, 2),
            (r#"{ a(x: """ " {[( \""" {{{{ """) }"#, 2),
            ("{ a # {{{{\n }", 1),
            (r#"{ a(x: "never closed {{{"#, 2),
            (r#"{ a(x: "\"#, 2),
            ("}}}{", 1),
        ] {
            assert_eq!(deepest_bracket(text), depth, "{text}");
        }
    }
}
