//! A vendor that fails at any moment of a pull, before real clients: each of them raises, or has the whole.
//!
//! `WEIR_TEST_MOMENTS` says how many moments there are.

use std::collections::BTreeMap;
use std::process::Stdio;
use std::time::Duration;

use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use weir::domain::Timestamp;
use weir::http::{HttpConfig, Timeouts};
use weir::sim::{Fault, Scope, Times};

use super::{Bench, clients};
use crate::support::failures::failures;
use crate::support::process::in_time;
use crate::support::server::Server;
use crate::support::{Builder, METRIC, TestGateway, require};

const MOMENTS: u64 = 16;
/// Moments that the clients meet at once: most of the time is waiting.
const AT_ONCE: u64 = 8;
const CLIENTS: usize = 16;
/// A call a day and channel.
const QUERY: &str = "granularity=HALF_HOUR&start=2026-10-01T00:00:00Z&end=2026-10-09T00:00:00Z&cust_space_id=cams-beta&cust_space_id=cams-gamma";
/// Longer than the gateway holds its first rows back for the rest, so that they are on their way when the call fails.
const LATE: Duration = Duration::from_millis(2_300);
/// As many as a pull makes at once. Those of a client that asks again, as polars does twenty times, fail at once.
const LATE_CALLS: Times = Times::Next(8);

fn builder() -> Builder {
    TestGateway::builder().legs(5..30, 5..30).config(|config| config.upstream.max_rows = 60)
}

/// When and how the vendor fails.
#[derive(Debug)]
struct Moment {
    /// Calls that are answered before.
    after: usize,
    fault: Fault,
    times: Times,
    is_late: bool,
}

impl Moment {
    fn of(seed: u64, calls: usize) -> Self {
        let mut rng = StdRng::seed_from_u64(seed);
        let faults = failures();
        Self {
            after: rng.random_range(0..calls + calls / 3),
            fault: faults[rng.random_range(0..faults.len())].clone(),
            times: if rng.random_ratio(1, 4) { Times::Next(rng.random_range(1..4)) } else { Times::ForEver },
            is_late: rng.random(),
        }
    }

    fn gateway(&self) -> TestGateway {
        let gateway = builder().build();
        let faults = gateway.sim().faults();
        // The oldest fault acts: neither of these does anything, as often as calls are to be answered.
        faults.push(Fault::Latency(Duration::ZERO), Scope::operation(METRIC), Times::Next(self.after));
        faults.push(Fault::SlowBody(Duration::ZERO), Scope::operation(METRIC), Times::Next(self.after));
        if self.is_late {
            faults.push(Fault::Latency(LATE), Scope::operation(METRIC), LATE_CALLS);
        }
        faults.push(self.fault.clone(), Scope::operation(METRIC), self.times);
        gateway
    }
}

/// What a client says that has all of these rows.
fn whole(rows: &[Value]) -> String {
    let mut digest = Sha256::new();
    for row in rows {
        let text = |name: &str| row[name].as_str().unwrap();
        let start = Timestamp::parse_rfc3339(text("start_time")).unwrap().as_ms();
        let (sent, delivered) = (&row["sent_count"], &row["delivered_count"]);
        let ids = format!("{},{}", text("cust_space_id"), text("phone_number"));
        digest.update(format!("{ids},{start},{sent},{delivered},{}\n", text("finality")));
    }
    let digest: String = digest.finalize().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("took {} rows, {digest}", rows.len())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_vendor_that_fails_at_any_moment_makes_no_client_take_a_part_for_the_whole() {
    let (Some(bench), Some(_), Some(_), Some(_)) = (
        Bench::before(builder().build()).await,
        require::program("curl", "apt-get install curl"),
        require::program("jq", "apt-get install jq"),
        require::program("Rscript", "apt-get install r-base-core"),
    ) else {
        return;
    };
    let rows = bench.rows("phone_number_metrics", QUERY).await;
    let (whole, calls) = (whole(&rows), bench.gateway.calls(METRIC));
    assert!(rows.len() > 3_000 && calls == 16, "{} rows of {calls} calls", rows.len());

    let program = clients().join("moments.py");
    let mut command = bench.command(&bench.python, &[program.to_str().unwrap(), QUERY]);
    let mut python = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut asked, told) = (python.stdin.take().unwrap(), python.stdout.take().unwrap());
    let mut told = BufReader::new(told).lines();

    let moments = std::env::var_os("WEIR_TEST_MOMENTS").map_or(MOMENTS, |n| n.to_str().unwrap().parse().unwrap());
    let seeds: Vec<u64> = (0..moments).collect();
    // For each client: how often it raised, and how often it had the whole.
    let mut outcomes: BTreeMap<String, (u64, u64)> = BTreeMap::new();
    let (mut refused, mut cut) = (0, 0);
    for seeds in seeds.chunks(AT_ONCE.try_into().unwrap()) {
        let mut wave = Vec::new();
        for seed in seeds {
            let moment = Moment::of(*seed, calls);
            let gateway = moment.gateway();
            let server = Server::before(gateway.gateway(), HttpConfig::default(), Timeouts::default()).await;
            wave.push((*seed, moment, gateway, server));
        }
        let addresses: Vec<String> = wave.iter().map(|(_, _, _, server)| server.url()).collect();
        asked.write_all(format!("{}\n", json!(addresses)).as_bytes()).await.unwrap();
        let line = in_time(told.next_line()).await.unwrap().expect("the clients go on");
        let told: Vec<BTreeMap<String, String>> = serde_json::from_str(&line).unwrap();
        for ((seed, moment, _, _), told) in wave.iter().zip(told) {
            let what = format!("seed {seed}: {moment:?} of {calls}");
            assert_eq!(told.len(), CLIENTS, "{what}");
            // What never comes is missed by everybody, and what is there by nobody.
            let must_raise = moment.after < calls && moment.times == Times::ForEver;
            let must_have_all = moment.after >= calls;
            for (client, told) in told {
                let count = outcomes.entry(client.clone()).or_default();
                if told.starts_with("raised ") {
                    assert!(!must_have_all, "{client} {told}, and nothing failed; {what}");
                    count.0 += 1;
                    refused += u64::from(told == "raised curl 22");
                    cut += u64::from(told == "raised curl 18");
                } else {
                    assert!(!must_raise && told == whole, "{client} {told}, and not {whole}; {what}");
                    count.1 += 1;
                }
            }
        }
    }
    drop(asked);
    assert!(in_time(python.wait()).await.unwrap().success());
    assert!(outcomes.values().all(|(raised, whole)| raised + whole == moments), "{outcomes:?}");
    let some = moments / 16;
    assert!(outcomes.values().all(|(raised, whole)| *raised > 4 * some && *whole >= some), "{outcomes:?}");
    assert!(refused > some && cut > some, "curl: {refused} refused, {cut} cut");
}
