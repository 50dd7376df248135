//! Keys, tokens and an issuer's public keys: whoever is let in has shown a key that is configured, or a token that says what it
//! must and was signed by the issuer; and sees what it allows. Parted by lines of `---`: the headers of a request, in which
//! `{token}` stands for a signed token, its head, its claims, and the issuer's keys, in which `{x}` stands for the public key.

use std::io::Write as _;
use std::sync::Arc;

use aws_lc_rs::signature::{ED25519, Ed25519KeyPair, KeyPair as _, UnparsedPublicKey};
use axum::body::Body;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use http::{HeaderMap, Request, StatusCode, header};
use http_body_util::BodyExt as _;
use serde_json::Value;
use tempfile::NamedTempFile;
use tower::ServiceExt as _;
use weir::access::Access;
use weir::config::Config;
use weir::domain::Clock;
use weir::http::{HttpConfig, Site};

use super::stage;

/// A key that lets in, and its hash in the config.
const KEY: &str = "weir_k";
const ISSUER: &str = "https://login.example.com";
/// By how much clocks may differ, in seconds.
const LEEWAY: f64 = 30.0;
const KEYS: &str = r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","use":"sig","alg":"EdDSA","x":"{x}"}]}"#;
const QUERY: &str = "/graphql?query=%7Bchannels%7BcustSpaceId%7D%7D";

fn signer() -> Ed25519KeyPair {
    Ed25519KeyPair::from_seed_unchecked(&[7; 32]).expect("32 bytes are a key")
}

fn encode(text: &str) -> String {
    URL_SAFE_NO_PAD.encode(text)
}

pub fn run(data: &[u8]) -> bool {
    let Ok(text) = std::str::from_utf8(data) else { return false };
    let mut parts = text.splitn(4, "\n---\n");
    let mut part = || parts.next().unwrap_or_default().trim_end_matches('\n');
    let (shown, head, claims, keys) = (part(), part(), part(), part());
    let signer = signer();
    let content = format!("{}.{}", encode(head), encode(claims));
    let token = format!("{content}.{}", URL_SAFE_NO_PAD.encode(signer.sign(content.as_bytes())));
    let x = URL_SAFE_NO_PAD.encode(signer.public_key());
    let keys = if keys.is_empty() { KEYS } else { keys }.replace("{x}", &x);
    let Some(headers) = headers(&shown.replace("{token}", &token)) else { return false };
    let got = stage::run(ask(&headers, &keys));
    let Some((status, body)) = got else { return false };
    assert!([StatusCode::OK, StatusCode::UNAUTHORIZED].contains(&status), "{status}: {body}");
    if status == StatusCode::UNAUTHORIZED {
        return false;
    }
    let candidates = candidates(&headers);
    if candidates.iter().any(|shown| shown == KEY) {
        return true;
    }
    let allowed = candidates.iter().find_map(|shown| allowed(shown, &signer, &keys));
    let allowed = allowed.unwrap_or_else(|| panic!("let in without a good token: {headers:?}"));
    let seen = body["data"]["channels"].as_array().into_iter().flatten().map(|channel| &channel["custSpaceId"]);
    if let Some(channels) = allowed["channels"].as_array() {
        assert!(seen.into_iter().all(|channel| channels.contains(channel)), "sees more than it may: {body}");
    }
    true
}

fn headers(text: &str) -> Option<HeaderMap> {
    let mut request = Request::builder();
    for line in text.lines() {
        let (name, value) = line.split_once(':')?;
        request = request.header(name, value.trim());
    }
    let mut headers = request.body(()).ok()?.headers().clone();
    // Others than these are for others to judge.
    let only = [header::AUTHORIZATION, header::HeaderName::from_static("x-api-key")];
    let others: Vec<_> = headers.keys().filter(|name| !only.contains(name)).cloned().collect();
    for name in others {
        headers.remove(name);
    }
    Some(headers)
}

/// What is answered by a gateway whose issuer has these keys; `None` where they are none.
async fn ask(headers: &HeaderMap, keys: &str) -> Option<(StatusCode, Value)> {
    let stage = stage::stage();
    let mut file = NamedTempFile::new().expect("a file can be made");
    file.write_all(keys.as_bytes()).expect("a file can be written");
    let config = format!(
        "state_dir = \"/tmp\"\n[[api_keys]]\nname = \"own\"\nhash = \"{}\"\n[jwt]\nissuer = \"{ISSUER}\"\naudience = \"weir\"\n\
         jwks = \"{}\"\nalgorithms = [\"EdDSA\", \"RS256\", \"ES256\"]\n",
        weir::access::keys::hash_of(KEY),
        file.path().display()
    );
    let config = Config::parse(&config, "weir.toml", &|_| None).expect("a sound config");
    let clock: Arc<dyn Clock> = stage.clock;
    let access = Arc::new(Access::new(&config, clock).ok()?);
    let site = Site::new(HttpConfig::default(), Arc::new(stage.app.gateway().clone()), access);
    let mut request = Request::get(QUERY).header(header::HOST, "localhost").body(Body::empty()).expect("a request");
    request.headers_mut().extend(headers.clone());
    let (parts, body) = site.oneshot(request).await.expect("a site answers").into_parts();
    let body = body.collect().await.expect("a whole answer").to_bytes();
    Some((parts.status, serde_json::from_slice(&body).expect("an answer is JSON")))
}

/// Whatever of the headers may be meant as a key or token.
fn candidates(headers: &HeaderMap) -> Vec<String> {
    let mut found = Vec::new();
    for value in headers.values().filter_map(|value| value.to_str().ok()).map(str::trim) {
        found.push(value.to_owned());
        if let Some((_, rest)) = value.split_once(' ') {
            found.push(rest.trim().to_owned());
            let basic = STANDARD.decode(rest.trim()).ok().and_then(|bytes| String::from_utf8(bytes).ok());
            found.extend(basic.and_then(|text| Some(text.split_once(':')?.1.to_owned())));
        }
    }
    found
}

/// The claims of a token that is good.
fn allowed(token: &str, signer: &Ed25519KeyPair, keys: &str) -> Option<Value> {
    let (content, signature) = token.rsplit_once('.')?;
    // Who has other keys beside ours signs as they like.
    if keys == KEYS.replace("{x}", &URL_SAFE_NO_PAD.encode(signer.public_key())) {
        let key = UnparsedPublicKey::new(&ED25519, signer.public_key());
        key.verify(content.as_bytes(), &URL_SAFE_NO_PAD.decode(signature).ok()?).ok()?;
    }
    let (_, claims) = content.split_once('.')?;
    let claims: Value = serde_json::from_slice(&URL_SAFE_NO_PAD.decode(claims).ok()?).ok()?;
    let is_or_has = |claim: &Value, wanted: &str| {
        claim == wanted || claim.as_array().is_some_and(|all| all.iter().any(|one| one == wanted))
    };
    #[expect(clippy::cast_precision_loss, reason = "seconds of this century")]
    let now = stage::NOW as f64 / 1_000.0;
    let name = claims["sub"].as_str()?;
    let is_good = is_or_has(&claims["iss"], ISSUER)
        && is_or_has(&claims["aud"], "weir")
        && claims["exp"].as_f64()? > now - LEEWAY
        && (claims["nbf"].is_null() || claims["nbf"].as_f64()? <= now + LEEWAY)
        && !name.is_empty()
        && !name.chars().any(char::is_control);
    is_good.then_some(claims)
}
