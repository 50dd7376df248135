//! Windows of distributions: exactly those that the contract names, a call each, shared by everybody.

use std::time::Duration;

use serde_json::{Value, json};
use weir::domain::time::{DAY, HOUR, MINUTE, SECOND};
use weir::domain::{Timestamp, Window};
use weir::sim::{Dimension, Fault, Scope, Times};

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes};

const LIST: &str = "query($apps: [ID!]! = [\"app-one\"], $dimension: Dimension! = PROVINCE, $range: TimeRange!, $window: Duration! = \"P1D\") {
  operationDistributions(appIds: $apps, dimension: $dimension, range: $range, window: $window) {
    appId start end finality fetchedAt source data { distributionName value }
  }
}";
const ONE: &str = "query($range: TimeRange!) {
  operationDistribution(appId: \"app-one\", range: $range) { start end finality source }
}";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

fn between(start: Timestamp, end: Timestamp) -> Value {
    json!({ "between": { "start": start.to_string(), "end": end.to_string() } })
}

fn last(length: &str) -> Value {
    json!({ "last": length })
}

fn started(zone: &str, now: &str) -> TestGateway {
    let zone = zone.to_owned();
    TestGateway::builder()
        .now(now)
        .max_wait(120)
        .config(move |config| config.volcengine_rtc[0].time_zone = zone)
        .build()
}

async fn list(gateway: &TestGateway, range: Value, window: &str) -> Value {
    gateway.ask(LIST, json!({ "range": range, "window": window })).await
}

/// The entries of a list; `None` where one is null.
fn entries(answer: &Value) -> Vec<Option<Window>> {
    let instant = |value: &Value| at(value.as_str().unwrap());
    let window = |entry: &Value| Window::new(instant(&entry["start"]), instant(&entry["end"])).unwrap();
    let entries = answer["data"]["operationDistributions"].as_array().unwrap_or_else(|| panic!("{answer}"));
    entries.iter().map(|entry| (!entry.is_null()).then(|| window(entry))).collect()
}

/// The windows of a list that has not failed anywhere.
async fn windows(gateway: &TestGateway, range: Value, window: &str) -> Vec<Window> {
    let answer = list(gateway, range.clone(), window).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{range} {window}");
    entries(&answer).into_iter().flatten().collect()
}

/// Windows between neighbouring edges.
fn edges(edges: &[&str]) -> Vec<Window> {
    edges.windows(2).map(|pair| Window::new(at(pair[0]), at(pair[1])).unwrap()).collect()
}

fn sent(gateway: &TestGateway) -> Vec<Window> {
    let sent = |arrival: weir::sim::Arrival| {
        Window::new(arrival.parameters.start.unwrap(), arrival.parameters.end.unwrap()).unwrap()
    };
    let mut sent: Vec<_> = gateway.sim().arrivals().into_iter().map(sent).collect();
    sent.sort_unstable();
    sent
}

#[tokio::test(start_paused = true)]
async fn tiles_fill_a_range_exactly_and_cost_a_call_each_once() {
    let cases = [
        ("2026-11-03T04:05:06Z", "2026-11-10T04:05:06Z", "P1D", DAY, 7),
        ("2026-11-03T04:05:06Z", "2026-11-10T04:05:07Z", "P1D", DAY, 8),
        ("2026-11-03T04:05:06.900Z", "2026-11-04T00:00:00.100Z", "PT5H", 5 * HOUR, 4),
        ("2026-10-24T00:00:00+02:00", "2026-10-27T00:00:00+01:00", "P1D", DAY, 4),
        ("2026-11-01T00:00:00Z", "2026-11-22T10:00:00Z", "P7D", 7 * DAY, 4),
        ("2026-11-20T00:00:00Z", "2026-11-20T01:00:00Z", "PT7M", 7 * MINUTE, 9),
        ("2026-11-20T00:00:00Z", "2026-11-20T00:00:01Z", "P2D", 2 * DAY, 1),
    ];
    for (start, end, step, length, count) in cases {
        let gateway = started("Europe/Berlin", crate::support::NOW);
        let (start, end) = (at(start).floor(SECOND), at(end).floor(SECOND));
        let answer = list(&gateway, between(start, end), step).await;
        let tiles: Vec<Window> = entries(&answer).into_iter().flatten().collect();
        assert_eq!((codes(&answer), tiles.len()), (Vec::new(), count), "{start} {step}");
        assert_eq!((tiles[0].start(), tiles[count - 1].end()), (start, end), "{step}");
        assert!(tiles.windows(2).all(|pair| pair[0].end() == pair[1].start()), "{tiles:?}");
        assert!(tiles[..count - 1].iter().all(|tile| tile.length() == length), "{tiles:?}");
        assert_eq!(sent(&gateway), tiles, "each tile is sent as it is");
        for (tile, entry) in tiles.iter().zip(answer["data"]["operationDistributions"].as_array().unwrap()) {
            let as_of = at(entry["fetchedAt"].as_str().unwrap());
            let truth = gateway.sim().world().distribution("app-one", Dimension::Province, *tile, as_of);
            let shares = entry["data"].as_array().unwrap().iter().map(|share| {
                (share["distributionName"].as_str().unwrap().to_owned(), share["value"].as_f64().unwrap())
            });
            #[expect(clippy::cast_precision_loss, reason = "the world's counts are small")]
            let truth: Vec<_> = truth.into_iter().map(|(name, users)| (name, users as f64)).collect();
            assert_eq!(shares.collect::<Vec<_>>(), truth);
        }
        assert_eq!(windows(&gateway, between(start, end), step).await, tiles);
        assert_eq!(gateway.calls(DISTRIBUTION), count, "none the second time");
    }
}

#[tokio::test(start_paused = true)]
async fn a_range_moved_by_a_tile_costs_that_tile() {
    let gateway = started("Asia/Shanghai", crate::support::NOW);
    let (start, end) = (at("2026-11-02T03:00:00Z"), at("2026-11-12T03:00:00Z"));
    windows(&gateway, between(start, end), "P1D").await;
    windows(&gateway, between(start + DAY, end + DAY), "P1D").await;
    assert_eq!(gateway.calls(DISTRIBUTION), 11);
    windows(&gateway, between(start + HOUR, end + HOUR), "P1D").await;
    assert_eq!(gateway.calls(DISTRIBUTION), 21, "other windows are other numbers");
}

#[tokio::test(start_paused = true)]
async fn days_with_last_are_those_of_the_calendar() {
    // 18:20 on Sunday in Shanghai.
    let gateway = started("Asia/Shanghai", "2026-11-22T10:20:30Z");
    let expected =
        edges(&["2026-11-19T16:00:00Z", "2026-11-20T16:00:00Z", "2026-11-21T16:00:00Z", "2026-11-22T10:00:00Z"]);
    assert_eq!(windows(&gateway, last("P3D"), "P1D").await, expected);
    assert_eq!(windows(&gateway, last("PT66H"), "P1D").await, expected, "the start of the first is inside");
    assert_eq!(windows(&gateway, last("PT65H"), "P1D").await, expected[1..]);
    assert_eq!(gateway.calls(DISTRIBUTION), 3, "everybody shares the same windows");
    let weeks = edges(&["2026-11-08T16:00:00Z", "2026-11-15T16:00:00Z", "2026-11-22T10:00:00Z"]);
    assert_eq!(windows(&gateway, last("P14D"), "P7D").await, weeks, "from Monday on");
    let quarters = edges(&[
        "2026-11-21T10:00:00Z",
        "2026-11-21T16:00:00Z",
        "2026-11-21T22:00:00Z",
        "2026-11-22T04:00:00Z",
        "2026-11-22T10:00:00Z",
    ]);
    assert_eq!(windows(&gateway, last("P1D"), "PT6H").await, quarters, "from midnight on");
    let thirds = edges(&["2026-11-22T00:00:00Z", "2026-11-22T08:00:00Z", "2026-11-22T10:00:00Z"]);
    assert_eq!(windows(&gateway, last("PT12H"), "PT8H").await, thirds);
}

#[tokio::test(start_paused = true)]
async fn calendar_windows_keep_to_midnight_where_clocks_change() {
    // Clocks go back on 25 October: that day has 25 hours, and its hour from 2 to 3 comes twice.
    let gateway = started("Europe/Berlin", "2026-10-27T10:20:30Z");
    let expected = edges(&[
        "2026-10-23T22:00:00Z",
        "2026-10-24T22:00:00Z",
        "2026-10-25T23:00:00Z",
        "2026-10-26T23:00:00Z",
        "2026-10-27T10:00:00Z",
    ]);
    assert_eq!(windows(&gateway, last("P4D"), "P1D").await, expected);
    let gateway = started("Europe/Berlin", "2026-10-25T23:10:00Z");
    let expected = edges(&[
        "2026-10-24T22:00:00Z",
        "2026-10-25T05:00:00Z",
        "2026-10-25T11:00:00Z",
        "2026-10-25T17:00:00Z",
        "2026-10-25T23:00:00Z",
    ]);
    assert_eq!(windows(&gateway, last("PT25H"), "PT6H").await, expected, "the first has seven hours");

    // Clocks go forward on 29 March: that day has 23 hours.
    let gateway = started("Europe/Berlin", "2026-03-31T10:20:30Z");
    let expected = edges(&[
        "2026-03-27T23:00:00Z",
        "2026-03-28T23:00:00Z",
        "2026-03-29T22:00:00Z",
        "2026-03-30T22:00:00Z",
        "2026-03-31T10:00:00Z",
    ]);
    assert_eq!(windows(&gateway, last("P4D"), "P1D").await, expected);
    let weeks = edges(&["2026-03-22T23:00:00Z", "2026-03-29T22:00:00Z", "2026-03-31T10:00:00Z"]);
    assert_eq!(windows(&gateway, last("P14D"), "P7D").await, weeks, "a week of 167 hours");
}

#[tokio::test(start_paused = true)]
async fn a_calendar_week_longer_than_the_vendor_answers_fails_alone() {
    let gateway = started("Europe/Berlin", "2026-11-03T10:20:30Z");
    let answer = list(&gateway, last("P20D"), "P7D").await;
    let weeks: Vec<_> = edges(&["2026-10-25T23:00:00Z", "2026-11-01T23:00:00Z", "2026-11-03T10:00:00Z"]);
    assert_eq!(entries(&answer), [None, Some(weeks[0]), Some(weeks[1])], "19 October's week has 169 hours");
    assert_eq!((codes(&answer), gateway.calls(DISTRIBUTION)), (vec!["RANGE_TOO_LONG".to_owned()], 2));
    assert_eq!(answer["errors"][0]["path"], json!(["operationDistributions", 0]));
}

#[tokio::test(start_paused = true)]
async fn the_window_that_runs_ends_with_the_last_whole_hour() {
    // Four minutes after midnight in Shanghai: the day that has begun holds no whole hour yet.
    let gateway = started("Asia/Shanghai", "2026-11-22T16:04:00Z");
    let day = edges(&["2026-11-21T16:00:00Z", "2026-11-22T16:00:00Z"]);
    assert_eq!(windows(&gateway, last("P1D"), "P1D").await, day);
    tokio::time::sleep(56 * MINUTE).await;
    let answer = list(&gateway, last("PT23H"), "P1D").await;
    assert_eq!(entries(&answer), [Window::new(day[0].end(), day[0].end() + HOUR)]);
    assert_eq!(answer["data"]["operationDistributions"][0]["finality"], json!("PROVISIONAL"));
    let nothing = list(&started("Asia/Shanghai", "2026-11-22T16:04:00Z"), last("PT1H"), "P1D").await;
    assert_eq!((entries(&nothing), codes(&nothing)), (Vec::new(), Vec::new()), "an hour before midnight no day begins");
}

#[tokio::test(start_paused = true)]
async fn windows_beyond_the_lookback_are_left_out_and_listed_unless_held() {
    let gateway = started("Asia/Shanghai", "2026-11-22T10:20:30Z");
    let variables = json!({ "apps": ["app-one", "app-two"], "dimension": "COUNTRY", "range": last("P32D") });
    let answer = gateway.ask(LIST, variables.clone()).await;
    // The lookback ends at 10:20:30 on 23 October; that day had begun by then.
    let first = at("2026-10-23T16:00:00Z");
    let held = entries(&answer);
    assert_eq!((codes(&answer), held.len(), held[0].unwrap().start()), (Vec::new(), 60, first));
    let omitted = |answer: &Value| answer["extensions"]["weir"]["omitted"].clone();
    let left_out = |app: &str, start: Timestamp| json!({ "appId": app, "dimension": "COUNTRY", "start": start.to_string(), "end": (start + DAY).to_string() });
    let expected: Vec<_> = ["app-one", "app-two"]
        .iter()
        .flat_map(|app| [left_out(app, first - 2 * DAY), left_out(app, first - DAY)])
        .collect();
    assert_eq!(omitted(&answer), json!(expected));

    tokio::time::sleep(3 * DAY).await;
    let calls = gateway.calls(DISTRIBUTION);
    let answer = gateway.ask(LIST, json!({ "dimension": "COUNTRY", "range": last("P33D") })).await;
    assert_eq!((codes(&answer), entries(&answer)[0].unwrap().start()), (Vec::new(), first), "held, whatever its age");
    assert_eq!(omitted(&answer), Value::Null, "nothing is left out");
    assert_eq!(answer["data"]["operationDistributions"][0]["source"], json!("CACHE"));
    assert!(gateway.calls(DISTRIBUTION) <= calls + 5, "only what is new, or was provisional");
    let answer = gateway.ask(LIST, json!({ "dimension": "PROVINCE", "range": last("P33D") })).await;
    assert_eq!(omitted(&answer).as_array().unwrap().len(), 3, "other numbers are not held");
}

#[tokio::test(start_paused = true)]
async fn other_windows_than_those_of_the_calendar_are_refused_with_last() {
    let gateway = TestGateway::start();
    for window in ["PT5H", "PT7H", "PT90M", "PT30M", "PT1H30M", "P2D", "PT25H", "P6D", "P14D", "PT0S", "PT1S"] {
        let answer = list(&gateway, last("P3D"), window).await;
        assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{window}");
        assert_eq!(answer["data"]["operationDistributions"], Value::Null, "{window}");
    }
    for window in ["PT24H", "P1D", "PT168H"] {
        assert_eq!(codes(&list(&gateway, last("P3D"), window).await), Vec::<String>::new(), "{window}");
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 3, "three days; no week begins in them");
}

#[tokio::test(start_paused = true)]
async fn a_window_beyond_seven_days_points_to_the_list() {
    let gateway = TestGateway::start();
    let start = at("2026-11-01T00:00:00Z");
    let one = |range| gateway.ask(ONE, json!({ "range": range }));
    for range in [between(start, start + 7 * DAY + SECOND), last("PT169H"), last("P30D"), last("P40D")] {
        let answer = one(range.clone()).await;
        assert_eq!(codes(&answer), ["RANGE_TOO_LONG"], "{range}");
        let message = answer["errors"][0]["message"].as_str().unwrap();
        assert!(message.contains("operationDistributions") && message.contains("7 days"), "{message}");
    }
    let answer = list(&gateway, between(start, start + 9 * DAY), "P8D").await;
    assert_eq!((codes(&answer), gateway.calls(DISTRIBUTION)), (vec!["RANGE_TOO_LONG".to_owned()], 0));
    assert_eq!(codes(&one(between(start, start + 7 * DAY)).await), Vec::<String>::new());
    assert_eq!(codes(&one(last("P7D")).await), Vec::<String>::new());
}

#[tokio::test(start_paused = true)]
async fn what_is_held_is_answered_beyond_the_lookback_and_nothing_else() {
    let gateway = TestGateway::start();
    let start = at("2026-10-24T00:00:00Z");
    let one = |from: Timestamp| gateway.ask(ONE, json!({ "range": between(from, start + DAY) }));
    assert_eq!(codes(&one(start).await), Vec::<String>::new());
    tokio::time::sleep(3 * DAY).await;
    let again = one(start).await;
    assert_eq!(again["data"]["operationDistribution"]["source"], json!("CACHE"), "{again}");

    let beside = one(start + SECOND).await;
    assert_eq!(
        (codes(&beside), &beside["data"]["operationDistribution"]),
        (vec!["OUT_OF_RETENTION".into()], &Value::Null)
    );
    assert!(beside["errors"][0]["message"].as_str().unwrap().contains("30 days"), "{beside}");
    assert_eq!(gateway.calls(DISTRIBUTION), 1, "the vendor is not asked for what it no longer answers");

    // The first tile is held, the next two begin too long ago, the last is there.
    let answer = list(&gateway, between(start, start + 4 * DAY), "P1D").await;
    let tile = |n: u32| Window::new(start + DAY * n, start + DAY * (n + 1));
    assert_eq!(entries(&answer), [tile(0), None, None, tile(3)]);
    assert_eq!(codes(&answer), ["OUT_OF_RETENTION"; 2]);
    assert_eq!(answer["errors"][0]["path"], json!(["operationDistributions", 1]));
    assert_eq!(gateway.calls(DISTRIBUTION), 2);
}

#[tokio::test(start_paused = true)]
async fn a_failed_window_is_a_null_of_its_own() {
    let gateway = TestGateway::start();
    let (start, end) = (at("2026-11-10T00:00:00Z"), at("2026-11-14T00:00:00Z"));
    gateway.sim().faults().push(Fault::MalformedJson, Scope::Operation(DISTRIBUTION.to_owned()), Times::Next(1));
    let answer = list(&gateway, between(start, end), "P1D").await;
    let entries = entries(&answer);
    let failed = entries.iter().position(Option::is_none).unwrap();
    assert_eq!(entries.iter().flatten().count(), 3, "{answer}");
    assert_eq!(codes(&answer), ["VENDOR_BAD_REPLY"]);
    assert_eq!(answer["errors"][0]["path"], json!(["operationDistributions", failed]));
    assert_eq!(windows(&gateway, between(start, end), "P1D").await.len(), 4);
    assert_eq!(gateway.calls(DISTRIBUTION), 5, "only the failed one is asked for again");
}

#[tokio::test(start_paused = true)]
async fn a_hundred_asks_within_the_hour_share_one_window() {
    let gateway = TestGateway::builder()
        .now("2026-11-22T10:00:00Z")
        .config(|config| config.cache.provisional_ttl = Duration::from_hours(6))
        .build();
    let query = "{
      operationDistribution(appId: \"app-one\", range: {last: \"P7D\"}) { start end }
      phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P7D\"}) { nodes { phoneNumber start sentCount } }
    }";
    let first = gateway.data(query).await;
    let window = json!({ "start": "2026-11-15T10:00:00Z", "end": "2026-11-22T10:00:00Z" });
    assert_eq!(first["operationDistribution"], window);
    for _ in 1..100 {
        tokio::time::sleep(Duration::from_secs(36)).await;
        assert_eq!(gateway.data(query).await, first);
    }
    assert_eq!((gateway.calls(DISTRIBUTION), gateway.calls(METRIC)), (1, 1));
    tokio::time::sleep(Duration::from_secs(36)).await;
    let next = gateway.data(query).await;
    assert_eq!(next["operationDistribution"]["end"], json!("2026-11-22T11:00:00Z"));
    assert_eq!((gateway.calls(DISTRIBUTION), gateway.calls(METRIC)), (2, 1), "days are shared over the hour too");
}

#[tokio::test(start_paused = true)]
async fn half_hours_snap_to_the_half_hour() {
    let gateway = TestGateway::builder().now("2026-11-22T10:35:00Z").build();
    let ends = |granularity: &str| {
        let query = format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-epsilon\", granularity: {granularity}, range: {{last: \"PT5H\"}}) {{ nodes {{ start }} }} }}"
        );
        let gateway = &gateway;
        async move {
            let data = gateway.data(&query).await;
            let nodes = data["phoneNumberMetrics"]["nodes"].as_array().unwrap();
            nodes.iter().map(|node| at(node["start"].as_str().unwrap())).max()
        }
    };
    assert_eq!(ends("HALF_HOUR").await, Some(at("2026-11-22T10:00:00Z")), "10:30 still runs");
    tokio::time::sleep(26 * MINUTE).await;
    assert_eq!(ends("HALF_HOUR").await, Some(at("2026-11-22T10:30:00Z")));
}

#[tokio::test(start_paused = true)]
async fn ends_ahead_are_lowered_and_instants_floored_to_seconds() {
    let gateway = TestGateway::start();
    let one = |start: &str, end: &str| gateway.ask(ONE, json!({ "range": between(at(start), at(end)) }));
    let window = |answer: Value| {
        assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
        let answer = &answer["data"]["operationDistribution"];
        (answer["start"].as_str().unwrap().to_owned(), answer["end"].as_str().unwrap().to_owned())
    };
    let lowered = ("2026-11-21T04:05:06Z".to_owned(), "2026-11-22T10:00:00Z".to_owned());
    assert_eq!(window(one("2026-11-21T04:05:06.999Z", "2026-11-22T10:20:31Z").await), lowered);
    assert_eq!(window(one("2026-11-21T04:05:06Z", "2030-01-01T00:00:00Z").await), lowered);
    assert_eq!(gateway.calls(DISTRIBUTION), 1, "both are the same window");
    let floored = ("2026-11-21T04:05:06Z".to_owned(), "2026-11-22T10:20:29Z".to_owned());
    assert_eq!(window(one("2026-11-21T04:05:06.001Z", "2026-11-22T10:20:29.999Z").await), floored);
    for (start, end) in [
        ("2026-11-22T10:10:00Z", "2026-11-22T10:40:00Z"),
        ("2026-11-23T00:00:00Z", "2026-11-24T00:00:00Z"),
        ("2026-11-21T04:05:06.1Z", "2026-11-21T04:05:06.9Z"),
    ] {
        assert_eq!(codes(&one(start, end).await), ["BAD_USER_INPUT"], "{start} {end}");
    }
    assert_eq!((gateway.calls(DISTRIBUTION), gateway.calls(METRIC)), (2, 0));
}

#[tokio::test(start_paused = true)]
async fn one_field_lists_no_more_windows_by_naming_an_application_often() {
    let gateway = TestGateway::start();
    let ids: Vec<&str> = std::iter::repeat_n("app-one", 40).collect();
    let query = "query($ids: [ID!]) { operationDistributions(appIds: $ids, range: {last: \"P800D\"}, window: \"PT1H\") { start } }";
    let answer = gateway.ask(query, json!({"ids": ids})).await;
    assert_eq!(codes(&answer), ["TOO_EXPENSIVE"]);
    assert_eq!(answer["extensions"]["weir"]["omitted"], Value::Null);
}

#[tokio::test(start_paused = true)]
async fn an_answer_is_of_the_window_that_it_names() {
    let gateway = TestGateway::start();
    let data =
        gateway.data("{ operationDistribution(appId: \"app-one\", range: {last: \"PT1H0.25S\"}) { start end } }").await;
    let sent = gateway.sim().arrivals().pop().unwrap().parameters;
    assert_eq!(data["operationDistribution"]["start"], json!(sent.start.unwrap().to_string()));
    assert_eq!(data["operationDistribution"]["end"], json!(sent.end.unwrap().to_string()));
}

#[tokio::test(start_paused = true)]
async fn the_ends_of_time_are_no_mistake_of_ours() {
    let gateway = TestGateway::start();
    for (start, end) in [
        ("9999-12-30T00:00:00Z", "9999-12-30T21:59:59Z"),
        ("-009999-01-02T02:00:00Z", "-009990-01-02T00:00:00Z"),
        ("0000-01-01T00:00:00Z", "0001-01-01T00:00:00Z"),
    ] {
        for granularity in ["DAILY", "HALF_HOUR"] {
            let range = format!("range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}");
            let answer = gateway.query(&format!("{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", granularity: {granularity}, {range}) {{ totalCount }} }}")).await;
            assert!(!codes(&answer).contains(&"INTERNAL".to_owned()), "{start} {granularity} {answer}");
            let answer = gateway.query(&format!("{{ operationDistribution(appId: \"app-one\", {range}) {{ start }} operationDistributionBounds(appId: \"app-one\", {range}) {{ start }} operationDistributions({range}, window: \"P7D\") {{ start }} }}")).await;
            assert!(!codes(&answer).contains(&"INTERNAL".to_owned()), "{start} {answer}");
        }
    }
    for first in [i32::MIN, -1, 100_001, i32::MAX] {
        let answer = gateway.query(&format!("{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{last: \"P1D\"}}, first: {first}) {{ totalCount }} }}")).await;
        assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{first}");
    }
    for last in ["P9999999D", "PT9223372036854775807S", "PT0.0001S", "PT0S"] {
        let answer = gateway.query(&format!("{{ a: phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{last: \"{last}\"}}) {{ totalCount }} b: operationDistribution(appId: \"app-one\", range: {{last: \"{last}\"}}) {{ start }} c: operationDistributions(range: {{last: \"{last}\"}}) {{ start }} d: operationDistributionBounds(appId: \"app-one\", range: {{last: \"{last}\"}}) {{ start }} }}")).await;
        assert!(!codes(&answer).contains(&"INTERNAL".to_owned()), "{last} {answer}");
    }
}
