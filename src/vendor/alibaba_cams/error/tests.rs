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

/// A body of the vendor's gateway.
fn gateway(code: &str) -> String {
    format!(
        r#"{{"RequestId":"R-1\n","HostId":"cams","Code":"{code}","Message":"server string to sign is:SECRET","Recommend":"redis","AccessDeniedDetail":{{"AuthAction":"cams:x"}}}}"#
    )
}

/// Every documented code with a status it is documented or seen with, and its code of the contract.
const DOCUMENTED: [(u16, &str, Code); 37] = [
    (400, "Throttling", Code::VendorThrottled),
    (400, "Throttling.User", Code::VendorThrottled),
    (400, "Throttling.Api", Code::VendorThrottled),
    (400, "System.LimitControl", Code::VendorThrottled),
    (400, "InvalidTimeStamp.Expired", Code::VendorDenied),
    (400, "InvalidTimeStamp.Format", Code::VendorDenied),
    (400, "SignatureNonceUsed", Code::VendorDenied),
    (400, "SignatureDoesNotMatch", Code::VendorDenied),
    (403, "SignatureDoesNotMatch", Code::VendorDenied),
    (400, "IncompleteSignature", Code::VendorDenied),
    (404, "InvalidAccessKeyId.NotFound", Code::VendorDenied),
    (400, "InvalidAccessKeyId.NotFound", Code::VendorDenied),
    (400, "InvalidAccessKeyId.Inactive", Code::VendorDenied),
    (400, "MissingStart", Code::Internal),
    (400, "MissingEnd", Code::Internal),
    (400, "InvalidStart", Code::BadUserInput),
    (400, "InvalidEnd", Code::BadUserInput),
    (400, "InvalidParameter", Code::BadUserInput),
    (400, "InvalidGranularity", Code::BadUserInput),
    (400, "InvalidPhoneNumber", Code::BadUserInput),
    (400, "InvalidCustSpaceId", Code::BadUserInput),
    (400, "InvalidIsvCode", Code::BadUserInput),
    (404, "InvalidApi.NotFound", Code::Internal),
    (404, "InvalidAction.NotFound", Code::Internal),
    (403, "Forbidden.RAM", Code::VendorDenied),
    (403, "NoPermission", Code::VendorDenied),
    (400, "MissingSecurityToken", Code::VendorDenied),
    (404, "InvalidSecurityToken.Expired", Code::VendorDenied),
    (403, "InvalidSecurityToken.Malformed", Code::VendorDenied),
    (403, "InvalidSecurityToken.MismatchWithAccessKey", Code::VendorDenied),
    (500, "InternalError", Code::VendorUnavailable),
    (503, "ServiceUnavailable", Code::VendorUnavailable),
    (400, "Product.Unsubscript", Code::NotSubscribed),
    (400, "Ram.PermissionDeny", Code::VendorDenied),
    (400, "Unknown.ResourceOwnerId", Code::UnknownChannel),
    (200, "Unknown.ResourceOwnerId", Code::UnknownChannel),
    (200, "Throttling.User", Code::VendorThrottled),
];

#[test]
fn every_documented_code_has_one_meaning_whatever_the_status() {
    let account = Account::new(Vendor::AlibabaCams, "retail", "host", "owner");
    let document = include_str!("../../../../docs/vendors/alibaba-cams.md");
    for (documented_status, code, expected) in DOCUMENTED {
        for status in [documented_status, 200] {
            let error = refusal(status, &gateway(code));
            assert_eq!(WeirError::from_call(&error, &account).code, expected, "{status} {code}");
            assert_eq!((error.vendor_code.as_deref(), error.request_id.as_deref()), (Some(code), Some("R-1")));
            assert!(!format!("{error} {error:?}").contains("SECRET"), "{error:?}");
        }
        let row = format!("`{code}` | {expected} |");
        assert!(document.contains(&row), "docs/vendors/alibaba-cams.md lacks {row}");
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
        let error = refusal(status, &gateway("Isp.Novelty"));
        assert_eq!((error.kind, error.vendor_code.as_deref()), (kind, Some("Isp.Novelty")), "{status}");
    }
    assert_eq!(refusal(503, r#"{"Code":"OK"}"#).kind, CallErrorKind::Unavailable, "OK needs a 2xx");
}

#[test]
fn bodies_that_are_no_json_go_by_their_status() {
    for body in ["<html>502</html>", "", r#"{"Code":"OK","Data":[{"#, r#"{"Data":[]}"#, "null", "[]", r#"{"Code":200}"#]
    {
        assert_eq!(refusal(200, body).kind, CallErrorKind::BadReply, "{body}");
        assert_eq!(refusal(502, body).kind, CallErrorKind::Unavailable, "{body}");
        assert_eq!(refusal(403, body).kind, CallErrorKind::Denied, "{body}");
        assert_eq!(refusal(302, body).kind, CallErrorKind::BadReply, "{body}");
    }
}

#[test]
fn success_is_a_2xx_with_the_code_ok() {
    let body = r#"{"Code":"OK","RequestId":"R-1","Data":[1]}"#;
    let reply = reply(200, body);
    let envelope = open(&reply).unwrap();
    assert_eq!((envelope.request_id(), envelope.data.unwrap().get()), (Some("R-1"), "[1]"));
}

#[test]
fn the_wait_that_the_gateway_asks_for_is_in_milliseconds() {
    let with = |name: &'static str, value: &'static str, code: &str| {
        let mut reply = reply(400, &gateway(code));
        reply.headers_mut().insert(name, http::HeaderValue::from_static(value));
        open(&reply).err().unwrap().retry_after
    };
    assert_eq!(with("x-acs-retry-after", "700", "Throttling.User"), Some(Duration::from_millis(700)));
    assert_eq!(with("retry-after", "2", "Throttling.User"), Some(Duration::from_secs(2)));
    assert_eq!(with("retry-after", "2", "NoPermission"), None, "there is nothing to come back for");
}

#[test]
fn text_where_a_code_should_be_is_not_shown() {
    let error = refusal(400, &gateway("server string to sign is:SECRET"));
    assert_eq!((error.kind, error.vendor_code), (CallErrorKind::BadReply, None));
}

#[test]
fn only_parameter_faults_of_no_other_parameter_blame_the_end() {
    for (code, blamed) in [
        ("InvalidEnd", true),
        ("InvalidEnd.Future", true),
        ("InvalidParameter", true),
        ("InvalidPhoneNumber", false),
        ("InvalidTimeStamp.Expired", false),
        ("MissingEnd", false),
    ] {
        assert_eq!(may_be_about_the_end(&refusal(400, &gateway(code))), blamed, "{code}");
    }
}
