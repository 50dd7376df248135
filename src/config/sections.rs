//! The sections of the file that are not about an account: keys, units and defaults.

use std::path::{Path, PathBuf};
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};
use serde::de::Error as _;
use serde::{Deserialize, Deserializer};

use super::units;
use crate::document::Limits as OfDocuments;
use crate::domain::time::{HOUR, MINUTE};
use crate::domain::wording::hint;
use crate::domain::{Facts, LimitName, Vendor};
use crate::telemetry::Level;

/// How `/graphiql` gets its assets.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Graphiql {
    /// From this binary: works without internet.
    #[default]
    Embedded,
    /// From a CDN, pinned with integrity hashes.
    Cdn,
    /// Not at all.
    Off,
}

/// `[cache]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Cache {
    /// The most memory that all caches together take, in bytes.
    #[serde(deserialize_with = "units::size")]
    pub max_bytes: u64,
    /// How long an answer that may still change is reused.
    #[serde(deserialize_with = "units::duration")]
    pub provisional_ttl: Duration,
    /// How far past that it may be served while the vendor fails; zero turns stale answers off.
    #[serde(deserialize_with = "units::duration")]
    pub max_stale: Duration,
    /// How far past that it is served at once, as stale, while it is fetched again; zero makes callers wait instead.
    #[serde(deserialize_with = "units::duration")]
    pub stale_while_refresh: Duration,
    /// When answers stop changing.
    pub settle: Settle,
}

/// How `max_bytes` is divided. What operations, answers and queries leave of it is for what caches need beside their
/// entries, and for answers on their way.
impl Cache {
    /// What the answers of an operation may take.
    #[must_use]
    pub const fn bytes_of(&self, operation: &Facts) -> u64 {
        self.max_bytes / 16 * operation.memory_share
    }

    /// What whole answers may take: an eighth.
    #[must_use]
    pub const fn answer_bytes(&self) -> u64 {
        self.max_bytes / 8
    }

    /// What parsed queries may take: a sixteenth.
    #[must_use]
    pub const fn document_bytes(&self) -> u64 {
        self.max_bytes / 16
    }
}

impl Default for Cache {
    fn default() -> Self {
        Self {
            max_bytes: 256 * 1024 * 1024,
            provisional_ttl: 5 * MINUTE,
            max_stale: 24 * HOUR,
            stale_while_refresh: 5 * MINUTE,
            settle: Settle::default(),
        }
    }
}

/// `[cache.settle]`: how long after a window's end the vendor may still change it.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Settle {
    /// Not documented by the vendor; a day (docs/vendors/alibaba-cams.md).
    #[serde(deserialize_with = "units::duration")]
    pub alibaba_cams: Duration,
    /// The documented 8 h and a margin for clocks (docs/vendors/volcengine-rtc.md).
    #[serde(deserialize_with = "units::duration")]
    pub volcengine_rtc: Duration,
}

impl Settle {
    /// The settle time of `vendor`.
    #[must_use]
    pub const fn of(&self, vendor: Vendor) -> Duration {
        match vendor {
            Vendor::AlibabaCams => self.alibaba_cams,
            Vendor::VolcengineRtc => self.volcengine_rtc,
        }
    }
}

impl Default for Settle {
    fn default() -> Self {
        Self { alibaba_cams: 24 * HOUR, volcengine_rtc: 8 * HOUR + 30 * MINUTE }
    }
}

/// `[queue]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Queue {
    /// An ask that would wait longer for its permits is refused at once.
    #[serde(deserialize_with = "units::duration")]
    pub max_wait: Duration,
    /// The same for whoever pulls rows, in class BULK.
    #[serde(deserialize_with = "units::duration")]
    pub bulk_max_wait: Duration,
}

impl Default for Queue {
    fn default() -> Self {
        Self { max_wait: Duration::from_secs(30), bulk_max_wait: HOUR }
    }
}

/// `[upstream]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Upstream {
    /// How long making a connection may take.
    #[serde(deserialize_with = "units::duration")]
    pub connect_timeout: Duration,
    /// From the first byte written to the end of the reply.
    #[serde(deserialize_with = "units::duration")]
    pub timeout: Duration,
    /// How much later a request that was given up may still be counted by the vendor.
    #[serde(deserialize_with = "units::duration")]
    pub guard: Duration,
    /// Spans are split so that a reply is expected to stay under this many rows.
    pub max_rows: u32,
}

impl Default for Upstream {
    fn default() -> Self {
        Self {
            connect_timeout: Duration::from_secs(5),
            timeout: Duration::from_secs(10),
            guard: Duration::from_secs(5),
            max_rows: 100_000,
        }
    }
}

/// `[shared]`: what replicas on the same vendor accounts share.
#[derive(Debug, Clone, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Shared {
    /// The Redis through which they share permits, calls in flight and answers; empty for a process alone. May hold a
    /// password, so it never prints.
    pub redis: SecretString,
    /// The longest stop of a process, at the worst moment, that the quota survives; every lease is that much longer.
    #[serde(deserialize_with = "units::duration")]
    pub longest_stop: Duration,
}

impl Default for Shared {
    fn default() -> Self {
        Self { redis: SecretString::default(), longest_stop: Duration::from_secs(6) }
    }
}

impl Shared {
    /// Where Redis is, if one is configured.
    #[must_use]
    pub fn redis(&self) -> Option<&SecretString> {
        Some(&self.redis).filter(|url| !url.expose_secret().is_empty())
    }
}

/// `[archive]`: where answers are kept for ever.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Archive {
    /// `sqlite:FILE`, or `postgres://USER:PASSWORD@HOST/DATABASE`, which replicas share; empty for none. May hold a password,
    /// so it never prints.
    pub url: SecretString,
    /// The role of PostgreSQL that may read the tables; empty for none.
    pub reader: String,
}

impl Archive {
    /// Where the archive is, if one is configured.
    #[must_use]
    pub fn url(&self) -> Option<&SecretString> {
        Some(&self.url).filter(|url| !url.expose_secret().is_empty())
    }

    /// The file that it is, if it is one: it belongs to one process alone.
    #[must_use]
    pub fn file(&self) -> Option<&str> {
        self.url()?.expose_secret().strip_prefix("sqlite:")
    }
}

/// The files of `[http] tls`; both empty for plain HTTP.
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct TlsFiles {
    /// The certificate and those that lead from it to its issuer, in PEM.
    pub certificate: PathBuf,
    /// Its private key, in PEM.
    pub key: PathBuf,
}

impl TlsFiles {
    /// The certificate and its key, if they are named.
    #[must_use]
    pub fn named(&self) -> Option<(&Path, &Path)> {
        (!self.certificate.as_os_str().is_empty()).then_some((&self.certificate, &self.key))
    }
}

/// `[http]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Http {
    /// The longest body of a request, in bytes.
    #[serde(deserialize_with = "units::size")]
    pub max_body: u64,
    /// Names under which weir may be asked beside loopback's.
    pub hosts: Vec<String>,
    /// Origins of other sites whose pages may ask.
    pub cors_origins: Vec<String>,
    /// Proxies that are believed when they say for whom they ask.
    pub trusted_proxies: Vec<units::Net>,
    /// The files of TLS; plain HTTP without.
    pub tls: TlsFiles,
    /// For how long a process that is told to stop goes on taking requests, while `/health/ready` says that it stops.
    #[serde(deserialize_with = "units::duration")]
    pub stop_notice: Duration,
    /// Whether shortcuts are taken that only make answers faster: whole answers and parsed queries kept, long lists written
    /// without the engine. The answers are the same without.
    pub fast_path: bool,
}

impl Default for Http {
    fn default() -> Self {
        Self {
            max_body: 1024 * 1024,
            hosts: Vec::new(),
            cors_origins: Vec::new(),
            trusted_proxies: Vec::new(),
            tls: TlsFiles::default(),
            stop_notice: Duration::ZERO,
            fast_path: true,
        }
    }
}

/// `[log]`
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Log {
    /// From which level on weir's own events are logged; `--log` and `WEIR_LOG` win over it.
    pub level: Level,
    /// A request that takes longer is logged with what it cost; zero logs none.
    #[serde(deserialize_with = "units::duration")]
    pub slow: Duration,
}

impl Default for Log {
    fn default() -> Self {
        Self { level: Level::default(), slow: Duration::from_secs(1) }
    }
}

/// `[telemetry]`
#[derive(Debug, Clone, Default, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Telemetry {
    /// The OpenTelemetry collector that is sent traces, over HTTP; empty sends none.
    pub otlp: String,
}

impl Telemetry {
    /// Where the collector is, if one is configured.
    #[must_use]
    pub fn otlp(&self) -> Option<&str> {
        Some(self.otlp.as_str()).filter(|url| !url.is_empty())
    }
}

/// `[limits]`: what one request may take, and all of them together.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields, default)]
pub struct Limits {
    /// The longest text of a query, in bytes.
    #[serde(deserialize_with = "units::size")]
    pub query_bytes: u64,
    /// The most tokens of a query.
    pub tokens: u32,
    /// How deep its fields may nest.
    pub depth: u32,
    /// The most fields that it selects, every use of a fragment counted.
    pub fields: u32,
    /// The most of them that are no part of another.
    pub root_fields: u32,
    /// The most aliases.
    pub aliases: u32,
    /// The most directives.
    pub directives: u32,
    /// Whether the schema may be asked for; off, errors name no field that is near to a wrong one either.
    pub introspection: bool,
    /// The longest answer, in bytes, counted before it is made.
    #[serde(deserialize_with = "units::size")]
    pub answer_bytes: u64,
    /// The most slices, counted before any of them is looked up: a day of a channel or of one of its phones, or one
    /// window of an application.
    pub slices: u32,
    /// The most upstream calls of one request.
    pub calls: u32,
    /// The most upstream calls of one pull of rows.
    pub pull_calls: u32,
    /// The most connections; as many as there are open files for, if that is fewer.
    pub connections: u32,
    /// The most of one peer; zero for a quarter of all.
    pub connections_per_peer: u32,
    /// The most requests that are worked on at once.
    pub requests: u32,
    /// The most of one caller; zero for a quarter of all.
    pub requests_per_caller: u32,
    /// What of all bodies is held at once, in bytes.
    #[serde(deserialize_with = "units::size")]
    pub held_body_bytes: u64,
    /// What of all answers is held for those who have not read it yet, in bytes.
    #[serde(deserialize_with = "units::size")]
    pub held_answer_bytes: u64,
    /// Names of limits that are only counted and logged.
    #[serde(deserialize_with = "limit_names")]
    pub shadow: Vec<LimitName>,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            query_bytes: 128 * 1024,
            tokens: 40_000,
            depth: 24,
            fields: 10_000,
            root_fields: 100,
            aliases: 100,
            directives: 50,
            introspection: true,
            answer_bytes: 64 * 1024 * 1024,
            slices: 50_000,
            calls: 400,
            pull_calls: 5_000,
            shadow: Vec::new(),
            connections: 10_000,
            connections_per_peer: 0,
            requests: 1_000,
            requests_per_caller: 0,
            held_body_bytes: 32 * 1024 * 1024,
            held_answer_bytes: 64 * 1024 * 1024,
        }
    }
}

impl Limits {
    /// What a single document may ask for.
    #[must_use]
    pub fn of_documents(&self) -> OfDocuments {
        let count = |n: u32| usize::try_from(n).unwrap_or(usize::MAX);
        OfDocuments {
            text: usize::try_from(self.query_bytes).unwrap_or(usize::MAX),
            tokens: count(self.tokens),
            depth: count(self.depth),
            fields: count(self.fields),
            root_fields: count(self.root_fields),
            aliases: count(self.aliases),
            directives: count(self.directives),
            introspection: self.introspection,
            shadow: self.shadow.iter().copied().collect(),
            ..OfDocuments::default()
        }
    }
}

/// Limits by their keys.
fn limit_names<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Vec<LimitName>, D::Error> {
    let names = Vec::<String>::deserialize(deserializer)?;
    let can = LimitName::ALL.into_iter().filter(|name| name.always_holds().is_none());
    let can: Vec<_> = can.map(LimitName::as_str).collect();
    let read = |name: String| {
        let known = LimitName::ALL.into_iter().find(|known| known.as_str() == name);
        let why = match known.map(|known| (known, known.always_holds())) {
            Some((known, None)) => return Ok(known),
            Some((_, Some(why))) => format!("the limit {name} has no shadow, because {why}"),
            None => format!("there is no such limit{}", hint(&name, &can)),
        };
        Err(D::Error::custom(format!("{why}; these can be counted alone: {}", can.join(", "))))
    };
    names.into_iter().map(read).collect()
}
