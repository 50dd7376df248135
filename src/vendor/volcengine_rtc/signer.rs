//! `HMAC-SHA256` of Volcengine: a request's parts, a credential and an instant give the headers. Pure.
//!
//! Signs `content-type`, `host`, `x-content-sha256`, `x-date` and, with a temporary key, `x-security-token`. The scheme
//! knows no nonce. The steps stand in `docs/vendors/volcengine-rtc.md`.

use std::collections::BTreeMap;
use std::fmt;

use http::header::InvalidHeaderValue;
use http::{HeaderMap, HeaderName};
use secrecy::ExposeSecret;

use crate::domain::Timestamp;
use crate::domain::digest::{hex, sha256_hex};
use crate::vendor::credential::{Credential, sensitive};
use crate::vendor::crypto;

const ALGORITHM: &str = "HMAC-SHA256";
const SERVICE: &str = "rtc";
/// The last word of the scope, where other schemes of this family say `aws4_request`.
const TERMINATOR: &str = "request";
const CONTENT_TYPE: &str = "application/json";

/// What a signature covers, beside who signs and when.
#[derive(Clone, Copy)]
pub struct Parts<'a> {
    /// The endpoint's host as it is addressed; a port 80 or 443 is left out of what is signed.
    pub host: &'a str,
    /// The region of the scope.
    pub region: &'a str,
    /// The query as [`canonical_query`] writes it.
    pub query: &'a str,
    /// The JSON body, byte for byte as it is sent.
    pub body: &'a [u8],
}

/// Without what is asked for.
impl fmt::Debug for Parts<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Parts").field("host", &self.host).field("region", &self.region).finish_non_exhaustive()
    }
}

/// The query in the one spelling that is signed; it is also good on the wire.
#[must_use]
pub fn canonical_query(pairs: &[(&str, &str)]) -> String {
    let mut pairs = pairs.to_vec();
    pairs.sort_unstable();
    crypto::encode_query(&pairs)
}

/// The headers of `POST /` with a JSON body, signed at `at` (to the second).
///
/// # Errors
/// When a part or the credential holds characters that no header can carry.
pub fn sign(parts: &Parts<'_>, credential: &Credential, at: Timestamp) -> Result<HeaderMap, InvalidHeaderValue> {
    let (body_hash, date) = (sha256_hex(parts.body), at.to_jiff().strftime("%Y%m%dT%H%M%SZ").to_string());
    let mut signed = BTreeMap::from([
        ("content-type", CONTENT_TYPE),
        ("host", without_default_port(parts.host)),
        ("x-content-sha256", &body_hash),
        ("x-date", &date),
    ]);
    if let Some(token) = &credential.security_token {
        signed.insert("x-security-token", token.expose_secret());
    }

    let names = signed.keys().copied().collect::<Vec<_>>().join(";");
    let lines: Vec<_> = signed.iter().map(|(name, value)| format!("{name}:{}", value.trim())).collect();
    let canonical = format!("POST\n/\n{}\n{}\n\n{names}\n{body_hash}", parts.query, lines.join("\n"));
    let day = date.split('T').next().unwrap_or_default();
    let scope = format!("{day}/{}/{SERVICE}/{TERMINATOR}", parts.region);
    let to_sign = format!("{ALGORITHM}\n{date}\n{scope}\n{}", sha256_hex(canonical.as_bytes()));
    let secret = credential.access_key_secret.expose_secret().as_bytes();
    let key = [parts.region, SERVICE, TERMINATOR]
        .iter()
        .fold(crypto::hmac_sha256(secret, day.as_bytes()), |key, word| crypto::hmac_sha256(&key, word.as_bytes()));
    let signature = hex(&crypto::hmac_sha256(&key, to_sign.as_bytes()));

    let key_id = credential.access_key_id.expose_secret();
    let authorization =
        format!("{ALGORITHM} Credential={key_id}/{scope}, SignedHeaders={names}, Signature={signature}");
    let mut headers = HeaderMap::with_capacity(signed.len() + 1);
    for (name, value) in signed {
        headers.insert(HeaderName::from_static(name), sensitive(value.trim())?);
    }
    headers.insert(http::header::HOST, sensitive(parts.host)?);
    headers.insert(http::header::AUTHORIZATION, sensitive(&authorization)?);
    Ok(headers)
}

fn without_default_port(host: &str) -> &str {
    match host.rsplit_once(':') {
        Some((name, "80" | "443")) => name,
        _ => host,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::SECOND;

    fn credential(token: Option<&str>) -> Credential {
        Credential {
            access_key_id: "the-id".into(),
            access_key_secret: "the-secret".into(),
            security_token: token.map(Into::into),
        }
    }

    const PARTS: Parts<'_> = Parts { host: "h:8", region: "R", query: "", body: b"" };

    #[test]
    fn everything_that_counts_changes_the_signature() {
        let at = Timestamp::from_secs(1_788_251_415);
        let signature = |parts: &Parts<'_>, at| {
            sign(parts, &credential(None), at).unwrap()["authorization"].to_str().unwrap().to_owned()
        };
        let base = signature(&PARTS, at);
        assert_eq!(base, signature(&PARTS, Timestamp::from_ms(at.as_ms() + 999)), "seconds are all there is");
        for other in [
            signature(&Parts { host: "h", ..PARTS }, at),
            signature(&Parts { region: "S", ..PARTS }, at),
            signature(&Parts { query: "a=b", ..PARTS }, at),
            signature(&Parts { body: b"{}", ..PARTS }, at),
            signature(&PARTS, at + SECOND),
        ] {
            assert_ne!(base, other);
        }
    }

    #[test]
    fn only_the_ports_80_and_443_are_left_out() {
        for (host, signed) in [("h", "h"), ("h:80", "h"), ("h:443", "h"), ("h:8080", "h:8080"), ("[::80]", "[::80]")] {
            assert_eq!(without_default_port(host), signed);
        }
    }

    #[test]
    fn no_header_prints_its_value_and_none_can_be_smuggled_in() {
        let headers = sign(&PARTS, &credential(Some("the-token")), Timestamp::from_ms(0)).unwrap();
        let shown = format!("{headers:?} {:?}", credential(Some("the-token")));
        assert!(!["the-id", "the-secret", "the-token", "Signature"].iter().any(|text| shown.contains(text)), "{shown}");
        assert!(sign(&PARTS, &credential(Some("a\r\nb: c")), Timestamp::from_ms(0)).is_err());
    }
}
