//! Four replicas before one simulator, in real time: what may happen to Redis on the way, by the simulator's log.

use std::time::Duration;

use tokio::time::{Instant, sleep};
use weir::config::Config;
use weir::sim::DEMO_KEY;

use crate::support::fleet::{Fleet, Load, ROUND_TRIP, quick, say};
use crate::support::redis::Redis;
use crate::support::stalls::{ensure, steadily};
use crate::support::{DISTRIBUTION, METRIC, REST};

/// How soon upstream work goes on after Redis is back, beside the lease where its state may be lost.
const SOON: Duration = Duration::from_secs(2);
/// Calls that had their permit when something happened have arrived by then: it may be used for 1.2 s after it was asked
/// for, and the way there takes 15 ms. On an idle machine it is a tenth of that.
const UNDER_WAY: Duration = Duration::from_millis(1_220);

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// Four replicas under load, for whom the first lease is over.
async fn four(redis: &Redis, seed: u64) -> (Fleet, Load) {
    four_with(quick(redis), seed).await
}

/// The same, configured otherwise.
pub(super) async fn four_with(config: Config, seed: u64) -> (Fleet, Load) {
    say(&format!("seed {seed}"));
    let began = Instant::now();
    let fleet = Fleet::start(4, config, seed);
    let load = fleet.load(3, 30);
    sleep(fleet.lease() + ms(1_500)).await;
    for operation in [DISTRIBUTION, METRIC] {
        let first = fleet.resumed(operation, began).expect("the epoch has opened");
        assert!(first >= fleet.lease(), "{operation}: the first call after {first:?}, before anybody waited a lease");
        assert!(first <= fleet.lease() + SOON, "{operation}: the first call after {first:?}");
    }
    (fleet, load)
}

/// The state may be lost: nothing for a lease after `from`, then soon something.
pub(super) async fn assert_held(fleet: &Fleet, lost: Instant, back: Instant) {
    sleep((back + fleet.lease() + SOON + ms(500)).saturating_duration_since(Instant::now())).await;
    for operation in [DISTRIBUTION, METRIC] {
        let resumed = fleet.resumed(operation, lost + UNDER_WAY).expect("upstream work goes on") + UNDER_WAY;
        let (least, most) = (back - lost + fleet.lease(), back - lost + fleet.lease() + SOON);
        assert!((least..=most).contains(&resumed), "{operation} went on {resumed:?} after, not in {least:?}..{most:?}");
    }
}

/// The state was kept: soon after `back` something arrives.
async fn assert_resumed(fleet: &Fleet, back: Instant) {
    sleep(SOON + ms(300)).await;
    for operation in [DISTRIBUTION, METRIC] {
        let resumed = fleet.resumed(operation, back);
        assert!(resumed.is_some_and(|after| after <= SOON), "{operation} went on {resumed:?} after");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn four_replicas_use_all_of_the_quota_and_no_more() {
    steadily(all_of_the_quota).await;
}

async fn all_of_the_quota() -> Result<(), String> {
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return Ok(()) };
    let mut lowered = quick(&other);
    lowered.alibaba_cams[0].quota.set("GetChatappPhoneNumberMetric", 5);
    let lowered = Fleet::start(4, lowered, 10);
    let few = lowered.load(0, 4);
    let (fleet, load) = four(&redis, 11).await;
    sleep(ms(11_000)).await;
    drop((load, few));
    fleet.assert_bound("four replicas");
    assert!(lowered.sim.widest_second(DEMO_KEY.0, METRIC) <= 5);
    for (fleet, operation, limit) in [(&fleet, DISTRIBUTION, 2), (&lowered, METRIC, 5), (&fleet, METRIC, 50)] {
        let at = fleet.arrivals(operation);
        // From the beginning of one round of permits to that of another: the last round may have only begun.
        let rounds = at.len() / limit - 1;
        let took = at[rounds * limit] - at[0];
        let [calls, limit] = [rounds * limit, limit].map(|n| f64::from(u32::try_from(n).unwrap()));
        let (rate, best) = (calls / took.as_secs_f64(), limit / (REST + ROUND_TRIP).as_secs_f64());
        say(&format!("{operation}: {rate:.2} a second of {best:.2}"));
        ensure(rate >= 0.95 * best, || format!("{operation}: {rate} of {best} a second"))?;
    }
    Ok(())
}

/// Redis is killed, and started again after `pause` with whatever it wrote.
async fn restarted(mut redis: Redis, seed: u64, pause: Duration) {
    let (fleet, _load) = four(&redis, seed).await;
    let lost = Instant::now();
    redis.kill();
    sleep(pause).await;
    let back = Instant::now();
    redis.restart().await;
    assert_held(&fleet, lost, back).await;
    fleet.assert_bound("Redis killed");
}

async fn emptied(redis: Redis, seed: u64) {
    let (fleet, _load) = four(&redis, seed).await;
    let lost = Instant::now();
    redis.run::<()>(&["FLUSHALL"]).await;
    assert_held(&fleet, lost, lost).await;
    fleet.assert_bound("Redis emptied");
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_killed_or_emptied_costs_a_lease_and_no_burst() {
    let log = ["--appendonly", "yes", "--appendfsync", "everysec"];
    let (Some(forgets), Some(remembers), Some(empties)) =
        (Redis::start(&[]).await, Redis::start(&log).await, Redis::start(&[]).await)
    else {
        return;
    };
    tokio::join!(restarted(forgets, 12, ms(700)), restarted(remembers, 13, ms(0)), emptied(empties, 14));
}

#[tokio::test(flavor = "multi_thread")]
async fn redis_stopped_or_cut_off_stops_upstream_work_until_it_is_back() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (fleet, _load) = four(&redis, 15).await;
    let lost = Instant::now();
    redis.signal("STOP");
    sleep(ms(3_000)).await;
    let back = Instant::now();
    let between = fleet.resumed(DISTRIBUTION, lost + UNDER_WAY).is_some();
    assert!(!between, "no permit of its own while Redis does not answer");
    redis.signal("CONT");
    assert_resumed(&fleet, back).await;
    for _ in 0..3 {
        let cut = Instant::now();
        redis.run::<usize>(&["CLIENT", "KILL", "TYPE", "normal"]).await;
        redis.run::<usize>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        assert_resumed(&fleet, cut).await;
    }
    fleet.assert_bound("Redis stopped and cut off");
}
