//! What is known of one upstream operation, as plain data.

use std::time::Duration;

use super::Vendor;

/// Names, limits and lateness of one operation: all that the config, the command line, the metrics and the schema say of it
/// comes from here. The file of the operation states the source of each number.
#[derive(Debug, Clone, Copy)]
pub struct Facts {
    /// The vendor that offers it.
    pub vendor: Vendor,
    /// The vendor's name for it.
    pub operation: &'static str,
    /// The name under which its rows are offered.
    pub dataset: &'static str,
    /// Published calls a second.
    pub calls_per_second: u32,
    /// The longest window of one call, if the vendor documents one.
    pub max_window: Option<Duration>,
    /// How far back the vendor answers, if it says so.
    pub lookback: Option<Duration>,
    /// Whether its numbers may be summed over windows.
    pub additive: bool,
    /// What its answers may take of the memory for all caches, in sixteenths.
    pub memory_share: u64,
}
