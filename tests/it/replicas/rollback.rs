//! A Redis that loses its last writes and remains the same run of the same program: what it forgot is not given twice.

use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use weir::quota::Rule;
use weir::quota::agent::SCRIPT;

use super::mutants::{EVENT_NOT_COMPARED, HISTORY_NOT_COMPARED, Toy, judge, mutated};
use crate::support::fleet::say;
use crate::support::redis::Redis;

const LIMIT: u32 = 2;
/// How many failovers there are unless `WEIR_TEST_FAILOVERS` names another number, like 200.
const FAILOVERS: u64 = 8;

/// A master and the standby that lags behind it.
struct Pair {
    master: Redis,
    standby: Redis,
}

impl Pair {
    async fn start() -> Option<Self> {
        let at_once = ["--repl-diskless-sync-delay", "0"];
        Some(Self { master: Redis::start(&at_once).await?, standby: Redis::start(&at_once).await? })
    }

    /// Nothing is known to either, and the standby follows.
    async fn begin(&self) {
        self.master.run::<()>(&["FLUSHALL"]).await;
        follow(&self.standby, &self.master).await;
    }

    /// The standby follows no more; later the master becomes its replica, and a master again: it has lost what it wrote
    /// meanwhile.
    async fn fail_over_and_back(&self, lag: Duration) {
        lead(&self.standby).await;
        sleep(lag).await;
        let (run, event) = (run_id(&self.master).await, event(&self.master).await);
        follow(&self.master, &self.standby).await;
        lead(&self.master).await;
        assert_eq!(run_id(&self.master).await, run);
        let kept = self::event(&self.standby).await;
        assert!(kept < event, "nothing was lost: event {kept} of {event}");
    }
}

async fn follow(replica: &Redis, master: &Redis) {
    replica.run::<()>(&["REPLICAOF", "127.0.0.1", &master.port().to_string()]).await;
    while !replica.run::<String>(&["INFO", "replication"]).await.contains("master_link_status:up") {
        sleep(Duration::from_millis(5)).await;
    }
}

async fn lead(redis: &Redis) {
    redis.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
}

async fn run_id(redis: &Redis) -> String {
    let info: String = redis.run(&["INFO", "server"]).await;
    info.lines().find(|line| line.starts_with("run_id:")).unwrap().to_owned()
}

async fn permits_key(redis: &Redis) -> String {
    let keys: Vec<String> = redis.run(&["KEYS", "weir:permits:*"]).await;
    keys.into_iter().next().unwrap()
}

async fn event(redis: &Redis) -> u64 {
    redis.run(&["HGET", &permits_key(redis).await, "event"]).await
}

fn four(redis: &Redis, script: &str, seed: u64) -> Toy {
    let url = redis.url();
    Toy::start_with(&[&url, &url, &url, &url], script, Rule::HOLD, LIMIT, seed * 1_000)
}

/// The most arrivals in a second around one failover, and how many there were.
async fn around_a_failover(pair: &Pair, script: &str, seed: u64) -> (usize, usize) {
    let mut rng = StdRng::seed_from_u64(seed);
    let mut ms = |range| Duration::from_millis(rng.random_range(range));
    pair.begin().await;
    let toy = four(&pair.master, script, seed);
    sleep(toy.lease + ms(400..1_400)).await;
    pair.fail_over_and_back(ms(300..1_700)).await;
    sleep(toy.lease + Duration::from_millis(1_300)).await;
    toy.stop()
}

/// One failover after another on each of some pairs, all pairs at once; `None` without Redis.
async fn around_failovers(script: &str, seeds: std::ops::Range<u64>, pairs: u64) -> Option<Vec<(u64, usize, usize)>> {
    let share = async |first: u64| {
        let pair = Pair::start().await?;
        let mut found = Vec::new();
        for seed in (seeds.start + first..seeds.end).step_by(usize::try_from(pairs).unwrap()) {
            let (widest, calls) = around_a_failover(&pair, script, seed).await;
            found.push((seed, widest, calls));
        }
        Some(found)
    };
    let shares = futures_util::future::join_all((0..pairs).map(share)).await;
    Some(shares.into_iter().collect::<Option<Vec<_>>>()?.concat())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_failover_to_a_replica_that_lagged_and_back_keeps_the_bound() {
    let failovers = std::env::var_os("WEIR_TEST_FAILOVERS");
    let failovers = failovers.map_or(FAILOVERS, |number| number.to_str().unwrap().parse().unwrap());
    let script = mutated(&[HISTORY_NOT_COMPARED, EVENT_NOT_COMPARED]);
    let (rule, mutant) = tokio::join!(
        around_failovers(SCRIPT, 0..failovers, failovers.clamp(4, 40) / 2),
        around_failovers(&script, 0..4, 2)
    );
    let (Some(rule), Some(mutant)) = (rule, mutant) else { return };
    say(&format!("{} failovers: {rule:?}", rule.len()));
    for (seed, widest, calls) in rule {
        assert!(widest <= LIMIT as usize, "seed {seed}: {widest} in one second");
        assert!(calls >= 2 * LIMIT as usize, "seed {seed}: {calls} calls in all");
    }
    assert!(mutant.iter().any(|(_, widest, _)| *widest > LIMIT as usize), "the mutant was not caught: {mutant:?}");
}

/// The state is put back to what it was, as a copy that is restored by hand does.
async fn under_restored_copies(redis: &Redis, script: &str) -> (usize, usize) {
    let ms = Duration::from_millis;
    let toy = four(redis, script, 51);
    sleep(toy.lease + ms(700)).await;
    for _ in 0..2 {
        let key = permits_key(redis).await;
        redis.run::<()>(&["COPY", &key, "copy", "REPLACE"]).await;
        // By then everybody has been told of a later event.
        sleep(ms(900)).await;
        redis.run::<()>(&["COPY", "copy", &key, "REPLACE"]).await;
        // Whose answer is lost lists what he holds, and all else that was his is free.
        redis.run::<usize>(&["CLIENT", "KILL", "TYPE", "pubsub"]).await;
        sleep(toy.lease + ms(1_000)).await;
    }
    toy.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_state_that_is_put_back_keeps_the_bound_and_overruns_if_events_are_not_compared() {
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    let script = mutated(&[EVENT_NOT_COMPARED]);
    let (rule, mutant) = tokio::join!(under_restored_copies(&redis, SCRIPT), under_restored_copies(&other, &script));
    judge(LIMIT, rule, mutant);
}
