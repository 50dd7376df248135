//! `/rows`: flat rows of a dataset for everything that reads a URL, complete or failed, never cut.
//!
//! Text is written as its windows arrive ([`text`]); Parquet, whose length has to be known first, into a file ([`spool`]).
//! What fails before the first byte has a status and a [`problem`]; what fails after it cuts the connection off. What is
//! there to be asked for is told by [`list`].

mod collected;
mod list;
pub(super) mod problem;
mod range;
mod spool;
mod text;
mod tools;

use std::sync::Arc;

use axum::body::HttpBody;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, RawQuery, State};
use axum::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Version, header};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::{Extension, Router};

use crate::domain::Caller;
use crate::domain::dataset::Dataset;
use crate::domain::wording::{echo, hint};
use crate::error::{Code, WeirError};
use crate::formats::Format;
use crate::http::access_log::RequestId;
use crate::http::admission::Asking;
use crate::http::observer::Notes;
use crate::query::Service;
use problem::problem;
use spool::Spool;

/// What the routes answer from.
struct Rows {
    service: Service,
    spool: Arc<Spool>,
}

/// `/rows` and all below it.
pub(super) fn routes(service: Service) -> Router {
    let rows = Arc::new(Rows { service, spool: Arc::default() });
    Router::new()
        .route("/rows", get(list::list))
        .route("/rows/page.js", get(list::script))
        .route("/rows/page.css", get(list::style))
        .route("/rows/{file}", get(rows_of).fallback(no_method))
        .route("/rows/", get(no_name))
        .with_state(rows)
}

/// Responses that are written as their rows arrive: whatever compresses them must not wait for more.
#[derive(Debug, Clone, Copy)]
pub(super) struct AsTheyArrive;

/// So many bytes of a response are held already when its head is sent.
#[derive(Debug, Clone, Copy)]
pub(super) struct HeldBack(pub(super) usize);

async fn rows_of(
    State(rows): State<Arc<Rows>>,
    Asking(caller): Asking,
    file: Result<Path<String>, PathRejection>,
    RawQuery(query): RawQuery,
    (method, version): (Method, Version),
    id: Option<Extension<RequestId>>,
    mut headers: HeaderMap,
) -> Response {
    // Parts are there for GET alone (RFC 9110, section 14.2).
    if method == Method::HEAD {
        headers.remove(header::RANGE);
    }
    let Ok(Path(file)) = file else { return no_name().await };
    let (has_chunks, is_head) = (version > Version::HTTP_10, method == Method::HEAD);
    let notes = id.as_ref().map(|Extension(id)| id.notes());
    let query = query.as_deref().unwrap_or_default();
    match rows.answer(caller, &file, query, (has_chunks, is_head), &headers, notes).await {
        Ok(response) => response,
        Err(error) => problem(&error),
    }
}

async fn no_name() -> Response {
    let error = WeirError::bad_input("the path names no dataset in UTF-8; GET /rows lists them");
    problem::with_status(StatusCode::NOT_FOUND, &error)
}

async fn no_method() -> Response {
    let error = WeirError::bad_input("rows are asked for with GET, or HEAD");
    let mut response = problem::with_status(StatusCode::METHOD_NOT_ALLOWED, &error);
    response.headers_mut().insert(header::ALLOW, HeaderValue::from_static("GET, HEAD"));
    response
}

impl Rows {
    async fn answer(
        &self,
        caller: Caller,
        file: &str,
        query: &str,
        (has_chunks, is_head): (bool, bool),
        headers: &HeaderMap,
        notes: Option<&Notes>,
    ) -> Result<Response, Arc<WeirError>> {
        let (dataset, format) = match named(file) {
            Ok(named) => named,
            Err(unknown) => return Ok(problem::with_status(StatusCode::NOT_FOUND, &unknown)),
        };
        if let Some(notes) = notes {
            notes.asks_for(dataset.as_str());
        }
        let pairs: Vec<(String, String)> = form_urlencoded::parse(query.as_bytes()).into_owned().collect();
        let path = format!("/rows/{file}");
        let again = is_head.then(|| (caller.clone(), pairs.clone()));
        let pull = Arc::new(self.service.pull(caller, dataset, &path, pairs)?);
        if let Some(notes) = notes {
            notes.costs(pull.cost());
        }
        format.check(&pull)?;
        let asked = Asked { path, dataset, format, has_chunks, is_head };
        let mut response = match format {
            Format::Csv | Format::Json | Format::Jsonl => text::answer(pull, &asked, headers).await?,
            Format::Parquet => self.spool.answer(pull, &asked, headers).await?,
        };
        let is_whole = response.status().is_success() && response.body().size_hint().exact().is_some();
        if let Some((caller, pairs)) = again.filter(|_| is_whole && format != Format::Parquet) {
            // What had to be fetched is held by now, and rows say where they come from: the length that is told is that of the
            // answer to whoever asks next, which is another one.
            let next = Arc::new(self.service.pull(caller, dataset, &asked.path, pairs)?);
            if next.plan().await.is_ok_and(|outlook| outlook.calls == 0) {
                response = text::answer(next, &asked, headers).await?;
            }
        }
        let is_problem = response.status().is_client_error() || response.status().is_server_error();
        let headers = response.headers_mut();
        if !is_problem {
            headers.insert(header::CONTENT_DISPOSITION, asked.disposition());
        }
        headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
        Ok(response)
    }
}

/// What was asked for.
struct Asked {
    path: String,
    dataset: Dataset,
    format: Format,
    /// Whether the caller tells an answer that was cut off from one that ended.
    has_chunks: bool,
    /// Whether the head of the answer is all that is wanted.
    is_head: bool,
}

impl Asked {
    /// Under which name a browser saves it.
    fn disposition(&self) -> HeaderValue {
        let way = if self.format == Format::Json { "inline" } else { "attachment" };
        let value = format!("{way}; filename=\"{}.{}\"", self.dataset.as_str(), self.format.as_str());
        HeaderValue::from_str(&value).unwrap_or(HeaderValue::from_static("attachment"))
    }

    /// The header that leads to the next page.
    fn link(&self, cursor: &str) -> Option<HeaderValue> {
        HeaderValue::from_str(&format!("<{}?cursor={cursor}>; rel=\"next\"", self.path)).ok()
    }
}

/// What a file's name asks for.
fn named(file: &str) -> Result<(Dataset, Format), WeirError> {
    let (name, ending) = file.rsplit_once('.').unwrap_or((file, ""));
    let Some(dataset) = Dataset::named(name) else {
        let known = Dataset::ALL.map(Dataset::as_str);
        let message = format!("there is no dataset `{}`{}; GET /rows lists them", echo(name), hint(name, &known));
        return Err(WeirError::new(Code::BadUserInput, message));
    };
    let Some(format) = Format::named(ending) else {
        let formats = Format::ALL.map(|format| format!(".{}", format.as_str())).join(", ");
        let message = format!("the name ends with the format: one of {formats}");
        return Err(WeirError::new(Code::BadUserInput, message));
    };
    Ok((dataset, format))
}

/// Whether the caller has this answer already.
fn is_known(headers: &HeaderMap, etag: &str) -> bool {
    let strong = |tag: &str| tag.strip_prefix("W/").unwrap_or(tag).to_owned();
    tags(headers, &header::IF_NONE_MATCH).any(|tag| tag == "*" || strong(tag) == strong(etag))
}

/// Whether the caller wants no other answer than one that it has a part of.
fn wants_another(headers: &HeaderMap, etag: &str) -> bool {
    headers.contains_key(header::IF_MATCH) && !tags(headers, &header::IF_MATCH).any(|tag| tag == "*" || tag == etag)
}

/// The tags that a header names.
fn tags<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).iter().filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).map(str::trim)
}

/// The answer to somebody who has it already.
fn not_modified(etag: &str) -> Response {
    let mut response = StatusCode::NOT_MODIFIED.into_response();
    tag(response.headers_mut(), etag);
    response
}

/// Names the answer, so that it can be asked for again only if it has changed.
fn tag(headers: &mut HeaderMap, etag: &str) {
    if let Ok(etag) = HeaderValue::from_str(etag) {
        headers.insert(header::ETAG, etag);
        headers.insert(header::CACHE_CONTROL, HeaderValue::from_static("private, no-cache"));
    }
}
