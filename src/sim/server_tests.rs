//! The HTTP side, over real sockets and without any client library: what is on the wire is what counts.

use std::fmt::Write as _;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use http::Request;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::task::JoinHandle;
use tokio::time::{Instant, timeout};

use super::testing::{cams, rtc, settled_week, simulator};
use super::*;

const DAYS: &str = "Start=1785513600000&End=1786118400000";
const METRIC: &str = "GetChatappPhoneNumberMetric";

struct Served {
    simulator: Arc<Simulator>,
    address: SocketAddr,
    stop: oneshot::Sender<()>,
    task: JoinHandle<io::Result<()>>,
}

async fn served() -> Served {
    let simulator = simulator(|_| ());
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    let (stop, stopped) = oneshot::channel();
    let until = async {
        // A test that drops the sender wants the server to go on.
        if stopped.await.is_err() {
            std::future::pending::<()>().await;
        }
    };
    let task = tokio::spawn(serve(Arc::clone(&simulator), listener, until));
    Served { simulator, address, stop, task }
}

/// Sends a request as it is signed and reads until the connection ends.
async fn raw(address: SocketAddr, request: &Request<Bytes>) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    let target = request.uri().path_and_query().map_or("/", http::uri::PathAndQuery::as_str);
    let mut text = format!("{} {target} HTTP/1.1\r\n", request.method());
    for (name, value) in request.headers() {
        write!(text, "{name}: {}\r\n", value.to_str().unwrap()).unwrap();
    }
    write!(text, "content-length: {}\r\nconnection: close\r\n\r\n", request.body().len()).unwrap();
    stream.write_all(text.as_bytes()).await?;
    stream.write_all(request.body()).await?;
    let mut reply = Vec::new();
    let read = stream.read_to_end(&mut reply).await;
    let reply = String::from_utf8(reply).unwrap();
    if reply.is_empty() { read.map(|_| reply) } else { Ok(reply) }
}

async fn ask(address: SocketAddr, request: &Request<Bytes>) -> (u16, Value) {
    let reply = raw(address, request).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let status = head.split(' ').nth(1).unwrap().parse().unwrap();
    (status, serde_json::from_str(body).unwrap_or(Value::Null))
}

fn control(method: &str, path: &str, body: &str) -> Request<Bytes> {
    let uri = format!("http://sim/_sim/{path}");
    Request::builder().method(method).uri(uri).header("host", "sim").body(Bytes::from(body.to_owned())).unwrap()
}

#[tokio::test]
async fn both_vendors_answer_on_one_port_and_are_told_apart() {
    let Served { simulator, address, stop, task } = served().await;
    let (status, body) = ask(address, &cams(METRIC, DAYS)).await;
    assert_eq!((status, &body["Code"]), (200, &json!("OK")));
    let (status, body) = ask(address, &rtc("2020-12-01", &settled_week())).await;
    assert_eq!((status, &body["Result"]["Name"]), (200, &json!("user_num")));
    assert_eq!((simulator.calls(METRIC), simulator.calls("ListOperationDistribution")), (1, 1));
    stop.send(()).unwrap();
    task.await.unwrap().unwrap();
}

#[tokio::test]
async fn the_control_path_tells_adds_faults_and_starts_over() {
    let Served { address, .. } = served().await;
    let order = json!({ "fault": { "refuse": { "status": 403, "code": "Forbidden.RAM" } },
                        "operation": METRIC, "times": 1 });
    assert_eq!(ask(address, &control("POST", "faults", &order.to_string())).await.0, 204);
    assert_eq!(ask(address, &control("GET", "faults", "")).await.1, json!([order]));
    assert_eq!(ask(address, &cams(METRIC, DAYS)).await.1["Code"], "Forbidden.RAM");
    assert_eq!(ask(address, &cams(METRIC, DAYS)).await.0, 200);

    let (_, arrivals) = ask(address, &control("GET", "arrivals", "")).await;
    assert_eq!((&arrivals[0]["outcome"], &arrivals[1]["outcome"]), (&json!("FAULTED"), &json!("ANSWERED")));
    assert_eq!((&arrivals[0]["account"], &arrivals[0]["vendor"]), (&json!("weir-demo"), &json!("ALIBABA_CAMS")));
    assert_eq!(arrivals[0]["start"], "2026-07-31T16:00:00Z");
    let (_, stats) = ask(address, &control("GET", "stats", "")).await;
    assert_eq!((&stats[0]["calls"], &stats[0]["throttled"]), (&json!(2), &json!(0)));

    for wrong in ["", "{\"fault\": \"gremlins\"}", "{\"fault\": \"hang\", \"vendor\": \"ACME\"}"] {
        let (code, body) = ask(address, &control("POST", "faults", wrong)).await;
        assert!(code == 400 && body["error"].is_string(), "{wrong}");
    }
    assert_eq!(ask(address, &control("POST", "faults", "{\"fault\": \"hang\"}")).await.0, 204);
    assert_eq!(ask(address, &control("DELETE", "faults", "")).await.0, 204);
    assert_eq!(ask(address, &control("GET", "faults", "")).await.1, json!([]));
    assert_eq!(ask(address, &control("POST", "reset", "")).await.0, 204);
    assert_eq!(ask(address, &control("GET", "arrivals", "")).await.1, json!([]));
    assert_eq!(ask(address, &control("GET", "nothing", "")).await.0, 404);
}

#[tokio::test]
async fn connection_faults_are_acted_out_on_the_socket() {
    let Served { simulator, address, .. } = served().await;
    let push = |fault| simulator.faults().push(fault, Scope::Everything, Times::Next(1));
    for (fault, arrived) in [(Fault::ResetBeforeArrival, 0), (Fault::ConnectRefused, 0), (Fault::ResetAfterArrival, 1)]
    {
        push(fault.clone());
        let ended = raw(address, &cams(METRIC, DAYS)).await;
        assert_eq!(ended.unwrap_err().kind(), io::ErrorKind::ConnectionReset, "{fault:?}");
        assert_eq!(simulator.calls(METRIC), arrived, "{fault:?}");
    }
    push(Fault::BrokenBody);
    let reply = raw(address, &cams(METRIC, DAYS)).await.unwrap();
    let (head, body) = reply.split_once("\r\n\r\n").unwrap();
    let length: usize = head.lines().find_map(|line| line.strip_prefix("content-length: ")).unwrap().parse().unwrap();
    assert!(!body.is_empty() && body.len() < length, "{} of {length}", body.len());

    push(Fault::SlowBody(Duration::from_millis(60)));
    let asked = Instant::now();
    assert_eq!(ask(address, &cams(METRIC, DAYS)).await.1["Code"], "OK");
    assert!(asked.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn an_early_status_and_an_early_reset_are_followed_by_the_arrival() {
    let Served { simulator, address, .. } = served().await;
    let soon = Duration::from_millis(20);
    simulator.faults().push(Fault::StatusEarly { status: 504, arrival: soon }, Scope::Everything, Times::Next(1));
    assert_eq!(ask(address, &cams(METRIC, DAYS)).await.0, 504);
    simulator.faults().push(Fault::ResetEarly(soon), Scope::Everything, Times::Next(1));
    assert!(raw(address, &cams(METRIC, DAYS)).await.is_err());
    let arrived = async {
        while simulator.calls(METRIC) < 2 {
            tokio::task::yield_now().await;
        }
    };
    timeout(Duration::from_secs(5), arrived).await.unwrap();
}

#[tokio::test]
async fn a_hanging_request_hangs_until_the_server_stops() {
    let Served { simulator, address, stop, task } = served().await;
    simulator.faults().push(Fault::Hang, Scope::Everything, Times::ForEver);
    let hanging = tokio::spawn(async move { raw(address, &cams(METRIC, DAYS)).await });
    while simulator.calls(METRIC) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(!hanging.is_finished());
    stop.send(()).unwrap();
    timeout(Duration::from_secs(5), task).await.unwrap().unwrap().unwrap();
    assert!(hanging.await.unwrap().is_err());
}

#[tokio::test]
async fn a_body_without_end_is_refused() {
    let Served { address, .. } = served().await;
    let huge = Request::post("http://sim/").header("host", "sim").body(Bytes::from(vec![b'x'; 2 << 20])).unwrap();
    // The server may close before all of it is written.
    if let Ok(reply) = raw(address, &huge).await {
        assert!(reply.starts_with("HTTP/1.1 413"), "{reply}");
    }
}
