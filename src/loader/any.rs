//! Stores of any operation behind one face, so that a batch need not know how many there are.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use super::key::{Gathered, Key};
use crate::domain::{Account, Ask, Facts, Operation};
use crate::error::WeirError;
use crate::planner::Task;
use crate::quota::Limiter;
use crate::store::{Admitted, Outlook, Prepared, Recalled, Store, Survey};
use crate::telemetry::meters::CacheReading;

/// The store of an operation, whichever it is.
pub(super) trait AnyStore: Send + Sync {
    fn facts(&self) -> &'static Facts;

    /// How long the vendor may still change an answer.
    fn settle(&self) -> Duration;

    /// How often what is held was changed.
    fn epoch(&self) -> u64;

    fn limiter(&self, account: &Account) -> Option<&Limiter>;

    /// Whether the vendor of an account fails, as far as is known.
    fn is_failing(&self, account: &Account) -> bool;

    /// How its memory stands.
    fn reading(&self) -> CacheReading;

    /// How many slices a key asks for.
    fn n_slices(&self, key: &Key) -> u64;

    /// Takes over what other replicas and the archive hold of what the keys lack.
    fn recall<'a>(&'a self, keys: &'a [Key], ask: &'a Ask) -> BoxFuture<'a, AnyRecalled>;

    /// Looks the keys of a batch up, with what was recalled for them.
    fn prepare(&self, keys: Vec<Key>, recalled: &AnyRecalled, ask: &Ask) -> Box<dyn Part>;

    /// The [`Face`] itself, for whoever knows the operation.
    fn as_any(&self) -> &dyn Any;
}

/// What was recalled from the archive for the keys of one store, whatever its operation.
pub(super) type AnyRecalled = Box<dyn Any + Send>;

/// What a batch does with the keys of one store, step by step.
pub(super) trait Part {
    /// Looks once more for what is lacking, if anything was fetched since.
    fn look_again(&mut self, ask: &Ask);

    /// How many calls it would add.
    fn survey(&mut self, ask: &Ask) -> usize;

    /// Admits its keys, or with a `refusal` fails those that need a call; how many calls it adds.
    fn admit(&mut self, refusal: Option<&Arc<WeirError>>, ask: &Ask) -> usize;

    /// Why fields were not admitted though nothing spoke against the request as a whole: because they would wait for too long,
    /// or the queue is full.
    fn not_admitted(&self) -> Vec<Arc<WeirError>>;

    /// Plans to fetch what is served as stale, as far as there is room for calls.
    fn plan_refresh(&mut self, room: &mut usize, ask: &Ask);

    /// What submitting would do.
    fn explain(&self, ask: &Ask) -> Outlook;

    /// Asks for all that was admitted; the tasks are to be spawned once all parts have.
    fn submit(&mut self, ask: &Ask, tasks: &mut Vec<Task>) -> Vec<(Key, Gathered)>;
}

/// The face of a store.
pub(super) struct Face<O: Operation>(pub(super) Arc<Store<O>>);

struct PartOf<O: Operation> {
    store: Arc<Store<O>>,
    keys: Vec<Key>,
    prepared: Vec<Prepared<O>>,
    survey: Option<Survey<O>>,
    admitted: Option<Admitted<O>>,
}

impl<O: Operation> AnyStore for Face<O> {
    fn facts(&self) -> &'static Facts {
        self.0.operation().facts()
    }

    fn settle(&self) -> Duration {
        self.0.operation().settle()
    }

    fn epoch(&self) -> u64 {
        self.0.memory().epoch()
    }

    fn limiter(&self, account: &Account) -> Option<&Limiter> {
        self.0.limiter(account)
    }

    fn is_failing(&self, account: &Account) -> bool {
        self.0.is_failing(account)
    }

    fn reading(&self) -> CacheReading {
        self.0.reading()
    }

    fn n_slices(&self, key: &Key) -> u64 {
        key.wants::<O>().iter().map(|want| self.0.n_slices(want.window)).sum()
    }

    fn recall<'a>(&'a self, keys: &'a [Key], ask: &'a Ask) -> BoxFuture<'a, AnyRecalled> {
        async move {
            let recalled = self.0.recall(keys.iter().map(Key::wants::<O>).collect(), ask).await;
            Box::new(recalled) as AnyRecalled
        }
        .boxed()
    }

    fn prepare(&self, keys: Vec<Key>, recalled: &AnyRecalled, ask: &Ask) -> Box<dyn Part> {
        let none = Recalled::default();
        let recalled = recalled.downcast_ref::<Recalled<O>>().unwrap_or(&none);
        let prepared = keys.iter().map(|key| self.0.prepare(key.wants::<O>(), recalled, ask)).collect();
        Box::new(PartOf { store: Arc::clone(&self.0), keys, prepared, survey: None, admitted: None })
    }

    fn as_any(&self) -> &dyn Any {
        self
    }
}

impl<O: Operation> Part for PartOf<O> {
    fn look_again(&mut self, ask: &Ask) {
        self.store.look_again(&mut self.prepared, ask);
    }

    fn survey(&mut self, ask: &Ask) -> usize {
        self.survey.insert(self.store.survey(&self.prepared, ask)).new_calls()
    }

    fn admit(&mut self, refusal: Option<&Arc<WeirError>>, ask: &Ask) -> usize {
        let prepared = std::mem::take(&mut self.prepared);
        let survey = self.survey.take().unwrap_or_else(|| self.store.survey(&prepared, ask));
        self.admitted.insert(self.store.admit(prepared, survey, refusal, ask)).new_calls()
    }

    fn not_admitted(&self) -> Vec<Arc<WeirError>> {
        self.admitted.iter().flat_map(Admitted::refusals).collect()
    }

    fn plan_refresh(&mut self, room: &mut usize, ask: &Ask) {
        if let Some(admitted) = &mut self.admitted {
            self.store.plan_refresh(admitted, room, ask);
        }
    }

    fn explain(&self, ask: &Ask) -> Outlook {
        self.admitted.as_ref().map(|admitted| self.store.explain(admitted, ask)).unwrap_or_default()
    }

    fn submit(&mut self, ask: &Ask, tasks: &mut Vec<Task>) -> Vec<(Key, Gathered)> {
        let Some(admitted) = self.admitted.take() else { return Vec::new() };
        let answers = self.store.submit(admitted, ask, tasks).into_iter();
        std::mem::take(&mut self.keys).into_iter().zip(answers.map(Gathered::of::<O>)).collect()
    }
}
