//! Slices in a file of SQLite: read, and written beside what is there. Each takes a transaction of its own or is called in
//! one, so that lines and rows are of one moment.

use rusqlite::{Connection, params_from_iter};

use super::super::merge::{Change, Kept, KeptRow, Replacement, Restated, merge};
use super::super::slices::{Names, assemble, better, expected};
use super::super::tables::{
    PHONE_LINES, RESTATED, Table, cell, key_values, line_cells, lines_of, put_line, restated_cells, window_length,
};
use super::super::{Collected, Dated, Want, Windows, Written};
use super::values::{Instants, Parameter, count, finality, instant, nonsense, number, text, time, window};
use crate::domain::dataset::{Cell, Column};
use crate::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, Window};

/// How the values of a key are spelled in every statement.
const KEY: [&str; 3] = ["?1", "?2", "?3"];

/// The values of a statement about a key and a span: `?1` to `?3`, `?4` and `?5`, and `?6` where it is about one phone.
fn values(key: &ArchiveKey, span: Window) -> Vec<Parameter<'_>> {
    let own = key_values(key).into_iter().map(text);
    let times = [instant(span.start()), instant(span.end())];
    own.chain(times).chain(key.name.as_deref().map(text)).collect()
}

/// Which rows of a table a statement is about: of a key, and of one phone number of it if it names one; those that begin in
/// the span `?4` to `?5`, or those of just this window if it `is_exact`.
fn rows_in(key: &ArchiveKey, is_exact: bool) -> String {
    let table = Table::of(key.dataset);
    let times = if is_exact { "start_time = ?4 AND end_time = ?5" } else { "start_time >= ?4 AND start_time < ?5" };
    let phone = if key.name.is_some() { format!(" AND {} = ?6", table.row_name) } else { String::new() };
    format!("{} AND {times}{phone}", table.rows_of(KEY))
}

/// The same of lines.
fn lines_in(key: &ArchiveKey, is_exact: bool) -> String {
    let times = if is_exact { "start_time = ?4 AND end_time = ?5" } else { "start_time >= ?4 AND start_time < ?5" };
    let phone = if key.name.is_some() { " AND phone_number = ?6" } else { "" };
    format!("{} AND {times}{phone}", Table::of(key.dataset).lines_of(KEY))
}

/// The lines of a key inside a span; of one phone number those by which it is answered.
pub(super) fn lines(connection: &Connection, key: &ArchiveKey, span: Window) -> rusqlite::Result<Vec<Collected>> {
    let own = own_lines(connection, key, span)?;
    if key.name.is_none() {
        return Ok(own);
    }
    let whole = ArchiveKey { name: None, ..key.clone() };
    Ok(better(own, own_lines(connection, &whole, span)?))
}

fn own_lines(connection: &Connection, key: &ArchiveKey, span: Window) -> rusqlite::Result<Vec<Collected>> {
    let sql = format!(
        "SELECT start_time, end_time, finality, fetched_at, row_count FROM {} WHERE {} ORDER BY start_time, end_time",
        lines_of(key),
        lines_in(key, false)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let line = |row: &rusqlite::Row<'_>| {
        Ok(Collected {
            window: window(row, 0)?,
            finality: finality(row, 2)?,
            fetched_at: time(row, 3)?,
            row_count: count(row, 4)?,
        })
    };
    let found = statement.query_map(params_from_iter(values(key, span)), line)?;
    found.filter(|line| line.as_ref().map_or(true, |line| span.covers(line.window))).collect()
}

/// The slices that are kept of a want.
pub(super) fn read(connection: &Connection, want: &Want) -> rusqlite::Result<Vec<ArchivedSlice>> {
    let key = &want.key;
    let (spans, is_exact) = match &want.windows {
        Windows::Within(span) => (std::slice::from_ref(span), false),
        Windows::Exactly(windows) => (windows.as_slice(), true),
    };
    let mut slices: Vec<ArchivedSlice> = Vec::new();
    for span in spans {
        let mut lines = lines(connection, key, *span)?;
        lines.retain(|line| !is_exact || line.window == *span);
        if !lines.is_empty() {
            let rows = rows(connection, key, *span, is_exact, expected(key, &lines))?;
            slices.extend(assemble(key, lines, rows));
        }
    }
    Ok(slices)
}

/// The rows of a key that begin inside a span; only those of just this window if it `is_exact`. About `n_expected` will be.
fn rows(
    connection: &Connection,
    key: &ArchiveKey,
    span: Window,
    is_exact: bool,
    n_expected: usize,
) -> rusqlite::Result<Vec<KeptRow>> {
    let table = Table::of(key.dataset);
    let [one, other] = table.numbers;
    let sql = format!(
        "SELECT {}, start_time, end_time, {one}, {other}, finality, fetched_at FROM {} WHERE {}",
        table.row_name,
        table.name(),
        rows_in(key, is_exact)
    );
    let mut statement = connection.prepare_cached(&sql)?;
    let (mut names, mut instants) = (Names::default(), Instants::default());
    let mut row = |row: &rusqlite::Row<'_>| -> rusqlite::Result<KeptRow> {
        let (start, end) = (instants.time(row, 1)?, instants.time(row, 2)?);
        let window = Window::new(start, end).ok_or_else(|| nonsense(1, "span of time"))?;
        let kept = ArchiveRow {
            name: names.shared(row.get_ref(0)?.as_str()?),
            start: window.start(),
            end: window.end(),
            numbers: [number(row, 3, table.counts)?, number(row, 4, table.counts)?],
            finality: finality(row, 5)?,
        };
        Ok((kept, instants.time(row, 6)?))
    };
    let mut found = statement.query(params_from_iter(values(key, span)))?;
    let mut rows = Vec::with_capacity(n_expected);
    while let Some(one) = found.next()? {
        rows.push(row(one)?);
    }
    Ok(rows)
}

/// The phone numbers of a channel that were asked for alone in this very window.
fn alone(connection: &Connection, key: &ArchiveKey, span: Window, kept: &mut Kept) -> rusqlite::Result<()> {
    if key.name.is_some() || !Table::of(key.dataset).has_phones() {
        return Ok(());
    }
    let sql = format!("SELECT phone_number, finality, fetched_at FROM {PHONE_LINES} WHERE {}", lines_in(key, true));
    let mut statement = connection.prepare_cached(&sql)?;
    let mut found = statement.query(params_from_iter(values(key, span)))?;
    while let Some(row) = found.next()? {
        kept.alone.insert(row.get_ref(0)?.as_str()?.into(), (finality(row, 1)?, time(row, 2)?));
    }
    Ok(())
}

/// Writes a slice beside what is kept of it.
pub(super) fn write(connection: &Connection, dated: &Dated, written: &mut Written) -> rusqlite::Result<()> {
    let slice = &dated.slice;
    let (key, is_exact) = (&*slice.key, slice.key.granularity.is_none());
    let line = lines(connection, key, slice.window)?.into_iter().find(|line| line.window == slice.window);
    let rows = rows(connection, key, slice.window, is_exact, slice.rows.len())?;
    let mut kept = Kept { line: line.map(|line| (line.finality, line.fetched_at)), rows, ..Kept::default() };
    alone(connection, key, slice.window, &mut kept)?;
    match merge(slice, &kept) {
        Change::None => {}
        Change::Restate(restated) => written.restated += note(connection, slice, &restated)?,
        Change::Replace(replacement) => {
            written.restated += note(connection, slice, &replacement.restated)?;
            replace(connection, dated, &kept, &replacement)?;
            written.slices += 1;
            written.rows += replacement.insert.len() as u64;
        }
    }
    Ok(())
}

fn replace(connection: &Connection, dated: &Dated, kept: &Kept, replacement: &Replacement) -> rusqlite::Result<()> {
    let slice = &dated.slice;
    let (key, table) = (&*slice.key, Table::of(slice.key.dataset));
    let provisional = |place: usize| format!("finality = 'PROVISIONAL' AND fetched_at <= ?{place}");
    let go = |from: &str, which: &str, key: &ArchiveKey| {
        let mut values = values(key, slice.window);
        let sql = format!("DELETE FROM {from} WHERE {which} AND {}", provisional(values.len() + 1));
        values.push(instant(replacement.until));
        connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
    };
    if replacement.dropped > 0 {
        go(table.name(), &rows_in(key, key.granularity.is_none()), key)?;
    }
    if !kept.alone.is_empty() {
        go(PHONE_LINES, &lines_in(key, true), key)?;
    }
    let columns = table.columns();
    let mut statement = connection.prepare_cached(&insert_into(table.name(), columns.iter().map(|own| own.name)))?;
    for at in &replacement.insert {
        let Some(row) = slice.rows.get(*at) else { continue };
        let cells = columns.iter().map(|column| Parameter(cell(column.field, dated, *at, row)));
        statement.execute(params_from_iter(cells))?;
    }
    write_line(connection, slice, replacement.row_count)?;
    if key.name.is_some() {
        let whole = ArchiveKey { name: None, ..key.clone() };
        grow(connection, &whole, slice.window, replacement.growth())?;
    }
    Ok(())
}

/// Corrects how many rows are kept of a slice.
pub(super) fn grow(connection: &Connection, key: &ArchiveKey, window: Window, by: i64) -> rusqlite::Result<()> {
    if by == 0 {
        return Ok(());
    }
    let mut values = values(key, window);
    let sql = format!(
        "UPDATE {} SET row_count = row_count + ?{} WHERE {}",
        lines_of(key),
        values.len() + 1,
        lines_in(key, true)
    );
    values.push(Parameter(Cell::Integer(by)));
    connection.prepare_cached(&sql)?.execute(params_from_iter(values)).map(drop)
}

fn insert_into(table: &str, columns: impl Iterator<Item = &'static str>) -> String {
    let names: Vec<&str> = columns.collect();
    format!("INSERT INTO {table} ({}) VALUES ({})", names.join(", "), places(names.len()))
}

fn places(n: usize) -> String {
    let places: Vec<String> = (1..=n).map(|n| format!("?{n}")).collect();
    places.join(", ")
}

/// Writes the line of a slice.
fn write_line(connection: &Connection, slice: &ArchivedSlice, row_count: u64) -> rusqlite::Result<()> {
    let length = window_length(&slice.key, slice.window);
    let cells = line_cells(slice, length.as_deref(), row_count);
    let sql = put_line(lines_of(&slice.key), &format!("VALUES ({})", places(cells.len())));
    connection.prepare_cached(&sql)?.execute(params_from_iter(cells.into_iter().map(Parameter))).map(drop)
}

/// Notes what is told otherwise, each only once; how many were new.
fn note(connection: &Connection, slice: &ArchivedSlice, restated: &[Restated]) -> rusqlite::Result<u64> {
    note_lines(connection, restated.iter().filter_map(|one| restated_cells(slice, one)))
}

/// The same, line by line.
pub(super) fn note_lines<'a, C: IntoIterator<Item = Cell<'a>>>(
    connection: &Connection,
    lines: impl Iterator<Item = C>,
) -> rusqlite::Result<u64> {
    let names: Vec<&str> = RESTATED.iter().map(|column: &Column| column.name).collect();
    let known = "dataset = ?1 AND account = ?2 AND entity IS ?3 AND granularity IS ?4 AND dimension IS ?5 AND name = ?6 \
                 AND start_time = ?7 AND end_time = ?8 AND metric = ?9 AND told_value IS ?11";
    let sql = format!(
        "INSERT INTO restated ({}) SELECT {} WHERE NOT EXISTS (SELECT 1 FROM restated WHERE {known})",
        names.join(", "),
        places(names.len()),
    );
    let mut new = 0;
    for cells in lines {
        new += connection.prepare_cached(&sql)?.execute(params_from_iter(cells.into_iter().map(Parameter)))? as u64;
    }
    Ok(new)
}
