//! No single request can stop the process: what attackers sent, in many variations, against a weir of its own. Each is
//! answered, with little processor time and memory, and probes are answered meanwhile.

use std::fmt::Write as _;
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::time::timeout;

use crate::support::process::{Process, config};
use crate::support::{TestGateway, codes};

/// What a request may take of the processor. Without its bounds weir takes seconds, or for ever; with them some
/// milliseconds, and more where nothing is optimised.
const MAX_CPU: Duration = Duration::from_secs(10);
/// How much the process may grow, in bytes: an answer at its limit, and what it is made of.
const MAX_GROWTH: u64 = 300 << 20;

/// A weir whose documents may ask for more than usual, so that what comes after them is tested; with the vendors that it asks,
/// and the folder that it lives in.
async fn generous() -> (Process, Process, TempDir) {
    let (dir, vendors) = (TempDir::new().unwrap(), Process::simulate(&[]).await);
    let config = config(dir.path(), &vendors.address, "[limits]\naliases = 20000\nroot_fields = 20000\n");
    (Process::serve(&config).await, vendors, dir)
}

/// A figure of the process in /proc/PID/status, in bytes.
fn memory(process: &Process, name: &str) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", process.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with(name)).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() << 10
}

/// The processor time that the process has taken.
fn cpu(process: &Process) -> Duration {
    let stat = std::fs::read_to_string(format!("/proc/{}/stat", process.pid())).unwrap();
    // The command's name may hold anything; what follows it is numbers.
    let numbers: Vec<u64> =
        stat.rsplit(')').next().unwrap().split_whitespace().filter_map(|n| n.parse().ok()).collect();
    let ticks = numbers[10] + numbers[11];
    Duration::from_millis(ticks * 10)
}

/// Asks, with probes beside it; the answer.
async fn ask(process: &Process, name: &str, body: &Value) -> Value {
    let (before, grown) = (cpu(process), memory(process, "VmHWM"));
    let probes = async {
        for _ in 0..3 {
            let probe = timeout(Duration::from_secs(10), process.get("/health/live")).await;
            assert!(probe.is_ok(), "{name}: a probe was not answered");
        }
    };
    let asked = timeout(Duration::from_secs(30), process.post("/graphql", body));
    let (answer, ()) = tokio::join!(asked, probes);
    let answer = answer.unwrap_or_else(|_| panic!("{name}: no answer"));
    let (took, grew) = (cpu(process).saturating_sub(before), memory(process, "VmHWM").saturating_sub(grown));
    assert!(took < MAX_CPU, "{name} took {took:?}");
    assert!(grew < MAX_GROWTH, "{name} took {} MB", grew >> 20);
    answer
}

fn code(answer: &Value) -> &str {
    answer["errors"][0]["extensions"]["code"].as_str().unwrap_or("none")
}

/// A chain of fragments, each of which spreads the next so many times; `last` is what the end of it is.
fn chain(levels: usize, spreads: usize, within: &str, last: &str) -> String {
    let mut text = "{...F0}".to_owned();
    for level in 0..levels {
        let next = format!("...F{}", level + 1).repeat(spreads);
        let next = if within.is_empty() { next } else { within.replace('_', &next) };
        write!(text, "fragment F{level} on Query{{{next}}}").unwrap();
    }
    text + last
}

#[tokio::test]
async fn fragments_that_spread_one_another_are_counted_before_they_are_walked() {
    let weir = Process::demo().await;
    let last = |levels: usize, end: &str| format!("fragment F{levels} on Query{{{end}}}");
    let mut documents = Vec::new();
    for (levels, spreads) in [(22, 2), (25, 2), (60, 2), (12, 3), (20, 3), (20, 4), (9, 9)] {
        documents.push(chain(levels, spreads, "", ""));
        documents.push(chain(levels, spreads, "", &last(levels, "__typename")));
    }
    documents.extend([
        chain(20, 3, "", &last(20, "...F20")),
        chain(20, 3, "", &last(20, "...F0")),
        chain(20, 2, "...{_}", ""),
        chain(20, 2, "_ ...@include(if:true){_}", ""),
        chain(12, 2, "a:channel(custSpaceId:\"a\"){account} _", ""),
        chain(25, 2, "_ ...Nowhere", ""),
        format!("{{{}}}", "...F ".repeat(9_000)) + "fragment F on Query{__typename}",
        format!("{{__schema{{types{{{}name{}}}}}}}", "fields{type{".repeat(9), "}}".repeat(9)),
        format!("{{__type(name:\"__Type\"){{{}name{}}}}}", "fields{type{".repeat(11), "}}".repeat(11)),
        format!("{{{}}}", (0..9_000).fold(String::new(), |text, n| text + &format!("a{n}:__typename "))),
    ]);
    assert!(documents.len() >= 20);
    for document in documents {
        let name: String = document.chars().take(60).collect();
        let answer = ask(&weir, &name, &json!({ "query": document })).await;
        let is_refused = ["TOO_EXPENSIVE", "BAD_USER_INPUT"].contains(&code(&answer));
        assert!(
            is_refused || answer["data"]["__typename"] == "Query" || answer["data"]["a0"] == "Query",
            "{name}: {answer:.300}"
        );
    }
}

#[tokio::test]
async fn answers_errors_and_echoes_are_bounded_before_they_are_made() {
    let (weir, _vendors, _dir) = generous().await;
    let rows =
        "phoneNumberMetrics(custSpaceId:\"cams-alpha\",granularity:HALF_HOUR,range:{last:\"P200D\"},first:100000)";
    let warm = ask(&weir, "warm", &json!({ "query": format!("{{{rows}{{totalCount}}}}") })).await;
    assert!(warm["data"]["phoneNumberMetrics"]["totalCount"].as_u64().unwrap() > 10_000, "{warm}");

    let many = |n: usize, field: &str| {
        format!("{{{}}}", (0..n).fold(String::new(), |text, n| text + &format!("a{n}:{field} ")))
    };
    let long = "x".repeat(120_000);
    let seconds = "operationDistributions(appIds:[\"app-one\"],range:{between:{start:\"2020-01-01T00:00:00Z\",end:\"2020-01-01T05:30:00Z\"}},window:\"PT1S\")";
    let all = "{custSpaceId phoneNumber granularity start end sentCount deliveredCount deliveryRate finality fetchedAt source}";
    let big = "8".repeat(900_000);
    let unknown = |n: usize| many(n, "channel(custSpaceId:$v){account}").replacen('{', "query($v:ID!){", 1);
    let named = |name: &str| format!("query {name} {{__typename}}");
    for (name, body, codes) in [
        ("a long alias", json!({ "query": format!("{{{rows}{{nodes{{{long}:start}}}}}}") }), "TOO_EXPENSIVE"),
        ("a long field", json!({ "query": format!("{{{long}}}") }), "TOO_EXPENSIVE"),
        ("a long operation name", json!({ "query": named(&long) }), "TOO_EXPENSIVE"),
        ("a long variable", json!({ "query": format!("query(${long}:ID){{__typename}}") }), "TOO_EXPENSIVE"),
        ("a long fragment name", json!({ "query": format!("{{...{long}}}") }), "TOO_EXPENSIVE"),
        ("a long enum", json!({ "query": format!("{{channel(custSpaceId:{long}){{account}}}}") }), "TOO_EXPENSIVE"),
        (
            "a long text",
            json!({ "query": format!("{{channel(custSpaceId:\"{long}\"){{account}}}}") }),
            "UNKNOWN_CHANNEL",
        ),
        (
            "a long number",
            json!({ "query": format!("{{phoneNumberMetrics(first:{},range:{{last:\"P1D\"}}){{totalCount}}}}", &big[..120_000]) }),
            "BAD_USER_INPUT",
        ),
        (
            "a long instant",
            json!({ "query": format!("{{phoneNumberMetrics(range:{{last:\"{long}\"}}){{totalCount}}}}") }),
            "BAD_USER_INPUT",
        ),
        ("an operation that is not there", json!({ "query": named("Q"), "operationName": big }), "BAD_USER_INPUT"),
        ("a control", json!({ "query": named("Q"), "extensions": { "weir": { big.as_str(): 1 } } }), "BAD_USER_INPUT"),
        ("many lists", json!({ "query": many(350, &format!("{rows}{{nodes{all}}}")) }), "TOO_EXPENSIVE"),
        (
            "many lists of edges",
            json!({ "query": many(300, &format!("{rows}{{edges{{node{all}}}}}")) }),
            "TOO_EXPENSIVE",
        ),
        (
            "many failing windows",
            json!({ "query": format!("{{{seconds}{{start}}}}") }),
            "OUT_OF_RETENTION TOO_EXPENSIVE",
        ),
        (
            "many failing windows many times",
            json!({ "query": many(40, &format!("{seconds}{{start}}")) }),
            "OUT_OF_RETENTION TOO_EXPENSIVE",
        ),
        (
            "many failing fields",
            json!({ "query": many(1_000, "channel(custSpaceId:\"none\"){account}") }),
            "UNKNOWN_CHANNEL",
        ),
        ("many echoes", json!({ "query": unknown(1_000), "variables": { "v": big } }), "TOO_EXPENSIVE"),
        ("some echoes", json!({ "query": unknown(4), "variables": { "v": big } }), "UNKNOWN_CHANNEL"),
        (
            "a long phone number",
            json!({ "query": "query($v:[String!]){phoneNumberMetrics(custSpaceId:\"cams-alpha\",phoneNumbers:$v,range:{last:\"P1D\"}){totalCount}}", "variables": { "v": [big] } }),
            "BAD_USER_INPUT",
        ),
        (
            "a long template",
            json!({ "query": "query($v:ID!){templateMetrics(custSpaceId:\"cams-alpha\",templateCode:$v,range:{last:\"P1D\"}){totalCount}}", "variables": { "v": big } }),
            "BAD_USER_INPUT",
        ),
        (
            "a long code",
            json!({ "query": "mutation($v:String!){enableWhatsappRoiMetric(custSpaceId:\"cams-alpha\",isvCode:$v){requestId}}", "variables": { "v": big } }),
            "BAD_USER_INPUT",
        ),
        (
            "a long language",
            json!({ "query": "query($v:String!){templateMetrics(custSpaceId:\"cams-alpha\",templateCode:\"t\",language:$v,range:{last:\"P1D\"}){totalCount}}", "variables": { "v": big } }),
            "BAD_USER_INPUT",
        ),
        ("many unknown fields", json!({ "query": many(9_000, "nope") }), "BAD_USER_INPUT"),
        ("many wrong values", json!({ "query": many(2_000, "channel(custSpaceId:nope){account}") }), "BAD_USER_INPUT"),
        (
            "a wrong value in a list",
            json!({ "query": "query($v:[ID!]){operationDistributions(appIds:$v,range:{last:\"P1D\"}){start}}", "variables": { "v": vec![Value::Null; 100_000] } }),
            "BAD_USER_INPUT",
        ),
    ] {
        let answer = ask(&weir, name, &body).await;
        let length = answer.to_string().len();
        assert!(codes.split(' ').any(|known| known == code(&answer)), "{name}: {}", answer["errors"][0]);
        assert!(answer["errors"].as_array().unwrap().len() <= 101, "{name}");
        assert!(length < 65 << 20, "{name}: {length} bytes");
        let errors = answer["errors"].to_string().len();
        assert!(errors < 60_000, "{name}: errors of {errors} bytes");
    }
}

/// Exactly as much as may be is answered, and what is left out is said.
#[tokio::test]
async fn a_hundred_errors_are_told_and_then_how_many_more() {
    let (weir, _vendors, _dir) = generous().await;
    let many = |n: usize| {
        (0..n).fold(String::new(), |text, n| text + &format!("a{n}:channel(custSpaceId:\"none\"){{account}} "))
    };
    let answer = ask(&weir, "a hundred", &json!({ "query": format!("{{{}}}", many(100)) })).await;
    assert_eq!(answer["errors"].as_array().unwrap().len(), 100);
    let answer = ask(&weir, "more", &json!({ "query": format!("{{{}}}", many(250)) })).await;
    let errors = answer["errors"].as_array().unwrap();
    assert_eq!(errors.len(), 101);
    assert_eq!(errors[100]["message"], "150 more errors are not told");
    assert_eq!(errors[100]["extensions"]["actual"], 250);
    assert_eq!(answer["data"].as_object().unwrap().len(), 250, "every field is there, and null");
}

/// Slices are counted by arithmetic, request by request, before any of them is made.
#[tokio::test]
async fn slices_are_counted_before_they_are_made() {
    let (weir, _vendors, _dir) = generous().await;
    let many = |n: usize, field: &str| {
        format!("{{{}}}", (0..n).fold(String::new(), |text, n| text + &format!("a{n}:{field} ")))
    };
    let years = "{between:{start:\"2016-01-01T00:00:00Z\",end:\"2026-01-01T00:00:00Z\"}}";
    let phones: Vec<String> = (0..100).map(|phone| format!("49{phone:06}")).collect();
    let of_phones = format!("phoneNumberMetrics(custSpaceId:\"cams-alpha\",phoneNumbers:$p,range:{years})");
    let windows = "operationDistributions(appIds:[\"app-one\"],range:{last:\"P800D\"},window:\"PT1H\"){start}";
    for (name, query) in [
        ("ten years of a hundred phones", format!("query($p:[String!]){{{of_phones}{{totalCount}}}}")),
        (
            "ten years of a hundred phones many times",
            many(500, &format!("{of_phones}{{totalCount}}")).replacen('{', "query($p:[String!]){", 1),
        ),
        ("many windows", many(700, windows)),
        (
            "ten years many times",
            many(500, &format!("phoneNumberMetrics(custSpaceId:\"cams-alpha\",range:{years}){{totalCount}}")),
        ),
    ] {
        for explain in [true, false] {
            let controls = json!({ "weir": { "explain": explain, "maxWait": "PT0S" } });
            let body = json!({ "query": query, "variables": { "p": phones }, "extensions": controls });
            let answer = ask(&weir, name, &body).await;
            let errors = answer["errors"].as_array().unwrap();
            let refused = errors.iter().find(|error| error["extensions"]["limit"] == json!(50_000));
            let refused = refused.unwrap_or_else(|| panic!("{name}: {errors:.300?}"));
            assert_eq!(refused["extensions"]["code"], "TOO_EXPENSIVE", "{name}");
            assert!(refused["extensions"]["actual"].as_u64().unwrap() > 50_000, "{name}: {refused}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn exactly_as_many_slices_as_may_be_are_answered() {
    let gateway = TestGateway::builder().config(|config| config.limits.slices = 12).build();
    let days =
        |n: u32| format!("range:{{between:{{start:\"2026-10-01T00:00:00Z\",end:\"2026-10-{:02}T00:00:00Z\"}}}}", n + 1);
    let channel = |n: u32| format!("phoneNumberMetrics(custSpaceId:\"cams-alpha\",{}){{totalCount}}", days(n));
    let phones = format!(
        "phoneNumberMetrics(custSpaceId:\"cams-alpha\",phoneNumbers:[\"1\",\"2\",\"3\"],{}){{totalCount}}",
        days(4)
    );
    let users = "operationDistribution(appId:\"app-one\",range:{last:\"P1D\"}){start}";
    let answer = gateway.query(&format!("{{{}}}", channel(12))).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    assert_eq!(codes(&gateway.query(&format!("{{{phones}}}")).await), Vec::<String>::new(), "three phones, four days");
    for (query, actual) in [
        (format!("{{{}}}", channel(13)), 13),
        (format!("{{{} b:{users}}}", channel(12)), 13),
        (format!("{{{phones} b:{users}}}"), 13),
    ] {
        let answer = gateway.query(&query).await;
        assert_eq!(codes(&answer), ["TOO_EXPENSIVE"], "{query}");
        let told = &answer["errors"][0]["extensions"];
        assert_eq!((&told["limit"], &told["actual"]), (&json!(12), &json!(actual)), "{query}");
    }
}

/// However much waits for the same channel, an ask costs what it asks for.
#[tokio::test]
async fn decades_of_one_channel_are_planned_together_at_little_cost() {
    let weir = Process::demo().await;
    let before = cpu(&weir);
    let decade = |n: u32| {
        let (start, end) = (1_000 + 10 * n, 1_010 + 10 * n);
        let range = format!("{{between:{{start:\"{start}-01-01T00:00:00Z\",end:\"{end}-01-01T00:00:00Z\"}}}}");
        json!({ "query": format!("{{phoneNumberMetrics(custSpaceId:\"cams-alpha\",range:{range}){{totalCount}}}}") })
    };
    let bodies: Vec<Value> = (0..40).map(decade).collect();
    let asks = futures_util::future::join_all(bodies.iter().map(|body| weir.post("/graphql", body)));
    let probes = async {
        for _ in 0..20 {
            let probe = timeout(Duration::from_secs(10), weir.get("/health/live")).await;
            assert!(probe.is_ok(), "a probe was not answered");
        }
    };
    let (answers, ()) = tokio::join!(asks, probes);
    for answer in answers {
        assert_eq!(answer["data"]["phoneNumberMetrics"]["totalCount"], 0, "{answer:.300}");
    }
    let took = cpu(&weir).saturating_sub(before);
    assert!(took < MAX_CPU, "{took:?}");
}
