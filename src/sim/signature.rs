//! What both verifiers need: known keys, remembered nonces, refusals, and the primitives of the two schemes.
//!
//! Written from the vendors' descriptions alone. It shares no code with the rooms' signers, so that a mistake of one
//! side is found by the other.

use std::collections::{BTreeMap, HashMap, HashSet, VecDeque};
use std::fmt::Write as _;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::{fmt, time::Duration};

use bytes::Bytes;
use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use secrecy::{ExposeSecret, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use crate::domain::Timestamp;

/// All but RFC 3986's unreserved characters.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'_').remove(b'.').remove(b'~');

/// How many nonces are remembered at most. Only a frozen clock lets them pile up.
const MAX_NONCES: usize = 100_000;

/// Access keys that the simulator knows.
#[derive(Debug, Default)]
pub struct Keys(HashMap<String, Key>);

#[derive(Debug)]
struct Key {
    secret: SecretString,
    token: Option<SecretString>,
    owner: String,
}

impl Keys {
    /// Keys from pairs of id and secret. Each is an account of its own and takes any STS token.
    #[must_use]
    pub fn new<'a>(pairs: impl IntoIterator<Item = (&'a str, &'a str)>) -> Self {
        let key = |(id, secret): (&str, &str)| {
            (id.to_owned(), Key { secret: secret.into(), token: None, owner: id.to_owned() })
        };
        Self(pairs.into_iter().map(key).collect())
    }

    /// From now on requests with the key `id` must carry exactly this STS token. An unknown id changes nothing.
    pub fn require_token(&mut self, id: &str, token: &str) {
        if let Some(key) = self.0.get_mut(id) {
            key.token = Some(token.into());
        }
    }

    /// Counts the calls of the key `id` against `owner`, so that several keys share a quota.
    pub fn set_owner(&mut self, id: &str, owner: &str) {
        if let Some(key) = self.0.get_mut(id) {
            owner.clone_into(&mut key.owner);
        }
    }

    /// The account that a key belongs to; an unknown key stands for itself.
    #[must_use]
    pub fn owner<'a>(&'a self, id: &'a str) -> &'a str {
        self.0.get(id).map_or(id, |key| &key.owner)
    }

    pub(super) fn secret(&self, id: &str) -> Option<&str> {
        self.0.get(id).map(|key| key.secret.expose_secret())
    }

    pub(super) fn token_fault(&self, id: &str, token: Option<&str>) -> Option<TokenFault> {
        let wanted = self.0.get(id)?.token.as_ref()?.expose_secret();
        match token {
            None => Some(TokenFault::Missing),
            Some(token) => (!is_same(token, wanted)).then_some(TokenFault::Wrong),
        }
    }
}

/// What is wrong with an STS token.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum TokenFault {
    Missing,
    Wrong,
}

/// Nonces that were used and whose date is still acceptable.
#[derive(Debug, Default)]
pub struct Nonces(Mutex<Seen>);

#[derive(Debug, Default)]
struct Seen {
    used: HashSet<(String, String)>,
    order: VecDeque<(Timestamp, (String, String))>,
}

impl Nonces {
    /// Takes note of a nonce that need not be remembered after `until`; false if it was used before.
    pub(super) fn is_new(&self, key_id: &str, nonce: &str, now: Timestamp, until: Timestamp) -> bool {
        let mut seen = self.lock();
        while seen.order.len() >= MAX_NONCES || seen.order.front().is_some_and(|(until, _)| *until < now) {
            if let Some((_, entry)) = seen.order.pop_front() {
                seen.used.remove(&entry);
            }
        }
        let entry = (key_id.to_owned(), nonce.to_owned());
        let is_new = seen.used.insert(entry.clone());
        if is_new {
            seen.order.push_back((until, entry));
        }
        is_new
    }

    /// Forgets all of them.
    pub fn clear(&self) {
        *self.lock() = Seen::default();
    }

    fn lock(&self) -> MutexGuard<'_, Seen> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who signed an accepted request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The access key's id.
    pub key_id: String,
    /// The region of the credential's scope; empty in schemes that have none.
    pub region: String,
}

/// A refusal before it is put into the vendor's own body.
#[derive(Clone, PartialEq, Eq)]
pub struct VendorRefusal {
    /// The HTTP status.
    pub status: u16,
    /// The vendor's code.
    pub code: String,
    /// Volcengine's numeric code, where it has one.
    pub code_n: Option<u32>,
    /// The vendor's text. A signature refusal quotes the request, as the real vendor does.
    pub message: String,
    /// How long the caller should stay away, for throttles that say so.
    pub retry_after: Option<Duration>,
}

impl VendorRefusal {
    pub(super) fn new(status: u16, code: impl Into<String>, message: impl Into<String>) -> Self {
        Self { status, code: code.into(), code_n: None, message: message.into(), retry_after: None }
    }

    pub(super) fn numbered(self, code_n: u32) -> Self {
        Self { code_n: Some(code_n), ..self }
    }
}

/// Without the message, which may quote a whole request.
impl fmt::Debug for VendorRefusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "VendorRefusal({} {})", self.status, self.code)
    }
}

/// Lower-case hexadecimal.
pub(super) fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        let _ = write!(text, "{byte:02x}");
        text
    })
}

pub(super) fn sha256_hex(bytes: &[u8]) -> String {
    hex(&Sha256::digest(bytes))
}

/// `None` never happens: an HMAC takes keys of any length. Callers treat it as a mismatch.
pub(super) fn hmac_sha256(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// As [`hmac_sha256`], for the legacy scheme.
pub(super) fn hmac_sha1(key: &[u8], text: &str) -> Option<Vec<u8>> {
    let mut mac = Hmac::<Sha1>::new_from_slice(key).ok()?;
    mac.update(text.as_bytes());
    Some(mac.finalize().into_bytes().to_vec())
}

/// Compares without telling by its duration where the texts differ.
pub(super) fn is_same(a: &str, b: &str) -> bool {
    a.as_bytes().ct_eq(b.as_bytes()).into()
}

pub(super) fn encoded(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// Decodes a query or form: `+` and `%20` are both a space, so clients that differ here sign alike.
pub(super) fn form_pairs(text: &str) -> Vec<(String, String)> {
    form_urlencoded::parse(text.as_bytes()).into_owned().collect()
}

pub(super) fn query_pairs(request: &http::Request<Bytes>) -> Vec<(String, String)> {
    form_pairs(request.uri().query().unwrap_or(""))
}

/// The first value of `name`, if it is there and not empty: both vendors take an empty parameter for an absent one.
pub(super) fn value<'a>(pairs: &'a [(String, String)], name: &str) -> Option<&'a str> {
    pairs.iter().find(|(key, value)| key == name && !value.is_empty()).map(|(_, value)| value.as_str())
}

pub(super) fn canonical_query<'a>(pairs: impl IntoIterator<Item = &'a (String, String)>) -> String {
    let mut pairs: Vec<_> = pairs.into_iter().collect();
    pairs.sort();
    let pairs: Vec<_> = pairs.iter().map(|(key, value)| format!("{}={}", encoded(key), encoded(value))).collect();
    pairs.join("&")
}

/// A header's trimmed value. `host` may stand in the URI alone, as it does before a transport has written it.
pub(super) fn header(request: &http::Request<Bytes>, name: &str) -> Option<String> {
    let values: Vec<_> =
        request.headers().get_all(name).iter().map(|v| String::from_utf8_lossy(v.as_bytes())).collect();
    if values.is_empty() {
        return request.uri().authority().filter(|_| name == "host").map(ToString::to_string);
    }
    Some(values.iter().map(|value| value.trim()).collect::<Vec<_>>().join(","))
}

/// Both schemes share this layout; `headers` are the signed ones in their order, already normalised.
pub(super) fn canonical_request(request: &http::Request<Bytes>, headers: &[(String, String)]) -> String {
    let query = canonical_query(&query_pairs(request));
    let lines: String = headers.iter().flat_map(|(name, value)| [name, ":", value, "\n"]).collect();
    let names: Vec<_> = headers.iter().map(|(name, _)| name.as_str()).collect();
    let path = if request.uri().path().is_empty() { "/" } else { request.uri().path() };
    let body = sha256_hex(request.body());
    format!("{}\n{path}\n{query}\n{lines}\n{}\n{body}", request.method(), names.join(";"))
}

/// The fields of `ALGORITHM Name=value, Name=value`; `None` for another algorithm or another shape.
pub(super) fn authorization_fields<'a>(header: &'a str, algorithm: &str) -> Option<BTreeMap<&'a str, &'a str>> {
    let (named, fields) = header.split_once(' ')?;
    if named != algorithm {
        return None;
    }
    fields.split(',').map(|field| field.trim().split_once('=')).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::time::MINUTE;

    #[test]
    fn a_nonce_is_good_once_per_key_until_its_date_has_passed() {
        let nonces = Nonces::default();
        let now = Timestamp::from_secs(1_000_000);
        assert!(nonces.is_new("a", "n", now, now + MINUTE));
        assert!(!nonces.is_new("a", "n", now + MINUTE, now + MINUTE));
        assert!(nonces.is_new("b", "n", now, now + MINUTE));
        assert!(nonces.is_new("a", "n", now + 2 * MINUTE, now + 3 * MINUTE));
    }

    #[test]
    fn remembered_nonces_are_bounded() {
        let nonces = Nonces::default();
        let now = Timestamp::from_secs(0);
        for n in 0..=MAX_NONCES {
            assert!(nonces.is_new("a", &n.to_string(), now, now));
        }
        let seen = nonces.lock();
        assert_eq!((seen.used.len(), seen.order.len()), (MAX_NONCES, MAX_NONCES));
    }

    #[test]
    fn spaces_are_spaces_however_the_query_writes_them() {
        let (plus, percent) = (form_pairs("b=x+y&a=%2A~"), form_pairs("a=*%7E&b=x%20y"));
        assert_eq!(canonical_query(&plus), "a=%2A~&b=x%20y");
        assert_eq!(canonical_query(&plus), canonical_query(&percent));
    }

    #[test]
    fn neither_keys_nor_refusals_print_what_is_secret() {
        let mut keys = Keys::new([("id", "canary-secret")]);
        keys.require_token("id", "canary-token");
        let refusal = VendorRefusal::new(400, "SignatureDoesNotMatch", "server string to sign is:canary");
        assert!(!format!("{keys:?} {refusal:?}").contains("canary"));
    }
}
