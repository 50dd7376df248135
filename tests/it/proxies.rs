//! What `deploy/` says of nginx and Caddy is so: real ones run its files before real gateways.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::Duration;

use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::sleep;
use weir::access::keys::hash_of;
use weir::config::Config;
use weir::config::validate::check_listen;
use weir::domain::time::{DAY, HOUR};
use weir::domain::{Clock, SystemClock};

use crate::support::process::{Process, config, in_time};
use crate::support::proxy::{KEY, Kind, NAME, Proxy, free_port, send};
use crate::support::redis::Redis;
use crate::support::{DISTRIBUTION, METRIC};

const BOTH: [Kind; 2] = [Kind::Nginx, Kind::Caddy];

/// The key of somebody who may see one channel.
const OWN: &str = "weir_key-of-one-channel";

/// A gateway under the name of the files, and who may ask it, as `deploy/weir.toml` has them.
fn named() -> String {
    format!(
        "http.hosts = [{NAME:?}]\nhttp.trusted_proxies = [\"127.0.0.1\"]\n\
         [[api_keys]]\nname = \"dashboards\"\nhash = {:?}\n",
        hash_of(KEY)
    )
}

async fn status(request: RequestBuilder) -> u16 {
    send(request).await.unwrap().status().as_u16()
}

#[tokio::test]
async fn a_proxy_passes_on_who_may_ask_under_its_name_and_nobody_else() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let weir = Process::serve(&config(dir.path(), &simulator.address, &named())).await;
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

        // Under another name, without TLS.
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

/// A key with which somebody asks, in one of the ways in which it comes.
type Shown = fn(RequestBuilder) -> RequestBuilder;

#[tokio::test]
async fn a_key_goes_through_a_proxy_and_shows_what_is_its_own() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let own = format!(
        "{}[[api_keys]]\nname = \"own\"\nhash = {:?}\nchannels = [\"cams-alpha\"]\napps = []\n",
        named(),
        hash_of(OWN)
    );
    let weir = Process::serve(&config(dir.path(), &simulator.address, &own)).await;
    let shown: [Shown; 4] = [
        |request| request.bearer_auth(OWN),
        |request| request.header("x-api-key", OWN),
        |request| request.basic_auth("anybody", Some(OWN)),
        // Where both come, X-API-Key counts.
        |request| request.basic_auth("anybody", Some("of-somebody-else")).header("x-api-key", OWN),
    ];
    for kind in BOTH {
        let Some(proxy) = Proxy::start(kind, [&weir.address, &weir.address]).await else { continue };
        for path in ["/schema.graphql", "/rows", "/rows/phone_number_metrics.csv?last=P7D", "/graphiql"] {
            let nobody = send(proxy.unnamed(Method::GET, path)).await.unwrap();
            assert_eq!(nobody.status(), 401, "{kind:?} {path}");
            let asks = nobody.headers().get_all("www-authenticate").iter();
            assert!(asks.into_iter().any(|asks| asks.to_str().unwrap().starts_with("Basic ")), "{kind:?} {path}");
            let wrong = proxy.unnamed(Method::GET, path).basic_auth("own", Some("weir_wrong"));
            assert_eq!(status(wrong).await, 401, "{kind:?} {path}");
        }
        for show in shown {
            let get = |path: &str| show(proxy.unnamed(Method::GET, path));
            let rows = send(get("/rows/phone_number_metrics.json?last=P7D")).await.unwrap();
            assert_eq!(rows.status(), 200, "{kind:?}");
            let answer: Value = serde_json::from_str(&rows.text().await.unwrap()).unwrap();
            let rows = answer["rows"].as_array().unwrap();
            assert!(
                !rows.is_empty() && rows.iter().all(|row| row["cust_space_id"] == "cams-alpha"),
                "{kind:?}: {rows:?}"
            );
            let other = send(get("/rows/phone_number_metrics.csv?last=P7D&cust_space_id=cams-beta")).await.unwrap();
            assert_eq!(other.status(), 403, "{kind:?}");
            let problem: Value = serde_json::from_str(&other.text().await.unwrap()).unwrap();
            assert_eq!(problem["code"], "FORBIDDEN", "{kind:?}: {problem}");
        }
        // The other key sees it.
        let rows = proxy.asked(Method::GET, "/rows/phone_number_metrics.csv?last=P7D&cust_space_id=cams-beta");
        assert_eq!(status(rows).await, 200, "{kind:?}");
    }
}

/// Somebody in the place of a replica, who tells what heads have arrived.
async fn stand_in() -> (String, mpsc::UnboundedReceiver<String>, JoinHandle<()>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap().to_string();
    let (tell, told) = mpsc::unbounded_channel();
    let task = tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let mut head = Vec::new();
            while !head.ends_with(b"\r\n\r\n") && stream.read_buf(&mut head).await.is_ok_and(|read| read > 0) {}
            stream.write_all(b"HTTP/1.1 204 No Content\r\nconnection: close\r\n\r\n").await.unwrap();
            if tell.send(String::from_utf8(head).unwrap()).is_err() {
                return;
            }
        }
    });
    (address, told, task)
}

/// weir believes a trusted proxy, and neither of two headers that disagree: one that a caller made up must not arrive.
#[tokio::test]
async fn a_proxy_tells_who_asks_and_keeps_their_key_to_itself() {
    for kind in BOTH {
        let (address, mut told, replica) = stand_in().await;
        let Some(proxy) = Proxy::start(kind, [&address, &address]).await else { continue };
        let asked = || {
            let forged = [("x-forwarded-for", "192.0.2.7"), ("forwarded", "for=192.0.2.7")];
            let request = proxy.asked(Method::GET, "/rows?who=they").header("x-api-key", OWN);
            forged.into_iter().fold(request, |request, (name, value)| request.header(name, value))
        };
        assert_eq!(status(asked()).await, 204, "{kind:?}");
        let head = loop {
            let head = in_time(told.recv()).await.unwrap();
            if head.contains("who=they") {
                break head;
            }
        };
        let values = |name: &str| {
            let own = head.lines().filter_map(|line| line.split_once(": "));
            let own = own.filter(|(own, _)| own.eq_ignore_ascii_case(name)).map(|(_, value)| value);
            own.collect::<Vec<_>>().join(" and ")
        };
        assert_eq!(values("authorization"), format!("Bearer {KEY}"), "{kind:?}");
        assert_eq!(values("x-api-key"), OWN, "{kind:?}");
        assert_eq!(values("x-forwarded-for"), "127.0.0.1", "{kind:?}");
        assert_eq!(values("forwarded"), "", "{kind:?}");
        assert_eq!(format!("https://{}", values("host")), proxy.origin(), "{kind:?}");

        // Of what fails it writes down more than of what does not.
        replica.abort();
        assert!(replica.await.unwrap_err().is_cancelled());
        assert_eq!(status(asked()).await, 502, "{kind:?}");
        let log = proxy.log();
        assert!(log.contains("who=they") && !log.contains(KEY) && !log.contains(OWN), "{kind:?}: {log}");
    }
}

/// Rows of one window come while the vendor is at the next one, and whoever reads them is told when the rest does not come.
/// Caddy before 2.7.6 ends what broke off as though it were all: there only what has an end of its own is told from it.
#[tokio::test]
async fn rows_pass_a_proxy_as_they_come_and_break_off_where_they_do() {
    for kind in BOTH {
        let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
        let more = format!("{}[upstream]\ntimeout = \"10m\"\n", named());
        let weir = Process::serve(&config(dir.path(), &simulator.address, &more)).await;
        let Some(proxy) = Proxy::start(kind, [&weir.address, &weir.address]).await else { continue };
        // Of two windows the first is held, and the vendor takes its time with the second.
        let end = SystemClock.now().floor(DAY);
        let (start, middle) = (end - DAY * 14, end - DAY * 7);
        let held = format!(
            "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{middle}\"}}}}) \
             {{ start }} }}"
        );
        assert_eq!(proxy.answer(&held).await.get("errors"), None);
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
        match name {
            _ if is_set => Some("/var/lib".to_owned()),
            "DASHBOARDS_KEY_HASH" => is_listed(name).then(|| hash_of(KEY)),
            _ => is_listed(name).then(|| "given".to_owned()),
        }
    };
    let config = Config::load(&file("weir.toml"), &env).unwrap();
    assert_eq!(config.state_dir, Path::new("/var/lib/weir"));
    config.require_accounts("weir.toml").unwrap();
    assert_eq!(config.http.hosts, [NAME, "weir-1", "weir-2"]);
    let compose = read("compose.yml");
    let has = |line: &str| compose.lines().any(|own| own.trim() == line);
    // Where they listen they have to ask for keys.
    assert!(compose.contains(", --listen, \"0.0.0.0:8080\"]"));
    check_listen("0.0.0.0:8080".parse().unwrap(), config.asks_for_keys()).unwrap();
    // The proxy is believed, and asks the replicas where they are.
    let [inside] = &config.http.trusted_proxies[..] else { panic!("{:?}", config.http.trusted_proxies) };
    assert!(has(&format!("- subnet: {}", inside.0)));
    for (replica, address) in [("weir-1", "172.30.77.11"), ("weir-2", "172.30.77.12")] {
        assert!(inside.0.contains(&address.parse::<std::net::IpAddr>().unwrap()));
        assert!(has(&format!("ipv4_address: {address}")) && has(&format!("- \"{replica}:{address}\"")), "{replica}");
        for proxy in ["nginx.conf", "Caddyfile"] {
            assert!(read(proxy).contains(&format!(" {replica}:8080 ")), "{proxy}");
        }
    }
    // Who ends weir waits for longer than weir for its callers.
    let last = config.http.stop_notice + config.queue.max_wait + config.upstream.timeout;
    assert!(last + Duration::from_secs(10) < Duration::from_mins(1), "{last:?}");
    assert!(has("stop_grace_period: 60s") && read("weir.service").contains("\nTimeoutStopSec=60\n"));
}

/// How many channels the replicas have: a call each.
const CHANNELS: u32 = 2_000;

/// Two replicas that share a Redis, with as many channels as nobody asks for in one test.
fn replicated(dir: &Path, redis: &Redis, simulator: &str) -> PathBuf {
    let channels: Vec<String> = (0..CHANNELS).map(|n| format!("cams-{n}")).collect();
    let more = format!(
        "{}[queue]\nmax_wait = \"10m\"\n\
         [upstream]\nconnect_timeout = \"200ms\"\ntimeout = \"300ms\"\nguard = \"200ms\"\n[shared]\nredis = \"{}\"\n",
        named(),
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
