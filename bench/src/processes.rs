//! The processes under test: started, found by the address that they print, killed when dropped.

use std::fmt::Write as _;
use std::fs::{self, File};
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;
use crate::client::{Answer, Connection};

/// The channel that is measured: 14 phones.
pub(crate) const CHANNEL: &str = "cams-delta";

/// A folder for configs, fixtures and logs; removed when dropped.
#[derive(Debug)]
pub(crate) struct Folder(PathBuf);

impl Folder {
    pub(crate) fn new() -> Outcome<Self> {
        let path = std::env::temp_dir().join(format!("weir-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    pub(crate) fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }

    pub(crate) fn write(&self, name: &str, text: impl AsRef<[u8]>) -> Outcome<PathBuf> {
        let path = self.file(name);
        fs::write(&path, text)?;
        Ok(path)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // It is in the folder for temporary files: whoever cleans that up takes it too.
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// A running process and where it listens.
#[derive(Debug)]
pub(crate) struct Server {
    child: Child,
    pub(crate) address: String,
    /// What it asks for.
    pub(crate) key: Option<&'static str>,
    /// Its vendors, which end with it.
    vendors: Option<Box<Server>>,
}

impl Server {
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }

    /// Where its vendors listen.
    pub(crate) fn vendors(&self) -> Option<&str> {
        self.vendors.as_deref().map(|vendors| vendors.address.as_str())
    }

    /// A connection on which it is shown what it asks for.
    pub(crate) fn connect(&self) -> Outcome<Connection> {
        Ok(Connection::open(&self.address)?.showing(self.key))
    }

    /// One POST on a connection of its own.
    pub(crate) fn post(&self, path: &str, body: &str) -> Outcome<Answer> {
        self.connect()?.post(path, body)
    }

    /// A yardstick: this program in another role.
    pub(crate) fn yardstick(role: &str, fixture: &Path) -> Outcome<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.arg(role).arg(fixture).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let address = address(child.stdout.take().ok_or("no output")?, "listening on ")?;
        Ok(Self { child, address, key: None, vendors: None })
    }

    /// `weir serve` before vendors of its own.
    pub(crate) fn weir(folder: &Folder, setup: &Setup) -> Outcome<Self> {
        let mut command = Command::new(weir()?);
        command.args(["simulate", "--listen", "127.0.0.1:0"]).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let vendors = address(child.stdout.take().ok_or("no output")?, "invented data, at http://")?;
        let vendors = Self { child, address: vendors, key: None, vendors: None };
        Self::serve(folder, setup, vendors)
    }

    fn serve(folder: &Folder, setup: &Setup, vendors: Self) -> Outcome<Self> {
        let log = folder.file(&format!("{}.log", setup.name));
        let mut command = setup.command(folder, &vendors.address, "127.0.0.1:0")?;
        let mut child = command.stderr(File::create(&log)?).spawn()?;
        // The line with the address is logged at the level that has the access log; without it, the socket tells.
        let address = listening(&mut child)?;
        Ok(Self { child, address, key: setup.key, vendors: Some(Box::new(vendors)) })
    }

    /// How long `weir serve` takes from its start to its first answer on `/health/ready`.
    pub(crate) fn time_to_ready(folder: &Folder, setup: &Setup) -> Outcome<Duration> {
        let port = std::net::TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let mut command = setup.command(folder, "127.0.0.1:9", &port.to_string())?;
        let began = Instant::now();
        let child = command.stderr(Stdio::null()).spawn()?;
        let server = Self { child, address: port.to_string(), key: None, vendors: None };
        loop {
            let ready = Connection::open(&server.address).and_then(|mut to| to.get("/health/ready"));
            if ready.is_ok_and(|answer| answer.status == 200) {
                return Ok(began.elapsed());
            }
            if began.elapsed() > Duration::from_secs(10) {
                return Err("weir is not ready after 10 seconds".into());
            }
            std::thread::sleep(Duration::from_micros(200));
        }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It has ended already, or it ends now.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// How a weir is started.
#[derive(Debug, Clone)]
pub(crate) struct Setup {
    pub(crate) name: &'static str,
    /// Whether requests are logged, to a file.
    pub(crate) access_log: bool,
    /// `cache.max_bytes`.
    pub(crate) max_bytes: &'static str,
    /// Channels beside the one that is measured.
    pub(crate) channels: Vec<String>,
    /// `upstream.max_rows`.
    pub(crate) call_rows: u32,
    /// A key that whoever asks has to show, and its hash.
    pub(crate) key: Option<&'static str>,
}

/// A key, and the `hash` of it in a config.
pub(crate) const KEY: &str = "weir_bench";
const HASH: &str = "sha256:248777e387cf8da4e76ee08c1c83a903f8d7a7ef76c02c4c367e8f898700e3d5";

impl Setup {
    pub(crate) fn new(name: &'static str) -> Self {
        Self { name, access_log: false, max_bytes: "256MiB", channels: Vec::new(), call_rows: 100_000, key: None }
    }

    fn command(&self, folder: &Folder, vendors: &str, listen: &str) -> Outcome<Command> {
        let mut channels = format!("{CHANNEL:?}");
        for channel in &self.channels {
            write!(channels, ", {channel:?}")?;
        }
        let keys = self.key.map(|_| format!("[[api_keys]]\nname = \"bench\"\nhash = {HASH:?}\n")).unwrap_or_default();
        let config = format!(
            "state_dir = \"{state}\"\n[cache]\nmax_bytes = {:?}\n[upstream]\nmax_rows = {}\n[[alibaba_cams]]\nname = \"retail\"\n\
             endpoint = \"http://{vendors}\"\naccess_key_id = \"weir-demo\"\naccess_key_secret = \"weir-demo-secret\"\n\
             channels = [{channels}]\n{keys}",
            self.max_bytes,
            self.call_rows,
            state = folder.file(&format!("{}-state", self.name)).display(),
        );
        let config = folder.write(&format!("{}.toml", self.name), config)?;
        let mut command = Command::new(weir()?);
        command.args(["serve", "--listen", listen, "--config"]).arg(config);
        command.args(["--log", if self.access_log { "warn,weir=info" } else { "warn" }]);
        command.env_remove("WEIR_LOG").stdin(Stdio::null()).stdout(Stdio::null());
        Ok(command)
    }
}

/// The release binary beside this one.
fn weir() -> Outcome<PathBuf> {
    let path = std::env::current_exe()?.with_file_name("weir");
    if path.is_file() { Ok(path) } else { Err("weir is not built; scripts/bench.sh builds it".into()) }
}

/// Reads what is printed up to the address; the rest is left unread.
fn address(printed: impl std::io::Read, before: &str) -> Outcome<String> {
    for line in BufReader::new(printed).lines() {
        if let Some((_, rest)) = line?.split_once(before) {
            return Ok(rest.split(['/', ' ']).next().unwrap_or_default().to_owned());
        }
    }
    Err("a server ended before it listened".into())
}

/// The address that a process listens on, from the sockets that it holds.
fn listening(child: &mut Child) -> Outcome<String> {
    for _ in 0..10_000 {
        if let Some(status) = child.try_wait()? {
            return Err(format!("weir ended: {status}").into());
        }
        if let Some(port) = listening_port(child.id()) {
            return Ok(format!("127.0.0.1:{port}"));
        }
        std::thread::sleep(Duration::from_millis(1));
    }
    Err("weir does not listen".into())
}

fn listening_port(pid: u32) -> Option<u16> {
    let held: Vec<_> =
        fs::read_dir(format!("/proc/{pid}/fd")).ok()?.filter_map(|fd| fs::read_link(fd.ok()?.path()).ok()).collect();
    let sockets = fs::read_to_string("/proc/net/tcp").ok()?;
    sockets.lines().skip(1).find_map(|line| {
        let fields: Vec<_> = line.split_whitespace().collect();
        let inode = format!("socket:[{}]", fields.get(9)?);
        let is_listening = fields.get(3) == Some(&"0A");
        let is_held = held.iter().any(|link| link.as_os_str() == inode.as_str());
        let port = fields.get(1)?.rsplit(':').next()?;
        if is_listening && is_held { u16::from_str_radix(port, 16).ok() } else { None }
    })
}
