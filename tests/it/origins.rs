//! Being on loopback protects weir from other machines; this protects it from the browsers on its own. A name that was made
//! to mean 127.0.0.1 and a page of another site read nothing and make no call.

use std::path::Path;

use axum::Router;
use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, Method, Request, StatusCode};
use axum::response::Html;
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::process::Command;
use tower::ServiceExt;
use weir::access::Access;
use weir::config::Graphiql;
use weir::http::{HttpConfig, Site, Timeouts};

use crate::access::{api_key, door};
use crate::support::process::in_time;
use crate::support::require;
use crate::support::server::Server;
use crate::support::{DISTRIBUTION, TestGateway};

/// A query that needs a call.
const QUERY: &str = "{operationDistribution(appId:\"app-one\",range:{last:\"P7D\"}){data{value}}}";
const BROWSER: &str = "text/html,application/xhtml+xml,application/xml;q=0.9,image/avif,*/*;q=0.8";

fn by_get() -> String {
    let query: String = form_urlencoded::Serializer::new(String::new()).append_pair("query", QUERY).finish();
    format!("/graphql?{query}")
}

struct Answer {
    status: StatusCode,
    headers: HeaderMap,
    body: String,
}

impl Answer {
    fn header(&self, name: &str) -> &str {
        self.headers.get(name).map(|value| value.to_str().unwrap()).unwrap_or_default()
    }

    fn error(&self) -> (String, String) {
        let body: Value = serde_json::from_str(&self.body).unwrap();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        (text(&body["errors"][0]["extensions"]["code"]), text(&body["errors"][0]["message"]))
    }
}

/// Asks a new site before `gateway`.
async fn ask(
    gateway: &TestGateway,
    config: HttpConfig,
    (method, path): (Method, &str),
    headers: &[(&str, &str)],
) -> Answer {
    let request = Request::builder().method(method).uri(path);
    let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
    let site = Site::new(config, gateway.gateway(), Access::anyone());
    let (parts, body) = site.oneshot(request.body(Body::empty()).unwrap()).await.unwrap().into_parts();
    let body = String::from_utf8(to_bytes(body, usize::MAX).await.unwrap().to_vec()).unwrap();
    Answer { status: parts.status, headers: parts.headers, body }
}

#[tokio::test(start_paused = true)]
async fn a_rebound_name_reads_nothing_and_makes_no_call() {
    let gateway = TestGateway::start();
    let query = by_get();
    // What a browser sends for a page of the rebound name: all of it is the page's own.
    let rebound =
        [("host", "evil.example:8080"), ("origin", "http://evil.example:8080"), ("sec-fetch-site", "same-origin")];
    for path in [query.as_str(), "/metrics", "/schema.graphql", "/graphiql", "/health/live", "/a/door/of/tomorrow"] {
        let answer = ask(&gateway, HttpConfig::default(), (Method::GET, path), &rebound).await;
        assert_eq!(answer.status, 421, "{path}");
        let (code, message) = answer.error();
        assert_eq!(code, "BAD_USER_INPUT");
        assert!(message.contains("`http.hosts`"), "{message}");
        assert!(answer.headers.contains_key("x-request-id"));
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);

    let named = HttpConfig { hosts: vec!["evil.example".to_owned()], ..HttpConfig::default() };
    let answer = ask(&gateway, named, (Method::GET, &query), &rebound).await;
    assert_eq!((answer.status.as_u16(), gateway.calls(DISTRIBUTION)), (200, 1), "{}", answer.body);
}

/// Whoever asks for rows is refused in the form of rows, and with the same code and status.
#[tokio::test(start_paused = true)]
async fn rows_are_refused_in_their_own_form() {
    let gateway = TestGateway::start();
    let foreign: &[(&str, &str)] = &[("host", "localhost"), ("origin", "https://evil.example")];
    for path in ["/rows", "/rows/operation_distributions.csv", "/rows/operation_distributions.parquet?last=P1D"] {
        for (headers, status, code) in [
            (&[("host", "evil.example")][..], 421, "BAD_USER_INPUT"),
            (foreign, 403, "FORBIDDEN"),
            (&[("host", "localhost"), ("sec-fetch-site", "cross-site")], 403, "FORBIDDEN"),
            (&[("host", "localhost"), ("host", "localhost")], 400, "BAD_USER_INPUT"),
        ] {
            let answer = ask(&gateway, HttpConfig::default(), (Method::GET, path), headers).await;
            assert_eq!((answer.status.as_u16(), answer.header("content-type")), (status, "application/problem+json"));
            let problem: Value = serde_json::from_str(&answer.body).unwrap();
            assert_eq!((&problem["status"], &problem["code"]), (&json!(status), &json!(code)), "{path} {problem}");
            assert!(problem["detail"].as_str().unwrap().len() > 20 && problem["errors"].is_null(), "{problem}");
        }
    }
    let elsewhere = ask(&gateway, HttpConfig::default(), (Method::GET, "/rowsandmore"), foreign).await;
    assert_eq!(elsewhere.error().0, "FORBIDDEN");
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

#[tokio::test]
async fn every_spelling_of_loopback_is_let_in_without_any_other_header() {
    let gateway = TestGateway::start();
    for host in [
        "localhost",
        "LocalHost:8080",
        "app.localhost:1",
        "127.0.0.1:8080",
        "127.1.2.3",
        "[::1]:8080",
        "[::ffff:127.0.0.1]",
    ] {
        let answer = ask(&gateway, HttpConfig::default(), (Method::GET, &by_get()), &[("host", host)]).await;
        assert_eq!(answer.status, 200, "{host}: {}", answer.body);
    }
}

#[tokio::test]
async fn a_connection_names_one_host_in_each_request() {
    let server = Server::start(HttpConfig::default(), Timeouts::default()).await;
    for (head, status) in [
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET /metrics HTTP/1.0\r\n", 200),
        ("GET http://localhost/metrics HTTP/1.1\r\nhost: localhost\r\n", 200),
        ("GET /metrics HTTP/1.1\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\nhost: localhost\r\n", 400),
        ("GET /metrics HTTP/1.1\r\nhost: localhost\r\nHost: evil.example\r\n", 400),
        ("GET http://evil.example/metrics HTTP/1.1\r\nhost: localhost\r\n", 400),
        ("GET http://localhost/metrics HTTP/1.1\r\nhost: evil.example\r\n", 400),
        ("GET http://evil.example/metrics HTTP/1.1\r\nhost: evil.example\r\n", 421),
        ("GET http://evil.example/metrics HTTP/1.0\r\n", 421),
        ("GET /metrics HTTP/1.0\r\nhost: evil.example\r\n", 421),
    ] {
        let reply = server.raw(format!("{head}connection: close\r\n\r\n")).await;
        assert_eq!(reply.split(' ').nth(1), Some(status.to_string().as_str()), "{head}{reply}");
        assert_eq!(reply.contains("weir_quota_limit"), status == 200, "{head}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_page_of_another_site_reads_nothing_and_makes_no_call() {
    let gateway = TestGateway::start();
    let query = by_get();
    for headers in [
        [("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "no-cors")],
        [("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")],
        [("sec-fetch-site", "cross-site"), ("origin", "https://evil.example")],
        [("sec-fetch-site", "same-site"), ("origin", "http://localhost:5173")],
        [("accept", "*/*"), ("origin", "https://evil.example")],
        [("accept", "*/*"), ("origin", "null")],
    ] {
        for (method, path) in [
            (Method::GET, query.as_str()),
            (Method::POST, "/graphql"),
            (Method::OPTIONS, "/graphql"),
            (Method::GET, "/metrics"),
            (Method::GET, "/schema.graphql"),
            (Method::GET, "/a/door/of/tomorrow"),
        ] {
            let headers = [headers.as_slice(), &[("host", "localhost:8080")]].concat();
            let answer = ask(&gateway, HttpConfig::default(), (method.clone(), path), &headers).await;
            assert_eq!(answer.status, 403, "{method} {path} {headers:?}");
            let (code, message) = answer.error();
            assert_eq!(code, "FORBIDDEN");
            assert!(message.contains("`http.cors_origins`"), "{message}");
            assert_eq!(answer.header("access-control-allow-origin"), "", "{headers:?}");
        }
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

#[tokio::test(start_paused = true)]
async fn an_origin_of_the_config_may_ask_and_read() {
    const ORIGIN: &str = "http://localhost:5173";
    let gateway = TestGateway::start();
    let config = || HttpConfig { cors_origins: vec![ORIGIN.to_owned()], ..HttpConfig::default() };
    let sent = [("host", "localhost:8080"), ("origin", ORIGIN), ("sec-fetch-site", "same-site")];
    let answer = ask(&gateway, config(), (Method::GET, &by_get()), &sent).await;
    assert_eq!((answer.status.as_u16(), gateway.calls(DISTRIBUTION)), (200, 1), "{}", answer.body);
    assert_eq!(answer.header("access-control-allow-origin"), ORIGIN);

    let asks = [("access-control-request-method", "POST"), ("access-control-request-headers", "content-type")];
    let preflight = ask(&gateway, config(), (Method::OPTIONS, "/graphql"), &[&sent[..], &asks].concat()).await;
    assert_eq!((preflight.status.as_u16(), preflight.header("access-control-allow-origin")), (200, ORIGIN));
    assert!(preflight.header("access-control-allow-headers").contains("content-type"));

    let other = [("host", "localhost:8080"), ("origin", "http://localhost:5174"), ("sec-fetch-site", "same-site")];
    assert_eq!(ask(&gateway, config(), (Method::OPTIONS, "/graphql"), &[&other[..], &asks].concat()).await.status, 403);
    // Nobody reads a picture's bytes, but asking for it would make the call.
    let picture = [("host", "localhost:8080"), ("sec-fetch-site", "same-site"), ("sec-fetch-mode", "no-cors")];
    assert_eq!(ask(&gateway, config(), (Method::GET, &by_get()), &picture).await.status, 403);
}

#[tokio::test(start_paused = true)]
async fn a_link_leads_to_graphiql_and_runs_nothing() {
    let gateway = TestGateway::start();
    let query = by_get();
    let followed = |accept| {
        [("host", "localhost"), ("sec-fetch-site", "cross-site"), ("sec-fetch-mode", "navigate"), ("accept", accept)]
    };
    let config = |graphiql| HttpConfig { graphiql, ..HttpConfig::default() };
    for (mode, path, accept, status) in [
        (Graphiql::Cdn, "/", BROWSER, 303),
        (Graphiql::Cdn, "/graphiql", BROWSER, 200),
        (Graphiql::Cdn, query.as_str(), BROWSER, 303),
        (Graphiql::Cdn, query.as_str(), "*/*", 403),
        (Graphiql::Cdn, query.as_str(), "application/json,text/html", 403),
        (Graphiql::Cdn, "/metrics", BROWSER, 403),
        (Graphiql::Off, "/", BROWSER, 404),
        (Graphiql::Off, query.as_str(), BROWSER, 403),
    ] {
        let answer = ask(&gateway, config(mode), (Method::GET, path), &followed(accept)).await;
        assert_eq!(answer.status, status, "{mode:?} {path} {accept}");
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

/// What the pages of `tests/clients/origins.mjs` could read, by the way they tried.
async fn browse(server: &Server, page: &str, password: Option<&str>) -> Option<Value> {
    let node = require::program("node", "install Node 20 or newer")?;
    let chromium = require::program("chromium", "apt-get install chromium")?;
    require::file("tests/clients/node_modules/playwright-core", "run: npm ci --prefix tests/clients")?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/origins.mjs");
    let wish =
        json!({ "chromium": chromium, "page": page, "gateway": server.url(), "query": QUERY, "password": password });
    let output = Command::new(node).arg(script).arg(wish.to_string()).kill_on_drop(true).output();
    let output = in_time(output).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn a_browser_lets_no_other_page_read_or_spend_anything() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pages = Router::new().fallback(async || Html("<!doctype html><title>Another site</title>"));
    let other_site = tokio::spawn(axum::serve(listener, pages).into_future());
    let gateway = TestGateway::start();
    let server = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
    let here = server.address.port();
    for page in [
        // Another port is the same site, another name is not.
        format!("http://127.0.0.1:{port}/"),
        format!("http://localhost:{port}/"),
        // A sandbox has no origin.
        format!("http://127.0.0.1:{port}/#sandbox"),
        // Rebound: to the browser all of it is one origin.
        format!("http://rebound.example:{here}/"),
    ] {
        let Some(read) = browse(&server, &page, None).await else { return };
        let read = read.as_object().unwrap();
        assert_eq!(read.len(), 11, "all ways were tried from {page}: {read:?}");
        for (way, text) in read {
            let text = text.as_str().unwrap_or_default();
            let is_refusal = page.contains("rebound") && text.contains("`http.hosts`");
            assert!(text.is_empty() || is_refusal, "{way} from {page} read {text}");
        }
        assert_eq!(gateway.calls(DISTRIBUTION), 0, "{page}");
    }

    let page = format!("http://127.0.0.1:{port}");
    let config = HttpConfig { cors_origins: vec![page.clone()], ..HttpConfig::default() };
    let server = Server::before(gateway.gateway(), config, Timeouts::default()).await;
    let Some(read) = browse(&server, &page, None).await else { return };
    for way in ["fetch by GET", "fetch by POST"] {
        assert!(read[way].as_str().is_some_and(|text| text.contains(r#""value":"#)), "{way}: {read}");
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 1);
    other_site.abort();
}

/// A browser that remembers a password sends it with whatever a page of another site makes it ask: it helps that page nothing.
#[tokio::test]
async fn a_password_that_a_browser_remembers_is_of_no_use_to_other_pages() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let pages = Router::new().fallback(async || Html("<!doctype html><title>Another site</title>"));
    let other_site = tokio::spawn(axum::serve(listener, pages).into_future());
    let gateway = TestGateway::builder().config(|config| config.api_keys = vec![api_key("own", "weir_own")]).build();
    let server = Server::of(door(&gateway)).await;
    for page in [format!("http://127.0.0.1:{port}/"), format!("http://localhost:{port}/#sandbox")] {
        let Some(read) = browse(&server, &page, Some("weir_own")).await else { return };
        for (way, text) in read.as_object().unwrap() {
            assert!(text.is_null(), "{way} from {page} read {text}");
        }
        assert_eq!(gateway.calls(DISTRIBUTION), 0, "{page}");
    }
    // weir's own page asks with it.
    let page = format!("{}/rows", server.url());
    let Some(read) = browse(&server, &page, Some("weir_own")).await else { return };
    for way in ["fetch by GET", "fetch by POST"] {
        assert!(read[way].as_str().is_some_and(|text| text.contains("\"data\"")), "{way}: {read}");
    }
    other_site.abort();
}
