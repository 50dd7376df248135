//! A vendor that fails half way: nobody takes a part for the whole.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::http::Method;
use http_body_util::BodyExt;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use tokio::time::sleep;
use weir::sim::{Fault, Scope, Times};

use super::{door, frame, get, get_with, send};
use crate::support::TestGateway;
use crate::support::failures::failures;

/// About 24 calls of one application, at two a second.
const ASKED: &str = "last=P6D&window=PT6H&app_id=app-one";

fn of_formats(path: &str) -> [String; 4] {
    ["csv", "json", "jsonl", "parquet"].map(|format| format!("/rows/{path}.{format}?{ASKED}"))
}

#[tokio::test(start_paused = true)]
async fn a_vendor_that_fails_at_any_moment_is_an_error_or_a_cut_connection() {
    let whole = {
        let gateway = TestGateway::builder().legs(20..80, 20..80).build();
        let site = door(&gateway);
        let got = get(&site, &of_formats("operation_distributions")[1]).await;
        frame("json", &got, &BTreeMap::new()).len()
    };
    let faults = failures();
    let (mut refused, mut cut, mut complete) = (0, 0, 0);
    for seed in 0..200_u64 {
        let mut rng = StdRng::seed_from_u64(seed);
        let gateway = TestGateway::builder().legs(20..80, 20..80).seed(seed).build();
        let site = door(&gateway);
        let fault = faults[rng.random_range(0..faults.len())].clone();
        let (uri, what) = {
            let format = rng.random_range(0..4);
            let uri = of_formats("operation_distributions")[format].clone();
            (uri, format!("seed {seed}: {fault:?}"))
        };
        let moment = Duration::from_millis(rng.random_range(0..14_000));
        let compressed: &[(&str, &str)] = if rng.random() { &[("accept-encoding", "gzip")] } else { &[] };
        let failing = async {
            sleep(moment).await;
            gateway.sim().faults().push(fault, Scope::Everything, Times::ForEver);
        };
        let (got, ()) = tokio::join!(get_with(&site, &uri, compressed), failing);
        match (got.status, got.is_whole) {
            (200, true) => {
                complete += 1;
                assert!(moment > Duration::from_secs(11), "{what} at {moment:?}, and nothing failed");
            }
            (200, false) => cut += 1,
            (status, _) => {
                assert!(status >= 500, "{what}: {status}");
                assert_eq!(got.header("content-type"), "application/problem+json", "{what}");
                refused += 1;
            }
        }
        assert!(got.is_whole || got.header("content-length").is_empty(), "{what}: a length was promised");
        assert!(got.is_whole || got.header("etag").is_empty(), "{what}: what failed has a name");
    }
    assert!(refused > 20 && cut > 40 && complete > 3, "{refused} refused, {cut} cut, {complete} complete");
    assert!(whole > 100, "{whole}");
}

#[tokio::test(start_paused = true)]
async fn the_codes_of_failures_have_their_statuses() {
    for (fault, status, code) in [
        (Fault::PermissionDenied, 502, "VENDOR_DENIED"),
        (Fault::NotSubscribed, 502, "NOT_SUBSCRIBED"),
        (Fault::Unavailable, 502, "VENDOR_UNAVAILABLE"),
        (Fault::MalformedJson, 502, "VENDOR_BAD_REPLY"),
        (Fault::Hang, 504, "VENDOR_TIMEOUT"),
        (Fault::Throttle, 503, "VENDOR_THROTTLED"),
    ] {
        let gateway = TestGateway::start();
        gateway.sim().faults().push(fault, Scope::Everything, Times::ForEver);
        for format in ["csv", "json", "jsonl", "parquet"] {
            let uri = format!("/rows/phone_number_metrics.{format}?last=P1D&cust_space_id=cams-alpha&max_wait=PT5S");
            let got = get(&door(&gateway), &uri).await;
            let (got_status, got_code) = (got.status, got.code());
            // What keeps failing opens the breaker, which says so in another way.
            let is_closed = got_code == "VENDOR_UNAVAILABLE" || got_code == "QUOTA_WAIT_TOO_LONG";
            assert!(
                (got_status, got_code.as_str()) == (status, code) || is_closed,
                "{format}: {got_status} {got_code}"
            );
            assert_eq!(got_status == 503, !got.header("retry-after").is_empty(), "{code}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn whoever_goes_away_leaves_nothing_behind() {
    for format in ["csv", "jsonl"] {
        let gateway = TestGateway::builder().legs(20..80, 20..80).build();
        let site = door(&gateway);
        let uri = format!("/rows/operation_distributions.{format}?last=P20D&window=PT6H");
        let mut body = send(&site, Method::GET, &uri, &[]).await.into_body();
        body.frame().await.unwrap().unwrap();
        let before = gateway.sim().arrivals().len();
        drop(body);
        sleep(Duration::from_secs(60)).await;
        let after = gateway.sim().arrivals().len();
        assert!(after <= before + 2, "{format}: {before} calls, and {after} a minute after its caller went away");
    }
}
