//! The lines of `docs/bi` and of the page at `/rows` do what they are there for: each block is run or read from the documents.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde_json::{Value, json};
use weir::domain::Timestamp;
use weir::domain::time::DAY;

use super::{Bench, clients};
use crate::support::{METRIC, TestGateway, require};

/// The address in the documents.
const SHOWN: &str = "http://127.0.0.1:8080";

fn docs() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/bi")
}

fn read(name: &str) -> String {
    std::fs::read_to_string(docs().join(name)).unwrap()
}

/// A block between fences.
struct Block {
    document: String,
    language: String,
    text: String,
}

fn blocks() -> Vec<Block> {
    let mut names: Vec<String> = std::fs::read_dir(docs())
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .filter(|name| Path::new(name).extension().is_some_and(|extension| extension == "md"))
        // What reads the archive is run with the archive's own tests.
        .filter(|name| name != "archive.md")
        .collect();
    names.sort();
    let mut blocks = Vec::new();
    for document in names {
        for (at, part) in read(&document).split("```").enumerate().filter(|(at, _)| at % 2 == 1) {
            let (language, text) = part.split_once('\n').unwrap_or_else(|| panic!("{document}, fence {at}"));
            blocks.push(Block { document: document.clone(), language: language.to_owned(), text: text.to_owned() });
        }
    }
    blocks
}

/// The programs that run the blocks.
struct Programs {
    bash: PathBuf,
    r: PathBuf,
    node: PathBuf,
}

/// `None` where one of them is not installed.
fn programs() -> Option<Programs> {
    let of_debian = |name, package| require::program(name, package);
    of_debian("curl", "apt-get install curl")?;
    of_debian("jq", "apt-get install jq")?;
    of_debian("soffice", "apt-get install libreoffice-calc")?;
    require::file("tests/clients/bi/node_modules/@microsoft/powerquery-parser", "run: make test")?;
    Some(Programs {
        bash: of_debian("bash", "install it")?,
        r: of_debian("Rscript", "apt-get install r-base-core")?,
        node: of_debian("node", "install Node 20 or newer")?,
    })
}

impl Bench {
    /// The text with the address of this gateway, as a file.
    fn file(&self, text: &str) -> String {
        let file = self.home.path().join("recipe");
        std::fs::write(&file, text.replace(SHOWN, &self.server.url())).unwrap();
        file.to_str().unwrap().to_owned()
    }

    async fn recipe(&self, language: &str, text: &str) -> Value {
        self.python("recipe.py", &[language, &self.file(text)]).await.json()
    }

    /// How many rows of a week there are, and how many messages were sent in them.
    async fn truth(&self, last: &str) -> (u64, u64) {
        let rows = self.rows("phone_number_metrics", &format!("last={last}")).await;
        (rows.len() as u64, rows.iter().map(|row| row["sent_count"].as_u64().unwrap()).sum())
    }

    async fn urls_answer(&self, text: &str) -> usize {
        let iso = |at: Timestamp| at.to_string();
        let text = text.replace("${__from:date:iso}", &iso(self.gateway.now() - 7 * DAY));
        let text = text.replace("${__to:date:iso}", &iso(self.gateway.now()));
        let mut n_urls = 0;
        for rest in text.split(SHOWN).skip(1) {
            let path = rest.split(['"', '\n']).next().unwrap();
            let (status, body) = self.get(path).await;
            assert!(status == 200 && body.len() > 100, "{path}: {body}");
            n_urls += 1;
        }
        n_urls
    }
}

#[tokio::test]
async fn every_block_of_the_documents_does_what_it_says() {
    let (Some(bench), Some(programs)) = (Bench::start().await, programs()) else { return };
    let (week, month) = (bench.truth("P7D").await, bench.truth("P30D").await);
    let mut run = BTreeMap::new();
    for Block { document, language, text } in blocks() {
        *run.entry(language.clone()).or_insert(0) += 1;
        let what = format!("{document}: {text}");
        match language.as_str() {
            // It is run three times, further down, and its single line with those of the other tools.
            "python" if document == "dlt.md" => {}
            "python" | "sql" => {
                let (n_rows, sent) = if text.contains("last=P30D") { month } else { week };
                let left = bench.recipe(&language, &text).await;
                assert_eq!(left["sent_count"], json!(sent), "{what}");
                assert!(left["rows"] == json!(n_rows) || text.contains("GROUP BY"), "{what}: {left}");
                if language == "python" {
                    assert!(left["phone"].as_str().is_some_and(|phone| phone.len() > 10), "{what}: {left}");
                }
            }
            "sh" => {
                let file = bench.file(&text);
                let out = bench.run(&programs.bash, &[&file]).await.ok().out;
                shell_is_right(&bench, &text, &out, week).await;
            }
            "r" => {
                let text = text + "cat(nrow(rows), sum(rows$sent_count), class(rows$phone_number))";
                let out = bench.run(&programs.r, &[&bench.file(&text)]).await.ok().out;
                assert_eq!(out, format!("{} {} character", week.0, week.1), "{what}");
            }
            "m" => {
                let (program, file) = (clients().join("parse.mjs"), bench.file(&text));
                let ran = bench.run(&programs.node, &[program.to_str().unwrap(), &file]).await.ok();
                assert_eq!(ran.out, "parsed\n", "{what}");
                assert_eq!(bench.get("/rows/phone_number_metrics.csv?last=P7D").await.0, 200);
            }
            // Superset is given these, where it is tested.
            "text" if text.starts_with("duckdb:") => {}
            "text" => assert_eq!(bench.urls_answer(&text).await, 1, "{what}"),
            _ => panic!("nothing runs this block of {language}: {what}"),
        }
    }
    let of = |language: &str| run.get(language).copied().unwrap_or_default();
    assert!(
        of("python") >= 6 && of("sql") >= 4 && of("sh") >= 4 && of("r") + of("m") >= 2 && of("text") >= 4,
        "{run:?}"
    );
}

/// What a block for the shell printed, or left in a file.
async fn shell_is_right(bench: &Bench, text: &str, out: &str, (n_rows, sent): (u64, u64)) {
    if text.contains("soffice") {
        let file = bench.home.path().join("rows.fods");
        let cells = bench.python("cells.py", &[file.to_str().unwrap()]).await.json();
        let rows = bench.rows("phone_number_metrics", "last=P7D").await;
        assert_eq!(cells.as_array().unwrap().len(), rows.len() + 1, "and the header");
        for (cells, row) in cells.as_array().unwrap()[1..].iter().zip(&rows) {
            let cell = |at: usize, kind: &str| {
                assert_eq!(cells[at][0], kind, "cell {at} of {cells}");
                cells[at][1].as_str().unwrap()
            };
            assert_eq!(
                json!([cell(1, "string"), cell(2, "string")]),
                json!([row["cust_space_id"], row["phone_number"]])
            );
            assert_eq!(json!(cell(6, "date")), row["date"]);
            assert_eq!(cell(7, "float").parse::<u64>().unwrap(), row["sent_count"].as_u64().unwrap());
            if let Some(rate) = row["delivery_rate"].as_f64() {
                assert!((cell(9, "float").parse::<f64>().unwrap() - rate).abs() < 1e-12, "{cells}");
            }
        }
    } else if text.contains("--slurp") {
        assert_eq!(out.trim().parse::<u64>().unwrap(), sent);
    } else if text.contains("jq") {
        let read = serde_json::Deserializer::from_str(out).into_iter::<Value>().map(Result::unwrap);
        let counts: Vec<u64> = read.map(|row| row["sent_count"].as_u64().unwrap()).collect();
        assert_eq!((counts.len() as u64, counts.iter().sum::<u64>()), (n_rows, sent));
    } else {
        let mut reader = csv::Reader::from_reader(out.as_bytes());
        let at = reader.headers().unwrap().iter().position(|name| name == "sent_count").unwrap();
        let counts: Vec<u64> = reader.records().map(|row| row.unwrap()[at].parse().unwrap()).collect();
        assert_eq!((counts.len() as u64, counts.iter().sum::<u64>()), (n_rows, sent));
    }
}

/// What `/rows` shows for a tool is in the documents, and works for every dataset.
#[tokio::test]
async fn the_line_of_every_tool_is_in_the_documents_and_works_for_every_dataset() {
    let (Some(bench), Some(programs)) = (Bench::start().await, programs()) else { return };
    let documents = read("README.md") + &read("power-bi.md") + &read("dlt.md");
    let list: Value = serde_json::from_str(&bench.get("/rows").await.1).unwrap();
    let mut n_lines = 0;
    for dataset in list["datasets"].as_array().unwrap() {
        let name = dataset["name"].as_str().unwrap();
        // Totals without groups and periods would be a single row.
        let asked = if name == "phone_number_totals" { "last=P7D&period=DAY&by=CHANNEL" } else { "last=P7D" };
        let n_rows = bench.rows(name, asked).await.len();
        assert!(n_rows > 5, "{name}");
        for tool in dataset["tools"].as_array().unwrap() {
            let (tool, line) = (tool["name"].as_str().unwrap(), tool["line"].as_str().unwrap());
            if name == "phone_number_metrics" && !["Google Sheets", "Grafana (Infinity)", "Tableau"].contains(&tool) {
                assert!(documents.contains(&line.replace(&bench.server.url(), SHOWN)), "{tool}: {line}");
            }
            let rows = match tool {
                "pandas" | "polars" => bench.recipe("python", &format!("import {tool}\n{line}")).await["rows"].as_u64(),
                "pyarrow" => {
                    let text = format!("import io\nimport urllib.request\nimport pyarrow.parquet\n{line}");
                    bench.recipe("python", &text).await["rows"].as_u64()
                }
                "dlt" => {
                    // Twice: the range is loaded anew, not added.
                    let left =
                        format!("duckdb.connect(\"weir.duckdb\").sql(\"SELECT * FROM weir_dataset.{name}\").df()");
                    let text = format!("import dlt\nimport duckdb\nimport pandas\n{line}\n{line}\nrows = {left}");
                    bench.recipe("python", &text).await["rows"].as_u64()
                }
                "DuckDB" => bench.recipe("sql", line).await["rows"].as_u64(),
                "Superset, Metabase" => {
                    bench.recipe("sql", &format!("{line} SELECT * FROM {name};")).await["rows"].as_u64()
                }
                "R" => {
                    let text = format!("{line}\nstopifnot(is.data.frame(rows))\nwarnings()\ncat(nrow(rows))");
                    let ran = bench.run(&programs.r, &[&bench.file(&text)]).await.ok();
                    assert_eq!(ran.err, "", "{line}");
                    ran.out.parse().ok()
                }
                "curl" => Some(bench.run(&programs.bash, &["-c", line]).await.ok().out.lines().count() as u64 - 1),
                "jq" => {
                    let line = format!("set -o pipefail; {line} | jq --slurp length");
                    bench.run(&programs.bash, &["-c", &line]).await.ok().out.trim().parse().ok()
                }
                _ => continue,
            };
            assert_eq!(rows, Some(n_rows as u64), "{name}, {tool}: {line}");
            n_lines += 1;
        }
    }
    assert_eq!(n_lines, 4 * 9);
}

/// The dashboard asks for what is there.
#[tokio::test]
async fn every_url_of_the_dashboard_answers_with_the_columns_that_it_names() {
    let Some(bench) = Bench::start().await else { return };
    let dashboard: Value = serde_json::from_str(&read("grafana-dashboard.json")).unwrap();
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    assert!(variables.iter().any(|variable| variable["name"] == "weir" && variable["query"] == SHOWN));
    let panels = dashboard["panels"].as_array().unwrap();
    for target in panels.iter().flat_map(|panel| panel["targets"].as_array().unwrap()) {
        assert_eq!((&target["type"], &target["source"]), (&json!("csv"), &json!("url")));
        let url = target["url"].as_str().unwrap().strip_prefix("${weir}").unwrap();
        let ends = [("from", bench.gateway.now() - 2 * DAY), ("to", bench.gateway.now())];
        let url = ends
            .iter()
            .fold(url.to_owned(), |url, (end, at)| url.replace(&format!("${{__{end}:date:iso}}"), &at.to_string()));
        assert!(!url.contains('$'), "{url}");
        let (status, body) = bench.get(&url).await;
        assert!(status == 200 && body.lines().count() > 1, "{url}: {body}");
        let named: Vec<&str> =
            target["columns"].as_array().unwrap().iter().map(|column| column["selector"].as_str().unwrap()).collect();
        assert_eq!(body.lines().next().unwrap().split(',').collect::<Vec<_>>(), named, "{url}");
    }
    assert!(panels.len() > 2);
}

/// The query for Power BI: the language's own parser reads it, its columns are those of the dataset, and the pages that it
/// walks are the whole.
#[tokio::test]
async fn the_query_for_power_bi_parses_and_its_pages_are_the_whole() {
    let (Some(bench), Some(programs)) = (Bench::start().await, programs()) else { return };
    let (text, program) = (read("weir.pq"), clients().join("parse.mjs"));
    let parse = |file: PathBuf| {
        let args = [program.to_str().unwrap().to_owned(), file.to_str().unwrap().to_owned()];
        let (bench, node) = (&bench, &programs.node);
        async move { bench.run(node, &[&args[0], &args[1]]).await }
    };
    assert_eq!(parse(docs().join("weir.pq")).await.ok().out, "parsed\n");
    let broken = bench.home.path().join("broken.pq");
    std::fs::write(&broken, text.replacen(')', "", 1)).unwrap();
    assert_eq!(parse(broken).await.code, Some(1));

    assert_eq!((text.matches("http://").count(), text.matches("Web.Contents(").count()), (1, 1), "one fixed address");
    let list: Value = serde_json::from_str(&bench.get("/rows").await.1).unwrap();
    let columns = list["datasets"][0]["columns"].as_array().unwrap().iter().map(|column| {
        let kind = match column["type"].as_str().unwrap() {
            "timestamp" => "type datetimezone",
            "date" => "type date",
            "int64" => "Int64.Type",
            "float64" => "type number",
            _ => "type text",
        };
        format!("{{{}, {kind}}}", column["name"])
    });
    let written = text.lines().map(|line| line.trim().trim_end_matches(',')).filter(|line| line.starts_with("{\""));
    assert_eq!(written.collect::<Vec<_>>(), columns.collect::<Vec<_>>());

    // As it asks: two neighbouring ranges, the first page with its limit, the others with a cursor alone.
    let now = bench.gateway.now();
    let (begin, middle) = (now - 7 * DAY, now - 3 * DAY);
    let mut walked = Vec::new();
    for (start, end) in [(begin, middle), (middle, now)] {
        let mut asked = format!("start={start}&end={end}&limit=50");
        loop {
            let (status, body) = bench.get(&format!("/rows/phone_number_metrics.json?{asked}")).await;
            assert_eq!(status, 200, "{body}");
            let mut page: Value = serde_json::from_str(&body).unwrap();
            walked.append(page["rows"].as_array_mut().unwrap());
            let Some(next) = page["next"].as_str() else { break };
            asked = format!("cursor={next}");
        }
    }
    let key =
        |row: &Value| ["cust_space_id", "phone_number", "start_time", "sent_count"].map(|name| row[name].to_string());
    let mut walked: Vec<_> = walked.iter().map(key).collect();
    let mut whole: Vec<_> =
        bench.rows("phone_number_metrics", &format!("start={begin}&end={now}")).await.iter().map(key).collect();
    walked.sort();
    whole.sort();
    assert!(walked == whole && whole.len() > 200, "{} and {} rows", walked.len(), whole.len());
}

/// dlt's table is what the door answers, run by run, and each run loads and asks only what is new.
#[tokio::test]
async fn dlt_loads_what_is_new_over_a_moving_clock() {
    // What may still change is as old at every run as it would be in life, though the runs follow each other at once.
    let aging = |config: &mut weir::config::Config| {
        config.cache.provisional_ttl = Duration::from_millis(1);
        config.cache.stale_while_refresh = Duration::ZERO;
    };
    let Some(bench) = Bench::before(TestGateway::builder().config(aging).build()).await else { return };
    let block = blocks().into_iter().find(|block| block.document == "dlt.md" && block.language == "python").unwrap();
    let (mut loaded, mut calls, mut n_final, mut known) = (Vec::new(), Vec::new(), Vec::new(), 0);
    for later in [Duration::ZERO, Duration::from_mins(40), 4 * DAY] {
        bench.gateway.clock().set(bench.gateway.now() + later);
        let left = bench.recipe("python", &block.text).await;
        calls.push(bench.gateway.calls(METRIC) - known);
        loaded.push(left["loaded"].as_u64().unwrap());
        let kinds = &left["kinds"];
        assert_eq!(
            (&kinds["phone_number"], &kinds["cust_space_id"], &kinds["date"]),
            (&json!("VARCHAR"), &json!("VARCHAR"), &json!("DATE"))
        );
        assert_eq!(
            (&kinds["start_time"], &kinds["sent_count"]),
            (&json!("TIMESTAMP WITH TIME ZONE"), &json!("BIGINT"))
        );
        let instant = |value: &Value| Timestamp::parse_rfc3339(value.as_str().unwrap()).unwrap();
        let mut rows = bench.rows("phone_number_metrics", "last=P30D").await;
        rows.sort_by_key(|row| {
            let text = |name: &str| row[name].as_str().unwrap_or_default().to_owned();
            (text("cust_space_id"), text("phone_number"), instant(&row["start_time"]))
        });
        let rows: Vec<Value> = rows
            .iter()
            .map(|row| {
                let at = |name: &str| instant(&row[name]).as_ms();
                let channel = row["cust_space_id"].as_str().unwrap_or_default();
                let counts = [&row["sent_count"], &row["delivered_count"], &row["finality"]];
                json!([
                    channel,
                    row["phone_number"],
                    at("start_time"),
                    counts[0],
                    counts[1],
                    counts[2],
                    at("fetched_at")
                ])
            })
            .collect();
        // What may still change the door has fetched again by now, and the vendor's counts only grow.
        let agrees = |(kept, row): (&Value, &Value)| {
            let has_grown = |at: usize| kept[at].as_u64() <= row[at].as_u64();
            let is_same_place = (0..3).all(|at| kept[at] == row[at]) && kept[5] == row[5];
            kept == row || (row[5] == "PROVISIONAL" && is_same_place && has_grown(3) && has_grown(4))
        };
        // What has left the range stays in the table.
        let begin = (bench.gateway.now() - 30 * DAY).as_ms();
        let kept = left["kept"].as_array().unwrap().iter().filter(|row| row[2].as_i64().unwrap() >= begin);
        let kept: Vec<Value> = kept.cloned().collect();
        let differs = kept.iter().zip(&rows).find(|pair| !agrees(*pair));
        assert!(differs.is_none() && kept.len() == rows.len(), "{} and {} rows: {differs:?}", kept.len(), rows.len());
        n_final.push(kept.iter().filter(|row| row[5] == "FINAL").count());
        known = bench.gateway.calls(METRIC);
    }
    // The second run looks back beyond the first, the third does not.
    let is_more = |one: u64, other: u64| one > 3 * other && other > 0;
    assert!(loaded[0] > 1_000 && loaded[1] == loaded[0] && is_more(loaded[0], loaded[2]), "{loaded:?}");
    assert!(n_final.iter().all(|rows| *rows > 1_000), "{n_final:?}");
    assert_eq!(calls, [calls[0]; 3], "one call a channel: what is final is not asked for again");
}
