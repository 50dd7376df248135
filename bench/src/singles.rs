//! The rows of the second table: what a ratio to the bare handler does not say.

use std::time::Duration;

use jiff::civil::date;
use jiff::tz::TimeZone;
use serde_json::Value;

use crate::cases::{Cases, ask};
use crate::client::{Connection, post};
use crate::load::Run;
use crate::processes::{Folder, Server, Setup};
use crate::rows::{Bench, Judged, run, time};
use crate::side::Side;
use crate::usage::{median, memory};
use crate::{Options, Outcome};

/// A line of the second table.
#[derive(Debug)]
pub(crate) struct Single {
    pub(crate) work: String,
    pub(crate) judged: Judged,
}

/// Calls that wait for their permits while hot queries are answered.
const COLD: usize = 500;
/// Days that every channel of the full cache holds, from the beginning of the simulator's data on.
const DAYS_HELD: i64 = 1_700;
const CHANNELS_HELD: usize = 60;
/// What is asked of the memory goals.
const BOUND: &str = "32MiB";
/// How often something is asked for until a full cache takes it in.
const OFTEN: u64 = 16;
const STARTS: usize = 10;

/// Measures the lines that are wanted.
pub(crate) fn measure(bench: &Bench, folder: &Folder, options: &Options) -> Outcome<Vec<Single>> {
    let mut singles = Vec::new();
    if options.wants("cold") {
        eprintln!("hot queries while {COLD} cold calls wait");
        singles.push(cold(bench, folder, options)?);
    }
    if options.wants("slices") {
        eprintln!("a full cache");
        singles.push(slices(folder, options)?);
    }
    if options.wants("memory") {
        eprintln!("memory");
        singles.extend(memories(folder, options)?);
    }
    if options.wants("start") {
        eprintln!("start");
        singles.push(start(folder)?);
    }
    Ok(singles)
}

pub(crate) fn single(work: impl Into<String>, goal: impl Into<String>, found: String, reached: bool) -> Single {
    Single { work: work.into(), judged: Judged { goal: goal.into(), found, reached } }
}

/// The p99 of several runs, in microseconds.
pub(crate) fn p99(runs: &[Run]) -> f64 {
    median(runs.iter().map(|run| run.p99_us))
}

/// How much longer something takes beside other work, which may be twice as long at most.
pub(crate) fn slowed(work: String, before: f64, during: f64) -> Single {
    let times = during / before;
    single(work, "≤ 2 × unloaded", format!("{times:.2} ×"), times <= 2.0)
}

/// Hot queries, unloaded and while calls wait: each of these is for a channel of its own, so none joins another.
fn cold(bench: &Bench, folder: &Folder, options: &Options) -> Outcome<Single> {
    let channels: Vec<_> = (0..COLD).map(|n| format!("bench-cold-{n:03}")).collect();
    let weir = Server::weir(folder, &Setup { channels: channels.clone(), ..Setup::new("cold") })?;
    Cases::capture(folder, &weir)?;
    let case = bench.cases.case("hot-small")?;
    let hot = || run(&weir, Side::Weir, case, 16, 1);
    hot()?;
    let unloaded = (0..options.rounds()).map(|_| hot()).collect::<Outcome<Vec<_>>>()?;
    let mut waiting = Vec::new();
    for channel in &channels {
        let mut connection = Connection::open(&weir.address)?;
        connection.send("POST", "/graphql", &ask(&one_day(channel)))?;
        waiting.push(connection);
    }
    // At 50 calls a second they wait for ten seconds.
    let loaded = (0..options.rounds().min(6)).map(|_| hot()).collect::<Outcome<Vec<_>>>()?;
    let queued = post(&weir.address, "/graphql", &ask("{ quotas { operation queued } }"))?;
    let queued: Value = serde_json::from_slice(&queued.body)?;
    let queued: u64 =
        queued["data"]["quotas"].as_array().into_iter().flatten().filter_map(|q| q["queued"].as_u64()).sum();
    if queued == 0 {
        return Err("no call was waiting any more when the last run ended".into());
    }
    for mut connection in waiting {
        let answer = connection.receive()?;
        let text = String::from_utf8_lossy(&answer.body);
        if answer.status != 200 || text.contains("\"errors\"") {
            return Err(format!("a cold call failed: {} {text}", answer.status).into());
        }
    }
    let (before, during) = (p99(&unloaded), p99(&loaded));
    let work = format!(
        "p99 of the hot query, 16 connections, while {COLD} cold calls wait for their quota: {} instead of {}",
        time(during),
        time(before)
    );
    Ok(slowed(work, before, during))
}

fn one_day(channel: &str) -> String {
    format!(
        "{{ phoneNumberMetrics(custSpaceId: {channel:?}, \
         range: {{between: {{start: \"2025-03-01T00:00:00Z\", end: \"2025-03-02T00:00:00Z\"}}}}) {{ totalCount }} }}"
    )
}

/// Has weir fetch so many days of each channel; answers how many slices it then holds.
fn fill(weir: &Server, channels: &[String], days: i64) -> Outcome<u64> {
    let begin = date(2020, 7, 1).to_zoned(TimeZone::UTC)?.timestamp();
    let end = begin + Duration::from_hours(24) * u32::try_from(days)?;
    let query = |channel: &String| {
        ask(&format!(
            "{{ phoneNumberMetrics(custSpaceId: {channel:?}, first: 1, \
             range: {{between: {{start: \"{begin}\", end: \"{end}\"}}}}) {{ totalCount }} }}"
        ))
    };
    let mut connection = Connection::open(&weir.address)?;
    let mut held = 0;
    for _ in ["fetch", "look"] {
        held = 0;
        for channel in channels {
            let answer: Value = serde_json::from_slice(&connection.post("/graphql", &query(channel))?.body)?;
            if answer.get("errors").is_some() {
                return Err(format!("the cache cannot be filled: {answer}").into());
            }
            held += answer["extensions"]["weir"]["cacheHits"].as_u64().unwrap_or(0);
        }
    }
    Ok(held)
}

/// The same new queries over a small cache and over a full one, in turn.
fn slices(folder: &Folder, options: &Options) -> Outcome<Single> {
    let channels: Vec<_> = (0..CHANNELS_HELD).map(|n| format!("bench-held-{n:02}")).collect();
    let setup = |name| Setup { channels: channels.clone(), max_bytes: "2GiB", ..Setup::new(name) };
    let (few, many) = (Server::weir(folder, &setup("few"))?, Server::weir(folder, &setup("many"))?);
    let cases = Cases::capture(folder, &few)?;
    Cases::capture(folder, &many)?;
    let n_few = fill(&few, &channels[..1], 925)? + 75;
    let n_many = fill(&many, &channels, DAYS_HELD)? + 75;
    if n_many < 100_000 {
        return Err(format!("only {n_many} slices are held").into());
    }
    let case = cases.case("text-small")?;
    let mut runs = (Vec::new(), Vec::new());
    for _ in 0..=options.rounds() {
        runs.0.push(run(&few, Side::Weir, case, 16, options.seconds)?);
        runs.1.push(run(&many, Side::Weir, case, 16, options.seconds)?);
    }
    // The first round warms up.
    let cpu = |runs: &[Run]| median(runs[1..].iter().map(|run| run.cpu_us));
    let (few, many) = (cpu(&runs.0), cpu(&runs.1));
    let work = format!(
        "CPU of a new query, 30 points, with {n_many} slices held: {} instead of {} with {n_few}",
        time(many),
        time(few)
    );
    Ok(single(work, "≤ 1.25 ×: no growth with the cache", format!("{:.2} ×", many / few), many <= 1.25 * few))
}

/// Memory when nothing has been asked, and after load with a bounded cache.
fn memories(folder: &Folder, options: &Options) -> Outcome<Vec<Single>> {
    let channels: Vec<_> = (0..CHANNELS_HELD).map(|n| format!("bench-held-{n:02}")).collect();
    let weir = Server::weir(folder, &Setup { channels: channels.clone(), max_bytes: BOUND, ..Setup::new("bounded") })?;
    std::thread::sleep(Duration::from_millis(500));
    let idle = memory(weir.pid())?;
    fill(&weir, &channels, DAYS_HELD)?;
    // A full cache takes in what is asked for more often than what it would have to let go.
    let newcomers = Cases::capture(folder, &weir)?;
    let mut connection = Connection::open(&weir.address)?;
    for number in 0..OFTEN {
        for case in &newcomers.all {
            connection.post("/graphql", &case.request(number))?;
        }
    }
    drop(connection);
    let cases = Cases::capture(folder, &weir)?;
    for case in &cases.all {
        run(&weir, Side::Weir, case, 64, options.seconds.max(if options.quick { 1 } else { 2 }))?;
    }
    let loaded = memory(weir.pid())?;
    Ok(vec![
        single(
            format!("memory right after the start (RSS; PSS is {:.1} MB)", idle.pss),
            "≤ 15 MB",
            format!("{:.1} MB", idle.rss),
            idle.rss <= 15.0,
        ),
        single(
            format!("memory after all this load at 64 connections with max_bytes = \"{BOUND}\" (RSS)"),
            "≤ 60 MB",
            format!("{:.1} MB", loaded.rss),
            loaded.rss <= 60.0,
        ),
    ])
}

fn start(folder: &Folder) -> Outcome<Single> {
    let setup = Setup::new("starting");
    let starts = (0..STARTS).map(|_| Server::time_to_ready(folder, &setup)).collect::<Outcome<Vec<_>>>()?;
    let ms = median(starts.iter().map(|took| took.as_secs_f64() * 1_000.0));
    Ok(single(
        "from the start of the process to its first answer on /health/ready",
        "≤ 50 ms",
        format!("{ms:.1} ms"),
        ms <= 50.0,
    ))
}
