//! No key and no token leaves weir: not in a log, a metric, an error, a debug print, an answer or what explains a config.

use axum::body::Body;
use axum::http::Request;
use serde_json::json;
use weir::access::keys::{generate, hash_of};
use weir::cli::check::explain;

use super::{api_key, ask, door, get, send};
use crate::support::TestGateway;
use crate::support::log::Log;

#[tokio::test(start_paused = true)]
async fn keys_are_told_to_nobody() {
    let (log, _guard) = Log::of_thread();
    let (own, stranger) = (generate(), generate());
    let token = "eyJhbGciOiJSUzI1NiIsImtpZCI6ImNhbmFyeSJ9.eyJzdWIiOiJjYW5hcnkifQ.canarysignature";
    let shown = own.clone();
    let gateway = TestGateway::builder().config(move |config| config.api_keys = vec![api_key("own", &shown)]).build();
    let site = door(&gateway);
    let mut told = Vec::new();
    for key in [own.as_str(), &stranger, token] {
        for path in [
            "/graphql?query={channels{account}}",
            "/rows/phone_number_metrics.csv?last=P1D",
            "/rows",
            "/metrics",
            "/nowhere",
            "/rows/phone_number_metrics.csv?last=nonsense",
            "/rows/nothing.csv",
        ] {
            told.push(format!("{:?}", get(&site, key, path).await.headers));
            told.push(get(&site, key, path).await.text());
            for (name, value) in [
                ("x-api-key", key.to_owned()),
                ("authorization", format!("Basic {}", basic(key))),
                ("authorization", format!("Digest {key}")),
                ("authorization", key.to_owned()),
            ] {
                let request = Request::get(path).header("host", "localhost").header(name, value);
                let got = send(&site, request.body(Body::empty()).unwrap()).await;
                told.push(format!("{:?} {}", got.headers, got.text()));
            }
        }
        told.push(ask(&site, key, "{ nothing }").await.text());
        // Where nobody should write it, it is not looked at, and not logged either.
        for path in [format!("/graphql?query={{x}}&api_key={key}"), format!("/rows/phone_number_metrics.csv?key={key}")]
        {
            let request = Request::get(path).header("host", "localhost").body(Body::empty()).unwrap();
            let got = send(&site, request).await;
            assert_eq!(got.status, 401);
            told.push(got.text());
        }
    }
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    let body = json!({ "query": "{ channels { account } }", "variables": { "key": own } }).to_string();
    told.push(send(&site, request.header("x-api-key", &stranger).body(Body::from(body)).unwrap()).await.text());
    told.push(format!("{:?} {:?} {:?}", gateway.config(), gateway.app(), gateway.app().access()));
    told.push(explain(gateway.config(), "weir.toml"));
    told.push(log.text());
    let (hash, bearer) = (hash_of(&own), basic(&own));
    for text in &told {
        for canary in [own.as_str(), &stranger, token, "canarysignature", &bearer, &hash["sha256:".len()..]] {
            assert!(!text.contains(canary), "a key is told: {}", &text[..text.len().min(400)]);
        }
    }
    assert!(log.text().contains("request answered"), "something was logged");
}

pub(super) fn basic(key: &str) -> String {
    use base64::Engine as _;
    base64::engine::general_purpose::STANDARD.encode(format!("anybody:{key}"))
}
