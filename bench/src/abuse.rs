//! What callers who mean harm, or want too much, take from everybody else: how long healthy requests take meanwhile, how
//! much memory it costs, and what is still answered. Callers take none of the server's processors where it can be helped:
//! those who send much, or read much, run last.

use std::io::Write as _;
use std::net::TcpStream;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::cases::ask;
use crate::client::{Connection, post};
use crate::processes::{CHANNEL, Folder, Server, Setup};
use crate::rows::time;
use crate::singles::{Single, single, slowed};
use crate::usage::{cpu_us, forget_most, median, memory, most_memory, run_first, run_last, to_f64};
use crate::{Options, Outcome};

const SLOW: usize = 2_000;
const CHUNK: usize = 1 << 16;
const CHUNKED: u64 = 10 << 30;
/// Senders of chunks at a time.
const SENDERS: usize = 8;
const HUGE: usize = 100;
/// Lists of 1.5 MB in an answer.
const LISTS: usize = 16;
const UNREAD: usize = 40;
/// What the vendor answers in a second, and how often more is asked for.
const A_SECOND: u64 = 50;
const TIMES: u64 = 10;
/// Askers at a time: those who are let in wait for five seconds at most.
const ASKERS: usize = 600;
const OTHERS: u64 = 1_000;

/// Measures what abuse costs others.
pub(crate) fn measure(folder: &Folder, options: &Options) -> Outcome<Vec<Single>> {
    if !options.wants("abuse") {
        return Ok(Vec::new());
    }
    let weir = Server::weir(folder, &Setup::new("abuse"))?;
    // What is asked of it is held, and the first requests are over.
    post(&weir.address, "/graphql", &ask(&lists(1)))?;
    let mut singles = Vec::new();
    eprintln!("decades of one channel");
    singles.extend(decades(&weir)?);
    eprintln!("{SLOW} slow sockets");
    singles.extend(hurt(&weir, &format!("{SLOW} sockets that send a byte of their head now and then"), || {
        slow(&weir, options)
    })?);
    let sent = if options.quick { CHUNKED / 16 } else { CHUNKED };
    eprintln!("endless bodies");
    let work = format!("bodies in chunks that have no end, {:.1} GiB", to_f64(sent >> 20) / 1_024.0);
    singles.extend(hurt(&weir, &work, || chunks(&weir, sent))?);
    eprintln!("answers that nobody reads");
    singles
        .extend(hurt(&weir, &format!("{UNREAD} callers who do not read answers of 50 MB"), || unread(&weir, options))?);
    eprintln!("huge answers");
    singles.extend(much(&weir, &format!("{HUGE} answers of 24 MB, asked for at once and read"), || huge(&weir))?);
    drop(weir);
    eprintln!("{TIMES} times as much as the vendor answers");
    singles.extend(overload(folder, options)?);
    Ok(singles)
}

/// The same long list so many times.
fn lists(n: usize) -> String {
    let list = |alias| {
        format!(
            "l{alias}: phoneNumberMetrics(custSpaceId: {CHANNEL:?}, granularity: HALF_HOUR, first: 10000, range: {{between: \
             {{start: \"2025-03-01T00:00:00Z\", end: \"2025-03-31T00:00:00Z\"}}}}) \
             {{ nodes {{ phoneNumber start end sentCount deliveredCount finality }} }}"
        )
    };
    format!("{{ {} }}", (0..n).map(list).collect::<Vec<_>>().join(" "))
}

/// How long healthy requests take while `work` goes on, in microseconds and in order.
fn beside<T>(weir: &Server, work: impl FnOnce() -> Outcome<T>) -> Outcome<(T, Vec<f64>)> {
    let over = AtomicBool::new(false);
    let (done, took) = thread::scope(|scope| {
        let probe = scope.spawn(|| probe(&weir.address, &over).map_err(|error| error.to_string()));
        let done = work();
        over.store(true, Ordering::Relaxed);
        (done, probe.join())
    });
    let mut took = took.map_err(|_| "the probe panicked")??;
    took.sort_by(f64::total_cmp);
    if took.is_empty() {
        return Err("not one healthy request was answered".into());
    }
    Ok((done?, took))
}

/// Asks for a small answer again and again, on one connection.
fn probe(address: &str, over: &AtomicBool) -> Outcome<Vec<f64>> {
    run_first();
    let (mut to, mut took) = (Connection::open(address)?, Vec::new());
    let query = ask("{ channels { custSpaceId } }");
    while !over.load(Ordering::Relaxed) {
        for path in ["/health/live", "/graphql"] {
            let began = Instant::now();
            let answer = if path == "/graphql" { to.post(path, &query)? } else { to.get(path)? };
            if answer.status != 200 {
                return Err(format!("a healthy request was answered {}", answer.status).into());
            }
            took.push(began.elapsed().as_secs_f64() * 1e6);
        }
        thread::sleep(Duration::from_millis(2));
    }
    Ok(took)
}

fn p99(took: &[f64]) -> f64 {
    took.get(took.len() * 99 / 100).copied().unwrap_or_default()
}

/// What work that is no work for weir does to the latency of healthy requests and to memory.
fn hurt(weir: &Server, name: &str, work: impl FnOnce() -> Outcome<()>) -> Outcome<[Single; 2]> {
    let ([before, during], memory) = burdened(weir, name, work)?;
    let latency = format!("p99 of healthy requests beside {name}: {} instead of {}", time(during), time(before));
    Ok([slowed(latency, before, during), memory])
}

/// The same of what is asked for, and keeps the processors busy.
fn much(weir: &Server, name: &str, work: impl FnOnce() -> Outcome<()>) -> Outcome<[Single; 2]> {
    let ([before, during], memory) = burdened(weir, name, work)?;
    let latency = format!("p99 of healthy requests beside {name}, instead of {}", time(before));
    Ok([single(latency, "≤ 50 ms", time(during), during <= 50_000.0), memory])
}

/// The p99 of healthy requests before and during `work`, and the memory that it takes.
fn burdened(weir: &Server, name: &str, work: impl FnOnce() -> Outcome<()>) -> Outcome<([f64; 2], Single)> {
    let ((), before) = beside(weir, || {
        thread::sleep(Duration::from_secs(2));
        Ok(())
    })?;
    let held = memory(weir.pid())?.rss;
    forget_most(weir.pid())?;
    let ((), during) = beside(weir, work)?;
    let grown = most_memory(weir.pid())? - held;
    let memory =
        single(format!("memory that {name} takes at most"), "≤ 100 MB", format!("{grown:.1} MB"), grown <= 100.0);
    Ok(([p99(&before), p99(&during)], memory))
}

/// Questions of a kilobyte that mean hundreds of thousands of days.
fn decades(weir: &Server) -> Outcome<[Single; 2]> {
    let ten_years = |from: i32, phone: &str| {
        let range =
            format!("{{between: {{start: \"{from:04}-01-01T00:00:00Z\", end: \"{:04}-01-01T00:00:00Z\"}}}}", from + 10);
        ask(&format!("{{ phoneNumberMetrics(custSpaceId: {CHANNEL:?}{phone}, range: {range}) {{ totalCount }} }}"))
    };
    let of_one = (0..180).map(|n| ten_years(100 + 10 * n, ""));
    let of_phones = (0..100).map(|n| ten_years(1_950, &format!(", phoneNumbers: [\"86139{n:06}\"]")));
    let bodies: Vec<String> = of_one.chain(of_phones).collect();
    let before = cpu_us(weir.pid())?;
    let ((), took) = beside(weir, || {
        let asks = bodies.iter().map(|body| {
            let mut to = Connection::open(&weir.address)?;
            to.send("POST", "/graphql", body)?;
            Ok(to)
        });
        let asks = asks.collect::<Outcome<Vec<_>>>()?;
        asks.into_iter().try_for_each(|mut to| match to.receive()? {
            answer if String::from_utf8_lossy(&answer.body).contains("\"totalCount\":0") => Ok(()),
            answer => Err(format!("a decade was answered {}", String::from_utf8_lossy(&answer.body)).into()),
        })
    })?;
    let cpu = (cpu_us(weir.pid())? - before) / 1e6;
    let longest = took.last().copied().unwrap_or_default();
    Ok([
        single(
            "CPU of 180 other decades of one channel and ten years of 100 phones each, asked for at once",
            "≤ 1 s",
            format!("{cpu:.2} s"),
            cpu <= 1.0,
        ),
        single("the slowest healthy request meanwhile", "≤ 50 ms", time(longest), longest <= 50_000.0),
    ])
}

/// Every socket sends a byte each 200 ms, one after the other.
fn slow(weir: &Server, options: &Options) -> Outcome<()> {
    const AT_A_TIME: usize = SLOW / 100;
    let head = b"POST /graphql HTTP/1.1\r\nhost: localhost\r\nx-slow: ";
    let mut sockets = Vec::with_capacity(SLOW);
    for _ in 0..SLOW {
        let mut socket = TcpStream::connect(&weir.address)?;
        socket.write_all(head)?;
        sockets.push(socket);
    }
    let send = || {
        run_last().map_err(|error| error.to_string())?;
        for _ in 0..if options.quick { 10 } else { 40 } {
            for some in sockets.chunks_mut(AT_A_TIME) {
                // Those that were given up are closed, and stay so.
                for socket in some {
                    _ = socket.write_all(b"a");
                }
                thread::sleep(Duration::from_millis(2));
            }
        }
        Ok::<_, String>(())
    };
    Ok(thread::scope(|scope| scope.spawn(send).join()).map_err(|_| "the sender panicked")??)
}

/// Sends bodies without an end, each until it is cut, `all` bytes together.
fn chunks(weir: &Server, all: u64) -> Outcome<()> {
    let sent = AtomicU64::new(0);
    let mut chunk = format!("{CHUNK:x}\r\n").into_bytes();
    chunk.resize(chunk.len() + CHUNK, b' ');
    chunk.extend_from_slice(b"\r\n");
    let one_by_one = || {
        run_last()?;
        while sent.load(Ordering::Relaxed) < all {
            let mut socket = TcpStream::connect(&weir.address)?;
            socket.write_all(b"POST /graphql HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n")?;
            while sent.load(Ordering::Relaxed) < all && socket.write_all(&chunk).is_ok() {
                sent.fetch_add(CHUNK as u64, Ordering::Relaxed);
            }
        }
        Outcome::Ok(())
    };
    thread::scope(|scope| {
        let one_by_one = || one_by_one().map_err(|error| error.to_string());
        let senders: Vec<_> = (0..SENDERS).map(|_| scope.spawn(one_by_one)).collect();
        senders.into_iter().try_for_each(|sender| Ok(sender.join().map_err(|_| "a sender panicked")??))
    })
}

fn unread(weir: &Server, options: &Options) -> Outcome<()> {
    let body = ask(&lists(2 * LISTS));
    let mut waiting = Vec::new();
    for _ in 0..UNREAD {
        let mut to = Connection::open(&weir.address)?;
        to.send("POST", "/graphql", &body)?;
        waiting.push(to);
    }
    thread::sleep(Duration::from_secs(if options.quick { 3 } else { 15 }));
    Ok(())
}

fn huge(weir: &Server) -> Outcome<()> {
    let body = ask(&lists(LISTS));
    let read = || {
        run_last().map_err(|error| error.to_string())?;
        let answer = post(&weir.address, "/graphql", &body).map_err(|error| error.to_string())?;
        // 503 is an answer, too: there is no room for all of them at once.
        if [200, 503].contains(&answer.status) { Ok(()) } else { Err(format!("{} for a huge answer", answer.status)) }
    };
    thread::scope(|scope| {
        let readers: Vec<_> = (0..HUGE).map(|_| scope.spawn(read)).collect();
        readers.into_iter().try_for_each(|reader| Ok(reader.join().map_err(|_| "a reader panicked")??))
    })
}

/// Ten times as many calls as the vendor answers are asked for, by people who wait for five seconds.
fn overload(folder: &Folder, options: &Options) -> Outcome<[Single; 3]> {
    let channels: Vec<_> = (0..OTHERS).map(|n| format!("bench-over-{n:03}")).collect();
    let weir = Server::weir(folder, &Setup { channels, max_bytes: "32MiB", ..Setup::new("overload") })?;
    let seconds = if options.quick { 10 } else { options.overload.max(10) };
    let [next, answered, early, refused] = [const { AtomicU64::new(0) }; 4];
    let began = Instant::now();
    let asks = || {
        let mut to = Connection::open(&weir.address).map_err(|error| error.to_string())?;
        loop {
            let n = next.fetch_add(1, Ordering::Relaxed);
            let due = Duration::from_micros(n * 1_000_000 / (A_SECOND * TIMES));
            if due >= Duration::from_secs(seconds) {
                return Ok(());
            }
            thread::sleep(due.saturating_sub(began.elapsed()));
            let answer = to.post("/graphql", &cold(n)).map_err(|error| error.to_string())?;
            let text = String::from_utf8_lossy(&answer.body);
            // The first seconds fill the queue.
            let counted = match (text.contains("\"errors\""), text.contains("QUOTA_WAIT_TOO_LONG")) {
                (false, _) if began.elapsed() > Duration::from_secs(2) => &answered,
                (false, _) => &early,
                (true, true) => &refused,
                (true, false) => return Err(format!("under load an ask was answered {text:.300}")),
            };
            counted.fetch_add(1, Ordering::Relaxed);
        }
    };
    let mut held = Vec::new();
    let in_time = thread::scope(|scope| {
        let spawn = || thread::Builder::new().stack_size(1 << 18).spawn_scoped(scope, asks);
        let askers = (0..ASKERS).map(|_| spawn()).collect::<Result<Vec<_>, _>>()?;
        while began.elapsed() < Duration::from_secs(seconds) {
            thread::sleep(Duration::from_secs(1));
            held.push(memory(weir.pid())?.rss);
        }
        let in_time = to_f64(answered.load(Ordering::Relaxed));
        askers.into_iter().try_for_each(|asker| {
            Ok::<_, Box<dyn std::error::Error>>(asker.join().map_err(|_| "an asker panicked")??)
        })?;
        Ok::<_, Box<dyn std::error::Error>>(in_time)
    })?;
    if refused.load(Ordering::Relaxed) == 0 {
        return Err("nobody was refused: that was no overload".into());
    }
    let goodput = in_time / to_f64(A_SECOND * (seconds - 2));
    let began = Instant::now();
    let calm = post(&weir.address, "/graphql", &cold(next.load(Ordering::Relaxed) + OTHERS))?;
    let calm = (calm.status, began.elapsed().as_secs_f64() * 1e6);
    // What is learned of new channels and a full cache come in the first tenth.
    let from = median(held.iter().copied().skip(held.len() / 10).take(5));
    let grown = held.iter().copied().fold(0.0, f64::max) - from;
    let asked = format!("{} asks a second for {seconds} s, where the vendor answers {A_SECOND}", A_SECOND * TIMES);
    Ok([
        single(
            format!("asks answered in time for each call that the quota has room for: {asked}"),
            "≥ 90 %",
            format!("{:.1} %", goodput * 100.0),
            goodput >= 0.9,
        ),
        single("memory that grows meanwhile", "≤ 10 MB", format!("{grown:.1} MB"), grown <= 10.0),
        single(
            "an ask that needs a call, as soon as the load is over",
            "≤ 1.1 s: the last second's permits come back",
            time(calm.1),
            calm.0 == 200 && calm.1 <= 1_100_000.0,
        ),
    ])
}

/// An ask that joins nobody else's: of another channel, or of another month.
fn cold(n: u64) -> String {
    let months = i64::try_from(n / OTHERS).unwrap_or(0);
    let start = Timestamp::UNIX_EPOCH + Duration::from_hours(24) * u32::try_from(30 * months).unwrap_or(0);
    let end = start + Duration::from_hours(24);
    let query = format!(
        "{{ phoneNumberMetrics(custSpaceId: \"bench-over-{:03}\", range: {{between: {{start: \"{start}\", end: \"{end}\"}}}}) \
         {{ totalCount }} }}",
        n % OTHERS
    );
    let body: Value = json!({ "query": query, "extensions": { "weir": { "maxWait": "PT5S" } } });
    body.to_string()
}
