//! The file as a tree that knows where everything stands.

use std::collections::BTreeSet;
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::problem::{KeyPath, Problems, Segment};
use super::{Environment, env, quotes};

/// A value and its place in the text.
#[derive(Debug)]
pub(super) struct Node {
    pub(super) span: Range<usize>,
    pub(super) value: Value,
}

/// What TOML has, with the environment already put into strings.
#[derive(Debug)]
pub(super) enum Value {
    Text { text: String, substituted: bool },
    Integer(i64),
    Float(f64),
    Boolean(bool),
    Date,
    List(Vec<Node>),
    Table(Vec<Entry>),
}

/// A key and its value.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) key: String,
    pub(super) span: Range<usize>,
    pub(super) node: Node,
}

/// One file.
pub(super) struct Document<'a> {
    text: &'a str,
    pub(super) root: Node,
    /// Values that could not be made, for reasons that are reported already.
    pub(super) broken: BTreeSet<KeyPath>,
}

impl<'a> Document<'a> {
    /// Reads `text`. `None` if it is not TOML; that and each variable that is not set is reported.
    pub(super) fn parse(text: &'a str, env: &Environment<'_>, problems: &mut Problems<'_>) -> Option<Self> {
        let (table, errors) = DeTable::parse_recoverable(text);
        if !errors.is_empty() {
            let mut without_quotes = BTreeSet::new();
            for error in errors {
                let span = error.span().unwrap_or_else(|| deepest(text));
                let message = match quotes::missing(text, span.start) {
                    // The parser may find several faults in one such value.
                    Some((line, _)) if !without_quotes.insert(line) => continue,
                    Some((_, key)) => format!("the value of `{key}` is text and needs quotes around it"),
                    None => one_line(error.message()),
                };
                problems.add(span, format!("this is not TOML: {message}"));
            }
            return None;
        }
        let mut builder = Builder { env, problems, broken: BTreeSet::new() };
        let span = table.span();
        let root = Node { span, value: builder.table(table.into_inner(), &KeyPath::default()) };
        let broken = builder.broken;
        Some(Self { text, root, broken })
    }

    /// Where `path` stands, or else the nearest thing above it.
    pub(super) fn span(&self, path: &KeyPath) -> Range<usize> {
        let (mut node, mut span) = (&self.root, 0..0);
        for segment in path.segments() {
            match (&node.value, segment) {
                (Value::Table(entries), Segment::Key(name)) => {
                    let Some(entry) = entries.iter().find(|entry| entry.key == *name) else { break };
                    (node, span) = (&entry.node, entry.span.clone());
                }
                (Value::List(items), Segment::Index(index)) => {
                    let Some(item) = items.get(*index) else { break };
                    (node, span) = (item, item.span.clone());
                }
                _ => break,
            }
        }
        span
    }

    /// The value at `path` as it is written in the file: variables by their name, never their value.
    pub(super) fn written(&self, path: &KeyPath) -> &str {
        let mut node = &self.root;
        for segment in path.segments() {
            let next = match (&node.value, segment) {
                (Value::Table(entries), Segment::Key(name)) => {
                    entries.iter().find(|entry| entry.key == *name).map(|entry| &entry.node)
                }
                (Value::List(items), Segment::Index(index)) => items.get(*index),
                _ => None,
            };
            let Some(next) = next else { return "the default" };
            node = next;
        }
        self.text.get(node.span.clone()).unwrap_or_default()
    }
}

/// Where most is begun on one line: the parser does not say where something nests too deep for it.
fn deepest(text: &str) -> Range<usize> {
    let starts = std::iter::once(0).chain(text.match_indices('\n').map(|(at, _)| at + 1));
    let begun = |start: &usize| {
        text[*start..].bytes().take_while(|byte| *byte != b'\n').filter(|byte| b".[{".contains(byte)).count()
    };
    let at = starts.max_by_key(begun).unwrap_or_default();
    at..at
}

/// An error of the parser may hold several lines.
fn one_line(message: &str) -> String {
    message.split_whitespace().collect::<Vec<_>>().join(" ")
}

struct Builder<'e, 'p, 't> {
    env: &'e Environment<'e>,
    problems: &'p mut Problems<'t>,
    broken: BTreeSet<KeyPath>,
}

impl Builder<'_, '_, '_> {
    fn table(&mut self, table: DeTable<'_>, path: &KeyPath) -> Value {
        let mut entries: Vec<Entry> = table
            .into_iter()
            .map(|(key, value)| {
                let span = key.span();
                let key = key.into_inner().into_owned();
                let node = self.node(value, &path.then(&key), span.start);
                Entry { key, span, node }
            })
            .collect();
        entries.sort_by_key(|entry| entry.span.start);
        Value::Table(entries)
    }

    fn node(&mut self, value: Spanned<DeValue<'_>>, path: &KeyPath, key_start: usize) -> Node {
        let span = value.span();
        let value = match value.into_inner() {
            DeValue::String(text) => self.text(&text, path, key_start),
            DeValue::Integer(number) => match i64::from_str_radix(number.as_str(), number.radix()) {
                Ok(number) => Value::Integer(number),
                Err(_too_large) => {
                    self.refuse(path, key_start, "the number is too large");
                    Value::Integer(0)
                }
            },
            DeValue::Float(number) => Value::Float(number.as_str().parse().unwrap_or(f64::NAN)),
            DeValue::Boolean(truth) => Value::Boolean(truth),
            DeValue::Datetime(_) => Value::Date,
            DeValue::Array(items) => {
                let nodes = items.into_iter().enumerate().map(|(index, item)| {
                    let start = item.span().start;
                    self.node(item, &path.at(index), start)
                });
                Value::List(nodes.collect())
            }
            DeValue::Table(table) => self.table(table, path),
        };
        Node { span, value }
    }

    fn text(&mut self, text: &str, path: &KeyPath, key_start: usize) -> Value {
        match env::expand(text, self.env) {
            Ok(expanded) => Value::Text { text: expanded.text, substituted: expanded.substituted },
            Err(refusal) => {
                self.refuse(path, key_start, &refusal);
                Value::Text { text: String::new(), substituted: true }
            }
        }
    }

    fn refuse(&mut self, path: &KeyPath, start: usize, message: &str) {
        self.problems.add(start..start, format!("`{path}`: {message}"));
        self.broken.insert(path.clone());
    }
}
