//! Where a database of PostgreSQL is, read from its url, and how it is spoken to: with or without TLS.
//!
//! `sslmode` and `sslrootcert` are read here, since tokio-postgres knows only half of their words and would go on in plain
//! text where TLS is merely preferred. weir has two ways: none, or TLS that checks whom it speaks to.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use percent_encoding::percent_decode_str;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, RootCertStore};
use rustls_platform_verifier::BuilderVerifierExt;
use tokio_postgres::Config;
use tokio_postgres::config::{Host, SslMode};
use tokio_postgres_rustls::MakeRustlsConnect;

/// How long a connection may take to be made, where the url does not say.
const CONNECT: Duration = Duration::from_secs(5);
/// After how long without an answer a silent peer is asked whether it is still there, how often, and when it is given up.
const KEEPALIVE: (Duration, Duration, u32) = (Duration::from_secs(10), Duration::from_secs(5), 3);
/// How long what was sent may stay unacknowledged.
const UNHEARD: Duration = Duration::from_secs(25);

/// A database, and how to reach it.
#[derive(Clone)]
pub(super) struct Address {
    /// What to connect to.
    pub(super) config: Config,
    /// How to encrypt; `None` for plain text.
    pub(super) tls: Option<MakeRustlsConnect>,
    /// What it is called in messages: without user and password.
    pub(super) place: String,
}

impl Address {
    /// Reads a url.
    ///
    /// # Errors
    /// What is wrong with it, without repeating it.
    pub(super) fn parse(url: &str) -> Result<Self, String> {
        let (base, query) = url.split_once('?').unwrap_or((url, ""));
        let (mut mode, mut root, mut others) = (None, None, Vec::new());
        for pair in query.split('&').filter(|pair| !pair.is_empty()) {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            let value = || percent_decode_str(value).decode_utf8_lossy().into_owned();
            match key {
                "sslmode" => mode = Some(value()),
                "sslrootcert" => root = Some(value()),
                _ => others.push(pair),
            }
        }
        let rest = if others.is_empty() { base.to_owned() } else { format!("{base}?{}", others.join("&")) };
        let mut config: Config = rest.parse().map_err(|_may_repeat_it: tokio_postgres::Error| {
            "is not the url of a database; write it like postgres://USER:PASSWORD@HOST/DATABASE, with %40 for an @ in the \
             password"
                .to_owned()
        })?;
        if config.get_hosts().is_empty() {
            return Err("names no host; write it like postgres://USER:PASSWORD@HOST/DATABASE".to_owned());
        }
        let is_tls = match mode.as_deref() {
            Some("disable") => false,
            Some("require" | "verify-ca" | "verify-full") => true,
            None | Some("allow" | "prefer") => !config.get_hosts().iter().all(is_near),
            Some(_) => return Err("has an `sslmode` that is none; write disable or verify-full".to_owned()),
        };
        let tls = if is_tls { Some(MakeRustlsConnect::new(tls_config(root.as_deref().map(Path::new))?)) } else { None };
        config.ssl_mode(if is_tls { SslMode::Require } else { SslMode::Disable });
        if config.get_application_name().is_none() {
            config.application_name("weir");
        }
        if config.get_connect_timeout().is_none() {
            config.connect_timeout(CONNECT);
        }
        let (idle, every, times) = KEEPALIVE;
        config.keepalives_idle(idle).keepalives_interval(every).keepalives_retries(times).tcp_user_timeout(UNHEARD);
        let place = place(&config);
        Ok(Self { config, tls, place })
    }
}

/// Whether a host is this machine: nobody listens in between.
fn is_near(host: &Host) -> bool {
    match host {
        Host::Tcp(name) => {
            name.eq_ignore_ascii_case("localhost")
                || name.parse::<std::net::IpAddr>().is_ok_and(|address| address.to_canonical().is_loopback())
        }
        #[cfg(unix)]
        Host::Unix(_) => true,
    }
}

fn place(config: &Config) -> String {
    let host = |host: &Host| match host {
        Host::Tcp(name) => name.clone(),
        #[cfg(unix)]
        Host::Unix(path) => path.display().to_string(),
    };
    let hosts: Vec<String> = config.get_hosts().iter().map(host).collect();
    format!("`postgres://{}/{}`", hosts.join(","), config.get_dbname().unwrap_or_default())
}

/// TLS that checks the chain and the host's name: by the machine's own list of whom to trust, or by one certificate.
fn tls_config(root: Option<&Path>) -> Result<ClientConfig, String> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let builder = ClientConfig::builder_with_provider(provider);
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| error.to_string())?;
    let Some(root) = root else {
        let trusting = builder.with_platform_verifier().map_err(|error| {
            format!("is reached with TLS, and this machine's certificates cannot be read ({error}); name one by `sslrootcert`")
        })?;
        return Ok(trusting.with_no_client_auth());
    };
    let wrong = |error: String| format!("has an `sslrootcert` that cannot be used ({error}); it must be a file of PEM");
    let mut roots = RootCertStore::empty();
    for certificate in CertificateDer::pem_file_iter(root).map_err(|error| wrong(error.to_string()))? {
        let certificate = certificate.map_err(|error| wrong(error.to_string()))?;
        roots.add(certificate).map_err(|error| wrong(error.to_string()))?;
    }
    if roots.is_empty() {
        return Err(wrong("no certificate is in it".to_owned()));
    }
    Ok(builder.with_root_certificates(roots).with_no_client_auth())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_leaves_the_machine_is_encrypted() {
        for (url, tls) in [
            ("postgres://weir@localhost/metrics", false),
            ("postgres://weir@127.0.0.1:5433/metrics", false),
            ("postgresql://weir:pw@[::1]/metrics", false),
            ("postgres:///metrics?host=/var/run/postgresql", false),
            ("postgres://weir@127.0.0.1/metrics?sslmode=prefer", false),
            ("postgres://weir@127.0.0.1/metrics?sslmode=require", true),
            ("postgres://weir@db.example/metrics", true),
            ("postgres://weir@db.example/metrics?sslmode=prefer", true),
            ("postgres://weir@db.example/metrics?sslmode=verify-full&connect_timeout=3", true),
            ("postgres://weir@db.example/metrics?sslmode=disable", false),
            ("postgres://weir@localhost,db.example/metrics", true),
        ] {
            let address = Address::parse(url).unwrap();
            assert_eq!(address.tls.is_some(), tls, "{url}");
            let mode = if tls { SslMode::Require } else { SslMode::Disable };
            assert_eq!(address.config.get_ssl_mode(), mode, "{url}");
        }
    }

    #[test]
    fn a_place_has_no_password_and_neither_has_a_complaint() {
        let address = Address::parse("postgres://weir:s3cret@localhost:5433/metrics?connect_timeout=3").unwrap();
        assert_eq!(address.place, "`postgres://localhost/metrics`");
        assert_eq!(address.config.get_connect_timeout(), Some(&Duration::from_secs(3)));
        for (url, part) in [
            ("postgres://weir:s3cret@localhost:port/metrics", "not the url"),
            ("postgres://weir:s3cret@localhost/metrics?pasword=s3cret", "not the url"),
            ("postgres://", "no host"),
            ("postgres://weir:s3cret@localhost/metrics?sslmode=s3cret", "`sslmode`"),
            ("postgres://weir:s3cret@db.example/metrics?sslrootcert=/nowhere/ca.pem", "`sslrootcert`"),
        ] {
            let Err(message) = Address::parse(url) else { panic!("{url} is taken") };
            assert!(message.contains(part) && !message.contains("s3cret"), "{url}: {message}");
        }
    }
}
