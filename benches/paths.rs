//! One hot path so many times, for a profiler that counts instructions:
//!
//! ```sh
//! cargo bench --bench paths --no-run
//! valgrind --tool=callgrind --collect-atstart=no --toggle-collect='paths::measured' \
//!     target/release/deps/paths-… text-large 50
//! ```
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

use support::{Size, Warm, body};

const CASES: [(&str, Size, bool); 6] = [
    ("hot-small", Size::Small, false),
    ("hot-large", Size::Large, false),
    ("text-small", Size::Small, true),
    ("text-large", Size::Large, true),
    ("hot-huge", Size::Huge, false),
    ("text-huge", Size::Huge, true),
];

fn main() {
    let args: Vec<String> = std::env::args().skip(1).filter(|arg| !arg.starts_with("--")).collect();
    let case = CASES.iter().find(|(name, ..)| args.first().is_some_and(|arg| arg == name));
    let Some((_, size, is_new)) = case else {
        // `cargo bench` starts it as well; there is nothing to time here.
        let names: Vec<_> = CASES.iter().map(|(name, ..)| *name).collect();
        return println!("paths CASE [TIMES], for a profiler; the cases: {}", names.join(" "));
    };
    let times = args.get(1).and_then(|times| times.parse().ok()).unwrap_or(50);
    let warm = Warm::new(0);
    let query = warm.query(*size);
    let bodies = |from: usize| -> Vec<String> {
        let alias = |n: usize| if *is_new { format!("q{n:09}: ") } else { String::new() };
        (from..from + times).map(|n| body(&format!("{{ {}{query} }}", alias(n)))).collect()
    };
    // Once for whatever is made at the first use.
    measure(&warm, bodies(0));
    let bytes = measured(&warm, bodies(times));
    println!("{times} requests, {bytes} bytes");
}

/// What a profiler is to count.
#[inline(never)]
fn measured(warm: &Warm, bodies: Vec<String>) -> usize {
    measure(warm, bodies)
}

fn measure(warm: &Warm, bodies: Vec<String>) -> usize {
    bodies.into_iter().map(|body| black_box(warm.post(body))).sum()
}
