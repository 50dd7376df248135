//! What hostile queries and unlucky moments must not do.

use serde_json::{Value, json};

use crate::support::{METRIC, TestGateway, codes};

fn weir(answer: &Value) -> &Value {
    &answer["extensions"]["weir"]
}

#[tokio::test(start_paused = true)]
async fn many_phones_cost_no_more_than_their_rows() {
    let gateway = TestGateway::start();
    let phones: Vec<String> = (0..3_000).map(|n| format!("86138{n:06}")).collect();
    let query = "query($phones: [String!]) { phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: $phones, range: {last: \"P30D\"}) { totalCount } }";
    let answer = gateway.ask(query, json!({"phones": phones})).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    let again = gateway.ask(query, json!({"phones": phones})).await;
    assert_eq!(weir(&again)["cacheHits"], json!(31), "a look-up a day, not one a day and phone");
    assert_eq!(gateway.calls(METRIC), 1);
    let seen = gateway.data("{ channel(custSpaceId: \"cams-alpha\") { phoneNumbers } }").await;
    let one = seen["channel"]["phoneNumbers"][0].clone();
    let rows = async |phones: Value| {
        gateway.ask(query, json!({"phones": phones})).await["data"]["phoneNumberMetrics"]["totalCount"]
            .as_u64()
            .unwrap()
    };
    let with_one: Vec<Value> = phones.iter().map(|phone| json!(phone)).chain([one.clone()]).collect();
    assert!(rows(json!([one])).await > 20);
    assert_eq!(rows(json!(with_one)).await, rows(json!([one])).await, "nobody else's rows");
}

#[tokio::test(start_paused = true)]
async fn one_field_lists_no_more_windows_by_naming_an_application_often() {
    let gateway = TestGateway::start();
    let ids: Vec<&str> = std::iter::repeat_n("app-one", 40).collect();
    let query = "query($ids: [ID!]) { operationDistributions(appIds: $ids, range: {last: \"P800D\"}, window: \"PT1H\") { start } }";
    let answer = gateway.ask(query, json!({"ids": ids})).await;
    assert_eq!(codes(&answer), ["TOO_EXPENSIVE"]);
    assert_eq!(weir(&answer)["omitted"], Value::Null);
}
