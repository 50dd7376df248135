//! Keys: shown in three ways, replaced, expired, bounded.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use tokio::time::sleep;
use weir::config::access::{Phones, Priority};
use weir::domain::{LimitName, Timestamp};
use weir::http::{Bounds, HttpConfig, Site};
use weir::sim::{Fault, Scope, Times};

use super::{api_key, ask, ask_with, door, get, send};
use crate::support::log::Log;
use crate::support::{DISTRIBUTION, METRIC, TestGateway, window};

const DAY: &str = "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P3D\"}) { nodes { start } } }";

#[tokio::test(start_paused = true)]
async fn whoever_shows_no_key_gets_nothing_and_is_told_how() {
    let gateway = TestGateway::builder().config(|config| config.api_keys = vec![api_key("own", "weir_own")]).build();
    let site = door(&gateway);
    for path in [
        "/",
        "/graphql?query={channels{account}}",
        "/graphiql",
        "/graphiql/examples.json",
        "/rows",
        "/rows/phone_number_metrics.csv",
        "/rows/phone_number_metrics.parquet",
        "/metrics",
        "/schema.graphql",
        "/nowhere",
    ] {
        for key in [None, Some("weir_other"), Some("")] {
            let request = Request::get(path).header("host", "localhost");
            let request = key.into_iter().fold(request, |request, key| request.header("x-api-key", key));
            let got = send(&site, request.body(Body::empty()).unwrap()).await;
            assert_eq!(got.status, 401, "{path} {}", got.text());
            let challenges: Vec<_> = got.headers.get_all("www-authenticate").iter().collect();
            assert!(challenges.len() == 2 && challenges[0].to_str().unwrap().starts_with("Bearer"), "{challenges:?}");
            assert_eq!(got.codes(), ["UNAUTHENTICATED"], "{path}");
        }
        let got = get(&site, "weir_own", path).await;
        assert_ne!(got.status, 401, "{path}");
    }
    for path in ["/health/live", "/health/ready"] {
        let got = send(&site, Request::get(path).header("host", "localhost").body(Body::empty()).unwrap()).await;
        assert_eq!(got.status, 200, "probes show none: {path}");
    }
    assert!(gateway.calls(METRIC) > 0, "who shows it is answered");
}

#[tokio::test(start_paused = true)]
async fn two_keys_of_one_name_are_one_caller() {
    let gateway = TestGateway::builder()
        .config(|config| {
            config.api_keys = ["weir_old", "weir_new"].map(|key| api_key("reports", key)).to_vec();
            config.api_keys[0].expires = Some(Timestamp::parse_rfc3339("2026-11-22T11:00:00Z").unwrap());
        })
        .build();
    let site = door(&gateway);
    let page = "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P3D\"}, first: 2) { pageInfo { endCursor } } }";
    let cursor =
        ask(&site, "weir_old", page).await.json()["data"]["phoneNumberMetrics"]["pageInfo"]["endCursor"].clone();
    let next = page.replace("first: 2", &format!("first: 2, after: {cursor}"));
    assert_eq!(ask(&site, "weir_new", &next).await.json().get("errors"), None, "its walks go on");
    tokio::time::advance(std::time::Duration::from_mins(45)).await;
    let late = ask(&site, "weir_old", DAY).await;
    assert_eq!((late.status, late.codes()), (401, vec!["UNAUTHENTICATED".to_owned()]));
    assert!(late.text().contains("expired"));
    assert_eq!(ask(&site, "weir_new", DAY).await.json().get("errors"), None);
}

#[tokio::test(start_paused = true)]
async fn a_key_asks_in_its_classes_alone() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut bulk = api_key("bulk", "weir_bulk");
            bulk.classes = Some(vec![Priority::Bulk]);
            let mut quick = api_key("quick", "weir_quick");
            quick.classes = Some(vec![Priority::Interactive]);
            config.api_keys = vec![bulk, quick];
        })
        .build();
    let site = door(&gateway);
    let refused = ask_with(&site, "weir_bulk", DAY, &json!({ "priority": "INTERACTIVE" })).await;
    assert_eq!(refused.codes(), ["FORBIDDEN"], "{}", refused.text());
    assert!(refused.text().contains("BULK"), "{}", refused.text());
    assert_eq!(get(&site, "weir_quick", "/rows/phone_number_metrics.csv").await.status, 403, "rows are bulk");
    assert_eq!(gateway.calls(METRIC), 0);
    assert_eq!(
        get(&site, "weir_quick", "/rows/phone_number_metrics.csv?priority=INTERACTIVE&last=P1D").await.status,
        200
    );
    assert_eq!(ask(&site, "weir_bulk", DAY).await.json().get("errors"), None, "unsaid, it asks in the one it may");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_day_are_counted_and_come_again() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut poor = api_key("poor", "weir_poor");
            poor.calls_per_day = Some(2);
            let mut none = api_key("none", "weir_none");
            none.calls_per_day = Some(0);
            let mut alike = api_key("alike", "weir_alike");
            alike.calls_per_day = Some(2);
            config.api_keys = vec![poor, alike, none, api_key("rich", "weir_rich")];
        })
        .build();
    let site = door(&gateway);
    let of = |channel: &str| DAY.replace("cams-alpha", channel);
    assert_eq!(ask(&site, "weir_none", DAY).await.codes(), ["FORBIDDEN"]);
    assert_eq!(gateway.calls(METRIC), 0);
    for channel in ["cams-alpha", "cams-beta"] {
        assert_eq!(ask(&site, "weir_poor", &of(channel)).await.json().get("errors"), None, "{channel}");
    }
    assert_eq!(gateway.calls(METRIC), 2);
    let spent = ask(&site, "weir_poor", &of("cams-gamma")).await;
    assert_eq!(spent.codes(), ["QUOTA_WAIT_TOO_LONG"]);
    let error = &spent.json()["errors"][0]["extensions"];
    assert_eq!(
        (&error["limit"], &error["actual"], &error["retryable"]),
        (&json!(2), &json!(1), &json!(true)),
        "{error}"
    );
    // Until midnight, from 10:20:30 on.
    assert_eq!(error["retryAfterMs"].as_u64().map(|ms| ms / 60_000), Some(13 * 60 + 39), "{error}");
    let rows = get(&site, "weir_poor", "/rows/phone_number_metrics.csv?last=P3D&cust_space_id=cams-gamma").await;
    assert_eq!((rows.status, rows.header("retry-after").is_some()), (503, true), "{}", rows.text());
    assert_eq!(gateway.calls(METRIC), 2, "nothing was asked for it");
    for key in ["weir_poor", "weir_none"] {
        assert_eq!(ask(&site, key, DAY).await.json().get("errors"), None, "what is held is answered still");
    }
    let alike = ask(&site, "weir_alike", &DAY.replace("P3D", "P5D")).await;
    assert_eq!(alike.json().get("errors"), None, "one with as many a day has its own");
    assert_eq!(ask(&site, "weir_rich", &of("cams-gamma")).await.json().get("errors"), None, "others have their own");
    tokio::time::advance(std::time::Duration::from_hours(14)).await;
    assert_eq!(ask(&site, "weir_poor", &of("cams-delta")).await.json().get("errors"), None, "another day");
}

#[tokio::test(start_paused = true)]
async fn calls_of_a_day_may_be_counted_alone() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut poor = api_key("poor", "weir_poor");
            poor.calls_per_day = Some(1);
            let mut none = api_key("none", "weir_none");
            none.calls_per_day = Some(0);
            config.api_keys = vec![poor, none];
            config.limits.shadow = vec![LimitName::CallsPerDay];
        })
        .build();
    let site = door(&gateway);
    for (n, days) in [(1, 3), (2, 9)] {
        let query = DAY.replace("P3D", &format!("P{days}D"));
        let got = ask(&site, "weir_poor", &query).await;
        assert!(got.codes().is_empty(), "{}", got.text());
        assert_eq!(gateway.calls(METRIC), n);
    }
    let enable = "mutation { enableWhatsappRoiMetric(custSpaceId: \"cams-alpha\") { requestId } }";
    assert!(ask(&site, "weir_poor", enable).await.codes().is_empty());
    let nothing = ask(&site, "weir_none", &DAY.replace("P3D", "P20D")).await;
    assert_eq!(nothing.codes(), ["FORBIDDEN"], "to have none at all is no limit but a right");
    let counted = get(&site, "weir_poor", "/metrics").await.text();
    for line in [
        "weir_shadow_refusals_total{caller=\"poor\",limit=\"calls_per_day\"} 2",
        "weir_refusals_total{caller=\"none\",limit=\"calls_per_day\"} 1",
    ] {
        assert!(counted.contains(line), "{line}\n{counted}");
    }
    assert!(!counted.contains("weir_refusals_total{caller=\"poor\""), "{counted}");
}

/// One key takes no more than its share of the requests that are worked on, rows half of it.
#[tokio::test(start_paused = true)]
async fn one_key_leaves_room_for_the_others() {
    let gateway = TestGateway::builder()
        .config(|config| config.api_keys = ["one", "other"].map(|name| api_key(name, name)).to_vec())
        .build();
    let config = HttpConfig { requests_per_caller: 1, ..HttpConfig::default() };
    let site = Site::new(config, gateway.gateway(), Arc::clone(gateway.app().access()));
    gateway.sim().faults().push(Fault::Hang, Scope::operation(DISTRIBUTION), Times::Next(1));
    let hanging = tokio::spawn({
        let site = site.clone();
        async move { ask(&site, "one", &window("app-one", 0)).await }
    });
    while gateway.calls(DISTRIBUTION) == 0 {
        sleep(Duration::from_millis(1)).await;
    }
    let quotas = "{ quotas { operation } }";
    let rows = "/rows/phone_number_metrics.csv?limit=1";
    for refused in [ask(&site, "one", quotas).await, get(&site, "one", rows).await] {
        assert_eq!((refused.status, refused.codes()), (503, vec!["QUOTA_WAIT_TOO_LONG".to_owned()]));
        assert!(refused.text().contains("\"limitName\":\"requests_per_caller\""), "{}", refused.text());
        assert_eq!(refused.header("retry-after"), Some("1"));
    }
    for answered in [ask(&site, "other", quotas).await, get(&site, "other", rows).await] {
        assert_eq!(answered.status, 200, "{}", answered.text());
    }
    let counted = get(&site, "one", "/metrics").await.text();
    let line = "weir_refusals_total{caller=\"one\",limit=\"requests_per_caller\"} 2";
    assert!(counted.contains(line), "{counted}");
    let HttpConfig { limits, held_bodies, held_answers, requests, .. } = HttpConfig::default();
    site.set_bounds(&Bounds { limits, held_bodies, held_answers, requests, requests_per_caller: 2 });
    assert_eq!(ask(&site, "one", quotas).await.status, 200, "a reload changes it");
    assert!(!hanging.is_finished());
    hanging.abort();
}

#[tokio::test(start_paused = true)]
async fn masked_phones_are_masked_at_every_door() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut masked = api_key("masked", "weir_masked");
            masked.phones = Phones::Masked;
            config.api_keys = vec![masked, api_key("shown", "weir_shown")];
        })
        .build();
    let site = door(&gateway);
    let phones = gateway.sim().world().phones("cams-alpha");
    let rows = "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P3D\"}, first: 5) \
                { totalCount pageInfo { endCursor } edges { cursor node { phoneNumber sentCount } } } \
                channel(custSpaceId: \"cams-alpha\") { phoneNumbers metrics(range: {last: \"P3D\"}) { phoneNumber } } \
                phoneNumberMetricTotals(custSpaceIds: [\"cams-alpha\"], by: [PHONE_NUMBER], range: {last: \"P3D\"}) \
                { phoneNumber sentCount } }";
    let shown = ask(&site, "weir_shown", rows).await.json();
    let masked = ask(&site, "weir_masked", rows).await;
    let pulls = ["csv", "json", "jsonl"]
        .map(|format| format!("/rows/phone_number_metrics.{format}?last=P3D&cust_space_id=cams-alpha"));
    let mut told = vec![masked.text()];
    for path in pulls.iter().map(String::as_str).chain([
        "/rows/phone_number_totals.csv?last=P3D&by=PHONE_NUMBER",
        "/rows/measurements.csv?last=P1D",
        "/rows/phone_number_metrics.json?last=P3D&limit=3&cust_space_id=cams-alpha",
    ]) {
        let got = get(&site, "weir_masked", path).await;
        assert_eq!(got.status, 200, "{path} {}", got.text());
        told.push(got.text());
        // Cursors are read in base64 by whoever wants to.
        let next = got.header("link").unwrap_or_default().split(['=', '>']).nth(1).unwrap_or_default().to_owned();
        told.push(decoded(&next));
    }
    let masked = masked.json();
    for edge in masked["data"]["phoneNumberMetrics"]["edges"].as_array().unwrap() {
        told.push(decoded(edge["cursor"].as_str().unwrap()));
    }
    let parquet = get(&site, "weir_masked", "/rows/phone_number_metrics.parquet?last=P3D").await;
    told.push(parquet.text());
    for (text, phone) in told.iter().flat_map(|text| phones.iter().map(move |phone| (text, phone))) {
        assert!(!text.contains(phone.as_str()), "a phone number was shown: {}", &text[..text.len().min(300)]);
    }
    // The same numbers, under names that stay.
    let total = |answer: &serde_json::Value| -> i64 {
        let totals = answer["data"]["phoneNumberMetricTotals"].as_array().unwrap();
        totals.iter().map(|total| total["sentCount"].as_i64().unwrap()).sum()
    };
    assert_eq!(total(&masked), total(&shown));
    let count = |answer: &serde_json::Value| answer["data"]["phoneNumberMetricTotals"].as_array().unwrap().len();
    assert!(count(&masked) == count(&shown) && count(&shown) > 1);
    assert_eq!(masked["data"]["phoneNumberMetrics"]["totalCount"], shown["data"]["phoneNumberMetrics"]["totalCount"]);
    // A name finds its rows, and a number nothing, so that nobody tries numbers out.
    let name = masked["data"]["phoneNumberMetricTotals"][0]["phoneNumber"].as_str().unwrap();
    let of = |phone: &str| {
        format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: [{phone:?}], range: {{last: \"P3D\"}}) {{ totalCount }} }}"
        )
    };
    let n_of = async |key, phone: &str| {
        ask(&site, key, &of(phone)).await.json()["data"]["phoneNumberMetrics"]["totalCount"].as_u64().unwrap()
    };
    let real = phones.iter().map(String::as_str);
    assert!(n_of("weir_masked", name).await > 0);
    for phone in real {
        assert_eq!(n_of("weir_masked", phone).await, 0, "a number was confirmed");
    }
    assert!(n_of("weir_shown", &phones[0]).await > 0, "who may read them asks by them");
    // A walk goes on behind a name.
    let cursor = &masked["data"]["phoneNumberMetrics"]["pageInfo"]["endCursor"];
    let next = rows.replace("first: 5", &format!("first: 5, after: {cursor}"));
    let next = ask(&site, "weir_masked", &next).await.json();
    assert_eq!(next.get("errors"), None);
    assert_ne!(next["data"]["phoneNumberMetrics"]["edges"][0], masked["data"]["phoneNumberMetrics"]["edges"][0]);
}

fn decoded(text: &str) -> String {
    use base64::Engine as _;
    let bytes = base64::engine::general_purpose::URL_SAFE_NO_PAD.decode(text).unwrap_or_default();
    String::from_utf8_lossy(&bytes).into_owned()
}

#[tokio::test(start_paused = true)]
async fn who_asked_is_logged_and_counted_by_name() {
    let (log, _guard) = Log::of_thread();
    let gateway = TestGateway::builder()
        .config(|config| {
            config.api_keys = vec![api_key("dashboards", "weir_own")];
            config.limits.slices = 3;
        })
        .build();
    let site = door(&gateway);
    assert_eq!(ask(&site, "weir_own", "{ channels { account } }").await.status, 200);
    assert_eq!(ask(&site, "weir_own", &DAY.replace("P3D", "P30D")).await.codes(), ["TOO_EXPENSIVE"]);
    assert_eq!(get(&site, "weir_own", "/rows/phone_number_metrics.csv?last=P1D").await.status, 200);
    ask(&site, "weir_other", "{ channels { account } }").await;
    let text = log.text();
    for line in ["request answered", "rows sent"] {
        let of = text.lines().filter(|told| told.contains(line)).collect::<Vec<_>>();
        assert!(of.iter().any(|told| told.contains("caller=\"dashboards\"")), "{of:?}");
    }
    let metrics = get(&site, "weir_own", "/metrics").await.text();
    for line in [
        "weir_refusals_total{caller=\"dashboards\",limit=\"slices\"} 1",
        "weir_requests_total{door=\"graphql\",operation=\"none\",outcome=\"UNAUTHENTICATED\"} 1",
    ] {
        assert!(metrics.contains(line), "{line}\n{metrics}");
    }
}
