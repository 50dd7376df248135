//! `GraphiQL` at `/graphiql`: from the binary, from a CDN with pinned hashes, or not at all.
//!
//! The embedded build comes from `web/`; a build without it compiles too, and its page says how to get it. No page
//! asks any host but this one, save the CDN page, which asks the CDN.

use axum::Router;
use axum::extract::{Path, State};
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use serde_json::json;

use super::admission::Asking;
use crate::config::Graphiql;
use crate::domain::Caller;
use crate::query::Service;

/// What `npm run build` in `web/` made.
#[derive(RustEmbed)]
#[folder = "web/dist"]
#[allow_missing = true]
struct Built;

#[derive(RustEmbed)]
#[folder = "examples/queries"]
struct Examples;

const CDN_PAGE: &str = include_str!("pages/cdn.html");
const CDN_SCRIPT: &str = include_str!("pages/cdn.js");
const MISSING_PAGE: &str = include_str!("pages/missing.html");

/// Scripts, workers and styles of our own alone. The editor writes style elements and keeps icons and fonts inside
/// its style sheets.
const POLICY: &str = "default-src 'none'; script-src 'self'; worker-src 'self'; connect-src 'self'; \
    style-src 'self' 'unsafe-inline'; font-src 'self' data:; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const CDN_POLICY: &str = "default-src 'none'; script-src 'self' https://cdn.jsdelivr.net; connect-src 'self'; \
    style-src 'unsafe-inline' https://cdn.jsdelivr.net; font-src data:; img-src data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// Whether this build has the files that an embedded `GraphiQL` is made of.
#[must_use]
pub fn is_built() -> bool {
    Built::get("index.html").is_some()
}

/// `/graphiql` and what its page asks for.
pub(super) fn routes(mode: Graphiql, service: Service) -> Router {
    let page = match mode {
        Graphiql::Off => return Router::new(),
        Graphiql::Embedded => get(embedded_page),
        Graphiql::Cdn => get(async || page(CDN_PAGE.as_bytes().into(), CDN_POLICY)),
    };
    let script = get(async || ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8")], CDN_SCRIPT));
    Router::new()
        .route("/graphiql", page.clone())
        .route("/graphiql/", page)
        .route("/graphiql/assets/{*path}", get(asset))
        .route("/graphiql/cdn.js", script)
        .route("/graphiql/examples.json", get(examples))
        .with_state(service)
}

async fn embedded_page() -> Response {
    match Built::get("index.html") {
        Some(index) => page(index.data, POLICY),
        None => (StatusCode::NOT_FOUND, page(MISSING_PAGE.as_bytes().into(), POLICY)).into_response(),
    }
}

fn page(html: std::borrow::Cow<'static, [u8]>, policy: &'static str) -> Response {
    let headers = [(header::CONTENT_SECURITY_POLICY, policy), (header::CACHE_CONTROL, "no-cache")];
    (headers, Html(html)).into_response()
}

/// A file of the build. Its name holds a hash of its content, so a browser may keep it for ever.
async fn asset(Path(path): Path<String>) -> Response {
    let Some(file) = Built::get(&format!("assets/{path}")) else {
        return (StatusCode::NOT_FOUND, "no such file\n").into_response();
    };
    let kind = HeaderValue::from_str(file.metadata.mimetype());
    let headers = [
        (header::CONTENT_TYPE, kind.unwrap_or(HeaderValue::from_static("application/octet-stream"))),
        (header::CACHE_CONTROL, HeaderValue::from_static("public, max-age=31536000, immutable")),
        // Or a cache gives to all what was asked for once by somebody who cannot decompress.
        (header::VARY, HeaderValue::from_static("accept-encoding")),
    ];
    (headers, file.data).into_response()
}

/// The queries of `examples/queries` as tabs, in the order of their file names, for what is configured here.
async fn examples(State(service): State<Service>, Asking(caller): Asking) -> Response {
    let mut names: Vec<_> = Examples::iter().filter(|name| name.ends_with(".graphql")).collect();
    names.sort();
    let query = |name: &str| Some(String::from_utf8_lossy(&Examples::get(name)?.data).into_owned());
    let own = own_names(&service, &caller);
    let tabs = names.iter().filter_map(|name| query(name)).map(|query| json!({ "query": renamed(&query, &own) }));
    let tabs: serde_json::Value = tabs.collect();
    ([(header::CONTENT_TYPE, "application/json")], tabs.to_string()).into_response()
}

/// The demo's names, as the queries have them, and what is configured instead: the first for the first, and the last for all
/// that there are not so many of. What is not configured at all keeps the demo's name.
fn own_names(service: &Service, caller: &Caller) -> Vec<(&'static str, String)> {
    const CHANNELS: [&str; 3] = ["cams-alpha", "cams-beta", "cams-gamma"];
    const APPS: [&str; 2] = ["app-one", "app-two"];
    const TEMPLATE: &str = "welcome";
    let catalog = service.catalog();
    let channels: Vec<String> =
        catalog.channels(caller).filter_map(|channel| channel.id.as_ref()).map(ToString::to_string).collect();
    let apps: Vec<String> = catalog.apps(caller).map(|app| app.id.to_string()).collect();
    let template = catalog.channels(caller).find_map(|channel| channel.templates.first().cloned());
    let nth = |own: &[String], at: usize| own.get(at).or(own.last()).cloned();
    let channels = CHANNELS.into_iter().enumerate().filter_map(|(at, name)| Some((name, nth(&channels, at)?)));
    let apps = APPS.into_iter().enumerate().filter_map(|(at, name)| Some((name, nth(&apps, at)?)));
    channels.chain(apps).chain(template.map(|code| (TEMPLATE, code))).collect()
}

/// Puts names that are configured for those of the demo. All at once: what one of them is called may be another's name.
fn renamed(query: &str, own: &[(&str, String)]) -> String {
    let mut texts = query.split('"');
    let mut renamed = texts.next().unwrap_or_default().to_owned();
    for text in texts {
        let own = own.iter().find(|(name, _)| *name == text);
        // A string of GraphQL is written as one of JSON.
        let own = own.map(|(_, own)| json!(own).to_string());
        let own = own.as_deref().and_then(|own| own.get(1..own.len() - 1));
        renamed.push('"');
        renamed.push_str(own.unwrap_or(text));
    }
    renamed
}
