//! Whose turn it is, when several replicas want permits.

use std::time::Duration;

use async_graphql::{Request, Value, value};
use tokio::time::{Instant, sleep};
use weir::domain::Caller;
use weir::quota::Rule;
use weir::sim::{ArrivalOutcome, Fault, Scope, Times};

use crate::support::fleet::{Fleet, ROUND_TRIP, channel, quick, say, window};
use crate::support::redis::Redis;
use crate::support::stalls::{ensure, steadily};
use crate::support::{DISTRIBUTION, METRIC, REST};

async fn opened(redis: &Redis, replicas: usize, seed: u64) -> Fleet {
    say(&format!("seed {seed}"));
    let fleet = Fleet::start(replicas, quick(redis), seed);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    fleet
}

#[tokio::test(flavor = "multi_thread")]
async fn an_interactive_ask_goes_before_the_bulk_of_every_replica_and_bulk_gets_its_fifth() {
    steadily(interactive_before_bulk).await;
}

async fn interactive_before_bulk() -> Result<(), String> {
    let Some(redis) = Redis::start(&[]).await else { return Ok(()) };
    let fleet = opened(&redis, 4, 41).await;
    let mut bulk = Vec::new();
    for n in 0..500 {
        let gateway = fleet.apps[n % 4].gateway().clone();
        let mut request = Request::new(window(u32::try_from(n).unwrap()));
        request.extensions.insert("weir".to_owned(), value!({ "priority": "BULK" }));
        bulk.push(tokio::spawn(async move { gateway.execute(Caller::Anonymous, request).await }));
    }
    sleep(Duration::from_secs(2)).await;
    let (began, before) = (Instant::now(), fleet.arrivals(DISTRIBUTION).len());
    let mut waits = Vec::new();
    for n in 0..20 {
        let asked = Instant::now();
        let answer = fleet.query(0, window(600 + n)).await;
        assert_eq!(answer.get("errors"), None, "{answer}");
        waits.push(asked.elapsed());
    }
    let calls = fleet.arrivals(DISTRIBUTION).len() - before;
    bulk.iter().for_each(tokio::task::JoinHandle::abort);
    waits.sort_unstable();
    say(&format!("waits {waits:?}, {calls} calls in {:?}", began.elapsed()));
    fleet.assert_bound("interactive before bulk");
    // One ask at a time leaves permits over, which bulk gets as well.
    ensure((calls - 20) * 5 >= calls, || format!("bulk got {} of {calls}", calls - 20))?;
    // 95 of a hundred are 19 of twenty.
    ensure(waits[18] <= Duration::from_millis(1_200) + ROUND_TRIP, || format!("{waits:?}"))
}

#[tokio::test(flavor = "multi_thread")]
async fn one_replica_alone_uses_all_of_the_quota_and_tells_truly_how_long_a_wait_is() {
    steadily(one_alone).await;
}

async fn one_alone() -> Result<(), String> {
    let Some(redis) = Redis::start(&[]).await else { return Ok(()) };
    let mut config = quick(&redis);
    let max_wait = Duration::from_millis(3_400);
    config.queue.max_wait = max_wait;
    let fleet = Fleet::start(1, config, 42);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    // From now on it knows how long a call takes.
    assert_eq!(fleet.query(0, window(600)).await.get("errors"), None);
    sleep(Rule::HOLD).await;
    let began = Instant::now();
    let asks: Vec<_> = (0..40)
        .map(|n| {
            let gateway = fleet.apps[0].gateway().clone();
            tokio::spawn(async move { gateway.execute(Caller::Anonymous, Request::new(window(n))).await })
        })
        .collect();
    let (mut answered, mut told) = (0_u32, Vec::new());
    for ask in asks {
        let response = ask.await.unwrap();
        match response.errors().first() {
            None => answered += 1,
            Some(error) => {
                let extensions = error.extensions.as_ref().unwrap();
                assert_eq!(extensions.get("code"), Some(&Value::from("QUOTA_WAIT_TOO_LONG")));
                told.push(extensions.get("retryAfterMs").cloned().unwrap().into_json().unwrap().as_u64().unwrap());
            }
        }
    }
    let took = began.elapsed();
    fleet.assert_bound("one replica");
    let is_soon = answered >= 8 && took <= Duration::from_millis(4_500);
    ensure(is_soon, || format!("{answered} answered in {took:?}"))?;
    // Whole rounds of two, from the first arrival to the last.
    let at = &fleet.arrivals(DISTRIBUTION)[1..];
    let rounds = answered / 2;
    let span = at[2 * rounds as usize - 1] - at[0];
    let best = (REST + ROUND_TRIP) * (rounds - 1);
    ensure(best.as_secs_f64() >= 0.95 * span.as_secs_f64(), || {
        format!("{rounds} rounds in {span:?}, at best in {best:?}")
    })?;
    // All of them were told when the next one would have been let in.
    let next = (at[2 * rounds as usize - 1] + Rule::HOLD + ROUND_TRIP - began).saturating_sub(max_wait).as_millis();
    let jitter = 60;
    let is_true = |told: &u64| u128::from(*told).abs_diff(next) <= next / 5 + jitter;
    ensure(!told.is_empty() && told.iter().all(is_true), || format!("{told:?}, in truth {next} ms"))
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_of_one_replica_is_a_pause_of_all() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let fleet = opened(&redis, 4, 43).await;
    let load = fleet.load(2, 0);
    sleep(Duration::from_millis(1_500)).await;
    fleet.sim.faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    sleep(Duration::from_millis(3_500)).await;
    drop(load);
    let arrivals = fleet.sim.arrivals();
    let throttled = arrivals
        .iter()
        .find(|arrival| matches!(arrival.outcome, ArrivalOutcome::Faulted | ArrivalOutcome::Throttled))
        .unwrap()
        .at;
    // The throttle takes its way back and through Redis.
    let known = throttled + Duration::from_millis(100);
    let next = arrivals.iter().map(|arrival| arrival.at).filter(|at| *at > known).min().unwrap();
    assert!(next >= throttled + Rule::HOLD, "somebody called {:?} after the throttle", next - throttled);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_throttle_of_one_replica_shrinks_what_all_of_them_use() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let fleet = opened(&redis, 2, 44).await;
    let budgets = async |replica: usize| {
        let query = "{ quotas { operation budgetPerSecond } }".to_owned();
        let answer = fleet.query(replica, query).await;
        let quotas = answer["data"]["quotas"].as_array().unwrap();
        let of =
            |name: &str| quotas.iter().find(|quota| quota["operation"] == name).unwrap()["budgetPerSecond"].as_u64();
        (of(METRIC).unwrap(), of(DISTRIBUTION).unwrap())
    };
    assert_eq!((budgets(0).await, budgets(1).await), ((50, 2), (50, 2)));
    // Only one of them asks when the stranger is noticed.
    fleet.sim.faults().push(Fault::Throttle, Scope::operation(METRIC), Times::Next(1));
    let throttled = fleet.query(0, channel(3_999)).await;
    assert_eq!(throttled.get("errors"), None, "the retry succeeds: {throttled}");
    sleep(Duration::from_millis(600)).await; // a heartbeat of the other
    assert_eq!((budgets(0).await, budgets(1).await), ((25, 2), (25, 2)));
    let began = Instant::now();
    let load = fleet.load(0, 60);
    sleep(Duration::from_millis(3_500)).await;
    drop(load);
    let at = fleet.arrivals(METRIC);
    let second = Duration::from_secs(1);
    let widest = at.iter().map(|from| at.iter().filter(|at| (*from..*from + second).contains(at)).count()).max();
    let calls = at.iter().filter(|at| **at > began).count();
    assert!(widest <= Some(25) && calls >= 3 * 25, "{widest:?} in one second, {calls} in all");
    // Ten seconds after the throttle a tenth of the quota is back, for both.
    sleep((began + Duration::from_secs(10)).saturating_duration_since(Instant::now())).await;
    assert_eq!((budgets(0).await, budgets(1).await), ((30, 2), (30, 2)));
    fleet.assert_bound("after a stranger");
}
