//! How a command that runs for long is told to stop: once, in good order; a second time, at once.

use tokio::sync::oneshot;
use tracing::warn;

use super::Failure;

/// Runs `work`, which is handed the moment to stop at and its exit code, until it has ended or the process is told to stop once more.
///
/// # Errors
/// A second Ctrl-C or SIGTERM, with the exit code that shells expect; and a system that tells of no signals (1).
pub(super) async fn until_told(
    work: impl AsyncFnOnce(oneshot::Receiver<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut signals =
        Signals::new().map_err(|error| Failure::failed(format!("signals of the system cannot be heard: {error}")))?;
    let (tell, told) = oneshot::channel();
    let told_twice = async {
        let code = signals.next().await;
        // Whoever ended meanwhile needs not be told.
        let _ended = tell.send(code);
        signals.next().await
    };
    tokio::select! {
        done = work(told) => done,
        code = told_twice => {
            warn!("told to stop a second time: what was in progress is cut off");
            Err(Failure::Killed(code))
        }
    }
}

/// Ctrl-C and SIGTERM, heard from the start on.
struct Signals {
    #[cfg(unix)]
    interrupt: tokio::signal::unix::Signal,
    #[cfg(unix)]
    terminate: tokio::signal::unix::Signal,
}

#[cfg(unix)]
impl Signals {
    fn new() -> std::io::Result<Self> {
        use tokio::signal::unix::{SignalKind, signal};
        Ok(Self { interrupt: signal(SignalKind::interrupt())?, terminate: signal(SignalKind::terminate())? })
    }

    /// Waits for the next one: 128 and its number, as shells count the exit code of what it ends.
    async fn next(&mut self) -> u8 {
        tokio::select! { _ = self.interrupt.recv() => 130, _ = self.terminate.recv() => 143 }
    }
}

#[cfg(not(unix))]
impl Signals {
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail here")]
    fn new() -> std::io::Result<Self> {
        Ok(Self {})
    }

    /// Waits for the next Ctrl-C: the exit code that shells know for it.
    async fn next(&mut self) -> u8 {
        match tokio::signal::ctrl_c().await {
            Ok(()) => 130,
            Err(_not_heard) => std::future::pending().await,
        }
    }
}
