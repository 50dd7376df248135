//! Rows for BI tools, from held slices: how fast and in how much memory CSV is written, and how soon totals are there.

use std::path::Path;
use std::process::{Command, Stdio};

use jiff::Timestamp;
use jiff::civil::Date;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use tokio::time::Instant;

use crate::cases::ask;
use crate::client::Connection;
use crate::processes::{CHANNEL, Folder, Server, Setup};
use crate::rows::time;
use crate::singles::{Single, single};
use crate::usage::{cpu_us, forget_most, median, memory, most_memory, to_f64};
use crate::{Options, Outcome};

/// The half hours of so many days of the channel with 14 phones and these are more than a million rows.
const OTHERS: [&str; 3] = ["cams-alpha", "cams-beta", "cams-gamma"];
const RANGE: &str = "granularity=HALF_HOUR&start=2020-07-01T00:00:00Z&end=2025-11-01T00:00:00Z";
const ROWS: usize = 1_000_000;
/// Days whose buckets are added up.
const TOTALS_FROM: &str = "2024-11-01T00:00:00Z";
const TOTALS_TO: &str = "2025-10-15T00:00:00Z";
const BUCKETS: i64 = 100_000;
const ASKS: usize = 40;

/// Measures a pull and totals over slices that are held.
pub(crate) fn measure(folder: &Folder, options: &Options) -> Outcome<Vec<Single>> {
    if !options.wants("pulls") {
        return Ok(Vec::new());
    }
    eprintln!("pulls of rows");
    let channels = OTHERS.map(str::to_owned).to_vec();
    let setup = Setup { channels, max_bytes: "2GiB", ..Setup::new("pulls") };
    let weir = Server::weir(folder, &setup)?;
    let url = format!("http://{}/rows/phone_number_metrics.csv?{RANGE}", weir.address);
    let file = folder.file("rows.csv");
    download(&url, &file)?;
    let rows = read(&file)?;
    if rows.len() < ROWS {
        return Err(format!("only {} rows were pulled", rows.len()).into());
    }
    let n = to_f64(rows.len() as u64);
    let typed = rows.iter().map(|row| Ok(row.deserialize(None)?)).collect::<Outcome<Vec<Typed>>>()?;
    let (mut rates, mut cores, mut grown) = (Vec::new(), Vec::new(), Vec::new());
    let (mut alone, mut texts) = (Vec::new(), Vec::new());
    for _ in 0..options.rounds().clamp(3, 7) {
        let (before, cpu, began) = (memory(weir.pid())?.rss, cpu_us(weir.pid())?, Instant::now());
        forget_most(weir.pid())?;
        download(&url, Path::new("/dev/null"))?;
        rates.push(n / began.elapsed().as_secs_f64());
        cores.push(n / (cpu_us(weir.pid())? - cpu) * 1e6);
        grown.push(most_memory(weir.pid())? - before);
        alone.push(n / written(|writer| typed.iter().try_for_each(|row| writer.serialize(row)))?);
        texts.push(n / written(|writer| rows.iter().try_for_each(|row| writer.write_byte_record(row)))?);
    }
    let (rate, core, alone, texts) = (median(rates), median(cores), median(alone), median(texts));
    let (share, of_texts) = (core / alone, core / texts);
    let millions = |rate: f64| format!("{:.2} million", rate / 1e6);
    let grown = grown.into_iter().fold(0.0, f64::max);
    Ok(vec![
        single(
            format!("CSV of {n:.0} held rows at `/rows`: a second, and for each second of CPU"),
            "≥ 400,000 rows a second of one core",
            format!("{}; {}", millions(rate), millions(core)),
            core >= 400_000.0,
        ),
        single(
            format!(
                "the same beside `csv` alone, which writes {} of these rows a second from their values, and {} where all \
                 texts are made already (beside that it is {of_texts:.2} ×)",
                millions(alone),
                millions(texts)
            ),
            "≥ 0.5 × `csv`",
            format!("{share:.2} ×"),
            share >= 0.5,
        ),
        single("memory that such a pull takes at most", "≤ 64 MB", format!("{grown:.1} MB"), grown <= 64.0),
        totals(&weir)?,
    ])
}

/// A row with typed values, in the order of the columns.
#[derive(Debug, Serialize, Deserialize)]
struct Typed {
    account: String,
    cust_space_id: Option<String>,
    phone_number: String,
    granularity: String,
    start_time: Timestamp,
    end_time: Timestamp,
    date: Option<Date>,
    sent_count: i64,
    delivered_count: i64,
    delivery_rate: Option<f64>,
    finality: String,
    fetched_at: Timestamp,
    source: String,
}

/// How many seconds it takes to write rows into nothing.
fn written(write: impl FnOnce(&mut csv::Writer<std::io::Sink>) -> csv::Result<()>) -> Outcome<f64> {
    let mut writer = csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).from_writer(std::io::sink());
    let began = Instant::now();
    write(&mut writer)?;
    writer.flush()?;
    Ok(began.elapsed().as_secs_f64())
}

/// The time from the request to its answer.
fn totals(weir: &Server) -> Outcome<Single> {
    let query = ask(&format!(
        "{{ phoneNumberMetricTotals(custSpaceIds: [{CHANNEL:?}], granularity: HALF_HOUR, period: DAY, timeZone: \"Asia/Shanghai\", \
         range: {{between: {{start: {TOTALS_FROM:?}, end: {TOTALS_TO:?}}}}}) {{ start sentCount deliveredCount buckets }} }}"
    ));
    let mut connection = Connection::open(&weir.address)?;
    let (mut took, mut buckets) = (Vec::new(), 0);
    for n in 0..ASKS {
        // The response cache knows no text that is new.
        let query = query.replace("{ start ", &format!("{{ a{n}: start "));
        let began = Instant::now();
        let answer = connection.post("/graphql", &query)?;
        took.push(began.elapsed().as_secs_f64() * 1e6);
        let answer: Value = serde_json::from_slice(&answer.body)?;
        let totals = answer["data"]["phoneNumberMetricTotals"].as_array().ok_or("no totals")?;
        buckets = totals.iter().filter_map(|total| total["buckets"].as_i64()).sum();
    }
    if buckets < BUCKETS {
        return Err(format!("only {buckets} buckets were added up").into());
    }
    let took = median(took);
    Ok(single(
        format!("daily totals of {buckets} held buckets, from the request to the answer"),
        "≤ 3 ms",
        time(took),
        took <= 3_000.0,
    ))
}

/// curl is what people pull with, and it fails on what is cut off.
fn download(url: &str, to: &Path) -> Outcome<()> {
    let mut curl = Command::new("curl");
    curl.args(["--fail", "--silent", "--show-error", "--output"]).arg(to).arg(url).stderr(Stdio::inherit());
    let curl = curl.status()?;
    if curl.success() { Ok(()) } else { Err(format!("curl: {curl}").into()) }
}

fn read(file: &Path) -> Outcome<Vec<csv::ByteRecord>> {
    Ok(csv::Reader::from_path(file)?.into_byte_records().collect::<Result<_, _>>()?)
}
