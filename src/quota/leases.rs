//! Permits that replicas share: each is leased from Redis for one call and goes back when its hold is over.
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
use super::forecast::Elsewhere;
use super::limiter::Shared;
use super::stamp::Stamp;
use crate::domain::{Account, Class};
use crate::link::{Link, Lost, PATIENCE};

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
/// The classes as the script numbers them, from 1.
const CLASSES: [Class; 3] = [Class::Interactive, Class::Bulk, Class::Background];
/// What is guessed at first of how long Redis is away; later, that it stays away as long as it has been.
const FIRST_GUESS: Duration = Duration::from_secs(2);

/// How long things take at most, from which follows how long a lease must be.
#[derive(Debug, Clone, Copy)]
pub struct Terms {
    usable: Duration,
    lease: Duration,
}

impl Terms {
    /// For calls of at most `timeout` on connections that take at most `connect_timeout` to make, counted at most `guard`
    /// after they were given up, by processes that stop for at most `longest_stop`.
    #[must_use]
    pub fn new(connect_timeout: Duration, timeout: Duration, guard: Duration, longest_stop: Duration) -> Self {
        let usable = connect_timeout + PATIENCE;
        Self { usable, lease: usable + longest_stop + timeout + guard + Rule::HOLD }
    }

    /// How long after it was asked for a permit may be used.
    #[must_use]
    pub fn usable(&self) -> Duration {
        self.usable
    }

    /// How long a permit stays out whose holder has vanished.
    #[must_use]
    pub fn lease(&self) -> Duration {
        self.lease
    }
}

/// Where the permits of one (account, operation) are leased.
#[derive(Debug, Clone)]
pub struct Lessor {
    link: Link,
    key: String,
    terms: Terms,
    script: Script,
}

impl Lessor {
    /// The permits of `operation` for `account`. The key in Redis is named by a hash, since the identity holds the key id.
    #[must_use]
    pub fn new(link: Link, account: &Account, operation: &str, terms: Terms) -> Self {
        let name = Link::hashed(&format!("{}\n{operation}", account.quota_identity()));
        Self { link, key: Link::name("permits", &name), terms, script: Script::new(SCRIPT) }
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

/// One permit, leased for one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    number: u32,
    /// Of the call that granted it.
    event: u64,
    epoch: u64,
    class: Class,
    asked: Stamp,
    usable: Duration,
}

impl Lease {
    /// Whose turn it was.
    pub(super) fn class(&self) -> Class {
        self.class
    }

    /// Whether it may not be used any more.
    pub(super) fn is_expired(&self) -> bool {
        self.asked.age() >= self.usable
    }

    /// Whether it was granted in that epoch.
    pub(super) fn is_of(&self, epoch: u64) -> bool {
        self.epoch == epoch
    }
}

impl PartialEq for Lease {
    fn eq(&self, other: &Self) -> bool {
        (self.number, self.event, self.epoch) == (other.number, other.event, other.epoch)
    }
}

/// What a limiter knows of its leases. It belongs to the limiter's state; the [`Agent`] brings it up to date.
#[derive(Debug)]
pub(super) struct Pool {
    /// To be given back.
    pub(super) returns: Vec<Lease>,
    /// A throttle's pause that the others are to keep too.
    pub(super) pause: Option<Duration>,
    /// Since when Redis has not answered; true of the start as well.
    lost_since: Option<Instant>,
    told: Told,
    /// Whether any lease is not known to be back.
    owes: bool,
    /// Whether the call under way gives back all that is left.
    pub(super) gives_all_back: bool,
}

/// What Redis last told of the permits.
#[derive(Debug)]
struct Told {
    at: Instant,
    /// When the epoch opens, if it is closed.
    opens_at: Option<Instant>,
    /// How many calls a second all replicas together make.
    budget: usize,
    /// Permits that nobody has.
    free: usize,
    /// How long ago the permits of others were granted.
    ages: Vec<Duration>,
    elsewhere: Elsewhere,
    /// How long calls take; zero if nobody has made one.
    round_trip: Duration,
}

/// What a limiter wants of Redis.
#[derive(Debug, Default)]
pub(super) struct Wish {
    /// Asks that wait, by class.
    pub(super) by_class: [usize; 3],
    /// The most that may be granted.
    pub(super) most: usize,
    /// Leases to give back; all that are held, if the answer before was lost.
    pub(super) listed: Vec<Lease>,
    pub(super) pause: Option<Duration>,
    /// How long a call takes, if any was made here.
    pub(super) round_trip: Option<Duration>,
}

impl Pool {
    pub(super) fn new(now: Instant, permits: usize) -> Self {
        Self {
            returns: Vec::new(),
            pause: None,
            lost_since: Some(now),
            told: Told {
                at: now,
                opens_at: None,
                budget: permits,
                free: 0,
                ages: Vec::new(),
                elsewhere: Elsewhere::default(),
                round_trip: Duration::ZERO,
            },
            owes: false,
            gives_all_back: false,
        }
    }

    /// Whether any lease is not known to be back.
    pub(super) fn owes(&self) -> bool {
        self.owes
    }

    /// Permits that could be had at once.
    pub(super) fn available(&self) -> usize {
        if self.lost_since.is_some() || self.told.opens_at.is_some() { 0 } else { self.told.free }
    }

    /// How many calls a second all replicas together make: fewer than the limit after a throttle that none of them
    /// caused.
    pub(super) fn budget(&self) -> usize {
        self.told.budget
    }

    /// How long the calls of others take; `None` if nobody has made one.
    pub(super) fn round_trip(&self) -> Option<Duration> {
        Some(self.told.round_trip).filter(|trip| !trip.is_zero())
    }

    /// What waits elsewhere, and when the permits are back that are not ours, if the calls of others take as long as ours.
    /// One that was late when Redis told of it stays away as long as it was late; one that has come back since then, until
    /// `given_until`, went to one of the others: of a permit of our own we would know.
    pub(super) fn others(&self, cycle: Duration, given_until: Option<Instant>) -> (Elsewhere, Vec<Instant>) {
        let Told { at, free, .. } = self.told;
        let mut elsewhere = self.told.elsewhere.clone();
        let out = self.told.ages.iter().map(|age| at + cycle.abs_diff(*age));
        let mut back: Vec<_> = std::iter::repeat_n(at, free).chain(out).collect();
        back.sort_unstable();
        for at in &mut back {
            while Some(*at) <= given_until && elsewhere.take_turn() {
                *at += cycle;
            }
        }
        (elsewhere, back)
    }

    /// The earliest moment at which anything may be granted, as far as can be guessed; `None` for now.
    pub(super) fn earliest(&self, now: Instant) -> Option<Instant> {
        let back = self.lost_since.map(|since| now + (now - since).max(FIRST_GUESS));
        self.told.opens_at.max(back)
    }

    /// Takes over what was told, and hands out what was granted.
    pub(super) fn take(&mut self, answer: Answer) -> Vec<Lease> {
        self.lost_since = None;
        self.owes = !answer.granted.is_empty() || (self.owes && !self.gives_all_back);
        self.told = answer.told;
        answer.granted
    }

    /// Redis has not answered, and was not told of `pause`.
    pub(super) fn note_lost(&mut self, now: Instant, pause: Option<Duration>) {
        self.pause = self.pause.max(pause);
        self.lost_since.get_or_insert(now);
    }
}

/// The parts of an answer that concern the limiter.
#[derive(Debug)]
pub(super) struct Answer {
    granted: Vec<Lease>,
    pub(super) paused: Duration,
    told: Told,
}

/// Speaks with Redis for one limiter, one call at a time, for as long as the limiter lives.
pub(super) struct Agent {
    lessor: Lessor,
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
    pub(super) fn new(lessor: Lessor, limit: u32) -> Self {
        let known = lessor.terms.lease;
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
    pub(super) async fn run(mut self, limiter: Weak<Shared>, changed: Arc<Notify>) {
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

    async fn ask(&mut self, wish: Wish) -> Result<Answer, Lost> {
        self.unmet = None;
        let asked = Stamp::now();
        let now = Instant::now();
        self.call += 1;
        (self.last_call, self.last_wish) = (now, wish.by_class);
        let old = self.old_event(now);
        let mut invocation = self.lessor.script.prepare_invoke();
        invocation.key(&self.lessor.key).arg(self.lessor.link.replica()).arg(self.call).arg(u8::from(self.sync));
        invocation.arg(format!("{:016x}", self.epoch)).arg(format!("{:016x}", rand::random::<u64>().max(1)));
        invocation.arg(ms(self.lessor.terms.lease)).arg(ms(self.known)).arg(self.limit);
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
        if status != "ok" {
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
        let free = free.parse().ok()?;
        let wished: usize = self.last_wish.iter().sum();
        self.unmet = (free > 0).then(|| wished.saturating_sub(granted.len()));
        let usable = self.lessor.terms.usable;
        let lease = |permit: &String| {
            let (number, class) = permit.split_once(':')?;
            let class = *CLASSES.get(class.parse::<usize>().ok()?.checked_sub(1)?)?;
            Some(Lease { number: number.parse().ok()?, event, epoch, class, asked, usable })
        };
        let turns: [_; 3] = [first, second, third].map(|list| list.split_once('*').unwrap_or_default());
        Some(Answer {
            granted: granted.iter().map(lease).collect::<Option<_>>()?,
            paused: Duration::from_millis(paused.parse().ok()?),
            told: Told {
                at: now,
                opens_at: (open != "1").then(|| self.marks.front().map_or(now, |(_, told)| *told) + self.wait()),
                budget: budget.parse().ok()?,
                free,
                ages: numbers(ages).map(Duration::from_millis).collect(),
                elsewhere: Elsewhere {
                    before: turns.map(|(before, _)| numbers(before).collect()),
                    after: turns.map(|(_, after)| numbers(after).collect()),
                    since_bulk: since.parse().ok()?,
                },
                round_trip: Duration::from_millis(trip.parse().ok()?),
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
