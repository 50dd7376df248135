//! What other replicas have put into Redis, or seem to: a slice that is taken over is as sound as a reply, and answers of the
//! script hand out no more permits than there are. A slice is what stands under its key; answers are words on lines, with
//! `---` on a line between two.

use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;
use weir::domain::time::DAY;
use weir::domain::{
    Account, AppId, Caller, ChannelId, Class, Clock, Held, Key as _, ManualClock, Operation, PhoneNumber, Point, Slice,
    Vendor, Window,
};
use weir::quota::agent::{LeaseClient, heard};
use weir::quota::lease::Terms;
use weir::quota::{Permit, Rule};
use weir::redis::Redis;
use weir::store::lifetime::Lifetimes;
use weir::store::{Memory, SharedAnswers};
use weir::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics};
use weir::vendor::volcengine_rtc::{Dimension, DistributionSubject, OperationDistributions};

use super::stage;

/// How many calls a second there may be.
const PERMITS: u32 = 2;

pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    stage::run(async { if text.contains('{') { slice(text) } else { answers(text).await } })
}

/// Nobody is connected to.
fn link() -> Redis {
    Redis::new(&"redis://127.0.0.1:1".to_owned().into()).expect("an address")
}

fn window() -> Window {
    let end = stage::now().floor(DAY);
    Window::new(end - DAY, end).expect("a day")
}

/// What is held after `value` was found under the key of a slice.
fn taken<O: Operation>(operation: O, subject: O::Subject, value: &str) -> Option<Arc<Held<O::Data>>> {
    let (operation, clock) = (Arc::new(operation), Arc::new(ManualClock::frozen_at(stage::now())));
    let lifetimes = Lifetimes { provisional_ttl: DAY, max_stale: DAY, stale_while_refresh: DAY };
    let memory = Arc::new(Memory::new(Arc::clone(&operation), 1 << 20, lifetimes));
    let clock: Arc<dyn Clock> = clock;
    let shared = SharedAnswers::new(link(), operation, memory, clock, Duration::from_secs(20));
    shared.hear(&Slice { subject, window: window() }, value)
}

fn slice(value: &str) -> bool {
    let json: Value = value.split_once(' ').and_then(|(_, json)| serde_json::from_str(json).ok()).unwrap_or_default();
    let account = |vendor| Account::new(vendor, "own", "vendor.example", "owner");
    let mut is_taken = false;
    for phone in [None, PhoneNumber::parse("8613800138000")] {
        let (account, channel) = (account(Vendor::AlibabaCams), Some(ChannelId::new("cams-alpha")));
        let subject = MetricSubject { account, channel, granularity: Granularity::HalfHour, phone: phone.clone() };
        let Some(held) = taken(PhoneNumberMetrics::new(8 * DAY / 24), subject, value) else { continue };
        is_taken = true;
        let points = held.data.as_slice();
        assert_eq!(held.is_empty, points.is_empty());
        for point in points {
            assert!(point.sent.as_i64() >= 0 && point.delivered.as_i64() >= 0, "{point:?}");
            assert!(window().contains(point.start) && point.start < point.end, "{point:?}");
            assert!(phone.as_ref().is_none_or(|phone| *phone == point.phone), "{point:?}");
        }
        assert_eq!(points.len(), json["data"].as_array().map_or(0, Vec::len), "all of it");
        in_order(points);
    }
    for dimension in Dimension::ALL {
        let subject =
            DistributionSubject { account: account(Vendor::VolcengineRtc), app: AppId::new("app-one"), dimension };
        let Some(held) = taken(OperationDistributions::new(8 * DAY / 24), subject, value) else { continue };
        is_taken = true;
        let shares = &held.data.shares;
        assert_eq!(held.is_empty, shares.is_empty());
        for share in shares {
            assert!(share.users.as_f64() >= 0.0 && share.proportion >= 0.0, "{share:?}");
        }
        assert!(shares.is_sorted_by(|one, next| one.users >= next.users), "{shares:?}");
    }
    is_taken
}

fn in_order<P: Point + Debug>(points: &[P]) {
    let in_order = |one: &P, next: &P| match one.key().text().cmp(next.key().text()) {
        std::cmp::Ordering::Equal => one.end() <= next.start(),
        order => order.is_lt(),
    };
    assert!(points.is_sorted_by(in_order), "{points:?}");
}

async fn answers(text: &str) -> bool {
    let answers: Vec<Vec<String>> =
        text.split("\n---\n").map(|answer| answer.lines().map(str::to_owned).collect()).collect();
    let ms = Duration::from_millis;
    let terms = Terms::new(ms(100), ms(100), ms(100), ms(100));
    let account = Account::new(Vendor::VolcengineRtc, "toy", "127.0.0.1", "toy");
    let lessor = LeaseClient::new(link(), &account, "Toy", terms);
    // Nobody gives any permit back, so that each answer may bring as many as there are.
    let most = PERMITS as usize * answers.len();
    let (limiter, asks, n_heard) =
        heard(Rule::per_second(PERMITS, ms(100)), lessor, &Caller::Anonymous, most + 1, &answers);
    let status = limiter.status(&Caller::Anonymous);
    assert!(status.available <= PERMITS as usize && status.budget <= PERMITS as usize, "{status:?}");
    // However long it is, it can be told.
    let [_, _, _] = Class::ALL.map(|class| limiter.expected_wait(class, &Caller::Anonymous, 10));
    let mut out: Vec<Permit> = Vec::new();
    for ask in asks {
        if let Ok(Some(permit)) = tokio::time::timeout(ms(1), ask.permit()).await {
            out.push(permit);
        }
    }
    assert!(out.len() <= PERMITS as usize * n_heard, "{} permits of {PERMITS}", out.len());
    n_heard > 0
}
