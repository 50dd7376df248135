//! Logs on stderr: one line per event, fixed words, values in fields, as text or JSON.

use std::io::IsTerminal;

use clap::ValueEnum;
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::fmt::format::{DefaultFields, Format as Line};

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

/// Sends the events of the whole process to stderr. `filter` as in `--log`, [`DEFAULT_FILTER`] without
/// one or with an empty one.
///
/// # Errors
/// A filter that is not one, and a second call in one process.
pub fn init(filter: Option<&str>, format: Format) -> Result<(), TelemetryError> {
    let filter = EnvFilter::try_new(filter.filter(|filter| !filter.is_empty()).unwrap_or(DEFAULT_FILTER))?;
    match format {
        Format::Text => builder(filter).try_init(),
        Format::Json => builder(filter).json().flatten_event(true).try_init(),
    }
    .map_err(TelemetryError::Twice)
}

fn builder(filter: EnvFilter) -> SubscriberBuilder<DefaultFields, Line, EnvFilter, fn() -> std::io::Stderr> {
    let builder =
        SubscriberBuilder::default().with_writer(std::io::stderr as fn() -> std::io::Stderr).with_env_filter(filter);
    // On a terminal the library's default stands, which heeds NO_COLOR.
    if std::io::stderr().is_terminal() { builder } else { builder.with_ansi(false) }
}
