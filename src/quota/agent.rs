//! Leases permits from Redis, which replicas share: one for each call, and it goes back when its hold is over.
//!
//! The holder waits a permit's hold out on its own clock and then gives it back by message; a permit whose holder has
//! vanished comes back when another replica has waited a whole lease, on *its* own clock, since it knew the permit was
//! out. Redis keeps who has what (`leases.lua`) and tells no time. The rule and its proof are in `docs/replicas.md`.

use std::collections::VecDeque;
use std::str::FromStr;
use std::sync::{Arc, Weak};
use std::time::Duration;

use redis::Script;
use tokio::sync::Notify;
use tokio::time::Instant;

use super::Rule;
use super::elsewhere::Elsewhere;
use super::lease::{Answer, Lease, LeaseRequest, Terms, Told};
use super::limiter::{Limiter, QueueEntry, Shared};
use super::stamp::Stamp;
use super::turns::{CLASSES, Turns};
use crate::domain::{Account, Caller, Class};
use crate::redis::{Lost, Redis};

/// The script behind every call.
pub const SCRIPT: &str = include_str!("leases.lua");
/// Whoever waits calls again at least so often; it also shows the others that it still waits.
const POLL: Duration = Duration::from_millis(200);
/// For how long a replica counts as waiting after its last call.
const FRESH: Duration = Duration::from_millis(600);
/// Whoever does not wait calls so often, so that a new epoch or a vanished holder is noticed before somebody asks.
const HEARTBEAT: Duration = Duration::from_millis(500);
/// How soon after a lost answer the next call is made.
const RETRY: Duration = Duration::from_millis(100);
/// Clock rates differ by less than this part (docs/replicas.md).
const DRIFT_PART: u32 = 200;
/// How many marks are kept for one lease.
const MARKS: u32 = 100;
/// More asks than these wait at no replica: forecasts count them one by one.
const MOST_WAITING: usize = 100_000;
/// And not at more replicas than these.
const MOST_OTHERS: usize = 100;
/// No call takes longer.
const LONGEST_TRIP: Duration = Duration::from_hours(1);

/// Where the permits of one (account, operation) are leased.
#[derive(Debug, Clone)]
pub struct LeaseClient {
    link: Redis,
    key: String,
    terms: Terms,
    script: Script,
}

impl LeaseClient {
    /// The permits of `operation` for `account`. The key in Redis is named by a hash, since the identity holds the key id.
    #[must_use]
    pub fn new(link: Redis, account: &Account, operation: &str, terms: Terms) -> Self {
        let name = Redis::hashed(&format!("{}\n{operation}", account.quota_identity()));
        Self { link, key: Redis::name("permits", &name), terms, script: Script::new(SCRIPT) }
    }

    /// The same with another script: for tests of the tests.
    #[doc(hidden)]
    #[must_use]
    pub fn with_script(self, source: &str) -> Self {
        Self { script: Script::new(source), ..self }
    }

    /// The key in Redis.
    #[must_use]
    pub fn key(&self) -> &str {
        &self.key
    }
}

impl Limiter {
    /// Leases its permits, which replicas share. Must be made inside a tokio runtime.
    #[must_use]
    pub fn leased(rule: Rule, lessor: LeaseClient) -> Self {
        let limiter = Self::without_permits(rule);
        let agent = Agent::new(lessor, rule.permits);
        tokio::spawn(agent.run(Arc::downgrade(&limiter.shared), Arc::clone(&limiter.shared.changed)));
        limiter
    }
}

/// A limiter for which so many asks of a caller wait and that hears these answers of the script, one after the other; the
/// asks, and how many of the answers made sense. Asks nobody: for fuzzing, since whatever stands between may answer anything.
/// Must run inside a tokio runtime.
#[doc(hidden)]
#[must_use]
pub fn heard(
    rule: Rule,
    lessor: LeaseClient,
    caller: &Caller,
    waiting: usize,
    answers: &[Vec<String>],
) -> (Limiter, Vec<QueueEntry>, usize) {
    let limiter = Limiter::without_permits(rule);
    let asks = (0..waiting).map(|_| limiter.enqueue(Class::Interactive, caller.clone())).collect();
    let mut agent = Agent::new(lessor, rule.permits);
    let mut n_heard = 0;
    for answer in answers {
        if let Some(answer) = agent.read(answer, Stamp::now()) {
            Shared::take_answer(&limiter.shared, answer);
            n_heard += 1;
        }
    }
    (limiter, asks, n_heard)
}

/// Speaks with Redis for one limiter, one call at a time, for as long as the limiter lives.
struct Agent {
    lessor: LeaseClient,
    limit: u32,
    /// Numbers every call; a later one fences the earlier ones off.
    call: u64,
    epoch: u64,
    /// The last event of the epoch that we were told of.
    latest: u64,
    /// The longest lease that Redis last told of.
    known: Duration,
    /// Events and when we were told of them, oldest first.
    marks: VecDeque<(u64, Instant)>,
    /// Whether the answer before was lost.
    sync: bool,
    last_call: Instant,
    last_wish: [usize; 3],
    /// How much of it was not granted though permits were free; they were another's turn, or nobody's.
    unmet: Option<usize>,
}

impl Agent {
    fn new(lessor: LeaseClient, limit: u32) -> Self {
        let known = lessor.terms.lease();
        let marks = VecDeque::new();
        let last_call = Instant::now();
        Self {
            lessor,
            limit,
            call: 0,
            epoch: 0,
            latest: 0,
            known,
            marks,
            sync: true,
            last_call,
            last_wish: [0; 3],
            unmet: None,
        }
    }

    /// `changed` is notified when the limiter wants something else.
    async fn run(mut self, limiter: Weak<Shared>, changed: Arc<Notify>) {
        let woken = self.lessor.link.listen(&self.lessor.key);
        let (mut is_woken, mut not_before) = (true, Instant::now());
        loop {
            let now = Instant::now();
            let due = {
                let Some(limiter) = limiter.upgrade() else { return };
                let (wants, is_urgent) = limiter.wants();
                let has_news = wants.iter().zip(self.last_wish).any(|(want, before)| *want > 0 && before == 0);
                let has_news = has_news || self.unmet.is_some_and(|unmet| wants.iter().sum::<usize>() > unmet);
                let is_waiting = wants.iter().any(|want| *want > 0);
                let at_once = is_urgent || has_news || (is_waiting && is_woken) || self.epoch == 0 || self.sync;
                let pause = if is_waiting { POLL } else { HEARTBEAT };
                if at_once { now.max(not_before) } else { (self.last_call + pause).max(not_before) }
            };
            if now < due {
                tokio::select! {
                    () = tokio::time::sleep_until(due) => {}
                    () = changed.notified() => {}
                    () = woken.notified() => is_woken = true,
                }
                continue;
            }
            is_woken = false;
            let Some(wish) = limiter.upgrade().map(|limiter| limiter.wish(self.sync, self.epoch)) else { return };
            let pause = wish.pause;
            let answer = self.ask(wish).await;
            let Some(limiter) = limiter.upgrade() else { return };
            if let Ok(answer) = answer {
                Shared::take_answer(&limiter, answer);
            } else {
                self.sync = true;
                not_before = Instant::now() + RETRY;
                limiter.note_lost(pause);
            }
        }
    }

    async fn ask(&mut self, wish: LeaseRequest) -> Result<Answer, Lost> {
        self.unmet = None;
        let asked = Stamp::now();
        let now = Instant::now();
        self.call += 1;
        (self.last_call, self.last_wish) = (now, wish.by_class);
        let old = self.old_event(now);
        let mut invocation = self.lessor.script.prepare_invoke();
        invocation.key(&self.lessor.key).arg(self.lessor.link.replica()).arg(self.call).arg(u8::from(self.sync));
        invocation.arg(format!("{:016x}", self.epoch)).arg(format!("{:016x}", rand::random::<u64>().max(1)));
        invocation.arg(ms(self.lessor.terms.lease())).arg(ms(self.known)).arg(self.limit);
        invocation.arg(old).arg(ms(self.known));
        for want in wish.by_class {
            invocation.arg(want);
        }
        invocation.arg(wish.most).arg(ms(wish.pause.unwrap_or_default())).arg(ms(FRESH));
        invocation.arg(wish.round_trip.map_or(0, |trip| ms(trip).max(1))).arg(self.latest);
        for lease in &wish.listed {
            invocation.arg(format!("{}:{}", lease.number, lease.event));
        }
        let reply: Vec<String> =
            self.lessor.link.run(async |connection| invocation.invoke_async(connection).await).await?;
        self.read(&reply, asked).ok_or(Lost)
    }

    /// What the script answered; `None` if it makes no sense, or if a later call was answered before.
    fn read(&mut self, reply: &[String], asked: Stamp) -> Option<Answer> {
        let [
            status,
            epoch,
            event,
            lease,
            open,
            paused,
            free,
            budget,
            since,
            first,
            second,
            third,
            ages,
            trip,
            granted @ ..,
        ] = reply
        else {
            return None;
        };
        let limit = self.limit as usize;
        // Nothing is believed of what hands out more than there is.
        if status != "ok" || granted.len() > limit {
            return None;
        }
        let now = Instant::now();
        let (epoch, event) = (u64::from_str_radix(epoch, 16).ok()?, event.parse().ok()?);
        self.known = Duration::from_millis(lease.parse().ok()?);
        if epoch != self.epoch {
            if self.epoch != 0 {
                tracing::warn!("the state in Redis may be lost; no new upstream call for one lease");
            }
            self.marks.clear();
        }
        // The list of a call that named another epoch was not read.
        self.sync = epoch != self.epoch;
        (self.epoch, self.latest) = (epoch, event);
        if self.marks.back().is_none_or(|(_, told)| *told + self.wait() / MARKS <= now) {
            self.marks.push_back((event, now));
        }
        let free = limit.min(free.parse().ok()?);
        let wished: usize = self.last_wish.iter().sum();
        self.unmet = (free > 0).then(|| wished.saturating_sub(granted.len()));
        let usable = self.lessor.terms.usable();
        let lease = |permit: &String| {
            let (number, class) = permit.split_once(':')?;
            // The script counts classes from 1.
            let class = *CLASSES.get(class.parse::<usize>().ok()?.checked_sub(1)?)?;
            Some(Lease { number: number.parse().ok()?, event, epoch, class, asked, usable })
        };
        let turns: [_; 3] = [first, second, third].map(|list| list.split_once('*').unwrap_or_default());
        let waiting = |list| numbers(list).take(MOST_OTHERS).map(|n: usize| n.min(MOST_WAITING)).collect();
        Some(Answer {
            granted: granted.iter().map(lease).collect::<Option<_>>()?,
            paused: Duration::from_millis(paused.parse().ok()?),
            told: Told {
                at: now,
                opens_at: (open != "1").then(|| self.marks.front().map_or(now, |(_, told)| *told) + self.wait()),
                budget: limit.min(budget.parse().ok()?),
                free,
                ages: numbers(ages).take(limit).map(Duration::from_millis).collect(),
                elsewhere: Elsewhere {
                    before: turns.map(|(before, _)| waiting(before)),
                    after: turns.map(|(_, after)| waiting(after)),
                    turns: Turns::since_bulk(since.parse().ok()?),
                },
                round_trip: LONGEST_TRIP.min(Duration::from_millis(trip.parse().ok()?)),
            },
        })
    }

    /// The latest event that we were told of at least a lease ago; 0 for none.
    fn old_event(&mut self, now: Instant) -> u64 {
        let wait = self.wait();
        while self.marks.get(1).is_some_and(|(_, told)| *told + wait <= now) {
            self.marks.pop_front();
        }
        self.marks.front().filter(|(_, told)| *told + wait <= now).map_or(0, |(event, _)| *event)
    }

    /// A lease by anybody's clock, waited out on ours.
    fn wait(&self) -> Duration {
        self.known + self.known / DRIFT_PART
    }
}

/// The numbers of a list that may be empty, or begin or end with its comma.
fn numbers<N: FromStr>(list: &str) -> impl Iterator<Item = N> {
    list.split(',').filter_map(|number| number.parse().ok())
}

fn ms(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
