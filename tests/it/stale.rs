//! Stale answers: served while they are refreshed, and while the vendor cannot be asked; never instead of the truth,
//! and always said.

use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir::domain::Timestamp;
use weir::domain::time::HOUR;
use weir::sim::{DEMO_KEY, Fault, Scope, Times};

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes};

const TODAY: &str = r#"{ operationDistribution(appId: "app-one", range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { source finality fetchedAt data { value } } }"#;
const DAYS: &str = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {between: {start: "2026-11-10T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { nodes { phoneNumber start source finality fetchedAt sentCount } } }"#;

const MINUTE: Duration = Duration::from_mins(1);

fn source(answer: &Value) -> &str {
    answer["data"]["operationDistribution"]["source"].as_str().unwrap()
}

#[tokio::test(start_paused = true)]
async fn past_its_time_an_answer_is_served_while_one_refresh_runs() {
    let gateway = TestGateway::builder().legs(100..101, 100..101).build();
    assert_eq!(source(&gateway.query(TODAY).await), "UPSTREAM");
    sleep(4 * MINUTE).await;
    assert_eq!(source(&gateway.query(TODAY).await), "CACHE");
    sleep(2 * MINUTE).await;
    let began = Instant::now();
    for _ in 0..20 {
        let answer = gateway.query(TODAY).await;
        assert_eq!(source(&answer), "STALE");
        assert_eq!(answer["extensions"]["weir"]["upstreamCalls"]["VOLCENGINE_RTC"], json!(0));
    }
    assert!(began.elapsed() < Duration::from_millis(5), "nobody waits for the refresh");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.calls(DISTRIBUTION), 2, "one refresh for all of them");
    assert_eq!(source(&gateway.query(TODAY).await), "CACHE");
    // Too old to be served at once.
    sleep(11 * MINUTE).await;
    assert_eq!(source(&gateway.query(TODAY).await), "UPSTREAM");
}

#[tokio::test(start_paused = true)]
async fn a_request_may_forbid_stale_answers() {
    let gateway = TestGateway::start();
    gateway.query(TODAY).await;
    sleep(6 * MINUTE).await;
    let strict = |max_stale: &str| gateway.ask_with(TODAY, json!({}), json!({"maxStale": max_stale}));
    assert_eq!(source(&strict("PT0S").await), "UPSTREAM");
    sleep(20 * MINUTE).await;
    gateway.sim().faults().push(Fault::InternalError, Scope::Everything, Times::ForEver);
    assert_eq!(codes(&strict("PT0S").await), ["VENDOR_UNAVAILABLE"]);
    assert_eq!(codes(&strict("PT10M").await), ["VENDOR_UNAVAILABLE"], "older than ten minutes past its time");
    assert_eq!(source(&strict("PT1H").await), "STALE");
    let off = TestGateway::builder().config(|config| config.cache.max_stale = Duration::ZERO).build();
    off.query(TODAY).await;
    sleep(6 * MINUTE).await;
    off.sim().faults().push(Fault::InternalError, Scope::Everything, Times::ForEver);
    assert_eq!(codes(&off.query(TODAY).await), ["VENDOR_UNAVAILABLE"]);
}

#[tokio::test(start_paused = true)]
async fn what_cannot_change_is_never_stale() {
    let gateway = TestGateway::start();
    gateway.query(DAYS).await;
    sleep(6 * MINUTE).await;
    let answer = gateway.query(DAYS).await;
    let nodes = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    let count = |finality: &str, source: &str| {
        nodes.iter().filter(|node| node["finality"] == json!(finality) && node["source"] == json!(source)).count()
    };
    assert!(count("FINAL", "CACHE") > 10 && count("PROVISIONAL", "STALE") > 2, "{answer}");
    assert_eq!((count("FINAL", "STALE"), count("PROVISIONAL", "CACHE")), (0, 0));
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_no_longer_answers_is_answered_from_what_is_held() {
    let gateway = TestGateway::builder().config(|config| config.cache.max_stale = 60 * 24 * 60 * MINUTE).build();
    assert_eq!(source(&gateway.query(TODAY).await), "UPSTREAM");
    sleep(31 * 24 * 60 * MINUTE).await;
    let answer = gateway.query(TODAY).await;
    assert_eq!((codes(&answer), source(&answer)), (vec![], "STALE"));
    assert_eq!(answer["data"]["operationDistribution"]["finality"], json!("PROVISIONAL"), "as it was fetched");
    let strict = |max_stale: &str| gateway.ask_with(TODAY, json!({}), json!({"maxStale": max_stale}));
    assert_eq!(codes(&strict("PT0S").await), ["OUT_OF_RETENTION"]);
    assert_eq!(codes(&strict("P29D").await), ["OUT_OF_RETENTION"]);
    sleep(MINUTE).await;
    assert_eq!(gateway.calls(DISTRIBUTION), 1, "and nobody asks for it in vain");
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_keeps_less_than_it_says_takes_no_known_number_away() {
    let gateway = TestGateway::start();
    gateway.query(TODAY).await;
    sleep(20 * MINUTE).await;
    let too_old = Fault::Refuse { status: 400, code: "InvalidParameter.OutofTimeRange".to_owned() };
    gateway.sim().faults().push(too_old, Scope::Everything, Times::ForEver);
    assert_eq!(source(&gateway.query(TODAY).await), "STALE");
    assert_eq!(gateway.calls(DISTRIBUTION), 2, "it was asked");
    let strict = gateway.ask_with(TODAY, json!({}), json!({"maxStale": "PT0S"})).await;
    assert_eq!(codes(&strict), ["OUT_OF_RETENTION"]);
}

#[tokio::test(start_paused = true)]
async fn an_hour_without_the_vendor_costs_known_ranges_nothing_and_unknown_ones_no_timeout() {
    let gateway = TestGateway::start();
    gateway.query(TODAY).await;
    sleep(20 * MINUTE).await;
    gateway.sim().faults().push(Fault::Hang, Scope::operation(DISTRIBUTION), Times::ForEver);
    let unknown = |n: u32| {
        format!(
            "{{ operationDistribution(appId: \"app-two\", range: {{between: {{start: \"2026-11-{:02}T00:00:00Z\", end: \"2026-11-{:02}T00:00:00Z\"}}}}) {{ start }} }}",
            n % 15 + 1,
            n % 15 + 2
        )
    };
    // Until the breaker opens somebody has to find out.
    let opening: Vec<_> = (0..6).map(|n| gateway.ask(&unknown(n), json!({}))).collect();
    futures_util::future::join_all(opening).await;
    sleep(Duration::from_secs(3)).await; // the fifth failure: its caller has left
    let (before, began) = (gateway.calls(DISTRIBUTION), Instant::now());
    let (mut quick, mut asks) = (0, 0);
    while began.elapsed() < Duration::from_hours(1) {
        let at = Instant::now();
        let known = gateway.query(TODAY).await;
        assert_eq!(source(&known), "STALE");
        assert!(at.elapsed() < Duration::from_millis(5), "a known range waited for {:?}", at.elapsed());
        let failed = gateway.query(&unknown(asks)).await;
        assert_eq!(failed["data"]["operationDistribution"], Value::Null);
        assert!(["VENDOR_UNAVAILABLE", "VENDOR_TIMEOUT"].contains(&codes(&failed)[0].as_str()), "{failed}");
        quick += u32::from(at.elapsed() < Duration::from_millis(20));
        asks += 1;
        sleep(Duration::from_secs(7)).await;
    }
    let probes = gateway.calls(DISTRIBUTION) - before;
    assert!(probes <= 65, "one probe a minute at most, after the first: {probes}");
    assert!(quick * 10 >= asks * 8, "{quick} of {asks} were answered in milliseconds");
    // It is back: one call finds out, whoever asks for whatever, and no herd follows it.
    gateway.sim().faults().clear();
    gateway.sim().faults().push(Fault::Latency(Duration::from_secs(1)), Scope::Everything, Times::ForEver);
    sleep(MINUTE).await;
    let before = gateway.calls(DISTRIBUTION);
    let herd: Vec<_> = (0..40).map(|_| gateway.ask(TODAY, json!({}))).collect();
    let others: Vec<_> = (0..8).map(|n| gateway.ask(&unknown(n), json!({}))).collect();
    sleep(Duration::from_millis(900)).await;
    assert_eq!(gateway.calls(DISTRIBUTION) - before, 1, "the probe alone");
    let answers = futures_util::future::join_all(herd.into_iter().chain(others)).await;
    assert!(answers.iter().all(|answer| codes(answer).is_empty()));
    sleep(Duration::from_secs(5)).await;
    assert_eq!(gateway.calls(DISTRIBUTION) - before, 1 + 8);
    assert_eq!(source(&gateway.query(TODAY).await), "CACHE");
}

/// Seven seconds of calls for the operation's only account.
fn backlog(gateway: &TestGateway) -> Vec<impl Future<Output = Value> + use<>> {
    (0..14)
        .map(|n| format!("{{ operationDistribution(appId: \"app-two\", range: {{between: {{start: \"2026-11-20T{n:02}:00:00Z\", end: \"2026-11-21T00:00:00Z\"}}}}) {{ start }} }}"))
        .map(|query| gateway.ask(&query, json!({})))
        .collect()
}

#[tokio::test(start_paused = true)]
async fn a_stale_answer_is_better_than_a_refusal_for_the_wait() {
    let gateway = TestGateway::builder().max_wait(5).legs(20..60, 20..60).build();
    gateway.query(TODAY).await;
    sleep(20 * MINUTE).await;
    let hours = backlog(&gateway);
    sleep(Duration::from_millis(5)).await;
    let began = Instant::now();
    let answer = gateway.query(TODAY).await;
    assert_eq!(source(&answer), "STALE", "{answer}");
    assert!(began.elapsed() < Duration::from_millis(20));
    let strict = gateway.ask_with(TODAY, json!({}), json!({"maxStale": "PT0S"})).await;
    assert_eq!(codes(&strict), ["QUOTA_WAIT_TOO_LONG"]);
    futures_util::future::join_all(hours).await;
    // What was served as stale has been fetched again meanwhile, after everybody who waited.
    sleep(Duration::from_secs(10)).await;
    assert_eq!(source(&gateway.query(TODAY).await), "CACHE");
}

#[tokio::test(start_paused = true)]
async fn only_the_account_whose_queue_is_too_long_falls_back() {
    let gateway = TestGateway::builder()
        .max_wait(5)
        .legs(20..60, 20..60)
        .config(|config| {
            let mut second = config.volcengine_rtc[0].clone();
            (second.name, second.apps) = ("more".to_owned(), vec!["app-more".to_owned()]);
            second.access_key_id = "second-key".to_owned().into();
            config.volcengine_rtc.push(second);
        })
        .sim(|sim| sim.keys.push(("second-key".to_owned(), DEMO_KEY.1.to_owned())))
        .build();
    let both = r#"{ operationDistributions(appIds: ["app-one", "app-more"], range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { appId source } }"#;
    let sources = |answer: &Value| {
        let windows = answer["data"]["operationDistributions"].as_array().unwrap();
        windows.iter().map(|window| window["source"].as_str().unwrap().to_owned()).collect::<Vec<_>>()
    };
    assert_eq!(sources(&gateway.query(both).await), ["UPSTREAM"; 2]);
    sleep(20 * MINUTE).await;
    let hours = backlog(&gateway);
    sleep(Duration::from_millis(5)).await;
    assert_eq!(sources(&gateway.query(both).await), ["STALE", "UPSTREAM"]);
    futures_util::future::join_all(hours).await;
}

#[tokio::test(start_paused = true)]
async fn refreshes_wait_until_nobody_else_does() {
    let gateway = TestGateway::builder().max_wait(600).legs(20..60, 20..60).build();
    gateway.query(TODAY).await;
    sleep(6 * MINUTE).await;
    let ask = |n: u32| {
        let query = format!(
            "{{ operationDistribution(appId: \"app-two\", range: {{between: {{start: \"2026-11-20T{n:02}:00:00Z\", end: \"2026-11-21T00:00:00Z\"}}}}) {{ start }} }}"
        );
        gateway.ask(&query, json!({}))
    };
    let first: Vec<_> = (0..6).map(ask).collect();
    sleep(Duration::from_millis(5)).await;
    assert_eq!(source(&gateway.query(TODAY).await), "STALE");
    let later: Vec<_> = (6..12).map(ask).collect();
    futures_util::future::join_all(first.into_iter().chain(later)).await;
    sleep(Duration::from_secs(5)).await;
    let apps: Vec<_> = gateway.sim().arrivals().into_iter().filter_map(|arrival| arrival.parameters.subject).collect();
    assert_eq!(apps.len(), 14);
    assert_eq!(apps.last().unwrap(), "app-one", "the refresh went last, though it was there before half of them");
}

#[tokio::test(start_paused = true)]
async fn only_final_numbers_where_only_they_will_do() {
    let gateway = TestGateway::start();
    let only = |query: &str| gateway.ask_with(query, json!({}), json!({"freshness": "FINAL_ONLY"}));
    let answer = only(DAYS).await;
    let nodes = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    assert!(nodes.len() > 10 && nodes.iter().all(|node| node["finality"] == json!("FINAL")));
    let answer = only(TODAY).await;
    assert_eq!((codes(&answer), &answer["data"]["operationDistribution"]), (vec![], &Value::Null), "not there yet");
    assert_eq!(gateway.calls(DISTRIBUTION), 0, "and no call could bring it");
    // Held as provisional, and final by now.
    gateway.query(TODAY).await;
    gateway.clock().set(gateway.now() + Duration::from_hours(9));
    let answer = only(TODAY).await;
    assert_eq!(answer["data"]["operationDistribution"]["finality"], json!("FINAL"));
    assert_eq!(gateway.calls(METRIC), 1);
}

#[tokio::test(start_paused = true)]
async fn a_request_and_its_refreshes_never_cause_more_than_four_hundred_calls() {
    let gateway = TestGateway::builder()
        .max_wait(3_600)
        .config(|config| {
            config.cache.settle.volcengine_rtc = 60 * 24 * 60 * MINUTE;
            config.cache.stale_while_refresh = 60 * MINUTE;
            config.volcengine_rtc[0].apps.push("app-three".to_owned());
        })
        .build();
    gateway.clock().set(Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap());
    let hours = |app: &str, field: &str, hours: u32| {
        let end = Timestamp::parse_rfc3339("2026-11-22T10:00:00Z").unwrap();
        format!(
            "{field}: operationDistributions(appIds: [\"{app}\"], window: \"PT1H\", range: {{between: {{start: \"{}\", end: \"{end}\"}}}}) {{ source }} ",
            end - HOUR * hours
        )
    };
    // Nothing settles, so that all of it is out of date in time.
    let held = [hours("app-one", "a", 300), hours("app-two", "b", 200)];
    for field in &held {
        gateway.data(&format!("{{ {field} }}")).await;
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 500);
    sleep(6 * MINUTE).await;
    let query = format!("{{ {} {} {} }}", held[0], held[1], hours("app-three", "c", 150));
    let explained = gateway.ask_with(&query, json!({}), json!({"explain": true})).await;
    let count = |kind: &str| explained["extensions"]["weir"]["plan"][kind].as_array().unwrap().len();
    assert_eq!((count("upstreamCalls"), count("refreshes")), (150, 250));
    let data = gateway.data(&query).await;
    let are = |field: &str, source: &str| {
        data[field].as_array().unwrap().iter().all(|window| window["source"] == json!(source))
    };
    assert!(are("a", "STALE") && are("b", "STALE") && are("c", "UPSTREAM"));
    sleep(60 * MINUTE).await;
    assert_eq!(gateway.calls(DISTRIBUTION), 500 + 400);
}

#[tokio::test(start_paused = true)]
async fn what_the_vendor_denies_is_not_refreshed_at_every_look() {
    let gateway = TestGateway::start();
    gateway.query(TODAY).await;
    sleep(6 * MINUTE).await;
    gateway.sim().faults().push(Fault::PermissionDenied, Scope::Everything, Times::ForEver);
    for _ in 0..20 {
        gateway.query(TODAY).await;
        sleep(Duration::from_secs(1)).await;
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 2, "a refusal is remembered for half a minute");
}
