//! What a process takes of the machine, and what machine it is: read from `/proc`, so for Linux alone.

use std::fs;
use std::time::Duration;

use tokio::time::Instant;

use crate::Outcome;

/// CPU time of all threads of a process so far, in microseconds; the scheduler counts it in nanoseconds.
pub(crate) fn cpu_us(pid: u32) -> Outcome<f64> {
    let mut ns = 0_u64;
    for task in fs::read_dir(format!("/proc/{pid}/task"))? {
        let Ok(text) = fs::read_to_string(task?.path().join("schedstat")) else { continue };
        ns += text.split(' ').next().and_then(|on_cpu| on_cpu.parse::<u64>().ok()).ok_or("schedstat is not one")?;
    }
    Ok(to_f64(ns) / 1_000.0)
}

/// CPU time of this process so far, in microseconds.
pub(crate) fn own_cpu_us() -> Outcome<f64> {
    cpu_us(std::process::id())
}

/// How many cores all programs together keep busy, seen over a second. The load average would still count the compiler that
/// built this.
pub(crate) fn busy_cores() -> Outcome<f64> {
    let (began, before) = (Instant::now(), all_cpu_us()?);
    std::thread::sleep(Duration::from_secs(1));
    Ok((all_cpu_us()? - before) / 1e6 / began.elapsed().as_secs_f64())
}

/// CPU time of all programs since the machine started, in microseconds.
fn all_cpu_us() -> Outcome<f64> {
    /// The kernel tells times to programs in hundredths of a second, whatever it counts in.
    const TICK_US: f64 = 10_000.0;
    let text = fs::read_to_string("/proc/stat")?;
    let line = text.lines().next().and_then(|line| line.strip_prefix("cpu ")).ok_or("/proc/stat has no first line")?;
    let ticks = line.split_whitespace().map(str::parse).collect::<Result<Vec<u64>, _>>()?;
    // user, nice, system, idle, waiting for disks, two kinds of interrupts; what follows is not ours.
    let [user, nice, system, _, _, hard, soft, ..] = ticks[..] else { return Err("/proc/stat is short".into()) };
    Ok(to_f64(user + nice + system + hard + soft) * TICK_US)
}

/// Has the thread run when nobody else wants to: whoever sends and reads on another machine takes nothing of the
/// server's processors.
pub(crate) fn run_last() -> Outcome<()> {
    // The kernel does not need a process here: it gives the priority to the calling thread.
    Ok(rustix::process::setpriority_process(None, 19)?)
}

/// Has the thread run before all others, where that is allowed: what it times is how long a server takes, and not how long
/// the clock waits for a processor.
pub(crate) fn run_first() {
    if rustix::process::setpriority_process(None, -10).is_err() {
        eprintln!(
            "only root may time requests before all else: beside much load they seem to take longer than they do"
        );
    }
}

/// Memory of a process, in MB of 1,000,000 bytes.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Memory {
    /// Everything mapped and present.
    pub(crate) rss: f64,
    /// The same, with what is shared counted in part.
    pub(crate) pss: f64,
}

pub(crate) fn memory(pid: u32) -> Outcome<Memory> {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup"))?;
    Ok(Memory { rss: megabytes(&text, "Rss:")?, pss: megabytes(&text, "Pss:")? })
}

/// Has the kernel count anew what a process takes at most.
pub(crate) fn forget_most(pid: u32) -> Outcome<()> {
    Ok(fs::write(format!("/proc/{pid}/clear_refs"), "5")?)
}

/// What a process took at most since the kernel began to count, in MB of 1,000,000 bytes.
pub(crate) fn most_memory(pid: u32) -> Outcome<f64> {
    megabytes(&fs::read_to_string(format!("/proc/{pid}/status"))?, "VmHWM:")
}

/// A line of the kernel's that counts KiB.
fn megabytes(text: &str, name: &str) -> Outcome<f64> {
    let line = text.lines().find(|line| line.starts_with(name)).ok_or_else(|| format!("there is no line {name}"))?;
    let kib: u64 = line.split_whitespace().nth(1).ok_or_else(|| format!("{name} has no number"))?.parse()?;
    Ok(to_f64(kib) * 1_024.0 / 1e6)
}

/// CPU, cores and kernel, in one line.
pub(crate) fn machine() -> String {
    let cpuinfo = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = cpuinfo.lines().find_map(|line| line.strip_prefix("model name")?.split_once(": "));
    let model = model.map_or("an unknown CPU", |(_, name)| name.trim());
    let cores = std::thread::available_parallelism().map_or(0, usize::from);
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    let kernel = kernel.split('-').next().unwrap_or_default().trim();
    format!("{model}, {cores} cores for all processes together, Linux {kernel}")
}

#[expect(clippy::cast_precision_loss, reason = "counts of a benchmark are far below 2^52")]
pub(crate) fn to_f64(count: u64) -> f64 {
    count as f64
}

/// The middle one, or the mean of the two in the middle; 0 of none.
pub(crate) fn median(values: impl IntoIterator<Item = f64>) -> f64 {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    match values.len() {
        0 => 0.0,
        n if n % 2 == 1 => values[n / 2],
        n => f64::midpoint(values[n / 2 - 1], values[n / 2]),
    }
}
