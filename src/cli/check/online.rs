//! `weir check --online`: one cheap question to each account, by the way that every query takes: with its permits, its
//! state file and its signature.

use async_graphql::{Request, Variables};
use futures_util::future::join_all;
use jiff::tz::TimeZone;
use serde_json::{Value, json};

use crate::cli::{Failure, gateway, output};
use crate::config::Config;
use crate::config::vendors::Entry;
use crate::domain::time::HOUR;
use crate::domain::{Caller, Clock, SystemClock, Timestamp, Vendor};
use crate::error::Code;
use crate::query::zone::is_midnight;
use crate::schema::Gateway;

/// Asks every account and says in one line each what its vendor answered: good ones on stdout, failures as the error.
///
/// # Errors
/// An account that is in use by another process, and one line for each that did not answer well (1).
pub(super) async fn run(config: Config) -> Result<(), Failure> {
    let app = gateway::build(&config)?;
    let now = SystemClock.now();
    let answers = join_all(config.entries().map(|entry| ask(app.gateway().clone(), entry, now))).await;
    app.end().await;
    let mut failures = Vec::new();
    for (entry, answer) in config.entries().zip(answers) {
        let account = format!("{} {:?}", entry.section(), entry.name);
        match answer {
            Ok(data) => {
                output::print(&format!("{account}: ok, {}", praise(&entry, &data)))?;
                if let Some(doubt) = doubt(&config, &entry, &data) {
                    output::print(&format!("{account}: warning: {doubt}"))?;
                }
            }
            Err(bad) => failures.push(format!("{account}: {bad}")),
        }
    }
    if failures.is_empty() { Ok(()) } else { Err(Failure::Failed(failures)) }
}

/// The data of the answer, or what was wrong and how to mend it.
async fn ask(gateway: Gateway, entry: Entry<'_>, now: Timestamp) -> Result<Value, String> {
    let request = question(&entry, now)
        .ok_or_else(|| format!("not asked: it serves nothing; list what it serves in `{}`", entry.ids_key()))?;
    // In a task of its own, as the gateway demands.
    let answer = tokio::spawn(async move { gateway.execute(Caller::Anonymous, request).await }).await;
    let answer = answer.map_err(|error| format!("the question was not finished: {error}"))?;
    let response: Value =
        serde_json::from_slice(&answer.to_json()).map_err(|error| format!("the answer is no JSON: {error}"))?;
    match response.pointer("/errors/0") {
        Some(error) => Err(explain(error)),
        None => Ok(response["data"].clone()),
    }
}

/// The days just past of the first channel, or an hour of the first app that is old enough to be there.
fn question(entry: &Entry<'_>, now: Timestamp) -> Option<Request> {
    let id = entry.ids.first();
    let (query, variables) = match entry.vendor {
        Vendor::AlibabaCams => (
            r#"query Check($id: ID)
            { phoneNumberMetrics(custSpaceId: $id, range: { last: "P2D" }) { totalCount nodes { start } } }"#,
            json!({ "id": id }),
        ),
        Vendor::VolcengineRtc => {
            let end = now.floor(HOUR) - 12 * HOUR;
            let hour = json!({ "start": (end - HOUR).to_string(), "end": end.to_string() });
            (
                "query Check($id: ID!, $hour: Interval!) \
                 { operationDistribution(appId: $id, range: { between: $hour }) { data { value } } }",
                json!({ "id": id?, "hour": hour }),
            )
        }
    };
    Some(Request::new(query).variables(Variables::from_json(variables)))
}

fn praise(entry: &Entry<'_>, data: &Value) -> String {
    let rows = match entry.vendor {
        Vendor::AlibabaCams => data["phoneNumberMetrics"]["totalCount"].as_u64(),
        Vendor::VolcengineRtc => data["operationDistribution"]["data"].as_array().map(|rows| rows.len() as u64),
    };
    let rows = rows.unwrap_or_default();
    let asked = match (entry.ids.first(), entry.vendor) {
        (Some(id), Vendor::AlibabaCams) => format!("channel {id}"),
        (None, Vendor::AlibabaCams) => "its only channel".to_owned(),
        (id, Vendor::VolcengineRtc) => format!("app {}", id.map_or("", String::as_str)),
    };
    let doubt = match entry.vendor {
        Vendor::AlibabaCams if rows == 0 => {
            "; if messages were sent, metrics may not be enabled yet: see the mutation \
                                             enableWhatsappRoiMetric"
        }
        _ => "",
    };
    format!("{rows} {} for {asked}{doubt}", if rows == 1 { "row" } else { "rows" })
}

/// Where the days of an answer begin elsewhere than the config has it: at which instant one of them does.
fn doubt(config: &Config, entry: &Entry<'_>, data: &Value) -> Option<String> {
    let cams = config.alibaba_cams.iter().find(|own| entry.vendor == Vendor::AlibabaCams && own.name == entry.name)?;
    let zone = TimeZone::get(&cams.time_zone).ok()?;
    let starts = data["phoneNumberMetrics"]["nodes"].as_array()?.iter().filter_map(|row| row["start"].as_str());
    let mut days = starts.filter_map(|start| Timestamp::parse_rfc3339(start).ok());
    let day = days.find(|day| !is_midnight(*day, &zone))?;
    Some(format!(
        "a day of its first channel begins at {day}, which is no midnight in {}: correct `time_zone`, or leave it out; dates \
         and totals by day go by it",
        cams.time_zone
    ))
}

/// The contract's code, the vendor's own, what happened, and how to fix it.
fn explain(error: &Value) -> String {
    let text = |pointer: &str| error.pointer(pointer).and_then(Value::as_str);
    let code = text("/extensions/code").unwrap_or_default();
    let vendor_code = text("/extensions/vendorCode").map(|code| format!(" ({code})")).unwrap_or_default();
    let message = text("/message").unwrap_or_default();
    let mend = Code::ALL.into_iter().find(|known| known.as_str() == code).and_then(mend);
    format!("{code}{vendor_code}: {message}{}", mend.map(|mend| format!("; {mend}")).unwrap_or_default())
}

/// What the operator can do about it; `None` where the message says it all.
const fn mend(code: Code) -> Option<&'static str> {
    match code {
        Code::NotSubscribed => Some("subscribe the account to the product at its vendor"),
        Code::UnknownChannel => Some("correct `channels`, or the key if the channel belongs to another account"),
        Code::UnknownApplication => Some("correct `apps`, or the key if the app belongs to another account"),
        Code::VendorUnavailable | Code::VendorTimeout => Some("check `endpoint`, and that this machine reaches it"),
        Code::VendorBadReply => Some("check that `endpoint` is the vendor's and not a proxy's login page"),
        Code::VendorThrottled => Some("somebody else uses the account: lower `quota` to share it"),
        Code::VendorDenied
        | Code::BadUserInput
        | Code::RangeTooLong
        | Code::OutOfRetention
        | Code::QuotaWaitTooLong
        | Code::NonAdditive
        | Code::Unauthenticated
        | Code::Forbidden
        | Code::TooExpensive
        | Code::Internal => None,
    }
}
