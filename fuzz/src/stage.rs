//! What the targets stand on: a runtime in virtual time, and the demo's gateway before its simulator.

use std::cell::RefCell;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::runtime::{Builder, Runtime};
use weir::app::{App, Start, demo_config};
use weir::domain::{ManualClock, Timestamp};
use weir::sim::{Legs, LocalTransport, Simulator, SimulatorConfig};

/// The instant at which everything happens.
pub const NOW: i64 = 1_795_342_830_000;

/// So many inputs meet the same gateway: making one takes longer than answering.
const INPUTS: u32 = 500;

thread_local! {
    static RUNTIME: Runtime =
        Builder::new_current_thread().enable_all().start_paused(true).build().expect("a runtime can be made");
    static STAGE: RefCell<Option<(Stage, u32)>> = const { RefCell::new(None) };
}

/// A gateway and its clock.
#[derive(Clone)]
pub struct Stage {
    pub app: Arc<App>,
    pub clock: Arc<ManualClock>,
}

/// The instant [`NOW`].
pub fn now() -> Timestamp {
    Timestamp::from_ms(NOW)
}

/// Runs something in virtual time.
pub fn run<T>(work: impl Future<Output = T>) -> T {
    RUNTIME.with(|runtime| runtime.block_on(work))
}

/// The gateway, whose clock says [`NOW`]. To be asked for inside [`run`].
pub fn stage() -> Stage {
    STAGE.with_borrow_mut(|held| {
        let (stage, left) = held.take().filter(|(_, left)| *left > 0).unwrap_or_else(|| (Stage::new(), INPUTS));
        stage.clock.set(now());
        *held = Some((stage.clone(), left - 1));
        stage
    })
}

impl Stage {
    fn new() -> Self {
        let clock = Arc::new(ManualClock::starting_at(now()));
        let simulator = Simulator::new(SimulatorConfig::new(7, Arc::<ManualClock>::clone(&clock)));
        let leg: Range<Duration> = Duration::ZERO..Duration::ZERO;
        let transport = LocalTransport::new(simulator, Legs { there: leg.clone(), back: leg }, 7);
        let runtime = weir::app::Runtime {
            clock: Arc::<ManualClock>::clone(&clock),
            transport: Arc::new(transport),
            start: Start::Free,
        };
        let app = App::build(&demo_config(), &runtime).expect("the demo's config makes a gateway");
        Self { app: Arc::new(app), clock }
    }
}
