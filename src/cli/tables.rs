//! From answers to tables and CSV: pure functions from JSON to text.
//!
//! Each root field becomes a table. Its rows are the items of its lists of objects, followed downwards: a channel with
//! 30 metrics makes 30 rows, each with the channel's columns before its own; a channel without metrics keeps one row.
//! Where two lists stand side by side, the larger makes the rows and the other is a cell of JSON. Column names are the
//! dotted path within the field. Relay's `nodes` and `edges` are transparent, and their connection's own fields
//! (`pageInfo`, `totalCount`) make no columns. Where there is no row, the query says what the columns are.

use async_graphql::Value;
use async_graphql::indexmap::IndexMap;
use serde::Deserialize;

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

/// A response.
#[derive(Debug, Deserialize)]
pub struct Response {
    /// What each root field answered.
    #[serde(default)]
    pub data: Value,
    #[serde(default)]
    errors: Vec<ResponseError>,
}

impl Response {
    /// Reads the JSON text of a response.
    ///
    /// # Errors
    /// Text that is not a GraphQL response.
    pub fn read(text: &str) -> Result<Self, RenderError> {
        Ok(serde_json::from_str(text)?)
    }

    /// One line for each GraphQL error.
    #[must_use]
    pub fn error_lines(&self) -> Vec<String> {
        self.errors.iter().map(ResponseError::to_line).collect()
    }
}

/// What a query selects: where there is no row, this says what its columns would be.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Shape {
    /// The key in the answer.
    pub key: String,
    /// What is selected of it; empty for what has no fields.
    pub fields: Vec<Self>,
}

impl Shape {
    fn field(&self, key: &str) -> Option<&Self> {
        self.fields.iter().find(|field| field.key == key)
    }

    /// Adds the columns below it, named from `prefix` on.
    fn columns(&self, prefix: &str, columns: &mut Vec<String>) {
        let page = ["nodes", "edges"].iter().filter_map(|key| self.field(key)).find(|list| !list.fields.is_empty());
        if let Some(page) = page {
            return page.columns(prefix, columns);
        }
        for field in &self.fields {
            let name = format!("{prefix}{}", field.key);
            if field.fields.is_empty() { columns.push(name) } else { field.columns(&format!("{name}."), columns) }
        }
    }
}

/// The whole response, errors and extensions included.
///
/// # Errors
/// Text that is not JSON.
pub fn to_json(response: &str) -> Result<String, RenderError> {
    let whole: Value = serde_json::from_str(response)?;
    Ok(serde_json::to_string_pretty(&whole)?)
}

/// The rows of a response for reading; `query` says what was selected.
#[must_use]
pub fn to_text(data: &Value, query: &Shape) -> String {
    tables(data, query).iter().map(Table::to_text).collect::<Vec<_>>().join("\n\n")
}

/// The rows of a response for other programs.
///
/// # Errors
/// Rows that cannot be written.
pub fn to_csv(data: &Value, query: &Shape) -> Result<String, RenderError> {
    let parts: Result<Vec<_>, _> = tables(data, query).iter().map(Table::to_csv).collect();
    Ok(parts?.join("\n"))
}

/// Flat rows, as `/rows` has them in JSON, for reading.
///
/// # Errors
/// Text that is something else.
pub fn of_rows(json: &[u8]) -> Result<String, RenderError> {
    #[derive(Deserialize)]
    struct Flat {
        columns: Vec<String>,
        rows: Vec<IndexMap<String, Value>>,
    }
    let flat: Flat = serde_json::from_slice(json)?;
    let cells = |row: &IndexMap<String, Value>| {
        flat.columns.iter().map(|name| row.get(name).map_or_else(String::new, cell)).collect::<Vec<_>>()
    };
    Ok(frame(&flat.columns, flat.rows.iter().map(cells)))
}

fn frame(columns: &[String], rows: impl Iterator<Item = Vec<String>>) -> String {
    let mut table = comfy_table::Table::new();
    table.load_preset(comfy_table::presets::UTF8_FULL_CONDENSED).set_header(columns.iter().map(|name| printable(name)));
    for row in rows {
        table.add_row(row.iter().map(|text| printable(text)));
    }
    table.to_string()
}

#[derive(Debug, Deserialize)]
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
    columns: Vec<String>,
    rows: Vec<Row>,
}

fn tables(data: &Value, query: &Shape) -> Vec<Table> {
    let Value::Object(fields) = data else { return Vec::new() };
    let none = Shape::default();
    let table = |(field, value): (&async_graphql::Name, &Value)| {
        let (columns, rows) = rows_of(field, value, query.field(field).unwrap_or(&none));
        Table { field: field.to_string(), titled: fields.len() > 1, columns, rows }
    };
    fields.iter().filter(|(_, value)| **value != Value::Null).map(table).collect()
}

fn rows_of(field: &str, value: &Value, shape: &Shape) -> (Vec<String>, Vec<Row>) {
    let objects: Vec<&Object> = match value {
        Value::Object(object) => vec![object],
        Value::List(items) if is_object_list(items, Some(shape)) => objects_in(items).collect(),
        Value::List(items) => {
            let rows = items.iter().map(|item| Row::from([(field.to_owned(), cell(item))]));
            return (vec![field.to_owned()], rows.collect());
        }
        scalar => return (vec![field.to_owned()], vec![Row::from([(field.to_owned(), cell(scalar))])]),
    };
    let (mut chain, mut below) = (Vec::new(), Some(shape));
    let mut level = objects.clone();
    while let Some(path) = widest_list(&level, below) {
        level = level.iter().flat_map(|object| objects_at(object, &path)).collect();
        below = path.iter().try_fold(below, |shape, key| Some(shape?.field(key))).flatten();
        chain.push(path);
    }
    let mut rows = Vec::new();
    for object in objects {
        descend(object, &chain, "", &Row::new(), &mut rows);
    }
    let mut columns: IndexMap<String, ()> = rows.iter().flat_map(Row::keys).map(|name| (name.clone(), ())).collect();
    if level.is_empty() {
        let mut selected = Vec::new();
        shape.columns("", &mut selected);
        columns.extend(selected.into_iter().map(|name| (name, ())));
    }
    (columns.into_keys().collect(), rows)
}

/// The keys from an object to a list of objects within it, through objects only.
type Path = Vec<String>;

/// The list of objects with the most items over all of `level`; of equals, the first.
fn widest_list(level: &[&Object], shape: Option<&Shape>) -> Option<Path> {
    let mut sizes: IndexMap<Path, usize> = IndexMap::new();
    for object in level {
        count_lists(object, shape, &mut Vec::new(), &mut sizes);
    }
    sizes.into_iter().rev().max_by_key(|(_, size)| *size).map(|(path, _)| path)
}

fn count_lists(object: &Object, shape: Option<&Shape>, path: &mut Path, sizes: &mut IndexMap<Path, usize>) {
    for (key, value) in object {
        path.push(key.to_string());
        let below = shape.and_then(|shape| shape.field(key));
        match value {
            Value::Object(inner) => count_lists(inner, below, path, sizes),
            Value::List(items) if is_object_list(items, below) => {
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

/// Nulls may stand among the objects: windows that failed. Of an empty list the query knows what would be in it.
fn is_object_list(items: &[Value], shape: Option<&Shape>) -> bool {
    if items.is_empty() {
        return shape.is_some_and(|shape| !shape.fields.is_empty());
    }
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
    fn cells(&self, row: &Row) -> Vec<String> {
        self.columns.iter().map(|name| row.get(name).cloned().unwrap_or_default()).collect()
    }

    fn to_text(&self) -> String {
        let title = if self.titled { format!("{}\n", self.field) } else { String::new() };
        title + &frame(&self.columns, self.rows.iter().map(|row| self.cells(row)))
    }

    fn to_csv(&self) -> Result<String, csv::Error> {
        let mut writer = csv::Writer::from_writer(Vec::new());
        writer.write_record(&self.columns)?;
        for row in &self.rows {
            writer.write_record(self.cells(row))?;
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
