//! Lists written in one go are byte for byte what the engine answers in its own way.

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{Request, Variables};
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;
use tokio::sync::Semaphore;
use tokio::time::timeout;
use weir::domain::Caller;
use weir::fast::FastPath;
use weir::schema::Gateway;

use crate::support::{TestGateway, codes, documents};

async fn text(gateway: &Gateway, query: &str, variables: serde_json::Value) -> String {
    let (gateway, request) = (gateway.clone(), Request::new(query).variables(Variables::from_json(variables)));
    let answer = tokio::spawn(async move { gateway.execute(Caller::Anonymous, request).await }).await.unwrap();
    String::from_utf8(answer.to_json()).unwrap()
}

/// The same gateway with and without lists that are written in one go.
fn both(gateway: &TestGateway) -> (Gateway, Gateway) {
    let with = |raw_lists| {
        let fast_path = FastPath { raw_lists, ..FastPath::OFF };
        Arc::unwrap_or_clone(gateway.gateway()).with_fast_path(fast_path)
    };
    (with(true), with(false))
}

#[tokio::test(start_paused = true)]
async fn both_ways_answer_the_same_bytes() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let (raw, plain) = both(&gateway);
    let mut rng = StdRng::seed_from_u64(5);
    let mut longest = 0;
    for _ in 0..1_500 {
        let row = documents::row(&mut rng, 2);
        let fragment = documents::ROW_FRAGMENT;
        let granularity = ["DAILY", "HALF_HOUR"][rng.random_range(0..2_usize)];
        let field = if rng.random_bool(0.5) {
            format!(
                "m: phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: {granularity}, range: {{last: \"P3D\"}}) {{ totalCount nodes {row} ...Used }}"
            )
        } else {
            format!(
                "m: channel(custSpaceId: \"cams-beta\") {{ custSpaceId metrics(granularity: {granularity}, range: {{last: \"P3D\"}}) {row} }} u: phoneNumberMetrics(custSpaceId: \"cams-beta\", range: {{last: \"P3D\"}}) {{ ...Used }}"
            )
        };
        let used = "fragment Used on PhoneNumberMetricConnection { pageInfo { hasNextPage } first: nodes { ...Row } }";
        let variables = json!({"yes": rng.random_bool(0.5)});
        let query = format!("query($yes: Boolean!) {{ {field} }} {fragment} {used}");
        let _warm = text(&raw, &query, variables.clone()).await; // from now on both come from memory
        let (one, other) = (text(&raw, &query, variables.clone()).await, text(&plain, &query, variables).await);
        let parsed: serde_json::Value = serde_json::from_str(&one).unwrap();
        assert_eq!(codes(&parsed), Vec::<String>::new(), "{query}\n{one}");
        assert_eq!(one, other, "{query}");
        longest = longest.max(one.len());
    }
    assert!(longest > 20_000, "{longest}");
}

#[tokio::test(start_paused = true)]
async fn a_list_selected_twice_under_one_key_is_merged() {
    let gateway = TestGateway::start();
    let data = gateway
        .data(
            r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {last: "P1D"}) { nodes { phoneNumber } ...More } }
               fragment More on PhoneNumberMetricConnection { nodes { sentCount } }"#,
        )
        .await;
    let node = &data["phoneNumberMetrics"]["nodes"][0];
    assert!(node["phoneNumber"].is_string() && node["sentCount"].is_i64(), "{node}");
}

/// While the turns are taken by others, what is short is answered all the same.
#[tokio::test(start_paused = true)]
async fn whoever_asks_for_little_is_not_behind_all_who_ask_for_much() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let (raw, _) = both(&gateway);
    let turns = Arc::new(Semaphore::new(1));
    let raw = raw.with_long_lists(Arc::clone(&turns));
    let list = |range: &str| {
        format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: HALF_HOUR, first: 10000, range: {{last: \"{range}\"}}) \
             {{ totalCount nodes {{ sentCount }} }} }}"
        )
    };
    let (short, long) = (list("P1D"), list("P60D"));
    for query in [&short, &long] {
        text(&raw, query, json!({})).await; // from now on both come from memory
    }
    let (few, many) = (text(&raw, &short, json!({})).await, text(&raw, &long, json!({})).await);
    let turn = turns.acquire().await.unwrap();
    assert_eq!(text(&raw, &short, json!({})).await, few);
    let waiting = text(&raw, &long, json!({}));
    let mut waiting = std::pin::pin!(waiting);
    assert!(timeout(Duration::from_secs(60), &mut waiting).await.is_err(), "a long list was written out of turn");
    drop(turn);
    assert_eq!(waiting.await, many);
}

/// Every field of every item, with and without what may be null.
#[tokio::test(start_paused = true)]
async fn every_item_is_the_same_both_ways() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let (raw, plain) = both(&gateway);
    let counts = "granularity start end sentCount deliveredCount deliveryRate finality fetchedAt source";
    let clicks = "clicks { __typename kind text count c: count }";
    let template = format!("__typename custSpaceId templateCode language readCount readRate {clicks} {counts}");
    let query = format!(
        r#"{{
            phones: phoneNumberMetrics(custSpaceId: "cams-alpha", granularity: HALF_HOUR, range: {{last: "P1D"}}) {{
                edges {{ __typename cursor node {{ __typename custSpaceId phoneNumber {counts} }} }}
                none: nodes {{ __typename }}
            }}
            templates: templateMetrics(custSpaceId: "cams-alpha", templateCode: "welcome", range: {{last: "P9D"}}) {{
                edges {{ cursor node {{ {template} }} }}
                nodes {{ {template} }}
            }}
            places: operationDistribution(appId: "app-one", range: {{last: "P1D"}}) {{
                data {{ __typename distributionName value proportion }}
            }}
        }}"#
    );
    let _warm = text(&raw, &query, json!({})).await;
    let (one, other) = (text(&raw, &query, json!({})).await, text(&plain, &query, json!({})).await);
    let parsed: serde_json::Value = serde_json::from_str(&one).unwrap();
    assert_eq!(codes(&parsed), Vec::<String>::new(), "{one}");
    assert_eq!(one, other);
    for rows in ["/phones/edges", "/phones/none", "/templates/edges", "/templates/nodes", "/places/data"] {
        let rows = parsed.pointer(&format!("/data{rows}")).unwrap().as_array().unwrap();
        assert!(!rows.is_empty(), "{one}");
    }
    assert!(one.contains(r#""clicks":[{"#), "{one}");
}

/// What the engine makes of a list is bounded before it is made, as what is written in one go is.
#[tokio::test(start_paused = true)]
async fn a_list_too_long_for_the_answer_is_refused_both_ways() {
    let query = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", granularity: HALF_HOUR, range: {last: "P3D"}) {
        edges { node { phoneNumber start end sentCount deliveredCount finality fetchedAt source } }
    } }"#;
    for (answer_bytes, code) in [(20_000, Some("TOO_EXPENSIVE")), (64 << 20, None)] {
        let builder = TestGateway::builder().max_wait(600);
        let gateway = builder.config(|config| config.limits.answer_bytes = answer_bytes).build();
        let (raw, plain) = both(&gateway);
        for gateway in [raw, plain] {
            let answer: serde_json::Value = serde_json::from_str(&text(&gateway, query, json!({})).await).unwrap();
            assert_eq!(codes(&answer).first().map(String::as_str), code, "{answer}");
        }
    }
}
