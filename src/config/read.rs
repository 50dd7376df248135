//! From the tree to typed settings, going on after each fault so that one run finds them all.
//!
//! serde stops at the first fault. So the fault's key is noted, left out, and the reading starts again; a file is small.
//! The messages are ours because serde's repeat the value, which may be a secret.

use std::collections::BTreeSet;
use std::fmt::{self, Display};

use serde::de::value::StrDeserializer;
use serde::de::{self, DeserializeOwned, DeserializeSeed, Expected, IntoDeserializer, MapAccess, SeqAccess, Visitor};

use super::document::{Document, Entry, Node, Value};
use super::problem::{KeyPath, Problems, Segment, suggest};

/// Reads the whole document; faults go to `problems`. What could not be read has its default or is left out: the
/// second value names it.
pub(super) fn read<T: DeserializeOwned + Default>(
    document: &Document<'_>,
    problems: &mut Problems<'_>,
) -> (T, BTreeSet<KeyPath>) {
    let mut left_out = document.broken.clone();
    loop {
        let here = KeyPath::default();
        let fault = match T::deserialize(Reader { node: &document.root, path: &here, left_out: &left_out }) {
            Ok(value) => return (value, left_out),
            Err(fault) => fault,
        };
        let path = fault.path.unwrap_or_default();
        let span = document.span(&path);
        let news = left_out.insert(path.clone());
        match fault.kind {
            Kind::Unknown(known) => problems.add(span, unknown(&path, known)),
            Kind::Missing(key) if left_out.contains(&path.then(key)) => {}
            Kind::Missing(key) => problems.add(span, format!("`{}` is missing; this entry needs it", path.then(key))),
            Kind::Wrong(message) => problems.add(span, format!("`{path}`: {message}")),
        }
        if !news {
            return (T::default(), left_out);
        }
    }
}

fn unknown(path: &KeyPath, known: &[&str]) -> String {
    let word = match path.segments().last() {
        Some(Segment::Key(word)) => word.as_str(),
        _ => "",
    };
    format!("unknown key `{path}`{}", suggest(word, known))
}

/// Why a value cannot be read, and where.
#[derive(Debug)]
struct Fault {
    path: Option<KeyPath>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Unknown(&'static [&'static str]),
    Missing(&'static str),
    Wrong(String),
}

impl Fault {
    fn wrong(message: String) -> Self {
        Self { path: None, kind: Kind::Wrong(message) }
    }

    /// The innermost place wins.
    fn at(mut self, path: &KeyPath) -> Self {
        self.path.get_or_insert_with(|| path.clone());
        self
    }
}

impl Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match &self.kind {
            Kind::Unknown(_) => "unknown key",
            Kind::Missing(_) => "missing key",
            Kind::Wrong(message) => message,
        })
    }
}

impl std::error::Error for Fault {}

impl de::Error for Fault {
    fn custom<T: Display>(message: T) -> Self {
        Self::wrong(message.to_string())
    }

    fn invalid_type(found: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("expected {}, found {}", plain(expected), kind_of(&found)))
    }

    fn invalid_value(_found: de::Unexpected<'_>, expected: &dyn Expected) -> Self {
        Self::wrong(format!("the value does not fit; expected {}", plain(expected)))
    }

    fn unknown_variant(variant: &str, expected: &'static [&'static str]) -> Self {
        Self::wrong(format!("there is no such choice{}", suggest(variant, expected)))
    }

    fn unknown_field(_field: &str, expected: &'static [&'static str]) -> Self {
        Self { path: None, kind: Kind::Unknown(expected) }
    }

    fn missing_field(field: &'static str) -> Self {
        Self { path: None, kind: Kind::Missing(field) }
    }
}

/// What is expected, in the words of the file instead of Rust's.
fn plain(expected: &dyn Expected) -> String {
    match expected.to_string().as_str() {
        "u16" | "u32" | "u64" | "usize" => "a whole number of 0 or more".to_owned(),
        "a string" | "path string" => "text in quotes".to_owned(),
        "a sequence" => "a list in [brackets]".to_owned(),
        other if other.starts_with("struct ") => "a section of keys".to_owned(),
        other => other.to_owned(),
    }
}

/// What was found, without its value.
fn kind_of(found: &de::Unexpected<'_>) -> &'static str {
    match found {
        de::Unexpected::Bool(_) => "true or false",
        de::Unexpected::Signed(_) | de::Unexpected::Unsigned(_) => "a whole number",
        de::Unexpected::Float(_) => "a number with a point",
        de::Unexpected::Str(_) => "text",
        de::Unexpected::Seq => "a list",
        de::Unexpected::Map => "a section of keys",
        _ => "something else",
    }
}

/// Reads one node.
#[derive(Clone, Copy)]
struct Reader<'a> {
    node: &'a Node,
    path: &'a KeyPath,
    left_out: &'a BTreeSet<KeyPath>,
}

impl Reader<'_> {
    fn any<'de, V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        match &self.node.value {
            Value::Text { text, .. } => visitor.visit_str(text),
            Value::Integer(number) => visitor.visit_i64(*number),
            Value::Float(number) => visitor.visit_f64(*number),
            Value::Boolean(truth) => visitor.visit_bool(*truth),
            Value::Date => Err(Fault::wrong("expected something else than a date; put it in quotes".to_owned())),
            Value::List(items) => visitor.visit_seq(Items { reader: self, rest: items.iter().enumerate() }),
            Value::Table(entries) => visitor.visit_map(Entries { reader: self, rest: entries.iter(), next: None }),
        }
    }
}

impl<'de> de::Deserializer<'de> for Reader<'_> {
    type Error = Fault;

    fn deserialize_any<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        let path = self.path;
        self.any(visitor).map_err(|fault| fault.at(path))
    }

    fn deserialize_u64<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        // What came from the environment is text; `quota = "${N}"` means the number.
        if let Value::Text { text, substituted: true } = &self.node.value
            && let Ok(number) = text.trim().parse::<i64>()
        {
            return visitor.visit_i64(number).map_err(|fault: Fault| fault.at(self.path));
        }
        self.deserialize_any(visitor)
    }

    fn deserialize_u32<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        self.deserialize_u64(visitor)
    }

    /// TOML has no null: a key that is there has a value.
    fn deserialize_option<V: Visitor<'de>>(self, visitor: V) -> Result<V::Value, Fault> {
        visitor.visit_some(self)
    }

    fn deserialize_enum<V: Visitor<'de>>(
        self,
        _name: &'static str,
        _variants: &'static [&'static str],
        visitor: V,
    ) -> Result<V::Value, Fault> {
        let Value::Text { text, .. } = &self.node.value else {
            return Err(Fault::wrong("expected text in quotes".to_owned()).at(self.path));
        };
        let text: StrDeserializer<'_, Fault> = text.as_str().into_deserializer();
        visitor.visit_enum(text).map_err(|fault| fault.at(self.path))
    }

    serde::forward_to_deserialize_any! {
        bool i8 i16 i32 i64 i128 u8 u16 u128 f32 f64 char str string bytes byte_buf unit unit_struct
        newtype_struct seq tuple tuple_struct map struct identifier ignored_any
    }
}

struct Items<'a, I> {
    reader: Reader<'a>,
    rest: I,
}

impl<'de, 'a, I: Iterator<Item = (usize, &'a Node)>> SeqAccess<'de> for Items<'a, I> {
    type Error = Fault;

    fn next_element_seed<T: DeserializeSeed<'de>>(&mut self, seed: T) -> Result<Option<T::Value>, Fault> {
        for (index, node) in self.rest.by_ref() {
            let path = self.reader.path.at(index);
            if !self.reader.left_out.contains(&path) {
                return seed.deserialize(Reader { node, path: &path, ..self.reader }).map(Some);
            }
        }
        Ok(None)
    }
}

struct Entries<'a, I> {
    reader: Reader<'a>,
    rest: I,
    next: Option<(&'a Node, KeyPath)>,
}

impl<'de, 'a, I: Iterator<Item = &'a Entry>> MapAccess<'de> for Entries<'a, I> {
    type Error = Fault;

    fn next_key_seed<K: DeserializeSeed<'de>>(&mut self, seed: K) -> Result<Option<K::Value>, Fault> {
        for entry in self.rest.by_ref() {
            let path = self.reader.path.then(&entry.key);
            if self.reader.left_out.contains(&path) {
                continue;
            }
            let key: StrDeserializer<'_, Fault> = entry.key.as_str().into_deserializer();
            let key = seed.deserialize(key).map_err(|fault| fault.at(&path))?;
            self.next = Some((&entry.node, path));
            return Ok(Some(key));
        }
        Ok(None)
    }

    fn next_value_seed<V: DeserializeSeed<'de>>(&mut self, seed: V) -> Result<V::Value, Fault> {
        let Some((node, path)) = self.next.take() else {
            return Err(Fault::wrong("a value was asked for before its key".to_owned()));
        };
        seed.deserialize(Reader { node, path: &path, ..self.reader }).map_err(|fault| fault.at(&path))
    }
}
