//! How values are written in a file of SQLite, and read again: what is none of ours is damage.

use jiff::civil;
use jiff::tz::TimeZone;
use rusqlite::types::{ToSql, ToSqlOutput, Type, Value, ValueRef};
use rusqlite::{Error, Row};

use crate::domain::calendar::Date;
use crate::domain::dataset::{self, Cell, Kind};
use crate::domain::{Finality, Number, Timestamp, Window};

/// A value on its way into a statement.
pub(super) struct Parameter<'a>(pub(super) Cell<'a>);

pub(super) fn text(text: &str) -> Parameter<'_> {
    Parameter(Cell::Text(text))
}

pub(super) fn instant(at: Timestamp) -> Parameter<'static> {
    Parameter(Cell::Instant(at))
}

impl ToSql for Parameter<'_> {
    fn to_sql(&self) -> rusqlite::Result<ToSqlOutput<'_>> {
        Ok(match self.0 {
            Cell::Null => ToSqlOutput::Owned(Value::Null),
            Cell::Text(text) => ToSqlOutput::Borrowed(ValueRef::Text(text.as_bytes())),
            Cell::Instant(at) => ToSqlOutput::Owned(Value::Text(written(at))),
            Cell::Date(date) => ToSqlOutput::Owned(Value::Text(date.to_string())),
            Cell::Integer(number) => ToSqlOutput::Owned(Value::Integer(number)),
            Cell::Float(number) => ToSqlOutput::Owned(Value::Real(number)),
            Cell::Flag(flag) => ToSqlOutput::Owned(Value::Integer(i64::from(flag))),
        })
    }
}

/// An instant as SQLite's own functions write it, with six digits of a second.
fn written(at: Timestamp) -> String {
    at.to_jiff().strftime("%Y-%m-%d %H:%M:%S%.6f").to_string()
}

/// What weir has not written. Does not repeat a value: it may be anything.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
struct Nonsense(String);

/// Whether an error is a value that weir has not written.
pub(super) fn is_nonsense(error: &Error) -> bool {
    matches!(
        error,
        Error::FromSqlConversionFailure(..)
            | Error::InvalidColumnType(..)
            | Error::IntegralValueOutOfRange(..)
            | Error::Utf8Error(..)
    )
}

/// No `what` where one belongs.
pub(super) fn nonsense(at: usize, what: &'static str) -> Error {
    let told = Nonsense(format!("a row holds no {what} where one belongs"));
    Error::FromSqlConversionFailure(at, Type::Null, Box::new(told))
}

/// What a check has found.
pub(super) fn found(damage: String) -> Error {
    Error::FromSqlConversionFailure(0, Type::Null, Box::new(Nonsense(damage)))
}

/// What is wrong, without the words that SQLite's library puts around it.
pub(super) fn told(error: &Error) -> String {
    match error {
        Error::FromSqlConversionFailure(_, _, inner) => inner.to_string(),
        other => other.to_string(),
    }
}

pub(super) fn time(row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
    let text = row.get_ref(at)?.as_str().ok();
    let read =
        text.and_then(|text| text.parse::<civil::DateTime>().ok()).and_then(|at| TimeZone::UTC.to_timestamp(at).ok());
    read.map(Timestamp::from).ok_or_else(|| nonsense(at, "instant"))
}

/// Instants of rows that are read one after the other: neighbours share most of them, and reading texts is dear.
#[derive(Debug, Default)]
pub(super) struct Instants(Vec<(String, Timestamp)>);

impl Instants {
    /// The instant in a column.
    pub(super) fn time(&mut self, row: &Row<'_>, at: usize) -> rusqlite::Result<Timestamp> {
        let text = row.get_ref(at)?.as_str().unwrap_or_default();
        if let Some((last, known)) = self.0.get(at)
            && last == text
        {
            return Ok(*known);
        }
        let read = time(row, at)?;
        self.0.resize_with(self.0.len().max(at + 1), || (String::new(), read));
        if let Some((last, known)) = self.0.get_mut(at) {
            text.clone_into(last);
            *known = read;
        }
        Ok(read)
    }
}

/// The window between the instants at `at` and after it.
pub(super) fn window(row: &Row<'_>, at: usize) -> rusqlite::Result<Window> {
    Window::new(time(row, at)?, time(row, at + 1)?).ok_or_else(|| nonsense(at, "span of time"))
}

pub(super) fn finality(row: &Row<'_>, at: usize) -> rusqlite::Result<Finality> {
    row.get_ref(at)?.as_str().ok().and_then(Finality::named).ok_or_else(|| nonsense(at, "finality"))
}

/// A number of a row: a count, or any other.
pub(super) fn number(row: &Row<'_>, at: usize, counts: bool) -> rusqlite::Result<Number> {
    match (row.get_ref(at)?, counts) {
        (ValueRef::Integer(count), true) => Ok(Number::Integer(count)),
        #[expect(clippy::cast_precision_loss, reason = "SQLite may store whole floats as integers")]
        (ValueRef::Integer(number), false) => Ok(Number::Float(number as f64)),
        (ValueRef::Real(number), false) => Ok(Number::Float(number)),
        _ => Err(nonsense(at, "number")),
    }
}

/// How many of something.
pub(super) fn count(row: &Row<'_>, at: usize) -> rusqlite::Result<u64> {
    row.get_ref(at)?.as_i64().ok().and_then(|n| u64::try_from(n).ok()).ok_or_else(|| nonsense(at, "count"))
}

/// The value of a column of this kind.
pub(super) fn value(row: &Row<'_>, at: usize, kind: Kind) -> rusqlite::Result<dataset::Value> {
    let value = match (kind, row.get_ref(at)?) {
        (_, ValueRef::Null) => Some(dataset::Value::Null),
        (Kind::Text, ValueRef::Text(text)) => {
            std::str::from_utf8(text).ok().map(|text| dataset::Value::Text(text.to_owned()))
        }
        (Kind::Instant, _) => Some(dataset::Value::Instant(time(row, at)?)),
        (Kind::Date, ValueRef::Text(text)) => {
            std::str::from_utf8(text).ok().and_then(Date::parse).map(dataset::Value::Date)
        }
        (Kind::Integer, ValueRef::Integer(number)) => Some(dataset::Value::Integer(number)),
        (Kind::Flag, ValueRef::Integer(flag)) => Some(dataset::Value::Flag(flag != 0)),
        (Kind::Float, ValueRef::Real(number)) => Some(dataset::Value::Float(number)),
        #[expect(clippy::cast_precision_loss, reason = "SQLite may store whole floats as integers")]
        (Kind::Float, ValueRef::Integer(number)) => Some(dataset::Value::Float(number as f64)),
        _ => None,
    };
    value.ok_or_else(|| nonsense(at, "value"))
}
