//! A wrong config says where it is wrong, what is wrong and how to mend it; a secret is never repeated.

use weir::config::{Config, ConfigError};

/// Two sound accounts; the cases spoil one thing each.
const SOUND: &str = r#"listen = "127.0.0.1:8080"
graphiql = "embedded"
state_dir = "/tmp/weir-state"
[[alibaba_cams]]
name = "retail"
endpoint = "https://cams.ap-southeast-1.aliyuncs.com"
access_key_id = "${CAMS_ID}"
access_key_secret = "${CAMS_SECRET}"
channels = ["cams-alpha"]
quota = { GetChatappPhoneNumberMetric = 40 }
[[alibaba_cams]]
name = "wholesale"
access_key_id = "second-id"
access_key_secret = "second-secret"
channels = ["cams-beta"]
[[volcengine_rtc]]
name = "calls"
version = "2020-12-01"
time_zone = "Asia/Shanghai"
access_key_id = "${RTC_ID}"
access_key_secret = "${RTC_SECRET}"
apps = ["app-one", "app-two"]
[cache]
max_bytes = "256MiB"
provisional_ttl = "5m"
[cache.settle]
volcengine_rtc = "8h30m"
[queue]
max_wait = "30s"
[upstream]
timeout = "10s"
guard = "5s"
max_rows = 100000
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "CAMS_ID" | "CAMS_SECRET" | "RTC_ID" | "RTC_SECRET" => Some(format!("canary{name}")),
        "EMPTY" => Some(String::new()),
        "ROWS" => Some("500".to_owned()),
        "LINE_END" => Some("canary-with-end\n".to_owned()),
        "CANARY" => Some("canary-value".to_owned()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Config, ConfigError> {
    Config::parse(text, "weir.toml", &env)
}

/// The messages for the sound config with one line put for another; none if that is accepted.
fn spoiled(line: &str, instead: &str) -> Vec<String> {
    assert!(SOUND.contains(line), "{line} is not in the sound config");
    parse(&SOUND.replacen(line, instead, 1)).map_or_else(|error| error.lines().to_vec(), |_| Vec::new())
}

#[test]
fn the_sound_config_is_read() {
    let config = parse(SOUND).unwrap();
    assert_eq!(config.alibaba_cams.len(), 2);
    assert_eq!(config.alibaba_cams[0].quota.of("GetChatappPhoneNumberMetric"), 40);
    assert_eq!(config.alibaba_cams[0].quota.of("EnableWhatsappROIMetric"), 5);
    assert_eq!(config.volcengine_rtc[0].apps, ["app-one", "app-two"]);
    assert_eq!(config.upstream.max_rows, 100_000);
    assert_eq!(config.cache.settle.volcengine_rtc, std::time::Duration::from_mins(510));
}

/// One function judges an endpoint, whether it is read from the file or its account is built.
#[test]
fn an_endpoint_that_the_config_takes_is_one_that_the_start_can_use() {
    for host in ["127.0.0.1", "[::1]", "[::ffff:127.0.0.1]", "localhost"] {
        let line = "endpoint = \"https://cams.ap-southeast-1.aliyuncs.com\"";
        let text = SOUND.replacen(line, &format!("endpoint = \"http://{host}:9090\""), 1);
        let config = parse(&text).unwrap();
        assert!(config.alibaba_cams[0].account().is_ok(), "{host}");
    }
}

/// (line of the sound config, what stands there instead, the whole message)
const CASES: &[(&str, &str, &str)] = &[
    ("listen =", "lisen =", "weir.toml:1: unknown key `lisen`; did you mean `listen`?"),
    (
        "provisional_ttl =",
        "provisional_tll =",
        "weir.toml:25: unknown key `cache.provisional_tll`; did you mean `provisional_ttl`?",
    ),
    ("[queue]", "[que]", "weir.toml:28: unknown key `que`; did you mean `queue`?"),
    (
        "channels = [\"cams-beta\"]",
        "channels = [\"cams-beta\"]\nchanels = []",
        "weir.toml:16: unknown key `alibaba_cams[1].chanels`; did you mean `channels`?",
    ),
    (
        "{ GetChatappPhoneNumberMetric = 40 }",
        "{ getchatappphonenumbermetrics = 40 }",
        "weir.toml:10: unknown key `alibaba_cams[0].quota.getchatappphonenumbermetrics`; did you mean \
         `GetChatappPhoneNumberMetric`?",
    ),
    (
        "[queue]",
        "[http]\nhosts = [\n\"metrics.example.com\",\n\"https://metrics.example.com\",\n]\n[queue]",
        "weir.toml:31: `http.hosts[1]`: not a host as browsers send it; write it in ASCII and without scheme, port or path, \
         like \"metrics.example.com\"",
    ),
    (
        "[queue]",
        "[http]\ncors_origins = [\"*\"]\n[queue]",
        "weir.toml:29: `http.cors_origins[0]`: would let any site in, and weir asks for no key yet; list the origins \
         themselves",
    ),
    (
        "[queue]",
        "[telemetry]\notlp = \"127.0.0.1:4318\"\n[queue]",
        "weir.toml:29: `telemetry.otlp`: not the address of a collector; write it like \"http://127.0.0.1:4318\"",
    ),
    (
        "[queue]",
        "[telemetry]\notlp = \"http://me:canary@127.0.0.1:4318\"\n[queue]",
        "weir.toml:29: `telemetry.otlp`: holds a name or a password; leave both out: whoever reads the config would see them",
    ),
    (
        "[queue]",
        "[log]\nlevel = \"loud\"\n[queue]",
        "weir.toml:29: `log.level`: there is no such choice; known here: error, warn, info, debug, trace",
    ),
    ("max_wait = \"30s\"", "zzz = 1", "weir.toml:29: unknown key `queue.zzz`; known here: max_wait, bulk_max_wait"),
    (
        "access_key_id = \"${CAMS_ID}\"",
        "access_key_id = \"${NOT_THERE}\"",
        "weir.toml:7: `alibaba_cams[0].access_key_id`: the environment variable NOT_THERE is not set; set it, or \
         write `$${` for a plain `${`",
    ),
    (
        "access_key_id = \"${CAMS_ID}\"\n",
        "",
        "weir.toml:4: `alibaba_cams[0].access_key_id` is missing; this entry needs it",
    ),
    (
        "access_key_secret = \"${CAMS_SECRET}\"",
        "access_key_secret = \"${EMPTY}\"",
        "weir.toml:8: `alibaba_cams[0].access_key_secret`: is empty; the vendor gives it with the access key",
    ),
    (
        "access_key_secret = \"${CAMS_SECRET}\"",
        "access_key_secret = \"${LINE_END}\"",
        "weir.toml:8: `alibaba_cams[0].access_key_secret`: holds a space, a line end or another character that no key \
         has; take it out",
    ),
    (
        "access_key_secret = \"${CAMS_SECRET}\"",
        "access_key_secret = 123454321",
        "weir.toml:8: `alibaba_cams[0].access_key_secret`: expected text in quotes, found a whole number",
    ),
    (
        "listen = \"127.0.0.1:8080\"",
        "listen = \"0.0.0.0:8080\"",
        "weir.toml:1: `listen`: other machines can reach this address, and nobody has to show a key; add [[api_keys]] \
         (`weir key new` makes one) or [jwt], or listen on loopback, like \"127.0.0.1:8080\"",
    ),
    (
        "listen = \"127.0.0.1:8080\"",
        "listen = \"8080\"",
        "weir.toml:1: `listen`: not an address and port; write them like \"127.0.0.1:8080\" or \"[::1]:8080\"",
    ),
    (
        "listen = \"127.0.0.1:8080\"",
        "listen = 127.0.0.1",
        "weir.toml:1: this is not TOML: the value of `listen` is text and needs quotes around it",
    ),
    (
        "provisional_ttl = \"5m\"",
        "provisional_ttl = 8h30m",
        "weir.toml:25: this is not TOML: the value of `provisional_ttl` is text and needs quotes around it",
    ),
    (
        "access_key_secret = \"second-secret\"",
        "access_key_secret = canary/secret+",
        "weir.toml:14: this is not TOML: the value of `access_key_secret` is text and needs quotes around it",
    ),
    (
        "[\"cams-beta\"]",
        "[cams-beta]",
        "weir.toml:15: this is not TOML: the value of `channels` is text and needs quotes around it",
    ),
    (
        "graphiql = \"embedded\"",
        "graphiql = \"embeded\"",
        "weir.toml:2: `graphiql`: there is no such choice; did you mean `embedded`?",
    ),
    (
        "https://cams.ap-southeast-1.aliyuncs.com",
        "http://cams.ap-southeast-1.aliyuncs.com",
        "weir.toml:6: `alibaba_cams[0].endpoint`: http:// is for loopback only, as keys and data would go in the \
         clear; write https://",
    ),
    (
        "https://cams.ap-southeast-1.aliyuncs.com",
        "https://me:canary-pass@cams.ap-southeast-1.aliyuncs.com",
        "weir.toml:6: `alibaba_cams[0].endpoint`: holds a user or a password; the keys go into access_key_id and \
         access_key_secret",
    ),
    (
        "name = \"wholesale\"",
        "name = \"retail\"",
        "weir.toml:12: `alibaba_cams[1].name`: \"retail\" is the name of `alibaba_cams[0]` already; give each account \
         of a vendor its own",
    ),
    (
        "name = \"wholesale\"",
        "name = \" \"",
        "weir.toml:12: `alibaba_cams[1].name`: is empty; answers, errors and logs call the account by this name",
    ),
    (
        "channels = [\"cams-beta\"]",
        "channels = [\"cams-beta\",\n  \"cams-alpha\"]",
        "weir.toml:16: `alibaba_cams[1].channels[1]`: \"cams-alpha\" is served by `alibaba_cams[0].channels[0]` \
         already; a query finds its account by this id, so list it once",
    ),
    (
        "channels = [\"cams-beta\"]\n",
        "",
        "weir.toml:11: `alibaba_cams[1].channels`: only a single account may go without channels; list the \
         CustSpaceIds that this account serves",
    ),
    (
        "[\"app-one\", \"app-two\"]",
        "[\"app-one\", \"\"]",
        "weir.toml:22: `volcengine_rtc[0].apps[1]`: is empty, or has a space or control character around or in it",
    ),
    (
        "GetChatappPhoneNumberMetric = 40",
        "GetChatappPhoneNumberMetric = 0",
        "weir.toml:10: `alibaba_cams[0].quota.GetChatappPhoneNumberMetric`: a quota of 0 lets no call through; the \
         published limit is 50",
    ),
    (
        "GetChatappPhoneNumberMetric = 40",
        "GetChatappPhoneNumberMetric = -1",
        "weir.toml:10: `alibaba_cams[0].quota.GetChatappPhoneNumberMetric`: the value does not fit; expected a whole \
         number of 0 or more",
    ),
    (
        "GetChatappPhoneNumberMetric = 40",
        "GetChatappPhoneNumberMetric = 20000",
        "weir.toml:10: `alibaba_cams[0].quota.GetChatappPhoneNumberMetric`: calls a second; at most 10000 are taken",
    ),
    (
        "access_key_id = \"second-id\"",
        "access_key_id = \"${CAMS_ID}\"",
        "weir.toml:11: `alibaba_cams[1].quota.GetChatappPhoneNumberMetric`: differs from that of `alibaba_cams[0]`, \
         which is the same vendor account and shares it; make them equal",
    ),
    (
        "version = \"2020-12-01\"",
        "version = \"2021-01-01\"",
        "weir.toml:18: `volcengine_rtc[0].version`: \"2021-01-01\" is no version that weir can speak; write \
         \"2020-12-01\" or \"2023-11-01\"",
    ),
    (
        "version = \"2020-12-01\"",
        "version = 2020-12-01",
        "weir.toml:18: `volcengine_rtc[0].version`: expected something else than a date; put it in quotes",
    ),
    (
        "\"Asia/Shanghai\"",
        "\"Asia/Shangai\"",
        "weir.toml:19: `volcengine_rtc[0].time_zone`: \"Asia/Shangai\" is no known time zone; did you mean \
         \"Asia/Shanghai\"?",
    ),
    (
        "\"Asia/Shanghai\"",
        "\"${CANARY}\"",
        "weir.toml:19: `volcengine_rtc[0].time_zone`: \"${CANARY}\" is no known time zone; write an IANA name, like \
         \"Asia/Shanghai\" or \"UTC\"",
    ),
    (
        "max_bytes = \"256MiB\"",
        "max_bytes = \"25 cats\"",
        "weir.toml:24: `cache.max_bytes`: not a size; write a number and its unit, like \"256MiB\"",
    ),
    (
        "max_bytes = \"256MiB\"",
        "max_bytes = \"16EiB\"",
        "weir.toml:24: `cache.max_bytes`: more than any machine has for it; the largest is \"1TiB\"",
    ),
    (
        "[queue]",
        "[http]\nmax_body = \"16EiB\"\n[queue]",
        "weir.toml:29: `http.max_body`: more than any machine has for it; the largest is \"1TiB\"",
    ),
    (
        "[queue]",
        "[limits]\nconnections = 0\n[queue]",
        "weir.toml:29: `limits.connections`: must be at least 1, or nobody is answered",
    ),
    (
        "[queue]",
        "[limits]\nrequests = 0\n[queue]",
        "weir.toml:29: `limits.requests`: must be at least 1, or nobody is answered",
    ),
    (
        "[queue]",
        "[limits]\nshadow = [\"depth\", \"answer_bytes\"]\n[queue]",
        "weir.toml:29: `limits.shadow`: the limit answer_bytes has no shadow, because it keeps the process from running out of \
         memory; these can be counted alone: depth, fields, root_fields, aliases, directives, slices, calls, pull_calls, \
         connections_per_peer, requests, requests_per_caller, calls_per_day",
    ),
    (
        "[queue]",
        "[limits]\nshadow = [\"alias\"]\n[queue]",
        "weir.toml:29: `limits.shadow`: there is no such limit; did you mean `aliases`?; these can be counted alone: depth, fields, \
         root_fields, aliases, directives, slices, calls, pull_calls, connections_per_peer, requests, requests_per_caller, calls_per_day",
    ),
    (
        "[queue]",
        "[limits]\nheld_body_bytes = \"1KiB\"\n[queue]",
        "weir.toml:29: `limits.held_body_bytes`: must be at least `http.max_body`, or a body of that length is never read",
    ),
    (
        "[queue]",
        "[http]\ntls = { certificate = \"weir.crt\" }\n[queue]",
        "weir.toml:29: `http.tls.key`: names no file; TLS needs a certificate and its key",
    ),
    (
        "[queue]",
        "[http]\ntls = { key = \"weir.key\" }\n[queue]",
        "weir.toml:29: `http.tls.certificate`: names no file; TLS needs a certificate and its key",
    ),
    (
        "[queue]",
        "[http]\ntrusted_proxies = [\n\"127.0.0.1\",\n\"proxy.example\",\n]\n[queue]",
        "weir.toml:31: `http.trusted_proxies[1]`: not an address or a network; write it like \"127.0.0.1\" or \"10.0.0.0/8\"",
    ),
    (
        "[queue]",
        "[http]\ntrusted_proxies = [\"0.0.0.0/0\"]\n[queue]",
        "weir.toml:29: `http.trusted_proxies[0]`: would believe anybody; list the proxies themselves",
    ),
    (
        "max_bytes = \"256MiB\"",
        "max_bytes = 1024",
        "weir.toml:24: `cache.max_bytes`: answers are served from the cache; give it at least \"1MiB\"",
    ),
    (
        "provisional_ttl = \"5m\"",
        "provisional_ttl = 300",
        "weir.toml:25: `cache.provisional_ttl`: expected a duration in quotes with its unit, like \"5m\", \"8h30m\" or \
         \"0s\", found a whole number",
    ),
    (
        "volcengine_rtc = \"8h30m\"",
        "volcengine_rtc = \"-8h\"",
        "weir.toml:27: `cache.settle.volcengine_rtc`: a duration cannot be negative",
    ),
    (
        "timeout = \"10s\"",
        "timeout = \"0s\"",
        "weir.toml:31: `upstream.timeout`: must be longer than zero, like \"5s\"",
    ),
    ("guard = \"5s\"", "guard = \"0s\"", "weir.toml:32: `upstream.guard`: must be longer than zero, like \"5s\""),
    (
        "max_rows = 100000",
        "max_rows = 0",
        "weir.toml:33: `upstream.max_rows`: must be at least 1; the default is 100000",
    ),
    (
        "max_rows = 100000",
        "max_rows = \"many\"",
        "weir.toml:33: `upstream.max_rows`: expected a whole number of 0 or more, found text",
    ),
    (
        "max_rows = 100000",
        "[[api_keys]]\nname = \"a\"\nhash = \"sha256:12\"",
        "weir.toml:35: `api_keys[0].hash`: not the hash of a key: write sha256: and 64 hex digits, as `weir key new` prints \
         them",
    ),
    (
        "max_rows = 100000",
        "[[api_keys]]\nname = \"a\"\nhash = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nchannels = \
         [\"cams-alpa\"]",
        "weir.toml:36: `api_keys[0].channels[0]`: no configured account serves it; did you mean `cams-alpha`?",
    ),
    (
        "max_rows = 100000",
        "[[api_keys]]\nname = \"a#b\"\nhash = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"",
        "weir.toml:34: `api_keys[0].name`: is empty, or has a space around it or a # or control character in it; logs and \
         metrics show it",
    ),
    (
        "max_rows = 100000",
        "[[api_keys]]\nname = \"a\"\nhash = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n\
         [[api_keys]]\nname = \"a\"\nhash = \"sha256:bbaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\nphones = \
         \"masked\"",
        "weir.toml:37: `api_keys[1].name`: is the name of `api_keys[0]`, and what they may differs; keys of one name are one \
         caller's, so make the entries equal but for `hash` and `expires`",
    ),
    (
        "max_rows = 100000",
        "[[api_keys]]\nname = \"a\"\nhash = \"sha256:aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa\"\n\
         expires = 2027-01-01T00:00:00Z",
        "weir.toml:36: `api_keys[0].expires`: expected something else than a date; put it in quotes",
    ),
    (
        "max_rows = 100000",
        "[jwt]\nissuer = \"https://a.example\"\naudience = \"weir\"\njwks = \"http://a.example/jwks.json\"",
        "weir.toml:36: `jwt.jwks`: must be an https:// URL, or http:// on loopback: whoever changes the keys on their way \
         lets anybody in",
    ),
    (
        "max_rows = 100000",
        "[jwt]\nissuer = \"https://a.example\"\naudience = \"weir\"\njwks = \"keys.json\"\nalgorithms = [\"HS256\"]",
        "weir.toml:37: `jwt.algorithms[0]`: there is no such choice; did you mean `ES256`?",
    ),
    (
        "[[volcengine_rtc]]",
        "[volcengine_rtc]",
        "weir.toml:16: `volcengine_rtc`: expected a list in [brackets], found a section of keys",
    ),
];

#[test]
fn each_mistake_has_one_line_with_place_key_and_mend() {
    for (line, instead, message) in CASES {
        assert_eq!(spoiled(line, instead), [*message], "{instead}");
    }
}

#[test]
fn text_that_is_not_toml_names_the_line() {
    let lines = spoiled("name = \"wholesale\"", "name = wholesale");
    assert!(lines[0].starts_with("weir.toml:12: this is not TOML: "), "{lines:?}");
    let lines = spoiled("name = \"wholesale\"", "name = \"a\"\nname = \"b\"");
    assert!(lines[0].starts_with("weir.toml:13: this is not TOML: duplicate key"), "{lines:?}");
}

#[test]
fn all_mistakes_are_reported_at_once_in_the_order_of_the_file() {
    let text = SOUND
        .replace("max_rows = 100000", "max_rows = 0\nmax_row = 3")
        .replace("listen =", "lisen =")
        .replace("${CAMS_ID}", "${GONE}")
        .replace("name = \"wholesale\"", "")
        .replace("\"Asia/Shanghai\"", "\"Mars/Olympus\"");
    let error = parse(&text).unwrap_err();
    let places: Vec<String> = error.lines().iter().map(|line| line.split(": ").next().unwrap().to_owned()).collect();
    assert_eq!(
        places,
        ["weir.toml:1", "weir.toml:7", "weir.toml:11", "weir.toml:19", "weir.toml:33", "weir.toml:34"],
        "{error}"
    );
}

#[test]
fn an_account_that_cannot_be_read_does_not_hide_mistakes_behind_it() {
    let text = SOUND.replace("name = \"retail\"\n", "").replace("channels = [\"cams-beta\"]", "channels = [\" \"]");
    let error = parse(&text).unwrap_err();
    assert_eq!(error.lines().len(), 2, "{error}");
    assert!(error.lines()[1].starts_with("weir.toml:14: `alibaba_cams[1].channels[0]`"), "{error}");
}

#[test]
fn variables_become_what_their_key_asks_for() {
    let text = SOUND.replace("max_rows = 100000", "max_rows = \"${ROWS}\"").replace("cams-beta", "$${ROWS}-${ROWS}");
    let config = parse(&text).unwrap();
    assert_eq!(config.upstream.max_rows, 500);
    assert_eq!(config.alibaba_cams[1].channels, ["${ROWS}-500"]);
}

#[test]
fn a_single_account_may_go_without_channels_and_a_quota_may_be_raised() {
    let (head, _) = SOUND.split_once("[[alibaba_cams]]\nname = \"wholesale\"").unwrap();
    let text = head.replace("channels = [\"cams-alpha\"]", "channels = []").replace("Metric = 40", "Metric = 80");
    let config = parse(&text).unwrap();
    assert!(config.alibaba_cams[0].channels.is_empty());
    assert_eq!(config.alibaba_cams[0].quota.of("GetChatappPhoneNumberMetric"), 80);
}

#[test]
fn accounts_are_asked_for_only_where_they_are_needed() {
    let config = Config::parse("state_dir = \"/tmp/weir-state\"", "weir.toml", &env).unwrap();
    let error = config.require_accounts("weir.toml").unwrap_err();
    assert!(error.to_string().contains("no account is configured"), "{error}");
    assert!(parse(SOUND).unwrap().require_accounts("weir.toml").is_ok());
}

#[test]
fn a_file_that_cannot_be_read_is_named() {
    let dir = tempfile::tempdir().unwrap();
    let missing = dir.path().join("none.toml");
    let error = Config::load(&missing, &env).unwrap_err().to_string();
    assert!(error.starts_with(&format!("{}: no such file", missing.display())), "{error}");
    std::fs::write(dir.path().join("latin.toml"), b"listen = \"\xe9\"").unwrap();
    let error = Config::load(&dir.path().join("latin.toml"), &env).unwrap_err().to_string();
    assert!(error.ends_with("not UTF-8 text"), "{error}");
}

#[test]
fn no_secret_and_no_value_of_the_environment_is_ever_shown() {
    let config = parse(SOUND).unwrap();
    let shown = format!("{config:?} {config:#?}");
    assert!(shown.contains("retail"), "the rest of the config is shown");
    for secret in ["canary", "second-id", "second-secret"] {
        assert!(!shown.contains(secret), "{secret} is shown");
    }
    for (line, instead, _) in CASES {
        let error = parse(&SOUND.replacen(line, instead, 1)).unwrap_err();
        for secret in ["canary", "second-id", "second-secret", "123454321"] {
            assert!(!format!("{error} {error:?}").contains(secret), "{secret} is in {error}");
        }
    }
    for broken in ["canary-raw", "\"canary\\q\"", "\"canary", "canary\naccess_key_secret = canary"] {
        let line = spoiled("access_key_secret = \"second-secret\"", &format!("access_key_secret = {broken}"));
        assert!(!format!("{line:?}").contains("canary"), "{line:?}");
    }
    for key in ["listen", "graphiql", "state_dir"] {
        let text = format!("{key} = \"${{CANARY}}\"\nzzz = \"${{CANARY}}\"\n[queue]\nmax_wait = \"${{CANARY}}\"");
        let error = parse(&text).unwrap_err();
        assert!(!format!("{error:?}").contains("canary"), "{error}");
    }
}
