//! Runs of slices: that they are looked up, planned and kept as runs, counted in what is done with their subject; and that
//! memory holds slice by slice what it would hold without blocks.

use std::collections::HashMap;
use std::hash::{Hash, Hasher};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use proptest::prelude::*;
use tokio::time::{Instant, advance};
use weir::domain::time::{DAY, HOUR, MINUTE};
use weir::domain::{
    Account, Ask, CallError, Caller, Cut, Facts, Held, Keep, Mask, Operation, Sent, Slice, Subject, Timestamp, Vendor,
    Window,
};
use weir::planner::{Scheduler, SliceCache};
use weir::quota::{Call, Limiter, Metered, Permit, Rule};
use weir::store::lifetime::{Lifetimes, Use, lifetime, usable};
use weir::store::{Memory, Store};
use weir::vendor::alibaba_cams::PhoneNumberMetrics;

use crate::work::{ask, request};

/// A subject that counts how often it is hashed or copied.
#[derive(Debug)]
struct Named(Account, u8, Arc<AtomicUsize>);

impl Named {
    fn count(&self) {
        self.2.fetch_add(1, Ordering::Relaxed);
    }
}

impl Clone for Named {
    fn clone(&self) -> Self {
        self.count();
        Self(self.0.clone(), self.1, Arc::clone(&self.2))
    }
}

impl PartialEq for Named {
    fn eq(&self, other: &Self) -> bool {
        self.1 == other.1
    }
}

impl Eq for Named {}

impl Hash for Named {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.count();
        self.1.hash(state);
    }
}

impl Subject for Named {
    fn account(&self) -> &Account {
        &self.0
    }

    fn is_seen_by(&self, _: &Caller) -> bool {
        true
    }

    fn text(&self) -> String {
        self.1.to_string()
    }
}

/// Days that hold a number.
struct Days;

impl Operation for Days {
    type Subject = Named;
    type Data = u32;
    type Answer = u32;

    fn facts(&self) -> &'static Facts {
        PhoneNumberMetrics::new(DAY).facts()
    }

    fn rows_told(&self, _: &Slice<Self::Subject>, _: &Self::Data) -> Option<usize> {
        None
    }

    fn masked(&self, _: &u32, _: &Mask) -> Option<u32> {
        None
    }

    fn settle(&self) -> Duration {
        DAY
    }

    fn final_from(&self, slice: &Slice<Named>) -> (Timestamp, Timestamp) {
        (slice.window.start(), slice.window.end())
    }

    fn sent_span(&self, call: &Slice<Named>, _: Timestamp) -> Window {
        call.window
    }

    fn grid(&self) -> Option<Duration> {
        Some(DAY)
    }

    fn expected_rows(&self, call: &Slice<Named>) -> u64 {
        call.window.n_cells(DAY)
    }

    fn joint_subject(&self, subjects: &[&Named]) -> Named {
        subjects[0].clone()
    }

    fn check_retention(&self, _: &Slice<Named>, _: Timestamp) -> Result<(), CallError> {
        Ok(())
    }

    fn cut(&self, call: &Slice<Named>, data: u32, _: Timestamp) -> Vec<Cut<u32>> {
        let cut = |window| Cut { window, data, keep: Keep::Settled, is_empty: false, bytes: 100 };
        call.window.cells(DAY).map(cut).collect()
    }
}

struct Vendors;

impl Call for Vendors {
    type Request = Slice<Named>;
    type Answer = Sent<u32>;

    async fn call(&self, request: &Slice<Named>, _: Permit) -> Result<Sent<u32>, CallError> {
        Ok(Sent { answer: 7, at: request.window.end() })
    }
}

const LIFETIMES: Lifetimes =
    Lifetimes { provisional_ttl: MINUTE, max_stale: HOUR, stale_while_refresh: Duration::from_mins(2) };

fn named(n: u8) -> Named {
    Named(Account::new(Vendor::AlibabaCams, "retail", "host", "owner"), n, Arc::default())
}

fn days(days: Range<u32>) -> Window {
    let first = Timestamp::from_secs(1_700_006_400);
    Window::new(first + DAY * days.start, first + DAY * days.end).unwrap()
}

/// What is counted of one look-up, one plan, one call and one reply is blocks of days.
#[tokio::test(start_paused = true)]
async fn a_decade_is_not_asked_for_day_by_day() {
    const N: u32 = 3_650;
    let memory = Arc::new(Memory::new(Arc::new(Days), 100_000_000, LIFETIMES));
    let metered = Metered::new(Vendors, Limiter::new(Rule::per_second(2, Duration::ZERO), None), Vendor::AlibabaCams);
    let cache = Arc::clone(&memory) as Arc<dyn SliceCache<_>>;
    let subject = named(1);
    let scheduler = Scheduler::new(None, Arc::new(Days), metered, cache, subject.0.clone(), 100_000, None);
    let schedulers = HashMap::from([(subject.0.clone(), scheduler)]);
    let store = Arc::new(Store::new(Arc::new(Days), memory, schedulers));
    let wants = [Slice { subject, window: days(0..N) }];
    let counted = Arc::clone(&wants[0].subject.2);
    let ask = ask(MINUTE);

    let tickets = request(&store, &wants, &ask);
    let fetched = tickets[0].wait().await;
    assert_eq!((fetched.len(), fetched.iter().filter(|day| day.outcome.is_ok()).count()), (3_650, 3_650));
    let of_fetching = counted.swap(0, Ordering::Relaxed);
    assert!(of_fetching < 3_650 / 2, "{of_fetching} for {N} days that are fetched");

    let held = store.peek(&wants, &ask).unwrap();
    assert_eq!((held.len(), ask.cost.cache_hits()), (3_650, 3_650));
    let of_looking = counted.swap(0, Ordering::Relaxed);
    assert!(of_looking < 3_650 / 8, "{of_looking} for {N} days that are held");
}

/// What happens to a memory.
#[derive(Debug, Clone)]
enum Event {
    /// A reply for days of a subject, sent at this second, whose slices weigh so much.
    Put(u8, Range<u32>, i64, Keep, bool, u32),
    ForgetEmpty(u8),
    Pass(Duration),
}

fn event() -> impl Strategy<Value = Event> {
    let keep = prop::sample::select(vec![Keep::Settled, Keep::Provisional, Keep::Unproven]);
    let weight = prop::sample::select(vec![10, 9_000]);
    prop_oneof![
        6 => (0_u8..2, 0_u32..70, 1_u32..50, 0_i64..6, keep, any::<bool>(), weight)
            .prop_map(|(subject, from, n, at, keep, is_empty, bytes)| Event::Put(subject, from..from + n, at, keep, is_empty, bytes)),
        1 => (0_u8..2).prop_map(Event::ForgetEmpty),
        2 => (0_u64..5).prop_map(|n| Event::Pass(Duration::from_secs(40 * n))),
    ]
}

/// What a memory would hold that knows no blocks.
#[derive(Default)]
struct Single(HashMap<(u8, u32), Held<u32>>);

impl Single {
    fn put(&mut self, subject: u8, day: u32, new: Held<u32>) {
        let now = Instant::now();
        let stays = |old: &Held<u32>| old.is_settled() || (old.sent_at > new.sent_at && old.is_fresh(now));
        if !self.0.get(&(subject, day)).is_some_and(stays) {
            self.0.insert((subject, day), new);
        }
    }

    fn look(&self, subject: u8, day: u32, ask: &Ask) -> Option<(i64, Use)> {
        let held = self.0.get(&(subject, day))?;
        let good_for = usable(held, ask, LIFETIMES, days(day..day + 1).end(), Instant::now());
        (good_for != Use::Useless).then_some((held.sent_at.as_ms(), good_for))
    }
}

async fn compare(events: Vec<Event>) {
    let memory = Memory::new(Arc::new(Days), 100_000_000, LIFETIMES);
    let mut single = Single::default();
    let ask = ask(DAY);
    for event in events {
        match event {
            Event::Put(subject, span, at, keep, is_empty, bytes) => {
                let sent_at = Timestamp::from_secs(at);
                let cut = |window| Cut { window, data: 0, keep, is_empty, bytes };
                let landed = memory.put(&named(subject), days(span.clone()).cells(DAY).map(cut).collect(), sent_at);
                let life =
                    lifetime(keep, LIFETIMES).map(|(fresh, stale)| (Instant::now() + fresh, Instant::now() + stale));
                let (fresh_until, stale_until) = life.unzip();
                for day in span {
                    let data = Arc::new(0);
                    single.put(subject, day, Held { data, sent_at, fresh_until, stale_until, is_empty, bytes });
                    let told = &landed.within(days(day..day + 1))[0].1;
                    assert_eq!(told.sent_at, single.0[&(subject, day)].sent_at, "what is held now is told");
                }
            }
            Event::ForgetEmpty(subject) => {
                memory.forget_empty(|of| of.1 == subject);
                single.0.retain(|(of, _), held| *of != subject || !held.is_empty);
            }
            Event::Pass(time) => advance(time).await,
        }
        for (subject, day) in (0..2).flat_map(|subject| (0..120).map(move |day| (subject, day))) {
            let held = memory.lookup(&Slice { subject: named(subject), window: days(day..day + 1) }, &ask);
            let held = held.map(|(held, good_for)| (held.sent_at.as_ms(), good_for));
            assert_eq!(held, single.look(subject, day, &ask), "day {day} of {subject}");
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    #[test]
    fn blocks_hold_what_single_slices_would(events in prop::collection::vec(event(), 1..20)) {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
        runtime.block_on(compare(events));
    }
}

/// One block of them is more than may be held; each alone is not.
#[tokio::test(start_paused = true)]
async fn heavy_slices_are_dropped_one_by_one() {
    let memory = Memory::new(Arc::new(Days), 1_000_000, LIFETIMES);
    let cut = |window| Cut { window, data: 0, keep: Keep::Settled, is_empty: false, bytes: 100_000 };
    memory.put(&named(1), days(0..32).cells(DAY).map(cut).collect(), Timestamp::from_secs(1));
    let ask = ask(DAY);
    let held = |day| memory.lookup(&Slice { subject: named(1), window: days(day..day + 1) }, &ask).is_some();
    // moka keeps its bound now and then.
    (0..40).for_each(|_| drop((0..32).map(held).collect::<Vec<_>>()));
    let n_held = (0..32).filter(|day| held(*day)).count();
    assert!((4..=10).contains(&n_held), "{n_held} of 32");
}
