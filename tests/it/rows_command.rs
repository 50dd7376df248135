//! `weir rows` and what `weir query` shares with it: the same rows as a gateway's, complete or failed.

use std::path::Path;
use std::time::Duration;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::RowAccessor as _;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::process::Command;

use crate::support::process::{Finished, Process, config, in_time, run};
use crate::support::redis::send_signal;
use crate::support::{DISTRIBUTION, require};

/// A week that does not change any more, of a simulator whose clock stands.
const CLOCK: &str = "2026-08-26T12:00:00Z";
const METRICS: [&str; 7] = [
    "rows",
    "phone_number_metrics",
    "--start=2026-08-01T00:00:00Z",
    "--end=2026-08-08T00:00:00Z",
    "--cust-space-id=cams-alpha",
    "--columns=phone_number,start_time,date,sent_count,delivery_rate",
    "--max-wait=PT1M",
];
const METRICS_URL: &str = "start=2026-08-01T00:00:00Z&end=2026-08-08T00:00:00Z&cust_space_id=cams-alpha\
    &columns=phone_number,start_time,date,sent_count,delivery_rate&max_wait=PT1M";

/// Failed with `code`, exactly one line on stderr that holds each of `parts`, and nothing on stdout.
#[track_caller]
fn fails_with(ran: &Finished, code: i32, parts: &[&str]) {
    assert_eq!((ran.code, ran.out.as_str()), (Some(code), ""), "{ran:?}");
    assert!(ran.err.starts_with("weir: ") && ran.err.lines().count() == 1, "{ran:?}");
    for part in parts {
        assert!(ran.err.contains(part), "{part:?} is not in {}", ran.err);
    }
}

async fn rows(more: &[&str]) -> Finished {
    run(&[&METRICS[..], more].concat()).await
}

fn files(folder: &Path) -> Vec<String> {
    let names = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    names.collect()
}

/// One request to one listener, which is answered with `answer` and the end of the connection.
async fn answering_once(answer: String) -> (String, tokio::task::JoinHandle<String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let asked = tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut request, mut piece) = (Vec::new(), [0; 4_096]);
        while !request.windows(4).any(|end| end == b"\r\n\r\n") {
            let length = stream.read(&mut piece).await.unwrap();
            request.extend_from_slice(&piece[..length]);
        }
        stream.write_all(answer.as_bytes()).await.unwrap();
        String::from_utf8(request).unwrap()
    });
    (url, asked)
}

#[tokio::test]
async fn a_running_gateway_s_rows_are_copied_byte_for_byte() {
    if require::program("curl", "apt-get install curl").is_none() {
        return;
    }
    let (simulator, dir) = (Process::simulate(&["--clock", CLOCK]).await, tempfile::tempdir().unwrap());
    let weir = Process::serve(&config(dir.path(), &simulator.address, "")).await;
    let base = format!("http://{}", weir.address);
    for format in ["csv", "json", "jsonl", "parquet"] {
        let url = format!("{base}/rows/phone_number_metrics.{format}?{METRICS_URL}");
        // What it has cost is in JSON: nothing, once it is held.
        in_time(Command::new("curl").args(["-sf", &url]).output()).await.unwrap();
        let curl = in_time(Command::new("curl").args(["-sf", &url]).output()).await.unwrap();
        let file = dir.path().join(format);
        let ran = rows(&["--url", &base, "--format", format, "--output", file.to_str().unwrap()]).await;
        assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "", ""), "{format}");
        let own = std::fs::read(&file).unwrap();
        assert!(own.len() > 500, "{format}");
        if format == "json" {
            let counted = |bytes: &[u8]| {
                let mut all: Value = serde_json::from_slice(bytes).unwrap();
                all["weir"]["cacheHits"].take();
                all
            };
            assert_eq!(counted(&own), counted(&curl.stdout));
        } else {
            assert!(own == curl.stdout, "{format}");
        }
    }
    // The command's own gateway says the same, byte for byte; the account is free once the other has ended.
    let running = rows(&["--url", &base]).await;
    weir.terminate().await;
    let mut weir = weir;
    assert!(weir.ended().await.success());
    let own = rows(&["--config", dir.path().join("weir.toml").to_str().unwrap()]).await;
    assert_eq!((own.code, own.err.as_str()), (Some(0), ""), "{own:?}");
    assert!(own.out.starts_with("phone_number,start_time,date,sent_count,delivery_rate\r\n"), "{}", own.out);
    assert_eq!(own.out, running.out);
}

#[tokio::test]
async fn the_demo_s_rows_are_equal_in_every_format() {
    let dir = tempfile::tempdir().unwrap();
    let csv = rows(&["--demo"]).await;
    assert_eq!((csv.code, csv.err.as_str()), (Some(0), ""), "csv is the default where no terminal is");
    let lines: Vec<Vec<String>> =
        csv.out.lines().map(|line| line.split(',').map(str::to_owned).collect::<Vec<_>>()).collect();
    assert!(lines.len() > 8, "{}", csv.out);
    let cell = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned).replace("null", "");
    let texts = |row: &Value| lines[0].iter().map(|name| cell(&row[name])).collect::<Vec<_>>();

    let jsonl = rows(&["--demo", "--format", "jsonl"]).await;
    let of_lines: Vec<_> = jsonl.out.lines().map(|line| texts(&serde_json::from_str(line).unwrap())).collect();
    assert_eq!(of_lines, lines[1..]);
    let json: Value = serde_json::from_str(&rows(&["--demo", "--format", "json"]).await.out).unwrap();
    assert_eq!(json["rows"].as_array().unwrap().iter().map(texts).collect::<Vec<_>>(), lines[1..]);
    assert_eq!(json["columns"], json!(lines[0]));
    let table = rows(&["--demo", "--format", "table"]).await;
    let framed = table.out.lines().filter(|line| line.starts_with('│'));
    let framed = framed.map(|line| {
        line.split(['│', '┆']).map(|cell| cell.trim().to_owned()).filter(|cell| !cell.is_empty()).collect::<Vec<_>>()
    });
    let without_nulls = |row: &Vec<String>| row.iter().filter(|cell| !cell.is_empty()).cloned().collect::<Vec<_>>();
    assert_eq!(framed.collect::<Vec<_>>(), lines.iter().map(without_nulls).collect::<Vec<_>>());

    let file = dir.path().join("rows.parquet");
    let ran = rows(&["--demo", "--format", "parquet", "--output", file.to_str().unwrap()]).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    let parquet = SerializedFileReader::new(std::fs::File::open(&file).unwrap()).unwrap();
    let of_parquet = parquet.get_row_iter(None).unwrap().map(|row| {
        let row = row.unwrap();
        (row.get_string(0).unwrap().clone(), row.get_long(3).unwrap().to_string())
    });
    let of_csv = lines[1..].iter().map(|line| (line[0].clone(), line[3].clone()));
    assert_eq!(of_parquet.collect::<Vec<_>>(), of_csv.collect::<Vec<_>>());
}

#[tokio::test]
async fn an_empty_answer_has_its_header() {
    let empty = |format: &'static str| async move {
        let ran = rows(&["--demo", "--updated-since=2100-01-01T00:00:00Z", "--format", format]).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{format}");
        ran.out
    };
    assert_eq!(empty("csv").await, "phone_number,start_time,date,sent_count,delivery_rate\r\n");
    assert_eq!(empty("jsonl").await, "");
    let table = empty("table").await;
    assert!(table.contains("phone_number") && table.contains("delivery_rate"), "{table}");

    let query = "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: [\"8613800000099\"], \
                 range: { last: \"P7D\" }) { totalCount nodes { phoneNumber start sentCount } } }";
    let ran = run(&["query", "--demo", "--format", "csv", query]).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "phoneNumber,start,sentCount\n", ""));
}

#[tokio::test]
async fn what_cannot_be_asked_is_one_clear_line() {
    fails_with(&run(&["rows", "phone_metrics", "--demo"]).await, 2, &["phone_metrics", "phone_number_metrics"]);
    fails_with(&rows(&["--demo", "--colums", "a"]).await, 2, &["'--colums'", "'--columns'", "`weir rows --help`"]);
    fails_with(&rows(&["--demo", "--app-id", "app-one"]).await, 2, &["BAD_USER_INPUT", "app_id"]);
    fails_with(&rows(&["--demo", "--period", "YEAR"]).await, 2, &["period"]);
    fails_with(&rows(&["--demo", "--cust-space-id", "nobody"]).await, 2, &["UNKNOWN_CHANNEL"]);
    fails_with(&rows(&["--demo", "--bom", "--format", "json"]).await, 2, &["bom"]);
    fails_with(&rows(&["--demo", "--url", "http://127.0.0.1:1"]).await, 2, &["--demo", "--url"]);
    fails_with(&rows(&["--url", "localhost:8080"]).await, 2, &["--url", "http://127.0.0.1:8080"]);
    fails_with(&rows(&["--config", "none.toml"]).await, 2, &["none.toml: no such file"]);
    let dir = tempfile::tempdir().unwrap();
    let nowhere = dir.path().join("none").join("rows.csv");
    fails_with(&rows(&["--demo", "--output", nowhere.to_str().unwrap()]).await, 2, &["--output", "none"]);
    fails_with(&rows(&["--url", "http://127.0.0.1:1"]).await, 1, &["http://127.0.0.1:1 does not answer"]);

    // A running gateway refuses in the same words.
    let demo = Process::demo().await;
    let base = format!("http://{}", demo.address);
    let (own, running) =
        (rows(&["--demo", "--app-id", "app-one"]).await, rows(&["--url", &base, "--app-id", "app-one"]).await);
    assert_eq!((running.code, running.err), (own.code, own.err));
}

#[tokio::test]
async fn a_file_is_there_once_it_is_complete_and_not_before() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let output = ["--output", file.to_str().unwrap()];
    std::fs::write(&file, "old").unwrap();
    let head = "HTTP/1.1 200 OK\r\ncontent-type: text/csv\r\n";
    for cut in [
        format!("{head}transfer-encoding: chunked\r\n\r\n5\r\na,b\r\n\r\n3\r\n1,2\r\n"),
        format!("{head}content-length: 100\r\n\r\na,b\r\n1,2\r\n"),
    ] {
        let (url, asked) = answering_once(cut.clone()).await;
        let ran = rows(&[&["--url", &url][..], &output].concat()).await;
        fails_with(&ran, 1, &["broke off before the end", &url]);
        asked.await.unwrap();
        assert_eq!(std::fs::read_to_string(&file).unwrap(), "old");
        assert_eq!(files(dir.path()), ["rows.csv"], "nothing is left beside it");
        // Where there is no file, what came is printed, and the exit code says that it is not all.
        let (url, _asked) = answering_once(cut).await;
        let ran = rows(&["--url", &url]).await;
        assert_eq!((ran.code, ran.out.lines().next()), (Some(1), Some("a,b")), "{ran:?}");
    }
    let whole = format!("{head}transfer-encoding: chunked\r\n\r\n5\r\na,b\r\n\r\n0\r\n\r\n");
    let (url, _asked) = answering_once(whole).await;
    let ran = rows(&[&["--url", &url][..], &output].concat()).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert_eq!(std::fs::read_to_string(&file).unwrap(), "a,b\r\n");
    assert_eq!(files(dir.path()), ["rows.csv"]);
    // What is no file stays what it is.
    #[cfg(unix)]
    {
        let ran = rows(&["--demo", "--output", "/dev/null"]).await;
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
        assert!(!std::fs::metadata("/dev/null").unwrap().is_file());
    }
}

/// A vendor that fails half way, before a gateway of the command's own.
#[tokio::test]
async fn a_pull_that_fails_leaves_no_file() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let fault = json!({ "fault": { "refuse": { "status": 403, "code": "AccessDenied" } }, "operation": DISTRIBUTION, "times": 100 });
    simulator.post("/_sim/faults", &fault).await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("rows.csv");
    let args = ["rows", "measurements", "--config", config.to_str().unwrap(), "--output", file.to_str().unwrap()];
    let ran = run(&args).await;
    fails_with(&ran, 1, &["weir: VENDOR_"]);
    assert_eq!(files(folder.path()), [""; 0]);
}

#[tokio::test]
async fn a_pull_that_is_told_to_stop_leaves_no_file() {
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("rows.csv");
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        command.args(["rows", "operation_distributions", "--demo", "--last", "P20D", "--output"]).arg(&file);
        let mut child = command.kill_on_drop(true).spawn().unwrap();
        // Rows have come.
        let has_rows = || {
            let sizes = std::fs::read_dir(folder.path()).unwrap().map(|entry| entry.unwrap().metadata().unwrap().len());
            sizes.sum::<u64>() > 1_000
        };
        while !has_rows() {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
        send_signal(signal, child.id().unwrap());
        assert_eq!(in_time(child.wait()).await.unwrap().code(), Some(code));
        assert_eq!(files(folder.path()), [""; 0]);
    }
}

#[tokio::test]
async fn a_key_is_sent_and_a_problem_is_one_line() {
    let problem =
        json!({ "title": "Unauthorized", "status": 401, "detail": "the key is not known", "code": "UNAUTHENTICATED" });
    let body = problem.to_string();
    let answer = format!(
        "HTTP/1.1 401 Unauthorized\r\ncontent-type: application/problem+json\r\ncontent-length: {}\r\n\r\n{body}",
        body.len()
    );
    let (url, asked) = answering_once(answer).await;
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args([&METRICS[..], &["--url", &url]].concat()).env_clear().env("WEIR_API_KEY", "canary-key");
    let output = in_time(command.output()).await.unwrap();
    let told = String::from_utf8(output.stderr).unwrap();
    assert_eq!((output.status.code(), told.as_str()), (Some(1), "weir: UNAUTHENTICATED: the key is not known\n"));
    let request = asked.await.unwrap();
    assert!(request.contains("authorization: Bearer canary-key\r\n"), "{request}");
    assert!(request.starts_with("GET /rows/phone_number_metrics.csv?start=2026-08-01T00%3A00%3A00Z&"), "{request}");
    let (url, _asked) = answering_once("HTTP/1.1 502 Bad Gateway\r\ncontent-length: 0\r\n\r\n".to_owned()).await;
    fails_with(&rows(&["--url", &url]).await, 1, &["502 Bad Gateway", &url]);
}

#[tokio::test]
async fn pages_go_on_by_the_cursor_that_stderr_tells() {
    let demo = Process::demo().await;
    let base = format!("http://{}", demo.address);
    let whole = rows(&["--url", &base]).await.out;
    let (mut walked, mut pages) = (String::new(), 0);
    let mut page = rows(&["--url", &base, "--limit", "5"]).await;
    loop {
        assert_eq!(page.code, Some(0), "{page:?}");
        pages += 1;
        let skipped = usize::from(pages > 1);
        walked.extend(page.out.split_inclusive('\n').skip(skipped));
        let Some((_, told)) = page.err.split_once("--cursor ") else { break };
        let cursor = told.split(' ').next().unwrap();
        page = run(&["rows", "phone_number_metrics", "--url", &base, "--cursor", cursor]).await;
    }
    assert_eq!((walked, page.err.as_str()), (whole, ""));
    assert!(pages > 2, "{pages}");
    // A gateway of the command's own tells it, too.
    let own = rows(&["--demo", "--limit", "5", "--format", "table"]).await;
    assert!(own.code == Some(0) && own.err.contains("there are more rows; --cursor "), "{own:?}");
}

#[tokio::test]
async fn a_query_asks_a_running_gateway_and_its_rows_come_to_the_end() {
    let demo = Process::demo().await;
    let base = format!("http://{}", demo.address);
    let span = r#"{ between: { start: "2026-08-01T00:00:00Z", end: "2026-08-08T00:00:00Z" } }"#;
    let field = |arguments: &str| {
        format!(
            "phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {span}{arguments}) {{ nodes {{ phoneNumber start \
             sentCount }} }}"
        )
    };
    let ask = async |query: &str, more: &[&str]| run(&[&["query", "--url", &base, query], more].concat()).await;
    let all = ask(&format!("{{ {} }}", field("")), &[]).await;
    assert_eq!((all.code, all.err.as_str()), (Some(0), ""));
    let answer: Value = serde_json::from_str(&all.out).unwrap();
    let rows = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    assert!(rows.len() > 10, "{answer}");
    let text = |value: &Value| value.as_str().map_or_else(|| value.to_string(), str::to_owned);
    let line = |row: &Value| format!("{},{},{}\n", text(&row["phoneNumber"]), text(&row["start"]), row["sentCount"]);
    let csv = format!("phoneNumber,start,sentCount\n{}", rows.iter().map(line).collect::<String>());
    assert_eq!(ask(&format!("{{ {} }}", field("")), &["--format", "csv"]).await.out, csv);

    // Pages of four, by the query's own variable: all of them are in the CSV.
    let paged = format!("query Q($at: String) {{ {} }}", field(", first: 4, after: $at"));
    let walked = ask(&paged, &["--format", "csv"]).await;
    assert_eq!((walked.code, walked.out, walked.err.as_str()), (Some(0), csv.clone(), ""));
    let own = run(&["query", "--demo", "--format", "csv", &paged]).await;
    assert_eq!((own.code, own.out, own.err.as_str()), (Some(0), csv.clone(), ""));

    // A page that was asked for is one, and what comes after it is told.
    for format in ["csv", "table"] {
        let cut = ask(&format!("{{ {} }}", field(", first: 4")), &["--format", format]).await;
        assert_eq!(cut.code, Some(1), "{cut:?}");
        assert!(cut.err.starts_with("weir: phoneNumberMetrics has more rows than these;"), "{cut:?}");
        assert!(format != "csv" || cut.out.lines().eq(csv.lines().take(5)), "{cut:?}");
    }
    let last = ask(&format!("{{ {} }}", field(", first: 10000")), &["--format", "csv"]).await;
    assert_eq!((last.code, last.out), (Some(0), csv));

    let wrong = ask("{ chanels { account } }", &["--format", "csv"]).await;
    fails_with(&wrong, 1, &["chanels", "channels"]);
}

/// The progress is for people: `script` gives the command a terminal.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_long_pull_tells_a_terminal_how_far_it_is() {
    if require::program("script", "apt-get install bsdutils").is_none() {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("rows.csv");
    let weir = env!("CARGO_BIN_EXE_weir");
    let pull = format!("{weir} rows operation_distributions --demo --last P4D --output {}", file.display());
    let on_terminal = in_time(Command::new("script").args(["-qec", &pull, "/dev/null"]).output()).await.unwrap();
    let shown = String::from_utf8(on_terminal.stdout).unwrap();
    assert!(on_terminal.status.success(), "{shown}");
    let told: Vec<_> = shown.split('\r').filter(|line| line.contains(" windows, about ")).collect();
    assert!(told.len() > 1 && told.iter().all(|line| line.contains(" left\u{1b}[K")), "{shown:?}");
    assert!(shown.ends_with("\r\u{1b}[K"), "and takes it away again: {shown:?}");
    let quiet = run(&["rows", "operation_distributions", "--demo", "--last", "P4D", "--app-id", "app-one"]).await;
    assert_eq!((quiet.code, quiet.err.as_str()), (Some(0), ""), "nothing where no terminal is");

    // Nobody reads Parquet on a terminal.
    let parquet = format!("{weir} rows operation_distributions --demo --format parquet");
    let refused = in_time(Command::new("script").args(["-qec", &parquet, "/dev/null"]).output()).await.unwrap();
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8(refused.stdout).unwrap().contains("--output"));
}
