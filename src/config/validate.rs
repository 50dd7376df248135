//! What a well-formed file may still get wrong. Each refusal says how to mend it; values from the environment are shown
//! by the name of their variable.

mod access;

use std::collections::{BTreeSet, HashMap};
use std::net::SocketAddr;
use std::time::Duration;

use secrecy::ExposeSecret;
use url::{Host, Url};

use super::Config;
use super::document::Document;
use super::problem::{KeyPath, Problems};
use super::vendors::Entry;
use super::watch::{Watch, Watched};
use crate::domain::calendar::{self, CalendarStep};
use crate::domain::wording::nearest;
use crate::vendor::alibaba_cams;
use crate::vendor::endpoint::Endpoint;

/// The API versions of Volcengine RTC that weir can speak (docs/vendors/volcengine-rtc.md).
pub const VOLCENGINE_RTC_VERSIONS: [&str; 2] = ["2020-12-01", "2023-11-01"];
/// The least memory that the cache works with.
pub const LEAST_CACHE_BYTES: u64 = 1024 * 1024;
/// The highest quota that is taken; vendors publish at most 50. It bounds the permits that are kept.
pub const HIGHEST_QUOTA: u32 = 10_000;

/// Refuses an address that other machines can reach where no keys are asked for: whoever reaches the port reads the data.
///
/// # Errors
/// An address that is not loopback.
pub fn check_listen(listen: SocketAddr, asks_for_keys: bool) -> Result<(), &'static str> {
    if asks_for_keys || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    Err(
        "other machines can reach this address, and nobody has to show a key; add [[api_keys]] (`weir key new` makes one) \
         or [jwt], or listen on loopback, like \"127.0.0.1:8080\"",
    )
}

/// Reports everything that is wrong with `config`. Keys below `left_out` are reported already.
pub(super) fn validate(
    config: &Config,
    document: &Document<'_>,
    left_out: &BTreeSet<KeyPath>,
    problems: &mut Problems<'_>,
) {
    let mut check = Check { document, left_out, problems };
    if let Err(message) = check_listen(config.listen, config.asks_for_keys()) {
        check.refuse(&KeyPath::key("listen"), message);
    }
    check.sections(config);
    check.access(config);
    let cams: Vec<_> = config.alibaba_cams.iter().map(Entry::of_alibaba_cams).collect();
    let rtc: Vec<_> = config.volcengine_rtc.iter().map(Entry::of_volcengine_rtc).collect();
    check.vendor("alibaba_cams", &cams);
    check.vendor("volcengine_rtc", &rtc);
    for (path, account) in check.paths("alibaba_cams").zip(&config.alibaba_cams) {
        if cams.len() > 1 && account.channels.is_empty() {
            check.refuse(
                &path.then("channels"),
                "only a single account may go without channels; list the CustSpaceIds that this account serves",
            );
        }
        check.templates(&path, account);
        check.visible(&path.then("isv_code"), &account.isv_code);
        if !account.time_zone.is_empty() {
            check.time_zone(&path, &account.time_zone);
        }
    }
    for (path, watch) in check.paths("watch").zip(&config.watch) {
        check.watch(&path, watch, config);
    }
    check.one_watch_per_series(config);
    for (path, account) in check.paths("volcengine_rtc").zip(&config.volcengine_rtc) {
        check.volcengine_rtc(&path, &account.region, &account.version, &account.time_zone);
    }
}

struct Check<'a, 't, 'p> {
    document: &'a Document<'a>,
    left_out: &'a BTreeSet<KeyPath>,
    problems: &'p mut Problems<'t>,
}

impl Check<'_, '_, '_> {
    fn refuse(&mut self, path: &KeyPath, message: &str) {
        if !self.left_out.contains(path) {
            self.problems.add(self.document.span(path), format!("`{path}`: {message}"));
        }
    }

    /// The entries of a vendor that could be read, by their places in the file.
    fn paths(&self, section: &str) -> impl Iterator<Item = KeyPath> + use<> {
        let section = KeyPath::key(section);
        let left_out = self.left_out.clone();
        (0..).map(move |index| section.at(index)).filter(move |path| !left_out.contains(path))
    }

    fn watch(&mut self, path: &KeyPath, watch: &Watch, config: &Config) {
        if config.archive.url().is_none() {
            self.refuse(path, "what is collected is kept in an archive: set `[archive] url`, like \"sqlite:weir.db\"");
        }
        let channels = config.alibaba_cams.iter().flat_map(|account| &account.channels);
        let apps = config.volcengine_rtc.iter().flat_map(|account| &account.apps);
        let (key, named, known, other): (_, _, Vec<&String>, _) = match watch.dataset {
            Watched::PhoneNumberMetrics => ("channels", &watch.channels, channels.collect(), ("apps", &watch.apps)),
            Watched::OperationDistributions => ("apps", &watch.apps, apps.collect(), ("channels", &watch.channels)),
        };
        if !other.1.is_empty() {
            self.refuse(&path.then(other.0), &format!("belongs to another dataset; this one has `{key}`"));
        }
        for (index, name) in named.iter().enumerate().filter(|(_, name)| !known.contains(name)) {
            let nearest = nearest(name, known.iter().map(|known| known.as_str()));
            let hint = nearest.map(|name| format!("; did you mean `{name}`?")).unwrap_or_default();
            self.refuse(&path.then(key).at(index), &format!("no configured account serves it{hint}"));
        }
        if watch.dataset == Watched::OperationDistributions && CalendarStep::of(watch.window).is_none() {
            let message = "must be \"P1D\", \"P7D\" or a divisor of a day in whole hours, like \"6h\"";
            self.refuse(&path.then("window"), message);
        }
        if watch.since < watch.window {
            self.refuse(&path.then("since"), "must be at least as long as one window");
        }
        if !watch.every.is_zero() && watch.every < Duration::from_mins(1) {
            self.refuse(&path.then("every"), "must be \"0s\", for only what is final, or at least \"1m\"");
        }
    }

    /// Each of two entries would collect what both name, and which `every` holds nobody could tell.
    fn one_watch_per_series(&mut self, config: &Config) {
        let channels = config.alibaba_cams.iter().flat_map(|account| &account.channels);
        let apps = config.volcengine_rtc.iter().flat_map(|account| &account.apps);
        let channels: Vec<&str> = channels.map(String::as_str).collect();
        let apps: Vec<&str> = apps.map(String::as_str).collect();
        let entries: Vec<_> = self.paths("watch").zip(&config.watch).collect();
        for (nth, (path, watch)) in entries.iter().enumerate() {
            let mut earlier = entries.iter().take(nth);
            let shared = earlier.find_map(|(first, other)| Some((first, watch.shared_with(other, &channels, &apps)?)));
            if let Some((first, series)) = shared {
                let message = format!("names what `{first}` collects already, {series}; name it in one of them");
                self.refuse(path, &message);
            }
        }
    }

    fn sections(&mut self, config: &Config) {
        let cache = KeyPath::key("cache");
        if config.cache.max_bytes < LEAST_CACHE_BYTES {
            self.refuse(&cache.then("max_bytes"), "answers are served from the cache; give it at least \"1MiB\"");
        }
        let upstream = KeyPath::key("upstream");
        for (key, duration) in [
            ("connect_timeout", config.upstream.connect_timeout),
            ("timeout", config.upstream.timeout),
            ("guard", config.upstream.guard),
        ] {
            if duration < Duration::from_millis(1) {
                self.refuse(&upstream.then(key), "must be longer than zero, like \"5s\"");
            }
        }
        if config.upstream.max_rows == 0 {
            self.refuse(&upstream.then("max_rows"), "must be at least 1; the default is 100000");
        }
        if let Some(url) = config.shared.redis()
            && let Err(message) = check_redis(url.expose_secret())
        {
            self.refuse(&KeyPath::key("shared").then("redis"), message);
        }
        if let Some(url) = config.archive.url()
            && let Err(message) = check_archive(url.expose_secret())
        {
            self.refuse(&KeyPath::key("archive").then("url"), message);
        }
        if let Some(url) = config.telemetry.otlp()
            && let Err(message) = check_collector(url)
        {
            self.refuse(&KeyPath::key("telemetry").then("otlp"), message);
        }
        let http = KeyPath::key("http");
        if config.http.max_body == 0 {
            self.refuse(&http.then("max_body"), "must be at least one byte; the default is \"1MiB\"");
        }
        let (tls, files) = (http.then("tls"), &config.http.tls);
        let is_named = |file: &std::path::Path| !file.as_os_str().is_empty();
        for (key, own, other) in
            [("certificate", &files.certificate, &files.key), ("key", &files.key, &files.certificate)]
        {
            if is_named(other) && !is_named(own) {
                self.refuse(&tls.then(key), "names no file; TLS needs a certificate and its key");
            }
        }
        let limits = KeyPath::key("limits");
        for (key, n) in [("connections", config.limits.connections), ("requests", config.limits.requests)] {
            if n == 0 {
                self.refuse(&limits.then(key), "must be at least 1, or nobody is answered");
            }
        }
        if config.limits.held_body_bytes < config.http.max_body {
            let message = "must be at least `http.max_body`, or a body of that length is never read";
            self.refuse(&limits.then("held_body_bytes"), message);
        }
        for (index, host) in config.http.hosts.iter().enumerate() {
            if let Err(message) = check_host(host) {
                self.refuse(&http.then("hosts").at(index), message);
            }
        }
        for (index, origin) in config.http.cors_origins.iter().enumerate() {
            if let Err(message) = check_origin(origin) {
                self.refuse(&http.then("cors_origins").at(index), message);
            }
        }
    }

    fn vendor(&mut self, section: &str, entries: &[Entry<'_>]) {
        let paths: Vec<KeyPath> = self.paths(section).take(entries.len()).collect();
        for (path, entry) in paths.iter().zip(entries) {
            self.name(&path.then("name"), entry.name);
            self.endpoint(&path.then("endpoint"), entry.endpoint);
            self.secrets(path, entry);
            self.visible(&path.then("quota_account"), entry.quota_account);
            for quota in entry.quotas() {
                let path = path.then("quota").then(quota.operation);
                if quota.configured == 0 {
                    let message =
                        format!("a quota of 0 lets no call through; the published limit is {}", quota.published);
                    self.refuse(&path, &message);
                } else if quota.configured > HIGHEST_QUOTA {
                    let message = format!("calls a second; at most {HIGHEST_QUOTA} are taken");
                    self.refuse(&path, &message);
                }
            }
        }
        self.unique_names(&paths, entries);
        self.unique_ids(&paths, entries);
        self.one_quota_per_owner(&paths, entries);
    }

    fn name(&mut self, path: &KeyPath, name: &str) {
        if name.trim().is_empty() {
            self.refuse(path, "is empty; answers, errors and logs call the account by this name");
        } else if name.trim() != name || name.chars().any(char::is_control) {
            self.refuse(path, "begins or ends with a space, or holds a control character; take it out");
        }
    }

    fn endpoint(&mut self, path: &KeyPath, endpoint: &str) {
        if let Err(error) = Endpoint::parse(endpoint) {
            self.refuse(path, &error.to_string());
        }
    }

    fn secrets(&mut self, path: &KeyPath, entry: &Entry<'_>) {
        for (key, secret) in [("access_key_id", entry.access_key_id), ("access_key_secret", entry.access_key_secret)] {
            if secret.expose_secret().is_empty() {
                self.refuse(&path.then(key), "is empty; the vendor gives it with the access key");
            } else {
                self.visible(&path.then(key), secret.expose_secret());
            }
        }
        self.visible(&path.then("security_token"), entry.security_token.expose_secret());
    }

    /// Refuses what cannot stand in a header or a query, most often a line end that came along with a secret.
    fn visible(&mut self, path: &KeyPath, text: &str) {
        if !text.chars().all(|letter| letter.is_ascii_graphic()) {
            self.refuse(path, "holds a space, a line end or another character that no key has; take it out");
        }
    }

    fn unique_names(&mut self, paths: &[KeyPath], entries: &[Entry<'_>]) {
        let mut seen: HashMap<&str, &KeyPath> = HashMap::new();
        for (path, entry) in paths.iter().zip(entries) {
            if entry.name.is_empty() {
                continue;
            }
            if let Some(first) = seen.insert(entry.name, path) {
                let path = path.then("name");
                let message = format!(
                    "{} is the name of `{first}` already; give each account of a vendor its own",
                    self.document.written(&path)
                );
                self.refuse(&path, &message);
            }
        }
    }

    fn unique_ids(&mut self, paths: &[KeyPath], entries: &[Entry<'_>]) {
        let mut seen: HashMap<&str, KeyPath> = HashMap::new();
        for (path, entry) in paths.iter().zip(entries) {
            for (index, id) in entry.ids.iter().enumerate() {
                let path = path.then(entry.ids_key()).at(index);
                if id.trim() != id || id.is_empty() || id.chars().any(char::is_control) {
                    self.refuse(&path, "is empty, or has a space or control character around or in it");
                    continue;
                }
                if let Some(first) = seen.insert(id, path.clone()) {
                    let message = format!(
                        "{} is served by `{first}` already; a query finds its account by this id, so list it once",
                        self.document.written(&path)
                    );
                    self.refuse(&path, &message);
                }
            }
        }
    }

    /// Entries that share permits have to agree how many there are.
    fn one_quota_per_owner(&mut self, paths: &[KeyPath], entries: &[Entry<'_>]) {
        for (nth, (path, entry)) in paths.iter().zip(entries).enumerate() {
            let earlier = paths.iter().zip(entries).take(nth).find(|(_, earlier)| earlier.shares_quota_with(entry));
            let Some((first, earlier)) = earlier else { continue };
            for (quota, wanted) in entry.quotas().iter().zip(earlier.quotas()) {
                if quota.configured != wanted.configured {
                    let message = format!(
                        "differs from that of `{first}`, which is the same vendor account and shares it; make them equal"
                    );
                    self.refuse(&path.then("quota").then(quota.operation), &message);
                }
            }
        }
    }

    fn templates(&mut self, path: &KeyPath, account: &alibaba_cams::Config) {
        for (index, template) in account.templates.iter().enumerate() {
            let path = path.then("templates").at(index);
            if template.code.trim() != template.code || template.code.is_empty() {
                self.refuse(
                    &path.then("code"),
                    "is empty, or has a space around it; the vendor's console shows the code",
                );
            }
            let serves = |channel: &String| *channel == template.channel;
            if !(account.channels.iter().any(serves) || (account.channels.is_empty() && template.channel.is_empty())) {
                let path = path.then("channel");
                let known: Vec<_> = account.channels.iter().map(String::as_str).collect();
                let mend = nearest(&template.channel, known.iter().copied())
                    .map_or_else(|| "name one of them".to_owned(), |near| format!("did you mean \"{near}\"?"));
                let message = format!("{} is none of this entry's `channels`; {mend}", self.document.written(&path));
                self.refuse(&path, &message);
            }
        }
    }

    fn time_zone(&mut self, path: &KeyPath, time_zone: &str) {
        if let Err(near) = calendar::time_zone(time_zone) {
            let path = path.then("time_zone");
            let mend = near.map_or_else(
                || "write an IANA name, like \"Asia/Shanghai\" or \"UTC\"".to_owned(),
                |near| format!("did you mean \"{near}\"?"),
            );
            let message = format!("{} is no known time zone; {mend}", self.document.written(&path));
            self.refuse(&path, &message);
        }
    }

    fn volcengine_rtc(&mut self, path: &KeyPath, region: &str, version: &str, time_zone: &str) {
        if region.is_empty() {
            self.refuse(&path.then("region"), "is empty; requests are signed for a region, like \"cn-north-1\"");
        }
        self.visible(&path.then("region"), region);
        if !VOLCENGINE_RTC_VERSIONS.contains(&version) {
            let path = path.then("version");
            let message = format!(
                "{} is no version that weir can speak; write \"{}\"",
                self.document.written(&path),
                VOLCENGINE_RTC_VERSIONS.join("\" or \"")
            );
            self.refuse(&path, &message);
        }
        self.time_zone(path, time_zone);
    }
}

/// Says what is wrong with a name under which weir is to be asked: it is compared with what callers send as it stands.
fn check_host(host: &str) -> Result<(), &'static str> {
    if host.contains('*') {
        return Err("stands for many names, and each is a way in; list the names themselves");
    }
    let parsed = Host::parse(host).ok().filter(|parsed| parsed.to_string().eq_ignore_ascii_case(host));
    if parsed.is_none() || host.ends_with('.') {
        return Err("not a host as browsers send it; write it in ASCII and without scheme, port or path, like \
                    \"metrics.example.com\"");
    }
    Ok(())
}

/// Says what is wrong with the origin of a site whose pages are to ask: it is compared with what browsers send.
fn check_origin(origin: &str) -> Result<(), &'static str> {
    if origin.contains('*') || origin == "null" {
        return Err("would let any site in, and weir asks for no key yet; list the origins themselves");
    }
    if Url::parse(origin).is_ok_and(|url| url.origin().ascii_serialization() == origin) {
        return Ok(());
    }
    Err("not an origin as browsers send it; write scheme, host and port alone, in small letters and without the usual \
         port, like \"https://dashboards.example.com\" or \"http://localhost:5173\"")
}

/// Whether traces can be sent there.
fn check_collector(address: &str) -> Result<(), &'static str> {
    let no_url = "not the address of a collector; write it like \"http://127.0.0.1:4318\"";
    let url = Url::parse(address).map_err(|_unhelpful| no_url)?;
    if !["http", "https"].contains(&url.scheme()) || url.query().is_some() || url.fragment().is_some() {
        return Err(no_url);
    }
    if !url.username().is_empty() || url.password().is_some() {
        return Err("holds a name or a password; leave both out: whoever reads the config would see them");
    }
    Ok(())
}

/// Says what is wrong with the address of a Redis, without repeating it: it may hold a password.
fn check_redis(address: &str) -> Result<(), &'static str> {
    let no_url = "not the URL of a Redis; write it like \"redis://:${REDIS_PASSWORD}@redis.example:6379/0\"";
    let url = Url::parse(address).map_err(|_unhelpful| no_url)?;
    match url.scheme() {
        "redis" => {}
        "rediss" => return Err("weir speaks no TLS to Redis; write redis:// to a tunnel or a private network"),
        _ => return Err("must begin with redis://"),
    }
    if url.host_str().is_none_or(str::is_empty) {
        return Err(no_url);
    }
    let database = url.path().trim_start_matches('/');
    if !database.chars().all(|letter| letter.is_ascii_digit()) || url.query().is_some() || url.fragment().is_some() {
        return Err("must end after the port or the number of the database, like redis://redis.example:6379/0");
    }
    Ok(())
}

/// Says what is wrong with the address of an archive, without repeating it: it may hold a password. What is wrong with the
/// rest of the url of a database is said by who reads it.
fn check_archive(address: &str) -> Result<(), &'static str> {
    match address.split_once(':') {
        Some(("sqlite", path)) if path.starts_with("//") => Err(
            "names a file as it is, without slashes in front; write it like \"sqlite:weir.db\" or \"sqlite:/var/lib/weir.db\"",
        ),
        Some(("sqlite", path)) if !path.is_empty() => Ok(()),
        Some(("postgres" | "postgresql", rest)) if rest.len() > 2 && rest.starts_with("//") => Ok(()),
        _ => Err("is no archive; write a file, like \"sqlite:weir.db\", or a database, like \
                  \"postgres://weir:${PGPASSWORD}@db.example/metrics\""),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hosts_and_origins_are_written_as_browsers_send_them() {
        for good in
            ["metrics.example.com", "Metrics.example.com", "weir", "10.0.0.7", "[fd00::7]", "xn--mnchen-3ya.example"]
        {
            assert_eq!(check_host(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("", "without scheme"),
            ("https://metrics.example.com", "without scheme"),
            ("metrics.example.com:8080", "without scheme"),
            ("metrics.example.com/", "without scheme"),
            ("metrics.example.com.", "without scheme"),
            ("fd00::7", "without scheme"),
            ("0x7f.1", "without scheme"),
            ("münchen.example", "in ASCII"),
            ("*", "many names"),
            ("*.example.com", "many names"),
        ] {
            let message = check_host(bad).unwrap_err();
            assert!(message.contains(part), "{bad}: {message}");
        }
        for good in ["http://localhost:5173", "https://dashboards.example.com", "http://[::1]:3000"] {
            assert_eq!(check_origin(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("", "scheme, host and port"),
            ("localhost:5173", "scheme, host and port"),
            ("dashboards.example.com", "scheme, host and port"),
            ("https://dashboards.example.com/", "scheme, host and port"),
            ("https://dashboards.example.com/a", "scheme, host and port"),
            ("https://Dashboards.example.com", "small letters"),
            ("https://dashboards.example.com:443", "usual port"),
            ("https://me@dashboards.example.com", "scheme, host and port"),
            ("https://*.example.com", "any site"),
            ("*", "any site"),
            ("null", "any site"),
        ] {
            let message = check_origin(bad).unwrap_err();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }

    #[test]
    fn a_redis_is_a_host_and_perhaps_a_database() {
        for good in ["redis://127.0.0.1", "redis://redis.example:6379/0", "redis://me:pass@[::1]:6380/12"] {
            assert_eq!(check_redis(good), Ok(()), "{good}");
        }
        for (bad, part) in [
            ("127.0.0.1:6379", "not the URL"),
            ("redis://", "not the URL"),
            ("rediss://redis.example", "no TLS"),
            ("http://redis.example", "must begin"),
            ("redis://redis.example/weir", "must end"),
            ("redis://redis.example?protocol=2", "must end"),
        ] {
            let message = check_redis(bad).unwrap_err();
            assert!(message.contains(part), "{bad}: {message}");
        }
    }

    #[test]
    fn an_archive_is_a_file_or_a_database() {
        for good in
            ["sqlite:weir.db", "sqlite:/var/lib/weir.db", "postgres://me:pass@db/metrics", "postgresql:///metrics"]
        {
            assert_eq!(check_archive(good), Ok(()), "{good}");
        }
        for bad in
            ["weir.db", "sqlite:", "sqlite:///weir.db", "postgres://", "postgres:db", "mysql://me:pass@db/metrics"]
        {
            let message = check_archive(bad).unwrap_err();
            assert!(message.contains("sqlite:weir.db") && !message.contains("pass@"), "{bad}: {message}");
        }
    }

    #[test]
    fn only_loopback_is_listened_on() {
        for (listen, good) in [
            ("127.0.0.1:8080", true),
            ("127.9.9.9:0", true),
            ("[::1]:8080", true),
            ("[::ffff:127.0.0.1]:8080", true),
            ("0.0.0.0:8080", false),
            ("[::]:8080", false),
            ("10.0.0.1:8080", false),
        ] {
            let listen = listen.parse().unwrap();
            assert_eq!(check_listen(listen, false).is_ok(), good, "{listen}");
            assert!(check_listen(listen, true).is_ok(), "whoever reaches it has to show a key: {listen}");
        }
    }
}
