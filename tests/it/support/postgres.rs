//! A real server of PostgreSQL of a test's own, on a free port, in a folder of its own; ended with the test.

use std::net::TcpListener;
use std::os::unix::fs::chown;
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::{Client, NoTls, SimpleQueryMessage};

use super::redis::send_signal;
use super::require;

/// The password of every role of a test's server.
pub(crate) const PASSWORD: &str = "a-s3cret of weir";

/// A running server, with a database `metrics` that `weir` owns, and a role `bi` that may do nothing yet.
pub(crate) struct Postgres {
    programs: PathBuf,
    child: Child,
    port: u16,
    dir: Arc<tempfile::TempDir>,
    user: Option<(u32, u32)>,
}

impl Postgres {
    /// Starts one; `None` where there is no server, after saying so.
    pub(crate) async fn start() -> Option<Self> {
        let programs = programs()?;
        let dir = Arc::new(tempfile::Builder::new().prefix("weir-pg-").tempdir().unwrap());
        let user = server_user();
        if let Some((user, group)) = user {
            chown(dir.path(), Some(user), Some(group)).unwrap();
        }
        let password = dir.path().join("password");
        std::fs::write(&password, PASSWORD).unwrap();
        if let Some((user, group)) = user {
            chown(&password, Some(user), Some(group)).unwrap();
        }
        let mut init = program(&programs, "initdb", user, dir.path());
        init.args(["--no-sync", "--encoding=UTF8", "--locale=C", "--auth=scram-sha-256", "--username=postgres"]);
        init.arg(format!("--pwfile={}", password.display())).arg("-D").arg(dir.path().join("data"));
        assert!(init.status().unwrap().success(), "initdb");
        // A port that was free may be another test's by the time it is taken: then the next one.
        for _ in 0..20 {
            let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
            let child = spawn(&programs, user, dir.path(), port);
            let mut server = Self { programs: programs.clone(), child, port, dir: Arc::clone(&dir), user };
            if server.answers().await {
                server.furnish().await;
                return Some(server);
            }
        }
        panic!("the server found no free port");
    }

    /// Where it listens.
    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Where weir's archive is.
    pub(crate) fn url(&self) -> String {
        self.url_of("weir")
    }

    /// The same as another role.
    pub(crate) fn url_of(&self, role: &str) -> String {
        format!("postgres://{role}:{}@127.0.0.1:{}/metrics", PASSWORD.replace(' ', "%20"), self.port)
    }

    /// A connection of a role.
    pub(crate) async fn client(&self, role: &str) -> Client {
        let (client, connection) = tokio_postgres::connect(&self.url_of(role), NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    /// Runs statements as the superuser in weir's database.
    pub(crate) async fn run(&self, sql: &str) {
        self.client("postgres").await.batch_execute(sql).await.unwrap();
    }

    /// The first column of what a query as the superuser answers.
    pub(crate) async fn column(&self, sql: &str) -> Vec<String> {
        let found = self.client("postgres").await.simple_query(sql).await.unwrap();
        let rows = found.iter().filter_map(|message| match message {
            SimpleQueryMessage::Row(row) => Some(row.get(0).unwrap_or_default().to_owned()),
            _ => None,
        });
        rows.collect()
    }

    /// Ends it as a loss of power to the server's processes does.
    pub(crate) fn kill(&mut self) {
        // Its children see that it is gone, and end.
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// Starts it again where it was.
    pub(crate) async fn restart(&mut self) {
        for _ in 0..100 {
            self.child = spawn(&self.programs, self.user, self.dir.path(), self.port);
            if self.answers().await {
                return;
            }
            // What the one before has left behind is not gone yet.
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        panic!("the server does not start again");
    }

    /// Stops all of its processes where they are, or lets them go on.
    pub(crate) fn pause(&self, stop: bool) {
        let signal = if stop { "-STOP" } else { "-CONT" };
        let children = format!("/proc/{0}/task/{0}/children", self.child.id());
        let children = std::fs::read_to_string(children).unwrap();
        for process in std::iter::once(self.child.id().to_string().as_str()).chain(children.split_whitespace()) {
            // A child may have ended in the meantime.
            drop(Command::new("kill").args([signal, process]).stderr(Stdio::null()).status());
        }
    }

    /// Where files may be put for the server.
    pub(crate) fn folder(&self) -> &Path {
        self.dir.path()
    }

    /// From now on it shows the certificate of this name in its folder.
    pub(crate) async fn speak_tls(&mut self, name: &str) {
        let files = [("ssl_cert_file", "crt"), ("ssl_key_file", "key")].map(|(setting, kind)| {
            let file = self.dir.path().join(format!("{name}.{kind}"));
            if let Some((user, group)) = self.user {
                chown(&file, Some(user), Some(group)).unwrap();
            }
            format!("{setting} = '{}'\n", file.display())
        });
        let config = self.dir.path().join("data/postgresql.auto.conf");
        std::fs::write(config, format!("ssl = on\n{}", files.concat())).unwrap();
        self.kill();
        self.restart().await;
    }

    /// Moves weir's database to another disk.
    pub(crate) async fn move_to(&self, folder: &Path) {
        if let Some((user, group)) = self.user {
            chown(folder, Some(user), Some(group)).unwrap();
        }
        let client = self.administrator().await;
        let place = folder.display();
        client.batch_execute(&format!("CREATE TABLESPACE small LOCATION '{place}'")).await.unwrap();
        client.batch_execute("ALTER DATABASE metrics SET TABLESPACE small").await.unwrap();
    }

    /// A connection of the superuser to a database that weir knows nothing of.
    async fn administrator(&self) -> Client {
        let url = self.url_of("postgres").replace("/metrics", "/postgres");
        let (client, connection) = tokio_postgres::connect(&url, NoTls).await.unwrap();
        tokio::spawn(connection);
        client
    }

    async fn furnish(&self) {
        let client = self.administrator().await;
        for role in ["weir", "bi"] {
            client.batch_execute(&format!("CREATE ROLE {role} LOGIN PASSWORD '{PASSWORD}'")).await.unwrap();
        }
        client.batch_execute("CREATE DATABASE metrics OWNER weir").await.unwrap();
    }

    /// Waits until this very server answers on its port; `false` if it ended instead.
    async fn answers(&mut self) -> bool {
        let url = format!("postgres://postgres:{}@127.0.0.1:{}/postgres", PASSWORD.replace(' ', "%20"), self.port);
        for _ in 0..1_500 {
            if self.child.try_wait().unwrap().is_some() {
                return false;
            }
            if let Ok((client, connection)) = tokio_postgres::connect(&url, NoTls).await {
                let connection = tokio::spawn(connection);
                let own = client.query_one("SHOW data_directory", &[]).await.map(|row| row.get::<_, String>(0));
                connection.abort();
                if own.is_ok_and(|own| Path::new(&own).starts_with(self.dir.path())) {
                    return true;
                }
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        panic!("the server does not answer on port {}", self.port);
    }
}

impl Drop for Postgres {
    fn drop(&mut self) {
        // It may have ended by itself, or been killed by the test already.
        if self.child.try_wait().is_ok_and(|ended| ended.is_none()) {
            self.pause(false);
            // At once, with all of its children.
            send_signal("QUIT", self.child.id());
            drop(self.child.wait());
        }
    }
}

/// Where the programs of the newest server are.
fn programs() -> Option<PathBuf> {
    let versions = std::fs::read_dir("/usr/lib/postgresql").into_iter().flatten().flatten();
    let mut found: Vec<PathBuf> = versions.map(|version| version.path().join("bin")).collect();
    found.retain(|programs| programs.join("postgres").is_file());
    found.sort();
    require::there_or_left_out("postgres", found.pop(), "install it (Debian: apt-get install postgresql)")
}

/// The user and group that a server runs as, where we are root, which it refuses.
fn server_user() -> Option<(u32, u32)> {
    let id = |args: &[&str]| -> u32 {
        let output = Command::new("id").args(args).output().unwrap();
        String::from_utf8(output.stdout).unwrap().trim().parse().unwrap()
    };
    (id(&["-u"]) == 0).then(|| (id(&["-u", "postgres"]), id(&["-g", "postgres"])))
}

fn program(programs: &Path, name: &str, user: Option<(u32, u32)>, dir: &Path) -> Command {
    let mut command = Command::new(programs.join(name));
    if let Some((user, group)) = user {
        command.uid(user).gid(group);
    }
    command.current_dir(dir).env_clear().env("PATH", "/usr/bin:/bin").env("LC_ALL", "C");
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    command
}

fn spawn(programs: &Path, user: Option<(u32, u32)>, dir: &Path, port: u16) -> Child {
    let mut command = program(programs, "postgres", user, dir);
    command.arg("-D").arg(dir.join("data")).arg("-k").arg(dir).args(["-h", "127.0.0.1", "-p", &port.to_string()]);
    // Its folder does not outlive the machine.
    command.args(["-c", "fsync=off", "-c", "log_min_messages=fatal"]);
    command.spawn().unwrap()
}
