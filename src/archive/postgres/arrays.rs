//! Values on their way to PostgreSQL: columns of a statement, each as one array, so that a statement takes any number of rows.

use jiff::ToSpan;
use jiff::civil;
use tokio_postgres::types::ToSql;

use super::super::tables::key_values;
use super::schema::DIALECT;
use crate::domain::dataset::{Cell, Column, Kind};
use crate::domain::{ArchiveKey, Timestamp, Window};

/// A parameter of a statement.
pub(super) type Value<'v> = &'v (dyn ToSql + Sync);

/// What is asked about: keys, each with a span of time. A statement joins them as `w`.
#[derive(Debug, Default)]
pub(super) struct Spans<'a> {
    n: Vec<i32>,
    account: Vec<&'a str>,
    entity: Vec<&'a str>,
    kind: Vec<&'a str>,
    from: Vec<jiff::Timestamp>,
    to: Vec<jiff::Timestamp>,
    name: Vec<Option<&'a str>>,
    /// Until when what is there was fetched, where that matters.
    until: Vec<jiff::Timestamp>,
    /// By how much a count grows, where it does.
    growth: Vec<i64>,
}

/// What a statement about [`Spans`] begins its FROM with.
pub(super) const WANTED: &str = "unnest($1::int4[], $2::text[], $3::text[], $4::text[], $5::timestamptz[], \
     $6::timestamptz[], $7::text[], $8::timestamptz[], $9::int8[]) \
     AS w(n, account, entity, kind, from_time, to_time, name, until, growth)";
/// How the values of a key are spelled in it.
pub(super) const KEY: [&str; 3] = ["w.account", "w.entity", "w.kind"];

impl<'a> Spans<'a> {
    /// Adds a span, which answers to `n`.
    pub(super) fn push(&mut self, n: usize, key: &'a ArchiveKey, window: Window) {
        let [account, entity, kind] = key_values(key);
        self.n.push(i32::try_from(n).unwrap_or(i32::MAX));
        self.account.push(account);
        self.entity.push(entity);
        self.kind.push(kind);
        self.from.push(window.start().to_jiff());
        self.to.push(window.end().to_jiff());
        self.name.push(key.name.as_deref());
        self.until.push(jiff::Timestamp::UNIX_EPOCH);
        self.growth.push(0);
    }

    /// Adds a span of which something goes that was fetched until then.
    pub(super) fn push_until(&mut self, key: &'a ArchiveKey, window: Window, until: Timestamp) {
        self.push(0, key, window);
        self.until.pop();
        self.until.push(until.to_jiff());
    }

    /// Adds a slice that has so many rows more.
    pub(super) fn push_growth(&mut self, key: &'a ArchiveKey, window: Window, growth: i64) {
        self.push(0, key, window);
        self.growth.pop();
        self.growth.push(growth);
    }

    pub(super) fn is_empty(&self) -> bool {
        self.n.is_empty()
    }

    pub(super) fn values(&self) -> [Value<'_>; 9] {
        let Self { n, account, entity, kind, from, to, name, until, growth } = self;
        [n, account, entity, kind, from, to, name, until, growth]
    }
}

/// A column of rows that are to be inserted.
#[derive(Debug)]
enum Array<'a> {
    Text(Vec<Option<&'a str>>),
    Instant(Vec<Option<jiff::Timestamp>>),
    Date(Vec<Option<civil::Date>>),
    Integer(Vec<Option<i64>>),
    Float(Vec<Option<f64>>),
    Flag(Vec<Option<bool>>),
}

/// Rows that are to be inserted, column by column.
#[derive(Debug)]
pub(super) struct Rows<'a> {
    columns: Vec<Column>,
    arrays: Vec<Array<'a>>,
    len: usize,
}

impl<'a> Rows<'a> {
    pub(super) fn new(columns: &[Column]) -> Self {
        let array = |column: &Column| match column.kind {
            Kind::Text => Array::Text(Vec::new()),
            Kind::Instant => Array::Instant(Vec::new()),
            Kind::Date => Array::Date(Vec::new()),
            Kind::Integer => Array::Integer(Vec::new()),
            Kind::Float => Array::Float(Vec::new()),
            Kind::Flag => Array::Flag(Vec::new()),
        };
        Self { columns: columns.to_vec(), arrays: columns.iter().map(array).collect(), len: 0 }
    }

    /// Adds a row, whose cells are in the order of the columns. What does not fit its column is null.
    pub(super) fn push(&mut self, cells: impl IntoIterator<Item = Cell<'a>>) {
        let mut cells = cells.into_iter();
        for array in &mut self.arrays {
            let cell = cells.next().unwrap_or(Cell::Null);
            match array {
                Array::Text(to) => to.push(if let Cell::Text(text) = cell { Some(text) } else { None }),
                Array::Instant(to) => to.push(if let Cell::Instant(at) = cell { Some(at.to_jiff()) } else { None }),
                Array::Date(to) => to.push(if let Cell::Date(date) = cell { civil_date(date.days()) } else { None }),
                Array::Integer(to) => to.push(if let Cell::Integer(n) = cell { Some(n) } else { None }),
                Array::Float(to) => to.push(if let Cell::Float(n) = cell { Some(n) } else { None }),
                Array::Flag(to) => to.push(if let Cell::Flag(flag) = cell { Some(flag) } else { None }),
            }
        }
        self.len += 1;
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    /// The names of the columns, as a list.
    pub(super) fn names(&self) -> String {
        let names: Vec<&str> = self.columns.iter().map(|column| column.name).collect();
        names.join(", ")
    }

    /// What a statement about the rows begins its FROM with: they are called `u`.
    pub(super) fn source(&self) -> String {
        let array = |(at, column): (usize, &Column)| format!("${}::{}[]", at + 1, (DIALECT.type_of)(column.kind));
        let arrays: Vec<String> = self.columns.iter().enumerate().map(array).collect();
        format!("unnest({}) AS u({})", arrays.join(", "), self.names())
    }

    pub(super) fn values(&self) -> Vec<Value<'_>> {
        self.arrays.iter().map(Array::value).collect()
    }
}

impl Array<'_> {
    fn value(&self) -> Value<'_> {
        match self {
            Self::Text(values) => values,
            Self::Instant(values) => values,
            Self::Date(values) => values,
            Self::Integer(values) => values,
            Self::Float(values) => values,
            Self::Flag(values) => values,
        }
    }
}

fn civil_date(days: i32) -> Option<civil::Date> {
    civil::date(1970, 1, 1).checked_add(i64::from(days).days()).ok()
}
