//! What weir runs, refuses and answers is what the specification's reference implementation makes of the same request.
//!
//! More of it by hand: `WEIR_COMPARE_COUNT=20000 WEIR_COMPARE_SEED=7 cargo nextest run graphql_js`, and what
//! tests/clients/graphql-js/README.md says.

use std::env;

use tokio::process::Command;
use weir::http::{HttpConfig, Limits, Timeouts};

use crate::support::TestGateway;
use crate::support::require;
use crate::support::server::Server;

/// The draws of an ordinary run.
const SEED: u64 = 1;
/// Documents of an ordinary run whose verdicts are compared, and those whose data are; more of the first by hand is more of
/// the second in proportion.
const VERDICTS: u64 = 3_000;
const DATA: u64 = 400;

/// Runs one mode against a server of its own; `count` is how many documents an ordinary run asks.
#[expect(clippy::print_stdout, reason = "the seed of a failure, and what was compared")]
async fn compare(mode: &str, count: Option<u64>) {
    let Some(node) = require::program("node", "install Node 20 or newer") else { return };
    let fetched = require::file("tests/clients/node_modules/graphql", "run: npm ci --prefix tests/clients");
    if fetched.is_none() {
        return;
    }
    let number = |name: &str| {
        let text = env::var_os(name)?;
        Some(text.to_str().and_then(|text| text.parse::<u64>().ok()).expect("a whole number"))
    };
    let seed = number("WEIR_COMPARE_SEED").unwrap_or(SEED);
    println!("{mode} with WEIR_COMPARE_SEED={seed}");

    // Two calls a second would be the longest part of it; the quota has tests of its own.
    let gateway = TestGateway::builder()
        .config(|config| config.volcengine_rtc[0].quota.set("ListOperationDistribution", 1_000))
        .sim(|sim| sim.limits.set("ListOperationDistribution", 1_000))
        .build();
    // What weir refuses for its size is no matter of the specification.
    let most = 100_000;
    let limits = Limits { directives: most, aliases: most, root_fields: most, ..Limits::default() };
    let config = HttpConfig { limits, ..HttpConfig::default() };
    let server = Server::before(gateway.gateway(), config, Timeouts::default()).await;
    let script = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/clients/graphql-js/compare.mjs");
    let mut command = Command::new(node);
    // graphql-js looks at less then, and says the same.
    command.env("NODE_ENV", "production").args([script, mode, &server.url(), "--seed", &seed.to_string()]);
    if let Some(count) = count {
        let count = number("WEIR_COMPARE_COUNT").map_or(count, |wanted| wanted * count / VERDICTS);
        command.args(["--count", &count.to_string()]);
    }
    let output = command.kill_on_drop(true).output().await.unwrap();
    let told = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{told}\n{}", String::from_utf8_lossy(&output.stderr));
    println!("{told}");
}

#[tokio::test]
async fn the_sixteen_ways_in_which_weir_left_the_specification_are_closed() {
    compare("rows", None).await;
}

#[tokio::test]
async fn random_and_broken_documents_are_judged_alike() {
    compare("verdicts", Some(VERDICTS)).await;
}

#[tokio::test]
async fn variables_of_every_type_are_judged_alike_in_every_place() {
    compare("matrix", None).await;
}

#[tokio::test]
async fn values_of_every_sort_are_judged_alike_in_every_place() {
    compare("values", None).await;
}

#[tokio::test]
async fn documents_are_answered_alike_however_they_are_asked() {
    compare("data", Some(DATA)).await;
}
