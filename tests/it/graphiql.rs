//! `GraphiQL` in a real browser, from the assets in the binary, with no way out of the machine.

use serde::Deserialize;
use serde_json::{Value, json};
use tokio::process::Command;
use weir::http::{HttpConfig, Patience};

use crate::support::require;
use crate::support::server::Server;

/// What `tests/clients/graphiql.mjs` saw.
#[derive(Debug, Deserialize)]
struct Seen {
    errors: Vec<String>,
    outside: Vec<String>,
    tabs: Vec<String>,
    query: String,
    answer: Value,
    shown: String,
}

/// Opens `path` in Chromium and runs the query of `tab`, or the one that is open. `None` if a tool is missing.
async fn run_in_browser(server: &Server, path: &str, tab: Option<&str>, screenshot: &str) -> Option<Seen> {
    let node = require::program("node", "install Node 20 or newer")?;
    let chromium = require::program("chromium", "apt-get install chromium")?;
    require::file("tests/clients/node_modules/playwright-core", "run: npm ci --prefix tests/clients")?;
    require::file("web/dist/index.html", "run: make web")?;
    let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR"));
    let wish = json!({
        "chromium": chromium,
        "url": format!("{}{path}", server.url()),
        "tab": tab,
        "screenshot": folder.join("target/screenshots").join(screenshot),
    });
    let script = folder.join("tests/clients/graphiql.mjs");
    let output = Command::new(node).arg(script).arg(wish.to_string()).kill_on_drop(true).output().await.unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    Some(serde_json::from_slice(&output.stdout).unwrap())
}

#[tokio::test]
async fn graphiql_runs_a_query_without_internet() {
    let server = Server::start(HttpConfig::default(), Patience::default()).await;
    // A browser that follows a link to a query is led to GraphiQL with the query open.
    let path = "/graphql?query=query%20Names%20%7B%20__schema%20%7B%20queryType%20%7B%20name%20%7D%20%7D%20%7D";
    let Some(seen) = run_in_browser(&server, path, None, "graphiql.png").await else { return };

    assert_eq!(seen.errors, [""; 0], "console errors");
    assert_eq!(seen.outside, [""; 0], "requests that wanted to leave the machine");
    assert_eq!(seen.query, "query Names { __schema { queryType { name } } }");
    assert_eq!(seen.answer["data"]["__schema"]["queryType"]["name"], "Query");
    assert!(seen.shown.contains(r#""name": "Query""#), "the answer is on the screen: {}", seen.shown);
    for name in ["BothVendors", "ChannelsWithMetrics", "WhatItCost", "AUsefulError", "EnableRoiMetric"] {
        assert!(seen.tabs.iter().any(|tab| tab.contains(name)), "{name} is a tab: {:?}", seen.tabs);
    }
}
