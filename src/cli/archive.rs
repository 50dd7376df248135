//! `weir archive`: what is kept, whether it adds up, and ways in and out.

mod files;
mod verify;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;

use bytesize::ByteSize;
use secrecy::ExposeSecret as _;

use super::{ConfigFile, Failure, block_on, output};
use crate::archive::{self, Archive, ArchiveError, ArchiveErrorKind, Holding, Sqlite};
use crate::config::Config;
use crate::domain::PhoneNumber;
use crate::formats::table::TableFormat;

/// Tell what the archive keeps, check it, take it elsewhere, or forget a number.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir archive status                            what is kept, and since when
  weir archive verify                            recount it, and ask vendors again for a sample
  weir archive export backup --format parquet    a file for each dataset and month
  weir archive import backup                     takes the same back, into this or another archive
  weir archive forget --phone 8613800000000      deletes a phone number
  weir archive set-aside                         renames a damaged file, so that a new one may begin")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    /// Say what is kept, from when to when, and what the vendors have told otherwise since.
    Status {
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Recount the rows, and ask the vendors once more for some of what they still answer.
    Verify {
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
        /// How many windows to ask the vendors for again; each is a call.
        #[arg(long, value_name = "N", default_value_t = 10)]
        samples: usize,
    },
    /// Write everything to files, a folder for each table and month, as DuckDB, Spark and Trino read them.
    Export {
        /// Where to; files that are there are replaced.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// How the files are written.
        #[arg(long, value_enum, default_value_t = TableFormat::Parquet)]
        format: TableFormat,
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Take in what `export` has written; what is there and FINAL stays as it is.
    Import {
        /// Where from.
        #[arg(value_name = "DIR")]
        dir: PathBuf,
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Delete a phone number from the archive.
    Forget {
        /// Its digits.
        #[arg(long, value_name = "NUMBER", value_parser = phone)]
        phone: String,
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
    },
    /// Rename the file of a damaged archive, so that the next start begins a new one.
    SetAside {
        /// Which config names the archive.
        #[command(flatten)]
        config: ConfigFile,
    },
}

/// Does what is asked for.
///
/// # Errors
/// A wrong config (2); an archive that cannot be used, or that does not add up (1).
pub fn run(args: Args) -> Result<(), Failure> {
    match args.command {
        Command::Status { config } => with(&config, async |_, archive| status(&*archive).await),
        Command::Verify { config, samples } => {
            with(&config, async |config, archive| verify::run(config, &archive, samples).await)
        }
        Command::Export { dir, format, config } => {
            with(&config, async |_, archive| files::export(&*archive, &dir, format).await)
        }
        Command::Import { dir, config } => with(&config, async |_, archive| files::import(&*archive, &dir).await),
        Command::Forget { phone, config } => with(&config, async |_, archive| {
            let gone = archive.forget(phone).await?;
            output::print(&format!(
                "{gone} rows were deleted. A phone number that is still in use comes back when it is fetched again."
            ))
        }),
        Command::SetAside { config } => set_aside(&config.load()?),
    }
}

/// Opens the archive of a config and does something with it.
fn with(
    file: &ConfigFile,
    work: impl AsyncFnOnce(Config, Arc<dyn Archive>) -> Result<(), Failure>,
) -> Result<(), Failure> {
    let config = file.load()?;
    let archive = archive::open(url(&config)?, &config.archive.reader)?;
    block_on(async move {
        archive.prepare().await?;
        work(config, archive).await
    })
}

fn url(config: &Config) -> Result<&str, Failure> {
    let url = config
        .archive
        .url()
        .ok_or_else(|| Failure::usage("the config names no archive; set `[archive] url`, like \"sqlite:weir.db\""))?;
    Ok(url.expose_secret())
}

fn phone(digits: &str) -> Result<String, String> {
    // The message does not repeat what it may be.
    let phone = PhoneNumber::parse(digits).ok_or("not a phone number; write its digits")?;
    Ok(phone.expose().to_owned())
}

async fn status(archive: &dyn Archive) -> Result<(), Failure> {
    let (holdings, size) = (archive.holdings().await?, archive.size().await?);
    let (restated, newest) = archive.restated(5).await?;
    let mut text = String::new();
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::NOTHING);
    table.set_header(["dataset", "account", "entity", "kind", "from", "to", "final", "provisional", "rows", "fetched"]);
    for holding in &holdings {
        let Holding { key, window_length, first, last, final_slices, provisional_slices, rows, fetched_at } = holding;
        let kind: Vec<&str> =
            [key.granularity, key.dimension, window_length.as_deref()].into_iter().flatten().collect();
        table.add_row([
            key.dataset.as_str().to_owned(),
            key.account.clone(),
            key.entity.clone().unwrap_or_default(),
            kind.join(" "),
            first.to_string(),
            last.to_string(),
            final_slices.to_string(),
            provisional_slices.to_string(),
            rows.to_string(),
            fetched_at.to_string(),
        ]);
    }
    // Writing to a string never fails.
    let _never_fails =
        if holdings.is_empty() { writeln!(text, "Nothing is kept yet.") } else { writeln!(text, "{table}") };
    let rows: u64 = holdings.iter().map(|holding| holding.rows).sum();
    let _never_fails = writeln!(text, "\n{rows} rows, {}", ByteSize(size));
    let _never_fails =
        writeln!(text, "{restated} numbers were FINAL and have been told otherwise since (table `restated`)");
    for one in newest {
        let number = |number: Option<f64>| number.map_or_else(|| "nothing".to_owned(), |number| number.to_string());
        let _never_fails = writeln!(
            text,
            "  {} {} {} of {}: kept {}, told {} at {}",
            one.key.dataset.as_str(),
            one.key.entity.unwrap_or_default(),
            one.metric,
            one.window.start(),
            number(one.held_value),
            number(one.told_value),
            one.told_fetched_at,
        );
    }
    output::print(&text)
}

fn set_aside(config: &Config) -> Result<(), Failure> {
    url(config)?;
    let path = config.archive.file().ok_or_else(|| {
        Failure::usage("only a file can be set aside; restore a database of PostgreSQL from its backup")
    })?;
    let name = Sqlite::set_aside(path.as_ref())?;
    output::print(&format!("The archive is {} now. The next start begins a new one.", name.display()))
}

impl From<ArchiveError> for Failure {
    fn from(error: ArchiveError) -> Self {
        match error.kind {
            ArchiveErrorKind::Misconfigured => Self::usage(error.to_string()),
            ArchiveErrorKind::Unavailable | ArchiveErrorKind::Unusable => Self::failed(error.to_string()),
        }
    }
}
