//! What is found valid without the engine is answered as if the engine had validated it, and usual queries are.

use std::fs;

use async_graphql::Variables;
use async_graphql::parser::parse_query;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use weir::schema::Document;

use crate::support::TestGateway;

/// Where each `$` names a variable of [`TYPES`].
const FIELDS: [&str; 6] = [
    "phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: $step, range: $range, first: $first) { totalCount \
     nodes { phoneNumber s: start sentCount __typename } }",
    "phoneNumberMetrics(custSpaceId: \"cams-beta\", phoneNumbers: $phones, range: {last: $last}) { edges { node { \
     finality } cursor } pageInfo { hasNextPage } }",
    "phoneNumberMetrics(custSpaceId: \"cams-beta\", phoneNumbers: [], granularity: HALF_HOUR, range: {between: {start: \
     $start, end: \"2026-11-22T00:00:00Z\"}}, first: 3) { nodes { deliveredCount } }",
    "operationDistribution(appId: $app, dimension: COUNTRY, range: $range) { start data { distributionName value } }",
    "channel(custSpaceId: \"cams-beta\") { custSpaceId metrics(range: $range) { start } }",
    "datasets { name operation settle }",
];

const TYPES: [(&str, &str); 7] = [
    ("step", "Granularity!"),
    ("range", "TimeRange!"),
    ("first", "Int"),
    ("phones", "[String!]"),
    ("last", "Duration!"),
    ("start", "DateTime!"),
    ("app", "ID!"),
];

/// What a variable may be defined as by mistake.
const OTHER_TYPES: [&str; 10] = [
    "Granularity",
    "TimeRange",
    "Int!",
    "[String]",
    "String",
    "Duration",
    "DateTime",
    "ID",
    "[Duration!]!",
    "PhoneNumberMetric",
];

/// What a part of a query or a value may turn into.
const OTHERS: [&str; 40] = [
    "{",
    "}",
    "(",
    ")",
    "[",
    "]",
    ":",
    "!",
    "=",
    "0",
    "-1",
    "1.5",
    "99999999999999999999",
    "\"x\"",
    "\"P1D\"",
    "null",
    "true",
    "DAILY",
    "$first",
    "$range",
    "$last",
    "$phones",
    "$other",
    "Int",
    "String",
    "ID",
    "Duration",
    "Granularity",
    "nodes",
    "start",
    "range",
    "last",
    "between",
    "first",
    "data",
    "phoneNumber",
    "a:",
    "__typename",
    "__schema",
    "[\"1\"]",
];

/// A query, and the values for it; often not quite valid.
fn random(rng: &mut StdRng) -> (String, Value) {
    let mut selected = String::new();
    for n in 0..rng.random_range(1..4) {
        selected += &format!("f{n}: {} ", FIELDS[rng.random_range(0..FIELDS.len())]);
    }
    let mut definitions = String::new();
    for (name, kind) in TYPES {
        if selected.contains(&format!("${name}")) {
            let default = if name == "first" && rng.random_bool(0.5) { " = 2" } else { "" };
            let kind = match rng.random_range(0..25) {
                0 => OTHER_TYPES[rng.random_range(0..OTHER_TYPES.len())],
                _ => kind,
            };
            definitions += &format!("${name}: {kind}{default} ");
        }
    }
    match rng.random_range(0..40) {
        0 => definitions += "$other: Int ",
        1 => definitions += "$range: TimeRange! ",
        2 => selected = selected.replacen("range: ", "range: {last: \"P1D\"}, range: ", 1),
        _ => {}
    }
    let mut query = if definitions.is_empty() { selected } else { format!("({definitions}) {{ {selected}") };
    query = if definitions.is_empty() { format!("query Q {{ {query}") } else { format!("query Q{query}") };
    for _ in 0..[0, 0, 0, 1, 1, 2][rng.random_range(0..6_usize)] {
        query = changed(rng, &query);
    }
    let mut values = json!({
        "step": "DAILY",
        "range": {"last": "P2D"},
        "first": 7,
        "phones": ["8613800138000"],
        "last": "P1D",
        "start": "2026-11-20T00:00:00Z",
        "app": "app-one",
    });
    for (name, _) in TYPES {
        match rng.random_range(0..30) {
            0 => values[name] = wrong(rng),
            1 => _ = values.as_object_mut().unwrap().remove(name),
            _ => {}
        }
    }
    (query, values)
}

fn wrong(rng: &mut StdRng) -> Value {
    let values = [
        json!(null),
        json!(1),
        json!(-0.5),
        json!("x"),
        json!(true),
        json!([]),
        json!([null]),
        json!(["1", 2]),
        json!({}),
        json!({"last": null}),
        json!({"last": "P1D", "between": null}),
        json!({"last": 3}),
        json!({"other": "P1D"}),
        json!({"between": {"start": "2026-11-20T00:00:00Z"}}),
        json!({"between": {"start": null, "end": null}}),
    ];
    values[rng.random_range(0..values.len())].clone()
}

/// The text with one of its parts left out, repeated, or turned into something else.
fn changed(rng: &mut StdRng, text: &str) -> String {
    let is_word = |c: char| c.is_alphanumeric() || "_\"-$".contains(c);
    let mut parts: Vec<String> = Vec::new();
    let mut is_in_word = false;
    for c in text.chars() {
        match parts.last_mut() {
            Some(part) if is_in_word && is_word(c) => part.push(c),
            _ => parts.push(c.to_string()),
        }
        is_in_word = is_word(c);
    }
    let at = rng.random_range(0..parts.len());
    let other = OTHERS[rng.random_range(0..OTHERS.len())].to_owned();
    match rng.random_range(0..4) {
        0 => _ = parts.remove(at),
        1 => parts.insert(at, format!("{} ", parts[at].clone())),
        2 => parts.insert(at, format!(" {other} ")),
        _ => parts[at] = other,
    }
    parts.concat()
}

fn is_found_valid(query: &str, values: &Value) -> Option<bool> {
    let document = Document::new(parse_query(query).ok()?);
    Some(document.is_valid_with(&Variables::from_json(values.clone())))
}

#[tokio::test(start_paused = true)]
async fn what_is_found_valid_is_answered_as_if_the_engine_had_looked() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let mut rng = StdRng::seed_from_u64(23);
    let (mut found, mut refused) = (0, 0);
    for n in 0..6_000 {
        let (query, values) = random(&mut rng);
        // The engine validates what has a directive.
        let [spared, validated] =
            ["", "@include(if: true)"].map(|directive| format!("{query} __typename {directive} }}"));
        let Some(is_spared) = is_found_valid(&spared, &values) else { continue };
        assert_eq!(is_found_valid(&validated, &values), Some(false));
        let mut answers = Vec::new();
        for query in [&spared, &spared, &validated] {
            let answer = gateway.ask_text(query, values.clone()).await;
            let (told, _) = answer.rsplit_once(",\"extensions\"").unwrap();
            answers.push(told.to_owned());
        }
        // The first may have been the first to ask.
        assert_eq!(answers[1], answers[2], "{n}: {spared}\n{values}");
        let is_refused = !answers[2].contains("\"data\"");
        assert!(!(is_spared && is_refused), "{n}: {spared}\n{values}\n{}", answers[2]);
        found += usize::from(is_spared);
        refused += usize::from(is_refused);
    }
    assert!(found > 1_500 && refused > 500, "{found} found valid, {refused} refused");
}

#[test]
fn usual_queries_need_no_engine_to_be_found_valid() {
    for text in [
        "{ datasets { name } }",
        "query($r: TimeRange!, $n: Int = 5) { phoneNumberMetrics(range: $r, first: $n) { nodes { start } __typename } }",
        "{ a: channel(custSpaceId: \"x\") { metrics(range: {last: \"P1D\"}) { start } } b: channels { account } }",
    ] {
        assert_eq!(is_found_valid(text, &json!({})), Some(true), "{text}");
    }
    let mut n_queries = 0;
    for example in fs::read_dir("examples/queries").unwrap() {
        let text = fs::read_to_string(example.unwrap().path()).unwrap();
        if text.contains("fragment ") || text.contains("mutation") || text.contains('@') {
            continue;
        }
        assert_eq!(is_found_valid(&text, &json!({})), Some(true), "{text}");
        n_queries += 1;
    }
    assert!(n_queries > 2, "{n_queries}");
}
