//! The built binary as people run it: help with examples, one clear line for each mistake, exit codes, no secret.

use std::net::TcpListener;
use std::path::Path;
use std::process::{Command, Output, Stdio};

const COMMANDS: [&str; 8] = ["serve", "demo", "simulate", "query", "rows", "check", "health", "schema"];

const ACCOUNT: &str = r#"[[alibaba_cams]]
name = "retail"
access_key_id = "${CAMS_ID}"
access_key_secret = "${CAMS_SECRET}"
channels = ["cams-alpha"]
[alibaba_cams.quota]
GetChatappPhoneNumberMetric = 60
"#;

/// What a run left behind. Making one checks what holds for every run: no panic, and no secret anywhere.
struct Ran {
    code: Option<i32>,
    out: String,
    err: String,
}

impl Ran {
    fn of(output: &Output) -> Self {
        let out = String::from_utf8_lossy(&output.stdout).into_owned();
        let err = String::from_utf8_lossy(&output.stderr).into_owned();
        for (name, text) in [("stdout", &out), ("stderr", &err)] {
            for banned in ["panicked", "RUST_BACKTRACE", "canary"] {
                assert!(!text.contains(banned), "{banned:?} on {name}: {text}");
            }
        }
        Self { code: output.status.code(), out, err }
    }

    /// Failed with `code`, with exactly one line on stderr that is weir's own and holds each of `parts`.
    #[track_caller]
    fn fails_with(&self, code: i32, parts: &[&str]) {
        assert_eq!(self.code, Some(code), "{}", self.err);
        assert_eq!(self.err.lines().count(), 1, "{}", self.err);
        assert!(self.err.starts_with("weir: "), "{}", self.err);
        for part in parts {
            assert!(self.err.contains(part), "{part:?} is not in {}", self.err);
        }
        assert_eq!(self.out, "");
    }
}

/// Runs weir in `dir` with an environment that holds the account's keys and nothing else.
fn weir_in(dir: &Path, args: &[&str]) -> Ran {
    let output = Command::new(env!("CARGO_BIN_EXE_weir"))
        .args(args)
        .current_dir(dir)
        .env_clear()
        .envs([("CAMS_ID", "canary-id"), ("CAMS_SECRET", "canary-secret"), ("HOME", "/nonexistent")])
        .stdin(Stdio::null())
        .output();
    Ran::of(&output.unwrap_or_else(|error| unreachable!("cargo built the binary: {error}")))
}

fn weir(args: &[&str]) -> Ran {
    weir_in(Path::new("."), args)
}

/// A directory with `text` as its weir.toml.
fn config(text: &str) -> tempfile::TempDir {
    let made = tempfile::tempdir().and_then(|dir| std::fs::write(dir.path().join("weir.toml"), text).map(|()| dir));
    made.unwrap_or_else(|error| unreachable!("the temporary directory can be written: {error}"))
}

#[test]
fn every_command_has_help_with_examples() {
    for command in COMMANDS {
        let ran = weir(&[command, "--help"]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""), "{command}");
        let (_, examples) = ran.out.split_once("Examples:\n").unwrap();
        assert!(examples.contains(&format!("weir {command}")), "{command}: {examples}");
        for file in examples.split_whitespace().filter(|word| word.starts_with("examples/")) {
            assert!(Path::new(file).exists(), "{command}: {file} can be tried from the top of the repository");
        }
    }
    let ran = weir(&["--help"]);
    assert_eq!(ran.code, Some(0));
    for command in COMMANDS {
        assert!(ran.out.contains(&format!("\n  {command} ")), "{command} is not listed");
    }
}

#[test]
fn the_version_is_the_package_s() {
    let ran = weir(&["--version"]);
    assert_eq!((ran.code, ran.out.as_str()), (Some(0), concat!("weir ", env!("CARGO_PKG_VERSION"), "\n")));
}

#[test]
fn wrong_flags_and_arguments_are_wrong_usage() {
    let cases: [(&[&str], &[&str]); 14] = [
        (&[], &["no command given", "weir --help"]),
        (&["serv"], &["'serv'", "'serve'"]),
        (&["serve", "--lisen", "127.0.0.1:1"], &["'--lisen'", "'--listen'", "`weir serve --help`"]),
        (&["demo", "--listen", "8080"], &["--listen", "127.0.0.1:8080"]),
        (&["demo", "--listen", "0.0.0.0:8080"], &["--listen", "weir key new"]),
        (&["simulate", "--key", "canary"], &["--key", "my-id:my-secret"]),
        (&["simulate", "--clock", "yesterday"], &["--clock", "2026-09-01T08:30:15Z"]),
        (&["simulate", "--bucket-offset", "-25:00"], &["--bucket-offset", "14 hours"]),
        (&["simulate", "--seed", "x"], &["--seed"]),
        (&["query", "--format", "xml", "{a}"], &["xml", "json, table, csv"]),
        (&["query", "--variables", "{\"canary\"", "{a}"], &["--variables", "not JSON at column 9"]),
        (&["query", "none.graphql"], &["none.graphql: no such file"]),
        (&["--log", "=x=", "schema"], &["--log or WEIR_LOG", "warn,weir=debug"]),
        (&["--log-format", "xml", "schema"], &["--log-format", "text, json"]),
    ];
    for (args, parts) in cases {
        weir(args).fails_with(2, parts);
    }
}

#[test]
fn a_missing_config_is_named() {
    for command in ["serve", "check"] {
        weir(&[command, "--config", "none.toml"]).fails_with(2, &["weir: none.toml: no such file; ", "--config"]);
    }
    weir(&["query", "--config", "none.toml", "{ channels { account } }"]).fails_with(2, &["none.toml: no such file"]);
}

#[test]
fn wrong_keys_name_themselves_their_line_and_the_mend() {
    let dir = config(&format!("lisen = \"127.0.0.1:8080\"\n{ACCOUNT}"));
    let line = "weir: weir.toml:1: unknown key `lisen`; did you mean `listen`?\n";
    for command in ["serve", "check"] {
        let ran = weir_in(dir.path(), &[command]);
        assert_eq!((ran.code, ran.err.as_str()), (Some(2), line));
    }
    let dir = config(&ACCOUNT.replace("CAMS_SECRET", "CAMS_SECRTE").replace("name =", "nam ="));
    let ran = weir_in(dir.path(), &["check", "--config", "weir.toml"]);
    let lines: Vec<&str> = ran.err.lines().collect();
    assert_eq!(ran.code, Some(2));
    assert_eq!(lines.len(), 3, "{lines:?}");
    assert_eq!(lines[0], "weir: weir.toml:1: `alibaba_cams[0].name` is missing; this entry needs it");
    assert_eq!(lines[1], "weir: weir.toml:2: unknown key `alibaba_cams[0].nam`; did you mean `name`?");
    assert!(lines[2].starts_with("weir: weir.toml:4: `alibaba_cams[0].access_key_secret`"), "{lines:?}");
    assert!(lines[2].contains("the environment variable CAMS_SECRTE is not set"), "{lines:?}");
}

#[test]
fn a_config_without_accounts_is_refused() {
    let dir = config("listen = \"127.0.0.1:8080\"\n");
    for command in ["serve", "check"] {
        weir_in(dir.path(), &[command]).fails_with(2, &["weir.toml: no account", "[[alibaba_cams]]", "weir demo"]);
    }
}

#[test]
fn a_listen_flag_is_checked_like_the_config() {
    let dir = config(ACCOUNT);
    let ran = weir_in(dir.path(), &["serve", "--listen", "10.0.0.1:80"]);
    ran.fails_with(2, &["--listen", "other machines"]);
}

#[test]
fn check_explains_the_config_and_its_risks_without_the_keys() {
    let dir = config(&format!("state_dir = \"/tmp/weir-state\"\n{ACCOUNT}[upstream]\nguard = \"1s\"\n"));
    let ran = weir_in(dir.path(), &["check"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    for part in [
        "127.0.0.1:8080 (this machine only)",
        "/tmp/weir-state",
        "alibaba_cams \"retail\"",
        "https://cams.ap-southeast-1.aliyuncs.com",
        "set (hidden)",
        "cams-alpha",
        "GetChatappPhoneNumberMetric 60 a second (published: 50)",
        "EnableWhatsappROIMetric 5 a second (as published)",
        "Risky:\n- alibaba_cams \"retail\" makes 60 calls",
        "- a guard of 1s is less than the default 5s",
        "- the state folder will not last: it is in a folder for temporary files",
    ] {
        assert!(ran.out.contains(part), "{part:?} is not in {}", ran.out);
    }
}

#[test]
fn check_says_who_shares_a_quota_with_whom() {
    let entry = |name: &str, host: &str, more: &str| {
        format!(
            "[[alibaba_cams]]\nname = \"{name}\"\nendpoint = \"https://{host}\"\naccess_key_id = \"canary-id\"\n\
             access_key_secret = \"secret\"\nchannels = [\"{name}\"]\n{more}"
        )
    };
    let check = |text: String| {
        let ran = weir_in(config(&text).path(), &["check"]);
        assert!(ran.code == Some(0) && !ran.out.contains("canary"), "{}{}", ran.out, ran.err);
        ran.out
    };
    let one = "quota_account = \"one\"\n";
    let out = check(entry("a", "cams.example", one) + &entry("b", "eu.cams.example", one));
    assert!(out.contains("shared with a\n") && out.contains("shared with b\n"), "{out}");
    assert!(!out.contains("shares no quota"), "{out}");
    let out = check(entry("a", "cams.example", "") + &entry("b", "CAMS.example.", ""));
    assert!(out.contains("shared with a\n") && out.contains("shared with b\n"), "{out}");
    let out = check(entry("a", "cams.example", "") + &entry("b", "eu.cams.example", one));
    assert!(out.contains("shared with no other entry of this file"), "{out}");
    assert!(out.contains("\"a\" has the key of \"b\" and shares no quota with it"), "{out}");
}

#[test]
fn a_busy_port_says_how_to_choose_another() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let wanted = format!("weir: {address} is in use by another program; choose another with --listen");
    let dir = config(&ACCOUNT.replace("= 60", "= 50"));
    for command in ["demo", "simulate", "serve"] {
        weir_in(dir.path(), &[command, "--listen", &address]).fails_with(1, &[&wanted]);
    }
}

#[test]
fn serve_logs_what_is_risky_as_text_or_json_and_the_filter_silences_it() {
    let busy = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = busy.local_addr().unwrap().to_string();
    let dir = config(ACCOUNT);
    let serve = |more: &[&str]| weir_in(dir.path(), &[&["serve", "--listen", &address], more].concat()).err;
    let text = serve(&[]);
    let (log, failure) = text.split_once('\n').unwrap();
    assert!(log.contains("WARN") && log.contains("the config is risky") && log.contains("60 calls"), "{log}");
    assert!(!text.contains('\u{1b}'), "no colours where no terminal is: {text}");
    assert!(failure.starts_with("weir: "), "{failure}");
    let text = serve(&["--log-format", "json"]);
    let event: serde_json::Value = serde_json::from_str(text.lines().next().unwrap()).unwrap();
    assert_eq!((&event["level"], &event["message"]), (&"WARN".into(), &"the config is risky".into()));
    assert_eq!(serve(&["--log", "weir=error"]).lines().count(), 1);
    // So does the level in the config, unless a filter is given.
    let dir = config(&format!("{ACCOUNT}[log]\nlevel = \"error\"\n"));
    let serve = |more: &[&str]| weir_in(dir.path(), &[&["serve", "--listen", &address], more].concat()).err;
    assert_eq!(serve(&[]).lines().count(), 1);
    assert_eq!(serve(&["--log", "weir=warn"]).lines().count(), 2);
    assert_eq!(serve(&["--log-format", "json"]).lines().count(), 1);
}

#[test]
fn the_schema_is_printed_alone() {
    let ran = weir(&["schema"]);
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
    assert!(ran.out.contains("type Query {"), "{}", ran.out);
    assert!(ran.out.ends_with('\n'));
}

#[test]
fn a_reader_that_goes_away_is_no_failure() {
    let mut child = Command::new(env!("CARGO_BIN_EXE_weir"))
        .arg("--help")
        .env_clear()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    drop(child.stdout.take());
    let ran = Ran::of(&child.wait_with_output().unwrap());
    assert_eq!((ran.code, ran.err.as_str()), (Some(0), ""));
}

#[test]
fn an_archive_and_what_is_watched_are_explained_without_a_password() {
    let with = |url: &str, more: &str| config(&format!("{ACCOUNT}[archive]\nurl = \"{url}\"\nreader = \"bi\"\n{more}"));
    let check = |dir: &tempfile::TempDir| weir_in(dir.path(), &["check", "--config", "weir.toml"]);
    let watch = "[[watch]]\ndataset = \"phone_number_metrics\"\nsince = \"P30D\"\n";
    let ran = check(&with("postgres://weir:canary-password@db.example:5433/metrics", watch));
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(
        ran.out.contains("PostgreSQL at db.example:5433/metrics, which replicas share; bi may read it"),
        "{}",
        ran.out
    );
    assert!(
        ran.out.contains("messages of all channels by DAILY, every 30m until they are final, back to P30D ago"),
        "{}",
        ran.out
    );
    assert!(!ran.out.contains("canary"), "{}", ran.out);
    let ran = check(&with("sqlite:weir.db", ""));
    assert!(ran.out.contains("in the file weir.db"), "{}", ran.out);
    for (more, part) in [
        ("[[watch]]\ndataset = \"phone_numbers\"\n", "watch[0].dataset"),
        ("[[watch]]\ndataset = \"operation_distributions\"\nwindow = \"5h\"\n", "watch[0].window"),
        ("[[watch]]\ndataset = \"phone_number_metrics\"\nchannels = [\"cams-alpa\"]\n", "watch[0].channels[0]"),
        ("[[watch]]\ndataset = \"phone_number_metrics\"\napps = [\"x\"]\n", "watch[0].apps"),
        ("[[watch]]\ndataset = \"phone_number_metrics\"\nevery = \"10s\"\n", "watch[0].every"),
    ] {
        check(&with("sqlite:weir.db", more)).fails_with(2, &[part]);
    }
    check(&config(&format!("{ACCOUNT}{watch}"))).fails_with(2, &["set `[archive] url`"]);
}

#[test]
fn two_entries_that_collect_the_same_series_are_refused() {
    let entry = |more: &str| format!("[[watch]]\ndataset = \"{more}\n");
    let messages = |more: &str| entry(&format!("phone_number_metrics\"\n{more}"));
    let users = |more: &str| entry(&format!("operation_distributions\"\n{more}"));
    let check = |entries: &[String]| {
        let keys = "access_key_id = \"${CAMS_ID}\"\naccess_key_secret = \"${CAMS_SECRET}\"\n";
        let cams = format!("[[alibaba_cams]]\nname = \"retail\"\nchannels = [\"cams-alpha\", \"cams-beta\"]\n{keys}");
        let rtc = format!("[[volcengine_rtc]]\nname = \"calls\"\napps = [\"app-one\", \"app-two\"]\n{keys}");
        let archive = "[archive]\nurl = \"sqlite:weir.db\"\n";
        let text = format!("{cams}{rtc}{archive}{}", entries.concat());
        weir_in(config(&text).path(), &["check", "--config", "weir.toml"])
    };
    for entries in [
        [messages(""), messages("granularity = \"HALF_HOUR\"\n")],
        [users(""), users("dimension = \"COUNTRY\"\n")],
        [users("window = \"P7D\"\n"), users("")],
        [messages(""), users("")],
        [messages("channels = [\"cams-alpha\"]\n"), messages("channels = [\"cams-beta\"]\n")],
        [users("apps = [\"app-one\"]\n"), users("apps = [\"app-two\"]\n")],
    ] {
        let ran = check(&entries);
        assert_eq!(ran.code, Some(0), "{entries:?}: {}", ran.err);
    }
    for (entries, part) in [
        ([messages(""), messages("every = \"5m\"\n")], "messages of `cams-alpha` by DAILY"),
        ([messages(""), messages("channels = [\"cams-beta\"]\n")], "messages of `cams-beta` by DAILY"),
        (
            [messages("channels = [\"cams-alpha\", \"cams-beta\"]\n"), messages("channels = [\"cams-beta\"]\n")],
            "messages of `cams-beta` by DAILY",
        ),
        ([users(""), users("since = \"P5D\"\n")], "users of `app-one` by PROVINCE, windows of P1D"),
        (
            [
                users("window = \"24h\"\ndimension = \"COUNTRY\"\n"),
                users("apps = [\"app-two\"]\ndimension = \"COUNTRY\"\n"),
            ],
            "users of `app-two` by COUNTRY, windows of P1D",
        ),
    ] {
        check(&entries).fails_with(2, &["`watch[1]`", "`watch[0]`", part]);
    }
}

#[test]
fn a_shared_redis_is_explained_and_refused_without_its_password() {
    let with = |url: &str| config(&format!("{ACCOUNT}[shared]\nredis = \"{url}\"\n"));
    let ran =
        weir_in(with("redis://:canary-password@redis.example:6380/1").path(), &["check", "--config", "weir.toml"]);
    assert_eq!(ran.code, Some(0), "{}", ran.err);
    assert!(ran.out.contains("every replica at Redis redis.example:6380;"), "{}", ran.out);
    assert!(ran.out.contains("after 28s"), "{}", ran.out);
    let text = format!("{ACCOUNT}[shared]\nredis = \"redis://redis.example\"\nlongest_stop = \"9s\"\n");
    let ran = weir_in(config(&text).path(), &["check", "--config", "weir.toml"]);
    assert!(ran.out.contains("longer than the max_wait of 30s"), "{}", ran.out);
    let ran = weir_in(with("rediss://:canary-password@redis.example").path(), &["check", "--config", "weir.toml"]);
    ran.fails_with(2, &["shared.redis", "TLS"]);
    let ran = weir_in(config(ACCOUNT).path(), &["check", "--config", "weir.toml"]);
    assert!(ran.out.contains("this process is alone on its accounts"), "{}", ran.out);
}
