//! What work costs, in CPU: what else the machine does makes it no dearer.

use std::time::Duration;

use rustix::time::{ClockId, clock_gettime};

/// What this thread has used so far. A test in virtual time runs on one thread.
pub(crate) fn used() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap()
}

/// What this thread has used since `before`, an earlier [`used`].
pub(crate) fn since(before: Duration) -> Duration {
    used().saturating_sub(before)
}
