//! What may still change is asked for again, and what may not never is.

use std::time::Duration;

use serde_json::{Value, json};
use weir::domain::time::{DAY, HOUR, MINUTE, SECOND};
use weir::domain::{Timestamp, Window};
use weir::sim::{Dimension, Granularity};

use crate::support::{Builder, DISTRIBUTION, ENABLE, METRIC, TestGateway, codes};

const ROWS: &str =
    "query($channel: ID = \"cams-alpha\", $phones: [String!], $granularity: Granularity! = DAILY, $range: TimeRange!) {
  phoneNumberMetrics(custSpaceId: $channel, phoneNumbers: $phones, granularity: $granularity, range: $range) {
    nodes { phoneNumber start end sentCount deliveredCount finality fetchedAt source }
  }
}";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn between(start: &str, end: &str) -> Value {
    json!({ "between": { "start": start, "end": end } })
}

/// A gateway whose callers wait for what is past its time to live, instead of being served it while it is refreshed.
fn builder() -> Builder {
    TestGateway::builder().config(|config| config.cache.stale_while_refresh = Duration::ZERO)
}

fn with_channels(channels: &[&str]) -> TestGateway {
    let channels: Vec<String> = channels.iter().map(|id| (*id).to_owned()).collect();
    builder().config(|config| config.alibaba_cams[0].channels = channels).build()
}

async fn rows(gateway: &TestGateway, variables: Value) -> Vec<Value> {
    let answer = gateway.ask(ROWS, variables).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
    answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap().clone()
}

/// How many calls asking once more costs.
async fn cost(gateway: &TestGateway, variables: &Value) -> usize {
    let before = gateway.calls(METRIC);
    rows(gateway, variables.clone()).await;
    gateway.calls(METRIC) - before
}

fn instant(row: &Value, field: &str) -> Timestamp {
    at(row[field].as_str().unwrap())
}

fn count(rows: &[Value], field: &str) -> u64 {
    rows.iter().map(|row| row[field].as_u64().unwrap()).sum()
}

async fn sleep(duration: Duration) {
    tokio::time::sleep(duration).await;
}

#[tokio::test(start_paused = true)]
async fn only_the_days_that_may_change_are_fetched_again() {
    let gateway = builder().build();
    let ask = json!({ "range": between("2026-11-10T00:00:00Z", "2026-11-22T10:00:00Z") });
    let first = rows(&gateway, ask.clone()).await;
    assert_eq!(gateway.calls(METRIC), 1);
    sleep(299 * SECOND).await;
    assert_eq!(cost(&gateway, &ask).await, 0, "what may change is used for five minutes");
    sleep(SECOND).await;
    let second = rows(&gateway, ask.clone()).await;
    assert_eq!(gateway.calls(METRIC), 2);

    // A day is settled 49 hours after its end: 19 November was at 01:00 on the 22nd, the 20th is not.
    let part = gateway.sim().arrivals()[1].parameters.clone();
    let (first_open, pad) = (at("2026-11-20T00:00:00Z"), 26 * HOUR);
    assert_eq!((part.start, part.end), (Some(first_open - pad), Some(at("2026-11-23T00:00:00Z") + pad)));
    for (one, other) in first.iter().zip(&second) {
        let is_settled = instant(one, "start") < first_open;
        assert_eq!(one["fetchedAt"] == other["fetchedAt"], is_settled, "{one}");
        assert_eq!(other["source"], json!(if is_settled { "CACHE" } else { "UPSTREAM" }));
    }

    let settled = json!({ "range": between("2026-11-10T00:00:00Z", "2026-11-20T00:00:00Z") });
    for _ in 0..5 {
        sleep(30 * DAY).await;
        assert_eq!(cost(&gateway, &settled).await, 0, "settled for ever");
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_passes_over_a_settled_day_leaves_it_as_it_was() {
    let gateway = builder().build();
    let day = json!({ "range": between("2026-11-05T00:00:00Z", "2026-11-06T00:00:00Z") });
    let settled = rows(&gateway, day.clone()).await;
    let fetched_at = gateway.now();
    assert!(!settled.is_empty());
    sleep(HOUR).await;
    let days = json!({ "range": between("2026-11-03T00:00:00Z", "2026-11-08T00:00:00Z") });
    assert_eq!(cost(&gateway, &days).await, 1, "one call for the days before and after");
    assert!(rows(&gateway, day).await.iter().all(|row| instant(row, "fetchedAt") == fetched_at));
}

#[tokio::test(start_paused = true)]
async fn the_configured_lifetimes_are_used() {
    let gateway = builder()
        .config(|config| {
            config.cache.provisional_ttl = Duration::from_secs(90);
            config.cache.settle.alibaba_cams = Duration::from_hours(1);
        })
        .build();
    let open = json!({ "range": between("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z") });
    assert_eq!(cost(&gateway, &open).await, 1);
    sleep(89 * SECOND).await;
    assert_eq!(cost(&gateway, &open).await, 0);
    sleep(SECOND).await;
    assert_eq!(cost(&gateway, &open).await, 1);
    // 20 November ended 34 hours ago, more than 25 and the one that is configured.
    let settled = json!({ "range": between("2026-11-20T00:00:00Z", "2026-11-21T00:00:00Z") });
    assert_eq!(cost(&gateway, &settled).await, 1);
    sleep(DAY).await;
    assert_eq!(cost(&gateway, &settled).await, 0);
}

#[tokio::test(start_paused = true)]
async fn finality_is_decided_when_a_row_is_fetched() {
    // The day of 18 November in China ends at 16:00 and is final 24 hours and the hour of a clock change later.
    let final_at = at("2026-11-18T16:00:00Z") + 25 * HOUR;
    let gateway = builder()
        .now("2026-11-19T16:59:59Z")
        .config(|config| config.cache.provisional_ttl = Duration::from_mins(30))
        .build();
    let ask = json!({ "range": between("2026-11-17T16:00:00Z", "2026-11-18T16:00:00Z") });
    let finality = |rows: Vec<Value>| {
        assert!(!rows.is_empty() && rows.iter().all(|row| row["finality"] == rows[0]["finality"]));
        (rows[0]["finality"].as_str().unwrap().to_owned(), instant(&rows[0], "fetchedAt"))
    };
    let fetched_at = final_at - SECOND;
    assert_eq!(finality(rows(&gateway, ask.clone()).await), ("PROVISIONAL".to_owned(), fetched_at));
    sleep(MINUTE).await;
    assert_eq!(finality(rows(&gateway, ask.clone()).await), ("PROVISIONAL".to_owned(), fetched_at), "it ages nowhere");
    sleep(29 * MINUTE).await;
    let fetched_at = gateway.now();
    assert_eq!(finality(rows(&gateway, ask.clone()).await), ("FINAL".to_owned(), fetched_at));

    // Its storage day ends eight hours later, and is asked for until nothing that begins in it can change.
    sleep(31 * MINUTE).await;
    assert_eq!(cost(&gateway, &ask).await, 1);
    gateway.clock().set(at("2026-11-19T00:00:00Z") + 49 * HOUR - SECOND);
    sleep(31 * MINUTE).await;
    assert_eq!(cost(&gateway, &ask).await, 1);
    sleep(60 * DAY).await;
    assert_eq!(cost(&gateway, &ask).await, 0);
}

#[tokio::test(start_paused = true)]
async fn what_was_provisional_fills_in() {
    let gateway = builder().build();
    let day = between("2026-11-21T00:00:00Z", "2026-11-22T00:00:00Z");
    let ask = json!({ "granularity": "HALF_HOUR", "range": day });
    let window = Window::new(at("2026-11-21T00:00:00Z"), at("2026-11-22T00:00:00Z")).unwrap();
    let truth = |as_of| {
        let rows = gateway.sim().world().metrics("cams-alpha", Granularity::HalfHour, window, as_of);
        rows.iter().map(|row| (row.sent, row.delivered)).fold((0, 0), |sum, row| (sum.0 + row.0, sum.1 + row.1))
    };
    let mut known = (0, 0);
    for _ in 0..4 {
        let rows = rows(&gateway, ask.clone()).await;
        let counts = (count(&rows, "sentCount"), count(&rows, "deliveredCount"));
        assert_eq!(counts, truth(gateway.now()));
        assert!(counts > known, "late messages are counted");
        known = counts;
        sleep(3 * HOUR).await;
    }
    sleep(3 * DAY).await;
    let last = rows(&gateway, ask).await;
    let counts = (count(&last, "sentCount"), count(&last, "deliveredCount"));
    assert_eq!(counts, truth(gateway.now() + 100 * DAY), "and then all of them are");
    assert!(last.iter().all(|row| row["finality"] == json!("FINAL")));
}

#[tokio::test(start_paused = true)]
async fn emptiness_of_a_channel_never_seen_is_believed_for_an_hour() {
    let gateway = with_channels(&["new-shop"]);
    // Long settled, were it not for the doubt; the second is a part of the first.
    let old = json!({ "channel": "new-shop", "range": between("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z") });
    let part = json!({ "channel": "new-shop", "range": between("2026-09-03T10:00:00Z", "2026-09-04T00:00:00Z") });
    assert_eq!(rows(&gateway, old.clone()).await, Vec::<Value>::new());
    sleep(3_599 * SECOND).await;
    assert_eq!((cost(&gateway, &old).await, cost(&gateway, &part).await), (0, 0));
    sleep(SECOND).await;
    assert_eq!((cost(&gateway, &old).await, cost(&gateway, &part).await), (1, 0));
    sleep(HOUR).await;
    assert_eq!(cost(&gateway, &part).await, 1);
    assert_eq!(gateway.calls(METRIC), 3);
}

#[tokio::test(start_paused = true)]
async fn emptiness_of_a_channel_that_was_seen_is_final() {
    let gateway = builder().build();
    // Before the vendor's service began.
    let empty = json!({ "range": between("2019-05-01T00:00:00Z", "2019-05-08T00:00:00Z") });
    assert_eq!(rows(&gateway, empty.clone()).await, Vec::<Value>::new());
    sleep(HOUR).await;
    assert!(!rows(&gateway, json!({ "range": { "last": "P3D" } })).await.is_empty(), "now it is seen");
    assert_eq!(cost(&gateway, &empty).await, 1, "what was empty before that is asked for once more");
    sleep(30 * DAY).await;
    assert_eq!(cost(&gateway, &empty).await, 0);
}

#[tokio::test(start_paused = true)]
async fn emptiness_of_a_phone_never_seen_is_believed_for_an_hour() {
    let gateway = builder().build();
    let phone = gateway.sim().world().phones("cams-alpha")[0].clone();
    let long_ago = between("2019-05-01T00:00:00Z", "2019-05-08T00:00:00Z");
    let empty = json!({ "phones": [phone], "range": long_ago });
    assert_eq!(rows(&gateway, empty.clone()).await, Vec::<Value>::new());
    assert!(gateway.sim().arrivals()[0].parameters.has_phone, "asked for alone");
    sleep(HOUR).await;
    assert_eq!(cost(&gateway, &empty).await, 1);
    assert!(!rows(&gateway, json!({ "phones": [phone], "range": { "last": "P9D" } })).await.is_empty());
    sleep(HOUR).await;
    assert_eq!(cost(&gateway, &empty).await, 1, "once more, for the phone is seen by now");
    sleep(30 * DAY).await;
    assert_eq!(cost(&gateway, &empty).await, 0);
}

#[tokio::test(start_paused = true)]
async fn enabling_statistics_drops_what_was_empty() {
    let gateway = with_channels(&["new-shop", "new-stall", "cams-alpha"]);
    let days = between("2026-11-01T00:00:00Z", "2026-11-18T00:00:00Z");
    let of = |channel: &str| json!({ "channel": channel, "range": days });
    let (shop, stall, alpha) = (of("new-shop"), of("new-stall"), of("cams-alpha"));
    for ask in [&shop, &stall, &alpha] {
        assert_eq!((cost(&gateway, ask).await, cost(&gateway, ask).await), (1, 0));
    }
    for channel in ["new-shop", "cams-alpha"] {
        let data = gateway
            .data(&format!("mutation {{ enableWhatsappRoiMetric(custSpaceId: \"{channel}\") {{ custSpaceId dataExpectedFrom requestId }} }}"))
            .await;
        let payload = &data["enableWhatsappRoiMetric"];
        assert_eq!(payload["custSpaceId"], json!(channel));
        assert_eq!(instant(payload, "dataExpectedFrom"), gateway.now() + DAY);
        assert!(payload["requestId"].as_str().is_some_and(|id| !id.is_empty() && id.trim() == id), "{payload}");
    }
    assert_eq!(gateway.calls(ENABLE), 2);
    assert_eq!(cost(&gateway, &shop).await, 1, "its empty days may fill");
    assert_eq!((cost(&gateway, &stall).await, cost(&gateway, &alpha).await), (0, 0), "nothing else is dropped");

    let enabled_at = gateway.now();
    let recent = json!({ "channel": "new-shop", "granularity": "HALF_HOUR", "range": { "last": "P3D" } });
    sleep(20 * HOUR).await;
    assert_eq!(rows(&gateway, recent.clone()).await, Vec::<Value>::new());
    sleep(22 * HOUR).await;
    let rows = rows(&gateway, recent).await;
    assert!(!rows.is_empty() && rows.iter().all(|row| instant(row, "start") >= enabled_at + DAY));
}

#[tokio::test(start_paused = true)]
async fn a_refused_mutation_drops_nothing() {
    let gateway = with_channels(&["new-shop"]);
    let ask = json!({ "channel": "new-shop", "range": { "last": "P7D" } });
    assert_eq!(cost(&gateway, &ask).await, 1);
    let (fault, scope) = (weir::sim::Fault::PermissionDenied, weir::sim::Scope::Operation(ENABLE.to_owned()));
    gateway.sim().faults().push(fault, scope, weir::sim::Times::Next(1));
    let answer = gateway.query("mutation { enableWhatsappRoiMetric(custSpaceId: \"new-shop\") { requestId } }").await;
    assert_eq!((codes(&answer), gateway.calls(ENABLE)), (vec!["VENDOR_DENIED".to_owned()], 1));
    assert_eq!(cost(&gateway, &ask).await, 0);
}

#[tokio::test(start_paused = true)]
async fn distributions_settle_eight_and_a_half_hours_after_their_end() {
    let end = at("2026-11-22T02:00:00Z");
    let settled_at = end + 8 * HOUR + 30 * MINUTE;
    let gateway = builder().now("2026-11-22T10:20:30Z").build();
    let query = "{ operationDistribution(appId: \"app-one\", range: {between: {start: \"2026-11-21T02:00:00Z\", end: \"2026-11-22T02:00:00Z\"}}) {
      finality fetchedAt source data { value }
    } }";
    let ask = || async {
        let answer = gateway.data(query).await["operationDistribution"].clone();
        (answer["finality"].as_str().unwrap().to_owned(), instant(&answer, "fetchedAt"), gateway.calls(DISTRIBUTION))
    };
    let first = gateway.now();
    assert_eq!(ask().await, ("PROVISIONAL".to_owned(), first, 1));
    sleep(299 * SECOND).await;
    assert_eq!(ask().await, ("PROVISIONAL".to_owned(), first, 1));
    // A second before it settles: fetched again, and still not final. What was fetched so stays so for its five minutes.
    sleep((settled_at - SECOND).since(gateway.now())).await;
    assert_eq!(ask().await, ("PROVISIONAL".to_owned(), settled_at - SECOND, 2));
    sleep(2 * SECOND).await;
    assert_eq!(ask().await, ("PROVISIONAL".to_owned(), settled_at - SECOND, 2));
    sleep(5 * MINUTE).await;
    let last = gateway.now();
    assert_eq!(ask().await, ("FINAL".to_owned(), last, 3));
    for _ in 0..4 {
        sleep(20 * DAY).await;
        assert_eq!(ask().await, ("FINAL".to_owned(), last, 3), "for ever, also beyond the vendor's 30 days");
    }
}

#[tokio::test(start_paused = true)]
async fn late_users_fill_in() {
    let gateway = builder().build();
    let window = Window::new(at("2026-11-22T04:00:00Z"), at("2026-11-22T10:00:00Z")).unwrap();
    let query = format!(
        "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{}\", end: \"{}\"}}}}) {{ data {{ value }} }} }}",
        window.start(),
        window.end()
    );
    let truth = |as_of| {
        let shares = gateway.sim().world().distribution("app-one", Dimension::Province, window, as_of);
        shares.iter().map(|(_, users)| *users).collect::<Vec<_>>()
    };
    let mut known = Vec::new();
    for _ in 0..4 {
        let data = gateway.data(&query).await;
        let shares = data["operationDistribution"]["data"].as_array().unwrap().iter();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "counts of users are small")]
        let users: Vec<u64> = shares.map(|share| share["value"].as_f64().unwrap() as u64).collect();
        assert_eq!(users, truth(gateway.now()));
        assert!(users.iter().sum::<u64>() > known.iter().sum(), "late users are counted");
        known = users;
        sleep(3 * HOUR).await;
    }
    assert_eq!(known, truth(gateway.now() + 30 * DAY), "nine hours later all of them are there");
}

/// Fetched later by a clock that was wrong, an answer past its time must not keep out what is fetched now.
#[tokio::test(start_paused = true)]
async fn a_clock_that_was_set_back_costs_no_call_for_each_ask() {
    let gateway = with_channels(&["cams-alpha"]);
    let variables = json!({ "range": between("2026-11-20T00:00:00Z", "2026-11-22T10:00:00Z") });
    rows(&gateway, variables.clone()).await;
    gateway.clock().set(gateway.now() - HOUR);
    sleep(6 * MINUTE).await;
    assert_eq!(cost(&gateway, &variables).await, 1);
    assert_eq!(cost(&gateway, &variables).await, 0, "what was just fetched is held");
}
