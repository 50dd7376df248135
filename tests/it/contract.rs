//! The same promises, kept by every vendor's room.

use std::collections::HashSet;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::domain::Window;
use weir::domain::time::{DAY, HOUR, SECOND};
use weir::quota::Rule;
use weir::sim::{ArrivalOutcome, DEMO_KEY, Fault, Scope, Times};

use crate::support::rooms::attempts;
use crate::support::{Builder, NOW, ROOMS, Room, TestGateway, Want, codes};

type Promise = for<'a> fn(&'a Room) -> Pin<Box<dyn Future<Output = ()> + 'a>>;

/// What each room promises.
const PROMISES: [(&str, Promise); 17] = [
    ("answers the truth", |room| Box::pin(answers_the_truth(room))),
    ("answers emptiness", |room| Box::pin(answers_emptiness(room))),
    ("says what is denied", |room| Box::pin(says_what_is_denied(room))),
    ("says what is not subscribed", |room| Box::pin(says_what_is_not_subscribed(room))),
    ("knows no unknown subject", |room| Box::pin(knows_no_unknown_subject(room))),
    ("outlives a throttle", |room| Box::pin(outlives_a_throttle(room))),
    ("outlives a failure", |room| Box::pin(outlives_a_failure(room))),
    ("gives a silent vendor up", |room| Box::pin(gives_a_silent_vendor_up(room))),
    ("believes no nonsense", |room| Box::pin(believes_no_nonsense(room))),
    ("collapses equal asks", |room| Box::pin(collapses_equal_asks(room))),
    ("asks once for what is settled", |room| Box::pin(asks_once_for_what_is_settled(room))),
    ("asks again for what may change", |room| Box::pin(asks_again_for_what_may_change(room))),
    ("decides finality at the fetch", |room| Box::pin(decides_finality_at_the_fetch(room))),
    ("signs every attempt anew", |room| Box::pin(signs_every_attempt_anew(room))),
    ("sends its token", |room| Box::pin(sends_its_token(room))),
    ("keeps its permit after a timeout", |room| Box::pin(keeps_its_permit_after_a_timeout(room))),
    ("keeps its published limit", |room| Box::pin(keeps_its_published_limit(room))),
];

#[tokio::test(start_paused = true)]
async fn every_room_keeps_every_promise() {
    for room in &ROOMS {
        for (name, promise) in PROMISES {
            // A failed assertion names its line; this names the room.
            let room_and_promise = format!("{} {name}", room.vendor);
            let kept = std::panic::AssertUnwindSafe(promise(room));
            let kept = futures_util::FutureExt::catch_unwind(kept).await;
            assert!(kept.is_ok(), "broken: {room_and_promise}");
        }
    }
}

async fn answers_the_truth(room: &Room) {
    let gateway = TestGateway::start();
    for id in room.ids {
        let want = Want::of(id, 9..14);
        let response = gateway.query(&room.query(&want)).await;
        assert_eq!(codes(&response), Vec::<String>::new());
        assert_right(room, &gateway, &response, &want);
        assert_eq!(attempts(&response, room), 1);
    }
}

async fn answers_emptiness(room: &Room) {
    let gateway = TestGateway::builder().now("2026-11-22T10:20:30Z").build();
    let want = (room.empty)();
    assert_eq!((room.truth)(&gateway, &want), json!([]), "the want is a good one");
    let response = gateway.query(&room.query(&want)).await;
    assert_eq!((codes(&response), (room.rows)(&response["data"]["it"])), (vec![], json!([])));
    assert_eq!(attempts(&gateway.query(&room.query(&want)).await, room), 0, "kept for a while at least");
}

async fn says_what_is_denied(room: &Room) {
    refusal(room, Fault::PermissionDenied, "VENDOR_DENIED", room.permission_denied).await;
    refusal(room, Fault::ClockSkew, "VENDOR_DENIED", room.clock_skew).await;
}

async fn says_what_is_not_subscribed(room: &Room) {
    refusal(room, Fault::NotSubscribed, "NOT_SUBSCRIBED", room.not_subscribed).await;
}

async fn refusal(room: &Room, fault: Fault, code: &str, vendor_code: &str) {
    let gateway = under(room, TestGateway::builder(), fault, 1);
    let response = gateway.query(&room.query(&room.want(9..12))).await;
    assert_error(room, &response, code, false);
    assert_eq!(response["errors"][0]["extensions"]["vendorCode"], json!(vendor_code));
    assert_eq!(gateway.calls(room.operation), 1, "no second attempt");
}

async fn knows_no_unknown_subject(room: &Room) {
    // Configured, and unknown to the vendor.
    let gateway = TestGateway::builder().config(|config| (room.serve)(config, "unknown-one")).build();
    let response = gateway.query(&room.query(&Want::of("unknown-one", 9..12))).await;
    assert_error(room, &response, room.unknown.0, false);
    assert_eq!(response["errors"][0]["extensions"]["vendorCode"], json!(room.unknown.1));
    // Not configured: nobody is asked.
    let response = gateway.query(&room.query(&Want::of("stranger", 9..12))).await;
    assert_eq!((codes(&response), gateway.calls(room.operation)), (vec![room.unknown.0.to_owned()], 1));
}

async fn outlives_a_throttle(room: &Room) {
    let gateway = under(room, TestGateway::builder(), Fault::Throttle, 1);
    let (want, began) = (room.want(9..12), Instant::now());
    let response = gateway.query(&room.query(&want)).await;
    assert_right(room, &gateway, &response, &want);
    assert_eq!(attempts(&response, room), 2);
    assert!(began.elapsed() >= Rule::HOLD, "somebody else uses the account: a full second of silence");
}

async fn outlives_a_failure(room: &Room) {
    let gateway = under(room, TestGateway::builder(), Fault::Unavailable, 2);
    let want = room.want(9..12);
    let response = gateway.query(&room.query(&want)).await;
    assert_right(room, &gateway, &response, &want);
    assert_eq!(attempts(&response, room), 3);

    let gateway = under(room, TestGateway::builder(), Fault::Unavailable, 3);
    let response = gateway.query(&room.query(&want)).await;
    assert_error(room, &response, "VENDOR_UNAVAILABLE", true);
    assert_eq!((attempts(&response, room), gateway.calls(room.operation)), (3, 3));
}

async fn gives_a_silent_vendor_up(room: &Room) {
    let gateway = under(room, TestGateway::builder(), Fault::Hang, 9);
    let began = Instant::now();
    let response = gateway.query(&room.query(&room.want(9..12))).await;
    assert_error(room, &response, "VENDOR_TIMEOUT", true);
    // `max_wait` and `timeout` together are the caller's deadline.
    assert!(began.elapsed() <= 40 * SECOND, "{:?}", began.elapsed());
    assert!(gateway.calls(room.operation) <= 3);
}

async fn believes_no_nonsense(room: &Room) {
    for fault in [Fault::MalformedJson, Fault::EmptyBody, Fault::HtmlBody, Fault::NullRows, Fault::ConflictingRows] {
        let gateway = under(room, TestGateway::builder(), fault, 1);
        let want = room.want(9..12);
        let response = gateway.query(&room.query(&want)).await;
        assert_error(room, &response, "VENDOR_BAD_REPLY", false);
        let response = gateway.query(&room.query(&want)).await;
        assert_right(room, &gateway, &response, &want);
    }
}

async fn collapses_equal_asks(room: &Room) {
    let gateway = TestGateway::builder().legs(30..60, 30..60).build();
    let want = room.want(9..12);
    let query = room.query(&want);
    let answers = join_all((0..20).map(|_| gateway.ask(&query, json!({})))).await;
    for response in &answers {
        assert_right(room, &gateway, response, &want);
    }
    assert_eq!(answers.iter().map(|response| attempts(response, room)).sum::<u64>(), 1);
    assert_eq!(gateway.calls(room.operation), 1);
}

async fn asks_once_for_what_is_settled(room: &Room) {
    let gateway = TestGateway::start();
    let want = room.want(9..12);
    let first = gateway.query(&room.query(&want)).await;
    sleep(3 * DAY).await;
    let again = gateway.query(&room.query(&want)).await;
    assert_right(room, &gateway, &again, &want);
    assert_eq!(gateway.calls(room.operation), 1);
    assert!(again["extensions"]["weir"]["cacheHits"].as_u64() > Some(0));
    assert_eq!((room.fetched_at)(&again["data"]["it"]), (room.fetched_at)(&first["data"]["it"]));
}

/// It ends two hours ago.
fn recent(gateway: &TestGateway, room: &Room) -> Want {
    let end = gateway.now().floor(HOUR) - 2 * HOUR;
    Want { window: Window::new(end - 2 * DAY, end).unwrap(), ..room.want(9..10) }
}

async fn asks_again_for_what_may_change(room: &Room) {
    let gateway = TestGateway::start();
    let want = recent(&gateway, room);
    let query = room.query(&want);
    gateway.data(&query).await;
    sleep(Duration::from_secs(299)).await;
    gateway.data(&query).await;
    assert_eq!(gateway.calls(room.operation), 1, "within `provisional_ttl`");
    sleep(HOUR).await;
    let later = gateway.query(&query).await;
    assert_eq!(gateway.calls(room.operation), 2);
    assert_right(room, &gateway, &later, &want);
}

async fn decides_finality_at_the_fetch(room: &Room) {
    let gateway = TestGateway::start();
    let (old, new) = (room.want(9..12), recent(&gateway, room));
    let query = format!("{{ old: {} new: {} }}", (room.field)(&old), (room.field)(&new));
    let data = gateway.data(&query).await;
    let (old, new) = ((room.finalities)(&data["old"]), (room.finalities)(&data["new"]));
    assert!(!old.is_empty() && old.iter().all(|finality| *finality == json!("FINAL")), "{old:?}");
    assert!(!new.is_empty() && new.iter().any(|finality| *finality == json!("PROVISIONAL")), "{new:?}");
    assert!((room.fetched_at)(&data["new"]).iter().all(|at| *at == json!(NOW)), "the instant of the sending");
}

/// With one permit the attempts are a second apart, so that the dates of their signatures differ too.
async fn signs_every_attempt_anew(room: &Room) {
    let gateway = under(room, one_permit(room), Fault::InternalError, 2);
    gateway.data(&room.query(&room.want(9..12))).await;
    let requests = gateway.requests();
    let distinct = |name: &str| {
        let values = requests.iter().map(|request| request.headers()[name].to_str().unwrap().to_owned());
        values.collect::<HashSet<_>>().len()
    };
    assert_eq!((requests.len(), distinct(room.fresh_header), distinct("authorization")), (3, 3, 3));
    let outcomes: Vec<_> = gateway.sim().arrivals().into_iter().map(|arrival| arrival.outcome).collect();
    assert_eq!(
        outcomes,
        [ArrivalOutcome::Faulted, ArrivalOutcome::Faulted, ArrivalOutcome::Answered],
        "no signature was refused"
    );
}

async fn sends_its_token(room: &Room) {
    let with_token = |token: &'static str| {
        TestGateway::builder()
            .config(|config| (room.key)(config, ["sts-key", "sts-secret", token]))
            .sim(|sim| {
                sim.keys.push(("sts-key".to_owned(), "sts-secret".to_owned()));
                sim.tokens.push(("sts-key".to_owned(), "the-token".to_owned()));
            })
            .build()
    };
    let (gateway, want) = (with_token("the-token"), room.want(9..12));
    let response = gateway.query(&room.query(&want)).await;
    assert_right(room, &gateway, &response, &want);
    let request = gateway.requests().remove(0);
    assert_eq!(request.headers()[room.token_header], "the-token");
    let authorization = request.headers()["authorization"].to_str().unwrap();
    assert!(authorization.contains(room.token_header), "it is signed: {authorization}");
    for wrong in ["", "another-token"] {
        let response = with_token(wrong).query(&room.query(&want)).await;
        assert_error(room, &response, "VENDOR_DENIED", false);
    }
}

async fn keeps_its_permit_after_a_timeout(room: &Room) {
    let gateway = under(room, one_permit(room), Fault::Hang, 1);
    let query = |days| room.query(&room.want(days));
    let (one, other) = (gateway.ask(&query(9..11), json!({})), gateway.ask(&query(12..14), json!({})));
    let (one, other) = tokio::join!(one, other);
    assert_eq!((codes(&one), codes(&other)), (vec![], vec![]));
    let at: Vec<Instant> = gateway.sim().arrivals().iter().map(|arrival| arrival.at).collect();
    // The timeout, the guard and the hold.
    assert!(at[1] - at[0] >= 15 * SECOND + Rule::HOLD, "{:?}", at[1] - at[0]);
}

async fn keeps_its_published_limit(room: &Room) {
    let gateway =
        TestGateway::builder().legs(5..50, 5..50).max_wait(60).config(|config| serve_many(config, room)).build();
    let asks: Vec<_> = (0..room.limit * 3)
        .map(|n| gateway.ask(&room.query(&Want::of(&format!("{}-{n}", room.ids[0]), 9..12)), json!({})))
        .collect();
    let answers = join_all(asks).await;
    assert!(answers.iter().all(|response| codes(response).is_empty()));
    assert_eq!((gateway.calls(room.operation), gateway.sim().throttled(room.operation)), (room.limit * 3, 0));
    assert_eq!(gateway.sim().widest_second(DEMO_KEY.0, room.operation), room.limit, "all of it is used");
}

fn serve_many(config: &mut weir::config::Config, room: &Room) {
    (0..room.limit * 3).for_each(|n| (room.serve)(config, &format!("{}-{n}", room.ids[0])));
}

fn under(room: &Room, builder: Builder, fault: Fault, times: usize) -> TestGateway {
    let gateway = builder.build();
    gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(times));
    gateway
}

fn one_permit(room: &Room) -> Builder {
    TestGateway::builder().max_wait(60).config(|config| (room.quota)(config, 1))
}

fn assert_right(room: &Room, gateway: &TestGateway, response: &Value, want: &Want) {
    assert_eq!(codes(response), Vec::<String>::new());
    room.assert_right(gateway, &response["data"]["it"], want, "the answer");
}

fn assert_error(room: &Room, response: &Value, code: &str, is_retryable: bool) {
    assert_eq!((&response["data"]["it"], codes(response)), (&Value::Null, vec![code.to_owned()]), "{response}");
    let extensions = &response["errors"][0]["extensions"];
    assert_eq!(extensions["vendor"], json!(room.vendor.as_str()));
    assert_eq!(extensions["account"], json!(room.account));
    assert_eq!(extensions["retryable"], json!(is_retryable));
}
