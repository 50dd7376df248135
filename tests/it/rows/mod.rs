//! Flat rows at a URL: what comes is complete, and the same at every door.

mod failures;
mod frames;
mod paging;
mod pulls;
mod site;
mod whole;

use std::collections::BTreeMap;

use axum::body::Body;
use axum::http::{HeaderMap, Method, Request};
use axum::response::Response;
use http_body_util::BodyExt;
use parquet::file::reader::{FileReader, SerializedFileReader};
use parquet::record::Field;
use serde_json::{Map, Value, json};
use tower::ServiceExt;
use weir::access::Access;
use weir::domain::Timestamp;
use weir::http::{HttpConfig, Site};

use crate::support::TestGateway;

const FORMATS: [&str; 4] = ["csv", "json", "jsonl", "parquet"];

/// The door of a gateway.
pub(crate) fn door(gateway: &TestGateway) -> Site {
    Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone())
}

/// What came of a request.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    /// The bytes that came, and whether the last of them did.
    body: Vec<u8>,
    is_whole: bool,
}

impl Got {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn text(&self) -> &str {
        std::str::from_utf8(&self.body).unwrap()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap()
    }

    /// The code of a problem, which is said to be one.
    fn code(&self) -> String {
        assert_eq!(self.header("content-type"), "application/problem+json", "{self:?}");
        let problem = self.json();
        assert_eq!(problem["status"], json!(self.status));
        problem["code"].as_str().unwrap().to_owned()
    }
}

async fn send(site: &Site, method: Method, uri: &str, headers: &[(&str, &str)]) -> Response {
    let request = Request::builder().method(method).uri(uri).header("host", "localhost");
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    site.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap()
}

async fn get_with(site: &Site, uri: &str, headers: &[(&str, &str)]) -> Got {
    let (parts, mut body) = send(site, Method::GET, uri, headers).await.into_parts();
    let (mut bytes, mut is_whole) = (Vec::new(), true);
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(&frame.into_data().unwrap()),
            Err(_) => is_whole = false,
        }
    }
    Got { status: parts.status.as_u16(), headers: parts.headers, body: bytes, is_whole }
}

async fn get(site: &Site, uri: &str) -> Got {
    get_with(site, uri, &[]).await
}

/// Rows in their order, each with typed values: text, numbers, booleans and null.
type Frame = Vec<Map<String, Value>>;

/// The columns of a dataset and their types, as `/rows` lists them.
async fn types(site: &Site, dataset: &str) -> BTreeMap<String, String> {
    let list = get(site, "/rows").await.json();
    let datasets = list["datasets"].as_array().unwrap();
    let dataset = datasets.iter().find(|listed| listed["name"] == dataset).unwrap();
    let columns = dataset["columns"].as_array().unwrap().iter();
    columns.map(|column| (text(&column["name"]), text(&column["type"]))).collect()
}

fn text(value: &Value) -> String {
    value.as_str().unwrap().to_owned()
}

/// Reads what came in a format.
fn frame(format: &str, got: &Got, types: &BTreeMap<String, String>) -> Frame {
    assert!(got.status == 200 && got.is_whole, "{got:?}");
    match format {
        "csv" => of_csv(got.text(), types),
        "json" => got.json()["rows"].as_array().unwrap().iter().map(|row| row.as_object().unwrap().clone()).collect(),
        "jsonl" => got.text().lines().map(|line| serde_json::from_str(line).unwrap()).collect(),
        _ => of_parquet(&got.body),
    }
}

fn of_csv(text: &str, types: &BTreeMap<String, String>) -> Frame {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let names: Vec<String> = reader.headers().unwrap().iter().map(str::to_owned).collect();
    let value = |name: &str, text: &str| match types[name].as_str() {
        _ if text.is_empty() => Value::Null,
        "int64" => json!(text.parse::<i64>().unwrap()),
        "float64" => json!(text.parse::<f64>().unwrap()),
        "boolean" => json!(text.parse::<bool>().unwrap()),
        _ => json!(text),
    };
    let row = |record: csv::StringRecord| {
        names.iter().zip(record.iter()).map(|(name, text)| (name.clone(), value(name, text))).collect()
    };
    reader.records().map(|record| row(record.unwrap())).collect()
}

fn of_parquet(file: &[u8]) -> Frame {
    let reader = SerializedFileReader::new(bytes::Bytes::copy_from_slice(file)).unwrap();
    let value = |field: &Field| match field {
        Field::Null => Value::Null,
        Field::Str(text) => json!(text),
        Field::TimestampMillis(ms) => json!(Timestamp::from_ms(*ms).to_string()),
        Field::Date(days) => {
            let date = jiff::civil::date(1970, 1, 1) + jiff::Span::new().days(*days);
            json!(date.to_string())
        }
        Field::Long(number) => json!(number),
        Field::Double(number) => json!(number),
        Field::Bool(flag) => json!(flag),
        other => panic!("no column of ours holds {other:?}"),
    };
    let row =
        |row: parquet::record::Row| row.get_column_iter().map(|(name, field)| (name.clone(), value(field))).collect();
    reader.get_row_iter(None).unwrap().map(|one| row(one.unwrap())).collect()
}
