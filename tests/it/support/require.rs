//! Tools that some tests need and a machine may lack. Without one the test says so and is left out; with
//! `WEIR_TEST_REQUIRE=all`, as in CI, leaving out is a failure.

use std::path::{Path, PathBuf};

/// The path of a program, looked up as a shell would.
pub(crate) fn program(name: &str, how_to_get: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file());
    there_or_left_out(name, found, how_to_get)
}

/// A file or folder of this repository that is fetched or built, not committed.
pub(crate) fn file(path: &str, how_to_get: &str) -> Option<PathBuf> {
    let full = Path::new(env!("CARGO_MANIFEST_DIR")).join(path);
    there_or_left_out(path, full.exists().then_some(full), how_to_get)
}

#[expect(clippy::print_stderr, reason = "a test that is left out has to say so")]
pub(crate) fn there_or_left_out(what: &str, found: Option<PathBuf>, how_to_get: &str) -> Option<PathBuf> {
    if found.is_none() {
        let all = std::env::var_os("WEIR_TEST_REQUIRE").is_some_and(|required| required == "all");
        assert!(!all, "{what} is missing and WEIR_TEST_REQUIRE=all: {how_to_get}");
        eprintln!("left out: {what} is missing; {how_to_get}");
    }
    found
}
