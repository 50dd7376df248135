//! Each block of `docs/bi/archive.md` is run on a filled archive, or held against its tables.

use std::path::Path;

use serde_json::{Value, json};

use super::{Shop, of_debian, python, sqlite3};

/// The addresses in the document.
const SHOWN: &str = "postgres://bi:PASSWORD@127.0.0.1/metrics";
const FOR_SQLALCHEMY: &str = "postgresql+psycopg://bi:PASSWORD@127.0.0.1/metrics";

pub(super) fn blocks() -> Vec<(String, String)> {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bi/archive.md");
    let document = std::fs::read_to_string(document).unwrap();
    let fences = document.split("```").skip(1).step_by(2);
    fences.map(|block| block.split_once('\n').map(|(kind, text)| (kind.to_owned(), text.to_owned())).unwrap()).collect()
}

/// A statement for PostgreSQL with the macros of Grafana written out as it writes them.
fn expanded(text: &str) -> String {
    text.replace("$__timeFilter(start_time)", "start_time BETWEEN '2026-11-01T00:00:00Z' AND '2026-12-01T00:00:00Z'")
        .replace("$__timeGroup(start_time, '1h')", "floor(extract(epoch from start_time)/3600)*3600")
}

#[tokio::test]
async fn every_block_of_the_document_does_what_it_says() {
    let (Some((python, clients)), Some(_), Some(psql), Some(bash)) =
        (python(), sqlite3(), of_debian("psql", "postgresql-client"), of_debian("bash", "bash"))
    else {
        return;
    };
    let shop = Shop::open().await;
    let Some(server) = &shop.postgres else { return };
    let daily: Vec<i64> = {
        let sql = "SELECT sum(sent_count) FROM phone_number_daily";
        let file = rusqlite::Connection::open(shop.file()).unwrap();
        let of_file = file.query_row(sql, [], |row| row.get(0)).unwrap();
        let of_server = server.column(&sql.replace("FROM ", "FROM weir.")).await.remove(0).parse().unwrap();
        vec![of_file, of_server]
    };
    let url = server.url_of("bi");
    let mut run = std::collections::BTreeMap::new();
    for (language, text) in blocks() {
        *run.entry(language.clone()).or_insert(0) += 1;
        let is_file = text.contains("weir.db");
        let sent = daily[usize::from(!is_file)];
        let for_sqlalchemy = url.replace("postgres://", "postgresql+psycopg://");
        let own = text.replace(FOR_SQLALCHEMY, &for_sqlalchemy).replace(SHOWN, &url);
        let file = shop.dir.path().join("recipe");
        std::fs::write(&file, &own).unwrap();
        match language.as_str() {
            "python" => {
                let program = clients.join("recipe.py");
                let told = shop.run(&python, &[program.to_str().unwrap(), file.to_str().unwrap()]).await;
                let told: Value = serde_json::from_str(told.lines().last().unwrap()).unwrap();
                assert_eq!(told["sent_count"], json!(sent), "{text}");
            }
            "sh" => {
                let told = shop.run(&bash, &[file.to_str().unwrap()]).await;
                assert!(told.lines().count() > 3, "{text}: {told}");
                if text.contains("sum(sent_count)") {
                    let counts =
                        told.lines().filter_map(|line| line.split('|').next_back()?.trim().parse::<i64>().ok());
                    assert_eq!(counts.sum::<i64>(), sent, "{text}: {told}");
                }
            }
            "sql" => {
                let told = shop.run(&psql, &["-X", "-At", "-v", "ON_ERROR_STOP=1", "-c", &expanded(&own), &url]).await;
                assert!(!own.contains("$__") || !expanded(&own).contains("$__"), "{text}");
                assert!(told.lines().count() >= 3, "{text}: {told}");
            }
            // dbt is given its own: [`super::dbt`].
            "yaml" | "jinja" | "text" => {}
            _ => panic!("nothing runs this block of {language}: {text}"),
        }
    }
    let of = |language: &str| run.get(language).copied().unwrap_or_default();
    assert!(of("python") >= 4 && of("sh") >= 3 && of("sql") >= 2, "{run:?}");
}
