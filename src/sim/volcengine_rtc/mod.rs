//! Volcengine's Real-Time Communication API, seen from the server.
//!
//! Codes follow the vendor's table; their HTTP statuses are by family, as the vendor documents none.

mod verifier;

use std::time::Duration;

use bytes::Bytes;
use http::{Request, Response};
use serde::Deserialize;
use serde_json::{Value, json};

pub use verifier::verify;

use super::meter::{Operation, Parameters};
use super::reply;
use super::side::{Incoming, Side};
use super::signature::{VendorRefusal, Verified, query_pairs, value};
use super::world::Dimension;
use super::{Fault, Simulator};
use crate::domain::{Timestamp, Vendor, Window};

/// Two calls a second over all apps of an account.
const OPERATIONS: [Operation; 1] = [Operation { name: "ListOperationDistribution", calls_per_second: 2 }];

/// The page beside the current one, and the current one; the same shape and limits.
const VERSIONS: [&str; 2] = ["2020-12-01", "2023-11-01"];
const CONTENT_TYPE: &str = "application/json";

/// The longest window of one query (the page's "at most 7 days").
const MAX_WINDOW: Duration = Duration::from_hours(168);
/// How far back a query may begin (the page's "last 30 days").
const LOOKBACK: Duration = Duration::from_hours(720);

/// Apps that do not exist.
const UNKNOWN_PREFIX: &str = "unknown-";

/// The vendor's server side.
pub(super) struct Volcengine;

impl Side for Volcengine {
    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn read(&self, request: &Request<Bytes>) -> Incoming {
        let query = query_pairs(request);
        let body: RequestBody = serde_json::from_slice(request.body()).unwrap_or_default();
        let instant = |text: &Option<String>| text.as_deref().and_then(|text| Timestamp::parse_rfc3339(text).ok());
        Incoming {
            vendor: Vendor::VolcengineRtc,
            operation: value(&query, "Action").unwrap_or_default().to_owned(),
            key_id: verifier::claims(request).key_id,
            parameters: Parameters {
                start: instant(&body.start_time),
                end: instant(&body.end_time),
                subject: body.app_id,
                has_phone: false,
                detail: body.dimension,
            },
        }
    }

    /// Action and version are looked up before the signature is: the gateway must know the service first.
    fn admit(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        now: Timestamp,
    ) -> Result<Verified, VendorRefusal> {
        let query = query_pairs(request);
        let need = |name: &str| {
            let missing =
                || VendorRefusal::new(400, "MissingParameter", format!("The request is missing {name} parameter."));
            value(&query, name).ok_or_else(|| missing().numbered(100_002))
        };
        let (action, version) = (need("Action")?, need("Version")?);
        let is_known = self.operation(action).is_some() && VERSIONS.contains(&version);
        if !(is_known && request.method() == http::Method::POST && request.uri().path() == "/") {
            let message = format!("Could not find operation {action} for version {version}.");
            return Err(VendorRefusal::new(404, "InvalidActionOrVersion", message).numbered(100_008));
        }
        verify(request, &simulator.keys, now, &simulator.config.regions)
    }

    fn answer(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        verified: &Verified,
        now: Timestamp,
    ) -> Result<Value, VendorRefusal> {
        let query = DistributionQuery::read(request.body(), now)?;
        let shares = simulator.world.shares(&query.app_id, query.dimension, query.window, now);
        // The page's sample has integers, its table a double: each version does one of the two.
        let is_integer = version(request) == VERSIONS[0];
        let row = |(name, count): &(&str, u64)| {
            let value = if is_integer { json!(count) } else { json!(to_f64(*count)) };
            // The page's sample fits truncation only, of the share in all users.
            let proportion = to_f64(count * 10_000 / shares.total.max(1)) / 100.0;
            json!({ "DistributionName": name, "Value": value, "Proportion": proportion })
        };
        let data: Vec<_> = shares.places.iter().map(row).collect();
        Ok(json!({
            "ResponseMetadata": metadata(request, &verified.region),
            "Result": { "Name": "user_num", "Dimension": query.dimension_as_sent, "Data": data },
        }))
    }

    fn rows(&self) -> &'static str {
        "/Result/Data"
    }

    fn throttle(&self, _: Option<Duration>) -> VendorRefusal {
        let message = "Request was rejected because the request speed of this openAPI is beyond the current flow \
                       control limit.";
        VendorRefusal::new(429, "FlowLimitExceeded.QPSOverLimit", message)
    }

    fn refusal_of(&self, fault: &Fault) -> Option<VendorRefusal> {
        const INTERNAL: &str = "Service has some internal Error. Pls Contact With Admin.";
        Some(match fault {
            Fault::ClockSkew => verifier::expired(),
            Fault::InternalError => VendorRefusal::new(500, "InternalError", INTERNAL).numbered(100_014),
            Fault::CodeNAbsent => VendorRefusal::new(500, "InternalError", INTERNAL),
            Fault::Unavailable => VendorRefusal::new(503, "ServiceUnavailableTemp", "service temporarily unavailable"),
            Fault::LimitControl => {
                VendorRefusal::new(400, "AccountFlowLimitExceeded", "The account is beyond its flow control limit.")
            }
            Fault::NotSubscribed => {
                VendorRefusal::new(403, "AccessDenied.ServiceNotEnabled", "The service is not enabled for the account.")
            }
            Fault::PermissionDenied => {
                VendorRefusal::new(403, "AccessDenied.NoPermissionForApp", "No permission for the application.")
            }
            _ => return None,
        })
    }

    fn accept(&self, body: &Value, request_id: &str) -> Response<Bytes> {
        let mut body = body.clone();
        if let Some(Value::Object(fields)) = body.get_mut("ResponseMetadata") {
            fields.insert("RequestId".into(), request_id.into());
        }
        reply::json(200, CONTENT_TYPE, &body)
    }

    fn refuse(&self, refusal: &VendorRefusal, request: &Request<Bytes>, request_id: &str) -> Response<Bytes> {
        let mut error = json!({ "Code": refusal.code, "Message": refusal.message });
        if let Some(code_n) = refusal.code_n {
            error["CodeN"] = code_n.into();
        }
        let mut metadata = metadata(request, &verifier::claims(request).region);
        metadata["RequestId"] = request_id.into();
        metadata["Error"] = error;
        reply::json(refusal.status, CONTENT_TYPE, &json!({ "ResponseMetadata": metadata }))
    }
}

#[derive(Deserialize, Default)]
#[serde(rename_all = "PascalCase", default)]
struct RequestBody {
    app_id: Option<String>,
    start_time: Option<String>,
    end_time: Option<String>,
    indicator: Option<String>,
    dimension: Option<String>,
}

/// The checked body of `ListOperationDistribution`.
struct DistributionQuery {
    app_id: String,
    window: Window,
    dimension: Dimension,
    dimension_as_sent: String,
}

impl DistributionQuery {
    fn read(body: &[u8], now: Timestamp) -> Result<Self, VendorRefusal> {
        if body.is_empty() {
            return Err(invalid(".BodyIsEmpty", "The body is empty."));
        }
        let Ok(body) = serde_json::from_slice::<RequestBody>(body) else {
            return Err(invalid(".Unmarshal", "The body is not the JSON that was expected."));
        };
        let need =
            |field: Option<String>, name: &str| field.ok_or_else(|| invalid("", &format!("{name} is required.")));
        let instant = |text: Option<String>, name: &str| {
            let text = need(text, name)?;
            Timestamp::parse_rfc3339(&text).or(Err(invalid("", &format!("{name} is not RFC 3339."))))
        };
        let app_id = need(body.app_id, "AppId")?;
        let start = instant(body.start_time, "StartTime")?;
        let end = instant(body.end_time, "EndTime")?;
        // The pages disagree on the name; both are taken, one is answered.
        if !["user_num", "user_count"].contains(&need(body.indicator, "Indicator")?.as_str()) {
            return Err(invalid("", "Indicator is not supported."));
        }
        let dimension_as_sent = need(body.dimension, "Dimension")?;
        let dimension = match dimension_as_sent.to_ascii_lowercase().as_str() {
            "province" => Dimension::Province,
            "country" => Dimension::Country,
            _ => return Err(invalid("", "Dimension is not supported.")),
        };
        let window = Window::new(start, end)
            .ok_or_else(|| invalid(".StartTimeAfterEndTime", "StartTime is not before EndTime."))?;
        if window.length() > MAX_WINDOW {
            return Err(invalid(".OutofTimeRange", "The time range is longer than 7 days."));
        }
        if start < now - LOOKBACK {
            return Err(invalid(".OutofTimeRange", "The time range begins more than 30 days ago."));
        }
        if app_id.is_empty() {
            return Err(invalid(".IllegalAppId", "AppId is illegal."));
        }
        if app_id.starts_with(UNKNOWN_PREFIX) {
            return Err(invalid(".NotExistAppId", "AppId does not exist."));
        }
        Ok(Self { app_id, window, dimension, dimension_as_sent })
    }
}

fn invalid(kind: &str, message: &str) -> VendorRefusal {
    VendorRefusal::new(400, format!("InvalidParameter{kind}"), message)
}

fn metadata(request: &Request<Bytes>, region: &str) -> Value {
    let query = query_pairs(request);
    let action = value(&query, "Action").unwrap_or_default();
    json!({ "Action": action, "Version": version(request), "Service": "rtc", "Region": region })
}

fn version(request: &Request<Bytes>) -> String {
    value(&query_pairs(request), "Version").unwrap_or_default().to_owned()
}

/// Counts of users and hundredths of a percent are small.
fn to_f64(count: u64) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}
