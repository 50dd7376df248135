//! What stands in a request: its target with the parameters and cursors of `/rows` and `/graphql`, and its head: `Host`,
//! `Origin`, `Accept`, `Range`, `If-Match`, `Forwarded` and the rest. It is answered by all that answers one from a socket.
//! A request is written as HTTP/1.1 writes it, with bare ends of lines.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::body::Body;
use http::{HeaderMap, HeaderValue, Method, Request, StatusCode, Version, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tower::ServiceExt as _;
use weir::access::Access;
use weir::error::Code;
use weir::http::fuzzing::caller_behind;
use weir::http::{HttpConfig, Site};

use super::stage;

/// What came of a request.
struct Got {
    status: StatusCode,
    headers: HeaderMap,
    /// `None` where it was cut off.
    body: Option<Vec<u8>>,
}

impl Got {
    fn header(&self, name: header::HeaderName) -> &str {
        self.headers.get(name).and_then(|value| value.to_str().ok()).unwrap_or_default()
    }
}

/// Reads a request. Where it names no host, it is ours: else nothing behind the door would be reached.
fn read(data: &[u8]) -> Option<Request<Vec<u8>>> {
    let (head, body) = match data.windows(2).position(|pair| pair == b"\n\n") {
        Some(at) => (&data[..at], &data[at + 2..]),
        None => (data, &[][..]),
    };
    let mut lines = head.split(|byte| *byte == b'\n');
    let mut words = lines.next()?.split(|byte| *byte == b' ');
    let mut request = Request::builder().method(words.next()?).uri(words.next()?);
    if words.next() == Some(b"HTTP/1.0") {
        request = request.version(Version::HTTP_10);
    }
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        request = request.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    let mut request = request.body(body.to_vec()).ok()?;
    request.headers_mut().entry(header::HOST).or_insert(HeaderValue::from_static("localhost"));
    Some(request)
}

async fn ask(site: &Site, request: &Request<Vec<u8>>) -> Got {
    let (parts, body) = request.clone().into_parts();
    let response = site.clone().oneshot(Request::from_parts(parts, Body::from(body))).await;
    let (parts, body) = response.expect("a site answers").into_parts();
    let body = body.collect().await.ok().map(|whole| whole.to_bytes().to_vec());
    Got { status: parts.status, headers: parts.headers, body }
}

pub fn run(data: &[u8]) -> bool {
    let Some(request) = read(data) else { return false };
    proxies(request.headers());
    stage::run(async {
        let app = stage::stage().app;
        let site = Site::new(HttpConfig::default(), Arc::new(app.gateway().clone()), Access::anyone());
        let got = ask(&site, &request).await;
        sound(&request, &got);
        if got.status == StatusCode::PARTIAL_CONTENT {
            part(&site, &request, &got).await;
        }
        if got.status == StatusCode::OK && request.method() == Method::GET {
            next(&site, &got).await;
        }
        got.status.is_success()
    })
}

/// What holds for every answer.
fn sound(request: &Request<Vec<u8>>, got: &Got) {
    assert_ne!(got.status, StatusCode::INTERNAL_SERVER_ERROR, "{request:?}");
    let is_let_in = ![StatusCode::MISDIRECTED_REQUEST, StatusCode::BAD_REQUEST].contains(&got.status);
    for host in request.headers().get_all(header::HOST) {
        assert!(!is_let_in || is_own(host), "asked under {host:?} and answered {}", got.status);
    }
    let body = got.body.as_deref().unwrap_or_default();
    let is_json = got.header(header::CONTENT_TYPE).split(';').next().is_some_and(|kind| kind.ends_with("json"));
    if !is_json || body.is_empty() || got.headers.contains_key(header::CONTENT_ENCODING) {
        return;
    }
    let json: Value = serde_json::from_slice(body).expect("what says it is JSON is JSON");
    let errors = json["errors"].as_array().into_iter().flatten().map(|error| &error["extensions"]["code"]);
    for code in errors.chain(json.get("code")) {
        let known = Code::ALL.iter().any(|known| Some(known.as_str()) == code.as_str());
        assert!(known && code != Code::Internal.as_str(), "{json}");
    }
}

/// Whether browsers would take a name for the machine that they run on.
fn is_own(host: &HeaderValue) -> bool {
    let Ok(host) = host.to_str() else { return false };
    let name = host.trim_end_matches(|c: char| c.is_ascii_digit()).strip_suffix(':').unwrap_or(host);
    match url::Url::parse(&format!("http://{name}/")).as_ref().map(url::Url::host) {
        Ok(Some(url::Host::Domain(name))) => name.trim_end_matches('.').rsplit('.').next() == Some("localhost"),
        Ok(Some(url::Host::Ipv4(address))) => address.is_loopback(),
        Ok(Some(url::Host::Ipv6(address))) => address.to_canonical().is_loopback(),
        _ => false,
    }
}

/// A part of a file is that part of it.
async fn part(site: &Site, request: &Request<Vec<u8>>, got: &Got) {
    let range = got.header(header::CONTENT_RANGE).strip_prefix("bytes ").expect("a part says which");
    let (range, length) = range.split_once('/').expect("and of how much");
    let (first, last) = range.split_once('-').expect("from where to where");
    let [first, last, length] = [first, last, length].map(|number| number.parse::<usize>().expect("a number"));
    let asked = request.headers().get(header::RANGE).and_then(|asked| asked.to_str().ok()?.split_once('='));
    let (from, to) = asked.and_then(|(_, asked)| asked.split_once('-')).expect("a part was asked for");
    let expected = match (from.trim().parse(), to.trim().parse::<usize>()) {
        (Ok(from), Ok(to)) => (from, to.min(length - 1)),
        (Ok(from), Err(_)) => (from, length - 1),
        (Err(_), Ok(count)) => (length.saturating_sub(count), length - 1),
        (Err(_), Err(_)) => (first, last),
    };
    assert_eq!((first, last), expected, "another part than was asked for");
    let mut whole = request.clone();
    for name in [header::RANGE, header::IF_RANGE, header::ACCEPT_ENCODING] {
        whole.headers_mut().remove(name);
    }
    let whole = ask(site, &whole).await;
    assert_eq!((whole.status, whole.header(header::ETAG)), (StatusCode::OK, got.header(header::ETAG)));
    let whole = whole.body.expect("a file is whole");
    assert_eq!(whole.len(), length);
    assert_eq!(got.body.as_deref(), whole.get(first..=last), "{first}-{last} of {length}");
}

/// Where an answer leads to, one can go.
async fn next(site: &Site, got: &Got) {
    let link = got.header(header::LINK);
    let Some(uri) = link.strip_prefix('<').and_then(|link| link.split_once(">; rel=\"next\"")) else { return };
    let request = Request::get(uri.0).header(header::HOST, "localhost").body(Vec::new()).expect("a link is one");
    let next = ask(site, &request).await;
    assert!(!next.status.is_client_error(), "{link} is answered {}", next.status);
}

/// Nobody but a proxy that is believed names another caller, and what a caller has written itself is not believed.
fn proxies(headers: &HeaderMap) {
    let trusted = ["127.0.0.1/32", "10.0.0.0/8", "fd00::/8"].map(|net| net.parse().expect("a net")).to_vec();
    let [stranger, proxy]: [IpAddr; 2] = ["192.0.2.7", "127.0.0.1"].map(|address| address.parse().expect("an address"));
    let caller = |peer, headers: &HeaderMap| caller_behind(trusted.clone(), peer, headers.clone());
    assert_eq!(caller(stranger, headers), stranger, "a stranger is believed");
    let named = caller(proxy, headers);
    if named == proxy {
        return;
    }
    let lists = [header::FORWARDED, header::HeaderName::from_static("x-forwarded-for")];
    let values = || lists.iter().flat_map(|name| headers.get_all(name)).filter_map(|value| value.to_str().ok());
    let words = values().flat_map(|value| value.split([',', ';', '=', '"', ' ', '\t']));
    let is_named = |word: &str| {
        let bare = word.trim_start_matches('[').trim_end_matches(']').parse::<IpAddr>().ok();
        let address = bare.or_else(|| word.parse::<SocketAddr>().ok().map(|address| address.ip()));
        address.is_some_and(|address| address.to_canonical() == named)
    };
    assert!(words.into_iter().any(is_named), "{named} stands nowhere in {headers:?}");
    if trusted.iter().any(|net| net.contains(&named)) {
        return;
    }
    let mut forged = headers.clone();
    for (name, more) in lists.iter().zip(["for=198.18.0.1, ", "198.18.0.1, "]) {
        if let Some(first) = forged.get_mut(name) {
            *first = HeaderValue::from_bytes(&[more.as_bytes(), first.as_bytes()].concat()).expect("a value");
        }
    }
    assert_eq!(caller(proxy, &forged), named, "what stands in front is believed");
}
