//! The measure that judges the rule also catches the rules that look like it. Replicas here are limiters before a vendor
//! of a few lines, so that a mutant can be put in the place of the script.

use std::sync::{Arc, Mutex};
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::{Instant, sleep};
use weir::domain::{Account, Caller, Class, Vendor};
use weir::quota::agent::{LeaseClient, SCRIPT};
use weir::quota::lease::Terms;
use weir::quota::{Limiter, Rule};
use weir::redis::Redis as Link;

use crate::support::fleet::say;
use crate::support::forwarder::Forwarder;
use crate::support::redis::Redis;

const LIMIT: u32 = 5;
const SEED: u64 = 31;

/// Stands for Redis' own clock in a script that a test can set wrong.
pub(super) const CLOCK: (&str, &str) =
    ("local now = tonumber(time[1])", "local now = tonumber(redis.call('GET', 'offset') or '0') + tonumber(time[1])");

/// A permit is given back at its response and kept as free one second later, at Redis' time.
const FREE_AT_TIME: [(&str, &str); 3] = [
    ("  unset('p:' .. i)\n", "  unset('p:' .. i)\n  set('q:' .. i, text(now + 1010))\n"),
    (
        "local function free(i)",
        "for field, value in pairs(h) do
           local i = string.match(field, '^q:(%d+)$')
           if i and tonumber(value) > now then out[tonumber(i)] = { holder = '', event = 0, at = now }; count = count + 1 end
         end
         local function free(i)",
    ),
    (
        "held.holder ~= replica and held.event <= old",
        "held.holder ~= '' and held.holder ~= replica and held.event <= old",
    ),
];

/// A call is heard however late it comes.
pub(super) const NO_FENCE: (&str, &str) = ("return { 'fenced', h.epoch }", "");

/// A new epoch is open at once.
const NO_HOLD: [(&str, &str); 2] =
    [("'open', '0', 'lease'", "'open', '1', 'lease'"), ("event = '0', open = '0'", "event = '0', open = '1'")];

/// The same run of Redis is believed to be the same history.
pub(super) const HISTORY_NOT_COMPARED: (&str, &str) = ("string.match(info, 'master_replid:(%x+)') or ''", "''");

/// What a caller knows to have happened is not asked of Redis.
pub(super) const EVENT_NOT_COMPARED: (&str, &str) = ("latest > seen", "false");

pub(super) fn mutated(changes: &[(&str, &str)]) -> String {
    changes.iter().fold(SCRIPT.to_owned(), |script, (rule, mutant)| {
        assert!(script.contains(rule), "the script has changed: {rule}");
        script.replace(rule, mutant)
    })
}

/// Replicas that use every permit they get.
pub(super) struct Toy {
    arrivals: Arc<Mutex<Vec<Instant>>>,
    pub(super) lease: Duration,
    tasks: Vec<tokio::task::JoinHandle<()>>,
}

impl Toy {
    /// One replica at each of the addresses.
    fn start(redis: &[&str], script: &str, hold: Duration) -> Self {
        Self::start_with(redis, script, hold, LIMIT, SEED)
    }

    pub(super) fn start_with(redis: &[&str], script: &str, hold: Duration, limit: u32, seed: u64) -> Self {
        let ms = Duration::from_millis;
        let terms = Terms::new(ms(100), ms(200), ms(100), ms(100));
        let account = Account::new(Vendor::VolcengineRtc, "toy", "127.0.0.1", "toy");
        let arrivals: Arc<Mutex<Vec<Instant>>> = Arc::default();
        let mut tasks = Vec::new();
        for (replica, url) in (0..).zip(redis) {
            let link = Link::new(&(*url).to_owned().into()).unwrap();
            let lessor = LeaseClient::new(link, &account, "Toy", terms).with_script(script);
            let limiter = Limiter::leased(Rule { permits: limit, hold, guard: ms(100) }, lessor);
            for worker in 0..u64::from(limit) {
                let (limiter, arrivals) = (limiter.clone(), Arc::clone(&arrivals));
                let mut rng = StdRng::seed_from_u64(seed + replica * 100 + worker);
                tasks.push(tokio::spawn(async move {
                    loop {
                        let place = limiter.enqueue(Class::Interactive, Caller::Anonymous);
                        let mut permit = place.permit().await.unwrap();
                        if permit.begin_write().is_err() {
                            continue;
                        }
                        sleep(ms(rng.random_range(0..40))).await;
                        arrivals.lock().unwrap().push(Instant::now());
                        sleep(ms(rng.random_range(0..40))).await;
                        permit.head_read(200);
                    }
                }));
            }
        }
        Self { arrivals, lease: terms.lease(), tasks }
    }

    /// The most arrivals in any second, and how many there were.
    pub(super) fn stop(self) -> (usize, usize) {
        self.tasks.iter().for_each(tokio::task::JoinHandle::abort);
        let mut at = self.arrivals.lock().unwrap().clone();
        at.sort_unstable();
        let second = Duration::from_secs(1);
        let widest =
            (0..at.len()).map(|first| at[first..].iter().take_while(|later| **later - at[first] < second).count());
        (widest.max().unwrap_or(0), at.len())
    }
}

/// Sets Redis' clock wrong again and again.
async fn under_a_wrong_clock(redis: &Redis, script: &str, hold: Duration) -> (usize, usize) {
    let toy = Toy::start(&[&redis.url(), &redis.url(), &redis.url(), &redis.url()], script, hold);
    sleep(toy.lease + Duration::from_millis(400)).await;
    for offset in ["5000", "-5000", "3600000", "0", "1900", "3800", "-86400000"] {
        sleep(Duration::from_millis(370)).await;
        redis.run::<()>(&["SET", "offset", offset]).await;
    }
    sleep(Duration::from_millis(1_200)).await;
    toy.stop()
}

async fn under_flushes(redis: &Redis, script: &str) -> (usize, usize) {
    let toy = Toy::start(&[&redis.url(), &redis.url(), &redis.url(), &redis.url()], script, Rule::HOLD);
    sleep(toy.lease + Duration::from_millis(700)).await;
    redis.run::<()>(&["FLUSHALL"]).await;
    sleep(toy.lease + Duration::from_millis(700)).await;
    toy.stop()
}

/// Calls of one replica are held up on their way, given up, and come to Redis after later ones. The second of them lists
/// all that the replica held when it was made.
async fn under_calls_that_come_late(redis: &Redis, script: &str) -> (usize, usize) {
    let ms = Duration::from_millis;
    let late = Forwarder::to(redis.port()).await;
    let toy = Toy::start(&[&late.url(), &redis.url()], script, Rule::HOLD);
    sleep(toy.lease + ms(700)).await;
    for _ in 0..2 {
        late.hold_up();
        sleep(ms(1_900)).await; // the first is given up after a second, the second is under way
        late.let_new_through();
        sleep(ms(1_000)).await; // the third is answered, and what it brought is in use
        late.release();
        sleep(ms(1_200)).await;
    }
    toy.stop()
}

#[tokio::test(flavor = "multi_thread")]
async fn calls_that_come_late_overrun_without_the_fence_and_not_with_it() {
    say(&format!("seed {SEED}"));
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    let script = mutated(&[NO_FENCE]);
    let (mut rule, mut mutant) = ((0, 0), (0, 0));
    // Whether calls pass one another is a matter of tens of milliseconds: a busy machine may miss it once, and the rule
    // holds each time.
    for _ in 0..5 {
        (rule, mutant) =
            tokio::join!(under_calls_that_come_late(&redis, SCRIPT), under_calls_that_come_late(&other, &script));
        if rule.0 > LIMIT as usize || mutant.0 > LIMIT as usize {
            break;
        }
    }
    judge(LIMIT, rule, mutant);
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_that_are_free_at_the_time_of_redis_overrun_and_leases_do_not() {
    say(&format!("seed {SEED}"));
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    let (rule, mutant) = (mutated(&[CLOCK]), mutated(&[&[CLOCK][..], &FREE_AT_TIME].concat()));
    let (rule, mutant) = tokio::join!(
        under_a_wrong_clock(&redis, &rule, Rule::HOLD),
        under_a_wrong_clock(&other, &mutant, Duration::ZERO)
    );
    judge(LIMIT, rule, mutant);
}

#[tokio::test(flavor = "multi_thread")]
async fn an_epoch_that_is_open_at_once_overruns_and_one_that_is_held_does_not() {
    say(&format!("seed {SEED}"));
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    let mutant = mutated(&NO_HOLD);
    let (rule, mutant) = tokio::join!(under_flushes(&redis, SCRIPT), under_flushes(&other, &mutant));
    judge(LIMIT, rule, mutant);
}

pub(super) fn judge(limit: u32, (widest, calls): (usize, usize), mutant: (usize, usize)) {
    assert!(widest <= limit as usize && calls >= 2 * limit as usize, "{widest} in one second, {calls} in all");
    assert!(mutant.0 > limit as usize, "the mutant was not caught: {mutant:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn permits_of_a_process_that_died_are_back_one_lease_later() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let ms = Duration::from_millis;
    let terms = Terms::new(ms(100), ms(200), ms(100), ms(100));
    let url = redis.url();
    let limiter = move || {
        let account = Account::new(Vendor::VolcengineRtc, "toy", "127.0.0.1", "toy");
        let lessor = LeaseClient::new(Link::new(&url.clone().into()).unwrap(), &account, "Toy", terms);
        Limiter::leased(Rule::per_second(2, ms(100)), lessor)
    };
    let survivor = limiter();
    // A runtime of its own ends as a killed process does: nothing is given back.
    let dying = tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
    let (tell, told) = tokio::sync::oneshot::channel();
    dying.spawn(async move {
        let limiter = limiter();
        let places = [0, 1].map(|_| limiter.enqueue(Class::Interactive, Caller::Anonymous).permit());
        let _held = futures_util::future::join_all(places).await;
        tell.send(Instant::now()).unwrap();
        std::future::pending::<()>().await;
    });
    let granted = told.await.unwrap();
    dying.shutdown_background();
    let place = survivor.enqueue(Class::Interactive, Caller::Anonymous);
    let permit = tokio::time::timeout(terms.lease() * 2, place.permit()).await.unwrap();
    assert!(permit.is_some());
    let after = granted.elapsed() + ms(50); // the answer took its way
    let (least, most) = (terms.lease(), terms.lease() + Duration::from_secs(1));
    assert!((least..=most).contains(&after), "back after {after:?}, not in {least:?}..{most:?}");
}
