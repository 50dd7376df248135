//! The plan is what then happens.

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir::domain::time::HOUR;

use crate::support::{TestGateway, codes};

/// A query of one to four fields of both vendors.
fn random_query(rng: &mut StdRng, gateway: &TestGateway) -> String {
    let field = |rng: &mut StdRng, at: usize| {
        let days = rng.random_range(1..20_u32);
        let end = gateway.now() - HOUR * rng.random_range(0..400_u32);
        let between =
            format!("{{between: {{start: \"{}\", end: \"{end}\"}}}}", end - HOUR * rng.random_range(1..150_u32));
        let range = if rng.random_bool(0.5) { format!("{{last: \"P{days}D\"}}") } else { between.clone() };
        let channel = ["cams-alpha", "cams-beta"][rng.random_range(0..2_usize)];
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
                "f{at}: operationDistributions(appIds: [\"app-two\"], range: {{last: \"P{}D\"}}) {{ start }} ",
                days.min(5)
            ),
        }
    };
    let fields: Vec<String> = (0..rng.random_range(1..5)).map(|at| field(rng, at)).collect();
    format!("{{ {} }}", fields.concat())
}

fn planned(answer: &Value) -> Vec<(String, String, String)> {
    let calls = answer["extensions"]["weir"]["plan"]["upstreamCalls"].as_array().unwrap();
    let text = |call: &Value, key: &str| call[key].as_str().unwrap().to_owned();
    let mut calls: Vec<_> =
        calls.iter().map(|call| (text(call, "operation"), text(call, "start"), text(call, "end"))).collect();
    calls.sort();
    calls
}

#[tokio::test(start_paused = true)]
async fn the_plan_of_a_thousand_random_asks_is_what_then_happens() {
    let mut planned_calls = 0;
    for seed in 0..25 {
        let mut rng = StdRng::seed_from_u64(seed);
        let gateway = TestGateway::builder().legs(5..40, 5..40).max_wait(600).seed(seed).build();
        for n in 0..40 {
            let query = random_query(&mut rng, &gateway);
            let before = gateway.sim().arrivals().len();
            let explained = gateway.ask_with(&query, json!({}), json!({"explain": true, "maxStale": "PT0S"})).await;
            assert_eq!(gateway.sim().arrivals().len(), before, "nothing is run");
            let plan = planned(&explained);
            let answer = gateway.ask_with(&query, json!({}), json!({"maxStale": "PT0S"})).await;
            assert_eq!(codes(&answer), Vec::<String>::new(), "seed {seed}, ask {n}: {query}");
            let mut calls: Vec<_> = gateway.sim().arrivals()[before..]
                .iter()
                .map(|arrival| {
                    let edge = |at: Option<weir::domain::Timestamp>| at.unwrap().to_string();
                    (arrival.operation.clone(), edge(arrival.parameters.start), edge(arrival.parameters.end))
                })
                .collect();
            calls.sort();
            assert_eq!(plan, calls, "seed {seed}, ask {n}: {query}");
            let cost = &answer["extensions"]["weir"]["upstreamCalls"];
            let cost = cost["ALIBABA_CAMS"].as_u64().unwrap() + cost["VOLCENGINE_RTC"].as_u64().unwrap();
            assert_eq!(cost, plan.len() as u64);
            assert_eq!(explained["extensions"]["weir"]["plan"]["cached"], answer["extensions"]["weir"]["cacheHits"]);
            planned_calls += plan.len();
            sleep(Duration::from_secs(rng.random_range(0..900))).await;
        }
    }
    assert!(planned_calls > 800, "{planned_calls} calls were planned");
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
