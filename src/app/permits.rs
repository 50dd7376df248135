//! The permits of all accounts, as the config has them shared.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

/// Permits by account identity: entries with one identity share them, at the lower of their limits.
pub(super) struct Permits<'a> {
    runtime: &'a Runtime,
    guard: Duration,
    /// Where permits are shared with replicas; it knows what was out when this process began.
    shared: Option<(Redis, Terms)>,
    limits: HashMap<(String, &'static str), u32>,
    files: HashMap<String, (StateFile, Duration)>,
    limiters: HashMap<(String, &'static str), Limiter>,
}

impl<'a> Permits<'a> {
    pub(super) fn new(config: &Config, runtime: &'a Runtime, link: Option<Redis>) -> Self {
        let mut limits: HashMap<(String, &'static str), u32> = HashMap::new();
        for entry in config.entries() {
            // An endpoint that cannot be used is reported where the account is built.
            let Some(account) = entry.account() else { continue };
            for quota in entry.quotas() {
                let known = limits.entry((account.quota_identity().to_owned(), quota.operation));
                let lowest = known.or_insert(quota.configured);
                *lowest = quota.configured.min(*lowest);
            }
        }
        let guard = config.upstream.guard;
        let shared = link.map(|link| (link, config.terms()));
        Self { runtime, guard, shared, limits, files: HashMap::new(), limiters: HashMap::new() }
    }

    /// What replicas share of the answers of an operation, if they share anything.
    pub(super) fn answers<O: Operation>(
        &self,
        config: &Config,
        operation: &Arc<O>,
        memory: &Arc<Memory<O>>,
        archive: Option<&Arc<dyn SliceArchive<O>>>,
    ) -> Option<Arc<SharedAnswers<O>>> {
        let (link, _) = self.shared.as_ref()?;
        let longest_call = config.upstream.connect_timeout + config.upstream.timeout;
        let clock = Arc::clone(&self.runtime.clock);
        let (operation, memory) = (Arc::clone(operation), Arc::clone(memory));
        let shared = SharedAnswers::new(link.clone(), operation, memory, clock, longest_call);
        Some(Arc::new(shared.archiving(archive.cloned())))
    }

    pub(super) fn limiter(&mut self, account: &Account, operation: &'static str, limit: u32) -> Result<Limiter, BuildError> {
        let key = (account.quota_identity().to_owned(), operation);
        if let Some(limiter) = self.limiters.get(&key) {
            return Ok(limiter.clone());
        }
        let permits = self.limits.get(&key).copied().unwrap_or(limit);
        let rule = Rule::per_second(permits, self.guard);
        if let Some((link, terms)) = &self.shared {
            let limiter = Limiter::leased(rule, LeaseClient::new(link.clone(), account, operation, *terms));
            self.limiters.insert(key, limiter.clone());
            return Ok(limiter);
        }
        let hold = match &self.runtime.start {
            Start::Free => None,
            Start::Hold(hold) => Some(*hold),
            Start::StateFiles(dir) => Some(if let Some((_, hold)) = self.files.get(&key.0) {
                *hold
            } else {
                let file = StateFile::take(dir, account)?;
                let hold = file.start_hold(self.guard);
                self.files.insert(key.0.clone(), (file, hold));
                hold
            }),
        };
        let limiter = Limiter::new(rule, hold);
        self.limiters.insert(key, limiter.clone());
        Ok(limiter)
    }

    pub(super) fn leased(&self) -> Vec<Limiter> {
        if self.shared.is_some() { self.limiters.values().cloned().collect() } else { Vec::new() }
    }

    pub(super) fn into_accounts(self) -> Vec<(StateFile, Vec<Limiter>)> {
        let Self { files, limiters, .. } = self;
        let of = |identity: &str| {
            limiters.iter().filter(|((known, _), _)| known == identity).map(|(_, limiter)| limiter.clone()).collect()
        };
        files.into_iter().map(|(identity, (file, _))| (file, of(&identity))).collect()
    }
}
