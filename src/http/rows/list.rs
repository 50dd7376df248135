//! What can be asked for: for programs as JSON, for people as a page that reads it.

use std::sync::Arc;

use axum::extract::State;
use axum::http::{HeaderMap, HeaderName, HeaderValue, header};
use axum::response::{Html, IntoResponse, Response};
use serde_json::{Value, json};

use super::tools::TOOLS;
use super::{Rows, collected};
use crate::domain::Facts;
use crate::domain::dataset::{Column, Dataset};
use crate::domain::duration::format_iso;
use crate::formats::Format;
use crate::http::admission::Asking;
use crate::http::negotiate::wanted;
use crate::query::pull::{MAX_LIMIT, is_made_of};

const PAGE: &str = include_str!("../pages/rows.html");
const SCRIPT: &str = include_str!("../pages/rows.js");
const STYLE: &str = include_str!("../pages/rows.css");

/// Scripts and styles of our own alone.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; img-src 'self' data:; \
    base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

/// What a proxy says of how it was asked.
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");

pub(super) async fn list(State(rows): State<Arc<Rows>>, Asking(caller): Asking, headers: HeaderMap) -> Response {
    let vary = (header::VARY, HeaderValue::from_static("accept"));
    if wanted(&headers).page {
        let headers = [
            (header::CONTENT_SECURITY_POLICY, HeaderValue::from_static(POLICY)),
            (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
            vary,
        ];
        return (headers, Html(PAGE)).into_response();
    }
    let text = |name| headers.get(name).and_then(|value: &HeaderValue| value.to_str().ok());
    let scheme = if text(X_FORWARDED_PROTO) == Some("https") { "https" } else { "http" };
    let base = format!("{scheme}://{}", text(header::HOST).unwrap_or("127.0.0.1:8080"));
    let sources = rows.service.sources();
    let datasets: Vec<Value> = Dataset::ALL.into_iter().map(|dataset| describe(dataset, &base, &sources)).collect();
    let body = json!({
        "datasets": datasets,
        "limits": { "rowsOfAPage": MAX_LIMIT, "upstreamCallsOfAPull": rows.service.pull_calls() },
        "collections": collected::collections(&rows.service, &caller),
        "archive": collected::archive(&rows.service, &caller),
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/json; charset=utf-8")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        vary,
    ];
    (headers, body.to_string()).into_response()
}

pub(super) async fn script() -> Response {
    ([(header::CONTENT_TYPE, "text/javascript; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], SCRIPT)
        .into_response()
}

pub(super) async fn style() -> Response {
    ([(header::CONTENT_TYPE, "text/css; charset=utf-8"), (header::CACHE_CONTROL, "no-cache")], STYLE).into_response()
}

fn describe(dataset: Dataset, base: &str, sources: &[(&'static Facts, std::time::Duration)]) -> Value {
    let url = |format: Format| format!("{base}/rows/{}.{}", dataset.as_str(), format.as_str());
    let urls = Format::ALL.into_iter().map(|format| (format.as_str().to_owned(), json!(url(format))));
    let tools = TOOLS.iter().map(|tool| json!({ "name": tool.name, "line": (tool.line)(&url(tool.format), dataset) }));
    let meanings = dataset.parameter_meanings().into_iter().map(|(name, means)| (name.to_owned(), json!(means)));
    let own = sources.iter().filter(|(facts, _)| is_made_of(dataset, facts));
    let source = |(facts, settle): &(&Facts, std::time::Duration)| {
        json!({
            "vendor": facts.vendor.as_str(),
            "operation": facts.operation,
            "callsPerSecond": facts.calls_per_second,
            "longestWindow": facts.max_window.map(format_iso),
            "lookback": facts.lookback.map(format_iso),
            "mayChangeFor": format_iso(*settle),
        })
    };
    json!({
        "name": dataset.as_str(),
        "description": dataset.description(),
        "key": dataset.key(),
        "columns": dataset.columns().iter().map(column).collect::<Vec<_>>(),
        "parameters": dataset.parameters(),
        "parameterMeanings": meanings.collect::<serde_json::Map<_, _>>(),
        "sources": own.map(source).collect::<Vec<_>>(),
        "urls": urls.collect::<serde_json::Map<_, _>>(),
        "tools": tools.collect::<Vec<_>>(),
    })
}

fn column(column: &Column) -> Value {
    json!({
        "name": column.name,
        "type": column.kind.as_str(),
        "nullable": column.is_nullable,
        "unit": column.unit,
        "additive": column.adds_up,
        "description": column.description,
    })
}
