//! Two callers of one gateway: each is answered as if there were nobody and nothing else.
//!
//! The measure is another gateway, whose config names the caller's channels and applications alone. Whatever is asked, at
//! whatever door, both answer the same bytes, and nothing that is the other's is in them. `WEIR_TEST_TENANTS` says how many
//! questions are asked.

use std::collections::BTreeSet;
use std::time::Duration;

use axum::http::Request;
use rand::rngs::StdRng;
use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::config::access::Phones;
use weir::config::watch::Watched;
use weir::config::{ApiKey, Config};
use weir::http::Site;
use weir::sim::{Fault, Scope, Times};

use super::{Got, api_key, ask, ask_with, door, get, send};
use crate::archive::watch::{begin, watch};
use crate::support::{DISTRIBUTION, METRIC, TEMPLATE, TestGateway, window};

/// Questions, unless more are wanted.
const QUESTIONS: usize = 400;

/// Somebody with a part of what is configured.
struct Tenant {
    key: &'static str,
    channels: &'static [&'static str],
    apps: &'static [&'static str],
    phones: Phones,
}

const TENANTS: [Tenant; 2] = [
    Tenant { key: "weir_one", channels: &["cams-alpha", "cams-beta"], apps: &["app-one"], phones: Phones::Shown },
    Tenant { key: "weir_two", channels: &["cams-gamma"], apps: &["app-two"], phones: Phones::Masked },
];

impl Tenant {
    fn other(&self) -> &'static Tenant {
        if self.key == TENANTS[0].key { &TENANTS[1] } else { &TENANTS[0] }
    }

    fn owned(names: &[&str]) -> Vec<String> {
        names.iter().map(|name| (*name).to_owned()).collect()
    }

    /// Its key, with the lists that narrow what it sees.
    fn listed(&self) -> ApiKey {
        let lists = (Some(Self::owned(self.channels)), Some(Self::owned(self.apps)));
        ApiKey { channels: lists.0, apps: lists.1, ..self.all() }
    }

    /// Its key, with nothing but itself to see.
    fn all(&self) -> ApiKey {
        ApiKey { phones: self.phones, ..api_key(self.key, self.key) }
    }

    /// A gateway that knows of nobody else.
    fn alone(&self) -> TestGateway {
        let (channels, apps, key) = (Self::owned(self.channels), Self::owned(self.apps), self.all());
        TestGateway::builder()
            .config(move |config| {
                config.alibaba_cams[0].templates.retain(|template| channels.contains(&template.channel));
                config.alibaba_cams[0].channels = channels;
                config.volcengine_rtc[0].apps = apps;
                config.api_keys = vec![key];
            })
            .build()
    }
}

fn shared(config: &mut Config) {
    config.api_keys = TENANTS.iter().map(Tenant::listed).collect();
    config.alibaba_cams[0].channels = Tenant::owned(&["cams-alpha", "cams-beta", "cams-gamma", "cams-delta"]);
}

/// A question at one of the doors.
#[derive(Debug, Clone)]
enum Question {
    Graphql(String),
    Path(String),
}

impl Question {
    async fn at(&self, site: &Site, key: &str) -> Got {
        match self {
            Self::Graphql(query) => ask(site, key, query).await,
            Self::Path(path) => get(site, key, path).await,
        }
    }
}

fn draw(rng: &mut StdRng, tenant: &Tenant) -> Question {
    let channel = *tenant.channels.choose(rng).unwrap();
    let app = *tenant.apps.choose(rng).unwrap();
    let days = rng.random_range(1..6);
    let range = format!("{{last: \"P{days}D\"}}");
    let step = *["DAILY", "HALF_HOUR"].choose(rng).unwrap();
    let format = *["csv", "json", "jsonl"].choose(rng).unwrap();
    let dimension = *["PROVINCE", "COUNTRY"].choose(rng).unwrap();
    let first = rng.random_range(1..40);
    let graphql = |text: String| Question::Graphql(text);
    let path = |text: String| Question::Path(text);
    match rng.random_range(0..18) {
        0 => graphql(format!(
            "{{ phoneNumberMetrics(custSpaceId: {channel:?}, granularity: {step}, range: {range}, first: {first}) {{ totalCount pageInfo {{ endCursor hasNextPage }} nodes {{ custSpaceId phoneNumber start sentCount deliveredCount finality }} }} }}"
        )),
        1 => graphql(format!(
            "{{ phoneNumberMetricTotals(by: [CHANNEL, PHONE_NUMBER], granularity: {step}, range: {range}) {{ custSpaceId phoneNumber sentCount buckets }} }}"
        )),
        2 => graphql(format!(
            "{{ phoneNumberMetricTotals(range: {range}) {{ sentCount deliveredCount buckets isPartial }} }}"
        )),
        3 => graphql(
            "{ channels { custSpaceId account templates timeZone phoneNumbers } applications { appId account } }"
                .to_owned(),
        ),
        4 => graphql(format!("{{ channels {{ custSpaceId metrics(range: {range}) {{ phoneNumber sentCount }} }} }}")),
        5 => graphql(format!(
            "{{ operationDistributions(dimension: {dimension}, range: {range}, window: \"P1D\") {{ appId start shares {{ name distinctUsers }} }} }}"
        )),
        6 => graphql(format!(
            "{{ operationDistribution(appId: {app:?}, range: {range}) {{ appId shares {{ name distinctUsers }} }} }}"
        )),
        7 => graphql(format!(
            "{{ operationDistributionBounds(appId: {app:?}, range: {range}) {{ windows places {{ name atLeast atMost }} }} }}"
        )),
        8 => graphql("{ quotas { account operation } datasets { operation } collections { account } }".to_owned()),
        9 => graphql(format!(
            "{{ templateMetrics(custSpaceId: {channel:?}, templateCode: \"welcome\", range: {range}) {{ totalCount nodes {{ start sentCount }} }} }}"
        )),
        10 => path(format!("/rows/phone_number_metrics.{format}?last=P{days}D&granularity={step}")),
        11 => path(format!("/rows/phone_number_totals.{format}?last=P{days}D&by=PHONE_NUMBER&period=DAY")),
        12 => path(format!("/rows/operation_distributions.{format}?last=P{days}D&dimension={dimension}")),
        13 => path(format!("/rows/measurements.{format}?last=P1D&limit={first}")),
        14 => path(format!("/rows/phone_number_metrics.json?last=P{days}D&limit={first}&cust_space_id={channel}")),
        15 => path("/rows".to_owned()),
        16 => path("/graphiql/examples.json".to_owned()),
        _ => graphql(format!(
            "{{ phoneNumberMetrics(custSpaceId: {channel:?}, range: {range}, after: \"bm9uZQ\") {{ totalCount }} applications {{ nothing }} }}"
        )),
    }
}

/// What is the same whoever else asks: all but ids of requests, what was paid, and when it was fetched.
fn told(got: &Got) -> Value {
    fn strip(value: &mut Value) {
        match value {
            Value::Object(fields) => {
                for field in ["weir", "fetchedAt", "fetched_at", "source", "requestId", "next", "endCursor"] {
                    fields.remove(field);
                }
                fields.values_mut().for_each(strip);
            }
            Value::Array(items) => items.iter_mut().for_each(strip),
            _ => {}
        }
    }
    let text = got.text();
    let lines = || text.lines().map(|line| serde_json::from_str::<Value>(line).ok()).collect::<Option<Vec<_>>>();
    let mut value = match serde_json::from_slice(&got.body) {
        Ok(value) => value,
        Err(_) => lines().map_or_else(|| columns(&text), Value::Array),
    };
    strip(&mut value);
    json!({ "status": got.status, "type": got.header("content-type"), "body": value })
}

/// CSV without the columns that tell when and how.
fn columns(text: &str) -> Value {
    let mut reader = csv::Reader::from_reader(text.as_bytes());
    let Ok(header) = reader.headers().cloned() else { return json!(text) };
    let rows = reader.records().map(|row| {
        let row = row.unwrap();
        let cells = header.iter().zip(row.iter()).filter(|(name, _)| !["fetched_at", "source"].contains(name));
        cells.map(|(name, cell)| (name.to_owned(), json!(cell))).collect::<serde_json::Map<_, _>>()
    });
    rows.map(Value::Object).collect()
}

#[tokio::test(start_paused = true)]
async fn each_is_answered_as_if_alone() {
    let n = std::env::var_os("WEIR_TEST_TENANTS").map_or(QUESTIONS, |n| n.to_str().unwrap().parse().unwrap());
    let gateway = TestGateway::builder().config(shared).build();
    let site = door(&gateway);
    let alone = TENANTS.each_ref().map(Tenant::alone);
    let sites = alone.each_ref().map(door);
    let secrets = TENANTS.each_ref().map(|tenant| {
        let names = tenant.channels.iter().chain(tenant.apps).chain([&tenant.key]).map(|name| (*name).to_owned());
        let phones = tenant.channels.iter().flat_map(|channel| gateway.sim().world().phones(channel));
        names.chain(phones).collect::<BTreeSet<String>>()
    });
    let mut rng = StdRng::seed_from_u64(11);
    for nth in 0..n {
        let at = rng.random_range(0..2);
        let (tenant, own) = (&TENANTS[at], &sites[at]);
        let question = draw(&mut rng, tenant);
        let (got, alone) = (question.at(&site, tenant.key).await, question.at(own, tenant.key).await);
        assert_eq!(told(&got), told(&alone), "question {nth} of {}: {question:?}", tenant.key);
        let headers = format!("{:?}", got.headers);
        let text = got.text();
        for secret in &secrets[1 - at] {
            assert!(!text.contains(secret) && !headers.contains(secret), "{question:?} tells {}", &secret[..6]);
        }
        if tenant.phones == Phones::Masked {
            assert!(secrets[at].iter().all(|own| !own.starts_with("86") || !text.contains(own)), "{question:?}");
        }
        // All permits are back, so that nobody waits for the other.
        tokio::time::sleep(Duration::from_mins(7)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn what_is_not_theirs_is_forbidden_and_asked_of_nobody() {
    let gateway = TestGateway::builder().config(shared).build();
    let site = door(&gateway);
    for tenant in &TENANTS {
        let other = tenant.other();
        // Another's, nobody's, and what does not exist are one and the same.
        for channel in other.channels.iter().chain(&["cams-delta", "cams-nowhere"]) {
            for query in [
                format!(
                    "{{ phoneNumberMetrics(custSpaceId: {channel:?}, range: {{last: \"P1D\"}}) {{ totalCount }} }}"
                ),
                format!(
                    "{{ phoneNumberMetricTotals(custSpaceIds: [{channel:?}], range: {{last: \"P1D\"}}) {{ sentCount }} }}"
                ),
                format!(
                    "{{ templateMetrics(custSpaceId: {channel:?}, templateCode: \"welcome\", range: {{last: \"P1D\"}}) {{ totalCount }} }}"
                ),
                format!("{{ channel(custSpaceId: {channel:?}) {{ phoneNumbers }} }}"),
                format!("mutation {{ enableWhatsappRoiMetric(custSpaceId: {channel:?}) {{ requestId }} }}"),
            ] {
                let got = ask(&site, tenant.key, &query).await;
                assert!(
                    got.codes().iter().all(|code| code == "FORBIDDEN") && !got.codes().is_empty(),
                    "{query} {}",
                    got.text()
                );
            }
            for dataset in ["phone_number_metrics", "phone_number_totals", "measurements"] {
                let path = format!("/rows/{dataset}.csv?cust_space_id={channel}&last=P1D");
                let got = get(&site, tenant.key, &path).await;
                assert_eq!((got.status, got.codes()), (403, vec!["FORBIDDEN".to_owned()]), "{path}");
            }
        }
        for app in other.apps.iter().chain(&["app-nowhere"]) {
            for query in [
                format!("{{ operationDistribution(appId: {app:?}, range: {{last: \"P1D\"}}) {{ start }} }}"),
                format!(
                    "{{ operationDistributions(appIds: [{app:?}], range: {{last: \"P1D\"}}, window: \"P1D\") {{ start }} }}"
                ),
                format!("{{ operationDistributionBounds(appId: {app:?}, range: {{last: \"P9D\"}}) {{ windows }} }}"),
                format!("{{ application(appId: {app:?}) {{ account }} }}"),
            ] {
                let got = ask(&site, tenant.key, &query).await;
                assert!(
                    got.codes().iter().all(|code| code == "FORBIDDEN") && !got.codes().is_empty(),
                    "{query} {}",
                    got.text()
                );
            }
            let path = format!("/rows/operation_distributions.parquet?app_id={app}&last=P1D");
            assert_eq!(get(&site, tenant.key, &path).await.status, 403, "{path}");
        }
        assert_eq!(get(&site, tenant.key, "/metrics").await.status, 403, "metrics are of all");
    }
    assert_eq!([METRIC, TEMPLATE, DISTRIBUTION].map(|operation| gateway.calls(operation)), [0; 3]);
}

/// A gateway with two callers who see the same channel, one of them with masked phones.
fn shown_and_masked() -> TestGateway {
    let key = |name: &str, phones| ApiKey { phones, ..api_key(name, &format!("weir_{name}")) };
    let keys = vec![key("shown", Phones::Shown), key("masked", Phones::Masked)];
    TestGateway::builder().now("2026-11-22T10:20:30Z").config(|config| config.api_keys = keys).build()
}

const RANGE: &str = "start=2026-11-01T00:00:00Z&end=2026-11-05T00:00:00Z&cust_space_id=cams-alpha";

/// Nothing but who asks tells these two apart.
#[tokio::test(start_paused = true)]
async fn cursors_are_their_own() {
    let gateway = TestGateway::builder()
        .now("2026-11-22T10:20:30Z")
        .config(|config| config.api_keys = ["one", "other"].map(|name| api_key(name, name)).to_vec())
        .build();
    let site = door(&gateway);
    let first = get(&site, "one", &format!("/rows/phone_number_metrics.json?{RANGE}&limit=3")).await;
    let next = first.json()["next"].as_str().unwrap().to_owned();
    let path = format!("/rows/phone_number_metrics.json?cursor={next}");
    assert_eq!(get(&site, "one", &path).await.status, 200);
    assert_eq!(get(&site, "other", &path).await.codes(), ["BAD_USER_INPUT"], "another's walk");
    let range = "range: {between: {start: \"2026-11-01T00:00:00Z\", end: \"2026-11-05T00:00:00Z\"}}";
    for field in ["phoneNumberMetrics", "templateMetrics"] {
        let template = if field == "templateMetrics" { ", templateCode: \"order_shipped\"" } else { "" };
        let page = |more: &str| {
            let page = format!("(custSpaceId: \"cams-alpha\"{template}, {range}, first: 1{more})");
            format!("{{ {field}{page} {{ pageInfo {{ endCursor }} }} }}")
        };
        let first = ask(&site, "one", &page("")).await.json();
        let cursor = first["data"][field]["pageInfo"]["endCursor"].as_str().unwrap_or_else(|| panic!("{first}"));
        let next = page(&format!(", after: {cursor:?}"));
        assert_eq!(ask(&site, "one", &next).await.codes(), [""; 0], "{field}");
        assert_eq!(ask(&site, "other", &next).await.codes(), ["BAD_USER_INPUT"], "{field}: another's walk");
    }
}

#[tokio::test(start_paused = true)]
async fn etags_are_their_own() {
    let gateway = shown_and_masked();
    let site = door(&gateway);
    for format in ["csv", "parquet"] {
        let path = format!("/rows/phone_number_metrics.{format}?{RANGE}");
        let [shown, masked] = [get(&site, "weir_shown", &path).await, get(&site, "weir_masked", &path).await];
        let (own, other) = (shown.header("etag").unwrap(), masked.header("etag").unwrap());
        assert_ne!(own, other, "{format}");
        let conditional = Request::get(&path).header("host", "localhost").header("if-none-match", own);
        let conditional = conditional.header("x-api-key", "weir_masked").body(axum::body::Body::empty()).unwrap();
        assert_eq!(send(&site, conditional).await.status, 200, "{format}: another's tag is no answer");
    }
}

#[tokio::test(start_paused = true)]
async fn files_are_their_own() {
    let gateway = shown_and_masked();
    let site = door(&gateway);
    for format in ["csv", "parquet"] {
        let path = format!("/rows/phone_number_metrics.{format}?{RANGE}");
        let [shown, masked] = [get(&site, "weir_shown", &path).await, get(&site, "weir_masked", &path).await];
        let has = |got: &Got, part: &[u8]| got.body.windows(part.len()).any(|window| window == part);
        assert!(has(&shown, b"8613") && !has(&masked, b"8613") && has(&masked, b"***"), "{format}");
    }
}

/// The same text twice is answered from its bytes, sent either way: each from their own.
#[tokio::test(start_paused = true)]
async fn kept_answers_are_their_own() {
    let gateway = shown_and_masked();
    let site = door(&gateway);
    let query = "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {between: {start: \"2026-11-01T00:00:00Z\", \
                 end: \"2026-11-03T00:00:00Z\"}}) { nodes { phoneNumber } } }";
    let encoded: String = form_urlencoded::byte_serialize(query.as_bytes()).collect();
    let path = format!("/graphql?query={encoded}");
    for _ in 0..4 {
        let [shown, masked] = [ask(&site, "weir_shown", query).await, ask(&site, "weir_masked", query).await];
        assert!(shown.text().contains("8613") && !masked.text().contains("8613") && masked.text().contains("***"));
        let [shown, masked] = [get(&site, "weir_shown", &path).await, get(&site, "weir_masked", &path).await];
        assert!(shown.text().contains("8613") && !masked.text().contains("8613") && masked.text().contains("***"));
    }
}

/// Whoever asks for much waits behind themselves, and fills no queue but their own.
#[tokio::test(start_paused = true)]
async fn turns_in_the_queue_are_their_own() {
    let keys = || ["one", "other"].map(|name| api_key(name, name)).to_vec();
    let gateway = TestGateway::builder().config(|config| config.api_keys = keys()).build();
    let site = door(&gateway);
    let much = |key: &'static str, app: &str, dimension: &str| {
        let query = format!(
            "{{ operationDistributions(appIds: [\"{app}\"], dimension: {dimension}, range: {{last: \"P16D\"}}, \
             window: \"PT1H\") {{ start }} }}"
        );
        let site = site.clone();
        async move { ask_with(&site, key, &query, &json!({ "maxWait": "PT1H" })).await }
    };
    // An hour of the first, so many before the last one.
    let last = gateway.now().floor(Duration::from_hours(1));
    let hour = |n: u32| {
        let end = last - Duration::from_hours(1) * n;
        let start = end - Duration::from_hours(1);
        format!(
            "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) \
             {{ start }} }}"
        )
    };
    let asking = [tokio::spawn(much("one", "app-one", "PROVINCE")), tokio::spawn(much("one", "app-two", "PROVINCE"))];
    sleep(Duration::from_secs(1)).await;
    let refused = much("one", "app-one", "COUNTRY").await;
    assert_eq!(refused.codes()[0], "QUOTA_WAIT_TOO_LONG");
    assert!(refused.text().contains("\"limitName\":\"queue\""), "{:.300}", refused.text());
    // Nor are others refused for it: they are told of their own turns, also for what the first has asked for already.
    for (asked, is_queued_by_one) in [(window("app-two", 0), false), (hour(3), true), (hour(200), true)] {
        let explained = ask_with(&site, "other", &asked, &json!({ "explain": true })).await.json();
        let told = explained["extensions"]["weir"]["plan"]["expectedWaitMs"].as_u64().unwrap();
        let began = Instant::now();
        let others = ask_with(&site, "other", &asked, &json!({ "maxWait": "PT3S" })).await;
        assert_eq!(others.codes(), [""; 0], "{}", others.text());
        let took = began.elapsed();
        assert!(took < Duration::from_secs(3), "{took:?}");
        let told = Duration::from_millis(told);
        assert!(took + Duration::from_millis(400) > told && took < told + Duration::from_secs(1), "{told:?}, {took:?}");
        let collapsed = others.json()["extensions"]["weir"]["collapsed"].as_u64();
        assert_eq!(collapsed, Some(u64::from(is_queued_by_one)), "{}", others.text());
    }
    assert!(asking.iter().all(|asking| !asking.is_finished()));
    let others = tokio::spawn(much("other", "app-one", "COUNTRY"));
    sleep(Duration::from_secs(1)).await;
    assert!(!others.is_finished(), "it waits, and is not refused for what others have queued");
    asking.iter().chain([&others]).for_each(tokio::task::JoinHandle::abort);

    // Commands have turns as well: five a second.
    let enable =
        |n: usize| format!("mutation {{ enableWhatsappRoiMetric(custSpaceId: \"cams-{n}\") {{ requestId }} }}");
    let channels = (0..60).map(|n| format!("cams-{n}")).collect();
    let config = |config: &mut Config| (config.api_keys, config.alibaba_cams[0].channels) = (keys(), channels);
    let gateway = TestGateway::builder().config(config).build();
    let site = door(&gateway);
    let all: Vec<_> = (0..59)
        .map(|n| {
            let (site, enable) = (site.clone(), enable(n));
            tokio::spawn(async move { ask(&site, "one", &enable).await })
        })
        .collect();
    sleep(Duration::from_secs(1)).await;
    let began = Instant::now();
    drop(ask_with(&site, "other", &enable(59), &json!({ "maxWait": "PT1H" })).await);
    assert!(began.elapsed() < Duration::from_secs(3), "{:?}", began.elapsed());
    assert!(all.iter().any(|asking| !asking.is_finished()));
}

/// A call that is repeated is its caller's still, and goes behind what they have asked for since.
#[tokio::test(start_paused = true)]
async fn a_repeated_call_waits_in_its_callers_turn() {
    let gateway = TestGateway::builder().config(|config| config.api_keys = vec![api_key("one", "one")]).build();
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::Next(1));
    let many = "{ operationDistributions(appIds: [\"app-one\"], range: {last: \"P1D\"}, window: \"PT1H\") { start } }";
    let answer = ask(&door(&gateway), "one", many).await;
    assert_eq!(answer.codes(), [""; 0]);
    let sent: Vec<_> = gateway.requests().iter().map(|request| request.body().clone()).collect();
    assert_eq!(sent.len(), 25, "one of them twice");
    let again = sent.iter().skip(1).position(|body| *body == sent[0]).unwrap();
    assert!(again > 20, "the others wait already: {again}");
}

/// What is collected is told to whoever may see it.
#[tokio::test(start_paused = true)]
async fn collections_are_their_own() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite:{}", dir.path().join("weir.db").display());
    let listed = |names: &[&str]| Some(names.iter().map(|name| (*name).to_owned()).collect());
    let mut keys = ["one", "other"].map(|name| api_key(name, name)).to_vec();
    (keys[0].channels, keys[0].apps) = (listed(&["cams-alpha"]), listed(&["app-one"]));
    (keys[1].channels, keys[1].apps) = (listed(&["cams-beta"]), listed(&[]));
    let gateway = TestGateway::builder()
        .config(|config| {
            config.archive.url = url.into();
            config.api_keys = keys;
            config.watch = [Watched::PhoneNumberMetrics, Watched::OperationDistributions]
                .map(|dataset| watch(dataset, Duration::from_mins(30)))
                .to_vec();
        })
        .build();
    let site = door(&gateway);
    let watching = begin(&gateway);
    sleep(Duration::from_secs(9)).await;
    for (key, own) in [("one", vec!["cams-alpha", "app-one"]), ("other", vec!["cams-beta"])] {
        let told = ask(&site, key, "{ collections { custSpaceId appId } }").await.json();
        let told = told["data"]["collections"].as_array().unwrap().iter();
        let name = |one: &Value| one["custSpaceId"].as_str().or(one["appId"].as_str()).unwrap().to_owned();
        assert_eq!(
            told.map(name).collect::<BTreeSet<_>>(),
            own.iter().map(|name| (*name).to_owned()).collect(),
            "{key}"
        );
        let list = get(&site, key, "/rows").await.json()["collections"].to_string();
        for name in ["cams-alpha", "cams-beta", "cams-gamma", "app-one", "app-two"] {
            assert_eq!(list.contains(name), own.contains(&name), "{key} {name}: {list}");
        }
    }
    watching.abort();
}
