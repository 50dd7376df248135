//! Flat rows as CSV, JSON, JSON lines and Parquet: what each door writes, whoever asked.

mod delimited;
mod json;
mod parquet;
pub mod table;
mod values;

use std::ops::Range;

use serde_json::{Map, Value, json};

pub use parquet::{ParquetError, ParquetWriter};

use crate::domain::dataset::Column;
use crate::domain::{RequestCost, Vendor};
use crate::error::WeirError;
use crate::query::pull::{Batch, Pull};
use delimited::Csv;
use json::Json;

/// How rows are written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Format {
    /// RFC 4180, with a header, safe for spreadsheets.
    Csv,
    /// One object with all rows.
    Json,
    /// An object a line.
    Jsonl,
    /// Apache Parquet.
    Parquet,
}

impl Format {
    /// All of them.
    pub const ALL: [Self; 4] = [Self::Csv, Self::Json, Self::Jsonl, Self::Parquet];

    /// Its name, and the ending of its files.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Csv => "csv",
            Self::Json => "json",
            Self::Jsonl => "jsonl",
            Self::Parquet => "parquet",
        }
    }

    /// The format of this name.
    #[must_use]
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|format| format.as_str() == name)
    }

    /// Its media type.
    #[must_use]
    pub const fn media_type(self) -> &'static str {
        match self {
            Self::Csv => "text/csv; charset=utf-8; header=present",
            Self::Json => "application/json; charset=utf-8",
            Self::Jsonl => "application/jsonl; charset=utf-8",
            Self::Parquet => "application/vnd.apache.parquet",
        }
    }

    /// Whether the answer to `pull` can be written so.
    ///
    /// # Errors
    /// A mark for Excel where there is no CSV.
    pub fn check(self, pull: &Pull) -> Result<(), WeirError> {
        if pull.has_bom() && self != Self::Csv {
            return Err(WeirError::bad_input("bom marks CSV for Excel; other formats have none"));
        }
        Ok(())
    }
}

/// What stands after the last row.
#[derive(Debug, Clone, Default)]
pub struct Trailer {
    /// The cursor of the next page.
    pub next: Option<String>,
    /// What the rows have cost.
    pub weir: Value,
}

impl Trailer {
    /// The cursor of the next page, and the cost by the names of `extensions.weir`.
    #[must_use]
    pub fn new(next: Option<String>, cost: &RequestCost) -> Self {
        let calls: Map<_, _> =
            Vendor::ALL.into_iter().map(|vendor| (vendor.as_str().to_owned(), json!(cost.calls(vendor)))).collect();
        let weir = json!({
            "upstreamCalls": calls,
            "cacheHits": cost.cache_hits(),
            "collapsed": cost.collapsed(),
            "queueWaitMs": cost.queue_wait_ms(),
        });
        Self { next, weir }
    }
}

/// Writes rows as text, piece by piece: [`begin`](Self::begin), then rows, then [`end`](Self::end).
#[derive(Debug)]
pub struct TextWriter {
    columns: Vec<Column>,
    kind: Kind,
}

#[derive(Debug)]
enum Kind {
    Csv(Csv),
    Json(Json),
}

impl TextWriter {
    /// A writer of `columns`; `None` for [`Format::Parquet`], which is no text. `bom` marks CSV for Excel.
    #[must_use]
    pub fn new(format: Format, columns: Vec<Column>, bom: bool) -> Option<Self> {
        let kind = match format {
            Format::Csv => Kind::Csv(Csv::new(bom)),
            Format::Json => Kind::Json(Json::new(&columns, true)),
            Format::Jsonl => Kind::Json(Json::new(&columns, false)),
            Format::Parquet => return None,
        };
        Some(Self { columns, kind })
    }

    /// What stands before the first row.
    pub fn begin(&mut self, out: &mut Vec<u8>) {
        match &mut self.kind {
            Kind::Csv(csv) => csv.begin(&self.columns, out),
            Kind::Json(json) => json.begin(&self.columns, out),
        }
    }

    /// Some rows of a batch.
    pub fn rows(&mut self, batch: &Batch, rows: Range<usize>, out: &mut Vec<u8>) {
        match &mut self.kind {
            Kind::Csv(csv) => csv.rows(&self.columns, batch, rows, out),
            Kind::Json(json) => json.rows(&self.columns, batch, rows, out),
        }
    }

    /// What stands after the last row.
    pub fn end(&mut self, trailer: &Trailer, out: &mut Vec<u8>) {
        match &mut self.kind {
            Kind::Csv(_) => {}
            Kind::Json(json) => json.end(&self.columns, trailer, out),
        }
    }
}
