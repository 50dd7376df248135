//! What weir relies on in its GraphQL engine, so that another version that answers differently is noticed
//! (`docs/decisions` has the measurements of several versions).

#![expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]

use std::time::Duration;

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Result, Schema};
use serde_json::{Value, json};
use tokio::time::sleep;
use weir::domain::Caller;

use crate::support::TestGateway;

struct Query;

struct Parent;

#[Object]
impl Query {
    async fn slow(&self, ms: u64) -> u64 {
        sleep(Duration::from_millis(ms)).await;
        ms
    }

    async fn parent(&self) -> Option<Parent> {
        Some(Parent)
    }

    async fn required(&self) -> Result<u64> {
        Err("deliberate".into())
    }

    async fn result_of_option(&self) -> Result<Option<u64>> {
        Err("deliberate".into())
    }

    async fn option_of_result(&self) -> Option<Result<u64>> {
        Some(Err("deliberate".into()))
    }
}

#[Object]
impl Parent {
    async fn ok(&self) -> u64 {
        1
    }

    async fn required(&self) -> Result<u64> {
        Err("deliberate".into())
    }
}

/// The answer as text: the order of keys counts.
async fn answer(query: &str) -> String {
    let response = Schema::new(Query, EmptyMutation, EmptySubscription).execute(query).await;
    serde_json::to_string(&response).unwrap()
}

async fn data(query: &str) -> (Value, usize) {
    let answer: Value = serde_json::from_str(&answer(query).await).unwrap();
    (answer["data"].clone(), answer["errors"].as_array().map_or(0, Vec::len))
}

#[tokio::test(start_paused = true)]
async fn keys_come_in_the_order_of_the_query_whichever_is_ready_first() {
    let text = answer("{ a: slow(ms: 50) b: slow(ms: 10) c: slow(ms: 0) }").await;
    assert_eq!(text, r#"{"data":{"a":50,"b":10,"c":0}}"#);
}

#[tokio::test(start_paused = true)]
async fn fields_run_at_the_same_time() {
    let began = tokio::time::Instant::now();
    answer("{ a: slow(ms: 50) b: slow(ms: 50) c: slow(ms: 50) }").await;
    assert_eq!(began.elapsed(), Duration::from_millis(50));
}

#[tokio::test]
async fn a_non_null_root_field_that_fails_nulls_all_data() {
    assert_eq!(data("{ good: slow(ms: 0) required }").await, (Value::Null, 1));
}

#[tokio::test]
async fn a_non_null_field_that_fails_nulls_its_nullable_parent() {
    let expected = json!({ "good": 0, "parent": null });
    assert_eq!(data("{ good: slow(ms: 0) parent { ok required } }").await, (expected, 1));
}

/// Against the specification, and why nullable fields are typed the other way round.
#[tokio::test]
async fn a_result_of_an_option_that_fails_nulls_all_data() {
    assert_eq!(data("{ good: slow(ms: 0) resultOfOption }").await, (Value::Null, 1));
}

#[tokio::test]
async fn an_option_of_a_result_that_fails_nulls_its_field_alone() {
    let expected = json!({ "good": 0, "optionOfResult": null });
    assert_eq!(data("{ good: slow(ms: 0) optionOfResult }").await, (expected, 1));
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_is_left_out_has_its_default_in_directives_too() {
    let gateway = TestGateway::start();
    for (query, has_both) in [
        ("query($x: Boolean = true) { datasets @skip(if: $x) { name } channels { account } }", false),
        ("query($x: Boolean! = true) { datasets @include(if: $x) { name } channels { account } }", true),
        ("query A($x: Boolean = true) { ... @include(if: $x) { datasets { name } } channels { account } }", true),
    ] {
        assert_eq!(gateway.data(query).await.get("datasets").is_some(), has_both, "{query}");
        let sent = gateway.ask(query, json!({"x": false})).await;
        assert_eq!(sent["data"].get("datasets").is_some(), query.contains("@skip"), "what is sent counts: {query}");
    }
    // The default of one operation is nothing to another.
    let metrics = |given: &str| {
        format!("phoneNumberMetrics(custSpaceId: \"cams-beta\", range: {{last: \"P1D\"}}, {given}) {{ totalCount }}")
    };
    let (first, after) = (metrics("first: $x"), metrics("after: $x"));
    let request = Request::new(format!("query A($x: Int = 1) {{ {first} }} query B($x: String) {{ {after} }}"));
    let answer = gateway.gateway().execute(Caller::Anonymous, request.operation_name("A")).await;
    assert!(answer.errors().is_empty(), "{:?}", answer.errors());
}
