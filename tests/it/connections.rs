//! Callers on sockets: what they may send and hold, when they are cut off, and what their leaving means.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::domain::LimitName;
use weir::http::{HttpConfig, Limits, Timeouts};
use weir::sim::{Fault, Scope, Times};

use crate::support::process::in_time;
use crate::support::server::{Server, read_all};
use crate::support::{DISTRIBUTION, TestGateway};

fn small_bodies() -> HttpConfig {
    HttpConfig { max_body: 1_000, ..HttpConfig::default() }
}

fn padded(length: usize) -> String {
    let body = json!({ "query": "{ __typename }" }).to_string();
    format!("{body}{}", " ".repeat(length - body.len()))
}

#[tokio::test]
async fn a_body_over_the_limit_is_refused_while_it_streams() {
    let server = Server::start(small_bodies(), Timeouts::default()).await;
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-type: application/json\r\n";
    for (length, status) in [(1_000, "200"), (1_001, "413"), (30_000, "413")] {
        let whole = server.raw(format!("{head}content-length: {length}\r\n\r\n{}", padded(length))).await;
        assert!(whole.starts_with(&format!("HTTP/1.1 {status} ")), "{length}: {whole}");
        let (one, two) = (length / 2, length - length / 2);
        let text = padded(length);
        let chunks = format!("{one:x}\r\n{}\r\n{two:x}\r\n{}\r\n0\r\n\r\n", &text[..one], &text[one..]);
        let chunked = server.raw(format!("{head}transfer-encoding: chunked\r\n\r\n{chunks}")).await;
        assert!(chunked.starts_with(&format!("HTTP/1.1 {status} ")), "{length} in chunks: {chunked}");
    }
    let refused = server.raw(format!("{head}content-length: 2000\r\n\r\n{}", padded(2_000))).await;
    assert!(refused.contains(r#""code":"TOO_EXPENSIVE""#) && refused.contains("1000 bytes"), "{refused}");
    assert!(refused.contains(r#""limitName":"max_body""#), "{refused}");
}

#[tokio::test]
async fn a_body_without_end_is_cut_off() {
    let server = Server::start(small_bodies(), Timeouts::default()).await;
    let (mut reading, mut writing) = server.connect().await.into_split();
    let endless = tokio::spawn(async move {
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 1000000000\r\n\r\n";
        writing.write_all(head.as_bytes()).await?;
        loop {
            writing.write_all(&[b' '; 1_000]).await?;
        }
        #[expect(unreachable_code, reason = "gives the block its type")]
        Ok::<(), std::io::Error>(())
    });
    let mut start = [0; 12];
    reading.read_exact(&mut start).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 413");
    assert!(endless.await.unwrap().is_err(), "the server closed the connection");
}

#[tokio::test(start_paused = true)]
async fn a_head_that_never_ends_is_given_up() {
    let server = Server::start(HttpConfig::default(), Timeouts::default()).await;
    let started = tokio::time::Instant::now();
    let answer = server.raw("POST /graphql HTTP/1.1\r\nhost: localhost\r\n").await;
    assert!(!answer.contains("200"), "{answer}");
    assert!(started.elapsed() >= Timeouts::default().head, "{:?}", started.elapsed());
}

/// What a limit has refused so far, or would have.
async fn refusals(server: &Server, name: &str, limit: &str) -> usize {
    let metrics = server.raw("GET /metrics HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
    let series = format!("{name}{{caller=\"anonymous\",limit=\"{limit}\"}} ");
    metrics.lines().find_map(|line| line.strip_prefix(series.as_str())).map_or(0, |count| count.parse().unwrap())
}

const REFUSED: &str = "weir_refusals_total";
const SHADOWED: &str = "weir_shadow_refusals_total";

const HALF: &str = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ncontent-length: 26\r\n\r\n{\"query\":";
const OTHER_HALF: &str = "\"{ __typename }\"}";

const PROBE: &[u8] = b"GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n";

/// A connection that the server knows: it has answered on it.
async fn known_connection(server: &Server) -> TcpStream {
    let mut stream = server.connect().await;
    probe(&mut stream).await;
    stream
}

/// Asks for a sign of life and reads the answer; the connection stays open.
async fn probe(stream: &mut TcpStream) {
    stream.write_all(PROBE).await.unwrap();
    let mut answer = Vec::new();
    while !answer.ends_with(br#"{"status":"live"}"#) {
        assert_ne!(stream.read_buf(&mut answer).await.unwrap(), 0);
    }
}

/// A connection in the middle of a request.
async fn busy_connection(server: &Server) -> TcpStream {
    let mut busy = known_connection(server).await;
    busy.write_all(HALF.as_bytes()).await.unwrap();
    // When the server has answered this, it has read that.
    known_connection(server).await;
    busy
}

#[tokio::test]
async fn a_request_in_progress_is_finished_before_the_server_stops() {
    let mut server = Server::start(HttpConfig::default(), Timeouts::default()).await;
    let mut busy = busy_connection(&server).await;
    let mut idle = known_connection(&server).await;
    server.begin_to_stop();
    assert_eq!(read_all(&mut idle).await, "", "an idle connection is closed");
    assert!(TcpStream::connect(server.address).await.is_err(), "no new connection is taken");
    busy.write_all(OTHER_HALF.as_bytes()).await.unwrap();
    let answer = read_all(&mut busy).await;
    assert!(answer.contains(r#""data":{"__typename":"Query"}"#), "{answer}");
    server.stopped().await;
}

/// A proxy that opens a connection for each request is told of a stop by the refusal of the next one alone: whatever the
/// system had taken for us by then is answered.
#[tokio::test]
async fn whoever_came_before_the_stop_is_answered() {
    let mut server = Server::start(HttpConfig::default(), Timeouts::default()).await;
    probe(&mut server.connect().await).await;
    server.begin_to_stop();
    tokio::task::yield_now().await;
    // The system takes them. Our server, on this very thread, sees them and its end at the same time.
    let came: Vec<_> = (0..20)
        .map(|_| {
            let mut stream = std::net::TcpStream::connect(server.address).unwrap();
            std::io::Write::write_all(&mut stream, PROBE).unwrap();
            stream.set_nonblocking(true).unwrap();
            TcpStream::from_std(stream).unwrap()
        })
        .collect();
    std::thread::sleep(Duration::from_millis(20));
    for mut stream in came {
        let answer = in_time(read_all(&mut stream)).await;
        assert!(answer.ends_with(r#"{"status":"live"}"#), "{answer:?}");
    }
    server.stopped().await;
}

#[tokio::test]
async fn a_server_that_stops_does_not_wait_for_ever() {
    let config = HttpConfig { body_timeout: Duration::from_hours(1), ..HttpConfig::default() };
    let mut server = Server::start(config, Timeouts::default()).await;
    let _busy = busy_connection(&server).await;
    // From here on no socket has anything to say, and time may jump.
    tokio::time::pause();
    let started = tokio::time::Instant::now();
    server.begin_to_stop();
    server.stopped().await;
    assert_eq!(started.elapsed().as_secs(), Timeouts::default().finish.as_secs());
}

#[tokio::test]
async fn a_server_that_stops_says_so_to_the_load_balancer_first() {
    let timeouts = Timeouts { notice: Duration::from_hours(1), ..Timeouts::default() };
    let mut server = Server::start(HttpConfig::default(), timeouts).await;
    let probe = "GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    assert!(server.raw(probe).await.starts_with("HTTP/1.1 200"));
    server.begin_to_stop();
    tokio::task::yield_now().await;
    assert!(server.raw(probe).await.starts_with("HTTP/1.1 503"));
    assert!(server.raw(probe.replace("ready", "live")).await.starts_with("HTTP/1.1 200"));
}

/// Long enough for every place to be taken by heads that never end.
fn few(max_connections: usize) -> Timeouts {
    Timeouts { max_connections, head: Duration::from_hours(1), reserve: Duration::from_hours(1), ..Timeouts::default() }
}

#[tokio::test]
async fn half_heads_that_fill_all_places_keep_nobody_out() {
    for of_one_peer in [false, true] {
        let sizes = if of_one_peer { Timeouts { max_per_peer: 20, ..few(1_000) } } else { few(20) };
        let server = Server::start(HttpConfig::default(), sizes).await;
        let mut halves = Vec::new();
        for _ in 0..60 {
            let mut half = server.connect().await;
            half.write_all(b"POST /graphql HTTP/1.1\r\nhost: local").await.unwrap();
            halves.push(half);
        }
        probe(&mut server.connect().await).await;
        let mut asking = server.connect().await;
        asking.write_all(format!("{HALF}{OTHER_HALF}").as_bytes()).await.unwrap();
        let mut start = [0; 12];
        in_time(asking.read_exact(&mut start)).await.unwrap();
        assert_eq!(&start, b"HTTP/1.1 200");
        // The first has made room.
        let left = in_time(halves[0].read(&mut start)).await;
        assert!(left.is_err() || left.is_ok_and(|read| read == 0));
        let stays = halves[59].try_read(&mut start).unwrap_err();
        assert_eq!(stays.kind(), io::ErrorKind::WouldBlock, "the last is still waited for");
    }
}

#[tokio::test]
async fn where_all_are_in_a_request_health_is_told_and_others_come_back() {
    let server = Server::start(HttpConfig::default(), few(3)).await;
    let mut busy = Vec::new();
    for _ in 0..3 {
        busy.push(busy_connection_of(&server).await);
    }
    let ask = "GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
    let refused = server.raw(ask).await;
    assert!(refused.starts_with("HTTP/1.1 503 "), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n"), "{refused}");
    assert!(refused.contains(r#""code":"QUOTA_WAIT_TOO_LONG""#), "{refused}");
    assert!(refused.contains(r#""limit":3,"limitName":"connections""#), "{refused}");
    let rows = server.raw("GET /rows/measurements.csv HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(rows.starts_with("HTTP/1.1 503 ") && rows.contains("application/problem+json"), "{rows}");
    // Many that ask for nothing take the reserve from nobody either.
    let mut silent = Vec::new();
    for _ in 0..100 {
        silent.push(server.connect().await);
    }
    let health = server.raw("GET /health/live HTTP/1.1\r\nhost: localhost\r\n\r\n").await;
    assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
    let mut one = busy.swap_remove(1);
    one.write_all(OTHER_HALF.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    while !String::from_utf8_lossy(&answer).contains(r#""data":{"__typename":"Query"}"#) {
        assert_ne!(in_time(one.read_buf(&mut answer)).await.unwrap(), 0);
    }
    let answer = server.raw(ask).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(
        refusals(&server, REFUSED, "connections").await,
        2,
        "those who asked; who is silent was refused nothing"
    );
}

/// A connection beyond even the reserve is closed without a word, and counted all the same.
#[tokio::test]
async fn whoever_finds_no_place_at_all_is_counted() {
    let server = Server::start(HttpConfig::default(), Timeouts { max_reserve: 0, ..few(1) }).await;
    let mut busy = busy_connection_of(&server).await;
    let turned_away = in_time(read_all(&mut server.connect().await)).await;
    assert_eq!(turned_away, "");
    busy.write_all(OTHER_HALF.as_bytes()).await.unwrap();
    in_time(busy.read_exact(&mut [0; 12])).await.unwrap();
    drop(busy);
    assert_eq!(refusals(&server, REFUSED, "connections").await, 1);
}

/// A share that is only counted lets a peer have more, and tells how often.
#[tokio::test]
async fn the_share_of_a_peer_may_be_counted_alone() {
    let shadow = [LimitName::ConnectionsPerPeer].into_iter().collect();
    for (limits, status, of_refused, of_shadowed) in
        [(Limits::default(), "503", 1, 0), (Limits { shadow, ..Limits::default() }, "200", 0, 2)]
    {
        let config = HttpConfig { limits, ..HttpConfig::default() };
        let server = Server::start(config, Timeouts { max_per_peer: 2, ..few(9) }).await;
        let mut busy = [busy_connection_of(&server).await, busy_connection_of(&server).await];
        let ask = "GET /graphql?query=%7B__typename%7D HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n";
        let answer = server.raw(ask).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status} ")), "{answer}");
        if status == "503" {
            assert!(answer.contains(r#""limit":2,"limitName":"connections_per_peer""#), "{answer}");
            busy[0].write_all(OTHER_HALF.as_bytes()).await.unwrap();
            in_time(busy[0].read_exact(&mut [0; 12])).await.unwrap();
        }
        let limit = "connections_per_peer";
        let counted = (refusals(&server, REFUSED, limit).await, refusals(&server, SHADOWED, limit).await);
        assert_eq!(counted.0, of_refused);
        // The look at the metrics is a connection as well.
        assert!(counted.1 >= of_shadowed && (of_shadowed > 0 || counted.1 == 0), "{counted:?}");
    }
}

/// A connection in the middle of a request, where there may be no room for a second.
async fn busy_connection_of(server: &Server) -> TcpStream {
    let mut one = server.connect().await;
    one.write_all(HALF.replacen("\r\n", "\r\nexpect: 100-continue\r\n", 1).as_bytes()).await.unwrap();
    // The server says so once it reads the body.
    in_time(one.read_exact(&mut [0; 25])).await.unwrap();
    one
}

/// How many asks wait for a permit of RTC.
async fn queued(gateway: &TestGateway) -> u64 {
    let quotas = gateway.data("{ quotas { operation queued } }").await;
    let quotas = quotas["quotas"].as_array().unwrap();
    quotas.iter().find(|quota| quota["operation"] == DISTRIBUTION).unwrap()["queued"].as_u64().unwrap()
}

#[tokio::test]
async fn a_caller_that_hangs_up_takes_its_queued_call_along() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::Hang, Scope::Operation(DISTRIBUTION.to_owned()), Times::Next(2));
    let server = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
    let ask = async |arguments: &str| {
        let query = format!("{{ operationDistribution(appId: \"app-one\", {arguments}) {{ start }} }}");
        let body = json!({ "query": query }).to_string();
        let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n";
        let mut stream = server.connect().await;
        stream.write_all(format!("{head}content-length: {}\r\n\r\n{body}", body.len()).as_bytes()).await.unwrap();
        stream
    };
    // Both permits are out with calls that nobody answers.
    let _first = ask(r#"range: { last: "P1D" }"#).await;
    let _second = ask(r#"range: { last: "P2D" }"#).await;
    in_time(async {
        while gateway.calls(DISTRIBUTION) < 2 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    })
    .await;
    let third = ask(r#"dimension: COUNTRY, range: { last: "P3D" }"#).await;
    in_time(async { while queued(&gateway).await == 0 {} }).await;
    drop(third);
    in_time(async { while queued(&gateway).await > 0 {} }).await;
    // From here on no socket has anything to say, and time may jump: to where permits are back.
    tokio::time::pause();
    tokio::time::sleep(Duration::from_mins(2)).await;
    let arrivals = gateway.sim().arrivals();
    assert!(arrivals.len() >= 2, "{arrivals:?}");
    assert!(arrivals.iter().all(|one| one.parameters.detail.as_deref() == Some("province")), "{arrivals:?}");
}

/// Behind a proxy everybody comes from its address.
#[tokio::test]
async fn a_trusted_proxy_has_any_number_of_connections() {
    for (trusted, is_many) in [("127.0.0.0/8", true), ("192.0.2.1/32", false)] {
        let config = HttpConfig { trusted_proxies: vec![trusted.parse().unwrap()], ..HttpConfig::default() };
        let server = Server::start(config, Timeouts { max_per_peer: 2, ..few(100) }).await;
        let mut first = known_connection(&server).await;
        let mut others = Vec::new();
        for _ in 0..5 {
            others.push(known_connection(&server).await);
        }
        if is_many {
            probe(&mut first).await;
        } else {
            assert_eq!(read_all(&mut first).await, "", "it made room for another");
        }
    }
}

#[tokio::test]
async fn bodies_are_held_up_to_a_measure_and_short_ones_always() {
    let config = HttpConfig { max_body: 60_000, held_bodies: 80_000, ..HttpConfig::default() };
    let server = Server::start(config, Timeouts::default()).await;
    let head = "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
    let long = padded(50_000);
    let slow = format!("{head}expect: 100-continue\r\ncontent-length: 50001\r\n\r\n{long}");
    let mut both = [server.connect().await, server.connect().await];
    for one in &mut both {
        one.write_all(slow.as_bytes()).await.unwrap();
        in_time(one.read_exact(&mut [0; 25])).await.unwrap();
    }
    let whole = format!("{head}content-length: 50000\r\n\r\n{long}");
    // There is no room for both, whichever comes first.
    let [mut first, mut other] = both;
    in_time(async {
        tokio::select! { _ = first.readable() => {}, _ = other.readable() => {} }
    })
    .await;
    if first.try_read(&mut [0; 9]).is_ok() {
        std::mem::swap(&mut first, &mut other);
    } else {
        other.read_exact(&mut [0; 9]).await.unwrap();
    }
    let refused = in_time(read_all(&mut other)).await;
    assert!(refused.starts_with("503 "), "{refused}");
    assert!(refused.contains("\r\nretry-after: 1\r\n") && refused.contains("QUOTA_WAIT_TOO_LONG"), "{refused}");
    assert!(refused.contains(r#""limit":80000,"limitName":"held_body_bytes""#), "{refused}");
    let again = server.raw(&whole).await;
    assert!(again.starts_with("HTTP/1.1 503 "), "{again}");
    let short = server.raw(format!("{head}content-length: 10000\r\n\r\n{}", padded(10_000))).await;
    assert!(short.starts_with("HTTP/1.1 200 "), "{short}");
    first.write_all(b" ").await.unwrap();
    let answer = in_time(read_all(&mut first)).await;
    assert!(answer.contains(r#""data":{"__typename":"Query"}"#), "{answer}");
    let answer = server.raw(&whole).await;
    assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    assert_eq!(refusals(&server, REFUSED, "held_body_bytes").await, 2);
}

#[tokio::test]
async fn so_many_requests_are_worked_on_and_those_that_have_time_go_first() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::Hang, Scope::Operation(DISTRIBUTION.to_owned()), Times::Next(9));
    let config = HttpConfig { requests: 2, ..HttpConfig::default() };
    let server = Server::before(gateway.gateway(), config, Timeouts::default()).await;
    let post = |body: &serde_json::Value| {
        let body = body.to_string();
        let head =
            "POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\nconnection: close\r\n";
        format!("{head}content-length: {}\r\n\r\n{body}", body.len())
    };
    let hang = |days: u8| {
        let range = format!("range: {{ last: \"P{days}D\" }}");
        post(&json!({ "query": format!("{{ operationDistribution(appId: \"app-one\", {range}) {{ start }} }}") }))
    };
    let quick = json!({ "query": "{ __typename quotas { queued } }" });
    let mut patient = quick.clone();
    patient["extensions"] = json!({ "weir": { "maxWait": "PT1S" } });
    let rows = "GET /rows/measurements.csv?limit=1 HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n".to_owned();
    for (n, refused) in [(1, vec![post(&patient), rows.clone()]), (2, vec![post(&quick), rows.clone()])] {
        let mut hanging = server.connect().await;
        hanging.write_all(hang(n).as_bytes()).await.unwrap();
        while gateway.calls(DISTRIBUTION) < usize::from(n) {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        for request in refused {
            let answer = in_time(server.raw(&request)).await;
            assert!(answer.starts_with("HTTP/1.1 503 "), "{n}: {answer}");
            assert!(answer.contains("\r\nretry-after: 1\r\n"), "{answer}");
        }
        if n == 1 {
            let answer = in_time(server.raw(post(&quick))).await;
            assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
        }
        let health = server.raw("GET /health/ready HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n").await;
        assert!(health.starts_with("HTTP/1.1 200 "), "{health}");
        tokio::spawn(async move { read_all(&mut hanging).await });
    }
    assert_eq!(refusals(&server, REFUSED, "requests").await, 4);
    assert_eq!(refusals(&server, SHADOWED, "requests").await, 0);
}

#[tokio::test]
async fn requests_at_once_may_be_counted_alone() {
    let gateway = TestGateway::start();
    gateway.sim().faults().push(Fault::Hang, Scope::Operation(DISTRIBUTION.to_owned()), Times::Next(1));
    let limits = Limits { shadow: [LimitName::Requests].into_iter().collect(), ..Limits::default() };
    let config = HttpConfig { requests: 1, limits, ..HttpConfig::default() };
    let server = Server::before(gateway.gateway(), config, Timeouts::default()).await;
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n");
    let mut hanging = server.connect().await;
    let pull = "/rows/operation_distributions.csv?app_id=app-one&last=P1D";
    hanging.write_all(get(pull).as_bytes()).await.unwrap();
    while gateway.calls(DISTRIBUTION) < 1 {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    for path in ["/graphql?query=%7Bquotas%7Bqueued%7D%7D", "/rows/measurements.csv?limit=1&cust_space_id=cams-alpha"] {
        let answer = in_time(server.raw(get(path))).await;
        assert!(answer.starts_with("HTTP/1.1 200 "), "{answer}");
    }
    assert_eq!(refusals(&server, SHADOWED, "requests").await, 2);
    assert_eq!(refusals(&server, REFUSED, "requests").await, 0);
}
