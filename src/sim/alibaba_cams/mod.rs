//! Alibaba Cloud's Chat App Message Service, seen from the server.
//!
//! Operations, parameters, bodies and codes follow the vendor's pages; where they are silent, the choice is noted.

mod verifier;

use std::time::Duration;

use bytes::Bytes;
use http::header::HeaderValue;
use http::{Request, Response};
use serde_json::{Value, json};

pub use verifier::verify;

use super::distortion::access_denied_detail;
use super::meter::{Operation, Parameters};
use super::reply;
use super::side::{Incoming, Side};
use super::signature::{VendorRefusal, Verified, header, query_pairs, value};
use super::world::{CHANNELS, Granularity, Row, TemplateRow};
use super::{Fault, Simulator};
use crate::domain::{Timestamp, Vendor, Window};

const PHONE_NUMBER_METRIC: &str = "GetChatappPhoneNumberMetric";
const ENABLE_ROI_METRIC: &str = "EnableWhatsappROIMetric";
const TEMPLATE_METRIC: &str = "GetChatappTemplateMetric";

const OPERATIONS: [Operation; 3] = [
    Operation { name: PHONE_NUMBER_METRIC, calls_per_second: 50 },
    Operation { name: ENABLE_ROI_METRIC, calls_per_second: 5 },
    // No limit is published; this one is a guess.
    Operation { name: TEMPLATE_METRIC, calls_per_second: 5 },
];

const VERSION: &str = "2020-06-06";
const CONTENT_TYPE: &str = "application/json;charset=utf-8";
/// How long to stay away after a throttle, in milliseconds (the SDK reads it so).
const RETRY_AFTER_MS: &str = "x-acs-retry-after";

/// Channels that belong to nobody.
const UNKNOWN_PREFIX: &str = "unknown-";

/// The vendor's server side.
pub(super) struct Alibaba;

impl Side for Alibaba {
    fn operations(&self) -> &'static [Operation] {
        &OPERATIONS
    }

    fn read(&self, request: &Request<Bytes>) -> Incoming {
        let values = parameters(request);
        let text = |name| value(&values, name).map(str::to_owned);
        Incoming {
            vendor: Vendor::AlibabaCams,
            operation: name_and_version(request).0,
            key_id: verifier::claimed_key(request),
            parameters: Parameters {
                subject: text("CustSpaceId"),
                has_phone: value(&values, "PhoneNumber").is_some(),
                detail: text("Granularity"),
                start: instant(&values, "Start").ok(),
                end: instant(&values, "End").ok(),
            },
        }
    }

    /// Names are case sensitive, and looked up before the signature is: the gateway must know the product first.
    fn admit(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        now: Timestamp,
    ) -> Result<Verified, VendorRefusal> {
        let (name, version) = name_and_version(request);
        if !(self.operation(&name).is_some() && version == VERSION && request.uri().path() == "/") {
            return Err(not_found());
        }
        verify(request, &simulator.keys, now, &simulator.nonces)
    }

    fn answer(
        &self,
        simulator: &Simulator,
        request: &Request<Bytes>,
        _: &Verified,
        now: Timestamp,
    ) -> Result<Value, VendorRefusal> {
        let values = parameters(request);
        let name = name_and_version(request).0;
        let template = if name == TEMPLATE_METRIC {
            Some(value(&values, "TemplateCode").ok_or_else(|| verifier::missing("TemplateCode"))?)
        } else {
            None
        };
        let channel = value(&values, "CustSpaceId").unwrap_or(CHANNELS[0].0);
        let query = (name != ENABLE_ROI_METRIC).then(|| MetricQuery::read(&values, simulator, now)).transpose()?;
        if channel.starts_with(UNKNOWN_PREFIX) {
            let message = "The resource does not belong to the current user.";
            return Err(VendorRefusal::new(400, "Unknown.ResourceOwnerId", message));
        }
        let Some(query) = query else {
            simulator.world.enable(channel, now);
            return Ok(json!({ "Code": "OK", "Message": "None", "AccessDeniedDetail": "None" }));
        };
        if let Some(code) = template {
            let language = value(&values, "Language");
            let (granularity, selection) = (query.granularity, simulator.config.selection);
            let mut rows = simulator.world.template_rows(channel, code, granularity, query.range, now, selection);
            rows.retain(|row| language.is_none_or(|language| language == row.language));
            rows.sort_by(|a, b| (a.start, a.language).cmp(&(b.start, b.language)));
            let data: Vec<_> = rows.iter().map(|row| template_row_json(row, code)).collect();
            return Ok(json!({ "Code": "OK", "Message": "None", "Data": data, "AccessDeniedDetail": "None" }));
        }
        let mut rows = simulator.world.rows(channel, query.granularity, query.range, now, simulator.config.selection);
        rows.retain(|row| query.phone.as_ref().is_none_or(|phone| *phone == row.phone));
        // Not the order that anybody wants: nothing is documented, so nobody may rely on one.
        rows.sort_by(|a, b| (a.start, &a.phone).cmp(&(b.start, &b.phone)));
        let data: Vec<_> = rows.iter().map(|row| row_json(row, query.granularity)).collect();
        Ok(json!({ "Code": "OK", "Message": "None", "Data": data, "AccessDeniedDetail": "None" }))
    }

    fn rows(&self) -> &'static str {
        "/Data"
    }

    fn throttle(&self, retry_after: Option<Duration>) -> VendorRefusal {
        let message = "Request was denied due to user flow control.";
        VendorRefusal { retry_after, ..VendorRefusal::new(400, "Throttling.User", message) }
    }

    fn refusal_of(&self, fault: &Fault) -> Option<VendorRefusal> {
        let (status, code, message) = match fault {
            Fault::ClockSkew => return Some(verifier::expired()),
            Fault::InternalError | Fault::CodeNAbsent => (
                500,
                "InternalError",
                "The request processing has failed due to some unknown error, exception or failure.",
            ),
            Fault::Unavailable => {
                (503, "ServiceUnavailable", "The request has failed due to a temporary failure of the server.")
            }
            Fault::LimitControl => (400, "System.LimitControl", "The system is under flow control."),
            Fault::NotSubscribed => (400, "Product.Unsubscript", "You have not subscribed to the specified product."),
            Fault::PermissionDenied => (403, "NoPermission", "You are not authorized to do this action."),
            _ => return None,
        };
        Some(VendorRefusal::new(status, code, message))
    }

    /// The sample `RequestId` of two pages ends with a line feed; so do ours.
    fn accept(&self, body: &Value, request_id: &str) -> Response<Bytes> {
        let mut body = body.clone();
        if let Value::Object(fields) = &mut body {
            fields.insert("RequestId".into(), format!("{}\n", dashed(request_id)).into());
        }
        reply::json(200, CONTENT_TYPE, &body)
    }

    fn refuse(&self, refusal: &VendorRefusal, request: &Request<Bytes>, request_id: &str) -> Response<Bytes> {
        let request_id = dashed(request_id);
        let mut body = json!({
            "RequestId": request_id,
            "HostId": header(request, "host").unwrap_or_default(),
            "Code": refusal.code,
            "Message": refusal.message,
            "Recommend": format!("https://api.alibabacloud.com/troubleshoot?q={}&product=cams", refusal.code),
        });
        if refusal.code == "NoPermission" {
            body["AccessDeniedDetail"] = access_denied_detail();
        }
        let mut reply = reply::json(refusal.status, CONTENT_TYPE, &body);
        if let Some(wait) = refusal.retry_after {
            let wait_ms = u64::try_from(wait.as_millis()).unwrap_or(u64::MAX);
            reply.headers_mut().insert(RETRY_AFTER_MS, HeaderValue::from(wait_ms));
        }
        reply
    }
}

/// The checked parameters of `GetChatappPhoneNumberMetric`, most of which `GetChatappTemplateMetric` has as well.
struct MetricQuery {
    range: Window,
    granularity: Granularity,
    phone: Option<String>,
}

impl MetricQuery {
    fn read(values: &[(String, String)], simulator: &Simulator, now: Timestamp) -> Result<Self, VendorRefusal> {
        let (start, end) = (instant(values, "Start")?, instant(values, "End")?);
        let range = Window::new(start, end).ok_or_else(|| invalid("End"))?;
        if simulator.config.refuse_future_end && end > now {
            return Err(invalid("End"));
        }
        // The default is undocumented; days are the sane choice.
        let granularity = match value(values, "Granularity") {
            None | Some("DAILY") => Granularity::Daily,
            Some("HALF_HOUR") => Granularity::HalfHour,
            Some(_) => return Err(invalid("Granularity")),
        };
        let phone = value(values, "PhoneNumber").map(|text| text.chars().filter(char::is_ascii_digit).collect());
        Ok(Self { range, granularity, phone })
    }
}

fn row_json(row: &Row, granularity: Granularity) -> Value {
    json!({
        "PhoneNumber": row.phone,
        "Granularity": granularity.as_str(),
        "Start": row.start.as_ms(),
        "End": row.end.as_ms(),
        "SentCount": row.sent,
        "DeliveredCount": row.delivered,
    })
}

fn template_row_json(row: &TemplateRow, code: &str) -> Value {
    let clicks =
        row.clicks.iter().map(|(kind, text, count)| json!({ "Type": kind, "ButtonContent": text, "Count": count }));
    json!({
        "TemplateCode": code,
        "Language": row.language,
        "Start": row.start.as_ms(),
        "End": row.end.as_ms(),
        "SentCount": row.sent,
        "DeliveredCount": row.delivered,
        "ReadCount": row.read,
        "Cliented": clicks.collect::<Vec<_>>(),
    })
}

/// In headers with the newer signature, in the query with the legacy one, which sends the headers too.
fn name_and_version(request: &Request<Bytes>) -> (String, String) {
    let values = parameters(request);
    let either = |in_query, in_headers| {
        let text = value(&values, in_query).map(str::to_owned);
        text.or_else(|| header(request, in_headers)).unwrap_or_default()
    };
    (either("Action", "x-acs-action"), either("Version", "x-acs-version"))
}

fn parameters(request: &Request<Bytes>) -> Vec<(String, String)> {
    let mut values = query_pairs(request);
    values.extend(verifier::form_body(request));
    values
}

fn instant(values: &[(String, String)], name: &str) -> Result<Timestamp, VendorRefusal> {
    let text = value(values, name).ok_or_else(|| verifier::missing(name))?;
    text.parse().map(Timestamp::from_ms).or(Err(invalid(name)))
}

fn invalid(name: &str) -> VendorRefusal {
    VendorRefusal::new(400, "InvalidParameter", format!("Specified parameter {name} is not valid."))
}

fn not_found() -> VendorRefusal {
    let message = "Specified api is not found, please check your url and method.";
    VendorRefusal::new(404, "InvalidApi.NotFound", message)
}

/// 32 digits in the groups of a UUID.
fn dashed(id: &str) -> String {
    let group = |range| id.get(range).unwrap_or_default();
    format!("{}-{}-{}-{}-{}", group(0..8), group(8..12), group(12..16), group(16..20), group(20..32))
}
