//! The plan is what then happens.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir::domain::time::HOUR;
use weir::sim::{DEMO_KEY, Fault, Scope, Times};

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes, window};

/// Several keys of each vendor, two calls a second for each account, and what other callers ask for: whatever begins
/// with `queue`.
fn crowded(seed: u64) -> TestGateway {
    let queue = |prefix: &str| (0..16).map(|n| format!("queue-{prefix}-{n}")).collect::<Vec<_>>();
    TestGateway::builder()
        .legs(5..40, 5..40)
        .max_wait(600)
        .seed(seed)
        .config(|config| {
            let (cams, rtc) = (&mut config.alibaba_cams[0], &mut config.volcengine_rtc[0]);
            cams.quota.set("GetChatappPhoneNumberMetric", 2);
            let (mut second_cams, mut second_rtc) = (cams.clone(), rtc.clone());
            (second_cams.name, second_cams.channels) = ("wholesale".to_owned(), vec!["cams-other".to_owned()]);
            (second_rtc.name, second_rtc.apps) = ("more".to_owned(), vec!["app-more".to_owned()]);
            let mut same_rtc = second_rtc.clone();
            // These share the permits of the first, and `more` has some of its own.
            (same_rtc.name, same_rtc.apps) = ("same".to_owned(), vec!["app-same".to_owned()]);
            second_rtc.access_key_id = "second-key".to_owned().into();
            cams.channels.extend(queue("cams"));
            rtc.apps.extend(queue("app"));
            config.alibaba_cams.push(second_cams);
            config.volcengine_rtc.extend([second_rtc, same_rtc]);
        })
        .sim(|sim| sim.keys.push(("second-key".to_owned(), DEMO_KEY.1.to_owned())))
        .build()
}

/// Others ask for so much before it that no permit comes within seconds.
fn crowd(rng: &mut StdRng, gateway: &TestGateway) -> Vec<impl Future<Output = Value> + use<>> {
    let end = gateway.now() - HOUR * 3_u32;
    let range = format!("{{between: {{start: \"{}\", end: \"{end}\"}}}}", end - HOUR * 5_u32);
    let queries = (0..rng.random_range(4..16_usize)).flat_map(|at| {
        let metrics =
            format!("{{ phoneNumberMetrics(custSpaceId: \"queue-cams-{at}\", range: {range}) {{ totalCount }} }}");
        let users = format!("{{ operationDistribution(appId: \"queue-app-{at}\", range: {range}) {{ start }} }}");
        [metrics, users]
    });
    queries.map(|query| gateway.ask_with(&query, json!({}), json!({"maxStale": "PT0S"}))).collect()
}

/// A query of one to four fields of both vendors.
fn random_query(rng: &mut StdRng, gateway: &TestGateway) -> String {
    let field = |rng: &mut StdRng, at: usize| {
        let days = rng.random_range(1..20_u32);
        let end = gateway.now() - HOUR * rng.random_range(0..400_u32);
        let between =
            format!("{{between: {{start: \"{}\", end: \"{end}\"}}}}", end - HOUR * rng.random_range(1..150_u32));
        let range = if rng.random_bool(0.5) { format!("{{last: \"P{days}D\"}}") } else { between.clone() };
        let channel = ["cams-alpha", "cams-beta", "cams-other"][rng.random_range(0..3_usize)];
        match rng.random_range(0..4) {
            0 => format!("f{at}: phoneNumberMetrics(custSpaceId: \"{channel}\", range: {range}) {{ totalCount }} "),
            1 => {
                let phones = gateway.sim().world().phones(channel);
                let phone = &phones[rng.random_range(0..phones.len())];
                format!(
                    "f{at}: phoneNumberMetrics(custSpaceId: \"{channel}\", phoneNumbers: [\"{phone}\"], granularity: HALF_HOUR, range: {range}) {{ totalCount }} "
                )
            }
            2 => format!("f{at}: operationDistribution(appId: \"app-one\", range: {between}) {{ start }} "),
            _ => format!(
                "f{at}: operationDistributions(appIds: [\"app-two\", \"app-same\", \"app-more\"], range: {{last: \"P{}D\"}}) {{ start }} ",
                days.min(5)
            ),
        }
    };
    let fields: Vec<String> = (0..rng.random_range(1..5)).map(|at| field(rng, at)).collect();
    format!("{{ {} }}", fields.concat())
}

fn plan(answer: &Value) -> &Value {
    &answer["extensions"]["weir"]["plan"]
}

fn calls(answer: &Value, kind: &str) -> Vec<(String, String, String)> {
    let calls = plan(answer)[kind].as_array().unwrap_or_else(|| panic!("{answer}"));
    let text = |call: &Value, key: &str| call[key].as_str().unwrap().to_owned();
    let mut calls: Vec<_> =
        calls.iter().map(|call| (text(call, "operation"), text(call, "start"), text(call, "end"))).collect();
    calls.sort();
    calls
}

fn planned(answer: &Value) -> Vec<(String, String, String)> {
    calls(answer, "upstreamCalls")
}

/// What is refused, and when to come back.
fn refused<'a>(errors: impl IntoIterator<Item = &'a Value>) -> Vec<(String, Option<u64>)> {
    let refusal = |error: &Value| (error["code"].as_str().unwrap().to_owned(), error["retryAfterMs"].as_u64());
    let mut refused: Vec<_> = errors.into_iter().map(refusal).collect();
    refused.sort();
    refused
}

/// What happened how often.
#[derive(Debug, Default)]
struct Seen {
    calls: usize,
    refreshes: usize,
    refused: usize,
    partly: usize,
    stale: usize,
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_thousand_random_asks_is_what_then_happens() {
    let mut seen = Seen::default();
    for seed in 0..25 {
        let mut rng = StdRng::seed_from_u64(seed);
        let gateway = crowded(seed);
        let mut query = String::new();
        for n in 0..40 {
            if n == 0 || rng.random_bool(0.6) {
                query = random_query(&mut rng, &gateway);
            }
            let what = format!("seed {seed}, ask {n}: {query}");
            let crowd = if rng.random_bool(0.3) { crowd(&mut rng, &gateway) } else { Vec::new() };
            sleep(Duration::from_millis(1)).await;
            let max_wait = rng.random_range(1..8_u64);
            let stale = if rng.random_bool(0.5) { "PT0S" } else { "PT12H" };
            let controls = json!({"maxStale": stale, "maxWait": format!("PT{max_wait}S")});
            let explain = |max_wait: String| {
                let controls = json!({"explain": true, "maxStale": stale, "maxWait": max_wait});
                gateway.ask_with(&query, json!({}), controls)
            };
            let before = gateway.sim().arrivals().len();
            let explained = explain(format!("PT{max_wait}S")).await;
            assert_eq!(codes(&explained), Vec::<String>::new(), "{what}");
            let enough = plan(&explained)["expectedWaitMs"].as_u64().unwrap();
            let patient = explain(format!("PT{}S", enough / 1_000 + 1)).await;
            assert_eq!(plan(&patient)["refused"], json!([]), "{what}");
            assert_eq!(gateway.sim().arrivals().len(), before, "nothing is run");

            let answer = gateway.ask_with(&query, json!({}), controls).await;
            let errors = answer["errors"].as_array().cloned().unwrap_or_default();
            let refusals = plan(&explained)["refused"].as_array().unwrap();
            assert_eq!(refused(refusals), refused(errors.iter().map(|error| &error["extensions"])), "{what}");
            let (awaited, refreshes) = (planned(&explained), calls(&explained, "refreshes"));
            let cost = &answer["extensions"]["weir"]["upstreamCalls"];
            let cost = cost["ALIBABA_CAMS"].as_u64().unwrap() + cost["VOLCENGINE_RTC"].as_u64().unwrap();
            assert_eq!(cost, awaited.len() as u64, "{what}");
            assert_eq!(plan(&explained)["cached"], answer["extensions"]["weir"]["cacheHits"], "{what}");
            let waited = answer["extensions"]["weir"]["queueWaitMs"].as_u64().unwrap();
            assert!(waited <= max_wait * 1_100 + 300, "{waited} ms of {max_wait} s: {what}");

            futures_util::future::join_all(crowd).await;
            sleep(Duration::from_secs(5)).await;
            let mut arrived: Vec<_> = gateway.sim().arrivals()[before..]
                .iter()
                .filter(|arrival| !arrival.parameters.subject.as_ref().unwrap().starts_with("queue"))
                .map(|arrival| {
                    let edge = |at: Option<weir::domain::Timestamp>| at.unwrap().to_string();
                    (arrival.operation.clone(), edge(arrival.parameters.start), edge(arrival.parameters.end))
                })
                .collect();
            arrived.sort();
            let mut all = [awaited.clone(), refreshes.clone()].concat();
            all.sort();
            assert_eq!(all, arrived, "{what}");
            seen.calls += awaited.len();
            seen.refreshes += refreshes.len();
            seen.refused += refusals.len();
            seen.partly += usize::from(!refusals.is_empty() && !awaited.is_empty());
            seen.stale += usize::from(refusals.is_empty() && enough > max_wait * 1_000);
            sleep(Duration::from_secs(rng.random_range(0..900))).await;
        }
    }
    assert!(seen.calls > 800 && seen.refreshes > 100, "{seen:?}");
    assert!(seen.refused > 100 && seen.partly > 20 && seen.stale > 10, "{seen:?}");
}

#[tokio::test(start_paused = true)]
async fn the_expected_wait_is_right_within_a_fifth() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(600).build();
    let window = |n: u32| {
        format!(
            "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"2026-11-{:02}T{:02}:00:00Z\", end: \"2026-11-21T00:00:00Z\"}}}}) {{ start }} }}",
            15 + n / 24,
            n % 24
        )
    };
    for queued in [6, 11, 24] {
        let gateway_queue: Vec<_> = (0..queued).map(|n| gateway.ask(&window(n + queued), json!({}))).collect();
        sleep(Duration::from_millis(3)).await;
        let list = r#"{ operationDistributions(appIds: ["app-two"], range: {last: "P8D"}) { start } }"#;
        let explained = gateway.ask_with(list, json!({}), json!({"explain": true, "maxStale": "PT0S"})).await;
        let expected = explained["extensions"]["weir"]["plan"]["expectedWaitMs"].as_f64().unwrap();
        let began = Instant::now();
        let answer = gateway.ask_with(list, json!({}), json!({"maxStale": "PT0S"})).await;
        let waited = answer["extensions"]["weir"]["queueWaitMs"].as_f64().unwrap();
        assert!(began.elapsed() >= Duration::from_millis(1_000));
        assert!(
            (expected - waited).abs() <= waited * 0.2,
            "{queued} queued: expected {expected} ms, waited {waited} ms"
        );
        futures_util::future::join_all(gateway_queue).await;
        gateway.clock().set(gateway.now() + HOUR);
        sleep(Duration::from_secs(600)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn nothing_is_run_and_nothing_false_is_answered() {
    let gateway = TestGateway::start();
    let explain = |query: &str| gateway.ask_with(query, json!({}), json!({"explain": true}));
    let answer = explain(
        r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {last: "P7D"}) { totalCount }
             channels { metrics(range: {last: "P1D"}) { start } }
             operationDistributionBounds(appId: "app-one", range: {last: "P20D"}) { windows } }"#,
    )
    .await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert_eq!(answer["data"]["phoneNumberMetrics"], Value::Null, "no number where none was asked for");
    assert_eq!(answer["data"]["channels"][0]["metrics"], Value::Null);
    assert_eq!(planned(&answer).len(), 5 + 3, "five channels, and three windows that tile twenty days: {answer}");
    let answer = explain(r#"mutation { enableWhatsappRoiMetric(custSpaceId: "cams-alpha") { requestId } }"#).await;
    assert_eq!(answer["data"]["enableWhatsappRoiMetric"], Value::Null);
    assert_eq!(answer["extensions"]["weir"]["plan"]["upstreamCalls"][0]["operation"], json!("EnableWhatsappROIMetric"));
    assert_eq!(gateway.sim().arrivals().len(), 0);
}

#[tokio::test(start_paused = true)]
async fn what_is_too_expensive_says_so_and_lists_no_call() {
    let gateway = TestGateway::builder().max_wait(600).build();
    gateway.query(r#"{ phoneNumberMetrics(custSpaceId: "cams-beta", range: {last: "P1D"}) { totalCount } }"#).await;
    let (start, end) = ("2026-11-01T00:00:00Z", "2026-11-17T17:00:00Z");
    let query = format!(
        "{{ held: phoneNumberMetrics(custSpaceId: \"cams-beta\", range: {{last: \"P1D\"}}) {{ totalCount }}
            cold: phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{last: \"P1D\"}}) {{ totalCount }}
            operationDistributions(appIds: [\"app-one\"], window: \"PT1H\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) {{ start }} }}"
    );
    let explained = gateway.ask_with(&query, json!({}), json!({"explain": true})).await;
    let told = plan(&explained);
    assert_eq!((planned(&explained).len(), &told["cached"]), (0, &json!(2)), "{told}");
    assert!(told["expectedWaitMs"].as_u64().unwrap() > 100_000, "{told}");
    assert!(told["refused"][0]["message"].as_str().unwrap().contains("402"), "{told}");
    let answer = gateway.query(&query).await;
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(refused(told["refused"].as_array().unwrap()), refused(errors.iter().map(|error| &error["extensions"])));
    assert_eq!((codes(&answer), gateway.calls(METRIC)), (vec!["TOO_EXPENSIVE".to_owned(); 2], 1));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_would_come_too_late_is_no_call() {
    let gateway = TestGateway::builder().legs(20..60, 20..60).build();
    let enable = r#"mutation { enableWhatsappRoiMetric(custSpaceId: "cams-alpha") { requestId } }"#;
    let others: Vec<_> = (0..20).map(|_| gateway.ask(enable, json!({}))).collect();
    sleep(Duration::from_millis(5)).await;
    let explain = |max_wait: &str| gateway.ask_with(enable, json!({}), json!({"explain": true, "maxWait": max_wait}));
    let (soon, late) = (explain("PT1S").await, explain("PT10S").await);
    assert_eq!(refused(plan(&soon)["refused"].as_array().unwrap())[0].0, "QUOTA_WAIT_TOO_LONG");
    assert_eq!((&plan(&soon)["upstreamCalls"], &plan(&late)["refused"]), (&json!([]), &json!([])));
    assert_eq!(plan(&late)["upstreamCalls"].as_array().unwrap().len(), 1);
    assert_eq!(plan(&soon)["expectedWaitMs"], plan(&late)["expectedWaitMs"]);
    futures_util::future::join_all(others).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_of_somebody_else_is_joined_and_not_planned() {
    let gateway = TestGateway::builder().legs(200..201, 200..201).build();
    let query = r#"{ phoneNumberMetrics(custSpaceId: "cams-alpha", range: {last: "P7D"}) { totalCount } }"#;
    let asked = gateway.ask(query, json!({}));
    sleep(Duration::from_millis(50)).await;
    let answer = gateway.ask_with(query, json!({}), json!({"explain": true})).await;
    let plan = &answer["extensions"]["weir"]["plan"];
    assert_eq!((planned(&answer).len(), &plan["joined"]), (0, &json!(8)), "{plan}");
    asked.await;
    let answer = gateway.ask_with(query, json!({}), json!({"explain": true})).await;
    assert_eq!(answer["extensions"]["weir"]["plan"]["cached"], json!(8));
}

#[tokio::test(start_paused = true)]
async fn explain_knows_that_nobody_is_asked() {
    let today = r#"{ operationDistribution(appId: "app-one", range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { source start end } }"#;
    let gateway = TestGateway::start();
    gateway.query(today).await;
    sleep(Duration::from_mins(20)).await;
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    let both = format!(
        "{{ known: {} unknown: {} }}",
        &today[2..today.len() - 2],
        &window("app-two", 9)[2..window("app-two", 9).len() - 2]
    );
    let plan = gateway.ask_with(&both, json!({}), json!({"explain": true})).await;
    let before = gateway.calls(DISTRIBUTION);
    let answer = gateway.query(&both).await;
    assert_eq!(codes(&answer), ["VENDOR_UNAVAILABLE"]);
    assert_eq!(gateway.calls(DISTRIBUTION), before);
    let plan = &plan["extensions"]["weir"]["plan"];
    assert_eq!(plan["upstreamCalls"], json!([]), "{plan}");
    assert_eq!((&plan["cached"], &plan["expectedWaitMs"]), (&answer["extensions"]["weir"]["cacheHits"], &json!(0)));
}
