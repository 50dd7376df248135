//! weir as real processes: what an operator types, what a signal does, what a restart remembers.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::process::Command;
use tokio::time::sleep;
use weir::domain::time::{DAY, HOUR};
use weir::domain::{Clock, SystemClock};

use crate::support::process::{Finished, Process, config, in_time, note_a_clean_end, run};
use crate::support::redis::send_signal;
use crate::support::{DISTRIBUTION, METRIC, codes, require};

/// Both vendors in one query.
const BOTH: &str = r#"{
    phoneNumberMetrics(custSpaceId: "cams-alpha", range: { last: "P7D" }) { totalCount nodes { sentCount } }
    operationDistribution(appId: "app-one", range: { last: "P7D" }) { data { distributionName value } }
}"#;

/// One call of RTC.
const DISTRIBUTION_OF_A_DAY: &str =
    r#"{ operationDistribution(appId: "app-one", range: { last: "P1D" }) { data { value } } }"#;

#[track_caller]
fn holds_numbers_of_both(answer: &Value) {
    assert_eq!(answer.get("errors"), None, "{answer}");
    let rows = answer["data"]["phoneNumberMetrics"]["nodes"].as_array().unwrap();
    assert!(rows.iter().any(|row| row["sentCount"].as_u64() > Some(0)), "{answer}");
    let shares = answer["data"]["operationDistribution"]["data"].as_array().unwrap();
    assert!(shares.iter().any(|share| share["value"].as_f64() > Some(0.0)), "{answer}");
}

/// Failed with exactly one line on stderr that holds each of `parts`.
#[track_caller]
fn fails_with(ran: &Finished, parts: &[&str]) {
    assert_eq!(ran.code, Some(1), "{ran:?}");
    let complaints: Vec<&str> = ran.err.lines().filter(|line| line.starts_with("weir: ")).collect();
    assert_eq!(complaints.len(), 1, "{ran:?}");
    for part in parts {
        assert!(complaints[0].contains(part), "{part:?} is not in {}", complaints[0]);
    }
}

async fn query(config: &Path, more: &[&str]) -> Finished {
    run(&[&["query", "--config", config.to_str().unwrap()], more].concat()).await
}

async fn check_online(config: &Path) -> Finished {
    run(&["check", "--online", "--config", config.to_str().unwrap()]).await
}

/// A loopback address on which nobody listens.
fn nobody() -> String {
    std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

#[tokio::test]
async fn the_command_that_demo_prints_answers_both_vendors() {
    if require::program("curl", "apt-get install curl").is_none() {
        return;
    }
    let demo = Process::demo().await;
    let printed = demo.has_printed("Ctrl-C ends it.").await;
    for path in ["/graphiql", "/graphql", "/schema.graphql"] {
        let address = format!("http://{}{path}", demo.address);
        assert!(printed.split_whitespace().any(|word| word == address), "{printed}");
    }
    let command = printed.lines().find(|line| line.starts_with("  curl ")).unwrap();
    let output = in_time(Command::new("sh").args(["-c", command]).output()).await.unwrap();
    holds_numbers_of_both(&serde_json::from_slice(&output.stdout).unwrap());
    assert!(output.stderr.is_empty(), "{output:?}");
}

#[tokio::test]
async fn serve_answers_both_vendors_and_ends_in_good_order() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let mut first = Process::serve(&config).await;
    holds_numbers_of_both(&first.query(BOTH).await);
    assert_eq!(first.get("/health/ready").await["status"], "ready");

    // A request is under way when the operator ends the process.
    let fault = json!({ "fault": { "latency": 1_000 }, "operation": DISTRIBUTION, "times": 1 });
    simulator.post("/_sim/faults", &fault).await;
    let before = simulator.arrivals().await.len();
    let (answer, ()) = tokio::join!(first.query(DISTRIBUTION_OF_A_DAY), async {
        while simulator.arrivals().await.len() == before {}
        first.terminate().await;
    });
    assert!(!answer["data"]["operationDistribution"]["data"].as_array().unwrap().is_empty(), "{answer}");
    assert!(first.ended().await.success());
    let printed = first.has_printed("stopped").await;
    assert!(!printed.contains("WARN") || !printed.contains("cut off"), "{printed}");

    // Every call is known to have been counted, so the next start waits for a second and not for the guard of five.
    let second = Process::serve(&config).await;
    let answer = second.query(BOTH).await;
    holds_numbers_of_both(&answer);
    let waited = answer["extensions"]["weir"]["queueWaitMs"].as_u64().unwrap();
    assert!(waited < 5_000, "{waited}");
}

#[tokio::test]
async fn health_tells_a_gateway_that_wants_requests_from_one_that_does_not() {
    let mut demo = Process::demo().await;
    let ran = health(&demo.address).await;
    assert_eq!((ran.code, ran.out.as_str(), ran.err.as_str()), (Some(0), "ready\n", ""));
    demo.terminate().await;
    assert!(demo.ended().await.success());
    fails_with(&health(&demo.address).await, &["does not answer", &demo.address]);

    // Somebody else's server.
    let server = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = server.local_addr().unwrap().to_string();
    let (ran, ()) = tokio::join!(health(&address), answer_once(&server, "503 Service Unavailable"));
    fails_with(&ran, &["is stopping"]);
    let (ran, ()) = tokio::join!(health(&address), answer_once(&server, "404 Not Found"));
    fails_with(&ran, &["is there a weir?"]);
    // Nobody takes this connection.
    fails_with(&health(&address).await, &["within 3 s"]);
}

async fn health(address: &str) -> Finished {
    run(&["health", "--url", &format!("http://{address}")]).await
}

/// Answers the next request with a status alone.
async fn answer_once(server: &tokio::net::TcpListener, status: &str) {
    let (mut stream, _) = in_time(server.accept()).await.unwrap();
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        assert_ne!(in_time(stream.read_buf(&mut head)).await.unwrap(), 0);
    }
    let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\n\r\n");
    in_time(stream.write_all(answer.as_bytes())).await.unwrap();
}

/// With `http.fast_path = false` the same is answered, and nothing is answered again from its bytes.
#[tokio::test]
async fn without_the_fast_path_the_same_is_answered() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    // What does not change any more.
    let end = SystemClock.now().floor(DAY) - 10 * DAY;
    let range = format!("range: {{ between: {{ start: \"{}\", end: \"{end}\" }} }}", end - 5 * DAY);
    let settled = BOTH.replace("range: { last: \"P7D\" }", &range);
    let mut answers = Vec::new();
    for (fast_path, kept) in [(true, "kept=true"), (false, "kept=false")] {
        let mut weir =
            Process::serve(&config(dir.path(), &simulator.address, &format!("http.fast_path = {fast_path}"))).await;
        for _ in 0..4 {
            let answer = weir.query(&settled).await;
            holds_numbers_of_both(&answer);
            answers.push(answer["data"].clone());
        }
        let printed = weir.has_printed(kept).await;
        assert_eq!(printed.contains("kept=true"), fast_path, "{printed}");
        weir.terminate().await;
        assert!(weir.ended().await.success());
    }
    assert!(answers.iter().all(|answer| *answer == answers[0]), "{answers:#?}");
}

/// Who tells it twice to stop does not want to wait for requests.
#[tokio::test]
async fn a_second_signal_ends_serve_at_once_and_the_log_says_what_was_waited_for() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "upstream.guard = \"1s\"");
    let fault = json!({ "fault": { "latency": 60_000 }, "operation": DISTRIBUTION, "times": 9 });
    simulator.post("/_sim/faults", &fault).await;
    for (signal, code) in [("INT", 130), ("TERM", 143)] {
        let mut weir = Process::serve(&config).await;
        let before = simulator.arrivals().await.len();
        let asked = weir.ask(DISTRIBUTION_OF_A_DAY).await;
        while simulator.arrivals().await.len() == before {}
        send_signal("TERM", weir.pid());
        weir.has_printed("requests in progress are waited for n_requests=1 ").await;
        send_signal(signal, weir.pid());
        // One that waits ends with 0.
        assert_eq!(weir.ended().await.code(), Some(code));
        drop(asked);
    }
}

/// The least time between an operation's last call before a kill and its first after the next start, in milliseconds.
/// With a guard of 2 s it must be 3.01 s.
async fn pause_around_a_kill(in_between: impl AsyncFn(&Path)) -> f64 {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "upstream.guard = \"2s\"");
    let first = Process::serve(&config).await;
    holds_numbers_of_both(&first.query(BOTH).await);
    first.kill().await;
    in_between(&config).await;
    let second = Process::serve(&config).await;
    holds_numbers_of_both(&second.query(BOTH).await);
    let arrivals = simulator.arrivals().await;
    let pause = |operation: &str| {
        let of_it: Vec<f64> = arrivals.iter().filter(|(name, _)| name == operation).map(|(_, at)| *at).collect();
        let [before, after] = of_it[..] else { panic!("{operation}: {arrivals:?}") };
        after - before
    };
    pause(METRIC).min(pause(DISTRIBUTION))
}

#[tokio::test]
async fn a_start_after_a_kill_waits_until_the_last_calls_have_been_counted() {
    let pause = pause_around_a_kill(async |_| {}).await;
    assert!(pause >= 3_010.0, "guard and hold are 3.01 s, not {pause} ms");
}

#[tokio::test]
async fn a_start_after_a_kill_that_lost_the_state_folder_waits_as_long() {
    let lost = async |config: &Path| std::fs::remove_dir_all(config.with_file_name("state")).unwrap();
    let pause = pause_around_a_kill(lost).await;
    assert!(pause >= 3_010.0, "guard and hold are 3.01 s, not {pause} ms");
    // The mutant: no file tells of a clean end.
    let pause = pause_around_a_kill(async |config| note_a_clean_end(config)).await;
    assert!(pause < 3_010.0, "the mutant was not caught: {pause} ms");
}

#[tokio::test]
async fn a_short_run_after_a_kill_does_not_make_the_next_start_forget_it() {
    let pause = pause_around_a_kill(async |config| {
        assert_eq!(query(config, &["{ channels { account } }"]).await.code, Some(0));
    })
    .await;
    assert!(pause >= 3_010.0, "guard and hold are 3.01 s, not {pause} ms");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_process_that_stood_still_for_five_seconds_keeps_the_quota() {
    let simulator = Process::simulate(&[]).await;
    // Calls are under way most of the time, and given up while nothing moves.
    let fault = json!({ "fault": { "latency": 700 }, "operation": DISTRIBUTION, "times": 1_000 });
    simulator.post("/_sim/faults", &fault).await;
    let dir = tempfile::tempdir().unwrap();
    let file = config(dir.path(), &simulator.address, "upstream = { timeout = \"2s\", guard = \"1s\" }");
    let (weir, next) = (Arc::new(Process::serve(&file).await), Arc::new(AtomicU32::new(0)));
    let askers: Vec<_> = (0..6)
        .map(|_| {
            let (weir, next) = (Arc::clone(&weir), Arc::clone(&next));
            tokio::spawn(async move {
                loop {
                    let end = SystemClock.now().floor(HOUR) - HOUR * 10;
                    let start = end - HOUR * (next.fetch_add(1, Ordering::Relaxed) + 1);
                    let range = format!("range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}");
                    weir.query(&format!("{{ operationDistribution(appId: \"app-one\", {range}) {{ start }} }}")).await;
                }
            })
        })
        .collect();
    sleep(Duration::from_millis(4_500)).await;
    let before = simulator.arrivals().await.len();
    send_signal("STOP", weir.pid());
    sleep(Duration::from_secs(5)).await;
    let between = simulator.arrivals().await.len() - before;
    send_signal("CONT", weir.pid());
    sleep(Duration::from_secs(6)).await;
    askers.iter().for_each(tokio::task::JoinHandle::abort);
    let after = simulator.arrivals().await.len() - before - between;
    assert!(before >= 3 && between <= 2 && after >= 4, "{before} calls before, {between} meanwhile, {after} after");
    let stats = simulator.get("/_sim/stats").await;
    let own = stats.as_array().unwrap().iter().find(|entry| entry["operation"] == DISTRIBUTION).unwrap();
    assert!(own["widestSecond"].as_u64().unwrap() <= 2 && own["throttled"] == 0, "{own}");
}

#[tokio::test]
async fn a_second_process_on_an_account_is_refused_and_told_who_has_it() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let first = Process::serve(&config).await;
    let file = config.to_str().unwrap();
    let pid = first.pid().to_string();
    for args in [
        &["serve", "--listen", "127.0.0.1:0", "--config", file][..],
        &["query", "--config", file, "{ channels { account } }"],
        &["check", "--online", "--config", file],
    ] {
        fails_with(&run(args).await, &["account `retail` is in use by process", &pid, "stop the other one"]);
    }
    holds_numbers_of_both(&first.query(BOTH).await);
    first.kill().await;
    assert_eq!(query(&config, &["{ channels { account } }"]).await.code, Some(0), "the account is free again");
}

/// By a name that is no file, which Linux alone has.
#[cfg(target_os = "linux")]
#[tokio::test]
async fn a_state_folder_that_is_deleted_lets_no_second_process_in() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let first = Process::serve(&config).await;
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    for _ in 0..2 {
        let refused = query(&config, &["{ channels { account } }"]).await;
        fails_with(&refused, &["account `retail` is in use by process", "its state file was deleted"]);
    }
    first.kill().await;
    assert_eq!(query(&config, &["{ channels { account } }"]).await.code, Some(0), "the account is free again");
}

#[tokio::test]
async fn a_busy_port_ends_serve_before_it_takes_an_account() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    std::fs::remove_dir_all(dir.path().join("state")).unwrap();
    let ran = run(&["serve", "--listen", &simulator.address, "--config", config.to_str().unwrap()]).await;
    fails_with(&ran, &[&simulator.address, "is in use by another program", "--listen"]);
    assert!(!dir.path().join("state").exists());
}

#[tokio::test]
async fn query_prints_answers_as_json_tables_and_csv() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let json = query(&config, &[BOTH]).await;
    assert_eq!((json.code, json.err.as_str()), (Some(0), ""));
    let answer: Value = serde_json::from_str(&json.out).unwrap();
    holds_numbers_of_both(&answer);

    let shares = "query Q($app: ID!) { operationDistribution(appId: $app, range: { last: \"P7D\" }) \
                  { appId data { distributionName value } } }";
    let more = ["--variables", r#"{"app": "app-one"}"#, "--format", "csv", shares];
    let csv = query(&config, &more).await;
    assert_eq!((csv.code, csv.err.as_str()), (Some(0), ""));
    let mut lines = csv.out.lines();
    assert_eq!(lines.next(), Some("appId,data.distributionName,data.value"));
    let data = answer["data"]["operationDistribution"]["data"].as_array().unwrap();
    let first = format!("app-one,{},{}", data[0]["distributionName"].as_str().unwrap(), data[0]["value"]);
    assert_eq!((lines.next(), lines.count() + 1), (Some(first.as_str()), data.len()));

    let table = query(&config, &["--format", "table", "{ applications { appId account } }"]).await;
    assert_eq!(table.code, Some(0));
    assert!(table.out.contains("appId") && table.out.contains("app-one") && table.out.contains('│'), "{}", table.out);
}

#[tokio::test]
async fn a_vendor_that_cannot_be_reached_is_one_clear_line() {
    let dir = tempfile::tempdir().unwrap();
    let config = config(dir.path(), &nobody(), "");
    let ran = query(&config, &[DISTRIBUTION_OF_A_DAY]).await;
    fails_with(&ran, &["VENDOR_UNAVAILABLE", "no connection to the vendor", "operationDistribution"]);
    let answer: Value = serde_json::from_str(&ran.out).unwrap();
    assert_eq!((&answer["data"], codes(&answer).len()), (&json!({ "operationDistribution": null }), 1));
    assert!(!format!("{ran:?}").contains("weir-demo-secret"));
}

#[tokio::test]
async fn check_online_asks_every_account_once() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let config = config(dir.path(), &simulator.address, "");
    let ran = check_online(&config).await;
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{ran:?}");
    let lines: Vec<&str> = ran.out.lines().filter(|line| line.contains(": ok, ")).collect();
    assert_eq!(lines.len(), 2, "{}", ran.out);
    assert!(lines[0].starts_with("alibaba_cams \"retail\": ok, ") && lines[0].ends_with(" for channel cams-alpha"));
    assert!(lines[1].starts_with("volcengine_rtc \"calls\": ok, ") && lines[1].ends_with(" for app app-one"));
    assert!(lines.iter().all(|line| !line.contains("ok, 0 rows")), "{lines:?}");
    let operations: Vec<String> = simulator.arrivals().await.into_iter().map(|(operation, _)| operation).collect();
    assert!(operations.len() == 2 && operations.contains(&METRIC.to_owned()), "{operations:?}");
}

#[tokio::test]
async fn check_online_warns_where_days_begin_elsewhere_than_configured() {
    let (simulator, dir) = (Process::simulate(&["--bucket-offset", "+08:00"]).await, tempfile::tempdir().unwrap());
    let text = std::fs::read_to_string(config(dir.path(), &simulator.address, "")).unwrap();
    let path = dir.path().join("weir.toml");
    for (zone, is_right) in [("", true), ("Asia/Shanghai", true), ("Asia/Singapore", true), ("America/New_York", false)]
    {
        let with_zone = format!("[[alibaba_cams]]\ntime_zone = \"{zone}\"");
        std::fs::write(&path, text.replace("[[alibaba_cams]]", &with_zone)).unwrap();
        let ran = check_online(&path).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        let warnings: Vec<&str> = ran.out.lines().filter(|line| line.contains(": warning: ")).collect();
        if is_right {
            assert!(warnings.is_empty(), "{zone}: {warnings:?}");
        } else {
            assert_eq!(warnings.len(), 1, "{zone}: {}", ran.out);
            for part in ["alibaba_cams \"retail\": ", "T16:00:00Z", zone, "`time_zone`"] {
                assert!(warnings[0].contains(part), "{part} is not in {}", warnings[0]);
            }
        }
    }
}

#[tokio::test]
async fn check_online_says_what_each_vendor_refuses_and_how_to_mend_it() {
    let (simulator, dir) = (Process::simulate(&[]).await, tempfile::tempdir().unwrap());
    let right = std::fs::read_to_string(config(dir.path(), &simulator.address, "")).unwrap();
    let (cams, rtc) = right.split_once("[[volcengine_rtc]]").unwrap();
    let path = dir.path().join("weir.toml");
    let secret = |text: &str| text.replace("weir-demo-secret", "canary-secret");
    for (text, parts) in [
        (
            format!("{}[[volcengine_rtc]]{rtc}", secret(cams)),
            ["alibaba_cams \"retail\": VENDOR_DENIED (SignatureDoesNotMatch)", "access_key_secret"],
        ),
        (
            format!("{cams}[[volcengine_rtc]]{}", secret(rtc)),
            ["volcengine_rtc \"calls\": VENDOR_DENIED (SignatureDoesNotMatch)", "access_key_secret"],
        ),
        (
            right.replace("\"cams-alpha\"", "\"unknown-1\""),
            ["alibaba_cams \"retail\": UNKNOWN_CHANNEL (Unknown.ResourceOwnerId)", "correct `channels`"],
        ),
        (
            right.replace("\"app-one\"", "\"unknown-1\""),
            ["volcengine_rtc \"calls\": UNKNOWN_APPLICATION", "correct `apps`"],
        ),
        (right.replace("\"app-one\"", ""), ["volcengine_rtc \"calls\": not asked", "`apps`"]),
        (
            format!("{cams}[[volcengine_rtc]]{}", rtc.replace(&simulator.address, &nobody())),
            ["volcengine_rtc \"calls\": VENDOR_UNAVAILABLE", "check `endpoint`"],
        ),
    ] {
        std::fs::write(&path, text).unwrap();
        let ran = check_online(&path).await;
        fails_with(&ran, &parts);
        assert_eq!(ran.out.matches(": ok, ").count(), 1, "the other account is fine: {}", ran.out);
        assert!(!format!("{ran:?}").contains("canary"), "{ran:?}");
    }
}

#[tokio::test]
async fn a_frozen_simulator_answers_weir_the_same_for_ever() {
    let span = r#"{ between: { start: "2026-08-20T00:00:00Z", end: "2026-08-27T00:00:00Z" } }"#;
    let both = format!(
        "{{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {span}) {{ nodes {{ start phoneNumber sentCount }} }} \
         channel(custSpaceId: \"cams-beta\") {{ metrics(granularity: HALF_HOUR, range: {span}) {{ sentCount }} }} }}"
    );
    let mut answers = Vec::new();
    for clock in ["2026-08-26T12:00:00Z", "2026-08-26T12:00:00Z", "2026-09-26T12:00:00Z"] {
        let simulator = Process::simulate(&["--clock", clock]).await;
        let dir = tempfile::tempdir().unwrap();
        let ran = query(&config(dir.path(), &simulator.address, ""), &[&both]).await;
        assert_eq!(ran.code, Some(0), "{ran:?}");
        answers.push(serde_json::from_str::<Value>(&ran.out).unwrap()["data"].clone());
    }
    assert!(answers[0]["phoneNumberMetrics"]["nodes"].as_array().unwrap().len() > 7, "{}", answers[0]);
    assert_eq!(answers[0], answers[1]);
    assert_ne!(answers[0], answers[2], "a month later more has arrived");
}
