//! `weir check`: what a config means, and what in it is risky.

mod online;
mod state_dir;

use std::fmt::Write;
use std::time::Duration;

use secrecy::{ExposeSecret, SecretString};

use super::{ConfigFile, Failure, block_on, gateway, output};
use crate::config::access::Phones;
use crate::config::vendors::Entry;
use crate::config::watch::{Watch, Watched};
use crate::config::{ApiKey, Config, Graphiql, Jwt, Settle, Shared, Upstream};
use crate::domain::duration::format_iso;
use crate::domain::{Class, Vendor};
use crate::http;
use crate::quota::Rule;
use crate::vendor::alibaba_cams::Granularity;
use crate::vendor::volcengine_rtc::Dimension;

/// Read a config and explain it; keys and secrets are never shown.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir check --config weir.toml
  weir check --config weir.toml --online      also one cheap signed call per account")]
pub struct Args {
    /// Which config to check.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Make one cheap signed call per account and say what the vendor answered.
    #[arg(long)]
    pub online: bool,
}

/// Explains the config, and asks the vendors if told to.
///
/// # Errors
/// A wrong config (2); with `--online`, an account that its vendor refuses (1).
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = args.config.load()?;
    gateway::tls(&config)?;
    output::print(&explain(&config, &args.config.origin()))?;
    if args.online { block_on(online::run(config)) } else { Ok(()) }
}

/// The config in words. Holds no secret and no key id.
#[must_use]
pub fn explain(config: &Config, origin: &str) -> String {
    let mut text = format!("{origin} is well formed.\n\n");
    let mut line = |name: &str, value: &str| {
        // Writing to a string never fails.
        let _never_fails = writeln!(text, "{name:<12}{value}");
    };
    let tls = config.http.tls.named();
    let scheme = if tls.is_some() { "https" } else { "http" };
    let reach =
        if config.listen.ip().to_canonical().is_loopback() { "this machine only" } else { "other machines, too" };
    line("listen", &format!("{scheme}://{} ({reach})", config.listen));
    if let Some((certificate, key)) = tls {
        line("", &format!("with the certificate {} and the key {}", certificate.display(), key.display()));
    }
    line("graphiql", graphiql(config.graphiql, http::has_graphiql()));
    line("state", &config.state_dir.display().to_string());
    let cache = &config.cache;
    line("cache", &format!("{} of memory", bytesize::ByteSize(cache.max_bytes)));
    line("", &format!("answers that may still change are reused for {}", span(cache.provisional_ttl)));
    line(
        "",
        &if cache.max_stale.is_zero() {
            "no stale answers while a vendor fails".to_owned()
        } else {
            format!("while a vendor fails, answers up to {} older are served as stale", span(cache.max_stale))
        },
    );
    line("queue", &format!("an ask that would wait longer than {} is refused at once", span(config.queue.max_wait)));
    let upstream = &config.upstream;
    line(
        "upstream",
        &format!(
            "{} to connect, {} for the reply, {} of guard, at most {} rows a reply",
            span(upstream.connect_timeout),
            span(upstream.timeout),
            span(upstream.guard),
            upstream.max_rows
        ),
    );
    line("shared", &shared(config));
    line("archive", &archive(config));
    for (name, watch) in ["watch"].into_iter().chain(std::iter::repeat("")).zip(&config.watch) {
        line(name, &watched(watch));
    }
    line("http", &format!("request bodies up to {}", bytesize::ByteSize(config.http.max_body)));
    let names = ["localhost".to_owned()].into_iter().chain(config.http.hosts.iter().cloned());
    line("", &format!("asked as {}; other names are refused", names.collect::<Vec<_>>().join(", ")));
    if !config.http.trusted_proxies.is_empty() {
        let proxies: Vec<String> = config.http.trusted_proxies.iter().map(|net| net.0.to_string()).collect();
        line("", &format!("{} are believed when they say for whom they ask", proxies.join(", ")));
    }
    if !config.http.cors_origins.is_empty() {
        line("", &format!("pages of {} may ask from a browser", config.http.cors_origins.join(", ")));
    }
    for (name, lines) in ["callers"].into_iter().chain(std::iter::repeat("")).zip(callers(config)) {
        line(name, &lines);
    }
    for entry in config.entries() {
        text.push('\n');
        text.push_str(&explain_account(config, &entry));
    }
    let mut risks = risks(config);
    // Replicas keep no state of their own.
    if config.shared.redis().is_none()
        && let Some(doubt) = state_dir::doubt(&config.state_dir)
    {
        risks.push(format!(
            "the state folder will not last: {doubt}; each start without it waits {} for calls of a process that nobody \
             remembers; set `state_dir` to a folder on a disk or a volume",
            span(config.upstream.guard + Rule::HOLD)
        ));
    }
    text.push_str(if risks.is_empty() { "\nNothing in it is risky.\n" } else { "\nRisky:\n" });
    for risk in risks {
        let _never_fails = writeln!(text, "- {risk}");
    }
    text
}

fn explain_account(config: &Config, entry: &Entry<'_>) -> String {
    let mut text = format!("{} {:?}\n", entry.section(), entry.name);
    let mut line = |name: &str, value: &str| {
        let _never_fails = writeln!(text, "  {name:<10}{value}");
    };
    line("endpoint", entry.endpoint);
    line("key", if is_set(entry.security_token) { "set (hidden), with an STS token" } else { "set (hidden)" });
    let ids = match (entry.ids, entry.vendor) {
        ([], Vendor::AlibabaCams) => "one without an id: calls carry no CustSpaceId".to_owned(),
        ([], Vendor::VolcengineRtc) => "none".to_owned(),
        (ids, _) => ids.join(", "),
    };
    line(entry.ids_key(), &ids);
    for quota in entry.quotas() {
        let published = match quota.configured.cmp(&quota.published) {
            std::cmp::Ordering::Equal => "as published".to_owned(),
            _ => format!("published: {}", quota.published),
        };
        line("quota", &format!("{} {} a second ({published})", quota.operation, quota.configured));
    }
    let others = || config.entries().filter(|other| other.vendor == entry.vendor && other.name != entry.name);
    let shared: Vec<&str> = others().filter(|other| other.shares_quota_with(entry)).map(|other| other.name).collect();
    if !shared.is_empty() {
        line("", &format!("shared with {}", shared.join(", ")));
    } else if !entry.quota_account.is_empty() {
        line("", "shared with no other entry of this file: none has this quota_account");
    }
    line("settle", &format!("final {} after a window's end", span(config.cache.settle.of(entry.vendor))));
    let zone = config.volcengine_rtc.iter().find(|rtc| entry.vendor == Vendor::VolcengineRtc && rtc.name == entry.name);
    if let Some(rtc) = zone {
        line("api", &format!("version {}, signed for {}, days of {}", rtc.version, rtc.region, rtc.time_zone));
    }
    text
}

/// What works and may still surprise, in one line each. Holds no secret and no key id.
#[must_use]
pub fn risks(config: &Config) -> Vec<String> {
    let mut risks = Vec::new();
    for entry in config.entries() {
        let account = format!("{} {:?}", entry.section(), entry.name);
        if entry.endpoint.starts_with("http:") {
            risks.push(format!("{account} talks to a program on this machine, not to the vendor"));
        }
        if entry.ids.is_empty() && entry.vendor == Vendor::VolcengineRtc {
            risks.push(format!("{account} serves no app: no query will reach it; list its AppIds in `apps`"));
        }
        let mut others = config.entries().filter(|other| other.vendor == entry.vendor && other.name != entry.name);
        let has_same_key = |other: &Entry<'_>| {
            other.access_key_id.expose_secret() == entry.access_key_id.expose_secret()
                && !other.shares_quota_with(&entry)
        };
        if let Some(other) = others.find(has_same_key) {
            risks.push(format!(
                "{account} has the key of {:?} and shares no quota with it: unless the vendor counts the two apart, give \
                 both the same quota_account",
                other.name
            ));
        }
        for quota in entry.quotas().iter().filter(|quota| quota.configured > quota.published) {
            risks.push(format!(
                "{account} makes {} calls of {} a second, and {} are published: right only if the vendor granted more",
                quota.configured, quota.operation, quota.published
            ));
        }
    }
    if !config.listen.ip().to_canonical().is_loopback() && config.http.tls.named().is_none() {
        risks.push(
            "other machines may ask, and keys come to weir in the clear: name a certificate in `[http] tls`, unless a proxy on \
             this network speaks TLS for it"
                .to_owned(),
        );
    }
    if config.jwt.is_some() {
        risks.push(
            "tokens without a `channels` or `apps` claim show everything: see that the issuer sets them".to_owned(),
        );
    }
    let least = Settle::default();
    for vendor in Vendor::ALL {
        if config.entries().any(|entry| entry.vendor == vendor) && config.cache.settle.of(vendor) < least.of(vendor) {
            risks.push(format!(
                "answers of {vendor} are called final {} after a window's end, less than the default {}: what the vendor \
                 adds later is never seen",
                span(config.cache.settle.of(vendor)),
                span(least.of(vendor))
            ));
        }
    }
    if config.upstream.guard < Upstream::default().guard {
        risks.push(format!(
            "a guard of {} is less than the default {}: a request that was given up may be counted later, and the quota \
             overrun",
            span(config.upstream.guard),
            span(Upstream::default().guard)
        ));
    }
    if config.shared.redis().is_some() && config.shared.longest_stop < Shared::default().longest_stop {
        risks.push(format!(
            "a longest_stop of {} is less than the default {}: the quota may be overrun when a process stops for longer \
             just before it sends",
            span(config.shared.longest_stop),
            span(Shared::default().longest_stop)
        ));
    }
    if config.shared.redis().is_some() && config.queue.max_wait < config.terms().lease() {
        risks.push(format!(
            "permits are leased for {}, longer than the max_wait of {}: after a loss of Redis' state asks are refused \
             until the lease is over",
            span(config.terms().lease()),
            span(config.queue.max_wait)
        ));
    }
    if config.queue.max_wait < Duration::from_secs(2) {
        risks.push("a max_wait below 2s refuses asks that the quota would let through a moment later".to_owned());
    }
    risks
}

/// Who may ask, and what.
fn callers(config: &Config) -> Vec<String> {
    let key = |key: &ApiKey| {
        let only = |what: &str, listed: Option<&[String]>| match listed {
            None => format!("all {what}"),
            Some([]) => format!("no {what}"),
            Some(listed) => format!("{what} {}", listed.join(", ")),
        };
        let mut words = vec![only("channels", key.channels.as_deref()), only("apps", key.apps.as_deref())];
        if key.phones == Phones::Masked {
            words.push("phone numbers masked".to_owned());
        }
        if let Some(classes) = &key.classes {
            let classes: Vec<_> = classes.iter().map(|class| Class::from(*class).as_str()).collect();
            words.push(format!("in class {}", classes.join(" or ")));
        }
        match key.calls_per_day {
            Some(0) => words.push("what is held alone".to_owned()),
            Some(calls) => words.push(format!("{calls} upstream calls a day")),
            None => {}
        }
        words.extend(key.expires.map(|at| format!("until {at}")));
        format!("key {:?}: {}", key.name, words.join("; "))
    };
    let mut lines: Vec<_> = config.api_keys.iter().map(key).collect();
    if let Some(Jwt { issuer, audience, jwks, algorithms }) = &config.jwt {
        let algorithms: Vec<_> = algorithms.iter().map(|algorithm| format!("{algorithm:?}")).collect();
        let algorithms = algorithms.join(", ");
        lines.push(format!("tokens of {issuer} for {audience:?}, signed with {algorithms} by the keys of {jwks}"));
    }
    if lines.is_empty() {
        lines.push("anybody on this machine: no keys are configured".to_owned());
    }
    lines
}

fn shared(config: &Config) -> String {
    let Some(url) = config.shared.redis() else {
        return "nothing: this process is alone on its accounts".to_owned();
    };
    let host = url::Url::parse(url.expose_secret()).ok();
    let host = host.as_ref().map_or("?", |url| &url[url::Position::BeforeHost..url::Position::AfterPort]);
    format!(
        "permits, calls in flight and answers, with every replica at Redis {host}; permits of a crashed replica come \
         back after {}",
        span(config.terms().lease())
    )
}

fn archive(config: &Config) -> String {
    let Some(url) = config.archive.url() else {
        return "none: a restart forgets what was fetched".to_owned();
    };
    if let Some(path) = config.archive.file() {
        return format!("what is final is kept in the file {path}, for this process alone");
    }
    let parsed = url::Url::parse(url.expose_secret()).ok();
    let place = parsed.as_ref().map_or("?", |url| &url[url::Position::BeforeHost..url::Position::AfterPath]);
    let reader = if config.archive.reader.is_empty() {
        String::new()
    } else {
        format!("; {} may read it", config.archive.reader)
    };
    format!("what is final is kept in PostgreSQL at {place}, which replicas share{reader}")
}

/// What is collected without being asked for, an entry a line.
fn watched(watch: &Watch) -> String {
    let named = |names: &[String], all: &str| if names.is_empty() { all.to_owned() } else { names.join(", ") };
    let what = match watch.dataset {
        Watched::PhoneNumberMetrics => {
            let step = Granularity::from(watch.granularity).as_str();
            format!("messages of {} by {step}", named(&watch.channels, "all channels"))
        }
        Watched::OperationDistributions => {
            let place = Dimension::from(watch.dimension).as_str();
            let window = format_iso(watch.window);
            format!("users of {} by {place} over {window}", named(&watch.apps, "all applications"))
        }
    };
    let every = if watch.every.is_zero() {
        "once they are final".to_owned()
    } else {
        format!("every {} until they are final", span(watch.every))
    };
    format!("{what}, {every}, back to {} ago", format_iso(watch.since))
}

fn is_set(secret: &SecretString) -> bool {
    !secret.expose_secret().is_empty()
}

const fn graphiql(choice: Graphiql, is_built: bool) -> &'static str {
    match choice {
        Graphiql::Embedded if is_built => "embedded: works without internet",
        Graphiql::Embedded => "not in this build: build with `make web` before, or set graphiql = \"cdn\"",
        Graphiql::Cdn => "from a CDN",
        Graphiql::Off => "off",
    }
}

/// A duration as the config writes it: `8h 30m`.
fn span(duration: Duration) -> String {
    jiff::SignedDuration::try_from(duration).map_or_else(|_| format!("{duration:?}"), |span| format!("{span:#}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_graphiql_that_is_not_in_the_build_is_not_told_as_there() {
        assert_eq!(graphiql(Graphiql::Embedded, true), "embedded: works without internet");
        assert!(graphiql(Graphiql::Embedded, false).starts_with("not in this build"));
        assert_eq!(graphiql(Graphiql::Cdn, false), "from a CDN");
    }
}
