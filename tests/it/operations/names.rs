//! The names of metrics are fixed, and every one of them is explained.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use serde_json::json;
use tempfile::TempDir;
use tokio::time::sleep;
use weir::access::Access;
use weir::config::watch::Watched;
use weir::domain::LimitName;
use weir::domain::time::MINUTE;
use weir::http::{HttpConfig, Site, Tls};
use weir::telemetry::names::{ALL, CERTIFICATE_END, Kind, Name};

use super::Samples;
use crate::archive::watch::{begin, watch};
use crate::support::{TestGateway, certificate};

/// The line of a metric in the table of docs/operations/metrics.md.
fn line(name: &Name) -> String {
    let labels: Vec<String> = name.labels.iter().map(|label| format!("`{label}`")).collect();
    format!("| `{}` | {} | {} | {} |", name.name, name.kind.as_str(), labels.join(", "), name.help)
}

#[test]
fn the_document_has_every_metric_and_no_other() {
    let text = include_str!("../../../docs/operations/metrics.md");
    let told: Vec<&str> = text.lines().filter(|line| line.starts_with("| `")).collect();
    let expected: Vec<String> = ALL.iter().map(line).collect();
    let missing: Vec<_> = expected.iter().filter(|line| !told.contains(&line.as_str())).collect();
    assert!(missing.is_empty(), "docs/operations/metrics.md lacks\n{missing:#?}");
    assert_eq!(told, expected, "in this order, and no others");
}

#[test]
fn names_say_what_they_are() {
    let mut seen = BTreeSet::new();
    for Name { name, kind, labels, help } in ALL {
        assert!(seen.insert(name), "{name} is there twice");
        assert_eq!(name.ends_with("_total"), kind == Kind::Counter, "{name}");
        assert!(name.starts_with("weir_") || name == "process_start_time_seconds", "{name}");
        assert!(help.ends_with('.') && !help.contains('|'), "{name}: {help}");
        // What a caller may choose freely is no label.
        for label in labels {
            assert!(!["query", "phone", "channel", "app", "id", "path", "key"].contains(label), "{name} by {label}");
        }
    }
}

/// All that weir can tell is told by a gateway that has done a little of everything.
#[tokio::test(start_paused = true)]
async fn what_is_shown_is_what_is_listed() {
    let dir = TempDir::new().unwrap();
    let url = format!("sqlite:{}", dir.path().join("weir.db").display());
    let gateway = TestGateway::builder()
        .config(|config| {
            config.archive.url = url.into();
            config.watch = vec![watch(Watched::OperationDistributions, 30 * MINUTE)];
            config.volcengine_rtc[0].apps = vec!["app-one".to_owned()];
            config.limits.slices = 40;
            config.limits.shadow = vec![LimitName::Slices];
        })
        .build();
    let watching = begin(&gateway);
    sleep(Duration::from_secs(90)).await;
    let [certificate, key] = ["own.crt", "own.key"].map(|name| dir.path().join(name));
    let certificate = certificate::make(certificate, &key, "IP:127.0.0.1");
    let tls = certificate.as_ref().map(|certificate| Arc::new(Tls::open(certificate, &key).unwrap()));
    let site = Site::new(HttpConfig { tls, ..HttpConfig::default() }, gateway.gateway(), Access::anyone());
    gateway.data(r#"{ operationDistribution(appId: "app-one", range: {last: "PT30M"}) { start } }"#).await;
    let many = r#"{ operationDistributions(appIds: ["app-one"], range: {last: "P2D"}, window: "PT1H") { start } }"#;
    let refused = gateway.ask_with(many, json!({}), json!({ "maxWait": "PT1S" })).await;
    assert_eq!(refused["errors"][0]["extensions"]["code"], "QUOTA_WAIT_TOO_LONG", "{refused}");
    // The second time the first is counted.
    Samples::of(&site).await;
    let shown = Samples::of(&site).await;
    drop(watching);

    let kinds: BTreeMap<&str, Kind> = ALL.iter().map(|name| (name.name, name.kind)).collect();
    let family = |name: &str| -> String {
        let suffixes = ["_bucket", "_sum", "_count"].into_iter();
        let mut bases = suffixes.filter_map(|suffix| name.strip_suffix(suffix));
        let histogram = bases.find(|base| kinds.get(base) == Some(&Kind::Histogram));
        histogram.unwrap_or(name).to_owned()
    };
    let mut labels: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for sample in &shown.0 {
        let own = labels.entry(family(&sample.name)).or_default();
        own.extend(sample.labels.keys().filter(|label| *label != "le").cloned());
    }
    let is_told = |name: &&Name| certificate.is_some() || **name != CERTIFICATE_END;
    let listed: BTreeMap<String, BTreeSet<String>> = ALL
        .iter()
        .filter(is_told)
        .map(|name| (name.name.to_owned(), name.labels.iter().map(|label| (*label).to_owned()).collect()))
        .collect();
    assert_eq!(labels, listed);
}
