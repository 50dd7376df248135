//! From a GraphQL response to rows: pure functions from JSON text to text.
//!
//! Each root field becomes a table. Its rows are the items of its lists of objects, followed downwards: a channel with
//! 30 metrics makes 30 rows, each with the channel's columns before its own; a channel without metrics keeps one row.
//! Where two lists stand side by side, the larger makes the rows and the other is a cell of JSON. Column names are the
//! dotted path within the field. Relay's `nodes` and `edges` are transparent, and their connection's own fields
//! (`pageInfo`, `totalCount`) make no columns.

use std::fmt::Write;

use async_graphql::Value;
use async_graphql::indexmap::IndexMap;
use clap::ValueEnum;
use serde::Deserialize;

/// How an answer is printed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// The whole response, errors and extensions included.
    #[default]
    Json,
    /// For reading.
    Table,
    /// For other programs.
    Csv,
}

/// A finished answer.
#[derive(Debug, PartialEq, Eq)]
pub struct Rendered {
    /// For stdout.
    pub text: String,
    /// One line for each GraphQL error.
    pub errors: Vec<String>,
}

/// Why an answer cannot be printed.
#[derive(Debug, thiserror::Error)]
pub enum RenderError {
    /// The response is not a GraphQL response.
    #[error("it is no GraphQL response: {0}")]
    Json(#[from] serde_json::Error),
    /// The rows cannot be written as CSV.
    #[error("it does not fit into CSV: {0}")]
    Csv(#[from] csv::Error),
}

/// Renders the JSON text of a response.
///
/// # Errors
/// Text that is not a GraphQL response.
pub fn render(response: &str, format: Format) -> Result<Rendered, RenderError> {
    let parsed: Response = serde_json::from_str(response)?;
    let errors = parsed.errors.iter().map(ResponseError::to_line).collect();
    let text = match format {
        Format::Json => {
            let whole: Value = serde_json::from_str(response)?;
            serde_json::to_string_pretty(&whole)?
        }
        Format::Table => tables(&parsed.data).iter().map(Table::to_text).collect::<Vec<_>>().join("\n\n"),
        Format::Csv => {
            let tables = tables(&parsed.data);
            let parts: Result<Vec<_>, _> =
                tables.iter().filter(|table| !table.rows.is_empty()).map(Table::to_csv).collect();
            parts?.join("\n")
        }
    };
    Ok(Rendered { text, errors })
}

#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    data: Value,
    #[serde(default)]
    errors: Vec<ResponseError>,
}

#[derive(Deserialize)]
struct ResponseError {
    message: String,
    #[serde(default)]
    path: Vec<Value>,
    #[serde(default)]
    extensions: IndexMap<String, Value>,
}

impl ResponseError {
    /// `UNKNOWN_CHANNEL: no account serves it (at phoneNumberMetrics)`
    fn to_line(&self) -> String {
        let mut line = String::new();
        if let Some(Value::String(code)) = self.extensions.get("code") {
            line.push_str(code);
            line.push_str(": ");
        }
        line.push_str(&self.message);
        if !self.path.is_empty() {
            let path: Vec<String> = self.path.iter().map(cell).collect();
            line.push_str(" (at ");
            line.push_str(&path.join("."));
            line.push(')');
        }
        line
    }
}

type Object = IndexMap<async_graphql::Name, Value>;
/// Column name to text, in the order of appearance.
type Row = IndexMap<String, String>;

/// One root field.
struct Table {
    field: String,
    titled: bool,
    rows: Vec<Row>,
}

fn tables(data: &Value) -> Vec<Table> {
    let Value::Object(fields) = data else { return Vec::new() };
    fields
        .iter()
        .filter(|(_, value)| **value != Value::Null)
        .map(|(field, value)| Table { field: field.to_string(), titled: fields.len() > 1, rows: rows_of(field, value) })
        .collect()
}

fn rows_of(field: &str, value: &Value) -> Vec<Row> {
    let objects: Vec<&Object> = match value {
        Value::Object(object) => vec![object],
        Value::List(items) if items.is_empty() || is_object_list(items) => objects_in(items).collect(),
        Value::List(items) => return items.iter().map(|item| Row::from([(field.to_owned(), cell(item))])).collect(),
        scalar => return vec![Row::from([(field.to_owned(), cell(scalar))])],
    };
    let mut chain = Vec::new();
    let mut level = objects.clone();
    while let Some(path) = widest_list(&level) {
        level = level.iter().flat_map(|object| objects_at(object, &path)).collect();
        chain.push(path);
    }
    let mut rows = Vec::new();
    for object in objects {
        descend(object, &chain, "", &Row::new(), &mut rows);
    }
    rows
}

/// The keys from an object to a list of objects within it, through objects only.
type Path = Vec<String>;

/// The list of objects with the most items over all of `level`; of equals, the first.
fn widest_list(level: &[&Object]) -> Option<Path> {
    let mut sizes: IndexMap<Path, usize> = IndexMap::new();
    for object in level {
        count_lists(object, &mut Vec::new(), &mut sizes);
    }
    sizes.into_iter().rev().max_by_key(|(_, size)| *size).map(|(path, _)| path)
}

fn count_lists(object: &Object, path: &mut Path, sizes: &mut IndexMap<Path, usize>) {
    for (key, value) in object {
        path.push(key.to_string());
        match value {
            Value::Object(inner) => count_lists(inner, path, sizes),
            Value::List(items) if is_object_list(items) => {
                *sizes.entry(path.clone()).or_default() += objects_in(items).count();
            }
            _ => {}
        }
        path.pop();
    }
}

/// Adds the rows below `object`, each beginning with `base`.
fn descend(object: &Object, chain: &[Path], prefix: &str, base: &Row, rows: &mut Vec<Row>) {
    let mut row = base.clone();
    let Some((path, chain)) = chain.split_first() else {
        flatten(object, prefix, &[], &mut row);
        rows.push(row);
        return;
    };
    // A connection is a page of a list, not a thing with columns.
    let is_connection = matches!(path.last().map(String::as_str), Some("nodes" | "edges"));
    let shown = if is_connection { &path[..path.len() - 1] } else { path };
    if !shown.is_empty() {
        flatten(object, prefix, shown, &mut row);
    }
    let before = rows.len();
    let prefix = shown.iter().fold(prefix.to_owned(), |prefix, key| format!("{prefix}{key}."));
    for item in objects_at(object, path) {
        descend(item, chain, &prefix, &row, rows);
    }
    if rows.len() == before && !row.is_empty() {
        rows.push(row);
    }
}

/// Adds the columns of `object` but for what lies at `without`.
fn flatten(object: &Object, prefix: &str, without: &[String], row: &mut Row) {
    for (key, value) in object {
        let left_out = without.split_first().filter(|(first, _)| *first == key.as_str()).map(|(_, rest)| rest);
        match (value, left_out) {
            (_, Some([])) => {}
            (Value::Object(inner), rest) => {
                flatten(inner, &format!("{prefix}{key}."), rest.unwrap_or_default(), row);
            }
            (value, _) => {
                row.insert(format!("{prefix}{key}"), cell(value));
            }
        }
    }
}

fn objects_at<'a>(object: &'a Object, path: &[String]) -> Vec<&'a Object> {
    let Some((key, rest)) = path.split_first() else { return Vec::new() };
    match object.get(key.as_str()) {
        Some(Value::Object(inner)) => objects_at(inner, rest),
        Some(Value::List(items)) if rest.is_empty() => objects_in(items).collect(),
        _ => Vec::new(),
    }
}

fn objects_in(items: &[Value]) -> impl Iterator<Item = &Object> {
    items.iter().filter_map(|item| if let Value::Object(object) = item { Some(object) } else { None })
}

/// Nulls may stand among the objects: windows that failed.
fn is_object_list(items: &[Value]) -> bool {
    items.iter().any(|item| matches!(item, Value::Object(_)))
        && items.iter().all(|item| matches!(item, Value::Object(_) | Value::Null))
}

fn cell(value: &Value) -> String {
    match value {
        Value::Null => String::new(),
        Value::String(text) => text.clone(),
        other => serde_json::to_string(other).unwrap_or_default(),
    }
}

impl Table {
    fn columns(&self) -> Vec<&str> {
        let mut columns: IndexMap<&str, ()> = IndexMap::new();
        columns.extend(self.rows.iter().flat_map(|row| row.keys().map(|name| (name.as_str(), ()))));
        columns.into_keys().collect()
    }

    fn cells<'a>(row: &'a Row, columns: &'a [&str]) -> impl Iterator<Item = &'a str> {
        columns.iter().map(|name| row.get(*name).map_or("", String::as_str))
    }

    fn to_text(&self) -> String {
        let columns = self.columns();
        let mut text = String::new();
        if self.titled {
            let _never_fails = writeln!(text, "{}", self.field);
        }
        if self.rows.is_empty() {
            return text + "(no rows)";
        }
        let mut table = comfy_table::Table::new();
        table
            .load_preset(comfy_table::presets::UTF8_FULL_CONDENSED)
            .set_header(columns.iter().map(|name| printable(name)));
        for row in &self.rows {
            table.add_row(Self::cells(row, &columns).map(printable));
        }
        text + &table.to_string()
    }

    fn to_csv(&self) -> Result<String, csv::Error> {
        let columns = self.columns();
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&columns)?;
        for row in &self.rows {
            writer.write_record(Self::cells(row, &columns))?;
        }
        let bytes = writer.into_inner().map_err(|error| csv::Error::from(error.into_error()))?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }
}

/// A terminal obeys control characters, so none reaches it.
fn printable(text: &str) -> String {
    text.chars().map(|letter| if letter.is_control() { '\u{fffd}' } else { letter }).collect()
}

#[cfg(test)]
mod tests;
