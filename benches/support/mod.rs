//! A gateway in front of the simulator, in this process and warm, and what is asked of it.

use std::collections::BTreeMap;
use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use async_graphql::Request;
use axum::body::{Body, Bytes};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::runtime::Runtime;
use tower::ServiceExt;
use weir::access::Access;
use weir::access::keys::hash_of;
use weir::app::{self, App, Start, demo_config};
use weir::domain::{Caller, Clock, ManualClock, SystemClock, Timestamp};
use weir::fast::FastPath;
use weir::http::{HttpConfig, Site};
use weir::schema::{Answer, Bound, Gateway};
use weir::sim::{Legs, LocalTransport, Simulator, SimulatorConfig};

/// Long after everything that is asked for is settled.
const NOW: &str = "2026-11-22T10:20:30Z";
/// The half hours that are held.
const HELD: (&str, &str) = ("2025-03-01T00:00:00Z", "2025-05-15T00:00:00Z");
const CHANNEL: &str = "cams-delta";
const KEY: &str = "weir_bench";
/// How it is shown.
const BEARER: &str = "Bearer weir_bench";

/// How many points an answer has, over how many phones.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Size {
    /// 30 points of one phone.
    Small,
    /// 1,440 points of one phone.
    Large,
    /// 14,400 points of ten phones.
    Huge,
}

impl Size {
    const fn extent(self) -> (usize, usize) {
        match self {
            Self::Small => (30, 1),
            Self::Large => (1_440, 1),
            Self::Huge => (14_400, 10),
        }
    }
}

/// A warm gateway on a runtime of one thread.
pub(crate) struct Warm {
    runtime: Runtime,
    app: App,
    site: Site,
    /// What is shown with each request.
    key: Option<&'static str>,
    /// The starts of the held rows, by phone.
    starts: BTreeMap<String, Vec<String>>,
}

impl Warm {
    /// With the half hours of one channel, and as many days as told of others: a slice each.
    pub(crate) fn new(other_slices: u32) -> Self {
        Self::with(other_slices, |all| all)
    }

    /// The same with a part of what is there for speed alone.
    pub(crate) fn with(other_slices: u32, part: impl FnOnce(FastPath) -> FastPath) -> Self {
        let clock: Arc<dyn Clock> =
            Arc::new(ManualClock::frozen_at(Timestamp::parse_rfc3339(NOW).expect("a fixed instant")));
        let mut config = demo_config();
        config.cache.max_bytes = 4 << 30;
        let mut sim = SimulatorConfig::new(1, Arc::clone(&clock));
        sim.limits.set("GetChatappPhoneNumberMetric", 10_000);
        config.alibaba_cams[0].quota.set("GetChatappPhoneNumberMetric", 10_000);
        let channels = (0..other_slices.div_ceil(DAYS_A_CHANNEL)).map(|n| format!("bench-{n:03}"));
        config.alibaba_cams[0].channels.extend(channels.clone());
        let none = Duration::ZERO..Duration::ZERO;
        let transport = LocalTransport::new(Simulator::new(sim), Legs { there: none.clone(), back: none }, 1);
        let of_app = app::Runtime { clock, transport: Arc::new(transport), start: Start::Free };
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let (app, site) = {
            let _inside = runtime.enter();
            let app = App::build(&config, &of_app).expect("the demo's config is fine");
            let gateway = app.gateway().clone();
            let fast_path = part(gateway.fast_path());
            let site = Site::new(HttpConfig::default(), Arc::new(gateway.with_fast_path(fast_path)), Access::anyone());
            (app, site)
        };
        let mut warm = Self { runtime, app, site, key: None, starts: BTreeMap::new() };
        let rows = warm.data(&format!(
            "{{ phoneNumberMetrics(custSpaceId: {CHANNEL:?}, granularity: HALF_HOUR, first: 100000, \
             range: {{between: {{start: {:?}, end: {:?}}}}}) {{ nodes {{ phoneNumber start }} }} }}",
            HELD.0, HELD.1
        ));
        for row in rows["phoneNumberMetrics"]["nodes"].as_array().expect("rows") {
            let text = |key: &str| row[key].as_str().expect("a text").to_owned();
            warm.starts.entry(text("phoneNumber")).or_default().push(text("start"));
        }
        let mut left = other_slices;
        for channel in channels {
            let days = left.min(DAYS_A_CHANNEL);
            left -= days;
            let end = Timestamp::parse_rfc3339(FIRST_DAY).expect("a fixed instant") + weir::domain::time::DAY * days;
            warm.data(&format!(
                "{{ phoneNumberMetrics(custSpaceId: {channel:?}, range: {{between: {{start: {FIRST_DAY:?}, \
                 end: \"{end}\"}}}}) {{ totalCount }} }}"
            ));
        }
        warm
    }

    /// The same, where every request has to show a key, and does.
    pub(crate) fn keyed(self) -> Self {
        let mut config = demo_config();
        let key = format!("name = \"bench\"\nhash = {:?}", hash_of(KEY));
        config.api_keys = vec![toml::from_str(&key).expect("a key of a config")];
        let access = Access::new(&config, Arc::new(SystemClock)).expect("a key without an issuer");
        let site = Site::new(HttpConfig::default(), Arc::new(self.app.gateway().clone()), Arc::new(access));
        Self { site, key: Some(BEARER), ..self }
    }

    /// A query for so many points.
    pub(crate) fn query(&self, size: Size) -> String {
        let (phones, starts) = self.rows(size);
        let (start, end) = (starts[0], starts[size.extent().0]);
        field(&phones, &format!("{{between: {{start: {start:?}, end: {end:?}}}}}"))
    }

    /// The body of a request for few points with its range in variables. The text is always the same; each number, up to
    /// 59,998, has a range of its own that holds the same points.
    pub(crate) fn body_with_variables(&self, number: usize) -> String {
        let (phones, starts) = self.rows(Size::Small);
        let ms = number + 1;
        // A row is asked for as soon as the range reaches behind its start, which is on the minute.
        let after = format!(":{:02}.{:03}Z", ms / 1_000, ms % 1_000);
        let end = starts[Size::Small.extent().0 - 1].replace(":00Z", &after);
        json!({
            "query": format!("query($range: TimeRange!) {{ {} }}", field(&phones, "$range")),
            "variables": { "range": { "between": { "start": starts[0], "end": end } } },
        })
        .to_string()
    }

    /// The phones with the most rows, and the starts of all their rows in order.
    fn rows(&self, size: Size) -> (Vec<&String>, Vec<&String>) {
        let mut busiest: Vec<_> = self.starts.iter().collect();
        busiest.sort_by_key(|(_, starts)| std::cmp::Reverse(starts.len()));
        busiest.truncate(size.extent().1);
        let mut starts: Vec<_> = busiest.iter().flat_map(|(_, starts)| starts.iter()).collect();
        starts.sort_unstable();
        (busiest.into_iter().map(|(phone, _)| phone).collect(), starts)
    }

    /// Runs an operation as the HTTP layer does.
    pub(crate) fn run(&self, bound: Bound) -> Answer {
        self.runtime.block_on(self.app.gateway().run(Caller::Anonymous, bound, &HashMap::new(), Arc::default()))
    }

    /// Reads and runs a query.
    pub(crate) fn execute(&self, request: Request) -> Answer {
        self.runtime.block_on(self.app.gateway().execute(Caller::Anonymous, request))
    }

    /// What answers requests.
    pub(crate) fn gateway(&self) -> &Gateway {
        self.app.gateway()
    }

    /// One request through everything but the socket; the length of its answer.
    pub(crate) fn post(&self, body: String) -> usize {
        let request = axum::http::Request::post("/graphql")
            .header("host", "localhost")
            .header("content-type", "application/json")
            .header("accept", "application/json");
        let request = self.key.iter().fold(request, |request, key| request.header("authorization", *key));
        let request = request.body(Body::from(body)).expect("a request");
        self.runtime.block_on(async {
            let response = self.site.clone().oneshot(request).await.expect("the site does not fail");
            assert_eq!(response.status(), 200);
            // As a socket takes it: piece by piece, and nothing is put together.
            let (mut body, mut length) = (response.into_body(), 0);
            while let Some(frame) = body.frame().await {
                length += frame.expect("a body").data_ref().map_or(0, Bytes::len);
            }
            length
        })
    }

    fn data(&self, query: &str) -> Value {
        // The runtime's own task waits for others here, as it would behind a connection.
        let (gateway, request) = (self.gateway().clone(), Request::new(query));
        let work = async move { gateway.execute(Caller::Anonymous, request).await };
        let answer = self.runtime.block_on(async { tokio::spawn(work).await.expect("no panic") });
        assert!(answer.errors().is_empty(), "{query}: {:?}", answer.errors());
        serde_json::from_slice::<Value>(&answer.to_json()).expect("JSON")["data"].take()
    }
}

/// The first day that other channels hold.
const FIRST_DAY: &str = "2020-07-01T00:00:00Z";
const DAYS_A_CHANNEL: u32 = 2_000;

/// The body of a request.
pub(crate) fn body(query: &str) -> String {
    json!({ "query": query }).to_string()
}

fn field(phones: &[&String], range: &str) -> String {
    format!(
        "phoneNumberMetrics(custSpaceId: {CHANNEL:?}, phoneNumbers: {phones:?}, granularity: HALF_HOUR, \
         first: 20000, range: {range}) {{ nodes {{ phoneNumber start end sentCount deliveredCount finality }} }}"
    )
}
