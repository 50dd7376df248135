//! The built binary as people run it: four gateways, a simulator and a Redis, each a process of its own.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use weir::domain::time::HOUR;
use weir::domain::{Clock, SystemClock};

use crate::support::redis::{Redis, send_signal};
use crate::support::{DISTRIBUTION, METRIC};

/// `longest_stop` and the short timeouts below, a second each for Redis and the hold.
const LEASE: Duration = Duration::from_millis(6_000 + 200 + 300 + 200 + 1_000 + 1_010);

/// A process that is ended with the test.
struct Process(Child);

impl Process {
    fn weir(args: &[&str]) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
        Self(command.args(args).stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have been killed by the test already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

fn config(redis: &Redis, listen: u16, simulator: u16) -> String {
    let channels: Vec<String> = (0..2_000).map(|n| format!("cams-{n}")).collect();
    let account = format!(
        "endpoint = \"http://127.0.0.1:{simulator}\"\naccess_key_id = \"weir-demo\"\naccess_key_secret = \"weir-demo-secret\""
    );
    format!(
        "listen = \"127.0.0.1:{listen}\"\n[[alibaba_cams]]\nname = \"retail\"\n{account}\nchannels = {channels:?}\n\
         [[volcengine_rtc]]\nname = \"calls\"\n{account}\napps = [\"app-one\"]\n\
         [queue]\nmax_wait = \"10m\"\n[upstream]\nconnect_timeout = \"200ms\"\ntimeout = \"300ms\"\nguard = \"200ms\"\n\
         [shared]\nredis = \"{}\"\n",
        redis.url()
    )
}

/// One exchange on a connection of its own; `None` where nobody answers.
async fn exchange(port: u16, request: String) -> Option<Value> {
    let mut stream = TcpStream::connect(("127.0.0.1", port)).await.ok()?;
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut reply = String::new();
    stream.read_to_string(&mut reply).await.ok()?;
    let (_, body) = reply.split_once("\r\n\r\n")?;
    serde_json::from_str(&body[body.find(['{', '['])?..=body.rfind(['}', ']'])?]).ok()
}

async fn query(port: u16, query: &str) -> Option<Value> {
    let body = json!({ "query": query }).to_string();
    let head = "POST /graphql HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nConnection: close\r\n";
    exchange(port, format!("{head}Content-Length: {}\r\n\r\n{body}", body.len())).await
}

async fn look(simulator: u16, what: &str) -> Vec<Value> {
    let request = format!("GET /_sim/{what} HTTP/1.1\r\nHost: 127.0.0.1\r\nConnection: close\r\n\r\n");
    // Without a length the body comes in one chunk or more; an empty list is no answer yet.
    exchange(simulator, request).await.and_then(|value| value.as_array().cloned()).unwrap_or_default()
}

fn window(n: u32) -> String {
    let now = SystemClock.now().floor(HOUR);
    let (end, start) = (now - HOUR * (10 + n / 150), now - HOUR * (12 + n / 150 + n % 150));
    format!(
        "{{ operationDistribution(appId: \"app-one\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) {{ start }} }}"
    )
}

fn channel(n: u32) -> String {
    format!("{{ phoneNumberMetrics(custSpaceId: \"cams-{}\", range: {{last: \"P3D\"}}) {{ totalCount }} }}", n % 2_000)
}

#[tokio::test(flavor = "multi_thread")]
async fn four_processes_keep_the_quota_when_one_is_killed_and_one_stopped() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let dir = tempfile::tempdir().unwrap();
    let simulator = free_port();
    let _simulator = Process::weir(&["simulate", "--listen", &format!("127.0.0.1:{simulator}")]);
    let ports: Vec<u16> = (0..4).map(|_| free_port()).collect();
    let mut replicas: Vec<Process> = Vec::new();
    for port in &ports {
        let file = dir.path().join(format!("{port}.toml"));
        std::fs::write(&file, config(&redis, *port, simulator)).unwrap();
        replicas.push(Process::weir(&["serve", "--config", file.to_str().unwrap()]));
    }
    let next = Arc::new(AtomicU32::new(0));
    let mut asks = Vec::new();
    for port in ports {
        for asker in 0..12 {
            let next = Arc::clone(&next);
            asks.push(tokio::spawn(async move {
                loop {
                    let n = next.fetch_add(1, Ordering::Relaxed);
                    if query(port, &if asker < 4 { window(n) } else { channel(n) }).await.is_none() {
                        sleep(Duration::from_millis(100)).await;
                    }
                }
            }));
        }
    }
    sleep(LEASE + Duration::from_secs(3)).await;
    assert!(!look(simulator, "arrivals").await.is_empty(), "the first lease is over");
    replicas.remove(0).0.kill().unwrap();
    sleep(Duration::from_millis(300)).await;
    send_signal("STOP", replicas[0].0.id());
    sleep(Duration::from_secs(5)).await;
    send_signal("CONT", replicas[0].0.id());
    // What the killed one held is back, and the quota is used in full.
    sleep(LEASE.saturating_sub(Duration::from_secs(3))).await;
    sleep(Duration::from_secs(4)).await;
    asks.iter().for_each(tokio::task::JoinHandle::abort);
    let arrivals = look(simulator, "arrivals").await;
    let at = |arrival: &Value| arrival["atMs"].as_f64().unwrap();
    let last = arrivals.iter().map(at).fold(0.0, f64::max);
    let late = |operation: &str| {
        arrivals.iter().filter(|arrival| arrival["operation"] == operation && at(arrival) > last - 3_000.0).count()
    };
    assert!(late(DISTRIBUTION) >= 5, "{} calls in the last 3 s", late(DISTRIBUTION));
    for (operation, limit) in [(DISTRIBUTION, 2), (METRIC, 50)] {
        let stats = look(simulator, "stats").await;
        let own = stats.iter().find(|entry| entry["operation"] == operation).unwrap();
        assert!(own["widestSecond"].as_u64().unwrap() <= limit, "{own}");
        assert_eq!(own["throttled"], 0, "{own}");
    }
}
