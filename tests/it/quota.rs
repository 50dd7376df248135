//! The quota is never overrun, by the simulator's log, and nobody waits needlessly. Where a test has a mutant of the
//! rule beside it, the mutant must be caught by the same measure.

use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::Instant;
use tower::ServiceExt;
use weir::access::Access;
use weir::app::Start;
use weir::http::{HttpConfig, Site};
use weir::quota::Rule;
use weir::sim::{DEMO_KEY, Fault, Scope, Times};

use crate::support::disciplines::{Discipline, drive};
use crate::support::{DISTRIBUTION, METRIC, REST, TestGateway, codes};

/// What `count` calls take at best: `limit` permits, each back 1.01 s after its round trip.
fn ideal(count: u32, limit: u32, round_trip: Duration) -> Duration {
    (REST + round_trip) * (count / limit).saturating_sub(1) + round_trip
}

/// One window that no other number shares.
fn window(gateway: &TestGateway, n: u32) -> impl Future<Output = Value> + use<> {
    let (day, hour) = (15 + n / 24, n % 24);
    let range = format!("{{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", end: \"2026-11-21T00:00:00Z\"}}");
    gateway.ask(
        &format!("{{ operationDistribution(appId: \"app-one\", range: {{between: {range}}}) {{ start }} }}"),
        json!({}),
    )
}

fn windows(gateway: &TestGateway, count: u32) -> Vec<impl Future<Output = Value> + use<>> {
    (0..count).map(|n| window(gateway, n)).collect()
}

fn channels(gateway: &TestGateway, count: u32) -> Vec<impl Future<Output = Value> + use<>> {
    let ask = |n: u32| {
        let query =
            format!("{{ phoneNumberMetrics(custSpaceId: \"cams-{n}\", range: {{last: \"P3D\"}}) {{ totalCount }} }}");
        gateway.ask(&query, json!({}))
    };
    (0..count).map(ask).collect()
}

fn with_channels(count: u32) -> crate::support::Builder {
    TestGateway::builder()
        .config(move |config| config.alibaba_cams[0].channels = (0..count).map(|n| format!("cams-{n}")).collect())
}

fn assert_bound(gateway: &TestGateway, operation: &str, limit: usize, what: &str) {
    let widest = gateway.sim().widest_second(DEMO_KEY.0, operation);
    assert!(widest <= limit, "{what}: {widest} arrivals of {operation} in one second");
}

#[tokio::test(start_paused = true)]
async fn fifty_cold_windows_at_once_keep_two_a_second() {
    // 50 ms latency and up to 100 ms of jitter, on both legs together.
    let gateway = TestGateway::builder().legs(25..75, 25..75).max_wait(60).build();
    let began = Instant::now();
    let answers = join_all(windows(&gateway, 50)).await;
    assert!(
        answers.iter().all(|answer| codes(answer).is_empty()),
        "{:?}",
        answers.iter().map(codes).collect::<Vec<_>>()
    );
    assert_eq!((gateway.calls(DISTRIBUTION), gateway.sim().throttled(DISTRIBUTION)), (50, 0));
    assert_bound(&gateway, DISTRIBUTION, 2, "fifty windows");
    let (took, best) = (began.elapsed(), ideal(50, 2, Duration::from_millis(100)));
    assert!(took <= best.mul_f64(1.1), "{took:?} against {best:?}");
}

#[tokio::test(start_paused = true)]
async fn five_hundred_cold_channels_at_once_keep_fifty_a_second() {
    let gateway = with_channels(500).legs(25..75, 25..75).build();
    let began = Instant::now();
    let answers = join_all(channels(&gateway, 500)).await;
    assert!(answers.iter().all(|answer| codes(answer).is_empty()));
    assert_eq!((gateway.calls(METRIC), gateway.sim().throttled(METRIC)), (500, 0));
    assert_bound(&gateway, METRIC, 50, "five hundred channels");
    let (took, best) = (began.elapsed(), ideal(500, 50, Duration::from_millis(100)));
    assert!(took <= best.mul_f64(1.1), "{took:?} against {best:?}");
}

/// The calls of ten cycles after the first one, against `limit` a cycle of 1.01 s and 100 ms of round trip on average.
fn share_of_what_the_rule_allows(arrivals: &[Duration], limit: usize) -> f64 {
    let cycle = REST + Duration::from_millis(100);
    let measured = arrivals.iter().filter(|at| (cycle..cycle * 11).contains(*at)).count();
    measured as f64 / (limit * 10) as f64
}

/// The same measure, one level down, for the rule and for the limiters that people usually write.
#[tokio::test(start_paused = true)]
async fn the_same_load_behind_usual_limiters_overruns_the_quota() {
    for limit in [2, 5, 50] {
        let rule = drive(Discipline::Weir, limit, 25..125, 0..50, 3).await;
        assert!(rule.widest <= limit && rule.throttled == 0, "{rule:?}");
        assert!(
            rule.took <= ideal(rule.calls, u32::try_from(limit).unwrap(), Duration::from_millis(100)).mul_f64(1.1),
            "{rule:?}"
        );
        let share = share_of_what_the_rule_allows(&rule.arrivals, limit);
        assert!(share >= 0.95, "{share} of N/(1.01 s + round trip) at {limit}");
        for mutant in [
            Discipline::Gcra,
            Discipline::GcraBurst,
            Discipline::SendWindow,
            Discipline::BackAtResponse,
            Discipline::BackASecondAfterSend,
        ] {
            let verdict = drive(mutant, limit, 25..125, 0..50, 3).await;
            assert!(
                verdict.widest > limit && verdict.throttled > 0,
                "{mutant:?} was not caught at {limit}: {verdict:?}"
            );
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_crash_in_mid_flow_costs_the_guard_and_never_the_bound() {
    let mut caught = 0;
    for seed in 0..20 {
        for (start, is_rule) in [(Rule::HOLD + Duration::from_secs(5), true), (Rule::HOLD, false)] {
            let gateway = TestGateway::builder().legs(0..3_000, 0..100).seed(seed).max_wait(600).build();
            let before: Vec<_> = windows(&gateway, 40).into_iter().map(tokio::spawn).collect();
            tokio::time::sleep(Duration::from_millis(50 + seed * 7)).await;
            before.iter().for_each(tokio::task::JoinHandle::abort);
            let dead = gateway.crash(Start::Hold(Duration::from_secs(3_600)));
            tokio::time::sleep(Duration::from_millis(200)).await;
            let successor = dead.crash(Start::Hold(start));
            let answers = join_all(windows(&successor, 20)).await;
            assert!(answers.iter().all(|answer| codes(answer).is_empty()));
            let widest = gateway.sim().widest_second(DEMO_KEY.0, DISTRIBUTION);
            if is_rule {
                assert!(widest <= 2, "seed {seed}: {widest} arrivals in one second");
            } else {
                caught += usize::from(widest > 2);
            }
        }
    }
    assert!(caught > 5, "a hold of one second after a crash was caught with {caught} seeds of 20");
}

#[tokio::test(start_paused = true)]
async fn an_early_reset_whose_request_arrives_late_keeps_the_bound() {
    let mut caught = 0;
    for seed in 0..20 {
        for (guard, is_rule) in [(5, true), (0, false)] {
            let gateway = TestGateway::builder()
                .legs(0..200, 0..200)
                .seed(seed)
                .max_wait(3_600)
                .config(|config| config.upstream.guard = Duration::from_secs(guard))
                .build();
            let asks = tokio::spawn(join_all(windows(&gateway, 40)));
            // One at a time: many in a row would open the breaker.
            for n in 0..8 {
                let later = Duration::from_millis(1_100 + (seed * 131 + n * 977) % 1_900);
                gateway.sim().faults().push(Fault::ResetEarly(later), Scope::operation(DISTRIBUTION), Times::Next(1));
                tokio::time::sleep(Duration::from_millis(2_300)).await;
            }
            asks.await.unwrap();
            let widest = gateway.sim().widest_second(DEMO_KEY.0, DISTRIBUTION);
            if is_rule {
                assert!(widest <= 2, "seed {seed}: {widest} arrivals in one second");
            } else {
                caught += usize::from(widest > 2);
            }
        }
    }
    assert!(caught > 5, "returning a permit at the reset was caught with {caught} seeds of 20");
}

/// A refusal names what the caller can change, and before what only the operator can.
#[track_caller]
fn names_max_wait_first(answer: &Value) {
    let message = answer["errors"][0]["message"].as_str().unwrap();
    let (own, config) = (message.find("extensions.weir.maxWait"), message.find("queue.max_wait"));
    assert!(own.is_some() && (config.is_none() || own < config), "{message}");
}

#[tokio::test(start_paused = true)]
async fn an_ask_refused_for_its_wait_succeeds_when_it_comes_back_then() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(10).build();
    let asks: Vec<_> = windows(&gateway, 50).into_iter().map(tokio::spawn).collect();
    let (mut refused, mut answered) = (Vec::new(), 0);
    for (n, ask) in asks.into_iter().enumerate() {
        let answer = ask.await.unwrap();
        match codes(&answer).as_slice() {
            [] => answered += 1,
            [code] => {
                assert_eq!(code, "QUOTA_WAIT_TOO_LONG");
                refused.push((n, answer["errors"][0]["extensions"]["retryAfterMs"].as_u64().unwrap()));
            }
            _ => panic!("{answer}"),
        }
    }
    assert!(answered >= 18 && refused.len() >= 20, "{answered} answered, {} refused", refused.len());
    assert_eq!(gateway.calls(DISTRIBUTION), answered, "nothing was sent for those refused");
    // Refused at once: the first of them was told while the queue was full.
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(10).build();
    let full: Vec<_> = windows(&gateway, 49).into_iter().map(tokio::spawn).collect();
    tokio::time::sleep(Duration::from_millis(5)).await;
    let began = Instant::now();
    let answer = window(&gateway, 49).await;
    assert_eq!(codes(&answer), ["QUOTA_WAIT_TOO_LONG"]);
    assert!(began.elapsed() < Duration::from_millis(100), "refused early, after {:?}", began.elapsed());
    names_max_wait_first(&answer);
    let retry_after = answer["errors"][0]["extensions"]["retryAfterMs"].as_u64().unwrap();
    tokio::time::sleep(Duration::from_millis(retry_after)).await;
    let again = window(&gateway, 49).await;
    assert_eq!(codes(&again), Vec::<String>::new(), "after {retry_after} ms: {again}");
    drop(full);
}

#[tokio::test(start_paused = true)]
async fn a_field_is_admitted_whole_or_not_at_all() {
    let gateway = TestGateway::builder().max_wait(10).build();
    let list = |appends: &str| {
        format!(
            "{{ operationDistributions(appIds: [\"app-one\"], window: \"PT6H\", range: {{between: {{start: \"2026-11-10T00:00:00Z\", end: \"{appends}\"}}}}) {{ start }} }}"
        )
    };
    let answer = gateway.query(&list("2026-11-20T00:00:00Z")).await;
    assert_eq!(codes(&answer), ["QUOTA_WAIT_TOO_LONG"]);
    assert_eq!(answer["errors"][0]["extensions"]["retryable"], json!(false), "40 calls never fit into 10 s: {answer}");
    names_max_wait_first(&answer);
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
    let answer = gateway.query(&list("2026-11-13T00:00:00Z")).await;
    assert_eq!((codes(&answer), gateway.calls(DISTRIBUTION)), (vec![], 12));
}

#[tokio::test(start_paused = true)]
async fn all_permits_are_out_at_the_start() {
    let gateway = TestGateway::builder().start_hold(Start::Hold(Rule::HOLD)).build();
    let began = Instant::now();
    let answers = join_all(windows(&gateway, 2)).await;
    assert!(answers.iter().all(|answer| codes(answer).is_empty()));
    assert!(began.elapsed() >= Rule::HOLD);
    assert!(gateway.sim().arrivals().iter().all(|arrival| arrival.at >= began + Rule::HOLD));
}

#[tokio::test(start_paused = true)]
async fn strangers_on_the_account_make_the_gateway_step_back() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    let began = Instant::now();
    let answer = window(&gateway, 0).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "the retry succeeds");
    assert_eq!(answer["extensions"]["weir"]["upstreamCalls"]["VOLCENGINE_RTC"], json!(2));
    assert!(began.elapsed() >= Rule::HOLD, "no call for a second");
    let quotas = gateway.data("{ quotas { operation throttledTotal } }").await;
    let rtc =
        quotas["quotas"].as_array().unwrap().iter().find(|quota| quota["operation"] == json!(DISTRIBUTION)).unwrap();
    assert_eq!(rtc["throttledTotal"], json!(1));
    let metrics = metrics(&gateway).await;
    let of_rtc = |name: &str| {
        let of_operation = metrics.lines().filter(|line| line.contains(&format!("operation=\"{DISTRIBUTION}\"")));
        let mut named = of_operation.filter(|line| line.starts_with(&format!("{name}{{")));
        named.next().unwrap_or_else(|| panic!("{name}: {metrics}")).rsplit(' ').next().unwrap().parse::<f64>().unwrap()
    };
    assert!(metrics.contains("account=\"calls\"") && metrics.contains("vendor=\"VOLCENGINE_RTC\""), "{metrics}");
    assert!((of_rtc("weir_quota_limit") - 2.0).abs() < f64::EPSILON, "{metrics}");
    assert!((of_rtc("weir_quota_budget") - 1.0).abs() < f64::EPSILON, "{metrics}");
    assert!((of_rtc("weir_quota_throttled_total") - 1.0).abs() < f64::EPSILON, "{metrics}");
}

async fn metrics(gateway: &TestGateway) -> String {
    let request = Request::get("/metrics").header("host", "localhost").body(Body::empty()).unwrap();
    let response =
        Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone()).oneshot(request).await.unwrap();
    assert_eq!(response.headers()["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    String::from_utf8(to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}

#[tokio::test(start_paused = true)]
async fn two_keys_of_one_account_share_its_permits() {
    let gateway = TestGateway::builder()
        .config(|config| {
            let mut second = config.volcengine_rtc[0].clone();
            (second.name, second.apps) = ("more".to_owned(), vec!["app-more".to_owned()]);
            second.access_key_id = "second-key".to_owned().into();
            second.quota_account = "one".to_owned();
            config.volcengine_rtc[0].quota_account = "one".to_owned();
            config.volcengine_rtc.push(second);
        })
        .sim(|sim| {
            sim.keys.push(("second-key".to_owned(), DEMO_KEY.1.to_owned()));
            sim.owners = [DEMO_KEY.0, "second-key"].map(|key| (key.to_owned(), "one".to_owned())).to_vec();
        })
        .legs(10..90, 10..90)
        .build();
    let query = r#"{ applications { appId distribution(range: {last: "P1D"}) { start } more: distribution(range: {last: "P2D"}) { start } } }"#;
    let answer = gateway.query(query).await;
    assert_eq!((codes(&answer), gateway.calls(DISTRIBUTION), gateway.sim().throttled(DISTRIBUTION)), (vec![], 6, 0));
    assert!(gateway.sim().widest_second("one", DISTRIBUTION) <= 2);
}

/// The widest second of three hundred calls at once through three entries with keys and hosts of their own. The vendor
/// counts all of it together.
async fn widest_second_of_three_hosts(quota_account: fn(usize) -> String) -> usize {
    const KEYS: [&str; 3] = ["first-key", "second-key", "third-key"];
    let gateway = TestGateway::builder()
        .config(move |config| {
            let hosts = ["https://cams.example", "https://Cams.example.:443", "https://eu.cams.example"];
            let entry = |at: usize| {
                let mut entry = config.alibaba_cams[0].clone();
                (entry.name, entry.endpoint) = (format!("entry-{at}"), hosts[at].to_owned());
                (entry.access_key_id, entry.quota_account) = (KEYS[at].to_owned().into(), quota_account(at));
                entry.channels = (0..300).filter(|n| n % 3 == at).map(|n| format!("cams-{n}")).collect();
                entry
            };
            config.alibaba_cams = [0, 1, 2].map(entry).to_vec();
        })
        .sim(|sim| {
            sim.keys.extend(KEYS.map(|key| (key.to_owned(), DEMO_KEY.1.to_owned())));
            sim.owners = KEYS.map(|key| (key.to_owned(), "one".to_owned())).to_vec();
        })
        .legs(10..90, 10..90)
        .build();
    let answers = join_all(channels(&gateway, 300)).await;
    let answered = answers.iter().filter(|answer| codes(answer).is_empty()).count();
    assert!(answered >= 150, "{answered} of 300 answered");
    gateway.sim().widest_second("one", METRIC)
}

#[tokio::test(start_paused = true)]
async fn one_quota_account_on_three_hosts_is_one_quota() {
    let widest = widest_second_of_three_hosts(|_| "one".to_owned()).await;
    assert!(widest <= 50, "{widest} arrivals in one second");
    // The mutant: the host is part of what is counted.
    let widest = widest_second_of_three_hosts(|at| format!("one at host {at}")).await;
    assert!(widest > 50, "the mutant was not caught: {widest}");
}
