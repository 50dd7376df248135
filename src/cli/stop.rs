//! How a command that runs for long is told to stop: once, in good order; a second time, at once. And how it is told to
//! read again what may change while it runs.

use std::sync::Arc;

use tokio::sync::oneshot;
use tracing::{error, info, warn};

use super::Failure;

/// Runs `work`, which is handed the moment to stop at and its exit code, until it has ended or the process is told to stop once more.
///
/// # Errors
/// A second Ctrl-C or SIGTERM, with the exit code that shells expect; and a system that tells of no signals (1).
pub(super) async fn until_told(
    work: impl AsyncFnOnce(oneshot::Receiver<u8>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let mut signals = Signals::new().map_err(|error| unheard(&error))?;
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

/// What is read again on SIGHUP.
pub(super) struct Reload {
    /// What it is called in the log.
    pub(super) what: &'static str,
    /// Reads it, and changes nothing yet; says what is wrong with it, without a secret.
    pub(super) prepare: Box<dyn Fn() -> Result<Prepared, String> + Send + Sync>,
}

/// Puts what was read in its place. Cannot fail.
pub(super) type Prepared = Box<dyn FnOnce() + Send>;

/// Reads all of it, and puts it in place if nothing is wrong with any of it: whole or not at all.
fn reload(all: &[Reload]) {
    let mut prepared = Vec::new();
    for Reload { what, prepare } in all {
        match prepare() {
            Ok(ready) => prepared.push(ready),
            Err(problem) => {
                error!(what, problem, "nothing was reloaded, all is as it was");
                return;
            }
        }
    }
    for put_in_place in prepared {
        put_in_place();
    }
    let what: Vec<&str> = all.iter().map(|reload| reload.what).collect();
    info!(what = what.join(", "), "reloaded");
}

/// SIGHUP, heard from now on: without it the process would end.
pub(super) struct Hangups {
    #[cfg(unix)]
    hangup: tokio::signal::unix::Signal,
}

impl Hangups {
    /// Begins to listen.
    ///
    /// # Errors
    /// A system that tells of no signals.
    #[cfg(unix)]
    pub(super) fn hear() -> Result<Self, Failure> {
        use tokio::signal::unix::{SignalKind, signal};
        let hangup = signal(SignalKind::hangup()).map_err(|error| unheard(&error))?;
        Ok(Self { hangup })
    }

    /// There is no such signal.
    #[cfg(not(unix))]
    #[expect(clippy::unnecessary_wraps, reason = "other systems can fail here")]
    pub(super) fn hear() -> Result<Self, Failure> {
        Ok(Self {})
    }

    /// Reloads at each, for ever.
    #[cfg(unix)]
    pub(super) async fn reload(mut self, all: Vec<Reload>) {
        let all = Arc::new(all);
        while self.hangup.recv().await.is_some() {
            let all = Arc::clone(&all);
            // Files are read.
            let done = tokio::task::spawn_blocking(move || reload(&all)).await;
            if done.is_err() {
                error!("a reload panicked");
            }
        }
    }

    /// Never reloads.
    #[cfg(not(unix))]
    pub(super) async fn reload(self, all: Vec<Reload>) {
        drop(all);
        std::future::pending::<()>().await;
    }
}

fn unheard(error: &std::io::Error) -> Failure {
    Failure::failed(format!("signals of the system cannot be heard: {error}"))
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
