//! weir as people run it: a process of its own, on a loopback port that the system chooses.

use std::path::{Path, PathBuf};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::process::{Child, Command};
use tokio::sync::watch;
use weir::config::Config;
use weir::quota::state_file::StateFile;
use weir::vendor::{alibaba_cams, volcengine_rtc};

use super::{fast_path, require};

/// How long a process may take for anything before a test gives it up: only a broken one takes that long.
const PATIENCE: Duration = Duration::from_mins(1);

/// Any free loopback port.
const ANY: &str = "127.0.0.1:0";

/// A running weir. Dropped, it is killed.
pub(crate) struct Process {
    child: Child,
    printed: watch::Receiver<String>,
    /// Where it listens.
    pub(crate) address: String,
}

/// What a finished weir left behind.
#[derive(Debug)]
pub(crate) struct Finished {
    pub(crate) code: Option<i32>,
    pub(crate) out: String,
    pub(crate) err: String,
}

/// The built binary, without anything of our environment.
fn weir(args: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(args).env_clear().env("HOME", "/nonexistent").stdin(Stdio::null()).kill_on_drop(true);
    command
}

/// Runs a command that ends by itself.
pub(crate) async fn run(args: &[&str]) -> Finished {
    let output = in_time(weir(args).output()).await.unwrap();
    let text = |bytes| String::from_utf8(bytes).unwrap();
    Finished { code: output.status.code(), out: text(output.stdout), err: text(output.stderr) }
}

impl Process {
    /// `weir simulate`.
    pub(crate) async fn simulate(more: &[&str]) -> Self {
        Self::start(&[&["simulate", "--listen", ANY], more].concat(), "invented data, at http://").await
    }

    /// `weir demo`.
    pub(crate) async fn demo() -> Self {
        Self::start(&["demo", "--listen", ANY], "GraphiQL   http://").await
    }

    /// `weir serve`.
    pub(crate) async fn serve(config: &Path) -> Self {
        Self::serve_in(config, &[]).await
    }

    /// `weir serve` with variables in its environment.
    pub(crate) async fn serve_in(config: &Path, env: &[(&str, String)]) -> Self {
        Self::serve_at(ANY, config, env).await
    }

    /// The same where a proxy expects it.
    pub(crate) async fn serve_at(address: &str, config: &Path, env: &[(&str, String)]) -> Self {
        let mut command = weir(&["serve", "--listen", address, "--config", config.to_str().unwrap()]);
        command.envs(env.iter().map(|(name, value)| (name, value)));
        Self::spawn(command, "listening address=").await
    }

    async fn start(args: &[&str], before_address: &str) -> Self {
        Self::spawn(weir(args), before_address).await
    }

    async fn spawn(mut command: Command, before_address: &str) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, printed) = watch::channel(String::new());
        tokio::spawn(collect(child.stdout.take().unwrap(), sender.clone()));
        tokio::spawn(collect(child.stderr.take().unwrap(), sender));
        let mut this = Self { child, printed, address: String::new() };
        let printed = this.has_printed(before_address).await;
        let (_, rest) = printed.split_once(before_address).unwrap();
        rest.split(['/', ' ', '\n']).next().unwrap().clone_into(&mut this.address);
        this
    }

    /// All that it has printed, once `part` is in a whole line of it.
    pub(crate) async fn has_printed(&self, part: &str) -> String {
        let mut printed = self.printed.clone();
        let whole_line = |text: &String| text.split_once(part).is_some_and(|(_, rest)| rest.contains('\n'));
        let found = in_time(printed.wait_for(whole_line)).await.map(|text| text.clone());
        found.unwrap_or_else(|_| panic!("weir ended without {part:?}: {}", self.printed.borrow().as_str()))
    }

    /// Its process id.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id().unwrap()
    }

    /// Runs a GraphQL query.
    pub(crate) async fn query(&self, query: &str) -> Value {
        self.post("/graphql", &json!({ "query": query })).await
    }

    /// Sends a GraphQL query and leaves its answer unread, for as long as what comes back is kept.
    pub(crate) async fn ask(&self, query: &str) -> TcpStream {
        let mut stream = in_time(TcpStream::connect(&self.address)).await.unwrap();
        let body = json!({ "query": query }).to_string();
        stream.write_all(request(&self.address, "POST", "/graphql", &body).as_bytes()).await.unwrap();
        stream
    }

    pub(crate) async fn post(&self, path: &str, body: &Value) -> Value {
        exchange(&self.address, "POST", path, &body.to_string()).await
    }

    pub(crate) async fn get(&self, path: &str) -> Value {
        exchange(&self.address, "GET", path, "").await
    }

    /// For a simulator: how many requests have arrived and ended, and when the last of them did, in milliseconds since
    /// its start.
    pub(crate) async fn arrivals(&self) -> Vec<(String, f64)> {
        let arrivals = self.get("/_sim/arrivals").await;
        let arrival = |one: &Value| (one["operation"].as_str().unwrap().to_owned(), one["atMs"].as_f64().unwrap());
        arrivals.as_array().unwrap().iter().map(arrival).collect()
    }

    /// Asks it to end, as an operator or a service manager does.
    pub(crate) async fn terminate(&self) {
        let status = Command::new("kill").args(["-TERM", &self.pid().to_string()]).status().await.unwrap();
        assert!(status.success());
    }

    /// Kills it: it gets no chance to put anything away.
    pub(crate) async fn kill(mut self) {
        self.child.kill().await.unwrap();
    }

    /// Waits for its end.
    pub(crate) async fn ended(&mut self) -> ExitStatus {
        in_time(self.child.wait()).await.unwrap()
    }
}

/// The environment of a process whose wall clock is wrong by `offset`, like `-5s`, and whose other clocks are right;
/// `None` where there is no faketime, after saying so.
pub(crate) async fn wrong_clock(offset: &str) -> Option<Vec<(&'static str, String)>> {
    let faketime = require::program("faketime", "install it (Debian: apt-get install faketime)")?;
    // The library is asked for and loaded by ourselves: behind faketime our process would be its child, and outlive it.
    let output = in_time(Command::new(faketime).args(["-f", offset, "printenv", "LD_PRELOAD"]).output()).await.unwrap();
    let library = String::from_utf8(output.stdout).unwrap().trim().to_owned();
    assert!(library.contains("libfaketime"), "faketime preloads {library:?}");
    let alone = "DONT_FAKE_MONOTONIC";
    Some(vec![("LD_PRELOAD", library), ("FAKETIME", offset.to_owned()), (alone, "1".to_owned())])
}

/// A config file with one account of each vendor before the simulator at `address`, and its state beside it, which tells
/// of a clean end: only a start that knows nothing waits for the guard.
pub(crate) fn config(dir: &Path, address: &str, more: &str) -> PathBuf {
    let account = format!(
        "endpoint = \"http://{address}\"\naccess_key_id = \"weir-demo\"\naccess_key_secret = \"weir-demo-secret\"\n"
    );
    let text = format!(
        "state_dir = \"{}\"\n{}{more}\n\
         [[alibaba_cams]]\nname = \"retail\"\nchannels = [\"cams-alpha\", \"cams-beta\"]\n{account}\
         [[volcengine_rtc]]\nname = \"calls\"\napps = [\"app-one\"]\n{account}",
        dir.join("state").display(),
        fast_path::line(more)
    );
    let path = dir.join("weir.toml");
    std::fs::write(&path, text).unwrap();
    note_a_clean_end(&path);
    path
}

/// Leaves the state files of a process that has ended cleanly.
pub(crate) fn note_a_clean_end(config: &Path) {
    let config = Config::load(config, &|_| None).unwrap();
    let cams = config.alibaba_cams.iter().map(alibaba_cams::Config::account);
    let accounts = cams.chain(config.volcengine_rtc.iter().map(volcengine_rtc::Config::account));
    for account in accounts {
        StateFile::take(&config.state_dir, &account.unwrap()).unwrap().end_cleanly().unwrap();
    }
}

fn request(address: &str, method: &str, path: &str, body: &str) -> String {
    format!(
        "{method} {path} HTTP/1.1\r\nhost: {address}\r\nconnection: close\r\naccept: application/json\r\n\
         content-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    )
}

/// One exchange on a connection of its own: all that comes back.
async fn send(address: &str, request: &str) -> std::io::Result<String> {
    let mut answer = String::new();
    in_time(async {
        let mut stream = TcpStream::connect(address).await?;
        stream.write_all(request.as_bytes()).await?;
        stream.read_to_string(&mut answer).await
    })
    .await?;
    Ok(answer)
}

/// The body of the answer as JSON, null where there is none.
async fn exchange(address: &str, method: &str, path: &str, body: &str) -> Value {
    let answer = send(address, &request(address, method, path, body)).await.unwrap();
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    if body.is_empty() { Value::Null } else { serde_json::from_str(body).unwrap_or_else(|_| panic!("{head}\n{body}")) }
}

/// Runs a GraphQL query at `address`; `None` where nobody answers, as while a process ends.
pub(crate) async fn try_query(address: &str, query: &str) -> Option<Value> {
    let body = json!({ "query": query }).to_string();
    let answer = send(address, &request(address, "POST", "/graphql", &body)).await.ok()?;
    serde_json::from_str(answer.split_once("\r\n\r\n")?.1).ok()
}

async fn collect(mut stream: impl AsyncRead + Unpin, printed: watch::Sender<String>) {
    let mut piece = [0; 4_096];
    while let Ok(length @ 1..) = stream.read(&mut piece).await {
        printed.send_modify(|text| text.push_str(&String::from_utf8_lossy(&piece[..length])));
    }
}

pub(crate) async fn in_time<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("it does not take that long")
}
