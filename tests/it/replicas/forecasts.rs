//! How long an ask will wait, told by a replica that shares its permits with others: every refusal and every plan is
//! compared with what then happens. The replicas' backlogs are unequal.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;

use crate::support::codes;
use crate::support::fleet::{Fleet, channel, quick, say, window};
use crate::support::redis::Redis;
use crate::support::stalls::{ensure, steadily};

/// What waits elsewhere is known after that: a poll there and a heartbeat here, and a little.
const NEWS: Duration = Duration::from_millis(800);
/// How long those that are refused would have waited at most.
const MAX_WAIT_MS: u64 = 500;
/// A way there, a way back and one to Redis may take so much longer than those before.
const JITTER_MS: u64 = 40;

/// What a replica told of one wait, and what it was.
struct Told {
    what: String,
    /// What an ask with the `maxWait` above was told, or how long it waited.
    impatient: Result<u64, u64>,
    expected: u64,
    waited: tokio::task::JoinHandle<Value>,
}

/// One replica is asked by three people at once: one who does not want to wait, one who wants to know, one who waits.
async fn tell(fleet: &Fleet, replica: usize, class: &str, query: impl Fn(u32) -> String, n: u32) -> Told {
    let controls = |more: Value| {
        let mut controls = json!({ "priority": class });
        controls.as_object_mut().unwrap().extend(more.as_object().unwrap().clone());
        controls
    };
    // Whether a round that is about to begin will be missed by a millisecond, nobody can tell.
    let expected = async || {
        loop {
            let explained = fleet.ask_with(replica, query(n + 1), controls(json!({ "explain": true }))).await.unwrap();
            let expected = explained["extensions"]["weir"]["plan"]["expectedWaitMs"].as_u64().unwrap();
            if expected >= 200 {
                return expected;
            }
            sleep(Duration::from_millis(250)).await;
        }
    };
    expected().await;
    let refused = fleet.ask_with(replica, query(n), controls(json!({ "maxWait": "PT0.5S" }))).await.unwrap();
    let impatient = if codes(&refused).is_empty() {
        Ok(refused["extensions"]["weir"]["queueWaitMs"].as_u64().unwrap())
    } else {
        // Let in, and yet without its permit in time: that is a wait without end.
        refused["errors"][0]["extensions"]["retryAfterMs"].as_u64().map_or(Ok(u64::MAX), Err)
    };
    let expected = expected().await;
    let waited = fleet.ask_with(replica, query(n + 1), controls(json!({})));
    Told { what: format!("{class} at {replica}, {}", query(n)), impatient, expected, waited }
}

/// Whether all that was told came true within a fifth.
async fn judge(told: Vec<Told>) -> Result<(), String> {
    let mut refusals = 0;
    let mut wrong = Vec::new();
    for Told { what, impatient, expected, waited } in told {
        let answer = waited.await.unwrap();
        assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
        let waited = answer["extensions"]["weir"]["queueWaitMs"].as_u64().unwrap();
        let line = format!("{what}: waited {waited} ms, expected {expected}; with a short `maxWait` {impatient:?}");
        say(&line);
        let is_true = |told: u64, truth: u64| told.abs_diff(truth) <= truth / 5 + JITTER_MS;
        let came_true = match impatient {
            Ok(waited) => waited <= MAX_WAIT_MS * 6 / 5,
            // From then on it would have been let in.
            Err(after) => is_true(after, waited - MAX_WAIT_MS),
        };
        refusals += usize::from(impatient.is_err());
        if !is_true(expected, waited) || !came_true {
            wrong.push(line);
        }
    }
    ensure(wrong.is_empty(), || format!("{wrong:#?}"))?;
    ensure(refusals >= 3, || format!("only {refusals} were refused"))
}

/// Asks of a class that will wait for a long time.
fn queue(fleet: &Fleet, replica: usize, class: &str, numbers: std::ops::Range<u32>, query: fn(u32) -> String) {
    for n in numbers {
        drop(fleet.ask_with(replica, query(n), json!({ "priority": class })));
    }
}

async fn four_with_unequal_backlogs(redis: &Redis) -> Result<(), String> {
    let mut config = quick(redis);
    config.alibaba_cams[0].quota.set("GetChatappPhoneNumberMetric", 5);
    let fleet = Fleet::start(4, config, 51);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    for (replica, (rtc, cams)) in [(9, 26), (2, 5), (0, 0), (5, 12)].into_iter().enumerate() {
        let first = u32::try_from(replica).unwrap() * 100;
        queue(&fleet, replica, "INTERACTIVE", first..first + rtc, window);
        queue(&fleet, replica, "INTERACTIVE", first..first + cams, channel);
    }
    sleep(NEWS).await;
    let mut told = Vec::new();
    // The shortest first: who asks there later would go before those of the longer ones.
    for (n, replica) in [2, 1, 3, 0].into_iter().enumerate() {
        let n = 500 + 10 * u32::try_from(n).unwrap();
        told.push(tell(&fleet, replica, "INTERACTIVE", window, n).await);
        told.push(tell(&fleet, replica, "INTERACTIVE", channel, n).await);
        sleep(NEWS * 3 / 4).await;
    }
    let verdict = judge(told).await;
    fleet.assert_bound("unequal backlogs");
    verdict
}

async fn two_with_unequal_classes(redis: &Redis) -> Result<(), String> {
    let fleet = Fleet::start(2, quick(redis), 52);
    sleep(fleet.lease() + Duration::from_millis(600)).await;
    queue(&fleet, 0, "BULK", 0..5, window);
    queue(&fleet, 1, "INTERACTIVE", 10..19, window);
    sleep(NEWS).await;
    // Nobody who asks later goes before one who asked earlier.
    let mut told = Vec::new();
    for (replica, class, n) in [(0, "INTERACTIVE", 50), (1, "INTERACTIVE", 60), (1, "BULK", 70), (0, "BACKGROUND", 80)]
    {
        told.push(tell(&fleet, replica, class, window, n).await);
        sleep(NEWS * 3 / 4).await;
    }
    let verdict = judge(told).await;
    fleet.assert_bound("unequal classes");
    verdict
}

#[tokio::test(flavor = "multi_thread")]
async fn every_wait_that_a_replica_tells_of_is_true_within_a_fifth() {
    steadily(async || {
        let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return Ok(()) };
        let (one, two) = tokio::join!(four_with_unequal_backlogs(&redis), two_with_unequal_classes(&other));
        one.and(two)
    })
    .await;
}
