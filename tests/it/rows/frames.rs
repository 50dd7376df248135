//! The same question has the same rows in every format and through GraphQL, types included.

use std::collections::BTreeMap;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value, json};
use weir::domain::Timestamp;

use super::{FORMATS, Frame, door, frame, get, types};
use crate::support::{TestGateway, codes};

/// A random question, as parameters and as GraphQL.
struct Question {
    dataset: &'static str,
    parameters: Vec<(&'static str, String)>,
    query: &'static str,
    /// One for each channel or application.
    variables: Vec<Value>,
    /// Where the rows are in an answer, and what GraphQL calls the columns.
    field: &'static str,
    names: &'static [(&'static str, &'static str)],
}

const MESSAGES: &str = "query($id: ID, $phones: [String!], $granularity: Granularity!, $range: TimeRange!) {
  phoneNumberMetrics(custSpaceId: $id, phoneNumbers: $phones, granularity: $granularity, range: $range, first: 100000) {
    nodes { custSpaceId phoneNumber granularity start end date sentCount deliveredCount deliveryRate finality } } }";
const MESSAGE_NAMES: &[(&str, &str)] = &[
    ("custSpaceId", "cust_space_id"),
    ("phoneNumber", "phone_number"),
    ("granularity", "granularity"),
    ("start", "start_time"),
    ("end", "end_time"),
    ("date", "date"),
    ("sentCount", "sent_count"),
    ("deliveredCount", "delivered_count"),
    ("deliveryRate", "delivery_rate"),
    ("finality", "finality"),
];
const USERS: &str = "query($id: [ID!]!, $dimension: Dimension!, $range: TimeRange!, $window: Duration!) {
  operationDistributions(appIds: $id, dimension: $dimension, range: $range, window: $window) {
    appId indicator dimension start end date finality
    data { distributionName value proportion } } }";
const TOTALS: &str = "query($channels: [ID!], $granularity: Granularity!, $range: TimeRange!, $by: [TotalsKey!]!, $period: Period, $zone: String, $fill: Boolean!) {
  phoneNumberMetricTotals(custSpaceIds: $channels, granularity: $granularity, range: $range, by: $by, period: $period, timeZone: $zone, fill: $fill) {
    custSpaceId phoneNumber start end date sentCount deliveredCount deliveryRate buckets isPartial finality fetchedAt } }";
const TOTAL_NAMES: &[(&str, &str)] = &[
    ("custSpaceId", "cust_space_id"),
    ("phoneNumber", "phone_number"),
    ("start", "start_time"),
    ("end", "end_time"),
    ("date", "date"),
    ("sentCount", "sent_count"),
    ("deliveredCount", "delivered_count"),
    ("deliveryRate", "delivery_rate"),
    ("buckets", "buckets"),
    ("isPartial", "is_partial"),
    ("finality", "finality"),
    ("fetchedAt", "fetched_at"),
];

impl Question {
    fn random(rng: &mut StdRng, gateway: &TestGateway) -> Self {
        let (range, mut parameters) = range(rng, gateway.now());
        match rng.random_range(0..3) {
            0 => {
                let ids = some(rng, &["cams-alpha", "cams-beta", "cams-gamma"]);
                let granularity = *["DAILY", "HALF_HOUR"].choose(rng).unwrap();
                parameters.push(("granularity", granularity.to_owned()));
                parameters.extend(ids.iter().map(|id| ("cust_space_id", (*id).to_owned())));
                let variables = ids.iter().map(|id| json!({"id": id, "granularity": granularity, "range": range}));
                Self {
                    dataset: "phone_number_metrics",
                    parameters,
                    query: MESSAGES,
                    variables: variables.collect(),
                    field: "phoneNumberMetrics",
                    names: MESSAGE_NAMES,
                }
            }
            1 => {
                let ids = some(rng, &["app-one", "app-two"]);
                let dimension = *["PROVINCE", "COUNTRY"].choose(rng).unwrap();
                let window = *["PT6H", "P1D"].choose(rng).unwrap();
                parameters.extend([("dimension", dimension.to_owned()), ("window", window.to_owned())]);
                parameters.push(("align", "exact".to_owned()));
                parameters.extend(ids.iter().map(|id| ("app_id", (*id).to_owned())));
                let of = |id: &&str| json!({"id": [id], "dimension": dimension, "range": range, "window": window});
                Self {
                    dataset: "operation_distributions",
                    parameters,
                    query: USERS,
                    variables: ids.iter().map(of).collect(),
                    field: "operationDistributions",
                    names: &[],
                }
            }
            _ => {
                let channels = some(rng, &["cams-alpha", "cams-beta", "cams-delta"]);
                let by = some(rng, &["CHANNEL", "PHONE_NUMBER"]);
                let period = ["HOUR", "DAY", "WEEK", "MONTH"].choose(rng).filter(|_| rng.random_bool(0.8));
                let zone = *["UTC", "Asia/Kolkata", "Europe/Berlin", "Asia/Shanghai"].choose(rng).unwrap();
                let fill: bool = rng.random();
                parameters.extend(channels.iter().map(|id| ("cust_space_id", (*id).to_owned())));
                parameters.push(("granularity", "HALF_HOUR".to_owned()));
                parameters.push(("by", by.join(",")));
                parameters.extend(period.map(|period| ("period", (*period).to_owned())));
                parameters.extend([("time_zone", zone.to_owned()), ("fill", fill.to_string())]);
                Self {
                    dataset: "phone_number_totals",
                    parameters,
                    query: TOTALS,
                    variables: vec![json!({"channels": channels, "granularity": "HALF_HOUR", "range": range, "by": by,
                        "period": period, "zone": zone, "fill": fill})],
                    field: "phoneNumberMetricTotals",
                    names: TOTAL_NAMES,
                }
            }
        }
    }

    fn uri(&self, format: &str) -> String {
        let query = form_urlencoded::Serializer::new(String::new()).extend_pairs(&self.parameters).finish();
        format!("/rows/{}.{format}?{query}", self.dataset)
    }

    /// The rows as GraphQL answers them, in the order of the door.
    async fn through_graphql(&self, gateway: &TestGateway) -> Frame {
        let mut rows = Frame::new();
        for variables in &self.variables {
            let answer = gateway.ask(self.query, variables.clone()).await;
            assert_eq!(codes(&answer), Vec::<String>::new(), "{variables}: {answer}");
            let field = &answer["data"][self.field];
            let mut own: Frame = match self.field {
                "operationDistributions" => field.as_array().unwrap().iter().flat_map(places).collect(),
                "phoneNumberMetrics" => field["nodes"].as_array().unwrap().iter().map(|row| self.row(row)).collect(),
                _ => field.as_array().unwrap().iter().map(|row| self.row(row)).collect(),
            };
            if self.field != "phoneNumberMetricTotals" {
                let name = |row: &Map<String, Value>| {
                    row.get("phone_number").or(row.get("distribution_name")).map(Value::to_string)
                };
                own.sort_by_key(|row| (row["start_time"].to_string(), name(row)));
            }
            rows.extend(own);
        }
        rows
    }

    fn row(&self, row: &Value) -> Map<String, Value> {
        self.names.iter().map(|(theirs, ours)| ((*ours).to_owned(), row[*theirs].clone())).collect()
    }
}

/// The rows of a window.
fn places(window: &Value) -> Frame {
    let place = |share: &Value| {
        let columns = [
            ("app_id", &window["appId"]),
            ("indicator", &window["indicator"]),
            ("dimension", &window["dimension"]),
            ("start_time", &window["start"]),
            ("end_time", &window["end"]),
            ("date", &window["date"]),
            ("distribution_name", &share["distributionName"]),
            ("distinct_users", &share["value"]),
            ("proportion", &share["proportion"]),
            ("finality", &window["finality"]),
        ];
        columns.map(|(name, value)| (name.to_owned(), value.clone())).into_iter().collect()
    };
    window["data"].as_array().unwrap().iter().map(place).collect()
}

fn range(rng: &mut StdRng, now: Timestamp) -> (Value, Vec<(&'static str, String)>) {
    if rng.random_bool(0.3) {
        let last = format!("P{}D", rng.random_range(1..9));
        return (json!({"last": last}), vec![("last", last)]);
    }
    let end = now.as_secs() - rng.random_range(0..5 * 86_400);
    let start = end - rng.random_range(7_200..6 * 86_400);
    let [start, end] = [start, end].map(|at| Timestamp::from_secs(at).to_string());
    (json!({"between": {"start": start, "end": end}}), vec![("start", start), ("end", end)])
}

/// One of them at least.
fn some<'a>(rng: &mut StdRng, all: &[&'a str]) -> Vec<&'a str> {
    let n = rng.random_range(1..=all.len());
    all.sample(rng, n).copied().collect()
}

/// Whatever is asked of the columns, the values of a frame are equal as far as both have them.
fn assert_same(one: &Frame, other: &Frame, what: &str) {
    assert_eq!(one.len(), other.len(), "{what}");
    for (at, (one, other)) in one.iter().zip(other).enumerate() {
        for (name, value) in one {
            let same = match (value.as_f64(), other[name].as_f64()) {
                (Some(one), Some(other)) => one.to_bits() == other.to_bits(),
                _ => *value == other[name],
            };
            assert!(same, "{what}, row {at}, {name}: {value} and {}", other[name]);
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_format_and_graphql_answer_the_same_frame() {
    let questions = std::env::var_os("WEIR_TEST_QUESTIONS");
    let questions = questions.map_or(150, |number| number.to_str().unwrap().parse().unwrap());
    let mut rng = StdRng::seed_from_u64(1_000);
    // What is provisional stays as it is, so that all formats are asked of the same numbers.
    let keep = |config: &mut weir::config::Config| config.cache.provisional_ttl = Duration::from_hours(24);
    let gateway = TestGateway::builder().config(keep).build();
    let site = door(&gateway);
    let (mut rows, mut known) = (0, BTreeMap::new());
    for n in 0..questions {
        let question = Question::random(&mut rng, &gateway);
        if !known.contains_key(question.dataset) {
            known.insert(question.dataset, types(&site, question.dataset).await);
        }
        let types = &known[question.dataset];
        // What is cold takes virtual time, and `last` counts back from now.
        let begun = gateway.now();
        let expected = question.through_graphql(&gateway).await;
        let mut first: Option<Frame> = None;
        for format in FORMATS {
            let uri = question.uri(format);
            gateway.clock().set(begun);
            let own = frame(format, &get(&site, &uri).await, types);
            assert_same(&expected, &own, &format!("question {n}: {uri}"));
            for row in &own {
                assert_eq!(row.keys().collect::<Vec<_>>(), types.keys().collect::<Vec<_>>(), "{uri}");
            }
            if let Some(first) = &first {
                assert_same(first, &own, &format!("question {n}: {uri}"));
            }
            first.get_or_insert(own);
        }
        rows += expected.len();
    }
    assert!(rows > 10_000, "{rows} rows were compared");
}

#[tokio::test(start_paused = true)]
async fn a_frame_without_rows_has_its_columns_and_types() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let nothing = "updated_since=2099-01-01T00:00:00Z&last=P1D";
    for dataset in ["phone_number_metrics", "phone_number_totals", "operation_distributions", "measurements"] {
        let types = types(&site, dataset).await;
        let csv = get(&site, &format!("/rows/{dataset}.csv?{nothing}")).await;
        let names: Vec<&str> = csv.text().trim_end().split(',').collect();
        assert!(csv.text().ends_with("\r\n") && csv.text().lines().count() == 1, "{csv:?}");
        assert_eq!(names.len(), types.len());
        let json = get(&site, &format!("/rows/{dataset}.json?{nothing}")).await.json();
        assert_eq!((&json["rows"], &json["columns"]), (&json!([]), &json!(names)));
        assert_eq!(json["weir"]["types"], json!(types));
        assert_eq!(get(&site, &format!("/rows/{dataset}.jsonl?{nothing}")).await.text(), "");
        let parquet = get(&site, &format!("/rows/{dataset}.parquet?{nothing}")).await;
        let reader = parquet::file::reader::SerializedFileReader::new(bytes::Bytes::from(parquet.body)).unwrap();
        let schema = parquet::file::reader::FileReader::metadata(&reader).file_metadata().schema().clone();
        for (field, name) in schema.get_fields().iter().zip(&names) {
            let (kind, written) = (&types[*name], format!("{field:?}"));
            let expected = match kind.as_str() {
                "text" => "BYTE_ARRAY",
                "timestamp" | "int64" => "INT64",
                "date" => "INT32",
                "float64" => "DOUBLE",
                _ => "BOOLEAN",
            };
            assert!(field.name() == *name && written.contains(expected), "{name} {kind}: {written}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn measurements_are_the_numbers_of_both_vendors() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let all = frame("json", &get(&site, "/rows/measurements.json?last=P3D").await, &BTreeMap::new());
    let messages = frame("json", &get(&site, "/rows/phone_number_metrics.json?last=P3D").await, &BTreeMap::new());
    let users = frame("json", &get(&site, "/rows/operation_distributions.json?last=P3D").await, &BTreeMap::new());
    assert_eq!(all.len(), 2 * messages.len() + users.len());
    let number = |row: &Map<String, Value>, name: &str| row[name].as_f64().unwrap();
    let of = |metric: &'static str| all.iter().filter(move |row| row["metric"] == metric);
    for (metric, rows, dimension) in [
        ("sent_count", &messages, "phone_number"),
        ("delivered_count", &messages, "phone_number"),
        ("distinct_users", &users, "province"),
    ] {
        assert_eq!(of(metric).count(), rows.len());
        for (one, row) in of(metric).zip(rows) {
            let name = row.get("phone_number").or(row.get("distribution_name")).unwrap();
            let entity = row.get("cust_space_id").or(row.get("app_id")).unwrap();
            assert_eq!((&one["name"], &one["entity"], &one["dimension"]), (name, entity, &json!(dimension)));
            assert_eq!(number(one, "value").to_bits(), number(row, metric).to_bits());
            assert_eq!(one["is_additive"], json!(metric != "distinct_users"));
            assert_eq!((&one["start_time"], &one["end_time"]), (&row["start_time"], &row["end_time"]));
        }
    }
    let only = frame("json", &get(&site, "/rows/measurements.json?last=P3D&app_id=app-one").await, &BTreeMap::new());
    assert!(!only.is_empty() && only.iter().all(|row| row["entity"] == "app-one"), "the other vendor was not named");
}

#[tokio::test(start_paused = true)]
async fn columns_come_as_they_were_asked_for_and_text_is_safe_for_spreadsheets() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_metrics.csv?last=P1D&columns=sent_count,phone_number&bom=true";
    let csv = get(&site, uri).await;
    assert!(csv.body.starts_with(b"\xef\xbb\xbfsent_count,phone_number\r\n"), "{csv:?}");
    let line = csv.text().lines().nth(1).unwrap();
    let (count, phone) = line.split_once(',').unwrap();
    assert!(count.parse::<i64>().is_ok() && phone.len() > 10, "{line}");
    for (columns, code) in
        [("sent_count,sent", "BAD_USER_INPUT"), ("sent_count,sent_count", "BAD_USER_INPUT"), ("", "BAD_USER_INPUT")]
    {
        let refused = get(&site, &format!("/rows/phone_number_metrics.json?columns={columns}")).await;
        assert_eq!((refused.status, refused.code().as_str()), (400, code), "{columns}");
    }
}
