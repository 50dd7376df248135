//! One hot path so many times, for a profiler that counts instructions. `scripts/count.sh` compares them with those of
//! `benches/instructions.txt`. To see where they go:
//!
//! ```sh
//! cargo bench --bench paths --no-run
//! valgrind --tool=callgrind --toggle-collect='paths::measured*' target/release/deps/paths-… text-large 50
//! ```
//!
//! A third word leaves out a piece of what is there for speed alone, `answers`, `documents` or `lists`, or `all` of it.
//!
//! Everything but the socket is on the path: from the request's body to the bytes of its answer.

#![expect(
    clippy::expect_used,
    clippy::print_stdout,
    reason = "a benchmark that cannot go on has no other way to say so"
)]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod support;

use std::hint::black_box;

use mimalloc::MiMalloc;
use support::{Size, Warm, body};
use weir::fast::FastPath;

/// As in the binary.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

/// What of a request is new each time.
#[derive(Clone, Copy)]
enum New {
    Nothing,
    Text,
    Variables,
}

const CASES: [(&str, Size, New); 8] = [
    ("hot-small", Size::Small, New::Nothing),
    (KEYED, Size::Small, New::Nothing),
    ("hot-large", Size::Large, New::Nothing),
    ("hot-huge", Size::Huge, New::Nothing),
    ("text-small", Size::Small, New::Text),
    ("text-large", Size::Large, New::Text),
    ("text-huge", Size::Huge, New::Text),
    ("variables-small", Size::Small, New::Variables),
];

/// Asked by a caller who shows a key.
const KEYED: &str = "hot-keyed";

/// Requests before those that are counted: for what is made at the first use, and for the caches, which keep what is asked
/// for a second time, so that the third finds it.
const BEFORE: usize = 8;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let case = CASES.iter().find(|(name, ..)| args.first().is_some_and(|arg| arg == name));
    let Some((name, size, new)) = case else {
        // `cargo bench` starts it as well; there is nothing to time here.
        let names: Vec<_> = CASES.iter().map(|(name, ..)| *name).collect();
        return println!("paths CASE [TIMES [WITHOUT]], for a profiler; the cases: {}", names.join(" "));
    };
    let times = args.get(1).map_or(50, |times| times.parse().expect("a number of requests"));
    let warm = Warm::with(0, |all| without(args.get(2).map(String::as_str), all));
    let warm = if *name == KEYED { warm.keyed() } else { warm };
    let query = warm.query(*size);
    let request = |number: usize| match new {
        New::Nothing => body(&format!("{{ {query} }}")),
        New::Text => body(&format!("{{ q{number:09}: {query} }}")),
        New::Variables => warm.body_with_variables(number),
    };
    for number in 0..BEFORE {
        black_box(warm.post(request(number)));
    }
    let bytes = measured(&warm, (BEFORE..BEFORE + times).map(request).collect());
    println!("{times} requests, {bytes} bytes");
}

/// What is there for speed alone, but for one piece of it.
fn without(piece: Option<&str>, all: FastPath) -> FastPath {
    match piece {
        None => all,
        Some("answers") => FastPath { answer_bytes: 0, ..all },
        Some("documents") => FastPath { document_bytes: 0, ..all },
        Some("lists") => FastPath { raw_lists: false, ..all },
        Some(_) => FastPath::OFF,
    }
}

/// What a profiler is to count.
#[inline(never)]
fn measured(warm: &Warm, bodies: Vec<String>) -> usize {
    bodies.into_iter().map(|body| black_box(warm.post(body))).sum()
}
