//! What hostile queries and unlucky moments must not do.

use async_graphql::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir::domain::Caller;
use weir::sim::{Fault, Scope, Times};

use crate::support::{DISTRIBUTION, METRIC, TestGateway, codes};

const TODAY: &str = r#"{ operationDistribution(appId: "app-one", range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { source start end } }"#;
const MINUTE: Duration = Duration::from_mins(1);

fn window(app: &str, n: u32) -> String {
    let (day, hour) = (1 + n / 24, n % 24);
    format!(
        "{{ operationDistribution(appId: \"{app}\", range: {{between: {{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", end: \"2026-11-{:02}T{hour:02}:30:00Z\"}}}}) {{ start }} }}",
        day + 1
    )
}

fn weir(answer: &Value) -> &Value {
    &answer["extensions"]["weir"]
}

#[expect(clippy::disallowed_methods, reason = "virtual time does not show what work costs")]
fn stopwatch() -> std::time::Instant {
    std::time::Instant::now()
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

#[tokio::test(start_paused = true)]
async fn many_windows_behind_a_long_queue_are_judged_at_once() {
    let query =
        "{ operationDistributions(appIds: [\"app-one\"], range: {last: \"P800D\"}, window: \"PT1H\") { start } }";
    let look = async |gateway: &TestGateway| {
        let began = stopwatch();
        let answer = gateway.query(query).await;
        assert_eq!(codes(&answer), ["TOO_EXPENSIVE"]);
        began.elapsed()
    };
    let gateway = TestGateway::builder().max_wait(3_600).build();
    let (_, alone) = (look(&gateway).await, look(&gateway).await);
    let queue: Vec<_> =
        (0..600).map(|n| gateway.ask(&window("app-one", n % 480), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_millis(5)).await;
    let behind = look(&gateway).await;
    assert!(behind < alone * 4, "{alone:?} alone, {behind:?} behind a queue");
    queue.iter().for_each(tokio::task::JoinHandle::abort);
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

#[tokio::test(start_paused = true)]
async fn looks_at_a_stale_answer_do_not_pile_up_behind_its_refresh() {
    let gateway = TestGateway::builder().max_wait(600).build();
    gateway.query(TODAY).await;
    sleep(6 * MINUTE).await;
    let queue: Vec<_> = (0..200).map(|n| gateway.ask(&window("app-two", n), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_millis(5)).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let began = stopwatch();
        for _ in 0..4_000 {
            let answer = gateway.query(TODAY).await;
            assert_eq!(answer["data"]["operationDistribution"]["source"], json!("STALE"));
        }
        took.push(began.elapsed());
    }
    assert!(took[4] < took[0] * 3, "looks get slower and slower: {took:?}");
    queue.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn who_waited_in_vain_is_told_so_and_not_of_a_mistake() {
    let gateway = TestGateway::builder()
        .config(|config| config.alibaba_cams[0].quota.get_chatapp_phone_number_metric = 1)
        .build();
    let throttle = Fault::ThrottleFor(Duration::from_mins(2));
    gateway.sim().faults().push(throttle, Scope::operation(METRIC), Times::ForEver);
    let field = |name: &str, channel: &str, day: u32| {
        format!(
            "{name}: phoneNumberMetrics(custSpaceId: \"cams-{channel}\", range: {{between: {{start: \"2026-10-{day:02}T00:00:00Z\", end: \"2026-10-{day:02}T12:00:00Z\"}}}}) {{ totalCount }} "
        )
    };
    let ahead = gateway.ask(&format!("{{ {} }}", field("a", "alpha", 1)), json!({}));
    // Queued when the throttle comes.
    let both = gateway.ask(&format!("{{ {} {} }}", field("a", "beta", 1), field("b", "beta", 2)), json!({}));
    ahead.await;
    let both = both.await;
    assert_eq!(codes(&both), ["QUOTA_WAIT_TOO_LONG", "QUOTA_WAIT_TOO_LONG"], "{both}");
    for error in both["errors"].as_array().unwrap() {
        assert_eq!(error["extensions"]["retryable"], json!(true), "{error}");
        // The throttle lasts for two minutes, 40 s of them were waited for, and 30 s are waited for once more.
        let retry_after = error["extensions"]["retryAfterMs"].as_f64().unwrap();
        assert!((50_000.0..55_000.0).contains(&retry_after), "{error}");
    }
}

#[tokio::test(start_paused = true)]
async fn joining_never_moves_a_call_back() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(3_600).build();
    let bulk = |n: u32| gateway.ask_with(&window("app-one", n), json!({}), json!({"priority": "BULK"}));
    let interactive: Vec<_> =
        (0..200).map(|n| gateway.ask(&window("app-two", n), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_millis(5)).await;
    let first = tokio::spawn(bulk(0));
    sleep(Duration::from_millis(5)).await;
    let began = Instant::now();
    let answer = gateway.ask(&window("app-one", 0), json!({})).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_secs(5), "{:?}", began.elapsed());
    first.await.unwrap();
    interactive.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn joining_a_bulk_call_that_is_repeated_lifts_it_too() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(3_600).build();
    gateway.sim().faults().push(Fault::InternalError, Scope::Everything, Times::Next(1));
    let bulk = |n: u32| gateway.ask_with(&window("app-one", n), json!({}), json!({"priority": "BULK"}));
    let first = tokio::spawn(bulk(99));
    sleep(Duration::from_millis(81)).await;
    let backlog: Vec<_> = (0..60).map(bulk).map(tokio::spawn).collect();
    sleep(Duration::from_secs(2)).await;
    let began = Instant::now();
    let answer = gateway.ask(&window("app-one", 99), json!({})).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    first.await.unwrap();
    backlog.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn a_shrunken_budget_is_part_of_the_forecast() {
    let gateway = TestGateway::builder()
        .config(|config| config.volcengine_rtc[0].quota.list_operation_distribution = 10)
        .sim(|sim| sim.limits.operation_distribution = 10)
        .legs(50..51, 50..51)
        .build();
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    gateway.query(&window("app-one", 0)).await;
    sleep(Duration::from_secs(3)).await;
    let asks: Vec<_> = (1..6).map(|n| gateway.ask(&window("app-one", n), json!({}))).collect();
    join_all(asks).await;
    let plan = gateway.ask_with(&window("app-one", 7), json!({}), json!({"explain": true})).await;
    let told = weir(&plan)["plan"]["expectedWaitMs"].as_f64().unwrap();
    let answer = gateway.query(&window("app-one", 7)).await;
    let waited = weir(&answer)["queueWaitMs"].as_f64().unwrap();
    assert!(waited > 500.0 && (told - waited).abs() <= waited * 0.2, "told {told}, waited {waited}");
}

#[tokio::test(start_paused = true)]
async fn explain_knows_that_nobody_is_asked() {
    let gateway = TestGateway::start();
    gateway.query(TODAY).await;
    sleep(20 * MINUTE).await;
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    let both = format!(
        "{{ known: {} unknown: {} }}",
        &TODAY[2..TODAY.len() - 2],
        &window("app-two", 9)[2..window("app-two", 9).len() - 2]
    );
    let plan = gateway.ask_with(&both, json!({}), json!({"explain": true})).await;
    let before = gateway.calls(DISTRIBUTION);
    let answer = gateway.query(&both).await;
    assert_eq!(codes(&answer), ["VENDOR_UNAVAILABLE"]);
    assert_eq!(gateway.calls(DISTRIBUTION), before);
    let plan = &weir(&plan)["plan"];
    assert_eq!(plan["upstreamCalls"], json!([]), "{plan}");
    assert_eq!((&plan["cached"], &plan["expectedWaitMs"]), (&weir(&answer)["cacheHits"], &json!(0)));
}

#[tokio::test(start_paused = true)]
async fn a_throttled_probe_is_repeated_like_any_other_call() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    sleep(MINUTE).await;
    gateway.sim().faults().clear();
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    let answer = gateway.query(&window("app-two", 9)).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
}

#[tokio::test(start_paused = true)]
async fn who_joins_behind_a_probe_is_counted_once() {
    let gateway = TestGateway::builder().legs(500..501, 500..501).build();
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    sleep(MINUTE).await;
    gateway.sim().faults().clear();
    let probe = tokio::spawn(gateway.ask(&window("app-two", 8), json!({})));
    sleep(Duration::from_millis(100)).await;
    let behind = tokio::spawn(gateway.ask(&window("app-two", 9), json!({})));
    sleep(Duration::from_millis(100)).await;
    let joined = gateway.query(&window("app-two", 9)).await;
    assert_eq!(codes(&joined), Vec::<String>::new());
    assert_eq!(weir(&joined)["collapsed"], json!(1));
    assert_eq!(weir(&behind.await.unwrap())["upstreamCalls"]["VOLCENGINE_RTC"], json!(1));
    probe.await.unwrap();
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
async fn too_expensive_is_judged_over_all_levels_of_a_request() {
    let gateway = TestGateway::builder().max_wait(3_600).build();
    let fields: Vec<_> = (0..101)
        .map(|n| {
            let (day, hour) = (1 + n / 24, n % 24);
            format!("w{n}: distribution(range: {{between: {{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", end: \"2026-11-{day:02}T{hour:02}:30:00Z\"}}}}) {{ start }} ")
        })
        .collect();
    let fields = fields.concat();
    let query = format!(
        "{{ operationDistributions(appIds: [\"app-one\"], range: {{between: {{start: \"2026-11-10T00:00:00Z\", end: \"2026-11-18T08:00:00Z\"}}}}, window: \"PT1H\") {{ start }} applications {{ {fields} }} }}"
    );
    let answer = gateway.query(&query).await;
    assert!(codes(&answer).iter().all(|code| code == "TOO_EXPENSIVE"), "{:?}", &codes(&answer)[..3]);
    assert_eq!(codes(&answer).len(), 101, "a hundred, and one that says how many more");
    assert_eq!(answer["errors"][100]["extensions"]["actual"], 1 + 202);
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
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

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_after_the_caller_stopped_waiting() {
    let gateway = TestGateway::builder().max_wait(1).build();
    let operation = "EnableWhatsappROIMetric";
    gateway.sim().faults().push(Fault::Latency(Duration::from_secs(6)), Scope::operation(operation), Times::ForEver);
    let field =
        |channel: &str| format!("{channel}: enableWhatsappRoiMetric(custSpaceId: \"cams-{channel}\") {{ requestId }} ");
    let fields: String = ["alpha", "beta", "gamma", "delta"].map(field).concat();
    let answer = gateway.query(&format!("mutation {{ {fields} }}")).await;
    sleep(MINUTE).await;
    assert_eq!(gateway.calls(operation), 2, "{answer}");
    assert_eq!(codes(&answer), ["VENDOR_TIMEOUT", "QUOTA_WAIT_TOO_LONG", "QUOTA_WAIT_TOO_LONG"]);
}

#[tokio::test(start_paused = true)]
async fn a_variable_that_is_left_out_has_its_default_in_directives_too() {
    let gateway = TestGateway::start();
    for (query, has_both) in [
        ("query($x: Boolean = true) { datasets @skip(if: $x) { name } channels { account } }", false),
        ("query($x: Boolean! = true) { datasets @include(if: $x) { name } channels { account } }", true),
        ("query A($x: Boolean = true) { ... @include(if: $x) { datasets { name } } channels { account } }", true),
    ] {
        assert_eq!(gateway.data(query).await.get("datasets").is_some(), has_both, "{query}");
        let sent = gateway.ask(query, json!({"x": false})).await;
        assert_eq!(sent["data"].get("datasets").is_some(), query.contains("@skip"), "what is sent counts: {query}");
    }
    // The default of one operation is nothing to another.
    let metrics = |given: &str| {
        format!("phoneNumberMetrics(custSpaceId: \"cams-beta\", range: {{last: \"P1D\"}}, {given}) {{ totalCount }}")
    };
    let (first, after) = (metrics("first: $x"), metrics("after: $x"));
    let request = Request::new(format!("query A($x: Int = 1) {{ {first} }} query B($x: String) {{ {after} }}"));
    let answer = gateway.gateway().execute(Caller::Anonymous, request.operation_name("A")).await;
    assert!(answer.errors().is_empty(), "{:?}", answer.errors());
}
