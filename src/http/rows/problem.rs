//! Why no rows came, as `application/problem+json` (RFC 9457).

use axum::http::{HeaderValue, StatusCode, header};
use axum::response::{IntoResponse, Response};
use serde_json::{Map, Value, json};

use crate::domain::duration::format_iso;
use crate::error::{Amount, Code, WeirError};
use crate::http::answer::whole_seconds;

/// The answer to a request that failed before its first byte.
pub(in crate::http) fn problem(error: &WeirError) -> Response {
    with_status(status_of(error.code), error)
}

/// The same, where the status is not that of the code.
pub(in crate::http) fn with_status(status: StatusCode, error: &WeirError) -> Response {
    let amount = |amount: Amount| match amount {
        Amount::Count(count) => json!(count),
        Amount::Length(length) => json!(format_iso(length)),
    };
    let retry_after_ms = error.retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let members = [
        ("type", Some(json!("about:blank"))),
        ("title", Some(json!(status.canonical_reason().unwrap_or("Error")))),
        ("status", Some(json!(status.as_u16()))),
        ("detail", Some(json!(error.message))),
        ("code", Some(json!(error.code.as_str()))),
        ("vendor", error.vendor.map(|vendor| json!(vendor.as_str()))),
        ("account", error.account.as_ref().map(|account| json!(account.name()))),
        ("vendorCode", error.vendor_code.as_ref().map(|code| json!(code))),
        ("vendorRequestId", error.vendor_request_id.as_ref().map(|id| json!(id))),
        ("retryable", Some(json!(error.retryable))),
        ("retryAfterMs", retry_after_ms.map(|ms| json!(ms))),
        ("limitName", error.limit.as_ref().and_then(|limit| limit.name).map(|name| json!(name.as_str()))),
        ("limit", error.limit.as_ref().map(|limit| amount(limit.most))),
        ("actual", error.limit.as_ref().and_then(|limit| limit.actual).map(amount)),
    ];
    let members = members.into_iter().filter_map(|(name, value)| Some((name.to_owned(), value?)));
    let body = Value::Object(members.collect::<Map<_, _>>()).to_string();
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("application/problem+json")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-store")),
    ];
    let mut response = (status, headers, body).into_response();
    if status == StatusCode::SERVICE_UNAVAILABLE {
        response.headers_mut().insert(header::RETRY_AFTER, whole_seconds(error.retry_after));
    }
    response.extensions_mut().insert(error.code);
    response
}

fn status_of(code: Code) -> StatusCode {
    match code {
        Code::BadUserInput | Code::RangeTooLong | Code::OutOfRetention | Code::NonAdditive | Code::TooExpensive => {
            StatusCode::BAD_REQUEST
        }
        Code::Unauthenticated => StatusCode::UNAUTHORIZED,
        Code::Forbidden => StatusCode::FORBIDDEN,
        Code::UnknownChannel | Code::UnknownApplication => StatusCode::NOT_FOUND,
        Code::QuotaWaitTooLong | Code::VendorThrottled => StatusCode::SERVICE_UNAVAILABLE,
        Code::VendorTimeout => StatusCode::GATEWAY_TIMEOUT,
        Code::NotSubscribed | Code::VendorDenied | Code::VendorUnavailable | Code::VendorBadReply => {
            StatusCode::BAD_GATEWAY
        }
        Code::Internal => StatusCode::INTERNAL_SERVER_ERROR,
    }
}
