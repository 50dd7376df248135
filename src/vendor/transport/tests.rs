//! The transport against bare sockets on loopback, with the ending that each exchange leaves in its permit.

use std::net::SocketAddr;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::quota::Ending;

/// Long enough to be never reached by an exchange that works.
const AMPLE: Duration = Duration::from_secs(30);
/// The only real time a test here waits.
const BRIEF: Duration = Duration::from_millis(60);

const PHONE: &str = "8613800001234";

fn transport(timeout: Duration, max_reply_bytes: usize) -> HttpTransport {
    HttpTransport::new(AMPLE, timeout, AMPLE, max_reply_bytes).unwrap()
}

fn request(to: SocketAddr) -> Request {
    http::Request::post(format!("http://{to}/?PhoneNumber={PHONE}"))
        .header("host", to.to_string())
        .body(Bytes::new())
        .unwrap()
}

/// A server that answers one connection: reads the request's head, then does as it is told.
async fn serve<F, Fut>(answer: F) -> (SocketAddr, tokio::task::JoinHandle<String>)
where
    F: FnOnce(TcpStream) -> Fut + Send + 'static,
    Fut: Future<Output = ()> + Send,
{
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(socket.read_u8().await.unwrap());
        }
        answer(socket).await;
        String::from_utf8(head).unwrap()
    });
    (at, server)
}

async fn hang(_open: TcpStream) {
    std::future::pending::<()>().await;
}

async fn serve_bytes(bytes: &'static str) -> (SocketAddr, tokio::task::JoinHandle<String>) {
    serve(move |mut socket| async move { socket.write_all(bytes.as_bytes()).await.unwrap() }).await
}

#[tokio::test]
async fn a_reply_ends_the_permit_with_its_head() {
    let (at, server) = serve_bytes("HTTP/1.1 403 Forbidden\r\nx-a: b\r\ncontent-length: 2\r\n\r\nno").await;
    let mut permit = Permit::uncounted();
    let reply = transport(AMPLE, 2).send(request(at), &mut permit).await.unwrap();
    assert_eq!((reply.status().as_u16(), reply.body().as_ref()), (403, b"no".as_slice()));
    assert_eq!(reply.headers()["x-a"], "b");
    assert!(matches!(permit.ending(), Ending::HeadRead(_)));

    let head = server.await.unwrap().to_lowercase();
    assert!(head.starts_with(&format!("post /?phonenumber={PHONE} http/1.1\r\n")), "{head}");
    assert!(head.contains("\r\ncontent-length: 0\r\n"), "{head}");
    assert_eq!(head.matches("\r\nhost: ").count(), 1, "{head}");
    assert!(!head.contains("content-type"), "{head}");
}

#[tokio::test]
async fn a_redirect_is_a_reply_like_any_other() {
    let (at, _server) =
        serve_bytes("HTTP/1.1 307 Elsewhere\r\nlocation: http://127.0.0.1:1/\r\ncontent-length: 0\r\n\r\n").await;
    let reply = transport(AMPLE, 9).send(request(at), &mut Permit::uncounted()).await.unwrap();
    assert_eq!(reply.status().as_u16(), 307);
}

#[tokio::test]
async fn a_reset_before_the_head_proves_nothing_and_is_not_sent_again() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    let server = tokio::spawn(async move {
        let (mut socket, _) = listener.accept().await.unwrap();
        socket.read_u8().await.unwrap();
        drop(socket); // unread bytes make this a reset
        listener
    });
    let mut permit = Permit::uncounted();
    let error = transport(AMPLE, 9).send(request(at), &mut permit).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains(PHONE), "{error}");
    assert_eq!(permit.ending(), Ending::Unknown);
    let again = tokio::time::timeout(BRIEF, server.await.unwrap().accept()).await;
    assert!(again.is_err(), "a second connection came");
}

#[tokio::test]
async fn a_refused_connection_wrote_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let at = listener.local_addr().unwrap();
    drop(listener);
    let mut permit = Permit::uncounted();
    let error = transport(AMPLE, 9).send(request(at), &mut permit).await.unwrap_err();
    assert!(matches!(error, TransportError::NotConnected(_)), "{error}");
    assert!(!format!("{error} {error:?}").contains(PHONE), "{error}");
    assert_eq!(permit.ending(), Ending::NotWritten);
}

#[tokio::test]
async fn a_hang_before_the_head_times_out_and_proves_nothing() {
    let (at, server) = serve(hang).await;
    let mut permit = Permit::uncounted();
    let error = transport(BRIEF, 9).send(request(at), &mut permit).await.unwrap_err();
    assert!(matches!(error, TransportError::TimedOut), "{error}");
    assert_eq!(permit.ending(), Ending::Unknown);
    server.abort();
}

#[tokio::test]
async fn the_time_limit_holds_for_the_body_too() {
    let (at, server) = serve(|mut socket| async move {
        socket.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\nhalf").await.unwrap();
        std::future::pending::<()>().await;
    })
    .await;
    let mut permit = Permit::uncounted();
    let error = transport(BRIEF, 9).send(request(at), &mut permit).await.unwrap_err();
    assert!(matches!(error, TransportError::TimedOut), "{error}");
    assert!(matches!(permit.ending(), Ending::HeadRead(_)));
    server.abort();
}

#[tokio::test]
async fn a_dropped_send_proves_nothing() {
    let (seen, wait) = tokio::sync::oneshot::channel();
    let (at, server) = serve(|socket| {
        seen.send(()).unwrap();
        hang(socket)
    })
    .await;
    let mut permit = Permit::uncounted();
    let transport = transport(AMPLE, 9);
    tokio::select! {
        reply = transport.send(request(at), &mut permit) => panic!("{reply:?}"),
        seen = wait => seen.unwrap(),
    }
    assert_eq!(permit.ending(), Ending::Unknown);
    server.abort();
}

#[tokio::test]
async fn a_body_over_the_bound_is_refused_whether_announced_or_streamed() {
    for reply in [
        "HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123456789",
        "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n",
    ] {
        let (at, _server) = serve_bytes(reply).await;
        let mut permit = Permit::uncounted();
        let error = transport(AMPLE, 9).send(request(at), &mut permit).await.unwrap_err();
        assert!(matches!(error, TransportError::TooLong(9)), "{error}");
        assert!(matches!(permit.ending(), Ending::HeadRead(_)));

        let (at, _server) = serve_bytes(reply).await;
        let reply = transport(AMPLE, 10).send(request(at), &mut Permit::uncounted()).await.unwrap();
        assert_eq!(reply.body().as_ref(), b"0123456789");
    }
}

#[tokio::test]
async fn a_body_in_crumbs_is_given_up_and_one_in_ordinary_pieces_is_read() {
    let chunked = |size: usize, n: usize| {
        let piece = format!("{size:x}\r\n{}\r\n", "x".repeat(size));
        let reply = format!("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n{}0\r\n\r\n", piece.repeat(n));
        serve(move |mut socket| async move {
            // Whoever has heard enough hangs up.
            let _heard = socket.write_all(reply.as_bytes()).await;
        })
    };
    let (at, _server) = chunked(1, 1_000_000).await;
    let mut permit = Permit::uncounted();
    let error = transport(AMPLE, 9_000_000).send(request(at), &mut permit).await.unwrap_err();
    assert!(matches!(error, TransportError::Crumbled), "{error}");
    assert!(matches!(permit.ending(), Ending::HeadRead(_)));
    for (size, n) in [(1, 4_000), (300, 20_000)] {
        let (at, _server) = chunked(size, n).await;
        let reply = transport(AMPLE, 9_000_000).send(request(at), &mut Permit::uncounted()).await.unwrap();
        assert_eq!(reply.body().len(), size * n);
    }
}

#[tokio::test]
async fn a_head_without_end_or_measure_is_given_up() {
    let header = |n: usize, length: usize| format!("x-{n}: {}\r\n", "y".repeat(length));
    let many: String = (0..200).map(|n| header(n, 10)).collect();
    let long: String = (0..90).map(|n| header(n, 10_000)).collect();
    for head in
        [format!("HTTP/1.1 200 OK\r\n{many}\r\n"), format!("HTTP/1.1 200 OK\r\n{long}"), "no head\r\n\r\n".to_owned()]
    {
        let (at, _server) = serve(move |mut socket| async move {
            let _heard = socket.write_all(head.as_bytes()).await;
            hang(socket).await;
        })
        .await;
        let mut permit = Permit::uncounted();
        let error = transport(AMPLE, 99).send(request(at), &mut permit).await.unwrap_err();
        assert!(matches!(error, TransportError::BadHead(_)), "{error}");
        assert!(!format!("{error} {error:?}").contains(PHONE), "{error}");
        assert_eq!(permit.ending(), Ending::Unknown);
    }
}

#[tokio::test]
async fn a_compressed_reply_is_not_asked_for_and_not_unpacked() {
    let (at, server) = serve_bytes("HTTP/1.1 200 OK\r\ncontent-encoding: gzip\r\ncontent-length: 4\r\n\r\nzip!").await;
    let reply = transport(AMPLE, 9).send(request(at), &mut Permit::uncounted()).await.unwrap();
    assert_eq!(reply.body().as_ref(), b"zip!");
    assert!(!server.await.unwrap().to_lowercase().contains("accept-encoding"));
}

#[tokio::test]
async fn a_body_cut_short_is_broken() {
    let (at, _server) = serve_bytes("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\n0123").await;
    let error = transport(AMPLE, 99).send(request(at), &mut Permit::uncounted()).await.unwrap_err();
    assert!(matches!(error, TransportError::Broken(_)), "{error}");
}

#[tokio::test]
async fn a_proxys_status_does_not_prove_arrival() {
    for status in [408, 499, 502, 504] {
        let (at, _server) = serve(move |mut socket| async move {
            let reply = format!("HTTP/1.1 {status} No\r\ncontent-length: 0\r\n\r\n");
            socket.write_all(reply.as_bytes()).await.unwrap();
        })
        .await;
        let mut permit = Permit::uncounted();
        let reply = transport(AMPLE, 9).send(request(at), &mut permit).await.unwrap();
        assert_eq!((reply.status().as_u16(), permit.ending()), (status, Ending::Unknown));
    }
}

#[test]
fn lost_exchanges_have_one_meaning_for_every_vendor() {
    for (error, kind) in [
        (TransportError::NotConnected(String::new()), CallErrorKind::Unavailable),
        (TransportError::Broken(String::new()), CallErrorKind::Unavailable),
        (TransportError::TimedOut, CallErrorKind::TimedOut),
        (TransportError::TooLong(1), CallErrorKind::BadReply),
        (TransportError::BadHead(String::new()), CallErrorKind::BadReply),
        (TransportError::Crumbled, CallErrorKind::BadReply),
    ] {
        assert_eq!(error.into_call_error(Vendor::AlibabaCams).kind, kind);
    }
}
