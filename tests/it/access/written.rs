//! No secret is in what weir writes: not in the archive, not in Redis, not in a trace, a file of state or a line of the log.
//!
//! Phone numbers are the archive's data and stand in it whole; that they are found there shows that the search finds things.

use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep;
use weir::access::keys::{generate, hash_of};

use super::canaries::basic;
use super::key_lines;
use super::tokens::{Issuer, file, jwt_lines};
use crate::operations::traces::Collector;
use crate::support::postgres::{PASSWORD, Postgres};
use crate::support::process::{Process, config, in_time, note_a_clean_end, run};
use crate::support::redis::Redis;
use crate::support::server::read_all;

const REDIS_PASSWORD: &str = "canary-of-redis";
const VENDOR: [&str; 3] = ["canary-key-id", "canary-vendor-secret", "canary-sts-token"];

/// Everything that must be nowhere.
struct Secrets(Vec<(&'static str, String)>);

impl Secrets {
    fn of(key: &str, token: &str) -> Self {
        let [id, secret, sts] = VENDOR.map(str::to_owned);
        let signature = token.rsplit('.').next().unwrap().to_owned();
        let hash = hash_of(key)["sha256:".len()..].to_owned();
        Self(vec![
            ("key id", id),
            ("vendor's secret", secret),
            ("STS token", sts),
            ("key", key.to_owned()),
            ("key in Basic", basic(key)),
            ("key's hash", hash),
            ("token", token.to_owned()),
            ("token's signature", signature),
            ("password of Redis", REDIS_PASSWORD.to_owned()),
            ("password of PostgreSQL", PASSWORD.to_owned()),
            ("password of PostgreSQL", PASSWORD.replace(' ', "%20")),
        ])
    }

    fn assert_absent(&self, bytes: &[u8], what: &str) {
        for (name, secret) in &self.0 {
            let at = bytes.windows(secret.len()).position(|part| part == secret.as_bytes());
            assert!(at.is_none(), "{what} has the {name}, at {at:?} of {}", bytes.len());
        }
    }
}

/// What somebody sends to Redis, as Redis tells it.
struct Overheard(Arc<Mutex<Vec<u8>>>);

impl Overheard {
    async fn of(redis: &Redis) -> Self {
        let mut stream = TcpStream::connect(("127.0.0.1", redis.port())).await.unwrap();
        stream.write_all(format!("AUTH {REDIS_PASSWORD}\r\nMONITOR\r\n").as_bytes()).await.unwrap();
        let all = Arc::new(Mutex::new(Vec::new()));
        let heard = Arc::clone(&all);
        tokio::spawn(async move {
            let mut part = vec![0; 1 << 16];
            while let Ok(length) = stream.read(&mut part).await
                && length > 0
            {
                heard.lock().unwrap().extend_from_slice(&part[..length]);
            }
        });
        Self(all)
    }

    fn bytes(&self) -> Vec<u8> {
        self.0.lock().unwrap().clone()
    }
}

/// Every key of Redis with what it holds, as Redis writes it.
async fn dump(redis: &Redis) -> Vec<u8> {
    let url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}", redis.port());
    let mut connection = redis::Client::open(url).unwrap().get_multiplexed_async_connection().await.unwrap();
    let keys: Vec<Vec<u8>> = redis::cmd("KEYS").arg("*").query_async(&mut connection).await.unwrap();
    let mut all = Vec::new();
    for key in keys {
        all.extend_from_slice(&key);
        let kind: String = redis::cmd("TYPE").arg(&key).query_async(&mut connection).await.unwrap();
        let mut read = match kind.as_str() {
            "string" => redis::cmd("GET"),
            "hash" => redis::cmd("HGETALL"),
            "none" => continue,
            other => panic!("nobody reads a {other} here yet"),
        };
        let value: redis::Value = read.arg(&key).query_async(&mut connection).await.unwrap();
        flatten(&value, &mut all);
    }
    all
}

fn flatten(value: &redis::Value, all: &mut Vec<u8>) {
    match value {
        redis::Value::BulkString(bytes) => all.extend_from_slice(bytes),
        redis::Value::Array(parts) => parts.iter().for_each(|part| flatten(part, all)),
        redis::Value::Nil => {}
        other => all.extend_from_slice(format!("{other:?}").as_bytes()),
    }
}

/// All that is in a folder, but for the config and the issuer's keys.
fn files(dir: &Path) -> Vec<u8> {
    let mut all = Vec::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        all.extend_from_slice(path.file_name().unwrap().as_encoded_bytes());
        if path.is_dir() {
            all.extend(files(&path));
        } else if path.file_name().is_none_or(|name| name != "weir.toml") {
            all.extend(std::fs::read(&path).unwrap());
        }
    }
    all
}

/// All rows of all tables and views of an archive in PostgreSQL.
async fn rows(postgres: &Postgres) -> Vec<u8> {
    let tables = "SELECT table_name FROM information_schema.tables WHERE table_schema = 'weir'";
    let tables = postgres.column(tables).await;
    assert!(tables.len() >= 6, "{tables:?}");
    let mut all = Vec::new();
    for table in tables {
        let rows = postgres.column(&format!("SELECT t::text FROM weir.\"{table}\" t")).await;
        all.extend(rows.into_iter().flat_map(String::into_bytes));
    }
    all
}

/// A weir whose every secret is a canary.
async fn serve(dir: &Path, vendors: &Process, more: &str, keys: &str) -> Process {
    let path = config(dir, &vendors.address, more);
    let text = std::fs::read_to_string(&path).unwrap();
    let [id, secret, sts] = VENDOR;
    let own = format!("access_key_id = \"{id}\"\naccess_key_secret = \"{secret}\"\nsecurity_token = \"{sts}\"\n");
    let demo = "access_key_id = \"weir-demo\"\naccess_key_secret = \"weir-demo-secret\"\n";
    std::fs::write(&path, format!("{}{keys}", text.replace(demo, &own))).unwrap();
    note_a_clean_end(&path);
    Process::serve_in(&path, &[("WEIR_LOG", "trace".to_owned())]).await
}

/// Sends a request with a header of its own; the whole answer.
async fn ask(weir: &Process, head: &str, credential: &str, body: &Value) -> String {
    let body = if body.is_null() { String::new() } else { body.to_string() };
    let request = format!(
        "{head} HTTP/1.1\r\nhost: localhost\r\n{credential}\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\
         connection: close\r\n\r\n{body}",
        body.len()
    );
    let mut stream = in_time(TcpStream::connect(&weir.address)).await.unwrap();
    stream.write_all(request.as_bytes()).await.unwrap();
    in_time(read_all(&mut stream)).await
}

/// Has a weir do a little of everything, well and badly, by a key and by a token; all that it has answered.
async fn use_it(weir: &Process, key: &str, token: &str) -> Vec<u8> {
    let by_key = format!("authorization: Bearer {key}");
    let mut told = String::new();
    for credential in
        [&by_key, &format!("authorization: Bearer {token}"), &format!("authorization: Basic {}", basic(key))]
    {
        for (n, query) in [
            "{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P9D\"}) { nodes { phoneNumber } pageInfo { endCursor } } }",
            "{ operationDistribution(appId: \"app-one\", range: {last: \"P3D\"}) { start data { distributionName } } }",
            "{ phoneNumberMetrics(custSpaceId: \"nobody\", range: {last: \"P1D\"}) { totalCount } }",
            "mutation { enableWhatsappRoiMetric(custSpaceId: \"cams-alpha\") { requestId } }",
        ]
        .into_iter()
        .enumerate()
        {
            let answer = ask(weir, "POST /graphql", credential, &json!({ "query": query })).await;
            assert_eq!(answer.contains("\"errors\""), n == 2, "{answer}");
            told += &answer;
        }
        let rows = ask(weir, "GET /rows/phone_number_metrics.csv?last=P9D", credential, &Value::Null).await;
        assert!(rows.starts_with("HTTP/1.1 200 "), "{rows}");
        for path in ["/rows/measurements.parquet?last=P3D", "/metrics", "/rows", "/rows/nothing.csv"] {
            told += &String::from_utf8_lossy(&raw(weir, path, credential).await);
        }
    }
    // Where nobody should write it.
    for path in [format!("/graphql?query=%7Bx%7D&key={key}"), format!("/rows/phone_number_metrics.csv?token={token}")] {
        told += &ask(weir, &format!("GET {path}"), "x-api-key: wrong", &Value::Null).await;
    }
    let variables = json!({ "query": "query($a: ID) { channels { account } }", "variables": { "a": key } });
    told += &ask(weir, "POST /graphql", &by_key, &variables).await;
    told.into_bytes()
}

async fn raw(weir: &Process, path: &str, credential: &str) -> Vec<u8> {
    let mut stream = in_time(TcpStream::connect(&weir.address)).await.unwrap();
    let request = format!("GET {path} HTTP/1.1\r\nhost: localhost\r\n{credential}\r\nconnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = Vec::new();
    in_time(stream.read_to_end(&mut answer)).await.unwrap();
    answer
}

fn has_a_phone(bytes: &[u8]) -> bool {
    bytes.windows(13).any(|part| part.starts_with(b"86") && part.iter().all(u8::is_ascii_digit))
}

/// A weir in front of an archive, and in front of Redis where there is one; both looked through while it runs and after it.
async fn nothing_is_written(archive: &str, postgres: Option<&Postgres>, redis: Option<&Redis>) {
    let (dir, issuer) = (TempDir::new().unwrap(), Issuer::new());
    let (key, jwks) = (generate(), file(&issuer));
    let token = issuer.token(&json!({ "iat": 1, "exp": 4_102_444_800_i64 }));
    let secrets = Secrets::of(&key, &token);
    let vendors = Process::simulate(&["--key", &format!("{}:{}", VENDOR[0], VENDOR[1])]).await;
    let (collector, otlp) = Collector::start().await;
    let archive = archive.replace("{dir}", dir.path().to_str().unwrap());
    let mut more = format!("archive.url = \"{archive}\"\ntelemetry.otlp = \"{otlp}\"\n");
    let overheard = match redis {
        Some(redis) => {
            let () = redis.run(&["CONFIG", "SET", "requirepass", REDIS_PASSWORD]).await;
            let url = format!("redis://:{REDIS_PASSWORD}@127.0.0.1:{}", redis.port());
            more += &format!(
                "shared = {{ redis = \"{url}\", longest_stop = \"1s\" }}\n\
                 upstream = {{ connect_timeout = \"500ms\", timeout = \"1s\", guard = \"200ms\" }}\n"
            );
            Some(Overheard::of(redis).await)
        }
        None => None,
    };
    let keys = format!("{}{}", key_lines("own", &key, ""), jwt_lines(jwks.path()));
    let mut weir = serve(dir.path(), &vendors, &more, &keys).await;
    secrets.assert_absent(&use_it(&weir, &key, &token).await, "an answer");
    if let Some(redis) = redis {
        let held = dump(redis).await;
        assert!(held.len() > 1_000, "replicas would find something: {}", held.len());
        secrets.assert_absent(&held, "Redis");
    }
    // What is final is written in the background.
    sleep(Duration::from_millis(500)).await;
    let running = files(dir.path());
    weir.terminate().await;
    assert!(weir.ended().await.success());
    let written = [running, files(dir.path())].concat();
    secrets.assert_absent(&written, "a file");
    let kept = match postgres {
        Some(postgres) => rows(postgres).await,
        None => written,
    };
    assert!(has_a_phone(&kept), "the archive has its rows");
    secrets.assert_absent(&kept, "the archive");
    if let (Some(redis), Some(overheard)) = (redis, overheard) {
        secrets.assert_absent(&dump(redis).await, "Redis");
        let overheard = overheard.bytes();
        assert!(String::from_utf8_lossy(&overheard).contains("\"EVALSHA\""), "weir was overheard");
        // Redis itself takes passwords out of what it tells.
        secrets.assert_absent(&overheard, "what Redis was sent");
    }
    let (traces, spans) = collector.spans();
    assert!(spans.len() > 20, "{}", spans.len());
    secrets.assert_absent(&traces, "a trace");
    let printed = weir.has_printed("stopped").await;
    assert!(printed.contains("request answered"), "something was logged");
    secrets.assert_absent(printed.as_bytes(), "the log");
    let path = dir.path().join("weir.toml");
    for args in [&["check", "--config"][..], &["check", "--online", "--config"]] {
        let checked = run(&[args, &[path.to_str().unwrap()]].concat()).await;
        assert!(checked.out.contains("retail"), "{checked:?}");
        secrets.assert_absent(format!("{}{}", checked.out, checked.err).as_bytes(), "`weir check`");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_a_file_of_the_archive() {
    nothing_is_written("sqlite:{dir}/weir.db", None, None).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn no_secret_is_in_what_replicas_share() {
    let (Some(redis), Some(postgres)) = (Redis::start(&[]).await, Postgres::start().await) else { return };
    nothing_is_written(&postgres.url(), Some(&postgres), Some(&redis)).await;
}
