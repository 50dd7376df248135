//! The vendors' own SDKs against `weir simulate`, unchanged: nobody is more independent of our signers and verifiers.

use std::path::PathBuf;

use serde_json::{Value, json};
use tokio::process::Command;
use weir::domain::time::{DAY, HOUR};
use weir::domain::{Clock, SystemClock};

use crate::support::process::{Process, in_time};
use crate::support::{DISTRIBUTION, METRIC, require};

/// A program around one SDK: what runs it, its file, and what the names of its variables begin with.
struct Client {
    runs: PathBuf,
    file: &'static str,
    keys: &'static str,
}

/// `None` if the SDKs are not installed.
fn python(file: &'static str, keys: &'static str) -> Option<Client> {
    require::file("tests/clients/.venv/.weir-requirements", "run: make test")?;
    Some(Client { runs: require::file("tests/clients/.venv/bin/python", "run: make test")?, file, keys })
}

fn alibaba() -> Option<Client> {
    python("alibaba_client.py", "ALI")
}

/// Every client of Volcengine that can run here.
fn volcengine() -> Vec<Client> {
    let node = || {
        let runs = require::program("node", "install Node 20 or newer")?;
        require::file("tests/clients/sdk/node_modules/@volcengine/openapi", "run: make test")?;
        Some(Client { runs, file: "volc_node_client.js", keys: "VOLC" })
    };
    [python("volc_client.py", "VOLC"), python("volc_legacy_client.py", "VOLC"), node()].into_iter().flatten().collect()
}

impl Client {
    /// Runs it with the demo's key, in an environment that holds nothing else: no proxy, no key of somebody's own.
    async fn run(&self, simulator: &Process, args: &[String], more: &[(&str, &str)]) -> (Option<i32>, Value) {
        let folder = std::path::Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients/sdk");
        let home = tempfile::tempdir().unwrap();
        let output = Command::new(&self.runs)
            .arg(folder.join(self.file))
            .arg(&simulator.address)
            .args(args)
            .env_clear()
            .env("PATH", std::env::var_os("PATH").unwrap_or_default())
            .env("HOME", home.path())
            .env("PYTHONUTF8", "1")
            .env("PYTHONDONTWRITEBYTECODE", "1")
            .envs([(format!("{}_AK", self.keys), "weir-demo"), (format!("{}_SK", self.keys), "weir-demo-secret")])
            .envs(more.iter().copied())
            .kill_on_drop(true)
            .output();
        let output = in_time(output).await.unwrap();
        let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
        let last = out.lines().last().unwrap_or_else(|| panic!("{} says nothing: {err}", self.file));
        let answer = serde_json::from_str(last).unwrap_or_else(|_| panic!("{}: {out}{err}", self.file));
        (output.status.code(), answer)
    }
}

/// The week that ended two days ago: all of it is there.
fn metric() -> Vec<String> {
    let end = SystemClock.now().floor(DAY) - 2 * DAY;
    let (start, end) = (end - 7 * DAY, end);
    ["metric".to_owned(), "cust_space_id=cams-alpha".to_owned(), "granularity=DAILY".to_owned()]
        .into_iter()
        .chain([format!("start={}", start.as_ms()), format!("end={}", end.as_ms())])
        .collect()
}

/// Two days that ended half a day ago.
fn distribution() -> Vec<String> {
    let end = SystemClock.now().floor(HOUR) - 12 * HOUR;
    vec!["AppId=app-one".to_owned(), format!("StartTime={}", end - 2 * DAY), format!("EndTime={end}")]
}

/// The next call of `operation` is throttled, as if somebody else had used the account up.
async fn throttle(simulator: &Process, operation: &str) {
    simulator.post("/_sim/faults", &json!({ "fault": "throttle", "operation": operation, "times": 1 })).await;
}

/// Three clients are more than two calls a second.
async fn make_room(simulator: &Process) {
    simulator.post("/_sim/reset", &Value::Null).await;
}

#[tokio::test]
async fn the_sdk_of_alibaba_reads_metrics_and_enables_them_with_both_signatures() {
    let Some(client) = alibaba() else { return };
    let simulator = Process::simulate(&[]).await;
    let mut answers = Vec::new();
    for signature in [&[][..], &[("ALI_SIGN", "v2")], &[("ALI_TOKEN", "any-token")]] {
        let (code, answer) = client.run(&simulator, &metric(), signature).await;
        assert_eq!((code, &answer["http"], &answer["body"]["Code"]), (Some(0), &json!(200), &json!("OK")), "{answer}");
        answers.push(answer["body"]["Data"].clone());
    }
    let rows = answers[0].as_array().unwrap();
    assert!(rows.len() >= 7 && rows.iter().any(|row| row["SentCount"].as_u64() > Some(0)), "{rows:?}");
    assert!(answers.iter().all(|other| *other == answers[0]), "the signature changes no data");

    let enable = ["enable".to_owned(), "cust_space_id=cams-alpha".to_owned()];
    let (code, answer) = client.run(&simulator, &enable, &[]).await;
    assert_eq!((code, &answer["body"]["Code"]), (Some(0), &json!("OK")), "{answer}");
}

#[tokio::test]
async fn the_sdk_of_alibaba_reads_the_counts_of_a_template() {
    let Some(client) = alibaba() else { return };
    let simulator = Process::simulate(&[]).await;
    let of = |more: &[&str]| -> Vec<String> {
        let own = ["template", "template_code=welcome"].into_iter().chain(more.iter().copied()).map(str::to_owned);
        own.chain(metric().into_iter().skip(1)).collect()
    };
    let (code, answer) = client.run(&simulator, &of(&[]), &[]).await;
    assert_eq!((code, &answer["body"]["Code"]), (Some(0), &json!("OK")), "{answer}");
    let rows = answer["body"]["Data"].as_array().unwrap();
    let languages: std::collections::BTreeSet<_> = rows.iter().map(|row| row["Language"].as_str().unwrap()).collect();
    assert!(languages.len() == 3 && rows.len() > 12, "{rows:?}");
    let counted = |row: &Value| {
        let count = |name: &str| row[name].as_u64().unwrap();
        let clicks = row["Cliented"].as_array().unwrap().iter().map(|click| click["Count"].as_u64().unwrap());
        count("SentCount") >= count("DeliveredCount")
            && count("DeliveredCount") >= count("ReadCount")
            && clicks.sum::<u64>() <= count("ReadCount")
    };
    assert!(rows.iter().all(|row| row["TemplateCode"] == "welcome" && counted(row)), "{rows:?}");
    let (code, answer) = client.run(&simulator, &of(&["language=es"]), &[]).await;
    let rows = answer["body"]["Data"].as_array().unwrap();
    assert!(code == Some(0) && !rows.is_empty() && rows.iter().all(|row| row["Language"] == "es"), "{answer}");
}

#[tokio::test]
async fn the_sdk_of_alibaba_knows_a_throttle_and_a_wrong_key() {
    let Some(client) = alibaba() else { return };
    let simulator = Process::simulate(&[]).await;
    throttle(&simulator, METRIC).await;
    let (code, answer) = client.run(&simulator, &metric(), &[]).await;
    assert_eq!((code, &answer["http"], &answer["code"]), (Some(2), &json!(400), &json!("Throttling.User")), "{answer}");
    // With the vendor's word on when to come back the SDK has a type of its own for it.
    simulator.post("/_sim/faults", &json!({ "fault": { "throttle_for": 700 }, "times": 1 })).await;
    let (code, answer) = client.run(&simulator, &metric(), &[]).await;
    assert_eq!((code, &answer["error"]), (Some(2), &json!("ThrottlingException")), "{answer}");

    let (code, answer) = client.run(&simulator, &metric(), &[("ALI_SK", "another")]).await;
    assert_eq!((code, &answer["code"]), (Some(2), &json!("SignatureDoesNotMatch")), "{answer}");
    let (code, _) = client.run(&simulator, &metric(), &[]).await;
    assert_eq!(code, Some(0), "and then all is well again");
}

#[tokio::test]
async fn every_sdk_of_volcengine_reads_the_same_distribution() {
    let simulator = Process::simulate(&[]).await;
    let mut answers = Vec::new();
    for client in volcengine() {
        make_room(&simulator).await;
        let (code, answer) = client.run(&simulator, &distribution(), &[]).await;
        assert_eq!(code, Some(0), "{}: {answer}", client.file);
        // The new SDK hands out the result alone.
        let result = answer.get("result").or(answer.get("Result")).unwrap();
        assert_eq!(result["Name"], "user_num", "{}: {answer}", client.file);
        answers.push(result["Data"].clone());
    }
    // JavaScript writes 3.0 as 3: numbers are compared as numbers.
    let rows = |data: &Value| -> Vec<(String, f64, f64)> {
        let row = |row: &Value| {
            let number = |key: &str| row[key].as_f64().unwrap();
            (row["DistributionName"].as_str().unwrap().to_owned(), number("Value"), number("Proportion"))
        };
        data.as_array().unwrap().iter().map(row).collect()
    };
    for data in &answers {
        let rows_read = rows(data);
        assert!(rows_read.len() > 10 && rows_read.iter().any(|(name, ..)| name == "上海"), "{rows_read:?}");
        assert_eq!(rows_read, rows(&answers[0]), "the SDK changes no data");
    }
}

#[tokio::test]
async fn every_sdk_of_volcengine_is_told_of_a_throttle_once() {
    let simulator = Process::simulate(&[]).await;
    for client in volcengine() {
        make_room(&simulator).await;
        throttle(&simulator, DISTRIBUTION).await;
        let (code, answer) = client.run(&simulator, &distribution(), &[]).await;
        assert_eq!(code, Some(2), "{}: {answer}", client.file);
        // The new SDK keeps the body as text.
        let body = answer["body"].as_str().map_or(answer.clone(), |body| serde_json::from_str(body).unwrap());
        assert_eq!(body["ResponseMetadata"]["Error"]["Code"], "FlowLimitExceeded.QPSOverLimit", "{}", client.file);
        assert!(answer.get("http").is_none_or(|status| *status == 429), "{}: {answer}", client.file);
        assert_eq!(simulator.get("/_sim/faults").await, json!([]), "{} was throttled", client.file);
    }
}

#[tokio::test]
async fn the_sdk_of_volcengine_gets_through_a_throttle_with_its_own_retries() {
    let Some(client) = python("volc_client.py", "VOLC") else { return };
    let simulator = Process::simulate(&[]).await;
    throttle(&simulator, DISTRIBUTION).await;
    let (code, answer) = client.run(&simulator, &distribution(), &[("VOLC_RETRY", "1")]).await;
    assert_eq!((code, &answer["result"]["Name"]), (Some(0), &json!("user_num")), "{answer}");
    assert_eq!(simulator.arrivals().await.len(), 2, "the refused call and its repetition");
}
