use std::time::Duration;

use super::*;
use crate::domain::{AppId, CallErrorKind, DistinctUsers, ManualClock, Window};
use crate::vendor::scripted::Scripted;
use crate::vendor::transport::TransportError;
use crate::vendor::volcengine_rtc::Dimension;

const NOW: &str = "2025-11-30T12:00:00.5Z";
const SAMPLE: &str = include_str!("../../../../tests/data/volcengine_rtc_distribution.json");

fn at(text: &str) -> Timestamp {
    Timestamp::parse_rfc3339(text).unwrap()
}

struct Room {
    client: Client,
    transport: Arc<Scripted>,
    clock: Arc<ManualClock>,
    account: Account,
}

fn room_with(transport: Scripted, more: &str) -> Room {
    let config = format!("name = 'calls'\naccess_key_id = 'the-id'\naccess_key_secret = 'the-secret'\n{more}");
    let config: Config = toml::from_str(&config).unwrap();
    let (account, transport) = (config.account().unwrap(), Arc::new(transport));
    let clock = Arc::new(ManualClock::frozen_at(at(NOW)));
    let operation = Arc::new(OperationDistributions::new(Duration::from_mins(510)));
    let (out, time) = (Arc::clone(&transport) as Arc<dyn Transport>, Arc::clone(&clock) as Arc<dyn Clock>);
    let client = Client::new(&config, account.clone(), out, time, operation).unwrap();
    Room { client, transport, clock, account }
}

fn room(transport: Scripted) -> Room {
    room_with(transport, "")
}

impl Room {
    fn ask(&self, start: &str, end: &str) -> Slice<DistributionSubject> {
        let (account, app) = (self.account.clone(), AppId::new("app-one"));
        let subject = DistributionSubject { account, app, dimension: Dimension::Province };
        Slice { subject, window: Window::new(at(start), at(end)).unwrap() }
    }

    fn yesterday(&self) -> Slice<DistributionSubject> {
        self.ask("2025-11-29T00:00:00+08:00", "2025-11-30T00:00:00+08:00")
    }

    async fn call(&self, request: &Slice<DistributionSubject>) -> Result<Sent<Option<Vec<Share>>>, CallError> {
        self.client.call(request, Permit::uncounted()).await
    }
}

#[tokio::test]
async fn a_call_is_a_signed_post_with_a_json_body() {
    let room = room_with(Scripted::default().reply(200, SAMPLE), "security_token = 'the-token'\nregion = 'ap-x'");
    let sent = room.call(&room.yesterday()).await.unwrap();
    assert_eq!((sent.at, sent.answer.unwrap()[0].users), (at(NOW), DistinctUsers::new(666.0).unwrap()));

    let request = room.transport.take_sent().pop().unwrap();
    assert_eq!(
        (request.method().as_str(), request.uri().to_string().as_str()),
        ("POST", "https://rtc.volcengineapi.com/?Action=ListOperationDistribution&Version=2020-12-01")
    );
    let body = r#"{"AppId":"app-one","StartTime":"2025-11-28T16:00:00Z","EndTime":"2025-11-29T16:00:00Z","Indicator":"user_num","Dimension":"province"}"#;
    assert_eq!(request.body(), body);

    let header = |name: &str| request.headers()[name].to_str().unwrap();
    assert_eq!((header("content-type"), header("host")), ("application/json", "rtc.volcengineapi.com"));
    assert_eq!((header("x-date"), header("x-security-token")), ("20251130T120000Z", "the-token"));
    let query = request.uri().query().unwrap();
    let parts = signer::Parts { host: "rtc.volcengineapi.com", region: "ap-x", query, body: body.as_bytes() };
    let signed = signer::sign(&parts, &room.client.credential, sent.at).unwrap();
    assert_eq!(signed["authorization"], header("authorization"));
    assert!(!format!("{request:?}").contains("the-token"));
}

#[tokio::test]
async fn every_attempt_is_signed_anew() {
    let room = room(Scripted::default().reply(500, "").reply(200, SAMPLE));
    assert_eq!(room.call(&room.yesterday()).await.unwrap_err().kind, CallErrorKind::Unavailable);
    room.clock.set(at(NOW) + Duration::from_secs(2));
    room.call(&room.yesterday()).await.unwrap();
    let sent = room.transport.take_sent();
    for name in ["x-date", "authorization"] {
        assert_ne!(sent[0].headers()[name], sent[1].headers()[name], "{name}");
    }
    assert_eq!(sent[0].body(), sent[1].body());
}

#[tokio::test]
async fn the_version_decides_query_and_indicator() {
    let room = room_with(Scripted::default().reply(200, SAMPLE), "version = '2023-11-01'");
    room.call(&room.yesterday()).await.unwrap();
    let request = room.transport.take_sent().pop().unwrap();
    assert!(request.uri().query().unwrap().ends_with("&Version=2023-11-01"));
    assert!(std::str::from_utf8(request.body()).unwrap().contains(r#""Indicator":"user_count""#));
}

#[tokio::test]
async fn a_window_that_aged_out_while_it_waited_is_not_asked() {
    let room = room(Scripted::default().reply(200, SAMPLE));
    let oldest = room.ask("2025-10-31T12:00:01Z", "2025-11-01T00:00:00Z");
    room.call(&oldest).await.unwrap();
    room.clock.set(at(NOW) + Duration::from_secs(1));
    assert_eq!(room.call(&oldest).await.unwrap_err().kind, CallErrorKind::OutOfRetention);
    assert_eq!(room.transport.take_sent().len(), 1);
}

#[tokio::test]
async fn failures_keep_their_kind_and_show_nothing_of_the_call() {
    let transport = Scripted::default()
        .reply(200, &SAMPLE.replace("666", "-1"))
        .reply(200, "<html>")
        .reply(200, r#"{"ResponseMetadata":{"Error":{"Code":"FlowLimitExceeded.QPSOverLimit"}}}"#)
        .fail(TransportError::NotConnected("refused".to_owned()))
        .fail(TransportError::Broken("reset".to_owned()))
        .fail(TransportError::TimedOut)
        .fail(TransportError::TooLong(1));
    let room = room(transport);
    for kind in [
        CallErrorKind::BadReply,
        CallErrorKind::BadReply,
        CallErrorKind::Throttled,
        CallErrorKind::Unavailable,
        CallErrorKind::Unavailable,
        CallErrorKind::TimedOut,
        CallErrorKind::BadReply,
    ] {
        let error = room.call(&room.yesterday()).await.unwrap_err();
        assert_eq!(error.kind, kind);
        let shown = format!("{error} {error:?}");
        assert!(!["the-id", "the-secret"].iter().any(|text| shown.contains(text)), "{shown}");
    }
}

/// However deep a reply is, reading it ends; and one that is compressed is none.
#[tokio::test]
async fn replies_that_are_made_to_hurt_are_bad_replies() {
    let deep = "[".repeat(300_000);
    let nested = |before: &str| format!("{before}{deep}{}}}", "]".repeat(300_000));
    let bodies = [
        nested(r#"{"ResponseMetadata":"#),
        nested(r#"{"ResponseMetadata":{"RequestId":"1"},"Result":"#),
        deep.clone(),
        "\u{1f}\u{8b}\u{8}".to_owned(),
    ];
    let transport = bodies.iter().fold(Scripted::default(), |transport, body| transport.reply(200, body));
    let room = room(transport.reply(429, "\u{1f}\u{8b}\u{8}"));
    for _ in &bodies {
        assert_eq!(room.call(&room.yesterday()).await.unwrap_err().kind, CallErrorKind::BadReply);
    }
    assert_eq!(
        room.call(&room.yesterday()).await.unwrap_err().kind,
        CallErrorKind::Throttled,
        "the status needs no body"
    );
}

#[tokio::test]
async fn a_key_that_no_header_can_carry_is_an_error_and_no_call() {
    let room = room_with(Scripted::default(), "security_token = \"the\\ntoken\"");
    let error = room.call(&room.yesterday()).await.unwrap_err();
    assert_eq!(error.kind, CallErrorKind::Internal);
    assert!(!format!("{error:?}").contains("token\""));
}

#[test]
fn accounts_are_told_apart_by_what_the_vendor_counts() {
    let account = |more: &str| room_with(Scripted::default(), more).account;
    assert_eq!(account("").quota_identity(), "VOLCENGINE_RTC\nrtc.volcengineapi.com\nthe-id");
    assert_eq!(account("quota_account = 'shared'").quota_identity(), "VOLCENGINE_RTC\n\nshared");
}
