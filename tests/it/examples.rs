//! The example queries do what their comments promise: each runs against the demo's gateway.

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir::access::Access;
use weir::http::{HttpConfig, Site};

use crate::support::process::run;
use crate::support::{TestGateway, codes};

const FOLDER: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/queries");

fn query(file: &str) -> String {
    std::fs::read_to_string(format!("{FOLDER}/{file}.graphql")).unwrap()
}

/// The list at a JSON pointer; it must not be empty.
#[track_caller]
fn list<'a>(answer: &'a Value, pointer: &str) -> &'a [Value] {
    let found = answer.pointer(pointer).and_then(Value::as_array);
    let found = found.unwrap_or_else(|| panic!("no list at {pointer}: {answer:#}"));
    assert!(!found.is_empty(), "nothing at {pointer}: {answer:#}");
    found
}

/// The list at a JSON pointer, each of whose items has a number at `field`, some of them above zero.
#[track_caller]
fn numbers(answer: &Value, pointer: &str, field: &str) {
    let values: Vec<f64> = list(answer, pointer).iter().map(|item| item[field].as_f64().unwrap()).collect();
    assert!(values.iter().any(|value| *value > 0.0), "{field} at {pointer}: {values:?}");
}

fn no_errors(answer: &Value) {
    assert_eq!(answer.get("errors"), None);
}

fn calls(answer: &Value) -> (u64, u64) {
    let calls = &answer["extensions"]["weir"]["upstreamCalls"];
    (calls["ALIBABA_CAMS"].as_u64().unwrap(), calls["VOLCENGINE_RTC"].as_u64().unwrap())
}

fn both_vendors(answer: &Value) {
    no_errors(answer);
    numbers(answer, "/data/phoneNumberMetrics/nodes", "sentCount");
    numbers(answer, "/data/phoneNumberMetrics/nodes", "deliveryRate");
    numbers(answer, "/data/operationDistribution/data", "value");
    assert_eq!(answer["data"]["operationDistribution"]["indicator"], "user_num");
    assert_eq!(calls(answer), (1, 1));
}

fn half_hours(answer: &Value) {
    no_errors(answer);
    let page = &answer["data"]["phoneNumberMetrics"];
    numbers(answer, "/data/phoneNumberMetrics/nodes", "sentCount");
    assert!(page["nodes"].as_array().unwrap().iter().all(|row| row["granularity"] == "HALF_HOUR"));
    assert_eq!(page["nodes"].as_array().unwrap().len(), 25, "a page of a longer list");
    assert!(page["totalCount"].as_u64() > Some(25) && page["pageInfo"]["hasNextPage"] == true);
    assert!(page["pageInfo"]["endCursor"].is_string());
}

fn provinces(answer: &Value) {
    no_errors(answer);
    numbers(answer, "/data/operationDistribution/data", "value");
    assert_eq!(answer["data"]["operationDistribution"]["dimension"], "PROVINCE");
}

fn days_by_country(answer: &Value) {
    no_errors(answer);
    let windows = list(answer, "/data/operationDistributions");
    assert!(windows.len() >= 7, "{windows:#?}");
    for (n, window) in windows[..7].iter().enumerate() {
        numbers(answer, &format!("/data/operationDistributions/{n}/data"), "value");
        assert!(window["start"].as_str().unwrap().ends_with("T16:00:00Z"), "days of Asia/Shanghai: {window}");
    }
    assert_eq!(windows.last().unwrap()["finality"], "PROVISIONAL", "the running day");
}

fn all_channels(answer: &Value) {
    no_errors(answer);
    let channels = list(answer, "/data/channels");
    assert_eq!(channels.len(), 5);
    for n in 0..channels.len() {
        numbers(answer, &format!("/data/channels/{n}/metrics"), "sentCount");
    }
    assert_eq!(calls(answer), (5, 0), "one call a channel");
}

fn one_channel(answer: &Value) {
    no_errors(answer);
    assert_eq!(answer["data"]["channel"]["custSpaceId"], "cams-beta");
    numbers(answer, "/data/channel/metrics", "sentCount");
}

fn applications(answer: &Value) {
    no_errors(answer);
    for n in 0..list(answer, "/data/applications").len() {
        numbers(answer, &format!("/data/applications/{n}/distribution/data"), "value");
    }
    assert_eq!(answer["data"]["application"]["appId"], "app-two");
}

fn what_is_left(answer: &Value) {
    no_errors(answer);
    numbers(answer, "/data/datasets", "limitPerSecond");
    numbers(answer, "/data/quotas", "available");
    assert_eq!(calls(answer), (0, 0), "costs no upstream call");
}

fn what_it_cost(answer: &Value) {
    no_errors(answer);
    for alias in ["alpha", "sameAgain", "gamma"] {
        numbers(answer, &format!("/data/{alias}/metrics"), "sentCount");
    }
    assert_eq!(answer["data"]["alpha"], answer["data"]["sameAgain"]);
    assert_eq!(calls(answer), (2, 0), "a call a channel, and none for the repetition");
}

fn a_useful_error(answer: &Value) {
    assert_eq!(codes(answer), ["RANGE_TOO_LONG"]);
    let message = answer["errors"][0]["message"].as_str().unwrap();
    assert!(message.contains("operationDistributions"), "{message}");
    assert_eq!(answer["data"]["operationDistribution"], Value::Null);
    assert_eq!(list(answer, "/data/applications").len(), 2, "the other field has its data");
}

fn enabled(answer: &Value) {
    no_errors(answer);
    let payload = &answer["data"]["enableWhatsappRoiMetric"];
    assert_eq!(payload["custSpaceId"], "cams-alpha");
    let request_id = payload["requestId"].as_str().unwrap();
    assert!(!request_id.is_empty() && request_id.trim() == request_id, "{request_id:?}");
    assert!(payload["dataExpectedFrom"].as_str().unwrap().ends_with('Z'), "{payload}");
}

fn one_template(answer: &Value) {
    no_errors(answer);
    assert_eq!(answer["data"]["channel"]["templates"], json!(["welcome", "order_shipped"]));
    for count in ["sentCount", "readCount", "readRate"] {
        numbers(answer, "/data/templateMetrics/nodes", count);
    }
    numbers(answer, "/data/templateMetrics/nodes/0/clicks", "count");
    assert_eq!(calls(answer), (1, 0));
}

fn ninety_points(answer: &Value) {
    no_errors(answer);
    numbers(answer, "/data/phoneNumberMetricTotals", "sentCount");
    let totals = list(answer, "/data/phoneNumberMetricTotals");
    assert!((90..=91).contains(&totals.len()), "a point a day: {}", totals.len());
    assert!(totals.iter().all(|total| total["date"].is_string()));
    assert_eq!(calls(answer).1, 0);
}

fn weeks_of_numbers(answer: &Value) {
    no_errors(answer);
    numbers(answer, "/data/phoneNumberMetricTotals", "sentCount");
    for total in list(answer, "/data/phoneNumberMetricTotals") {
        assert!(total["custSpaceId"].is_string() && total["phoneNumber"].is_string(), "{total}");
    }
}

fn collected(answer: &Value) {
    no_errors(answer);
    // The demo has no archive, and collects nothing.
    assert_eq!(answer["data"]["collections"], json!([]));
    assert_eq!(calls(answer), (0, 0), "costs no upstream call");
}

type Check = fn(&Value);

/// Every file, in their order, with its check.
const EXAMPLES: [(&str, Check); 15] = [
    ("01-both-vendors", both_vendors),
    ("02-phone-number-metrics", half_hours),
    ("03-operation-distribution", provinces),
    ("04-operation-distributions", days_by_country),
    ("05-channels", all_channels),
    ("06-channel", one_channel),
    ("07-applications", applications),
    ("08-datasets-and-quotas", what_is_left),
    ("09-what-it-cost", what_it_cost),
    ("10-a-useful-error", a_useful_error),
    ("11-enable-roi-metric", enabled),
    ("12-template-metrics", one_template),
    ("13-totals", ninety_points),
    ("14-totals-by-phone-number", weeks_of_numbers),
    ("15-collections", collected),
];

#[test]
fn no_example_is_without_a_check() {
    let files = std::fs::read_dir(FOLDER).unwrap().map(|entry| entry.unwrap().path());
    let mut names: Vec<String> = files.map(|path| path.file_stem().unwrap().to_string_lossy().into_owned()).collect();
    names.sort();
    assert_eq!(names, EXAMPLES.map(|(name, _)| name));
}

#[expect(clippy::print_stdout, reason = "names the example whose check fails")]
#[tokio::test(start_paused = true)]
async fn every_example_answers_what_its_comment_promises() {
    for (name, check) in EXAMPLES {
        let gateway = TestGateway::start();
        let answer = gateway.query(&query(name)).await;
        println!("{name}"); // shown if the check fails
        check(&answer);
    }
}

/// What a newcomer types is answered whole, also where a list comes in pages.
#[tokio::test]
async fn every_example_is_printed_to_its_end_by_the_command() {
    for (name, _) in EXAMPLES {
        let file = format!("{FOLDER}/{name}.graphql");
        let ran = run(&["query", "--demo", "--format", "csv", &file]).await;
        if name == "10-a-useful-error" {
            assert!(ran.code == Some(1) && ran.err.contains("RANGE_TOO_LONG"), "{ran:?}");
        } else {
            assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{name}");
        }
        // The demo collects nothing: that list has its header alone.
        let lines = if name == "15-collections" { 1 } else { 2 };
        assert!(ran.out.lines().count() >= lines, "{name}: {}", ran.out);
    }
}

/// The queries that the page offers, of a gateway with these names.
async fn offered(channels: &[&str], apps: &[&str]) -> (TestGateway, Vec<String>) {
    let own = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect::<Vec<_>>();
    let (channels, apps) = (own(channels), own(apps));
    let gateway = TestGateway::builder().config(|config| {
        config.alibaba_cams[0].templates.clear();
        config.alibaba_cams[0].channels = channels;
        config.volcengine_rtc[0].apps = apps;
    });
    let gateway = gateway.build();
    let request = Request::get("/graphiql/examples.json").header("host", "localhost").body(Body::empty());
    let answer =
        Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone()).oneshot(request.unwrap()).await.unwrap();
    let tabs = to_bytes(answer.into_body(), usize::MAX).await.unwrap();
    let tabs: Vec<Value> = serde_json::from_slice(&tabs).unwrap();
    let queries = tabs.iter().map(|tab| tab["query"].as_str().unwrap().to_owned()).collect();
    (gateway, queries)
}

#[tokio::test(start_paused = true)]
async fn the_page_offers_the_examples_with_the_configured_names() {
    for (channels, apps) in [
        (vec!["shop"], vec!["calls"]),
        // The demo's names in another order, and names that a string has to escape.
        (vec!["cams-beta", "cams-alpha"], vec!["app-two", "app-one"]),
        (vec!["a \"quoted\" one", "back\\slash\""], vec!["\"", "上海"]),
    ] {
        let (gateway, queries) = offered(&channels, &apps).await;
        assert_eq!(queries.len(), EXAMPLES.len());
        for query in &queries {
            let answer = gateway.query(query).await;
            let is_as_promised = codes(&answer).iter().all(|code| code == "RANGE_TOO_LONG");
            assert!(is_as_promised, "{channels:?}: {query}\n{answer}");
        }
        let named = |name: &str, query: &str| query.contains(&json!(name).to_string());
        assert!(named(channels[0], &queries[0]) && named(apps[0], &queries[0]), "{}", queries[0]);
        assert!(named(channels[channels.len() - 1], &queries[5]), "{}", queries[5]);
    }
    // What is not configured is shown with the demo's name.
    let (_, queries) = offered(&["shop"], &[]).await;
    assert!(queries[0].contains("\"shop\"") && queries[0].contains("\"app-one\""), "{}", queries[0]);
}

#[test]
fn no_line_is_wider_than_the_editor() {
    for (name, _) in EXAMPLES {
        for line in query(name).lines() {
            assert!(line.chars().count() <= 58, "{name}: {line}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn the_example_on_cost_costs_nothing_the_second_time() {
    let gateway = TestGateway::start();
    let query = query("09-what-it-cost");
    let first = gateway.query(&query).await;
    let second = gateway.query(&query).await;
    assert_eq!((calls(&first), calls(&second)), ((2, 0), (0, 0)));
    assert!(second["extensions"]["weir"]["cacheHits"].as_u64() > Some(0), "{second}");
}

#[tokio::test(start_paused = true)]
async fn the_example_of_pages_goes_on_with_its_end_cursor() {
    let gateway = TestGateway::start();
    let query = query("02-phone-number-metrics");
    let first = gateway.query(&query).await;
    let cursor = &first["data"]["phoneNumberMetrics"]["pageInfo"]["endCursor"];
    let second = gateway.ask(&query, json!({ "after": cursor })).await;
    no_errors(&second);
    let rows = |answer: &Value| answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap().clone();
    assert!(!rows(&second).is_empty());
    assert!(rows(&second).iter().all(|row| !rows(&first).contains(row)), "no row comes twice");
    assert_eq!(second["extensions"]["weir"]["upstreamCalls"], json!({ "ALIBABA_CAMS": 0, "VOLCENGINE_RTC": 0 }));
}
