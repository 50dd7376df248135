//! Callers on sockets: what they may send and hold, when they are cut off, and what their leaving means.

use std::io;
use std::time::Duration;

use serde_json::json;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use weir::http::{HttpConfig, Timeouts};
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

#[tokio::test]
async fn callers_beyond_the_limit_wait_for_one_to_leave() {
    let timeouts = Timeouts { max_connections: 2, ..Timeouts::default() };
    let server = Server::start(HttpConfig::default(), timeouts).await;
    let (mut first, second) = (known_connection(&server).await, known_connection(&server).await);
    let mut third = server.connect().await;
    third.write_all(PROBE).await.unwrap();
    for _ in 0..50 {
        probe(&mut first).await;
    }
    let unread = third.try_read(&mut [0; 1]).unwrap_err();
    assert_eq!(unread.kind(), io::ErrorKind::WouldBlock, "the first two are answered, the third waits");
    drop(second);
    let mut start = [0; 12];
    in_time(third.read_exact(&mut start)).await.unwrap();
    assert_eq!(&start, b"HTTP/1.1 200");
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
