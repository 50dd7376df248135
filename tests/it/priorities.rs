//! Who goes first: interactive asks, with a fifth for bulk, so that nobody starves.

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Duration, Instant, sleep};
use weir::sim::{Fault, Scope, Times};

use crate::support::{DISTRIBUTION, TestGateway, codes, window};

#[tokio::test(start_paused = true)]
async fn an_interactive_ask_does_not_wait_behind_a_bulk_backlog() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let bulk =
        |n: u32| gateway.ask_with(&window("app-one", n), json!({}), json!({"priority": "BULK", "maxWait": "PT1H"}));
    let backlog: Vec<_> = (0..500).map(bulk).map(tokio::spawn).collect();
    sleep(Duration::from_secs(5)).await;
    let mut waits = Vec::new();
    for n in 0..60 {
        let began = Instant::now();
        let answer = gateway.ask(&window("app-two", n), json!({})).await;
        assert_eq!(codes(&answer), Vec::<String>::new());
        waits.push(began.elapsed());
        sleep(Duration::from_millis(u64::from(n) * 37 % 1_900)).await;
    }
    waits.sort();
    let p95 = waits[waits.len() * 95 / 100];
    assert!(p95 <= Duration::from_millis(1_200 + 160), "p95 {p95:?}");
    assert_eq!(gateway.sim().throttled(DISTRIBUTION), 0);
    backlog.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn bulk_gets_its_fifth_while_interactive_asks_never_end() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(3_600).build();
    let bulk: Vec<_> = (0..100)
        .map(|n| gateway.ask_with(&window("app-one", n), json!({}), json!({"priority": "BULK"})))
        .map(tokio::spawn)
        .collect();
    let interactive: Vec<_> =
        (0..300).map(|n| gateway.ask(&window("app-two", n), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_secs(60)).await;
    let arrivals = gateway.sim().arrivals();
    let served = arrivals.iter().filter(|arrival| arrival.parameters.subject.as_deref() == Some("app-one")).count();
    let share = served as f64 / arrivals.len() as f64;
    assert!((0.18..0.24).contains(&share), "{served} of {}", arrivals.len());
    bulk.iter().chain(&interactive).for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn joining_a_queued_bulk_call_lifts_it() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(3_600).build();
    let bulk = |n: u32| gateway.ask_with(&window("app-one", n), json!({}), json!({"priority": "BULK"}));
    let backlog: Vec<_> = (0..60).map(bulk).map(tokio::spawn).collect();
    sleep(Duration::from_millis(100)).await;
    let began = Instant::now();
    let answer = gateway.ask(&window("app-one", 59), json!({})).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert!(began.elapsed() < Duration::from_millis(2_500), "{:?}", began.elapsed());
    let arrivals = gateway.sim().arrivals().len();
    assert!(arrivals < 8, "{arrivals}");
    let answers = join_all(backlog).await;
    assert!(answers.iter().all(|answer| codes(answer.as_ref().unwrap()).is_empty()));
    assert_eq!(gateway.calls(DISTRIBUTION), 60, "the lifted call served both");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_tells_the_truth_about_when_to_come_back() {
    for (seed, queued) in [(1, 20), (2, 35), (3, 60)] {
        let gateway = TestGateway::builder().legs(20..80, 20..80).max_wait(6).seed(seed).build();
        let patient = |n: u32| gateway.ask_with(&window("app-one", n), json!({}), json!({"maxWait": "PT1H"}));
        let queue: Vec<_> = (0..queued).map(patient).map(tokio::spawn).collect();
        sleep(Duration::from_millis(5)).await;
        let refused = gateway.query(&window("app-two", 1)).await;
        assert_eq!(codes(&refused), ["QUOTA_WAIT_TOO_LONG"]);
        let told = refused["errors"][0]["extensions"]["retryAfterMs"].as_f64().unwrap();
        // The first moment at which it would have been admitted.
        let began = Instant::now();
        let admitted = loop {
            let plan = gateway.ask_with(&window("app-two", 1), json!({}), json!({"explain": true})).await;
            if plan["extensions"]["weir"]["plan"]["expectedWaitMs"].as_f64().unwrap() <= 6_000.0 {
                break began.elapsed().as_secs_f64() * 1_000.0;
            }
            sleep(Duration::from_millis(20)).await;
        };
        assert!((told - admitted).abs() <= admitted * 0.2, "told {told} ms, true {admitted} ms");
        queue.iter().for_each(tokio::task::JoinHandle::abort);
    }
}

#[tokio::test(start_paused = true)]
async fn unknown_controls_are_refused_whole() {
    let gateway = TestGateway::start();
    for controls in [json!({"prio": "BULK"}), json!({"freshness": "NEW"}), json!({"maxWait": "soon"})] {
        let answer = gateway.ask_with(&window("app-one", 1), json!({}), controls).await;
        assert_eq!((codes(&answer), &answer["data"]), (vec!["BAD_USER_INPUT".to_owned()], &Value::Null));
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

#[tokio::test(start_paused = true)]
async fn a_stranger_on_the_account_shrinks_its_budget_for_a_while() {
    let gateway = TestGateway::builder()
        .config(|config| config.volcengine_rtc[0].quota.set("ListOperationDistribution", 10))
        .sim(|sim| sim.limits.set(DISTRIBUTION, 10))
        .build();
    let budget = async || {
        let data = gateway.data("{ quotas { operation budgetPerSecond limitPerSecond } }").await;
        let rtc = data["quotas"]
            .as_array()
            .unwrap()
            .iter()
            .find(|quota| quota["operation"] == json!(DISTRIBUTION))
            .unwrap()
            .clone();
        (rtc["budgetPerSecond"].as_u64().unwrap(), rtc["limitPerSecond"].as_u64().unwrap())
    };
    assert_eq!(budget().await, (10, 10));
    gateway.sim().faults().push(
        weir::sim::Fault::Throttle,
        weir::sim::Scope::operation(DISTRIBUTION),
        weir::sim::Times::Next(1),
    );
    gateway.query(&window("app-one", 1)).await;
    assert_eq!(budget().await, (5, 10));
    let before = gateway.sim().arrivals().len();
    let asks: Vec<_> = (10..40).map(|n| gateway.ask(&window("app-one", n), json!({}))).collect();
    join_all(asks).await;
    let widest = gateway.sim().arrivals()[before..]
        .windows(6)
        .filter(|six| six[5].at - six[0].at < Duration::from_secs(1))
        .count();
    assert_eq!(widest, 0, "no second with more than the budget");
    sleep(Duration::from_secs(60)).await;
    assert_eq!(budget().await, (10, 10));
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
