//! The control path of `weir simulate`: what arrived, what goes wrong, and starting over.
//!
//! | call | does |
//! |---|---|
//! | `GET /_sim/arrivals` | every arrival: when (milliseconds since the start), for whom, how it ended |
//! | `GET /_sim/stats` | per account and operation: calls, throttled, the widest second |
//! | `GET /_sim/faults` | the faults that wait to act |
//! | `POST /_sim/faults` | adds one: `{"fault": …, "vendor": …, "operation": …, "times": …}`, see [`super::Fault`] |
//! | `DELETE /_sim/faults` | takes all of them away |
//! | `POST /_sim/reset` | forgets arrivals, windows, nonces, faults and enabled channels |

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use http::StatusCode;
use http::header::CONTENT_TYPE;
use serde::Deserialize;
use serde_json::{Value, json};

use super::{Arrival, ArrivalOutcome, Fault, Scope, Simulator, Times};
use crate::domain::Vendor;

/// The routes, to be nested under `/_sim`.
pub(super) fn router<S>(simulator: Arc<Simulator>) -> Router<S> {
    Router::new()
        .route("/arrivals", get(arrivals))
        .route("/stats", get(stats))
        .route("/faults", get(faults).post(add_fault).delete(clear_faults))
        .route("/reset", post(reset))
        .fallback(|| async { error(StatusCode::NOT_FOUND, "there are arrivals, stats, faults and reset") })
        .with_state(simulator)
}

async fn arrivals(State(simulator): State<Arc<Simulator>>) -> Response {
    let arrivals: Vec<_> = simulator.arrivals().iter().map(|arrival| arrival_json(&simulator, arrival)).collect();
    answer(&json!(arrivals))
}

async fn stats(State(simulator): State<Arc<Simulator>>) -> Response {
    let stats = simulator.meter.counts().into_iter().map(|((account, operation), counts)| {
        let widest = simulator.widest_second(&account, &operation);
        json!({ "account": account, "operation": operation, "calls": counts.calls,
                "throttled": counts.throttled, "widestSecond": widest })
    });
    answer(&stats.collect())
}

async fn faults(State(simulator): State<Arc<Simulator>>) -> Response {
    let faults = simulator.faults.waiting().into_iter().map(|(fault, scope, times)| {
        let mut entry = json!({ "fault": fault });
        match scope {
            Scope::Everything => {}
            Scope::Vendor(vendor) => entry["vendor"] = vendor.as_str().into(),
            Scope::Operation(operation) => entry["operation"] = operation.into(),
        }
        if let Times::Next(left) = times {
            entry["times"] = left.into();
        }
        entry
    });
    answer(&faults.collect())
}

/// The body of `POST /_sim/faults`. Without vendor and operation it is for everything, without times for ever.
#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct FaultOrder {
    fault: Fault,
    vendor: Option<String>,
    operation: Option<String>,
    times: Option<usize>,
}

async fn add_fault(State(simulator): State<Arc<Simulator>>, body: Bytes) -> Response {
    let order: FaultOrder = match serde_json::from_slice(&body) {
        Ok(order) => order,
        Err(why) => return error(StatusCode::BAD_REQUEST, &why.to_string()),
    };
    let scope = match (order.vendor, order.operation) {
        (None, None) => Scope::Everything,
        (None, Some(operation)) => Scope::Operation(operation),
        (Some(_), Some(_)) => return error(StatusCode::BAD_REQUEST, "give a vendor or an operation, not both"),
        (Some(name), None) => match Vendor::ALL.into_iter().find(|vendor| vendor.as_str() == name) {
            Some(vendor) => Scope::Vendor(vendor),
            None => return error(StatusCode::BAD_REQUEST, "the vendor is ALIBABA_CAMS or VOLCENGINE_RTC"),
        },
    };
    simulator.faults.push(order.fault, scope, order.times.map_or(Times::ForEver, Times::Next));
    StatusCode::NO_CONTENT.into_response()
}

async fn clear_faults(State(simulator): State<Arc<Simulator>>) -> StatusCode {
    simulator.faults.clear();
    StatusCode::NO_CONTENT
}

async fn reset(State(simulator): State<Arc<Simulator>>) -> StatusCode {
    simulator.reset();
    StatusCode::NO_CONTENT
}

fn arrival_json(simulator: &Simulator, arrival: &Arrival) -> Value {
    let at_ms = arrival.at.duration_since(simulator.started).as_secs_f64() * 1_000.0;
    let (outcome, code) = match &arrival.outcome {
        ArrivalOutcome::Pending => ("PENDING", None),
        ArrivalOutcome::Answered => ("ANSWERED", None),
        ArrivalOutcome::Throttled => ("THROTTLED", None),
        ArrivalOutcome::Refused(code) => ("REFUSED", Some(code)),
        ArrivalOutcome::Faulted => ("FAULTED", None),
    };
    let parameters = &arrival.parameters;
    json!({
        "atMs": at_ms,
        "vendor": arrival.vendor.as_str(),
        "account": arrival.account,
        "operation": arrival.operation,
        "subject": parameters.subject,
        "hasPhone": parameters.has_phone,
        "detail": parameters.detail,
        "start": parameters.start.map(|at| at.to_string()),
        "end": parameters.end.map(|at| at.to_string()),
        "outcome": outcome,
        "code": code,
    })
}

fn answer(body: &Value) -> Response {
    ([(CONTENT_TYPE, "application/json")], body.to_string()).into_response()
}

fn error(status: StatusCode, message: &str) -> Response {
    (status, answer(&json!({ "error": message }))).into_response()
}
