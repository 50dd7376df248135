//! A batch of slices into PostgreSQL: one transaction under one lock, which no two replicas hold at once.

use std::collections::{BTreeMap, HashMap};

use deadpool_postgres::ClientWrapper;
use futures_util::future::try_join_all;
use tokio_postgres::Statement;

use super::super::merge::{Change, Kept, Replacement, Restated, merge};
use super::super::tables::{
    COLLECTED, PHONE_LINES, RESTATED, Table, cell, key_values, line_cells, phone_lines, put_line, restated_cells,
    window_length,
};
use super::super::{Dated, Written};
use super::arrays::{Rows, Spans, Value};
use super::fault::Fault;
use super::locks;
use super::slices::{Beside, Shape, Span, fetch, lateral};
use crate::domain::dataset::{self, Dataset};
use crate::domain::{ArchiveKey, ArchivedSlice, Window};

/// Writes slices, all or none.
pub(super) async fn write(client: &ClientWrapper, slices: &[Dated]) -> Result<Written, Fault> {
    let mut written = Written::default();
    let mut begin = begin();
    for round in rounds(slices) {
        write_round(client, &round, &begin, &mut written).await?;
        begin.clear();
    }
    client.batch_execute("COMMIT").await?;
    Ok(written)
}

fn begin() -> String {
    format!("BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SELECT pg_advisory_xact_lock({})", locks::WRITE)
}

/// Notes lines of what is told otherwise, each only once; how many were new.
pub(super) async fn note_lines(client: &ClientWrapper, lines: &[Vec<dataset::Value>]) -> Result<u64, Fault> {
    let mut rows = Rows::new(&RESTATED);
    for line in lines {
        rows.push(line.iter().map(dataset::Value::cell));
    }
    client.batch_execute(&begin()).await?;
    let new = client.execute(&note(&rows), &rows.values()).await?;
    client.batch_execute("COMMIT").await?;
    Ok(new)
}

/// The series and window of a slice, of whichever phone number.
type SeriesWindow<'a> = (Dataset, [&'a str; 3], Window);

/// Slices of which none bears on another, as many together as their order allows.
fn rounds(slices: &[Dated]) -> Vec<Vec<&Dated>> {
    let mut rounds: Vec<Vec<&Dated>> = vec![Vec::new()];
    let mut taken: HashMap<SeriesWindow<'_>, Vec<Option<&str>>> = HashMap::new();
    for dated in slices {
        let (key, window) = (&*dated.slice.key, dated.slice.window);
        let span = (key.dataset, key_values(key), window);
        let name = key.name.as_deref();
        // A channel holds the rows of all its phone numbers.
        let meets = |taken: &Vec<Option<&str>>| name.is_none() || taken.contains(&None) || taken.contains(&name);
        if taken.get(&span).is_some_and(meets) {
            taken.clear();
            rounds.push(Vec::new());
        }
        taken.entry(span).or_default().push(name);
        if let Some(round) = rounds.last_mut() {
            round.push(dated);
        }
    }
    rounds
}

async fn write_round(
    client: &ClientWrapper,
    slices: &[&Dated],
    begin: &str,
    written: &mut Written,
) -> Result<(), Fault> {
    let spans: Vec<Span<'_>> = slices.iter().map(|dated| span(&dated.slice)).collect();
    let kept = fetch(client, &spans, Beside::All, begin, None).await?;
    let kept: Vec<Kept> = kept.into_iter().zip(&spans).map(|(found, span)| found.into_kept(span.window)).collect();
    let changes: Vec<Change> = slices.iter().zip(&kept).map(|(dated, kept)| merge(&dated.slice, kept)).collect();
    // Texts that rows are made of live as long as the statements.
    let lengths: Vec<Option<String>> =
        slices.iter().map(|dated| window_length(&dated.slice.key, dated.slice.window)).collect();
    let channels: Vec<ArchiveKey> =
        slices.iter().map(|dated| ArchiveKey { name: None, ..(*dated.slice.key).clone() }).collect();
    let mut statements = Statements::default();
    for (((dated, kept), change), (length, channel)) in
        slices.iter().zip(&kept).zip(&changes).zip(lengths.iter().zip(&channels))
    {
        match change {
            Change::None => {}
            Change::Restate(restated) => statements.restate(&dated.slice, restated),
            Change::Replace(replacement) => {
                statements.restate(&dated.slice, &replacement.restated);
                statements.replace(dated, length.as_deref(), channel, kept, replacement);
                written.slices += 1;
                written.rows += replacement.insert.len() as u64;
            }
        }
    }
    written.restated += statements.run(client).await?;
    Ok(())
}

/// The span of a slice: days of a series hold what begins in them.
fn span(slice: &ArchivedSlice) -> Span<'_> {
    Span { key: &slice.key, window: slice.window, is_exact: slice.key.granularity.is_none() }
}

/// What is done with the tables, all at once.
struct Statements<'a> {
    /// Rows that go.
    rows: BTreeMap<Shape, Spans<'a>>,
    /// Lines of single phone numbers that a newer one of their channel stands for.
    alone: Spans<'a>,
    insert: BTreeMap<Dataset, Rows<'a>>,
    lines: Rows<'a>,
    phone_lines: Rows<'a>,
    restated: Rows<'a>,
    /// By how many rows the slice of a channel grows.
    growth: HashMap<(&'a ArchiveKey, Window), i64>,
}

impl Default for Statements<'_> {
    fn default() -> Self {
        Self {
            rows: BTreeMap::new(),
            alone: Spans::default(),
            insert: BTreeMap::new(),
            lines: Rows::new(&COLLECTED),
            phone_lines: Rows::new(&phone_lines()),
            restated: Rows::new(&RESTATED),
            growth: HashMap::new(),
        }
    }
}

impl<'a> Statements<'a> {
    fn restate(&mut self, slice: &'a ArchivedSlice, restated: &'a [Restated]) {
        for cells in restated.iter().filter_map(|one| restated_cells(slice, one)) {
            self.restated.push(cells);
        }
    }

    fn replace(
        &mut self,
        dated: &'a Dated,
        length: Option<&'a str>,
        channel: &'a ArchiveKey,
        kept: &Kept,
        replacement: &Replacement,
    ) {
        let slice = &dated.slice;
        let (key, window) = (&*slice.key, slice.window);
        if replacement.dropped > 0 {
            self.rows.entry(Shape::of(span(slice))).or_default().push_until(key, window, replacement.until);
        }
        if !kept.alone.is_empty() {
            self.alone.push_until(key, window, replacement.until);
        }
        let columns = key.dataset.columns();
        let insert = self.insert.entry(key.dataset).or_insert_with(|| Rows::new(columns));
        for at in &replacement.insert {
            let Some(row) = slice.rows.get(*at) else { continue };
            insert.push(columns.iter().map(|column| cell(column.field, dated, *at, row)));
        }
        let line = line_cells(slice, length, replacement.row_count);
        if key.name.is_some() {
            self.phone_lines.push(line);
            *self.growth.entry((channel, window)).or_default() += replacement.growth();
        } else {
            self.lines.push(line);
        }
    }

    /// Does it; how many numbers were noted that are told otherwise.
    async fn run(self, client: &ClientWrapper) -> Result<u64, Fault> {
        let mut growth = Spans::default();
        for ((key, window), by) in self.growth.iter().filter(|(_, by)| **by != 0) {
            growth.push_growth(key, *window, *by);
        }
        let mut steps: Vec<(String, Vec<Value<'_>>)> = Vec::new();
        for (shape, spans) in &self.rows {
            steps.push((delete(shape.table().name(), &shape.rows()), spans.values().to_vec()));
        }
        if !self.alone.is_empty() {
            let shape = Shape { dataset: Dataset::PhoneNumberMetrics, is_named: false, is_exact: true };
            steps.push((delete(PHONE_LINES, &shape.lines()), self.alone.values().to_vec()));
        }
        for (dataset, rows) in self.insert.iter().filter(|(_, rows)| !rows.is_empty()) {
            steps.push((insert(Table::of(*dataset).name(), rows), rows.values()));
        }
        for (table, rows) in [("collected", &self.lines), (PHONE_LINES, &self.phone_lines)] {
            if !rows.is_empty() {
                steps.push((put_line(table, &format!("SELECT * FROM {}", rows.source())), rows.values()));
            }
        }
        if !growth.is_empty() {
            steps.push((grow(), growth.values().to_vec()));
        }
        let is_restated = !self.restated.is_empty();
        if is_restated {
            steps.push((note(&self.restated), self.restated.values()));
        }
        let mut prepared: Vec<(Statement, Vec<Value<'_>>)> = Vec::new();
        for (sql, values) in steps {
            prepared.push((client.prepare_cached(&sql).await?, values));
        }
        let run = prepared.iter().map(|(statement, values)| client.execute(statement, values));
        let done = try_join_all(run).await?;
        Ok(if is_restated { done.last().copied().unwrap_or_default() } else { 0 })
    }
}

fn delete(from: &str, condition: &str) -> String {
    let condition = format!("{condition} AND finality = 'PROVISIONAL' AND fetched_at <= w.until");
    format!("DELETE FROM {from} WHERE ctid = ANY(ARRAY(SELECT f.ctid FROM {}))", lateral("ctid", from, &condition))
}

fn insert(table: &str, rows: &Rows<'_>) -> String {
    format!("INSERT INTO {table} ({}) SELECT * FROM {}", rows.names(), rows.source())
}

/// Corrects how many rows are kept of slices of channels.
pub(super) fn grow() -> String {
    let shape = Shape { dataset: Dataset::PhoneNumberMetrics, is_named: false, is_exact: true };
    format!(
        "UPDATE collected AS c SET row_count = c.row_count + g.growth \
         FROM (SELECT f.ctid AS place, w.growth FROM {}) AS g WHERE c.ctid = g.place",
        lateral("ctid", "collected", &shape.lines())
    )
}

/// Notes what is told otherwise, each only once.
fn note(rows: &Rows<'_>) -> String {
    let same =
        RESTATED.iter().filter(|column| !matches!(column.name, "held_value" | "held_fetched_at" | "told_fetched_at"));
    let same: Vec<String> = same
        .map(|column| {
            // What is never null is looked up by the index.
            let equals = if column.is_nullable { "IS NOT DISTINCT FROM" } else { "=" };
            format!("r.{name} {equals} u.{name}", name = column.name)
        })
        .collect();
    format!(
        "INSERT INTO restated ({}) SELECT * FROM {} WHERE NOT EXISTS (SELECT 1 FROM restated AS r WHERE {})",
        rows.names(),
        rows.source(),
        same.join(" AND ")
    )
}
