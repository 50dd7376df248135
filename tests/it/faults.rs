//! One vendor down, slow or talking nonsense: the other's data arrives untouched, the failing field is null with the
//! right code, and nothing false is kept.

use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::domain::time::{DAY, HOUR, SECOND};
use weir::domain::{Vendor, Window};
use weir::quota::Rule;
use weir::sim::{DEMO_KEY, Fault, Scope, Times};

use crate::support::rooms::attempts;
use crate::support::{Builder, DISTRIBUTION, METRIC, ROOMS, Room, TestGateway, Want, codes, window};

/// What a client gets while a fault lasts.
#[derive(Debug, Clone, PartialEq)]
enum Then {
    /// The truth, after one call.
    Right,
    /// No rows: what the vendor said, however odd.
    Empty,
    /// Null with an error.
    Error { code: &'static str, attempts: u64, vendor_code: Option<&'static str>, arrives: bool },
}

impl Then {
    /// An error that may be gone the next time: tried three times.
    const fn transient(code: &'static str, vendor_code: Option<&'static str>) -> Self {
        Self::Error { code, attempts: 3, vendor_code, arrives: true }
    }

    /// An error that would come again: tried once.
    const fn lasting(code: &'static str, vendor_code: Option<&'static str>) -> Self {
        Self::Error { code, attempts: 1, vendor_code, arrives: true }
    }

    /// Whose request never arrives, or not by the time of the answer.
    fn unheard(self) -> Self {
        match self {
            Self::Error { code, attempts, vendor_code, .. } => {
                Self::Error { code, attempts, vendor_code, arrives: false }
            }
            other => other,
        }
    }
}

const UNAVAILABLE: &str = "VENDOR_UNAVAILABLE";
const TIMEOUT: &str = "VENDOR_TIMEOUT";
const THROTTLED: &str = "VENDOR_THROTTLED";
const DENIED: &str = "VENDOR_DENIED";
const BAD_REPLY: &str = "VENDOR_BAD_REPLY";

/// Longer than `upstream.timeout`.
const TOO_LONG: Duration = Duration::from_secs(12);

/// The contract: what each fault of the simulator comes to. There is no `_` arm, so that a new fault has to be judged.
fn contract(fault: &Fault, room: &Room) -> Then {
    let is_cams = room.vendor == Vendor::AlibabaCams;
    let own = |cams, rtc| Some(if is_cams { cams } else { rtc });
    match fault {
        Fault::ConnectRefused | Fault::ResetBeforeArrival | Fault::ResetEarly(_) => {
            Then::transient(UNAVAILABLE, None).unheard()
        }
        Fault::ResetAfterArrival | Fault::BrokenBody | Fault::BadGatewayHtml => Then::transient(UNAVAILABLE, None),
        Fault::StatusEarly { status, .. } if *status >= 500 => Then::transient(UNAVAILABLE, None).unheard(),
        Fault::StatusEarly { .. } => Then::lasting(BAD_REPLY, None).unheard(),
        Fault::Latency(delay) | Fault::Jitter(delay) | Fault::SlowBody(delay) if *delay < TOO_LONG => Then::Right,
        Fault::Latency(_) | Fault::Jitter(_) | Fault::SlowBody(_) | Fault::Hang => Then::transient(TIMEOUT, None),
        Fault::InternalError | Fault::CodeNAbsent => Then::transient(UNAVAILABLE, Some("InternalError")),
        Fault::Unavailable => Then::transient(UNAVAILABLE, own("ServiceUnavailable", "ServiceUnavailableTemp")),
        Fault::Throttle | Fault::ThrottleFor(_) => Then::transient(THROTTLED, Some(room.throttle)),
        Fault::LimitControl => Then::transient(THROTTLED, Some(room.limit_control)),
        Fault::ClockSkew => Then::lasting(DENIED, Some(room.clock_skew)),
        Fault::NotSubscribed => Then::lasting("NOT_SUBSCRIBED", Some(room.not_subscribed)),
        Fault::PermissionDenied => Then::lasting(DENIED, Some(room.permission_denied)),
        Fault::Refuse { status, code } => refusal(*status, code, room),
        Fault::ErrorInside200 { code } => refusal(200, code, room),
        Fault::TruncatedJson
        | Fault::MalformedJson
        | Fault::HtmlBody
        | Fault::EmptyBody
        | Fault::NullRows
        | Fault::ConflictingRows => Then::lasting(BAD_REPLY, None),
        // They bend rows as CAMS writes them; to RTC the first is an equal duplicate and the others are nothing. Rows of
        // templates do not say which step they have.
        Fault::OverlappingBuckets | Fault::LongBucket if is_cams => Then::lasting(BAD_REPLY, None),
        Fault::WrongGranularity if room.operation == METRIC => Then::lasting(BAD_REPLY, None),
        Fault::NullData | Fault::AbsentData => Then::Empty,
        Fault::OverlappingBuckets
        | Fault::WrongGranularity
        | Fault::LongBucket
        | Fault::StringNumbers
        | Fault::UnknownFields
        | Fault::AccessDeniedObject
        | Fault::DuplicateRows => Then::Right,
    }
}

/// A documented code decides, else the status.
fn refusal(status: u16, code: &str, room: &Room) -> Then {
    let known = [room.throttle, room.limit_control, room.permission_denied, room.not_subscribed, room.unknown.1]
        .into_iter()
        .chain([room.clock_skew, room.bad_value, room.new_throttle, NEW_CODE, NEW_INTERNAL])
        .find(|known| *known == code);
    let code = known.expect("a code of the table below");
    match (code, status) {
        (NEW_CODE, 429) => Then::transient(THROTTLED, known),
        (NEW_CODE, 401 | 403) => Then::lasting(DENIED, known),
        (NEW_CODE | NEW_INTERNAL, 500..) => Then::transient(UNAVAILABLE, known),
        (NEW_CODE | NEW_INTERNAL, _) => Then::lasting(BAD_REPLY, known),
        _ if code == room.unknown.1 => Then::lasting(room.unknown.0, known),
        _ if code == room.not_subscribed => Then::lasting("NOT_SUBSCRIBED", known),
        _ if code == room.bad_value => Then::lasting("BAD_USER_INPUT", known),
        _ if [room.permission_denied, room.clock_skew].contains(&code) => Then::lasting(DENIED, known),
        _ => Then::transient(THROTTLED, known),
    }
}

/// Codes that no vendor documents.
const NEW_CODE: &str = "Something.New";
const NEW_INTERNAL: &str = "Gateway.Sulking";

/// Every fault of the simulator, those with a duration or a code in each sense they can have.
pub(crate) fn faults(room: &Room) -> Vec<Fault> {
    let secs = Duration::from_secs;
    let mut faults = vec![
        Fault::ConnectRefused,
        Fault::ResetBeforeArrival,
        Fault::ResetEarly(secs(3)),
        Fault::Latency(secs(3)),
        Fault::Latency(TOO_LONG),
        Fault::Jitter(secs(5)),
        Fault::ResetAfterArrival,
        Fault::Hang,
        Fault::SlowBody(secs(3)),
        Fault::SlowBody(TOO_LONG),
        Fault::BrokenBody,
        Fault::InternalError,
        Fault::BadGatewayHtml,
        Fault::Unavailable,
        Fault::CodeNAbsent,
        Fault::Throttle,
        Fault::ThrottleFor(secs(3)),
        Fault::LimitControl,
        Fault::ClockSkew,
        Fault::NotSubscribed,
        Fault::PermissionDenied,
        Fault::TruncatedJson,
        Fault::MalformedJson,
        Fault::HtmlBody,
        Fault::EmptyBody,
        Fault::NullData,
        Fault::AbsentData,
        Fault::NullRows,
        Fault::StringNumbers,
        Fault::UnknownFields,
        Fault::AccessDeniedObject,
        Fault::DuplicateRows,
        Fault::ConflictingRows,
        Fault::OverlappingBuckets,
        Fault::WrongGranularity,
        Fault::LongBucket,
    ];
    faults.extend([408, 499, 502, 504].map(|status| Fault::StatusEarly { status, arrival: secs(3) }));
    let refuse = |status, code: &str| Fault::Refuse { status, code: code.to_owned() };
    faults.extend([400, 401, 403, 404, 429, 500, 503].map(|status| refuse(status, NEW_CODE)));
    faults.push(refuse(599, NEW_INTERNAL));
    let inside = |code: &str| Fault::ErrorInside200 { code: code.to_owned() };
    faults.push(inside(NEW_CODE));
    for code in [
        room.throttle,
        room.limit_control,
        room.new_throttle,
        room.not_subscribed,
        room.permission_denied,
        room.clock_skew,
        room.unknown.1,
        room.bad_value,
    ] {
        // A throttle is a throttle whatever its status says.
        faults.extend([inside(code), refuse(400, code), refuse(503, code)]);
    }
    faults
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_a_cold_vendor_spares_the_others_and_leaves_nothing_false() {
    for room in &ROOMS {
        for fault in faults(room) {
            one_fault(room, &fault, false).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn every_fault_of_a_half_warm_vendor_spares_what_is_held_too() {
    for room in &ROOMS {
        for fault in faults(room) {
            one_fault(room, &fault, true).await;
        }
    }
}

async fn one_fault(room: &Room, fault: &Fault, is_half_warm: bool) {
    let what = format!("{} under {fault:?}, {}", room.vendor, if is_half_warm { "half warm" } else { "cold" });
    let gateway = TestGateway::builder().legs(10..20, 10..20).build();
    let (held, want) = (room.want(9..12), room.want(9..15));
    if is_half_warm {
        let warm = gateway.data(&room.query(&held)).await;
        room.assert_right(&gateway, &warm["it"], &held, &what);
    }
    gateway.sim().faults().push(fault.clone(), Scope::Vendor(room.vendor), Times::ForEver);
    let others: Vec<_> = room.others().map(|other| format!("{}: {}", other.account, field(other))).collect();
    let others = others.join(" ");
    let held_too = if is_half_warm { format!("held: {} ", (room.field)(&held)) } else { String::new() };
    let query = format!("{{ {others} {held_too} it: {} }}", (room.field)(&want));
    let calls = gateway.calls(room.operation);
    let response = gateway.ask(&query, json!({})).await;
    let data = &response["data"];

    for other in room.others() {
        other.assert_right(&gateway, &data[other.account], &other.want(9..14), &what);
        assert_eq!(attempts(&response, other), 1, "{what}");
    }
    if is_half_warm {
        room.assert_right(&gateway, &data["held"], &held, &what);
    }
    let then = contract(fault, room);
    match &then {
        Then::Right => {
            assert_eq!(response.get("errors"), None, "{what}");
            room.assert_right(&gateway, &data["it"], &want, &what);
            assert_eq!(attempts(&response, room), 1, "{what}");
        }
        Then::Empty => {
            assert_eq!(response.get("errors"), None, "{what}");
            let known = if is_half_warm && room.is_sliced { (room.truth)(&gateway, &held) } else { json!([]) };
            assert!((room.rows)(&data["it"]) == known, "{what}");
            assert_eq!(attempts(&response, room), 1, "{what}");
        }
        Then::Error { code, attempts: expected, vendor_code, arrives } => {
            assert_eq!(data["it"], Value::Null, "{what}");
            let error = the_error(&response, &what);
            assert_eq!(error["path"], json!(["it"]), "{what}");
            let extensions = &error["extensions"];
            assert_eq!(extensions["code"], json!(code), "{what}");
            assert_eq!(extensions["vendor"], json!(room.vendor.as_str()), "{what}");
            assert_eq!(extensions["account"], json!(room.account), "{what}");
            assert_eq!(extensions["retryable"], json!(*expected > 1), "{what}");
            assert_eq!(extensions.get("vendorCode"), vendor_code.map(|code| json!(code)).as_ref(), "{what}");
            assert!(vendor_code.is_none() || extensions["vendorRequestId"].is_string(), "{what}: {extensions}");
            assert_eq!(attempts(&response, room), *expected, "{what}");
            let arrived = gateway.calls(room.operation) - calls;
            assert!(if *arrives { arrived as u64 == *expected } else { arrived as u64 <= *expected }, "{what}");
        }
    }

    gateway.sim().faults().clear();
    match then {
        Then::Right => assert_costs(&gateway, room, 0, &room.query(&want)).await,
        // Nothing proves the emptiness: it is asked again within the hour.
        Then::Empty => sleep(HOUR).await,
        Then::Error { code: DENIED | "NOT_SUBSCRIBED" | "UNKNOWN_CHANNEL" | "UNKNOWN_APPLICATION", .. } => {
            sleep(30 * SECOND).await;
        }
        Then::Error { .. } => {}
    }
    let after = gateway.data(&room.query(&want)).await;
    room.assert_right(&gateway, &after["it"], &want, &format!("{what}, when it has ended"));
    // Requests that were given up arrive late and are counted all the same.
    sleep(10 * SECOND).await;
    let widest = gateway.sim().widest_second(DEMO_KEY.0, room.operation);
    assert!(widest <= room.limit && gateway.sim().throttled(room.operation) == 0, "{what}: {widest} in one second");
}

fn field(room: &Room) -> String {
    (room.field)(&room.want(9..14))
}

fn the_error<'a>(response: &'a Value, what: &str) -> &'a Value {
    let errors = response["errors"].as_array().map(Vec::as_slice).unwrap_or_default();
    assert_eq!(errors.len(), 1, "{what}: {response}");
    &errors[0]
}

/// Asserts that a query is answered without an error, and what it costs.
async fn assert_costs(gateway: &TestGateway, room: &Room, calls: usize, query: &str) {
    let before = gateway.calls(room.operation);
    gateway.data(query).await;
    assert_eq!(gateway.calls(room.operation) - before, calls, "{query}");
}

/// Faults that may be gone the next time.
fn transient_faults(room: &Room) -> impl Iterator<Item = Fault> + use<'_> {
    faults(room).into_iter().filter(|fault| matches!(contract(fault, room), Then::Error { attempts: 3, .. }))
}

fn one_permit(room: &Room) -> Builder {
    TestGateway::builder().max_wait(60).config(|config| (room.quota)(config, 1))
}

#[tokio::test(start_paused = true)]
async fn a_transient_fault_is_outlived_by_the_second_or_third_attempt() {
    for room in &ROOMS {
        for fault in transient_faults(room) {
            for failing in 1..=2 {
                let what = format!("{} under {failing} times {fault:?}", room.vendor);
                let gateway = TestGateway::builder().build();
                gateway.sim().faults().push(fault.clone(), Scope::Vendor(room.vendor), Times::Next(failing));
                let want = room.want(9..12);
                let response = gateway.query(&room.query(&want)).await;
                assert_eq!(codes(&response), Vec::<String>::new(), "{what}");
                room.assert_right(&gateway, &response["data"]["it"], &want, &what);
                assert_eq!(attempts(&response, room), failing as u64 + 1, "{what}");
            }
        }
    }
}

/// With a single permit the attempts are as far apart as the permit's hold after each ending.
#[tokio::test(start_paused = true)]
async fn each_attempt_pays_with_a_permit_of_its_own() {
    let unproven = Duration::from_secs(5) + Rule::HOLD;
    for room in &ROOMS {
        for (fault, apart) in [
            (Fault::InternalError, Rule::HOLD),
            (Fault::Throttle, Rule::HOLD),
            (Fault::BrokenBody, Rule::HOLD),
            (Fault::ResetAfterArrival, unproven),
            (Fault::BadGatewayHtml, unproven),
            (Fault::Hang, Duration::from_secs(10) + unproven),
            (Fault::SlowBody(TOO_LONG), Duration::from_secs(10)),
        ] {
            let gateway = one_permit(room).build();
            gateway.sim().faults().push(fault.clone(), Scope::Vendor(room.vendor), Times::Next(2));
            gateway.data(&room.query(&room.want(9..12))).await;
            let at: Vec<Instant> = gateway.sim().arrivals().iter().map(|arrival| arrival.at).collect();
            assert_eq!(at.len(), 3, "{fault:?}");
            for pair in at.windows(2) {
                assert!(pair[1] - pair[0] >= apart, "{} under {fault:?}: {:?}", room.vendor, pair[1] - pair[0]);
            }
        }
        // Nothing left the machine: the permit is back at once, and only the pauses are waited for.
        let gateway = one_permit(room).build();
        gateway.sim().faults().push(Fault::ConnectRefused, Scope::Vendor(room.vendor), Times::Next(2));
        let began = Instant::now();
        gateway.data(&room.query(&room.want(9..12))).await;
        assert!(began.elapsed() < SECOND, "{:?}", began.elapsed());
    }
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_says_how_long_is_left_alone_that_long() {
    let room = &ROOMS[0];
    let push = |gateway: &TestGateway, secs| {
        let fault = Fault::ThrottleFor(Duration::from_secs(secs));
        gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(1));
    };
    let gateway = TestGateway::start();
    push(&gateway, 7);
    let began = Instant::now();
    gateway.data(&room.query(&room.want(9..12))).await;
    assert!(began.elapsed() >= Duration::from_secs(7), "{:?}", began.elapsed());

    // Longer than anybody waits: the caller is told when to come back, and until then nobody calls.
    push(&gateway, 50);
    let want = room.want(5..9);
    let response = gateway.query(&room.query(&want)).await;
    let error = the_error(&response, "a long throttle");
    assert_eq!(error["extensions"]["code"], json!(THROTTLED));
    assert_eq!(error["extensions"]["retryAfterMs"], json!(50_000));
    let calls = gateway.calls(room.operation);
    let response = gateway.query(&room.query(&want)).await;
    let error = the_error(&response, "while it lasts");
    assert_eq!(error["extensions"]["code"], json!("QUOTA_WAIT_TOO_LONG"));
    assert_eq!(gateway.calls(room.operation), calls);
    sleep(Duration::from_millis(error["extensions"]["retryAfterMs"].as_u64().unwrap())).await;
    let response = gateway.data(&room.query(&want)).await;
    room.assert_right(&gateway, &response["it"], &want, "when it is over");
}

/// A reply that asks for a day, by mistake or malice, takes the account away for a minute.
#[tokio::test(start_paused = true)]
async fn no_throttle_stops_an_account_for_long() {
    let (room, gateway) = (&ROOMS[0], TestGateway::start());
    let fault = Fault::ThrottleFor(Duration::from_hours(24));
    gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(1));
    let want = room.want(5..9);
    let response = gateway.query(&room.query(&want)).await;
    let error = the_error(&response, "a day's throttle");
    assert_eq!(error["extensions"]["code"], json!(THROTTLED));
    assert_eq!(error["extensions"]["retryAfterMs"], json!(60_000));
    sleep(Duration::from_secs(61)).await;
    let response = gateway.data(&room.query(&want)).await;
    room.assert_right(&gateway, &response["it"], &want, "a minute later");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_that_will_repeat_is_remembered_for_thirty_seconds() {
    for room in &ROOMS {
        let unknown = Fault::Refuse { status: 400, code: room.unknown.1.to_owned() };
        for fault in [Fault::ClockSkew, Fault::PermissionDenied, Fault::NotSubscribed, unknown] {
            let what = format!("{} under {fault:?}", room.vendor);
            let gateway = TestGateway::start();
            gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(1));
            let want = room.want(9..12);
            let first = gateway.query(&room.query(&want)).await;
            assert_eq!(codes(&first).len(), 1, "{what}");
            assert_eq!(gateway.calls(room.operation), 1, "{what}");
            sleep(Duration::from_millis(29_900)).await;
            // Another window of the same subject is refused alike; another subject is asked for.
            for again in [&want, &room.want(5..8)] {
                let response = gateway.query(&room.query(again)).await;
                assert_eq!(response["errors"][0]["extensions"], first["errors"][0]["extensions"], "{what}");
                assert_eq!(attempts(&response, room), 0, "{what}");
            }
            let other = Want::of(room.ids[1], 9..12);
            let answer = gateway.data(&room.query(&other)).await;
            room.assert_right(&gateway, &answer["it"], &other, &what);
            assert_eq!(gateway.calls(room.operation), 2, "{what}");

            sleep(Duration::from_millis(200)).await;
            let answer = gateway.data(&room.query(&want)).await;
            room.assert_right(&gateway, &answer["it"], &want, &what);
        }
        // What may be gone the next time, and what is about one window, is asked again at once.
        let bad_value = Fault::Refuse { status: 400, code: room.bad_value.to_owned() };
        for fault in [Fault::InternalError, Fault::EmptyBody, bad_value] {
            let gateway = TestGateway::start();
            gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(3));
            assert_eq!(codes(&gateway.query(&room.query(&room.want(9..12))).await).len(), 1);
            gateway.sim().faults().clear();
            gateway.data(&room.query(&room.want(9..12))).await;
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_window_is_one_null_in_its_list() {
    let rtc = &ROOMS[1];
    let gateway = TestGateway::start();
    let list = r#"{ it: operationDistributions(appIds: ["app-one", "app-two"], range: {between: {start: "2026-11-09T00:00:00Z", end: "2026-11-12T00:00:00Z"}}) { appId start end data { distributionName value } } }"#;
    // One of the six fails for good, another three times over.
    gateway.sim().faults().push(Fault::TruncatedJson, Scope::operation(DISTRIBUTION), Times::Next(1));
    let response = gateway.query(list).await;
    let entries = response["data"]["it"].as_array().unwrap();
    assert_eq!(entries.len(), 6);
    let error = the_error(&response, "one window");
    assert_eq!(error["extensions"]["code"], json!(BAD_REPLY));
    let nulls: Vec<usize> = (0..6).filter(|at| entries[*at].is_null()).collect();
    assert_eq!(error["path"], json!(["it", nulls[0]]));
    assert_eq!(nulls.len(), 1);
    let assert_entry = |entry: &Value, at: usize| {
        let day = 9 + u64::try_from(at % 3).unwrap();
        rtc.assert_right(&gateway, entry, &Want::of(rtc.ids[at / 3], day..day + 1), "its neighbour");
    };
    for (at, entry) in entries.iter().enumerate().filter(|(_, entry)| !entry.is_null()) {
        assert_entry(entry, at);
    }
    let again = gateway.query(list).await;
    assert_eq!((codes(&again), attempts(&again, rtc)), (vec![], 1), "only the one that failed");
    for (at, entry) in again["data"]["it"].as_array().unwrap().iter().enumerate() {
        assert_entry(entry, at);
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_channel_is_one_null_among_the_channels() {
    let cams = &ROOMS[0];
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::NotSubscribed, Scope::Vendor(cams.vendor), Times::Next(1));
    let want = cams.want(9..12);
    let query = format!(
        "{{ channels {{ custSpaceId nodes: metrics(range: {{between: {{start: \"{}\", end: \"{}\"}}}}) {{ phoneNumber start end sentCount deliveredCount }} }} }}",
        want.window.start(),
        want.window.end()
    );
    let response = gateway.query(&query).await;
    let error = the_error(&response, "one channel");
    assert_eq!(error["extensions"]["code"], json!("NOT_SUBSCRIBED"));
    let channels = response["data"]["channels"].as_array().unwrap();
    let nulls: Vec<usize> = (0..channels.len()).filter(|at| channels[*at]["nodes"].is_null()).collect();
    assert_eq!((channels.len(), nulls.len()), (5, 1));
    assert_eq!(error["path"], json!(["channels", nulls[0], "nodes"]));
    for channel in channels.iter().filter(|channel| !channel["nodes"].is_null()) {
        let want = Want::of(channel["custSpaceId"].as_str().unwrap(), 9..12);
        cams.assert_right(&gateway, channel, &want, "its neighbour");
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_after_the_last_attempt_was_sent_gets_a_new_flight() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().legs(400..401, 400..401).build();
        gateway.sim().faults().push(Fault::InternalError, Scope::Vendor(room.vendor), Times::Next(3));
        let (want, query) = (room.want(9..12), room.query(&room.want(9..12)));
        let first = gateway.ask(&query, json!({}));
        arrival(&gateway, room, 2).await;
        // The second attempt is out: the third is still to be sent.
        let between = gateway.ask(&query, json!({}));
        arrival(&gateway, room, 3).await;
        let (late, later) = (gateway.ask(&query, json!({})), gateway.ask(&query, json!({})));
        let (first, between) = tokio::join!(first, between);
        let (late, later) = tokio::join!(late, later);
        for on_time in [&first, &between] {
            assert_eq!(codes(on_time), [UNAVAILABLE], "{}", room.vendor);
        }
        assert_eq!((attempts(&first, room), attempts(&between, room)), (3, 0));
        for answer in [&late, &later] {
            assert_eq!(codes(answer), Vec::<String>::new(), "{}", room.vendor);
            room.assert_right(&gateway, &answer["data"]["it"], &want, "the new flight");
        }
        assert_eq!(gateway.calls(room.operation), 4, "one new flight for both");
    }
}

#[tokio::test(start_paused = true)]
async fn who_joins_a_call_that_fails_for_good_gets_its_error() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().legs(400..401, 400..401).build();
        gateway.sim().faults().push(Fault::TruncatedJson, Scope::Vendor(room.vendor), Times::Next(1));
        let query = room.query(&room.want(9..12));
        let first = gateway.ask(&query, json!({}));
        arrival(&gateway, room, 1).await;
        let late = gateway.ask(&query, json!({}));
        let (first, late) = tokio::join!(first, late);
        assert_eq!((codes(&first), codes(&late)), (vec![BAD_REPLY.to_owned()], vec![BAD_REPLY.to_owned()]));
        assert_eq!(gateway.calls(room.operation), 1);
    }
}

async fn arrival(gateway: &TestGateway, room: &Room, number: usize) {
    while gateway.calls(room.operation) < number {
        sleep(Duration::from_millis(5)).await;
    }
}

#[tokio::test(start_paused = true)]
async fn provisional_rows_are_not_replaced_by_a_failure() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().config(|config| config.cache.max_stale = Duration::ZERO).build();
        // It ended four hours ago: it may still change, and is asked for again after five minutes.
        let end = gateway.now().floor(HOUR) - 4 * HOUR;
        let want = Want { window: Window::new(end - 2 * DAY, end).unwrap(), ..room.want(9..12) };
        let first = gateway.data(&room.query(&want)).await;
        gateway.sim().faults().push(Fault::ConflictingRows, Scope::Vendor(room.vendor), Times::ForEver);
        assert_costs(&gateway, room, 0, &room.query(&want)).await;
        sleep(Duration::from_mins(5)).await;
        let response = gateway.query(&room.query(&want)).await;
        assert_eq!(codes(&response), [BAD_REPLY], "{}", room.vendor);
        gateway.sim().faults().clear();
        let after = gateway.data(&room.query(&want)).await;
        assert_eq!(count(&(room.rows)(&after["it"])), count(&(room.rows)(&first["it"])), "{}", room.vendor);
        assert!((room.fetched_at)(&after["it"]).iter().all(|at| at.as_str() >= Some("2026-11-22T10:25:30Z")));
    }
}

fn count(rows: &Value) -> usize {
    rows.as_array().map_or(0, Vec::len)
}

#[tokio::test(start_paused = true)]
async fn a_throttled_probe_is_repeated_like_any_other_call() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window("app-two", n)).await;
    }
    sleep(Duration::from_mins(1)).await;
    gateway.sim().faults().clear();
    gateway.sim().faults().push(Fault::Throttle, Scope::operation(DISTRIBUTION), Times::Next(1));
    let answer = gateway.query(&window("app-two", 9)).await;
    assert_eq!(codes(&answer), Vec::<String>::new(), "{answer}");
}
