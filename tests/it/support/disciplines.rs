//! One load behind weir's limiter and behind the limiters that people usually write, against the same simulator.

use std::collections::VecDeque;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::join_all;
use tokio::sync::{Mutex, Semaphore};
use tokio::time::{Instant, sleep, sleep_until};
use weir::app::demo_config;
use weir::domain::time::HOUR;
use weir::domain::{AppId, Caller, Class, Clock, ManualClock, Slice, Timestamp, Window};
use weir::quota::{Call, Limiter, Permit, Rule};
use weir::sim::{DEMO_KEY, Legs, LocalTransport, Simulator, SimulatorConfig};
use weir::vendor::volcengine_rtc::{Client, Dimension, DistributionSubject, OperationDistributions};

use super::{DISTRIBUTION, NOW};

/// How calls are kept apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Discipline {
    /// A permit is back 1.01 s after the response head.
    Weir,
    /// One call every 1/N s.
    Gcra,
    /// A bucket of N tokens that refills at N/s.
    GcraBurst,
    /// At most N sent in any second.
    SendWindow,
    /// A semaphore.
    BackAtResponse,
    /// A semaphore whose permit is back at the later of the response and send + 1 s.
    BackASecondAfterSend,
}

/// What the simulator saw.
#[derive(Debug)]
pub(crate) struct Verdict {
    pub(crate) widest: usize,
    pub(crate) throttled: usize,
    pub(crate) calls: u32,
    pub(crate) took: Duration,
    /// When each call arrived, from the first one on.
    pub(crate) arrivals: Vec<Duration>,
}

/// Makes twelve rounds of calls at once, each paid with a permit of the discipline.
pub(crate) async fn drive(
    discipline: Discipline,
    limit: usize,
    there: Range<u64>,
    back: Range<u64>,
    seed: u64,
) -> Verdict {
    let ms = Duration::from_millis;
    let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(Timestamp::parse_rfc3339(NOW).unwrap()));
    let permits = u32::try_from(limit).unwrap();
    let mut config = SimulatorConfig::new(seed, Arc::clone(&clock));
    config.limits.set(DISTRIBUTION, permits);
    let sim = Simulator::new(config);
    let legs = Legs { there: ms(there.start)..ms(there.end), back: ms(back.start)..ms(back.end) };
    let transport = Arc::new(LocalTransport::new(Arc::clone(&sim), legs, seed));
    let entry = demo_config().volcengine_rtc.remove(0);
    let account = entry.account().unwrap();
    let operation = Arc::new(OperationDistributions::new(8 * HOUR));
    let client = Client::new(&entry, account.clone(), transport, Arc::clone(&clock), operation).unwrap();
    let gate = Arc::new(Gate::new(discipline, limit));
    let (calls, began) = (permits * 12, Instant::now());
    let end = clock.now().floor(HOUR) - 10 * HOUR;
    let call = |n: u32| {
        let subject = DistributionSubject {
            account: account.clone(),
            app: AppId::new("app-one"),
            dimension: Dimension::Province,
        };
        let slice = Slice {
            subject,
            window: Window::new(end - HOUR * (n % 160 + 1), end + Duration::from_secs(u64::from(n / 160))).unwrap(),
        };
        let (gate, client) = (Arc::clone(&gate), &client);
        async move {
            let permit = gate.enter().await;
            let sent_at = Instant::now();
            let _ = client.call(&slice, permit).await;
            gate.leave(sent_at).await;
        }
    };
    join_all((0..calls).map(call)).await;
    Verdict {
        widest: sim.widest_second(DEMO_KEY.0, DISTRIBUTION),
        throttled: sim.throttled(DISTRIBUTION),
        calls,
        took: began.elapsed(),
        arrivals: sim.arrivals().iter().map(|arrival| arrival.at - began).collect(),
    }
}

struct Gate {
    discipline: Discipline,
    limit: usize,
    /// weir's permits; for the others, permits without end.
    limiter: Limiter,
    semaphore: Arc<Semaphore>,
    sent: Mutex<VecDeque<Instant>>,
}

impl Gate {
    fn new(discipline: Discipline, limit: usize) -> Self {
        let rule = match discipline {
            Discipline::Weir => Rule::per_second(u32::try_from(limit).unwrap(), Duration::from_secs(5)),
            _ => Rule { permits: 100_000, hold: Duration::ZERO, guard: Duration::ZERO },
        };
        let (limiter, semaphore) = (Limiter::new(rule, None), Arc::new(Semaphore::new(limit)));
        Self { discipline, limit, limiter, semaphore, sent: Mutex::new(VecDeque::new()) }
    }

    async fn enter(&self) -> Permit {
        match self.discipline {
            Discipline::Weir => {}
            Discipline::Gcra => {
                self.wait_for_slot(1, Duration::from_secs(1) / u32::try_from(self.limit).unwrap()).await;
            }
            Discipline::GcraBurst => self.bucket().await,
            Discipline::SendWindow => self.wait_for_slot(self.limit, Duration::from_secs(1)).await,
            Discipline::BackAtResponse | Discipline::BackASecondAfterSend => {
                self.semaphore.acquire().await.unwrap().forget();
            }
        }
        self.limiter.enqueue(Class::Interactive, Caller::Anonymous).permit().await.unwrap()
    }

    async fn leave(&self, sent_at: Instant) {
        match self.discipline {
            Discipline::BackAtResponse => self.semaphore.add_permits(1),
            Discipline::BackASecondAfterSend => {
                sleep_until(sent_at + Duration::from_secs(1)).await;
                self.semaphore.add_permits(1);
            }
            _ => {}
        }
    }

    /// At most `count` sent in any `span`.
    async fn wait_for_slot(&self, count: usize, span: Duration) {
        let mut sent = self.sent.lock().await;
        if sent.len() == count
            && let Some(oldest) = sent.pop_front()
        {
            sleep_until(oldest + span).await;
        }
        sent.push_back(Instant::now());
    }

    /// A full bucket at first, then one token every 1/N s.
    async fn bucket(&self) {
        let mut sent = self.sent.lock().await;
        if sent.len() >= self.limit {
            sleep(Duration::from_secs(1) / u32::try_from(self.limit).unwrap()).await;
        }
        sent.push_back(Instant::now());
    }
}
