//! Tokens of an issuer: those that are good, and all the ways in which others are not.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair, RSA_PKCS1_SHA256, RsaKeyPair};
use axum::Router;
use axum::routing::get as route;
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde_json::{Value, json};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use weir::config::Jwt;
use weir::domain::time::Timestamp;

use super::{ask, door};
use crate::support::{METRIC, NOW, TestGateway};

const QUERY: &str = "{ channels { custSpaceId } phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P1D\"}) { totalCount } }";
const ISSUER: &str = "https://login.example.com";

/// An issuer with two keys.
pub(super) struct Issuer {
    rsa: RsaKeyPair,
    ec: EcdsaKeyPair,
}

impl Issuer {
    pub(super) fn new() -> Self {
        let rsa = RsaKeyPair::generate(aws_lc_rs::rsa::KeySize::Rsa2048).unwrap();
        Self { rsa, ec: EcdsaKeyPair::generate(&ECDSA_P256_SHA256_FIXED_SIGNING).unwrap() }
    }

    fn jwks(&self) -> Value {
        let public = self.rsa.public_key();
        let [n, e] =
            [public.modulus().big_endian_without_leading_zero(), public.exponent().big_endian_without_leading_zero()];
        let point = self.ec.public_key().as_ref();
        json!({ "keys": [
            { "kty": "RSA", "kid": "r1", "use": "sig", "alg": "RS256", "n": encode(n), "e": encode(e) },
            { "kty": "EC", "kid": "e1", "use": "sig", "crv": "P-256", "x": encode(&point[1..33]), "y": encode(&point[33..]) },
            // What is for other purposes, or of kinds that nobody knows, is passed over.
            { "kty": "RSA", "kid": "enc", "use": "enc", "n": encode(n), "e": encode(e) },
            { "kty": "oct", "kid": "shared", "k": encode(b"secret") },
            { "kty": "new", "kid": "new" },
        ] })
    }

    fn sign(&self, header: &Value, claims: &Value) -> String {
        let text = format!("{}.{}", encode(header.to_string().as_bytes()), encode(claims.to_string().as_bytes()));
        let random = SystemRandom::new();
        let signature = if header["alg"] == "ES256" {
            self.ec.sign(&random, text.as_bytes()).unwrap().as_ref().to_vec()
        } else {
            let mut signature = vec![0; self.rsa.public_modulus_len()];
            self.rsa.sign(&RSA_PKCS1_SHA256, &random, text.as_bytes(), &mut signature).unwrap();
            signature
        };
        format!("{text}.{}", encode(&signature))
    }

    /// A token as it should be, with other claims.
    pub(super) fn token(&self, change: &Value) -> String {
        self.sign(&json!({ "alg": "RS256", "kid": "r1", "typ": "JWT" }), &claims(change))
    }
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn now() -> i64 {
    Timestamp::parse_rfc3339(NOW).unwrap().as_ms() / 1_000
}

fn claims(change: &Value) -> Value {
    let mut claims: BTreeMap<String, Value> = serde_json::from_value(json!({
        "iss": ISSUER, "aud": "weir", "sub": "reports", "iat": now(), "exp": now() + 3_600,
    }))
    .unwrap();
    for (name, value) in change.as_object().unwrap() {
        match value {
            Value::Null => claims.remove(name),
            value => claims.insert(name.clone(), value.clone()),
        };
    }
    json!(claims)
}

fn config(jwks: &str) -> Jwt {
    toml::from_str(&format!("issuer = {ISSUER:?}\naudience = \"weir\"\njwks = {jwks:?}")).unwrap()
}

fn gateway(jwks: &str) -> TestGateway {
    let jwt = config(jwks);
    TestGateway::builder().config(move |config| config.jwt = Some(jwt)).build()
}

/// The lines of a config that lets its tokens in.
pub(super) fn jwt_lines(jwks: &Path) -> String {
    format!("[jwt]\nissuer = {ISSUER:?}\naudience = \"weir\"\njwks = {:?}\n", jwks.to_str().unwrap())
}

pub(super) fn file(issuer: &Issuer) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    std::fs::write(file.path(), issuer.jwks().to_string()).unwrap();
    file
}

#[tokio::test(start_paused = true)]
async fn good_tokens_let_in_with_what_they_say() {
    let issuer = Issuer::new();
    let jwks = file(&issuer);
    let gateway = gateway(jwks.path().to_str().unwrap());
    let site = door(&gateway);
    let ec = issuer.sign(&json!({ "alg": "ES256", "kid": "e1" }), &claims(&json!({})));
    let nameless = issuer.sign(&json!({ "alg": "RS256" }), &claims(&json!({ "aud": ["other", "weir"] })));
    for token in
        [issuer.token(&json!({})), ec, nameless, issuer.token(&json!({ "nbf": now() + 20, "exp": now() - 20 }))]
    {
        let got = ask(&site, &token, QUERY).await;
        assert_eq!((got.status, got.json().get("errors")), (200, None), "{}", got.text());
    }
    let narrow =
        issuer.token(&json!({ "channels": ["cams-beta"], "apps": [], "phones": "masked", "calls_per_day": 0 }));
    let got = ask(&site, &narrow, QUERY).await;
    assert_eq!(got.codes(), ["FORBIDDEN"]);
    assert_eq!(got.json()["data"]["channels"], json!([{ "custSpaceId": "cams-beta" }]));
    // Two bearers who may cause as many calls have their own.
    for (sub, channel) in [("one", "cams-beta"), ("other", "cams-delta")] {
        let token = issuer.token(&json!({ "sub": sub, "calls_per_day": 1 }));
        let of = |channel: &str| QUERY.replace("cams-alpha", channel);
        assert_eq!(ask(&site, &token, &of(channel)).await.codes(), [""; 0], "{sub}");
        assert_eq!(ask(&site, &token, &of("cams-gamma")).await.codes(), ["QUOTA_WAIT_TOO_LONG"], "{sub}");
    }
    // What was checked once is still judged by the clock.
    let short = issuer.token(&json!({ "exp": now() + 60 }));
    assert_eq!(ask(&site, &short, QUERY).await.status, 200);
    tokio::time::advance(Duration::from_secs(91)).await;
    assert_eq!(ask(&site, &short, QUERY).await.status, 401);
}

#[tokio::test(start_paused = true)]
async fn broken_tokens_let_nobody_in() {
    let (issuer, stranger) = (Issuer::new(), Issuer::new());
    let jwks = file(&issuer);
    let gateway = gateway(jwks.path().to_str().unwrap());
    let site = door(&gateway);
    let good = issuer.token(&json!({}));
    let [header, body, signature] = good.split('.').collect::<Vec<_>>().try_into().unwrap();
    let rs = |change: Value| {
        let mut header = json!({ "alg": "RS256", "kid": "r1" });
        header.as_object_mut().unwrap().extend(change.as_object().unwrap().clone());
        issuer.sign(&header, &claims(&json!({})))
    };
    let unsigned = |header: Value| format!("{}.{body}.", encode(header.to_string().as_bytes()));
    let mut bad: Vec<(&str, String)> = vec![
        ("none", unsigned(json!({ "alg": "none" }))),
        ("None", unsigned(json!({ "alg": "None", "kid": "r1" }))),
        ("no signature", format!("{header}.{body}.")),
        ("two parts", format!("{header}.{body}")),
        ("four parts", format!("{good}.x")),
        ("HS256 with the public key", hs256(&issuer, body)),
        ("another issuer's key", stranger.token(&json!({}))),
        ("another key's name", rs(json!({ "kid": "e1" }))),
        ("a key for encryption", rs(json!({ "kid": "enc" }))),
        ("a shared secret's name", rs(json!({ "kid": "shared" }))),
        ("an unknown key", rs(json!({ "kid": "r2" }))),
        ("a path as a name", rs(json!({ "kid": "../../etc/passwd" }))),
        ("a query as a name", rs(json!({ "kid": "' OR 1=1 --" }))),
        ("a name that is none", rs(json!({ "kid": 7 }))),
        ("its own key", rs(json!({ "kid": "own", "jwk": stranger.jwks()["keys"][0] }))),
        ("a place for keys", rs(json!({ "kid": "own", "jku": "https://evil.example/jwks.json" }))),
        ("what must be understood", rs(json!({ "crit": ["b64"], "b64": false }))),
        ("another algorithm of the key", rs(json!({ "alg": "RS512" }))),
        ("PSS", rs(json!({ "alg": "PS256" }))),
        ("EC named, RSA signed", rs(json!({ "alg": "ES256", "kid": "r1" }))),
        (
            "a changed body",
            format!("{header}.{}.{signature}", encode(claims(&json!({ "sub": "admin" })).to_string().as_bytes())),
        ),
        ("a cut signature", good[..good.len() - 4].to_owned()),
        ("padding", format!("{good}==")),
        ("a blank", format!("{header} .{body}.{signature}")),
        ("huge", format!("{header}.{}.{signature}", "A".repeat(100_000))),
        ("many dots", ".".repeat(3_000)),
        ("nothing", "..".to_owned()),
    ];
    for (what, change) in [
        ("expired", json!({ "exp": now() - 31 })),
        ("no end", json!({ "exp": null })),
        ("an end that is a text", json!({ "exp": "2030-01-01" })),
        ("an end before all time", json!({ "exp": -1 })),
        ("not yet", json!({ "nbf": now() + 31 })),
        ("a beginning that is none", json!({ "nbf": "now" })),
        ("another audience", json!({ "aud": "others" })),
        ("no audience", json!({ "aud": null })),
        ("an audience that begins so", json!({ "aud": "weird" })),
        ("another issuer", json!({ "iss": "https://login.example.com.evil.example" })),
        ("no issuer", json!({ "iss": null })),
        ("no bearer", json!({ "sub": null })),
        ("an empty bearer", json!({ "sub": "" })),
        ("a bearer of two lines", json!({ "sub": "a\nb" })),
        ("a bearer of thousands", json!({ "sub": "a".repeat(2_000) })),
        ("channels that are no list", json!({ "channels": "cams-alpha" })),
        ("channels of numbers", json!({ "channels": [1] })),
        ("a class that nobody knows", json!({ "classes": ["ROOT"] })),
        ("phones of another kind", json!({ "phones": true })),
        ("calls below nothing", json!({ "calls_per_day": -1 })),
    ] {
        bad.push((what, issuer.token(&change)));
    }
    assert_eq!(ask(&site, &good, "{ channels { account } }").await.status, 200);
    for (what, token) in bad {
        let got = ask(&site, &token, QUERY).await;
        assert_eq!((got.status, got.codes()), (401, vec!["UNAUTHENTICATED".to_owned()]), "{what}: {}", got.text());
    }
    // Each bit of the signature counts.
    let mut bits = URL_SAFE_NO_PAD.decode(signature).unwrap();
    for at in (0..bits.len()).step_by(16) {
        bits[at] ^= 1;
        assert_eq!(ask(&site, &format!("{header}.{body}.{}", encode(&bits)), QUERY).await.status, 401, "byte {at}");
        bits[at] ^= 1;
    }
    assert_eq!(gateway.calls(METRIC), 0);
}

/// A token that is signed with what everybody knows, as if it were a secret.
fn hs256(issuer: &Issuer, body: &str) -> String {
    let text = format!("{}.{body}", encode(json!({ "alg": "HS256", "kid": "r1" }).to_string().as_bytes()));
    let key = aws_lc_rs::hmac::Key::new(
        aws_lc_rs::hmac::HMAC_SHA256,
        issuer.jwks()["keys"][0]["n"].as_str().unwrap().as_bytes(),
    );
    format!("{text}.{}", encode(aws_lc_rs::hmac::sign(&key, text.as_bytes()).as_ref()))
}

/// An issuer's door, and how often it was asked.
async fn issuer_at(answer: Arc<std::sync::Mutex<Option<Value>>>) -> (String, Arc<AtomicUsize>) {
    let asked = Arc::new(AtomicUsize::new(0));
    let count = Arc::clone(&asked);
    let answer = move || {
        let answer = answer.lock().unwrap().clone();
        count.fetch_add(1, Ordering::Relaxed);
        async move { answer.map(|keys| keys.to_string()).ok_or(axum::http::StatusCode::BAD_GATEWAY) }
    };
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}/jwks.json", listener.local_addr().unwrap());
    tokio::spawn(async move { axum::serve(listener, Router::new().route("/jwks.json", route(answer))).await });
    (url, asked)
}

/// In real time, since sockets are real: what takes hours is tested beside the keys.
#[tokio::test]
async fn the_issuer_is_asked_seldom_and_its_keys_go_on_without_it() {
    let issuer = Issuer::new();
    let answer = Arc::new(std::sync::Mutex::new(None));
    let (url, asked) = issuer_at(Arc::clone(&answer)).await;
    let gateway = gateway(&url);
    let site = door(&gateway);
    let good = issuer.token(&json!({}));
    let query = "{ channels { account } }";
    // Down from the start: told so, and asked once for all who come.
    let many = futures_util::future::join_all((0..50).map(|_| ask(&site, &good, query))).await;
    assert!(many.iter().all(|got| got.status == 401 && got.text().contains("cannot be fetched")), "{}", many[0].text());
    assert_eq!(asked.load(Ordering::Relaxed), 1);
    // Another gateway finds it up; then it goes down.
    *answer.lock().unwrap() = Some(issuer.jwks());
    let gateway = self::gateway(&url);
    let site = door(&gateway);
    assert_eq!(ask(&site, &good, query).await.status, 200);
    *answer.lock().unwrap() = None;
    let before = asked.load(Ordering::Relaxed);
    for nth in 0..50 {
        let unknown = issuer.sign(&json!({ "alg": "RS256", "kid": format!("made up {nth}") }), &claims(&json!({})));
        assert_eq!(ask(&site, &unknown, query).await.status, 401);
        assert_eq!(ask(&site, &issuer.token(&json!({ "jti": nth })), query).await.status, 200, "known keys go on");
    }
    assert_eq!(asked.load(Ordering::Relaxed) - before, 0, "unknown names are no reason to ask again so soon");
    // Nor does a reload forget the keys, of all moments while the issuer is down.
    let changing = gateway.app().changing();
    changing.put(changing.read(gateway.config()).unwrap());
    assert_eq!(ask(&site, &issuer.token(&json!({ "jti": "after" })), query).await.status, 200);
}
