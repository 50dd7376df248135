//! `GraphiQL` at `/graphiql`: from the binary, from a CDN with pinned hashes, or not at all.
//!
//! The embedded build comes from `web/`; a build without it compiles too, and its page says how to get it. No page
//! asks any host but this one, save the CDN page, which asks the CDN.

use axum::Router;
use axum::extract::Path;
use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{Html, IntoResponse, Response};
use axum::routing::get;
use rust_embed::RustEmbed;
use serde_json::json;

use crate::config::Graphiql;

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
pub(super) fn routes(mode: Graphiql) -> Router {
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

/// The queries of `examples/queries` as tabs, in the order of their file names.
async fn examples() -> Response {
    let mut names: Vec<_> = Examples::iter().filter(|name| name.ends_with(".graphql")).collect();
    names.sort();
    let tab = |name| Some(json!({ "query": String::from_utf8_lossy(&Examples::get(name)?.data) }));
    let tabs: serde_json::Value = names.iter().filter_map(|name| tab(name)).collect();
    ([(header::CONTENT_TYPE, "application/json")], tabs.to_string()).into_response()
}
