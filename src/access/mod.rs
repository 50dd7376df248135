//! Who is let in: keys of the config and tokens of an issuer become callers, with what they may.
//!
//! Where neither is configured everybody is anonymous and may see everything, and weir listens on loopback alone. The secrets
//! themselves are nowhere here: of a key there is its hash, of an issuer its public keys.

mod jwks;
pub mod keys;
mod spent;
mod tokens;

use std::borrow::Cow;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use crate::config::{ApiKey, Config};
use crate::domain::{Budget, Caller, Clock, Identity, SystemClock};
use crate::redis::Redis;
use keys::Key;
use tokens::Tokens;

/// Why somebody is not let in. What is said of it helps those who belong here and nobody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Nothing was shown.
    #[error("send a key: as `Authorization: Bearer`, as `X-API-Key`, or as the password of Basic")]
    Nothing,
    /// What was shown is none of ours.
    #[error("the key or token is not valid here")]
    Unknown,
    /// It was valid once.
    #[error("the key or token has expired")]
    Expired,
    /// It will be valid.
    #[error("the token is not valid yet")]
    TooEarly,
    /// The issuer's keys are not there, so that no token can be checked.
    #[error("tokens cannot be checked now: the issuer's keys cannot be fetched")]
    Unavailable,
}

/// Why a config lets nobody in.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`jwt.jwks`: {0}")]
pub struct AccessError(String);

/// Who is let in, as it is configured now.
pub struct Access {
    policy: RwLock<Arc<Policy>>,
    /// What callers have spent today stays when the config is read again.
    budgets: Mutex<HashMap<String, Arc<Budget>>>,
    clock: Arc<dyn Clock>,
}

/// What one config says.
#[derive(Debug)]
pub struct Policy {
    keys: Vec<Key>,
    tokens: Option<Tokens>,
}

impl Access {
    /// Nobody has to show anything.
    #[must_use]
    pub fn open(clock: Arc<dyn Clock>) -> Self {
        let policy = Policy { keys: Vec::new(), tokens: None };
        Self { policy: RwLock::new(Arc::new(policy)), budgets: Mutex::default(), clock }
    }

    /// The same by the machine's clock: for tests, and for what needs no config.
    #[must_use]
    pub fn anyone() -> Arc<Self> {
        Arc::new(Self::open(Arc::new(SystemClock)))
    }

    /// Those of a config.
    ///
    /// # Errors
    /// An issuer's keys that cannot be read.
    pub fn new(config: &Config, clock: Arc<dyn Clock>) -> Result<Self, AccessError> {
        let access = Self::open(clock);
        let policy = access.read(config)?;
        access.replace(policy);
        Ok(access)
    }

    /// What a config says, to be put in place if all else of it can be.
    ///
    /// # Errors
    /// An issuer's keys that cannot be read.
    pub fn read(&self, config: &Config) -> Result<Policy, AccessError> {
        let keys = config.api_keys.iter().map(|key| self.key(key)).collect();
        let before = self.policy();
        let tokens = config.jwt.as_ref().map(|jwt| Tokens::new(jwt, before.tokens.as_ref()));
        let tokens = tokens.transpose().map_err(AccessError)?;
        Ok(Policy { keys, tokens })
    }

    /// Puts another policy in place: whoever asks from now on is judged by it.
    pub fn replace(&self, policy: Policy) {
        *self.policy.write().unwrap_or_else(PoisonError::into_inner) = Arc::new(policy);
    }

    fn key(&self, key: &ApiKey) -> Key {
        let budget = key.calls_per_day.map(|per_day| self.budget(&key.name, per_day));
        let caller = Caller::known(Identity::new(&key.name, key.rights(), budget));
        Key { hash: key.hash, caller, expires: key.expires }
    }

    /// The budget of a name: the same for all its keys, and after a reload.
    fn budget(&self, name: &str, per_day: u64) -> Arc<Budget> {
        let mut all = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let known = all.get(name).filter(|budget| budget.per_day() == per_day).cloned();
        known.unwrap_or_else(|| {
            let now = self.clock.now();
            let (_, spent) = all.get(name).map_or((0, 0), |budget| budget.spent_here(now));
            let budget = Arc::new(Budget::new(per_day).having_spent(spent, now));
            all.insert(name.to_owned(), Arc::clone(&budget));
            budget
        })
    }

    /// Counts the calls of a day together with the other replicas, from now on.
    pub fn share(self: &Arc<Self>, redis: Redis) {
        tokio::spawn(spent::share(Arc::downgrade(self), redis));
    }

    /// The budgets of all who have one, each by whose it is.
    fn budgets(&self) -> Vec<(String, Arc<Budget>)> {
        let keys = self.budgets.lock().unwrap_or_else(PoisonError::into_inner);
        let keys = keys.iter().map(|(name, budget)| (format!("key {name}"), Arc::clone(budget)));
        let policy = self.policy();
        keys.chain(policy.tokens.iter().flat_map(Tokens::budgets)).collect()
    }

    fn policy(&self) -> Arc<Policy> {
        Arc::clone(&self.policy.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Who shows a credential, which is `read` only where one is needed; `None` where the issuer's keys have to be fetched
    /// first, which [`admit`](Self::admit) does.
    ///
    /// # Errors
    /// Why they are not let in.
    pub fn admit_now<'c>(&self, read: impl FnOnce() -> Option<Cow<'c, str>>) -> Option<Result<Caller, Refused>> {
        let policy = {
            let current = self.policy.read().unwrap_or_else(PoisonError::into_inner);
            if current.is_open() {
                return Some(Ok(Caller::Anonymous));
            }
            Arc::clone(&current)
        };
        let (Some(credential), now) = (read(), self.clock.now()) else { return Some(Err(Refused::Nothing)) };
        match (&policy.tokens, keys::find(&policy.keys, &credential)) {
            (_, Some(key)) if key.expires.is_some_and(|expires| expires <= now) => Some(Err(Refused::Expired)),
            (_, Some(key)) => Some(Ok(key.caller.clone())),
            (Some(tokens), None) if tokens::looks_like_one(&credential) => tokens.check(&credential, now),
            _ => Some(Err(Refused::Unknown)),
        }
    }

    /// Who shows `credential`.
    ///
    /// # Errors
    /// Why they are not let in.
    pub async fn admit(&self, credential: Option<&str>) -> Result<Caller, Refused> {
        if let Some(known) = self.admit_now(|| credential.map(Cow::Borrowed)) {
            return known;
        }
        let policy = self.policy();
        match &policy.tokens {
            Some(tokens) => tokens.check_anew(credential.unwrap_or_default(), self.clock.now()).await,
            None => Err(Refused::Unknown),
        }
    }
}

impl Policy {
    fn is_open(&self) -> bool {
        self.keys.is_empty() && self.tokens.is_none()
    }
}

impl std::fmt::Debug for Access {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Access").field("policy", &self.policy()).finish_non_exhaustive()
    }
}
