//! The tables of an archive: their names and columns, which rows and lines of them are whose, and what is in them.

use crate::domain::dataset::{Cell, Column, Dataset, Field, Kind};
use crate::domain::duration::format_iso;
use crate::domain::time::DAY;
use crate::domain::{ArchiveKey, ArchiveRow, ArchivedSlice, MessageCount, Number, Window};

use super::Dated;
use super::merge::Restated;

/// A table of rows, as far as its statements are made of its names.
#[derive(Debug)]
pub(super) struct Table {
    pub(super) dataset: Dataset,
    pub(super) entity: &'static str,
    /// The entity where none is an empty text: nothing equals NULL, neither in a look-up nor in a unique index.
    pub(super) entity_or_none: &'static str,
    /// What tells series of one entity apart: the step, or the kind of place.
    pub(super) kind: &'static str,
    pub(super) row_name: &'static str,
    pub(super) numbers: [&'static str; 2],
    /// Whether the numbers are whole.
    pub(super) counts: bool,
}

pub(super) const TABLES: [Table; 2] = [
    Table {
        dataset: Dataset::PhoneNumberMetrics,
        entity: "cust_space_id",
        entity_or_none: "coalesce(cust_space_id, '')",
        kind: "granularity",
        row_name: "phone_number",
        numbers: ["sent_count", "delivered_count"],
        counts: true,
    },
    Table {
        dataset: Dataset::OperationDistributions,
        entity: "app_id",
        entity_or_none: "app_id",
        kind: "dimension",
        row_name: "distribution_name",
        numbers: ["distinct_users", "proportion"],
        counts: false,
    },
];

/// What one number of a row means where both vendors' are one table: table, metric, column, and how `dimension` is spelled.
pub(super) const MEASURES: [(usize, &str, &str, &str); 3] = [
    (0, "sent_count", "ALIBABA_CAMS", "'phone_number'"),
    (0, "delivered_count", "ALIBABA_CAMS", "'phone_number'"),
    (1, "distinct_users", "VOLCENGINE_RTC", "lower(dimension)"),
];

/// What was fetched, slice by slice.
pub(super) const COLLECTED: [Column; 11] = [
    text(Field::Source, "dataset", "The table that holds its rows."),
    text(Field::Account, "account", "The configured account that serves it."),
    null(text(Field::Entity, "entity", "The CustSpaceId or AppId; null where an account's only channel has none.")),
    null(text(Field::Granularity, "granularity", "The step of a series of messages: DAILY or HALF_HOUR; else null.")),
    null(text(Field::Dimension, "dimension", "The kind of place of distinct users: PROVINCE or COUNTRY; else null.")),
    null(text(
        Field::Name,
        "window_length",
        "The length of a window of distinct users, ISO 8601, such as P1D; else null.",
    )),
    instant(Field::StartTime, "start_time", "The first instant inside: of messages, those that begin in this UTC day."),
    instant(Field::EndTime, "end_time", "The first instant after."),
    text(Field::Finality, "finality", "FINAL, or PROVISIONAL where the vendor may still change any of it."),
    instant(Field::FetchedAt, "fetched_at", "When the request was sent that brought it."),
    Column {
        kind: Kind::Integer,
        ..text(Field::Buckets, "row_count", "How many rows are kept of it; none is an answer too.")
    },
];

/// What was FINAL and has been told otherwise since.
pub(super) const RESTATED: [Column; 13] = [
    text(Field::Source, "dataset", "The table that holds the row."),
    text(Field::Account, "account", "The configured account that serves it."),
    null(text(Field::Entity, "entity", "The CustSpaceId or AppId; null where an account's only channel has none.")),
    null(text(Field::Granularity, "granularity", "The step of a series of messages; else null.")),
    null(text(Field::Dimension, "dimension", "The kind of place of distinct users; else null.")),
    text(Field::Name, "name", "The phone number or the place."),
    instant(Field::StartTime, "start_time", "The first instant inside."),
    instant(Field::EndTime, "end_time", "The first instant after."),
    text(Field::Metric, "metric", "Which of its numbers."),
    null(float(Field::Value, "held_value", "The number as it is kept; null if there was no such row.")),
    null(float(Field::Value, "told_value", "The number as it was told later; null if there was no such row any more.")),
    null(instant(Field::FetchedAt, "held_fetched_at", "When the kept one was fetched.")),
    instant(Field::FetchedAt, "told_fetched_at", "When the other one was fetched."),
];

const fn text(field: Field, name: &'static str, description: &'static str) -> Column {
    Column { field, name, kind: Kind::Text, is_nullable: false, unit: None, adds_up: None, description }
}

const fn instant(field: Field, name: &'static str, description: &'static str) -> Column {
    Column { kind: Kind::Instant, ..text(field, name, description) }
}

const fn float(field: Field, name: &'static str, description: &'static str) -> Column {
    Column { kind: Kind::Float, ..text(field, name, description) }
}

const fn null(column: Column) -> Column {
    Column { is_nullable: true, ..column }
}

impl Table {
    /// The table of a dataset.
    pub(super) fn of(dataset: Dataset) -> &'static Self {
        TABLES.iter().find(|table| table.dataset == dataset).unwrap_or(&TABLES[0])
    }

    pub(super) fn name(&self) -> &'static str {
        self.dataset.as_str()
    }

    pub(super) fn columns(&self) -> &'static [Column] {
        self.dataset.columns()
    }

    /// The condition on the rows of a key, whose [`key_values`] are spelled `of`.
    pub(super) fn rows_of(&self, of: [&str; 3]) -> String {
        let ([account, entity, kind], own) = (of, self.entity_or_none);
        format!("account = {account} AND {own} = {entity} AND {} = {kind}", self.kind)
    }

    /// The same on the lines of a key.
    pub(super) fn lines_of(&self, of: [&str; 3]) -> String {
        let [account, entity, kind] = of;
        let dataset = self.name();
        format!("dataset = '{dataset}' AND account = {account} AND {LINE_ENTITY} = {entity} AND {LINE_KIND} = {kind}")
    }

    /// Whether rows of a name may be asked for alone.
    pub(super) const fn has_phones(&self) -> bool {
        self.counts
    }
}

/// What a row of a slice holds.
pub(super) fn cell<'a>(field: Field, dated: &'a Dated, at: usize, row: &'a ArchiveRow) -> Cell<'a> {
    let key = &*dated.slice.key;
    match field {
        Field::Account => Cell::Text(&key.account),
        Field::CustSpaceId | Field::AppId => optional(key.entity.as_deref()),
        Field::PhoneNumber | Field::PlaceName => Cell::Text(&row.name),
        Field::Granularity => optional(key.granularity),
        Field::Dimension => optional(key.dimension),
        Field::Indicator => Cell::Text("user_num"),
        Field::StartTime => Cell::Instant(row.start),
        Field::EndTime => Cell::Instant(row.end),
        Field::Date => dated.dates.get(at).copied().flatten().map_or(Cell::Null, Cell::Date),
        Field::SentCount | Field::DistinctUsers => number(row.numbers[0]),
        Field::DeliveredCount | Field::Proportion => number(row.numbers[1]),
        Field::DeliveryRate => rate(row),
        Field::Finality => Cell::Text(row.finality.as_str()),
        Field::FetchedAt => Cell::Instant(dated.fetched.get(at).copied().unwrap_or(dated.slice.fetched_at)),
        Field::Source => Cell::Text("ARCHIVE"),
        _ => Cell::Null,
    }
}

/// In which table the lines of single phone numbers are.
pub(super) const PHONE_LINES: &str = "collected_phones";
/// The entity of a line where none is an empty text.
pub(super) const LINE_ENTITY: &str = "coalesce(entity, '')";
/// The kind of a line, whichever table it is about.
pub(super) const LINE_KIND: &str = "coalesce(granularity, dimension)";

/// What a key is looked up by: its account, its entity or an empty text, and its kind.
pub(super) fn key_values(key: &ArchiveKey) -> [&str; 3] {
    [&key.account, key.entity.as_deref().unwrap_or_default(), key.granularity.or(key.dimension).unwrap_or_default()]
}

/// The key of what is kept under these values; `None` where the kind is none that is known.
pub(super) fn key_of(dataset: Dataset, account: &str, entity: Option<&str>, kind: &str) -> Option<ArchiveKey> {
    let known = |kinds: [&'static str; 2]| kinds.into_iter().find(|known| *known == kind);
    let (granularity, dimension) = if Table::of(dataset).counts {
        (Some(known(["DAILY", "HALF_HOUR"])?), None)
    } else {
        (None, Some(known(["PROVINCE", "COUNTRY"])?))
    };
    let entity = entity.map(str::to_owned);
    Some(ArchiveKey { dataset, account: account.to_owned(), entity, granularity, dimension, name: None })
}

/// How long the windows of a key are, where that is told.
pub(super) fn window_length(key: &ArchiveKey, window: Window) -> Option<String> {
    key.dimension.map(|_| format_iso(window.length()))
}

/// The UTC day of a series in which a row is kept; windows are kept as they are.
pub(super) fn slice_of(key: &ArchiveKey, row: &ArchiveRow) -> Option<Window> {
    let start = if key.granularity.is_some() { row.start.floor(DAY) } else { row.start };
    Window::new(start, if key.granularity.is_some() { start + DAY } else { row.end })
}

fn number(number: Number) -> Cell<'static> {
    match number {
        Number::Integer(count) => Cell::Integer(count),
        Number::Float(number) => Cell::Float(number),
    }
}

/// A number as a float: `restated` holds both kinds.
#[expect(clippy::cast_precision_loss, reason = "a column that holds numbers of either vendor holds floats")]
fn as_float(number: Number) -> f64 {
    match number {
        Number::Integer(count) => count as f64,
        Number::Float(number) => number,
    }
}

fn rate(row: &ArchiveRow) -> Cell<'static> {
    let [Number::Integer(sent), Number::Integer(delivered)] = row.numbers else { return Cell::Null };
    let (sent, delivered) = (MessageCount::new(sent), MessageCount::new(delivered));
    let rate = sent.zip(delivered).and_then(|(sent, delivered)| delivered.share_of(sent));
    rate.map_or(Cell::Null, Cell::Float)
}

/// The names of the table of lines of a key: single phone numbers have their own.
pub(super) const fn lines_of(key: &ArchiveKey) -> &'static str {
    if key.name.is_some() { PHONE_LINES } else { "collected" }
}

/// The columns of lines of single phone numbers: which one, too.
pub(super) fn phone_lines() -> Vec<Column> {
    let phone = Dataset::PhoneNumberMetrics.columns().iter().find(|column| column.field == Field::PhoneNumber);
    COLLECTED.iter().chain(phone).copied().collect()
}

/// What a line holds, in the order of the columns.
pub(super) fn line_cells<'a>(slice: &'a ArchivedSlice, length: Option<&'a str>, row_count: u64) -> Vec<Cell<'a>> {
    let key = &*slice.key;
    let mut cells = vec![
        Cell::Text(key.dataset.as_str()),
        Cell::Text(&key.account),
        optional(key.entity.as_deref()),
        optional(key.granularity),
        optional(key.dimension),
        optional(length),
        Cell::Instant(slice.window.start()),
        Cell::Instant(slice.window.end()),
        Cell::Text(slice.finality.as_str()),
        Cell::Instant(slice.fetched_at),
        Cell::Integer(i64::try_from(row_count).unwrap_or(i64::MAX)),
    ];
    cells.extend(key.name.as_deref().map(Cell::Text));
    cells
}

/// Writes lines, as `source` has them, in place of what is there of the same slices.
pub(super) fn put_line(table: &str, source: &str) -> String {
    let phone = if table == PHONE_LINES { ", phone_number" } else { "" };
    let names: Vec<&str> = COLLECTED.iter().map(|column| column.name).collect();
    format!(
        "INSERT INTO {table} ({}{phone}) {source} ON CONFLICT (dataset, ({LINE_ENTITY}), ({LINE_KIND}), start_time, end_time, \
         account{phone}) DO UPDATE SET window_length = excluded.window_length, finality = excluded.finality, \
         fetched_at = excluded.fetched_at, row_count = excluded.row_count",
        names.join(", ")
    )
}

/// What a line of `restated` holds, in the order of its columns.
pub(super) fn restated_cells<'a>(slice: &'a ArchivedSlice, one: &'a Restated) -> Option<[Cell<'a>; 13]> {
    let (key, row) = (&*slice.key, one.row()?);
    let value = |row: Option<&ArchiveRow>| {
        row.and_then(|row| row.numbers.get(one.number)).map_or(Cell::Null, |number| Cell::Float(as_float(*number)))
    };
    Some([
        Cell::Text(key.dataset.as_str()),
        Cell::Text(&key.account),
        optional(key.entity.as_deref()),
        optional(key.granularity),
        optional(key.dimension),
        Cell::Text(&row.name),
        Cell::Instant(row.start),
        Cell::Instant(row.end),
        Cell::Text(Table::of(key.dataset).numbers.get(one.number)?),
        value(one.held.as_ref().map(|(row, _)| row)),
        value(one.told.as_ref()),
        one.held.as_ref().map_or(Cell::Null, |(_, at)| Cell::Instant(*at)),
        Cell::Instant(slice.fetched_at),
    ])
}

fn optional(text: Option<&str>) -> Cell<'_> {
    text.map_or(Cell::Null, Cell::Text)
}
