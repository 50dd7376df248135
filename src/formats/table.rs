//! Whole tables in files and out of them again: CSV and Parquet, without anything made for people. What is read has the
//! types of its columns, or is refused.

use std::fs::File;
use std::io::{BufReader, BufWriter, Write as _};
use std::path::Path;

use parquet::file::reader::{FileReader as _, SerializedFileReader};
use parquet::record::Field;

use super::parquet::ParquetWriter;
use super::values::Values;
use crate::domain::Timestamp;
use crate::domain::calendar::Date;
use crate::domain::dataset::{Cell, Column, Kind, Value};

/// How a table is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum TableFormat {
    /// Apache Parquet.
    Parquet,
    /// RFC 4180; nothing is null, and so is text that may be.
    Csv,
}

impl TableFormat {
    /// How the names of its files end.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Parquet => "parquet",
            Self::Csv => "csv",
        }
    }
}

/// Writes rows to a new file, which is there when it is complete.
///
/// # Errors
/// What the disk says.
pub fn write(path: &Path, format: TableFormat, columns: &[Column], rows: &[Vec<Value>]) -> Result<(), String> {
    let folder = path.parent().unwrap_or(Path::new("."));
    std::fs::create_dir_all(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = tempfile::NamedTempFile::new_in(folder).map_err(|error| wrong(&error))?;
    let cell = |row: usize, nth: usize| rows.get(row).and_then(|row| row.get(nth)).map_or(Cell::Null, Value::cell);
    match format {
        TableFormat::Parquet => {
            let mut writer = ParquetWriter::new(columns, BufWriter::new(&file)).map_err(|error| wrong(&error))?;
            writer.cells(0..rows.len(), |row, nth, _| cell(row, nth)).map_err(|error| wrong(&error))?;
            let mut out = writer.finish().map_err(|error| wrong(&error))?;
            out.flush().map_err(|error| wrong(&error))?;
        }
        TableFormat::Csv => {
            let mut lines = csv::WriterBuilder::new().from_writer(BufWriter::new(&file));
            lines.write_record(columns.iter().map(|column| column.name)).map_err(|error| wrong(&error))?;
            let (mut values, mut field) = (Values::default(), Vec::new());
            for row in 0..rows.len() {
                for nth in 0..columns.len() {
                    field.clear();
                    values.write(cell(row, nth), &mut field);
                    lines.write_field(&field).map_err(|error| wrong(&error))?;
                }
                lines.write_record(None::<&[u8]>).map_err(|error| wrong(&error))?;
            }
            lines.flush().map_err(|error| wrong(&error))?;
        }
    }
    file.as_file().sync_all().map_err(|error| wrong(&error))?;
    file.persist(path).map_err(|error| wrong(&error.error))?;
    Ok(())
}

/// Reads the rows of a file, by the names of its columns; columns that it has beside are left out.
///
/// # Errors
/// A file that cannot be read, that lacks a column, or a value that is not of its column's type.
pub fn read(path: &Path, columns: &[Column]) -> Result<Vec<Vec<Value>>, String> {
    let wrong = |error: &dyn std::fmt::Display| format!("{}: {error}", path.display());
    let file = File::open(path).map_err(|error| wrong(&error))?;
    if path.extension().is_some_and(|extension| extension == "csv") {
        let mut reader = csv::ReaderBuilder::new().from_reader(BufReader::new(file));
        let header = reader.headers().map_err(|error| wrong(&error))?.clone();
        let places =
            places(columns, |name| header.iter().position(|own| own == name)).map_err(|error| wrong(&error))?;
        let row = |record: Result<csv::StringRecord, csv::Error>| {
            let record = record.map_err(|error| wrong(&error))?;
            let value = |(column, at): (&Column, &usize)| of_text(column, record.get(*at).unwrap_or_default());
            columns.iter().zip(&places).map(value).collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))
        };
        return reader.records().map(row).collect();
    }
    let reader = SerializedFileReader::new(file).map_err(|error| wrong(&error))?;
    let schema = reader.metadata().file_metadata().schema_descr();
    let named: Vec<String> = (0..schema.num_columns()).map(|at| schema.column(at).name().to_owned()).collect();
    let places = places(columns, |name| named.iter().position(|own| own == name)).map_err(|error| wrong(&error))?;
    let rows = reader.get_row_iter(None).map_err(|error| wrong(&error))?;
    let row = |row: Result<parquet::record::Row, _>| {
        let row = row.map_err(|error| wrong(&error))?;
        let fields: Vec<&Field> = row.get_column_iter().map(|(_, field)| field).collect();
        let value = |(column, at): (&Column, &usize)| of_field(column, fields.get(*at).copied());
        columns.iter().zip(&places).map(value).collect::<Result<Vec<_>, _>>().map_err(|error| wrong(&error))
    };
    rows.map(row).collect()
}

fn places(columns: &[Column], place: impl Fn(&str) -> Option<usize>) -> Result<Vec<usize>, String> {
    let found = |column: &Column| place(column.name).ok_or_else(|| format!("there is no column `{}`", column.name));
    columns.iter().map(found).collect()
}

fn of_text(column: &Column, text: &str) -> Result<Value, String> {
    if text.is_empty() && column.is_nullable {
        return Ok(Value::Null);
    }
    let value = match column.kind {
        Kind::Text => Some(Value::Text(text.to_owned())),
        Kind::Instant => Timestamp::parse_rfc3339(text).ok().map(Value::Instant),
        Kind::Date => Date::parse(text).map(Value::Date),
        Kind::Integer => text.parse().ok().map(Value::Integer),
        Kind::Float => text.parse().ok().filter(|number: &f64| number.is_finite()).map(Value::Float),
        Kind::Flag => text.parse().ok().map(Value::Flag),
    };
    value.ok_or_else(|| not_one(column))
}

fn of_field(column: &Column, field: Option<&Field>) -> Result<Value, String> {
    let value = match (column.kind, field) {
        (_, Some(Field::Null)) if column.is_nullable => Some(Value::Null),
        (Kind::Text, Some(Field::Str(text))) => Some(Value::Text(text.clone())),
        (Kind::Instant, Some(Field::TimestampMillis(ms))) => Some(Value::Instant(Timestamp::from_ms(*ms))),
        (Kind::Date, Some(Field::Date(days))) => Date::of_days(*days).map(Value::Date),
        (Kind::Integer, Some(Field::Long(number))) => Some(Value::Integer(*number)),
        (Kind::Float, Some(Field::Double(number))) => {
            Some(*number).filter(|number| number.is_finite()).map(Value::Float)
        }
        (Kind::Flag, Some(Field::Bool(flag))) => Some(Value::Flag(*flag)),
        _ => None,
    };
    value.ok_or_else(|| not_one(column))
}

/// Without the value, which may be a phone number.
fn not_one(column: &Column) -> String {
    format!("a value of `{}` is no {}", column.name, column.kind.as_str())
}
