//! What the steps of a request cost by themselves: `cargo bench --bench micro`.
//!
//! Steps that are not public are measured through what is: parsing and limits as a request that is refused right after
//! them, for an operation that it does not have.

#![expect(clippy::expect_used, reason = "a benchmark that cannot go on has no other way to say so")]

#[expect(dead_code, reason = "the other benchmark uses the rest")]
mod support;

use std::hint::black_box;
use std::sync::{Arc, LazyLock};
use std::time::Duration;

use async_graphql::{Request, Variables};
use divan::Bencher;
use tokio::time::Instant;
use weir::document::Limits;
use weir::domain::time::DAY;
use weir::domain::{
    Account, Ask, Caller, ChannelId, Class, Cut, Freshness, Keep, PhoneNumber, RequestCost, Slice, Timestamp, Vendor,
    Window,
};
use weir::planner::SliceCache;
use weir::planner::plan::plan;
use weir::quota::{Limiter, Rule};
use weir::store::Memory;
use weir::store::lifetime::Lifetimes;
use weir::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics};

use support::{Size, Warm, body};

fn main() {
    divan::main();
}

const SIZES: [Size; 3] = [Size::Small, Size::Large, Size::Huge];

thread_local! {
    static WARM: &'static Warm = Box::leak(Box::new(Warm::new(0)));
}

fn warm() -> &'static Warm {
    WARM.with(|warm| *warm)
}

/// Parsing and validating a document.
#[divan::bench]
fn read(bencher: Bencher) {
    let warm = warm();
    let query = format!("{{ {} }}", warm.query(Size::Small));
    bencher.bench(|| warm.gateway().read(black_box(&query), &Limits::default()).expect("a valid document"));
}

/// From the request's body to the refusal of an operation that is not there: reading, parsing and limits.
#[divan::bench]
fn body_parse_and_limits(bencher: Bencher) {
    let (warm, mut n) = (warm(), 0_u64);
    let query = warm.query(Size::Small);
    let next = || {
        n += 1;
        let text = format!("query A {{ q{n:09}: {query} }}");
        serde_json::json!({ "query": text, "operationName": "B" }).to_string()
    };
    bencher.with_inputs(next).bench_local_values(|body| warm.post(body));
}

/// The gateway on a document that was read, over held data.
#[divan::bench(args = SIZES)]
fn run(bencher: Bencher, size: Size) {
    let warm = warm();
    let query = format!("{{ {} }}", warm.query(size));
    let document = warm.gateway().read(&query, &Limits::default()).expect("a valid document");
    let operation = document.operation(None).expect("one operation");
    bencher.bench_local(|| {
        let bound = warm.gateway().bind(operation, &Variables::default()).expect("no variables");
        warm.run(bound)
    });
}

/// Writing what the gateway answered.
#[divan::bench(args = SIZES)]
fn write_answer(bencher: Bencher, size: Size) {
    let warm = warm();
    let answer = warm.execute(Request::new(format!("{{ {} }}", warm.query(size))));
    bencher.bench_local(|| black_box(&answer).to_json());
}

/// A whole request but for the socket.
#[divan::bench(args = SIZES)]
fn post(bencher: Bencher, size: Size) {
    let warm = warm();
    let body = body(&format!("{{ {} }}", warm.query(size)));
    bencher.with_inputs(|| body.clone()).bench_local_values(|body| warm.post(body));
}

fn subject(channel: usize) -> MetricSubject {
    MetricSubject {
        account: Account::new(Vendor::AlibabaCams, "retail", "example.com", "key"),
        channel: Some(ChannelId::new(&format!("channel-{channel}"))),
        granularity: Granularity::Daily,
        phone: None,
    }
}

fn day(n: u32) -> Window {
    let start = Timestamp::from_secs(1_600_041_600) + DAY * n;
    Window::new(start, start + DAY).expect("a day is not empty")
}

fn operation() -> Arc<PhoneNumberMetrics> {
    Arc::new(PhoneNumberMetrics::new(DAY))
}

/// The fewest calls for gaps of one channel: every other day of twenty phones.
#[divan::bench(args = [30, 500, 5_000])]
fn plan_gaps(bencher: Bencher, n_gaps: u32) {
    let operation = operation();
    let phone = |n: u32| PhoneNumber::parse(&format!("86138000000{n:02}"));
    let gap = |n: u32| Slice { subject: MetricSubject { phone: phone(n % 20), ..subject(0) }, window: day(n / 20 * 2) };
    let gaps: Vec<_> = (0..n_gaps).map(gap).collect();
    let gaps: Vec<_> = gaps.iter().collect();
    bencher.bench(|| plan(&*operation, black_box(&gaps), 100_000));
}

/// One look-up of a phone whose channel is held, with so many slices.
#[divan::bench(args = [1_000, 100_000])]
fn look_up(bencher: Bencher, n_slices: u32) {
    const DAYS: u32 = 1_000;
    static SMALL: LazyLock<Memory<PhoneNumberMetrics>> = LazyLock::new(|| memory(1_000 / DAYS));
    static LARGE: LazyLock<Memory<PhoneNumberMetrics>> = LazyLock::new(|| memory(100_000 / DAYS));
    fn memory(n_channels: u32) -> Memory<PhoneNumberMetrics> {
        let lifetimes = Lifetimes { provisional_ttl: DAY, max_stale: DAY, stale_while_refresh: DAY };
        let memory = Memory::new(operation(), 1 << 30, lifetimes);
        for channel in 0..n_channels {
            let cut = |n| Cut { window: day(n), data: Vec::new(), keep: Keep::Settled, is_empty: false, bytes: 0 };
            memory.put(&subject(channel as usize), (0..DAYS).map(cut).collect(), Timestamp::from_secs(1_700_000_000));
        }
        memory
    }
    let memory = if n_slices == 1_000 { &*SMALL } else { &*LARGE };
    let ask = Ask {
        caller: Caller::Anonymous,
        at: Timestamp::from_secs(1_700_000_000),
        class: Class::Interactive,
        deadline: Instant::now() + DAY,
        max_wait: DAY,
        max_stale: None,
        freshness: Freshness::Any,
        fetched_since: None,
        explain: false,
        cost: Arc::new(RequestCost::default()),
    };
    let mut n = 0_u32;
    let slice = || {
        // Far apart, so that the processor's caches hold little of it.
        n = n.wrapping_add(7_919);
        let channel = (n / DAYS % (n_slices / DAYS)) as usize;
        let phone = PhoneNumber::parse("8613800000000");
        Slice { subject: MetricSubject { phone, ..subject(channel) }, window: day(n % DAYS) }
    };
    assert!(memory.lookup(&Slice { subject: subject(0), window: day(5) }, &ask).is_some());
    bencher.with_inputs(slice).bench_local_values(|slice| memory.lookup(&slice, &ask));
}

/// Joining and leaving the queue for permits, with so many waiting.
#[divan::bench(args = [10, 5_000])]
fn queue(bencher: Bencher, n_waiting: usize) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
    let _inside = runtime.enter();
    // All permits are out for longer than this takes.
    let limiter = Limiter::new(Rule::per_second(50, Duration::ZERO), Some(DAY));
    let classes = [Class::Interactive, Class::Bulk, Class::Background];
    let join = |n: usize| limiter.enqueue(classes[n % 3], Caller::Anonymous);
    let waiting: Vec<_> = (0..n_waiting).map(join).collect();
    assert_eq!(limiter.status(&Caller::Anonymous).queued, waiting.len());
    bencher.bench_local(|| drop(black_box(join(0))));
}
