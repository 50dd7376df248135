//! How far a pull is, told on a terminal's stderr while it runs.

use std::future::Future;
use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use bytesize::ByteSize;
use tokio::time::{Instant, interval};

use crate::cli::output;

/// How often it is told. What takes less is over before it is told at all.
const EVERY: Duration = Duration::from_secs(1);

/// What is known of a pull that runs.
#[derive(Debug)]
pub(super) struct Progress {
    begun: Instant,
    /// When the last permit is expected.
    until: OnceLock<Instant>,
    bytes: AtomicUsize,
}

impl Progress {
    pub(super) fn new() -> Self {
        Self { begun: Instant::now(), until: OnceLock::new(), bytes: AtomicUsize::new(0) }
    }

    /// The last permit is expected then.
    pub(super) fn expect(&self, until: Instant) {
        let _known = self.until.set(until);
    }

    /// So many more have come.
    pub(super) fn add_bytes(&self, bytes: usize) {
        self.bytes.fetch_add(bytes, Ordering::Relaxed);
    }

    /// Runs `work` and shows what `line` says of it meanwhile.
    pub(super) async fn beside<T>(&self, work: impl Future<Output = T>, line: impl Fn(&Self) -> String) -> T {
        tokio::pin!(work);
        let _shown = Shown;
        let mut ticks = interval(EVERY);
        ticks.tick().await;
        loop {
            tokio::select! {
                done = &mut work => return done,
                _ = ticks.tick() => output::show(&line(self)),
            }
        }
    }

    /// What a running gateway has sent: how much there is to come, it does not say.
    pub(super) fn bytes(&self) -> String {
        let bytes = ByteSize(self.bytes.load(Ordering::Relaxed) as u64);
        format!("{bytes} in {}", length(self.begun.elapsed()))
    }

    /// So many windows are done.
    pub(super) fn portions(&self, done: usize, all: usize) -> String {
        let left = self.until.get().map(|until| until.saturating_duration_since(Instant::now()));
        told(done, all, self.begun.elapsed(), left)
    }
}

/// Takes what was shown away again, however the work ends.
struct Shown;

impl Drop for Shown {
    fn drop(&mut self) {
        output::show("");
    }
}

/// `expected` is how long the last permit is waited for, as it was planned. Once that is over, the pace so far tells.
fn told(done: usize, all: usize, elapsed: Duration, expected: Option<Duration>) -> String {
    let number = |n: usize| u32::try_from(n).ok().map(f64::from);
    let at_this_pace = || Some(elapsed.mul_f64(number(all.saturating_sub(done))? / number(done).filter(|_| done > 0)?));
    let left = expected.filter(|left| !left.is_zero()).or_else(at_this_pace);
    let left = left.map(|left| format!(", about {} left", length(left))).unwrap_or_default();
    format!("{done} of {all} windows{left}")
}

fn length(length: Duration) -> String {
    match length.as_secs() {
        seconds @ 0..100 => format!("{seconds} s"),
        seconds @ 100..6_000 => format!("{} min", seconds.div_ceil(60)),
        seconds => format!("{} h {} min", seconds / 3_600, seconds % 3_600 / 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_left_is_told_by_the_plan_and_then_by_the_pace() {
        let seconds = Duration::from_secs;
        assert_eq!(told(0, 600, seconds(1), None), "0 of 600 windows");
        assert_eq!(told(0, 600, seconds(1), Some(seconds(299))), "0 of 600 windows, about 5 min left");
        assert_eq!(told(30, 600, seconds(15), Some(seconds(45))), "30 of 600 windows, about 45 s left");
        assert_eq!(told(400, 600, seconds(200), Some(Duration::ZERO)), "400 of 600 windows, about 2 min left");
        assert_eq!(told(1, 20, seconds(2_000), None), "1 of 20 windows, about 10 h 33 min left");
        assert_eq!(told(600, 600, seconds(300), None), "600 of 600 windows, about 0 s left");
    }
}
