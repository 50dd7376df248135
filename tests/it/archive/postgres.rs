//! An archive in PostgreSQL: what only a server does, and what is said when it cannot be used.

use std::sync::Arc;
use std::time::Duration;

use tokio_postgres::error::SqlState;
use weir::archive::{ArchiveErrorKind, open};
use weir::domain::dataset::Dataset;

use super::stores::{FINAL, PROVISIONAL, channel, dated, read, row, span, write};
use crate::support::certificate;
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::process::run;

#[tokio::test]
async fn what_is_wrong_is_said_in_a_line_without_the_password() {
    let Some(server) = Postgres::start().await else { return };
    let good = server.url();
    let secret = PASSWORD.replace(' ', "%20");
    let nowhere = format!("postgres://weir:{secret}@127.0.0.1:1/metrics");
    let cases = [
        (good.replace(&secret, "wr0ng"), "", ArchiveErrorKind::Unusable, "refuses the user or the password"),
        (good.replace("/metrics", "/nothing"), "", ArchiveErrorKind::Unusable, "has no such database"),
        (good.clone(), "nobody", ArchiveErrorKind::Unusable, "has no role \"nobody\""),
        (server.url_of("bi"), "", ArchiveErrorKind::Unusable, "does not let this user"),
        (good.clone() + "?sslmode=require", "", ArchiveErrorKind::Unusable, "cannot be connected to"),
        (nowhere, "", ArchiveErrorKind::Unavailable, "cannot be reached"),
    ];
    for (url, reader, kind, part) in cases {
        let archive = open(&url, reader).unwrap();
        let error = archive.prepare().await.unwrap_err();
        let shown = format!("{error} {error:?} {archive:?}");
        assert_eq!(error.kind, kind, "{shown}");
        assert!(error.message.contains(part), "{shown}");
        assert!(!error.to_string().contains('\n'), "{shown}");
        for secret in [PASSWORD, &secret, "wr0ng"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
    // Mended, the same archive is used.
    open(&good, "bi").unwrap().prepare().await.unwrap();
}

#[tokio::test]
async fn a_schema_that_is_newer_or_somebody_elses_is_left_alone() {
    let Some(server) = Postgres::start().await else { return };
    open(&server.url(), "").unwrap().prepare().await.unwrap();
    server.run("INSERT INTO weir.schema_version (version) VALUES (9000)").await;
    let refused = |error: weir::archive::ArchiveError| (error.kind, error.message);
    let error = open(&server.url(), "").unwrap().prepare().await.unwrap_err();
    let message = "was written by a newer weir (schema 9000, this one knows 1); update weir";
    assert_eq!(refused(error), (ArchiveErrorKind::Unusable, message.to_owned()));
    server.run("DROP SCHEMA weir CASCADE; CREATE SCHEMA weir AUTHORIZATION weir; CREATE TABLE weir.dams (n int)").await;
    let error = open(&server.url(), "").unwrap().prepare().await.unwrap_err();
    let message = "has a schema `weir` of another program; name another database";
    assert_eq!(refused(error), (ArchiveErrorKind::Unusable, message.to_owned()));
    assert_eq!(server.column("SELECT count(*) FROM pg_class WHERE relnamespace = 'weir'::regnamespace").await, ["1"]);
}

#[tokio::test]
async fn every_table_view_and_column_says_what_it_means() {
    let Some(server) = Postgres::start().await else { return };
    open(&server.url(), "").unwrap().prepare().await.unwrap();
    let relations = "FROM pg_class c WHERE relnamespace = 'weir'::regnamespace AND relkind IN ('r', 'v')";
    let own = format!("SELECT relname || '|' || coalesce(obj_description(c.oid, 'pg_class'), '') {relations}");
    let mut relations: Vec<String> = server.column(&own).await;
    relations.sort_by_key(|line| line.split('|').next().map(str::to_owned));
    assert!(relations.iter().all(|line| line.split('|').nth(1).is_some_and(|text| text.len() > 10)), "{relations:?}");
    let names: Vec<&str> = relations.iter().filter_map(|line| line.split('|').next()).collect();
    let expected = [
        "collected",
        "collected_phones",
        "measurements",
        "operation_distributions",
        "phone_number_daily",
        "phone_number_metrics",
        "restated",
        "schema_version",
    ];
    assert_eq!(names, expected);
    let columns = "SELECT c.relname || '.' || a.attname || '|' || a.atttypid::regtype || '|' \
                   || coalesce(col_description(c.oid, a.attnum), '') FROM pg_class c JOIN pg_attribute a ON a.attrelid = c.oid \
                   WHERE relnamespace = 'weir'::regnamespace AND relkind IN ('r', 'v') AND attnum > 0 ORDER BY 1";
    let columns = server.column(columns).await;
    for dataset in [Dataset::PhoneNumberMetrics, Dataset::OperationDistributions, Dataset::Measurements] {
        for column in dataset.columns() {
            let own = format!("{}.{}|", dataset.as_str(), column.name);
            let said = columns.iter().find(|line| line.starts_with(&own)).unwrap_or_else(|| panic!("{own}"));
            assert!(said.contains(column.description), "{said}");
            assert!(column.unit.is_none_or(|unit| said.contains(unit)), "{said}");
        }
    }
    for line in &columns {
        assert!(line.split('|').nth(2).is_some_and(|text| text.len() > 5), "{line}");
    }
    let of_type = |name: &str, kind: &str| {
        let own = format!("phone_number_metrics.{name}|{kind}|");
        assert!(columns.iter().any(|line| line.starts_with(&own)), "{own}");
    };
    of_type("start_time", "timestamp with time zone");
    of_type("date", "date");
    of_type("sent_count", "bigint");
    of_type("delivery_rate", "double precision");
}

#[tokio::test]
async fn the_reader_reads_and_does_nothing_else() {
    let Some(server) = Postgres::start().await else { return };
    server.run("CREATE ROLE \"B I\" LOGIN PASSWORD 'x'; GRANT \"B I\" TO bi").await;
    let archive = open(&server.url(), "B I").unwrap();
    archive.prepare().await.unwrap();
    let rows = vec![row("861", 3, 7, FINAL)];
    write(&archive, &[dated(&channel("a"), span(0, 24), 90, FINAL, rows)]).await;
    let reader = server.client("bi").await;
    for table in ["phone_number_metrics", "measurements", "phone_number_daily", "collected", "restated"] {
        reader.query(&format!("SELECT * FROM weir.{table}"), &[]).await.unwrap();
    }
    let one = reader.query_one("SELECT sum(sent_count)::int8 FROM weir.phone_number_metrics", &[]).await.unwrap();
    assert_eq!(one.get::<_, i64>(0), 7);
    for statement in [
        "DELETE FROM weir.phone_number_metrics",
        "UPDATE weir.collected SET row_count = 0",
        "INSERT INTO weir.schema_version VALUES (2)",
        "CREATE TABLE weir.own (n int)",
        "TRUNCATE weir.restated",
    ] {
        let error = reader.batch_execute(statement).await.unwrap_err();
        assert_eq!(error.code().map(SqlState::code), Some("42501"), "{statement}");
    }
    // Who was not named reads nothing, and a table that was made since is granted at the next start.
    server.run("CREATE ROLE other LOGIN PASSWORD 'x'; SET ROLE weir; CREATE TABLE weir.later (n int)").await;
    assert_eq!(server.column("SELECT has_schema_privilege('other', 'weir', 'USAGE')").await, ["f"]);
    assert!(reader.query("SELECT * FROM weir.later", &[]).await.is_err());
    open(&server.url(), "B I").unwrap().prepare().await.unwrap();
    reader.query("SELECT * FROM weir.later", &[]).await.unwrap();
}

/// Replicas write what they fetched at once: each slice is kept once, and whole.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_that_write_the_same_windows_take_turns() {
    let Some(server) = Postgres::start().await else { return };
    // Both begin at once, too.
    let replicas: Vec<_> = (0..4).map(|_| open(&server.url(), "bi").unwrap()).collect();
    let writes = replicas.iter().zip(0_u32..).map(|(archive, replica)| {
        let archive = Arc::clone(archive);
        tokio::spawn(async move {
            let mut restated = 0;
            for day in 0..10 {
                let all = (0..2).map(|part| {
                    let start = (day + part) * 24;
                    // Of the first day of all they tell different numbers, of the others the same.
                    let sent = if start == 0 { i64::from(replica) } else { 5 };
                    let rows = (0..24).map(|hour| row("861", start + hour, sent, FINAL)).collect();
                    dated(&channel("a"), span(start, start + 24), 300 + replica, FINAL, rows)
                });
                restated += write(&archive, &all.collect::<Vec<_>>()).await.restated;
            }
            restated
        })
    });
    let restated: u64 =
        futures_util::future::join_all(writes.collect::<Vec<_>>()).await.into_iter().map(Result::unwrap).sum();
    let count = |sql: &'static str| {
        let server = &server;
        async move { server.column(sql).await.remove(0).parse::<u64>().unwrap() }
    };
    assert_eq!(count("SELECT count(*) FROM weir.collected").await, 11);
    assert_eq!(count("SELECT sum(row_count) FROM weir.collected").await, 11 * 24);
    assert_eq!(count("SELECT count(*) FROM weir.phone_number_metrics").await, 11 * 24);
    // The first day is that of whoever came first: no slice holds the rows of two answers.
    assert_eq!(
        count("SELECT count(DISTINCT fetched_at) FROM weir.phone_number_metrics WHERE start_time < '2026-11-02Z'")
            .await,
        1
    );
    assert_eq!(
        count("SELECT count(DISTINCT sent_count) FROM weir.phone_number_metrics WHERE start_time < '2026-11-02Z'")
            .await,
        1
    );
    assert_eq!(count("SELECT count(*) FROM weir.restated").await, restated);
    assert_eq!(count("SELECT count(DISTINCT told_value) FROM weir.restated WHERE metric = 'sent_count'").await, 3);
}

/// A url that makes no sense is found with the config, and what the server says at the start: 2 and 1, in one line each.
#[tokio::test]
async fn a_wrong_url_is_wrong_usage_and_a_wrong_password_a_failure() {
    let dir = tempfile::tempdir().unwrap();
    let serve = async |url: &str| {
        let config = dir.path().join("weir.toml");
        let text = format!(
            "state_dir = \"{}\"\n[archive]\nurl = \"{url}\"\n[[alibaba_cams]]\nname = \"retail\"\nchannels = [\"a\"]\n\
             endpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"a\"\naccess_key_secret = \"b\"\n",
            dir.path().display()
        );
        std::fs::write(&config, text).unwrap();
        run(&["serve", "--listen", "127.0.0.1:0", "--config", config.to_str().unwrap()]).await
    };
    for (url, part) in [
        ("mysql://weir:s3cret@db/metrics", ":3: `archive.url`: is no archive"),
        ("sqlite:///weir.db", ":3: `archive.url`: names a file as it is"),
        ("postgres://weir:s3cret@localhost:port/metrics", "`[archive] url`: is not the url"),
        ("postgres://weir:s3cret@localhost/metrics?sslmode=s3cret", "has an `sslmode` that is none"),
    ] {
        let ended = serve(url).await;
        assert_eq!(ended.code, Some(2), "{}", ended.err);
        let told: Vec<&str> = ended.err.lines().filter(|line| line.starts_with("weir: ")).collect();
        assert!(told.len() == 1 && told[0].contains(part), "{}", ended.err);
        assert!(!ended.err.contains("s3cret"), "{}", ended.err);
    }
    let Some(server) = Postgres::start().await else { return };
    let ended = serve(&server.url().replace("a-s3cret", "another-s3cret")).await;
    assert_eq!(ended.code, Some(1), "{}", ended.err);
    assert!(ended.err.contains("refuses the user or the password"), "{}", ended.err);
    assert!(ended.err.lines().filter(|line| line.starts_with("weir: ")).count() == 1, "{}", ended.err);
    assert!(!ended.err.contains("s3cret"), "{}", ended.err);
}

/// Whom weir speaks to is checked: by the certificate that is named, and by the name of the host.
#[tokio::test]
async fn what_goes_over_tls_goes_to_whom_it_is_meant_for() {
    let Some(mut server) = Postgres::start().await else { return };
    let made = |name: &str| {
        let [key, own] = ["key", "crt"].map(|kind| server.folder().join(format!("{name}.{kind}")));
        certificate::make(own, &key, "IP:127.0.0.1")
    };
    let (Some(own), Some(other)) = (made("server"), made("other")) else { return };
    server.speak_tls("server").await;
    let url = |root: &std::path::Path| format!("{}?sslmode=verify-full&sslrootcert={}", server.url(), root.display());
    let archive = open(&url(&own), "").unwrap();
    archive.prepare().await.unwrap();
    assert!(archive.lead().await.unwrap());
    let told = server
        .column("SELECT count(*) FROM pg_stat_ssl JOIN pg_stat_activity USING (pid) WHERE ssl AND usename = 'weir'");
    assert_eq!(told.await, ["2"], "the connection that leads, too");
    let named = url(&own).replace("127.0.0.1", "localhost");
    // The machine itself trusts neither.
    for url in [url(&other), named, format!("{}?sslmode=require", server.url())] {
        let error = open(&url, "").unwrap().prepare().await.unwrap_err();
        assert_eq!(error.kind, ArchiveErrorKind::Unusable, "{error}");
        assert!(error.message.contains("does not trust") && error.message.contains("sslrootcert"), "{error}");
    }
}

/// Lines and rows are asked for one after the other, and what is committed in between is not seen.
#[tokio::test]
async fn a_read_is_of_one_moment() {
    let Some(server) = Postgres::start().await else { return };
    let archive = open(&server.url(), "").unwrap();
    let key = channel("a");
    write(&archive, &[dated(&key, span(0, 24), 90, PROVISIONAL, vec![row("861", 3, 1, PROVISIONAL)])]).await;
    let before = read(&archive, &key, span(0, 24)).await;
    let admin = server.client("postgres").await;
    admin.batch_execute("BEGIN; LOCK weir.phone_number_metrics").await.unwrap();
    let reading = tokio::spawn(async move { read(&archive, &key, span(0, 24)).await });
    let waiting = "SELECT count(*) FROM pg_stat_activity WHERE usename = 'weir' AND wait_event_type = 'Lock'";
    while server.column(waiting).await != ["1"] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let between =
        "UPDATE weir.phone_number_metrics SET sent_count = 2; UPDATE weir.collected SET fetched_at = now(); COMMIT";
    admin.batch_execute(between).await.unwrap();
    assert_eq!(reading.await.unwrap(), before);
}
