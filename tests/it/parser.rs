//! What the fast parser takes, the engine's parser takes as well, and both read the same.

use std::fs;

use async_graphql::parser::parse_query;
use async_graphql::parser::types::ExecutableDocument;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use weir::http::parse_plain;

use crate::support::documents;

/// Everything that a plain document can hold.
const EVERYTHING: &str = "query Q($a: Int, $b: [[String!]!]! @d(x: $a) = [[\"x\"], []], $on: I = {k: {}, l: -1.5e+3}) @d { \
    on: field(true: true, null: null, e: RED, l: [1 -0 2.5 $a [\"\"]], o: {query: $b, on: {}}) @a @b(c: false, d: 0) \
    { x ...F @d ... on T @d(x: [A]) { y } ...@skip(if: $a) { z } ... { q: w(a: \"# , \" b: {a: 1, b: 2, a: 3}) } } \
    fragment query mutation subscription true } \
    mutation M { m } subscription S { s } query T($x: T!) { t } \
    fragment F on T @d { f } fragment fragment on query { ...F ...fragment }";

/// The document in words, positions included, named parts in order.
fn told(document: &ExecutableDocument) -> String {
    let mut fragments: Vec<_> = document.fragments.iter().map(|part| format!("{part:?}")).collect();
    let mut operations: Vec<_> = document.operations.iter().map(|part| format!("{part:?}")).collect();
    fragments.sort();
    operations.sort();
    format!("{operations:?} {fragments:?}")
}

/// Whether the fast parser takes the text. If so, the engine's reads the same.
fn is_plain(text: &str) -> bool {
    let Some(plain) = parse_plain(text) else { return false };
    let full = match parse_query(text) {
        Ok(full) => full,
        Err(error) => panic!("only the fast parser takes {text:?}: {error}"),
    };
    assert_eq!(told(&plain), told(&full), "{text:?}");
    true
}

#[test]
fn usual_documents_are_plain() {
    let mut rng = StdRng::seed_from_u64(11);
    for _ in 0..500 {
        let (text, _) = documents::random(&mut rng);
        assert!(is_plain(&text), "{text}");
    }
    for example in fs::read_dir("examples/queries").unwrap() {
        let text = fs::read_to_string(example.unwrap().path()).unwrap();
        assert!(is_plain(&text), "{text}");
    }
    assert!(is_plain(EVERYTHING));
}

/// Texts, and whether they are plain: what is ignored, and where lines begin.
const BLANKS: &[(&str, bool)] = &[
    ("", false),
    (" ,\t\r\n# nothing", false),
    (",,{,a,,b,},", true),
    ("# x {\n{ a # y\r b # z\r\n c } # }", true),
    ("{\r\n  a\r  b\n\r  c\n\n  d\r\r\n  e }", true),
    ("\u{feff}{ a }", false),
    ("{ a\u{c}b }", false),
    ("{ a # 名\n }", false),
    ("{ a(x: \"名\") }", false),
    ("{ 名 }", false),
    ("{ a\0 }", false),
];

/// Selections.
const SELECTIONS: &[(&str, bool)] = &[
    ("{}", false),
    ("{ a {} }", false),
    ("{ a() }", false),
    ("query {}", false),
    ("{ a: b: c }", false),
    ("{ a : b c:d }", true),
    ("{ a", false),
    ("{ a } }", false),
    ("{ a ]", false),
    ("{ a..F }", false),
    ("{ a...F...{b}...on T{c}... on,T{d}... on\n\tT{e} }", true),
    ("{ ... on# no\nT { a } }", false),
    ("{ ... on # no\nT { a } }", false),
    ("{ ... # yes\n on T # yes\n { a } }", true),
    ("{ ...on }", false),
    ("{ ...on @d }", false),
    ("{ ...on { a } }", false),
    ("{ ...on on { a } }", true),
    ("{ ...only ...on2 ...o }", true),
    ("{ ... on T }", false),
    ("{ ...F { a } }", false),
    ("{ ... 1 }", false),
    ("{ on query mutation subscription fragment true false null }", true),
    ("{ on: on true: null null: true __typename _: _1 }", true),
    ("{ 1a }", false),
    ("{ a-b }", false),
];

/// Values.
const VALUES: &[(&str, bool)] = &[
    ("{ a(x: 01) }", false),
    ("{ a(x: [01]) }", false),
    ("{ a(x: 1.) }", false),
    ("{ a(x: 1.e) }", false),
    ("{ a(x: .5) }", false),
    ("{ a(x: 1e) }", false),
    ("{ a(x: +1) }", false),
    ("{ a(x: -) }", false),
    ("{ a(x: - 1) }", false),
    ("{ a(x: 0x1F) }", false),
    ("{ a(x: 1_000) }", false),
    ("{ a(x: 1a: 2) }", false),
    ("{ a(x: [1-2]) }", false),
    ("{ a(x: [0 -0 -0.0 1e5 1E+5 1.5e-3 0e0 10 -10]) }", true),
    ("{ a(x: [9223372036854775807 9223372036854775808 18446744073709551616 -9223372036854775809]) }", true),
    ("{ a(x: 123456789012345678901234567890, y: 0.1234567890123456789) }", true),
    ("{ a(x: 1e999) }", false),
    ("{ a(x: [1[2]\"3\"$d{e:4}f]) }", true),
    ("{ a(x: trueish: 1) }", false),
    ("{ a(x: [nullable falsely trueTRUE]) }", false),
    ("{ a(x: [True NULL fals nul tru]) }", true),
    ("{ a(x: {}, y: [], z: {a: [] b: {c: D}}) }", true),
    ("{ a(x: {a: 1, a: 2, b: 3, a: 4}) }", true),
    ("{ a(x: 1, x: 2) }", true),
    ("{ a(x) }", false),
    ("{ a(x:) }", false),
    ("{ a(: 1) }", false),
    ("{ a(x: {\"a\": 1}) }", false),
    ("{ a(x: $ # c\n y) }", true),
    ("{ a(x: $) }", false),
    ("{ a(x: $1) }", false),
    ("{ a(x: $true, y: $on) }", true),
];

/// Strings.
const STRINGS: &[(&str, bool)] = &[
    (r#"{ a(x: "") }"#, true),
    (r#"{ a(x: "", y: "" z: "'#{[(") }"#, true),
    (r#"{ a(x: "\n") }"#, false),
    (r#"{ a(x: "\u0041\\") }"#, false),
    (r#"{ a(x: "\ud83d\ude00") }"#, false),
    (r#"{ a(x: "\ud83d") }"#, false),
    (r#"{ a(x: "\q") }"#, false),
    (r#"{ a(x: """block""") }"#, false),
    (r#"{ a(x: ["""]) }"#, false),
    (r#"{ a(x: [""""]) }"#, false),
    (r#"{ a(x: ["" ""]) }"#, true),
    (r#"{ a(x: ["a""b"]) }"#, false),
    (r#"{ a(x: "open) }"#, false),
    ("{ a(x: \"two\nlines\") }", false),
    ("{ a(x: \"two\rlines\") }", false),
    ("{ a(x: \"tab\tand \u{1} and \u{7f}\") }", true),
];

/// Operations and their variables.
const OPERATIONS: &[(&str, bool)] = &[
    ("query{a}", true),
    ("query Q{a}", true),
    ("queryQ{a}", false),
    ("query query{a}", true),
    ("query on { a }", true),
    ("query Q() { a }", true),
    ("query () @d { a }", true),
    ("query Q(a: Int) { a }", false),
    ("query Q($a) { a }", false),
    ("query Q($a: Int!, $b:[Int], $c :[[Int!]!]!) { a }", true),
    ("query Q($a: [ Int ]) { a }", false),
    ("query Q($a: Int !) { a }", false),
    ("query Q($a: Int!!) { a }", false),
    ("query Q($a: [Int) { a }", false),
    ("query Q($a: []) { a }", false),
    ("query Q($a: Int=1$b:Int) { a }", true),
    ("query Q($a: Int @d = 1) { a }", true),
    ("query Q($a: Int = 1 @d) { a }", false),
    ("query Q($a: Int = $b) { a }", false),
    ("query Q($a: T = {b: [$c]}) { a }", false),
    ("query Q($a: T = {b: [c, {d: 1}]}, $e: T = null) { a }", true),
    ("query Q @a @b(c: $d) { a @e(f: 1) @g }", true),
    ("query Q @a() { a }", false),
    ("query Q @ a { a }", true),
    ("{ a } { b }", false),
    ("{ a } query B { b }", false),
    ("query { a } query B { b }", false),
    ("query B { b } { a }", false),
    ("query A { a } query A { b }", false),
    ("query A { a } mutation A { b }", false),
    ("query A { a } mutation B { b } subscription C { c }", true),
    ("\"\"\"what it does\"\"\" query A { a }", false),
    ("\"what it does\" query A { a }", false),
];

/// Fragments.
const FRAGMENTS: &[(&str, bool)] = &[
    ("fragment F on T { a }", false),
    ("{ a } fragment F on T { a } fragment F on T { a }", false),
    ("{ a } fragment F on T { a } fragment G on T { a }", true),
    ("fragment on on on { a } query { a }", true),
    ("{ a } fragment on T { a }", false),
    ("{ a } fragment F on { a }", false),
    ("{ a } fragment F { a }", false),
    ("{ a } fragmentF on T { a }", false),
    ("{ a } fragment F($x: Int) on T { a }", false),
];

/// Other languages.
const OTHERS: &[(&str, bool)] = &[
    ("{ a } type T { a: Int }", false),
    ("schema { query: Q }", false),
    ("{ a @ }", false),
    ("{ a & b }", false),
    ("a", false),
    ("{\"query\": \"{ a }\"}", false),
];

#[test]
fn odd_texts_are_read_alike_or_left_to_the_engine() {
    for (text, plain) in [BLANKS, SELECTIONS, VALUES, STRINGS, OPERATIONS, FRAGMENTS, OTHERS].concat() {
        assert_eq!(is_plain(text), plain, "{text:?}");
    }
}

#[test]
fn depth_is_left_to_the_engine() {
    let fields = |depth: usize| format!("{}a{}", "{ a ".repeat(depth), " }".repeat(depth));
    let lists = |depth: usize| format!("{{ a(x: {}{}) }}", "[".repeat(depth), "]".repeat(depth));
    let objects = |depth: usize| format!("{{ a(x: {}1{}) }}", "{a:".repeat(depth), "}".repeat(depth));
    let types = |depth: usize| format!("query($a: {}A{}) {{ a }}", "[".repeat(depth), "]".repeat(depth));
    for text in [fields(48), lists(46), objects(46), types(48)] {
        assert!(is_plain(&text), "{text}");
    }
    for depth in [49, 65, 66, 100, 100_000] {
        for text in [fields(depth), lists(depth), objects(depth), types(depth)] {
            assert!(!is_plain(&text), "{depth}");
        }
    }
    // Closed brackets do not count.
    assert!(is_plain(&format!("{{ {} }}", "a(x: [{}]) { b } ".repeat(100))));
}

/// Words, numbers and strings whole, blanks together, everything else by itself.
fn tokens(text: &str) -> Vec<&str> {
    let kind = |byte: u8| match byte {
        b'_' | b'0'..=b'9' | b'a'..=b'z' | b'A'..=b'Z' => 0,
        b' ' | b'\n' | b'\r' => 1,
        0x80.. => 2,
        other => other,
    };
    text.as_bytes()
        .chunk_by(|a, b| kind(*a) == kind(*b) && kind(*a) < 3)
        .scan(0, |at, chunk| {
            *at += chunk.len();
            Some(&text[*at - chunk.len()..*at])
        })
        .collect()
}

/// One mistake, or another way to write the same.
fn changed(rng: &mut StdRng, text: &str) -> String {
    const SPICE: [&str; 40] = [
        "#", "# x\n", "\r\n", "\r", "\n", ",", "\t", "\u{feff}", "名", "\"", "\"\"", "\"\"\"", "\"s\"", "\\",
        "\\u00e9", "0", "01", "-0", "1e5", "1.", "1e400", "-", ".", "...", "on", "on ", "null", "true", "query",
        "fragment", "$", "@d", "!", "=", "&", "|", "[", "}", "(", ":",
    ];
    let mut parts: Vec<&str> = if rng.random_bool(0.5) {
        text.char_indices().map(|(at, char)| &text[at..at + char.len_utf8()]).collect()
    } else {
        tokens(text)
    };
    let (at, other) = (rng.random_range(0..parts.len()), rng.random_range(0..parts.len()));
    let spice = SPICE[rng.random_range(0..SPICE.len())];
    match rng.random_range(0..6) {
        0 => drop(parts.remove(at)),
        1 => parts.insert(at, parts[at]),
        2 => parts.swap(at, at.saturating_sub(1)),
        3 => parts.swap(at, other),
        4 => parts[at] = spice,
        _ => parts.insert(at, spice),
    }
    parts.concat()
}

#[test]
fn changed_documents_are_read_alike_or_left_to_the_engine() {
    let mut rng = StdRng::seed_from_u64(12);
    let (mut plain, mut left) = (0, 0);
    for n in 0..10_000 {
        let mut text = if n % 2 == 0 { EVERYTHING.to_owned() } else { documents::random(&mut rng).0 };
        for _ in 0..rng.random_range(1..4) {
            text = changed(&mut rng, &text);
        }
        if is_plain(&text) { plain += 1 } else { left += 1 }
    }
    assert!(plain > 2_000 && left > 2_000, "{plain} plain, {left} left");
}
