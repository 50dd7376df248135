//! A running gateway, asked over HTTP. Beside the way to the vendors this alone sends: who answers holds the permits for
//! what it asks.

use std::error::Error;
use std::time::Duration;

use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, LINK};
use http::{HeaderMap, HeaderValue, StatusCode};
use serde::Deserialize;
use url::Url;

use super::Failure;
use crate::config::process_env;

/// How long a connection may take.
const CONNECT: Duration = Duration::from_secs(10);
/// How long nothing may come. A pull as a whole may take hours.
const SILENCE: Duration = Duration::from_mins(2);

/// A running gateway.
#[derive(Debug)]
pub(super) struct Remote {
    client: reqwest::Client,
    base: Url,
}

/// Rows as a gateway sends them.
#[derive(Debug)]
pub(super) struct Body {
    response: reqwest::Response,
    origin: String,
    /// The cursor of the next page.
    pub(super) next: Option<String>,
}

/// Why a gateway sent no rows (RFC 9457).
#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Problem {
    code: String,
    detail: String,
    vendor: Option<String>,
    retryable: bool,
    retry_after_ms: Option<u64>,
}

/// Reads the address of a gateway.
pub(super) fn parse_base(text: &str) -> Result<Url, &'static str> {
    let url = Url::parse(text).ok().filter(|url| ["http", "https"].contains(&url.scheme()) && url.has_host());
    url.ok_or("not the address of a gateway; write one like http://127.0.0.1:8080")
}

impl Remote {
    /// The gateway at `base`, asked with the key of `WEIR_API_KEY` where there is one.
    pub(super) fn new(base: Url) -> Result<Self, Failure> {
        let mut headers = HeaderMap::new();
        if let Some(key) = process_env("WEIR_API_KEY").filter(|key| !key.is_empty()) {
            let mut value = HeaderValue::from_str(&format!("Bearer {key}"))
                .map_err(|_| Failure::usage("WEIR_API_KEY holds what no header may hold"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = reqwest::Client::builder()
            .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
            .default_headers(headers)
            .http1_only()
            .connect_timeout(CONNECT)
            .read_timeout(SILENCE)
            .build()
            .map_err(|error| Failure::failed(format!("the HTTP client cannot be set up: {}", cause(&error))))?;
        Ok(Self { client, base })
    }

    /// The rows at `path`, as they come. A file that is still being made is waited for.
    pub(super) async fn rows(&self, path: &str, pairs: &[(String, String)]) -> Result<Body, Failure> {
        let mut url = self.at(path);
        if !pairs.is_empty() {
            url.query_pairs_mut().extend_pairs(pairs);
        }
        loop {
            let mut response = self.send(self.client.get(url.clone())).await?;
            let status = response.status();
            if status == StatusCode::OK {
                let next = response.headers().get(LINK).and_then(|link| link.to_str().ok()).and_then(cursor_of);
                return Ok(Body { response, origin: self.origin(), next });
            }
            let mut text = Vec::new();
            while let Ok(Some(piece)) = response.chunk().await {
                text.extend_from_slice(&piece);
            }
            let problem: Problem = serde_json::from_slice(&text).unwrap_or_default();
            match problem.comes_later(status) {
                Some(after) => tokio::time::sleep(after).await,
                None => return Err(problem.failure(status, &self.origin())),
            }
        }
    }

    /// The answer to a GraphQL request, as JSON text.
    pub(super) async fn graphql(&self, request: String) -> Result<String, Failure> {
        let json = HeaderValue::from_static("application/json");
        let asked =
            self.client.post(self.at("/graphql")).header(CONTENT_TYPE, &json).header(ACCEPT, &json).body(request);
        let response = self.send(asked).await?;
        let status = response.status();
        let text = response.text().await.map_err(|error| cut(&self.origin(), &error))?;
        // A refusal as a whole is an answer, too.
        let is_answer = text.starts_with('{') && (text.contains("\"data\"") || text.contains("\"errors\""));
        if is_answer { Ok(text) } else { Err(Problem::default().failure(status, &self.origin())) }
    }

    /// Whether it wants requests; a failure if not.
    pub(super) async fn ready(&self) -> Result<(), Failure> {
        let response = self.send(self.client.get(self.at("/health/ready"))).await?;
        match response.status() {
            StatusCode::OK => Ok(()),
            StatusCode::SERVICE_UNAVAILABLE => {
                Err(Failure::failed(format!("the gateway at {} wants no requests: it is stopping", self.origin())))
            }
            status => Err(Problem::default().failure(status, &self.origin())),
        }
    }

    async fn send(&self, request: reqwest::RequestBuilder) -> Result<reqwest::Response, Failure> {
        #[expect(clippy::disallowed_methods, reason = "who answers is a gateway: it holds the permits")]
        let sent = request.send().await;
        sent.map_err(|error| {
            let origin = self.origin();
            Failure::failed(format!("the gateway at {origin} does not answer: {}", cause(&error)))
        })
    }

    fn at(&self, path: &str) -> Url {
        let mut url = self.base.clone();
        url.set_path(&format!("{}{path}", self.base.path().trim_end_matches('/')));
        url
    }

    /// Its name in messages, without whatever stands before its host.
    fn origin(&self) -> String {
        self.base.origin().ascii_serialization()
    }
}

impl Body {
    /// The next piece; `None` at the end.
    ///
    /// # Errors
    /// A connection that ends before all has come.
    pub(super) async fn piece(&mut self) -> Result<Option<bytes::Bytes>, Failure> {
        self.response.chunk().await.map_err(|error| cut(&self.origin, &error))
    }
}

impl Problem {
    /// When to ask for the same again: no vendor refuses, it is only not ready yet.
    fn comes_later(&self, status: StatusCode) -> Option<Duration> {
        let is_later = status == StatusCode::SERVICE_UNAVAILABLE && self.retryable && self.vendor.is_none();
        is_later.then(|| Duration::from_millis(self.retry_after_ms.unwrap_or(1_000)))
    }

    fn failure(self, status: StatusCode, origin: &str) -> Failure {
        if self.code.is_empty() {
            return Failure::failed(format!("the gateway at {origin} answered {status}; is there a weir?"));
        }
        let line = format!("{}: {}", self.code, self.detail);
        let is_usage = [StatusCode::BAD_REQUEST, StatusCode::NOT_FOUND].contains(&status);
        if is_usage { Failure::usage(line) } else { Failure::failed(line) }
    }
}

fn cut(origin: &str, error: &reqwest::Error) -> Failure {
    Failure::failed(format!("the gateway at {origin} broke off before the end: {}", cause(error)))
}

/// The innermost reason: the outer ones repeat the address.
fn cause(error: &reqwest::Error) -> String {
    let mut inner: &dyn Error = error;
    while let Some(source) = inner.source() {
        inner = source;
    }
    inner.to_string()
}

/// The cursor in a header like `</rows/measurements.csv?cursor=abc>; rel="next"`.
fn cursor_of(link: &str) -> Option<String> {
    let (address, _) = link.strip_prefix('<')?.split_once('>')?;
    Some(address.split_once("cursor=")?.1.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn addresses_are_of_gateways() {
        for text in ["http://127.0.0.1:8080", "https://metrics.example.com/weir/"] {
            let remote =
                Remote { client: reqwest::Client::builder().build().unwrap(), base: parse_base(text).unwrap() };
            let url = remote.at("/rows/a.csv").to_string();
            assert_eq!(url, format!("{}/rows/a.csv", text.trim_end_matches('/')));
        }
        for text in ["", "127.0.0.1:8080", "localhost:8080", "ftp://example.com", "http://"] {
            assert!(parse_base(text).is_err(), "{text}");
        }
    }

    #[test]
    fn a_file_that_is_being_made_is_waited_for_and_a_vendor_s_refusal_is_not() {
        let problem = |vendor: Option<&str>| Problem {
            code: "QUOTA_WAIT_TOO_LONG".to_owned(),
            vendor: vendor.map(str::to_owned),
            retryable: true,
            retry_after_ms: Some(3_000),
            ..Problem::default()
        };
        let unavailable = StatusCode::SERVICE_UNAVAILABLE;
        assert_eq!(problem(None).comes_later(unavailable), Some(Duration::from_secs(3)));
        assert_eq!(problem(Some("VOLCENGINE_RTC")).comes_later(unavailable), None);
        assert_eq!(problem(None).comes_later(StatusCode::BAD_GATEWAY), None);
    }

    #[test]
    fn the_next_page_is_told_by_a_header() {
        assert_eq!(cursor_of("</rows/a.csv?cursor=ab-_c>; rel=\"next\"").as_deref(), Some("ab-_c"));
        assert_eq!(cursor_of("</rows/a.csv>"), None);
    }
}
