//! Rows as Apache Parquet: each column with its own type, whatever the rows say, and even if there are none.

use std::io::Write;
use std::ops::Range;
use std::sync::Arc;

use parquet::basic::{Compression, LogicalType, Repetition, TimeUnit, Type as Physical};
use parquet::column::writer::ColumnWriter;
use parquet::data_type::ByteArray;
pub use parquet::errors::ParquetError;
use parquet::file::properties::WriterProperties;
use parquet::file::writer::SerializedFileWriter;
use parquet::schema::types::Type;

use crate::domain::dataset::{Cell, Column, Kind};
use crate::query::pull::Batch;

/// Rows that are held back until they are written together: readers skip and share out work by such groups.
const GROUP_ROWS: usize = 100_000;

/// Writes rows to a file: [`rows`](Self::rows), then [`finish`](Self::finish), without which there is no file.
pub struct ParquetWriter<W: Write + Send> {
    file: SerializedFileWriter<W>,
    columns: Vec<(Column, Values)>,
    /// Rows that are held back.
    held: usize,
}

/// What is held back of a column, without its nulls.
#[derive(Debug)]
struct Values {
    values: Typed,
    /// For each row 1, or 0 where it has none; only where there may be none.
    levels: Option<Vec<i16>>,
}

#[derive(Debug)]
enum Typed {
    Text(Vec<ByteArray>),
    Int64(Vec<i64>),
    Int32(Vec<i32>),
    Float(Vec<f64>),
    Flag(Vec<bool>),
}

impl<W: Write + Send> ParquetWriter<W> {
    /// A file of `columns` that goes to `out`.
    ///
    /// # Errors
    /// What `out` cannot take.
    pub fn new(columns: &[Column], out: W) -> Result<Self, ParquetError> {
        let fields = columns.iter().map(field).collect::<Result<_, _>>()?;
        let schema = Type::group_type_builder("rows").with_fields(fields).build()?;
        let properties = WriterProperties::builder()
            .set_compression(Compression::SNAPPY)
            .set_created_by(concat!("weir ", env!("CARGO_PKG_VERSION")).to_owned());
        let file = SerializedFileWriter::new(out, Arc::new(schema), Arc::new(properties.build()))?;
        let columns = columns.iter().map(|column| (*column, Values::of(column))).collect();
        Ok(Self { file, columns, held: 0 })
    }

    /// Some rows of a batch.
    ///
    /// # Errors
    /// What `out` cannot take.
    pub fn rows(&mut self, batch: &Batch, rows: Range<usize>) -> Result<(), ParquetError> {
        self.cells(rows, |row, _, column| batch.cell(row, column.field))
    }

    /// Some rows: `cell` tells what each holds in the nth column.
    ///
    /// # Errors
    /// What `out` cannot take.
    pub fn cells<'a>(
        &mut self,
        rows: Range<usize>,
        cell: impl Fn(usize, usize, &Column) -> Cell<'a>,
    ) -> Result<(), ParquetError> {
        let mut from = rows.start;
        while from < rows.end {
            let to = rows.end.min(from + GROUP_ROWS - self.held);
            for (nth, (column, values)) in self.columns.iter_mut().enumerate() {
                values.extend((from..to).map(|row| cell(row, nth, column)));
            }
            self.held += to - from;
            from = to;
            if self.held == GROUP_ROWS {
                self.write_group()?;
            }
        }
        Ok(())
    }

    /// Writes what is held back, and what makes it a file.
    ///
    /// # Errors
    /// What `out` cannot take.
    pub fn finish(mut self) -> Result<W, ParquetError> {
        if self.held > 0 {
            self.write_group()?;
        }
        self.file.into_inner()
    }

    fn write_group(&mut self) -> Result<(), ParquetError> {
        let mut group = self.file.next_row_group()?;
        for (_, values) in &mut self.columns {
            let Some(mut column) = group.next_column()? else { break };
            values.write(column.untyped())?;
            column.close()?;
        }
        group.close()?;
        self.held = 0;
        Ok(())
    }
}

impl<W: Write + Send> std::fmt::Debug for ParquetWriter<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("ParquetWriter").field("held", &self.held).finish_non_exhaustive()
    }
}

/// How a column is declared in the file.
fn field(column: &Column) -> Result<Arc<Type>, ParquetError> {
    let (physical, logical) = match column.kind {
        Kind::Text => (Physical::BYTE_ARRAY, Some(LogicalType::String)),
        Kind::Instant => (Physical::INT64, Some(LogicalType::timestamp(true, TimeUnit::MILLIS))),
        Kind::Date => (Physical::INT32, Some(LogicalType::Date)),
        Kind::Integer => (Physical::INT64, None),
        Kind::Float => (Physical::DOUBLE, None),
        Kind::Flag => (Physical::BOOLEAN, None),
    };
    let repetition = if column.is_nullable { Repetition::OPTIONAL } else { Repetition::REQUIRED };
    let field = Type::primitive_type_builder(column.name, physical).with_logical_type(logical);
    field.with_repetition(repetition).build().map(Arc::new)
}

impl Values {
    fn of(column: &Column) -> Self {
        let values = match column.kind {
            Kind::Text => Typed::Text(Vec::new()),
            Kind::Instant | Kind::Integer => Typed::Int64(Vec::new()),
            Kind::Date => Typed::Int32(Vec::new()),
            Kind::Float => Typed::Float(Vec::new()),
            Kind::Flag => Typed::Flag(Vec::new()),
        };
        Self { values, levels: column.is_nullable.then(Vec::new) }
    }

    fn extend<'a>(&mut self, cells: impl Iterator<Item = Cell<'a>>) {
        for cell in cells {
            let is_there = self.values.push(cell);
            if let Some(levels) = &mut self.levels {
                levels.push(i16::from(is_there));
            }
        }
    }

    fn write(&mut self, column: &mut ColumnWriter<'_>) -> Result<(), ParquetError> {
        let levels = self.levels.as_deref();
        match (&mut self.values, column) {
            (Typed::Text(values), ColumnWriter::ByteArrayColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Typed::Int64(values), ColumnWriter::Int64ColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Typed::Int32(values), ColumnWriter::Int32ColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Typed::Float(values), ColumnWriter::DoubleColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            (Typed::Flag(values), ColumnWriter::BoolColumnWriter(column)) => {
                column.write_batch(values, levels, None)?;
                values.clear();
            }
            _ => return Err(ParquetError::General("a column is not of the type that it was declared with".to_owned())),
        }
        if let Some(levels) = &mut self.levels {
            levels.clear();
        }
        Ok(())
    }
}

impl Typed {
    /// Whether the row has a value.
    fn push(&mut self, cell: Cell<'_>) -> bool {
        match (self, cell) {
            (Self::Text(values), Cell::Text(text)) => match values.last() {
                // Neighbours mostly say the same.
                Some(last) if last.data() == text.as_bytes() => values.push(last.clone()),
                _ => values.push(ByteArray::from(text)),
            },
            (Self::Int64(values), Cell::Integer(number)) => values.push(number),
            (Self::Int64(values), Cell::Instant(at)) => values.push(at.as_ms()),
            (Self::Int32(values), Cell::Date(date)) => values.push(date.days()),
            (Self::Float(values), Cell::Float(number)) => values.push(number),
            (Self::Flag(values), Cell::Flag(flag)) => values.push(flag),
            _ => return false,
        }
        true
    }
}
