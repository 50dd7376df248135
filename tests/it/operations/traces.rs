//! Traces: what a collector is told of a request, and what neither it nor a vendor ever learns.

use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Request, Response};
use axum::routing::post;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::common::v1::any_value::Value as Any;
use opentelemetry_proto::tonic::trace::v1::Span;
use prost::Message;
use serde_json::json;
use tokio::net::TcpListener;
use tower::ServiceExt;
use weir::http::Site;

use crate::rows::door;
use crate::support::{DISTRIBUTION, METRIC, TestGateway};

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";
const PHONE: &str = "8613800138000";

/// A collector that keeps what it is sent.
#[derive(Clone, Default)]
pub(crate) struct Collector(Arc<Mutex<Vec<Bytes>>>);

impl Collector {
    pub(crate) async fn start() -> (Self, String) {
        let this = Self::default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let take = async |State(this): State<Self>, headers: HeaderMap, body: Bytes| {
            assert_eq!(headers["content-type"], "application/x-protobuf");
            this.0.lock().unwrap().push(body);
        };
        let routes = Router::new().route("/v1/traces", post(take)).with_state(this.clone());
        tokio::spawn(async move { axum::serve(listener, routes).await });
        (this, url)
    }

    /// Every span that came, as bytes and read.
    pub(crate) fn spans(&self) -> (Vec<u8>, Vec<Span>) {
        let all = self.0.lock().unwrap().clone();
        let read = |body: &Bytes| ExportTraceServiceRequest::decode(body.clone()).unwrap();
        let resources = all.iter().map(read).flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        (all.concat(), scopes.flat_map(|scope| scope.spans).collect())
    }
}

fn traced(url: &str) -> TestGateway {
    let url = url.to_owned();
    TestGateway::builder().config(|config| config.telemetry.otlp = url).build()
}

/// Has everything sent that is there.
async fn end(gateway: &TestGateway) {
    let traces = Arc::clone(gateway.gateway().service().traces().unwrap());
    tokio::task::spawn_blocking(move || traces.end()).await.unwrap();
}

async fn ask(site: &Site, query: &str, parent: Option<&str>) -> Response<Body> {
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    let request = parent.into_iter().fold(request, |request, parent| request.header("traceparent", parent));
    let body = Body::from(json!({ "query": query }).to_string());
    site.clone().oneshot(request.body(body).unwrap()).await.unwrap()
}

fn query() -> String {
    format!(
        r#"query OfTheCaller {{
            phoneNumberMetrics(custSpaceId: "cams-alpha", phoneNumbers: ["{PHONE}"], range: {{last: "P1D"}}) {{ totalCount }}
            operationDistribution(appId: "app-one", range: {{between: {{start: "2026-11-20T00:00:00Z", end: "2026-11-20T01:00:00Z"}}}}) {{ start }}
        }}"#
    )
}

fn fact(span: &Span, name: &str) -> Option<String> {
    let fact = span.attributes.iter().find(|fact| fact.key == name)?;
    match fact.value.as_ref()?.value.as_ref()? {
        Any::StringValue(text) => Some(text.clone()),
        other => panic!("{other:?}"),
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_request_is_told_to_the_collector_step_by_step() {
    let (collector, url) = Collector::start().await;
    let gateway = traced(&url);
    let site = door(&gateway);
    let response = ask(&site, &query(), Some(PARENT)).await;
    let told = response.headers()["traceresponse"].to_str().unwrap().to_owned();
    assert!(told.starts_with("00-0af7651916cd43dd8448eb211c80319c-") && told.ends_with("-01"), "{told}");
    end(&gateway).await;

    let (bytes, spans) = collector.spans();
    let named = |name: &str| spans.iter().filter(|span| span.name == name).collect::<Vec<_>>();
    let [request] = named("request")[..] else { panic!("{spans:?}") };
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!(hex(&request.span_id), told[36..52]);
    for (name, value) in [("door", "graphql"), ("operation", "several"), ("outcome", "ok")] {
        assert_eq!(fact(request, name).as_deref(), Some(value));
    }
    for (name, n) in [("field", 2), ("permit wait", 2), ("vendor call", 2)] {
        let own = named(name);
        assert_eq!(own.len(), n, "{name}: {spans:?}");
        let mut operations: Vec<_> = own.iter().filter_map(|span| fact(span, "operation")).collect();
        operations.sort();
        assert_eq!(operations, [METRIC, DISTRIBUTION], "{name}");
        for span in own {
            assert_eq!(span.parent_span_id, request.span_id, "{name}");
            let within = request.start_time_unix_nano <= span.start_time_unix_nano
                && span.start_time_unix_nano <= span.end_time_unix_nano
                && span.end_time_unix_nano <= request.end_time_unix_nano;
            assert!(within, "{name}: {span:?} in {request:?}");
        }
    }
    assert!(named("vendor call").iter().all(|span| fact(span, "outcome").as_deref() == Some("ok")));
    assert!(spans.iter().all(|span| hex(&span.trace_id) == "0af7651916cd43dd8448eb211c80319c"));
    assert_eq!(spans.len(), 7);

    let text = String::from_utf8_lossy(&bytes);
    assert!(text.contains("weir") && text.contains(METRIC), "the text that is looked through is there");
    for word in [PHONE, "OfTheCaller", "totalCount", "cams-alpha", "app-one", "weir-demo-secret", "weir-demo"] {
        assert!(!text.contains(word), "{word}");
    }
    // Vendors are strangers: they learn no id.
    let requests = gateway.requests();
    assert_eq!(requests.len(), 2);
    for sent in requests {
        let sent = format!("{sent:?}").to_lowercase();
        assert!(!sent.contains("traceparent") && !sent.contains("0af7651916cd43dd"), "{sent}");
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn only_ids_are_taken_of_what_a_caller_says() {
    let (collector, url) = Collector::start().await;
    let gateway = traced(&url);
    let site = door(&gateway);
    for parent in [
        "canary-of-a-caller",
        "00-00000000000000000000000000000000-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-0000000000000000-01",
        "00-0AF7651916CD43DD8448EB211C80319C-b7ad6b7169203331-01",
        "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01-canary",
    ] {
        let told = ask(&site, "{ quotas { operation } }", Some(parent)).await.headers()["traceresponse"].clone();
        let told = told.to_str().unwrap();
        assert!(told.len() == 55 && !told.contains("0af7651916cd43dd8448eb211c80319c"), "{parent}: {told}");
    }
    // Whoever does not want to be followed is not.
    let quiet = "00-1111111111111111111111111111aaaa-b7ad6b7169203331-00";
    let told = ask(&site, &query(), Some(quiet)).await.headers()["traceresponse"].clone();
    assert!(told.to_str().unwrap().ends_with("-00"), "{told:?}");
    // What fails says how, and rows are followed as well.
    ask(&site, "{ noSuchField }", None).await;
    let rows = Request::get("/rows/operation_distributions.csv?app_id=app-one&last=P1D").header("host", "localhost");
    let response = site.clone().oneshot(rows.body(Body::empty()).unwrap()).await.unwrap();
    drop(axum::body::to_bytes(response.into_body(), usize::MAX).await.unwrap());
    end(&gateway).await;
    let (bytes, spans) = collector.spans();
    assert!(!String::from_utf8_lossy(&bytes).contains("canary"));
    assert!(spans.iter().all(|span| hex(&span.trace_id) != "1111111111111111111111111111aaaa"), "{spans:?}");
    let outcomes = |wanted: &str| spans.iter().filter(|span| fact(span, "outcome").as_deref() == Some(wanted)).count();
    assert_eq!(outcomes("BAD_USER_INPUT"), 1);
    let of_rows = spans.iter().find(|span| fact(span, "door").as_deref() == Some("rows")).unwrap();
    assert!(spans.iter().any(|span| span.parent_span_id == of_rows.span_id && span.name == "field"), "{spans:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn without_a_collector_nothing_is_followed_and_one_that_is_away_harms_nobody() {
    let gateway = TestGateway::start();
    let response = ask(&door(&gateway), "{ quotas { operation } }", Some(PARENT)).await;
    assert!(!response.headers().contains_key("traceresponse"));
    assert!(gateway.gateway().service().traces().is_none());
    let gateway = traced("http://127.0.0.1:9");
    let response = ask(&door(&gateway), &query(), None).await;
    assert_eq!(response.status(), 200);
    end(&gateway).await;
}
