//! Who is connected, and who has to leave when somebody comes and there is no room.
//!
//! Whoever is in the middle of a request keeps its place. Of the others, those that ask for nothing just now and those that
//! have sent only a part of what they ask, the one that has been so for longest leaves first. Where nobody can leave, the
//! newcomer gets one of a few places in reserve, in which only the health of the process is told.

use std::collections::HashMap;
use std::fmt;
use std::net::{IpAddr, Ipv6Addr};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::Notify;
use tokio::time::Instant;

use crate::domain::LimitName;
use crate::http::overload::Full;

/// How many places there are.
#[derive(Debug, Clone, Copy)]
pub(super) struct Places {
    /// For everybody.
    pub(super) all: usize,
    /// For one peer.
    pub(super) per_peer: usize,
    /// In reserve.
    pub(super) reserve: usize,
}

/// Which places a connection may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// It is answered.
    Ordinary,
    /// It came when there was no room: it is told about the health of the process, or to come back.
    Reserve,
}

/// How many places one peer may have.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::http) enum Share {
    /// Its share of all.
    Bounded,
    /// The same, beyond which it is only counted.
    Counted,
    /// Any number: it stands for many callers.
    Any,
}

/// All connections.
pub(super) struct Table {
    places: Places,
    began: Instant,
    seats: Mutex<Seats>,
}

#[derive(Default)]
struct Seats {
    by_id: HashMap<u64, Arc<Seat>>,
    ordinary: usize,
    by_peer: HashMap<IpAddr, usize>,
    last_id: u64,
}

/// The place of one connection.
pub(super) struct Seat {
    id: u64,
    peer: IpAddr,
    rank: Rank,
    /// The limit that kept it from an ordinary place, or would have.
    over: Option<Full>,
    began: Instant,
    /// Since when it has no request in progress, in nanoseconds after the table's beginning; or [`BUSY`].
    idle_since: AtomicU64,
    /// Whether it still has something to send that its peer does not take.
    is_stuck: AtomicBool,
    is_cut: AtomicBool,
    leave: Notify,
}

const BUSY: u64 = u64::MAX;

impl Table {
    pub(super) fn new(places: Places) -> Arc<Self> {
        Arc::new(Self { places, began: Instant::now(), seats: Mutex::default() })
    }

    /// A place for a new connection of `peer`, for which another may be told to leave. What leaves no room, where there is no
    /// place at all.
    pub(super) fn enter(self: &Arc<Self>, peer: IpAddr, share: Share) -> Result<Seated, Full> {
        let peer = household(peer);
        let mut seats = self.lock();
        let is_own = |seat: &Seat| seat.rank == Rank::Ordinary && seat.peer == peer;
        let is_greedy = share != Share::Any && seats.by_peer.get(&peer).is_some_and(|n| *n >= self.places.per_peer);
        let is_counted = is_greedy && share == Share::Counted;
        let greed = Full { limit: LimitName::ConnectionsPerPeer, most: self.places.per_peer };
        // Whoever is only counted would have been refused where none of its own can leave.
        let mut over = (is_counted && seats.idlest(is_own).is_none()).then_some(greed);
        let made_room = if is_greedy && !is_counted {
            seats.show_out(is_own)
        } else {
            seats.ordinary < self.places.all || seats.show_out(|seat| seat.rank == Rank::Ordinary)
        };
        let rank = if made_room { Rank::Ordinary } else { Rank::Reserve };
        if rank == Rank::Reserve {
            let all = Full { limit: LimitName::Connections, most: self.places.all };
            let full = *over.insert(if is_greedy && !is_counted { greed } else { all });
            let in_reserve = seats.by_id.len() - seats.ordinary;
            if in_reserve >= self.places.reserve && !seats.show_out(|seat| seat.rank == Rank::Reserve) {
                return Err(full);
            }
        }
        let seat = Arc::new(Seat {
            id: seats.last_id + 1,
            peer,
            rank,
            over,
            began: self.began,
            idle_since: AtomicU64::new(0),
            is_stuck: AtomicBool::new(false),
            is_cut: AtomicBool::new(false),
            leave: Notify::new(),
        });
        seat.note_idle();
        seats.take(&seat);
        drop(seats);
        Ok(Seated { seat, table: Arc::clone(self) })
    }

    fn lock(&self) -> MutexGuard<'_, Seats> {
        self.seats.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Seats {
    fn take(&mut self, seat: &Arc<Seat>) {
        self.last_id = seat.id;
        if seat.rank == Rank::Ordinary {
            self.ordinary += 1;
            *self.by_peer.entry(seat.peer).or_default() += 1;
        }
        self.by_id.insert(seat.id, Arc::clone(seat));
    }

    /// Takes the place of the connection that has been without a request for longest, among those that `may` leave. One that
    /// begins a request at this very moment leaves after it.
    fn show_out(&mut self, may: impl Fn(&Seat) -> bool) -> bool {
        let Some(id) = self.idlest(may) else { return false };
        if let Some(seat) = self.give_up(id) {
            seat.leave.notify_one();
        }
        true
    }

    fn idlest(&self, may: impl Fn(&Seat) -> bool) -> Option<u64> {
        let idle = self.by_id.values().filter(|seat| may(seat) && seat.is_idle());
        idle.min_by_key(|seat| (seat.idle_since.load(Ordering::Relaxed), seat.id)).map(|seat| seat.id)
    }

    fn give_up(&mut self, id: u64) -> Option<Arc<Seat>> {
        let seat = self.by_id.remove(&id)?;
        if seat.rank == Rank::Ordinary {
            self.ordinary -= 1;
            if let Some(n) = self.by_peer.get_mut(&seat.peer) {
                *n -= 1;
                if *n == 0 {
                    self.by_peer.remove(&seat.peer);
                }
            }
        }
        Some(seat)
    }
}

impl Seat {
    /// A request has begun.
    pub(super) fn note_busy(&self) {
        self.idle_since.store(BUSY, Ordering::Relaxed);
    }

    /// The answer to the last request is handed over.
    pub(super) fn note_idle(&self) {
        let nanos = u64::try_from(self.began.elapsed().as_nanos()).unwrap_or(BUSY - 1);
        self.idle_since.store(nanos, Ordering::Relaxed);
    }

    /// Whether the peer takes what is sent to it.
    pub(super) fn note_stuck(&self, is_stuck: bool) {
        if self.is_stuck.load(Ordering::Relaxed) != is_stuck {
            self.is_stuck.store(is_stuck, Ordering::Relaxed);
        }
    }

    /// Whether no request is in progress.
    pub(super) fn is_idle(&self) -> bool {
        self.idle_since.load(Ordering::Relaxed) != BUSY && !self.is_stuck.load(Ordering::Relaxed)
    }

    pub(super) fn rank(&self) -> Rank {
        self.rank
    }

    /// The limit that kept it from an ordinary place; or, where it has one, that would have and is only counted.
    pub(super) fn over(&self) -> Option<Full> {
        self.over
    }

    /// Ends the connection, whatever is in progress.
    pub(super) fn cut(&self) {
        self.is_cut.store(true, Ordering::Relaxed);
        self.leave.notify_one();
    }

    pub(super) fn is_cut(&self) -> bool {
        self.is_cut.load(Ordering::Relaxed)
    }

    /// Waits until the connection has to leave.
    pub(super) async fn told_to_leave(&self) {
        self.leave.notified().await;
    }
}

impl fmt::Debug for Seat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Seat").field("rank", &self.rank).finish_non_exhaustive()
    }
}

/// A place that is taken until this is dropped.
pub(super) struct Seated {
    seat: Arc<Seat>,
    table: Arc<Table>,
}

impl Seated {
    pub(super) fn seat(&self) -> &Arc<Seat> {
        &self.seat
    }
}

impl Drop for Seated {
    fn drop(&mut self) {
        self.table.lock().give_up(self.seat.id);
    }
}

/// Whose address it is: whoever has one of IPv6 has the 2⁶⁴ beside it.
fn household(peer: IpAddr) -> IpAddr {
    match peer.to_canonical() {
        IpAddr::V6(address) => IpAddr::V6(Ipv6Addr::from_bits(address.to_bits() >> 64 << 64)),
        v4 @ IpAddr::V4(_) => v4,
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::{advance, timeout};

    use super::*;

    const PLACES: Places = Places { all: 4, per_peer: 3, reserve: 2 };

    fn peer(n: u8) -> IpAddr {
        IpAddr::from([192, 0, 2, n])
    }

    async fn has_to_leave(seated: &Seated) -> bool {
        timeout(Duration::from_millis(1), seated.seat.told_to_leave()).await.is_ok()
    }

    #[tokio::test(start_paused = true)]
    async fn the_one_that_has_asked_for_nothing_for_longest_leaves_first() {
        let table = Table::new(PLACES);
        let mut all = Vec::new();
        for n in 0..4 {
            all.push(table.enter(peer(n), Share::Bounded).unwrap());
            advance(Duration::from_secs(1)).await;
        }
        all[0].seat.note_busy();
        all[1].seat.note_busy();
        advance(Duration::from_secs(1)).await;
        all[1].seat.note_idle();
        let fifth = table.enter(peer(9), Share::Bounded).unwrap();
        assert_eq!(fifth.seat.rank, Rank::Ordinary);
        let mut left = Vec::new();
        for seated in &all {
            left.push(has_to_leave(seated).await);
        }
        assert_eq!(left, [false, false, true, false], "the first is busy, the second was until now");
    }

    #[tokio::test(start_paused = true)]
    async fn where_all_are_busy_there_is_a_reserve_and_then_nothing() {
        let table = Table::new(PLACES);
        let all: Vec<_> = (0..4).map(|n| table.enter(peer(n), Share::Bounded).unwrap()).collect();
        for seated in &all {
            seated.seat.note_busy();
        }
        let reserve: Vec<_> = (0..2).map(|_| table.enter(peer(9), Share::Bounded).unwrap()).collect();
        assert!(reserve.iter().all(|seated| seated.seat.rank == Rank::Reserve));
        let third = table.enter(peer(9), Share::Bounded).unwrap();
        assert!(has_to_leave(&reserve[0]).await, "it has not asked yet");
        reserve[1].seat.note_busy();
        third.seat.note_busy();
        let full = Full { limit: LimitName::Connections, most: 4 };
        assert_eq!(reserve[1].seat.over, Some(full));
        assert_eq!(table.enter(peer(9), Share::Bounded).err(), Some(full));
        drop(all);
        assert_eq!(table.enter(peer(9), Share::Bounded).unwrap().seat.rank, Rank::Ordinary);
        drop((reserve, third));
        let seats = table.lock();
        assert_eq!((seats.by_id.len(), seats.ordinary, seats.by_peer.len()), (0, 0, 0));
    }

    #[tokio::test(start_paused = true)]
    async fn what_still_has_to_be_sent_is_a_request_in_progress() {
        let table = Table::new(PLACES);
        let all: Vec<_> = (0..4).map(|n| table.enter(peer(n), Share::Bounded).unwrap()).collect();
        for seated in &all {
            seated.seat.note_stuck(true);
        }
        assert_eq!(table.enter(peer(9), Share::Bounded).unwrap().seat.rank, Rank::Reserve);
        all[2].seat.note_stuck(false);
        assert_eq!(table.enter(peer(9), Share::Bounded).unwrap().seat.rank, Rank::Ordinary);
    }

    #[tokio::test(start_paused = true)]
    async fn one_peer_has_its_share_unless_it_stands_for_many() {
        let table = Table::new(PLACES);
        let own: Vec<_> = (0..3).map(|_| table.enter(peer(1), Share::Bounded).unwrap()).collect();
        advance(Duration::from_secs(1)).await;
        let more = table.enter(peer(1), Share::Bounded).unwrap();
        assert_eq!(more.seat.rank, Rank::Ordinary);
        assert!(has_to_leave(&own[0]).await, "one of its own makes room");
        for seated in own.iter().chain([&more]) {
            seated.seat.note_busy();
        }
        assert_eq!(table.enter(peer(1), Share::Bounded).unwrap().seat.rank, Rank::Reserve);
        let full = Full { limit: LimitName::ConnectionsPerPeer, most: 3 };
        assert_eq!(table.enter(peer(1), Share::Bounded).unwrap().seat.over, Some(full));
        let other = table.enter(peer(2), Share::Bounded).unwrap();
        assert_eq!(other.seat.rank, Rank::Ordinary, "there is room for others");
        drop((own, more, other));

        let many: Vec<_> = (0..4).map(|_| table.enter(peer(1), Share::Any).unwrap()).collect();
        assert!(many.iter().all(|seated| seated.seat.rank == Rank::Ordinary));
        for seated in &many {
            assert!(!has_to_leave(seated).await);
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_share_that_is_only_counted_costs_nobody_a_place() {
        let table = Table::new(PLACES);
        let own: Vec<_> = (0..3).map(|_| table.enter(peer(1), Share::Counted).unwrap()).collect();
        let more = table.enter(peer(1), Share::Counted).unwrap();
        assert_eq!((more.seat.rank, more.seat.over), (Rank::Ordinary, None), "one of its own could have made room");
        assert!(!has_to_leave(&own[0]).await);
        drop(more);
        for seated in &own {
            seated.seat.note_busy();
        }
        let full = Full { limit: LimitName::ConnectionsPerPeer, most: 3 };
        let more = table.enter(peer(1), Share::Counted).unwrap();
        assert_eq!((more.seat.rank, more.seat.over), (Rank::Ordinary, Some(full)));
        more.seat.note_busy();
        let none = table.enter(peer(1), Share::Counted).unwrap();
        let all = Full { limit: LimitName::Connections, most: 4 };
        assert_eq!((none.seat.rank, none.seat.over), (Rank::Reserve, Some(all)), "what all share holds");
    }

    #[test]
    fn neighbours_of_ipv6_are_one_peer() {
        let of = |text: &str| household(text.parse().unwrap());
        assert_eq!(of("2001:db8::1"), of("2001:db8::ffff:0:0:1"));
        assert_ne!(of("2001:db8::1"), of("2001:db8:0:1::1"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
    }
}
