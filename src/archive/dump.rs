//! Tables as they are, for whoever takes them elsewhere; and slices made of such rows again.

use std::collections::HashMap;
use std::sync::Arc;

use super::Dated;
use super::tables::{COLLECTED, RESTATED, Table, key_of, phone_lines, slice_of};
use crate::domain::calendar::Date;
use crate::domain::dataset::{Column, Dataset, Value};
use crate::domain::{
    ArchiveKey, ArchiveRow, ArchivedSlice, Finality, MessageCount, Number, PhoneNumber, Timestamp, Window,
};

/// A table of an archive.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum TableName {
    /// Rows of a dataset.
    Rows(Dataset),
    /// What was fetched.
    Collected,
    /// What was fetched of single phone numbers.
    CollectedPhones,
    /// What was FINAL and was told otherwise later.
    Restated,
}

impl TableName {
    /// All of them. Lines come before rows: whoever reads one after the other, while slices are written, sees no line without
    /// its rows.
    pub const ALL: [Self; 5] = [
        Self::Collected,
        Self::CollectedPhones,
        Self::Rows(Dataset::PhoneNumberMetrics),
        Self::Rows(Dataset::OperationDistributions),
        Self::Restated,
    ];

    /// Its name in the database.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Rows(dataset) => dataset.as_str(),
            Self::Collected => "collected",
            Self::CollectedPhones => super::tables::PHONE_LINES,
            Self::Restated => "restated",
        }
    }

    /// Its columns, in their order.
    #[must_use]
    pub fn columns(self) -> Vec<Column> {
        match self {
            Self::Rows(dataset) => dataset.columns().to_vec(),
            Self::Collected => COLLECTED.to_vec(),
            Self::CollectedPhones => phone_lines(),
            Self::Restated => RESTATED.to_vec(),
        }
    }

    /// What begins at or after `$1` and before `$2`, in order of time.
    pub(super) fn select(self) -> String {
        let names: Vec<&str> = self.columns().iter().map(|column| column.name).collect();
        let (names, table) = (names.join(", "), self.as_str());
        format!("SELECT {names} FROM {table} WHERE start_time >= $1 AND start_time < $2 ORDER BY start_time")
    }
}

/// A row of a table, by the names of its columns.
struct Row<'a> {
    columns: &'a [Column],
    values: &'a [Value],
}

impl Row<'_> {
    fn get(&self, name: &str) -> Option<&Value> {
        self.values.get(self.columns.iter().position(|column| column.name == name)?)
    }

    fn text(&self, name: &str) -> Option<&str> {
        if let Some(Value::Text(text)) = self.get(name) { Some(text) } else { None }
    }

    fn instant(&self, name: &str) -> Option<Timestamp> {
        if let Some(Value::Instant(at)) = self.get(name) { Some(*at) } else { None }
    }

    fn number(&self, name: &str) -> Option<Number> {
        match self.get(name)? {
            Value::Integer(count) => Some(Number::Integer(*count)),
            Value::Float(number) => Some(Number::Float(*number)),
            _ => None,
        }
    }

    fn window(&self) -> Option<Window> {
        Window::new(self.instant("start_time")?, self.instant("end_time")?)
    }

    /// The key of a row of `dataset`, whose entity is in the column of this name.
    fn key(&self, dataset: Dataset, entity: &str, name: Option<String>) -> Option<ArchiveKey> {
        let (table, entity) = (Table::of(dataset), self.text(entity));
        // Only of channels may an account have one without a name.
        if entity.is_none() && !table.has_phones() {
            return None;
        }
        Some(ArchiveKey { name, ..key_of(dataset, self.text("account")?, entity, self.text(table.kind)?)? })
    }
}

/// A row with its date and when it was fetched.
type Found = (ArchiveRow, Option<Date>, Timestamp);

/// Rows of slices by what they are of; the slices are told by lines of `collected`.
type Slices = HashMap<(ArchiveKey, Window), Vec<Found>>;

/// Slices again: of each line of `collected` or `collected_phones` with the rows that belong to it. A provisional one is left
/// out if there are not as many rows as it tells: it was replaced while it was read.
///
/// # Errors
/// A row that makes no sense, or a line that is final and has not as many rows; which one, by its number from 1.
pub fn slices(
    table: Dataset,
    rows: &[Vec<Value>],
    lines: &[Vec<Value>],
    phone_lines_of: &[Vec<Value>],
) -> Result<Vec<Dated>, String> {
    let (own, columns) = (Table::of(table), table.columns());
    let mut by_slice: Slices = HashMap::new();
    for (values, n) in rows.iter().zip(1..) {
        let row = Row { columns, values };
        let read = || {
            let key = row.key(table, own.entity, None)?;
            let window = row.window()?;
            let [one, other] = own.numbers;
            let finality = Finality::named(row.text("finality")?)?;
            let numbers = [row.number(one)?, row.number(other)?];
            let name = row.text(own.row_name)?;
            if !numbers.into_iter().all(counts) || (own.has_phones() && !PhoneNumber::is_told_by(name)) {
                return None;
            }
            let name = name.into();
            let archived = ArchiveRow { name, start: window.start(), end: window.end(), numbers, finality };
            let date = match row.get("date") {
                Some(Value::Date(date)) => Some(*date),
                _ => None,
            };
            let slice = slice_of(&key, &archived)?;
            Some(((key, slice), (archived, date, row.instant("fetched_at")?)))
        };
        let (slice, row) = read().ok_or_else(|| format!("row {n} of {} makes no sense", table.as_str()))?;
        by_slice.entry(slice).or_default().push(row);
    }
    let mut slices = Vec::new();
    for (lines, columns) in [(lines, COLLECTED.to_vec()), (phone_lines_of, phone_lines())] {
        for (values, n) in lines.iter().zip(1..) {
            let row = Row { columns: &columns, values };
            if row.text("dataset") != Some(table.as_str()) {
                continue;
            }
            let read = || {
                let name = row.text("phone_number").map(str::to_owned);
                if name.as_deref().is_some_and(|name| !PhoneNumber::is_told_by(name)) {
                    return None;
                }
                let key = row.key(table, "entity", name)?;
                let Number::Integer(count) = row.number("row_count")? else { return None };
                let line = (key, row.window()?, Finality::named(row.text("finality")?)?, row.instant("fetched_at")?);
                Some((line, usize::try_from(count).ok()?))
            };
            let (line, count) = read().ok_or_else(|| format!("line {n} of what was collected makes no sense"))?;
            let dated = slice(line, &by_slice);
            let found = dated.slice.rows.len();
            if found == count {
                slices.push(dated);
            } else if dated.slice.finality == Finality::Final {
                let lacks = "this export is not whole";
                return Err(format!(
                    "line {n} of what was collected tells of {count} rows, and {found} are there: {lacks}"
                ));
            }
        }
    }
    // What is final first: nothing replaces it then. A phone number before its channel, whose rows stand for it afterwards.
    let order = |dated: &Dated| (dated.slice.finality == Finality::Provisional, dated.slice.key.name.is_none());
    slices.sort_by_key(order);
    Ok(slices)
}

/// Lines of `restated`, if they make sense: nothing else is to get into an archive.
///
/// # Errors
/// A line that makes no sense; which one, by its number from 1.
pub fn restated(lines: Vec<Vec<Value>>) -> Result<Vec<Vec<Value>>, String> {
    for (values, n) in lines.iter().zip(1..) {
        let row = Row { columns: &RESTATED, values };
        let makes_sense = || {
            let table = Table::of(Dataset::named(row.text("dataset")?)?);
            let kind = row.text(table.kind)?;
            key_of(table.dataset, row.text("account")?, row.text("entity"), kind)?;
            row.text("name").and(row.window()).and(row.instant("told_fetched_at"))?;
            table.numbers.contains(&row.text("metric")?).then_some(())
        };
        makes_sense().ok_or_else(|| format!("line {n} of what was told otherwise makes no sense"))?;
    }
    Ok(lines)
}

/// Whether a number can be one of a slice: what is below nothing, or no number at all, could never be answered.
fn counts(number: Number) -> bool {
    match number {
        Number::Integer(count) => MessageCount::new(count).is_some(),
        Number::Float(number) => number.is_finite() && number >= 0.0,
    }
}

fn slice((key, window, finality, fetched_at): (ArchiveKey, Window, Finality, Timestamp), rows: &Slices) -> Dated {
    let whole = ArchiveKey { name: None, ..key.clone() };
    let is_own = |row: &&Found| key.name.as_deref().is_none_or(|name| *row.0.name == *name);
    let (mut own, mut dates, mut fetched) = (Vec::new(), Vec::new(), Vec::new());
    for (row, date, at) in rows.get(&(whole, window)).into_iter().flatten().filter(is_own).cloned() {
        own.push(row);
        dates.push(date);
        fetched.push(at);
    }
    let slice = ArchivedSlice { key: Arc::new(key), window, finality, fetched_at, rows: own };
    Dated { slice, dates, fetched }
}
