//! The rules of the script, one by one. It is told how long its callers have waited, so nothing here waits.

use redis::aio::MultiplexedConnection;
use redis::{AsyncCommands, Script};
use weir::quota::agent::SCRIPT;

use super::mutants::{CLOCK, EVENT_NOT_COMPARED, NO_FENCE, mutated};
use crate::support::redis::Redis;

const KEY: &str = "weir:permits:test";
const LEASE: u64 = 28_010;
const NONE: [u32; 0] = [];

/// One replica as the script sees it; a test changes what it says between two calls.
#[derive(Clone)]
struct Replica {
    connection: MultiplexedConnection,
    script: Script,
    name: &'static str,
    call: u64,
    sync: bool,
    epoch: String,
    lease: u64,
    known: u64,
    limit: u32,
    old: u64,
    old_lease: u64,
    /// The last event that it was told of, in the epoch that it names.
    latest: u64,
    wants: [usize; 3],
    most: usize,
    pause: u64,
    list: Vec<String>,
}

#[derive(Debug, Clone, PartialEq, Eq)]
struct Reply {
    status: String,
    epoch: String,
    event: u64,
    lease: u64,
    open: bool,
    paused: u64,
    free: usize,
    budget: usize,
    /// What waits elsewhere, by class, in the order of turns.
    waiting: [String; 3],
    /// How long ago the permits of others were granted.
    ages: String,
    granted: Vec<u32>,
    classes: Vec<u32>,
}

impl Replica {
    async fn new(redis: &Redis, name: &'static str) -> Self {
        Self {
            connection: redis.connection().await,
            script: Script::new(SCRIPT),
            name,
            call: 0,
            sync: false,
            epoch: "0".to_owned(),
            lease: LEASE,
            known: 0,
            limit: 2,
            old: 0,
            old_lease: LEASE,
            latest: 0,
            wants: [0; 3],
            most: 100,
            pause: 0,
            list: Vec::new(),
        }
    }

    /// One that is at home in an open epoch.
    async fn at_home(redis: &Redis, name: &'static str) -> Self {
        let mut replica = Self::new(redis, name).await;
        replica.settle().await;
        replica
    }

    async fn settle(&mut self) {
        let first = self.call().await;
        self.epoch = first.epoch;
        if !first.open {
            self.old = first.event;
            assert!(self.call().await.open);
            self.old = 0;
        }
    }

    async fn repeat(&mut self) -> Vec<String> {
        let mut invocation = self.script.prepare_invoke();
        invocation.key(KEY).arg(self.name).arg(self.call).arg(u8::from(self.sync)).arg(&self.epoch);
        invocation.arg(format!("{:x}", rand::random::<u64>())).arg(self.lease).arg(self.known).arg(self.limit);
        invocation.arg(self.old).arg(self.old_lease).arg(&self.wants[..]);
        invocation.arg(self.most).arg(self.pause).arg(600).arg(0).arg(self.latest).arg(&self.list[..]);
        invocation.invoke_async(&mut self.connection).await.unwrap()
    }

    async fn call(&mut self) -> Reply {
        self.call += 1;
        let reply = self.repeat().await;
        let [
            status,
            epoch,
            event,
            lease,
            open,
            paused,
            free,
            budget,
            _since,
            first,
            second,
            third,
            ages,
            _trip,
            granted @ ..,
        ] = &reply[..]
        else {
            panic!("{reply:?}")
        };
        let permit = |permit: &String| {
            let (number, class) = permit.split_once(':').unwrap();
            (number.parse::<u32>().unwrap(), class.parse::<u32>().unwrap())
        };
        let (granted, classes) = granted.iter().map(permit).unzip();
        let event = event.parse().unwrap();
        self.latest = if *epoch == self.epoch { event } else { 0 };
        Reply {
            status: status.clone(),
            epoch: epoch.clone(),
            event,
            lease: lease.parse().unwrap(),
            open: open == "1",
            paused: paused.parse().unwrap(),
            free: free.parse().unwrap(),
            budget: budget.parse().unwrap(),
            waiting: [first, second, third].map(Clone::clone),
            ages: ages.clone(),
            granted,
            classes,
        }
    }

    /// Asks for so many permits and says nothing else.
    async fn want(&mut self, wants: [usize; 3]) -> Reply {
        (self.wants, self.list, self.sync) = (wants, Vec::new(), false);
        let reply = self.call().await;
        self.wants = [0; 3];
        reply
    }

    /// Gives permits of one grant back, and asks for nothing.
    async fn give_back(&mut self, granted: &Reply) -> Reply {
        (self.wants, self.sync) = ([0; 3], false);
        self.list = granted.granted.iter().map(|number| format!("{number}:{}", granted.event)).collect();
        self.call().await
    }
}

#[tokio::test]
async fn an_epoch_opens_when_somebody_has_waited_a_lease_since_it_began() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut a = Replica::new(&redis, "a").await;
    let first = a.want([2, 0, 0]).await;
    assert_eq!((first.open, first.granted.len(), first.lease), (false, 0, LEASE));
    a.epoch.clone_from(&first.epoch);
    assert_eq!(a.want([2, 0, 0]).await.granted, NONE, "nobody has waited yet");
    (a.old, a.old_lease) = (first.event, LEASE - 1);
    assert_eq!(a.want([2, 0, 0]).await.granted, NONE, "a shorter wait than the lease is none");
    let mut longer = Replica::new(&redis, "b").await;
    longer.lease = LEASE + 5;
    longer.call().await;
    a.old_lease = LEASE;
    assert_eq!(a.want([2, 0, 0]).await.granted, NONE, "the longest lease of any replica counts");
    a.old_lease = LEASE + 5;
    assert_eq!(a.want([2, 0, 0]).await.granted, [0, 1]);
}

#[tokio::test]
async fn a_permit_is_out_until_its_holder_gives_it_back_and_only_once() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (mut a, mut b) = (Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await);
    let granted = a.want([1, 0, 0]).await;
    assert_eq!((&granted.granted[..], granted.free), (&[0][..], 1));
    let second = b.want([5, 0, 0]).await;
    assert_eq!((&second.granted[..], second.free), (&[1][..], 0));
    assert_eq!(a.want([1, 0, 0]).await.granted, NONE);
    b.give_back(&Reply { granted: vec![0], ..second.clone() }).await;
    assert_eq!(a.want([1, 0, 0]).await.granted, NONE, "what another holds cannot be given back");
    assert_eq!(a.give_back(&granted).await.free, 1);
    assert_eq!(a.give_back(&granted).await.free, 1, "twice is once");
    let again = b.want([1, 0, 0]).await;
    assert_eq!(again.granted, [0]);
    a.give_back(&granted).await;
    assert_eq!(a.want([1, 0, 0]).await.granted, NONE, "an old return does not free the next lease");
}

/// A call comes to Redis after a later one of the same replica. What another replica gets then, and what it was told.
async fn overtaken(redis: &Redis, script: &str) -> (Vec<u32>, String) {
    let mut a = Replica::new(redis, "a").await;
    a.script = Script::new(script);
    a.settle().await;
    let kept = a.want([1, 0, 0]).await;
    let lost = a.want([1, 0, 0]).await; // its answer never came
    assert_eq!(lost.granted, [1]);
    let mut late = a.clone();
    (late.wants, late.call) = ([2, 0, 0], a.call + 1);
    (a.call, a.sync, a.list) = (a.call + 1, true, vec![format!("0:{}", kept.event)]);
    assert_eq!(a.call().await.free, 1, "only what it says it holds is out");
    let told = late.repeat().await[0].clone();
    let mut b = Replica::at_home(redis, "b").await;
    (b.want([2, 0, 0]).await.granted, told)
}

#[tokio::test]
async fn a_call_that_was_given_up_is_fenced_off_and_what_it_got_is_freed() {
    let Some(redis) = Redis::start(&[]).await else { return };
    assert_eq!(overtaken(&redis, SCRIPT).await, (vec![1], "fenced".to_owned()));
    // Without the fence a permit goes to nobody, and is out for a whole lease.
    redis.run::<()>(&["FLUSHALL"]).await;
    let (granted, told) = overtaken(&redis, &mutated(&[NO_FENCE])).await;
    assert_eq!((granted, told), (vec![], "ok".to_owned()), "the mutant was not caught");
}

#[tokio::test]
async fn a_vanished_holder_loses_its_permits_to_whoever_has_waited_a_lease_since() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (mut a, mut b) = (Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await);
    let before = b.call().await;
    let first = a.want([1, 0, 0]).await;
    let between = b.call().await;
    let second = a.want([1, 0, 0]).await;
    assert_eq!((first.granted, second.granted), (vec![0], vec![1]));
    b.old = before.event;
    assert_eq!(b.want([2, 0, 0]).await.granted, NONE, "it knew of none of them");
    b.old = between.event;
    b.old_lease = LEASE - 1;
    assert_eq!(b.want([2, 0, 0]).await.granted, NONE, "not long enough");
    b.old_lease = LEASE;
    assert_eq!(b.want([2, 0, 0]).await.granted, [0], "of the first it knew for a lease");
    a.old = second.event;
    assert_eq!(a.call().await.free, 0, "nobody takes from himself by waiting, nor from one who was served later");
}

#[tokio::test]
async fn the_longest_lease_wins_while_anything_is_out() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (mut short, mut long) = (Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await);
    long.lease = 2 * LEASE;
    let granted = long.want([1, 0, 0]).await;
    short.old = granted.event;
    assert_eq!((short.call().await.lease, short.call().await.free), (2 * LEASE, 1), "its own lease is too short");
    short.old_lease = 2 * LEASE;
    assert_eq!(short.call().await.free, 2);
    assert_eq!(short.call().await.lease, LEASE, "nothing is out: it may shrink");
    redis.run::<()>(&["FLUSHALL"]).await;
    short.known = 3 * LEASE;
    assert_eq!(short.call().await.lease, 3 * LEASE, "what is remembered of a lost state counts");
}

#[tokio::test]
async fn a_new_run_of_redis_or_a_lost_key_begins_a_new_epoch() {
    let Some(mut redis) = Redis::start(&["--appendonly", "yes", "--appendfsync", "always"]).await else { return };
    let mut a = Replica::at_home(&redis, "a").await;
    let granted = a.want([1, 0, 0]).await;
    redis.kill();
    redis.restart().await;
    assert!(redis.run::<bool>(&["EXISTS", KEY]).await, "its state was kept");
    let mut b = Replica::new(&redis, "b").await;
    (b.epoch, b.old) = (a.epoch.clone(), 1_000);
    let reply = b.want([2, 0, 0]).await;
    assert!(!reply.open && reply.granted.is_empty() && reply.epoch != a.epoch, "{reply:?}");
    b.old = 0;
    b.settle().await;
    a.connection = redis.connection().await;
    let taken = b.want([2, 0, 0]).await;
    assert_eq!(taken.granted, [0, 1]);
    assert_eq!(a.give_back(&granted).await.free, 0, "a lease of another epoch means nothing");
    let epoch = taken.epoch;
    redis.run::<()>(&["FLUSHALL"]).await;
    let reply = b.want([2, 0, 0]).await;
    assert!(!reply.open && reply.granted.is_empty() && reply.epoch != epoch, "{reply:?}");
}

/// A replica is granted a permit and another calls; then the state is put back to what it was before, the other one calls
/// again, and then the first. What the other is granted, and whether each of them is told of a new epoch.
async fn put_back(redis: &Redis, script: &str, calls_between: u32) -> (usize, [bool; 2]) {
    let [mut a, mut b] = [Replica::at_home(redis, "a").await, Replica::at_home(redis, "b").await];
    (a.script, b.script) = (Script::new(script), Script::new(script));
    b.call().await;
    a.call().await;
    redis.run::<()>(&["COPY", KEY, "copy", "REPLACE"]).await;
    assert_eq!(a.want([2, 0, 0]).await.granted, [0, 1]);
    for _ in 0..calls_between {
        b.call().await;
    }
    redis.run::<()>(&["COPY", "copy", KEY, "REPLACE"]).await;
    let mut granted = 0;
    let mut last = b.want([1, 0, 0]).await;
    for _ in 0..5 {
        granted += last.granted.len();
        last = b.want([1, 0, 0]).await;
    }
    let told = [last.epoch != b.epoch, a.call().await.epoch != a.epoch];
    redis.run::<()>(&["FLUSHALL"]).await;
    (granted, told)
}

#[tokio::test]
async fn a_state_that_is_older_than_what_its_caller_knows_begins_a_new_epoch() {
    let Some(redis) = Redis::start(&[]).await else { return };
    assert_eq!(put_back(&redis, SCRIPT, 1).await, (0, [true, true]));
    let (granted, told) = put_back(&redis, &mutated(&[EVENT_NOT_COMPARED]), 1).await;
    assert!(granted > 0 && told == [false, false], "the mutant was not caught: {granted} granted, {told:?}");
    // One who knows nothing newer is believed, and the first who does ends it, however many events there were since.
    let (granted, told) = put_back(&redis, SCRIPT, 0).await;
    assert!(granted > 0 && told == [false, true], "{granted} granted, {told:?}");
}

#[tokio::test]
async fn a_redis_that_was_a_replica_in_between_begins_a_new_epoch() {
    let (Some(redis), Some(other)) = (Redis::start(&[]).await, Redis::start(&[]).await) else { return };
    let mut a = Replica::at_home(&redis, "a").await;
    redis.run::<()>(&["REPLICAOF", "127.0.0.1", &other.port().to_string()]).await;
    redis.run::<()>(&["REPLICAOF", "NO", "ONE"]).await;
    // Whatever state it has then, even the latest.
    assert!(redis.run::<bool>(&["EXISTS", KEY]).await, "there was no time to take over another's");
    let reply = a.want([2, 0, 0]).await;
    assert!(!reply.open && reply.granted.is_empty() && reply.epoch != a.epoch, "{reply:?}");
}

#[tokio::test]
async fn bulk_gets_every_fifth_permit_and_replicas_take_turns() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut replicas =
        [Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await, Replica::at_home(&redis, "c").await];
    let wants = [[30, 0, 0], [30, 0, 5], [0, 30, 0]];
    let mut order = String::new();
    for _ in 0..3 {
        for (replica, wants) in replicas.iter_mut().zip(wants) {
            replica.limit = 1;
            replica.want(wants).await;
        }
    }
    // Whoever came first has it; from now on it is given in turn.
    let held: std::collections::HashMap<String, String> = replicas[0].connection.hgetall(KEY).await.unwrap();
    let [holder, event, _stamp] = held["p:0"].split('|').collect::<Vec<_>>()[..] else { panic!("{held:?}") };
    let mut last = replicas.iter().position(|replica| replica.name == holder).unwrap();
    let mut event: u64 = event.parse().unwrap();
    for _ in 0..20 {
        replicas[last].wants = wants[last];
        replicas[last].list = vec![format!("0:{event}")];
        let mut granted = replicas[last].call().await;
        let mut tries = 0;
        while granted.granted.is_empty() {
            last = (last + 1) % 3;
            granted = replicas[last].want(wants[last]).await;
            tries += 1;
            assert!(tries < 4, "nobody is let in");
        }
        event = granted.event;
        order.push_str(replicas[last].name);
    }
    let bulk = order.matches('c').count();
    assert_eq!(bulk, 4, "a fifth is bulk: {order}");
    let (a, b) = (order.matches('a').count(), order.matches('b').count());
    assert_eq!((a, b), (8, 8), "{order}");
    assert!(
        !order.contains("cc") && order.replace('c', "").chars().collect::<Vec<_>>().windows(2).all(|p| p[0] != p[1]),
        "{order}"
    );
}

#[tokio::test]
async fn a_turn_is_kept_for_whoever_comes_later_than_the_next_one() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut holder = Replica::at_home(&redis, "d").await;
    let held = holder.want([2, 0, 0]).await;
    let [mut a, mut b, mut c] =
        [Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await, Replica::at_home(&redis, "c").await];
    for replica in [&mut a, &mut b, &mut c] {
        assert_eq!(replica.want([3, 0, 0]).await.granted, NONE);
    }
    assert_eq!(holder.give_back(&held).await.free, 0, "all that is free is somebody's turn");
    assert_eq!(c.want([3, 0, 0]).await.granted, NONE, "it is not among the first two");
    assert_eq!(b.want([3, 0, 0]).await.granted.len(), 1);
    assert_eq!(b.want([3, 0, 0]).await.granted, NONE, "the other one is left for `a`");
    assert_eq!(a.want([3, 0, 0]).await.granted.len(), 1);
}

#[tokio::test]
async fn everybody_is_told_what_waits_elsewhere_and_whose_turn_a_permit_was() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let [mut a, mut b, mut c] =
        [Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await, Replica::at_home(&redis, "c").await];
    let granted = a.want([1, 7, 0]).await;
    assert_eq!((granted.granted, granted.classes), (vec![0, 1], vec![1, 2]), "of eight that wait two have a permit");
    assert_eq!(granted.waiting, ["*", "*", "*"]);
    tokio::time::sleep(std::time::Duration::from_millis(30)).await;
    let told = b.want([2, 0, 1]).await;
    assert_eq!(told.waiting, ["*,0", "*,6", "0,*"], "its turn comes after that of `a`, which had the last ones");
    let ages: Vec<u64> = told.ages.split(',').map(|age| age.parse().unwrap()).collect();
    assert!(ages.len() == 2 && ages.iter().all(|age| (30..1_000).contains(age)), "{told:?}");
    assert_eq!(c.want([0, 0, 3]).await.waiting, ["2,*,0", "0,*,6", "0,1,*"]);
    assert_eq!(a.want([5, 0, 0]).await.waiting, ["2,0,*", "0,0,*", "*,1,3"]);
    assert_eq!(a.call().await.ages, "", "one's own are known");
}

#[tokio::test]
async fn a_throttle_shrinks_what_all_may_use_together_and_quiet_brings_it_back() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let mut replicas = [Replica::new(&redis, "a").await, Replica::new(&redis, "b").await];
    let script = Script::new(&mutated(&[CLOCK]));
    for replica in &mut replicas {
        (replica.limit, replica.script) = (50, script.clone());
        replica.settle().await;
    }
    let [mut a, mut b] = replicas;
    let at = async |secs: u32| redis.run::<()>(&["SET", "offset", &(secs * 1_000).to_string()]).await;
    assert_eq!(b.call().await.budget, 50);
    (a.pause, b.pause) = (1_010, 1_010);
    assert_eq!((a.call().await.budget, b.call().await.budget), (25, 25), "out together, throttled together");
    (a.pause, b.pause) = (0, 0);
    at(2).await;
    let granted = a.want([30, 0, 0]).await;
    assert_eq!((granted.granted.len(), granted.free), (25, 0));
    assert_eq!(b.want([30, 0, 0]).await.granted, NONE, "the other's share is spent as well");
    b.pause = 1_010;
    assert_eq!(b.call().await.budget, 12, "another throttle");
    b.pause = 0;
    at(4).await;
    assert_eq!(a.call().await.free, 0, "more are out than may be");
    assert_eq!(a.give_back(&granted).await.free, 12);
    at(11).await;
    assert_eq!(a.call().await.budget, 12);
    at(33).await;
    assert_eq!((a.call().await.budget, b.call().await.budget), (27, 27), "three steps of five");
    at(0).await; // a clock that is set back delays the next step by a step, and no more
    assert_eq!(b.call().await.budget, 27);
    at(11).await;
    assert_eq!(b.call().await.budget, 32);
    at(1_000).await;
    assert_eq!((b.call().await.budget, a.want([60, 0, 0]).await.granted.len()), (50, 50));
}

#[tokio::test]
async fn one_who_waits_no_more_keeps_nobody_waiting_for_long() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (mut a, mut b) = (Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await);
    let granted = a.want([1, 0, 0]).await;
    (a.limit, b.limit) = (1, 1);
    b.want([1, 0, 0]).await;
    a.wants = [1, 0, 0];
    a.list = vec![format!("0:{}", granted.event)];
    assert_eq!(a.call().await.granted, NONE, "it is the other's turn");
    let after = async |ms| tokio::time::sleep(std::time::Duration::from_millis(ms)).await;
    after(300).await;
    assert_eq!(a.want([1, 0, 0]).await.granted, NONE);
    after(350).await;
    assert_eq!(a.want([1, 0, 0]).await.granted, [0], "the other has not come");
}

#[tokio::test]
async fn a_pause_holds_for_everybody_and_the_lowest_limit_too() {
    let Some(redis) = Redis::start(&[]).await else { return };
    let (mut a, mut b) = (Replica::at_home(&redis, "a").await, Replica::at_home(&redis, "b").await);
    b.limit = 5;
    let granted = b.want([5, 0, 0]).await;
    assert_eq!(granted.granted, [0, 1], "another replica named two");
    b.give_back(&granted).await;
    a.pause = 150;
    a.call().await;
    let reply = b.want([1, 0, 0]).await;
    assert!(reply.granted.is_empty() && (1..=150).contains(&reply.paused), "{reply:?}");
    tokio::time::sleep(std::time::Duration::from_millis(160)).await;
    assert_eq!(b.want([1, 0, 0]).await.granted, [0]);
}
