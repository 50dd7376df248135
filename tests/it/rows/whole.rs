//! What is said to be whole and final is: nothing is left out, and nothing that may change has a name that stays.

use std::collections::BTreeMap;
use std::time::Duration;

use axum::body::Body;
use axum::http::{Method, Request, Version};
use http_body_util::BodyExt;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};
use tower::ServiceExt;
use weir::config::Config;

use super::{FORMATS, door, frame, get, get_with, send};
use crate::support::{DISTRIBUTION, METRIC, TestGateway};

#[tokio::test(start_paused = true)]
async fn windows_that_the_vendor_no_longer_answers_are_an_error_and_not_left_out() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    for format in FORMATS {
        for (dataset, more) in
            [("operation_distributions", ""), ("measurements", ""), ("operation_distributions", "&limit=9")]
        {
            let got = get(&site, &format!("/rows/{dataset}.{format}?last=P60D{more}")).await;
            assert_eq!((got.status, got.code().as_str()), (400, "OUT_OF_RETENTION"), "{dataset}.{format}");
            assert!(got.json()["detail"].as_str().unwrap().contains("30 days"), "{got:?}");
        }
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

#[tokio::test(start_paused = true)]
async fn a_week_that_is_too_long_for_the_vendor_is_an_error_and_not_left_out() {
    let zone = |config: &mut Config| config.volcengine_rtc[0].time_zone = "America/New_York".parse().unwrap();
    // The week from 26 October on has the hour that is passed twice.
    let gateway = TestGateway::builder().now("2026-11-10T12:00:00Z").config(zone).build();
    let site = door(&gateway);
    for format in FORMATS {
        let got = get(&site, &format!("/rows/operation_distributions.{format}?last=P20D&window=P7D")).await;
        assert_eq!((got.status, got.code().as_str()), (400, "RANGE_TOO_LONG"), "{format}");
    }
    assert_eq!(gateway.calls(DISTRIBUTION), 0);
}

#[tokio::test(start_paused = true)]
async fn who_cannot_tell_a_cut_answer_from_a_whole_one_gets_none_that_could_be_cut() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let old = async |uri: &str| {
        let request = Request::builder().version(Version::HTTP_10).uri(uri).header("host", "localhost");
        let response = site.clone().oneshot(request.body(Body::empty()).unwrap()).await.unwrap();
        let (status, length) = (response.status().as_u16(), response.headers().contains_key("content-length"));
        let body = response.into_body().collect().await.unwrap().to_bytes();
        (status, length, String::from_utf8_lossy(&body).into_owned())
    };
    let (status, _, told) = old("/rows/operation_distributions.csv?last=P20D").await;
    assert!(status == 505 && told.contains("HTTP/1.1"), "{status} {told}");
    let (status, has_length, text) = old("/rows/operation_distributions.csv?last=P1D&app_id=app-one").await;
    assert!(status == 200 && has_length && text.lines().count() > 10, "{status} {text}");
}

#[tokio::test(start_paused = true)]
async fn totals_that_changed_since_are_there_whatever_else_is_under_them() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_totals.json?start=2026-11-01T00:00:00Z&end=2026-11-22T10:00:00Z&max_stale=PT0S";
    let before = get(&site, uri).await.json();
    // What is final stays as it was fetched; the last days are fetched again.
    sleep(Duration::from_hours(2)).await;
    let since = gateway.now();
    let whole = get(&site, uri).await.json();
    let oldest = whole["rows"][0]["fetched_at"].as_str().unwrap();
    assert!(*oldest < *since.to_string() && before["rows"][0]["fetched_at"] == whole["rows"][0]["fetched_at"]);
    let changed = get(&site, &format!("{uri}&updated_since={since}")).await.json();
    assert_eq!(changed["rows"], whole["rows"]);
    sleep(Duration::from_secs(1)).await;
    let none = get(&site, &format!("{}&updated_since={}", uri.replace("PT0S", "PT1H"), gateway.now())).await.json();
    assert_eq!(none["rows"], json!([]), "nothing was fetched since");
}

#[tokio::test(start_paused = true)]
async fn what_may_still_change_has_no_name_though_it_is_final_when_it_has_been_sent() {
    let stale = |config: &mut Config| {
        config.cache.max_stale = Duration::from_hours(100);
        config.cache.stale_while_refresh = Duration::from_hours(100);
    };
    for format in FORMATS {
        let gateway = TestGateway::builder().legs(20..80, 20..80).config(stale).build();
        let site = door(&gateway);
        let of = |apps: &str| {
            format!("/rows/operation_distributions.{format}?start=2026-11-20T16:00:00Z&end=2026-11-22T10:00:00Z{apps}")
        };
        let (one, both) = (of("&app_id=app-one"), of("&app_id=app-one&app_id=app-two"));
        let types = super::types(&site, "operation_distributions").await;
        let provisional =
            |got: &super::Got| frame(format, got, &types).iter().filter(|row| row["finality"] == "PROVISIONAL").count();
        assert!(provisional(&get(&site, &one).await) > 0);
        // The windows are settled by now. What is held of them is not, and is answered while it is fetched again: that is
        // done when the last window of the other application is there.
        sleep(Duration::from_hours(72)).await;
        assert!(provisional(&get(&site, &one).await) > 0 || format == "parquet");
        let stale = get(&site, &both).await;
        assert!(provisional(&stale) > 0, "{format}: it was answered as it was held");
        if format != "parquet" {
            assert_eq!(stale.header("etag"), "", "{format}: provisional rows have a name that stays");
        }
        sleep(Duration::from_mins(3)).await;
        let both = format!("{both}&max_stale=PT0S");
        let last = get(&site, &both).await;
        assert!(provisional(&last) == 0 && !last.header("etag").is_empty(), "{format}: {last:?}");
        let known = get_with(&site, &both, &[("if-none-match", last.header("etag"))]).await;
        assert_eq!(known.status, 304, "{format}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_cursor_of_other_channels_and_applications_is_refused() {
    let [one, other] = [vec!["app-one", "app-two"], vec!["app-zero", "app-one", "app-two"]].map(|apps| {
        let apps = |config: &mut Config| config.volcengine_rtc[0].apps = apps.iter().map(|app| (*app).into()).collect();
        TestGateway::builder().config(apps).build()
    });
    let first = get(&door(&one), "/rows/operation_distributions.json?last=P2D&limit=40").await.json();
    let uri = format!("/rows/operation_distributions.json?cursor={}", first["next"].as_str().unwrap());
    assert_eq!(get(&door(&one), &uri).await.status, 200);
    let refused = get(&door(&other), &uri).await;
    assert_eq!((refused.status, refused.code().as_str()), (400, "BAD_USER_INPUT"));
    assert!(refused.json()["detail"].as_str().unwrap().contains("begin anew"), "{refused:?}");
    assert_eq!(other.calls(DISTRIBUTION), 0);
}

#[tokio::test(start_paused = true)]
async fn a_parquet_file_is_the_answer_to_its_question_and_no_older_than_it_may_be() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_metrics.parquet?last=P2D&granularity=DAILY";
    let first = get(&site, uri).await;
    let calls = gateway.calls(METRIC);
    let (etag, same) =
        (first.header("etag"), "/rows/phone_number_metrics.parquet?granularity=DAILY&max_wait=PT5S&last=P2D");
    assert_eq!(get_with(&site, same, &[("if-none-match", etag)]).await.status, 304, "the same was asked otherwise");
    assert_eq!(get_with(&site, same, &[("if-match", etag)]).await.status, 200);
    assert_eq!(get_with(&site, same, &[("if-match", "\"another\"")]).await.status, 412);
    sleep(Duration::from_secs(30)).await;
    assert_eq!((get(&site, uri).await.header("etag"), gateway.calls(METRIC)), (etag, calls), "it is kept for a while");
    let fresh = get(&site, &format!("{uri}&max_stale=PT0S")).await;
    let newest = |got: &super::Got| {
        frame("parquet", got, &BTreeMap::new()).iter().map(|row| row["fetched_at"].to_string()).max().unwrap()
    };
    assert!(newest(&fresh) >= newest(&first));
    sleep(Duration::from_mins(20)).await;
    assert_eq!(get(&site, &format!("{uri}&max_stale=PT0S")).await.status, 200);
    assert!(gateway.calls(METRIC) > calls, "what may be no older was asked for again");
}

#[tokio::test(start_paused = true)]
async fn files_that_take_long_keep_nobody_from_one_that_is_there() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let held = "/rows/phone_number_metrics.parquet?last=P2D&cust_space_id=cams-alpha";
    assert_eq!(get(&site, &held.replace(".parquet", ".csv")).await.status, 200);
    for n in 0..16 {
        let uri = format!("/rows/operation_distributions.parquet?last=P{}D&window=PT{}H", 20 + n % 8, [1, 2][n / 8]);
        let gone = timeout(Duration::from_millis(300), send(&site, Method::HEAD, &uri, &[])).await;
        assert!(gone.is_err(), "{uri} was there at once");
    }
    let more = get(&site, "/rows/operation_distributions.parquet?last=P9D&window=PT3H").await;
    assert_eq!((more.status, more.json()["detail"].as_str().unwrap().contains("other Parquet files")), (503, true));
    assert_eq!(get(&site, held).await.status, 200, "it needs no call");
    // Nobody comes back for the others.
    sleep(Duration::from_mins(5)).await;
    let calls = gateway.calls(DISTRIBUTION);
    sleep(Duration::from_mins(5)).await;
    assert_eq!(gateway.calls(DISTRIBUTION), calls, "calls are made for nobody");
}

#[tokio::test(start_paused = true)]
async fn a_page_is_asked_for_with_as_much_again_as_it_has_used() {
    let gateway = TestGateway::builder().legs(20..80, 20..80).build();
    let site = door(&gateway);
    let small = get(&site, "/rows/operation_distributions.json?last=P20D&app_id=app-one&limit=5").await.json();
    assert_eq!((small["rows"].as_array().map(Vec::len), gateway.calls(DISTRIBUTION)), (Some(5), 1));
    let next: &Value = &small["next"];
    assert!(next.is_string());
}

#[tokio::test(start_paused = true)]
async fn a_parquet_file_from_before_the_zone_was_known_is_not_given_again() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_metrics.parquet?last=P3D&granularity=HALF_HOUR&cust_space_id=cams-alpha";
    let dates = async || {
        let rows = frame("parquet", &get(&site, uri).await, &BTreeMap::new());
        rows.iter().filter(|row| !row["date"].is_null()).count()
    };
    assert_eq!(dates().await, 0, "half hours do not show where days begin");
    assert_eq!(get(&site, "/rows/phone_number_metrics.csv?last=P3D&cust_space_id=cams-alpha").await.status, 200);
    assert!(dates().await > 100, "days do");
}
