//! `ACS3-HMAC-SHA256`: a request's parts, a credential, an instant and a nonce give the headers. Pure.
//!
//! Signs the documented minimum: `host` and every `x-acs-*` header. The body is always empty, business parameters
//! travel in the query, so there is no `content-type` to sign. The steps stand in `docs/vendors/alibaba-cams.md`.

use std::collections::BTreeMap;
use std::fmt;

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName};
use secrecy::ExposeSecret;

use crate::domain::Timestamp;
use crate::domain::digest::{hex, sha256_hex};
use crate::domain::time::SECOND;
use crate::vendor::credential::{Credential, sensitive};
use crate::vendor::crypto;

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// What a signature covers, beside who signs and when.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The endpoint's host as it is addressed, port included.
    pub host: &'a str,
    /// The vendor's name of the operation.
    pub action: &'a str,
    /// The version of the API.
    pub version: &'a str,
    /// The query as [`canonical_query`] writes it.
    pub query: &'a str,
    /// Further `x-acs-*` headers, in lower case; they are signed with the rest.
    pub more: &'a [(&'static str, &'a str)],
}

/// Without the query, which may name a phone, and what else is signed.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("host", &self.host).field("action", &self.action).finish_non_exhaustive()
    }
}

/// The query in the one spelling that is signed; it is also good on the wire.
#[must_use]
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    crypto::encode_query(&pairs)
}

/// The headers of `POST /` with an empty body, signed at `at` (to the second). A `nonce` is good for one request.
///
/// # Errors
/// When a part or the credential holds characters that no header can carry.
pub fn sign(
    parts: &Parts<'_>,
    credential: &Credential,
    at: Timestamp,
    nonce: &str,
) -> Result<HeaderMap, InvalidHeaderValue> {
    let key_id = credential.access_key_id.expose_secret();
    let (body_hash, date) = (sha256_hex(b""), at.floor(SECOND).to_string());
    let mut signed = BTreeMap::from([
        ("host", parts.host),
        ("x-acs-action", parts.action),
        ("x-acs-version", parts.version),
        ("x-acs-date", &date),
        ("x-acs-signature-nonce", nonce),
        ("x-acs-content-sha256", &body_hash),
    ]);
    if let Some(token) = &credential.security_token {
        signed.insert("x-acs-accesskey-id", key_id);
        signed.insert("x-acs-security-token", token.expose_secret());
    }
    signed.extend(parts.more.iter().copied());

    let names = signed.keys().copied().collect::<Vec<_>>().join(";");
    let lines: Vec<_> = signed.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect();
    let canonical = format!("POST\n/\n{}\n{}\n\n{names}\n{body_hash}", parts.query, lines.join("\n"));
    let to_sign = format!("{ALGORITHM}\n{}", sha256_hex(canonical.as_bytes()));
    let key = credential.access_key_secret.expose_secret();
    let signature = hex(&crypto::hmac_sha256(key.as_bytes(), to_sign.as_bytes()));

    let authorization = format!("{ALGORITHM} Credential={key_id},SignedHeaders={names},Signature={signature}");
    let mut headers = HeaderMap::with_capacity(signed.len() + 1);
    for (name, value) in signed {
        headers.insert(HeaderName::from_static(name), sensitive(value.trim())?);
    }
    headers.insert(http::header::AUTHORIZATION, sensitive(&authorization)?);
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn credential(token: Option<&str>) -> Credential {
        Credential {
            access_key_id: "the-id".into(),
            access_key_secret: "the-secret".into(),
            security_token: token.map(Into::into),
        }
    }

    const PARTS: Parts<'_> = Parts { host: "h:8", action: "A", version: "V", query: "", more: &[] };

    #[test]
    fn everything_that_counts_changes_the_signature() {
        let at = Timestamp::from_secs(1_788_251_415);
        let signature = |parts: &Parts<'_>, at, nonce| {
            sign(parts, &credential(None), at, nonce).unwrap()["authorization"].to_str().unwrap().to_owned()
        };
        let base = signature(&PARTS, at, "n");
        assert_eq!(base, signature(&PARTS, Timestamp::from_ms(at.as_ms() + 999), "n"), "seconds are all there is");
        for other in [
            signature(&Parts { host: "h", ..PARTS }, at, "n"),
            signature(&Parts { action: "B", ..PARTS }, at, "n"),
            signature(&Parts { version: "W", ..PARTS }, at, "n"),
            signature(&Parts { query: "a=b", ..PARTS }, at, "n"),
            signature(&Parts { more: &[("x-acs-more", "1")], ..PARTS }, at, "n"),
            signature(&PARTS, at + SECOND, "n"),
            signature(&PARTS, at, "m"),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn no_header_prints_its_value_and_none_can_be_smuggled_in() {
        let headers = sign(&PARTS, &credential(Some("the-token")), Timestamp::from_ms(0), "n").unwrap();
        let shown = format!("{headers:?} {:?}", credential(Some("the-token")));
        assert!(!["the-id", "the-secret", "the-token", "Signature"].iter().any(|text| shown.contains(text)), "{shown}");
        assert!(sign(&PARTS, &credential(Some("a\r\nb: c")), Timestamp::from_ms(0), "n").is_err());
    }
}
