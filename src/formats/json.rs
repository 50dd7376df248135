//! Rows as JSON: one object with all of them, or an object a line.

use std::ops::Range;

use serde_json::{Value, json};

use super::Trailer;
use super::values::{self, Values};
use crate::domain::dataset::{Cell, Column};
use crate::query::pull::Batch;

/// Writes JSON.
#[derive(Debug)]
pub(super) struct Json {
    /// The names of the columns, with what stands before and after them.
    keys: Vec<String>,
    /// Whether all rows are in one object.
    is_one: bool,
    is_first: bool,
    values: Values,
}

impl Json {
    pub(super) fn new(columns: &[Column], is_one: bool) -> Self {
        let key = |(at, column): (usize, &Column)| format!("{}\"{}\":", if at == 0 { '{' } else { ',' }, column.name);
        let keys = columns.iter().enumerate().map(key).collect();
        Self { keys, is_one, is_first: true, values: Values::default() }
    }

    pub(super) fn begin(&mut self, columns: &[Column], out: &mut Vec<u8>) {
        if self.is_one {
            let names: Vec<&str> = columns.iter().map(|column| column.name).collect();
            out.extend_from_slice(b"{\"columns\":");
            values::json(&names, out);
            out.extend_from_slice(b",\"rows\":[");
        }
    }

    pub(super) fn rows(&mut self, columns: &[Column], batch: &Batch, rows: Range<usize>, out: &mut Vec<u8>) {
        for row in rows {
            if self.is_one {
                out.extend_from_slice(if std::mem::take(&mut self.is_first) { b"\n" } else { b",\n" });
            }
            for (key, column) in self.keys.iter().zip(columns) {
                out.extend_from_slice(key.as_bytes());
                match batch.cell(row, column.field) {
                    Cell::Null => out.extend_from_slice(b"null"),
                    Cell::Text(text) => values::json(text, out),
                    cell @ (Cell::Instant(_) | Cell::Date(_)) => {
                        out.push(b'"');
                        self.values.write(cell, out);
                        out.push(b'"');
                    }
                    cell => self.values.write(cell, out),
                }
            }
            out.extend_from_slice(if self.is_one { b"}" } else { b"}\n" });
        }
    }

    pub(super) fn end(&mut self, columns: &[Column], trailer: &Trailer, out: &mut Vec<u8>) {
        if !self.is_one {
            return;
        }
        let types: serde_json::Map<String, Value> =
            columns.iter().map(|column| (column.name.to_owned(), json!(column.kind.as_str()))).collect();
        let mut weir = trailer.weir.clone();
        if let Some(weir) = weir.as_object_mut() {
            weir.insert("types".to_owned(), Value::Object(types));
        }
        out.extend_from_slice(b"\n],\"next\":");
        values::json(&trailer.next, out);
        out.extend_from_slice(b",\"weir\":");
        values::json(&weir, out);
        out.extend_from_slice(b"}\n");
    }
}
