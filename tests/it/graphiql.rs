//! `GraphiQL` in a real browser, from the assets in the binary, with no way out of the machine.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;

use crate::support::process::{Process, in_time};
use crate::support::require;

/// What `tests/clients/graphiql.mjs` saw.
#[derive(Debug, Deserialize)]
struct Seen {
    errors: Vec<String>,
    outside: Vec<String>,
    tabs: Vec<String>,
    overflow: i64,
    query: String,
    answer: Value,
    shown: String,
}

/// Opens `path` of a demo in Chromium and does what `wish` says; takes a screenshot with this name. `None` if a tool is
/// missing. Whatever it does, the console stays clean and the browser asks nobody else.
async fn browse(path: &str, screenshot: &str, mut wish: Value) -> Option<Seen> {
    let node = require::program("node", "install Node 20 or newer")?;
    let chromium = require::program("chromium", "apt-get install chromium")?;
    require::file("tests/clients/node_modules/playwright-core", "run: npm ci --prefix tests/clients")?;
    require::file("web/dist/index.html", "run: make web")?;
    let demo = Process::demo().await;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    wish["chromium"] = json!(chromium);
    wish["url"] = json!(format!("http://{}{path}", demo.address));
    wish["screenshot"] = json!(folder.join("target/screenshots").join(screenshot));
    let script = folder.join("tests/clients/graphiql.mjs");
    let output = Command::new(node).arg(script).arg(wish.to_string()).kill_on_drop(true).output();
    let output = in_time(output).await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let seen: Seen = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(seen.errors, [""; 0], "console errors");
    assert_eq!(seen.outside, [""; 0], "requests that wanted to leave the machine");
    assert!(seen.overflow <= 0, "{} px of the page are beyond the window", seen.overflow);
    Some(seen)
}

/// A number of each vendor is in the answer, and the same numbers are on the screen as far as it reaches.
fn shows_numbers(seen: &Seen) {
    let metrics = &seen.answer["data"]["phoneNumberMetrics"];
    let first = &metrics["nodes"][0];
    assert!(first["sentCount"].as_u64() > Some(0), "{}", seen.answer);
    assert!(seen.answer["data"]["operationDistribution"]["data"][0]["value"].as_f64() > Some(0.0), "{}", seen.answer);
    for (key, value) in [("totalCount", &metrics["totalCount"]), ("sentCount", &first["sentCount"])] {
        assert!(seen.shown.contains(&format!("\"{key}\": {value}")), "{key} {value} is on the screen: {}", seen.shown);
    }
}

#[tokio::test]
async fn an_example_runs_and_shows_numbers() {
    let wish = json!({ "tab": "BothVendors" });
    let Some(seen) = browse("/graphiql", "both-vendors.png", wish).await else { return };
    assert!(seen.query.contains("query BothVendors"), "{}", seen.query);
    shows_numbers(&seen);
}

#[tokio::test]
async fn the_first_tab_is_an_example_and_runs_in_the_dark_and_in_a_narrow_window() {
    let wish = json!({ "colorScheme": "dark", "width": 800, "height": 700 });
    let Some(seen) = browse("/", "dark-and-narrow.png", wish).await else { return };
    assert!(seen.tabs[0].contains("BothVendors"), "{:?}", seen.tabs);
    shows_numbers(&seen);
}

#[tokio::test]
async fn what_is_there_on_open_names_every_example() {
    let Some(seen) = browse("/graphiql", "opened.png", json!({ "run": false })).await else { return };
    let names: Vec<&str> = seen.tabs.iter().map(|tab| tab.trim()).collect();
    for name in ["BothVendors", "ChannelsWithMetrics", "WhatItCost", "AUsefulError", "EnableRoiMetric"] {
        assert!(names.contains(&name), "{name} is a tab: {names:?}");
    }
}

#[tokio::test]
async fn a_browser_that_follows_a_link_to_a_query_finds_it_open() {
    let path = "/graphql?query=query%20Names%20%7B%20__schema%20%7B%20queryType%20%7B%20name%20%7D%20%7D%20%7D";
    let Some(seen) = browse(path, "linked.png", json!({})).await else { return };
    assert_eq!(seen.query, "query Names { __schema { queryType { name } } }");
    assert_eq!(seen.answer["data"]["__schema"]["queryType"]["name"], "Query");
    assert!(seen.shown.contains(r#""name": "Query""#), "the answer is on the screen: {}", seen.shown);
}
