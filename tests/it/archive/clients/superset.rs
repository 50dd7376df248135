//! Superset itself on an archive, and by DuckDB on `/rows`: it is given both stores as databases, and a file and a statement of
//! DuckDB as `docs/bi/README.md` has them; its charts say what the gateway's rows say.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use weir::domain::Timestamp;

use super::{Filled, SAME, Shop};
use crate::support::require;

/// Messages by the UTC day on which their bucket begins, of the rows that are chosen.
fn by_day(rows: &[Map<String, Value>], is_chosen: impl Fn(&Map<String, Value>) -> bool) -> BTreeMap<i64, u64> {
    let mut days = BTreeMap::new();
    for row in rows.iter().filter(|row| is_chosen(row)) {
        let day = format!("{}T00:00:00Z", &row["start_time"].as_str().unwrap()[..10]);
        *days.entry(Timestamp::parse_rfc3339(&day).unwrap().as_ms()).or_insert(0) +=
            row["sent_count"].as_u64().unwrap();
    }
    days
}

fn in_an_archive((filled, schema): (&Filled, &str)) -> Value {
    json!({"url": filled.url.replace("postgresql+psycopg", "postgresql"), "schema": schema})
}

/// The two ways that the document shows: a file with a view, and a statement as the dataset.
fn by_duckdb(shop: &Shop) -> [Value; 2] {
    let document = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bi/README.md");
    let document = std::fs::read_to_string(document).unwrap();
    let (_, section) = document.split_once("\n## Superset and Metabase\n").unwrap();
    let section = section.replace("http://127.0.0.1:8080", &shop.filled[0].server.url());
    let block = |kind: &str| section.split(&format!("```{kind}\n")).nth(1).unwrap().split("```").next().unwrap();
    let file = shop.dir.path().join("weir.duckdb");
    let mut addresses = block("text").lines().map(|line| line.replace("/srv/weir/weir.duckdb", file.to_str().unwrap()));
    let mut address = || addresses.next().unwrap();
    let view = block("sql");
    let (_, dataset) = view.split_once(" AS ").unwrap();
    let (dataset, _) = dataset.split_once(';').unwrap();
    [
        json!({"url": address(), "schema": "main", "file": file, "statements": view}),
        json!({"url": address(), "schema": "main", "dataset": dataset}),
    ]
}

#[tokio::test]
async fn superset_charts_what_the_gateway_says() {
    let how = "run: make test";
    let (Some(_), Some(python)) = (
        require::file("tests/clients/superset/.venv/.weir-requirements", how),
        require::file("tests/clients/superset/.venv/bin/python", how),
    ) else {
        return;
    };
    let program = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/superset/charts.py");
    let shop = Shop::open().await;
    let ranges = json!([
        ["start_time", "2026-11-18T16:00:00 : 2026-11-20T16:00:00"],
        ["date", "2026-11-19T00:00:00 : 2026-11-21T00:00:00"]
    ])
    .to_string();
    let sources: Vec<Value> = shop.filled.iter().zip(["main", "weir"]).map(in_an_archive).collect();
    let duckdb = by_duckdb(&shop);
    let all = json!([&sources[..], &duckdb[..]].concat()).to_string();
    let told = shop.run(&python, &[program.to_str().unwrap(), &ranges, &all]).await;
    let told: Vec<Value> =
        told.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), sources.len() + duckdb.len());
    let (of_archives, of_rows) = told.split_at(sources.len());
    for told in of_archives {
        for table in ["phone_number_metrics", "operation_distributions", "collected"] {
            assert!(told["tables"].as_array().unwrap().contains(&json!(table)), "{told}");
        }
    }
    assert_eq!(of_rows[0]["tables"], json!(["phone_number_metrics"]));
    // The gateway with the file has the door that DuckDB reads, too.
    let filled = shop.filled.iter().zip(of_archives).map(|(filled, told)| (filled, SAME[0].1, filled.is_file(), told));
    let at_the_door = of_rows.iter().map(|told| (&shop.filled[0], "last=P7D", false, told));
    for (filled, query, compares_texts, told) in filled.chain(at_the_door) {
        for (column, is_time) in
            [("start_time", true), ("fetched_at", true), ("sent_count", false), ("finality", false)]
        {
            assert_eq!(told["columns"][column][1], json!(is_time), "{column}: {told}");
        }
        let rows = filled.rows("phone_number_metrics", query).await;
        let of_dates = |days: [&'static str; 2]| {
            by_day(&rows, |row| days.iter().any(|day| row["date"] == format!("2026-11-{day}")))
        };
        // What the document warns of: in a file Superset compares a date with the text of an instant.
        let of_dates = if compares_texts { of_dates(["20", "21"]) } else { of_dates(["19", "20"]) };
        let inside = ["2026-11-18T16:00:00Z", "2026-11-19T16:00:00Z"];
        let of_instants = by_day(&rows, |row| inside.contains(&row["start_time"].as_str().unwrap()));
        assert_eq!(of_instants.len(), 2, "{rows:?}");
        for (chart, expected) in told["charts"].as_array().unwrap().iter().zip([of_instants, of_dates]) {
            let cells = chart["rows"].as_array().unwrap().iter();
            let shown: BTreeMap<i64, u64> =
                cells.map(|row| (row[0].as_i64().unwrap(), row[1].as_u64().unwrap())).collect();
            assert_eq!(shown, expected, "{}", chart["sql"]);
        }
    }
}
