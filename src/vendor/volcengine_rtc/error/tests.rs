use std::time::Duration;

use bytes::Bytes;

use super::*;
use crate::domain::Account;
use crate::error::{Code, WeirError};

fn reply(status: u16, body: &str) -> Reply {
    http::Response::builder().status(status).body(Bytes::from(body.to_owned())).unwrap()
}

fn refusal(status: u16, body: &str) -> CallError {
    open(&reply(status, body)).err().unwrap()
}

/// A body of the vendor's gateway, with or without the optional fields.
fn gateway(code: &str, more: &str, tail: &str) -> String {
    format!(
        r#"{{"ResponseMetadata":{{"RequestId":"R-1\n","Action":"A","Error":{{{more}"Code":"{code}","Message":"accesskey [SECRET]"}}}}{tail}}}"#
    )
}

fn plain(code: &str) -> String {
    gateway(code, "", "")
}

/// Every documented code with a status it is documented or seen with, and its code of the contract.
const DOCUMENTED: [(u16, &str, Code); 33] = [
    (400, "MissingParameter", Code::Internal),
    (401, "MissingAuthenticationToken", Code::Internal),
    (400, "MissingRequestInfo", Code::Internal),
    (401, "MissingSignature", Code::Internal),
    (400, "InvalidTimestamp", Code::VendorDenied),
    (403, "InvalidTimestamp", Code::VendorDenied),
    (404, "ServiceNotFound", Code::Internal),
    (404, "InvalidActionOrVersion", Code::Internal),
    (401, "InvalidAccessKey", Code::VendorDenied),
    (401, "SignatureDoesNotMatch", Code::VendorDenied),
    (403, "LackPolicy", Code::VendorDenied),
    (403, "AccessDenied", Code::VendorDenied),
    (500, "InternalError", Code::VendorUnavailable),
    (500, "InternalError.Database", Code::VendorUnavailable),
    (502, "FailToConnect", Code::VendorUnavailable),
    (504, "InternalServiceTimeout", Code::VendorUnavailable),
    (429, "FlowLimitExceeded", Code::VendorThrottled),
    (429, "FlowLimitExceeded.QPSOverLimit", Code::VendorThrottled),
    (400, "AccountFlowLimitExceeded", Code::VendorThrottled),
    (503, "ServiceUnavailableTemp", Code::VendorUnavailable),
    (400, "InvalidAuthorization", Code::VendorDenied),
    (400, "InvalidCredential", Code::VendorDenied),
    (401, "InvalidSecretToken", Code::VendorDenied),
    (400, "InvalidParameter", Code::BadUserInput),
    (400, "InvalidParameter.StartTimeAfterEndTime", Code::BadUserInput),
    (400, "InvalidParameter.OutofTimeRange", Code::OutOfRetention),
    (400, "InvalidParameter.BodyIsEmpty", Code::Internal),
    (400, "InvalidParameter.Unmarshal", Code::Internal),
    (400, "InvalidParameter.NotExistAppId", Code::UnknownApplication),
    (400, "InvalidParameter.IllegalAppId", Code::UnknownApplication),
    (400, "InvalidParameter.EmptyAccountId", Code::VendorDenied),
    (403, "AccessDenied.NoPermissionForApp", Code::VendorDenied),
    (403, "AccessDenied.ServiceNotEnabled", Code::NotSubscribed),
];

#[test]
fn every_documented_code_has_one_meaning_whatever_the_status() {
    let account = Account::new(Vendor::VolcengineRtc, "calls", "host", "owner");
    let document = include_str!("../../../../docs/vendors/volcengine-rtc.md");
    for (documented_status, code, expected) in DOCUMENTED {
        for status in [documented_status, 200] {
            for body in [plain(code), gateway(code, r#""CodeN":100018,"#, r#","Result":{}"#)] {
                let error = refusal(status, &body);
                assert_eq!(WeirError::from_call(&error, &account).code, expected, "{status} {code}");
                assert_eq!((error.vendor_code.as_deref(), error.request_id.as_deref()), (Some(code), Some("R-1")));
                assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
            }
        }
        let row = format!("`{code}` | {expected} |");
        assert!(document.contains(&row), "docs/vendors/volcengine-rtc.md lacks {row}");
    }
    for (code, ..) in CODES {
        assert!(DOCUMENTED.iter().any(|(_, documented, _)| *documented == code), "{code} is not tested");
    }
}

#[test]
fn a_code_that_is_not_documented_goes_by_its_status() {
    for (status, kind) in [
        (429, CallErrorKind::Throttled),
        (401, CallErrorKind::Denied),
        (403, CallErrorKind::Denied),
        (500, CallErrorKind::Unavailable),
        (400, CallErrorKind::BadReply),
        (200, CallErrorKind::BadReply),
    ] {
        let error = refusal(status, &plain("Novelty"));
        assert_eq!((error.kind, error.vendor_code.as_deref()), (kind, Some("Novelty")), "{status}");
    }
    assert_eq!(refusal(503, r#"{"ResponseMetadata":{},"Result":{}}"#).kind, CallErrorKind::Unavailable);
    assert_eq!(refusal(200, r#"{"ResponseMetadata":{"Error":{}},"Result":{}}"#).kind, CallErrorKind::BadReply);
}

#[test]
fn bodies_that_are_no_json_go_by_their_status() {
    for body in ["<html>502</html>", "", r#"{"ResponseMetadata":{},"Result":{"#, r#"{"Result":{}}"#, "null", "[]"] {
        assert_eq!(refusal(200, body).kind, CallErrorKind::BadReply, "{body}");
        assert_eq!(refusal(502, body).kind, CallErrorKind::Unavailable, "{body}");
        assert_eq!(refusal(403, body).kind, CallErrorKind::Denied, "{body}");
        assert_eq!(refusal(302, body).kind, CallErrorKind::BadReply, "{body}");
    }
}

#[test]
fn success_is_a_2xx_without_an_error() {
    for error in ["", r#","Error":null"#] {
        let body = format!(r#"{{"ResponseMetadata":{{"RequestId":"R-1"{error}}},"Result":{{"Data":1}}}}"#);
        let reply = reply(200, &body);
        let envelope = open(&reply).unwrap();
        assert_eq!((envelope.request_id(), envelope.result.unwrap().get()), (Some("R-1"), r#"{"Data":1}"#));
    }
}

#[test]
fn the_wait_that_the_vendor_asks_for_is_in_seconds() {
    let with = |code: &str| {
        let mut reply = reply(429, &plain(code));
        reply.headers_mut().insert("retry-after", http::HeaderValue::from_static("2"));
        open(&reply).err().unwrap().retry_after
    };
    assert_eq!(with("FlowLimitExceeded.QPSOverLimit"), Some(Duration::from_secs(2)));
    assert_eq!(with("AccessDenied"), None, "there is nothing to come back for");
}

#[test]
fn text_where_a_code_should_be_is_not_shown() {
    let error = refusal(400, &plain("accesskey [SECRET]"));
    assert_eq!((error.kind, error.vendor_code), (CallErrorKind::BadReply, None));
}
