//! The fewest upstream calls, counted by the simulator's log.

use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::sleep;
use weir::domain::Timestamp;
use weir::domain::time::HOUR;
use weir::sim::{Fault, Scope, Times};

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes, window};

const BOTH: &str = r#"{
  phoneNumberMetrics(custSpaceId: "cams-alpha", range: {last: "P7D"}) { totalCount nodes { phoneNumber start sentCount } }
  operationDistribution(appId: "app-one", range: {last: "P1D"}) { start end data { distributionName value } }
}"#;

#[tokio::test(start_paused = true)]
async fn equal_cold_queries_share_one_call_per_vendor() {
    let gateway = TestGateway::builder().legs(20..30, 20..30).build();
    let asks: Vec<_> = (0..64).map(|_| gateway.ask(BOTH, json!({}))).collect();
    let answers = join_all(asks).await;
    assert!(answers[0]["data"]["phoneNumberMetrics"]["totalCount"].as_u64().unwrap() > 7, "{}", answers[0]);
    assert!(answers[0]["data"]["operationDistribution"]["data"][0]["value"].as_f64().unwrap() > 1.0);
    assert!(answers.iter().all(|answer| answer["data"] == answers[0]["data"]));
    assert_eq!((gateway.calls(METRIC), gateway.calls(DISTRIBUTION)), (1, 1));

    let started: u64 =
        answers.iter().map(|answer| cost(answer, "upstreamCalls")["ALIBABA_CAMS"].as_u64().unwrap()).sum();
    assert_eq!(started, 1, "one request started the call, the others joined it");
    let collapsed = answers.iter().filter(|answer| cost(answer, "collapsed").as_u64().unwrap() > 0).count();
    assert_eq!(collapsed, 63);

    let again = gateway.query(BOTH).await;
    assert_eq!(cost(&again, "upstreamCalls"), json!({"ALIBABA_CAMS": 0, "VOLCENGINE_RTC": 0}));
    assert_eq!(cost(&again, "cacheHits"), json!(9), "eight UTC days and one window");
}

#[tokio::test(start_paused = true)]
async fn aliases_for_phones_of_one_channel_share_one_call() {
    let gateway = TestGateway::builder().legs(20..30, 20..30).build();
    let phones = gateway.sim().world().phones("cams-epsilon");
    assert!(phones.len() >= 20);
    let fields: String = phones[..20]
        .iter()
        .enumerate()
        .map(|(at, phone)| {
            format!(
                "p{at}: phoneNumberMetrics(custSpaceId: \"cams-epsilon\", phoneNumbers: [\"{phone}\"], range: {{last: \"P7D\"}}) {{ nodes {{ phoneNumber }} }} "
            )
        })
        .collect();
    let data = gateway.data(&format!("{{ {fields} }}")).await;
    for (at, phone) in phones[..20].iter().enumerate() {
        let nodes = data[format!("p{at}")]["nodes"].as_array().unwrap();
        assert!(nodes.iter().all(|node| node["phoneNumber"] == json!(phone)));
    }
    assert!(data.to_string().len() > 1_000, "most phones have rows");
    assert_eq!(gateway.calls(METRIC), 1);
}

#[tokio::test(start_paused = true)]
async fn nested_fields_cost_one_call_a_channel() {
    let gateway = TestGateway::start();
    let query = r#"{ channels { custSpaceId phoneNumbers metrics(range: {last: "P7D"}) { phoneNumber sentCount } } }"#;
    let data = gateway.data(query).await;
    let channels = data["channels"].as_array().unwrap();
    assert_eq!(channels.len(), 5);
    assert!(channels.iter().all(|channel| !channel["metrics"].as_array().unwrap().is_empty()));
    assert_eq!(gateway.calls(METRIC), 5);
    let data = gateway.data(query).await;
    assert!(data["channels"][0]["phoneNumbers"].as_array().unwrap().len() > 1, "seen in the replies before");
    assert_eq!(gateway.calls(METRIC), 5);
}

#[tokio::test(start_paused = true)]
async fn a_hundred_nested_ranges_cost_two_calls_and_none_the_second_time() {
    let gateway = TestGateway::builder().legs(20..60, 20..60).build();
    let ask = |days: usize| {
        let query = format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{last: \"P{days}D\"}}) {{ nodes {{ start phoneNumber sentCount }} }} }}"
        );
        gateway.ask(&query, json!({}))
    };
    let first = join_all((0..100).map(|n| ask(n % 30 + 1))).await;
    assert!(gateway.calls(METRIC) <= 2, "{} calls", gateway.calls(METRIC));
    let longest = first[29]["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    for (n, answer) in first.iter().enumerate() {
        let nodes = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
        assert!(!nodes.is_empty(), "{n}: {answer}");
        assert!(nodes.iter().all(|node| longest.contains(node)), "{n}");
    }
    let before = gateway.calls(METRIC);
    let second = join_all((0..100).map(|n| ask(n % 30 + 1))).await;
    assert_eq!(gateway.calls(METRIC), before);
    assert!(first.iter().zip(&second).all(|(one, other)| one["data"] == other["data"]));
}

#[tokio::test(start_paused = true)]
async fn a_range_moved_by_a_day_fetches_the_missing_part_only() {
    let gateway = TestGateway::start();
    let query = |from: &str, to: &str| {
        format!(
            "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{between: {{start: \"{from}\", end: \"{to}\"}}}}) {{ totalCount }} }}"
        )
    };
    gateway.data(&query("2026-09-01T00:00:00Z", "2026-10-01T00:00:00Z")).await;
    assert_eq!(gateway.calls(METRIC), 1);
    gateway.data(&query("2026-09-02T00:00:00Z", "2026-10-02T00:00:00Z")).await;
    assert_eq!(gateway.calls(METRIC), 2);
    let arrivals = gateway.sim().arrivals();
    let part = &arrivals[1].parameters;
    let hours = part.end.unwrap().since(part.start.unwrap()).as_secs() / 3_600;
    assert_eq!(hours, 24 + 2 * 26, "one day, padded by 26 hours on both sides");
    gateway.data(&query("2026-09-05T07:00:00Z", "2026-09-20T19:30:00Z")).await;
    assert_eq!(gateway.calls(METRIC), 2, "settled slices are never fetched again");
}

#[tokio::test(start_paused = true)]
async fn windows_of_distributions_tile_a_range_with_a_call_each() {
    let gateway = TestGateway::start();
    let query = r#"{ operationDistributions(appIds: ["app-one"], window: "P2D", range: {between: {start: "2026-11-01T05:00:00Z", end: "2026-11-08T05:00:00Z"}}) { start end finality } }"#;
    let data = gateway.data(query).await;
    let edges: Vec<_> = data["operationDistributions"]
        .as_array()
        .unwrap()
        .iter()
        .map(|window| (window["start"].clone(), window["end"].clone()))
        .collect();
    let day = |day: u32| json!(format!("2026-11-{day:02}T05:00:00Z"));
    assert_eq!(edges, [(day(1), day(3)), (day(3), day(5)), (day(5), day(7)), (day(7), day(8))]);
    assert_eq!(gateway.calls(DISTRIBUTION), 4);
    gateway.data(query).await;
    assert_eq!(gateway.calls(DISTRIBUTION), 4);
}

#[tokio::test(start_paused = true)]
async fn four_hundred_and_one_planned_calls_call_nobody() {
    let gateway = TestGateway::builder().config(|config| config.queue.max_wait = Duration::from_secs(600)).build();
    let query = |hours: u32| {
        let start = "2026-11-01T00:00:00Z";
        let end = Timestamp::parse_rfc3339(start).unwrap() + HOUR * hours;
        format!(
            "{{ channels {{ metrics(range: {{last: \"P1D\"}}) {{ sentCount }} }} operationDistributions(appIds: [\"app-one\"], window: \"PT1H\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) {{ start }} }}"
        )
    };
    let refused = gateway.query(&query(396)).await;
    assert_eq!(codes(&refused), vec!["TOO_EXPENSIVE"; 6], "five channels and one list");
    assert!(refused["errors"][0]["message"].as_str().unwrap().contains("401"), "{refused}");
    assert_eq!((gateway.calls(METRIC), gateway.calls(DISTRIBUTION)), (0, 0));
    let admitted = gateway.query(&query(395)).await;
    assert_eq!(codes(&admitted), Vec::<String>::new());
    assert_eq!((gateway.calls(METRIC), gateway.calls(DISTRIBUTION)), (5, 395));
}

#[tokio::test(start_paused = true)]
async fn every_client_gets_its_own_numbers() {
    let gateway = TestGateway::builder()
        .config(|config| config.queue.max_wait = Duration::from_secs(3_600))
        .legs(10..60, 10..60)
        .build();
    let phones: Vec<(String, String)> = ["alpha", "beta", "gamma", "delta", "epsilon"]
        .iter()
        .flat_map(|name| {
            let channel = format!("cams-{name}");
            gateway.sim().world().phones(&channel).into_iter().map(move |phone| (channel.clone(), phone))
        })
        .collect();
    let asks = (0..2_000).map(|n| {
        let (channel, phone) = phones[n % phones.len()].clone();
        let (days, granularity) = (n / phones.len() % 29 + 1, if n % 2 == 0 { "DAILY" } else { "HALF_HOUR" });
        let query = format!(
            "{{ phoneNumberMetrics(custSpaceId: \"{channel}\", phoneNumbers: [\"{phone}\"], granularity: {granularity}, range: {{last: \"P{days}D\"}}) {{ nodes {{ custSpaceId phoneNumber granularity start }} }} }}"
        );
        let answer = gateway.ask(&query, json!({}));
        async move { (channel, phone, granularity, days, answer.await) }
    });
    let mut rows = 0;
    for (channel, phone, granularity, days, answer) in join_all(asks).await {
        assert_eq!(codes(&answer), Vec::<String>::new());
        let nodes = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
        rows += nodes.len();
        assert!(nodes.len() <= days * if granularity == "DAILY" { 1 } else { 48 } + 1);
        let own = |node: &Value| {
            node["custSpaceId"] == json!(channel)
                && node["phoneNumber"] == json!(phone)
                && node["granularity"] == json!(granularity)
        };
        assert!(nodes.iter().all(own), "{channel} {phone}");
    }
    assert!(rows > 10_000, "{rows}");
}

fn cost(answer: &Value, what: &str) -> Value {
    answer["extensions"]["weir"][what].clone()
}

#[tokio::test(start_paused = true)]
async fn who_joins_behind_a_probe_is_counted_once() {
    let gateway = TestGateway::builder().legs(500..501, 500..501).build();
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    sleep(Duration::from_mins(1)).await;
    gateway.sim().faults().clear();
    let probe = tokio::spawn(gateway.ask(&window("app-two", 8), json!({})));
    sleep(Duration::from_millis(100)).await;
    let behind = tokio::spawn(gateway.ask(&window("app-two", 9), json!({})));
    sleep(Duration::from_millis(100)).await;
    let joined = gateway.query(&window("app-two", 9)).await;
    assert_eq!(codes(&joined), Vec::<String>::new());
    assert_eq!(cost(&joined, "collapsed"), json!(1));
    assert_eq!(cost(&behind.await.unwrap(), "upstreamCalls")["VOLCENGINE_RTC"], json!(1));
    probe.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn too_expensive_is_judged_over_all_levels_of_a_request() {
    let gateway = TestGateway::builder().max_wait(3_600).build();
    let fields: Vec<_> = (0..100)
        .map(|n| {
            let (day, hour) = (1 + n / 24, n % 24);
            format!("w{n}: distribution(range: {{between: {{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", end: \"2026-11-{day:02}T{hour:02}:30:00Z\"}}}}) {{ start }} ")
        })
        .collect();
    let fields = fields.concat();
    let query = format!(
        "{{ operationDistributions(appIds: [\"app-one\"], range: {{between: {{start: \"2026-11-10T00:00:00Z\", end: \"2026-11-18T10:00:00Z\"}}}}, window: \"PT1H\") {{ start }} applications {{ {fields} }} }}"
    );
    let answer = gateway.query(&query).await;
    assert!(codes(&answer).iter().all(|code| code == "TOO_EXPENSIVE"), "{:?}", &codes(&answer)[..3]);
    assert_eq!(codes(&answer).len(), 101, "a hundred, and one that says how many more");
    assert_eq!(answer["errors"][100]["extensions"]["actual"], 1 + 200);
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}
