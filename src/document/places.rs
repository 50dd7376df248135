//! Where in a text the parts of its tree are.

use std::collections::HashMap;

use apollo_compiler::ast::Value;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::{Name, Node};
use apollo_parser::Token;
use async_graphql::Pos;

use super::lines::Lines;

/// Where in the text the parts of its tree are. apollo's tree has places only if its own parser made it; here they are found
/// by the address of a name or a value, which stays the same while the tree is made into others.
#[derive(Debug)]
pub(super) struct Places<'a> {
    lines: Lines<'a>,
    tokens: Vec<Token<'a>>,
    /// Descriptions, by their place among the tokens.
    descriptions: Vec<usize>,
    of: HashMap<usize, usize>,
}

impl<'a> Places<'a> {
    /// None yet, of a text with these tokens.
    pub(super) fn new(lines: Lines<'a>, tokens: Vec<Token<'a>>) -> Self {
        let of = HashMap::with_capacity(tokens.len() / 2);
        Self { lines, tokens, descriptions: Vec::new(), of }
    }

    /// The token at this place among all of them.
    pub(super) fn token(&self, at: usize) -> Option<&Token<'a>> {
        self.tokens.get(at)
    }

    /// Remembers where the field, the directive or the variable of this name begins.
    pub(super) fn note_name(&mut self, name: &Name, offset: usize) {
        self.of.insert(name.as_ptr().addr(), offset);
    }

    /// Remembers where a value begins.
    pub(super) fn note_value(&mut self, value: &Node<Value>, offset: usize) {
        self.of.insert(address(value), offset);
    }

    /// Remembers that the token at this place is a description.
    pub(super) fn note_description(&mut self, at: usize) {
        self.descriptions.push(at);
    }

    /// Line and column of an offset in the text.
    pub(super) fn at_offset(&self, offset: usize) -> Pos {
        self.lines.at(offset)
    }

    /// Where the field, the directive or the variable begins that has this very name.
    pub(super) fn of_name(&self, name: &Name) -> Pos {
        self.at(name.as_ptr().addr())
    }

    /// Where a value begins.
    pub(super) fn of_value(&self, value: &Node<Value>) -> Pos {
        self.at(address(value))
    }

    fn at(&self, address: usize) -> Pos {
        self.of.get(&address).map_or_else(Pos::default, |offset| self.lines.at(*offset))
    }

    /// Where it is that apollo finds at a span of the text [`for_apollo`](Self::for_apollo).
    pub(super) fn of_span(&self, span: Option<SourceSpan>) -> Pos {
        span.map_or_else(Pos::default, |span| self.lines.at(span.offset()))
    }

    /// The same document for apollo's own parser: every token is where it was, and what this one stumbles over is blank.
    pub(super) fn for_apollo(&self) -> String {
        let mut text = String::new();
        for (_, token) in self.tokens.iter().enumerate().filter(|(at, _)| self.descriptions.binary_search(at).is_err())
        {
            text.extend(std::iter::repeat_n(' ', token.index().saturating_sub(text.len())));
            text.push_str(token.data());
        }
        text
    }
}

fn address(value: &Node<Value>) -> usize {
    std::ptr::from_ref::<Value>(value).addr()
}
