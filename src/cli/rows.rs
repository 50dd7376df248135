//! `weir rows`: the rows of a dataset, from a gateway of its own or a running one, complete or failed.

mod destination;
mod parameters;
mod progress;

use std::io::{self, IsTerminal, Write};
use std::path::PathBuf;
use std::sync::Arc;

use clap::ValueEnum;
use clap::builder::{PossibleValuesParser, TypedValueParser as _};
use futures_util::stream::{self, StreamExt as _};
use tokio::time::Instant;

use super::asked::{Answering, Asked};
use super::remote::Remote;
use super::stop::until_told;
use super::{Failure, block_on, output, tables};
use crate::app::App;
use crate::domain::Caller;
use crate::domain::dataset::Dataset;
use crate::error::{Code, WeirError};
use crate::formats::{self, ParquetError, ParquetWriter, TextWriter, Trailer};
use crate::query::pull::{Batches, Pull};
use destination::Destination;
use parameters::Parameters;
use progress::Progress;

/// Rows that are written in one go.
const CHUNK_ROWS: usize = 4_096;

/// Write the rows of a dataset, flat and typed, from the first to the last.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir rows phone_number_metrics --demo
  weir rows operation_distributions --config weir.toml --last P30D --format parquet --output users.parquet
  weir rows phone_number_totals --by CHANNEL --period DAY --last P90D --url http://127.0.0.1:8080
  weir rows measurements --demo --format jsonl --columns entity,metric,start_time,value

A failure is exit code 1 and leaves no file; what went to stdout before it is not complete. With --limit, stderr says which
--cursor goes on with the next page. On a terminal, long pulls tell on stderr how far they are.")]
pub struct Args {
    /// Which rows.
    #[arg(value_name = "DATASET", value_parser = datasets())]
    pub dataset: Dataset,
    /// Whom to ask.
    #[command(flatten)]
    pub asked: Asked,
    /// How rows are written [default: table on a terminal, else csv].
    #[arg(long, value_name = "FORMAT", value_enum)]
    pub format: Option<Format>,
    /// Write into this file, which is there once it is complete.
    #[arg(long, value_name = "FILE")]
    pub output: Option<PathBuf>,
    /// What is asked for.
    #[command(flatten)]
    pub parameters: Parameters,
}

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// RFC 4180, safe for spreadsheets.
    Csv,
    /// One object with all rows.
    Json,
    /// An object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
    /// For reading.
    Table,
}

fn datasets() -> impl clap::builder::TypedValueParser<Value = Dataset> {
    PossibleValuesParser::new(Dataset::ALL.map(Dataset::as_str))
        .try_map(|name| Dataset::named(&name).ok_or("no such dataset"))
}

impl Format {
    /// As which of the gateway's formats the rows come. A table is made of JSON.
    const fn carried_by(self) -> formats::Format {
        match self {
            Self::Csv => formats::Format::Csv,
            Self::Json | Self::Table => formats::Format::Json,
            Self::Jsonl => formats::Format::Jsonl,
            Self::Parquet => formats::Format::Parquet,
        }
    }
}

/// Asks, and writes the rows as they come.
///
/// # Errors
/// What cannot be asked for (2); what fails meanwhile (1).
pub fn run(args: Args) -> Result<(), Failure> {
    let is_shown = args.output.is_none() && io::stdout().is_terminal();
    let format = args.format.unwrap_or(if is_shown { Format::Table } else { Format::Csv });
    if format == Format::Parquet && is_shown {
        return Err(Failure::usage("Parquet is nothing to read; give it a file with --output, or a pipe"));
    }
    // Lines on stdout would run into what is told of them.
    let is_told = io::stderr().is_terminal() && (!is_shown || format == Format::Table);
    let mut out = Destination::new(args.output.as_deref())?;
    block_on(until_told(async move |told| {
        let answering = args.asked.answering()?;
        let question = Question {
            dataset: args.dataset,
            format: format.carried_by(),
            pairs: args.parameters.0,
            progress: is_told.then(Progress::new),
        };
        let done = tokio::select! {
            done = question.write(&answering, format, &mut out) => done,
            code = told => Err(Stop::Failure(Failure::Killed(code.unwrap_or(130)))),
        };
        answering.end().await;
        let next = match done {
            Ok(next) => next,
            Err(Stop::NobodyReads) => return Ok(()),
            Err(Stop::Failure(failure)) => return Err(failure),
        };
        out.finish()?;
        if let Some(next) = next {
            output::complain(&format!("there are more rows; --cursor {next} goes on with them"));
        }
        Ok(())
    }))
}

/// Why rows are not written to the end.
enum Stop {
    Failure(Failure),
    /// Whoever read them has gone away, which is no failure.
    NobodyReads,
}

impl From<Failure> for Stop {
    fn from(failure: Failure) -> Self {
        Self::Failure(failure)
    }
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        if error.kind() == io::ErrorKind::BrokenPipe { Self::NobodyReads } else { Self::Failure(unwritable(&error)) }
    }
}

impl From<ParquetError> for Stop {
    fn from(error: ParquetError) -> Self {
        Self::Failure(unwritable(&error))
    }
}

impl From<Arc<WeirError>> for Stop {
    fn from(error: Arc<WeirError>) -> Self {
        let line = format!("{}: {}", error.code, error.message);
        // What was asked for is wrong, whoever answers.
        let is_usage = matches!(
            error.code,
            Code::BadUserInput
                | Code::RangeTooLong
                | Code::OutOfRetention
                | Code::NonAdditive
                | Code::TooExpensive
                | Code::UnknownChannel
                | Code::UnknownApplication
        );
        Self::Failure(if is_usage { Failure::usage(line) } else { Failure::failed(line) })
    }
}

fn unwritable(error: &dyn std::error::Error) -> Failure {
    Failure::failed(format!("the rows cannot be written: {error}"))
}

/// What is asked for, whoever answers.
struct Question {
    dataset: Dataset,
    format: formats::Format,
    pairs: Vec<(String, String)>,
    /// Where it is told how far it is.
    progress: Option<Progress>,
}

type Sink<'a> = &'a mut (dyn Write + Send);

impl Question {
    /// Writes all rows, or a page, and gives the cursor of the next one.
    async fn write(&self, answering: &Answering, format: Format, out: Sink<'_>) -> Result<Option<String>, Stop> {
        if format != Format::Table {
            return self.ask(answering, out).await;
        }
        let mut json = Vec::new();
        let next = self.ask(answering, &mut json).await?;
        let table = tables::of_rows(&json).map_err(|error| unwritable(&error))?;
        writeln!(out, "{table}")?;
        Ok(next)
    }

    async fn ask(&self, answering: &Answering, out: Sink<'_>) -> Result<Option<String>, Stop> {
        match answering {
            Answering::Own(app) => self.pull(app, out).await,
            Answering::Remote(remote) => self.copy(remote, out).await,
        }
    }

    /// Under which path a gateway has it: cursors of one go on at the other.
    fn path(&self) -> String {
        format!("/rows/{}.{}", self.dataset.as_str(), self.format.as_str())
    }

    /// Copies what a running gateway sends.
    async fn copy(&self, remote: &Remote, out: Sink<'_>) -> Result<Option<String>, Stop> {
        let work = async {
            let mut body = remote.rows(&self.path(), &self.pairs).await?;
            while let Some(piece) = body.piece().await? {
                out.write_all(&piece)?;
                if let Some(progress) = &self.progress {
                    progress.add_bytes(piece.len());
                }
            }
            Ok(body.next)
        };
        match &self.progress {
            Some(progress) => progress.beside(work, Progress::bytes).await,
            None => work.await,
        }
    }

    /// Asks a gateway of our own.
    async fn pull(&self, app: &App, out: Sink<'_>) -> Result<Option<String>, Stop> {
        let service = app.gateway().service();
        let pull = service.pull(Caller::Anonymous, self.dataset, &self.path(), self.pairs.clone());
        let pull = Arc::new(pull.map_err(Arc::new)?);
        self.format.check(&pull).map_err(Arc::new)?;
        let work = self.pull_into(&pull, out);
        match &self.progress {
            Some(progress) => {
                progress.beside(work, |progress| progress.portions(pull.n_done(), pull.n_portions())).await
            }
            None => work.await,
        }
    }

    async fn pull_into(&self, pull: &Arc<Pull>, out: Sink<'_>) -> Result<Option<String>, Stop> {
        let (batches, next) = if pull.is_paged() {
            let page = pull.page().await?;
            (stream::iter(page.batches.into_iter().map(Ok)).boxed(), page.next)
        } else {
            let outlook = pull.plan().await?;
            if let Some(progress) = &self.progress {
                progress.expect(Instant::now() + outlook.wait);
            }
            (Arc::clone(pull).batches(), None)
        };
        match TextWriter::new(self.format, pull.columns().to_vec(), pull.has_bom()) {
            Some(writer) => write_text(writer, batches, pull, next.clone(), out).await?,
            None => write_parquet(pull, batches, out).await?,
        }
        Ok(next)
    }
}

async fn write_text(
    mut writer: TextWriter,
    mut batches: Batches,
    pull: &Pull,
    next: Option<String>,
    out: Sink<'_>,
) -> Result<(), Stop> {
    let mut text = Vec::new();
    writer.begin(&mut text);
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        for from in (0..batch.len()).step_by(CHUNK_ROWS) {
            writer.rows(&batch, from..batch.len().min(from + CHUNK_ROWS), &mut text);
            out.write_all(&text)?;
            text.clear();
        }
        out.flush()?;
    }
    writer.end(&Trailer::new(next, pull.cost()), &mut text);
    out.write_all(&text)?;
    Ok(())
}

async fn write_parquet(pull: &Pull, mut batches: Batches, out: Sink<'_>) -> Result<(), Stop> {
    let mut writer = ParquetWriter::new(pull.columns(), out)?;
    while let Some(batch) = batches.next().await {
        let batch = batch?;
        writer.rows(&batch, 0..batch.len())?;
    }
    writer.finish()?;
    Ok(())
}
