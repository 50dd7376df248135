//! The simulator's verifiers accept what the official SDKs and the vendors' pages sign, and refuse what was tampered
//! with, in the vendors' words. The vectors were recorded outside this project, so nothing of ours judges itself.

#![expect(clippy::unwrap_used, clippy::panic, reason = "a test fails by panicking, in its helpers too")]

use std::sync::{Arc, LazyLock};

use bytes::Bytes;
use http::Request;
use serde::Deserialize;
use serde_json::Value;
use weir::domain::time::{MINUTE, SECOND};
use weir::domain::{ManualClock, Timestamp};
use weir::sim::{
    Keys, Nonces, SimOutcome, Simulator, SimulatorConfig, VendorRefusal, Verified, alibaba_cams, volcengine_rtc,
};

/// When all recorded vectors were signed.
const RECORDED_AT: &str = "2026-09-01T08:30:15Z";

#[derive(Deserialize)]
struct Vectors {
    vectors: Vec<Vector>,
    negative_cases: Vec<Negative>,
}

#[derive(Deserialize, Clone)]
struct Vector {
    id: String,
    vendor: String,
    access_key_id: String,
    access_key_secret: String,
    security_token: Option<String>,
    request: Recorded,
}

#[derive(Deserialize, Clone)]
struct Recorded {
    method: String,
    target: String,
    headers: Vec<(String, String)>,
    body: String,
}

#[derive(Deserialize)]
struct Negative {
    base: String,
    mutation: String,
    expect_http: u16,
    expect_code: String,
}

static VECTORS: LazyLock<Vectors> =
    LazyLock::new(|| serde_json::from_str(include_str!("../data/signature_vectors.json")).unwrap());

impl Vector {
    fn named(id: &str) -> Self {
        VECTORS.vectors.iter().find(|vector| vector.id == id).unwrap().clone()
    }

    fn is_alibaba(&self) -> bool {
        self.vendor == "alibaba"
    }

    fn request(&self) -> Request<Bytes> {
        let mut request = Request::builder().method(self.request.method.as_str()).uri(&self.request.target);
        for (name, value) in &self.request.headers {
            request = request.header(name, value);
        }
        request.body(Bytes::from(self.request.body.clone())).unwrap()
    }

    fn header(&mut self, name: &str) -> &mut String {
        let found = self.request.headers.iter_mut().find(|(key, _)| key.eq_ignore_ascii_case(name));
        &mut found.unwrap().1
    }

    /// The published vectors have dates of their own.
    fn signed_at(&self) -> Timestamp {
        at(match self.id.as_str() {
            "pub-ali-v3-runinstances" => "2023-10-26T10:22:32Z",
            "pub-ali-v2-describededicatedhosts" => "2023-03-13T08:34:30Z",
            _ => RECORDED_AT,
        })
    }

    fn keys(&self) -> Keys {
        Keys::new([(self.access_key_id.as_str(), self.access_key_secret.as_str())])
    }

    fn verify(&self, keys: &Keys, now: Timestamp) -> Result<Verified, VendorRefusal> {
        if self.is_alibaba() {
            alibaba_cams::verify(&self.request(), keys, now, &Nonces::default())
        } else {
            volcengine_rtc::verify(&self.request(), keys, now, &["cn-north-1".to_owned()])
        }
    }

    /// A simulator that knows the vector's key and whose clock stands at `now`.
    fn simulator(&self, now: Timestamp) -> Arc<Simulator> {
        let mut config = SimulatorConfig::new(1, Arc::new(ManualClock::frozen_at(now)));
        config.keys = vec![(self.access_key_id.clone(), self.access_key_secret.clone())];
        Simulator::new(config)
    }
}

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// Status and code, wherever the vendor puts the code.
async fn answered(simulator: &Simulator, request: Request<Bytes>) -> (u16, String) {
    let SimOutcome::Reply(reply) = simulator.handle(request).await else { panic!("no reply") };
    let body: Value = serde_json::from_slice(reply.body()).unwrap();
    let error = body.pointer("/ResponseMetadata/Error/Code").or(body.get("Code")).and_then(Value::as_str);
    (reply.status().as_u16(), error.unwrap_or_default().to_owned())
}

#[test]
fn all_vectors_are_accepted() {
    assert_eq!(VECTORS.vectors.len(), 27);
    for vector in &VECTORS.vectors {
        let verified = vector.verify(&vector.keys(), vector.signed_at());
        let expected = if vector.is_alibaba() { "" } else { "cn-north-1" };
        let Verified { key_id, region } = verified.unwrap_or_else(|refusal| panic!("{}: {refusal:?}", vector.id));
        assert_eq!((key_id, region.as_str()), (vector.access_key_id.clone(), expected), "{}", vector.id);
    }
}

#[test]
fn every_byte_that_is_signed_matters() {
    for vector in &VECTORS.vectors {
        let secret = format!("{}!", vector.access_key_secret);
        let wrong_secret = Keys::new([(vector.access_key_id.as_str(), secret.as_str())]);
        let mut other_query = vector.clone();
        other_query.request.target += if vector.request.target.contains('?') { "&Extra=1" } else { "?Extra=1" };
        let mut other_method = vector.clone();
        other_method.request.method = "PUT".to_owned();
        let now = vector.signed_at();
        for refused in [
            vector.verify(&wrong_secret, now),
            other_query.verify(&vector.keys(), now),
            other_method.verify(&vector.keys(), now),
        ] {
            assert_eq!(refused.unwrap_err().code, "SignatureDoesNotMatch", "{}", vector.id);
        }
    }
}

#[test]
fn dates_are_good_for_fifteen_minutes_either_way() {
    for vector in &VECTORS.vectors {
        let (keys, signed_at) = (vector.keys(), vector.signed_at());
        for now in [signed_at + 15 * MINUTE, signed_at - 15 * MINUTE] {
            assert!(vector.verify(&keys, now).is_ok(), "{} {now}", vector.id);
        }
        for now in [signed_at + 15 * MINUTE + SECOND, signed_at - 15 * MINUTE - SECOND] {
            let code = vector.verify(&keys, now).unwrap_err().code;
            assert!(code == "InvalidTimeStamp.Expired" || code == "InvalidTimestamp", "{} {code}", vector.id);
        }
    }
}

#[test]
fn a_key_with_a_token_needs_exactly_that_token() {
    for vector in &VECTORS.vectors {
        let mut keys = vector.keys();
        keys.require_token(&vector.access_key_id, vector.security_token.as_deref().unwrap_or("wanted"));
        let verdict = vector.verify(&keys, vector.signed_at());
        assert_eq!(verdict.is_ok(), vector.security_token.is_some(), "{} {verdict:?}", vector.id);
        keys.require_token(&vector.access_key_id, "another");
        let code = vector.verify(&keys, vector.signed_at()).unwrap_err().code;
        assert!(code.contains("Token"), "{} {code}", vector.id);
    }
}

#[test]
fn headers_that_must_be_signed_cannot_be_slipped_in() {
    let mut vector = Vector::named("ali-01-minimal");
    vector.request.headers.push(("x-acs-security-token".to_owned(), "slipped-in".to_owned()));
    assert_eq!(vector.verify(&vector.keys(), at(RECORDED_AT)).unwrap_err().code, "IncompleteSignature");
    let mut vector = Vector::named("volc-01-province");
    vector.request.headers.push(("X-Security-Token".to_owned(), "slipped-in".to_owned()));
    assert_eq!(vector.verify(&vector.keys(), at(RECORDED_AT)).unwrap_err().code, "SignatureDoesNotMatch");
}

/// The vectors of our operations through the whole simulator: routed, verified, counted.
#[tokio::test]
async fn recorded_calls_reach_their_operation() {
    let mut answers = Vec::new();
    for vector in VECTORS.vectors.iter().filter(|vector| !vector.id.starts_with("pub-")) {
        let simulator = vector.simulator(at(RECORDED_AT));
        let (status, code) = answered(&simulator, vector.request()).await;
        let expected = match vector.id.as_str() {
            "volc-06-empty-body" => (400, "InvalidParameter.BodyIsEmpty"),
            _ if vector.is_alibaba() => (200, "OK"),
            // The page's example is of 2021.
            _ => (400, "InvalidParameter.OutofTimeRange"),
        };
        assert_eq!((status, code.as_str()), expected, "{}", vector.id);
        assert_eq!(simulator.arrivals()[0].account, vector.access_key_id);
        answers.push(status);
    }
    assert_eq!(answers.len(), 25);
}

#[tokio::test]
async fn all_negative_cases_are_refused_with_the_vendors_status_and_code() {
    assert_eq!(VECTORS.negative_cases.len(), 14);
    for case in &VECTORS.negative_cases {
        let mut vector = Vector::named(&case.base);
        let mut now = at(RECORDED_AT);
        let simulator = vector.simulator(now);
        let drop_authorization = |vector: &mut Vector| {
            vector.request.headers.retain(|(name, _)| !name.eq_ignore_ascii_case("authorization"));
        };
        match case.mutation.as_str() {
            "change one character of Signature" => {
                let last = vector.header("authorization").pop().unwrap();
                vector.header("authorization").push(if last == '0' { '1' } else { '0' });
            }
            "change PhoneNumber in the query, keep the signature" => {
                vector.request.target = vector.request.target.replace("861380000", "861380001");
            }
            "remove the Authorization header" | "remove Authorization" => drop_authorization(&mut vector),
            "server clock more than 15 min from x-acs-date" => now = now + 15 * MINUTE + SECOND,
            "server clock more than 900 s from X-Date" => now = now - 15 * MINUTE - SECOND,
            "send the identical request twice inside the window" => {
                assert_eq!(answered(&simulator, vector.request()).await.0, 200);
            }
            "unknown access key id" | "unknown access key" => {
                let id = vector.access_key_id.clone();
                *vector.header("authorization") = vector.header("authorization").replace(&id, "nobody");
            }
            "action spelled EnableWhatsAppROIMetric" => {
                "EnableWhatsAppROIMetric".clone_into(vector.header("x-acs-action"));
            }
            "change one byte of the body, keep headers" => {
                vector.request.body = vector.request.body.replace("user_num", "user_nun");
            }
            "credential scope with another date than X-Date" => {
                *vector.header("authorization") = vector.header("authorization").replace("/20260901/", "/20260902/");
            }
            "Version=2019-01-01" => {
                vector.request.target = vector.request.target.replace("2020-12-01", "2019-01-01");
            }
            "remove Action from the query" => {
                vector.request.target = vector.request.target.replace("Action=ListOperationDistribution&", "");
            }
            other => panic!("a negative case that this test does not know: {other}"),
        }
        let simulator = if now == at(RECORDED_AT) { simulator } else { vector.simulator(now) };
        let (status, code) = answered(&simulator, vector.request()).await;
        assert_eq!(status, case.expect_http, "{} {code}", case.mutation);
        assert!(case.expect_code.split(" or ").any(|expected| expected == code), "{}: {code}", case.mutation);
    }
}
