//! Both vendors' APIs, embedded: the default upstream of `weir demo`, a tool of its own, and the judge of the tests.
//!
//! It promises to be an independent implementation of the vendors' side: own signature checks, strict quotas,
//! vendor-shaped refusals, deterministic data, an arrival log and faults on demand. It refuses what the vendors refuse,
//! and never uses the rooms' signers or wire types. [`Simulator::handle`] is the whole of it; [`transport`] and
//! [`server`] bring requests there, in process and over HTTP.

pub mod alibaba_cams;
mod control;
mod distortion;
mod fault;
mod meter;
mod reply;
pub mod server;
mod side;
mod signature;
pub mod transport;
pub mod volcengine_rtc;
mod world;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use jiff::tz::{Offset, TimeZone};
use tokio::time::Instant;

pub use fault::{Fault, Faults, Scope, Times};
pub use meter::{Arrival, ArrivalOutcome, Counts, Limits, Parameters};
pub use reply::SimOutcome;
pub use server::serve;
pub use signature::{Keys, Nonces, VendorRefusal, Verified};
pub use transport::{Legs, LocalTransport};
pub use world::{CHANNELS, Dimension, Granularity, Row, Selection, TemplateRow, World};

use crate::domain::{Clock, Timestamp};
use fault::Stage;
use meter::{Entry, Meter};
use side::{Incoming, Side};
use signature::{header, query_pairs, value};
use world::{blend, mix};

/// The key that every simulator accepts unless told otherwise.
pub const DEMO_KEY: (&str, &str) = ("weir-demo", "weir-demo-secret");

/// How a simulator behaves.
pub struct SimulatorConfig {
    /// Of all data. The same seed and clock give the same answers.
    pub seed: u64,
    /// The vendors' clock: dates of signatures, and what data has arrived. Never quota windows or delays.
    pub clock: Arc<dyn Clock>,
    /// Another clock by which signatures may be dated as well: where `clock` stands still, clients go by the real one.
    pub signers_clock: Option<Arc<dyn Clock>>,
    /// Accepted access keys, id and secret, for both vendors.
    pub keys: Vec<(String, String)>,
    /// STS tokens by key id: requests with such a key must carry exactly its token. Other keys take any.
    pub tokens: Vec<(String, String)>,
    /// Owners by key id: keys of one owner share quotas. Other keys own themselves.
    pub owners: Vec<(String, String)>,
    /// Where the days of CAMS begin.
    pub bucket_zone: TimeZone,
    /// Which CAMS buckets a range selects.
    pub selection: Selection,
    /// Whether CAMS refuses a range that ends in the future.
    pub refuse_future_end: bool,
    /// Calls a second.
    pub limits: Limits,
    /// Whether a throttle of CAMS says in `x-acs-retry-after` how long to stay away.
    pub throttles_tell_when: bool,
    /// Regions that a Volcengine credential may name.
    pub regions: Vec<String>,
}

impl SimulatorConfig {
    /// The published limits, the demo's key, day buckets at +08:00.
    #[must_use]
    pub fn new(seed: u64, clock: Arc<dyn Clock>) -> Self {
        Self {
            seed,
            clock,
            signers_clock: None,
            keys: vec![(DEMO_KEY.0.to_owned(), DEMO_KEY.1.to_owned())],
            tokens: Vec::new(),
            owners: Vec::new(),
            bucket_zone: Offset::constant(8).to_time_zone(),
            selection: Selection::default(),
            refuse_future_end: false,
            limits: Limits::default(),
            throttles_tell_when: false,
            regions: ["cn-north-1", "ap-southeast-1", "ap-singapore-1"].map(str::to_owned).into(),
        }
    }
}

/// Both vendors' server side.
pub struct Simulator {
    config: SimulatorConfig,
    keys: Keys,
    nonces: Nonces,
    world: World,
    meter: Meter,
    faults: Faults,
    started: Instant,
    served: AtomicU64,
}

/// What an early fault does to a request before it arrives, if it ever does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(in crate::sim) enum Early {
    Refused,
    Reset { arrival: Option<Duration> },
    Status { status: u16, arrival: Duration },
}

impl Simulator {
    /// A simulator without a past.
    #[must_use]
    pub fn new(config: SimulatorConfig) -> Arc<Self> {
        let mut keys = Keys::new(config.keys.iter().map(|(id, secret)| (id.as_str(), secret.as_str())));
        config.tokens.iter().for_each(|(id, token)| keys.require_token(id, token));
        config.owners.iter().for_each(|(id, owner)| keys.set_owner(id, owner));
        let world = World::new(config.seed, config.bucket_zone.clone());
        Arc::new(Self {
            config,
            keys,
            nonces: Nonces::default(),
            world,
            meter: Meter::default(),
            faults: Faults::default(),
            started: Instant::now(),
            served: AtomicU64::new(0),
        })
    }

    /// Takes one request. It arrives, and is counted, when the future is first polled; what is awaited after that is
    /// only the delay of a fault. Early faults are the business of whoever carries the request here.
    pub async fn handle(&self, request: Request<Bytes>) -> SimOutcome {
        let (delay, outcome) = self.arrive(&request);
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        outcome
    }

    /// Takes a request whose client has been told something else already. It meets no other fault: whoever pushed one
    /// means a request that is heard of again.
    pub(in crate::sim) fn take_unheard(&self, request: &Request<Bytes>) {
        let side = side_for(request);
        let (entry, admitted) = self.admit(side, request, &side.read(request), self.now());
        if admitted.is_ok() {
            self.meter.settle(entry, ArrivalOutcome::Faulted);
        }
    }

    /// Every request that arrived, oldest first; of very many the latest 100,000.
    #[must_use]
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.meter.arrivals()
    }

    /// How many requests for an operation arrived, over all accounts and however they ended.
    #[must_use]
    pub fn calls(&self, operation: &str) -> usize {
        self.counts(operation).map(|counts| counts.calls).sum()
    }

    /// How many of them were over the limit.
    #[must_use]
    pub fn throttled(&self, operation: &str) -> usize {
        self.counts(operation).map(|counts| counts.throttled).sum()
    }

    /// The most arrivals of an account's operation in any half-open second, refused and throttled ones included.
    #[must_use]
    pub fn widest_second(&self, account: &str, operation: &str) -> usize {
        self.meter.widest_second(account, operation)
    }

    /// The faults that wait to act.
    #[must_use]
    pub fn faults(&self) -> &Faults {
        &self.faults
    }

    /// The truth.
    #[must_use]
    pub fn world(&self) -> &World {
        &self.world
    }

    /// Forgets arrivals, windows, nonces, faults and which channels were enabled.
    pub fn reset(&self) {
        self.meter.reset();
        self.faults.clear();
        self.nonces.clear();
        self.world.reset();
    }

    /// The early fault that meets a request on its way, once spent.
    fn early(&self, request: &Request<Bytes>) -> Option<Early> {
        let incoming = side_for(request).read(request);
        match self.faults.take(Stage::Early, incoming.vendor, &incoming.operation)? {
            Fault::ConnectRefused => Some(Early::Refused),
            Fault::ResetBeforeArrival => Some(Early::Reset { arrival: None }),
            Fault::ResetEarly(arrival) => Some(Early::Reset { arrival: Some(arrival) }),
            Fault::StatusEarly { status, arrival } => Some(Early::Status { status, arrival }),
            _ => None,
        }
    }

    fn arrive(&self, request: &Request<Bytes>) -> (Duration, SimOutcome) {
        let now = self.now();
        let side = side_for(request);
        let incoming = side.read(request);
        let exchange = reply::Exchange { side, request, request_id: self.request_id() };
        let (entry, admitted) = self.admit(side, request, &incoming, now);
        let verified = match admitted {
            Ok(verified) => verified,
            Err(refusal) => return (Duration::ZERO, exchange.end(Err(refusal), None)),
        };
        let take = |stage| self.faults.take(stage, incoming.vendor, &incoming.operation);
        let delay = take(Stage::Delay).map_or(Duration::ZERO, |fault| self.delay(&fault));
        let fault = take(Stage::Answer);
        let answer = side.answer(self, request, &verified, now);
        let outcome = match (&fault, &answer) {
            (Some(_), _) => ArrivalOutcome::Faulted,
            (None, Ok(_)) => ArrivalOutcome::Answered,
            (None, Err(refusal)) => ArrivalOutcome::Refused(refusal.code.clone()),
        };
        self.meter.settle(entry, outcome);
        (delay, exchange.end(answer, fault))
    }

    /// Checks the signature, then counts: every request stands in the log, a correctly signed one fills its window.
    fn admit(
        &self,
        side: &dyn Side,
        request: &Request<Bytes>,
        incoming: &Incoming,
        now: Timestamp,
    ) -> (Entry, Result<Verified, VendorRefusal>) {
        let signed = self.check(side, request, now);
        let limit = signed
            .as_ref()
            .ok()
            .and_then(|_| side.operation(&incoming.operation))
            .map(|known| self.config.limits.of(known));
        let (entry, window) = self.meter.arrive(self.arrival(incoming), limit);
        if let Err(refusal) = &signed {
            self.meter.settle(entry, ArrivalOutcome::Refused(refusal.code.clone()));
        }
        let told = |room_in| self.config.throttles_tell_when.then_some(room_in);
        (entry, signed.and_then(|verified| window.map(|()| verified).map_err(|room_in| side.throttle(told(room_in)))))
    }

    /// Checks the signature by the vendors' clock; if the date is all that is wrong with it, by the signers' too.
    fn check(&self, side: &dyn Side, request: &Request<Bytes>, now: Timestamp) -> Result<Verified, VendorRefusal> {
        let signed = side.admit(self, request, now);
        match (&signed, &self.config.signers_clock) {
            (Err(refusal), Some(clock)) if side.refusal_of(&Fault::ClockSkew).as_ref() == Some(refusal) => {
                side.admit(self, request, clock.now())
            }
            _ => signed,
        }
    }

    fn arrival(&self, incoming: &Incoming) -> Arrival {
        Arrival {
            at: Instant::now(),
            vendor: incoming.vendor,
            account: self.keys.owner(&incoming.key_id).to_owned(),
            operation: incoming.operation.clone(),
            parameters: incoming.parameters.clone(),
            outcome: ArrivalOutcome::Pending,
        }
    }

    fn delay(&self, fault: &Fault) -> Duration {
        match fault {
            Fault::Latency(delay) => *delay,
            Fault::Jitter(most) => {
                let thousandths = self.next_number() % 1_001;
                most.mul_f64(f64::from(u16::try_from(thousandths).unwrap_or(0)) / 1_000.0)
            }
            _ => Duration::ZERO,
        }
    }

    fn counts(&self, operation: &str) -> impl Iterator<Item = Counts> {
        self.meter.counts().into_iter().filter(move |((_, name), _)| name == operation).map(|(_, counts)| counts)
    }

    /// 32 digits in the shape of the vendors' request ids; different for every reply.
    fn request_id(&self) -> String {
        format!("{:016X}{:016X}", self.next_number(), self.next_number())
    }

    fn next_number(&self) -> u64 {
        mix(blend(self.config.seed, self.served.fetch_add(1, Ordering::Relaxed)))
    }

    fn now(&self) -> Timestamp {
        self.config.clock.now()
    }
}

/// The vendor that a request is for: by what its scheme leaves in headers or query, which all operations show, so that
/// also a request without signature or without name finds its vendor.
fn side_for(request: &Request<Bytes>) -> &'static dyn Side {
    let query = query_pairs(request);
    let is_volcengine = value(&query, "Action")
        .is_some_and(|action| volcengine_rtc::Volcengine.operation(action).is_some())
        || header(request, "x-date").is_some()
        || header(request, "authorization").is_some_and(|text| text.starts_with("HMAC-SHA256"));
    let is_alibaba = request.headers().keys().any(|name| name.as_str().starts_with("x-acs-"))
        || value(&query, "SignatureNonce").is_some();
    if is_volcengine && !is_alibaba { &volcengine_rtc::Volcengine } else { &alibaba_cams::Alibaba }
}

impl std::fmt::Debug for Simulator {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Simulator").field("seed", &self.config.seed).finish_non_exhaustive()
    }
}

#[cfg(test)]
mod server_tests;
#[cfg(test)]
mod testing;
#[cfg(test)]
mod tests;
