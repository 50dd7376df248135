//! The tables as markdown, and where they are kept.

use std::fs;
use std::path::Path;

use crate::rows::{Judged, Measured, Row, time};
use crate::side::Side;
use crate::singles::Single;
use crate::usage::machine;
use crate::{Options, Outcome, chart};

/// Between these two lines a document keeps what is measured.
const BEGIN: &str = "<!-- bench: begin, written by make bench -->";
const END: &str = "<!-- bench: end -->";

/// Other programs that take more of the cores than this disturb the bench.
pub(crate) const QUIET: f64 = 0.1;

pub(crate) struct Report<'a> {
    pub(crate) rows: Vec<Row>,
    pub(crate) singles: Vec<Single>,
    pub(crate) serde_us: f64,
    /// How many cores were busy before this began.
    pub(crate) busy: f64,
    pub(crate) options: &'a Options,
}

impl Report<'_> {
    /// Both tables and what they were measured on.
    pub(crate) fn text(&self) -> String {
        let mut text = String::new();
        if !self.rows.is_empty() {
            text += "| work | conn. | weir, req/s | bare, req/s | weir of bare | with log | plain of bare | CPU a request: \
                     weir / bare / plain | p50 / p99 of weir | goal | reached |\n\
                     |---|--:|--:|--:|--:|--:|--:|--:|--:|---|---|\n";
            text.extend(self.rows.iter().map(line));
            text.push('\n');
        }
        if !self.singles.is_empty() {
            text += "| what | found | goal | reached |\n|---|--:|---|---|\n";
            text.extend(self.singles.iter().map(single));
            text.push('\n');
        }
        let (now, busy) = (date(), self.busy);
        let busy = if busy > QUIET { format!(" **Other programs kept {busy:.1} cores busy.**") } else { String::new() };
        text + &format!(
            "Measured {now} with `make bench` on {}; medians of {} rounds of {} s. serde_json takes {} for the same 14,400 \
             rows.{busy}\n",
            machine(),
            self.options.rounds(),
            self.options.seconds,
            time(self.serde_us),
        )
    }

    /// Puts the tables into the documents and draws the chart.
    pub(crate) fn write(&self) -> Outcome<()> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().ok_or("this package lies in weir's")?;
        for document in ["README.md", "docs/performance.md"] {
            let path = root.join(document);
            let old = fs::read_to_string(&path)?;
            let (before, rest) = old.split_once(BEGIN).ok_or_else(|| format!("{document} lacks {BEGIN}"))?;
            let (_, after) = rest.split_once(END).ok_or_else(|| format!("{document} lacks {END}"))?;
            fs::write(&path, format!("{before}{BEGIN}\n{}{END}{after}", self.text()))?;
        }
        fs::write(root.join("docs/performance.svg"), chart::draw(&self.rows)?)?;
        Ok(())
    }
}

fn line(row: &Row) -> String {
    let of = |side: Side, show: &dyn Fn(&Measured) -> String| row.side(side).map_or_else(|| "–".to_owned(), show);
    let rate = |measured: &Measured| thousands(measured.run.rate);
    let ratio = |measured: &Measured| format!("{:.0} %", measured.ratio * 100.0);
    let cpu = |measured: &Measured| time(measured.run.cpu_us);
    let delay = |measured: &Measured| format!("{} / {}", time(measured.run.p50_us), time(measured.run.p99_us));
    let goals: Vec<_> = row.goals.iter().map(|judged| judged.goal.clone()).collect();
    format!(
        "| {} | {} | {} | {} | {} | {} | {} | {} / {} / {} | {} | {} | {} |\n",
        row.plan.work,
        row.plan.connections,
        of(Side::Weir, &rate),
        of(Side::Bare, &rate),
        of(Side::Weir, &ratio),
        of(Side::Logged, &ratio),
        of(Side::Plain, &ratio),
        of(Side::Weir, &cpu),
        of(Side::Bare, &cpu),
        of(Side::Plain, &cpu),
        of(Side::Weir, &delay),
        goals.join("; "),
        reached(&row.goals),
    )
}

fn single(Single { work, judged }: &Single) -> String {
    let Judged { goal, found, .. } = judged;
    format!("| {work} | {found} | {goal} | {} |\n", reached(std::slice::from_ref(judged)))
}

/// Yes, or what was found instead.
fn reached(goals: &[Judged]) -> String {
    let missed: Vec<_> = goals.iter().filter(|judged| !judged.reached).map(|judged| judged.found.clone()).collect();
    if missed.is_empty() { "yes".to_owned() } else { format!("**no: {}**", missed.join(", ")) }
}

fn thousands(rate: f64) -> String {
    let whole = format!("{rate:.0}");
    let groups: Vec<_> = whole.as_bytes().rchunks(3).rev().map(String::from_utf8_lossy).collect();
    groups.join(",")
}

/// Today, as the machine has it.
fn date() -> String {
    let output = std::process::Command::new("date").args(["-u", "+%F"]).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_owned()).unwrap_or_default()
}
