//! Documents and the values of their variables: what is accepted can be run, whatever stands around it and by whatever limits
//! it is judged. A line of `---` parts the document from the values.

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;

use async_graphql::{Variables, value};
use serde_json::Value;
use weir::document::{Document, Limits};
use weir::domain::Caller;
use weir::schema::Gateway;

use super::stage;

/// What a field of a tree takes at most, as the gateway reckons.
const BYTES_A_FIELD: usize = 640;
/// No more operations of one document are run.
const MOST_OPERATIONS: usize = 4;

/// Limits that a short document can reach.
fn narrow() -> Limits {
    Limits {
        text: 400,
        tokens: 120,
        nesting: 6,
        depth: 4,
        fields: 12,
        root_fields: 3,
        aliases: 2,
        directives: 2,
        name: 24,
        introspection: false,
        ..Limits::default()
    }
}

pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let (text, values) = text.split_once("\n---\n").unwrap_or((text, "{}"));
    let values: Value = serde_json::from_str(values).unwrap_or_default();
    stage::run(async {
        let app = stage::stage().app;
        judge(app.gateway(), text, &values).await
    })
}

async fn judge(gateway: &Gateway, text: &str, values: &Value) -> bool {
    let (wide, narrow) = (Limits::default(), narrow());
    let (read, read_narrowly) = (gateway.read(text, &wide), gateway.read(text, &narrow));
    let Ok(document) = read else {
        assert!(read_narrowly.is_err(), "narrower limits let through what wider ones refuse");
        return false;
    };
    within(&document, &wide);
    if let Ok(same) = read_narrowly {
        within(&same, &narrow);
        assert!(text.len() <= narrow.text, "longer than the limit");
        assert_eq!(same.bytes(), document.bytes(), "limits change what a document means");
    }
    // What the grammar ignores changes nothing.
    let again = gateway.read(&format!("#\n,{text}\r,\u{feff}\t# why"), &wide);
    assert_eq!(again.expect("blanks and comments refuse nothing").bytes(), document.bytes());

    let mut has_run = false;
    let words: BTreeSet<&str> = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_').collect();
    let words = words.into_iter().filter(|word| !word.is_empty()).map(Some);
    let operations = std::iter::once(None).chain(words).filter_map(|name| document.operation(name).ok());
    for operation in operations.take(MOST_OPERATIONS) {
        let Ok(bound) = gateway.bind(operation, &Variables::from_json(values.clone())) else { continue };
        // The engine runs all of it, and nobody upstream is asked.
        let explain = HashMap::from([("weir".to_owned(), value!({ "explain": true }))]);
        let answer = gateway.run(Caller::Anonymous, bound, &explain, Arc::default()).await;
        let json: Value = serde_json::from_slice(&answer.to_json()).expect("an answer is JSON");
        assert!(answer.code().is_none_or(|code| code.as_str() != "INTERNAL"), "{json}");
        for key in json["data"].as_object().into_iter().flat_map(|data| data.keys()) {
            assert!(text.contains(key.as_str()), "{key} was not asked for");
        }
        has_run = true;
    }
    has_run
}

/// The tree is no larger than its limits allow.
fn within(document: &Document, limits: &Limits) {
    assert!(document.bytes() <= limits.fields * BYTES_A_FIELD, "{} bytes", document.bytes());
}
