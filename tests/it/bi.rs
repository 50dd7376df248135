//! Rows as real tools read them, from pandas to curl, before a gateway in the test's own process. What `docs/bi` shows is run from there ([`recipes`]).

mod frames;
mod moments;
mod recipes;

use std::path::{Path, PathBuf};

use serde_json::Value;
use tempfile::TempDir;
use tokio::process::Command;
use weir::http::{HttpConfig, Timeouts};

use crate::support::process::in_time;
use crate::support::server::Server;
use crate::support::{TestGateway, require};

/// A gateway that listens, and the tools that ask it.
struct Bench {
    gateway: TestGateway,
    server: Server,
    python: PathBuf,
    /// Where the tools live and keep what they keep.
    home: TempDir,
}

/// What a program did.
struct Ran {
    what: String,
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn ok(self) -> Self {
        assert_eq!(self.code, Some(0), "{}: {}{}", self.what, self.out, self.err);
        self
    }

    /// The last line that it printed.
    fn json(self) -> Value {
        let ran = self.ok();
        let last = ran.out.lines().last().unwrap_or_else(|| panic!("{} says nothing", ran.what));
        serde_json::from_str(last).unwrap_or_else(|_| panic!("{}: {}{}", ran.what, ran.out, ran.err))
    }
}

fn clients() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/bi")
}

impl Bench {
    /// `None` where the Python clients are not installed.
    async fn start() -> Option<Self> {
        Self::before(TestGateway::start()).await
    }

    async fn before(gateway: TestGateway) -> Option<Self> {
        require::file("tests/clients/bi/.venv/.weir-requirements", "run: make test")?;
        let python = require::file("tests/clients/bi/.venv/bin/python", "run: make test")?;
        let server = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
        Some(Self { gateway, server, python, home: tempfile::tempdir().unwrap() })
    }

    /// A program in an environment that holds nothing of ours: no proxy, no key of somebody's own.
    fn command(&self, program: &Path, args: &[&str]) -> Command {
        let home = self.home.path();
        let mut command = Command::new(program);
        command.args(args).current_dir(home).env_clear().kill_on_drop(true);
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).env("HOME", home);
        command.env("LANG", "C.UTF-8").env("PYTHONUTF8", "1").env("PYTHONDONTWRITEBYTECODE", "1");
        command.env("RUNTIME__DLTHUB_TELEMETRY", "false");
        // For root dlt would choose a folder of the system, and find there what another test has left.
        command.env("DLT_DATA_DIR", home.join("dlt"));
        command
    }

    /// Runs it to its end.
    async fn run(&self, program: &Path, args: &[&str]) -> Ran {
        let output = in_time(self.command(program, args).output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let what = format!("{} {}", program.display(), args.join(" "));
        Ran { what, code: output.status.code(), out: text(&output.stdout), err: text(&output.stderr) }
    }

    /// Runs a program of `tests/clients/bi`.
    async fn python(&self, file: &str, args: &[&str]) -> Ran {
        let file = clients().join(file);
        self.run(&self.python, &[&[file.to_str().unwrap()], args].concat()).await
    }

    /// Asks the door itself.
    async fn get(&self, path: &str) -> (u16, String) {
        let request = format!("GET {path} HTTP/1.1\r\nhost: {}\r\nconnection: close\r\n\r\n", self.server.address);
        let answer = self.server.raw(request).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split(' ').nth(1).unwrap().parse().unwrap();
        let is_chunked = head.to_lowercase().contains("transfer-encoding: chunked");
        (status, if is_chunked { unchunked(body) } else { body.to_owned() })
    }

    /// The rows of a dataset, as JSON has them.
    async fn rows(&self, dataset: &str, query: &str) -> Vec<Value> {
        let (status, body) = self.get(&format!("/rows/{dataset}.json?{query}")).await;
        assert_eq!(status, 200, "{body}");
        let answer: Value = serde_json::from_str(&body).unwrap();
        answer["rows"].as_array().unwrap().clone()
    }
}

fn unchunked(mut body: &str) -> String {
    let mut whole = String::new();
    while let Some((length, rest)) = body.split_once("\r\n") {
        let length = usize::from_str_radix(length, 16).unwrap();
        if length == 0 {
            break;
        }
        whole += &rest[..length];
        body = &rest[length + 2..];
    }
    whole
}
