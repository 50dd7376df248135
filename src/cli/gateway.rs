//! What the commands share that ask a gateway of their own: a gateway made of a config, and its end.

use std::sync::Arc;
use std::time::Duration;

use super::Failure;
use super::stop::{Hangups, Prepared, Reload, until_told};
use crate::app::{App, BuildError, Changing, Runtime, Start};
use crate::archive::ArchiveErrorKind;
use crate::config::Config;
use crate::domain::SystemClock;
use crate::http::{self, Door, HttpConfig, Tls};
use crate::telemetry;
use crate::vendor::transport::HttpTransport;

/// The longest reply that is read: `upstream.max_rows` rows of the vendors' JSON and a good margin.
const MAX_REPLY_BYTES: usize = 64 << 20;

/// A gateway in front of the endpoints that the config names; it takes their accounts.
pub(super) fn build(config: &Config) -> Result<App, Failure> {
    try_build(config).map_err(Failure::from)
}

/// The same, telling why not.
pub(super) fn try_build(config: &Config) -> Result<App, Refused> {
    let upstream = &config.upstream;
    let transport = HttpTransport::new(upstream.connect_timeout, upstream.timeout, upstream.guard, MAX_REPLY_BYTES)
        .map_err(|error| Refused::Transport(error.to_string()))?;
    let runtime = Runtime {
        clock: Arc::new(SystemClock),
        transport: Arc::new(transport),
        start: Start::StateFiles(config.state_dir.clone()),
    };
    App::build(config, &runtime).map_err(Refused::Build)
}

/// Why there is no gateway.
#[derive(Debug)]
pub(super) enum Refused {
    /// No way out.
    Transport(String),
    /// What the config names cannot be used.
    Build(BuildError),
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused {
            Refused::Transport(problem) => Self::failed(problem),
            Refused::Build(error) => error.into(),
        }
    }
}

/// How the config has callers spoken to: in TLS, or not.
///
/// # Errors
/// Files that do not do: a wrong config (2).
pub(super) fn tls(config: &Config) -> Result<Option<Arc<Tls>>, Failure> {
    let opened = config.http.tls.named().map(|(certificate, key)| Tls::open(certificate, key));
    opened.transpose().map(|tls| tls.map(Arc::new)).map_err(|error| Failure::usage(error.to_string()))
}

/// Reads the config; says what is wrong with it.
type Read = Box<dyn Fn() -> Result<Config, String> + Send + Sync>;

/// Reads the config again, at each SIGHUP that is heard.
pub(super) struct Reread {
    pub(super) hangups: Hangups,
    pub(super) read: Read,
}

/// Keys, limits and the log's level, as they are in the config when SIGHUP comes.
fn of_config(read: Read, changing: Changing, site: http::Site) -> Reload {
    let parts = Arc::new((changing, site));
    let prepare = move || {
        let config = read()?;
        let parts = Arc::clone(&parts);
        let changed = parts.0.read(&config).map_err(|error| error.to_string())?;
        Ok(Box::new(move || {
            let (changing, site) = &*parts;
            changing.put(changed);
            site.set_bounds(&bounds(&config));
            telemetry::set_level(config.log.level);
        }) as Prepared)
    };
    Reload { what: "keys, limits, log level", prepare: Box::new(prepare) }
}

/// The certificate and its key, as they are in their files when SIGHUP comes.
fn of_certificate(tls: Arc<Tls>) -> Reload {
    let prepare = move || {
        let certified = tls.prepare().map_err(|error| error.to_string())?;
        let tls = Arc::clone(&tls);
        Ok(Box::new(move || tls.put(certified)) as Prepared)
    };
    Reload { what: "certificate", prepare: Box::new(prepare) }
}

/// What requests are bounded by.
fn bounds(config: &Config) -> http::Bounds {
    let bytes = |size: u64| usize::try_from(size).unwrap_or(usize::MAX);
    let limits = &config.limits;
    http::Bounds {
        limits: limits.of_documents(),
        held_bodies: bytes(limits.held_body_bytes),
        held_answers: bytes(limits.held_answer_bytes),
        requests: limits.requests as usize,
        requests_per_caller: limits.requests_per_caller as usize,
    }
}

/// Serves `app` at `door` until the process is told to stop. With `reread`, SIGHUP has the config and the certificate read
/// again; without, it ends the process as it ends any.
///
/// # Errors
/// The process was told a second time, and did not wait for requests in progress.
pub(super) async fn serve(
    app: App,
    config: &Config,
    door: impl Into<Door>,
    reread: Option<Reread>,
) -> Result<(), Failure> {
    let door = door.into();
    app.prepare().await?;
    let mut hosts = config.http.hosts.clone();
    // The address itself is a name that nobody else can be reached under.
    hosts.extend(door.listener.local_addr().ok().map(|own| own.to_string()));
    let http::Bounds { limits, held_bodies, held_answers, requests, requests_per_caller } = bounds(config);
    let http = HttpConfig {
        hosts,
        cors_origins: config.http.cors_origins.clone(),
        graphiql: config.graphiql,
        limits,
        slow: config.log.slow,
        max_body: usize::try_from(config.http.max_body).unwrap_or(usize::MAX),
        trusted_proxies: config.http.trusted_proxies.iter().map(|net| net.0).collect(),
        tls: door.tls.clone(),
        held_bodies,
        held_answers,
        requests,
        requests_per_caller,
        ..HttpConfig::default()
    };
    let timeouts = http::Timeouts {
        max_connections: max_connections(config.limits.connections as usize),
        max_per_peer: config.limits.connections_per_peer as usize,
        notice: config.http.stop_notice,
        // As long as the last caller's deadline.
        finish: config.queue.max_wait + config.upstream.timeout + Duration::from_secs(1),
        ..http::Timeouts::default()
    };
    let site = http::Site::new(http, Arc::new(app.gateway().clone()), Arc::clone(app.access()));
    let hangups = reread.map(|Reread { hangups, read }| {
        let certificate = door.tls.clone().map(of_certificate);
        let all = [of_config(read, app.changing(), site.clone())].into_iter().chain(certificate);
        hangups.reload(all.collect())
    });
    let watch = app.watch().cloned();
    until_told(async move |told| {
        let beside = [watch.map(|watch| tokio::spawn(watch.run())), hangups.map(tokio::spawn)];
        http::serve(door, site, timeouts, async move { drop(told.await) }).await;
        for task in beside.into_iter().flatten() {
            task.abort();
        }
        app.end().await;
        Ok(())
    })
    .await
}

/// As many connections as the process may have files open, but for those that it needs itself: for vendors, state files
/// and logs. Raises the soft limit as far as the hard one lets it.
fn max_connections(most: usize) -> usize {
    const OWN: u64 = 256;
    let own = OWN + http::Timeouts::default().max_reserve as u64;
    let files = rlimit::increase_nofile_limit(most as u64 + own).unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(own)).unwrap_or(most).clamp(1, most)
}

impl From<BuildError> for Failure {
    fn from(error: BuildError) -> Self {
        match &error {
            BuildError::Archive(wrong) if wrong.kind == ArchiveErrorKind::Misconfigured => {
                Self::usage(error.to_string())
            }
            _ => Self::failed(error.to_string()),
        }
    }
}
