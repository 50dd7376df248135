//! Pages: however a range is cut into them, and whatever happens between two of them, they hold the rows of one page.
//! And the arguments that decide which rows there are.

use std::collections::BTreeSet;
use std::time::Duration;

use serde_json::{Value, json};
use weir::domain::time::{DAY, HOUR, MINUTE};
use weir::domain::{Timestamp, Window};
use weir::sim::Granularity;

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes};

const PAGE: &str = "query($channel: ID, $phones: [String!], $granularity: Granularity! = DAILY, $range: TimeRange!,
                          $first: Int, $after: String) {
  phoneNumberMetrics(custSpaceId: $channel, phoneNumbers: $phones, granularity: $granularity, range: $range,
                     first: $first, after: $after) {
    totalCount
    pageInfo { hasNextPage hasPreviousPage startCursor endCursor }
    edges { cursor node { phoneNumber start } }
    nodes { custSpaceId phoneNumber start sentCount }
  }
}";

/// Half hours of three days, the last of which still runs.
fn running() -> Value {
    json!({ "channel": "cams-alpha", "granularity": "HALF_HOUR",
            "range": { "between": { "start": "2026-11-20T00:00:00Z", "end": "2026-11-23T00:00:00Z" } } })
}

fn with(mut variables: Value, name: &str, value: impl Into<Value>) -> Value {
    variables[name] = value.into();
    variables
}

async fn page(gateway: &TestGateway, variables: Value) -> Value {
    let answer = gateway.ask(PAGE, variables.clone()).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{variables}");
    answer["data"]["phoneNumberMetrics"].clone()
}

/// What tells a row from all others.
fn key(node: &Value) -> (String, String) {
    (node["phoneNumber"].as_str().unwrap().to_owned(), node["start"].as_str().unwrap().to_owned())
}

fn keys(nodes: &[Value]) -> Vec<(String, String)> {
    nodes.iter().map(key).collect()
}

/// All pages of `first` rows with `pause` between them, each checked by itself: the rows, and the total of each page.
async fn walk(gateway: &TestGateway, variables: &Value, first: usize, pause: Duration) -> (Vec<Value>, Vec<u64>) {
    let (mut nodes, mut totals, mut after) = (Vec::new(), Vec::new(), Value::Null);
    loop {
        let page = page(gateway, with(with(variables.clone(), "first", first), "after", after.clone())).await;
        let (own, edges) = (page["nodes"].as_array().unwrap(), page["edges"].as_array().unwrap());
        assert_eq!(keys(own), edges.iter().map(|edge| key(&edge["node"])).collect::<Vec<_>>());
        let info = &page["pageInfo"];
        let cursor = |edge: Option<&Value>| edge.map_or(Value::Null, |edge| edge["cursor"].clone());
        assert_eq!([&info["startCursor"], &info["endCursor"]], [&cursor(edges.first()), &cursor(edges.last())]);
        assert_eq!(info["hasPreviousPage"], json!(!nodes.is_empty()));
        totals.push(page["totalCount"].as_u64().unwrap());
        assert!(totals.len() <= 1_000, "the walk does not end");
        nodes.extend(own.iter().cloned());
        if info["hasNextPage"] == json!(false) {
            return (nodes, totals);
        }
        assert_eq!(own.len(), first, "a page that is not the last is full");
        after = info["endCursor"].clone();
        tokio::time::sleep(pause).await;
    }
}

#[tokio::test(start_paused = true)]
async fn pages_of_any_size_hold_the_rows_of_one_page() {
    let gateway = TestGateway::start();
    let daily = json!({ "channel": "cams-alpha", "range": { "last": "P9D" } });
    for (variables, sizes) in [(daily, [1, 7, 1_000]), (running(), [7, 61, 1_000])] {
        let (all, _) = walk(&gateway, &variables, 100_000, Duration::ZERO).await;
        assert!(all.len() > 25, "{}", all.len());
        for first in sizes.into_iter().chain([all.len(), all.len() - 1, all.len() / 2]) {
            let (nodes, totals) = walk(&gateway, &variables, first, Duration::ZERO).await;
            assert_eq!(nodes, all, "pages of {first}");
            assert_eq!(totals, vec![all.len() as u64; all.len().div_ceil(first)], "pages of {first}");
        }
    }
    assert_eq!(gateway.calls(METRIC), 2, "a page costs nothing that the one before has fetched");
}

#[tokio::test(start_paused = true)]
async fn rows_are_neither_lost_nor_doubled_while_they_are_refreshed() {
    let gateway = TestGateway::start();
    let (before, _) = walk(&gateway, &running(), 100_000, Duration::ZERO).await;
    let (walked, totals) = walk(&gateway, &running(), 37, 7 * MINUTE).await;
    assert!(gateway.calls(METRIC) > 5, "every page was refreshed");
    assert!(totals.is_sorted() && totals.last() > totals.first(), "rows came meanwhile: {totals:?}");

    let walked_keys = keys(&walked);
    assert!(walked_keys.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or doubled");
    let walked_set: BTreeSet<_> = walked_keys.into_iter().collect();
    let lost: Vec<_> = keys(&before).into_iter().filter(|key| !walked_set.contains(key)).collect();
    assert_eq!(lost.len(), 0);
    assert!(walked_set.len() > before.len(), "rows of places that the walk had not reached are on its pages");
}

#[tokio::test(start_paused = true)]
async fn a_walk_over_the_last_hours_stays_in_the_window_it_began_with() {
    let gateway = TestGateway::start();
    let variables = json!({ "channel": "cams-alpha", "granularity": "HALF_HOUR", "range": { "last": "P2D" } });
    let end = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
    let window = Window::new(end - 2 * DAY, end).unwrap();
    let (before, _) = walk(&gateway, &variables, 100_000, Duration::ZERO).await;
    let (walked, _) = walk(&gateway, &variables, 50, 40 * MINUTE).await;
    assert!(gateway.now() > end + 3 * HOUR, "the hour has changed between pages");

    let starts = walked.iter().map(|node| Timestamp::parse_rfc3339(node["start"].as_str().unwrap()).unwrap());
    assert!(starts.into_iter().all(|start| window.contains(start)));
    let walked_keys = keys(&walked);
    assert!(walked_keys.windows(2).all(|pair| pair[0] < pair[1]), "out of order, or doubled");
    let walked_set: BTreeSet<_> = walked_keys.into_iter().collect();
    assert!(keys(&before).iter().all(|key| walked_set.contains(key)), "nothing of the window is lost");
    let anew = page(&gateway, variables).await;
    let first_start = |nodes: &[Value]| nodes.iter().map(|node| key(node).1).min().unwrap();
    let anew = first_start(anew["nodes"].as_array().unwrap());
    assert!(anew > first_start(&walked), "a walk that begins anew begins in the present window");
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_another_query_is_refused() {
    let gateway = TestGateway::start();
    let range = json!({ "between": { "start": "2026-11-10T00:00:00Z", "end": "2026-11-20T00:00:00Z" } });
    let own = json!({ "channel": "cams-alpha", "range": range, "first": 3 });
    let cursor = page(&gateway, own.clone()).await["pageInfo"]["endCursor"].clone();
    let phone = gateway.sim().world().phones("cams-alpha")[0].clone();
    let longer = json!({ "between": { "start": "2026-11-10T00:00:00Z", "end": "2026-11-20T00:00:01Z" } });
    let foreign = [
        ("channel", json!("cams-beta")),
        ("granularity", json!("HALF_HOUR")),
        ("phones", json!([phone])),
        ("range", longer),
        ("range", json!({ "last": "P10D" })),
        ("range", json!({ "last": "P9D" })),
    ];
    let calls = gateway.calls(METRIC);
    for (name, value) in foreign {
        let variables = with(with(own.clone(), "after", cursor.clone()), name, value);
        assert_refused(&gateway, variables).await;
    }
    assert_eq!(gateway.calls(METRIC), calls, "nothing is asked for a cursor that is none");
    let next = page(&gateway, with(own, "after", cursor)).await;
    assert_eq!(next["nodes"].as_array().unwrap().len(), 3, "its own query takes it");
}

#[tokio::test(start_paused = true)]
async fn a_damaged_or_made_up_cursor_is_refused() {
    let gateway = TestGateway::start();
    for range in [
        json!({ "between": { "start": "2026-11-10T00:00:00Z", "end": "2026-11-20T00:00:00Z" } }),
        json!({ "last": "P7D" }),
    ] {
        let own = json!({ "channel": "cams-alpha", "range": range, "first": 3 });
        let cursor = page(&gateway, own.clone()).await["pageInfo"]["endCursor"].as_str().unwrap().to_owned();
        let calls = gateway.calls(METRIC);
        let mut forged: Vec<String> =
            ["", " ", "abc", "%%%", "null", "AAAA", "MTIzNA==", "bm9uZSBvZiB0aGUga2luZA"].map(str::to_owned).into();
        forged.extend([format!("{cursor}A"), format!("{cursor}="), cursor[1..].to_owned(), cursor.repeat(2)]);
        forged.extend((0..cursor.len()).step_by(5).map(|at| {
            let other = if &cursor[at..=at] == "A" { "B" } else { "A" };
            format!("{}{other}{}", &cursor[..at], &cursor[at + 1..])
        }));
        for after in forged {
            assert_refused(&gateway, with(own.clone(), "after", after)).await;
        }
        assert_eq!(gateway.calls(METRIC), calls);
    }
}

async fn assert_refused(gateway: &TestGateway, variables: Value) {
    let answer = gateway.ask(PAGE, variables.clone()).await;
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"], "{variables}");
    assert_eq!(answer["data"]["phoneNumberMetrics"], Value::Null, "{variables}");
}

#[tokio::test(start_paused = true)]
async fn a_page_has_ten_thousand_rows_unless_said_and_a_hundred_thousand_at_most() {
    let gateway = TestGateway::start();
    let range = json!({ "between": { "start": "2026-10-20T00:00:00Z", "end": "2026-11-10T00:00:00Z" } });
    let own = json!({ "channel": "cams-epsilon", "granularity": "HALF_HOUR", "range": range });
    for first in [-1, 100_001, i32::MAX, i32::MIN] {
        assert_refused(&gateway, with(own.clone(), "first", first)).await;
    }
    assert_eq!(gateway.calls(METRIC), 0, "arguments are checked before anything is fetched");

    let size = |page: &Value| page["nodes"].as_array().unwrap().len();
    let unsaid = page(&gateway, own.clone()).await;
    let total = usize::try_from(unsaid["totalCount"].as_u64().unwrap()).unwrap();
    assert_eq!((size(&unsaid), &unsaid["pageInfo"]["hasNextPage"]), (10_000, &json!(true)));
    assert!(total > 10_000, "{total}");
    let most = page(&gateway, with(own.clone(), "first", 100_000)).await;
    assert_eq!((size(&most), &most["pageInfo"]["hasNextPage"]), (total, &json!(false)));

    let none = page(&gateway, with(own.clone(), "first", 0)).await;
    assert_eq!((size(&none), &none["totalCount"]), (0, &json!(total)));
    let info = &none["pageInfo"];
    assert_eq!([&info["hasNextPage"], &info["hasPreviousPage"]], [&json!(true), &json!(false)]);
    assert_eq!([&info["startCursor"], &info["endCursor"]], [&Value::Null, &Value::Null]);
}

#[tokio::test(start_paused = true)]
async fn an_empty_list_is_an_empty_answer_without_a_call() {
    let gateway = TestGateway::start();
    let none = page(&gateway, json!({ "channel": "cams-alpha", "phones": [], "range": { "last": "P7D" } })).await;
    assert_eq!((&none["totalCount"], &none["nodes"], &none["edges"]), (&json!(0), &json!([]), &json!([])));
    assert_eq!(none["pageInfo"]["hasNextPage"], json!(false));
    let none = gateway.data(r#"{ operationDistributions(appIds: [], range: {last: "P7D"}) { start } }"#).await;
    assert_eq!(none, json!({ "operationDistributions": [] }));
    assert_eq!((gateway.calls(METRIC), gateway.calls(DISTRIBUTION)), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn without_a_channel_the_only_one_is_meant() {
    let with_channels = |channels: &[&str]| {
        let channels: Vec<String> = channels.iter().map(|id| (*id).to_owned()).collect();
        TestGateway::builder().config(|config| config.alibaba_cams[0].channels = channels).build()
    };
    let unnamed = json!({ "range": { "last": "P7D" } });

    let several = with_channels(&["cams-alpha", "cams-beta"]);
    let answer = several.ask(PAGE, unnamed.clone()).await;
    assert_eq!(codes(&answer), ["BAD_USER_INPUT"]);
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("channels"), "{answer}");
    assert_eq!(several.calls(METRIC), 0);

    let expected = |channel: &str, gateway: &TestGateway| {
        let end = gateway.now().floor(HOUR);
        let window = Window::new(end - 7 * DAY, end).unwrap();
        let rows = gateway.sim().world().metrics(channel, Granularity::Daily, window, gateway.now());
        rows.into_iter().map(|row| (row.phone, row.start.to_string())).collect::<Vec<_>>()
    };
    let only = with_channels(&["cams-beta"]);
    let rows = page(&only, unnamed.clone()).await["nodes"].as_array().unwrap().clone();
    assert!(rows.iter().all(|row| row["custSpaceId"] == json!("cams-beta")));
    assert_eq!(keys(&rows), expected("cams-beta", &only));
    let named = page(&only, with(unnamed.clone(), "channel", "cams-beta")).await;
    assert_eq!((&named["nodes"], only.calls(METRIC)), (&json!(rows), 1), "the same, named or not");

    let nameless = with_channels(&[]);
    let rows = page(&nameless, unnamed.clone()).await["nodes"].as_array().unwrap().clone();
    assert!(!rows.is_empty() && rows.iter().all(|row| row["custSpaceId"] == Value::Null));
    assert_eq!(keys(&rows), expected("cams-alpha", &nameless), "the simulator's first channel");
    assert_eq!(nameless.sim().arrivals()[0].parameters.subject, None, "the call names no channel");
    let answer = nameless.ask(PAGE, with(unnamed, "channel", "cams-alpha")).await;
    assert_eq!((codes(&answer), nameless.calls(METRIC)), (vec!["UNKNOWN_CHANNEL".to_owned()], 1));
}

#[tokio::test(start_paused = true)]
async fn phones_are_compared_by_their_digits() {
    let gateway = TestGateway::start();
    let phones = gateway.sim().world().phones("cams-beta");
    let written = |phone: &str| format!("+{} {}-({})", &phone[..2], &phone[2..6], &phone[6..]);
    let ask = |phones: Value| json!({ "channel": "cams-beta", "phones": phones, "range": { "last": "P9D" } });

    let plain = page(&gateway, ask(json!([phones[2], phones[0]]))).await;
    let (one, two) = (written(&phones[0]), written(&phones[2]));
    let other = page(&gateway, ask(json!([one, two, phones[0], one]))).await;
    assert_eq!(plain["nodes"], other["nodes"], "however written, in whatever order, however often");
    let seen: BTreeSet<String> = keys(plain["nodes"].as_array().unwrap()).into_iter().map(|(phone, _)| phone).collect();
    assert_eq!(seen, BTreeSet::from([phones[0].clone(), phones[2].clone()]));

    let query = |phone: &str| {
        format!(
            "{{ channel(custSpaceId: \"cams-beta\") {{ metrics(phoneNumber: \"{phone}\", range: {{last: \"P9D\"}}) {{ phoneNumber }} }} }}"
        )
    };
    let nested = gateway.data(&query(&two)).await["channel"]["metrics"].clone();
    assert!(!nested.as_array().unwrap().is_empty());
    assert!(nested.as_array().unwrap().iter().all(|row| row["phoneNumber"] == json!(phones[2])));
    assert_refused(&gateway, ask(json!(["not a number"]))).await;
    assert_eq!(gateway.calls(METRIC), 1);
}
