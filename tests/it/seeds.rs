//! What fuzzing begins with, and what it has found, is read by the same entry points in every run of the tests.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use crate::support::sources::root;

#[path = "../../fuzz/src/lib.rs"]
#[expect(unreachable_pub, reason = "the files are those of a library as well")]
mod targets;

use targets::TARGETS;

fn entries(folder: &Path) -> Vec<PathBuf> {
    let mut paths: Vec<_> = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> &str {
    path.file_name().unwrap().to_str().unwrap()
}

/// Those whose names begin with `bad-` are refused, the others are not.
#[test]
fn every_seed_is_read_as_its_name_says() {
    let seeds = root().join("fuzz/seeds");
    let folders = entries(&seeds);
    assert_eq!(folders.iter().map(|folder| name(folder)).collect::<Vec<_>>(), TARGETS.map(|(name, _)| name));
    let mut otherwise = Vec::new();
    for (folder, (target, run)) in folders.iter().zip(TARGETS) {
        let mut seen = BTreeSet::new();
        for path in entries(folder) {
            let data = fs::read(&path).unwrap();
            let accepted = std::panic::catch_unwind(|| run(&data))
                .unwrap_or_else(|_| panic!("{} breaks a promise; what it is stands above", path.display()));
            if accepted == name(&path).starts_with("bad-") {
                otherwise.push(path);
            }
            seen.insert(accepted);
        }
        assert_eq!(seen.len(), 2, "{target} has seeds of both kinds");
    }
    assert!(otherwise.is_empty(), "accepted or refused, against their names: {otherwise:?}");
}

/// Two packages are locked twice: what is fuzzed has the versions that are shipped.
#[test]
fn what_is_fuzzed_is_what_is_shipped() {
    let locked = |file: &str| -> BTreeMap<String, BTreeSet<String>> {
        let text = fs::read_to_string(root().join(file)).unwrap();
        let mut all: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
        for package in text.split("[[package]]").skip(1) {
            let line = |key: &str| package.lines().find_map(|line| line.strip_prefix(key)).unwrap().to_owned();
            all.entry(line("name = ")).or_default().insert(line("version = "));
        }
        all
    };
    let (shipped, fuzzed) = (locked("Cargo.lock"), locked("fuzz/Cargo.lock"));
    // The loop and what it brings along.
    let own = ["\"arbitrary\"", "\"libfuzzer-sys\"", "\"weir-fuzz\""];
    let others = fuzzed.iter().filter(|(name, versions)| {
        !own.contains(&name.as_str()) && !shipped.get(*name).is_some_and(|shipped| versions.is_subset(shipped))
    });
    let others: Vec<_> = others.collect();
    assert!(others.is_empty(), "other versions than in Cargo.lock (cargo update in fuzz/): {others:?}");
    assert!(fuzzed.len() > 100, "the file was read");
}
