//! What `deploy/` says of nginx and Caddy is so: real ones run its files before real gateways.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::time::sleep;
use weir::config::Config;
use weir::domain::time::{DAY, HOUR};
use weir::domain::{Clock, SystemClock};

use crate::support::process::{Process, config, in_time};
use crate::support::proxy::{Kind, NAME, Proxy, free_port, send};
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, METRIC};

const BOTH: [Kind; 2] = [Kind::Nginx, Kind::Caddy];

/// A gateway under the name of the files.
const NAMED: &str = "http.hosts = [\"metrics.example.com\"]\n";

async fn status(request: reqwest::RequestBuilder) -> u16 {
    send(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_proxy_passes_on_who_may_ask_under_its_name_and_nobody_else() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let weir = Process::serve(&config(dir.path(), &simulator.address, NAMED)).await;
    let other_dir = tempfile::tempdir().unwrap();
    let unnamed = Process::serve(&config(other_dir.path(), &simulator.address, "")).await;
    for kind in BOTH {
        let Some(proxy) = Proxy::start(kind, [&weir.address, &weir.address]).await else { continue };
        let answer = proxy.answer("{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P7D\"}) { totalCount } operationDistribution(appId: \"app-one\", range: {last: \"P1D\"}) { start } }").await;
        assert!(answer["data"]["phoneNumberMetrics"]["totalCount"].as_u64() > Some(0), "{kind:?}: {answer}");
        assert_eq!(answer.get("errors"), None, "{kind:?}: {answer}");
        let rows = send(proxy.asked(Method::GET, "/rows/phone_number_metrics.csv?last=P7D")).await.unwrap();
        assert_eq!(rows.status(), 200, "{kind:?}");
        assert!(rows.text().await.unwrap().lines().count() > 24, "{kind:?}");
        assert_eq!(status(proxy.asked(Method::GET, "/health/ready")).await, 200, "{kind:?}");

        // A page of ours may ask, one of somebody else may not: weir is told under which name it is asked.
        let page = |origin: &str| proxy.query("{ __typename }").header("origin", origin);
        assert_eq!(status(page(&proxy.origin())).await, 200, "{kind:?}");
        assert_eq!(status(page("https://evil.example")).await, 403, "{kind:?}");

        // Without a password, under another name, without TLS.
        assert_eq!(status(proxy.unnamed(Method::GET, "/health/ready")).await, 401, "{kind:?}");
        assert_eq!(
            status(proxy.unnamed(Method::GET, "/schema.graphql").basic_auth("dashboards", Some("x"))).await,
            401,
            "{kind:?}"
        );
        assert_eq!(status(proxy.asked(Method::GET, "/").header("host", "evil.example")).await, 421, "{kind:?}");
        let plain = format!("http://127.0.0.1:{}/rows?a=b", proxy.plain);
        let moved = send(proxy.client.get(plain).header("host", NAME)).await.unwrap();
        assert_eq!(moved.status(), 308, "{kind:?}");
        let location = moved.headers()["location"].to_str().unwrap();
        assert!(location.starts_with(&format!("https://{NAME}")) && location.ends_with("/rows?a=b"), "{location}");
        assert_eq!(status(proxy.asked(Method::GET, "/metrics")).await, 404, "{kind:?}");
        let large = proxy.query("").body(" ".repeat((1 << 20) + 1));
        assert_eq!(status(large).await, 413, "{kind:?}");

        // A gateway that was not told of the name refuses it: the name that was asked for is the one that arrives.
        let Some(proxy) = Proxy::start(kind, [&unnamed.address, &unnamed.address]).await else { continue };
        assert_eq!(status(proxy.query("{ __typename }")).await, 421, "{kind:?}");
    }
}

/// Rows of one window come while the vendor is at the next one, and whoever reads them is told when the rest does not come.
/// Caddy before 2.7.6 ends what broke off as though it were all: there only what has an end of its own is told from it.
#[tokio::test]
async fn rows_pass_a_proxy_as_they_come_and_break_off_where_they_do() {
    for kind in BOTH {
        let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
        let more = format!("{NAMED}[upstream]\ntimeout = \"10m\"\n");
        let weir = Process::serve(&config(dir.path(), &simulator.address, &more)).await;
        let Some(proxy) = Proxy::start(kind, [&weir.address, &weir.address]).await else { continue };
        // Of two windows the first is held, and the vendor takes its time with the second.
        let end = SystemClock.now().floor(DAY);
        let (start, middle) = (end - DAY * 14, end - DAY * 7);
        let held = format!(
            "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{middle}\"}}}}) \
             {{ start }} }}"
        );
        assert_eq!(weir.query(&held).await.get("errors"), None);
        let fault = json!({ "fault": { "latency": 3_600_000 }, "operation": DISTRIBUTION, "times": 1 });
        simulator.post("/_sim/faults", &fault).await;
        let format = if kind == Kind::Nginx { "csv" } else { "json" };
        let path = format!("/rows/operation_distributions.{format}?start={start}&end={end}&window=P7D&app_id=app-one");
        let mut rows = in_time(send(proxy.asked(Method::GET, &path))).await.unwrap();
        assert_eq!(rows.status(), 200, "{kind:?}");
        let mut text = String::new();
        while !text.contains(&start.to_string()) {
            text += &String::from_utf8_lossy(&in_time(rows.chunk()).await.unwrap().unwrap());
        }
        // The second window never comes.
        simulator.kill().await;
        let told = loop {
            match in_time(rows.chunk()).await {
                Ok(Some(piece)) => text += &String::from_utf8_lossy(&piece),
                end => break end,
            }
        };
        let is_cut = told.is_err() || (kind == Kind::Caddy && serde_json::from_str::<Value>(&text).is_err());
        assert!(is_cut, "{kind:?}: rows that broke off look complete: {text}");
    }
}

/// What `deploy/` says of the config is what weir and the proxies need.
#[test]
fn the_config_of_the_containers_is_sound_and_named_as_the_proxies_are() {
    let file = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy").join(name);
    let read = |name: &str| std::fs::read_to_string(file(name)).unwrap();
    let secrets = read("secrets.env.example");
    let is_listed = |name: &str| secrets.lines().any(|line| line.starts_with(&format!("{name}=")));
    // XDG_STATE_HOME is the image's.
    let env = |name: &str| {
        let is_set = name == "XDG_STATE_HOME" && read("Dockerfile").contains("\nENV XDG_STATE_HOME=/var/lib\n");
        if is_set { Some("/var/lib".to_owned()) } else { is_listed(name).then(|| "given".to_owned()) }
    };
    let config = Config::load(&file("weir.toml"), &env).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/weir"));
    config.require_accounts("weir.toml").unwrap();
    assert_eq!(config.http.hosts, [NAME]);
    let ports = ["127.0.0.1:8081", "127.0.0.1:8082"];
    for proxy in ["nginx.conf", "Caddyfile", "compose.yml"] {
        assert!(ports.iter().all(|port| read(proxy).contains(port)), "{proxy}");
    }
    for word in ["WEIR_USER", "WEIR_PASSWORD_HASH"] {
        assert!(is_listed(word) && read("Caddyfile").contains(word), "{word}");
    }
}

/// How many channels the replicas have: a call each.
const CHANNELS: u32 = 2_000;

/// Two replicas that share a Redis, with as many channels as nobody asks for in one test.
fn replicated(dir: &Path, redis: &Redis, simulator: &str) -> PathBuf {
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("cams-{n}")).collect();
    let more = format!(
        "{NAMED}[queue]\nmax_wait = \"10m\"\n\
         [upstream]\nconnect_timeout = \"200ms\"\ntimeout = \"300ms\"\nguard = \"200ms\"\n[shared]\nredis = \"{}\"\n",
        redis.url()
    );
    let path = config(dir, simulator, &more);
    let text = std::fs::read_to_string(&path).unwrap();
    std::fs::write(
        &path,
        text.replace("channels = [\"cams-alpha\", \"cams-beta\"]", &format!("channels = {channels:?}")),
    )
    .unwrap();
    path
}

/// What one of the callers asks next: some wait for one vendor, some for the other, and the rest for none.
fn question(caller: u32, n: u32) -> String {
    let now = SystemClock.now().floor(HOUR);
    match caller {
        0..3 => {
            let (hours, end) = (2 + n % 150, now - HOUR * (10 + n / 150));
            let start = end - HOUR * hours;
            format!(
                "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) \
                 {{ start }} }}"
            )
        }
        3..6 => {
            let channel = n % CHANNELS;
            format!(
                "{{ phoneNumberMetrics(custSpaceId: \"cams-{channel}\", range: {{last: \"P3D\"}}) {{ totalCount }} }}"
            )
        }
        _ => "{ applications { appId } }".to_owned(),
    }
}

/// What callers have seen, who ask one after the other until they are told to stop.
#[derive(Debug, Default)]
struct Seen {
    answered: AtomicU32,
    failed: std::sync::Mutex<Vec<String>>,
    over: AtomicBool,
}

async fn ask_on(caller: u32, proxy: Arc<Proxy>, seen: Arc<Seen>) {
    for n in 0.. {
        if seen.over.load(Ordering::Relaxed) {
            return;
        }
        let query = question(caller, caller % 3 + 3 * n);
        let failure = match send(proxy.query(&query)).await {
            Err(error) => format!("{error:?}"),
            Ok(answer) => {
                let status = answer.status();
                let text = answer.text().await.unwrap_or_else(|error| format!("{error:?}"));
                let whole = serde_json::from_str::<Value>(&text)
                    .is_ok_and(|answer| answer["data"].is_object() && answer.get("errors").is_none());
                if status == 200 && whole {
                    seen.answered.fetch_add(1, Ordering::Relaxed);
                    continue;
                }
                format!("{status}: {text}")
            }
        };
        seen.failed.lock().unwrap().push(format!("{query}: {failure}"));
    }
}

/// Two replicas behind nginx are restarted in turn under load: every request is answered, and the vendors count no call too
/// many. `WEIR_TEST_RESTARTS` says how often.
#[tokio::test(flavor = "multi_thread")]
async fn replicas_behind_nginx_are_restarted_in_turn_and_no_request_fails() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let rounds = std::env::var_os("WEIR_TEST_RESTARTS").map_or(3, |n| n.to_str().unwrap().parse().unwrap());
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let file = replicated(dir.path(), &redis, &simulator.address);
    // Without a line for each of some thousand requests.
    let quiet = [("WEIR_LOG", "warn,weir::cli=info".to_owned())];
    let addresses = [0, 0].map(|_| format!("127.0.0.1:{}", free_port()));
    let mut replicas =
        [Process::serve_at(&addresses[0], &file, &quiet).await, Process::serve_at(&addresses[1], &file, &quiet).await];
    let Some(proxy) = Proxy::start(Kind::Nginx, [&addresses[0], &addresses[1]]).await else { return };
    let (proxy, seen) = (Arc::new(proxy), Arc::new(Seen::default()));
    let asks: Vec<_> =
        (0..12).map(|caller| tokio::spawn(ask_on(caller, Arc::clone(&proxy), Arc::clone(&seen)))).collect();
    // Until the first lease is over, both vendors are waited for.
    in_time(async {
        while simulator.arrivals().await.len() < 10 {
            sleep(Duration::from_millis(100)).await;
        }
    })
    .await;
    for round in 0..rounds {
        let replica = &mut replicas[round % 2];
        let before = seen.answered.load(Ordering::Relaxed);
        replica.terminate().await;
        assert!(replica.ended().await.success(), "round {round}");
        *replica = Process::serve_at(&addresses[round % 2], &file, &quiet).await;
        assert_eq!(replica.get("/health/ready").await["status"], "ready");
        assert!(seen.answered.load(Ordering::Relaxed) > before, "round {round}: nobody asked");
    }
    seen.over.store(true, Ordering::Relaxed);
    in_time(async {
        for ask in asks {
            ask.await.unwrap();
        }
    })
    .await;
    let failed = std::mem::take(&mut *seen.failed.lock().unwrap());
    assert!(
        failed.is_empty(),
        "{} failed, {} were answered: {:#?}",
        failed.len(),
        seen.answered.load(Ordering::Relaxed),
        &failed[..failed.len().min(5)]
    );
    let stats = simulator.get("/_sim/stats").await;
    for (operation, limit) in [(DISTRIBUTION, 2), (METRIC, 50)] {
        let own = stats.as_array().unwrap().iter().find(|entry| entry["operation"] == operation).unwrap();
        assert!(own["widestSecond"].as_u64().unwrap() <= limit, "{own}");
        assert_eq!(own["throttled"], 0, "{own}");
    }
}
