//! Who may ask: under which name, and from which site's pages. Pure functions of a request's head, asked once before all
//! routes.
//!
//! Being on loopback is all that protects a gateway without keys, and browsers reach around it: any page can make one send
//! requests to 127.0.0.1, and a page whose name was made to mean 127.0.0.1 can read the answers. So weir answers under its
//! own names alone, and nothing that a browser says another site has asked for. Programs say nothing of the kind, and are
//! not held up.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::sync::Arc;

use axum::http::uri::Authority;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, Version, header};

use super::negotiate::wanted;
use crate::error::{Code, WeirError};

/// What a page cannot set and a browser tells of it: how near the page is that made it ask.
const SEC_FETCH_SITE: HeaderName = HeaderName::from_static("sec-fetch-site");
/// Whether the browser fetches something for a page, or goes to one.
const SEC_FETCH_MODE: HeaderName = HeaderName::from_static("sec-fetch-mode");

/// The names under which weir may be asked, and who may ask from a browser.
#[derive(Debug, Clone)]
pub(super) struct Sites {
    /// Beside loopback's.
    pub(super) hosts: Arc<[String]>,
    /// The origins of other sites whose pages may ask.
    pub(super) origins: Arc<[String]>,
    /// Paths where a browser that wants a page gets one, and nothing is run.
    pub(super) pages: &'static [&'static str],
}

impl Sites {
    /// Lets a request through, or says why not and with which status.
    pub(super) fn check<B>(&self, request: &Request<B>) -> Result<(), (StatusCode, WeirError)> {
        let host = host(request)?;
        if !host.is_none_or(|host| self.is_ours(host)) {
            let message =
                "weir is not asked under this name; use localhost, or add the name to `http.hosts` in the config";
            return Err((StatusCode::MISDIRECTED_REQUEST, WeirError::bad_input(message)));
        }
        let headers = request.headers();
        let sites = headers.get_all(SEC_FETCH_SITE);
        let is_foreign = sites.iter().any(|site| site != "same-origin" && site != "none");
        // The browser knows better than we do what is its page's own origin: behind a proxy our port and scheme are others.
        let is_let_in = |origin: &HeaderValue| {
            is_listed(&self.origins, origin)
                || (!is_foreign && host.is_some_and(|host| is_origin_of(origin.as_bytes(), host.as_bytes())))
        };
        let origins = headers.get_all(header::ORIGIN);
        let is_named = origins.iter().next().is_some();
        if origins.iter().all(is_let_in) && (is_named || !is_foreign || self.is_visit(request)) {
            return Ok(());
        }
        let message = "a page of another site asked; if it may, add its origin to `http.cors_origins` in the config";
        Err((StatusCode::FORBIDDEN, WeirError::new(Code::Forbidden, message)))
    }

    fn is_ours(&self, host: &str) -> bool {
        let ours = || self.hosts.iter().filter_map(|host| Host::parse(host));
        Host::parse(host).is_some_and(|host| host.is_loopback() || ours().any(|ours| ours.is(&host)))
    }

    /// Whether somebody follows a link to a page of ours, wherever the link stood.
    fn is_visit<B>(&self, request: &Request<B>) -> bool {
        let headers = request.headers();
        [Method::GET, Method::HEAD].contains(request.method())
            && headers.get(SEC_FETCH_MODE).is_some_and(|mode| mode == "navigate")
            && self.pages.contains(&request.uri().path())
            && wanted(headers).page
    }
}

/// Whether an origin is one of those whose pages may ask.
pub(super) fn is_listed(origins: &[String], origin: &HeaderValue) -> bool {
    origins.iter().any(|listed| origin == listed.as_str())
}

/// The host that is asked. Only HTTP/1.0, which no browser speaks, may leave it out.
fn host<B>(request: &Request<B>) -> Result<Option<&str>, (StatusCode, WeirError)> {
    let mut hosts = request.headers().get_all(header::HOST).iter();
    let target = request.uri().authority().map(Authority::as_str);
    match (hosts.next().map(HeaderValue::to_str), hosts.next()) {
        (None, _) if request.version() < Version::HTTP_11 => Ok(target),
        (Some(Ok(host)), None) if target.is_none_or(|target| target.eq_ignore_ascii_case(host)) => Ok(Some(host)),
        _ => {
            let message = "send exactly one Host header, and no other host in the request target";
            Err((StatusCode::BAD_REQUEST, WeirError::bad_input(message)))
        }
    }
}

/// What may stand in a `Host` header, without its port.
#[derive(Debug)]
enum Host<'a> {
    Address(IpAddr),
    Name(&'a str),
}

impl<'a> Host<'a> {
    fn parse(text: &'a str) -> Option<Self> {
        let (host, port) = if let Some(bracketed) = text.strip_prefix('[') {
            let (address, port) = bracketed.split_once(']')?;
            (Self::Address(address.parse::<Ipv6Addr>().ok()?.to_canonical()), port)
        } else {
            let (name, port) = text.split_at(text.find(':').unwrap_or(text.len()));
            let name = name.strip_suffix('.').unwrap_or(name);
            // Of anything else readers of addresses differ in where the name ends.
            let is_letter = |letter: u8| letter.is_ascii_alphanumeric() || b"-._".contains(&letter);
            if !name.bytes().all(is_letter) {
                return None;
            }
            (name.parse::<Ipv4Addr>().map_or(Self::Name(name), |address| Self::Address(address.into())), port)
        };
        let is_port = |port: &str| port.bytes().all(|digit| digit.is_ascii_digit());
        (port.is_empty() || port.strip_prefix(':').is_some_and(is_port)).then_some(host)
    }

    fn is_loopback(&self) -> bool {
        match self {
            Self::Address(address) => address.is_loopback(),
            Self::Name(name) => name.rsplit('.').next().is_some_and(|last| last.eq_ignore_ascii_case("localhost")),
        }
    }

    fn is(&self, other: &Host<'_>) -> bool {
        match (self, other) {
            (Self::Address(own), Host::Address(other)) => own == other,
            (Self::Name(own), Host::Name(other)) => own.eq_ignore_ascii_case(other),
            (Self::Address(_), Host::Name(_)) | (Self::Name(_), Host::Address(_)) => false,
        }
    }
}

/// Whether an origin is that of the host that is asked. Of the scheme weir knows nothing, since a proxy may speak TLS for
/// it; a port that goes without saying may be said by one side alone.
fn is_origin_of(origin: &[u8], host: &[u8]) -> bool {
    let (name, port): (_, &[u8]) = match (origin.strip_prefix(b"https://"), origin.strip_prefix(b"http://")) {
        (Some(name), _) => (name, b":443"),
        (_, Some(name)) => (name, b":80"),
        (None, None) => return false,
    };
    host.strip_suffix(port).unwrap_or(host).eq_ignore_ascii_case(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sites() -> Sites {
        Sites {
            hosts: ["metrics.example.com", "10.0.0.7:8080", "[fd00::7]"].map(str::to_owned).into(),
            origins: ["http://localhost:5173".to_owned()].into(),
            pages: &["/", "/graphql"],
        }
    }

    /// The status of a refusal; `None` where the request is let through.
    fn refused(request: axum::http::request::Builder) -> Option<u16> {
        sites().check(&request.body(()).unwrap()).err().map(|(status, _)| status.as_u16())
    }

    #[test]
    fn weir_is_asked_under_its_own_names_alone() {
        for ours in [
            "localhost",
            "LOCALHOST:8080",
            "localhost.",
            "localhost:",
            "weir.localhost:8080",
            "127.0.0.1",
            "127.9.9.9:8080",
            "[::1]",
            "[::1]:8080",
            "[0:0:0:0:0:0:0:1]",
            "[::ffff:127.0.0.1]:8080",
            "Metrics.Example.COM",
            "metrics.example.com.:443",
            "10.0.0.7",
            "[fd00:0::7]:9",
        ] {
            assert_eq!(refused(Request::get("/").header("host", ours)), None, "{ours}");
        }
        for other in [
            "",
            ".",
            "evil.example",
            "evil.example:8080",
            "localhost.evil.example",
            "notlocalhost",
            "127.0.0.1.evil.example",
            "metrics.example.com.evil.example",
            "evil.metrics.example.com",
            "10.0.0.8",
            "0.0.0.0:8080",
            "[::]",
            "::1",
            "[::1",
            "[::1]x",
            "[127.0.0.1]",
            "[fd00::8]",
            "127.1",
            "localhost:8080:evil.example",
            "localhost:80x",
            "user@localhost",
            "localhost/evil.example",
            "evil.example/.localhost",
            "evil.example#.localhost",
            "evil.example\\.localhost",
        ] {
            assert_eq!(refused(Request::get("/").header("host", other)), Some(421), "{other}");
        }
    }

    #[test]
    fn one_host_is_named() {
        let get = || Request::get("/");
        assert_eq!(refused(get()), Some(400));
        assert_eq!(refused(get().version(Version::HTTP_10)), None);
        assert_eq!(refused(get().version(Version::HTTP_10).header("host", "evil.example")), Some(421));
        assert_eq!(refused(get().header("host", "localhost").header("host", "localhost")), Some(400));
        assert_eq!(refused(get().header("host", "localhost").header("host", "evil.example")), Some(400));
        assert_eq!(refused(get().header("host", HeaderValue::from_bytes(b"localhost\xff").unwrap())), Some(400));
        let absolute = |host: &str| Request::get(format!("http://{host}/")).header("host", "localhost:80");
        assert_eq!(refused(absolute("LocalHost:80")), None);
        assert_eq!(refused(absolute("evil.example")), Some(400));
        assert_eq!(refused(absolute("evil.example").version(Version::HTTP_10)), Some(400));
        assert_eq!(refused(Request::get("http://evil.example/").version(Version::HTTP_10)), Some(421));
    }

    #[test]
    fn what_a_browser_says_of_another_site_is_refused() {
        const HOST: &str = "metrics.example.com:8080";
        let own = ["http://metrics.example.com:8080", "https://Metrics.example.com:8080"];
        for headers in [
            vec![],
            vec![("sec-fetch-site", "none")],
            vec![("sec-fetch-site", "same-origin")],
            vec![("sec-fetch-site", "same-origin"), ("origin", own[0])],
            vec![("origin", own[0])],
            vec![("origin", own[1])],
            vec![("origin", "http://localhost:5173")],
            vec![("origin", "http://localhost:5173"), ("sec-fetch-site", "cross-site")],
            vec![("origin", "http://localhost:5173"), ("sec-fetch-site", "same-site")],
        ] {
            let request = Request::post("/graphql").header("host", HOST);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(refused(request), None, "{headers:?}");
        }
        for headers in [
            vec![("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "same-site")],
            vec![("sec-fetch-site", "")],
            vec![("sec-fetch-site", "none"), ("sec-fetch-site", "cross-site")],
            vec![("sec-fetch-site", "cross-site"), ("origin", own[0])],
            vec![("sec-fetch-site", "same-site"), ("origin", "https://metrics.example.com")],
            vec![("sec-fetch-site", "same-origin"), ("origin", "https://evil.example")],
            vec![("origin", "null")],
            vec![("origin", "")],
            vec![("origin", "https://evil.example")],
            vec![("origin", "https://metrics.example.com")],
            vec![("origin", "https://metrics.example.com:8080.evil.example")],
            vec![("origin", "ftp://metrics.example.com:8080")],
            vec![("origin", "http://localhost:5174")],
            vec![("origin", "https://localhost:5173")],
            vec![("origin", own[0]), ("origin", "https://evil.example")],
        ] {
            let request = Request::get("/metrics").header("host", HOST);
            let request = headers.iter().fold(request, |request, (name, value)| request.header(*name, *value));
            assert_eq!(refused(request), Some(403), "{headers:?}");
        }
    }

    #[test]
    fn a_port_that_goes_without_saying_may_be_said() {
        for (origin, host, is_own) in [
            ("https://metrics.example.com", "metrics.example.com:443", true),
            ("http://metrics.example.com", "metrics.example.com:80", true),
            ("http://metrics.example.com", "metrics.example.com:443", false),
            ("https://metrics.example.com:8443", "metrics.example.com", false),
            ("http://[::1]:8080", "[::1]:8080", true),
            ("http://", "", true),
        ] {
            assert_eq!(is_origin_of(origin.as_bytes(), host.as_bytes()), is_own, "{origin} {host}");
        }
    }

    #[test]
    fn a_link_to_a_page_is_followed() {
        let visit = |method: Method, path: &str, mode: &'static str, accept: &'static str| {
            let request = Request::builder().method(method).uri(path).header("host", "localhost");
            refused(
                request.header("sec-fetch-site", "cross-site").header("sec-fetch-mode", mode).header("accept", accept),
            )
        };
        let html = "text/html,application/xhtml+xml,*/*;q=0.8";
        assert_eq!(visit(Method::GET, "/", "navigate", html), None);
        assert_eq!(visit(Method::GET, "/graphql?query=%7Ba%7D", "navigate", html), None);
        for (method, path, mode, accept) in [
            (Method::POST, "/", "navigate", html),
            (Method::GET, "/metrics", "navigate", html),
            (Method::GET, "/graphql/", "navigate", html),
            (Method::GET, "/graphql?query=%7Ba%7D", "no-cors", html),
            (Method::GET, "/graphql?query=%7Ba%7D", "navigate", "*/*"),
            (Method::GET, "/graphql?query=%7Ba%7D", "navigate", "text/html;q=0.5,application/json"),
        ] {
            assert_eq!(visit(method.clone(), path, mode, accept), Some(403), "{method} {path} {mode} {accept}");
        }
    }
}
