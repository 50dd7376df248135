//! What HTTP promises of rows: names, lengths, parts, compression, and a list of all that there is.

use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;
use std::time::Duration;

use axum::http::Method;
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::sim::{Fault, Scope, Times};

use super::{door, frame, get, get_with, send};
use crate::support::log::Log;
use crate::support::{DISTRIBUTION, METRIC, TestGateway};

/// What nothing can change any more.
const FINAL: &str = "start=2026-10-01T00:00:00Z&end=2026-10-05T00:00:00Z&cust_space_id=cams-alpha";

#[tokio::test(start_paused = true)]
async fn what_is_final_has_a_name_and_costs_nothing_the_next_time() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    for format in ["csv", "json", "jsonl", "parquet"] {
        let uri = format!("/rows/phone_number_metrics.{format}?{FINAL}");
        let first = get(&site, &uri).await;
        let etag = first.header("etag").to_owned();
        assert!(!etag.is_empty(), "{format}: {:?}", first.headers);
        let calls = gateway.calls(METRIC);
        let again = get_with(&site, &uri, &[("if-none-match", &etag)]).await;
        assert_eq!((again.status, again.body.len()), (304, 0), "{format}");
        assert_eq!(again.header("etag"), etag);
        let listed = get_with(&site, &uri, &[("if-none-match", &format!("\"other\", {etag}"))]).await;
        assert_eq!(listed.status, 304);
        assert_eq!(get_with(&site, &uri, &[("if-none-match", "\"other\"")]).await.status, 200);
        assert_eq!(gateway.calls(METRIC), calls);
        let other = get(&site, &format!("{uri}&columns=sent_count")).await;
        assert_ne!(other.header("etag"), etag, "{format}: other columns are another answer");
        let page = get(&site, &format!("{uri}&limit=2")).await;
        assert!(!page.header("etag").is_empty() && page.header("etag") != etag, "{format}: a page is another answer");
    }
    for format in ["csv", "json", "jsonl"] {
        let provisional = get(&site, &format!("/rows/phone_number_metrics.{format}?last=P3D")).await;
        assert_eq!(provisional.header("etag"), "", "{format}: it may change");
        assert_eq!(provisional.header("cache-control"), "no-store");
    }
}

#[tokio::test(start_paused = true)]
async fn a_whole_that_is_short_has_its_length_and_one_that_is_long_streams() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    get(&site, "/rows/phone_number_metrics.csv?last=P3D").await;
    let short = get(&site, "/rows/phone_number_metrics.csv?last=P3D").await;
    assert_eq!(short.header("content-length"), short.body.len().to_string());
    let head = send(&site, Method::HEAD, "/rows/phone_number_metrics.csv?last=P3D", &[]).await;
    assert_eq!(head.headers()["content-length"], short.header("content-length"));
    assert_eq!(head.into_body().collect().await.unwrap().to_bytes().len(), 0);
    let long = "/rows/phone_number_metrics.jsonl?last=P100D&granularity=HALF_HOUR";
    let mut first = send(&site, Method::GET, long, &[]).await;
    assert!(!first.headers().contains_key("content-length"));
    let chunk = first.body_mut().frame().await.unwrap().unwrap().into_data().unwrap();
    assert!(chunk.len() < 4 << 20);
    let rest = first.into_body().collect().await.unwrap().to_bytes();
    assert!(rest.len() > 2 << 20, "{}", rest.len());
}

/// A head costs what its status and its headers do: the first rows, and not the rest of a long pull.
#[tokio::test(start_paused = true)]
async fn the_head_of_a_long_pull_costs_its_first_rows_alone() {
    for format in ["csv", "json", "jsonl"] {
        let gateway = TestGateway::builder().legs(20..80, 20..80).build();
        let site = door(&gateway);
        let uri = format!("/rows/operation_distributions.{format}?last=P25D&window=PT6H");
        let (began, head) = (Instant::now(), send(&site, Method::HEAD, &uri, &[]).await);
        assert_eq!((head.status().as_u16(), head.headers().contains_key("content-length")), (200, false), "{format}");
        assert!(began.elapsed() < Duration::from_secs(1), "{format}: {:?}", began.elapsed());
        sleep(Duration::from_mins(1)).await;
        assert!((1..=3).contains(&gateway.calls(DISTRIBUTION)), "{format}: {} calls", gateway.calls(DISTRIBUTION));
        // What can be whole in time has its length, whoever asks for it first.
        let short = format!("/rows/operation_distributions.{format}?last=P2D&app_id=app-one&window=P1D");
        let head = send(&site, Method::HEAD, &short, &[]).await;
        assert!(head.headers().contains_key("content-length"), "{format}: {:?}", head.headers());
        // A failure has its status.
        gateway.sim().faults().push(Fault::PermissionDenied, Scope::Everything, Times::ForEver);
        let failed = send(&site, Method::HEAD, &uri.replace("PT6H", "PT3H"), &[]).await;
        assert_eq!(failed.status(), 502, "{format}");
    }
}

/// `DuckDB` asks for the head first, and refuses a file that has another length than that told.
#[tokio::test(start_paused = true)]
async fn a_head_that_had_to_fetch_its_rows_has_the_length_of_the_answer_that_comes_next() {
    for format in ["csv", "json", "jsonl"] {
        for query in ["last=P2D&app_id=app-one&window=P1D", "last=P2D&app_id=app-one&window=PT6H&limit=40"] {
            let gateway = TestGateway::builder().legs(20..80, 20..80).build();
            let site = door(&gateway);
            let uri = format!("/rows/operation_distributions.{format}?{query}");
            let head = send(&site, Method::HEAD, &uri, &[]).await;
            let calls = gateway.calls(DISTRIBUTION);
            let got = get(&site, &uri).await;
            assert_eq!(head.headers()["content-length"], got.body.len().to_string(), "{uri}");
            assert_eq!((gateway.calls(DISTRIBUTION), calls > 0), (calls, true), "{uri}: all was held by then");
            assert!(got.text().contains("CACHE"), "{uri}");
        }
        // What may be no older is fetched once for the head, and not twice.
        let gateway = TestGateway::start();
        let uri = format!("/rows/operation_distributions.{format}?last=P1D&app_id=app-one&window=P1D&max_stale=PT0S");
        let head = send(&door(&gateway), Method::HEAD, &uri, &[]).await;
        assert_eq!((head.status().as_u16(), gateway.calls(DISTRIBUTION)), (200, 1), "{uri}");
    }
}

#[tokio::test(start_paused = true)]
async fn compressed_rows_can_be_read_as_they_arrive() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let uri = "/rows/operation_distributions.csv?last=P10D&app_id=app-two";
    let mut body = send(&site, Method::GET, uri, &[("accept-encoding", "br, gzip")]).await;
    assert_eq!(body.headers()["content-encoding"], "gzip");
    assert!(body.headers().get_all("vary").iter().any(|vary| vary == "accept-encoding"));
    let mut compressed = Vec::new();
    // The first rows are there long before the last window is.
    while gateway.sim().arrivals().len() < 8 {
        compressed.extend_from_slice(&body.body_mut().frame().await.unwrap().unwrap().into_data().unwrap());
    }
    let mut so_far = Vec::new();
    drop(flate2::read::GzDecoder::new(&compressed[..]).read_to_end(&mut so_far));
    let so_far = String::from_utf8_lossy(&so_far);
    assert!(so_far.lines().count() > 30, "{so_far}");
    compressed.extend_from_slice(&body.into_body().collect().await.unwrap().to_bytes());
    let mut whole = String::new();
    flate2::read::GzDecoder::new(&compressed[..]).read_to_string(&mut whole).unwrap();
    let columns = "app_id,start_time,distribution_name,distinct_users";
    let plain = get(&site, &format!("{uri}&columns={columns}")).await;
    assert_eq!(whole.lines().count(), plain.text().lines().count());
}

#[tokio::test(start_paused = true)]
async fn parquet_comes_whole_in_parts_and_by_its_length() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_metrics.parquet?last=P9D";
    let head = send(&site, Method::HEAD, uri, &[]).await;
    assert_eq!((head.status().as_u16(), &head.headers()["accept-ranges"]), (200, &"bytes".parse().unwrap()));
    let length: usize = head.headers()["content-length"].to_str().unwrap().parse().unwrap();
    let etag = head.headers()["etag"].to_str().unwrap().to_owned();
    let calls = gateway.calls(METRIC);
    let whole = get_with(&site, uri, &[("accept-encoding", "gzip")]).await;
    assert_eq!((whole.body.len(), whole.header("etag"), whole.header("content-encoding")), (length, etag.as_str(), ""));
    assert!(whole.body.starts_with(b"PAR1") && whole.body.ends_with(b"PAR1"));
    let mut put_together = Vec::new();
    for from in (0..length).step_by(1_000) {
        let range = format!("bytes={from}-{}", from + 999);
        let part = get_with(&site, uri, &[("range", &range), ("if-range", &etag)]).await;
        assert_eq!(part.status, 206);
        let last = length.min(from + 1_000) - 1;
        assert_eq!(part.header("content-range"), format!("bytes {from}-{last}/{length}"));
        put_together.extend(part.body);
    }
    assert!(put_together == whole.body);
    let tail = get_with(&site, uri, &[("range", "bytes=-8")]).await;
    assert_eq!((tail.status, &tail.body[..]), (206, &whole.body[length - 8..]));
    let head = send(&site, Method::HEAD, uri, &[("range", "bytes=0-3")]).await;
    assert_eq!(
        (head.status().as_u16(), &head.headers()["content-length"]),
        (200, &length.to_string().parse().unwrap())
    );
    let more_than_all = get_with(&site, uri, &[("range", "bytes=-65536")]).await;
    assert!((more_than_all.status, &more_than_all.body) == (206, &whole.body), "{:?}", more_than_all.headers);
    assert_eq!(more_than_all.header("content-range"), format!("bytes 0-{}/{length}", length - 1));
    let beyond = get_with(&site, uri, &[("range", &format!("bytes={length}-"))]).await;
    assert_eq!((beyond.status, beyond.header("content-range")), (416, format!("bytes */{length}").as_str()));
    let changed = get_with(&site, uri, &[("if-match", "\"other\"")]).await;
    assert_eq!(changed.status, 412);
    for (refused, word) in [(&beyond, "behind"), (&changed, "If-Match")] {
        assert_eq!((refused.code().as_str(), refused.header("content-disposition")), ("BAD_USER_INPUT", ""));
        assert!(refused.json()["detail"].as_str().unwrap().contains(word), "{refused:?}");
    }
    assert_eq!(get_with(&site, uri, &[("range", "bytes=0-3"), ("if-range", "\"other\"")]).await.status, 200);
    assert_eq!(gateway.calls(METRIC), calls, "it was made once");
}

#[tokio::test(start_paused = true)]
async fn parquet_that_takes_long_is_made_behind_a_503() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let uri = "/rows/operation_distributions.parquet?last=P25D&window=P1D";
    let early = get(&site, uri).await;
    assert_eq!((early.status, early.code().as_str()), (503, "QUOTA_WAIT_TOO_LONG"));
    let after: u64 = early.header("retry-after").parse().unwrap();
    assert!((1..=60).contains(&after), "{after}");
    sleep(Duration::from_secs(after)).await;
    let there = get(&site, uri).await;
    assert_eq!(there.status, 200, "{there:?}");
    assert!(frame("parquet", &there, &BTreeMap::new()).len() > 200);
}

#[tokio::test(start_paused = true)]
async fn the_list_names_what_there_is_and_every_line_of_it_works() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let list = get(&site, "/rows").await;
    assert_eq!(list.header("content-type"), "application/json; charset=utf-8");
    let list = list.json();
    let names: Vec<&Value> = list["datasets"].as_array().unwrap().iter().map(|dataset| &dataset["name"]).collect();
    assert_eq!(
        names,
        ["phone_number_metrics", "phone_number_totals", "operation_distributions", "measurements"]
            .map(|name| json!(name))
            .iter()
            .collect::<Vec<_>>()
    );
    for dataset in list["datasets"].as_array().unwrap() {
        for (format, url) in dataset["urls"].as_object().unwrap() {
            let path = url.as_str().unwrap().strip_prefix("http://localhost").unwrap();
            let got = get(&site, &format!("{path}?last=P1D")).await;
            assert!(got.status == 200 && got.is_whole, "{format} {path}");
            let name = format!("{}.{format}", dataset["name"].as_str().unwrap());
            assert!(got.header("content-disposition").ends_with(&format!("filename=\"{name}\"")));
        }
        for column in dataset["columns"].as_array().unwrap() {
            let is_number = ["int64", "float64"].contains(&column["type"].as_str().unwrap());
            assert_eq!(is_number, column["unit"].is_string(), "{column}");
            assert_eq!(is_number, column["additive"].is_boolean(), "{column}");
            assert!(column["description"].as_str().unwrap().len() > 5, "{column}");
        }
        let parameters = dataset["parameters"].as_array().unwrap();
        let meanings = dataset["parameterMeanings"].as_object().unwrap();
        assert_eq!(meanings.len(), parameters.len(), "{meanings:?}");
        assert!(
            parameters
                .iter()
                .all(|name| meanings[name.as_str().unwrap()].as_str().is_some_and(|text| text.ends_with('.')))
        );
        let unknown = get(&site, &format!("/rows/{}.json?nonsense=1", dataset["name"].as_str().unwrap())).await;
        assert_eq!((unknown.status, unknown.code().as_str()), (400, "BAD_USER_INPUT"));
        assert!(parameters.contains(&json!("last")) && parameters.contains(&json!("cursor")));
    }
    let page = get_with(&site, "/rows", &[("accept", "text/html,*/*;q=0.8")]).await;
    assert!(page.header("content-type").starts_with("text/html") && page.text().contains("/rows/page.js"));
    for asset in ["/rows/page.js", "/rows/page.css"] {
        assert_eq!(get(&site, asset).await.status, 200);
    }
    for (path, status, hint) in [
        ("/rows/phone_number_metric.csv", 404, "did you mean `phone_number_metrics`?"),
        ("/rows/phone_number_metrics.xlsx", 404, ".parquet"),
        ("/rows/phone_number_metrics", 404, ".parquet"),
        ("/rows/%ff.csv", 404, "GET /rows lists them"),
        ("/rows/", 404, "GET /rows lists them"),
        ("/rows/phone_number_metrics.csv?lats=P1D", 400, "did you mean `last`?"),
        ("/rows/phone_number_metrics.csv?columns=sentcount", 400, "did you mean `sent_count`?"),
        ("/rows/operation_distributions.csv?granularity=DAILY", 400, "for operation_distributions"),
        ("/rows/phone_number_metrics.csv?cust_space_id=nobody", 404, "nobody"),
        ("/rows/operation_distributions.csv?app_id=nobody", 404, "nobody"),
        ("/rows/phone_number_metrics.json?bom=true", 400, "Excel"),
        ("/rows/phone_number_metrics.json?last=P1D&last=P2D", 400, "twice"),
        ("/rows/phone_number_metrics.json?start=2026-11-01T00:00:00Z", 400, "go together"),
        (
            "/rows/operation_distributions.json?start=2026-11-01T00:00:00Z&end=2026-11-20T00:00:00Z&window=P8D",
            400,
            "7 days",
        ),
    ] {
        let got = get(&site, path).await;
        assert_eq!(got.status, status, "{path}: {got:?}");
        assert!(!got.code().is_empty() && got.json()["detail"].as_str().unwrap().contains(hint), "{path}: {got:?}");
    }
}

/// Whoever finds a tool in the documents finds its line on the page, and the other way round.
#[tokio::test(start_paused = true)]
async fn the_tools_of_the_list_are_those_of_the_documents() {
    let documents = include_str!("../../../docs/bi/README.md").lines();
    let documented: BTreeSet<&str> = documents
        .filter_map(|line| Some(line.strip_prefix("| [")?.split_once("](")?.0))
        .flat_map(|names| names.split(", "))
        .collect();
    assert!(["dlt", "Tableau", "Superset", "Metabase"].iter().all(|tool| documented.contains(tool)), "{documented:?}");
    let list = get(&door(&TestGateway::start()), "/rows").await.json();
    for dataset in list["datasets"].as_array().unwrap() {
        let names = dataset["tools"].as_array().unwrap().iter().map(|tool| tool["name"].as_str().unwrap());
        let listed: BTreeSet<&str> =
            names.flat_map(|names| names.split(", ")).map(|name| name.split(" (").next().unwrap()).collect();
        assert_eq!(listed, documented, "{}", dataset["name"]);
    }
}

#[tokio::test(start_paused = true)]
async fn other_methods_are_refused_with_a_problem() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let refused = send(&site, Method::POST, "/rows/phone_number_metrics.csv", &[]).await;
    assert_eq!((refused.status().as_u16(), &refused.headers()["allow"]), (405, &"GET, HEAD".parse().unwrap()));
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
}

#[tokio::test(start_paused = true)]
async fn the_log_says_how_many_rows_and_bytes_came_of_how_many_calls_and_whose_never() {
    let (log, _guard) = Log::of_thread();
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let got = get(&site, "/rows/phone_number_metrics.csv?last=P2D&cust_space_id=cams-alpha").await;
    let rows = got.text().lines().count() - 1;
    let line = log.text().lines().find(|line| line.contains("rows sent")).unwrap().to_owned();
    for part in
        [format!("bytes={}", got.body.len()), format!("rows={rows}"), "calls=1".to_owned(), "whole=true".to_owned()]
    {
        assert!(line.contains(&part), "{part}: {line}");
    }
    let phone = got.text().lines().nth(1).unwrap().split(',').nth(2).unwrap();
    get(&site, &format!("/rows/phone_number_metrics.csv?last=P2D&phone_number={phone}")).await;
    assert!(!log.text().contains(phone), "a phone number in the log");
}
