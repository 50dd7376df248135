//! Vendors' replies, read by the clients that ask: what comes out was in the reply, belongs to the question and counts nothing
//! below nothing; what is refused is told without the vendor's own words. A reply is a status, headers, a blank line and a
//! body.

use std::pin::Pin;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use serde_json::Value;
use weir::app::demo_config;
use weir::domain::time::DAY;
use weir::domain::{
    Account, AppId, CallError, Caller, ChannelId, Class, Clock, Finality, Key as _, ManualClock, Operation,
    PhoneNumber, Point as _, Sent, Slice, Timestamp, Window,
};
use weir::quota::{Call, Limiter, Permit, Rule};
use weir::vendor::alibaba_cams::{
    self, CountSubject as _, Counts, Granularity, Language, MetricSubject, PhoneNumbers, Series, SeriesClient,
    TemplateSubject, Templates,
};
use weir::vendor::transport::{Reply, Request, Transport, TransportError};
use weir::vendor::volcengine_rtc::{self, Dimension, DistributionSubject, OperationDistributions};

use super::stage;

/// A phone number in the seeds: no refusal repeats it.
const PHONE: &str = "8613800138000";
/// How long after its end a number may still change.
const SETTLE: Duration = Duration::from_hours(8);

/// A vendor that answers everything alike.
struct Vendor(Mutex<Reply>);

impl Transport for Vendor {
    fn send<'a>(
        &'a self,
        _: Request,
        permit: &'a mut Permit,
    ) -> Pin<Box<dyn Future<Output = Result<Reply, TransportError>> + Send + 'a>> {
        let reply = self.0.lock().expect("nobody panics with it").clone();
        let sent = permit.begin_write();
        permit.head_read(reply.status().as_u16());
        Box::pin(std::future::ready(sent.map(|()| reply).map_err(TransportError::from)))
    }
}

fn reply(data: &[u8]) -> Option<Reply> {
    let at = data.windows(2).position(|pair| pair == b"\n\n")?;
    let mut lines = data[..at].split(|byte| *byte == b'\n');
    let mut reply = http::Response::builder().status(lines.next()?);
    for line in lines {
        let colon = line.iter().position(|byte| *byte == b':')?;
        reply = reply.header(&line[..colon], line[colon + 1..].trim_ascii());
    }
    reply.body(Bytes::copy_from_slice(&data[at + 2..])).ok()
}

pub fn run(data: &[u8]) -> bool {
    let Some(reply) = reply(data) else { return false };
    let body: Value = serde_json::from_slice(reply.body()).unwrap_or_default();
    stage::run(async {
        let vendor: Arc<dyn Transport> = Arc::new(Vendor(Mutex::new(reply)));
        let clock: Arc<dyn Clock> = Arc::new(ManualClock::frozen_at(stage::now()));
        let config = demo_config();
        let (cams, rtc) = (&config.alibaba_cams[0], &config.volcengine_rtc[0]);
        let account = cams.account().expect("the demo's endpoint");
        let client = alibaba_cams::Client::new(cams, account.clone(), Arc::clone(&vendor), Arc::clone(&clock));
        let client = Arc::new(client.expect("the demo's endpoint"));
        let mut accepted = false;
        for granularity in [Granularity::Daily, Granularity::HalfHour] {
            for phone in [None, PhoneNumber::parse(PHONE)] {
                let subject = MetricSubject { account: account.clone(), channel: Some(channel()), granularity, phone };
                accepted |= counts::<PhoneNumbers>(&client, subject, &body, "PhoneNumber", |point| {
                    vec![point.sent.as_i64(), point.delivered.as_i64()]
                })
                .await;
            }
            for language in [None, Language::read("en_US")] {
                let (account, template) = (account.clone(), "welcome".into());
                let subject = TemplateSubject { account, channel: Some(channel()), template, granularity, language };
                accepted |= counts::<Templates>(&client, subject, &body, "Language", |point| {
                    assert!(point.clicks.iter().all(|clicks| clicks.count.as_i64() >= 0));
                    vec![point.sent.as_i64(), point.delivered.as_i64(), point.read.as_i64()]
                })
                .await;
            }
        }
        let account = rtc.account().expect("the demo's endpoint");
        let operation = Arc::new(OperationDistributions::new(SETTLE));
        let (learned, owner) = (Arc::clone(&operation), account.clone());
        let client = volcengine_rtc::Client::new(rtc, owner, vendor, clock, learned).expect("the demo's endpoint");
        for dimension in Dimension::ALL {
            accepted |= shares(&client, &operation, &account, dimension, &body).await;
        }
        accepted
    })
}

fn channel() -> ChannelId {
    ChannelId::new("cams-alpha")
}

/// Two whole days that are over, the later of which may still change.
fn window() -> Window {
    let end = stage::now().floor(DAY);
    Window::new(end - 2 * DAY, end).expect("two days")
}

async fn ask<C: Call>(client: &C, request: &C::Request) -> Result<C::Answer, CallError> {
    let limiter = Limiter::new(Rule::per_second(1, Duration::ZERO), None);
    let permit = limiter.enqueue(Class::Interactive, Caller::Anonymous).permit().await.expect("there is one");
    let answer = client.call(request, permit).await;
    if let Err(error) = &answer {
        // An id is all that is shown of a vendor's words.
        let said = format!("{error} {error:?}").replace(error.request_id.as_deref().unwrap_or("-"), "");
        let said = said.replace(error.vendor_code.as_deref().unwrap_or("-"), "");
        assert!(!said.contains(PHONE), "{said}");
        for id in [&error.vendor_code, &error.request_id].into_iter().flatten() {
            assert!(id.len() <= 128 && id.bytes().all(|byte| byte.is_ascii_graphic()), "{id:?}");
        }
        assert!(error.retry_after.is_none_or(|wait| wait <= Duration::from_mins(1)), "{error:?}");
    }
    answer
}

/// A number as a vendor may write it.
fn loose(value: &Value) -> Option<i64> {
    value.as_i64().or_else(|| value.as_str()?.trim().parse().ok())
}

/// Asks for counts. Every row of the reply is told, none is invented, and slices hold those that begin in them.
async fn counts<C: Counts>(
    client: &Arc<alibaba_cams::Client>,
    subject: C::Subject,
    body: &Value,
    key: &str,
    numbers: fn(&C::Point) -> Vec<i64>,
) -> bool {
    let operation = Arc::new(Series::<C>::new(SETTLE));
    let client = SeriesClient::new(Arc::clone(client), Arc::clone(&operation));
    let call = Slice { subject, window: window() };
    let Ok(Sent { answer, at }) = ask(&client, &call).await else { return false };
    let points = answer.as_deref().unwrap_or_default();
    let names = ["SentCount", "DeliveredCount", "ReadCount"];
    let row = |row: &Value| -> Option<(Option<String>, Timestamp, Vec<i64>)> {
        let text = row[key].as_str().map(|text| match key {
            "PhoneNumber" => text.chars().filter(char::is_ascii_digit).collect(),
            _ => text.to_owned(),
        });
        let counted = names.iter().filter_map(|name| loose(row.get(*name)?)).collect();
        Some((text, Timestamp::from_ms(loose(&row["Start"])?), counted))
    };
    let rows: Vec<_> = body["Data"].as_array().into_iter().flatten().filter_map(row).collect();
    let is_of = |point: &C::Point, (name, start, counted): &(Option<String>, Timestamp, Vec<i64>)| {
        let numbers = numbers(point);
        name.as_deref().is_none_or(|name| name == point.key().text())
            && *start == point.start()
            && counted.get(..numbers.len()) == Some(&numbers)
    };
    assert!(points.iter().all(|point| rows.iter().any(|row| is_of(point, row))), "a row was invented: {points:?}");
    assert!(rows.iter().all(|row| points.iter().any(|point| is_of(point, row))), "a row was left out of {points:?}");
    for point in points {
        assert!(numbers(point).iter().all(|number| *number >= 0) && point.start() < point.end(), "{point:?}");
        assert!(call.subject.key().is_none_or(|asked| asked.text() == point.key().text()), "{point:?}");
    }
    let in_order = |one: &C::Point, next: &C::Point| match one.key().cmp(next.key()) {
        std::cmp::Ordering::Equal => one.end() <= next.start(),
        order => order.is_lt(),
    };
    assert!(points.is_sorted_by(in_order), "{points:?}");

    let wanted: Vec<_> = points.iter().filter(|point| call.window.contains(point.start())).map(numbers).collect();
    let has_points = !points.is_empty();
    let cuts = operation.cut(&call, answer, at);
    assert_eq!(cuts.len(), 2, "a slice for each day");
    let mut cut: Vec<_> = Vec::new();
    for slice in &cuts {
        assert!(call.window.covers(slice.window) && slice.is_empty == slice.data.is_empty());
        for point in &slice.data {
            assert!(slice.window.contains(point.start()), "{point:?} in {}", slice.window);
            assert!(point.finality() == Finality::Provisional || at >= point.end() + SETTLE, "{point:?} is final");
            cut.push(numbers(point));
        }
    }
    let sorted = |mut all: Vec<Vec<i64>>| {
        all.sort();
        all
    };
    assert_eq!(sorted(cut), sorted(wanted), "slices add up to what was told");
    has_points
}

/// Asks for shares of users. Every row of the reply is told, and none is invented.
async fn shares(
    client: &volcengine_rtc::Client,
    operation: &OperationDistributions,
    account: &Account,
    dimension: Dimension,
    body: &Value,
) -> bool {
    let subject = DistributionSubject { account: account.clone(), app: AppId::new("app-one"), dimension };
    let call = Slice { subject, window: window() };
    let Ok(Sent { answer, at }) = ask(client, &call).await else { return false };
    let shares = answer.as_deref().unwrap_or_default();
    let loose = |value: &Value| value.as_f64().or_else(|| value.as_str()?.trim().parse().ok());
    let row = |row: &Value| {
        let name = row["DistributionName"].as_str()?.to_owned();
        Some((name, loose(&row["Value"])?, loose(&row["Proportion"])?))
    };
    let rows: Vec<_> = body["Result"]["Data"].as_array().into_iter().flatten().filter_map(row).collect();
    let told: Vec<_> =
        shares.iter().map(|share| (share.name.clone(), share.users.as_f64(), share.proportion)).collect();
    assert!(told.iter().all(|share| rows.contains(share)), "a row was invented: {told:?}");
    assert!(rows.iter().all(|row| told.contains(row)), "a row was left out: {rows:?}");
    let is_number = |number: f64| number.is_finite() && number >= 0.0;
    assert!(told.iter().all(|(_, users, proportion)| is_number(*users) && is_number(*proportion)), "{told:?}");
    assert!(told.is_sorted_by(|one, next| one.1 >= next.1), "{told:?}");
    let has_rows = !told.is_empty();
    let cuts = operation.cut(&call, answer, at);
    assert!(cuts.len() == 1 && cuts[0].window == call.window && cuts[0].data.shares.len() == told.len());
    has_rows
}
