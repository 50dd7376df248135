//! A real redis-server of a test's own, on a free port, in a folder of its own; ended with the test.

use std::net::TcpListener;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use redis::aio::MultiplexedConnection;
use redis::{Client, FromRedisValue};

use super::require;

/// A running redis-server.
pub(crate) struct Redis {
    program: PathBuf,
    child: Child,
    port: u16,
    dir: tempfile::TempDir,
    options: Vec<&'static str>,
}

impl Redis {
    /// Starts one; `None` where there is no redis-server, after saying so.
    pub(crate) async fn start(options: &[&'static str]) -> Option<Self> {
        let program = require::program("redis-server", "install it (Debian: apt-get install redis-server)")?;
        // A port that was free may be another test's by the time it is taken: then the next one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let (dir, options) = (tempfile::tempdir().unwrap(), options.to_vec());
            let child = spawn(&program, port, &dir, &options);
            let mut redis = Self { program: program.clone(), child, port, dir, options };
            if redis.answers().await {
                return Some(redis);
            }
        }
        panic!("redis-server found no free port");
    }

    pub(crate) fn url(&self) -> String {
        format!("redis://127.0.0.1:{}", self.port)
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    pub(crate) async fn connection(&self) -> MultiplexedConnection {
        Client::open(self.url()).unwrap().get_multiplexed_async_connection().await.unwrap()
    }

    pub(crate) async fn run<T: FromRedisValue>(&self, command: &[&str]) -> T {
        let mut connection = self.connection().await;
        let mut built = redis::cmd(command[0]);
        built.arg(&command[1..]);
        built.query_async(&mut connection).await.unwrap()
    }

    /// Ends it as a crash does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was, with whatever it had written.
    pub(crate) async fn restart(&mut self) {
        self.child = spawn(&self.program, self.port, &self.dir, &self.options);
        assert!(self.answers().await, "redis-server ended: is port {} taken?", self.port);
    }

    pub(crate) fn signal(&self, signal: &str) {
        send_signal(signal, self.child.id());
    }

    /// Waits until this very process answers on its port; `false` if it ended instead.
    async fn answers(&mut self) -> bool {
        let ours = format!("process_id:{}", self.child.id());
        for _ in 0..500 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok(client) = Client::open(self.url())
                && let Ok(mut connection) = client.get_multiplexed_async_connection().await
                && let Ok(info) = redis::cmd("INFO").arg("server").query_async::<String>(&mut connection).await
                && info.lines().any(|line| line == ours)
            {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("redis-server does not answer on port {}", self.port);
    }
}

fn spawn(program: &PathBuf, port: u16, dir: &tempfile::TempDir, options: &[&str]) -> Child {
    Command::new(program)
        .args(["--port", &port.to_string(), "--bind", "127.0.0.1", "--save", "", "--dir"])
        .arg(dir.path())
        .args(options)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap()
}

/// Sends one process a signal, like `STOP`.
pub(crate) fn send_signal(signal: &str, process: u32) {
    let sent = Command::new("kill").args([&format!("-{signal}"), &process.to_string()]).status().unwrap();
    assert!(sent.success(), "kill -{signal} {process}");
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}
