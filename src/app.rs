//! The composition root: config, clock and transport in, a running gateway out. The only file that names all concrete
//! types; it must run inside a tokio runtime.

use std::collections::HashMap;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use jiff::tz::TimeZone;
use secrecy::SecretString;

use crate::config::Config;
use crate::domain::{Account, AppId, ChannelId, Clock, Operation, Vendor};
use crate::link::{Link, LinkError};
use crate::loader::{DistributionStore, MetricStore, Stores};
use crate::planner::{Command, Peers, Scheduler, SliceCache};
use crate::query::{Catalog, CatalogApp, CatalogChannel, Service, Waits};
use crate::quota::agent::Lessor;
use crate::quota::lease::Terms;
use crate::quota::state_file::{StateFile, StateFileError};
use crate::quota::{Limiter, Metered, Rule};
use crate::schema::Gateway;
use crate::store::lifetime::Lifetimes;
use crate::store::{Memory, SharedAnswers, Store};
use crate::vendor::endpoint::EndpointError;
use crate::vendor::transport::Transport;
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// What a gateway stands on, beside its config.
pub struct Ground {
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
}

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
    Link(#[from] LinkError),
    /// A time zone that nobody knows.
    #[error("unknown time zone `{0}`; use an IANA name such as Asia/Shanghai")]
    TimeZone(String),
}

impl App {
    /// Builds the gateway of `config`.
    ///
    /// # Errors
    /// An endpoint, a time zone or a state file that cannot be used; [`Config::load`] has checked the first two.
    pub fn build(config: &Config, ground: &Ground) -> Result<Self, BuildError> {
        let link = config.shared.redis().map(Link::new).transpose()?;
        let mut permits = Permits::new(config, ground, link);
        let mut catalog = Catalog::default();
        let (metrics, enable) = metrics(config, ground, &mut permits, &mut catalog)?;
        let distributions = distributions(config, ground, &mut permits, &mut catalog)?;
        let stores = Arc::new(Stores::new(metrics, distributions, enable));
        let waits = Waits { max_wait: config.queue.max_wait, timeout: config.upstream.timeout };
        let service = Service::new(stores, Arc::new(catalog), Arc::clone(&ground.clock), waits)
            .with_slices(u64::from(config.limits.slices));
        let gateway =
            Gateway::new(service).with_answer_bytes(usize::try_from(config.limits.answer_bytes).unwrap_or(usize::MAX));
        let leased = permits.leased();
        Ok(Self { gateway, accounts: permits.into_accounts(), leased })
    }

    /// What answers requests.
    #[must_use]
    pub fn gateway(&self) -> &Gateway {
        &self.gateway
    }

    /// Notes for each account whether every call is known to have been counted, and lets the accounts go; permits that
    /// are shared with replicas go back first, which takes as long as they are held. To be called when no request runs
    /// any more.
    pub async fn end(self) {
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

type MetricParts = (Arc<MetricStore>, HashMap<Account, Command<alibaba_cams::EnableClient>>);

fn metrics(
    config: &Config,
    ground: &Ground,
    permits: &mut Permits<'_>,
    catalog: &mut Catalog,
) -> Result<MetricParts, BuildError> {
    let operation = Arc::new(alibaba_cams::PhoneNumberMetrics::new(config.cache.settle.of(Vendor::AlibabaCams)));
    let memory = Arc::new(Memory::new(Arc::clone(&operation), config.cache.metric_bytes(), lifetimes(config)));
    let shared = permits.answers(config, &operation, &memory);
    let (mut schedulers, mut enable) = (HashMap::new(), HashMap::new());
    for entry in &config.alibaba_cams {
        let account = entry.account()?;
        let (transport, clock) = (Arc::clone(&ground.transport), Arc::clone(&ground.clock));
        let client = Arc::new(alibaba_cams::Client::new(entry, account.clone(), transport, clock)?);
        let series = alibaba_cams::SeriesClient::new(Arc::clone(&client), Arc::clone(&operation));
        let limiter = permits.limiter(
            &account,
            alibaba_cams::phone_number_metrics::FACTS.operation,
            entry.quota.get_chatapp_phone_number_metric,
        )?;
        let metered = Metered::new(series, limiter, account.vendor());
        let cache = Arc::clone(&memory) as Arc<dyn SliceCache<_>>;
        let (peers, max_rows) = (peers(shared.as_ref()), u64::from(config.upstream.max_rows));
        schedulers.insert(
            account.clone(),
            Scheduler::new(peers, Arc::clone(&operation), metered, cache, account.clone(), max_rows),
        );

        let limiter = permits.limiter(
            &account,
            alibaba_cams::enable_whatsapp_roi::FACTS.operation,
            entry.quota.enable_whatsapp_roi_metric,
        )?;
        let metered = Metered::new(alibaba_cams::EnableClient(client), limiter, account.vendor());
        enable.insert(account.clone(), Command::new(metered, account.clone()));

        let ids = entry.channels.iter().map(|id| Some(ChannelId::new(id)));
        let nameless = entry.channels.is_empty().then_some(None);
        catalog.channels.extend(ids.chain(nameless).map(|id| CatalogChannel { id, account: account.clone() }));
        catalog.accounts.push(account);
    }
    let store = Store::new(operation, memory, schedulers).sharing(shared);
    Ok((Arc::new(store), enable))
}

fn distributions(
    config: &Config,
    ground: &Ground,
    permits: &mut Permits<'_>,
    catalog: &mut Catalog,
) -> Result<Arc<DistributionStore>, BuildError> {
    let settle = config.cache.settle.of(Vendor::VolcengineRtc);
    let operation = Arc::new(volcengine_rtc::OperationDistributions::new(settle));
    let bytes = config.cache.distribution_bytes();
    let memory = Arc::new(Memory::new(Arc::clone(&operation), bytes, lifetimes(config)));
    let shared = permits.answers(config, &operation, &memory);
    let mut schedulers = HashMap::new();
    for entry in &config.volcengine_rtc {
        let account = entry.account()?;
        let (transport, clock) = (Arc::clone(&ground.transport), Arc::clone(&ground.clock));
        let client = volcengine_rtc::Client::new(entry, account.clone(), transport, clock, Arc::clone(&operation))?;
        let limiter = permits.limiter(
            &account,
            volcengine_rtc::operation_distributions::FACTS.operation,
            entry.quota.list_operation_distribution,
        )?;
        let cache = Arc::clone(&memory) as Arc<dyn SliceCache<_>>;
        let metered = Metered::new(client, limiter, account.vendor());
        let (peers, max_rows) = (peers(shared.as_ref()), u64::from(config.upstream.max_rows));
        schedulers.insert(
            account.clone(),
            Scheduler::new(peers, Arc::clone(&operation), metered, cache, account.clone(), max_rows),
        );

        let zone = TimeZone::get(&entry.time_zone).map_err(|_| BuildError::TimeZone(entry.time_zone.clone()))?;
        catalog.apps.extend(entry.apps.iter().map(|id| CatalogApp {
            id: AppId::new(id),
            account: account.clone(),
            zone: zone.clone(),
        }));
        catalog.accounts.push(account);
    }
    Ok(Arc::new(Store::new(operation, memory, schedulers).sharing(shared)))
}

fn peers<O: Operation>(shared: Option<&Arc<SharedAnswers<O>>>) -> Option<Arc<dyn Peers<O>>> {
    shared.map(|shared| Arc::clone(shared) as Arc<dyn Peers<O>>)
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
    ground: &'a Ground,
    guard: Duration,
    /// Where permits are shared with replicas; it knows what was out when this process began.
    shared: Option<(Link, Terms)>,
    limits: HashMap<(String, &'static str), u32>,
    files: HashMap<String, (StateFile, Duration)>,
    limiters: HashMap<(String, &'static str), Limiter>,
}

impl<'a> Permits<'a> {
    fn new(config: &Config, ground: &'a Ground, link: Option<Link>) -> Self {
        let mut limits: HashMap<(String, &'static str), u32> = HashMap::new();
        let mut note = |account: Result<Account, EndpointError>, operation, limit| {
            // An endpoint that cannot be used is reported where the account is built.
            if let Ok(account) = account {
                let known = limits.entry((account.quota_identity().to_owned(), operation)).or_insert(limit);
                *known = limit.min(*known);
            }
        };
        for entry in &config.alibaba_cams {
            note(
                entry.account(),
                alibaba_cams::phone_number_metrics::FACTS.operation,
                entry.quota.get_chatapp_phone_number_metric,
            );
            note(
                entry.account(),
                alibaba_cams::enable_whatsapp_roi::FACTS.operation,
                entry.quota.enable_whatsapp_roi_metric,
            );
        }
        for entry in &config.volcengine_rtc {
            note(
                entry.account(),
                volcengine_rtc::operation_distributions::FACTS.operation,
                entry.quota.list_operation_distribution,
            );
        }
        let guard = config.upstream.guard;
        let shared = link.map(|link| (link, config.terms()));
        Self { ground, guard, shared, limits, files: HashMap::new(), limiters: HashMap::new() }
    }

    /// What replicas share of the answers of an operation, if they share anything.
    fn answers<O: Operation>(
        &self,
        config: &Config,
        operation: &Arc<O>,
        memory: &Arc<Memory<O>>,
    ) -> Option<Arc<SharedAnswers<O>>> {
        let (link, _) = self.shared.as_ref()?;
        let longest_call = config.upstream.connect_timeout + config.upstream.timeout;
        let clock = Arc::clone(&self.ground.clock);
        let (operation, memory) = (Arc::clone(operation), Arc::clone(memory));
        Some(Arc::new(SharedAnswers::new(link.clone(), operation, memory, clock, longest_call)))
    }

    fn limiter(&mut self, account: &Account, operation: &'static str, limit: u32) -> Result<Limiter, BuildError> {
        let key = (account.quota_identity().to_owned(), operation);
        if let Some(limiter) = self.limiters.get(&key) {
            return Ok(limiter.clone());
        }
        let permits = self.limits.get(&key).copied().unwrap_or(limit);
        let rule = Rule::per_second(permits, self.guard);
        if let Some((link, terms)) = &self.shared {
            let limiter = Limiter::leased(rule, Lessor::new(link.clone(), account, operation, *terms));
            self.limiters.insert(key, limiter.clone());
            return Ok(limiter);
        }
        let hold = match &self.ground.start {
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
        isv_code: String::new(),
        quota: alibaba_cams::config::QuotaConfig::default(),
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
        quota: volcengine_rtc::config::QuotaConfig::default(),
    };
    Config { alibaba_cams: vec![cams], volcengine_rtc: vec![rtc], ..Config::default() }
}
