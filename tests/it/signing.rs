//! Our signers reproduce what the vendors' own SDKs and documents signed.
//!
//! Of the 27 vectors those qualify that sign exactly the documented minimum of their scheme, which is what weir signs:
//! - Alibaba, `ACS3-HMAC-SHA256`: `host` and `x-acs-*` headers alone. Left out are the recordings of the Python SDK,
//!   which also signs `accept` and `user-agent`, and those of the legacy scheme.
//! - Volcengine: `content-type;host;x-content-sha256;x-date`, with a token also `x-security-token`. Left out are the
//!   recordings of the newer Python SDK, which adds headers of its own, and of the Node SDK, which signs less.

use http::HeaderMap;
use serde_json::Value;
use weir::domain::Timestamp;
use weir::vendor::credential::Credential;
use weir::vendor::{alibaba_cams, crypto, volcengine_rtc};

/// One recorded or published request.
struct Vector(Value);

impl Vector {
    fn all() -> Vec<Self> {
        let file: Value = serde_json::from_str(include_str!("../data/signature_vectors.json")).unwrap();
        let Value::Array(vectors) = file["vectors"].clone() else { panic!("no vectors") };
        assert_eq!(vectors.len(), 27);
        vectors.into_iter().map(Self).collect()
    }

    fn text(&self, key: &str) -> Option<&str> {
        self.0[key].as_str()
    }

    fn header(&self, name: &str) -> Option<&str> {
        let headers = self.0["request"]["headers"].as_array().unwrap();
        let found = headers.iter().find(|header| header[0].as_str().unwrap().eq_ignore_ascii_case(name))?;
        found[1].as_str()
    }

    fn query(&self) -> Vec<(&str, &str)> {
        let pairs = self.0["request"]["query_decoded"].as_array().unwrap();
        pairs.iter().map(|pair| (pair[0].as_str().unwrap(), pair[1].as_str().unwrap())).collect()
    }

    fn signed_headers(&self) -> Vec<&str> {
        self.text("signed_headers").map(|names| names.split(';').collect()).unwrap_or_default()
    }

    fn credential_parts(&self) -> (&str, &str, Option<&str>) {
        (self.text("access_key_id").unwrap(), self.text("access_key_secret").unwrap(), self.text("security_token"))
    }

    /// Every header that we would send is one that was sent, with the same value.
    fn assert_reproduced_by(&self, ours: &HeaderMap) {
        let id = self.text("id").unwrap();
        assert_eq!(ours["authorization"], self.text("authorization").unwrap(), "{id}");
        for (name, value) in ours {
            assert_eq!(value.to_str().ok(), self.header(name.as_str()), "{id}: {name}");
        }
    }
}

#[test]
fn alibabas_vectors_of_the_minimum_set_are_reproduced() {
    let mut reproduced = Vec::new();
    for vector in Vector::all().iter().filter(|vector| vector.text("vendor") == Some("alibaba")) {
        let names = vector.signed_headers();
        if names.is_empty() || !names.iter().all(|name| *name == "host" || name.starts_with("x-acs-")) {
            continue;
        }
        let (key_id, secret, token) = vector.credential_parts();
        let more: Vec<_> = ["x-acs-credentials-provider"]
            .into_iter()
            .filter(|name| names.contains(name))
            .map(|name| (name, vector.header(name).unwrap()))
            .collect();
        let headers = alibaba_cams::signer::sign(
            &alibaba_cams::signer::Parts {
                host: vector.header("host").unwrap(),
                action: vector.header("x-acs-action").unwrap(),
                version: vector.header("x-acs-version").unwrap(),
                query: &alibaba_cams::signer::canonical_query(&vector.query()),
                more: &more,
            },
            &Credential {
                access_key_id: key_id.into(),
                access_key_secret: secret.into(),
                security_token: token.map(Into::into),
            },
            Timestamp::parse_rfc3339(vector.header("x-acs-date").unwrap()).unwrap(),
            vector.header("x-acs-signature-nonce").unwrap(),
        )
        .unwrap();
        vector.assert_reproduced_by(&headers);
        reproduced.push(vector.text("id").unwrap().to_owned());
    }
    assert_eq!(reproduced, ["ali-15-node-enable-sts", "pub-ali-v3-runinstances"]);
}

#[test]
fn volcengines_vectors_of_the_minimum_set_are_reproduced() {
    const MINIMUM: [&str; 4] = ["content-type", "host", "x-content-sha256", "x-date"];
    let mut reproduced = Vec::new();
    for vector in Vector::all().iter().filter(|vector| vector.text("vendor") == Some("volcengine")) {
        let mut names = vector.signed_headers();
        names.retain(|name| *name != "x-security-token");
        if names != MINIMUM {
            continue;
        }
        let (key_id, secret, token) = vector.credential_parts();
        let at = jiff::fmt::strtime::parse("%Y%m%dT%H%M%SZ", vector.header("x-date").unwrap()).unwrap();
        let at = at.to_datetime().unwrap().to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp();
        let headers = volcengine_rtc::signer::sign(
            &volcengine_rtc::signer::Parts {
                host: vector.header("host").unwrap(),
                region: vector.text("region").unwrap(),
                query: &volcengine_rtc::signer::canonical_query(&vector.query()),
                body: vector.0["request"]["body"].as_str().unwrap().as_bytes(),
            },
            &Credential {
                access_key_id: key_id.into(),
                access_key_secret: secret.into(),
                security_token: token.map(Into::into),
            },
            at.into(),
        )
        .unwrap();
        vector.assert_reproduced_by(&headers);
        reproduced.push(vector.text("id").unwrap()[..7].to_owned());
    }
    let expected = ["01", "02", "03", "06", "07", "08", "09", "10"].map(|number| format!("volc-{number}"));
    assert_eq!(reproduced, expected);
}

/// Queries are encoded alike in all schemes, so that every vector tests the encoding: the legacy ones hold each
/// character that encoders disagree on.
#[test]
fn the_canonical_query_of_every_vector_is_reproduced() {
    let mut with_escapes = 0;
    for vector in Vector::all() {
        let id = vector.text("id").unwrap();
        let legacy = vector.text("canonicalized_query");
        let expected = legacy.or_else(|| vector.text("canonical_request")?.split('\n').nth(2)).unwrap();
        let mut pairs = vector.query();
        if legacy.is_some() {
            pairs.retain(|(name, _)| *name != "Signature");
        }
        assert_eq!(alibaba_cams::signer::canonical_query(&pairs), expected, "{id}");
        assert_eq!(volcengine_rtc::signer::canonical_query(&pairs), expected, "{id}");
        with_escapes += usize::from(expected.contains("%E4%B8%AD") && expected.contains("%2A"));
    }
    assert_eq!(with_escapes, 1);
    assert_eq!(crypto::percent_encode("!'()*"), "%21%27%28%29%2A");
}
