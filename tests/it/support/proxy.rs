//! nginx and Caddy as `deploy/` has them, before gateways of a test: the very files, with ports and folders of the test's own.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU16, Ordering};
use std::time::Duration;

use reqwest::{Client, Method, RequestBuilder, Response};
use serde_json::{Value, json};

use super::{certificate, require};

/// The name in the files.
pub(crate) const NAME: &str = "metrics.example.com";
/// The key of somebody who may ask for everything.
pub(crate) const KEY: &str = "weir_key-of-the-dashboards";

/// Which proxy.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    Nginx,
    Caddy,
}

/// A running proxy, and a caller that trusts its certificate. Dropped, it is killed.
pub(crate) struct Proxy {
    child: Child,
    /// Where it speaks TLS.
    port: u16,
    /// Where it does not.
    pub(crate) plain: u16,
    pub(crate) client: Client,
    dir: tempfile::TempDir,
}

impl Proxy {
    /// Starts one before `replicas`; `None` where there is none, after saying so.
    pub(crate) async fn start(kind: Kind, replicas: [&str; 2]) -> Option<Self> {
        let name = if kind == Kind::Nginx { "nginx" } else { "caddy" };
        let program = require::program(name, &format!("install it (Debian: apt-get install {name})"))?;
        let dir = tempfile::Builder::new().prefix("weir-proxy-").tempdir().unwrap();
        // nginx's workers have given up its rights, and keep what is long in files here.
        fs::set_permissions(dir.path(), fs::Permissions::from_mode(0o755)).unwrap();
        fs::create_dir(dir.path().join("tls")).unwrap();
        let [certificate, key] = ["tls/metrics.pem", "tls/metrics.key"].map(|file| dir.path().join(file));
        let certificate = certificate::make(certificate, &key, &format!("DNS:{NAME}"))?;
        let (port, plain) = (free_port(), free_port());
        let mut command = match kind {
            Kind::Nginx => nginx(&program, dir.path(), (port, plain), replicas),
            Kind::Caddy => caddy(&program, dir.path(), (port, plain), replicas),
        };
        let log = fs::File::create(dir.path().join("log")).unwrap();
        let child = command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log).spawn().unwrap();
        let root = reqwest::Certificate::from_pem(&fs::read(certificate).unwrap()).unwrap();
        let client = Client::builder()
            .tls_certs_only([root])
            .resolve(NAME, SocketAddr::from(([127, 0, 0, 1], port)))
            .redirect(reqwest::redirect::Policy::none())
            .http1_only()
            // The proxy may end a connection in the moment in which it is used again.
            .pool_max_idle_per_host(0)
            .build()
            .unwrap();
        let mut proxy = Self { child, port, plain, client, dir };
        proxy.answers().await;
        Some(proxy)
    }

    async fn answers(&mut self) {
        for _ in 0..1_000 {
            assert_eq!(self.child.try_wait().unwrap(), None, "{}", self.log());
            if send(self.asked(Method::GET, "/")).await.is_ok() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the proxy does not answer");
    }

    pub(crate) fn origin(&self) -> String {
        format!("https://{NAME}:{}", self.port)
    }

    /// All that it has logged.
    pub(crate) fn log(&self) -> String {
        fs::read_to_string(self.dir.path().join("log")).unwrap()
    }

    /// A request without a key.
    pub(crate) fn unnamed(&self, method: Method, path: &str) -> RequestBuilder {
        self.client.request(method, format!("{}{path}", self.origin()))
    }

    /// A request of somebody who may ask.
    pub(crate) fn asked(&self, method: Method, path: &str) -> RequestBuilder {
        self.unnamed(method, path).bearer_auth(KEY)
    }

    pub(crate) fn query(&self, query: &str) -> RequestBuilder {
        let body = json!({ "query": query }).to_string();
        self.asked(Method::POST, "/graphql").header("content-type", "application/json").body(body)
    }

    pub(crate) async fn answer(&self, query: &str) -> Value {
        let answer = send(self.query(query)).await.unwrap();
        assert_eq!(answer.status(), 200);
        serde_json::from_str(&answer.text().await.unwrap()).unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        // nginx's workers end with it when it is told, and not when it is killed.
        super::redis::send_signal("TERM", self.child.id());
        drop(self.child.wait());
    }
}

/// Sends a request to a proxy of ours.
pub(crate) async fn send(request: RequestBuilder) -> reqwest::Result<Response> {
    #[expect(clippy::disallowed_methods, reason = "who answers is a gateway: it holds the permits")]
    request.send().await
}

/// A free port that nobody is given by chance: a process that is restarted finds it free again.
pub(crate) fn free_port() -> u16 {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let first = u16::try_from(std::process::id() % 1_000).unwrap() * 12;
    let mut ports = (0..12_000).map(|_| 20_000 + (first + NEXT.fetch_add(1, Ordering::Relaxed)) % 12_000);
    ports.find(|port| TcpListener::bind(("127.0.0.1", *port)).is_ok()).unwrap()
}

/// A file of `deploy/` with other words for some of its own.
fn adapted(file: &str, words: &[(&str, &str)]) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(file);
    let text = fs::read_to_string(path).unwrap();
    words.iter().fold(text, |text, (own, ours)| {
        assert!(text.contains(own), "{own:?} is not in deploy/{file}");
        text.replace(own, ours)
    })
}

fn nginx(program: &Path, dir: &Path, (port, plain): (u16, u16), [first, second]: [&str; 2]) -> Command {
    let folder = dir.display().to_string();
    let site = adapted(
        "nginx.conf",
        &[
            ("    listen [::]:80;\n", ""),
            ("    listen [::]:443 ssl;\n", ""),
            ("    listen [::]:443 ssl default_server;\n", ""),
            ("listen 80;", &format!("listen 127.0.0.1:{plain};")),
            ("listen 443 ssl", &format!("listen 127.0.0.1:{port} ssl")),
            ("weir-1:8080 max", &format!("{first} max")),
            ("weir-2:8080 max", &format!("{second} max")),
            ("/etc/nginx", &folder),
        ],
    );
    fs::write(dir.join("weir.conf"), site).unwrap();
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("{kind}_temp_path {folder}/{kind};\n"))
        .concat();
    let whole = format!(
        "daemon off;\nworker_processes 2;\npid {folder}/pid;\nevents {{}}\nhttp {{\naccess_log off;\n{temporary}include {folder}/weir.conf;\n}}\n"
    );
    fs::write(dir.join("nginx.conf"), whole).unwrap();
    let mut command = Command::new(program);
    command.arg("-c").arg(dir.join("nginx.conf")).args(["-e", "stderr"]);
    command
}

fn caddy(program: &Path, dir: &Path, (port, plain): (u16, u16), [first, second]: [&str; 2]) -> Command {
    let folder = dir.display();
    let ours = format!("\n{{\n\tadmin off\n\tskip_install_trust\n\thttp_port {plain}\n\thttps_port {port}\n");
    let site = adapted(
        "Caddyfile",
        &[
            ("\n{\n", &ours),
            (
                &format!("\n{NAME} {{\n"),
                &format!("\n{NAME} {{\n\tbind 127.0.0.1\n\ttls {folder}/tls/metrics.pem {folder}/tls/metrics.key\n"),
            ),
            ("weir-1:8080 weir-2:8080", &format!("{first} {second}")),
        ],
    );
    let config = dir.join("Caddyfile");
    fs::write(&config, site).unwrap();
    let mut command = Command::new(program);
    command.args(["run", "--adapter", "caddyfile", "--config"]).arg(config).env_clear();
    command.env("HOME", dir);
    command
}
