//! A moment by two clocks: one that drives timers, and one that goes on while the machine is suspended.

use std::time::Duration;

use tokio::time::Instant;

/// When something was asked for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Stamp {
    ticked: Instant,
    booted: Option<Duration>,
}

impl Stamp {
    pub(super) fn now() -> Self {
        Self { ticked: Instant::now(), booted: since_boot() }
    }

    /// How long ago it was, by the clock that thinks it longer: the timers' clock stands still in suspend.
    pub(super) fn age(self) -> Duration {
        let booted = self.booted.zip(since_boot()).map(|(then, now)| now.saturating_sub(then));
        self.ticked.elapsed().max(booted.unwrap_or_default())
    }
}

#[cfg(any(target_os = "linux", target_os = "android"))]
fn since_boot() -> Option<Duration> {
    Duration::try_from(rustix::time::clock_gettime(rustix::time::ClockId::Boottime)).ok()
}

#[cfg(not(any(target_os = "linux", target_os = "android")))]
fn since_boot() -> Option<Duration> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn the_longer_of_two_ages_counts() {
        let stamp = Stamp::now();
        tokio::time::advance(Duration::from_secs(3)).await;
        assert!(stamp.age() >= Duration::from_secs(3), "the timers' clock went on");
        #[cfg(any(target_os = "linux", target_os = "android"))]
        {
            let earlier = stamp.booted.unwrap().checked_sub(Duration::from_secs(9)).unwrap();
            let slept = Stamp { booted: Some(earlier), ..Stamp::now() };
            assert!(slept.age() >= Duration::from_secs(9), "the timers' clock stood still");
        }
    }
}
