//! Walks over pages lose no row and double none, whatever happens between two pages.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Map, Value};
use weir::http::Site;

use super::{Frame, door, frame, get, text};
use crate::support::TestGateway;

/// All pages, and what is done between them.
async fn walk(site: &Site, dataset: &str, query: &str, mut between: impl AsyncFnMut()) -> Vec<Frame> {
    let mut pages = Vec::new();
    let mut uri = format!("/rows/{dataset}.json?{query}");
    loop {
        let got = get(site, &uri).await;
        let next = got.json()["next"].as_str().map(str::to_owned);
        let link = next.as_ref().map(|next| format!("</rows/{dataset}.json?cursor={next}>; rel=\"next\""));
        assert_eq!(got.header("link"), link.unwrap_or_default());
        pages.push(frame("json", &got, &BTreeMap::new()));
        let Some(next) = next else { return pages };
        uri = format!("/rows/{dataset}.json?cursor={next}");
        between().await;
    }
}

/// What no two rows of an answer share.
fn keys(rows: &Frame, dataset: &str) -> Vec<String> {
    let columns: &[&str] = match dataset {
        "phone_number_metrics" => &["cust_space_id", "phone_number", "granularity", "start_time"],
        "phone_number_totals" => &["cust_space_id", "phone_number", "start_time"],
        "operation_distributions" => &["app_id", "dimension", "start_time", "end_time", "distribution_name"],
        _ => &["vendor", "entity", "metric", "dimension", "name", "start_time", "end_time"],
    };
    let key =
        |row: &Map<String, Value>| columns.iter().map(|name| row[*name].to_string()).collect::<Vec<_>>().join(" ");
    rows.iter().map(key).collect()
}

const ASKED: [(&str, &str); 5] = [
    ("phone_number_metrics", "last=P9D"),
    ("phone_number_metrics", "last=P3D&granularity=HALF_HOUR"),
    ("operation_distributions", "last=P4D&window=PT12H"),
    ("phone_number_totals", "last=P20D&period=DAY&by=CHANNEL,PHONE_NUMBER&time_zone=UTC&granularity=HALF_HOUR"),
    ("measurements", "last=P3D"),
];

#[tokio::test(start_paused = true)]
async fn pages_put_together_are_the_whole() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let mut rng = StdRng::seed_from_u64(77);
    for (dataset, query) in ASKED {
        let whole = frame("json", &get(&site, &format!("/rows/{dataset}.json?{query}")).await, &BTreeMap::new());
        let unique: BTreeSet<String> = keys(&whole, dataset).into_iter().collect();
        assert_eq!(unique.len(), whole.len(), "{dataset}: the key tells rows apart");
        let limits = [1.max(whole.len() / 40), rng.random_range(5..200), whole.len() - 1, whole.len(), whole.len() + 1];
        for limit in limits {
            let pages = walk(&site, dataset, &format!("{query}&limit={limit}"), async || {}).await;
            assert!(pages.iter().rev().skip(1).all(|page| page.len() == limit), "{dataset} by {limit}");
            let without = |rows: Frame| -> Frame {
                let blank = |mut row: Map<String, Value>| {
                    row.remove("source");
                    row
                };
                rows.into_iter().map(blank).collect()
            };
            assert_eq!(without(pages.concat()), without(whole.clone()), "{dataset} by {limit}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn a_walk_over_slices_that_refresh_keeps_its_window_and_its_rows() {
    for seed in 0..6 {
        let gateway = TestGateway::builder().seed(seed).build();
        let site = door(&gateway);
        let mut rng = StdRng::seed_from_u64(seed);
        for (dataset, query) in ASKED.into_iter().filter(|(dataset, _)| *dataset != "phone_number_totals") {
            let before = frame("json", &get(&site, &format!("/rows/{dataset}.json?{query}")).await, &BTreeMap::new());
            let limit = rng.random_range(20..150);
            // What is provisional is fetched anew, and counts on, between any two pages.
            let pages = walk(&site, dataset, &format!("{query}&limit={limit}"), async || {
                tokio::time::sleep(Duration::from_secs(rng.random_range(60..4_000))).await;
            })
            .await;
            let (before, walked) = (keys(&before, dataset), keys(&pages.concat(), dataset));
            let unique: BTreeSet<&String> = walked.iter().collect();
            assert_eq!(unique.len(), walked.len(), "{dataset}, seed {seed}: a row came twice");
            let lost: Vec<_> = before.iter().filter(|key| !unique.contains(key)).collect();
            assert!(lost.is_empty(), "{dataset}, seed {seed}: lost {lost:?}");
        }
    }
}

#[tokio::test(start_paused = true)]
async fn cursors_go_on_where_they_were_made_alone() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let page = get(&site, "/rows/phone_number_metrics.json?last=P2D&limit=2&columns=phone_number").await.json();
    let cursor = text(&page["next"]);
    let goes_on = get(&site, &format!("/rows/phone_number_metrics.json?cursor={cursor}")).await.json();
    assert_eq!(goes_on["columns"], page["columns"]);
    assert_eq!(goes_on["rows"].as_array().unwrap().len(), 2);
    let mut refused = vec![
        format!("/rows/phone_number_metrics.csv?cursor={cursor}"),
        format!("/rows/operation_distributions.json?cursor={cursor}"),
        format!("/rows/phone_number_metrics.json?cursor={cursor}&last=P3D"),
        format!("/rows/phone_number_metrics.json?cursor={cursor}&cursor={cursor}"),
        "/rows/phone_number_metrics.json?cursor=".to_owned(),
        "/rows/phone_number_metrics.json?cursor=%00".to_owned(),
    ];
    let bytes = URL_SAFE_NO_PAD.decode(&cursor).unwrap();
    for at in (0..bytes.len()).step_by(7) {
        let mut damaged = bytes.clone();
        damaged[at] ^= 1;
        refused.push(format!("/rows/phone_number_metrics.json?cursor={}", URL_SAFE_NO_PAD.encode(damaged)));
    }
    for uri in refused {
        let got = get(&site, &uri).await;
        assert_eq!((got.status, got.code().as_str()), (400, "BAD_USER_INPUT"), "{uri}");
    }
    for limit in ["0", "100001", "-1", "x", ""] {
        let got = get(&site, &format!("/rows/phone_number_metrics.json?limit={limit}")).await;
        assert_eq!((got.status, got.code().as_str()), (400, "BAD_USER_INPUT"), "limit={limit}");
    }
}

#[tokio::test(start_paused = true)]
async fn only_what_was_fetched_since_comes_with_updated_since() {
    let gateway = TestGateway::start();
    let site = door(&gateway);
    let uri = "/rows/phone_number_metrics.json?last=P20D";
    let first = frame("json", &get(&site, uri).await, &BTreeMap::new());
    tokio::time::sleep(Duration::from_secs(3_600)).await;
    let since = gateway.now();
    let again = frame("json", &get(&site, uri).await, &BTreeMap::new());
    let fresh = frame("json", &get(&site, &format!("{uri}&updated_since={since}")).await, &BTreeMap::new());
    let is_new = |row: &&Map<String, Value>| row["fetched_at"].as_str().unwrap() >= since.to_string().as_str();
    assert_eq!(
        keys(&fresh, "phone_number_metrics"),
        keys(&again.iter().filter(is_new).cloned().collect(), "phone_number_metrics")
    );
    assert!(!fresh.is_empty() && fresh.len() < first.len(), "{} of {}", fresh.len(), first.len());
    // The `+` of an offset that nobody encoded arrives as a blank.
    let offset = get(&site, &format!("{uri}&updated_since=2026-11-22T18:20:30+08:00")).await;
    assert_eq!(offset.status, 200, "{offset:?}");
}
