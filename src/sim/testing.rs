//! Signed requests for the simulator's own tests. The verifiers are held against the vendors' vectors elsewhere, so
//! building signatures from the same primitives is no circle here.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::signature::{canonical_request, header, hex, hmac_sha256, sha256_hex};
use super::{DEMO_KEY, SimOutcome, Simulator, SimulatorConfig};
use crate::domain::{ManualClock, Timestamp};

pub(super) const NOW: &str = "2026-09-01T08:30:15Z";

static NONCE: AtomicU64 = AtomicU64::new(0);

pub(super) fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

/// A simulator at [`NOW`], changed by `change`.
pub(super) fn simulator(change: impl FnOnce(&mut SimulatorConfig)) -> Arc<Simulator> {
    let mut config = SimulatorConfig::new(7, Arc::new(ManualClock::frozen_at(at(NOW))));
    change(&mut config);
    Simulator::new(config)
}

/// A correctly signed call of CAMS with these query parameters.
pub(super) fn cams(action: &str, query: &str) -> Request<Bytes> {
    cams_by(DEMO_KEY, action, query)
}

pub(super) fn cams_by(key: (&str, &str), action: &str, query: &str) -> Request<Bytes> {
    let nonce = NONCE.fetch_add(1, Ordering::Relaxed);
    let mut request = Request::post(format!("http://cams.example/?{query}"))
        .header("host", "cams.example")
        .header("x-acs-action", action)
        .header("x-acs-version", "2020-06-06")
        .header("x-acs-date", NOW)
        .header("x-acs-signature-nonce", format!("{nonce:032x}"))
        .header("x-acs-content-sha256", sha256_hex(b""))
        .body(Bytes::new())
        .unwrap();
    let names =
        ["host", "x-acs-action", "x-acs-content-sha256", "x-acs-date", "x-acs-signature-nonce", "x-acs-version"];
    let text = format!("ACS3-HMAC-SHA256\n{}", sha256_hex(canonical(&request, &names).as_bytes()));
    let signature = hex(&hmac_sha256(key.1.as_bytes(), &text).unwrap());
    let value =
        format!("ACS3-HMAC-SHA256 Credential={},SignedHeaders={},Signature={signature}", key.0, names.join(";"));
    request.headers_mut().insert("authorization", value.parse().unwrap());
    request
}

/// A correctly signed call of `ListOperationDistribution` at this version.
pub(super) fn rtc(version: &str, body: &Value) -> Request<Bytes> {
    rtc_with(version, &body.to_string())
}

pub(super) fn rtc_with(version: &str, body: &str) -> Request<Bytes> {
    let mut request = Request::post(format!("http://rtc.example/?Action=ListOperationDistribution&Version={version}"))
        .header("host", "rtc.example")
        .header("content-type", "application/json")
        .header("x-date", "20260901T083015Z")
        .body(Bytes::from(body.to_owned()))
        .unwrap();
    let canonical = sha256_hex(canonical(&request, &["host", "x-date"]).as_bytes());
    let text = format!("HMAC-SHA256\n20260901T083015Z\n20260901/cn-north-1/rtc/request\n{canonical}");
    let parts = ["20260901", "cn-north-1", "rtc", "request", &text];
    let signature = parts.iter().try_fold(DEMO_KEY.1.as_bytes().to_vec(), |key, part| hmac_sha256(&key, part)).unwrap();
    let value = format!(
        "HMAC-SHA256 Credential={}/20260901/cn-north-1/rtc/request, SignedHeaders=host;x-date, Signature={}",
        DEMO_KEY.0,
        hex(&signature)
    );
    request.headers_mut().insert("authorization", value.parse().unwrap());
    request
}

/// The body of a distribution of `app-one` by province.
pub(super) fn distribution(start: &str, end: &str) -> Value {
    json!({ "AppId": "app-one", "StartTime": start, "EndTime": end, "Indicator": "user_num", "Dimension": "province" })
}

/// The week before [`NOW`], late enough to be settled.
pub(super) fn settled_week() -> Value {
    distribution("2026-08-24T00:00:00+08:00", "2026-08-31T00:00:00+08:00")
}

/// Status and body of a reply.
pub(super) fn told(outcome: &SimOutcome) -> (u16, Value) {
    let SimOutcome::Reply(reply) = outcome else { panic!("no reply: {outcome:?}") };
    (reply.status().as_u16(), serde_json::from_slice(reply.body()).unwrap_or(Value::Null))
}

fn canonical(request: &Request<Bytes>, names: &[&str]) -> String {
    let headers: Vec<_> = names.iter().map(|name| ((*name).to_owned(), header(request, name).unwrap())).collect();
    canonical_request(request, &headers)
}
