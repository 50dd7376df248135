//! The address of a vendor's API. The config and the rooms both read it here, so that what the one takes the other can use.

use std::net::IpAddr;

use secrecy::{ExposeSecret, SecretString};
use url::{Host, Url};

use crate::domain::{Account, Vendor};

/// A scheme, a host and perhaps a port; both vendors' APIs live at the path `/`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Endpoint {
    origin: String,
    authority: String,
    host: String,
}

/// Why an `endpoint` in the config cannot be used, as what its key is told. None of the messages repeats the endpoint: it
/// may hold a password.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum EndpointError {
    /// It is not a URL with a host.
    #[error("not a URL of a host; write it like \"https://rtc.volcengineapi.com\"")]
    NotAUrl,
    /// It is neither HTTP nor HTTPS.
    #[error("must begin with https:// (or http:// on loopback)")]
    Scheme,
    /// It would send signed requests over a network in the clear.
    #[error("http:// is for loopback only, as keys and data would go in the clear; write https://")]
    PlainHttp,
    /// It names who asks, which the access key does.
    #[error("holds a user or a password; the keys go into access_key_id and access_key_secret")]
    User,
    /// It holds more than scheme, host and port.
    #[error("must end after the host and port: the vendor's API has no path, query or fragment")]
    Surplus,
}

impl Endpoint {
    /// Reads an `endpoint` of the config: `https://` anywhere, `http://` only to loopback.
    ///
    /// # Errors
    /// Anything else, and how to fix it.
    pub fn parse(text: &str) -> Result<Self, EndpointError> {
        let url = Url::parse(text).map_err(|_not_shown| EndpointError::NotAUrl)?;
        let host = url.host().ok_or(EndpointError::NotAUrl)?;
        match url.scheme() {
            "https" => {}
            "http" if is_loopback(&host) => {}
            "http" => return Err(EndpointError::PlainHttp),
            _ => return Err(EndpointError::Scheme),
        }
        if !url.username().is_empty() || url.password().is_some() {
            return Err(EndpointError::User);
        }
        if url.path() != "/" || url.query().is_some() || url.fragment().is_some() {
            return Err(EndpointError::Surplus);
        }
        let authority = url[url::Position::BeforeHost..url::Position::AfterPort].to_owned();
        // The root's dot names the same host, and only a spelling of the account would else be told apart.
        let name = url.host_str().unwrap_or_default().trim_end_matches('.');
        let host = url.port().map_or_else(|| name.to_owned(), |port| format!("{name}:{port}"));
        Ok(Self { origin: format!("{}://{authority}", url.scheme()), authority, host })
    }

    /// The account of an entry with this endpoint. Without a `quota_account`, host and key tell what the vendor counts.
    #[must_use]
    pub fn account(&self, vendor: Vendor, name: &str, key_id: &SecretString, quota_account: &str) -> Account {
        if quota_account.is_empty() {
            return Account::new(vendor, name, &self.host, key_id.expose_secret());
        }
        Account::of_quota_account(vendor, name, &self.host, quota_account)
    }

    /// Host, and port unless it is the scheme's own: the value of the `host` header.
    #[must_use]
    pub fn authority(&self) -> &str {
        &self.authority
    }

    /// The absolute URI of `/` with an encoded query.
    #[must_use]
    pub fn uri(&self, query: &str) -> String {
        let mark = if query.is_empty() { "" } else { "?" };
        format!("{}/{mark}{query}", self.origin)
    }
}

fn is_loopback(host: &Host<&str>) -> bool {
    match host {
        Host::Domain(name) => name.eq_ignore_ascii_case("localhost"),
        Host::Ipv4(ip) => ip.is_loopback(),
        Host::Ipv6(ip) => IpAddr::V6(*ip).to_canonical().is_loopback(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn takes_what_the_config_documents() {
        for (text, authority, uri) in [
            ("https://rtc.volcengineapi.com", "rtc.volcengineapi.com", "https://rtc.volcengineapi.com/?a=b"),
            ("https://Example.com:443/", "example.com", "https://example.com/?a=b"),
            ("http://127.0.0.1:9090", "127.0.0.1:9090", "http://127.0.0.1:9090/?a=b"),
            ("http://[::1]:9090", "[::1]:9090", "http://[::1]:9090/?a=b"),
            ("http://[::ffff:127.0.0.1]:9", "[::ffff:7f00:1]:9", "http://[::ffff:7f00:1]:9/?a=b"),
            ("http://localhost:1", "localhost:1", "http://localhost:1/?a=b"),
        ] {
            let endpoint = Endpoint::parse(text).unwrap();
            assert_eq!((endpoint.authority(), endpoint.uri("a=b").as_str()), (authority, uri), "{text}");
        }
        assert_eq!(Endpoint::parse("https://h").unwrap().uri(""), "https://h/");
    }

    #[test]
    fn one_host_is_one_account_however_it_is_spelled() {
        let account = |endpoint: &str, quota_account: &str| {
            let key = SecretString::from("key".to_owned());
            Endpoint::parse(endpoint).unwrap().account(Vendor::AlibabaCams, "retail", &key, quota_account)
        };
        let one = account("https://cams.example", "");
        for spelling in ["https://CAMS.example./", "https://cams.example:443", "https://cams.example.:443"] {
            let same = account(spelling, "");
            assert!(one.shares_quota_with(&same) && one.data_identity() == same.data_identity(), "{spelling}");
        }
        for other in ["https://cams.example:8443", "https://eu.cams.example"] {
            assert!(!one.shares_quota_with(&account(other, "")), "{other}");
        }
        let (here, there) = (account("https://cams.example", "both"), account("https://eu.cams.example", "both"));
        assert!(here.shares_quota_with(&there), "whatever the host");
        assert_ne!(here.data_identity(), there.data_identity(), "regions hold other data");
        assert!(!one.shares_quota_with(&account("https://cams.example", "key")), "a name is no key");
        assert_eq!(account("https://[::1]:9090", "").quota_identity(), "ALIBABA_CAMS\n[::1]:9090\nkey");
    }

    #[test]
    fn refuses_the_rest_without_repeating_it() {
        for (text, error) in [
            ("rtc.volcengineapi.com", EndpointError::NotAUrl),
            ("", EndpointError::NotAUrl),
            ("ftp://host", EndpointError::Scheme),
            ("mailto:someone", EndpointError::NotAUrl),
            ("localhost:9090", EndpointError::NotAUrl),
            ("http://rtc.volcengineapi.com", EndpointError::PlainHttp),
            ("http://localhost.example.com", EndpointError::PlainHttp),
            ("http://127.0.0.1.example", EndpointError::PlainHttp),
            ("http://[::ffff:10.0.0.1]", EndpointError::PlainHttp),
            ("https://user:hunter2@host", EndpointError::User),
            ("https://host/path", EndpointError::Surplus),
            ("https://host/?a=b", EndpointError::Surplus),
            ("https://host/#top", EndpointError::Surplus),
        ] {
            assert_eq!(Endpoint::parse(text), Err(error), "{text}");
            assert!(!error.to_string().contains("hunter2"));
        }
    }
}
