//! GraphQL over HTTP: what a caller may send, what comes back, and what nobody can make the server do.

use std::io;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, Response, StatusCode};
use serde_json::{Value, json};
use tokio::process::Command;
use tower::ServiceExt;
use weir::access::Access;
use weir::config::Graphiql;
use weir::http::{HttpConfig, Limits, Site, Timeouts};

use crate::support::log::Log;
use crate::support::require;
use crate::support::server::{Server, gateway};

const GRAPHQL: &str = "application/graphql-response+json";
const JSON: &str = "application/json";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

fn app() -> Site {
    Site::new(HttpConfig::default(), gateway(), Access::anyone())
}

/// A request of the loopback host with the given headers.
fn request(method: Method, uri: &str, headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let builder = Request::builder().method(method).uri(uri).header("host", "localhost");
    headers.iter().fold(builder, |builder, (name, value)| builder.header(*name, *value)).body(body.into()).unwrap()
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn json(&self) -> Value {
        serde_json::from_str(&self.body).unwrap()
    }

    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn code(&self) -> String {
        self.json()["errors"][0]["extensions"]["code"].as_str().unwrap_or_default().to_owned()
    }

    fn message(&self) -> String {
        self.json()["errors"][0]["message"].as_str().unwrap_or_default().to_owned()
    }
}

async fn ask(app: Site, request: Request<Body>) -> Answer {
    let (parts, body) = app.oneshot(request).await.unwrap().into_parts();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

async fn post(app: Site, accept: &str, body: &Value) -> Answer {
    ask(app, request(Method::POST, "/graphql", &[("content-type", JSON), ("accept", accept)], body.to_string())).await
}

async fn get(app: Site, uri: &str, accept: &str) -> Answer {
    ask(app, request(Method::GET, uri, &[("accept", accept)], Body::empty())).await
}

fn limited(limits: Limits) -> Site {
    Site::new(HttpConfig { limits, ..HttpConfig::default() }, gateway(), Access::anyone())
}

#[tokio::test]
async fn all_graphql_over_http_audits_pass() {
    let Some(node) = require::program("node", "install Node 20 or newer") else { return };
    let fetched = require::file("tests/clients/node_modules/graphql-http", "run: npm ci --prefix tests/clients");
    if fetched.is_none() {
        return;
    }
    let server = Server::start(HttpConfig::default(), Timeouts::default()).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/audits.mjs");
    let url = format!("{}/graphql", server.url());
    let output = Command::new(node).args([script, &url]).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let results: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap();
    let failed: Vec<&Value> = results.iter().filter(|result| result["status"] != "ok").collect();
    assert!(failed.is_empty(), "{failed:#?}");
    assert_eq!(results.len(), 61);
}

#[tokio::test]
async fn the_media_type_decides_how_a_refused_query_is_answered() {
    for (query, variables) in [
        ("{", json!({})),
        ("{ noSuchField }", json!({})),
        ("query Q($name: String!) { __type(name: $name) { name } }", json!({})),
        ("query Q($name: String!) { __type(name: $name) { name } }", json!({ "name": null })),
        ("query Q($name: String!) { __type(name: $name) { name } }", json!({ "name": 7 })),
        ("query A { __typename } query B { __typename }", json!({})),
        ("mutation { noSuchMutation }", json!({})),
        ("subscription { noSuchSubscription }", json!({})),
        ("{ ...F } fragment F on Query { __typename ...F }", json!({})),
    ] {
        let body = json!({ "query": query, "variables": variables });
        let strict = post(app(), GRAPHQL, &body).await;
        assert_eq!(strict.status, 400, "{query}");
        assert_eq!(strict.header("content-type"), "application/graphql-response+json; charset=utf-8");
        assert_eq!(strict.code(), "BAD_USER_INPUT", "{query}");
        assert!(strict.json().get("data").is_none(), "nothing was executed: {}", strict.body);

        let lenient = post(app(), JSON, &body).await;
        assert_eq!(lenient.status, 200, "{query}");
        assert_eq!(lenient.header("content-type"), "application/json; charset=utf-8");
        assert!(lenient.json().get("data").is_none(), "nothing was executed: {}", lenient.body);
    }
}

#[tokio::test]
async fn a_get_reads_and_never_writes() {
    let query = "/graphql?query=query+A+%7B+a:__typename+%7D+query+B+%7B+b:__typename+%7D&operationName=B";
    let answer = get(app(), query, GRAPHQL).await;
    assert_eq!((answer.status, &answer.json()["data"]), (StatusCode::OK, &json!({ "b": "Query" })));

    let typed = "/graphql?query=query+Q($n:String!)%7B__type(name:$n)%7Bname%7D%7D&variables=%7B%22n%22:%22Query%22%7D";
    assert_eq!(get(app(), typed, GRAPHQL).await.json()["data"]["__type"]["name"], "Query");

    for accept in [GRAPHQL, JSON] {
        let answer = get(app(), "/graphql?query=mutation+%7B+__typename+%7D", accept).await;
        assert_eq!((answer.status, answer.header("allow")), (StatusCode::METHOD_NOT_ALLOWED, "POST"));
    }
    for (uri, word) in [
        ("/graphql", "query"),
        ("/graphql?query=%7B__typename%7D&variables=7", "variables"),
        ("/graphql?query=%7B__typename%7D&variables=%7B", "variables"),
        ("/graphql?query=%7B__typename%7D&extensions=%5B%5D", "extensions"),
        ("/graphql?query=%7B__typename%7D&query=%7Ba%7D", "twice"),
    ] {
        let answer = get(app(), uri, JSON).await;
        assert_eq!(answer.status, 400, "{uri}");
        assert!(answer.message().contains(word), "{uri}: {}", answer.message());
    }
}

#[tokio::test]
async fn a_foreign_page_cannot_make_a_browser_ask() {
    let body = json!({ "query": "{ __typename }" }).to_string();
    for kind in ["text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", ""] {
        let headers: &[_] = if kind.is_empty() { &[] } else { &[("content-type", kind)] };
        let answer = ask(app(), request(Method::POST, "/graphql", headers, body.clone())).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (415, "BAD_USER_INPUT"), "{kind}");
    }
    let packed = [("content-type", JSON), ("content-encoding", "gzip")];
    assert_eq!(ask(app(), request(Method::POST, "/graphql", &packed, body)).await.status, 415);
}

#[tokio::test]
async fn what_is_no_request_is_refused_with_the_reason() {
    for (body, word) in [
        ("", "empty"),
        ("  ", "empty"),
        ("[{\"query\":\"{__typename}\"}]", "batches"),
        ("[\"{__typename}\"]", "batches"),
        ("{}", "query"),
        ("7", "request"),
        ("{\"query\":7}", "string"),
        ("{\"query\":\"{__typename}\",\"query\":\"{a}\"}", "duplicate"),
        ("{\"query\":\"{__typename}\"", "EOF"),
    ] {
        let answer = ask(app(), request(Method::POST, "/graphql", &[("content-type", JSON)], body)).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "BAD_USER_INPUT"), "{body}");
        assert!(answer.message().contains(word), "{body}: {}", answer.message());
    }
    let answer = ask(app(), request(Method::PUT, "/graphql", &[], "")).await;
    assert_eq!((answer.status.as_u16(), answer.header("allow")), (405, "GET, POST"));
    assert_eq!(post(app(), "text/csv", &json!({ "query": "{ __typename }" })).await.status, 406);
}

#[tokio::test]
async fn a_query_that_asks_for_too_much_is_told_the_limit() {
    let limits = Limits { text: 500, nesting: 10, depth: 3, fields: 20, ..Limits::default() };
    for (query, words) in [
        (format!("{{ {} }}", "a: __typename ".repeat(36)), "bytes long; the limit is 500"),
        (format!("{{ {} }}", "__typename ".repeat(21)), "21 fields, every use of a fragment counted; the limit is 20"),
        ("{ __schema { types { fields { name } } } }".to_owned(), "4 deep; the limit is 3"),
        (format!("{{ a(x: {}{}) }}", "[".repeat(12), "]".repeat(12)), "the limit is 10"),
        ("{ ...A ...A } fragment A on Query { ...B ...B } fragment B on Query { a b c d e f }".to_owned(), "24 fields"),
    ] {
        let answer = post(limited(limits), GRAPHQL, &json!({ "query": query })).await;
        assert_eq!((answer.status.as_u16(), answer.code().as_str()), (400, "TOO_EXPENSIVE"), "{query}");
        assert!(answer.message().contains(words), "{}", answer.message());
    }
    let open = "{a".repeat(60_000);
    for query in
        [open.as_str(), &format!("{{ a(x: {}", "[".repeat(120_000)), &format!("query($x: {}", "[".repeat(1_000))]
    {
        assert_eq!(post(app(), GRAPHQL, &json!({ "query": query })).await.code(), "TOO_EXPENSIVE");
    }
}

#[tokio::test]
async fn the_example_queries_stay_under_the_limits_and_graphiql_gets_all_of_them() {
    let listed = get(app(), "/graphiql/examples.json", JSON).await.json();
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("examples/queries");
    let mut files: Vec<_> = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()).collect();
    files.sort();
    let texts: Vec<Value> =
        files.iter().map(|file| json!({ "query": std::fs::read_to_string(file).unwrap() })).collect();
    assert!(texts.len() >= 8);
    assert_eq!(listed, Value::Array(texts.clone()));
    for text in texts {
        let answer = post(app(), GRAPHQL, &text).await;
        assert!(!["TOO_EXPENSIVE", "INTERNAL"].contains(&answer.code().as_str()), "{}", answer.body);
        assert!(!answer.message().contains(" --> "), "it can be parsed: {}", answer.body);
    }
}

#[tokio::test]
async fn answers_say_what_they_cost_and_who_asked() {
    for query in ["{ __typename }", "{"] {
        let answer = post(app(), GRAPHQL, &json!({ "query": query })).await;
        assert_eq!(
            answer.json()["extensions"]["weir"]["upstreamCalls"],
            json!({ "ALIBABA_CAMS": 0, "VOLCENGINE_RTC": 0 })
        );
        assert_eq!(answer.header("x-request-id").len(), 24);
        assert_eq!(answer.header("cache-control"), "no-store");
    }
    let named = request(Method::GET, "/health/live", &[("x-request-id", "dashboard-7")], Body::empty());
    assert_eq!(ask(app(), named).await.header("x-request-id"), "dashboard-7");
}

#[tokio::test]
async fn the_access_log_tells_how_it_went_and_no_secrets() {
    let (log, guard) = Log::of_thread();
    let query = "query Week($p: String!) { __type(name: $p) { canary: name } }";
    let body = json!({ "query": query, "variables": { "p": "8613800138000" } }).to_string();
    let headers = [("content-type", JSON), ("authorization", "Bearer canary"), ("x-request-id", "8613800138000")];
    assert_eq!(ask(app(), request(Method::POST, "/graphql", &headers, body)).await.status, 200);
    get(app(), "/rows/8613800138000?canary=8613800138000", JSON).await;
    let uri = "/graphql?query=query+W8613800138000+%7B__typename%7D";
    get(app(), uri, JSON).await;
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, io::Error>>());
    let mut impatient = app().oneshot(request(Method::POST, "/graphql", &[("content-type", JSON)], endless));
    assert!(futures_util::poll!(&mut impatient).is_pending());
    drop(impatient);
    drop(guard);

    let text = log.text();
    for part in [
        "method=POST path=\"/graphql\" status=200 duration_ms=",
        "operation=\"Week\"",
        "status=404",
        "operation=\"W…\"",
        "caller went away",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    for secret in ["canary", "8613800138000", "__type"] {
        assert!(!text.contains(secret), "{secret}: {text}");
    }
}

#[tokio::test]
async fn people_are_led_to_graphiql() {
    let answer = get(app(), "/graphql?query=%7B__typename%7D", BROWSER).await;
    assert_eq!((answer.status.as_u16(), answer.header("location")), (303, "/graphiql?query=%7B__typename%7D"));
    assert_eq!(get(app(), "/", BROWSER).await.header("location"), "/graphiql");
    assert!(get(app(), "/nowhere", BROWSER).await.body.contains("/graphql"));

    let off =
        || Site::new(HttpConfig { graphiql: Graphiql::Off, ..HttpConfig::default() }, gateway(), Access::anyone());
    assert_eq!(get(off(), "/graphql?query=%7B__typename%7D", BROWSER).await.json()["data"]["__typename"], "Query");
    let front = get(off(), "/", BROWSER).await;
    assert!(front.status == 404 && front.body.contains("/schema.graphql"), "{}", front.body);
    for path in ["/graphiql", "/graphiql/examples.json", "/graphiql/cdn.js"] {
        assert_eq!(get(off(), path, BROWSER).await.status, 404, "{path}");
    }
}

#[tokio::test]
async fn graphiql_comes_with_the_build_or_says_how_to_get_it() {
    let built = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("web/dist/index.html").exists();
    let page = get(app(), "/graphiql", BROWSER).await;
    assert_eq!((page.status.as_u16(), page.body.contains("make web")), if built { (200, false) } else { (404, true) });
    let policy = page.header("content-security-policy");
    assert!(policy.contains("script-src 'self';") && policy.contains("frame-ancestors 'none'"), "{policy}");
    assert!(!page.body.contains("://"), "the page names no other host");
    assert_eq!(get(app(), "/graphiql/assets/../../Cargo.toml", "*/*").await.status, 404);
    assert_eq!(get(app(), "/graphiql/assets/..%2F..%2F..%2FCargo.toml", "*/*").await.status, 404);
}

#[tokio::test]
async fn the_cdn_page_pins_every_file_by_version_and_hash() {
    let cdn =
        || Site::new(HttpConfig { graphiql: Graphiql::Cdn, ..HttpConfig::default() }, gateway(), Access::anyone());
    let page = get(cdn(), "/graphiql", BROWSER).await;
    let tags: Vec<&str> = page.body.split('<').filter(|tag| tag.contains("://")).collect();
    assert_eq!(tags.len(), 4, "{tags:?}");
    for tag in tags {
        let pinned = tag.contains("integrity=\"sha384-") && tag.contains("crossorigin=\"anonymous\"");
        let address = tag.split("https://cdn.jsdelivr.net/npm/").nth(1).unwrap();
        let version = address.split(['@', '/']).nth(1).unwrap();
        assert!(pinned && version.split('.').count() == 3, "{tag}");
    }
    assert!(page.header("content-security-policy").contains("https://cdn.jsdelivr.net"));
    assert_eq!(get(cdn(), "/graphiql/cdn.js", "*/*").await.header("content-type"), "text/javascript; charset=utf-8");
}

#[tokio::test]
async fn the_schema_is_there_as_text() {
    let answer = get(app(), "/schema.graphql", "*/*").await;
    assert_eq!(answer.body, gateway().sdl());
    assert_eq!(answer.header("content-type"), "text/plain; charset=utf-8");
    assert_eq!(answer.header("x-content-type-options"), "nosniff");
    assert!(answer.header("content-security-policy").contains("frame-ancestors 'none'"));
}

#[tokio::test]
async fn long_answers_are_compressed() {
    for encoding in ["gzip", "br"] {
        let (log, _guard) = Log::of_thread();
        let uri = "/graphql?query=%7B__schema%7Btypes%7Bname+fields%7Bname+description%7D%7D%7D%7D";
        let headers = [("accept", JSON), ("accept-encoding", encoding)];
        let response: Response<_> = app().oneshot(request(Method::GET, uri, &headers, Body::empty())).await.unwrap();
        assert_eq!(response.headers()["content-encoding"], encoding);
        let length = to_bytes(response.into_body(), usize::MAX).await.unwrap().len();
        let whole = get(app(), uri, JSON).await.body.len();
        assert!(length < whole / 2, "{length}");
        let lines = log.text().lines().filter(|line| line.contains(&format!(" bytes={whole}"))).count();
        assert_eq!(lines, 2, "the log tells how long the answer is, compressed on its way or not: {}", log.text());
    }
}

#[tokio::test(start_paused = true)]
async fn a_body_that_never_ends_is_given_up() {
    let started = tokio::time::Instant::now();
    let endless = Body::from_stream(futures_util::stream::pending::<Result<Vec<u8>, std::io::Error>>());
    let answer = ask(app(), request(Method::POST, "/graphql", &[("content-type", JSON)], endless)).await;
    assert_eq!(answer.status, 408);
    assert_eq!(started.elapsed().as_secs(), HttpConfig::default().body_timeout.as_secs());
}
