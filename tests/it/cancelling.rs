//! Clients that go away harm nobody: the others get their answers, no call is made for nobody, and every permit comes
//! back when the rule says so.

use std::collections::HashSet;
use std::time::Duration;

use futures_util::future::join_all;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use weir::app::Start;
use weir::domain::time::SECOND;
use weir::quota::Rule;
use weir::sim::{DEMO_KEY, Fault, Scope, Times};
use weir::vendor::alibaba_cams;

use crate::support::rooms::attempts;
use crate::support::{DISTRIBUTION, METRIC, ROOMS, Room, TestGateway, Want, codes};

fn ms(ms: u64) -> Duration {
    Duration::from_millis(ms)
}

/// A client of one round: when it comes, what it asks for, and after how long it goes away.
struct Client {
    after: Duration,
    patience: Option<Duration>,
    wants: Vec<(&'static Room, Want)>,
}

impl Client {
    fn draw(rng: &mut StdRng) -> Self {
        let want = |room: &'static Room, rng: &mut StdRng| {
            let from = rng.random_range(1..12);
            (room, Want::of(room.ids[rng.random_range(0..2)], from..from + rng.random_range(1..7)))
        };
        let wants = match rng.random_range(0..3) {
            0 => vec![want(&ROOMS[0], rng)],
            1 => vec![want(&ROOMS[1], rng)],
            _ => ROOMS.iter().map(|room| want(room, rng)).collect(),
        };
        let patience = rng.random_bool(0.6).then(|| ms(rng.random_range(0..6_000)));
        Self { after: ms(rng.random_range(0..3_000)), patience, wants }
    }

    fn query(&self) -> String {
        let fields = self.wants.iter().map(|(room, want)| format!("{}: {} ", room.operation, (room.field)(want)));
        format!("{{ {} }}", fields.collect::<String>())
    }

    /// The answer, unless the client went away.
    async fn ask(&self, gateway: &TestGateway) -> Option<Value> {
        sleep(self.after).await;
        let answer = gateway.ask(&self.query(), json!({}));
        match self.patience {
            Some(patience) => timeout(patience, answer).await.ok(),
            None => Some(answer.await),
        }
    }
}

#[tokio::test(start_paused = true)]
async fn any_subset_of_clients_may_go_away_at_any_moment() {
    let (mut gone, mut answered) = (0, 0);
    for seed in 0..100 {
        let mut rng = StdRng::seed_from_u64(seed);
        let gateway = TestGateway::builder()
            .seed(seed)
            // Longer on the way than a permit is held: whatever comes back early overruns the quota.
            .legs(0..1_500, 0..400)
            .max_wait(300)
            .config(|config| ROOMS.iter().for_each(|room| (room.quota)(config, 2)))
            .build();
        // Every other round some requests break off and arrive later.
        let breaks: usize = if seed % 2 == 0 { 0 } else { 2 };
        for room in &ROOMS {
            let fault = Fault::ResetEarly(ms(rng.random_range(1_000..4_900)));
            gateway.sim().faults().push(fault, Scope::Vendor(room.vendor), Times::Next(breaks));
        }
        let clients: Vec<Client> = (0..20).map(|_| Client::draw(&mut rng)).collect();
        let answers = join_all(clients.iter().map(|client| client.ask(&gateway))).await;

        for (client, answer) in clients.iter().zip(&answers) {
            let Some(answer) = answer else {
                gone += 1;
                continue;
            };
            answered += 1;
            assert_eq!(codes(answer), Vec::<String>::new(), "seed {seed}");
            for (room, want) in &client.wants {
                room.assert_right(&gateway, &answer["data"][room.operation], want, &format!("seed {seed}"));
            }
        }
        // What is out arrives, and the last permit is back after the guard and the hold.
        sleep(20 * SECOND).await;
        for room in &ROOMS {
            let asked: Vec<&Want> = clients
                .iter()
                .flat_map(|client| &client.wants)
                .filter(|(of, _)| of.vendor == room.vendor)
                .map(|(_, want)| want)
                .collect();
            let distinct: HashSet<(&str, _)> = asked.iter().map(|want| (want.id.as_str(), want.window)).collect();
            let calls = gateway.calls(room.operation);
            // Each distinct want is one call at most, and overlapping ones of a channel are fewer.
            assert!(calls <= distinct.len() + breaks, "seed {seed}: {calls} for {} of {}", distinct.len(), room.vendor);
            let widest = gateway.sim().widest_second(DEMO_KEY.0, room.operation);
            assert!(widest <= 2, "seed {seed}: {widest} arrivals of {} in one second", room.vendor);
        }
        assert_all_permits_are_back(&gateway).await;
    }
    assert!(gone > 500 && answered > 800, "{gone} gone, {answered} answered");
}

async fn assert_all_permits_are_back(gateway: &TestGateway) {
    for quota in quotas(gateway).await {
        assert_eq!((&quota["available"], &quota["queued"]), (&quota["limitPerSecond"], &json!(0)), "{quota}");
    }
}

async fn quotas(gateway: &TestGateway) -> Vec<Value> {
    let mut data = gateway.data("{ quotas { operation limitPerSecond available queued } }").await;
    serde_json::from_value(data["quotas"].take()).unwrap()
}

async fn queued(gateway: &TestGateway, operation: &str) -> u64 {
    let quotas = quotas(gateway).await;
    quotas.iter().find(|quota| quota["operation"] == operation).unwrap()["queued"].as_u64().unwrap()
}

/// Whoever of many equal askers goes away, and whenever: who is left is answered by the one call.
#[tokio::test(start_paused = true)]
async fn a_call_does_not_belong_to_the_client_that_started_it() {
    for room in &ROOMS {
        for leaves_after in (0..2_400).step_by(50) {
            // A second in the queue, then 800 ms on the way there and back.
            let gateway = TestGateway::builder().legs(400..401, 400..401).start_hold(Start::Hold(Rule::HOLD)).build();
            let want = room.want(9..12);
            let query = room.query(&want);
            let owner = gateway.ask(&query, json!({}));
            sleep(ms(1)).await;
            let other = gateway.ask(&query, json!({}));
            let (_, other) = tokio::join!(timeout(ms(leaves_after), owner), other);
            assert_eq!(codes(&other), Vec::<String>::new(), "the first left after {leaves_after} ms");
            room.assert_right(&gateway, &other["data"]["it"], &want, "who stayed");
            assert_eq!(gateway.calls(room.operation), 1, "the first left after {leaves_after} ms");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_call_that_nobody_waits_for_leaves_the_queue() {
    for room in &ROOMS {
        let gateway = TestGateway::builder()
            .legs(100..101, 100..101)
            .config(|config| {
                (room.quota)(config, 2);
                (0..8).for_each(|n| (room.serve)(config, &format!("{}-{n}", room.ids[0])));
            })
            .build();
        let want = |n: usize| Want::of(&format!("{}-{n}", room.ids[0]), 9..12);
        let mut asks: Vec<_> = (0..8).map(|n| gateway.ask(&room.query(&want(n)), json!({}))).collect();
        sleep(ms(150)).await;
        assert_eq!((gateway.calls(room.operation), queued(&gateway, room.operation).await), (2, 6));
        // All but the last of those that wait.
        asks.drain(2..7);
        sleep(ms(1)).await;
        assert_eq!(queued(&gateway, room.operation).await, 1);
        let answers = join_all(asks).await;
        for (answer, n) in answers.iter().zip([0, 1, 7]) {
            room.assert_right(&gateway, &answer["data"]["it"], &want(n), "who stayed");
        }
        sleep(30 * SECOND).await;
        assert_eq!(gateway.calls(room.operation), 3, "nothing was called for nobody");
        assert_all_permits_are_back(&gateway).await;
    }
}

/// Its deadline is the end of a client's patience too.
#[tokio::test(start_paused = true)]
async fn a_client_leaves_the_queue_at_its_deadline() {
    let room = &ROOMS[1];
    let gateway = TestGateway::builder().max_wait(5).build();
    gateway.sim().faults().push(Fault::Hang, Scope::Vendor(room.vendor), Times::ForEver);
    let asks: Vec<_> = (1..7).map(|day| gateway.ask(&room.query(&room.want(day..day + 1)), json!({}))).collect();
    let answers = join_all(asks).await;
    assert!(answers.iter().all(|answer| codes(answer).len() == 1), "{answers:?}");
    sleep(ms(1)).await;
    assert_eq!(queued(&gateway, room.operation).await, 0);
    let calls = gateway.calls(room.operation);
    sleep(60 * SECOND).await;
    assert_eq!(gateway.calls(room.operation), calls, "nothing was called for nobody");
    assert_all_permits_are_back(&gateway).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_that_was_written_finishes_and_is_kept() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().legs(400..401, 400..401).build();
        let want = room.want(9..12);
        let query = room.query(&want);
        assert!(timeout(ms(200), gateway.ask(&query, json!({}))).await.is_err(), "it left while the request was out");
        assert_eq!(gateway.calls(room.operation), 0, "which had not even arrived");
        sleep(SECOND).await;
        let answer = gateway.query(&query).await;
        room.assert_right(&gateway, &answer["data"]["it"], &want, "from memory");
        assert_eq!((attempts(&answer, room), gateway.calls(room.operation)), (0, 1));
        assert!(answer["extensions"]["weir"]["cacheHits"].as_u64() > Some(0));
        sleep(2 * SECOND).await;
        assert_all_permits_are_back(&gateway).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_failed_call_is_not_repeated_for_nobody() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().legs(400..401, 400..401).build();
        gateway.sim().faults().push(Fault::InternalError, Scope::Vendor(room.vendor), Times::Next(3));
        assert!(timeout(ms(200), gateway.ask(&room.query(&room.want(9..12)), json!({}))).await.is_err());
        sleep(60 * SECOND).await;
        assert_eq!(gateway.calls(room.operation), 1);
        assert_all_permits_are_back(&gateway).await;
    }
}

/// A new client of a slice whose queued call has just been taken back starts one of its own.
#[tokio::test(start_paused = true)]
async fn what_was_taken_back_can_be_asked_for_again() {
    for room in &ROOMS {
        let gateway = TestGateway::builder().start_hold(Start::Hold(Rule::HOLD)).build();
        let want = room.want(9..12);
        let query = room.query(&want);
        for patience in [0, 1, 300] {
            assert!(timeout(ms(patience), gateway.ask(&query, json!({}))).await.is_err());
        }
        let answer = gateway.data(&query).await;
        room.assert_right(&gateway, &answer["it"], &want, "the one that stayed");
        assert_eq!(gateway.calls(room.operation), 1);
    }
}

#[tokio::test(start_paused = true)]
async fn a_mutation_that_was_written_takes_effect_without_its_client() {
    let enable = "mutation { enableWhatsappRoiMetric(custSpaceId: \"new-one\") { requestId } }";
    let cams = &ROOMS[0];
    let gateway = TestGateway::builder()
        .legs(400..401, 400..401)
        .config(|config| {
            (cams.serve)(config, "new-one");
            config.alibaba_cams[0].quota.set("EnableWhatsappROIMetric", 1);
        })
        .build();
    let query = cams.query(&Want::of("new-one", 9..12));
    gateway.data(&query).await;
    let ask = || gateway.ask(enable, json!({}));
    let (written, waiting) = (ask(), ask());
    let (written, waiting) = tokio::join!(timeout(ms(200), written), timeout(ms(900), waiting));
    assert!(written.is_err() && waiting.is_err());
    sleep(30 * SECOND).await;
    assert_eq!(
        gateway.calls(alibaba_cams::enable_whatsapp_roi::FACTS.operation),
        1,
        "the one that waited for its permit was taken back"
    );
    gateway.data(&query).await;
    assert_eq!(gateway.calls(METRIC), 2, "the emptiness known before is forgotten");
    sleep(2 * SECOND).await;
    assert_all_permits_are_back(&gateway).await;
}

#[tokio::test(start_paused = true)]
async fn a_call_behind_a_probe_is_not_made_for_nobody() {
    let gateway = TestGateway::builder().legs(500..501, 500..501).build();
    let window = |n: u32| {
        format!(
            "{{ operationDistribution(appId: \"app-two\", range: {{between: {{start: \"2026-11-20T{n:02}:00:00Z\", end: \"2026-11-21T00:00:00Z\"}}}}) {{ start }} }}"
        )
    };
    gateway.sim().faults().push(Fault::InternalError, Scope::operation(DISTRIBUTION), Times::ForEver);
    for n in 0..3 {
        gateway.query(&window(n)).await;
    }
    sleep(60 * SECOND).await;
    gateway.sim().faults().clear();
    let before = gateway.calls(DISTRIBUTION);
    let probe = tokio::spawn(gateway.ask(&window(8), json!({})));
    sleep(ms(100)).await;
    let behind = gateway.ask(&window(9), json!({}));
    assert!(timeout(ms(400), behind).await.is_err(), "its permit is there, and it waits for the probe");
    assert_eq!(codes(&probe.await.unwrap()), Vec::<String>::new());
    sleep(10 * SECOND).await;
    assert_eq!(gateway.calls(DISTRIBUTION) - before, 1, "the probe alone");
    assert_eq!(codes(&gateway.query(&window(9)).await), Vec::<String>::new());
    assert_eq!(gateway.calls(DISTRIBUTION) - before, 2);
}

#[tokio::test(start_paused = true)]
async fn nothing_is_changed_after_the_caller_stopped_waiting() {
    let gateway = TestGateway::builder().max_wait(1).build();
    let operation = "EnableWhatsappROIMetric";
    gateway.sim().faults().push(Fault::Latency(Duration::from_secs(6)), Scope::operation(operation), Times::ForEver);
    let field =
        |channel: &str| format!("{channel}: enableWhatsappRoiMetric(custSpaceId: \"cams-{channel}\") {{ requestId }} ");
    let fields: String = ["alpha", "beta", "gamma", "delta"].map(field).concat();
    let answer = gateway.query(&format!("mutation {{ {fields} }}")).await;
    sleep(Duration::from_mins(1)).await;
    assert_eq!(gateway.calls(operation), 2, "{answer}");
    assert_eq!(codes(&answer), ["VENDOR_TIMEOUT", "QUOTA_WAIT_TOO_LONG", "QUOTA_WAIT_TOO_LONG"]);
}
