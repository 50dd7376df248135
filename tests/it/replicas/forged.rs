//! What somebody else has written into Redis costs some time at most, and heals.

use std::time::Duration;

use serde_json::json;
use tokio::time::{Instant, sleep};
use weir::domain::{Account, Caller, Class, Vendor};
use weir::quota::agent::LeaseClient;
use weir::quota::lease::Terms;
use weir::quota::{Limiter, Rule};
use weir::redis::Redis as Link;
use weir::sim::{Fault, Scope, Times};

use super::mutants::mutated;
use crate::support::fleet::{Fleet, quick, window};
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, codes};

const PERMITS: u32 = 2;

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A lease of 2.41 s.
fn terms() -> Terms {
    Terms::new(ms(100), ms(100), ms(100), ms(100))
}

fn lessor(redis: &Redis) -> LeaseClient {
    let account = Account::new(Vendor::VolcengineRtc, "toy", "127.0.0.1", "toy");
    LeaseClient::new(Link::new(&redis.url().into()).unwrap(), &account, "Toy", terms())
}

fn limiter(lessor: LeaseClient) -> Limiter {
    Limiter::leased(Rule::per_second(PERMITS, ms(100)), lessor)
}

/// How long one permit is waited for, which then goes back unused.
async fn waited(limiter: &Limiter) -> Duration {
    let began = Instant::now();
    let place = limiter.enqueue(Class::Interactive, Caller::Anonymous);
    let permit = tokio::time::timeout(Duration::from_secs(30), place.permit()).await.expect("it heals");
    assert!(permit.is_some());
    began.elapsed()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pause_that_no_replica_would_set_is_not_believed() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (own, forging) = (lessor(&redis), lessor(&redis).with_script(&mutated(&[("text(paused),", "'86400000000',")])));
    let key = own.key().to_owned();
    let honest = limiter(own);
    waited(&honest).await;
    let forged = ["HSET", &key, "pause_until", "99999999999999", "pause_ms", "99999999999999"];
    redis.run::<()>(&forged).await;
    let again = waited(&honest).await;
    assert!(again < ms(1_000), "paused for {again:?}");
    // A throttle of our own is told to the others nevertheless.
    honest.throttled(None);
    sleep(ms(300)).await;
    let pause: u64 = redis.run(&["HGET", &key, "pause_ms"]).await;
    assert!((900..=1_010).contains(&pause), "{pause}");

    // Nor is it believed for longer than an hour whatever Redis answers.
    let misled = limiter(forging);
    sleep(ms(300)).await;
    let wait = misled.status(&Caller::Anonymous).expected_wait;
    assert!(wait > Duration::from_secs(59) && wait <= Duration::from_mins(1) + ms(100), "{wait:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_permits_key_that_is_none_heals_one_lease_later() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let lessor = lessor(&redis);
    let key = lessor.key().to_owned();
    let limiter = limiter(lessor);
    waited(&limiter).await;
    for forged in [
        &["SET", &key, "no hash"][..],
        &["HSET", &key, "p:0", "nonsense"],
        &["HSET", &key, "event", "99999999999999999999999"],
        &["HSET", &key, "n", ""],
        &["HDEL", &key, "lease"],
    ] {
        redis.run::<()>(forged).await;
        sleep(ms(600)).await; // whoever waits for nothing calls every 500 ms
        let healed = waited(&limiter).await + ms(600);
        let (least, most) = (terms().lease(), terms().lease() + ms(1_200));
        assert!((least..=most).contains(&healed), "{forged:?} healed after {healed:?}, not in {least:?}..{most:?}");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_that_never_ends_is_waited_for_as_long_as_one_that_does() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let fleet = Fleet::start(1, quick(&redis), 23);
    sleep(fleet.lease() + ms(600)).await;
    // A call that brings nothing shows what its claim looks like.
    fleet.sim.faults().push(Fault::Hang, Scope::operation(DISTRIBUTION), Times::Next(3));
    let failing = fleet.ask_with(0, window(1), json!({}));
    let name = loop {
        if let Some(name) = redis.run::<Vec<String>>(&["KEYS", "weir:flight:*"]).await.pop() {
            break name;
        }
        sleep(ms(5)).await;
    };
    let claim: String = redis.run(&["GET", &name]).await;
    assert_eq!(codes(&failing.await.unwrap()).len(), 1);
    sleep(ms(1_500)).await; // its permits are back
    redis.run::<()>(&["SET", &name, &claim, "PX", "86400000"]).await;
    let began = Instant::now();
    let answer = fleet.query(0, window(1)).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
    // A call takes 0.5 s at most, and its claim 2 s more.
    let took = began.elapsed();
    assert!((ms(2_400)..ms(4_500)).contains(&took), "answered after {took:?}");
}
