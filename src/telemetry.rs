//! Logs on stderr: one line per event, fixed words, values in fields, as text or JSON.
//!
//! A thread of its own writes them: what comes while it writes is written together afterwards. Lost is only what a killed
//! process had not yet written, or what nobody takes off its hands within a second of its end.

use std::io::{self, BufWriter, IsTerminal};

use clap::ValueEnum;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;

/// What is logged unless told otherwise: weir's own events from `info`, those of libraries from `warn`.
pub const DEFAULT_FILTER: &str = "warn,weir=info";

/// How a line looks.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// For people; coloured on a terminal.
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging cannot be set up.
#[derive(Debug, thiserror::Error)]
pub enum TelemetryError {
    /// The filter is not one.
    #[error("the log filter is wrong ({0}); write a level, or targets with levels, like \"warn,weir=debug\"")]
    Filter(#[from] tracing_subscriber::filter::ParseError),
    /// Somebody else set a subscriber.
    #[error("logging is set up already: {0}")]
    Twice(Box<dyn std::error::Error + Send + Sync>),
}

/// How many lines may wait to be written; whoever logs more waits as well.
const LINES: usize = 1_024;

/// Sends the events of the whole process to stderr. `filter` as in `--log`, [`DEFAULT_FILTER`] without
/// one or with an empty one. Dropping the guard waits until all is
/// written, for a second at most.
///
/// # Errors
/// A filter that is not one, and a second call in one process.
pub fn init(filter: Option<&str>, format: Format) -> Result<WorkerGuard, TelemetryError> {
    let filter = EnvFilter::try_new(filter.filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER))?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES).finish(BufWriter::new(io::stderr()));
    let builder = SubscriberBuilder::default().with_writer(writer).with_env_filter(filter);
    // On a terminal the library's default stands, which heeds NO_COLOR.
    let builder = if io::stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    match format {
        Format::Text => builder.try_init(),
        Format::Json => builder.json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Twice)?;
    Ok(guard)
}
