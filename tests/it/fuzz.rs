//! Nothing that is sent as a document makes anything panic, takes long or is read two ways: bytes, soups of tokens, and
//! valid documents with parts of them changed. `WEIR_FUZZ_SECONDS=600 cargo nextest run --no-capture fuzz` goes on for longer.

use std::time::Duration;

use async_graphql::Variables;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::Instant;
use weir::document::Limits;

use crate::support::TestGateway;

/// What documents are made of, mistakes included.
const TOKENS: [&str; 64] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "=",
    "!",
    "$",
    "@",
    "...",
    "|",
    "&",
    ",",
    " ",
    "\n",
    "\r",
    "\t",
    "\u{feff}",
    "#c\n",
    "query",
    "mutation",
    "subscription",
    "fragment",
    "on",
    "true",
    "false",
    "null",
    "Query",
    "Channel",
    "TimeRange",
    "Int",
    "ID",
    "Boolean",
    "DateTime",
    "__typename",
    "__schema",
    "__type",
    "phoneNumberMetrics",
    "channel",
    "channels",
    "nodes",
    "custSpaceId",
    "range",
    "last",
    "between",
    "granularity",
    "first",
    "DAILY",
    "skip",
    "include",
    "if",
    "a",
    "F",
    "x",
    "0",
    "-1",
    "2.5e3",
    "99999999999999999999",
    "\"P1D\"",
    "\"\\u{41}\\ud83d\"",
    "\"\"\" \\\"\"\" \r\n\"\"\"",
    "é",
];

const VALID: [&str; 6] = [
    r#"query Q($r: TimeRange!, $g: Granularity = DAILY) { a: phoneNumberMetrics(custSpaceId: "cams-alpha", range: $r, granularity: $g, first: 2) { nodes { start ...F } totalCount } } fragment F on PhoneNumberMetric { sentCount finality }"#,
    r#"query($v: Boolean!, $d: Duration = "P1D") { channels { account @include(if: $v) metrics(range: {last: $d}) { end } } ... @skip(if: $v) { __typename } }"#,
    r#"{ operationDistributions(appIds: ["app-one", 7], range: {between: {start: "2026-09-01T00:00:00Z", end: "2026-09-02T00:00:00+08:00"}}, window: "PT6H") { data { value } } }"#,
    r#"mutation M($c: ID) { enableWhatsappRoiMetric(custSpaceId: $c, isvCode: """a "quote" b""") { requestId } }"#,
    r#"{ __schema { types { name fields(includeDeprecated: true) { name args { defaultValue } } } } t: __type(name: "TimeRange") { isOneOf } }"#,
    r#""what it does" query A { x: datasets { name } ...G } query B("why" $b: [ID!]! = ["a"]) { operationDistributions(appIds: $b, range: {last: "P1D"}) { start } } fragment G on Query { x: datasets { vendor } }"#,
];

fn document(rng: &mut StdRng) -> String {
    match rng.random_range(0..4) {
        0 => {
            let bytes: Vec<u8> = (0..rng.random_range(0..60)).map(|_| rng.random()).collect();
            String::from_utf8_lossy(&bytes).into_owned()
        }
        1 => (0..rng.random_range(1..60)).map(|_| *TOKENS.choose(rng).unwrap()).collect::<Vec<_>>().join(" "),
        _ => {
            let mut text = (*VALID.choose(rng).unwrap()).to_owned();
            for _ in 0..rng.random_range(0..4) {
                let places: Vec<usize> = text.char_indices().map(|(at, _)| at).collect();
                let from = *places.choose(rng).unwrap_or(&0);
                let to =
                    *places.iter().filter(|to| **to >= from).take(12).collect::<Vec<_>>().choose(rng).unwrap_or(&&from);
                let part = match rng.random_range(0..3) {
                    0 => String::new(),
                    1 => (*TOKENS.choose(rng).unwrap()).to_owned(),
                    _ => text[from..*to].repeat(rng.random_range(2..5)),
                };
                text.replace_range(from..*to, &part);
            }
            text
        }
    }
}

fn value(rng: &mut StdRng, depth: usize) -> Value {
    match rng.random_range(0..if depth > 2 { 8 } else { 10 }) {
        0 => Value::Null,
        1 => json!(rng.random_bool(0.5)),
        2 => json!(rng.random_range(-3..4)),
        3 => json!(1e300),
        4 => json!(u64::MAX),
        5 => json!("DAILY"),
        6 => json!("P1D"),
        7 => json!("2026-09-01T00:00:00Z"),
        8 => (0..rng.random_range(0..3)).map(|_| value(rng, depth + 1)).collect(),
        _ => {
            let keys = ["last", "between", "start", "end", "x"];
            (0..rng.random_range(0..3))
                .map(|_| ((*keys.choose(rng).unwrap()).to_owned(), value(rng, depth + 1)))
                .collect()
        }
    }
}

#[tokio::test]
#[expect(clippy::print_stdout, reason = "the seed of a failure, and how much was tried")]
async fn no_document_and_no_values_make_anything_panic() {
    let seconds = std::env::var_os("WEIR_FUZZ_SECONDS").and_then(|given| given.into_string().ok());
    let (length, seed) = match seconds.and_then(|given| given.parse().ok()) {
        Some(seconds) => (Duration::from_secs(seconds), rand::random()),
        None => (Duration::from_secs(5), 1),
    };
    println!("seed {seed}");
    let gateway = TestGateway::start().gateway();
    let mut rng = StdRng::seed_from_u64(seed);
    let (begun, mut asked, mut valid, mut bound) = (Instant::now(), 0_u64, 0_u64, 0_u64);
    while begun.elapsed() < length || asked < 3_000 {
        let text = document(&mut rng);
        asked += 1;
        let Ok(document) = gateway.read(&text, &Limits::default()) else { continue };
        valid += 1;
        // What the grammar ignores changes nothing.
        let again = gateway.read(&format!("#\n,{text}\r,\u{feff}\t# why"), &Limits::default());
        assert_eq!(again.unwrap_or_else(|_| panic!("{text:?}")).bytes(), document.bytes(), "{text:?}");
        for name in [None, Some("A"), Some("B"), Some("Q"), Some("M")] {
            let Ok(operation) = document.operation(name) else { continue };
            for _ in 0..3 {
                let names = ["r", "g", "v", "d", "c", "b"];
                let sent = names.map(|name| (name.to_owned(), value(&mut rng, 0)));
                let sent = Variables::from_json(sent.into_iter().collect());
                bound += u64::from(gateway.bind(operation, &sent).is_ok());
            }
        }
    }
    println!("{asked} documents, {valid} of them valid, {bound} times with values that fit");
    assert!(valid > asked / 50 && bound > 100, "{asked} {valid} {bound}");
}
