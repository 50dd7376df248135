//! Slices in PostgreSQL: read, and written beside what is there, many in few round trips.
//!
//! Statements join what is asked for with the tables, span by span: LATERAL and OFFSET keep the planner from reading a whole
//! table instead. All statements of a step are sent at once.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;

use deadpool_postgres::ClientWrapper;
use futures_util::future::{BoxFuture, try_join_all};
use tokio_postgres::{Error, Row};

use super::super::merge::{Kept, KeptRow};
use super::super::slices::{Names, assemble, better};
use super::super::tables::{PHONE_LINES, Table};
use super::super::{Collected, Want, Windows};
use super::arrays::{KEY, Spans, WANTED};
use super::fault::Fault;
use crate::domain::dataset::Dataset;
use crate::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Finality, Number, Timestamp, Window};

/// A span that is asked about.
#[derive(Debug, Clone, Copy)]
pub(super) struct Span<'a> {
    pub(super) key: &'a ArchiveKey,
    pub(super) window: Window,
    /// Just this window, not whatever begins inside.
    pub(super) is_exact: bool,
}

/// What a statement has to be made of: spans that are alike in it are asked about together.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Shape {
    pub(super) dataset: Dataset,
    /// Whether each is about one phone number.
    pub(super) is_named: bool,
    pub(super) is_exact: bool,
}

impl Shape {
    pub(super) fn of(span: Span<'_>) -> Self {
        Self { dataset: span.key.dataset, is_named: span.key.name.is_some(), is_exact: span.is_exact }
    }

    pub(super) fn table(self) -> &'static Table {
        Table::of(self.dataset)
    }

    /// The condition on rows.
    pub(super) fn rows(self) -> String {
        let table = self.table();
        let phone = if self.is_named { format!(" AND {} = w.name", table.row_name) } else { String::new() };
        format!("{} AND {}{phone}", table.rows_of(KEY), self.times())
    }

    /// The condition on lines of their own.
    pub(super) fn lines(self) -> String {
        let phone = if self.is_named { " AND phone_number = w.name" } else { "" };
        format!("{} AND {}{phone}", self.table().lines_of(KEY), self.times())
    }

    fn times(self) -> &'static str {
        if self.is_exact {
            "start_time = w.from_time AND end_time = w.to_time"
        } else {
            "start_time >= w.from_time AND start_time < w.to_time"
        }
    }

    pub(super) const fn own_lines(self) -> &'static str {
        if self.is_named { PHONE_LINES } else { "collected" }
    }
}

/// What of `from` answers each span: `columns` of whatever meets `condition`.
pub(super) fn lateral(columns: &str, from: &str, condition: &str) -> String {
    format!("{WANTED} CROSS JOIN LATERAL (SELECT {columns} FROM {from} WHERE {condition} OFFSET 0) AS f")
}

/// What is kept of each span.
#[derive(Debug, Default)]
pub(super) struct Found {
    /// Lines, in order of time: of one phone number those by which it is answered.
    pub(super) lines: Vec<Collected>,
    pub(super) rows: Vec<KeptRow>,
    /// Phone numbers that were asked for alone.
    pub(super) alone: HashMap<Arc<str>, (Finality, Timestamp)>,
}

impl Found {
    /// The same as what a slice is merged with.
    pub(super) fn into_kept(self, window: Window) -> Kept {
        let line = self.lines.iter().find(|line| line.window == window);
        Kept { line: line.map(|line| (line.finality, line.fetched_at)), rows: self.rows, alone: self.alone }
    }
}

/// What is looked for beside lines.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Beside {
    Nothing,
    Rows,
    /// Rows, and what single phone numbers were asked for alone.
    All,
}

#[derive(Debug, Clone, Copy)]
enum Part {
    OwnLines,
    WholeLines,
    Rows { counts: bool },
    Alone,
}

/// What a statement has brought, where it asks for something.
type Told = Option<(Part, Vec<Row>)>;

/// What is kept of the spans: after the statement `begin`, and before `end`, in one round trip.
pub(super) async fn fetch(
    client: &ClientWrapper,
    spans: &[Span<'_>],
    beside: Beside,
    begin: &str,
    end: Option<&str>,
) -> Result<Vec<Found>, Fault> {
    let mut shapes: BTreeMap<Shape, Spans<'_>> = BTreeMap::new();
    for (n, span) in spans.iter().enumerate() {
        shapes.entry(Shape::of(*span)).or_default().push(n, span.key, span.window);
    }
    let mut asked = Vec::new();
    for (shape, spans) in &shapes {
        for (part, sql) in statements(*shape, beside) {
            asked.push((part, client.prepare_cached(&sql).await?, spans.values()));
        }
    }
    let nothing = |sql| async move { client.batch_execute(sql).await.map(|()| None) };
    let mut steps: Vec<BoxFuture<'_, Result<Told, Error>>> = vec![Box::pin(nothing(begin))];
    for (part, statement, values) in &asked {
        steps.push(Box::pin(async move { Ok(Some((*part, client.query(statement, values).await?))) }));
    }
    steps.extend(end.map(|end| Box::pin(nothing(end)) as BoxFuture<'_, _>));
    let mut parts = Parts::of(spans);
    for (part, rows) in try_join_all(steps).await?.into_iter().flatten() {
        parts.take(part, &rows)?;
    }
    Ok(parts.into_found())
}

fn statements(shape: Shape, beside: Beside) -> Vec<(Part, String)> {
    const LINE: &str = "start_time, end_time, finality, fetched_at, row_count";
    const F: &str = "f.start_time, f.end_time, f.finality, f.fetched_at, f.row_count";
    let table = shape.table();
    let lines = |from, shape: Shape| format!("SELECT w.n, {F} FROM {}", lateral(LINE, from, &shape.lines()));
    let mut statements = vec![(Part::OwnLines, lines(shape.own_lines(), shape))];
    if shape.is_named {
        statements.push((Part::WholeLines, lines("collected", Shape { is_named: false, ..shape })));
    }
    if beside == Beside::Nothing {
        return statements;
    }
    let [one, other] = table.numbers;
    let columns = format!("{}, start_time, end_time, {one}, {other}, finality, fetched_at", table.row_name);
    let rows = lateral(&columns, table.name(), &shape.rows());
    statements.push((Part::Rows { counts: table.counts }, format!("SELECT w.n, f.* FROM {rows}")));
    if beside == Beside::All && table.has_phones() && !shape.is_named {
        let alone = lateral("phone_number, finality, fetched_at", PHONE_LINES, &shape.lines());
        statements.push((Part::Alone, format!("SELECT w.n, f.phone_number, f.finality, f.fetched_at FROM {alone}")));
    }
    statements
}

/// What comes back, put to the spans that asked.
struct Parts<'s, 'a> {
    spans: &'s [Span<'a>],
    found: Vec<Found>,
    whole: Vec<Vec<Collected>>,
    names: Names,
}

impl<'s, 'a> Parts<'s, 'a> {
    fn of(spans: &'s [Span<'a>]) -> Self {
        let found = spans.iter().map(|_| Found::default()).collect();
        Self { spans, found, whole: vec![Vec::new(); spans.len()], names: Names::default() }
    }

    fn take(&mut self, part: Part, rows: &[Row]) -> Result<(), Fault> {
        for row in rows {
            let n = usize::try_from(row.try_get::<_, i32>(0)?).unwrap_or(usize::MAX);
            let (Some(found), Some(whole), Some(span)) =
                (self.found.get_mut(n), self.whole.get_mut(n), self.spans.get(n))
            else {
                continue;
            };
            match part {
                Part::OwnLines | Part::WholeLines => {
                    let line = line(row)?;
                    if span.window.covers(line.window) {
                        if matches!(part, Part::OwnLines) { &mut found.lines } else { whole }.push(line);
                    }
                }
                Part::Rows { counts } => found.rows.push(kept_row(row, counts, &mut self.names)?),
                Part::Alone => {
                    found.alone.insert(row.try_get::<_, &str>(1)?.into(), (finality(row, 2)?, time(row, 3)?));
                }
            }
        }
        Ok(())
    }

    fn into_found(self) -> Vec<Found> {
        let mut all = self.found;
        for (found, whole) in all.iter_mut().zip(self.whole) {
            // In order of time, whichever way the server found them.
            found.lines = better(std::mem::take(&mut found.lines), whole);
        }
        all
    }
}

fn line(row: &Row) -> Result<Collected, Fault> {
    Ok(Collected {
        window: window(row, 1)?,
        finality: finality(row, 3)?,
        fetched_at: time(row, 4)?,
        row_count: count(row, 5)?,
    })
}

fn kept_row(row: &Row, counts: bool, names: &mut Names) -> Result<KeptRow, Fault> {
    let window = window(row, 2)?;
    let number = |at| -> Result<Number, Fault> {
        Ok(if counts { Number::Integer(row.try_get(at)?) } else { Number::Float(row.try_get(at)?) })
    };
    let kept = ArchiveRow {
        name: names.shared(row.try_get(1)?),
        start: window.start(),
        end: window.end(),
        numbers: [number(4)?, number(5)?],
        finality: finality(row, 6)?,
    };
    Ok((kept, time(row, 7)?))
}

pub(super) fn time(row: &Row, at: usize) -> Result<Timestamp, Fault> {
    Ok(row.try_get::<_, jiff::Timestamp>(at)?.into())
}

/// The window between the instants at `at` and after it.
pub(super) fn window(row: &Row, at: usize) -> Result<Window, Fault> {
    Window::new(time(row, at)?, time(row, at + 1)?).ok_or(Fault::Nonsense("span of time"))
}

pub(super) fn finality(row: &Row, at: usize) -> Result<Finality, Fault> {
    Finality::named(row.try_get(at)?).ok_or(Fault::Nonsense("finality"))
}

/// How many of something.
pub(super) fn count(row: &Row, at: usize) -> Result<u64, Fault> {
    u64::try_from(row.try_get::<_, i64>(at)?).map_err(|_negative| Fault::Nonsense("count"))
}

/// The slices that are kept of each want, all of one moment.
pub(super) async fn read(client: &ClientWrapper, wants: &[Want]) -> Result<Vec<Vec<ArchivedSlice>>, Fault> {
    let mut spans = Vec::new();
    for want in wants {
        let key = &*want.key;
        match &want.windows {
            Windows::Within(window) => spans.push(Span { key, window: *window, is_exact: false }),
            Windows::Exactly(windows) => {
                spans.extend(windows.iter().map(|window| Span { key, window: *window, is_exact: true }));
            }
        }
    }
    let begin = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY";
    let mut found = fetch(client, &spans, Beside::Rows, begin, Some("COMMIT")).await?.into_iter();
    let slices = wants.iter().map(|want| {
        let n = if let Windows::Exactly(windows) = &want.windows { windows.len() } else { 1 };
        found.by_ref().take(n).flat_map(|found| assemble(&want.key, found.lines, found.rows)).collect()
    });
    Ok(slices.collect())
}

/// The lines of a key inside a span.
pub(super) async fn collected(
    client: &ClientWrapper,
    key: &ArchiveKey,
    window: Window,
) -> Result<Vec<Collected>, Fault> {
    let spans = [Span { key, window, is_exact: false }];
    let found = fetch(client, &spans, Beside::Nothing, "BEGIN READ ONLY", Some("COMMIT")).await?;
    Ok(found.into_iter().flat_map(|found| found.lines).collect())
}
