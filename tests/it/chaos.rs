//! The rule under everything at once, for thousands of seeds in virtual time: slow and reordered requests, lost replies,
//! resets whose request arrives later, calls given up half-way, crashes and restarts. Every mutant of the rule is caught
//! by the same measure. A seed that fails is printed; `run` replays it.

use std::sync::Arc;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until};
use weir::app::demo_config;
use weir::domain::time::HOUR;
use weir::domain::{AppId, Caller, Class, Clock, ManualClock, Slice, Timestamp, Window};
use weir::quota::{Call, Limiter, Permit, Rule};
use weir::sim::{DEMO_KEY, Fault, Legs, LocalTransport, Scope, Simulator, SimulatorConfig, Times};
use weir::vendor::volcengine_rtc::{Client, Dimension, DistributionSubject, OperationDistributions};

use crate::support::{DISTRIBUTION, NOW};

const GUARD: Duration = Duration::from_secs(5);

/// The rule, and what people write instead.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Law {
    Rule,
    /// A call that ended without a reply gives its permit back a second later.
    ResetAndASecond,
    /// A restart waits for a second, whatever happened before.
    CrashAndASecond,
    /// A call that is given up gives its permit back there and then; one that ended, a second after its reply.
    OnDrop,
    /// A permit is back with the reply.
    AtTheResponse,
    /// A permit is back a second after the call was sent.
    SendAndASecond,
}

/// The permits of one process.
enum Permits {
    Limiter(Limiter),
    Semaphore(Arc<Semaphore>, Limiter),
}

impl Permits {
    fn new(law: Law, limit: u32, after_crash: bool) -> Self {
        let hold = match (after_crash, law) {
            (false, _) => None,
            (true, Law::CrashAndASecond) => Some(Rule::HOLD),
            (true, _) => Some(GUARD + Rule::HOLD),
        };
        let rule = Rule::per_second(limit, if law == Law::ResetAndASecond { Duration::ZERO } else { GUARD });
        match law {
            Law::Rule | Law::ResetAndASecond | Law::CrashAndASecond => Self::Limiter(Limiter::new(rule, hold)),
            Law::OnDrop | Law::AtTheResponse | Law::SendAndASecond => {
                let free = Rule { permits: 10_000, hold: Duration::ZERO, guard: Duration::ZERO };
                Self::Semaphore(Arc::new(Semaphore::new(limit as usize)), Limiter::new(free, hold))
            }
        }
    }

    async fn permit(&self) -> (Permit, Option<OwnedSemaphorePermit>) {
        let place = |limiter: &Limiter| limiter.enqueue(Class::Interactive, Caller::Anonymous);
        match self {
            Self::Limiter(limiter) => (place(limiter).permit().await.unwrap(), None),
            Self::Semaphore(semaphore, free) => {
                let taken = Arc::clone(semaphore).acquire_owned().await.unwrap();
                (place(free).permit().await.unwrap(), Some(taken))
            }
        }
    }
}

/// One process after another on one account; answers the most arrivals in any second.
async fn run(law: Law, limit: u32, seed: u64) -> usize {
    let mut rng = StdRng::seed_from_u64(seed);
    let ms = Duration::from_millis;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(Timestamp::parse_rfc3339(NOW).unwrap()));
    let mut config = SimulatorConfig::new(seed, Arc::clone(&clock));
    config.limits.set(DISTRIBUTION, limit);
    let sim = Simulator::new(config);
    let slow = rng.random_range(10..3_000);
    let legs = Legs { there: ms(0)..ms(slow), back: ms(0)..ms(rng.random_range(1..500)) };
    let transport = Arc::new(LocalTransport::new(Arc::clone(&sim), legs, seed));
    let entry = demo_config().volcengine_rtc.remove(0);
    let account = entry.account().unwrap();
    let operation = Arc::new(OperationDistributions::new(8 * HOUR));
    let client = Client::new(&entry, account.clone(), transport, Arc::clone(&clock), operation).unwrap();
    let client = Arc::new(client);
    let end = clock.now().floor(HOUR) - 10 * HOUR;
    let mut n = 0;
    for process in 0..rng.random_range(1..4) {
        let permits = Arc::new(Permits::new(law, limit, process > 0));
        let mut calls = JoinSet::new();
        for _ in 0..limit * rng.random_range(2..6) {
            n += 1;
            let subject = DistributionSubject {
                account: account.clone(),
                app: AppId::new("app-one"),
                dimension: Dimension::Country,
            };
            let slice = Slice { subject, window: Window::new(end - HOUR * (n % 160 + 1), end).unwrap() };
            let (permits, client) = (Arc::clone(&permits), Arc::clone(&client));
            let given_up = rng.random_bool(0.2).then(|| ms(rng.random_range(0..4_000)));
            calls.spawn(async move {
                let (permit, taken) = permits.permit().await;
                let sent_at = Instant::now();
                let call = client.call(&slice, permit);
                let ended = match given_up {
                    None => call.await.is_ok(),
                    Some(patience) => tokio::time::timeout(patience, call).await.is_ok(),
                };
                match law {
                    Law::OnDrop if ended => sleep(Rule::HOLD).await,
                    Law::SendAndASecond => sleep_until(sent_at + Rule::HOLD).await,
                    _ => {}
                }
                drop(taken);
            });
        }
        for _ in 0..rng.random_range(0..4) {
            let fault = match rng.random_range(0..4) {
                0 => Fault::ResetEarly(ms(rng.random_range(0..4_900))),
                1 => Fault::StatusEarly { status: 504, arrival: ms(rng.random_range(0..4_900)) },
                2 => Fault::ResetAfterArrival,
                _ => Fault::Hang,
            };
            sim.faults().push(fault, Scope::Everything, Times::Next(1));
            sleep(ms(rng.random_range(0..1_500))).await;
        }
        if rng.random_bool(0.5) {
            sleep(ms(rng.random_range(0..3_000))).await;
            calls.abort_all(); // it dies; what is under way arrives
            sleep(ms(rng.random_range(0..400))).await;
        } else {
            while calls.join_next().await.is_some() {}
        }
        sim.faults().clear();
    }
    sleep(Duration::from_secs(20)).await;
    sim.widest_second(DEMO_KEY.0, DISTRIBUTION)
}

#[tokio::test(start_paused = true)]
async fn no_second_sees_more_than_the_limit_whatever_happens() {
    for (limit, seeds) in [(2, 2_000), (5, 700), (50, 30)] {
        for seed in 0..seeds {
            let widest = run(Law::Rule, limit, seed).await;
            assert!(widest <= limit as usize, "seed {seed} at {limit}: {widest} arrivals in one second");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_mutant_of_the_rule_is_caught_by_the_same_runs() {
    for law in [Law::ResetAndASecond, Law::CrashAndASecond, Law::OnDrop, Law::AtTheResponse, Law::SendAndASecond] {
        let mut caught = 0;
        for seed in 0..150 {
            caught += u32::from(run(law, 2, seed).await > 2);
        }
        assert!(caught >= 8, "{law:?} was caught with {caught} seeds of 150");
    }
}
