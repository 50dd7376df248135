//! Several gateways in one process and in real time, as replicas of one another, before one simulator.

use std::collections::HashMap;
use std::sync::atomic::{AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::{Request, Variables};
use serde_json::Value;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use weir::access::Access;
use weir::app::{App, Runtime, Start};
use weir::config::Config;
use weir::document::{Document, Limits};
use weir::domain::{Caller, Clock, ManualClock, Timestamp};
use weir::http::{HttpConfig, Site};
use weir::schema::Gateway;
use weir::sim::{DEMO_KEY, Legs, LocalTransport, Simulator, SimulatorConfig};

use super::fast_path::demo_config;
use super::redis::Redis;
use super::{DISTRIBUTION, METRIC, NOW};

/// The mean time of the way there and back.
pub(crate) const ROUND_TRIP: Duration = Duration::from_millis(20);
/// How many channels the account of CAMS has.
const CHANNELS: u32 = 4_000;

/// Replicas and the simulator behind them.
pub(crate) struct Fleet {
    pub(crate) sim: Arc<Simulator>,
    pub(crate) apps: Vec<Arc<App>>,
    pub(crate) config: Config,
    transport: Arc<LocalTransport>,
    next: Arc<AtomicU32>,
    documents: Mutex<HashMap<String, Arc<Document>>>,
}

/// Short timeouts, so that a lease is short: 0.2 + 1 + 0.2 + 0.3 + 0.2 + 1.01 s.
pub(crate) fn quick(redis: &Redis) -> Config {
    let ms = Duration::from_millis;
    let mut config = demo_config();
    config.upstream.connect_timeout = ms(200);
    config.upstream.timeout = ms(300);
    config.upstream.guard = ms(200);
    config.shared.longest_stop = ms(200);
    config.shared.redis = redis.url().into();
    config.queue.max_wait = Duration::from_mins(10);
    config.alibaba_cams[0].channels = (0..CHANNELS).map(|n| format!("cams-{n}")).collect();
    config
}

impl Fleet {
    pub(crate) fn start(replicas: usize, config: Config, seed: u64) -> Self {
        let ms = Duration::from_millis;
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(Timestamp::parse_rfc3339(NOW).unwrap()));
        let sim = Simulator::new(SimulatorConfig::new(seed, clock));
        let legs = Legs { there: ms(5)..ms(15), back: ms(5)..ms(15) };
        let transport = LocalTransport::new(Arc::clone(&sim), legs, seed).with_timeout(config.upstream.timeout);
        let transport = Arc::new(transport);
        let mut fleet =
            Self { sim, apps: Vec::new(), config, transport, next: Arc::default(), documents: Mutex::default() };
        (0..replicas).for_each(|_| fleet.join());
        fleet
    }

    /// One more replica. The clocks of some are wrong by 5 s.
    pub(crate) fn join(&mut self) {
        let now = Timestamp::parse_rfc3339(NOW).unwrap();
        let wrong = Duration::from_secs(5);
        let now = match self.apps.len() % 3 {
            0 => now,
            1 => now + wrong,
            _ => now - wrong,
        };
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::starting_at(now));
        let transport = Arc::<LocalTransport>::clone(&self.transport);
        let runtime = Runtime { clock, transport, start: Start::Free };
        self.apps.push(Arc::new(App::build(&self.config, &runtime).unwrap()));
    }

    pub(crate) fn lease(&self) -> Duration {
        self.config.terms().lease()
    }

    /// What `/metrics` of a replica is read from.
    pub(crate) fn site(&self, replica: usize) -> Site {
        Site::new(HttpConfig::default(), Arc::new(self.apps[replica].gateway().clone()), Access::anyone())
    }

    pub(crate) async fn query(&self, replica: usize, query: String) -> Value {
        let gateway = self.apps[replica].gateway().clone();
        let document = self.document(&gateway, query);
        let answer = tokio::spawn(async move {
            let operation = document.operation(None).expect("one operation");
            let bound = gateway.bind(operation, &Variables::default()).expect("no variables");
            gateway.run(Caller::Anonymous, bound, &HashMap::new(), Arc::default()).await
        });
        serde_json::from_slice(&answer.await.unwrap().to_json()).expect("an answer is JSON")
    }

    /// Documents are read once, as the HTTP layer does: hundreds at a moment would keep the processor from the calls.
    fn document(&self, gateway: &Gateway, query: String) -> Arc<Document> {
        let read = |query: &String| Arc::new(gateway.read(query, &Limits::default()).expect("a valid document"));
        let mut known = self.documents.lock().unwrap();
        Arc::clone(known.entry(query).or_insert_with_key(read))
    }

    /// The same with controls, in a task that goes on if nobody waits for it.
    pub(crate) fn ask_with(&self, replica: usize, query: String, controls: Value) -> JoinHandle<Value> {
        let app = Arc::clone(&self.apps[replica]);
        let mut request = Request::new(query);
        let controls = async_graphql::Value::from_json(controls).expect("controls are a value");
        request.extensions.insert("weir".to_owned(), controls);
        tokio::spawn(async move { ask(&app, request).await })
    }

    /// Keeps `rtc` and `cams` asks waiting at every replica, each for something that nobody asked for before.
    pub(crate) fn load(&self, rtc: usize, cams: usize) -> Load {
        let mut tasks = Vec::new();
        for app in &self.apps {
            for at in 0..rtc + cams {
                let (app, next) = (Arc::clone(app), Arc::clone(&self.next));
                tasks.push(tokio::spawn(async move {
                    loop {
                        let n = next.fetch_add(1, Ordering::Relaxed);
                        ask(&app, if at < rtc { window(n) } else { channel(n) }).await;
                    }
                }));
            }
        }
        Load(tasks)
    }

    /// When calls of an operation arrived, in order.
    pub(crate) fn arrivals(&self, operation: &str) -> Vec<Instant> {
        let mut at: Vec<_> = self
            .sim
            .arrivals()
            .iter()
            .filter(|arrival| arrival.operation == operation)
            .map(|arrival| arrival.at)
            .collect();
        at.sort_unstable();
        at
    }

    /// How long after `from` the first call of an operation arrived.
    pub(crate) fn resumed(&self, operation: &str, from: Instant) -> Option<Duration> {
        self.arrivals(operation).into_iter().find(|at| *at > from).map(|at| at - from)
    }

    pub(crate) fn assert_bound(&self, what: &str) {
        for (operation, limit) in [(DISTRIBUTION, 2), (METRIC, 50)] {
            let widest = self.sim.widest_second(DEMO_KEY.0, operation);
            assert!(widest <= limit, "{what}: {widest} arrivals of {operation} in one second");
            assert_eq!(self.sim.throttled(operation), 0, "{what}");
        }
    }
}

/// Says something that is worth knowing when the test fails, like its seed.
#[expect(clippy::print_stdout, reason = "shown only when a test fails, or on demand")]
pub(crate) fn say(text: &str) {
    println!("{text}");
}

async fn ask(app: &App, request: impl Into<Request>) -> Value {
    let answer = app.gateway().execute(Caller::Anonymous, request.into()).await;
    serde_json::from_slice(&answer.to_json()).expect("an answer is JSON")
}

/// A window that no other number shares.
pub(crate) fn window(n: u32) -> String {
    let (start, end) = (2 + n % 140, 10 + n / 140 % 12);
    let (day, hour) = (11 + start / 24, start % 24);
    format!(
        "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", \
         end: \"2026-11-17T{end:02}:00:00Z\"}}}}) {{ start }} }}"
    )
}

/// A channel that no other number shares.
pub(crate) fn channel(n: u32) -> String {
    format!(
        "{{ phoneNumberMetrics(custSpaceId: \"cams-{}\", range: {{last: \"P3D\"}}) {{ totalCount }} }}",
        n % CHANNELS
    )
}

/// Asks under way; dropped, they end.
pub(crate) struct Load(Vec<JoinHandle<()>>);

impl Drop for Load {
    fn drop(&mut self) {
        self.0.iter().for_each(JoinHandle::abort);
    }
}
