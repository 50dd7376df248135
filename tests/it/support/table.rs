//! What stands in a table of a SQLite archive.

use std::path::Path;

use rusqlite::{Connection, Row};

/// All rows of a table as text, in order.
pub(crate) fn rows(path: &Path, table: &str) -> Vec<String> {
    let file = Connection::open(path).unwrap();
    let mut statement = file.prepare(&format!("SELECT * FROM {table}")).unwrap();
    let columns = statement.column_count();
    let row = |row: &Row<'_>| {
        let values = (0..columns).map(|at| row.get_ref(at).map(|value| format!("{value:?}")));
        Ok(values.collect::<Result<Vec<_>, _>>()?.join(" "))
    };
    let mut rows: Vec<String> = statement.query_map([], row).unwrap().map(Result::unwrap).collect();
    rows.sort();
    rows
}
