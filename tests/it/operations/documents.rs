//! The documents for operators: a runbook for every code and alert, alert rules that are tested, a dashboard; all made of
//! names that exist.

use std::collections::BTreeSet;
use std::path::Path;
use std::process::Command;

use serde_json::Value;
use weir::domain::LimitName;
use weir::error::Code;
use weir::telemetry::names::{ALL, Kind};

use crate::support::require;

const RUNBOOK: &str = include_str!("../../../docs/operations/runbook.md");
const ALERTS: &str = include_str!("../../../docs/operations/alerts.yml");
const TESTS: &str = include_str!("../../../docs/operations/alerts.test.yml");
const DASHBOARD: &str = include_str!("../../../docs/operations/grafana-dashboard.json");

fn alerts() -> Vec<&'static str> {
    ALERTS.lines().filter_map(|line| line.trim().strip_prefix("- alert: ")).collect()
}

/// The entries below a heading, each with its text.
fn entries(heading: &str) -> Vec<(&'static str, &'static str)> {
    let (_, rest) = RUNBOOK.split_once(&format!("\n## {heading}\n")).unwrap();
    let part = rest.split("\n## ").next().unwrap();
    part.split("\n### ").skip(1).map(|entry| entry.split_once('\n').unwrap()).collect()
}

#[test]
fn the_runbook_has_an_entry_for_every_code_and_every_alert() {
    let codes: Vec<&str> = entries("Error codes").into_iter().map(|(name, _)| name).collect();
    assert_eq!(codes, Code::ALL.map(Code::as_str));
    let told: Vec<&str> = entries("Alerts").into_iter().map(|(name, _)| name).collect();
    assert_eq!(told, alerts());
    for (name, text) in entries("Error codes").into_iter().chain(entries("Alerts")) {
        for part in ["- **Means:** ", "- **Callers see:** ", "- **Look at:** ", "- **Do:** "] {
            assert_eq!(text.matches(part).count(), 1, "{name}: {part}");
        }
    }
}

#[test]
fn what_the_runbook_leads_to_is_there() {
    let anchors: BTreeSet<String> =
        RUNBOOK.lines().filter(|line| line.starts_with('#')).map(|line| anchor(line.trim_start_matches('#'))).collect();
    for link in RUNBOOK.split("](#").skip(1) {
        let link = link.split(')').next().unwrap();
        assert!(anchors.contains(link), "#{link}");
    }
}

fn anchor(heading: &str) -> String {
    heading.trim().to_lowercase().replace(' ', "-")
}

/// The words of a text that look like metrics of weir; series of a histogram by its name.
fn names_in(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !c.is_ascii_alphanumeric() && c != '_');
    let words = words.filter(|word| word.starts_with("weir_") && *word != "weir_");
    let base = |word: &str| {
        let mut suffixes = ["_bucket", "_sum", "_count"].into_iter().filter_map(|suffix| word.strip_suffix(suffix));
        let is_histogram = |base: &&str| ALL.iter().any(|name| name.name == *base && name.kind == Kind::Histogram);
        suffixes.find(is_histogram).unwrap_or(word).to_owned()
    };
    words.map(base).collect()
}

fn known() -> BTreeSet<String> {
    ALL.iter().map(|name| name.name.to_owned()).collect()
}

#[test]
fn every_name_in_the_documents_is_one_of_a_metric() {
    for (file, text) in [("alerts", ALERTS), ("tests", TESTS), ("dashboard", DASHBOARD), ("runbook", RUNBOOK)] {
        let names = names_in(text);
        assert!(names.len() > 5, "{file}: the names were found");
        let unknown: Vec<_> = names.difference(&known()).cloned().collect();
        assert!(unknown.is_empty(), "{file}: {unknown:?}");
    }
}

/// Every label that a query asks by is one of the metric's, or one that Prometheus adds.
#[test]
fn queries_ask_by_labels_that_are_there() {
    let labels_of = |name: &str| -> Vec<&str> {
        let base = names_in(name).into_iter().next().unwrap();
        let found = ALL.iter().find(|name| name.name == base).unwrap();
        found.labels.iter().copied().chain(["le", "instance", "job"]).collect()
    };
    let mut seen = 0;
    for text in [ALERTS.to_owned(), TESTS.to_owned(), expressions().join("\n")] {
        for (at, _) in text.match_indices("weir_") {
            let rest = &text[at..];
            let end = rest.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(rest.len());
            let (name, rest) = rest.split_at(end);
            let Some(matchers) = rest.strip_prefix('{').and_then(|rest| rest.split('}').next()) else { continue };
            let known = labels_of(name);
            for matcher in matchers.split(',') {
                let label = matcher.trim().split(['=', '!']).next().unwrap();
                assert!(known.contains(&label), "{name} by {label}");
                seen += 1;
            }
        }
    }
    assert!(seen > 50, "{seen}");
}

#[test]
fn every_alert_has_its_tests_and_its_words() {
    for alert in alerts() {
        let named = [format!("alertname: {alert},"), format!("alertname: {alert}\n")];
        assert!(named.iter().all(|words| TESTS.contains(words)), "{alert}: one that is quiet, and one that fires");
    }
    let rules: Vec<&str> = ALERTS.split("- alert: ").skip(1).collect();
    for rule in &rules {
        assert!(rule.contains("severity: page") || rule.contains("severity: ticket"), "{rule}");
        assert!(rule.contains("summary: "), "{rule}");
    }
    assert!(rules.len() > 10);
}

#[test]
fn the_alerts_pass_their_tests() {
    let Some(promtool) = require::program("promtool", "install it: apt-get install prometheus") else { return };
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/operations");
    for args in [["check", "rules", "alerts.yml"], ["test", "rules", "alerts.test.yml"]] {
        let output = Command::new(&promtool).args(args).current_dir(&folder).output().unwrap();
        let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
        assert!(output.status.success(), "{args:?}: {said}");
        assert!(said.contains("SUCCESS"), "{said}");
    }
}

fn panels() -> Vec<Value> {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    dashboard["panels"].as_array().unwrap().clone()
}

/// All queries of the dashboard.
fn expressions() -> Vec<String> {
    let targets = panels().into_iter().flat_map(|panel| panel["targets"].as_array().cloned().unwrap_or_default());
    targets.map(|target| target["expr"].as_str().unwrap().to_owned()).collect()
}

/// Grafana itself is not run here: what can be wrong without it is looked for.
#[test]
fn every_limit_is_explained_by_its_name() {
    let told = include_str!("../../../docs/operations/metrics.md");
    let (_, told) = told.split_once("\n- `limit`: ").unwrap();
    let (told, _) = told.split_once("\n- `caller`: ").unwrap();
    let told: BTreeSet<&str> = told.split('`').skip(1).step_by(2).collect();
    let untold: Vec<_> =
        LimitName::ALL.map(LimitName::as_str).into_iter().filter(|name| !told.contains(name)).collect();
    assert!(untold.is_empty(), "{untold:?}");
    let decided = include_str!("../../../docs/decisions/0024-limits.md");
    for name in LimitName::ALL {
        let says =
            |line: &str| line.split('|').nth(1).is_some_and(|cell| cell.contains(&format!("`{}`", name.as_str())));
        let row = decided.lines().find(|line| says(line));
        assert_eq!(row.is_some(), name.always_holds().is_some(), "{}", name.as_str());
    }
}

#[test]
fn the_dashboard_holds_together() {
    let dashboard: Value = serde_json::from_str(DASHBOARD).unwrap();
    assert_eq!(dashboard["uid"], "weir-operations");
    let variables = dashboard["templating"]["list"].as_array().unwrap();
    let variables: Vec<&str> = variables.iter().map(|variable| variable["name"].as_str().unwrap()).collect();
    let (mut ids, mut places) = (BTreeSet::new(), BTreeSet::new());
    for panel in panels() {
        assert!(ids.insert(panel["id"].as_u64().unwrap()), "two panels of one id: {panel}");
        let [x, y, w, h] = ["x", "y", "w", "h"].map(|key| panel["gridPos"][key].as_u64().unwrap());
        assert!(x + w <= 24, "{panel}");
        for place in (x..x + w).flat_map(|x| (y..y + h).map(move |y| (x, y))) {
            assert!(places.insert(place), "panels lie on one another: {panel}");
        }
        if panel["type"] == "row" {
            continue;
        }
        assert!(panel["description"].as_str().is_some_and(|text| text.len() > 20), "{panel}");
        assert_eq!(panel["datasource"]["uid"], "${prometheus}");
        let targets = panel["targets"].as_array().unwrap();
        let letters: BTreeSet<&str> = targets.iter().map(|target| target["refId"].as_str().unwrap()).collect();
        assert_eq!(letters.len(), targets.len(), "{panel}");
        assert!(panel["fieldConfig"]["defaults"]["unit"].is_string(), "{panel}");
    }
    for expression in expressions() {
        for (open, close) in [('(', ')'), ('{', '}'), ('[', ']')] {
            assert_eq!(expression.matches(open).count(), expression.matches(close).count(), "{expression}");
        }
        for variable in expression.split('$').skip(1) {
            let name: String = variable.chars().take_while(|c| c.is_ascii_alphanumeric() || *c == '_').collect();
            assert!(variables.contains(&name.as_str()) || name == "__rate_interval", "{name}");
        }
    }
    // What weir tells is shown, but for what only a table would show well.
    let shown = names_in(&expressions().join(" "));
    let unshown: Vec<String> = known().difference(&shown).cloned().collect();
    assert_eq!(
        unshown,
        [
            "process_start_time_seconds",
            "weir_quota_available",
            "weir_quota_queued",
            "weir_quota_throttled_total",
            "weir_shadow_refusals_total"
        ]
    );
}
