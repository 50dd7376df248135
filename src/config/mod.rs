//! The config file: one TOML file, `${VAR}` from the environment, every default in the code.
//!
//! Promises: an unknown or wrong key names itself, its line and how to fix it; all problems of a file are reported
//! together; no secret and no value that came from the environment is ever printed. `weir.example.toml` holds every
//! key. Read on in [`sections`] (keys and defaults) and [`validate`] (what is refused and why).

pub mod access;
mod document;
mod env;
mod problem;
mod quotes;
mod read;
pub mod sections;
pub mod units;
pub mod validate;
pub mod vendors;
pub mod watch;

use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use serde::Deserialize;

pub use access::{Algorithm, ApiKey, Jwt};
pub use env::process_env;
pub use problem::ConfigError;
pub use sections::{Archive, Cache, Graphiql, Http, Limits, Log, Queue, Settle, Shared, Telemetry, TlsFiles, Upstream};

pub use watch::Watch;

use crate::quota::lease::Terms;
use crate::vendor::{alibaba_cams, volcengine_rtc};
use document::Document;

/// Where the gateway listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 8080);

/// Everything that an operator decides. Made by [`Config::load`], or in code from `Config::default()`.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Config {
    /// Where the gateway listens; loopback only, unless keys or tokens are needed.
    #[serde(deserialize_with = "units::listen")]
    pub listen: SocketAddr,
    /// How `/graphiql` gets its assets.
    pub graphiql: Graphiql,
    /// Where the state file of each account is kept. Empty in a file means `$XDG_STATE_HOME/weir`, else
    /// `~/.local/state/weir`; [`Config::parse`] fills it in. Empty in `Config::default()`.
    pub state_dir: PathBuf,
    /// The Alibaba Cloud accounts.
    pub alibaba_cams: Vec<alibaba_cams::Config>,
    /// The Volcengine accounts.
    pub volcengine_rtc: Vec<volcengine_rtc::Config>,
    /// What is kept in memory, and for how long.
    pub cache: Cache,
    /// How long asks wait for permits.
    pub queue: Queue,
    /// The calls to the vendors.
    pub upstream: Upstream,
    /// What replicas on the same accounts share.
    pub shared: Shared,
    /// Where answers are kept for ever.
    pub archive: Archive,
    /// What is collected into the archive without being asked for.
    pub watch: Vec<Watch>,
    /// The gateway's own HTTP side.
    pub http: Http,
    /// What one request may take.
    pub limits: Limits,
    /// What is logged.
    pub log: Log,
    /// Who is told of requests beside the log.
    pub telemetry: Telemetry,
    /// The keys that let somebody in.
    pub api_keys: Vec<ApiKey>,
    /// Whose tokens let somebody in.
    pub jwt: Option<Jwt>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: DEFAULT_LISTEN,
            graphiql: Graphiql::default(),
            state_dir: PathBuf::new(),
            alibaba_cams: Vec::new(),
            volcengine_rtc: Vec::new(),
            cache: Cache::default(),
            queue: Queue::default(),
            upstream: Upstream::default(),
            shared: Shared::default(),
            archive: Archive::default(),
            watch: Vec::new(),
            http: Http::default(),
            limits: Limits::default(),
            log: Log::default(),
            telemetry: Telemetry::default(),
            api_keys: Vec::new(),
            jwt: None,
        }
    }
}

/// Looks a variable of the environment up.
pub type Environment<'a> = dyn Fn(&str) -> Option<String> + 'a;

impl Config {
    /// Reads and checks the file at `path`.
    ///
    /// # Errors
    /// A file that cannot be read, and everything that [`Config::parse`] refuses.
    pub fn load(path: &Path, env: &Environment<'_>) -> Result<Self, ConfigError> {
        let origin = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| ConfigError::unreadable(&origin, &error))?;
        Self::parse(&text, &origin, env)
    }

    /// Reads and checks `text`; `origin` is the name of the file in messages.
    ///
    /// # Errors
    /// Text that is not TOML, unset variables, unknown, missing and wrong keys, and what [`validate`] refuses: all
    /// that are found, in the order of the file.
    pub fn parse(text: &str, origin: &str, env: &Environment<'_>) -> Result<Self, ConfigError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        let mut problems = problem::Problems::new(origin, text);
        let Some(document) = Document::parse(text, env, &mut problems) else { return Err(problems.into_error()) };
        let (mut config, left_out) = read::read::<Self>(&document, &mut problems);
        if config.state_dir.as_os_str().is_empty() {
            config.state_dir = env::state_dir(env).unwrap_or_else(|| {
                problems.add(
                    document.span(&problem::KeyPath::key("state_dir")),
                    "`state_dir`: neither XDG_STATE_HOME nor HOME is set to an absolute path; name a directory",
                );
                PathBuf::new()
            });
        }
        validate::validate(&config, &document, &left_out, &mut problems);
        if problems.is_empty() { Ok(config) } else { Err(problems.into_error()) }
    }

    /// Whether whoever asks has to show a key or a token.
    #[must_use]
    pub fn asks_for_keys(&self) -> bool {
        !self.api_keys.is_empty() || self.jwt.is_some()
    }

    /// How long permits that replicas share are leased.
    #[must_use]
    pub fn terms(&self) -> Terms {
        let upstream = &self.upstream;
        Terms::new(upstream.connect_timeout, upstream.timeout, upstream.guard, self.shared.longest_stop)
    }

    /// Refuses a config that names no account: there would be nothing to ask.
    ///
    /// # Errors
    /// A config without any account.
    pub fn require_accounts(&self, origin: &str) -> Result<(), ConfigError> {
        if self.alibaba_cams.is_empty() && self.volcengine_rtc.is_empty() {
            return Err(ConfigError::of_file(
                origin,
                "no account is configured; add an [[alibaba_cams]] or a [[volcengine_rtc]] entry \
                 (weir.example.toml shows both), or try `weir demo`, which needs none",
            ));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;
