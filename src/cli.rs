//! The command line: what is asked for, in which words a failure is told, and with which exit code.
//!
//! 0 is fine; 1 is a failure at run time (a busy port, a vendor that cannot be reached); 2 is wrong usage: a flag, an
//! argument or the config file; 130 and 143 are a second Ctrl-C or SIGTERM, or the
//! first one while rows are written. Every failure is one clear line on stderr, `weir: what is wrong; how to mend it`.

pub mod archive;
mod asked;
pub mod check;
pub mod demo;
mod gateway;
pub mod health;
pub mod key;
mod listen;
pub mod output;
pub mod query;
mod remote;
pub mod rows;
pub mod schema;
pub mod serve;
pub mod simulate;
mod stop;
pub mod tables;

use std::ffi::OsString;
use std::future::Future;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::error::{ContextKind, ErrorKind};
use clap::{CommandFactory, Parser, Subcommand};

pub use listen::bind;

use crate::config::{Config, ConfigError, process_env};
use crate::telemetry;

/// A GraphQL gateway in front of the metrics APIs of Alibaba Cloud CAMS and Volcengine RTC.
#[derive(Debug, Parser)]
#[command(name = "weir", version, max_term_width = 100)]
#[command(after_help = "Examples:
  weir demo                              try it: invented data, no keys needed
  weir rows phone_number_metrics --demo  flat rows, for spreadsheets and programs
  weir check --config weir.toml          see what a config means
  weir serve --config weir.toml          run the gateway in front of the vendors
  weir serve --help                      examples of one command

Exit codes: 0 fine, 1 failed, 2 wrong usage or config, 130 or 143 told to stop twice.")]
struct Cli {
    #[command(subcommand)]
    command: Command,
    /// What to log: a level, or targets with levels, like "warn,weir=debug". Wins over the config's level.
    #[arg(long, global = true, value_name = "FILTER", env = "WEIR_LOG", hide_env_values = true)]
    log: Option<String>,
    /// How a log line looks.
    #[arg(long, global = true, value_name = "FORMAT", value_enum, default_value_t)]
    log_format: telemetry::Format,
}

#[derive(Debug, Subcommand)]
enum Command {
    Serve(serve::Args),
    Demo(demo::Args),
    Simulate(simulate::Args),
    Query(query::Args),
    Rows(Box<rows::Args>),
    Archive(archive::Args),
    Key(key::Args),
    Check(check::Args),
    Health(health::Args),
    Schema(schema::Args),
}

/// Why a command ends without having done its work: one or more finished lines, and the exit code.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Failure {
    /// A wrong flag, argument or config: exit code 2.
    Usage(Vec<String>),
    /// Something that went wrong while running: exit code 1.
    Failed(Vec<String>),
    /// Told to stop at once: the exit code that shells expect, and nothing to say to whoever did it.
    Killed(u8),
}

impl Failure {
    /// A wrong flag, argument or config, in one line.
    #[must_use]
    pub fn usage(message: impl Into<String>) -> Self {
        Self::Usage(vec![message.into()])
    }

    /// A failure at run time, in one line.
    #[must_use]
    pub fn failed(message: impl Into<String>) -> Self {
        Self::Failed(vec![message.into()])
    }

    /// What is told of it.
    fn lines(&self) -> &[String] {
        self.parts().1
    }

    fn parts(&self) -> (u8, &[String]) {
        match self {
            Self::Failed(lines) => (1, lines),
            Self::Usage(lines) => (2, lines),
            Self::Killed(code) => (*code, &[]),
        }
    }
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        Self::Usage(error.lines().to_vec())
    }
}

/// Runs the command that `args` ask for and tells a failure on stderr.
#[must_use]
pub fn main(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    let args: Vec<OsString> = args.into_iter().collect();
    let Err(failure) = parse(&args).and_then(|cli| cli.map_or(Ok(()), run)) else { return ExitCode::SUCCESS };
    let (code, lines) = failure.parts();
    for line in lines {
        output::complain(line);
    }
    ExitCode::from(code)
}

/// `None` where help or the version was asked for and has been printed.
fn parse(args: &[OsString]) -> Result<Option<Cli>, Failure> {
    let error = match Cli::try_parse_from(args) {
        Ok(cli) => return Ok(Some(cli)),
        Err(error) => error,
    };
    match error.kind() {
        ErrorKind::DisplayHelp | ErrorKind::DisplayVersion => {
            let text = error.render();
            output::print(&text.to_string())?;
            Ok(None)
        }
        ErrorKind::DisplayHelpOnMissingArgumentOrSubcommand => {
            Err(Failure::usage("no command given; begin with `weir demo`, or see `weir --help`"))
        }
        _ => Err(Failure::usage(explain(&error, args))),
    }
}

fn run(cli: Cli) -> Result<(), Failure> {
    let _written_at_the_end = telemetry::init(cli.log.as_deref(), cli.log_format)
        .map_err(|error| Failure::usage(format!("--log or WEIR_LOG: {error}")))?;
    match cli.command {
        Command::Serve(args) => serve::run(&args),
        Command::Demo(args) => demo::run(args),
        Command::Simulate(args) => simulate::run(args),
        Command::Query(args) => query::run(args),
        Command::Rows(args) => rows::run(*args),
        Command::Archive(args) => archive::run(args),
        Command::Key(args) => key::run(args),
        Command::Check(args) => check::run(&args),
        Command::Health(args) => health::run(args),
        Command::Schema(args) => schema::run(args),
    }
}

/// clap's message on one line, without the value where a parser of ours refused it: it may hold a secret.
fn explain(error: &clap::Error, args: &[OsString]) -> String {
    let message = if error.kind() == ErrorKind::ValueValidation
        && let Some(argument) = error.get(ContextKind::InvalidArg)
        && let Some(source) = std::error::Error::source(error)
    {
        format!("{argument}: {source}")
    } else {
        let text = error.render().to_string();
        let lines = text.lines().take_while(|line| !line.starts_with("Usage:") && !line.starts_with("For more"));
        let lines = lines.map(str::trim).filter(|line| !line.is_empty());
        let lines = lines.map(|line| line.trim_start_matches("error: ").trim_start_matches("tip: "));
        lines.collect::<Vec<_>>().join("; ")
    };
    let asked = args.get(1).and_then(|word| word.to_str());
    let command = asked.filter(|word| Cli::command().find_subcommand(word).is_some());
    let help = command.map_or_else(|| "weir --help".to_owned(), |name| format!("weir {name} --help"));
    format!("{message}; see `{help}`")
}

/// `--config`, shared by the commands that read one.
#[derive(Debug, Clone, clap::Args)]
pub struct ConfigFile {
    /// The config file; weir.example.toml shows every key.
    #[arg(long = "config", value_name = "FILE", default_value = "weir.toml")]
    pub path: PathBuf,
}

impl ConfigFile {
    /// Reads and checks the file, which must name an account.
    ///
    /// # Errors
    /// Everything that is wrong with the file.
    pub fn load(&self) -> Result<Config, Failure> {
        let config = Config::load(&self.path, &process_env)?;
        config.require_accounts(&self.origin())?;
        Ok(config)
    }

    /// The file's name in messages.
    #[must_use]
    pub fn origin(&self) -> String {
        Path::display(&self.path).to_string()
    }
}

/// Runs `work` on a runtime of its own.
pub(crate) fn block_on(work: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::failed(format!("the runtime does not start: {error}")))?;
    let done = runtime.block_on(work);
    // A look-up of a name that is still under way would hold the end up.
    runtime.shutdown_background();
    done
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_of_the_command_line_holds_together() {
        Cli::command().debug_assert();
    }
}
