//! Measurements in real time: one that fails is made again only if the machine was seen to stand still meanwhile.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use tokio::time::Instant;

use super::fleet::say;

/// Whoever sleeps for so long,
const NAP: Duration = Duration::from_millis(5);
/// and comes so much later, was not let in by the machine.
const STALL: Duration = Duration::from_millis(25);
/// So many times.
const ATTEMPTS: usize = 3;

/// A thread of its own that naps, and notes by how much it overslept at worst.
struct Watch {
    is_over: Arc<AtomicBool>,
    worst_ms: Arc<AtomicU64>,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    fn start() -> Self {
        let (is_over, worst_ms) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicU64::new(0)));
        let (over, worst) = (Arc::clone(&is_over), Arc::clone(&worst_ms));
        let thread = std::thread::spawn(move || {
            while !over.load(Ordering::SeqCst) {
                let began = Instant::now();
                std::thread::sleep(NAP);
                let late = began.elapsed().saturating_sub(NAP).as_millis();
                worst.fetch_max(u64::try_from(late).unwrap(), Ordering::SeqCst);
            }
        });
        Self { is_over, worst_ms, thread: Some(thread) }
    }

    fn worst(&self) -> Duration {
        Duration::from_millis(self.worst_ms.load(Ordering::SeqCst))
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.is_over.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.join().unwrap();
        }
    }
}

/// Measures, and says what was wrong with the result. What must hold on any machine is asserted inside.
pub(crate) async fn steadily(measure: impl AsyncFn() -> Result<(), String>) {
    for _ in 0..ATTEMPTS {
        let watch = Watch::start();
        let Err(wrong) = measure().await else { return };
        let worst = watch.worst();
        assert!(worst >= STALL, "{wrong}\nThe machine never stood still for longer than {worst:?}.");
        say(&format!("{wrong}\nThe machine stood still for {worst:?}: once more."));
    }
    panic!("not once in {ATTEMPTS} measurements did the machine go on steadily");
}

/// `Err` with what is wrong, unless it `holds`.
pub(crate) fn ensure(holds: bool, wrong: impl FnOnce() -> String) -> Result<(), String> {
    if holds { Ok(()) } else { Err(wrong()) }
}
