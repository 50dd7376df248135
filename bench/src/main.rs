//! weir as a process, beside two yardsticks: a bare handler that answers the same bytes, and a plain GraphQL server over
//! the same rows in memory. All of them, their vendors and the load share the same cores, on loopback.
//!
//! `scripts/bench.sh` builds and runs it; docs/performance.md says what is measured and how.

mod abuse;
mod bare;
mod beside;
mod cases;
mod chart;
mod client;
mod keyed;
mod load;
mod plain;
mod processes;
mod pulls;
mod report;
mod rows;
mod side;
mod singles;
mod usage;

use std::path::PathBuf;

use clap::Parser;

/// What goes wrong ends the run: a benchmark that goes on after an error measures the error.
type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

/// Measures weir beside a bare handler and a plain GraphQL server.
#[derive(Debug, Parser)]
#[command(name = "weir-bench")]
struct Args {
    #[command(subcommand)]
    role: Option<Role>,
    #[command(flatten)]
    options: Options,
}

#[derive(Debug, clap::Args)]
struct Options {
    /// How often each server is measured in each row, in turn; the median counts.
    #[arg(long, default_value_t = 5)]
    rounds: usize,
    /// How long one measurement takes.
    #[arg(long, default_value_t = 1)]
    seconds: u32,
    /// For how many seconds ten times too much is asked for.
    #[arg(long, default_value_t = 20)]
    overload: u64,
    /// Only rows whose id begins like this. May be given several times.
    #[arg(long, value_name = "ROW")]
    only: Vec<String>,
    /// One round: to see whether it works.
    #[arg(long)]
    quick: bool,
    /// Write the tables into README.md and docs/performance.md, and the chart.
    #[arg(long, conflicts_with_all = ["only", "quick"])]
    write: bool,
}

impl Options {
    fn wants(&self, id: &str) -> bool {
        self.only.is_empty() || self.only.iter().any(|prefix| id.starts_with(prefix.as_str()))
    }

    fn rounds(&self) -> usize {
        if self.quick { 1 } else { self.rounds.max(1) }
    }
}

/// The yardsticks are this program in another role.
#[derive(Debug, clap::Subcommand)]
enum Role {
    /// Answers captured bytes.
    Bare {
        /// What `cases` captured.
        fixture: PathBuf,
    },
    /// Answers from rows in memory, by a GraphQL schema without anything else.
    Plain {
        /// An answer of weir with all rows.
        fixture: PathBuf,
    },
}

fn main() -> Outcome<()> {
    let args = Args::parse();
    match &args.role {
        Some(Role::Bare { fixture }) => bare::run(fixture),
        Some(Role::Plain { fixture }) => plain::run(fixture),
        None => run(&args.options),
    }
}

fn run(options: &Options) -> Outcome<()> {
    let busy = usage::busy_cores()?;
    if busy > report::QUIET {
        eprintln!("weir-bench: other programs keep {busy:.1} cores busy: expect less of every server, and more noise");
    }
    let folder = processes::Folder::new()?;
    let bench = rows::Bench::start(&folder)?;
    let rows = rows::measure(&bench, options)?;
    let mut singles = singles::measure(&bench, &folder, options)?;
    singles.extend(keyed::measure(&folder, options)?);
    singles.extend(pulls::measure(&folder, options)?);
    singles.extend(abuse::measure(&folder, options)?);
    singles.extend(beside::measure(&bench, &folder, options)?);
    let report = report::Report { rows, singles, serde_us: bench.serde_us, busy, options };
    println!("{}", report.text());
    if options.write {
        report.write()?;
    }
    Ok(())
}
