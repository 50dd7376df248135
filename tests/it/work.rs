//! What a request costs weir itself: counted in subjects that were planned, in look-ups, and in CPU where it must not grow
//! with what waits.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::future::join_all;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};
use weir::domain::time::DAY;
use weir::domain::{
    Account, Ask, CallError, Caller, ChannelId, Class, Cut, Facts, Freshness, Mask, Operation, PhoneNumber, Sent,
    Slice, Timestamp, Vendor, Window,
};
use weir::planner::{Scheduler, SliceCache};
use weir::quota::{Call, Limiter, Metered, Permit, Rule};
use weir::store::lifetime::Lifetimes;
use weir::store::{Memory, Recalled, Store, Ticket};
use weir::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics, PhoneNumberPoint};

use crate::support::{METRIC, NOW, TestGateway, codes, cpu, window};

/// The operation, how many subjects its plans were made of, and how often rows were estimated for them.
struct Counting(PhoneNumberMetrics, AtomicUsize, AtomicUsize);

impl Operation for Counting {
    type Subject = MetricSubject;
    type Data = Vec<PhoneNumberPoint>;
    type Answer = Option<Vec<PhoneNumberPoint>>;

    fn facts(&self) -> &'static Facts {
        self.0.facts()
    }

    fn rows_told(&self, _: &Slice<Self::Subject>, _: &Self::Data) -> Option<usize> {
        None
    }

    fn masked(&self, data: &Vec<PhoneNumberPoint>, mask: &Mask) -> Option<Vec<PhoneNumberPoint>> {
        self.0.masked(data, mask)
    }

    fn settle(&self) -> Duration {
        self.0.settle()
    }

    fn final_from(&self, slice: &Slice<MetricSubject>) -> (Timestamp, Timestamp) {
        self.0.final_from(slice)
    }

    fn sent_span(&self, call: &Slice<MetricSubject>, at: Timestamp) -> Window {
        self.0.sent_span(call, at)
    }

    fn grid(&self) -> Option<Duration> {
        self.0.grid()
    }

    fn expected_rows(&self, call: &Slice<MetricSubject>) -> u64 {
        self.2.fetch_add(1, Ordering::Relaxed);
        self.0.expected_rows(call)
    }

    fn joint_subject(&self, subjects: &[&MetricSubject]) -> MetricSubject {
        self.1.fetch_add(subjects.len(), Ordering::Relaxed);
        self.0.joint_subject(subjects)
    }

    fn check_retention(&self, call: &Slice<MetricSubject>, at: Timestamp) -> Result<(), CallError> {
        self.0.check_retention(call, at)
    }

    fn cut(&self, call: &Slice<MetricSubject>, answer: Self::Answer, sent_at: Timestamp) -> Vec<Cut<Self::Data>> {
        self.0.cut(call, answer, sent_at)
    }
}

/// A vendor that has no rows.
struct Empty;

impl Call for Empty {
    type Request = Slice<MetricSubject>;
    type Answer = Sent<Option<Vec<PhoneNumberPoint>>>;

    async fn call(&self, request: &Self::Request, _: Permit) -> Result<Self::Answer, CallError> {
        Ok(Sent { answer: Some(Vec::new()), at: request.window.end() })
    }
}

fn account() -> Account {
    Account::new(Vendor::AlibabaCams, "retail", "host", "owner")
}

fn slice(channel: &str, phone: Option<usize>, days: u32) -> Slice<MetricSubject> {
    let end = Timestamp::parse_rfc3339(NOW).unwrap().floor(DAY);
    let subject = MetricSubject {
        account: account(),
        channel: Some(ChannelId::new(channel)),
        granularity: Granularity::Daily,
        phone: phone.map(|phone| PhoneNumber::parse(&format!("49{phone:06}")).unwrap()),
    };
    Slice { subject, window: Window::new(end - DAY * days, end).unwrap() }
}

pub(crate) fn ask(max_wait: Duration) -> Ask {
    Ask {
        caller: Caller::Anonymous,
        at: Timestamp::parse_rfc3339(NOW).unwrap(),
        class: Class::Interactive,
        deadline: Instant::now() + max_wait + Duration::from_secs(10),
        max_wait,
        max_stale: None,
        freshness: Freshness::Any,
        fetched_since: None,
        explain: false,
        cost: Arc::default(),
    }
}

type Gateway = Arc<Store<Counting>>;

fn store(hold: Duration) -> (Gateway, Arc<Counting>) {
    let operation = Arc::new(Counting(PhoneNumberMetrics::new(DAY), AtomicUsize::new(0), AtomicUsize::new(0)));
    let lifetimes = Lifetimes { provisional_ttl: DAY, max_stale: DAY, stale_while_refresh: Duration::ZERO };
    let memory = Arc::new(Memory::new(Arc::clone(&operation), 100_000_000, lifetimes));
    let limiter = Limiter::new(Rule::per_second(2, Duration::ZERO), Some(hold));
    let metered = Metered::new(Empty, limiter, Vendor::AlibabaCams);
    let cache = Arc::clone(&memory) as Arc<dyn SliceCache<_>>;
    let scheduler = Scheduler::new(None, Arc::clone(&operation), metered, cache, account(), 100_000, None);
    (Arc::new(Store::new(Arc::clone(&operation), memory, HashMap::from([(account(), scheduler)]))), operation)
}

/// One request of many fields, a field for each want; those that were admitted.
pub(crate) fn request<O: Operation>(
    store: &Arc<Store<O>>,
    wants: &[Slice<O::Subject>],
    ask: &Ask,
) -> Vec<Ticket<O::Data>> {
    let fields: Vec<_> =
        wants.iter().map(|want| store.prepare(std::slice::from_ref(want), &Recalled::default(), ask)).collect();
    let survey = store.survey(&fields, ask);
    let admitted = store.admit(fields, survey, None, ask);
    let mut tasks = Vec::new();
    let tickets = store.submit(admitted, ask, &mut tasks);
    for task in tasks {
        tokio::spawn(task);
    }
    tickets.into_iter().filter_map(Result::ok).collect()
}

fn phones(n: usize) -> Vec<Slice<MetricSubject>> {
    (0..n).map(|phone| slice("cams-alpha", Some(phone), 20)).collect()
}

/// The work of `n` fields that are answered, of `n` whose client goes away, and of `n` that are judged one by one.
async fn work(n: usize) -> [usize; 3] {
    let patient = Duration::from_mins(1);
    let (gateway, counted) = store(Duration::ZERO);
    let tickets = request(&gateway, &phones(n), &ask(patient));
    let answers = join_all(tickets.iter().map(Ticket::wait)).await;
    assert!(answers.len() == n && answers.iter().flatten().all(|answered| answered.outcome.is_ok()));
    let answered = counted.1.load(Ordering::Relaxed);

    let (gateway, counted) = store(patient);
    let tickets = request(&gateway, &phones(n), &ask(2 * patient));
    assert_eq!(tickets.len(), n);
    sleep(Duration::from_secs(1)).await;
    drop(tickets);
    sleep(Duration::from_secs(1)).await;
    assert_eq!(gateway.limiter(&account()).unwrap().status(&Caller::Anonymous).queued, 0, "nobody waits any more");
    let left = counted.1.load(Ordering::Relaxed);

    // The phones share the first call and the second permit is for another channel; the other channels come too late.
    let (gateway, counted) = store(Duration::ZERO);
    let others = (0..9).map(|n| slice(&format!("other-{n}"), None, 1));
    let wants: Vec<_> = phones(n).into_iter().chain(others).collect();
    assert_eq!(request(&gateway, &wants, &ask(Duration::from_secs(1))).len(), n + 1);
    let late = counted.1.load(Ordering::Relaxed);
    [answered, left, late]
}

#[tokio::test(start_paused = true)]
async fn twice_as_many_fields_are_twice_the_work() {
    let (few, many) = (work(100).await, work(400).await);
    for (few, many) in few.into_iter().zip(many) {
        assert!(few >= 100 && many < 8 * few, "{few} subjects for 100 fields, {many} for 400");
    }
}

/// How often rows were estimated while `n` requests asked for other decades of one channel, and had their calls.
async fn estimates(n: u32) -> usize {
    let (gateway, counted) = store(Duration::from_secs(1));
    let ask = ask(Duration::from_mins(10));
    let decade = |n: u32| {
        let all = slice("cams-alpha", None, 3_650 * (n + 1));
        Slice { window: Window::new(all.window.start(), all.window.start() + DAY * 3_650_u32).unwrap(), ..all }
    };
    let tickets: Vec<_> = (0..n).flat_map(|n| request(&gateway, &[decade(n)], &ask)).collect();
    let answers = join_all(tickets.iter().map(Ticket::wait)).await;
    assert!(answers.len() == n as usize && answers.iter().flatten().all(|answered| answered.outcome.is_ok()));
    counted.2.load(Ordering::Relaxed)
}

/// Slices are not planned one by one, and what waits already is not planned again with each ask.
#[tokio::test(start_paused = true)]
async fn many_asks_for_one_channel_cost_little_more_than_one_each() {
    let (few, many) = (estimates(4).await, estimates(16).await);
    assert!(few <= 4 * 200 && many <= 16 * 200, "{few} estimates for 4 asks, {many} for 16");
}

#[tokio::test(start_paused = true)]
async fn many_phones_cost_no_more_than_their_rows() {
    let gateway = TestGateway::start();
    let phones: Vec<String> = (0..3_000).map(|n| format!("86138{n:06}")).collect();
    let query = "query($phones: [String!]) { phoneNumberMetrics(custSpaceId: \"cams-alpha\", phoneNumbers: $phones, range: {last: \"P30D\"}) { totalCount } }";
    let answer = gateway.ask(query, json!({"phones": phones})).await;
    assert_eq!(codes(&answer), Vec::<String>::new());
    let again = gateway.ask(query, json!({"phones": phones})).await;
    assert_eq!(again["extensions"]["weir"]["cacheHits"], json!(31), "a look-up a day, not one a day and phone");
    assert_eq!(gateway.calls(METRIC), 1);
    let seen = gateway.data("{ channel(custSpaceId: \"cams-alpha\") { phoneNumbers } }").await;
    let one = seen["channel"]["phoneNumbers"][0].clone();
    let rows = async |phones: Value| {
        gateway.ask(query, json!({"phones": phones})).await["data"]["phoneNumberMetrics"]["totalCount"]
            .as_u64()
            .unwrap()
    };
    let with_one: Vec<Value> = phones.iter().map(|phone| json!(phone)).chain([one.clone()]).collect();
    assert!(rows(json!([one])).await > 20);
    assert_eq!(rows(json!(with_one)).await, rows(json!([one])).await, "nobody else's rows");
}

#[tokio::test(start_paused = true)]
async fn many_windows_behind_a_long_queue_are_judged_at_once() {
    let query =
        "{ operationDistributions(appIds: [\"app-one\"], range: {last: \"P800D\"}, window: \"PT1H\") { start } }";
    let look = async |gateway: &TestGateway| {
        let began = cpu::used();
        let answer = gateway.query(query).await;
        assert_eq!(codes(&answer), ["TOO_EXPENSIVE"]);
        cpu::since(began)
    };
    let gateway = TestGateway::builder().max_wait(3_600).build();
    let (_, alone) = (look(&gateway).await, look(&gateway).await);
    let queue: Vec<_> =
        (0..600).map(|n| gateway.ask(&window("app-one", n % 480), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_millis(5)).await;
    let behind = look(&gateway).await;
    assert!(behind < alone * 4, "{alone:?} of CPU alone, {behind:?} behind a queue");
    queue.iter().for_each(tokio::task::JoinHandle::abort);
}

#[tokio::test(start_paused = true)]
async fn looks_at_a_stale_answer_do_not_pile_up_behind_its_refresh() {
    let today = r#"{ operationDistribution(appId: "app-one", range: {between: {start: "2026-11-22T00:00:00Z", end: "2026-11-22T10:00:00Z"}}) { source start end } }"#;
    let gateway = TestGateway::builder().max_wait(600).build();
    gateway.query(today).await;
    sleep(Duration::from_mins(6)).await;
    let queue: Vec<_> = (0..200).map(|n| gateway.ask(&window("app-two", n), json!({}))).map(tokio::spawn).collect();
    sleep(Duration::from_millis(5)).await;
    let mut took = Vec::new();
    for _ in 0..5 {
        let began = cpu::used();
        for _ in 0..4_000 {
            let answer = gateway.query(today).await;
            assert_eq!(answer["data"]["operationDistribution"]["source"], json!("STALE"));
        }
        took.push(cpu::since(began));
    }
    assert!(took[4] < took[0] * 3, "looks get slower and slower: {took:?}");
    queue.iter().for_each(tokio::task::JoinHandle::abort);
}
