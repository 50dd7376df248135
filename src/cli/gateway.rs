//! What the commands share that ask a gateway of their own: a gateway made of a config, and its end.

use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::Failure;
use super::stop::until_told;
use crate::app::{App, BuildError, Runtime, Start};
use crate::archive::ArchiveErrorKind;
use crate::config::Config;
use crate::domain::SystemClock;
use crate::http::{self, HttpConfig};
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

/// Serves `app` on `listener` until the process is told to stop.
///
/// # Errors
/// The process was told a second time, and did not wait for requests in progress.
pub(super) async fn serve(app: App, config: &Config, listener: TcpListener) -> Result<(), Failure> {
    app.prepare().await?;
    let mut hosts = config.http.hosts.clone();
    // The address itself is a name that nobody else can be reached under.
    hosts.extend(listener.local_addr().ok().map(|own| own.to_string()));
    let http = HttpConfig {
        hosts,
        cors_origins: config.http.cors_origins.clone(),
        graphiql: config.graphiql,
        limits: config.limits.of_documents(),
        slow: config.log.slow,
        max_body: usize::try_from(config.http.max_body).unwrap_or(usize::MAX),
        ..HttpConfig::default()
    };
    let timeouts = http::Timeouts {
        max_connections: max_connections(),
        // As long as the last caller's deadline.
        finish: config.queue.max_wait + config.upstream.timeout + Duration::from_secs(1),
        ..http::Timeouts::default()
    };
    let site = http::Site::new(http, Arc::new(app.gateway().clone()), Arc::clone(app.access()));
    let watch = app.watch().cloned();
    until_told(async move |told| {
        let watch = watch.map(|watch| tokio::spawn(watch.run()));
        http::serve(listener, site, timeouts, async move { drop(told.await) }).await;
        if let Some(watch) = watch {
            watch.abort();
        }
        app.end().await;
        Ok(())
    })
    .await
}

/// As many connections as the process may have files open, but for those that it needs itself: for vendors, state files
/// and logs. Raises the soft limit as far as the hard one lets it.
fn max_connections() -> usize {
    const OWN: u64 = 256;
    let most = http::Timeouts::default().max_connections;
    let files = rlimit::increase_nofile_limit(most as u64 + OWN).unwrap_or(u64::MAX);
    usize::try_from(files.saturating_sub(OWN)).unwrap_or(most).clamp(1, most)
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
