//! What is wrong with a file, one line each: where, which key, what, and how to mend it.

use std::fmt;
use std::ops::Range;

use crate::domain::wording::hint;

/// Why a config is refused: one line for each problem. Holds no secret and no value of the environment.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{}", .lines.join("\n"))]
pub struct ConfigError {
    lines: Vec<String>,
}

impl ConfigError {
    /// The problems in the order of the file, each on one line that begins with the file's name.
    #[must_use]
    pub fn lines(&self) -> &[String] {
        &self.lines
    }

    /// A problem of the file as a whole.
    pub(super) fn of_file(origin: &str, message: &str) -> Self {
        Self { lines: vec![format!("{origin}: {message}")] }
    }

    /// A file that cannot be read.
    pub(super) fn unreadable(origin: &str, error: &std::io::Error) -> Self {
        let message = match error.kind() {
            std::io::ErrorKind::NotFound => {
                "no such file; name yours with --config, or begin with a copy of weir.example.toml".to_owned()
            }
            std::io::ErrorKind::InvalidData => "the file is not UTF-8 text".to_owned(),
            _ => format!("the file cannot be read: {error}"),
        };
        Self::of_file(origin, &message)
    }
}

/// Gathers the problems of one file.
#[derive(Debug)]
pub(super) struct Problems<'a> {
    origin: &'a str,
    text: &'a str,
    found: Vec<(usize, String)>,
}

impl<'a> Problems<'a> {
    pub(super) fn new(origin: &'a str, text: &'a str) -> Self {
        Self { origin, text, found: Vec::new() }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.found.is_empty()
    }

    pub(super) fn add(&mut self, span: Range<usize>, message: impl Into<String>) {
        let before = self.text.get(..span.start).unwrap_or(self.text);
        let line = before.bytes().filter(|byte| *byte == b'\n').count() + 1;
        self.found.push((line, message.into()));
    }

    pub(super) fn into_error(mut self) -> ConfigError {
        self.found.sort_by_key(|(line, _)| *line);
        let lines = self.found.into_iter().map(|(line, message)| format!("{}:{line}: {message}", self.origin));
        ConfigError { lines: lines.collect() }
    }
}

/// A key with everything above it, like `alibaba_cams[0].quota`.
#[derive(Debug, Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct KeyPath(Vec<Segment>);

/// One segment of a path into a document.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Segment {
    Key(String),
    Index(usize),
}

impl KeyPath {
    pub(super) fn key(name: &str) -> Self {
        Self::default().then(name)
    }

    pub(super) fn then(&self, name: &str) -> Self {
        self.with(Segment::Key(name.to_owned()))
    }

    pub(super) fn at(&self, index: usize) -> Self {
        self.with(Segment::Index(index))
    }

    pub(super) fn segments(&self) -> &[Segment] {
        &self.0
    }

    fn with(&self, segment: Segment) -> Self {
        let mut segments = self.0.clone();
        segments.push(segment);
        Self(segments)
    }
}

impl fmt::Display for KeyPath {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (nth, segment) in self.0.iter().enumerate() {
            match segment {
                Segment::Key(name) if nth == 0 => f.write_str(name)?,
                Segment::Key(name) => write!(f, ".{name}")?,
                Segment::Index(index) => write!(f, "[{index}]")?,
            }
        }
        Ok(())
    }
}

/// "; did you mean `listen`?" where a known word is near, else all known words.
pub(super) fn suggest(word: &str, known: &[&str]) -> String {
    let near = hint(word, known);
    if near.is_empty() { format!("; known here: {}", known.join(", ")) } else { near }
}
