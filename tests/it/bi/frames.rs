//! Every client sees the same frame, types included, and no client takes a part for the whole.

use std::time::Duration;

use serde_json::{Map, Value, json};
use weir::domain::Timestamp;
use weir::sim::{Fault, Scope, Times};

use super::Bench;
use crate::support::{TestGateway, require};

const NOTHING: &str = "last=P1D&app_id=app-one&updated_since=2099-01-01T00:00:00Z";
const QUESTIONS: [(&str, &str); 8] = [
    ("phone_number_metrics", "last=P3D"),
    ("phone_number_totals", "last=P3D&period=DAY&by=CHANNEL"),
    ("operation_distributions", "last=P2D&app_id=app-one"),
    ("measurements", "last=P2D"),
    ("phone_number_metrics", "last=P1D&updated_since=2099-01-01T00:00:00Z"),
    ("phone_number_totals", "last=P1D&updated_since=2099-01-01T00:00:00Z"),
    ("operation_distributions", NOTHING),
    ("measurements", NOTHING),
];

/// A value as the clients' program prints it: instants in milliseconds.
fn plain(kind: &str, value: &Value) -> Value {
    match (kind, value) {
        ("timestamp", Value::String(text)) => json!(Timestamp::parse_rfc3339(text).unwrap().as_ms()),
        _ => value.clone(),
    }
}

fn is_same(one: &Value, other: &Value) -> bool {
    match (one.as_f64(), other.as_f64()) {
        (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
        _ => one == other,
    }
}

#[tokio::test]
async fn every_client_reads_the_same_frames_with_the_same_types() {
    let Some(bench) = Bench::start().await else { return };
    let questions = json!(QUESTIONS).to_string();
    // Everything is held before the first client asks: then even `source` is the same for all.
    for (dataset, query) in QUESTIONS {
        bench.rows(dataset, query).await;
    }
    let (_, list) = bench.get("/rows").await;
    let list: Value = serde_json::from_str(&list).unwrap();
    let told = bench.python("frames.py", &[&bench.server.url(), &questions]).await.ok().out;
    let (mut n_frames, mut n_rows) = (0, 0);
    for frame in told.lines().map(|line| serde_json::from_str::<Value>(line).unwrap()) {
        let (client, dataset, query) = (&frame["client"], &frame["dataset"], frame["query"].as_str().unwrap());
        let what = format!("{client} of {dataset}?{query}");
        let of = list["datasets"].as_array().unwrap().iter().find(|one| one["name"] == *dataset).unwrap();
        let types: Vec<(&str, &str)> = of["columns"].as_array().unwrap().iter().map(name_and_type).collect();
        let rows = bench.rows(dataset.as_str().unwrap(), query).await;
        if rows.is_empty() && client == "pandas, CSV" {
            // It cannot know an instant where there is none; the document says so.
            assert_eq!(frame["types"].as_array().unwrap().len(), types.len(), "{what}");
        } else {
            assert_eq!(frame["types"], json!(types), "{what}");
        }
        let own = frame["rows"].as_array().unwrap();
        assert_eq!((own.len(), rows.is_empty()), (rows.len(), query.contains("2099")), "{what}");
        for (own, row) in own.iter().zip(&rows) {
            for ((name, kind), own) in types.iter().zip(own.as_array().unwrap()) {
                let expected = plain(kind, &row[name]);
                assert!(is_same(own, &expected), "{what}, {name}: {own} and {expected}");
            }
        }
        n_frames += 1;
        n_rows += own.len();
    }
    assert!(n_frames == 11 * QUESTIONS.len() && n_rows > 2_000, "{n_frames} frames, {n_rows} rows");
}

fn name_and_type(column: &Value) -> (&str, &str) {
    (column["name"].as_str().unwrap(), column["type"].as_str().unwrap())
}

/// The vendor fails once rows have been sent: every client says so, none shows what came until then.
#[tokio::test]
async fn no_client_takes_a_part_for_the_whole() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let (Some(bench), Some(shell), Some(curl), Some(r)) = (
        Bench::before(gateway).await,
        require::program("bash", "install it"),
        require::program("curl", "apt-get install curl"),
        require::program("Rscript", "apt-get install r-base-core"),
    ) else {
        return;
    };
    let query = "last=P8D&window=PT6H&app_id=app-one";
    let base = bench.server.url();
    let url = |format: &str| format!("{base}/rows/operation_distributions.{format}?{query}");
    let piped = format!("set -o pipefail; curl --fail --silent '{}' | jq . >/dev/null", url("jsonl"));
    let read = format!("rows <- read.csv(\"{}\"); cat(nrow(rows))", url("csv"));
    let failing = async {
        // The first rows are on their way by then.
        tokio::time::sleep(Duration::from_secs(9)).await;
        bench.gateway.sim().faults().push(Fault::PermissionDenied, Scope::Everything, Times::ForEver);
    };
    let csv = url("csv");
    let (piped, read, to_cut) = (["-c", &piped[..]], ["-e", &read[..]], [&base[..], query]);
    let compressed = ["--fail", "--silent", "--compressed", "--output", "cut.csv", &csv];
    let (told, plain, piped, r, ()) = tokio::join!(
        bench.python("cut.py", &to_cut),
        bench.run(&curl, &compressed),
        bench.run(&shell, &piped),
        bench.run(&r, &read),
        failing
    );
    assert_eq!(plain.code, Some(18), "{}{}", plain.out, plain.err);
    let part = std::fs::read_to_string(bench.home.path().join("cut.csv")).unwrap();
    assert!(part.lines().count() > 10, "rows had come: {part}");
    assert_eq!(piped.code, Some(18), "{}{}", piped.out, piped.err);
    assert_ne!(r.code, Some(0), "{}{}", r.out, r.err);
    let told = told.json();
    let told: &Map<String, Value> = told.as_object().unwrap();
    assert_eq!(told.len(), 6);
    for (client, ending) in told {
        assert!(ending.as_str().is_some_and(|text| text.starts_with("raised ")), "{client} took {ending} rows");
    }
}
