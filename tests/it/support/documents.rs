//! Random valid documents over everything that can be asked without an error.

use rand::RngExt;
use rand::rngs::StdRng;
use serde_json::{Value, json};

const ROW: [&str; 12] = [
    "custSpaceId",
    "phoneNumber",
    "granularity",
    "start",
    "end",
    "sentCount",
    "deliveredCount",
    "deliveryRate",
    "finality",
    "fetchedAt",
    "source",
    "__typename",
];

const SHARE: [&str; 4] = ["distributionName", "value", "proportion", "__typename"];

const DISTRIBUTION: [&str; 8] = ["appId", "dimension", "start", "end", "finality", "fetchedAt", "source", "__typename"];

/// A random selection of leaves: aliases, repeated fields, fragments, `@skip` and `@include`. Never empty.
pub(crate) fn leaves(rng: &mut StdRng, fields: &[&str], kind: &str, depth: u32) -> String {
    let mut text = String::from("{ ");
    for _ in 0..rng.random_range(1..6) {
        let field = fields[rng.random_range(0..fields.len())];
        text += &match rng.random_range(0..10) {
            0 => format!("a_{field}: {field} "),
            1 => format!("{field} @skip(if: $yes) "),
            2 => format!("{field} @include(if: $yes) "),
            3 => format!("{field} @include(if: false) {field} "),
            4 if depth > 0 => format!("... on {kind} {} ", leaves(rng, fields, kind, depth - 1)),
            5 if depth > 0 => format!("... @include(if: $yes) {} ", leaves(rng, fields, kind, depth - 1)),
            6 if kind == "PhoneNumberMetric" => "...Row ".to_owned(),
            _ => format!("{field} "),
        };
    }
    text + fields[0] + " }"
}

/// The fragment that selections of rows may spread.
pub(crate) const ROW_FRAGMENT: &str =
    "fragment Row on PhoneNumberMetric { phoneNumber f: deliveryRate sentCount @include(if: $yes) }";

/// A random selection on message counts.
pub(crate) fn row(rng: &mut StdRng, depth: u32) -> String {
    leaves(rng, &ROW, "PhoneNumberMetric", depth)
}

fn connection(rng: &mut StdRng) -> String {
    let granularity = ["DAILY", "HALF_HOUR", "$step"][rng.random_range(0..3)];
    let range = ["{last: \"P3D\"}", "$range"][rng.random_range(0..2)];
    let page = match rng.random_range(0..3) {
        0 => format!(", first: {}", rng.random_range(0..200)),
        _ => String::new(),
    };
    let mut text = format!(
        "phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: {granularity}, range: {range}{page}) {{ totalCount "
    );
    for _ in 0..rng.random_range(1..4) {
        text += &match rng.random_range(0..5) {
            0 => "pageInfo { hasNextPage endCursor } ".to_owned(),
            1 => format!("edges {{ cursor node {} }} ", row(rng, 1)),
            2 => format!("edges {{ node {} c: cursor __typename again: node {{ start }} }} ", row(rng, 1)),
            3 => format!("some: nodes {} ", row(rng, 2)),
            _ => format!("nodes {} ", row(rng, 2)),
        };
    }
    text + "}"
}

fn field(rng: &mut StdRng) -> String {
    match rng.random_range(0..9) {
        0..4 => connection(rng),
        4 => format!("channel(custSpaceId: \"cams-beta\") {{ custSpaceId metrics(range: $range) {} }}", row(rng, 2)),
        5 => format!(
            "operationDistribution(appId: \"app-one\", range: $range) {{ {} data {} }}",
            DISTRIBUTION[rng.random_range(0..DISTRIBUTION.len())],
            leaves(rng, &SHARE, "DistributionShare", 1)
        ),
        6 => "channels { account custSpaceId ... @skip(if: $yes) { account } }".to_owned(),
        7 => format!(
            "__type(name: \"{}\") {{ name kind fields {{ name }} }}",
            ["Query", "PhoneNumberMetric", "Nobody"][rng.random_range(0..3)]
        ),
        _ => "datasets { name operation settle }".to_owned(),
    }
}

/// A document and its variables. Fields under one key are the same field with the same arguments, as valid documents
/// must have it; they may select other things of it, so that answers have to be merged.
pub(crate) fn random(rng: &mut StdRng) -> (String, Value) {
    let mut text = String::from("query($yes: Boolean!, $range: TimeRange!, $step: Granularity) { ");
    for n in 0..rng.random_range(1..4) {
        let one = field(rng);
        text += &match rng.random_range(0..4) {
            0 => format!("f{n}: {one} f{n}: {one} "),
            1 => format!("... on Query {{ f{n}: {one} }} "),
            _ => format!("f{n}: {one} "),
        };
    }
    // Whatever was not drawn is used here, or the document would not be valid.
    text += "used: phoneNumberMetrics(custSpaceId: \"cams-beta\", granularity: $step, range: $range) { nodes { ...Row } } }";
    let range = match rng.random_range(0..3) {
        0 => json!({"last": format!("P{}D", rng.random_range(1..4))}),
        1 => json!({"last": "PT36H"}),
        _ => {
            json!({"between": {"start": "2026-11-18T05:00:00Z", "end": format!("2026-11-2{}T07:30:00Z", rng.random_range(0..2))}})
        }
    };
    let step = ["DAILY", "HALF_HOUR"][rng.random_range(0..2)];
    let variables = json!({"yes": rng.random_bool(0.5), "range": range, "step": step});
    (format!("{text} {ROW_FRAGMENT}"), variables)
}
