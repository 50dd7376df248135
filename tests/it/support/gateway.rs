//! A gateway in virtual time before the in-process simulator.

use std::pin::Pin;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use async_graphql::{Request, Variables};
use serde_json::{Value, json};
use weir::app::{App, Runtime, Start};
use weir::config::Config;
use weir::domain::{Caller, Clock, ManualClock, Timestamp};
use weir::quota::Permit;
use weir::schema::Answer;
use weir::sim::{Legs, LocalTransport, Simulator, SimulatorConfig};
use weir::vendor::transport::{Reply, Request as HttpRequest, Transport, TransportError};

use super::fast_path::demo_config;

/// The instant at which every test begins unless it says otherwise: a Sunday.
pub(crate) const NOW: &str = "2026-11-22T10:20:30Z";

/// How long a permit rests after its round trip, as docs/quota.md has it: what weir makes of the quota is judged by this
/// number, not by the product's own.
pub(crate) const REST: Duration = Duration::from_millis(1_010);

/// CAMS' operation of message counts.
pub(crate) const METRIC: &str = "GetChatappPhoneNumberMetric";
pub(crate) const TEMPLATE: &str = "GetChatappTemplateMetric";
/// CAMS' operation that turns statistics on.
pub(crate) const ENABLE: &str = "EnableWhatsappROIMetric";
/// RTC's operation.
pub(crate) const DISTRIBUTION: &str = "ListOperationDistribution";

/// The `n`th window of a day and a half hour of an application.
pub(crate) fn window(app: &str, n: u32) -> String {
    let (day, hour) = (1 + n / 24, n % 24);
    format!(
        "{{ operationDistribution(appId: \"{app}\", range: {{between: {{start: \"2026-11-{day:02}T{hour:02}:00:00Z\", end: \"2026-11-{:02}T{hour:02}:30:00Z\"}}}}) {{ start }} }}",
        day + 1
    )
}

/// A gateway and the simulator behind it.
pub(crate) struct TestGateway {
    app: Arc<App>,
    sim: Arc<Simulator>,
    clock: Arc<ManualClock>,
    line: Arc<Line>,
    config: Config,
}

/// The way out of one process, which can die: what is under way arrives, and nothing more leaves.
struct Line {
    transport: Arc<LocalTransport>,
    is_dead: AtomicBool,
    sent: Mutex<Vec<HttpRequest>>,
}

impl Transport for Line {
    fn send<'a>(
        &'a self,
        request: HttpRequest,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Exchanged> + Send + 'a>> {
        if self.is_dead.load(Ordering::SeqCst) {
            return Box::pin(std::future::pending());
        }
        self.sent.lock().unwrap().push(request.clone());
        self.transport.send(request, permit)
    }
}

type Exchanged = Result<Reply, TransportError>;

/// How a [`TestGateway`] begins. The defaults: the demo's accounts, no latency, no start hold, [`NOW`].
pub(crate) struct Builder {
    config: Config,
    legs: Legs,
    seed: u64,
    now: Timestamp,
    start: Start,
    sim: Box<dyn FnOnce(&mut SimulatorConfig)>,
}

impl Builder {
    pub(crate) fn config(mut self, change: impl FnOnce(&mut Config)) -> Self {
        change(&mut self.config);
        self
    }

    pub(crate) fn legs(mut self, there: std::ops::Range<u64>, back: std::ops::Range<u64>) -> Self {
        let ms = Duration::from_millis;
        self.legs = Legs { there: ms(there.start)..ms(there.end), back: ms(back.start)..ms(back.end) };
        self
    }

    pub(crate) fn max_wait(mut self, secs: u64) -> Self {
        self.config.queue.max_wait = Duration::from_secs(secs);
        self
    }

    pub(crate) fn seed(mut self, seed: u64) -> Self {
        self.seed = seed;
        self
    }

    pub(crate) fn now(mut self, now: &str) -> Self {
        self.now = Timestamp::parse_rfc3339(now).unwrap();
        self
    }

    pub(crate) fn start_hold(mut self, start: Start) -> Self {
        self.start = start;
        self
    }

    pub(crate) fn sim(mut self, change: impl FnOnce(&mut SimulatorConfig) + 'static) -> Self {
        self.sim = Box::new(change);
        self
    }

    pub(crate) fn build(self) -> TestGateway {
        let clock = Arc::new(ManualClock::starting_at(self.now));
        let shared: Arc<dyn Clock> = Arc::<ManualClock>::clone(&clock);
        let mut sim = SimulatorConfig::new(self.seed, shared);
        (self.sim)(&mut sim);
        let sim = Simulator::new(sim);
        let transport = LocalTransport::new(Arc::clone(&sim), self.legs, self.seed);
        let transport = Arc::new(transport.with_timeout(self.config.upstream.timeout));
        TestGateway::on(transport, sim, clock, self.config, self.start)
    }
}

impl TestGateway {
    pub(crate) fn builder() -> Builder {
        Builder {
            config: demo_config(),
            legs: Legs { there: Duration::ZERO..Duration::ZERO, back: Duration::ZERO..Duration::ZERO },
            seed: 7,
            now: Timestamp::parse_rfc3339(NOW).unwrap(),
            start: Start::Free,
            sim: Box::new(|_| {}),
        }
    }

    pub(crate) fn start() -> Self {
        Self::builder().build()
    }

    fn on(
        transport: Arc<LocalTransport>,
        sim: Arc<Simulator>,
        clock: Arc<ManualClock>,
        config: Config,
        start: Start,
    ) -> Self {
        let line = Arc::new(Line { transport, is_dead: AtomicBool::new(false), sent: Mutex::default() });
        let runtime = Runtime { clock: Arc::<ManualClock>::clone(&clock), transport: Arc::<Line>::clone(&line), start };
        let app = Arc::new(App::build(&config, &runtime).unwrap());
        Self { app, sim, clock, line, config }
    }

    /// The process dies: what is under way arrives, and nothing more leaves. Its successor on the same account knows
    /// nothing of it but what `start` tells.
    pub(crate) fn crash(&self, start: Start) -> Self {
        self.line.is_dead.store(true, Ordering::SeqCst);
        let (transport, sim) = (Arc::clone(&self.line.transport), Arc::clone(&self.sim));
        Self::on(transport, sim, Arc::clone(&self.clock), self.config.clone(), start)
    }

    pub(crate) fn gateway(&self) -> Arc<weir::schema::Gateway> {
        Arc::new(self.app.gateway().clone())
    }

    pub(crate) fn sim(&self) -> &Simulator {
        &self.sim
    }

    pub(crate) fn clock(&self) -> &ManualClock {
        &self.clock
    }

    pub(crate) fn now(&self) -> Timestamp {
        self.clock.now()
    }

    /// Calls of an operation that arrived so far.
    pub(crate) fn calls(&self, operation: &str) -> usize {
        self.sim.calls(operation)
    }

    /// Every request that left so far, as it was written.
    pub(crate) fn requests(&self) -> Vec<HttpRequest> {
        self.line.sent.lock().unwrap().clone()
    }

    pub(crate) fn app(&self) -> &App {
        &self.app
    }

    pub(crate) fn config(&self) -> &Config {
        &self.config
    }

    /// Runs a query in a task of its own, as the HTTP layer does; dropping the future drops the request.
    pub(crate) fn ask(&self, query: &str, variables: Value) -> impl Future<Output = Value> + Send + use<> {
        self.ask_with(query, variables, json!({}))
    }

    /// The same, with controls in the request's `extensions.weir`.
    pub(crate) fn ask_with(
        &self,
        query: &str,
        variables: Value,
        controls: Value,
    ) -> impl Future<Output = Value> + Send + use<> {
        let app = Arc::clone(&self.app);
        let mut request = Request::new(query).variables(Variables::from_json(variables));
        let controls = async_graphql::Value::from_json(controls).expect("controls are a value");
        request.extensions.insert("weir".to_owned(), controls);
        let task = tokio::spawn(async move { app.gateway().execute(Caller::Anonymous, request).await });
        let task = AbortOnDrop(task);
        async move {
            let mut task = task;
            let answer = (&mut task.0).await.expect("the request neither panics nor is cancelled");
            serde_json::from_slice(&answer.to_json()).expect("an answer is JSON")
        }
    }

    pub(crate) async fn query(&self, query: &str) -> Value {
        self.ask(query, json!({})).await
    }

    /// The data of a query that must not fail.
    pub(crate) async fn data(&self, query: &str) -> Value {
        let mut response = self.query(query).await;
        assert_eq!(response.get("errors"), None, "{query}");
        response["data"].take()
    }
}

struct AbortOnDrop(tokio::task::JoinHandle<Answer>);

impl Drop for AbortOnDrop {
    fn drop(&mut self) {
        self.0.abort();
    }
}

/// The codes of a response's errors, in order.
pub(crate) fn codes(response: &Value) -> Vec<String> {
    let errors = response["errors"].as_array().cloned().unwrap_or_default();
    errors.iter().map(|error| error["extensions"]["code"].as_str().unwrap_or("none").to_owned()).collect()
}
