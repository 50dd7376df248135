//! Rows as a table for people.

use comfy_table::presets::UTF8_FULL_CONDENSED;

use super::values::Values;
use crate::query::pull::{Batch, Column};

/// The rows in a frame, as a terminal shows them.
#[must_use]
pub fn to_table(columns: &[Column], batches: &[Batch]) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(UTF8_FULL_CONDENSED).set_header(columns.iter().map(|column| column.name));
    let mut values = Values::default();
    for batch in batches {
        for row in 0..batch.len() {
            table.add_row(columns.iter().map(|column| {
                let mut text = Vec::new();
                values.write(batch.cell(row, column.field), &mut text);
                printable(&String::from_utf8_lossy(&text))
            }));
        }
    }
    table.to_string()
}

/// A terminal obeys control characters, so none reaches it.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}
