//! Pulls of rows beside interactive queries: what forty tools that pull at once leave of the speed, on the same cores.

use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::Value;

use crate::cases::Cases;
use crate::client::Connection;
use crate::load::Run;
use crate::processes::{Folder, Server, Setup};
use crate::rows::{Bench, run, time};
use crate::side::Side;
use crate::singles::{Single, p99, slowed};
use crate::usage::median;
use crate::{Options, Outcome};

const PULLS: usize = 40;
/// Of these, how many pull what has to be fetched first.
const COLD: usize = 20;
/// What the others pull: half hours of three years, which are held.
const HELD: &str = "bench-held";
const RANGE: &str = "granularity=HALF_HOUR&start=2021-01-01T00:00:00Z&end=2024-01-01T00:00:00Z";
/// Rows of a call: few, so that cold pulls take all the permits there are.
const CALL_ROWS: u32 = 1_000;
/// Calls a second to CAMS.
const QUOTA: u64 = 50;
/// Calls that a round must make at least, to be one in which the quota is used up.
const CALLS: u64 = 50;
/// How long pulls go on before queries are measured beside them.
const WARM_UP: Duration = Duration::from_millis(500);
/// What a reader takes a second at most, as curl spells it: as fast as it can, or what a line to an office carries.
const READERS: [(Option<&str>, &str); 2] = [(None, "as fast as they can"), (Some("1M"), "1 MB a second each")];

/// Measures queries alone and beside pulls, in turns.
pub(crate) fn measure(bench: &Bench, folder: &Folder, options: &Options) -> Outcome<Vec<Single>> {
    if !options.wants("pulls-beside") {
        return Ok(Vec::new());
    }
    eprintln!("hot queries beside pulls of rows");
    let rounds = options.rounds();
    let cold = |nth: usize, n: usize| format!("bench-cold-{nth}-{n}");
    let mut channels = vec![HELD.to_owned()];
    channels.extend((0..READERS.len() * rounds).flat_map(|nth| (0..COLD).map(move |n| cold(nth, n))));
    let setup = Setup { channels, max_bytes: "1GiB", call_rows: CALL_ROWS, ..Setup::new("beside") };
    let weir = Server::weir(folder, &setup)?;
    Cases::capture(folder, &weir)?;
    let url = |channel: &str| {
        format!("http://{}/rows/phone_number_metrics.csv?{RANGE}&cust_space_id={channel}", weir.address)
    };
    let fetched = pull(&url(HELD), None)?.wait()?;
    if !fetched.success() {
        return Err(format!("curl: {fetched}").into());
    }
    let case = bench.cases.case("hot-small")?;
    let hot = || run(&weir, Side::Weir, case, 16, options.seconds);
    hot()?;
    let mut singles = Vec::new();
    for (kind, (limit, how)) in READERS.into_iter().enumerate() {
        let (mut alone, mut beside) = (Vec::new(), Vec::new());
        let before = calls(&weir)?;
        for round in 0..rounds {
            alone.push(hot()?);
            let nth = kind * rounds + round;
            let cold = (0..COLD).map(|n| pull(&url(&cold(nth, n)), limit));
            // The same again and again: a fragment is sent to nobody.
            let held = format!("{}#[1-1000000]", url(HELD));
            let pulls = cold.chain((COLD..PULLS).map(|_| pull(&held, limit))).collect::<Outcome<Vec<_>>>()?;
            std::thread::sleep(WARM_UP);
            beside.push(hot()?);
            pulls.into_iter().try_for_each(end)?;
        }
        let calls = calls(&weir)? - before;
        if calls < CALLS * rounds as u64 {
            return Err(format!("only {calls} calls were made in {rounds} rounds").into());
        }
        singles.push(judge(how, &alone, &beside, calls));
    }
    Ok(singles)
}

fn judge(how: &str, alone: &[Run], beside: &[Run], calls: u64) -> Single {
    let rate = |runs: &[Run]| median(runs.iter().map(|run| run.rate));
    let (before, during) = (p99(alone), p99(beside));
    let work = format!(
        "p99 of the hot query, 16 connections, beside {PULLS} pulls of rows, {COLD} of them of rows that are fetched ({calls} calls, \
         never more than {QUOTA} in a second), read {how}: {} instead of {}, at {:.0} instead of {:.0} queries a second",
        time(during),
        time(before),
        rate(beside),
        rate(alone)
    );
    slowed(work, before, during)
}

/// curl, which reads all of it and keeps nothing.
fn pull(url: &str, limit: Option<&str>) -> Outcome<Child> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--output", "/dev/null"]);
    if let Some(limit) = limit {
        curl.args(["--limit-rate", limit]);
    }
    Ok(curl.arg(url).stdin(Stdio::null()).spawn()?)
}

/// Ends a pull that has to be going on still.
fn end(mut pull: Child) -> Outcome<()> {
    let ended = pull.try_wait()?;
    pull.kill()?;
    pull.wait()?;
    ended.map_or(Ok(()), |ended| Err(format!("a pull ended while queries were measured beside it: {ended}").into()))
}

/// How many calls came so far, as the vendor counts them, who must not have seen more in a second than its quota.
fn calls(weir: &Server) -> Outcome<u64> {
    let vendors = weir.vendors().ok_or("there are no vendors")?;
    let stats = Connection::open(vendors)?.get("/_sim/stats")?;
    let stats: Value = serde_json::from_slice(&stats.body)?;
    let mut calls = 0;
    for one in stats.as_array().into_iter().flatten() {
        let count = |name: &str| one[name].as_u64().ok_or_else(|| format!("{one} has no {name}"));
        if count("widestSecond")? > QUOTA || count("throttled")? > 0 {
            return Err(format!("the quota did not hold: {one}").into());
        }
        calls += count("calls")?;
    }
    Ok(calls)
}
