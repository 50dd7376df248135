//! The vendors' sides as a client sees them: refusals, data, quotas, faults.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};

use super::testing::{NOW, at, cams, cams_by, distribution, rtc, rtc_with, settled_week, simulator, told};
use super::*;
use crate::domain::{ManualClock, Vendor, Window};

const METRIC: &str = "GetChatappPhoneNumberMetric";
const ENABLE: &str = "EnableWhatsappROIMetric";
const DISTRIBUTION: &str = "ListOperationDistribution";

/// Settled days in August 2026.
const DAYS: &str = "Start=1785513600000&End=1786118400000";

async fn ask(simulator: &Simulator, request: Request<Bytes>) -> (u16, Value) {
    told(&simulator.handle(request).await)
}

fn rtc_code(body: &Value) -> &str {
    body["ResponseMetadata"]["Error"]["Code"].as_str().unwrap_or_default()
}

#[tokio::test]
async fn rows_of_a_channel_are_the_worlds_in_the_vendors_words() {
    let simulator = simulator(|_| ());
    let (status, body) = ask(&simulator, cams(METRIC, &format!("{DAYS}&CustSpaceId=cams-beta"))).await;
    assert_eq!((status, body["Code"].as_str(), body["Message"].as_str()), (200, Some("OK"), Some("None")));
    assert!(body["RequestId"].as_str().unwrap().ends_with('\n'));
    let range = Window::new(Timestamp::from_ms(1_785_513_600_000), Timestamp::from_ms(1_786_118_400_000)).unwrap();
    let truth = simulator.world().metrics("cams-beta", Granularity::Daily, range, at(NOW));
    let mut rows: Vec<_> = body["Data"]
        .as_array()
        .unwrap()
        .iter()
        .map(|row| Row {
            phone: row["PhoneNumber"].as_str().unwrap().to_owned(),
            start: Timestamp::from_ms(row["Start"].as_i64().unwrap()),
            end: Timestamp::from_ms(row["End"].as_i64().unwrap()),
            sent: row["SentCount"].as_u64().unwrap(),
            delivered: row["DeliveredCount"].as_u64().unwrap(),
        })
        .collect();
    rows.sort();
    assert!(rows.len() > 20);
    assert_eq!(rows, truth);
}

#[tokio::test]
async fn one_phone_may_be_asked_for_and_no_channel_is_the_first() {
    let simulator = simulator(|_| ());
    let phone = &simulator.world().phones("cams-alpha")[1];
    let (_, all) = ask(&simulator, cams(METRIC, &format!("{DAYS}&CustSpaceId=cams-alpha"))).await;
    let (_, one) = ask(&simulator, cams(METRIC, &format!("{DAYS}&PhoneNumber=%2B{phone}&CustSpaceId="))).await;
    let rows = |body: &Value| body["Data"].as_array().unwrap().clone();
    let wanted: Vec<_> = rows(&all).into_iter().filter(|row| row["PhoneNumber"] == phone.as_str()).collect();
    assert!(!wanted.is_empty() && wanted.len() < rows(&all).len());
    assert_eq!(rows(&one), wanted);
    let arrivals = simulator.arrivals();
    assert_eq!(arrivals[0].parameters.subject.as_deref(), Some("cams-alpha"));
    assert!(!arrivals[0].parameters.has_phone && arrivals[1].parameters.has_phone);
    assert!(
        arrivals.iter().all(|arrival| arrival.outcome == ArrivalOutcome::Answered && arrival.account == DEMO_KEY.0)
    );
}

#[tokio::test]
async fn cams_refuses_what_the_vendor_refuses() {
    let simulator = simulator(|config| config.refuse_future_end = true);
    let cases = [
        (METRIC, "End=1786118400000", 400, "MissingStart"),
        (METRIC, "Start=1785513600000", 400, "MissingEnd"),
        (METRIC, "Start=soon&End=1786118400000", 400, "InvalidParameter"),
        (METRIC, "Start=1786118400000&End=1785513600000", 400, "InvalidParameter"),
        (METRIC, &format!("{DAYS}&Granularity=MONTHLY"), 400, "InvalidParameter"),
        (METRIC, "Start=1785513600000&End=1886118400000", 400, "InvalidParameter"),
        (METRIC, &format!("{DAYS}&CustSpaceId=unknown-1"), 400, "Unknown.ResourceOwnerId"),
        (ENABLE, "CustSpaceId=unknown-1", 400, "Unknown.ResourceOwnerId"),
        ("GetChatappTemplateMetric", DAYS, 400, "MissingTemplateCode"),
        ("EnableWhatsAppROIMetric", "", 404, "InvalidApi.NotFound"),
    ];
    for (action, query, status, code) in cases {
        let (got, body) = ask(&simulator, cams(action, query)).await;
        assert_eq!((got, body["Code"].as_str()), (status, Some(code)), "{action} {query}");
        assert_eq!(body["HostId"], "cams.example");
        assert!(body["RequestId"].is_string() && body["Message"].is_string() && body["Recommend"].is_string());
    }
    let last = simulator.arrivals().pop().unwrap();
    assert_eq!(last.outcome, ArrivalOutcome::Refused("InvalidApi.NotFound".into()));
}

#[tokio::test]
async fn enabling_answers_without_data_and_starts_a_new_channel() {
    let clock = Arc::new(ManualClock::frozen_at(at(NOW)));
    let simulator = Simulator::new(SimulatorConfig::new(7, Arc::<ManualClock>::clone(&clock)));
    let (status, body) = ask(&simulator, cams(ENABLE, "CustSpaceId=new-shop")).await;
    assert_eq!((status, body["Code"].as_str(), body.get("Data")), (200, Some("OK"), None));
    let range = Window::new(at(NOW), at("2026-09-20T00:00:00Z")).unwrap();
    let later = simulator.world().metrics("new-shop", Granularity::Daily, range, at("2026-10-01T00:00:00Z"));
    assert!(!later.is_empty());
    simulator.reset();
    assert!(simulator.world().metrics("new-shop", Granularity::Daily, range, at("2026-10-01T00:00:00Z")).is_empty());
}

#[tokio::test]
async fn distributions_are_the_worlds_with_truncated_shares_of_all_users() {
    let simulator = simulator(|_| ());
    let (status, body) = ask(&simulator, rtc("2020-12-01", &settled_week())).await;
    assert_eq!((status, rtc_code(&body)), (200, ""));
    assert_eq!(body["ResponseMetadata"]["Region"], "cn-north-1");
    assert_eq!((&body["Result"]["Name"], &body["Result"]["Dimension"]), (&json!("user_num"), &json!("province")));
    let week = Window::new(at("2026-08-23T16:00:00Z"), at("2026-08-30T16:00:00Z")).unwrap();
    let mut rows: Vec<_> = body["Result"]["Data"].as_array().unwrap().clone();
    rows.sort_by_key(|row| std::cmp::Reverse(row["Value"].as_u64().unwrap()));
    let truth = simulator.world().distribution("app-one", Dimension::Province, week, at(NOW));
    let counts: Vec<_> = truth.iter().map(|(_, count)| *count).collect();
    assert_eq!(rows.iter().map(|row| row["Value"].as_u64().unwrap()).collect::<Vec<_>>(), counts);
    let total = simulator.world().shares("app-one", Dimension::Province, week, at(NOW)).total;
    let first = &rows[0]["Proportion"];
    assert_eq!(
        first.to_string(),
        json!(f64::from(u32::try_from(counts[0] * 10_000 / total).unwrap()) / 100.0).to_string()
    );
    let sum: f64 = rows.iter().map(|row| row["Proportion"].as_f64().unwrap()).sum();
    assert!((50.0..100.0).contains(&sum), "{sum}");
}

#[tokio::test]
async fn the_newer_version_answers_floats_and_any_case_of_a_dimension_is_echoed() {
    let simulator = simulator(|_| ());
    let mut body = settled_week();
    body["Dimension"] = "Country".into();
    body["Indicator"] = "user_count".into();
    let (_, answer) = ask(&simulator, rtc("2023-11-01", &body)).await;
    assert_eq!((&answer["Result"]["Name"], &answer["Result"]["Dimension"]), (&json!("user_num"), &json!("Country")));
    assert!(answer["Result"]["Data"][0]["Value"].is_f64());
}

#[tokio::test(start_paused = true)]
async fn rtc_refuses_what_the_vendor_refuses() {
    let simulator = simulator(|config| config.limits.set(DISTRIBUTION, 100));
    let with = |field: &str, value: &str| {
        let mut body = settled_week();
        body[field] = value.into();
        body.to_string()
    };
    let week = |start: &str, end: &str| distribution(start, end).to_string();
    let cases = [
        (String::new(), ".BodyIsEmpty"),
        ("{".into(), ".Unmarshal"),
        ("{}".into(), ""),
        (with("AppId", "unknown-app"), ".NotExistAppId"),
        (with("AppId", ""), ".IllegalAppId"),
        (with("Indicator", "minutes"), ""),
        (with("Dimension", "city"), ""),
        (with("StartTime", "yesterday"), ""),
        (week("2026-08-24T00:00:00Z", "2026-08-24T00:00:00Z"), ".StartTimeAfterEndTime"),
        (week("2026-08-24T00:00:00Z", "2026-08-31T00:00:01Z"), ".OutofTimeRange"),
        (week("2026-08-02T08:30:14Z", "2026-08-03T00:00:00Z"), ".OutofTimeRange"),
    ];
    for (body, kind) in cases {
        let (status, answer) = ask(&simulator, rtc_with("2020-12-01", &body)).await;
        assert_eq!((status, rtc_code(&answer)), (400, format!("InvalidParameter{kind}").as_str()), "{body}");
    }
    let edges = [("2026-08-24T00:00:00Z", "2026-08-31T00:00:00Z"), ("2026-08-02T08:30:15Z", "2026-08-03T00:00:00Z")];
    for (start, end) in edges {
        assert_eq!(ask(&simulator, rtc("2020-12-01", &distribution(start, end))).await.0, 200, "{start}");
    }
}

#[tokio::test(start_paused = true)]
async fn quotas_are_the_published_ones_per_account_and_operation() {
    let simulator = simulator(|config| {
        config.keys.push(("other".into(), "secret".into()));
        config.keys.push(("second-key".into(), "secret".into()));
        config.owners.push(("second-key".into(), DEMO_KEY.0.into()));
        config.throttles_tell_when = true;
    });
    for _ in 0..2 {
        assert_eq!(ask(&simulator, rtc("2020-12-01", &settled_week())).await.0, 200);
    }
    let (status, body) = ask(&simulator, rtc("2023-11-01", &settled_week())).await;
    assert_eq!((status, rtc_code(&body)), (429, "FlowLimitExceeded.QPSOverLimit"));
    assert_eq!(body["ResponseMetadata"]["Region"], "cn-north-1");

    for _ in 0..4 {
        assert_eq!(ask(&simulator, cams(ENABLE, "")).await.0, 200);
    }
    assert_eq!(ask(&simulator, cams_by(("second-key", "secret"), ENABLE, "")).await.0, 200);
    tokio::time::advance(Duration::from_millis(400)).await;
    let SimOutcome::Reply(reply) = simulator.handle(cams(ENABLE, "")).await else { panic!() };
    assert_eq!((reply.status().as_u16(), &reply.headers()["x-acs-retry-after"]), (400, &"600".parse().unwrap()));
    assert!(String::from_utf8_lossy(reply.body()).contains("\"Throttling.User\""));
    assert_eq!(ask(&simulator, cams_by(("other", "secret"), ENABLE, "")).await.0, 200);

    tokio::time::advance(Duration::from_millis(600)).await;
    assert_eq!(ask(&simulator, cams(ENABLE, "")).await.0, 200);
    assert_eq!((simulator.calls(ENABLE), simulator.throttled(ENABLE)), (8, 1));
    assert_eq!((simulator.calls(DISTRIBUTION), simulator.throttled(DISTRIBUTION)), (3, 1));
    assert_eq!(simulator.widest_second(DEMO_KEY.0, ENABLE), 6);
}

#[tokio::test(start_paused = true)]
async fn every_operation_that_a_side_offers_is_counted_by_a_limit_of_its_own() {
    let alibaba = alibaba_cams::Alibaba.operations().iter().map(|offered| (offered, false));
    let volcengine = volcengine_rtc::Volcengine.operations().iter().map(|offered| (offered, true));
    for (offered, is_rtc) in alibaba.chain(volcengine) {
        let is_throttled = async |limit: Option<u32>, n_before: u32| {
            let simulator = simulator(|config| limit.into_iter().for_each(|n| config.limits.set(offered.name, n)));
            for _ in 0..=n_before {
                let request = if is_rtc { rtc("2020-12-01", &settled_week()) } else { cams(offered.name, DAYS) };
                ask(&simulator, request).await;
            }
            assert!(simulator.throttled(offered.name) <= 1, "the last one alone may be one too many");
            simulator.throttled(offered.name) == 1
        };
        let published = offered.calls_per_second;
        assert!(!is_throttled(None, published - 1).await && is_throttled(None, published).await, "{offered:?}");
        assert!(!is_throttled(Some(1), 0).await && is_throttled(Some(1), 1).await, "{offered:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_wrong_signature_is_logged_but_fills_no_window() {
    let simulator = simulator(|_| ());
    for _ in 0..6 {
        let (status, body) = ask(&simulator, cams_by((DEMO_KEY.0, "wrong"), ENABLE, "")).await;
        assert_eq!((status, body["Code"].as_str()), (400, Some("SignatureDoesNotMatch")));
    }
    assert_eq!(ask(&simulator, cams(ENABLE, "")).await.0, 200);
    assert_eq!((simulator.calls(ENABLE), simulator.throttled(ENABLE)), (7, 0));
}

#[tokio::test(start_paused = true)]
async fn refusal_faults_have_the_codes_of_each_vendor() {
    let simulator = simulator(|config| config.limits.set(DISTRIBUTION, 100));
    let cases = [
        (Fault::InternalError, (500, "InternalError"), (500, "InternalError")),
        (Fault::Unavailable, (503, "ServiceUnavailable"), (503, "ServiceUnavailableTemp")),
        (Fault::Throttle, (400, "Throttling.User"), (429, "FlowLimitExceeded.QPSOverLimit")),
        (Fault::LimitControl, (400, "System.LimitControl"), (400, "AccountFlowLimitExceeded")),
        (Fault::ClockSkew, (400, "InvalidTimeStamp.Expired"), (400, "InvalidTimestamp")),
        (Fault::NotSubscribed, (400, "Product.Unsubscript"), (403, "AccessDenied.ServiceNotEnabled")),
        (Fault::PermissionDenied, (403, "NoPermission"), (403, "AccessDenied.NoPermissionForApp")),
        (Fault::Refuse { status: 418, code: "Tea".into() }, (418, "Tea"), (418, "Tea")),
        (Fault::ErrorInside200 { code: "Inner".into() }, (200, "Inner"), (200, "Inner")),
    ];
    for (fault, alibaba, volcengine) in cases {
        simulator.faults().push(fault.clone(), Scope::Everything, Times::Next(2));
        let (status, body) = ask(&simulator, cams(METRIC, DAYS)).await;
        assert_eq!((status, body["Code"].as_str().unwrap()), alibaba);
        assert_eq!(body.get("AccessDeniedDetail").is_some_and(Value::is_object), fault == Fault::PermissionDenied);
        let (status, body) = ask(&simulator, rtc("2020-12-01", &settled_week())).await;
        assert_eq!((status, rtc_code(&body)), volcengine);
        assert_eq!(simulator.arrivals().pop().unwrap().outcome, ArrivalOutcome::Faulted);
    }
    simulator.faults().push(Fault::InternalError, Scope::Everything, Times::Next(1));
    simulator.faults().push(Fault::CodeNAbsent, Scope::Everything, Times::Next(1));
    let mut numbers = Vec::new();
    for _ in 0..2 {
        let (_, body) = ask(&simulator, rtc("2020-12-01", &settled_week())).await;
        numbers.push(body["ResponseMetadata"]["Error"].get("CodeN").cloned());
    }
    assert_eq!(numbers, [Some(json!(100_014)), None]);
    assert_eq!(ask(&simulator, rtc("2020-12-01", &settled_week())).await.0, 200, "the faults are spent");
}

#[tokio::test]
async fn body_faults_bend_what_was_going_to_be_answered() {
    let simulator = simulator(|_| ());
    let good = ask(&simulator, cams(METRIC, DAYS)).await.1;
    let mut raw = Vec::new();
    for fault in [
        Fault::TruncatedJson,
        Fault::MalformedJson,
        Fault::HtmlBody,
        Fault::EmptyBody,
        Fault::BadGatewayHtml,
        Fault::ConflictingRows,
    ] {
        simulator.faults().push(fault, Scope::operation(METRIC), Times::Next(1));
        let SimOutcome::Reply(reply) = simulator.handle(cams(METRIC, DAYS)).await else { panic!() };
        raw.push((reply.status().as_u16(), String::from_utf8(reply.into_body().to_vec()).unwrap()));
    }
    let statuses: Vec<_> = raw.iter().map(|(status, _)| *status).collect();
    assert_eq!(statuses, [200, 200, 200, 200, 502, 200]);
    for (_, body) in &raw[..5] {
        assert!(serde_json::from_str::<Value>(body).is_err(), "{body}");
    }
    assert!(raw[0].1.starts_with('{') && raw[2].1.starts_with("<html>") && raw[3].1.is_empty());
    let twice: Value = serde_json::from_str(&raw[5].1).unwrap();
    assert_eq!(twice["Data"].as_array().unwrap().len(), good["Data"].as_array().unwrap().len() + 1);
}

#[tokio::test(start_paused = true)]
async fn delays_come_after_the_arrival_and_beside_another_fault() {
    let simulator = simulator(|_| ());
    simulator.faults().push(Fault::Latency(Duration::from_secs(3)), Scope::Everything, Times::Next(1));
    simulator.faults().push(Fault::Hang, Scope::Vendor(Vendor::AlibabaCams), Times::Next(1));
    let asked = Instant::now();
    let outcome = simulator.handle(cams(METRIC, DAYS)).await;
    assert!(matches!(outcome, SimOutcome::Hang));
    assert_eq!(asked.elapsed(), Duration::from_secs(3));
    assert_eq!(simulator.arrivals()[0].at, asked);

    simulator.faults().push(Fault::Jitter(Duration::from_millis(100)), Scope::Everything, Times::ForEver);
    let mut waits = Vec::new();
    for _ in 0..20 {
        let asked = Instant::now();
        simulator.handle(cams(METRIC, DAYS)).await;
        waits.push(asked.elapsed());
    }
    assert!(waits.iter().all(|wait| *wait <= Duration::from_millis(101)));
    assert!(waits.iter().max().unwrap().saturating_sub(*waits.iter().min().unwrap()) > Duration::from_millis(30));
}

#[tokio::test]
async fn before_a_frozen_clock_signatures_may_follow_another_and_the_data_do_not() {
    let later = "2026-11-22T10:20:30Z";
    let frozen = || -> Arc<dyn Clock> { Arc::new(ManualClock::frozen_at(at(later))) };
    let ask_both = async |simulator: &Simulator| {
        let cams = ask(simulator, cams(METRIC, DAYS)).await.1;
        let rtc = ask(simulator, rtc("2020-12-01", &settled_week())).await.1;
        (cams["Code"].as_str().unwrap_or_default().to_owned(), rtc_code(&rtc).to_owned())
    };
    let told = |cams: &str, rtc: &str| (cams.to_owned(), rtc.to_owned());

    let alone = simulator(|config| config.clock = frozen());
    assert_eq!(ask_both(&alone).await, told("InvalidTimeStamp.Expired", "InvalidTimestamp"));

    let signers: Arc<dyn Clock> = Arc::new(ManualClock::frozen_at(at(NOW)));
    let both = simulator(|config| (config.clock, config.signers_clock) = (frozen(), Some(signers)));
    // The week is accepted by its date and refused for its age: dates of data go by the vendors' clock alone.
    assert_eq!(ask_both(&both).await, told("OK", "InvalidParameter.OutofTimeRange"));

    // A wrong signature stays wrong by any clock, and a nonce is spent once.
    let forged = cams_by(("weir-demo", "another-secret"), METRIC, DAYS);
    assert_eq!(ask(&both, forged).await.1["Code"], "SignatureDoesNotMatch");
    let request = cams(METRIC, DAYS);
    assert_eq!(ask(&both, request.clone()).await.1["Code"], "OK");
    assert_eq!(ask(&both, request).await.1["Code"], "SignatureNonceUsed");
}
