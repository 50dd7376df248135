//! No file stands on one that stands on it: each can be read, tested and changed without what uses it.
//!
//! An edge leads from a file to the one that holds what it names. Names that a parent only passes on (`use`) lead to where
//! they come from. A name that a parent's own file holds makes no edge from its children: those are the plain types that
//! the children share, beside which the parent puts them together.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::PathBuf;

use crate::support::sources::{Source, code_of, expand, is_in, sources};

/// Modules whose circles are being taken apart; whoever does so takes the line out.
const CHANGING: [&str; 0] = [];

/// Which files each file stands on, by their modules.
struct Graph(BTreeMap<String, BTreeSet<String>>);

impl Graph {
    fn of(sources: &[Source]) -> Self {
        let files = Files::of(sources);
        Self(sources.iter().map(|source| (source.module.clone(), files.used_by(source))).collect())
    }

    /// The shortest way from a file back to itself.
    fn circle(&self, from: &str) -> Option<Vec<&str>> {
        let mut before: BTreeMap<&str, &str> = BTreeMap::new();
        let mut next = VecDeque::from([self.0.get_key_value(from)?.0.as_str()]);
        while let Some(here) = next.pop_front() {
            for there in &self.0[here] {
                if there == from {
                    let way = std::iter::successors(Some(here), |file| before.get(file).copied());
                    let mut way: Vec<&str> = way.collect();
                    way.reverse();
                    return Some(way);
                }
                if !before.contains_key(there.as_str()) {
                    before.insert(there, here);
                    next.push_back(there);
                }
            }
        }
        None
    }

    /// One line for each set of files that stand on one another.
    fn circles(&self) -> Vec<String> {
        let mut seen: BTreeSet<BTreeSet<&str>> = BTreeSet::new();
        let ways = self.0.keys().filter_map(|file| self.circle(file));
        ways.filter(|way| seen.insert(way.iter().copied().collect()))
            .filter(|way| !CHANGING.iter().any(|module| way.iter().all(|file| is_in(file, module))))
            .map(|way| format!("{} → {}", way.join(" → "), way[0]))
            .collect()
    }
}

/// A path from the crate's root, word by word.
type Words = Vec<String>;

/// All files, with the names that each brings in.
struct Files(BTreeMap<String, BTreeMap<String, Words>>);

impl Files {
    fn of(sources: &[Source]) -> Self {
        let imports = |source: &Source| {
            let paths = source.paths("use ").flat_map(|rest| expand(rest).0);
            let imports = paths.filter_map(|path| absolute(&source.module, &path));
            imports.filter_map(|path| Some((path.last()?.clone(), path))).collect()
        };
        Self(sources.iter().map(|source| (source.module.clone(), imports(source))).collect())
    }

    fn used_by(&self, source: &Source) -> BTreeSet<String> {
        let own = &source.module;
        let named = |root: &'static str| {
            source.paths(root).flat_map(|rest| expand(rest).0).map(move |path| format!("{root}{path}"))
        };
        let children = self.0.keys().filter_map(|module| module.strip_prefix(&format!("{own}::")).map(str::to_owned));
        let children = children.filter(|child| !child.contains("::"));
        let of_children = children.flat_map(|child| {
            let root = format!("{child}::");
            let paths: Vec<String> = source.paths(&root).flat_map(|rest| expand(rest).0).collect();
            paths.into_iter().map(move |path| format!("{root}{path}"))
        });
        let paths = ["crate::", "super::", "self::"].into_iter().flat_map(named).chain(of_children);
        let files = paths.filter_map(|path| self.holder(&absolute(own, &path)?));
        files.filter(|file| !is_in(own, file)).collect()
    }

    /// The file that holds what `path` names.
    fn holder(&self, path: &[String]) -> Option<String> {
        let (file, rest) = (1..=path.len()).rev().find_map(|length| {
            let (module, rest) = path.split_at(length);
            self.0.contains_key(&module.join("::")).then(|| (module.join("::"), rest))
        })?;
        let passed_on = rest.first().and_then(|name| self.0[&file].get(name));
        let passed_on = passed_on.filter(|from| !path.starts_with(from));
        let further = passed_on.and_then(|from| self.holder(&[from.as_slice(), &rest[1..]].concat()));
        Some(further.unwrap_or(file))
    }
}

/// `path` as it is written in `module`, from the crate's root; `None` for another crate's, as far as can be told.
fn absolute(module: &str, path: &str) -> Option<Words> {
    let mut base: Words = if module == "main" { Vec::new() } else { module.split("::").map(str::to_owned).collect() };
    let mut words = path.split("::").peekable();
    match *words.peek()? {
        "crate" => base.clear(),
        "self" | "super" => {}
        // A child's, or another crate's, which is then no file of ours.
        _ => return Some([base, words.map(str::to_owned).collect()].concat()),
    }
    while let Some(step) = words.next_if(|word| ["crate", "self", "super"].contains(word)) {
        if step == "super" {
            base.pop();
        }
    }
    base.extend(words.map(str::to_owned));
    Some(base)
}

#[test]
fn no_file_of_the_program_stands_on_one_that_stands_on_it() {
    let circles = Graph::of(&sources("src")).circles();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn no_file_of_the_benchmark_stands_on_one_that_stands_on_it() {
    let circles = Graph::of(&sources("bench/src")).circles();
    assert!(circles.is_empty(), "circles:\n{}", circles.join("\n"));
}

#[test]
fn circles_are_found_whichever_way_names_take() {
    let circles = |files: &[(&str, &str)]| {
        let source = |(module, text): &(&str, &str)| Source {
            path: PathBuf::new(),
            module: (*module).to_owned(),
            text: code_of(text),
        };
        Graph::of(&files.iter().map(source).collect::<Vec<_>>()).circles()
    };
    // By `super`, by `crate` inside a body, and over three files.
    assert_eq!(
        circles(&[
            ("m", "mod a; mod b; mod c;"),
            ("m::a", "use super::b::{B, other::Thing};"),
            ("m::b", "fn f() { crate::m::c::g() }"),
            ("m::c", "use super::a::A as Other;"),
        ]),
        ["m::a → m::b → m::c → m::a"]
    );
    // Behind a name that the parent passes on.
    let parent = "mod a; mod b; pub use a::A; use b::b; struct Shared;";
    assert_eq!(
        circles(&[("m", parent), ("m::a", "use super::b::B;"), ("m::b", "use super::A;")]),
        ["m::a → m::b → m::a"]
    );
    // What the parent itself holds is for all its children.
    assert!(circles(&[("m", parent), ("m::a", "use super::b::B;"), ("m::b", "use super::Shared;")]).is_empty());
    // A parent among its neighbours is a file like others.
    assert_eq!(
        circles(&[("m", "mod a; use crate::n::N;"), ("m::a", ""), ("n", "use crate::m::a::A; use crate::m::M;")]),
        ["m → n → m"]
    );
}
