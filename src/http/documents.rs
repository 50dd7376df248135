//! Documents parsed once, plain ones fast: the engine's parser would take half of the time of a small new query.

use std::sync::Arc;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::{DocumentOperations, ExecutableDocument, OperationDefinition};
use async_graphql::{ServerError, Value, Variables};
use moka::sync::Cache;

use super::answer::Refusal;
use super::door::Door;
use super::limits::Limits;
use super::parser::parse_plain;
use crate::error::Code;
use crate::schema::Document;

/// No parsed query takes more memory than this for a byte of its text: the shortest field, two bytes with its
/// separator, takes about 210, and the list that holds it may be half empty.
const BYTES_PER_TEXT_BYTE: usize = 256;

/// A parsed document, and the text that it shares with all that differ only in what the grammar ignores.
#[derive(Debug)]
pub(super) struct Known {
    pub(super) document: Document,
    pub(super) canonical: Arc<str>,
}

/// Parses documents, measures them and keeps them by their whole text.
#[derive(Debug)]
pub(super) struct Documents {
    parsed: Cache<Arc<str>, Arc<Known>>,
    door: Door,
    limits: Limits,
}

impl Documents {
    /// Keeps parsed queries in at most `max_bytes`.
    pub(super) fn new(limits: Limits, max_bytes: u64) -> Self {
        let parsed = Cache::builder()
            .max_capacity(max_bytes)
            .weigher(|text: &Arc<str>, _: &Arc<Known>| {
                u32::try_from(text.len().saturating_mul(BYTES_PER_TEXT_BYTE)).unwrap_or(u32::MAX)
            })
            .build();
        Self { parsed, door: Door::new(), limits }
    }

    /// The parsed query, kept if it comes more than once; what cannot be parsed or asks for too much is refused.
    pub(super) fn parse(&self, text: &str) -> Result<Arc<Known>, Refusal> {
        if let Some(known) = self.parsed.get(text) {
            return Ok(known);
        }
        let too_much = |verdict: super::limits::TooMuch| {
            Refusal::of_query(Code::TooExpensive, ServerError::new(verdict.to_string(), None))
        };
        self.limits.check_text(text).map_err(too_much)?;
        let document = match parse_plain(text) {
            Some(document) => document,
            None => parse_query(text).map_err(|error| Refusal::of_query(Code::BadUserInput, error))?,
        };
        self.limits.check(&document).map_err(too_much)?;
        let known = Arc::new(Known { document: Document::new(document), canonical: without_ignored(text).into() });
        if self.door.lets_in(text) {
            self.parsed.insert(Arc::from(text), Arc::clone(&known));
        }
        Ok(known)
    }
}

/// A document without what the grammar ignores (blanks, line ends, commas, comments): where they part two words, one
/// blank is left. It reads as the document does, so that equal results mean equal documents. Byte order marks, ignored as
/// well, are left where they are.
fn without_ignored(text: &str) -> String {
    let mut short = String::with_capacity(text.len());
    let mut rest = text;
    while !rest.is_empty() {
        let token = match rest.as_bytes().first() {
            Some(b'"') => string_length(rest),
            _ => length(rest, |next| !is_blank(next) && !b"#\"".contains(&next)),
        };
        let (token, after) = rest.split_at(token);
        short.push_str(token);
        rest = &after[length(after, is_blank)..];
        while rest.starts_with('#') {
            rest = &rest[length(rest, |next| !b"\r\n".contains(&next))..];
            rest = &rest[length(rest, is_blank)..];
        }
        let parts = |side: Option<u8>| side.is_some_and(|side| !b"!$&()[]{}:=@|".contains(&side));
        let is_apart = rest.len() < after.len();
        if is_apart && parts(short.as_bytes().last().copied()) && parts(rest.as_bytes().first().copied()) {
            short.push(' ');
        }
    }
    short
}

/// How many bytes belong together at the beginning of `text`.
fn length(text: &str, belongs: impl Fn(u8) -> bool) -> usize {
    text.bytes().position(|next| !belongs(next)).unwrap_or(text.len())
}

fn is_blank(next: u8) -> bool {
    matches!(next, b' ' | b'\t' | b'\r' | b'\n' | b',')
}

/// The length of the string or block string that `text` begins with.
fn string_length(text: &str) -> usize {
    let (quote, escapes): (&str, &[&str]) =
        if text.starts_with("\"\"\"") { ("\"\"\"", &["\\\"\"\""]) } else { ("\"", &["\\\\", "\\\""]) };
    let mut at = quote.len();
    while at < text.len() {
        at += length(&text[at..], |next| !matches!(next, b'"' | b'\\'));
        let rest = &text[at..];
        if rest.starts_with(quote) {
            return at + quote.len();
        }
        at += escapes.iter().find(|escape| rest.starts_with(**escape)).map_or(1, |escape| escape.len());
    }
    text.len()
}

/// The operation that a request means, and its name if it has one.
pub(super) fn operation<'a>(
    document: &'a ExecutableDocument,
    name: Option<&str>,
) -> Result<(Option<&'a str>, &'a OperationDefinition), Refusal> {
    let found = match (&document.operations, name) {
        (DocumentOperations::Single(operation), None) => Some((None, operation)),
        (DocumentOperations::Single(_), Some(_)) => None,
        (DocumentOperations::Multiple(operations), Some(name)) => {
            operations.get_key_value(name).map(|(name, operation)| (Some(name.as_str()), operation))
        }
        (DocumentOperations::Multiple(operations), None) if operations.len() == 1 => {
            operations.iter().next().map(|(name, operation)| (Some(name.as_str()), operation))
        }
        (DocumentOperations::Multiple(_), None) => {
            return Err(bad_query("the query has several operations; say which one in operationName"));
        }
    };
    match found {
        Some((name, operation)) => Ok((name, &operation.node)),
        None => Err(bad_query(format!("the query has no operation named {:?}", name.unwrap_or_default()))),
    }
}

/// Refuses a missing value for a variable that needs one. The engine would find out in the middle of executing, and
/// only if the variable is used; values that are there are checked before.
pub(super) fn check_variables(operation: &OperationDefinition, variables: &Variables) -> Result<(), Refusal> {
    for definition in &operation.variable_definitions {
        let (name, kind) = (&definition.node.name.node, &definition.node.var_type.node);
        let missing = match variables.get(name) {
            None => definition.node.default_value.is_none(),
            Some(value) => *value == Value::Null,
        };
        if missing && !kind.nullable {
            let error = ServerError::new(format!("the variable ${name} needs a value of type {kind}"), None);
            return Err(Refusal::of_query(
                Code::BadUserInput,
                ServerError { locations: vec![definition.pos], ..error },
            ));
        }
    }
    Ok(())
}

fn bad_query(message: impl Into<String>) -> Refusal {
    Refusal::of_query(Code::BadUserInput, ServerError::new(message, None))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_query_is_parsed_once_and_a_refused_one_is_not_kept() {
        let documents = Documents::new(Limits { fields: 2, ..Limits::default() }, 1 << 20);
        let once = documents.parse("{ a b }").unwrap();
        let first = documents.parse("{ a b }").unwrap();
        assert!(!Arc::ptr_eq(&once, &first), "kept from the second time on");
        assert!(Arc::ptr_eq(&first, &documents.parse("{ a b }").unwrap()));
        assert!(!Arc::ptr_eq(&first, &documents.parse("{ b a }").unwrap()));
        assert!(documents.parse("{ a b c }").is_err());
        assert!(documents.parse("{").is_err());
        documents.parsed.run_pending_tasks();
        assert_eq!(documents.parsed.entry_count(), 1);
    }

    #[test]
    fn what_the_grammar_ignores_makes_no_other_document() {
        for (text, short) in [
            ("  { a  ,b }\n", "{a b}"),
            ("query Q ( $x : Int! ) { a ( x : $x ) # why\n b }", "query Q($x:Int!){a(x:$x)b}"),
            ("{ a(s: \"x  # , y\" , t: \"\") ...F }", "{a(s:\"x  # , y\" t:\"\")...F}"),
            ("{ a(s: \"\\\"  \\\\\"  t: 1) }", "{a(s:\"\\\"  \\\\\" t:1)}"),
            ("{ a(s: \"\"\" x \\\"\"\"  y\n\"\"\"  t:  \"z\") }", "{a(s:\"\"\" x \\\"\"\"  y\n\"\"\" t:\"z\")}"),
            ("{ a(l: [\"\" \"x\", 1 -2 2.5e3]) }", "{a(l:[\"\" \"x\" 1 -2 2.5e3])}"),
            ("\u{feff}{ a , 名\u{feff} , b }", "\u{feff}{a 名\u{feff} b}"),
        ] {
            assert_eq!(without_ignored(text), short);
            assert_eq!(without_ignored(short), short);
        }
    }

    #[test]
    fn the_cache_is_bounded_by_bytes() {
        let documents = Documents::new(Limits::default(), 64 << 10);
        for i in 0..1_000 {
            for _ in 0..2 {
                documents.parse(&format!("{{ a{i} }}")).unwrap();
            }
        }
        documents.parsed.run_pending_tasks();
        assert!((1..=64 << 10).contains(&documents.parsed.weighted_size()), "{}", documents.parsed.weighted_size());
    }

    #[test]
    fn the_shortest_fields_stay_under_the_assumed_weight() {
        use async_graphql::Positioned;
        use async_graphql::parser::types::Selection;
        // The name of a field lies behind a pointer with two counters.
        let field = 2 * size_of::<Positioned<Selection>>() + 2 * size_of::<usize>() + 8;
        assert!(field <= 2 * BYTES_PER_TEXT_BYTE, "{field}");
    }
}
