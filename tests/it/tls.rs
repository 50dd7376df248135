//! TLS by two files: who is shown which certificate, when it is another, and what is said of files that do not do.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use weir::domain::Timestamp;
use weir::http::{Door, HttpConfig, Timeouts, Tls, TlsError};

use crate::support::certificate;
use crate::support::process::{Process, config, in_time, run};
use crate::support::redis::send_signal;
use crate::support::server::Server;

const PROBE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A certificate of its own for 127.0.0.1, and its key.
struct Pair {
    certificate: PathBuf,
    key: PathBuf,
}

impl Pair {
    /// `None` where there is no openssl, after saying so.
    fn make(dir: &Path, name: &str) -> Option<Self> {
        Self::lasting(dir, name, 30)
    }

    fn lasting(dir: &Path, name: &str, days: u32) -> Option<Self> {
        let [certificate, key] = ["crt", "key"].map(|kind| dir.join(format!("{name}.{kind}")));
        let certificate = certificate::lasting(certificate, &key, "IP:127.0.0.1", days)?;
        Some(Self { certificate, key })
    }

    fn copy_to(&self, other: &Self) {
        std::fs::copy(&self.certificate, &other.certificate).unwrap();
        std::fs::copy(&self.key, &other.key).unwrap();
    }

    /// A connection to whoever has this certificate.
    async fn connect(&self, address: &str) -> std::io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(&self.certificate).unwrap()).unwrap();
        let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
        let client = ClientConfig::builder_with_provider(provider).with_safe_default_protocol_versions().unwrap();
        let mut client = client.with_root_certificates(roots).with_no_client_auth();
        client.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
        let name = ServerName::try_from("127.0.0.1").unwrap();
        let stream = TcpStream::connect(address).await?;
        in_time(TlsConnector::from(Arc::new(client)).connect(name, stream)).await
    }
}

async fn probe(stream: &mut TlsStream<TcpStream>) {
    stream.write_all(PROBE).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"status":"live"}"#) {
        assert_ne!(in_time(stream.read_buf(&mut answer)).await.unwrap(), 0);
    }
}

async fn served(tls: &Arc<Tls>, timeouts: Timeouts) -> Server {
    let door = |listener| Door { listener, tls: Some(Arc::clone(tls)) };
    Server::behind(door, HttpConfig { tls: Some(Arc::clone(tls)), ..HttpConfig::default() }, timeouts).await
}

/// When openssl says that a certificate ends, in seconds of Unix.
fn end_of(certificate: &Path) -> i64 {
    let told = std::process::Command::new("openssl")
        .args(["x509", "-noout", "-enddate", "-dateopt", "iso_8601", "-in"])
        .arg(certificate)
        .output()
        .unwrap();
    let told = String::from_utf8(told.stdout).unwrap();
    let instant = told.trim().strip_prefix("notAfter=").unwrap().replacen(' ', "T", 1);
    Timestamp::parse_rfc3339(&instant).unwrap().as_ms() / 1_000
}

/// What metrics tell of the certificate that is shown.
async fn told_end(stream: &mut TlsStream<TcpStream>) -> i64 {
    stream.write_all(b"GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await.unwrap();
    let mut answer = Vec::new();
    let _closed = in_time(stream.read_to_end(&mut answer)).await;
    let answer = String::from_utf8(answer).unwrap();
    let told = answer.lines().find_map(|line| line.strip_prefix("weir_certificate_end_time_seconds "));
    told.unwrap_or_else(|| panic!("{answer}")).parse().unwrap()
}

/// What ends first is told: the certificate, or one that leads to its issuer; and of another, once that is shown.
#[tokio::test]
async fn the_end_of_what_is_shown_is_told() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let long = Pair::lasting(dir.path(), "long", 90).unwrap();
    let tls = Arc::new(Tls::open(&own.certificate, &own.key).unwrap());
    let server = served(&tls, Timeouts::default()).await;
    let address = server.address.to_string();
    let (first, second) = (end_of(&own.certificate), end_of(&long.certificate));
    assert!(second > first + 50 * 86_400, "{first} {second}");
    assert_eq!(told_end(&mut own.connect(&address).await.unwrap()).await, first);
    long.copy_to(&own);
    assert_eq!(tls.ends_at().unwrap().as_ms() / 1_000, first, "it is not shown yet");
    tls.put(tls.prepare().unwrap());
    assert_eq!(told_end(&mut long.connect(&address).await.unwrap()).await, second);
    let chain = [&long, &Pair::make(dir.path(), "issuer").unwrap()].map(|one| std::fs::read(&one.certificate).unwrap());
    std::fs::write(&own.certificate, chain.concat()).unwrap();
    tls.put(tls.prepare().unwrap());
    assert_eq!(tls.ends_at().unwrap().as_ms() / 1_000, end_of(&dir.path().join("issuer.crt")));
}

#[tokio::test]
async fn who_is_connected_goes_on_and_who_comes_is_shown_the_new_certificate() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let (old, new) = (Pair::make(dir.path(), "old").unwrap(), Pair::make(dir.path(), "new").unwrap());
    old.copy_to(&own);
    let tls = Arc::new(Tls::open(&own.certificate, &own.key).unwrap());
    let server = served(&tls, Timeouts::default()).await;
    let address = server.address.to_string();
    let mut open = old.connect(&address).await.unwrap();
    assert_eq!(open.get_ref().1.alpn_protocol(), Some(b"http/1.1".as_slice()));
    probe(&mut open).await;
    assert!(new.connect(&address).await.is_err(), "it is checked whom the client speaks to");

    // One file without the other is no change.
    std::fs::copy(&new.certificate, &own.certificate).unwrap();
    let wrong = tls.prepare().unwrap_err();
    assert_eq!(wrong, TlsError::Key(format!("is not the key of {}", own.certificate.display()), own.key.clone()));
    probe(&mut old.connect(&address).await.unwrap()).await;

    new.copy_to(&own);
    tls.put(tls.prepare().unwrap());
    probe(&mut open).await;
    probe(&mut new.connect(&address).await.unwrap()).await;
    assert!(old.connect(&address).await.is_err());
    probe(&mut open).await;
}

#[tokio::test]
async fn a_usual_client_with_the_own_root_is_answered() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let tls = Arc::new(Tls::open(&own.certificate, &own.key).unwrap());
    let server = served(&tls, Timeouts::default()).await;
    let root = reqwest::Certificate::from_pem(&std::fs::read(&own.certificate).unwrap()).unwrap();
    let client = reqwest::Client::builder().tls_certs_only([root]).no_proxy().build().unwrap();
    let ask = client.get(format!("https://{}/graphql?query=%7B__typename%7D", server.address));
    #[expect(clippy::disallowed_methods, reason = "a gateway is asked, and no vendor")]
    let answer = in_time(ask.send()).await.unwrap();
    let answer = answer.text().await.unwrap();
    assert!(answer.contains(r#""data":{"__typename":"Query"}"#), "{answer}");
}

#[tokio::test]
async fn what_is_no_handshake_is_given_up_and_holds_nobody_up() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let tls = Arc::new(Tls::open(&own.certificate, &own.key).unwrap());
    let brief = Timeouts { handshake: Duration::from_millis(50), ..Timeouts::default() };
    let server = served(&tls, brief).await;
    let mut silent = server.connect().await;
    assert_eq!(in_time(silent.read(&mut [0; 1])).await.unwrap(), 0, "closed");
    let mut plain = server.connect().await;
    plain.write_all(PROBE).await.unwrap();
    let mut heard = Vec::new();
    let _reset_or_closed = in_time(plain.read_to_end(&mut heard)).await;
    assert!(!heard.starts_with(b"HTTP/1.1 200"), "{heard:?}");

    // Those that have agreed on nothing yet make room like those that have asked for nothing.
    let patient = Timeouts { max_connections: 5, handshake: Duration::from_hours(1), ..Timeouts::default() };
    let mut server = served(&tls, patient).await;
    let mut silent = Vec::new();
    for _ in 0..20 {
        silent.push(server.connect().await);
    }
    probe(&mut own.connect(&server.address.to_string()).await.unwrap()).await;
    server.begin_to_stop();
    in_time(server.stopped()).await;
}

#[tokio::test]
async fn files_that_do_not_do_are_named_and_nothing_of_a_key_is_shown() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let other = Pair::make(dir.path(), "other").unwrap();
    let nowhere = dir.path().join("nowhere.pem");
    let noise = dir.path().join("noise.pem");
    std::fs::write(&noise, "canary canary").unwrap();
    let broken = dir.path().join("broken.pem");
    std::fs::write(&broken, "-----BEGIN CERTIFICATE-----\nY2FuYXJ5\n-----END CERTIFICATE-----\n").unwrap();
    for (certificate, key, parts) in [
        (&nowhere, &own.key, ["`http.tls.certificate`: ", "nowhere.pem: no such file"]),
        (&own.certificate, &nowhere, ["`http.tls.key`: ", "nowhere.pem: no such file"]),
        (&noise, &own.key, ["`http.tls.certificate`: ", "holds no certificate in PEM"]),
        (&own.key, &own.key, ["`http.tls.certificate`: ", "holds no certificate in PEM"]),
        (&own.certificate, &noise, ["`http.tls.key`: ", "holds no private key in PEM"]),
        (&own.certificate, &own.certificate, ["`http.tls.key`: ", "holds no private key in PEM"]),
        (&broken, &own.key, ["`http.tls.", "broken.pem"]),
        (&own.certificate, &other.key, ["`http.tls.key`: ", "own.crt"]),
        (&dir.path().to_owned(), &own.key, ["`http.tls.certificate`: ", "cannot be read"]),
    ] {
        let error = Tls::open(certificate, key).unwrap_err();
        let shown = error.to_string();
        assert!(parts.iter().all(|part| shown.contains(part)), "{parts:?}: {shown}");
        let secret = std::fs::read_to_string(&own.key).unwrap();
        let secret = secret.lines().nth(1).unwrap();
        assert!(!format!("{error:?}").contains(secret) && !shown.contains("canary"), "{shown}");
    }
}

/// The whole of it as a process: what is printed, what SIGHUP does, and what a wrong config is told.
#[tokio::test]
async fn serve_speaks_tls_and_reads_its_files_again_on_sighup() {
    let dir = tempfile::tempdir().unwrap();
    let Some(own) = Pair::make(dir.path(), "own") else { return };
    let (old, new) = (Pair::make(dir.path(), "old").unwrap(), Pair::make(dir.path(), "new").unwrap());
    old.copy_to(&own);
    let simulator = Process::simulate(&[]).await;
    let tls =
        format!("http.tls = {{ certificate = \"{}\", key = \"{}\" }}", own.certificate.display(), own.key.display());
    let file = config(dir.path(), &simulator.address, &tls);
    let checked = run(&["check", "--config", file.to_str().unwrap()]).await;
    assert_eq!(checked.code, Some(0), "{checked:?}");
    assert!(checked.out.contains("https://127.0.0.1:") && checked.out.contains("own.crt"), "{checked:?}");

    let mut weir = Process::serve(&file).await;
    weir.has_printed(&format!("url=https://{}", weir.address)).await;
    let mut open = old.connect(&weir.address).await.unwrap();
    probe(&mut open).await;
    std::fs::remove_file(&own.key).unwrap();
    send_signal("HUP", weir.pid());
    weir.has_printed("nothing was reloaded").await;
    probe(&mut old.connect(&weir.address).await.unwrap()).await;
    new.copy_to(&own);
    send_signal("HUP", weir.pid());
    weir.has_printed(" reloaded what=").await;
    probe(&mut new.connect(&weir.address).await.unwrap()).await;
    probe(&mut open).await;
    drop(open);
    weir.terminate().await;
    assert!(weir.ended().await.success());

    std::fs::copy(&old.key, &own.key).unwrap();
    for command in ["check", "serve"] {
        let refused = run(&[command, "--config", file.to_str().unwrap()]).await;
        assert_eq!(refused.code, Some(2), "{refused:?}");
        assert!(refused.err.contains("`http.tls.key`") && refused.err.contains("is not the key of"), "{refused:?}");
    }
}
