//! Values as every textual format writes them: numbers as JSON has them, instants and dates as ISO 8601.

use serde::Serialize;

use crate::domain::calendar::Date;
use crate::domain::dataset::Cell;
use crate::domain::rfc3339::InstantWriter;

/// Writes one value after the other; neighbours share much of their text.
#[derive(Debug, Default)]
pub(super) struct Values {
    instants: InstantWriter,
    /// The last date written, and its text.
    date: Option<(Date, String)>,
}

impl Values {
    /// Appends the value without quotes; nothing for null.
    pub(super) fn write(&mut self, cell: Cell<'_>, out: &mut Vec<u8>) {
        match cell {
            Cell::Null => {}
            Cell::Text(text) => out.extend_from_slice(text.as_bytes()),
            Cell::Instant(at) => self.instants.write(at, out),
            Cell::Date(date) => {
                if self.date.as_ref().is_none_or(|(known, _)| *known != date) {
                    self.date = Some((date, date.to_string()));
                }
                out.extend_from_slice(self.date.as_ref().map_or(&[], |(_, text)| text.as_bytes()));
            }
            Cell::Integer(number) => json(&number, out),
            Cell::Float(number) => json(&number, out),
            Cell::Flag(flag) => json(&flag, out),
        }
    }
}

/// A value as JSON.
pub(super) fn json(value: &(impl Serialize + ?Sized), out: &mut Vec<u8>) {
    // Texts and numbers have a form, and writing into memory does not fail.
    let _never_fails = serde_json::to_writer(out, value);
}
