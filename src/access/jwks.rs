//! An issuer's public keys (RFC 7517): read from a file, or fetched when they are needed, seldom and one at a time.

use std::fmt;
use std::path::Path;
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::BoxFuture;
use jsonwebtoken::DecodingKey;
use jsonwebtoken::jwk::{CommonParameters, Jwk};
use serde::Deserialize;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use crate::config::Jwt;

/// Keys are fetched again after so long, while tokens are shown.
const REFRESH: Duration = Duration::from_mins(10);
/// Between two fetches there is at least so much time, whatever is shown.
const COOLDOWN: Duration = Duration::from_secs(30);
/// Keys that were fetched longer ago let nobody in any more.
const KEEP: Duration = Duration::from_hours(24);
/// How long a fetch may take.
const PATIENCE: Duration = Duration::from_secs(10);
/// The longest list that is read, in bytes.
const MAX_BYTES: usize = 256 << 10;
/// The most keys of a list.
const MAX_KEYS: usize = 100;

/// A public key, and what is said of it.
pub(super) struct PublicKey {
    pub(super) decoding: DecodingKey,
    pub(super) common: CommonParameters,
}

impl PublicKey {
    /// What tokens call it.
    pub(super) fn id(&self) -> Option<&String> {
        self.common.key_id.as_ref()
    }
}

/// Keys that were there together.
#[derive(Default)]
pub(super) struct Held {
    pub(super) all: Vec<PublicKey>,
    /// Counts the lists that were read.
    pub(super) generation: u64,
    /// When they were fetched; `None` of a file, and before the first.
    fetched_at: Option<Instant>,
}

/// Fetches a list as text.
type Fetch = Arc<dyn Fn() -> BoxFuture<'static, Result<Vec<u8>, String>> + Send + Sync>;

/// An issuer's public keys. Cheap to clone.
#[derive(Clone)]
pub(super) struct Jwks(Arc<Keys>);

struct Keys {
    held: RwLock<Arc<Held>>,
    /// `None` for a file.
    fetch: Option<Fetch>,
    /// When a fetch was begun last: whoever has the lock fetches.
    begun: Mutex<Option<Instant>>,
}

impl Jwks {
    /// The keys of a file, or of a URL.
    ///
    /// # Errors
    /// A file that cannot be read or holds no keys.
    pub(super) fn new(place: &str) -> Result<Self, String> {
        if Jwt::is_fetched(place) {
            return Ok(Self::fetched(over_http(place.to_owned())?));
        }
        let text = std::fs::read(Path::new(place)).map_err(|error| format!("the file cannot be read: {error}"))?;
        let held = Held { all: read(&text)?, generation: 1, fetched_at: None };
        Ok(Self(Arc::new(Keys { held: RwLock::new(Arc::new(held)), fetch: None, begun: Mutex::default() })))
    }

    /// The keys that `fetch` brings.
    pub(super) fn fetched(fetch: Fetch) -> Self {
        Self(Arc::new(Keys { held: RwLock::default(), fetch: Some(fetch), begun: Mutex::default() }))
    }

    /// The keys that are here. They are fetched again behind whoever asks when it is time.
    pub(super) fn held(&self) -> Arc<Held> {
        let held = self.0.held();
        let Some(age) = held.fetched_at.map(|at| at.elapsed()) else { return held };
        if age >= REFRESH && self.0.begun.try_lock().is_ok_and(|begun| may_begin(*begun)) {
            let keys = self.clone();
            tokio::spawn(async move { keys.refresh().await });
        }
        if age >= KEEP {
            // What was checked with them is to be checked anew.
            return Arc::new(Held { generation: u64::MAX, ..Held::default() });
        }
        held
    }

    /// Fetches the keys, unless that was tried a moment ago; whoever comes meanwhile waits for the same. Whether there are
    /// keys.
    pub(super) async fn refresh(&self) -> bool {
        let Some(fetch) = &self.0.fetch else { return true };
        let mut begun = self.0.begun.lock().await;
        if may_begin(*begun) {
            *begun = Some(Instant::now());
            self.0.take(timeout(PATIENCE, fetch()).await.unwrap_or_else(|_| Err("no answer in time".to_owned())));
        }
        drop(begun);
        !self.held().all.is_empty()
    }
}

/// Whether the last fetch was begun so long ago that another may be.
fn may_begin(last: Option<Instant>) -> bool {
    last.is_none_or(|at| at.elapsed() >= COOLDOWN)
}

impl Keys {
    fn held(&self) -> Arc<Held> {
        Arc::clone(&self.held.read().unwrap_or_else(PoisonError::into_inner))
    }

    fn take(&self, fetched: Result<Vec<u8>, String>) {
        match fetched.and_then(|text| read(&text)) {
            Ok(all) => {
                let mut held = self.held.write().unwrap_or_else(PoisonError::into_inner);
                let generation = held.generation + 1;
                info!(n_keys = all.len(), "the issuer's keys were fetched");
                *held = Arc::new(Held { all, generation, fetched_at: Some(Instant::now()) });
            }
            Err(problem) => warn!(problem, "the issuer's keys cannot be fetched; those that are known are used"),
        }
    }
}

impl fmt::Debug for Jwks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Jwks").field("n_keys", &self.0.held().all.len()).finish_non_exhaustive()
    }
}

/// The keys of a list that can be used; others are passed over, since issuers publish those for other purposes, too.
fn read(text: &[u8]) -> Result<Vec<PublicKey>, String> {
    #[derive(Deserialize)]
    struct List {
        keys: Vec<serde_json::Value>,
    }
    let list: List = serde_json::from_slice(text).map_err(|_| "not a list of keys (RFC 7517)".to_owned())?;
    if list.keys.len() > MAX_KEYS {
        return Err(format!("more than {MAX_KEYS} keys"));
    }
    let keys = list.keys.into_iter().filter_map(|key| serde_json::from_value::<Jwk>(key).ok());
    let keys = keys.filter_map(|key| {
        let decoding = DecodingKey::from_jwk(&key).ok()?;
        Some(PublicKey { decoding, common: key.common })
    });
    let keys: Vec<_> = keys.filter(|key| key.decoding.family() != jsonwebtoken::AlgorithmFamily::Hmac).collect();
    if keys.is_empty() { Err("there is no public key in it that can be used".to_owned()) } else { Ok(keys) }
}

/// Fetches from a URL. Follows nobody anywhere else.
fn over_http(url: String) -> Result<Fetch, String> {
    let client = reqwest::Client::builder()
        .user_agent(concat!("weir/", env!("CARGO_PKG_VERSION")))
        .redirect(reqwest::redirect::Policy::none())
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| format!("no way to fetch them: {error}"))?;
    Ok(Arc::new(move || {
        let (client, url) = (client.clone(), url.clone());
        Box::pin(async move {
            let unreachable = |error: reqwest::Error| error.without_url().to_string();
            #[expect(clippy::disallowed_methods, reason = "an issuer is no vendor: no permit is spent")]
            let mut response = client.get(&url).send().await.map_err(unreachable)?;
            if response.status() != reqwest::StatusCode::OK {
                return Err(format!("answered {}", response.status()));
            }
            let mut text = Vec::new();
            while let Some(chunk) = response.chunk().await.map_err(unreachable)? {
                if text.len() + chunk.len() > MAX_BYTES {
                    return Err(format!("more than {MAX_BYTES} bytes"));
                }
                text.extend_from_slice(&chunk);
            }
            Ok(text)
        })
    }))
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

    use tokio::time::sleep;

    use super::*;

    /// An issuer that can go away, and how often it was asked.
    struct Issuer {
        asked: AtomicUsize,
        is_up: AtomicBool,
    }

    const KEYS: &str =
        r#"{"keys":[{"kty":"OKP","crv":"Ed25519","kid":"k","x":"11qYAYKxCrfVS_7TyWQHOg7hcvPapiMlrwIaaPcHURo"}]}"#;

    fn issuer() -> (Arc<Issuer>, Jwks) {
        let issuer = Arc::new(Issuer { asked: AtomicUsize::new(0), is_up: AtomicBool::new(true) });
        let own = Arc::clone(&issuer);
        let fetch: Fetch = Arc::new(move || {
            let own = Arc::clone(&own);
            Box::pin(async move {
                own.asked.fetch_add(1, Ordering::Relaxed);
                sleep(Duration::from_millis(300)).await;
                if own.is_up.load(Ordering::Relaxed) { Ok(KEYS.into()) } else { Err("down".to_owned()) }
            })
        });
        (issuer, Jwks::fetched(fetch))
    }

    #[tokio::test(start_paused = true)]
    async fn an_issuer_that_is_down_for_a_day_is_asked_seldom_and_its_keys_go_on() {
        let (issuer, jwks) = issuer();
        assert!(jwks.held().all.is_empty() && jwks.refresh().await);
        assert_eq!((issuer.asked.load(Ordering::Relaxed), jwks.held().all.len()), (1, 1));
        issuer.is_up.store(false, Ordering::Relaxed);
        // An hour of a token a second, and of one that names an unknown key.
        for _ in 0..3_600 {
            assert_eq!(jwks.held().all.len(), 1);
            assert!(jwks.refresh().await, "there are keys still");
            sleep(Duration::from_secs(1)).await;
        }
        let asked = issuer.asked.load(Ordering::Relaxed);
        assert!((100..=125).contains(&asked), "every 30 s, and not more: {asked}");
        sleep(KEEP).await;
        assert!(jwks.held().all.is_empty() && !jwks.refresh().await, "not for ever");
        issuer.is_up.store(true, Ordering::Relaxed);
        sleep(COOLDOWN).await;
        assert!(jwks.refresh().await && jwks.held().all.len() == 1, "and back at once");
    }

    #[tokio::test(start_paused = true)]
    async fn keys_are_fetched_behind_whoever_asks_when_it_is_time() {
        let (issuer, jwks) = issuer();
        assert!(jwks.refresh().await);
        for _ in 0..100 {
            sleep(REFRESH / 100).await;
            let _held = jwks.held();
        }
        sleep(Duration::from_secs(1)).await;
        assert_eq!(issuer.asked.load(Ordering::Relaxed), 2, "once more after ten minutes");
        assert_eq!(jwks.held().generation, 2);
    }

    #[tokio::test(start_paused = true)]
    async fn a_thousand_at_once_ask_once() {
        let (issuer, jwks) = issuer();
        let all = futures_util::future::join_all((0..1_000).map(|_| jwks.refresh())).await;
        assert!(all.into_iter().all(|is_there| is_there) && issuer.asked.load(Ordering::Relaxed) == 1);
    }

    #[test]
    fn lists_that_hold_no_key_are_refused() {
        for text in ["", "[]", "{}", r#"{"keys":[]}"#, r#"{"keys":[{"kty":"oct","k":"AAAA"}]}"#, r#"{"keys":[7]}"#] {
            assert!(read(text.as_bytes()).is_err(), "{text}");
        }
        let many = format!(r#"{{"keys":[{}]}}"#, vec!["{}"; MAX_KEYS + 1].join(","));
        assert!(read(many.as_bytes()).is_err());
        assert!(read(KEYS.as_bytes()).is_ok());
    }
}
