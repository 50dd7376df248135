//! The archive as BI tools read it: real clients of SQL on what a gateway has filled, a file and a server, beside what that
//! gateway's own rows say. What `docs/bi/archive.md` shows is run from there.

mod dbt;
mod recipes;
mod superset;

use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Map, Value};
use tempfile::TempDir;
use tokio::process::Command;
use weir::config::watch::{DimensionWord, GranularityWord, Watch, Watched};
use weir::domain::Timestamp;
use weir::domain::dataset::{Column, Dataset, Kind};
use weir::domain::time::{DAY, MINUTE};
use weir::http::{HttpConfig, Timeouts};

use super::written;
use crate::support::postgres::Postgres;
use crate::support::process::in_time;
use crate::support::server::Server;
use crate::support::{DISTRIBUTION, METRIC, NOW, TestGateway, require};

/// What is asked of the gateway, and the column and its value that the same rows have in their table.
const SAME: [(&str, &str, [&str; 2]); 3] = [
    (
        "phone_number_metrics",
        "start=2026-11-17T16:00:00Z&end=2026-11-22T10:00:00Z&cust_space_id=cams-alpha",
        ["granularity", "DAILY"],
    ),
    (
        "phone_number_metrics",
        "start=2026-11-17T00:00:00Z&end=2026-11-19T00:00:00Z&cust_space_id=cams-alpha&granularity=HALF_HOUR",
        ["granularity", "HALF_HOUR"],
    ),
    (
        "operation_distributions",
        "start=2026-11-17T16:00:00Z&end=2026-11-21T16:00:00Z&app_id=app-one&window=P1D",
        ["dimension", "PROVINCE"],
    ),
];

/// An archive that a gateway has filled with some days of both datasets, FINAL and PROVISIONAL.
struct Filled {
    gateway: TestGateway,
    server: Server,
    /// As `SQLAlchemy` has it.
    url: String,
}

/// A file and a server, and where the clients live.
struct Shop {
    dir: TempDir,
    postgres: Option<Postgres>,
    filled: Vec<Filled>,
}

fn watch(dataset: Watched) -> Watch {
    Watch {
        dataset,
        channels: vec!["cams-alpha".to_owned()],
        apps: vec!["app-one".to_owned()],
        granularity: GranularityWord::Daily,
        dimension: DimensionWord::Province,
        window: DAY,
        since: 6 * DAY,
        every: 30 * MINUTE,
    }
}

/// A gateway with this archive that keeps what may still change, too.
fn gateway_at(now: &str, archive: &str) -> TestGateway {
    let builder = TestGateway::builder().now(now).config(|config| {
        config.archive.url = archive.to_owned().into();
        config.archive.reader = if archive.starts_with("postgres") { "bi".to_owned() } else { String::new() };
        config.watch = vec![watch(Watched::PhoneNumberMetrics), watch(Watched::OperationDistributions)];
    });
    builder.build()
}

async fn fill(archive: &str, url: String) -> Filled {
    let gateway = gateway_at(NOW, archive);
    let server = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
    let filled = Filled { gateway, server, url };
    tokio::spawn(filled.gateway.app().watch().expect("there is something to watch").clone().run());
    in_time(async {
        // What is to come is fetched by then: the last is asked for here, and all else is watched.
        while filled.gateway.calls(DISTRIBUTION) < 6 {
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for (dataset, query, _) in SAME {
        assert!(filled.rows(dataset, query).await.len() > 10, "{dataset}");
    }
    written(&filled.gateway).await;
    filled
}

impl Filled {
    /// The rows of a dataset at the gateway's own door.
    async fn rows(&self, dataset: &str, query: &str) -> Vec<Map<String, Value>> {
        rows_of(&self.server, dataset, query).await
    }

    fn is_file(&self) -> bool {
        self.url.starts_with("sqlite")
    }
}

async fn rows_of(server: &Server, dataset: &str, query: &str) -> Vec<Map<String, Value>> {
    let address = server.address;
    let request = format!("GET /rows/{dataset}.jsonl?{query} HTTP/1.0\r\nhost: {address}\r\n\r\n");
    let answer = server.raw(request).await;
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(head.contains(" 200 "), "{answer}");
    body.lines().map(|line| serde_json::from_str(line).unwrap_or_else(|_| panic!("{line}"))).collect()
}

impl Shop {
    async fn open() -> Self {
        let dir = TempDir::new().unwrap();
        let path = dir.path().join("weir.db");
        let mut filled =
            vec![fill(&format!("sqlite:{}", path.display()), format!("sqlite:///{}", path.display())).await];
        let postgres = Postgres::start().await;
        if let Some(server) = &postgres {
            let url = server.url_of("bi").replace("postgres://", "postgresql+psycopg://");
            filled.push(fill(&server.url(), url).await);
        }
        Self { dir, postgres, filled }
    }

    fn file(&self) -> PathBuf {
        self.dir.path().join("weir.db")
    }

    /// Runs a program in an environment that holds nothing of ours; what it prints.
    async fn run(&self, program: &Path, args: &[&str]) -> String {
        let dir = self.dir.path();
        let output = Command::new(program)
            .args(args)
            .current_dir(dir)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", dir)
            .env("LANG", "C.UTF-8")
            .env("PYTHONUTF8", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .env("PAGER", "cat")
            .kill_on_drop(true)
            .output();
        // Superset takes half a minute by itself, where nothing else runs.
        let output = tokio::time::timeout(Duration::from_mins(5), output).await.unwrap().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        let (out, err) = (text(&output.stdout), text(&output.stderr));
        assert!(output.status.success(), "{} {}: {err}{out}", program.display(), args.join(" "));
        out
    }
}

/// Where the programs in Python are, and theirs; `None` where they are not installed.
fn python() -> Option<(PathBuf, PathBuf)> {
    require::file("tests/clients/sql/.venv/.weir-requirements", "run: make test")?;
    let python = require::file("tests/clients/sql/.venv/bin/python", "run: make test")?;
    Some((python, Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sql")))
}

fn of_debian(name: &str, package: &str) -> Option<PathBuf> {
    require::program(name, &format!("install it (Debian: apt-get install {package})"))
}

fn sqlite3() -> Option<PathBuf> {
    of_debian("sqlite3", "sqlite3")
}

/// An instant as a file holds it.
fn spelled(at: &Value) -> String {
    let at = at.as_str().unwrap();
    format!("{}.{:0<6}", at[..19].replace('T', " "), at[19..].trim_matches(['.', 'Z']))
}

#[tokio::test]
async fn sqlite3_and_psql_show_rows_and_what_each_column_means() {
    let shop = Shop::open().await;
    if let Some(sqlite3) = sqlite3() {
        let file = shop.file();
        let ask = async |sql: &str| shop.run(&sqlite3, &["-readonly", file.to_str().unwrap(), sql]).await;
        let schema = ask(".schema").await;
        for dataset in [Dataset::PhoneNumberMetrics, Dataset::OperationDistributions] {
            let (_, table) = schema.split_once(&format!("CREATE TABLE {} (\n", dataset.as_str())).unwrap();
            for (column, line) in dataset.columns().iter().zip(table.lines()) {
                assert!(line.starts_with(&format!("  {} ", column.name)), "{line}");
                assert!(line.contains(&format!(" -- {}", column.description)), "{line}");
            }
        }
        let tables = schema.split("CREATE TABLE ").skip(1).filter(|table| !table.starts_with("sqlite_"));
        for table in tables {
            let columns = table.split("\n)").next().unwrap().lines().skip(1);
            assert!(columns.clone().count() > 10 && columns.clone().all(|line| line.contains(" -- ")), "{table}");
        }
        let (dataset, query, _) = SAME[1];
        let rows = shop.filled[0].rows(dataset, query).await;
        let sql = "SELECT phone_number, start_time, sent_count FROM phone_number_metrics WHERE granularity = 'HALF_HOUR' \
                   ORDER BY start_time, phone_number";
        let told = ask(sql).await;
        let line = |row: &Map<String, Value>| {
            format!("{}|{}|{}", row["phone_number"].as_str().unwrap(), spelled(&row["start_time"]), row["sent_count"])
        };
        let mut lines: Vec<String> = rows.iter().map(line).collect();
        lines.sort_by(|one, other| one.split('|').nth(1).cmp(&other.split('|').nth(1)).then(one.cmp(other)));
        assert_eq!(told.lines().collect::<Vec<_>>(), lines);
    }
    let (Some(server), Some(psql)) = (&shop.postgres, of_debian("psql", "postgresql-client")) else { return };
    let told = shop.run(&psql, &["-X", &server.url_of("bi"), "-c", "\\d+ weir.*"]).await;
    let relation = |kind: &str, name: &str| {
        let (_, rest) =
            told.split_once(&format!("{kind} \"weir.{name}\"\n")).unwrap_or_else(|| panic!("{name}: {told}"));
        let rows = rest.lines().skip(2).take_while(|line| line.contains('|'));
        rows.map(|line| line.split('|').map(|cell| cell.trim().to_owned()).collect::<Vec<_>>()).collect::<Vec<_>>()
    };
    for (kind, dataset) in [
        ("Table", Dataset::PhoneNumberMetrics),
        ("Table", Dataset::OperationDistributions),
        ("View", Dataset::Measurements),
    ] {
        for (column, cells) in dataset.columns().iter().zip(relation(kind, dataset.as_str())) {
            assert_eq!(cells[0], column.name);
            assert!(cells.last().unwrap().starts_with(column.description), "{cells:?}");
        }
    }
    for (kind, name) in [("View", "phone_number_daily"), ("Table", "collected"), ("Table", "restated")] {
        let cells = relation(kind, name);
        assert!(cells.len() > 10 && cells.iter().all(|cells| cells.last().unwrap().len() > 5), "{cells:?}");
    }
}

/// The types by which `SQLAlchemy` and DuckDB know a column.
fn types_of(column: &Column, is_file: bool) -> [&'static str; 2] {
    match column.kind {
        Kind::Text => ["text", "VARCHAR"],
        Kind::Instant if is_file => ["timestamp", "TIMESTAMP"],
        Kind::Instant => ["timestamp", "TIMESTAMP WITH TIME ZONE"],
        Kind::Date => ["date", "DATE"],
        Kind::Integer => ["int64", "BIGINT"],
        Kind::Float => ["float64", "DOUBLE"],
        Kind::Flag => ["boolean", "BOOLEAN"],
    }
}

/// A row as both sides are compared: instants in milliseconds, numbers as floats, without what says who answered.
fn comparable(row: &Map<String, Value>, columns: &[Column]) -> String {
    let cell = |column: &Column| match (&row[column.name], column.kind) {
        (Value::String(text), Kind::Instant) => Timestamp::parse_rfc3339(text).unwrap().as_ms().to_string(),
        (Value::Number(number), Kind::Integer | Kind::Float) => format!("{:?}", number.as_f64()),
        (value, _) => value.to_string(),
    };
    let cells: Vec<String> = columns.iter().filter(|column| column.name != "source").map(cell).collect();
    cells.join(" ")
}

fn all(rows: &[Map<String, Value>], columns: &[Column]) -> Vec<String> {
    let mut all: Vec<String> = rows.iter().map(|row| comparable(row, columns)).collect();
    all.sort();
    all
}

#[tokio::test]
async fn every_client_reads_the_rows_of_the_gateway_with_their_types() {
    let Some((python, clients)) = python() else { return };
    let shop = Shop::open().await;
    let program = clients.join("frames.py");
    for filled in &shop.filled {
        let told = shop.run(&python, &[program.to_str().unwrap(), &filled.url]).await;
        let frames: Vec<Value> = told.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
        assert_eq!(frames.len(), 4 * 6);
        let mut finalities = std::collections::BTreeSet::new();
        for (dataset, query, [kind, only]) in SAME {
            let known = if dataset == "phone_number_metrics" {
                Dataset::PhoneNumberMetrics
            } else {
                Dataset::OperationDistributions
            };
            let (columns, rows) = (known.columns(), filled.rows(dataset, query).await);
            finalities.extend(rows.iter().map(|row| row["finality"].to_string()));
            let expected = all(&rows, columns);
            let edges: Vec<i64> = query
                .split('&')
                .filter_map(|part| part.split_once("=2"))
                .map(|(_, rest)| Timestamp::parse_rfc3339(&format!("2{rest}")).unwrap().as_ms())
                .collect();
            for frame in frames.iter().filter(|frame| frame["table"] == dataset) {
                let what = format!("{} of {dataset} in {}", frame["client"], filled.url);
                let own = frame["rows"].as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone());
                let own = own.filter(|row| row[kind] == only);
                let inside = |row: &Map<String, Value>| {
                    let start = row["start_time"].as_i64().unwrap();
                    start >= edges[0] && start < edges[1]
                };
                assert_eq!(all(&own.filter(inside).collect::<Vec<_>>(), columns), expected, "{what}");
                for column in columns {
                    let [reflected, attached] = types_of(column, filled.is_file());
                    let told = frame["types"][column.name].as_str().unwrap();
                    match frame["client"].as_str().unwrap() {
                        "SQLAlchemy" => assert_eq!(told, reflected, "{what}: {}", column.name),
                        "DuckDB" => assert_eq!(told, attached, "{what}: {}", column.name),
                        _ if column.kind == Kind::Instant => {
                            assert!(
                                told.starts_with("datetime64[") && told.contains("UTC") != filled.is_file(),
                                "{what}: {told}"
                            );
                        }
                        _ => {}
                    }
                }
            }
        }
        assert_eq!(finalities.len(), 2, "both are compared: {finalities:?}");
        for frame in &frames {
            let rows = frame["rows"].as_array().unwrap();
            assert_eq!(rows.is_empty(), frame["table"] == "restated", "{} {}", frame["client"], frame["table"]);
            if frame["client"] == "SQLAlchemy" {
                let names = |kind: &str| {
                    frame[kind]
                        .as_array()
                        .unwrap()
                        .iter()
                        .map(|name| name.as_str().unwrap())
                        .collect::<Vec<_>>()
                        .join(" ")
                };
                assert_eq!(names("views"), "measurements phone_number_daily");
                assert!(
                    names("tables")
                        .contains("collected collected_phones operation_distributions phone_number_metrics restated")
                );
            }
        }
        let sum = |table: &str, column: &str, of: &dyn Fn(&Value) -> bool| -> f64 {
            let frame = frames.iter().find(|frame| frame["table"] == table && frame["client"] == "DuckDB").unwrap();
            frame["rows"]
                .as_array()
                .unwrap()
                .iter()
                .filter(|row| of(row))
                .map(|row| row[column].as_f64().unwrap())
                .sum()
        };
        // The views leave half hours out: those would count every message twice.
        let daily = sum("phone_number_metrics", "sent_count", &|row| row["granularity"] == "DAILY");
        let twice = sum("phone_number_metrics", "sent_count", &|_| true);
        let measured = sum("measurements", "value", &|row| row["metric"] == "sent_count");
        let by_day = sum("phone_number_daily", "sent_count", &|_| true);
        assert!(daily > 0.0 && twice > daily, "{daily} {twice}");
        assert_eq!([measured.to_bits(), by_day.to_bits()], [daily.to_bits(); 2]);
    }
}

/// The conditions that Superset and Metabase write for SQLite compare texts: they choose the rows from the first instant on,
/// and up to the last without it.
#[tokio::test]
async fn comparisons_of_text_in_a_file_are_comparisons_of_instants() {
    let Some(sqlite3) = sqlite3() else { return };
    let shop = Shop::open().await;
    let (dataset, query, _) = SAME[1];
    let rows = shop.filled[0].rows(dataset, query).await;
    let starts: Vec<&str> = rows.iter().map(|row| row["start_time"].as_str().unwrap()).collect();
    let file = shop.file();
    let ask = async |sql: &str| shop.run(&sqlite3, &["-readonly", file.to_str().unwrap(), sql]).await.trim().to_owned();
    let at = |text: &str| Timestamp::parse_rfc3339(text).unwrap();
    let inside = |from: &str, to: &str| {
        starts.iter().filter(|start| at(start) >= at(from) && at(start) < at(to)).count().to_string()
    };
    for (from, to) in [
        ("2026-11-17T00:00:00Z", "2026-11-18T00:00:00Z"),
        ("2026-11-18T00:00:00Z", "2026-11-19T00:00:00Z"),
        ("2026-11-17T06:30:00Z", "2026-11-18T03:00:00Z"),
    ] {
        assert!(
            [from, to].iter().filter(|edge| starts.iter().any(|start| at(start) == at(edge))).count() > 0,
            "{starts:?}"
        );
        let plain = |edge: &str| edge[..19].replace('T', " ");
        let by_superset = |edge: &str| format!("'{}'", plain(edge));
        let by_older_superset = |edge: &str| format!("'{}.000000'", plain(edge));
        let by_metabase = |edge: &str| {
            if edge.ends_with("T00:00:00Z") {
                format!("date('{}')", &edge[..10])
            } else {
                format!("datetime('{}')", plain(edge))
            }
        };
        let spell: [&dyn Fn(&str) -> String; 3] = [&by_superset, &by_older_superset, &by_metabase];
        for spell in spell {
            let count = |column: &str| {
                format!(
                    "SELECT count(*) FROM (SELECT {column} AS at FROM phone_number_metrics WHERE granularity = 'HALF_HOUR') \
                     WHERE at >= {} AND at < {}",
                    spell(from),
                    spell(to)
                )
            };
            assert_eq!(ask(&count("start_time")).await, inside(from, to), "{}", count("start_time"));
            if !from.ends_with("T00:00:00Z") {
                // As it would be with the spelling of RFC 3339.
                let other = count("strftime('%Y-%m-%dT%H:%M:%SZ', start_time)");
                assert_ne!(ask(&other).await, inside(from, to), "{other}");
            }
        }
    }
    // Days as Metabase and Superset cut them are those of UTC.
    for day in ["date(start_time)", "date(datetime(start_time, 'start of day'))"] {
        let sql = format!(
            "SELECT group_concat({day} || ' ' || n, ', ') FROM (SELECT start_time, count(*) AS n FROM phone_number_metrics \
             WHERE granularity = 'HALF_HOUR' GROUP BY {day} ORDER BY 1)"
        );
        let days = [("17", "18"), ("18", "19")].map(|(from, to)| {
            let count = inside(&format!("2026-11-{from}T00:00:00Z"), &format!("2026-11-{to}T00:00:00Z"));
            format!("2026-11-{from} {count}")
        });
        assert_eq!(ask(&sql).await, days.join(", "));
    }
}

/// A copy by the server's own tools is an archive: with equal tables, and a gateway answers from it.
#[tokio::test]
async fn a_restored_dump_is_an_archive() {
    let (Some(pg_dump), Some(psql)) =
        (of_debian("pg_dump", "postgresql-client"), of_debian("psql", "postgresql-client"))
    else {
        return;
    };
    let shop = Shop::open().await;
    let Some(server) = &shop.postgres else { return };
    let filled = &shop.filled[1];
    let dump = shop.dir.path().join("weir.sql");
    shop.run(&pg_dump, &["--schema=weir", "--file", dump.to_str().unwrap(), &server.url()]).await;
    server.run("CREATE DATABASE copy OWNER weir").await;
    let copy = server.url().replace("/metrics", "/copy");
    shop.run(&psql, &["-X", "-q", "-v", "ON_ERROR_STOP=1", "-f", dump.to_str().unwrap(), &copy]).await;
    let restored_for_bi = server.url_of("bi").replace("/metrics", "/copy");
    for table in
        ["phone_number_metrics", "operation_distributions", "collected", "collected_phones", "restated", "measurements"]
    {
        let sql = format!("SELECT t::text FROM weir.{table} t ORDER BY 1");
        let [own, other] = [server.url_of("bi"), restored_for_bi.clone()];
        let own = shop.run(&psql, &["-X", "-At", "-c", &sql, &own]).await;
        assert_eq!(shop.run(&psql, &["-X", "-At", "-c", &sql, &other]).await, own, "{table}");
        assert!(!own.is_empty() || ["restated", "collected_phones"].contains(&table), "{table}");
    }
    let config = |config: &mut weir::config::Config| {
        config.archive.url = copy.into();
        // No reply shows the channels' days any more.
        config.alibaba_cams[0].time_zone = "Asia/Shanghai".to_owned();
    };
    let later = TestGateway::builder().now("2027-01-20T00:00:00Z").config(config).build();
    let door = Server::before(later.gateway(), HttpConfig::default(), Timeouts::default()).await;
    for (dataset, query, _) in &SAME[1..] {
        let (rows, before) = (rows_of(&door, dataset, query).await, filled.rows(dataset, query).await);
        let columns = if *dataset == "phone_number_metrics" {
            Dataset::PhoneNumberMetrics
        } else {
            Dataset::OperationDistributions
        }
        .columns();
        let is_final = |row: &&Map<String, Value>| row["finality"] == "FINAL";
        assert_eq!(before.iter().filter(is_final).count(), before.len(), "{dataset}");
        assert_eq!(all(&rows, columns), all(&before, columns), "{dataset}");
        // Memory has it by the time the row is written, or the archive told it just then.
        assert!(rows.iter().all(|row| row["source"] == "ARCHIVE"), "{dataset}");
    }
    assert_eq!((later.calls(METRIC), later.calls(DISTRIBUTION)), (0, 0));
}
