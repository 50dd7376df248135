//! Superset itself on an archive: it is given both stores as databases, and its charts say what the gateway's rows say.

use std::collections::BTreeMap;
use std::path::Path;

use serde_json::{Map, Value, json};
use weir::domain::Timestamp;

use super::{SAME, Shop};
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
    let urls = shop.filled.iter().map(|filled| filled.url.replace("postgresql+psycopg", "postgresql"));
    let urls: Vec<String> = urls.collect();
    let mut args = vec![program.to_str().unwrap(), &ranges];
    args.extend(urls.iter().zip(["main", "weir"]).flat_map(|(url, schema)| [url.as_str(), schema]));
    let told = shop.run(&python, &args).await;
    let told: Vec<Value> =
        told.lines().filter(|line| line.starts_with('{')).map(|line| serde_json::from_str(line).unwrap()).collect();
    assert_eq!(told.len(), shop.filled.len());
    for (filled, told) in shop.filled.iter().zip(&told) {
        for table in ["phone_number_metrics", "operation_distributions", "collected"] {
            assert!(told["tables"].as_array().unwrap().contains(&json!(table)), "{told}");
        }
        for (column, is_time) in
            [("start_time", true), ("fetched_at", true), ("sent_count", false), ("finality", false)]
        {
            assert_eq!(told["columns"][column][1], json!(is_time), "{column}: {told}");
        }
        let (dataset, query, _) = SAME[0];
        let rows = filled.rows(dataset, query).await;
        let of_dates = |days: [&'static str; 2]| {
            by_day(&rows, |row| days.iter().any(|day| row["date"] == format!("2026-11-{day}")))
        };
        // What the document warns of: in a file Superset compares a date with the text of an instant.
        let of_dates = if filled.is_file() { of_dates(["20", "21"]) } else { of_dates(["19", "20"]) };
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
