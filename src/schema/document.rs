//! A parsed document, and what is found out about it once for all requests that send it.

use std::collections::HashSet;

use async_graphql::parser::types::{BaseType, ExecutableDocument, Field, Selection, SelectionSet};
use async_graphql::{Name, Positioned, Variables};

use super::validity;

/// A parsed document.
#[derive(Debug)]
pub struct Document {
    parsed: ExecutableDocument,
    merges_fields: bool,
    is_valid: bool,
}

impl Document {
    /// Looks through the document; it need not be valid.
    #[must_use]
    pub fn new(parsed: ExecutableDocument) -> Self {
        let is_valid = validity::is_valid(&parsed);
        // What is valid for sure has no key twice.
        let merges_fields = !is_valid && merges_fields(&parsed);
        Self { parsed, merges_fields, is_valid }
    }

    /// The document as the parser gives it.
    #[must_use]
    pub fn parsed(&self) -> &ExecutableDocument {
        &self.parsed
    }

    /// Whether the document and the values sent with it are valid for sure; where not, the engine has to say.
    #[must_use]
    pub fn is_valid_with(&self, values: &Variables) -> bool {
        self.is_valid && validity::fit(&self.parsed, values)
    }

    /// Gives the flags that were not sent what the document says of them. The engine does so where they are arguments, but
    /// not in `@skip` and `@include`.
    pub(super) fn fill_in(&self, operation: Option<&str>, values: &mut Variables) {
        if self.is_valid {
            return; // and has no directives
        }
        let mut operations = self.parsed.operations.iter();
        let meant = match operation {
            Some(_) => operations.find(|(name, _)| name.map(Name::as_str) == operation),
            None => operations.next(),
        };
        for Positioned { node, .. } in meant.iter().flat_map(|(_, meant)| &meant.node.variable_definitions) {
            let is_flag = matches!(&node.var_type.node.base, BaseType::Named(name) if name == "Boolean");
            if let Some(default) = node.default_value.as_ref().filter(|_| is_flag) {
                values.entry(node.name.node.clone()).or_insert_with(|| default.node.clone());
            }
        }
    }

    /// Whether it selects something with fields of its own twice under one key, so that the engine has to merge two
    /// answers.
    pub(super) fn merges_fields(&self) -> bool {
        self.merges_fields
    }
}

/// Whether a document selects something with fields of its own twice under one key, so that the engine has to merge
/// two answers. Documents too long or too deep to tell count as such: they may not even be valid yet.
fn merges_fields(document: &ExecutableDocument) -> bool {
    let mut reader = Reader { document, left: MAX_SELECTIONS };
    document.operations.iter().any(|(_, operation)| reader.repeats(&operation.node.selection_set.node, 0))
}

/// The selections that are read, fragments laid open each time they are spread.
const MAX_SELECTIONS: usize = 20_000;
/// How deep selections and fragments may lie in one another; a fragment that spreads itself has no end.
const MAX_DEPTH: usize = 64;

struct Reader<'a> {
    document: &'a ExecutableDocument,
    left: usize,
}

impl<'a> Reader<'a> {
    fn repeats(&mut self, set: &'a SelectionSet, depth: usize) -> bool {
        let mut fields = Vec::new();
        if !self.flatten(set, depth, &mut fields) {
            return true;
        }
        let mut keys = HashSet::new();
        let mut with_fields = fields.into_iter().filter(|field| !field.selection_set.node.items.is_empty());
        with_fields
            .any(|field| !keys.insert(&field.response_key().node) || self.repeats(&field.selection_set.node, depth + 1))
    }

    /// The fields of a selection, fragments laid open; false if there are too many.
    fn flatten(&mut self, set: &'a SelectionSet, depth: usize, fields: &mut Vec<&'a Field>) -> bool {
        depth <= MAX_DEPTH
            && set.items.iter().all(|selection| {
                let Some(left) = self.left.checked_sub(1) else { return false };
                self.left = left;
                match &selection.node {
                    Selection::Field(field) => {
                        fields.push(&field.node);
                        true
                    }
                    Selection::InlineFragment(fragment) => {
                        self.flatten(&fragment.node.selection_set.node, depth + 1, fields)
                    }
                    Selection::FragmentSpread(spread) => self
                        .document
                        .fragments
                        .get(&spread.node.fragment_name.node)
                        .is_none_or(|fragment| self.flatten(&fragment.node.selection_set.node, depth + 1, fields)),
                }
            })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::parser::parse_query;

    #[test]
    fn documents_that_need_merging_are_found() {
        for (query, merges) in [
            ("{ a { b } }", false),
            ("{ a { b b } }", false),
            ("{ a { b } a { c } }", true),
            ("{ x: a { b } y: a { c } }", false),
            ("{ a { b } ...F } fragment F on Q { a { c } }", true),
            ("{ ... { a { b } } ... on Q { a { c } } }", true),
            ("{ a { l { x } } b { l { y } } }", false),
            ("{ a { ...F ...F } } fragment F on A { l { x } }", true),
            ("{ ...F } fragment F on Q { a ...F }", true),
        ] {
            assert_eq!(merges_fields(&parse_query(query).unwrap()), merges, "{query}");
        }
    }
}
