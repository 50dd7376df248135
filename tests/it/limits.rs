//! What a single document may ask for: a hundred that ask for too much, those of the field's auditors among them, each
//! refused with its code and its limit, for little; and limits that are only counted.
//!
//! The auditors are graphql-cop 1.14 (its checks for denial of service and for what is told) and GraphQL Armor 3 (what its
//! plugins bound). weir's own bounds are wider where its callers need them: docs/decisions/0024-limits.md says which and why.

use std::fmt::Write as _;
use std::time::Duration;

use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;
use weir::access::Access;
use weir::config::Config;
use weir::domain::LimitName;
use weir::http::{HttpConfig, Site};

use crate::operations::Samples;
use crate::support::{METRIC, TestGateway, cpu};

/// A refusal takes no more of the processor: unoptimised as tests are, some ten times what a release takes.
const MAX_CPU: Duration = Duration::from_millis(50);

fn site(gateway: &TestGateway) -> Site {
    let limits = gateway.config().limits.of_documents();
    Site::new(HttpConfig { limits, ..HttpConfig::default() }, gateway.gateway(), Access::anyone())
}

async fn post(site: &Site, body: &Value) -> (u16, Value) {
    let request = Request::post("/graphql")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("accept", "application/graphql-response+json")
        .body(Body::from(body.to_string()));
    let response = site.clone().oneshot(request.unwrap()).await.unwrap();
    let status = response.status().as_u16();
    let bytes = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (status, serde_json::from_slice(&bytes).unwrap())
}

async fn ask(site: &Site, query: &str) -> (u16, Value) {
    post(site, &json!({ "query": query })).await
}

fn many(n: usize, part: impl Fn(usize) -> String) -> String {
    (0..n).fold(String::new(), |mut all, nth| {
        write!(all, "{} ", part(nth)).unwrap();
        all
    })
}

/// Fields that lie in one another.
fn nested(levels: usize, open: &str, inner: &str) -> String {
    format!("{}{inner}{}", format!("{open} {{ ").repeat(levels), " }".repeat(levels))
}

/// Circles, what is nowhere, and what is no document.
const WRONG: &[&str] = &[
    "{ ...A } fragment A on Query { ...A }",
    "{ ...A } fragment A on Query { ...B } fragment B on Query { ...A }",
    "{ ...A } fragment A on Query { channels { ...B } } fragment B on Channel { ...C } fragment C on Channel { ...B }",
    "{ ...Nowhere }",
    "{ nowhere }",
    "{ channels }",
    "{ channels { account { x } } }",
    "{ channels { __nowhere } }",
    "query($a: Nowhere) { channels { account } }",
    "query($a: Int, $a: Int) { channels { account } }",
    "{ channels { account @include } }",
    "{ channels { account @include(if: \"yes\") } }",
    "subscription { channels { account } }",
    "{ a: channels { account } a: applications { account } }",
    "mutation { channels { account } }",
    "fragment F on Query { channels { account } }",
    "{ channels { account } } { channels { account } }",
    "query A { channels { account } } query A { channels { account } }",
    "type Query { a: Int }",
    "extend type Query { a: Int }",
    "schema { query: Query }",
    "{ phoneNumberMetrics(range: {}) { totalCount } }",
    "{ phoneNumberMetrics(range: {last: \"P1D\", between: null}) { totalCount } }",
    "{ phoneNumberMetrics(range: {last: 5}) { totalCount } }",
    "{ phoneNumberMetrics(range: {last: \"P1D\"}, first: 99999999999999999999) { totalCount } }",
    "",
    " ",
    "#",
    "{",
    "}",
    "{}",
    "{ channels { } }",
    "{ channels(",
    "{ channels { account } ",
    "query { channels { account } }}",
    "\u{feff}\u{feff}{ channels { account }",
    "{ \u{0} }",
    "{ channels { account(a: \"\\u{110000}\") } }",
    "{ channels { account(a: \"\"\"",
    "{ channels { account(a: \"\\",
    "{ channels { account(a: 1e) } }",
    "{ channels { account(a: 00) } }",
    "{ channels { account(a: -) } }",
    "{ channels { account(a: $) } }",
    "{ ... }",
    "{ ...on }",
    "{ ... on Nowhere { a } }",
    "query Q($a: [[[[[Int]]]]]) { channels { account } }",
];

/// Texts, the code with which each is refused, and the limit that refuses it.
fn hostile() -> Vec<(String, &'static str, Option<&'static str>)> {
    let mut all = Vec::new();
    let mut add = |text: String, code, limit| all.push((text, code, limit));
    let too_much = "TOO_EXPENSIVE";
    let wrong = "BAD_USER_INPUT";
    // graphql-cop: a hundred aliases and one; five hundred fields of one name; ten directives that are none.
    add(format!("query cop {{ {} }}", many(101, |n| format!("alias{n}: __typename"))), too_much, Some("aliases"));
    add(format!("query cop {{ {} }}", "__typename ".repeat(500)), too_much, Some("root_fields"));
    add(format!("query cop {{ __typename {} }}", "@aa".repeat(10)), wrong, None);
    // graphql-cop: introspection that goes round in circles.
    let round = nested(5, "fields { type", "name").replace(" }", " } }");
    add(format!("query cop {{ __schema {{ types {{ {round} }} }} }}"), too_much, Some("introspection_depth"));
    // GraphQL Armor: aliases, directives, depth, tokens, length.
    for n in [101, 500, 1_000, 4_000] {
        add(format!("{{ {} }}", many(n, |n| format!("a{n}: channels {{ account }}"))), too_much, Some("aliases"));
        add(format!("{{ channels {{ {} }} }}", many(n, |n| format!("a{n}: account"))), too_much, Some("aliases"));
    }
    for n in [51, 100, 1_000] {
        add(format!("{{ channels {} {{ account }} }}", "@skip(if: false) ".repeat(n)), too_much, Some("directives"));
        add(format!("query {} {{ channels {{ account }} }}", "@x ".repeat(n)), too_much, Some("directives"));
    }
    for levels in [25, 50, 90] {
        add(
            nested(levels, "channels", "account").replacen("channels", "{ channels", 1) + " }",
            too_much,
            Some("depth"),
        );
    }
    for levels in [25, 30, 40] {
        let spread = many(levels, |n| format!("fragment F{n} on Channel {{ metrics {{ ...F{} }} }}", n + 1));
        add(
            format!("{{ channels {{ ...F0 }} }} {spread} fragment F{levels} on Channel {{ account }}"),
            too_much,
            Some("depth"),
        );
    }
    add(format!("{{ {} }}", nested(200, "... ", "channels { account }")), too_much, Some("nesting"));
    add(format!("{{ channels(x: {}{}) {{ account }} }}", "[".repeat(200), "]".repeat(200)), too_much, Some("nesting"));
    add(format!("{{ {} }}", "channels { account } ".repeat(12_000)), too_much, Some("query_bytes"));
    add(format!("{{ {} }}", "a ".repeat(40_001)), too_much, Some("tokens"));
    add(format!("{{ {}channels {{ account }} }}", "{".repeat(41_000)), too_much, Some("tokens"));
    add(format!("{{ channels {{ {} }} }}", "account ".repeat(10_001)), too_much, Some("fields"));
    for n in [101, 1_000, 9_000] {
        add(format!("{{ {} }}", "channels { account } ".repeat(n.min(5_000))), too_much, Some("root_fields"));
        add(format!("{{ ...F }} fragment F on Query {{ {} }}", "__typename ".repeat(n)), too_much, Some("root_fields"));
    }
    // Uses of fragments multiply.
    for (levels, spreads) in [(14, 2), (20, 2), (9, 3), (40, 2), (90, 2)] {
        let chain =
            many(levels, |n| format!("fragment F{n} on Channel {{ {} }}", format!("...F{} ", n + 1).repeat(spreads)));
        add(
            format!("{{ channels {{ ...F0 }} }} {chain} fragment F{levels} on Channel {{ account }}"),
            too_much,
            Some("fields"),
        );
        add(format!("{{ channels {{ ...F0 }} }} {chain}"), too_much, Some("fields"));
    }
    // Aliases multiply with their fragments.
    let pair = "fragment G on Channel { a: account b: account c: account } ";
    add(format!("{{ channels {{ {} }} }} {pair}", "...G ".repeat(40)), too_much, Some("aliases"));
    for text in WRONG {
        add((*text).to_owned(), wrong, None);
    }
    for length in [257, 10_000, 120_000] {
        add(format!("{{ {}: channels {{ account }} }}", "a".repeat(length)), too_much, Some("name_bytes"));
        add(format!("query {} {{ channels {{ account }} }}", "a".repeat(length)), too_much, Some("name_bytes"));
    }
    add(format!("{{ channels {{ {} }} }}", "q".repeat(200)), wrong, None);
    add(format!("{{ {}(a: 1) }}", "ä".repeat(100)), wrong, None);
    all
}

#[tokio::test(start_paused = true)]
async fn each_hostile_document_is_refused_with_its_code_for_little() {
    let gateway = TestGateway::start();
    let site = site(&gateway);
    let hostile = hostile();
    assert!(hostile.len() >= 100, "{}", hostile.len());
    // What is made once.
    drop(ask(&site, "{ nowhere }").await);
    let mut wrong = Vec::new();
    for (text, code, limit) in &hostile {
        let shown: String = text.chars().take(120).collect();
        let before = cpu::used();
        let (status, answer) = ask(&site, text).await;
        let took = cpu::since(before);
        let error = &answer["errors"][0]["extensions"];
        let told = (status, error["code"].as_str(), error["limitName"].as_str());
        if told != (400, Some(*code), *limit) || (*code == "TOO_EXPENSIVE") != error["limit"].is_u64() {
            wrong.push(format!("{shown}\n    {:.300}", answer.to_string()));
        }
        if took > MAX_CPU || answer.to_string().len() > 100 * 400 {
            wrong.push(format!("{shown} took {took:?}, {} bytes", answer.to_string().len()));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
    assert_eq!(gateway.calls(METRIC), 0);
    let counted = Samples::of(&site).await;
    for name in LimitName::ALL.map(LimitName::as_str) {
        let refused = hostile.iter().filter(|(_, _, limit)| *limit == Some(name)).count();
        let told = counted.count("weir_refusals_total", &[("limit", name), ("caller", "anonymous")]);
        assert_eq!(told, i64::try_from(refused).unwrap(), "{name}");
    }
}

/// graphql-cop's checks of what is asked how.
#[tokio::test(start_paused = true)]
async fn what_auditors_look_for_is_not_there() {
    let gateway = TestGateway::start();
    let site = site(&gateway);
    // Batches multiply what one request may take.
    let batch = Value::Array(vec![json!({ "query": "{ channels { account } }" }); 10]);
    assert_eq!(post(&site, &batch).await.0, 400);
    // A field is hinted at where the schema may be asked for, and tracing is told by nobody.
    let (_, answer) = ask(&site, "{ chanels { account } }").await;
    assert!(answer["errors"][0]["message"].as_str().unwrap().contains("did you mean `channels`"), "{answer}");
    assert_eq!(answer["extensions"].as_object().unwrap().keys().collect::<Vec<_>>(), ["weir"]);
    // Forms, texts and the like are no requests.
    for kind in
        ["application/x-www-form-urlencoded", "text/plain", "multipart/form-data; boundary=x", "application/graphql"]
    {
        let request = Request::post("/graphql").header("host", "localhost").header("content-type", kind);
        let request = request.body(Body::from("query=%7Bchannels%7Baccount%7D%7D")).unwrap();
        assert_eq!(site.clone().oneshot(request).await.unwrap().status(), 415, "{kind}");
    }
    // A mutation is not got.
    let query = "/graphql?query=mutation%7BenableWhatsappRoiMetric(custSpaceId:%22cams-alpha%22)%7BrequestId%7D%7D";
    let request = Request::get(query).header("host", "localhost").body(Body::empty()).unwrap();
    assert_eq!(site.clone().oneshot(request).await.unwrap().status(), 405);
}

#[tokio::test(start_paused = true)]
async fn the_schema_is_told_to_nobody_where_it_is_off() {
    let gateway = TestGateway::builder().config(|config| config.limits.introspection = false).build();
    let site = site(&gateway);
    for text in [
        "{ __schema { types { name } } }",
        "{ __type(name: \"Query\") { name } }",
        "{ ...F } fragment F on Query { a: __schema { queryType { name } } }",
        "query A { channels { account } } query B { ... { __type(name: \"Query\") { name } } }",
    ] {
        let (_, answer) = post(&site, &json!({ "query": text, "operationName": "A" })).await;
        assert_eq!(answer["errors"][0]["extensions"]["code"], "FORBIDDEN", "{text} {answer}");
        assert!(answer.get("data").is_none());
    }
    // `__typename` tells of what was asked for, and clients need it.
    assert_eq!(ask(&site, "{ __typename channels { __typename } }").await.1.get("errors"), None);
    for text in
        ["{ chanels { account } }", "{ channels { acount } }", "{ phoneNumberMetrics(rang: {}) { totalCount } }"]
    {
        let (_, answer) = ask(&site, text).await;
        let told = answer["errors"].to_string();
        assert!(!told.contains("did you mean") && told.contains("unknown"), "{told}");
    }
    let request = Request::get("/schema.graphql").header("host", "localhost").body(Body::empty()).unwrap();
    assert_eq!(site.clone().oneshot(request).await.unwrap().status(), 404);
}

#[tokio::test(start_paused = true)]
async fn what_is_shadowed_refuses_nobody_and_is_counted() {
    let small = |config: &mut Config| {
        (config.limits.aliases, config.limits.depth, config.limits.slices, config.limits.calls) = (1, 2, 5, 1);
        config.limits.pull_calls = 1;
    };
    let queries = [
        ("aliases", "{ a: channels { account } b: channels { account } }"),
        ("depth", "{ channels { metrics(range: {last: \"P1D\"}) { start } } }"),
        ("slices", "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P9D\"}) { totalCount } }"),
        (
            "calls",
            "{ phoneNumberMetricTotals(custSpaceIds: [\"cams-alpha\", \"cams-beta\"], range: {last: \"P1D\"}) { sentCount } }",
        ),
    ];
    for (limit, query) in queries {
        let strict = TestGateway::builder().config(small).build();
        let (_, answer) = ask(&site(&strict), query).await;
        assert_eq!(answer["errors"][0]["extensions"]["limitName"], limit, "{answer}");
        let metrics = metrics(&site(&strict)).await;
        let line = |name: &str| format!("{name}{{caller=\"anonymous\",limit=\"{limit}\"}} ");
        assert!(metrics.contains(&line("weir_refusals_total")), "{metrics}");
        let shadow = TestGateway::builder()
            .config(|config| {
                small(config);
                config.limits.shadow =
                    LimitName::ALL.into_iter().filter(|name| name.always_holds().is_none()).collect();
            })
            .build();
        let site = site(&shadow);
        for _ in 0..2 {
            let (_, answer) = ask(&site, query).await;
            assert_eq!(answer.get("errors"), None, "{limit}: {answer}");
        }
        let metrics = self::metrics(&site).await;
        assert!(metrics.contains(&line("weir_shadow_refusals_total")), "{metrics}");
        assert!(!metrics.contains(&line("weir_refusals_total")), "{metrics}");
    }
}

/// Bounds that no config sets refuse under a name of their own, are counted like the others, and keep their codes.
#[tokio::test(start_paused = true)]
async fn bounds_of_a_question_have_names_as_well() {
    let gateway = TestGateway::start();
    let site = site(&gateway);
    let metrics = |range: &str, more: &str| {
        format!("{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {range}{more}) {{ totalCount }} }}")
    };
    let template = "{ templateMetrics(custSpaceId: \"cams-alpha\", templateCode: \"a\", range: {last: \"P9999D\"}) \
                    { totalCount } }";
    let users = |field: &str, range: &str, more: &str| format!("{{ {field}: {range}{more}) {{ start }} }}");
    let values = json!({ "a": "x".repeat(70_000) });
    let many_uses =
        many(80, |n| format!("a{n}: phoneNumberMetrics(custSpaceId: $a, range: {{last: \"P1D\"}}) {{ totalCount }}"));
    let of_variables = json!({ "query": format!("query($a: ID!) {{ {many_uses} }}"), "variables": values });
    let query = |text: String| json!({ "query": text });
    for (limit, code, n, body) in [
        ("page_rows", "BAD_USER_INPUT", 1, query(metrics("{last: \"P1D\"}", ", first: 100001"))),
        ("page_rows", "BAD_USER_INPUT", 2, query(metrics("{last: \"P1D\"}", ", first: -1"))),
        ("range", "RANGE_TOO_LONG", 1, query(metrics("{last: \"P9999D\"}", ""))),
        ("range", "RANGE_TOO_LONG", 2, query(template.to_owned())),
        (
            "window",
            "RANGE_TOO_LONG",
            1,
            query(users("operationDistribution(appId: \"app-one\", range", "{last: \"P20D\"}", "")),
        ),
        (
            "windows",
            "TOO_EXPENSIVE",
            1,
            query(users(
                "operationDistributions(appIds: [\"app-one\"], range",
                "{between: {start: \"2026-01-01T00:00:00Z\", end: \"2026-11-01T00:00:00Z\"}}",
                ", window: \"PT1S\"",
            )),
        ),
        ("value_bytes", "TOO_EXPENSIVE", 1, of_variables),
    ] {
        let (_, answer) = post(&site, &body).await;
        let error = &answer["errors"][0]["extensions"];
        assert_eq!((&error["limitName"], &error["code"]), (&json!(limit), &json!(code)), "{answer}");
        assert_eq!(Samples::of(&site).await.count("weir_refusals_total", &[("limit", limit)]), n, "{limit}");
    }
    for (limit, n, path) in [
        ("page_rows", 3, "phone_number_metrics.csv?limit=0"),
        ("range", 3, "phone_number_metrics.json?last=P9999D"),
        ("range", 4, "phone_number_totals.csv?last=P9999D"),
        ("windows", 2, "operation_distributions.csv?start=2016-01-01T00:00:00Z&end=2026-11-20T00:00:00Z&window=PT1S"),
        ("totals", 1, "phone_number_totals.csv?last=P3000D&granularity=HALF_HOUR&period=HOUR&fill=true"),
    ] {
        let request = Request::get(format!("/rows/{path}")).header("host", "localhost").body(Body::empty()).unwrap();
        let response = site.clone().oneshot(request).await.unwrap();
        let body = axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap();
        let problem: Value = serde_json::from_slice(&body).unwrap();
        assert_eq!(problem["limitName"], limit, "{problem}");
        assert_eq!(Samples::of(&site).await.count("weir_refusals_total", &[("limit", limit)]), n, "{limit}");
    }
}

async fn metrics(site: &Site) -> String {
    let request = Request::get("/metrics").header("host", "localhost").body(Body::empty()).unwrap();
    let response = site.clone().oneshot(request).await.unwrap();
    String::from_utf8(axum::body::to_bytes(response.into_body(), 1 << 20).await.unwrap().to_vec()).unwrap()
}
