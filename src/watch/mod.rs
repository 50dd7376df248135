//! Collects what is watched, so that nothing is forgotten that a vendor told: each window as soon as it is final, and what
//! may still change every now and then.
//!
//! What is due is worked out from what the archive holds (`plan.rs`), so that a collector that was killed loses nothing: the
//! next one sees what is missing. What the vendor is about to forget goes first, then the newest. Calls are of class
//! BACKGROUND: whoever looks at a screen goes before them.

mod lead;
mod plan;
mod told;

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::{BoxFuture, join_all};
use tokio::time::Instant;

pub use lead::Collector;

use crate::archive::Writer;
use crate::domain::time::HOUR;
use crate::domain::{Account, Freshness, Timestamp, Window};
use crate::query::collect::Series;
use crate::query::{Controls, Request, Service};
use plan::{Due, Look, plan};
use told::Told;

/// About how many calls are asked for at a time: enough that no permit is left unused, and few enough that what becomes due
/// meanwhile does not wait for long.
const CALLS: usize = 8;
/// The longest run of windows that one call is to bring.
const RUN: usize = 31;
/// How long permits are waited for: they are what is left over.
const PATIENCE: Duration = Duration::from_mins(30);
/// How long a series is left alone after a failure, at first and at most.
const REST: (Duration, Duration) = (Duration::from_mins(1), Duration::from_mins(30));
/// After how long a series is looked at again at the latest: windows end meanwhile.
const LOOK: Duration = Duration::from_mins(30);
/// How long fetching takes at least.
const LEAST: Duration = Duration::from_millis(50);
/// How long the clock is not looked at: it may be set.
const NAP: Duration = Duration::from_mins(1);
/// How long the archive may take to write what was fetched, before more is.
const WRITING: Duration = Duration::from_mins(5);

/// Tells which of several replicas collects.
pub trait Lead: Send + Sync + 'static {
    /// Whether this process is the one, now.
    fn leads(&self) -> BoxFuture<'_, bool>;
}

/// A series that is watched.
#[derive(Debug, Clone)]
pub struct Watched {
    /// What is collected.
    pub series: Series,
    /// How far back.
    pub since: Duration,
    /// How often what may still change is fetched again; zero for only when it is final.
    pub every: Duration,
}

/// Collects what is watched.
#[derive(Clone)]
pub struct Watch {
    service: Service,
    watched: Arc<[Watched]>,
    writer: Writer,
    lead: Arc<dyn Lead>,
}

/// A series, and when it is looked at next.
struct State {
    watched: Watched,
    next: Timestamp,
    rest: Duration,
    /// The part of the running window that was fetched last, and when.
    running: Option<(Window, Timestamp)>,
    /// What was fetched a moment ago, and when: if the archive does not have it, it has been too slow.
    fetched: (Timestamp, HashSet<Window>),
    told: Told,
}

/// Neighbouring windows of one series that one call brings.
struct Unit {
    series: usize,
    windows: Vec<Window>,
    is_final: bool,
    is_urgent: bool,
    /// Whether it is a part of the window that runs.
    is_running: bool,
}

impl Watch {
    /// Collects `watched` through `service`; what is fetched is written by `writer`. All doors know of it from now on.
    #[must_use]
    pub fn new(service: Service, watched: Arc<[Watched]>, writer: Writer, lead: Arc<dyn Lead>) -> Self {
        for watched in watched.iter() {
            service.collections().expect(watched.series.name());
        }
        Self { service, watched, writer, lead }
    }

    /// Collects for ever.
    pub async fn run(self) {
        let mut accounts: HashMap<Account, Vec<State>> = HashMap::new();
        for watched in self.watched.iter().cloned() {
            let state = State {
                watched,
                next: Timestamp::from_ms(i64::MIN),
                rest: REST.0,
                running: None,
                fetched: (Timestamp::from_ms(0), HashSet::new()),
                told: Told::default(),
            };
            accounts.entry(state.watched.series.account().clone()).or_default().push(state);
        }
        join_all(accounts.into_values().map(|states| self.run_account(states))).await;
    }

    /// Each account has its own permits, and waits for no other.
    async fn run_account(&self, mut states: Vec<State>) {
        loop {
            let leads = self.lead.leads().await;
            let units = self.look(&mut states, leads).await;
            if units.is_empty() || !leads {
                let next = states.iter().map(|state| state.next).min().unwrap_or(self.service.now());
                let now = self.service.now();
                tokio::time::sleep(next.since(now).clamp(Duration::from_secs(1), NAP)).await;
                continue;
            }
            let began = Instant::now();
            self.collect(&mut states, first(units)).await;
            // Whatever goes wrong, it is not done over and over at once.
            if began.elapsed() < LEAST {
                tokio::time::sleep(LEAST).await;
            }
        }
    }

    /// What is due of the series that are to be looked at now.
    async fn look(&self, states: &mut [State], leads: bool) -> Vec<Unit> {
        let mut units = Vec::new();
        for (at, state) in states.iter_mut().enumerate() {
            let request = self.request(Freshness::Any, None);
            let now = request.ask().at;
            if state.next > now {
                continue;
            }
            state.next = now + LOOK;
            let Some(mut plan) = planned(&state.watched, &request).await else {
                state.next = now + NAP;
                continue;
            };
            let (running, running_due) = state.running(at, now).unzip();
            let coming = plan.progress.next.into_iter().chain(running_due).min();
            state.next = state.next.min(coming.unwrap_or(state.next));
            let (at_last, fetched) = &state.fetched;
            if now < *at_last + NAP {
                plan.due.retain(|due| !fetched.contains(&due.window));
                state.next = state.next.min(*at_last + NAP);
            }
            let running = running.filter(|_| running_due.is_some_and(|due| due <= now));
            let is_due = !plan.due.is_empty() || running.is_some();
            if is_due {
                // Whoever does not collect looks at what the collector has done.
                state.next = if leads { now } else { now + NAP };
            }
            plan.progress.next = coming.filter(|_| !is_due).or(Some(state.next));
            let name = state.watched.series.name();
            tracing::debug!(dataset = name.dataset.as_str(), account = name.account, progress = ?plan.progress, "watched");
            if leads {
                state.told.tell(&name, &plan.progress);
            }
            self.service.collections().note(name, plan.progress, leads);
            units.extend(units_of(at, &plan.due, state.watched.series.joins()));
            units.extend(running);
        }
        units
    }

    /// Fetches units and waits until they are written.
    async fn collect(&self, states: &mut [State], units: Vec<Unit>) {
        let now = self.service.now();
        for unit in units.iter().filter(|unit| unit.is_running) {
            if let (Some(state), Some(part)) = (states.get_mut(unit.series), unit.windows.first()) {
                state.running = Some((*part, now));
            }
        }
        for unit in &units {
            let Some(state) = states.get_mut(unit.series) else { continue };
            if state.fetched.0 + NAP <= now {
                state.fetched = (now, HashSet::new());
            }
            state.fetched.1.extend(&unit.windows);
        }
        let fetch = async |unit: Unit| {
            let Some(Watched { series, every, .. }) = states.get(unit.series).map(|state| &state.watched) else {
                return (unit.series, Ok(()));
            };
            let request = if unit.is_final {
                self.request(Freshness::FinalOnly, None)
            } else {
                // What somebody else has asked for a moment ago will do.
                self.request(Freshness::Any, Some(now - *every / 2))
            };
            (unit.series, series.fetch(&unit.windows, &request).await)
        };
        let fetched = join_all(units.into_iter().map(fetch)).await;
        self.writer.flush(WRITING).await;
        let is_stuck = self.writer.standing().failing.is_some();
        for (at, outcome) in fetched {
            let Some(state) = states.get_mut(at) else { continue };
            let name = state.watched.series.name();
            let problem = outcome.as_ref().err().map(|error| error.code);
            match outcome {
                Ok(()) if !is_stuck => state.rest = REST.0,
                Ok(()) => state.next = state.next.max(now + NAP),
                Err(error) => {
                    tracing::warn!(dataset = name.dataset.as_str(), account = name.account, %error, "not collected; it is tried again");
                    state.next = self.service.now() + state.rest;
                    state.rest = (state.rest * 2).min(REST.1);
                }
            }
            self.service.collections().note_run(name, now, problem, state.next);
        }
    }

    /// A request for what is final, or for what may still change and was not asked for since.
    fn request(&self, freshness: Freshness, fetched_since: Option<Timestamp>) -> Request {
        let controls = Controls {
            priority: None,
            max_stale: Some(Duration::ZERO),
            max_wait: Some(PATIENCE),
            freshness,
            fetched_since,
            explain: false,
        };
        self.service.own_request(&controls)
    }
}

impl State {
    /// The part of the running window that is over, every now and then, and when it is due: it is what a dashboard shows of
    /// today. It is not archived, since the next is longer.
    fn running(&self, series: usize, now: Timestamp) -> Option<(Unit, Timestamp)> {
        let Watched { series: own, every, .. } = &self.watched;
        let part = own.running(now).filter(|_| !every.is_zero())?;
        let due = match self.running {
            // With the next whole hour it is another.
            Some((known, at)) if known == part => (at + *every).min(part.end() + HOUR),
            _ => now,
        };
        Some((Unit { series, windows: vec![part], is_final: false, is_urgent: false, is_running: true }, due))
    }
}

async fn planned(watched: &Watched, request: &Request) -> Option<plan::Plan> {
    let Watched { series, since, every } = watched;
    let now = request.ask().at;
    let from = now - *since;
    let windows = series.windows(from, request).ok()?;
    let span = Window::new(windows.first()?.window.start(), windows.last()?.window.end())?;
    let collected = series.collected(span, request).await?;
    let lookback = series.lookback();
    Some(plan(&Look { windows: &windows, collected: &collected, now, every: *every, lookback }))
}

/// Runs of what is due, or single windows where each is a call.
fn units_of(series: usize, due: &[Due], joins: bool) -> Vec<Unit> {
    let mut units: Vec<Unit> = Vec::new();
    // From the newest on, so that the run that is cut short is the oldest.
    for Due { window, is_final, is_urgent } in due.iter().rev().copied() {
        match units.last_mut() {
            Some(unit)
                if joins
                    && unit.windows.len() < RUN
                    && (unit.is_final, unit.is_urgent) == (is_final, is_urgent)
                    && unit.windows.last().is_some_and(|last| last.start() == window.end()) =>
            {
                unit.windows.push(window);
            }
            _ => units.push(Unit { series, windows: vec![window], is_final, is_urgent, is_running: false }),
        }
    }
    units
}

/// Those that are fetched first: what is about to be forgotten, the oldest first; then the newest.
fn first(mut units: Vec<Unit>) -> Vec<Unit> {
    let start = |unit: &Unit| unit.windows.last().map(|window| window.start().as_ms());
    units.sort_by_key(|unit| {
        let start = start(unit).unwrap_or_default();
        (!unit.is_urgent, if unit.is_urgent { start } else { -start })
    });
    units.truncate(CALLS);
    units
}

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Watch").field("watched", &self.watched.len()).finish_non_exhaustive()
    }
}
