//! dbt on an archive in PostgreSQL: the project that `docs/bi/archive.md` shows, run as it stands there.

use std::path::PathBuf;

use tempfile::TempDir;
use tokio::process::Command;
use weir::http::{HttpConfig, Timeouts};

use super::recipes::blocks;
use super::{gateway_at, rows_of, written};
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::process::in_time;
use crate::support::require;
use crate::support::server::Server;

const SOURCES: usize = 5;

/// The project of the document, in a folder.
struct Project {
    dbt: PathBuf,
    dir: TempDir,
}

impl Project {
    fn of_the_document(dbt: PathBuf, server: &Postgres) -> Self {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("models")).unwrap();
        let write = |name: &str, text: &str| std::fs::write(dir.path().join(name), text).unwrap();
        write(
            "dbt_project.yml",
            "name: weir\nversion: '1.0.0'\nprofile: weir\nflags: {send_anonymous_usage_stats: false}\n\
             models: {weir: {+materialized: table}}\n",
        );
        let mut kinds = Vec::new();
        for (kind, text) in blocks() {
            match kind.as_str() {
                "yaml" if text.starts_with("weir:") => {
                    assert!(text.contains("host: 127.0.0.1, port: 5432") && text.contains("password: PASSWORD"));
                    let text = text.replace("5432", &server.port().to_string());
                    write("profiles.yml", &text.replace("PASSWORD", &format!("{PASSWORD:?}")));
                }
                "yaml" => write("models/weir.yml", &text),
                "jinja" => write("models/messages_by_day.sql", &text),
                _ => continue,
            }
            kinds.push(kind);
        }
        assert_eq!(kinds, ["yaml", "yaml", "jinja"]);
        Self { dbt, dir }
    }

    /// How it ended, and what it printed. What dbt will stop to understand is an error.
    async fn run(&self, args: &[&str]) -> (bool, String) {
        let mut command = Command::new(&self.dbt);
        command.args(["--no-use-colors", "--warn-error-options", "{\"error\": [\"Deprecations\"]}"]).args(args);
        command.current_dir(self.dir.path()).env_clear().env("HOME", self.dir.path()).env("LANG", "C.UTF-8");
        command.env("PATH", std::env::var_os("PATH").unwrap_or_default()).kill_on_drop(true);
        let output = in_time(command.output()).await.unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let told = format!("{}{}{}", output.status, text(&output.stdout), text(&output.stderr));
        (output.status.success(), told)
    }
}

fn dbt() -> Option<PathBuf> {
    require::file("tests/clients/dbt/.venv/.weir-requirements", "run: make test")?;
    require::file("tests/clients/dbt/.venv/bin/dbt", "run: make test")
}

/// The tables as weir has them and as dbt keeps them.
async fn both(server: &Postgres) -> [Vec<String>; 2] {
    let columns = "phone_number, start_time, sent_count, delivered_count, finality, fetched_at";
    let rows = |table: &str| format!("SELECT concat_ws('|', {columns}) FROM {table} ORDER BY phone_number, start_time");
    [server.column(&rows("weir.phone_number_daily")).await, server.column(&rows("reports.messages_by_day")).await]
}

/// Has a gateway collect as of `ago` before the database's clock, which is dbt's as well.
async fn collect(server: &Postgres, ago: &str) {
    let now = format!("SELECT to_char(now() AT TIME ZONE 'UTC' - interval '{ago}', 'YYYY-MM-DD\"T\"HH24:MI:SS\"Z\"')");
    let gateway = gateway_at(&server.column(&now).await.remove(0), &server.url());
    let door = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
    let messages = rows_of(&door, "phone_number_metrics", "last=P6D&cust_space_id=cams-alpha").await;
    let users = rows_of(&door, "operation_distributions", "last=P4D&app_id=app-one&window=P1D").await;
    assert!(messages.len() > 10 && users.len() > 10);
    written(&gateway).await;
}

#[tokio::test]
async fn dbt_tests_the_sources_sees_when_they_are_old_and_keeps_a_table() {
    let Some(dbt) = dbt() else { return };
    let Some(server) = Postgres::start().await else { return };
    // The role is made before the first start, which grants it reading.
    collect(&server, "37 hours").await;
    let (_, statement) = blocks().into_iter().find(|(_, text)| text.starts_with("CREATE SCHEMA")).unwrap();
    server.run(&statement).await;
    let project = Project::of_the_document(dbt, &server);

    let (is_well, told) = project.run(&["source", "freshness"]).await;
    assert!(is_well && told.matches("WARN freshness of weir.").count() == SOURCES, "{told}");
    let (is_well, told) = project.run(&["build"]).await;
    assert!(is_well && told.contains("PASS=3 WARN=0 ERROR=0"), "{told}");
    let [held, kept] = both(&server).await;
    assert!(held == kept && kept.len() > 10, "{held:?} {kept:?}");

    collect(&server, "0 hours").await;
    let (is_well, told) = project.run(&["source", "freshness"]).await;
    assert!(is_well && told.matches("PASS freshness of weir.").count() == SOURCES, "{told}");
    let [held, kept] = both(&server).await;
    assert_ne!(held, kept, "there is something new");
    let (is_well, told) = project.run(&["build"]).await;
    assert!(is_well && told.contains("PASS=3 WARN=0 ERROR=0"), "{told}");
    let [held, kept] = both(&server).await;
    assert_eq!(held, kept);

    server.run("UPDATE weir.phone_number_metrics SET granularity = 'WEEKLY' WHERE sent_count > 0").await;
    let (is_well, told) = project.run(&["test"]).await;
    assert!(!is_well && told.contains("PASS=1 WARN=0 ERROR=1"), "{told}");
}
