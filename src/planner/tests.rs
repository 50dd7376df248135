use std::collections::HashSet;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures_util::FutureExt;
use proptest::prelude::*;
use tokio::time::Instant;

use super::group::Entry;
use super::plan::{group_of, plan};
use super::state::{Action, Departure, State, Whereabouts, lock};
use super::{Draft, Found, GroupKey, Subscriber};
use crate::domain::time::DAY;
use crate::domain::{
    Account, Ask, CallError, Caller, Class, Cut, Facts, Freshness, Mask, Operation, Slice, Subject, Timestamp, Vendor,
    Window,
};
use crate::error::{Code, WeirError};
use crate::quota::{Limiter, Rule};

/// A channel, or one of its phones.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
struct Toy(Account, Option<u8>);

impl Subject for Toy {
    fn account(&self) -> &Account {
        &self.0
    }

    fn is_seen_by(&self, _: &Caller) -> bool {
        true
    }

    fn text(&self) -> String {
        format!("{:?}", self.1)
    }

    fn whole(&self) -> Option<Self> {
        self.1.is_some().then(|| Self(self.0.clone(), None))
    }
}

/// Days of channels with a row a day and phone.
struct Days {
    phones: u64,
}

impl Operation for Days {
    type Subject = Toy;
    type Data = ();
    type Answer = ();

    fn facts(&self) -> &'static Facts {
        const FACTS: Facts = Facts {
            vendor: Vendor::AlibabaCams,
            operation: "Days",
            dataset: "days",
            calls_per_second: 2,
            max_window: None,
            lookback: None,
            additive: true,
            memory_share: 0,
        };
        &FACTS
    }

    fn rows_told(&self, _: &Slice<Self::Subject>, (): &Self::Data) -> Option<usize> {
        None
    }

    fn masked(&self, (): &(), _: &Mask) -> Option<()> {
        None
    }

    fn settle(&self) -> Duration {
        DAY
    }

    fn final_from(&self, slice: &Slice<Toy>) -> (Timestamp, Timestamp) {
        (slice.window.start(), slice.window.end())
    }

    fn sent_span(&self, call: &Slice<Toy>, _: Timestamp) -> Window {
        call.window
    }

    fn grid(&self) -> Option<Duration> {
        Some(DAY)
    }

    fn expected_rows(&self, call: &Slice<Toy>) -> u64 {
        call.window.length().as_secs() / DAY.as_secs() * if call.subject.1.is_some() { 1 } else { self.phones }
    }

    fn joint_subject(&self, subjects: &[&Toy]) -> Toy {
        let first = subjects[0];
        let is_one = subjects.iter().all(|subject| *subject == first);
        if is_one { first.clone() } else { first.whole().unwrap_or_else(|| first.clone()) }
    }

    fn check_retention(&self, _: &Slice<Toy>, _: Timestamp) -> Result<(), CallError> {
        Ok(())
    }

    fn cut(&self, _: &Slice<Toy>, (): (), _: Timestamp) -> Vec<Cut<()>> {
        Vec::new()
    }
}

fn account() -> Account {
    Account::new(Vendor::AlibabaCams, "retail", "host", "owner")
}

fn day(n: u32) -> Window {
    let start = Timestamp::from_secs(1_700_006_400) + DAY * n;
    Window::new(start, start + DAY).unwrap()
}

fn slice((phone, n): (u8, u32)) -> Slice<Toy> {
    // Phone 0 is the channel as a whole.
    Slice { subject: Toy(account(), (phone > 0).then_some(phone)), window: day(n) }
}

/// So many days from one on.
fn run((phone, n, days): (u8, u32, u32)) -> Slice<Toy> {
    let first = slice((phone, n));
    Slice { window: first.window.hull(day(n + days - 1)), ..first }
}

/// The days of runs.
fn days_of(runs: &[Slice<Toy>]) -> Vec<Slice<Toy>> {
    let days = |run: &Slice<Toy>| {
        let subject = run.subject.clone();
        run.window.cells(DAY).map(move |window| Slice { subject: subject.clone(), window })
    };
    runs.iter().flat_map(days).collect()
}

fn subscriber(class: Class, deadline: Instant) -> Arc<Subscriber> {
    Subscriber::new(Ask {
        caller: Caller::Anonymous,
        at: Timestamp::from_secs(1_800_000_000),
        class,
        deadline,
        max_wait: Duration::from_mins(1),
        max_stale: None,
        freshness: Freshness::Any,
        fetched_since: None,
        explain: false,
        cost: Arc::default(),
    })
}

/// Whether a call of the slice's subject, or of its whole, covers it.
fn serves(call: &Slice<Toy>, gap: &Slice<Toy>) -> bool {
    let is_its = call.subject == gap.subject || gap.subject.whole().is_some_and(|whole| whole == call.subject);
    is_its && call.window.covers(gap.window)
}

/// The fewest spans of at most `most` days that cover `days`, by trying all.
fn fewest(days: &[u32], most: u32) -> usize {
    let Some(first) = days.first() else { return 0 };
    let lengths = (1..=most.max(1)).map(|length| {
        let left: Vec<u32> = days.iter().copied().filter(|day| *day >= first + length).collect();
        1 + fewest(&left, most)
    });
    lengths.min().unwrap_or(0)
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    /// As few as any way of asking for all subjects together or each by itself, none too long, and nothing is left out.
    #[test]
    fn the_plan_is_the_fewest_calls(
        runs in prop::collection::vec((0_u8..4, 0_u32..12, 1_u32..4), 0..14),
        phones in 1_u64..4,
        max_rows in 1_u64..10,
    ) {
        let operation = Days { phones };
        let runs: Vec<_> = runs.into_iter().map(run).collect();
        let calls = plan(&operation, &runs.iter().collect::<Vec<_>>(), max_rows);
        let gaps = days_of(&runs);
        for gap in &gaps {
            prop_assert!(calls.iter().any(|call| serves(call, gap)), "{gap:?} in {calls:?}");
        }
        for call in &calls {
            prop_assert!(operation.expected_rows(call) <= max_rows || call.window.length() == DAY, "{call:?}");
            prop_assert!(gaps.iter().any(|gap| serves(call, gap)), "{call:?} is for nothing");
        }
        let days = |of: Option<&Toy>| {
            let mut days: Vec<u32> = gaps
                .iter()
                .filter(|gap| of.is_none_or(|subject| *subject == gap.subject))
                .map(|gap| u32::try_from(gap.window.start().since(day(0).start()).as_secs() / DAY.as_secs()).unwrap())
                .collect();
            days.sort_unstable();
            days.dedup();
            days
        };
        let subjects: HashSet<&Toy> = gaps.iter().map(|gap| &gap.subject).collect();
        let reach = |subject: &Toy| u32::try_from(max_rows / if subject.1.is_some() { 1 } else { phones }).unwrap();
        let apart: usize = subjects.iter().map(|subject| fewest(&days(Some(subject)), reach(subject))).sum();
        let joint = gaps.first().map_or(0, |gap| {
            let all: Vec<&Toy> = subjects.iter().copied().collect();
            let subject = if all.len() == 1 { gap.subject.clone() } else { operation.joint_subject(&all) };
            fewest(&days(None), reach(&subject))
        });
        prop_assert_eq!(calls.len(), joint.min(apart), "{:?}", calls);
    }
}

/// A state, what it has said is to be done, and the calls that are out.
struct Walk {
    state: Arc<Mutex<State<Days>>>,
    operation: Arc<Days>,
    now: Instant,
    entries: Vec<(u64, GroupKey<Toy>)>,
    gathering: HashSet<GroupKey<Toy>>,
    next_entry: u64,
    out: Vec<(GroupKey<Toy>, Departure<Toy>)>,
    promised: Vec<(Slice<Toy>, Arc<Subscriber>, super::Pending<()>)>,
}

impl Walk {
    fn new(phones: u64, max_rows: u64) -> Self {
        let operation = Arc::new(Days { phones });
        let state = Arc::new(Mutex::new(State::new(Arc::clone(&operation), max_rows)));
        Self {
            state,
            operation,
            now: Instant::now(),
            entries: Vec::new(),
            gathering: HashSet::new(),
            next_entry: 0,
            out: Vec::new(),
            promised: Vec::new(),
        }
    }

    /// What a scheduler does with a limiter.
    fn act(&mut self, actions: Vec<Action<Toy>>) {
        for action in actions {
            match action {
                Action::Enqueue(group, class, caller) => {
                    self.next_entry += 1;
                    lock(&self.state).note_entry(&group, Entry { id: self.next_entry, class, caller });
                    self.entries.push((self.next_entry, group));
                }
                Action::Cancel(entry) => self.entries.retain(|(known, _)| *known != entry),
                Action::Lift(..) => {}
                Action::Gather(group) => {
                    self.gathering.insert(group);
                }
            }
        }
    }

    fn go_through(&mut self, event: Event) {
        match event {
            Event::Submit(runs, class) => {
                let runs: Vec<_> = runs.into_iter().map(run).collect();
                self.submit(&runs, &subscriber(class, self.now + DAY));
            }
            Event::TakeOff(n) => self.take_off(n),
            Event::Land(n, spare_late) => self.land(n, spare_late),
            Event::Leave(n) => self.leave(n),
            Event::StopGathering => self.stop_gathering(),
        }
    }

    fn submit(&mut self, runs: &[Slice<Toy>], subscriber: &Arc<Subscriber>) {
        let wanted: Vec<_> = runs.iter().map(|run| (run, subscriber)).collect();
        let (found, actions) = lock(&self.state).submit(&wanted, |_, _| None, self.now);
        assert_eq!(found.len(), runs.len(), "an answer for each");
        for (run, found) in runs.iter().zip(found) {
            let mut at = run.window.start();
            for found in found {
                let Found::Pending(pending) = found else { panic!("nothing is held") };
                let window = pending.window();
                assert_eq!(std::mem::replace(&mut at, window.end()), window.start(), "all parts in order");
                let part = Slice { subject: run.subject.clone(), window };
                self.promised.push((part, Arc::clone(subscriber), pending));
            }
            assert_eq!(at, run.window.end(), "nothing is left out");
        }
        self.act(actions);
    }

    fn take_off(&mut self, n: usize) {
        if self.entries.is_empty() {
            return;
        }
        let (entry, group) = self.entries.remove(n % self.entries.len());
        let (departure, actions) = lock(&self.state).take_off(&group, entry, |_| false, self.now);
        self.out.extend(departure.map(|departure| (group, departure)));
        self.act(actions);
    }

    fn land(&mut self, n: usize, spare_late: bool) {
        if self.out.is_empty() {
            return;
        }
        let (group, Departure { brought, .. }) = self.out.remove(n % self.out.len());
        let told = Arc::new(WeirError::new(Code::VendorUnavailable, "no"));
        let outcome = |_: Window| Err(Arc::clone(&told));
        let actions = lock(&self.state).land(&group, &brought, outcome, spare_late, self.now);
        self.gathering.remove(&group);
        self.act(actions);
        self.forget_told();
    }

    fn leave(&mut self, n: usize) {
        if self.promised.is_empty() {
            return;
        }
        let gone = Arc::clone(&self.promised[n % self.promised.len()].1);
        gone.leave();
        let (left, stay) =
            std::mem::take(&mut self.promised).into_iter().partition(|(_, one, _)| Arc::ptr_eq(one, &gone));
        self.promised = stay;
        let left: Vec<(Slice<Toy>, Arc<Subscriber>, super::Pending<()>)> = left;
        let mut state = lock(&self.state);
        state.leave(&left.iter().map(|(slice, ..)| slice).collect::<Vec<_>>());
        let actions = state.tidy(self.now);
        drop(state);
        self.act(actions);
    }

    fn stop_gathering(&mut self) {
        for group in std::mem::take(&mut self.gathering) {
            let actions = lock(&self.state).stop_gathering(&group, self.now);
            self.act(actions);
        }
    }

    fn key(&self) -> GroupKey<Toy> {
        group_of(&*self.operation, &slice((0, 0)))
    }

    fn calls(&self) -> Vec<Slice<Toy>> {
        lock(&self.state).calls_with(&self.key(), &[])
    }

    /// What waits is planned, and the queue holds an entry for each call of the plan, unless new gaps gather.
    fn check(&self) {
        let calls = self.calls();
        assert!(!self.gathering.is_empty() || self.entries.len() == calls.len(), "{:?} for {calls:?}", self.entries);
        let state = lock(&self.state);
        let open =
            self.promised.iter().flat_map(|(run, _, pending)| pending.parts().into_iter().map(move |part| (run, part)));
        for (run, part) in open.filter(|(_, part)| part.told.is_none()) {
            let open = Slice { subject: run.subject.clone(), window: part.window };
            for (window, whereabouts) in state.whereabouts(&self.key(), &open) {
                let slice = Slice { window, ..open.clone() };
                match whereabouts {
                    Whereabouts::Nowhere => panic!("{slice:?} is forgotten"),
                    // Its whole may have been asked for since.
                    Whereabouts::Out(subject) => assert!(subject != slice.subject || part.is_under_way, "{slice:?}"),
                    Whereabouts::Queued(subject) => {
                        assert!(subject != slice.subject || !part.is_under_way, "{slice:?}");
                        for day in days_of(&[slice]) {
                            assert!(calls.iter().any(|call| serves(call, &day)), "{day:?} waits in vain for {calls:?}");
                        }
                    }
                }
            }
        }
    }

    /// Those who were told wait no more.
    fn forget_told(&mut self) {
        self.promised.retain(|(_, subscriber, pending)| pending.outcome(subscriber).now_or_never().is_none());
    }
}

/// What happens to a scheduler.
#[derive(Debug, Clone)]
enum Event {
    Submit(Vec<(u8, u32, u32)>, Class),
    TakeOff(usize),
    Land(usize, bool),
    Leave(usize),
    StopGathering,
}

fn event() -> impl Strategy<Value = Event> {
    let class = prop::sample::select(vec![Class::Interactive, Class::Bulk, Class::Background]);
    prop_oneof![
        4 => (prop::collection::vec((0_u8..4, 0_u32..16, 1_u32..6), 1..8), class)
            .prop_map(|(runs, class)| Event::Submit(runs, class)),
        2 => any::<usize>().prop_map(Event::TakeOff),
        2 => (any::<usize>(), any::<bool>()).prop_map(|(n, spare_late)| Event::Land(n, spare_late)),
        1 => any::<usize>().prop_map(Event::Leave),
        1 => Just(Event::StopGathering),
    ]
}

/// A runtime in virtual time that never runs: limiters are made in one.
fn inside<T>(run: impl FnOnce() -> T) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().start_paused(true).build().unwrap();
    let _inside = runtime.enter();
    run()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    /// Whatever happens in whatever order: the queue follows the plan, and in the end nobody is left waiting.
    #[test]
    fn the_queue_follows_the_plan_and_nobody_is_forgotten(
        events in prop::collection::vec(event(), 1..40),
        phones in 1_u64..4,
        max_rows in 1_u64..12,
    ) {
        inside(|| {
            let mut walk = Walk::new(phones, max_rows);
            for event in events {
                walk.go_through(event);
                walk.check();
            }
            while !(walk.entries.is_empty() && walk.out.is_empty()) {
                walk.take_off(0);
                walk.land(0, false);
                walk.check();
            }
            assert!(lock(&walk.state).group(&walk.key()).is_none(), "nothing is left");
            assert!(walk.promised.is_empty(), "everybody was told");
        });
    }

    /// What a draft says of slices is what submitting them then does: which are joined, and which calls come to the plan.
    #[test]
    fn the_draft_is_what_submitting_then_does(
        events in prop::collection::vec(event(), 0..20),
        fields in prop::collection::vec(prop::collection::vec((0_u8..4, 0_u32..16, 1_u32..6), 1..6), 1..5),
        phones in 1_u64..4,
        max_rows in 1_u64..12,
    ) {
        inside(|| {
            let mut walk = Walk::new(phones, max_rows);
            for event in events {
                walk.go_through(event);
            }
            let limiter = Limiter::new(Rule::per_second(2, Duration::ZERO), None);
            let mut draft = Draft::new(Arc::clone(&walk.state), limiter);
            let before = walk.calls();
            let fields: Vec<Vec<_>> = fields.into_iter().map(|field| field.into_iter().map(run).collect()).collect();
            let mut joined = 0;
            for field in &fields {
                let step = draft.weigh(&field.iter().collect::<Vec<_>>(), Class::Interactive, &Caller::Anonymous, 0);
                joined += step.joined;
                draft.accept(step, true);
            }
            let mut planned = draft.calls();
            let is_joined = |slice: &Slice<Toy>| {
                lock(&walk.state).whereabouts(&walk.key(), slice) != [(slice.window, Whereabouts::Nowhere)]
            };
            let all = days_of(&fields.concat());
            let (was_there, new): (Vec<_>, Vec<_>) = all.into_iter().partition(is_joined);
            assert!(joined <= was_there.len(), "what a field before it adds is not joined");

            walk.submit(&fields.concat(), &subscriber(Class::Interactive, walk.now + DAY));
            let after = walk.calls();
            assert_eq!(draft.new_calls(), after.len().saturating_sub(before.len()));
            let mut brought: Vec<_> =
                after.into_iter().filter(|call| new.iter().any(|slice| serves(call, slice))).map(|call| (call, true)).collect();
            let order = |(call, _): &(Slice<Toy>, bool)| (call.subject.1, call.window);
            planned.sort_by_key(order);
            brought.sort_by_key(order);
            assert_eq!(planned, brought);
        });
    }
}
