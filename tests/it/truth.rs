//! Whatever is asked and whatever memory already holds: what comes out is what the vendor knew when it was fetched.
//!
//! Thousands of random asks, judged by the simulator's world. Everything is drawn from the number of the walk, which
//! every failure names.

use std::collections::HashMap;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::tz::TimeZone;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::{Value, json};
use weir::domain::time::{DAY, HOUR, MINUTE};
use weir::domain::{Timestamp, Window};
use weir::sim::{Granularity, Row, Selection};

use crate::support::{METRIC, TestGateway, codes};

const SELECTIONS: [Selection; 3] = [Selection::ByStart, Selection::ByOverlap, Selection::ByContainment];
/// The last was never enabled: nobody has ever seen a row of it.
const CHANNELS: [&str; 4] = ["cams-alpha", "cams-one", "cams-two", "new-silent"];
const SETTLE: Duration = DAY;
const PROVISIONAL_TTL: Duration = Duration::from_mins(5);
/// How much longer an answer is served as stale while it is fetched again, where that is allowed.
const STALE_WHILE_REFRESH: Duration = Duration::from_mins(5);
/// How long emptiness may be believed where nothing was ever seen.
const UNPROVEN_TTL: Duration = HOUR;

const ROWS: &str = "query($channel: ID, $phones: [String!], $granularity: Granularity!, $range: TimeRange!) {
  phoneNumberMetrics(custSpaceId: $channel, phoneNumbers: $phones, granularity: $granularity, range: $range, first: 100000) {
    totalCount
    nodes { custSpaceId phoneNumber granularity start end sentCount deliveredCount deliveryRate finality fetchedAt source }
  }
}";

#[tokio::test(start_paused = true)]
async fn message_counts_are_the_vendors_at_every_offset() {
    // +08:00, none, -07:00 and +05:45
    let zones = ["Asia/Shanghai", "UTC", "America/Phoenix", "Asia/Kathmandu"];
    walk_all(&zones, &["2026-11-22T10:20:30.123Z"], 100_000, 70).await;
}

#[tokio::test(start_paused = true)]
async fn message_counts_are_the_vendors_in_berlin_where_clocks_change() {
    walk_all(&["Europe/Berlin"], &["2026-10-26T00:40:00Z", "2026-03-30T12:00:00Z"], 100_000, 80).await;
}

#[tokio::test(start_paused = true)]
async fn message_counts_are_the_vendors_in_new_york_where_clocks_change() {
    walk_all(&["America/New_York"], &["2026-11-01T12:00:00Z", "2026-03-09T20:15:00Z"], 100_000, 80).await;
}

#[tokio::test(start_paused = true)]
async fn message_counts_are_the_vendors_when_replies_must_stay_small() {
    let zones = ["Asia/Shanghai", "America/Phoenix", "Europe/Berlin"];
    let calls = walk_all(&zones, &["2026-10-27T07:31:00Z"], 40, 50).await;
    let whole = walk_all(&zones, &["2026-10-27T07:31:00Z"], 100_000, 50).await;
    assert!(calls > whole * 2, "{calls} calls with small replies, {whole} without a bound: nothing was split");
}

#[tokio::test(start_paused = true)]
async fn calls_are_split_so_that_replies_stay_small() {
    let gateway = TestGateway::builder().config(|config| config.upstream.max_rows = 150).build();
    let query = |days| {
        format!("{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {{last: \"P{days}D\"}}) {{ totalCount }} }}")
    };
    gateway.data(&query(1)).await;
    gateway.data(&query(120)).await;
    let arrivals = gateway.sim().arrivals();
    let replies = arrivals.iter().map(|arrival| {
        let span = Window::new(arrival.parameters.start.unwrap(), arrival.parameters.end.unwrap()).unwrap();
        gateway.sim().world().metrics("cams-alpha", Granularity::Daily, span, gateway.now()).len()
    });
    let replies: Vec<usize> = replies.collect();
    assert!(replies.iter().all(|rows| *rows <= 150), "{replies:?}");
    assert!((4..8).contains(&replies.len()), "120 days of 4 phones in replies of 150 rows: {replies:?}");
}

/// Walks once for each zone, instant, selection and habit of the vendor; answers how many calls that took.
async fn walk_all(zones: &[&str], instants: &[&str], max_rows: u32, asks: usize) -> usize {
    let (mut calls, mut rows) = (0, 0);
    for (number, (zone, now)) in zones.iter().flat_map(|zone| instants.iter().map(move |now| (zone, now))).enumerate() {
        for (at, selection) in SELECTIONS.into_iter().enumerate() {
            for refuse_future_end in [false, true] {
                let seed = 100 * number as u64 + 10 * at as u64 + u64::from(refuse_future_end);
                let what = format!("walk {seed} in {zone}, {selection:?}, refuse_future_end {refuse_future_end}");
                let bucket_zone = TimeZone::get(zone).unwrap();
                let grace = if (number + at).is_multiple_of(2) { Duration::ZERO } else { STALE_WHILE_REFRESH };
                let gateway = TestGateway::builder()
                    .now(now)
                    .seed(seed)
                    .config(|config| {
                        config.alibaba_cams[0].channels = CHANNELS.map(str::to_owned).into();
                        config.upstream.max_rows = max_rows;
                        config.cache.stale_while_refresh = grace;
                    })
                    .sim(move |sim| {
                        sim.bucket_zone = bucket_zone;
                        sim.selection = selection;
                        sim.refuse_future_end = refuse_future_end;
                    })
                    .build();
                let hides_running = refuse_future_end && selection == Selection::ByContainment;
                let mut walk = Walk { gateway, rng: StdRng::seed_from_u64(seed), what, hides_running, grace, rows: 0 };
                walk.go(asks).await;
                calls += walk.gateway.calls(METRIC);
                rows += walk.rows;
            }
        }
    }
    assert!(rows > 40 * asks, "{rows} rows: the walks saw next to nothing");
    calls
}

/// One gateway, asked again and again while time goes on.
struct Walk {
    gateway: TestGateway,
    rng: StdRng,
    what: String,
    /// No range that the vendor takes contains a bucket that still runs.
    hides_running: bool,
    /// How much longer than its time to live an answer may be served.
    grace: Duration,
    rows: usize,
}

#[derive(Debug, Clone)]
struct Ask {
    channel: &'static str,
    phones: Option<Vec<String>>,
    granularity: Granularity,
    range: Value,
    window: Window,
}

/// A row as the gateway answered it.
#[derive(Debug)]
struct Answered {
    row: Row,
    is_final: bool,
    is_stale: bool,
    fetched_at: Timestamp,
}

impl Walk {
    async fn go(&mut self, asks: usize) {
        let mut asked = 0;
        while asked < asks {
            let pause = [0, 0, 0, 20, 4 * 60, 6 * 60, 70 * 60, 9 * 3_600, 26 * 3_600][self.rng.random_range(0..9)];
            tokio::time::sleep(Duration::from_secs(pause)).await;
            let asked_at = self.gateway.now();
            let batch: Vec<Ask> = (0..self.rng.random_range(1..4)).map(|_| self.draw()).collect();
            asked += batch.len();
            let answers = batch.iter().map(|ask| {
                let variables = json!({ "channel": ask.channel, "phones": ask.phones,
                    "granularity": ask.granularity.as_str(), "range": ask.range });
                self.gateway.ask(ROWS, variables)
            });
            let answers = join_all(answers.collect::<Vec<_>>()).await;
            for (ask, answer) in batch.iter().zip(&answers) {
                self.rows += self.judge(ask, answer, asked_at);
            }
        }
    }

    fn draw(&mut self) -> Ask {
        let channel = CHANNELS[self.rng.random_range(0..CHANNELS.len())];
        let granularity = if self.rng.random_bool(0.6) { Granularity::Daily } else { Granularity::HalfHour };
        let phones = self.draw_phones(channel);
        let (range, window) = self.draw_range(channel, granularity);
        Ask { channel, phones, granularity, range, window }
    }

    /// None, one or several, among them one that the channel does not have; written in any way.
    fn draw_phones(&mut self, channel: &str) -> Option<Vec<String>> {
        let count = [0, 0, 1, 1, 2, 3][self.rng.random_range(0..6)];
        let known = self.gateway.sim().world().phones(channel);
        let draw = |_| match self.rng.random_range(0..=known.len()) {
            n if n == known.len() => "+44 20 7946 0000".to_owned(),
            n if self.rng.random_bool(0.3) => format!("+{} ({})", &known[n][..4], &known[n][4..]),
            n => known[n].clone(),
        };
        (count > 0).then(|| (0..count).map(draw).collect())
    }

    fn draw_range(&mut self, channel: &str, granularity: Granularity) -> (Value, Window) {
        let now = self.gateway.now();
        let is_daily = granularity == Granularity::Daily;
        let reach = if is_daily { 40 * DAY } else { 3 * DAY };
        let ms = |rng: &mut StdRng, most: Duration| {
            Duration::from_millis(rng.random_range(1..=u64::try_from(most.as_millis()).unwrap()))
        };
        let rng = &mut self.rng;
        let (start, end) = match rng.random_range(0..9) {
            // Whole UTC days.
            0 => {
                let end = now.floor(DAY) + DAY - DAY * rng.random_range(0..20);
                (end - DAY * rng.random_range(1..if is_daily { 40 } else { 4 }), end)
            }
            // Anything, also beyond now.
            1 | 2 => {
                let end = now + 2 * DAY - ms(rng, 30 * DAY);
                (end - ms(rng, reach), end)
            }
            // Up to this moment, this second, or a little later.
            3 => {
                let end = now + [0, 0, 1, 7_200_000].map(Duration::from_millis)[rng.random_range(0..4)];
                (end - ms(rng, reach), end)
            }
            // Tiny.
            4 => {
                let start = now + HOUR - ms(rng, 3 * DAY);
                (start, start + ms(rng, 2 * HOUR))
            }
            // Long ago.
            5 => {
                let start = now - DAY * 200 - ms(rng, 100 * DAY);
                (start, start + ms(rng, reach))
            }
            // The very edges of a bucket, and a millisecond beside them.
            6 | 7 => {
                let past = Window::new(now - 10 * DAY, now - ms(rng, 9 * DAY)).unwrap();
                let rows = self.gateway.sim().world().metrics(channel, granularity, past, now);
                let Some(row) = rows.get(rng.random_range(0..rows.len().max(1))) else {
                    return between(now - DAY, now);
                };
                let beside = |rng: &mut StdRng, at: Timestamp| {
                    let by = Duration::from_millis(rng.random_range(0..2));
                    if rng.random_bool(0.5) { at + by } else { at - by }
                };
                (beside(rng, row.start), beside(rng, row.end) + DAY * rng.random_range(0..2))
            }
            _ => {
                let (length, text) = match rng.random_range(0..3) {
                    0 => (1, "D"),
                    1 => (rng.random_range(1..if is_daily { 40 } else { 4 }), "D"),
                    _ => (rng.random_range(1..50), "H"),
                };
                let snap = if is_daily { HOUR } else { 30 * MINUTE };
                let (unit, text) =
                    if text == "D" { (DAY, format!("P{length}D")) } else { (HOUR, format!("PT{length}H")) };
                let end = now.floor(snap);
                return (json!({ "last": text }), Window::new(end - unit * length, end).unwrap());
            }
        };
        between(start, end)
    }

    /// Compares an answer with the world; answers how many rows it had.
    fn judge(&self, ask: &Ask, answer: &Value, asked_at: Timestamp) -> usize {
        let what = format!("{}\n{ask:?}\nasked at {asked_at}", self.what);
        assert_eq!(codes(answer), Vec::<String>::new(), "{what}\n{answer}");
        let connection = &answer["data"]["phoneNumberMetrics"];
        let nodes = connection["nodes"].as_array().unwrap();
        assert_eq!(connection["totalCount"], json!(nodes.len()), "{what}");
        let answered: Vec<Answered> = nodes.iter().map(|node| read(node, ask, asked_at)).collect();

        let is_ascending =
            |pair: &[Answered]| (&pair[0].row.phone, pair[0].row.start) < (&pair[1].row.phone, pair[1].row.start);
        assert!(answered.windows(2).all(is_ascending), "{what}\nout of order, or doubled");
        let rows: Vec<&Row> = answered.iter().map(|one| &one.row).collect();
        let expected = self.expected(ask, &answered, asked_at, &what);
        assert_eq!(rows, expected.iter().collect::<Vec<_>>(), "{what}");
        self.judge_finality(ask, &answered, asked_at, &what);
        rows.len()
    }

    /// The rows that the vendor knew when each part of the answer was fetched. What was fetched when, the rows
    /// themselves say; a day without rows must have been without rows for as long as emptiness may be believed.
    fn expected(&self, ask: &Ask, answered: &[Answered], asked_at: Timestamp, what: &str) -> Vec<Row> {
        let world = self.gateway.sim().world();
        let mut subjects: Vec<Option<String>> = match &ask.phones {
            None => vec![None],
            Some(phones) => phones.iter().map(|phone| Some(phone.replace(|c: char| !c.is_ascii_digit(), ""))).collect(),
        };
        subjects.sort();
        subjects.dedup();
        let mut expected = Vec::new();
        let mut known: HashMap<(Window, Timestamp), Vec<Row>> = HashMap::new();
        for subject in subjects {
            let is_of = |row: &Row| subject.as_ref().is_none_or(|phone| *phone == row.phone);
            let mut fetched: HashMap<Timestamp, Timestamp> = HashMap::new();
            for one in answered.iter().filter(|one| is_of(&one.row)) {
                let at = fetched.entry(one.row.start.floor(DAY)).or_insert(one.fetched_at);
                assert_eq!(*at, one.fetched_at, "{what}\nrows of two fetches were united");
            }
            for (window, as_of) in runs(ask.window, &fetched) {
                let known_at = as_of.unwrap_or(asked_at - UNPROVEN_TTL);
                let all = known
                    .entry((window, known_at))
                    .or_insert_with(|| world.metrics(ask.channel, ask.granularity, window, known_at));
                let rows = all.iter().filter(|row| is_of(row) && !(self.hides_running && row.end > known_at));
                match as_of {
                    Some(fetched_at) => {
                        let most = PROVISIONAL_TTL + self.grace;
                        assert_age(ask, window, fetched_at, asked_at.since(fetched_at) < most, what);
                        expected.extend(rows.cloned());
                    }
                    None => assert_eq!(rows.collect::<Vec<_>>(), Vec::<&Row>::new(), "{what}\nlost"),
                }
            }
        }
        expected.sort();
        expected
    }

    /// Rows are final exactly from the moment on at which the vendor changes them no more; others are stale when their
    /// time to live is over.
    fn judge_finality(&self, ask: &Ask, answered: &[Answered], asked_at: Timestamp, what: &str) {
        let long_after = self.gateway.now() + 60 * DAY;
        let mut last = self.gateway.sim().world().metrics(ask.channel, ask.granularity, ask.window, long_after);
        last.sort();
        for Answered { row, is_final, is_stale, fetched_at } in answered {
            let settled_at = row.end.max(row.start + longest(ask.granularity)) + SETTLE;
            assert_eq!(*is_final, *fetched_at >= settled_at, "{what}\n{row:?} fetched at {fetched_at}");
            assert!(!is_final || last.binary_search(row).is_ok(), "{what}\n{row:?} changed after it was final");
            let is_past = asked_at.since(*fetched_at) >= PROVISIONAL_TTL;
            assert_eq!(*is_stale, !is_final && is_past, "{what}\n{row:?} fetched at {fetched_at}");
        }
    }
}

/// Only settled days may be older than what may still change.
fn assert_age(ask: &Ask, window: Window, fetched_at: Timestamp, is_young: bool, what: &str) {
    for day in window.cells(DAY) {
        let is_settled = fetched_at >= day.end() + longest(ask.granularity) + SETTLE;
        assert!(is_settled || is_young, "{what}\n{day} was fetched at {fetched_at}");
    }
}

fn between(start: Timestamp, end: Timestamp) -> (Value, Window) {
    let range = json!({ "between": { "start": start.to_string(), "end": end.to_string() } });
    (range, Window::new(start, end).unwrap())
}

fn longest(granularity: Granularity) -> Duration {
    match granularity {
        Granularity::Daily => 25 * HOUR,
        Granularity::HalfHour => 30 * MINUTE,
    }
}

/// Cuts the window into runs of UTC days that were fetched at the same moment; `None` where no row says when.
fn runs(window: Window, fetched: &HashMap<Timestamp, Timestamp>) -> Vec<(Window, Option<Timestamp>)> {
    let mut runs: Vec<(Window, Option<Timestamp>)> = Vec::new();
    for day in window.cells(DAY) {
        let part = Window::new(day.start().max(window.start()), day.end().min(window.end())).unwrap();
        let as_of = fetched.get(&day.start()).copied();
        match runs.last_mut() {
            Some((run, known)) if *known == as_of => *run = run.hull(part),
            _ => runs.push((part, as_of)),
        }
    }
    runs
}

fn read(node: &Value, ask: &Ask, asked_at: Timestamp) -> Answered {
    let at = |field: &str| Timestamp::parse_rfc3339(node[field].as_str().unwrap()).unwrap();
    let (sent, delivered) = (node["sentCount"].as_u64().unwrap(), node["deliveredCount"].as_u64().unwrap());
    assert_eq!((&node["custSpaceId"], &node["granularity"]), (&json!(ask.channel), &json!(ask.granularity.as_str())));
    #[expect(clippy::cast_precision_loss, reason = "the world's counts are small")]
    let rate = delivered as f64 / sent as f64;
    assert_eq!(node["deliveryRate"], json!(rate));
    let (finality, source) = (node["finality"].as_str().unwrap(), node["source"].as_str().unwrap());
    assert!(["FINAL", "PROVISIONAL"].contains(&finality) && ["UPSTREAM", "CACHE", "STALE"].contains(&source), "{node}");
    let fetched_at = at("fetchedAt");
    assert!(fetched_at >= asked_at || source != "UPSTREAM", "{node}");
    let phone = node["phoneNumber"].as_str().unwrap().to_owned();
    let row = Row { phone, start: at("start"), end: at("end"), sent, delivered };
    Answered { row, is_final: finality == "FINAL", is_stale: source == "STALE", fetched_at }
}

mod distributions {
    //! The same for the users of distributions, whose windows are exact.

    use weir::domain::{Timestamp, Window};
    use weir::sim::Dimension;

    use super::*;

    const DISTRIBUTION: &str = "query($app: ID!, $dimension: Dimension!, $range: TimeRange!) {
      operationDistribution(appId: $app, dimension: $dimension, range: $range) {
        appId indicator dimension start end finality fetchedAt source data { distributionName value proportion }
      }
    }";
    const SETTLE: Duration = Duration::from_mins(8 * 60 + 30);
    const DIMENSIONS: [(Dimension, &str); 2] = [(Dimension::Province, "PROVINCE"), (Dimension::Country, "COUNTRY")];

    #[tokio::test(start_paused = true)]
    async fn users_are_the_vendors_over_exactly_the_window() {
        for (seed, zone) in [(1, "Asia/Shanghai"), (2, "Asia/Kathmandu"), (3, "Europe/Berlin")] {
            walk(seed, zone, 200).await;
        }
    }

    async fn walk(seed: u64, zone: &str, asks: usize) {
        let entry = zone.to_owned();
        let gateway =
            TestGateway::builder().seed(seed).config(move |config| config.volcengine_rtc[0].time_zone = entry).build();
        let mut rng = StdRng::seed_from_u64(seed);
        let mut asked: Vec<(Value, Window)> = Vec::new();
        for number in 0..asks {
            let pause = [0, 0, 30, 6 * 60, 70 * 60][rng.random_range(0..5)];
            tokio::time::sleep(Duration::from_secs(pause)).await;
            let now = gateway.now();
            let (range, window) = match asked.get(rng.random_range(0..asked.len() + 20)) {
                Some(again) => again.clone(),
                None => draw(&mut rng, now, &TimeZone::get(zone).unwrap()),
            };
            let (start, end) = (window.start(), window.end());
            asked.push(between(start, end));
            let (app, (dimension, name)) =
                (["app-one", "app-two"][rng.random_range(0..2)], DIMENSIONS[rng.random_range(0..2)]);
            let answer = gateway.ask(DISTRIBUTION, json!({ "app": app, "dimension": name, "range": range })).await;
            let what = format!("walk {seed} in {zone}, ask {number} at {now}: {app} {name} {range}");
            assert_eq!(codes(&answer), Vec::<String>::new(), "{what}\n{answer}");
            let answer = &answer["data"]["operationDistribution"];
            let at = |field: &str| Timestamp::parse_rfc3339(answer[field].as_str().unwrap()).unwrap();
            assert_eq!((at("start"), at("end")), (start, end), "{what}");
            let identity = [&answer["appId"], &answer["indicator"], &answer["dimension"]];
            assert_eq!(identity, [&json!(app), &json!("user_num"), &json!(name)], "{what}");

            let fetched_at = at("fetchedAt");
            let known_at = |at| gateway.sim().world().distribution(app, dimension, window, at);
            let (truth, shares) = (known_at(fetched_at), answer["data"].as_array().unwrap());
            let value = |share: &Value| (share["distributionName"].clone(), share["value"].clone());
            #[expect(clippy::cast_precision_loss, reason = "the world's counts are small")]
            let expected: Vec<_> = truth.iter().map(|(name, users)| (json!(name), json!(*users as f64))).collect();
            assert_eq!(shares.iter().map(value).collect::<Vec<_>>(), expected, "{what}");
            let proportions: Vec<_> = shares.iter().map(|share| share["proportion"].as_f64().unwrap()).collect();
            assert!(proportions.is_sorted_by(|one, other| one >= other) && proportions.iter().all(|one| *one <= 100.0));

            let is_final = fetched_at >= window.end() + SETTLE;
            assert_eq!(answer["finality"], json!(if is_final { "FINAL" } else { "PROVISIONAL" }), "{what}");
            assert!(!is_final || truth == known_at(now + 30 * DAY), "{what}\nchanged after it was final");
            let (age, source) = (now.since(fetched_at), &answer["source"]);
            assert!(is_final || age < PROVISIONAL_TTL + STALE_WHILE_REFRESH, "{what}\nserved too long");
            assert_eq!(source == "STALE", !is_final && age >= PROVISIONAL_TTL, "{what}");
            assert!(fetched_at >= now || source != "UPSTREAM", "{what}");
        }
    }

    /// A range and the window it means.
    fn draw(rng: &mut StdRng, now: Timestamp, zone: &TimeZone) -> (Value, Window) {
        // Zones differ by quarters of an hour, and none of these changed inside one.
        let offset = zone.to_offset(now.to_jiff()).seconds().rem_euclid(3_600);
        let offset = Duration::from_secs(u64::from(offset.unsigned_abs()));
        let whole_hour = (now + offset).floor(HOUR) - offset;
        match rng.random_range(0..5) {
            0 => {
                let hours = rng.random_range(1..=168);
                (json!({ "last": format!("PT{hours}H") }), Window::new(whole_hour - HOUR * hours, whole_hour).unwrap())
            }
            // Beyond now: lowered to the last whole hour.
            1 => {
                let start = now.floor(HOUR) - HOUR * rng.random_range(2..100);
                let end = now + Duration::from_millis(rng.random_range(1..100_000_000));
                (between(start, end).0, Window::new(start, whole_hour).unwrap())
            }
            // Not on whole seconds: floored to them.
            _ => {
                let end = now - Duration::from_millis(rng.random_range(0..20 * 86_400_000));
                let start = end - Duration::from_millis(rng.random_range(1_000..7 * 86_400_000));
                let second = Duration::from_secs(1);
                (between(start, end).0, Window::new(start.floor(second), end.floor(second)).unwrap())
            }
        }
    }
}
