//! No secret, signature, key id or whole phone number leaves by a log, an error or a debug print: canaries everywhere,
//! and everything that is written searched for them.

use std::fmt::Debug;
use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::Request;
use serde_json::{Value, json};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tower::ServiceExt;
use weir::access::Access;
use weir::app::{App, Runtime, Start};
use weir::cli::check;
use weir::config::Config;
use weir::domain::{Caller, ManualClock, Timestamp};
use weir::http::{HttpConfig, Site, Timeouts, serve};
use weir::quota::state_file::StateFile;
use weir::sim::{CHANNELS, Fault, Keys, Scope, Simulator, SimulatorConfig, Times};
use weir::vendor::transport::HttpTransport;

use crate::faults::faults;
use crate::support::log::Log;
use crate::support::server::read_all;
use crate::support::{Builder, NOW, ROOMS, Room, TestGateway, codes, demo_config};

/// Of each room: key id, secret and STS token.
fn key(room: &Room) -> [String; 3] {
    ["keyid", "secret", "token"].map(|part| format!("canary-{part}-{}", room.account))
}

/// A phone that no reply holds.
const STRANGER: &str = "8619900112233";

/// What must not be seen.
struct Canaries(Vec<(&'static str, String)>);

impl Canaries {
    fn of(gateway: &TestGateway) -> Self {
        let mut canaries: Vec<_> = ROOMS
            .iter()
            .flat_map(|room| ["key id", "secret", "token"].into_iter().zip(key(room)))
            .chain([("phone", STRANGER.to_owned()), ("any canary", "canary-".to_owned())])
            .collect();
        let world = gateway.sim().world();
        let phones = CHANNELS.iter().flat_map(|(channel, _)| world.phones(channel));
        canaries.extend(phones.map(|phone| ("phone", phone)));
        // What was really signed.
        for request in gateway.requests() {
            let authorization = request.headers()["authorization"].to_str().unwrap();
            let (_, signature) = authorization.rsplit_once("Signature=").unwrap();
            assert_eq!(signature.len(), 64);
            canaries.push(("signature", signature.to_owned()));
        }
        Self(canaries)
    }

    /// Asserts that `text` holds none of them, without printing it all over the place.
    fn assert_absent(&self, text: &str, what: &str) {
        for (name, canary) in &self.0 {
            if let Some(at) = text.find(canary) {
                let line = text[..at].rfind('\n').map_or(0, |newline| newline + 1);
                let line = text[line..].lines().next().unwrap_or_default();
                panic!("{what} holds a {name}: {line}");
            }
        }
    }

    /// Of a response everything but its data.
    fn assert_absent_from_errors(&self, response: &Value, what: &str) {
        self.assert_absent(&response["errors"].to_string(), &format!("the errors of {what}"));
        self.assert_absent(&response["extensions"].to_string(), &format!("the extensions of {what}"));
    }
}

/// A gateway with keys that are canaries.
fn gateway_with_canaries() -> Builder {
    let config = |config: &mut Config| {
        for room in &ROOMS {
            (room.key)(config, key(room).each_ref().map(String::as_str));
        }
    };
    TestGateway::builder().config(config).sim(|sim| {
        for room in &ROOMS {
            let [id, secret, token] = key(room);
            sim.keys.push((id.clone(), secret));
            sim.tokens.push((id, token));
        }
    })
}

/// Every field, with a phone named wherever one can be.
fn everything(gateway: &TestGateway) -> String {
    let phone = &gateway.sim().world().phones("cams-alpha")[0];
    format!(
        r#"{{
          phoneNumberMetrics(custSpaceId: "cams-alpha", phoneNumbers: ["+{phone}"], range: {{last: "P20D"}}, first: 3) {{
            totalCount nodes {{ phoneNumber sentCount }} edges {{ cursor }} pageInfo {{ endCursor hasNextPage }} }}
          half: phoneNumberMetrics(custSpaceId: "cams-beta", granularity: HALF_HOUR, range: {{last: "PT5H"}}) {{ totalCount }}
          operationDistribution(appId: "app-one", range: {{last: "P1D"}}) {{ data {{ distributionName value }} }}
          channels {{ custSpaceId phoneNumbers metrics(phoneNumber: "{phone}", range: {{last: "P3D"}}) {{ phoneNumber }} }}
          applications {{ appId distribution(dimension: COUNTRY, range: {{last: "P1D"}}) {{ start }} }}
          datasets {{ name }} quotas {{ account operation available }}
        }}"#
    )
}

const ENABLE: &str = "mutation { enableWhatsappRoiMetric(custSpaceId: \"cams-alpha\") { requestId } }";

#[tokio::test(start_paused = true)]
async fn nothing_private_is_logged_or_printed_when_all_is_well() {
    let log = Log::of_process();
    let gateway = gateway_with_canaries().build();
    let response = gateway.query(&everything(&gateway)).await;
    assert_eq!(codes(&response), Vec::<String>::new(), "{response}");
    assert_eq!(codes(&gateway.query(ENABLE).await), Vec::<String>::new());
    let canaries = Canaries::of(&gateway);
    assert!(canaries.0.iter().filter(|(name, _)| *name == "signature").count() >= 8);
    let phone = &gateway.sim().world().phones("cams-alpha")[0];
    assert!(response["data"].to_string().contains(phone.as_str()), "answers hold whole phones");
    canaries.assert_absent_from_errors(&response, "a good answer");

    let app = gateway.app();
    let prints: [(&str, &dyn Debug); 7] = [
        ("the config", gateway.config()),
        ("the app", app),
        ("the gateway", app.gateway()),
        ("the simulator", gateway.sim()),
        ("the accounts", &gateway.config().entries().collect::<Vec<_>>()),
        ("the headers", &gateway.requests().iter().map(|request| request.headers().clone()).collect::<Vec<_>>()),
        (
            "the truth",
            &gateway.sim().world().metrics(
                "cams-alpha",
                weir::sim::Granularity::Daily,
                ROOMS[0].want(1..9).window,
                gateway.now(),
            ),
        ),
    ];
    for (what, print) in prints {
        canaries.assert_absent(&format!("{print:?} {print:#?}"), what);
    }
    canaries.assert_absent(&check::explain(gateway.config(), "weir.toml"), "weir check");
    canaries.assert_absent(&check::risks(gateway.config()).join("\n"), "weir check");
    canaries.assert_absent(&log.text(), "the log");
    assert!(log.text().contains("vendor replied"), "the log was there to see");
}

#[tokio::test(start_paused = true)]
async fn nothing_private_is_logged_or_told_under_any_fault() {
    let log = Log::of_process();
    for room in &ROOMS {
        for fault in faults(room) {
            let gateway = gateway_with_canaries().build();
            gateway.sim().faults().push(fault.clone(), Scope::Everything, Times::ForEver);
            let response = gateway.query(&everything(&gateway)).await;
            let enabled = gateway.query(ENABLE).await;
            let canaries = Canaries::of(&gateway);
            for response in [&response, &enabled] {
                canaries.assert_absent_from_errors(response, &format!("{fault:?}"));
            }
            canaries.assert_absent(&format!("{:?}", gateway.app()), &format!("the app under {fault:?}"));
            canaries.assert_absent(&log.text(), &format!("the log under {fault:?}"));
        }
    }
    assert!(log.text().contains("vendor call failed, retrying"), "the log was there to see");
}

/// The vendors' own words about a wrong signature repeat the key id and every parameter.
#[tokio::test(start_paused = true)]
async fn a_refused_signature_is_told_without_what_was_signed() {
    let log = Log::of_process();
    for room in &ROOMS {
        for wrong in 0..3 {
            let spoil = move |config: &mut Config| {
                let mut parts = key(room);
                parts[wrong].push_str("-wrong");
                (room.key)(config, parts.each_ref().map(String::as_str));
            };
            let gateway = gateway_with_canaries().config(spoil).build();
            let response = gateway.query(&everything(&gateway)).await;
            let refused: Vec<_> = codes(&response);
            assert!(!refused.is_empty() && refused.iter().all(|code| code == "VENDOR_DENIED"), "{refused:?}");
            let canaries = Canaries::of(&gateway);
            canaries.assert_absent_from_errors(&response, "a refused signature");
            canaries.assert_absent(&log.text(), "the log of a refused signature");
        }
    }
}

/// Arguments that make no sense are told without the phone numbers in them, whoever finds the mistake.
#[tokio::test(start_paused = true)]
async fn wrong_arguments_are_told_without_the_phones_in_them() {
    let log = Log::of_process();
    let gateway = gateway_with_canaries().build();
    let p = STRANGER;
    let metrics =
        |arguments: &str| format!("{{ phoneNumberMetrics({arguments}) {{ totalCount edges {{ cursor }} }} }}");
    let week = r#"range: {last: "P7D"}"#;
    // A cursor holds a phone; of another query it is refused.
    let phone = &gateway.sim().world().phones("cams-alpha")[1];
    let page =
        gateway.data(&metrics(&format!(r#"custSpaceId: "cams-alpha", phoneNumbers: ["{phone}"], {week}"#))).await;
    let cursor = page["phoneNumberMetrics"]["edges"][0]["cursor"].as_str().unwrap().to_owned();
    let queries = [
        metrics(&format!(r#"custSpaceId: "{p}", {week}"#)),
        metrics(&format!(r#"custSpaceId: "+86 199-0011-2233 {p}", {week}"#)),
        metrics(&format!(r#"phoneNumbers: ["{p}"], {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", phoneNumbers: ["{p}", "none"], {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", phoneNumbers: [{p}], {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", phoneNumbers: {{p: "{p}"}}, {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", first: {p}, {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", first: "{p}", {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", after: "{p}", {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-beta", after: "{cursor}", {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", granularity: X{p}, {week}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", range: {{last: "{p}"}}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", range: {{last: "P{p}D"}}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", range: {{between: {{start: "{p}", end: "{p}"}}}}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", range: {{p{p}: "x"}}"#)),
        metrics(&format!(r#"custSpaceId: "cams-alpha", p{p}: 1, {week}"#)),
        format!(r#"{{ channel(custSpaceId: "{p}") {{ account }} }}"#),
        format!(r#"{{ application(appId: "{p}") {{ account }} }}"#),
        format!(r#"{{ operationDistribution(appId: "{p}", {week}) {{ start }} }}"#),
        format!(r#"{{ operationDistributions(appIds: ["app-one", "{p}"], {week}) {{ start }} }}"#),
        format!(r#"{{ operationDistributions(window: "{p}", {week}) {{ start }} }}"#),
        format!(r#"mutation {{ enableWhatsappRoiMetric(custSpaceId: "{p}") {{ requestId }} }}"#),
        format!("{{ p{p} }}"),
        format!("{{ channels {{ p{p} }} }}"),
        format!("{{ channels {{ ...p{p} }} }}"),
        format!("query Q($p{p}: String!) {{ channels {{ account }} }}"),
        format!("query Q($p: P{p}) {{ channels {{ account }} }}"),
        format!("query Q {{ channels @p{p} {{ account }} }}"),
        format!(r#"{{ channels(p: "{p}" {{ account }} }}"#),
        format!(r#"{{ "{p}" }}"#),
    ];
    let canaries = Canaries::of(&gateway);
    for query in &queries {
        let response = gateway.query(query).await;
        let mut shown = response.clone();
        // The path repeats the names of the query itself, as GraphQL has it.
        for error in shown["errors"].as_array_mut().unwrap() {
            error.as_object_mut().unwrap().remove("path");
            let message = error["message"].as_str().unwrap();
            assert!(!message.is_empty() && !message.contains(cursor.as_str()), "{query}: {message}");
        }
        canaries.assert_absent_from_errors(&shown, query);
        assert_told_over_http_without(&canaries, &gateway, &json!({ "query": query })).await;
    }
    for (query, variables) in [
        (
            "query Q($first: Int!) { phoneNumberMetrics(custSpaceId: \"cams-alpha\", first: $first, range: {last: \"P1D\"}) { totalCount } }",
            json!({ "first": p }),
        ),
        (
            "query Q($range: TimeRange!) { phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: $range) { totalCount } }",
            json!({ "range": { "last": p } }),
        ),
        (
            "query Q($range: TimeRange!) { phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: $range) { totalCount } }",
            json!({ "range": { format!("k{p}"): p } }),
        ),
        ("query Q($id: ID!) { channel(custSpaceId: $id) { account } }", json!({ "id": [p] })),
    ] {
        let response = gateway.ask(query, variables.clone()).await;
        assert!(!codes(&response).is_empty(), "{response}");
        canaries.assert_absent_from_errors(&response, query);
        assert_told_over_http_without(&canaries, &gateway, &json!({ "query": query, "variables": variables })).await;
    }
    for body in [
        json!({ "query": "query A { datasets { name } }", "operationName": format!("A{p}") }),
        json!({ "query": "query A { datasets { name } }", "variables": p }),
        json!({ "query": "query A { datasets { name } }", "extensions": [p] }),
        json!({ "query": [p] }),
        json!(p),
    ] {
        assert_told_over_http_without(&canaries, &gateway, &body).await;
    }
    canaries.assert_absent(&log.text(), "the log of wrong arguments");
}

/// The HTTP layer parses and refuses by itself, before the engine sees anything.
async fn assert_told_over_http_without(canaries: &Canaries, gateway: &TestGateway, body: &Value) {
    let request = Request::post("/graphql").header("host", "localhost").header("content-type", "application/json");
    let request = request.body(Body::from(body.to_string()));
    let response =
        Site::new(HttpConfig::default(), gateway.gateway(), Access::anyone()).oneshot(request.unwrap()).await.unwrap();
    let bytes = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    let mut response: Value = serde_json::from_slice(&bytes).unwrap();
    for error in response["errors"].as_array_mut().unwrap() {
        error.as_object_mut().unwrap().remove("path");
    }
    canaries.assert_absent_from_errors(&response, &format!("{body} over HTTP"));
}

#[test]
fn a_wrong_config_is_told_without_its_secrets() {
    let secret = "canary-secret";
    let entry = |lines: &str| format!("[[alibaba_cams]]\nname = \"retail\"\n{lines}\n");
    for text in [
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = \"{secret}")),
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = {secret}")),
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = [\"{secret}\"]")),
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secrets = \"{secret}\"")),
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = \"{secret}\\x\"")),
        entry(&format!("access_key_id = \"${{canary-keyid}}\"\naccess_key_secret = \"${{{secret}\"")),
        entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = \"{secret}\nand more\"")),
        entry(&format!(
            "endpoint = \"https://{secret}:{secret}@host\"\naccess_key_id = \"x\"\naccess_key_secret = \"y\""
        )),
        format!(
            "{}{}",
            entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = \"{secret}\"")),
            entry(&format!("access_key_id = \"canary-keyid\"\naccess_key_secret = \"{secret}\""))
        ),
    ] {
        let env = |name: &str| (name == "HOME").then(|| "/tmp".to_owned());
        let error = Config::parse(&text, "weir.toml", &env).expect_err(&text);
        let told = format!("{error} {error:?}");
        assert!(!told.contains("canary"), "{text}\n{told}");
    }
}

#[test]
fn an_account_in_use_is_told_by_its_name() {
    let dir = tempfile::tempdir().unwrap();
    let mut config = demo_config();
    (ROOMS[0].key)(&mut config, key(&ROOMS[0]).each_ref().map(String::as_str));
    let account = config.alibaba_cams[0].account().unwrap();
    let held = StateFile::take(dir.path(), &account).unwrap();
    let error = StateFile::take(dir.path(), &account).unwrap_err();
    let mut told = format!("{error} {error:?} {held:?} {account:?}");
    // Not even the names and contents of the files show it.
    for entry in std::fs::read_dir(dir.path()).unwrap() {
        let path = entry.unwrap().path();
        told.push_str(&path.display().to_string());
        told.push_str(&std::fs::read_to_string(&path).unwrap());
    }
    assert!(!told.contains("canary"), "{told}");
}

#[test]
fn parts_and_credentials_print_nothing_private() {
    let config = {
        let mut config = demo_config();
        for room in &ROOMS {
            (room.key)(&mut config, key(room).each_ref().map(String::as_str));
        }
        config
    };
    let query = format!("PhoneNumber={STRANGER}");
    let cams = weir::vendor::alibaba_cams::signer::Parts {
        host: "host",
        action: "action",
        version: "version",
        query: &query,
        more: &[("x-acs-more", STRANGER)],
    };
    let rtc = weir::vendor::volcengine_rtc::signer::Parts {
        host: "host",
        region: "region",
        query: &query,
        body: STRANGER.as_bytes(),
    };
    let credentials = (config.alibaba_cams[0].credential(), config.volcengine_rtc[0].credential());
    let keys = Keys::new([("id", "canary-secret")]);
    let told = format!("{cams:?} {rtc:?} {credentials:?} {keys:?}");
    assert!(!told.contains("canary") && !told.contains(STRANGER), "{told}");
}

/// Over sockets, so that the HTTP libraries of both sides log as well.
#[tokio::test]
async fn nothing_private_is_logged_between_sockets() {
    let log = Log::of_process();
    let clock = Arc::new(ManualClock::starting_at(Timestamp::parse_rfc3339(NOW).unwrap()));
    let mut sim = SimulatorConfig::new(7, Arc::<ManualClock>::clone(&clock));
    let mut config = demo_config();
    let vendors = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let endpoint = format!("http://{}", vendors.local_addr().unwrap());
    config.alibaba_cams[0].endpoint.clone_from(&endpoint);
    config.volcengine_rtc[0].endpoint = endpoint;
    for room in &ROOMS {
        let [id, secret, token] = key(room);
        (room.key)(&mut config, [&id, &secret, &token]);
        sim.keys.push((id.clone(), secret));
        sim.tokens.push((id, token));
    }
    let sim = Simulator::new(sim);
    let serving_vendors = tokio::spawn(weir::sim::serve(Arc::clone(&sim), vendors, pending()));
    let second = Duration::from_secs(1);
    let transport = Arc::new(HttpTransport::new(second, second * 10, second * 5, 1 << 20).unwrap());
    let runtime = Runtime {
        clock: Arc::<ManualClock>::clone(&clock),
        transport: Arc::<HttpTransport>::clone(&transport),
        start: Start::Free,
    };
    let app = App::build(&config, &runtime).unwrap();
    let canaries = Canaries::of(&gateway_with_canaries().build());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let site = Site::new(HttpConfig::default(), Arc::new(app.gateway().clone()), Access::anyone());
    let serving = tokio::spawn(serve(listener, site, Timeouts::default(), pending()));

    let phone = sim.world().phones("cams-alpha")[0].clone();
    let query = format!(
        "query Week{STRANGER} {{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: [\"{phone}\"], range: {{last: \"P7D\"}}) \
         {{ nodes {{ phoneNumber }} }} operationDistribution(appId: \"app-one\", range: {{last: \"P1D\"}}) {{ start }} }}"
    );
    let target: String = form_urlencoded::Serializer::new(String::new())
        .append_pair("query", &query)
        .append_pair("operationName", &format!("Week{STRANGER}"))
        .append_pair("variables", &json!({ "phone": STRANGER }).to_string())
        .finish();
    // Well at first; then one reset and one refusal on the way to each vendor.
    for (days, fault) in [(7, None), (8, Some(Fault::ResetAfterArrival)), (9, Some(Fault::ClockSkew))] {
        for (room, fault) in ROOMS.iter().filter_map(|room| Some((room, fault.clone()?))) {
            sim.faults().push(fault, Scope::Vendor(room.vendor), Times::Next(1));
        }
        let target = target.replace("P7D", &format!("P{days}D"));
        let request = format!(
            "GET /graphql?{target} HTTP/1.1\r\nhost: {address}\r\naccept: application/json\r\nx-request-id: {STRANGER}\r\n\
             authorization: Bearer canary-bearer\r\nconnection: close\r\n\r\n"
        );
        let mut stream = TcpStream::connect(address).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let reply = timeout(second * 20, read_all(&mut stream)).await.unwrap();
        assert!(reply.starts_with("HTTP/1.1 200"), "{reply}");
        let is_refused = fault == Some(Fault::ClockSkew);
        assert_eq!((reply.contains(&phone), reply.contains("VENDOR_DENIED")), (!is_refused, is_refused), "{days} days");
    }
    serving.abort();
    serving_vendors.abort();

    // Nobody is at the end of this one.
    let port = TcpListener::bind("127.0.0.1:0").await.unwrap().local_addr().unwrap();
    config.alibaba_cams[0].endpoint = format!("http://{port}");
    let app = App::build(&config, &Runtime { clock, transport, start: Start::Free }).unwrap();
    let answer = app.gateway().execute(Caller::Anonymous, async_graphql::Request::new(query)).await;
    let response: Value = serde_json::from_slice(&answer.to_json()).unwrap();
    assert_eq!(codes(&response)[0], "VENDOR_UNAVAILABLE", "{response}");
    canaries.assert_absent_from_errors(&response, "a refused connection");

    let text = log.text();
    for part in ["request answered", "operation=\"Week…\"", "vendor replied", "starting new connection"] {
        assert!(text.contains(part), "{part} was there to see");
    }
    canaries.assert_absent(&text, "the log");
    assert!(!text.contains("phoneNumberMetrics"), "no query text is logged");
    assert!(!text.contains("Signature="), "no signature is logged");
}
