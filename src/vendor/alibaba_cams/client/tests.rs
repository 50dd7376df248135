use std::collections::HashMap;
use std::time::Duration;

use super::*;
use crate::domain::{ChannelId, ManualClock, Operation, PhoneNumber, Window};
use crate::vendor::alibaba_cams::{
    EnableClient, EnableWhatsappRoi, Granularity, MetricSubject, PhoneNumberMetrics, PhoneNumberPoint,
};
use crate::vendor::scripted::Scripted;
use crate::vendor::transport::TransportError;

const NOW: &str = "2025-11-02T12:00:00.5Z";
const EMPTY: &str = r#"{"Code":"OK","Data":[]}"#;
const PHONE: &str = "8613800001234";

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

struct Room {
    client: Arc<Client>,
    transport: Arc<Scripted>,
    clock: Arc<ManualClock>,
    operation: Arc<PhoneNumberMetrics>,
    account: Account,
}

fn room_with(transport: Scripted, more: &str) -> Room {
    let config = format!("name = 'retail'\naccess_key_id = 'the-id'\naccess_key_secret = 'the-secret'\n{more}");
    let config: Config = toml::from_str(&config).unwrap();
    let (account, transport) = (config.account().unwrap(), Arc::new(transport));
    let clock = Arc::new(ManualClock::frozen_at(at(NOW)));
    let operation = Arc::new(PhoneNumberMetrics::new(Duration::from_hours(24)));
    let (out, time) = (Arc::clone(&transport) as Arc<dyn Transport>, Arc::clone(&clock) as Arc<dyn Clock>);
    let client = Client::new(&config, account.clone(), out, time).unwrap();
    Room { client: Arc::new(client), transport, clock, operation, account }
}

fn room(transport: Scripted) -> Room {
    room_with(transport, "")
}

impl Room {
    fn ask(&self, phone: Option<&str>, start: &str, end: &str) -> Slice<MetricSubject> {
        let subject = MetricSubject {
            account: self.account.clone(),
            channel: Some(ChannelId::new("cams-alpha")),
            granularity: Granularity::Daily,
            phone: phone.and_then(PhoneNumber::parse),
        };
        Slice { subject, window: Window::new(at(start), at(end)).unwrap() }
    }

    fn today(&self, phone: Option<&str>) -> Slice<MetricSubject> {
        self.ask(phone, "2025-11-02T00:00:00Z", "2025-11-03T00:00:00Z")
    }

    async fn call(&self, request: &Slice<MetricSubject>) -> Result<Sent<Option<Vec<PhoneNumberPoint>>>, CallError> {
        let client = SeriesClient::new(Arc::clone(&self.client), Arc::clone(&self.operation));
        client.call(request, Permit::uncounted()).await
    }
}

fn query(request: &Request) -> HashMap<String, String> {
    form_urlencoded::parse(request.uri().query().unwrap_or_default().as_bytes()).into_owned().collect()
}

#[tokio::test]
async fn a_call_is_a_signed_post_with_everything_in_its_query() {
    let room = room_with(Scripted::default().reply(200, EMPTY), "security_token = 'the-token'\nisv_code = 'isv'");
    let sent = room.call(&room.today(Some(PHONE))).await.unwrap();
    assert_eq!((sent.at, sent.answer), (at(NOW), Some(vec![])));

    let request = room.transport.take_sent().pop().unwrap();
    assert_eq!((request.method().as_str(), request.uri().path(), request.body().len()), ("POST", "/", 0));
    assert_eq!(request.uri().host(), Some("cams.ap-southeast-1.aliyuncs.com"));
    let expected = [
        ("CustSpaceId", "cams-alpha"),
        ("End", "1762221600000"), // 2025-11-04T02:00:00Z
        ("Granularity", "DAILY"),
        ("IsvCode", "isv"),
        ("PhoneNumber", PHONE),
        ("Start", "1761948000000"), // 2025-10-31T22:00:00Z
    ];
    assert_eq!(query(&request), expected.map(|(name, value)| (name.to_owned(), value.to_owned())).into());

    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!(header("x-acs-action"), "GetChatappPhoneNumberMetric");
    assert_eq!(header("x-acs-version"), "2020-06-06");
    assert_eq!(header("x-acs-date"), "2025-11-02T12:00:00Z");
    assert_eq!((header("x-acs-accesskey-id"), header("x-acs-security-token")), ("the-id", "the-token"));
    assert!(!request.headers().contains_key("content-type"));
    let parts = signer::Parts {
        host: "cams.ap-southeast-1.aliyuncs.com",
        action: header("x-acs-action"),
        version: header("x-acs-version"),
        query: request.uri().query().unwrap(),
        more: &[],
    };
    let signed = signer::sign(&parts, &room.client.credential, sent.at, header("x-acs-signature-nonce")).unwrap();
    assert_eq!(signed["authorization"], header("authorization"));
    assert!(!format!("{request:?}").contains("the-token"));
}

#[tokio::test]
async fn every_attempt_is_signed_anew() {
    let room = room(Scripted::default().reply(500, "").reply(200, EMPTY));
    assert_eq!(room.call(&room.today(None)).await.unwrap_err().kind, CallErrorKind::Unavailable);
    room.clock.set(at(NOW) + Duration::from_secs(2));
    room.call(&room.today(None)).await.unwrap();
    let sent = room.transport.take_sent();
    for name in ["x-acs-signature-nonce", "x-acs-date", "authorization"] {
        assert_ne!(sent[0].headers()[name], sent[1].headers()[name], "{name}");
    }
    assert_eq!(sent[0].uri(), sent[1].uri());
}

#[tokio::test]
async fn a_refused_end_in_the_future_is_now_from_then_on() {
    let transport = Scripted::default().reply(400, r#"{"Code":"InvalidParameter"}"#).reply(200, EMPTY);
    let room = room(transport.reply(400, r#"{"Code":"InvalidParameter"}"#));
    let refused = room.call(&room.today(None)).await.unwrap_err();
    assert_eq!((refused.kind, refused.is_transient()), (CallErrorKind::Adjusted, true));
    room.call(&room.today(None)).await.unwrap();
    let again = room.call(&room.today(None)).await.unwrap_err();
    assert_eq!(again.kind, CallErrorKind::BadInput, "now it cannot be the end");
    let ends: Vec<_> = room.transport.take_sent().iter().map(|request| query(request)["End"].clone()).collect();
    let now = at(NOW).as_ms().to_string();
    assert_eq!(ends, ["1762221600000", now.as_str(), now.as_str()]);
}

#[tokio::test]
async fn a_refused_value_in_the_past_is_the_callers_fault() {
    let room = room(Scripted::default().reply(400, r#"{"Code":"InvalidParameter"}"#));
    let past = room.ask(None, "2025-10-02T00:00:00Z", "2025-10-03T00:00:00Z");
    assert_eq!(room.call(&past).await.unwrap_err().kind, CallErrorKind::BadInput);
}

#[tokio::test]
async fn a_span_that_lies_in_the_future_costs_no_call_where_the_vendor_refuses_it() {
    let room = room(Scripted::default());
    room.operation.learn_end_at_now(&room.account);
    let future = room.ask(None, "2025-12-02T00:00:00Z", "2025-12-03T00:00:00Z");
    assert_eq!(room.call(&future).await.unwrap().answer, Some(vec![]));
    assert!(room.transport.take_sent().is_empty());
}

#[tokio::test]
async fn a_phone_asked_for_alone_is_remembered() {
    let room = room(Scripted::default().reply(200, EMPTY));
    let (one, two) = (room.today(Some("1")), room.today(Some("2")));
    assert_eq!(room.operation.joint_subject(&[&two.subject]), two.subject);
    room.call(&one).await.unwrap();
    assert_eq!(room.operation.joint_subject(&[&two.subject]), room.today(None).subject);
}

#[tokio::test]
async fn failures_keep_their_kind_and_show_nothing_of_the_call() {
    let row = format!(r#"{{"Code":"OK","RequestId":"R-1","Data":[{{"PhoneNumber":"{PHONE}"}}]}}"#);
    let transport = Scripted::default()
        .reply(200, &row)
        .reply(200, "<html>")
        .fail(TransportError::NotConnected("refused".to_owned()))
        .fail(TransportError::Broken("reset".to_owned()))
        .fail(TransportError::TimedOut)
        .fail(TransportError::TooLong(1));
    let room = room(transport);
    for kind in [
        CallErrorKind::BadReply,
        CallErrorKind::BadReply,
        CallErrorKind::Unavailable,
        CallErrorKind::Unavailable,
        CallErrorKind::TimedOut,
        CallErrorKind::BadReply,
    ] {
        let error = room.call(&room.today(Some(PHONE))).await.unwrap_err();
        assert_eq!(error.kind, kind);
        let shown = format!("{error} {error:?}");
        assert!(!["the-id", "the-secret", PHONE].iter().any(|text| shown.contains(text)), "{shown}");
    }
}

/// However deep a reply is, reading it ends; and one that is compressed is none.
#[tokio::test]
async fn replies_that_are_made_to_hurt_are_bad_replies() {
    let deep = "[".repeat(300_000);
    let nested = |before: &str| format!("{before}{deep}{}}}", "]".repeat(300_000));
    let bodies = [
        nested(r#"{"Code":"OK","Data":"#),
        nested(r#"{"Code":"OK","Data":[{"PhoneNumber":"#),
        deep.clone(),
        "\u{1f}\u{8b}\u{8}".to_owned(),
    ];
    let transport = bodies.iter().fold(Scripted::default(), |transport, body| transport.reply(200, body));
    let room = room(transport.reply(429, "\u{1f}\u{8b}\u{8}"));
    for _ in &bodies {
        assert_eq!(room.call(&room.today(None)).await.unwrap_err().kind, CallErrorKind::BadReply);
    }
    assert_eq!(
        room.call(&room.today(None)).await.unwrap_err().kind,
        CallErrorKind::Throttled,
        "the status needs no body"
    );
}

#[tokio::test]
async fn enabling_names_the_channel_and_answers_the_request_id() {
    let body = include_str!("../../../../tests/data/alibaba_cams_enable.json");
    let room = room_with(Scripted::default().reply(200, body).reply(200, body), "isv_code = 'configured'");
    let client = EnableClient(Arc::clone(&room.client));
    let channel = Some(ChannelId::new("cams-alpha"));
    for (isv_code, sent_code) in [(None, "configured"), (Some("given".to_owned()), "given")] {
        let request = EnableWhatsappRoi { channel: channel.clone(), isv_code };
        let sent = client.call(&request, Permit::uncounted()).await.unwrap();
        assert_eq!(sent.at, at(NOW));
        assert_eq!(sent.answer.request_id, "608F9CCA-B5EB-3D72-8047-B25D6D75BDEC");
        let request = room.transport.take_sent().pop().unwrap();
        assert_eq!(request.headers()["x-acs-action"], "EnableWhatsappROIMetric");
        assert_eq!(
            query(&request),
            HashMap::from(
                [("CustSpaceId", "cams-alpha"), ("IsvCode", sent_code)]
                    .map(|(name, value)| (name.to_owned(), value.to_owned()))
            )
        );
    }
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_an_error_and_no_call() {
    let room = room_with(Scripted::default(), "security_token = \"the\\ntoken\"");
    let error = room.call(&room.today(None)).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Internal);
    assert!(!format!("{error:?}").contains("token\""));
}

#[test]
fn accounts_are_told_apart_by_what_the_vendor_counts() {
    let account = |more: &str| room_with(Scripted::default(), more).account;
    assert_eq!(account("").quota_identity(), "ALIBABA_CAMS\ncams.ap-southeast-1.aliyuncs.com\nthe-id");
    assert_eq!(account("quota_account = 'shared'").quota_identity(), "ALIBABA_CAMS\n\nshared");
}
