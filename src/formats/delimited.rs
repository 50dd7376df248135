//! CSV as RFC 4180 has it: a header always, CRLF, quotes where they are needed.
//!
//! Spreadsheets take text that begins with `=`, `+`, `-`, `@`, a tab or a return for a formula. Such text gets a leading
//! apostrophe, as they write it themselves.

use std::ops::Range;

use super::values::Values;
use crate::domain::dataset::{Cell, Column};
use crate::query::pull::Batch;

/// What Excel takes for "this is UTF-8".
const BOM: &[u8] = b"\xef\xbb\xbf";

/// Writes CSV.
#[derive(Debug)]
pub(super) struct Csv {
    bom: bool,
    values: Values,
    /// The field that is written.
    field: Vec<u8>,
}

impl Csv {
    pub(super) fn new(bom: bool) -> Self {
        Self { bom, values: Values::default(), field: Vec::new() }
    }

    pub(super) fn begin(&mut self, columns: &[Column], out: &mut Vec<u8>) {
        if self.bom {
            out.extend_from_slice(BOM);
        }
        let mut lines = lines(out);
        // Writing into memory does not fail.
        let _never_fails = lines.write_record(columns.iter().map(|column| column.name));
        let _never_fails = lines.flush();
    }

    pub(super) fn rows(&mut self, columns: &[Column], batch: &Batch, rows: Range<usize>, out: &mut Vec<u8>) {
        let mut lines = lines(out);
        for row in rows {
            for column in columns {
                let _never_fails = match batch.cell(row, column.field) {
                    Cell::Null => lines.write_field(b""),
                    Cell::Text(text) if !is_formula(text) => lines.write_field(text),
                    cell => {
                        self.field.clear();
                        if let Cell::Text(_) = cell {
                            self.field.push(b'\'');
                        }
                        self.values.write(cell, &mut self.field);
                        lines.write_field(&self.field)
                    }
                };
            }
            let _never_fails = lines.write_record(None::<&[u8]>);
        }
        let _never_fails = lines.flush();
    }
}

fn lines(out: &mut Vec<u8>) -> csv::Writer<&mut Vec<u8>> {
    csv::WriterBuilder::new().terminator(csv::Terminator::CRLF).flexible(true).has_headers(false).from_writer(out)
}

/// Whether a spreadsheet would run it.
fn is_formula(text: &str) -> bool {
    text.starts_with(['=', '+', '-', '@', '\t', '\r'])
}
