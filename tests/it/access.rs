//! Who is let in, and what they see: at every door, by keys and by tokens.

mod canaries;
mod doors;
mod keys;
mod reload;
mod tenants;
mod tokens;
mod written;

use std::sync::Arc;

use axum::body::Body;
use axum::http::{HeaderMap, Request};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tower::ServiceExt;
use weir::access::keys::hash_of;
use weir::config::ApiKey;
use weir::http::{HttpConfig, Site};

use crate::support::TestGateway;
use crate::support::process::in_time;
use crate::support::server::read_all;

/// A key of the config, for whoever shows `key`.
pub(crate) fn api_key(name: &str, key: &str) -> ApiKey {
    let text = format!("name = {name:?}\nhash = {:?}", hash_of(key));
    toml::from_str(&text).unwrap()
}

/// The door of a gateway, with those whom its config lets in.
pub(crate) fn door(gateway: &TestGateway) -> Site {
    Site::new(HttpConfig::default(), gateway.gateway(), Arc::clone(gateway.app().access()))
}

/// What came of a request.
#[derive(Debug)]
struct Got {
    status: u16,
    headers: HeaderMap,
    body: Vec<u8>,
}

impl Got {
    fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    fn json(&self) -> Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|error| panic!("{error}: {}", self.text()))
    }

    fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(|value| value.to_str().unwrap())
    }

    /// The codes of its errors, whichever door told them.
    fn codes(&self) -> Vec<String> {
        let json = self.json();
        let code = |error: &Value| error["extensions"]["code"].as_str().unwrap_or("none").to_owned();
        match json["code"].as_str() {
            Some(code) => vec![code.to_owned()],
            None => json["errors"].as_array().into_iter().flatten().map(code).collect(),
        }
    }
}

async fn send(site: &Site, request: Request<Body>) -> Got {
    let (parts, body) = site.clone().oneshot(request).await.unwrap().into_parts();
    let body = body.collect().await.map(|body| body.to_bytes().to_vec()).unwrap_or_default();
    Got { status: parts.status.as_u16(), headers: parts.headers, body }
}

/// Asks a path with a key.
async fn get(site: &Site, key: &str, path: &str) -> Got {
    let request = Request::get(path).header("host", "localhost").header("authorization", format!("Bearer {key}"));
    send(site, request.body(Body::empty()).unwrap()).await
}

/// Asks GraphQL with a key.
async fn ask(site: &Site, key: &str, query: &str) -> Got {
    ask_with(site, key, query, &json!({})).await
}

/// The same, with controls.
async fn ask_with(site: &Site, key: &str, query: &str, controls: &Value) -> Got {
    let request = Request::post("/graphql")
        .header("host", "localhost")
        .header("content-type", "application/json")
        .header("authorization", format!("Bearer {key}"));
    let body = json!({ "query": query, "extensions": { "weir": controls } });
    send(site, request.body(Body::from(body.to_string())).unwrap()).await
}

/// The lines of a key in a config.
fn key_lines(name: &str, key: &str, more: &str) -> String {
    format!("[[api_keys]]\nname = {name:?}\nhash = {:?}\n{more}", hash_of(key))
}

/// Asks a weir that is a process of its own.
struct Client(String);

impl Client {
    fn new(address: &str) -> Self {
        Self(address.to_owned())
    }

    /// The status and the answer.
    async fn ask(&self, key: &str, query: &str) -> (u16, Value) {
        let body = json!({ "query": query }).to_string();
        let request = format!(
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\naccept: \
             application/graphql-response+json\r\nauthorization: Bearer {key}\r\ncontent-length: {}\r\nconnection: \
             close\r\n\r\n{body}",
            body.len()
        );
        let mut stream = in_time(TcpStream::connect(&self.0)).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let answer = in_time(read_all(&mut stream)).await;
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        (head.split(' ').nth(1).unwrap().parse().unwrap(), serde_json::from_str(body).unwrap())
    }
}
