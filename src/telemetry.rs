//! What an operator sees: metrics ([`meters`], [`names`]), [`traces`], and logs on stderr: one line per event, fixed words, values in
//! fields, as text or JSON.
//!
//! A thread of its own writes them: what comes while it writes is written together afterwards. Lost is only what a killed
//! process had not yet written, or what nobody takes off its hands within a second of its end.

pub mod meters;
pub mod names;
pub mod traces;

use std::io::{self, BufWriter, IsTerminal};
use std::sync::OnceLock;

use clap::ValueEnum;
use serde::Deserialize;
use tracing_appender::non_blocking::{NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::SubscriberBuilder;
use tracing_subscriber::reload::Handle;

/// What is logged unless told otherwise: weir's own events from `info`, those of libraries from `warn`.
pub const DEFAULT_FILTER: &str = "warn,weir=info";

/// From which level on weir's own events are logged.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Level {
    /// What has gone wrong in weir.
    Error,
    /// What somebody should look at.
    Warn,
    /// One line a request.
    #[default]
    Info,
    /// More than one.
    Debug,
    /// All there is.
    Trace,
}

impl Level {
    /// As filters spell it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Error => "error",
            Self::Warn => "warn",
            Self::Info => "info",
            Self::Debug => "debug",
            Self::Trace => "trace",
        }
    }
}

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

/// Puts another filter in the place of the one that [`init`] has set; nothing where a filter was given by hand.
static FILTER: OnceLock<Change> = OnceLock::new();

type Change = Box<dyn Fn(EnvFilter) + Send + Sync>;

/// From now on, weir's own events are logged from `level`, unless [`init`] was told a filter: that wins. May be called again.
pub fn set_level(level: Level) {
    if let (Some(change), Ok(filter)) = (FILTER.get(), EnvFilter::try_new(format!("warn,weir={}", level.as_str()))) {
        change(filter);
    }
}

/// How many lines may wait to be written; whoever logs more waits as well.
const LINES: usize = 1_024;

fn changing<S: 'static>(given: Option<&str>, handle: Handle<EnvFilter, S>) {
    if given.is_none() {
        // It fails only where the subscriber is gone, and with it everybody who would read.
        FILTER.get_or_init(|| Box::new(move |filter| handle.reload(filter).unwrap_or_default()));
    }
}

/// Sends the events of the whole process to stderr. `filter` as in `--log`, [`DEFAULT_FILTER`] without
/// one or with an empty one. Dropping the guard waits until all is
/// written, for a second at most.
///
/// # Errors
/// A filter that is not one, and a second call in one process.
pub fn init(filter: Option<&str>, format: Format) -> Result<WorkerGuard, TelemetryError> {
    let given = filter.filter(|filter| !filter.is_empty());
    let filter = EnvFilter::try_new(given.unwrap_or(DEFAULT_FILTER))?;
    let (writer, guard) =
        NonBlockingBuilder::default().lossy(false).buffered_lines_limit(LINES).finish(BufWriter::new(io::stderr()));
    let builder = SubscriberBuilder::default().with_writer(writer);
    // On a terminal the library's default stands, which heeds NO_COLOR.
    let builder = if io::stderr().is_terminal() { builder } else { builder.with_ansi(false) };
    match format {
        Format::Text => {
            let builder = builder.with_env_filter(filter).with_filter_reloading();
            changing(given, builder.reload_handle());
            builder.try_init()
        }
        Format::Json => {
            let builder = builder.json().flatten_event(true).with_env_filter(filter).with_filter_reloading();
            changing(given, builder.reload_handle());
            builder.try_init()
        }
    }
    .map_err(TelemetryError::Twice)?;
    Ok(guard)
}
