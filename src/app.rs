//! The composition root: config, clock and transport in, a running gateway out. The only file that names all concrete
//! types; it must run inside a tokio runtime.

mod changing;

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::{ExposeSecret, SecretString};

pub use changing::{Changed, Changing};
use changing::{answer_bytes, limits};

use crate::access::{Access, AccessError};
use crate::archive::{self, ArchiveError, ArchiveErrorKind, Writer};
use crate::config::{Config, watch};
use crate::domain::{
    Account, AppId, ArchiveKey, Archived, ChannelId, Clock, Facts, Mask, Operation, Sent, Slice, Vendor,
};
use crate::fast::FastPath;
use crate::loader::Stores;
use crate::planner::{Command, Peers, Scheduler, SliceCache};
use crate::query::collect::Series;
use crate::query::zone::zone_of_days;
use crate::query::{Catalog, CatalogApp, CatalogChannel, Service};
use crate::quota::agent::LeaseClient;
use crate::quota::lease::Terms;
use crate::quota::state_file::{StateFile, StateFileError};
use crate::quota::{Call, Limiter, Metered, Rule};
use crate::redis::{Redis, RedisError};
use crate::schema::Gateway;
use crate::store::lifetime::Lifetimes;
use crate::store::{ArchivedSlices, Keeping, Memory, SharedAnswers, SliceArchive, Store, ZoneOf};
use crate::telemetry::meters::{Meters, MetersError};
use crate::telemetry::traces::{Traces, TracesError};
use crate::vendor::alibaba_cams::PhoneNumberMetrics;
use crate::vendor::alibaba_cams::config::Template;
use crate::vendor::endpoint::EndpointError;
use crate::vendor::quotas::Quotas;
use crate::vendor::transport::Transport;
use crate::vendor::{alibaba_cams, volcengine_rtc};
use crate::watch::{Collector, Watch, Watched};

/// What a gateway stands on, beside its config.
pub struct Runtime {
    /// Tells the time of day.
    pub clock: Arc<dyn Clock>,
    /// The way out to both vendors.
    pub transport: Arc<dyn Transport>,
    /// How permits are carried over a restart.
    pub start: Start,
}

/// How permits are carried over a restart.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Start {
    /// By a state file per account in this folder: all permits are out at first, and nobody else may use the account.
    StateFiles(PathBuf),
    /// All permits are out for this long at first; nothing is kept.
    Hold(Duration),
    /// All permits are there: before the embedded simulator, which counts from its own start.
    Free,
}

/// A running gateway and what has to be put away when it ends.
#[derive(Debug)]
pub struct App {
    gateway: Gateway,
    accounts: Vec<(StateFile, Vec<Limiter>)>,
    leased: Vec<Limiter>,
    archive: Option<Writer>,
    watch: Option<Watch>,
    access: Arc<Access>,
    traces: Option<Arc<Traces>>,
}

/// How long an ordinary stop goes on writing to the archive.
const LAST_WRITES: Duration = Duration::from_secs(30);

/// Why a config does not become a gateway.
#[derive(Debug, thiserror::Error)]
pub enum BuildError {
    /// An endpoint that cannot be used.
    #[error("`endpoint`: {0}")]
    Endpoint(#[from] EndpointError),
    /// An account that cannot be taken.
    #[error(transparent)]
    StateFile(#[from] StateFileError),
    /// A Redis that cannot be used.
    #[error(transparent)]
    Redis(#[from] RedisError),
    /// An archive that cannot be used.
    #[error(transparent)]
    Archive(#[from] ArchiveError),
    /// Nobody can be let in.
    #[error(transparent)]
    Access(#[from] AccessError),
    /// Nothing to count with.
    #[error("metrics: {0}")]
    Meters(#[from] MetersError),
    /// No way to a collector.
    #[error(transparent)]
    Traces(#[from] TracesError),
    /// A time zone that nobody knows.
    #[error("unknown time zone `{0}`; use an IANA name such as Asia/Shanghai")]
    TimeZone(String),
}

impl App {
    /// Builds the gateway of `config`.
    ///
    /// # Errors
    /// An endpoint, a time zone or a state file that cannot be used; [`Config::load`] has checked the first two.
    pub fn build(config: &Config, runtime: &Runtime) -> Result<Self, BuildError> {
        let meters = Meters::new(runtime.clock.now())?;
        let link = config.shared.redis().map(Redis::new).transpose()?;
        let catalog = Arc::new(catalog(config)?);
        let archive = config.archive.url().map(|url| archive::open(url.expose_secret(), &config.archive.reader));
        let archive = archive.transpose()?.map(Writer::new);
        let others = link.clone();
        let permits = Permits::new(config, runtime, link);
        let watched: Arc<[Watched]> = watched(config, &catalog).into();
        let (own_catalog, own_watched) = (Arc::clone(&catalog), Arc::clone(&watched));
        let mut parts = Parts {
            config,
            runtime,
            permits,
            catalog: own_catalog,
            archive: archive.clone(),
            watched: own_watched,
            meters: Arc::clone(&meters),
        };
        let stores = Arc::new(parts.stores()?);
        let service = Service::new(stores, catalog, Arc::clone(&runtime.clock), limits(config), meters);
        let traces = config.telemetry.otlp().map(|url| Traces::new(url, Arc::clone(&runtime.clock))).transpose()?;
        let service = service.archiving(archive.clone()).traced(traces.clone()).masking(mask(config));
        let access = Arc::new(Access::new(config, Arc::clone(&runtime.clock))?);
        if let Some(link) = &others {
            access.share(link.clone());
        }
        let watch = archive.clone().map(|writer| {
            // An archive of our own cannot tell others that we collect.
            let link = others.filter(|_| config.archive.file().is_some());
            let lead = Collector::new(Arc::clone(writer.archive()), link);
            Watch::new(service.clone(), watched, writer, Arc::new(lead))
        });
        let gateway = Gateway::new(service, fast_path(config)).with_answer_bytes(answer_bytes(config));
        let leased = parts.permits.leased();
        Ok(Self { gateway, accounts: parts.permits.into_accounts(), leased, archive, watch, access, traces })
    }

    /// What answers requests.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Who is let in.
    #[must_use]
    pub fn access(&self) -> &Arc<Access> {
        &self.access
    }

    /// What of the config can change while requests are answered.
    #[must_use]
    pub fn changing(&self) -> Changing {
        Changing { gateway: self.gateway.clone(), access: Arc::clone(&self.access) }
    }

    /// What collects what is watched, if there is an archive to keep it.
    #[must_use]
    pub fn watch(&self) -> Option<&Watch> {
        self.watch.as_ref()
    }

    /// What writes to the archive, if there is one.
    #[must_use]
    pub fn archive(&self) -> Option<&Writer> {
        self.archive.as_ref()
    }

    /// Sees that what the config names can be used, as far as that takes asking: the archive. One that is not there now may
    /// come later.
    ///
    /// # Errors
    /// An archive that must not be used as it is.
    pub async fn prepare(&self) -> Result<(), BuildError> {
        let Some(writer) = &self.archive else { return Ok(()) };
        match writer.archive().prepare().await {
            Err(error) if error.kind == ArchiveErrorKind::Unavailable => {
                tracing::error!(%error, "vendors are asked until it is there");
                Ok(())
            }
            prepared => Ok(prepared?),
        }
    }

    /// Notes for each account whether every call is known to have been counted, and lets the accounts go; permits that
    /// are shared with replicas go back first, which takes as long as they are held. To be called when no request runs
    /// any more.
    pub async fn end(self) {
        if let Some(writer) = &self.archive {
            writer.finish(LAST_WRITES).await;
        }
        if let Some(traces) = self.traces.clone() {
            drop(tokio::task::spawn_blocking(move || traces.end()).await);
        }
        futures_util::future::join_all(self.leased.iter().map(Limiter::all_given_back)).await;
        for (file, limiters) in self.accounts {
            if limiters.iter().all(Limiter::is_proven)
                && let Err(error) = file.end_cleanly()
            {
                tracing::warn!(%error, "the state file was not written; the next start waits a little longer");
            }
        }
    }
}

/// What is made of the config, account by account.
struct Parts<'a> {
    config: &'a Config,
    runtime: &'a Runtime,
    permits: Permits<'a>,
    catalog: Arc<Catalog>,
    archive: Option<Writer>,
    watched: Arc<[Watched]>,
    meters: Arc<Meters>,
}

impl Parts<'_> {
    /// A line for each operation: where a new one is registered.
    fn stores(&mut self) -> Result<Stores, BuildError> {
        let Config { alibaba_cams: cams, volcengine_rtc: rtc, .. } = self.config;
        let mut clients = Vec::new();
        for entry in cams {
            let (account, (transport, clock)) = (entry.account()?, self.way_out());
            let client = alibaba_cams::Client::new(entry, account.clone(), transport, clock)?;
            clients.push((account, &entry.quota, Arc::new(client)));
        }
        let mut enable = HashMap::new();
        for (account, quota, client) in &clients {
            let facts = &alibaba_cams::enable_whatsapp_roi::FACTS;
            let limiter = self.limiter(account, facts, quota)?;
            let metered = Metered::new(alibaba_cams::EnableClient(Arc::clone(client)), limiter, account.vendor());
            let metered = metered.counted(self.meters.calls(account, facts.operation));
            enable.insert(account.clone(), Command::new(metered, account.clone(), facts.operation));
        }
        let stores = Stores::new(enable, Arc::clone(&self.meters))
            .with(self.phone_numbers(&clients)?)
            .with(self.counts::<alibaba_cams::Templates>(&clients)?);

        let settle = self.config.cache.settle.of(Vendor::VolcengineRtc);
        let distributions = Arc::new(volcengine_rtc::OperationDistributions::new(settle));
        let mut callers = Vec::new();
        for entry in rtc {
            let (account, (transport, clock)) = (entry.account()?, self.way_out());
            let learned = Arc::clone(&distributions);
            let client = volcengine_rtc::Client::new(entry, account.clone(), transport, clock, learned)?;
            callers.push((account, &entry.quota, client));
        }
        let memory = self.watched_memory(&distributions);
        let catalog = Arc::clone(&self.catalog);
        let zone_of: ZoneOf = Arc::new(move |key| catalog.app_of(key).map(|app| app.zone.clone()));
        let archive = self.archived(&distributions, &memory, zone_of);
        Ok(stores.with(self.store(&distributions, memory, archive, callers)?))
    }

    /// The store of message counts, whose rows are archived.
    fn phone_numbers(&mut self, clients: &[CamsClient<'_>]) -> Result<Store<PhoneNumberMetrics>, BuildError> {
        let operation = Arc::new(PhoneNumberMetrics::new(self.config.cache.settle.of(Vendor::AlibabaCams)));
        let memory = self.watched_memory(&operation);
        let (catalog, learned) = (Arc::clone(&self.catalog), Arc::clone(&operation));
        let zone_of: ZoneOf =
            Arc::new(move |key| catalog.channel_of(key).and_then(|channel| zone_of_days(channel, &learned)));
        let archive = self.archived(&operation, &memory, zone_of);
        let callers = callers(&operation, clients);
        self.store(&operation, memory, archive, callers)
    }

    /// The store of an operation that counts by buckets.
    fn counts<C: alibaba_cams::Counts>(
        &mut self,
        clients: &[CamsClient<'_>],
    ) -> Result<Store<alibaba_cams::Series<C>>, BuildError> {
        let operation = Arc::new(alibaba_cams::Series::<C>::new(self.config.cache.settle.of(Vendor::AlibabaCams)));
        let (memory, callers) = (Arc::new(self.memory(&operation)), callers(&operation, clients));
        self.store(&operation, memory, None, callers)
    }

    fn memory<O: Operation>(&self, operation: &Arc<O>) -> Memory<O> {
        let bytes = self.config.cache.bytes_of(operation.facts());
        Memory::new(Arc::clone(operation), bytes, lifetimes(self.config))
    }

    /// The memory of an operation whose slices may be fetched again without being asked for.
    fn watched_memory<O: Archived>(&self, operation: &Arc<O>) -> Arc<Memory<O>> {
        let memory = self.memory(operation);
        if self.watched.is_empty() {
            return Arc::new(memory);
        }
        let watched = Arc::clone(&self.watched);
        let every = move |subject: &O::Subject, window| {
            let key = O::archive_key(subject);
            let own = watched.iter().filter(|own| own.series.is_of(&key, window));
            own.map(|own| own.every).filter(|every| !every.is_zero()).min()
        };
        Arc::new(memory.refetched_every(Box::new(every)))
    }

    /// The archive of an operation, if there is one.
    fn archived<O: Archived>(
        &self,
        operation: &Arc<O>,
        memory: &Arc<Memory<O>>,
        zone_of: ZoneOf,
    ) -> Option<Arc<dyn SliceArchive<O>>> {
        let writer = self.archive.clone()?;
        let (operation, memory) = (Arc::clone(operation), Arc::clone(memory));
        let watched = Arc::clone(&self.watched);
        // Of one phone number alone only what is final is kept.
        let is_watched = move |key: &ArchiveKey, window| {
            watched
                .iter()
                .any(|own| !own.every.is_zero() && own.series.is_of(key, window) && own.series.is_whole(window))
        };
        Some(Arc::new(ArchivedSlices::new(writer, operation, memory, zone_of, Arc::new(is_watched))))
    }

    /// The store of an operation: with a scheduler for each account that calls it.
    fn store<'q, O, C>(
        &mut self,
        operation: &Arc<O>,
        memory: Arc<Memory<O>>,
        archive: Option<Arc<dyn SliceArchive<O>>>,
        callers: impl IntoIterator<Item = (Account, &'q Quotas, C)>,
    ) -> Result<Store<O>, BuildError>
    where
        O: Operation,
        C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
    {
        let (config, facts) = (self.config, operation.facts());
        let shared = self.permits.answers(config, operation, &memory, archive.as_ref());
        let cache: Arc<dyn SliceCache<O>> = match &archive {
            Some(archive) => Arc::new(Keeping::new(Arc::clone(&memory), Arc::clone(archive))),
            None => Arc::clone(&memory) as Arc<dyn SliceCache<O>>,
        };
        let meter = self.meters.slices(facts.operation);
        let mut schedulers = HashMap::new();
        for (account, quota, client) in callers {
            let metered = Metered::new(client, self.limiter(&account, facts, quota)?, account.vendor());
            let metered = metered.counted(self.meters.calls(&account, facts.operation));
            let (peers, max_rows) = (peers(shared.as_ref()), u64::from(config.upstream.max_rows));
            let (cache, operation) = (Arc::clone(&cache), Arc::clone(operation));
            let meter = meter.clone();
            let scheduler = Scheduler::new(peers, operation, metered, cache, account.clone(), max_rows, meter);
            schedulers.insert(account, scheduler);
        }
        let store = Store::new(Arc::clone(operation), memory, schedulers).sharing(shared).archiving(archive);
        Ok(store.counted(meter))
    }

    fn limiter(&mut self, account: &Account, facts: &Facts, quota: &Quotas) -> Result<Limiter, BuildError> {
        self.permits.limiter(account, facts.operation, quota.of(facts.operation))
    }

    fn way_out(&self) -> (Arc<dyn Transport>, Arc<dyn Clock>) {
        (Arc::clone(&self.runtime.transport), Arc::clone(&self.runtime.clock))
    }
}

/// An account of Alibaba Cloud, its quotas, and what calls for it.
type CamsClient<'a> = (Account, &'a Quotas, Arc<alibaba_cams::Client>);

/// What is collected, series by series.
fn watched(config: &Config, catalog: &Catalog) -> Vec<Watched> {
    let mut watched = Vec::new();
    for watch in &config.watch {
        let is_named = |named: &[String], id: Option<&str>| {
            named.is_empty() || id.is_some_and(|id| named.iter().any(|named| named == id))
        };
        let series: Vec<Series> = match watch.dataset {
            watch::Watched::PhoneNumberMetrics => {
                let channels = catalog.channels.iter();
                let own =
                    channels.filter(|channel| is_named(&watch.channels, channel.id.as_ref().map(ChannelId::as_str)));
                let granularity = watch.granularity.into();
                own.map(|channel| Series::Messages { channel: channel.clone(), granularity }).collect()
            }
            watch::Watched::OperationDistributions => {
                let own = catalog.apps.iter().filter(|app| is_named(&watch.apps, Some(app.id.as_str())));
                let (dimension, window) = (watch.dimension.into(), watch.window);
                own.map(|app| Series::Users { app: app.clone(), dimension, window }).collect()
            }
        };
        watched.extend(series.into_iter().map(|series| Watched { series, since: watch.since, every: watch.every }));
    }
    watched
}

/// What calls an operation that counts by buckets, account by account.
fn callers<'c, C: alibaba_cams::Counts>(
    operation: &Arc<alibaba_cams::Series<C>>,
    clients: &'c [CamsClient<'c>],
) -> Vec<(Account, &'c Quotas, alibaba_cams::SeriesClient<C>)> {
    let caller = |(account, quota, client): &CamsClient<'c>| {
        (account.clone(), *quota, alibaba_cams::SeriesClient::new(Arc::clone(client), Arc::clone(operation)))
    };
    clients.iter().map(caller).collect()
}

/// What the config names.
fn catalog(config: &Config) -> Result<Catalog, BuildError> {
    let mut catalog = Catalog::default();
    for entry in &config.alibaba_cams {
        let account = entry.account()?;
        let zone = if entry.time_zone.is_empty() { None } else { Some(time_zone(&entry.time_zone)?) };
        let ids = entry.channels.iter().map(|id| Some(ChannelId::new(id)));
        let nameless = entry.channels.is_empty().then_some(None);
        catalog.channels.extend(ids.chain(nameless).map(|id| {
            let own = id.as_ref().map_or("", ChannelId::as_str);
            let templates = entry.templates.iter().filter(|template| template.channel == own);
            let templates = templates.map(|template| template.code.clone()).collect();
            CatalogChannel { id, account: account.clone(), templates, zone: zone.clone(), warned: Arc::default() }
        }));
        catalog.accounts.push(account);
    }
    for entry in &config.volcengine_rtc {
        let account = entry.account()?;
        let zone = time_zone(&entry.time_zone)?;
        catalog.apps.extend(entry.apps.iter().map(|id| CatalogApp {
            id: AppId::new(id),
            account: account.clone(),
            zone: zone.clone(),
        }));
        catalog.accounts.push(account);
    }
    Ok(catalog)
}

/// Names masked phone numbers by the vendors' secrets: replicas have the same, and no caller has one of them.
fn mask(config: &Config) -> Mask {
    let secrets = config.entries().map(|entry| entry.access_key_secret.expose_secret().to_owned());
    let mut secrets: Vec<_> = secrets.collect();
    secrets.sort();
    Mask::new(format!("weir phone numbers\n{}", secrets.join("\n")).as_bytes())
}

fn time_zone(name: &str) -> Result<TimeZone, BuildError> {
    TimeZone::get(name).map_err(|_| BuildError::TimeZone(name.to_owned()))
}

fn peers<O: Operation>(shared: Option<&Arc<SharedAnswers<O>>>) -> Option<Arc<dyn Peers<O>>> {
    shared.map(|shared| Arc::clone(shared) as Arc<dyn Peers<O>>)
}

/// The one place that reads the switch.
fn fast_path(config: &Config) -> FastPath {
    if !config.http.fast_path {
        return FastPath::OFF;
    }
    let (answer_bytes, document_bytes) = (config.cache.answer_bytes(), config.cache.document_bytes());
    FastPath { raw_lists: true, answer_bytes, document_bytes }
}

fn lifetimes(config: &Config) -> Lifetimes {
    Lifetimes {
        provisional_ttl: config.cache.provisional_ttl,
        max_stale: config.cache.max_stale,
        stale_while_refresh: config.cache.stale_while_refresh,
    }
}

/// Permits by account identity: entries with one identity share them, at the lower of their limits.
struct Permits<'a> {
    runtime: &'a Runtime,
    guard: Duration,
    /// Where permits are shared with replicas; it knows what was out when this process began.
    shared: Option<(Redis, Terms)>,
    limits: HashMap<(String, &'static str), u32>,
    files: HashMap<String, (StateFile, Duration)>,
    limiters: HashMap<(String, &'static str), Limiter>,
}

impl<'a> Permits<'a> {
    fn new(config: &Config, runtime: &'a Runtime, link: Option<Redis>) -> Self {
        let mut limits: HashMap<(String, &'static str), u32> = HashMap::new();
        for entry in config.entries() {
            // An endpoint that cannot be used is reported where the account is built.
            let Some(account) = entry.account() else { continue };
            for quota in entry.quotas() {
                let known = limits.entry((account.quota_identity().to_owned(), quota.operation));
                let lowest = known.or_insert(quota.configured);
                *lowest = quota.configured.min(*lowest);
            }
        }
        let guard = config.upstream.guard;
        let shared = link.map(|link| (link, config.terms()));
        Self { runtime, guard, shared, limits, files: HashMap::new(), limiters: HashMap::new() }
    }

    /// What replicas share of the answers of an operation, if they share anything.
    fn answers<O: Operation>(
        &self,
        config: &Config,
        operation: &Arc<O>,
        memory: &Arc<Memory<O>>,
        archive: Option<&Arc<dyn SliceArchive<O>>>,
    ) -> Option<Arc<SharedAnswers<O>>> {
        let (link, _) = self.shared.as_ref()?;
        let longest_call = config.upstream.connect_timeout + config.upstream.timeout;
        let clock = Arc::clone(&self.runtime.clock);
        let (operation, memory) = (Arc::clone(operation), Arc::clone(memory));
        let shared = SharedAnswers::new(link.clone(), operation, memory, clock, longest_call);
        Some(Arc::new(shared.archiving(archive.cloned())))
    }

    fn limiter(&mut self, account: &Account, operation: &'static str, limit: u32) -> Result<Limiter, BuildError> {
        let key = (account.quota_identity().to_owned(), operation);
        if let Some(limiter) = self.limiters.get(&key) {
            return Ok(limiter.clone());
        }
        let permits = self.limits.get(&key).copied().unwrap_or(limit);
        let rule = Rule::per_second(permits, self.guard);
        if let Some((link, terms)) = &self.shared {
            let limiter = Limiter::leased(rule, LeaseClient::new(link.clone(), account, operation, *terms));
            self.limiters.insert(key, limiter.clone());
            return Ok(limiter);
        }
        let hold = match &self.runtime.start {
            Start::Free => None,
            Start::Hold(hold) => Some(*hold),
            Start::StateFiles(dir) => Some(if let Some((_, hold)) = self.files.get(&key.0) {
                *hold
            } else {
                let file = StateFile::take(dir, account)?;
                let hold = file.start_hold(self.guard);
                self.files.insert(key.0.clone(), (file, hold));
                hold
            }),
        };
        let limiter = Limiter::new(rule, hold);
        self.limiters.insert(key, limiter.clone());
        Ok(limiter)
    }

    fn leased(&self) -> Vec<Limiter> {
        if self.shared.is_some() { self.limiters.values().cloned().collect() } else { Vec::new() }
    }

    fn into_accounts(self) -> Vec<(StateFile, Vec<Limiter>)> {
        let Self { files, limiters, .. } = self;
        let of = |identity: &str| {
            limiters.iter().filter(|((known, _), _)| known == identity).map(|(_, limiter)| limiter.clone()).collect()
        };
        files.into_iter().map(|(identity, (file, _))| (file, of(&identity))).collect()
    }
}

/// The config of `weir demo`: one account of each vendor, as the embedded simulator knows them.
#[must_use]
pub fn demo_config() -> Config {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let cams = alibaba_cams::Config {
        name: "retail".to_owned(),
        endpoint: "http://127.0.0.1:9090".to_owned(),
        access_key_id: secret("weir-demo"),
        access_key_secret: secret("weir-demo-secret"),
        security_token: SecretString::default(),
        quota_account: String::new(),
        channels: ["alpha", "beta", "gamma", "delta", "epsilon"].map(|name| format!("cams-{name}")).to_vec(),
        templates: ["welcome", "order_shipped"]
            .map(|code| Template { channel: "cams-alpha".to_owned(), code: code.to_owned() })
            .to_vec(),
        time_zone: String::new(),
        isv_code: String::new(),
        quota: alibaba_cams::config::published(),
    };
    let rtc = volcengine_rtc::Config {
        name: "calls".to_owned(),
        endpoint: "http://127.0.0.1:9090".to_owned(),
        region: "cn-north-1".to_owned(),
        version: "2020-12-01".to_owned(),
        time_zone: "Asia/Shanghai".to_owned(),
        access_key_id: secret("weir-demo"),
        access_key_secret: secret("weir-demo-secret"),
        security_token: SecretString::default(),
        quota_account: String::new(),
        apps: ["one", "two"].map(|name| format!("app-{name}")).to_vec(),
        quota: volcengine_rtc::config::published(),
    };
    Config { alibaba_cams: vec![cams], volcengine_rtc: vec![rtc], ..Config::default() }
}
