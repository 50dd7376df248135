//! What the tests need to know of each vendor, so that one test states one promise of all of them.
//!
//! A new operation adds one [`Room`] to [`ROOMS`].

use std::ops::Range;
use std::time::Duration;

use serde_json::{Value, json};
use weir::config::Config;
use weir::domain::time::DAY;
use weir::domain::{Timestamp, Vendor, Window};
use weir::sim::{Dimension, Granularity};

use super::gateway::{DISTRIBUTION, METRIC, TEMPLATE, TestGateway};

/// Every operation that answers rows.
pub(crate) const ROOMS: [Room; 3] = [ALIBABA_CAMS, VOLCENGINE_RTC, TEMPLATES];

/// One subject over one window.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Want {
    pub(crate) id: String,
    pub(crate) window: Window,
}

/// One vendor as the tests see it.
#[derive(Clone, Copy)]
pub(crate) struct Room {
    pub(crate) vendor: Vendor,
    /// The demo's account.
    pub(crate) account: &'static str,
    pub(crate) operation: &'static str,
    /// The published calls a second.
    pub(crate) limit: usize,
    /// Whether parts of a window answer for parts of another.
    pub(crate) is_sliced: bool,
    /// Two subjects of the demo.
    pub(crate) ids: [&'static str; 2],
    /// A window in which the first of them shows nothing.
    pub(crate) empty: fn() -> Want,
    /// The code of a subject that is not there, and the vendor's own.
    pub(crate) unknown: (&'static str, &'static str),
    /// The vendor's codes for the simulator's faults of these names.
    pub(crate) not_subscribed: &'static str,
    pub(crate) permission_denied: &'static str,
    pub(crate) clock_skew: &'static str,
    pub(crate) throttle: &'static str,
    pub(crate) limit_control: &'static str,
    pub(crate) bad_value: &'static str,
    /// What a client calls an undocumented sort of throttle, by the pattern of its name.
    pub(crate) new_throttle: &'static str,
    /// The selection of a field that answers a want, without an alias.
    pub(crate) field: fn(&Want) -> String,
    /// The rows of such a field's answer.
    pub(crate) rows: fn(&Value) -> Value,
    /// What they are in truth, as known now.
    pub(crate) truth: fn(&TestGateway, &Want) -> Value,
    /// The finalities of such a field's answer, and when it was fetched.
    pub(crate) finalities: fn(&Value) -> Vec<Value>,
    pub(crate) fetched_at: fn(&Value) -> Vec<Value>,
    pub(crate) serve: fn(&mut Config, &str),
    pub(crate) quota: fn(&mut Config, u32),
    /// Key id, secret and STS token.
    pub(crate) key: fn(&mut Config, [&str; 3]),
    /// The header that carries the STS token, and the one that makes two attempts differ.
    pub(crate) token_header: &'static str,
    pub(crate) fresh_header: &'static str,
}

const ALIBABA_CAMS: Room = Room {
    vendor: Vendor::AlibabaCams,
    account: "retail",
    operation: METRIC,
    limit: 50,
    is_sliced: true,
    ids: ["cams-alpha", "cams-beta"],
    // From before the API was there.
    empty: || Want { id: "cams-alpha".to_owned(), window: window("2019-11-01T00:00:00Z", DAY * 3) },
    unknown: ("UNKNOWN_CHANNEL", "Unknown.ResourceOwnerId"),
    not_subscribed: "Product.Unsubscript",
    permission_denied: "NoPermission",
    clock_skew: "InvalidTimeStamp.Expired",
    throttle: "Throttling.User",
    limit_control: "System.LimitControl",
    bad_value: "InvalidParameter",
    new_throttle: "Throttling.SomethingNew",
    field: |want| {
        let (id, range) = (&want.id, between(want.window));
        format!(
            "phoneNumberMetrics(custSpaceId: \"{id}\", range: {range}) \
             {{ nodes {{ phoneNumber start end sentCount deliveredCount finality fetchedAt }} }}"
        )
    },
    rows: |answer| {
        let row = |node: &Value| {
            json!([node["phoneNumber"], node["start"], node["end"], node["sentCount"], node["deliveredCount"]])
        };
        answer["nodes"].as_array().expect("an answer has nodes").iter().map(row).collect()
    },
    truth: |gateway, want| {
        let rows = gateway.sim().world().metrics(&want.id, Granularity::Daily, want.window, gateway.now());
        rows.iter()
            .map(|row| json!([row.phone, row.start.to_string(), row.end.to_string(), row.sent, row.delivered]))
            .collect()
    },
    finalities: |answer| column(&answer["nodes"], "finality"),
    fetched_at: |answer| column(&answer["nodes"], "fetchedAt"),
    serve: |config, id| config.alibaba_cams[0].channels.push(id.to_owned()),
    quota: |config, limit| config.alibaba_cams[0].quota.set("GetChatappPhoneNumberMetric", limit),
    key: |config, [id, secret, token]| {
        let entry = &mut config.alibaba_cams[0];
        (entry.access_key_id, entry.access_key_secret) = (id.into(), secret.into());
        entry.security_token = token.into();
    },
    token_header: "x-acs-security-token",
    fresh_header: "x-acs-signature-nonce",
};

/// The template of every channel, as far as the simulator is concerned.
const TEMPLATES: Room = Room {
    operation: TEMPLATE,
    limit: 5,
    field: |want| {
        let (id, range) = (&want.id, between(want.window));
        format!(
            "templateMetrics(custSpaceId: \"{id}\", templateCode: \"welcome\", range: {range}) \
             {{ nodes {{ language start end sentCount deliveredCount readCount clicks {{ kind text count }} finality fetchedAt }} }}"
        )
    },
    rows: |answer| {
        let row = |node: &Value| {
            let counts = ["sentCount", "deliveredCount", "readCount"].map(|name| node[name].clone());
            json!([node["language"], node["start"], node["end"], counts, node["clicks"]])
        };
        answer["nodes"].as_array().expect("an answer has nodes").iter().map(row).collect()
    },
    truth: |gateway, want| {
        let world = gateway.sim().world();
        let rows = world.templates(&want.id, "welcome", Granularity::Daily, want.window, gateway.now());
        let clicks = |(kind, text, count): &(&str, &str, u64)| {
            let kind = if kind.starts_with("url") { "URL" } else { "QUICK_REPLY" };
            json!({ "kind": kind, "text": text, "count": count })
        };
        let row = |row: &weir::sim::TemplateRow| {
            let clicks: Vec<_> = row.clicks.iter().map(clicks).collect();
            let (start, end) = (row.start.to_string(), row.end.to_string());
            json!([row.language, start, end, [row.sent, row.delivered, row.read], clicks])
        };
        rows.iter().map(row).collect()
    },
    quota: |config, limit| config.alibaba_cams[0].quota.set("GetChatappTemplateMetric", limit),
    ..ALIBABA_CAMS
};

const VOLCENGINE_RTC: Room = Room {
    vendor: Vendor::VolcengineRtc,
    account: "calls",
    operation: DISTRIBUTION,
    limit: 2,
    is_sliced: false,
    ids: ["app-one", "app-two"],
    // One second of the small hours in China.
    empty: || Want { id: "app-one".to_owned(), window: window("2026-11-10T19:30:00Z", Duration::from_secs(1)) },
    unknown: ("UNKNOWN_APPLICATION", "InvalidParameter.NotExistAppId"),
    not_subscribed: "AccessDenied.ServiceNotEnabled",
    permission_denied: "AccessDenied.NoPermissionForApp",
    clock_skew: "InvalidTimestamp",
    throttle: "FlowLimitExceeded.QPSOverLimit",
    limit_control: "AccountFlowLimitExceeded",
    bad_value: "InvalidParameter",
    new_throttle: "SomeNewFlowLimit",
    field: |want| {
        let (id, range) = (&want.id, between(want.window));
        format!(
            "operationDistribution(appId: \"{id}\", range: {range}) \
             {{ start end finality fetchedAt data {{ distributionName value }} }}"
        )
    },
    rows: |answer| {
        let row = |share: &Value| json!([share["distributionName"], share["value"]]);
        answer["data"].as_array().expect("an answer has data").iter().map(row).collect()
    },
    truth: |gateway, want| {
        let world = gateway.sim().world();
        let shares = world.distribution(&want.id, Dimension::Province, want.window, gateway.now());
        shares.iter().map(|(name, users)| json!([name, f64::from(u32::try_from(*users).unwrap())])).collect()
    },
    finalities: |answer| vec![answer["finality"].clone()],
    fetched_at: |answer| vec![answer["fetchedAt"].clone()],
    serve: |config, id| config.volcengine_rtc[0].apps.push(id.to_owned()),
    quota: |config, limit| config.volcengine_rtc[0].quota.set("ListOperationDistribution", limit),
    key: |config, [id, secret, token]| {
        let entry = &mut config.volcengine_rtc[0];
        (entry.access_key_id, entry.access_key_secret) = (id.into(), secret.into());
        entry.security_token = token.into();
    },
    token_header: "x-security-token",
    fresh_header: "x-date",
};

impl Want {
    /// A subject over days of November 2026.
    pub(crate) fn of(id: &str, days: Range<u64>) -> Self {
        let start = format!("2026-11-{:02}T00:00:00Z", days.start);
        Self { id: id.to_owned(), window: window(&start, DAY * u32::try_from(days.end - days.start).unwrap()) }
    }
}

impl Room {
    /// The first subject over days of November 2026.
    pub(crate) fn want(&self, days: Range<u64>) -> Want {
        Want::of(self.ids[0], days)
    }

    /// A query of one want under the name `it`.
    pub(crate) fn query(&self, want: &Want) -> String {
        format!("{{ it: {} }}", (self.field)(want))
    }

    /// The other vendors, each by its first operation.
    pub(crate) fn others(&self) -> impl Iterator<Item = &'static Self> + use<> {
        let vendor = self.vendor;
        let is_first = |room: &&Self| {
            ROOMS
                .iter()
                .find(|first| first.vendor == room.vendor)
                .is_some_and(|first| first.operation == room.operation)
        };
        ROOMS.iter().filter(is_first).filter(move |room| room.vendor != vendor)
    }

    /// Asserts that an answer holds the truth.
    pub(crate) fn assert_right(&self, gateway: &TestGateway, answer: &Value, want: &Want, what: &str) {
        assert!(answer.is_object(), "{what}: {answer}");
        let (rows, truth) = ((self.rows)(answer), (self.truth)(gateway, want));
        assert!(truth.as_array().is_some_and(|rows| !rows.is_empty()), "{what}: the truth of {want:?} is empty");
        assert!(rows == truth, "{what}: {} rows, {} in truth", count(&rows), count(&truth));
    }
}

/// The attempts that a response says it started for a vendor.
pub(crate) fn attempts(response: &Value, room: &Room) -> u64 {
    response["extensions"]["weir"]["upstreamCalls"][room.vendor.as_str()].as_u64().unwrap()
}

fn count(rows: &Value) -> usize {
    rows.as_array().map_or(0, Vec::len)
}

fn column(rows: &Value, name: &str) -> Vec<Value> {
    rows.as_array().expect("a list of rows").iter().map(|row| row[name].clone()).collect()
}

fn window(start: &str, length: Duration) -> Window {
    let start = Timestamp::parse_rfc3339(start).unwrap();
    Window::new(start, start + length).unwrap()
}

fn between(window: Window) -> String {
    format!("{{between: {{start: \"{}\", end: \"{}\"}}}}", window.start(), window.end())
}
