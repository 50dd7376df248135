//! What is counted, when it is counted no more, and who is refused or cut off.

use std::net::IpAddr;

use axum::http::StatusCode;
use axum::response::IntoResponse;
use futures_util::StreamExt as _;
use futures_util::stream;
use http_body_util::BodyExt;
use tokio::time::{advance, timeout};

use super::super::load::{Haste, Load, Room};
use super::*;
use crate::domain::{Identity, Rights, Shadow, Timestamp};
use crate::telemetry::meters::Readings;

const KB: usize = 1 << 10;

fn bytes_of(answers: &Answers) -> usize {
    answers.pool.reserved()
}

fn whole(length: usize) -> Response {
    vec![b'x'; length].into_response()
}

fn meters() -> Arc<Meters> {
    Meters::new(Timestamp::from_ms(0)).unwrap()
}

fn answers(most: usize) -> Arc<Answers> {
    Answers::new(MemoryPool::new(most), meters())
}

fn to(line: Option<&Line>) -> Recipient {
    Recipient { caller: Caller::Anonymous, line: line.cloned(), bulk: None }
}

fn bulk() -> Recipient {
    let line = Line::alone(IpAddr::from([192, 0, 2, 1]));
    let room = Room { all: 9, per_caller: 0, shadow: Shadow::default() };
    let turn = Load::new(room, meters()).begin(Haste::Patient, &Caller::Anonymous);
    Recipient { caller: Caller::Anonymous, line: Some(line), bulk: turn.ok() }
}

/// Bytes count until whoever sends them has sent them, not only until they are handed over.
#[tokio::test(start_paused = true)]
async fn an_answer_counts_until_its_last_byte_is_taken() {
    let answers = answers(1_000 * KB);
    let small = answers.send(whole(Answer::SMALL), to(None));
    assert_eq!(bytes_of(&answers), 0);
    let mut first = answers.send(whole(600 * KB), to(None)).into_body();
    assert_eq!(bytes_of(&answers), 600 * KB);
    assert_eq!(first.size_hint().exact(), Some(600 << 10));
    let mut sent = first.frame().await.unwrap().unwrap().into_data().unwrap();
    drop(first);
    assert_eq!(bytes_of(&answers), 600 * KB);

    let refused = answers.send(whole(500 * KB), to(None));
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["retry-after"], "1");
    assert!(sent.split_to(300 * KB).iter().all(|byte| *byte == b'x'));
    assert_eq!(bytes_of(&answers), 600 * KB);
    drop(sent);
    assert_eq!(bytes_of(&answers), 0);
    let alone = answers.send(whole(5_000 * KB), to(None));
    assert_eq!(alone.status(), StatusCode::OK, "one alone may be as long as it is");
    drop((alone, small));
    assert_eq!(bytes_of(&answers), 0);
}

/// What was reserved while an answer was made is counted once, and is its length from now on.
#[tokio::test(start_paused = true)]
async fn what_was_reserved_while_it_was_made_goes_on_with_an_answer() {
    let answers = answers(1_000 * KB);
    let made = |reserved: usize, length: usize| {
        let reservation = answers.pool.reservation();
        assert!(reservation.try_resize(reserved, answers.pool.most()));
        let mut response = whole(length);
        response.extensions_mut().insert(Made(Arc::new(reservation)));
        response
    };
    let first = made(600 * KB, 700 * KB);
    let first = answers.send(first, to(None));
    assert_eq!((first.status(), bytes_of(&answers)), (StatusCode::OK, 700 * KB));
    let small = answers.send(made(300 * KB, Answer::SMALL), to(None));
    assert_eq!(bytes_of(&answers), 700 * KB, "little is not counted");
    drop((first, small));
    assert_eq!(bytes_of(&answers), 0);
}

#[tokio::test(start_paused = true)]
async fn rows_are_refused_first() {
    let answers = answers(1_000 * KB);
    let _other = answers.send(whole(400 * KB), to(None));
    assert!(!answers.is_short());
    let refused = answers.send(whole(200 * KB), bulk());
    assert_eq!(refused.status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(refused.headers()["content-type"], "application/problem+json");
    let mut begun = Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>()).into_response();
    begun.extensions_mut().insert(HeldBack(200 * KB));
    assert_eq!(answers.send(begun, bulk()).status(), StatusCode::SERVICE_UNAVAILABLE);
    let _more = answers.send(whole(200 * KB), to(None));
    assert!(answers.is_short());
}

/// Whoever is refused when their answer is to be sent is counted by name, at whichever door.
#[tokio::test(start_paused = true)]
async fn who_is_refused_an_answer_is_counted() {
    let meters = meters();
    let answers = Answers::new(MemoryPool::new(1_000 * KB), Arc::clone(&meters));
    let _other = answers.send(whole(900 * KB), to(None));
    let known = || Caller::known(Identity::new("dashboards", Rights::default(), None));
    let pieces = || Body::from_stream(stream::pending::<Result<Bytes, axum::Error>>()).into_response();
    let mut begun = pieces();
    begun.extensions_mut().insert(HeldBack(200 * KB));
    for (response, to) in [(whole(200 * KB), to(None)), (whole(200 * KB), bulk()), (begun, bulk())] {
        let refused = answers.send(response, Recipient { caller: known(), ..to });
        let body = refused.into_body().collect().await.unwrap().to_bytes();
        let body = String::from_utf8(body.to_vec()).unwrap();
        assert!(body.contains(r#""limitName":"held_answer_bytes""#), "{body}");
    }
    assert!(answers.admit_rows(&known()).is_err());
    let told = meters.exposition(&Readings::default());
    let line = "weir_refusals_total{caller=\"dashboards\",limit=\"held_answer_bytes\"} 4";
    assert!(told.contains(line), "{told}");
}

#[tokio::test(start_paused = true)]
async fn rows_that_are_not_read_are_made_no_further_where_room_is_short() {
    let answers = answers(1_000 * KB);
    let pieces = stream::iter(0..9).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![b'x'; 100 * KB])));
    let mut response = Body::from_stream(pieces).into_response();
    response.extensions_mut().insert(HeldBack(250 * KB));
    let mut body = answers.send(response, bulk()).into_body();
    assert_eq!(bytes_of(&answers), 250 * KB, "what was held back is counted");
    let mut sent = Vec::new();
    for counted in [250, 250, 300, 400, 500, 600] {
        sent.push(body.frame().await.unwrap().unwrap().into_data().unwrap());
        assert_eq!(bytes_of(&answers), counted * KB);
    }
    assert!(timeout(Duration::from_secs(9), body.frame()).await.is_err(), "room is short");
    let waiting = tokio::spawn(async move {
        let next = body.frame().await.unwrap().unwrap().into_data().unwrap();
        (body, next)
    });
    tokio::task::yield_now().await;
    assert!(!waiting.is_finished());
    sent.clear();
    let (mut body, next) = timeout(Duration::from_secs(9), waiting).await.unwrap().unwrap();
    drop(next);
    let mut n_pieces = 7;
    while body.frame().await.is_some() {
        n_pieces += 1;
    }
    assert_eq!((n_pieces, bytes_of(&answers)), (9, 0));
}

/// Whoever takes its last piece is given the next, however short room is for others.
#[tokio::test(start_paused = true)]
async fn who_reads_goes_on() {
    let answers = answers(100 * KB);
    let _other = answers.hold_anyway(900 * KB, None);
    let pieces = stream::iter(0..3).map(|_| Ok::<_, axum::Error>(Bytes::from(vec![b'x'; 100 * KB])));
    let mut body = answers.send(Body::from_stream(pieces).into_response(), bulk()).into_body();
    let mut length = 0;
    while let Some(frame) = body.frame().await {
        length += frame.unwrap().into_data().unwrap().len();
    }
    assert_eq!(length, 300 * KB);
}

#[tokio::test(start_paused = true)]
async fn the_answer_that_has_been_under_way_for_longest_is_cut_off_for_others() {
    let answers = answers(1_000 * KB);
    let lines: Vec<_> = (0..3).map(|n| Line::alone(IpAddr::from([192, 0, 2, n]))).collect();
    let mut under_way = Vec::new();
    for line in &lines {
        under_way.push(answers.send(whole(300 * KB), to(Some(line))));
        advance(Duration::from_secs(20)).await;
    }
    let cut = |lines: &[Line]| lines.iter().map(Line::is_cut).collect::<Vec<_>>();
    answers.not_made(&Caller::Anonymous);
    assert_eq!(cut(&lines), [true, false, false], "one is enough");
    assert_eq!(answers.send(whole(200 * KB), to(None)).status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cut(&lines), [true, false, false], "and is cut off already");
    assert_eq!(answers.send(whole(400 * KB), to(None)).status(), StatusCode::SERVICE_UNAVAILABLE);
    assert_eq!(cut(&lines), [true, true, false], "the last began just now");
}
