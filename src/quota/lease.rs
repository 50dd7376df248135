//! Permits that replicas share, as a limiter knows them: what it holds, wants and was told of. Plain data; who speaks with
//! Redis is `agent.rs`.

use std::time::Duration;

use tokio::time::Instant;

use super::Rule;
use super::elsewhere::Elsewhere;
use super::stamp::Stamp;
use crate::domain::Class;
use crate::redis::PATIENCE;

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

/// One permit, leased for one call.
#[derive(Debug, Clone, Copy)]
pub(super) struct Lease {
    pub(super) number: u32,
    /// Of the call that granted it.
    pub(super) event: u64,
    pub(super) epoch: u64,
    pub(super) class: Class,
    pub(super) asked: Stamp,
    pub(super) usable: Duration,
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

/// What a limiter knows of its leases. It belongs to the limiter's state; an agent brings it up to date.
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
pub(super) struct Told {
    pub(super) at: Instant,
    /// When the epoch opens, if it is closed.
    pub(super) opens_at: Option<Instant>,
    /// How many calls a second all replicas together make.
    pub(super) budget: usize,
    /// Permits that nobody has.
    pub(super) free: usize,
    /// How long ago the permits of others were granted.
    pub(super) ages: Vec<Duration>,
    pub(super) elsewhere: Elsewhere,
    /// How long calls take; zero if nobody has made one.
    pub(super) round_trip: Duration,
}

/// What a limiter wants of Redis.
#[derive(Debug, Default)]
pub(super) struct LeaseRequest {
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

/// The parts of an answer of Redis that concern the limiter.
#[derive(Debug)]
pub(super) struct Answer {
    pub(super) granted: Vec<Lease>,
    pub(super) paused: Duration,
    pub(super) told: Told,
}
