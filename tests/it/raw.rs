//! Lists written in one go are byte for byte what the engine answers in its own way.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::json;

use crate::support::{TestGateway, codes, documents};

#[tokio::test(start_paused = true)]
async fn both_ways_answer_the_same_bytes() {
    let gateway = TestGateway::builder().max_wait(600).build();
    let mut rng = StdRng::seed_from_u64(5);
    let mut longest = 0;
    for n in 0..1_500 {
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
        let raw = format!("query($yes: Boolean!) {{ {field} }} {fragment} {used}");
        // The same answer, from a document that the engine has to merge.
        let plain =
            format!("query($yes: Boolean!) {{ {field} datasets {{ name }} datasets {{ name }} }} {fragment} {used}");
        if n == 0 {
            gateway.ask(&raw, variables.clone()).await; // from now on both come from memory
        }
        let text = async |query: &str| {
            let answer = gateway.ask_text(query, variables.clone()).await;
            let parsed: serde_json::Value = serde_json::from_str(&answer).unwrap();
            assert_eq!(codes(&parsed), Vec::<String>::new(), "{query}\n{answer}");
            answer
        };
        let _warm = text(&raw).await;
        let (raw_text, plain_text) = (text(&raw).await, text(&plain).await);
        let data = |text: &str| {
            let end = text.find("\"extensions\"").unwrap();
            let data = &text[..end];
            data.find(",\"datasets\"")
                .map_or_else(|| data.trim_end_matches("},").to_owned(), |cut| data[..cut].to_owned())
        };
        assert_eq!(data(&raw_text), data(&plain_text), "{raw}");
        longest = longest.max(raw_text.len());
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
