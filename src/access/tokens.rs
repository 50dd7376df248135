//! Tokens of an issuer (JSON Web Tokens, RFC 7519): who showed one, if it is signed, for us, and of this time.
//!
//! What a token lets its bearer see is in its claims, by the names of `[[api_keys]]`: `channels`, `apps`, `phones`, `classes`
//! and `calls_per_day`; all of it where a claim is missing. One that makes no sense makes the token invalid.

use std::sync::Arc;
use std::time::Duration;

use jsonwebtoken::jwk::{KeyAlgorithm, PublicKeyUse};
use jsonwebtoken::{Algorithm, Validation, decode, decode_header};
use moka::sync::Cache;
use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::Refused;
use super::jwks::{Jwks, PublicKey};
use crate::config::access::{Phones, Priority, rights};
use crate::config::{Algorithm as Configured, Jwt};
use crate::domain::{Budget, Caller, Identity, Timestamp};

/// The longest token that is looked at, in bytes.
const MAX_BYTES: usize = 8 << 10;
/// By how much the issuer's clock may differ from ours.
const LEEWAY: Duration = Duration::from_secs(30);
/// Tokens that need not be checked again.
const MAX_KNOWN: u64 = 10_000;
/// The longest name of a bearer, in characters.
const MAX_NAME: usize = 128;

/// What lets bearers of an issuer's tokens in.
#[derive(Debug)]
pub(super) struct Tokens {
    issuer: String,
    /// Where its keys are.
    place: String,
    algorithms: Vec<Algorithm>,
    validation: Validation,
    jwks: Jwks,
    /// By the token's hash: checking a signature takes longer than answering from memory.
    known: Cache<[u8; 32], Known>,
    /// Calls of the day, by bearer and allowance.
    budgets: Cache<(String, u64), Arc<Budget>>,
}

/// A token that was checked.
#[derive(Debug, Clone)]
struct Known {
    caller: Caller,
    begins: Option<Timestamp>,
    expires: Timestamp,
    /// The issuer's keys were these.
    generation: u64,
}

#[derive(Debug, Deserialize)]
struct Claims {
    sub: String,
    exp: f64,
    #[serde(default)]
    nbf: Option<f64>,
    #[serde(default)]
    channels: Option<Vec<String>>,
    #[serde(default)]
    apps: Option<Vec<String>>,
    #[serde(default)]
    phones: Phones,
    #[serde(default)]
    classes: Option<Vec<Priority>>,
    #[serde(default)]
    calls_per_day: Option<u64>,
}

/// Whether a text may be a token at all.
pub(super) fn looks_like_one(text: &str) -> bool {
    text.len() <= MAX_BYTES && text.bytes().filter(|byte| *byte == b'.').count() == 2
}

impl Tokens {
    /// The tokens of a configured issuer. Of those `before` a reload, keys that were fetched from the same place go on, since
    /// the issuer may be down just then, and so do the calls of the day.
    ///
    /// # Errors
    /// Keys that cannot be read.
    pub(super) fn new(config: &Jwt, before: Option<&Self>) -> Result<Self, String> {
        let fetched = before.filter(|before| before.place == config.jwks && Jwt::is_fetched(&config.jwks));
        let jwks = match fetched {
            Some(before) => before.jwks.clone(),
            None => Jwks::new(&config.jwks)?,
        };
        let budgets = before.map_or_else(|| Cache::new(MAX_KNOWN), |before| before.budgets.clone());
        let mut validation = Validation::default();
        validation.set_required_spec_claims(&["exp", "iss", "aud", "sub"]);
        validation.set_issuer(&[&config.issuer]);
        validation.set_audience(&[&config.audience]);
        // Times are judged by our own clock.
        validation.validate_exp = false;
        validation.validate_nbf = false;
        Ok(Self {
            issuer: config.issuer.clone(),
            place: config.jwks.clone(),
            algorithms: config.algorithms.iter().copied().map(algorithm).collect(),
            validation,
            jwks,
            known: Cache::new(MAX_KNOWN),
            budgets,
        })
    }

    /// The budgets of the bearers, each by whose it is.
    pub(super) fn budgets(&self) -> impl Iterator<Item = (String, Arc<Budget>)> {
        self.budgets.iter().map(|(whose, budget)| (format!("token {} {}", whose.1, whose.0), budget))
    }

    /// The bearer of a token; `None` where the issuer's keys have to be fetched to tell.
    pub(super) fn check(&self, token: &str, now: Timestamp) -> Option<Result<Caller, Refused>> {
        let keys = self.jwks.held();
        let hash: [u8; 32] = Sha256::digest(token.as_bytes()).into();
        if let Some(known) = self.known.get(&hash).filter(|known| known.generation == keys.generation) {
            return Some(known.at(now));
        }
        let Ok(header) = decode_header(token) else { return Some(Err(Refused::Unknown)) };
        // What says of itself that it must be understood, and where its keys are, is not to be believed.
        if !self.algorithms.contains(&header.alg) || header.crit.is_some() {
            return Some(Err(Refused::Unknown));
        }
        let named = |key: &&PublicKey| header.kid.as_ref().is_none_or(|kid| key.id() == Some(kid));
        let mut fitting = keys.all.iter().filter(named).filter(|key| fits(key, header.alg));
        let key = match (fitting.next(), fitting.next()) {
            (Some(key), None) => key,
            // Without a name there must be no doubt whose it is.
            (Some(_), Some(_)) => return Some(Err(Refused::Unknown)),
            (None, _) if keys.all.iter().any(|key| header.kid.is_some() && key.id() == header.kid.as_ref()) => {
                return Some(Err(Refused::Unknown));
            }
            (None, _) => return None,
        };
        let checked = self.verify(token, key, header.alg, keys.generation);
        if let Ok(known) = &checked {
            self.known.insert(hash, known.clone());
        }
        Some(checked.and_then(|known| known.at(now)))
    }

    /// The same, with keys that are as new as may be asked for.
    pub(super) async fn check_anew(&self, token: &str, now: Timestamp) -> Result<Caller, Refused> {
        let is_there = self.jwks.refresh().await;
        self.check(token, now).unwrap_or(Err(if is_there { Refused::Unknown } else { Refused::Unavailable }))
    }

    fn verify(&self, token: &str, key: &PublicKey, algorithm: Algorithm, generation: u64) -> Result<Known, Refused> {
        let validation = Validation { algorithms: vec![algorithm], ..self.validation.clone() };
        let claims = decode::<Claims>(token, &key.decoding, &validation).map_err(|_| Refused::Unknown)?.claims;
        let (begins, expires) = (claims.nbf.map(instant), instant(claims.exp));
        let is_named = !claims.sub.is_empty()
            && claims.sub.chars().count() <= MAX_NAME
            && !claims.sub.chars().any(char::is_control);
        if !is_named {
            return Err(Refused::Unknown);
        }
        Ok(Known { caller: self.caller(claims), begins, expires, generation })
    }

    fn caller(&self, claims: Claims) -> Caller {
        let Claims { sub, channels, apps, phones, classes, calls_per_day, .. } = claims;
        let rights = rights(channels.as_deref(), apps.as_deref(), phones, classes.as_deref());
        // Nobody but the issuer names bearers so, and no key of the config is called like one.
        let name = format!("{}#{sub}", self.issuer);
        let budget = calls_per_day
            .map(|per_day| self.budgets.get_with((name.clone(), per_day), || Arc::new(Budget::new(per_day))));
        Caller::known(Identity::new(&name, rights, budget).of_token())
    }
}

impl Known {
    fn at(&self, now: Timestamp) -> Result<Caller, Refused> {
        if self.expires + LEEWAY <= now {
            return Err(Refused::Expired);
        }
        if self.begins.is_some_and(|begins| begins > now + LEEWAY) {
            return Err(Refused::TooEarly);
        }
        Ok(self.caller.clone())
    }
}

/// Seconds of the epoch, as tokens tell time; what is out of all bounds is at the bound.
fn instant(seconds: f64) -> Timestamp {
    #[expect(clippy::cast_possible_truncation, reason = "bounded")]
    Timestamp::from_ms((seconds.clamp(0.0, 1e11) * 1_000.0) as i64)
}

/// Whether a key may have made such a signature.
fn fits(key: &PublicKey, algorithm: Algorithm) -> bool {
    let is_to_sign = |own: &PublicKeyUse| *own == PublicKeyUse::Signature;
    let is_of = |own: &KeyAlgorithm| own.to_string() == format!("{algorithm:?}");
    key.decoding.family() == algorithm.family()
        && key.common.public_key_use.as_ref().is_none_or(is_to_sign)
        && key.common.key_algorithm.as_ref().is_none_or(is_of)
}

fn algorithm(configured: Configured) -> Algorithm {
    match configured {
        Configured::RS256 => Algorithm::RS256,
        Configured::RS384 => Algorithm::RS384,
        Configured::RS512 => Algorithm::RS512,
        Configured::PS256 => Algorithm::PS256,
        Configured::PS384 => Algorithm::PS384,
        Configured::PS512 => Algorithm::PS512,
        Configured::ES256 => Algorithm::ES256,
        Configured::ES384 => Algorithm::ES384,
        Configured::EdDSA => Algorithm::EdDSA,
    }
}
