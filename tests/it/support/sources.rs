//! The program's own files as text: what each names, by a reader of paths that knows no more of Rust than it needs.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// One file, without comments, literals and unit tests.
pub(crate) struct Source {
    pub(crate) path: PathBuf,
    /// Its path from the crate's root.
    pub(crate) module: String,
    pub(crate) text: String,
}

impl Source {
    /// Every path of this crate that it names, from `crate::` on.
    pub(crate) fn uses(&self) -> BTreeSet<String> {
        self.paths("crate::").flat_map(|rest| expand(rest).0).collect()
    }

    /// Every path that begins with `root`, without it; a `use` with all that follows.
    pub(crate) fn paths<'a>(&'a self, root: &'a str) -> impl Iterator<Item = &'a str> {
        let is_whole = |at: usize| !self.text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '_' || c == ':');
        self.text.match_indices(root).filter(move |(at, _)| is_whole(*at)).map(|(at, _)| {
            let rest = &self.text[at + root.len()..];
            rest.split(';').next().unwrap_or(rest)
        })
    }
}

/// Whether `path` is `module` or lies in it.
pub(crate) fn is_in(path: &str, module: &str) -> bool {
    path == module || path.strip_prefix(module).is_some_and(|rest| rest.starts_with("::"))
}

/// The paths of a use tree at the beginning of `text`, and what follows it.
pub(crate) fn expand(text: &str) -> (Vec<String>, &str) {
    let text = text.trim_start();
    if let Some(mut rest) = text.strip_prefix('{') {
        let mut paths = Vec::new();
        loop {
            rest = rest.trim_start().trim_start_matches(',').trim_start();
            if let Some(after) = rest.strip_prefix('}') {
                return (paths, after);
            }
            if rest.is_empty() {
                return (paths, rest);
            }
            let (inner, after) = expand(rest);
            paths.extend(inner);
            let end = after.find([',', '}']).unwrap_or(after.len()); // an `as` name
            rest = &after[end..];
        }
    }
    let end = text.find(|c: char| !(c.is_alphanumeric() || c == '_')).unwrap_or(text.len());
    let (word, rest) = text.split_at(end);
    match rest.strip_prefix("::") {
        Some(inner) if !inner.starts_with('<') => {
            let (paths, rest) = expand(inner);
            let join = |path: String| if path == "self" { word.to_owned() } else { format!("{word}::{path}") };
            (paths.into_iter().map(join).collect(), rest)
        }
        _ => (vec![word.to_owned()], rest),
    }
}

/// The folder of the package.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The files below `folder` that are part of the program.
pub(crate) fn sources(folder: &str) -> Vec<Source> {
    let folder = root().join(folder);
    let mut sources = Vec::new();
    for path in rust_files(&folder) {
        let inner = path.strip_prefix(&folder).unwrap().with_extension("");
        let words: Vec<&str> = inner.iter().map(|word| word.to_str().unwrap()).filter(|word| *word != "mod").collect();
        // Files that are there for unit tests alone.
        let is_test = words
            .last()
            .is_some_and(|name| *name == "tests" || name.ends_with("_tests") || ["testing", "scripted"].contains(name));
        if !is_test {
            let text = code_of(&fs::read_to_string(&path).unwrap());
            sources.push(Source { path, module: words.join("::"), text });
        }
    }
    assert!(sources.len() > 10, "the tree was found");
    sources
}

/// All files of Rust below a folder, in order.
pub(crate) fn rust_files(folder: &Path) -> Vec<PathBuf> {
    let mut files = Vec::new();
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files.extend(rust_files(&path));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            files.push(path);
        }
    }
    files.sort();
    files
}

/// Without the unit tests at the end. What is marked `cfg(test)` inside an item stays.
pub(crate) fn without_tests(text: &str) -> &str {
    let tail = ["\n#[cfg(test)]\nmod tests", "#[cfg(test)]\n        mod tests"];
    tail.iter().find_map(|tail| text.find(tail)).map_or(text, |at| &text[..at])
}

/// Without unit tests, comments and the content of string literals.
pub(crate) fn code_of(text: &str) -> String {
    let mut code = String::new();
    for line in without_tests(text).lines() {
        let mut is_literal = false;
        let mut last = ' ';
        for (at, c) in line.char_indices() {
            if !is_literal && line[at..].starts_with("//") {
                break;
            }
            if c == '"' && last != '\\' && last != '\'' {
                is_literal = !is_literal;
            }
            if !is_literal {
                code.push(c);
            }
            last = c;
        }
        code.push('\n');
    }
    code
}
