//! The statements that make the tables, views and indexes of an archive, for both stores: what they say of a column comes
//! from the datasets.

use super::tables::{COLLECTED, LINE_ENTITY, LINE_KIND, MEASURES, RESTATED, TABLES, Table, phone_lines};
use crate::domain::dataset::{Column, Dataset, Kind};

/// How a dialect spells what the tables need.
pub(super) struct Dialect {
    pub(super) type_of: fn(Kind) -> &'static str,
    pub(super) true_false: [&'static str; 2],
}

/// A table with its columns; each with what it means as a comment, which SQLite keeps with the table.
fn create(name: &str, columns: &[Column], dialect: &Dialect) -> String {
    let column = |(at, column): (usize, &Column)| {
        let null = if column.is_nullable { "" } else { " NOT NULL" };
        let comma = if at + 1 < columns.len() { "," } else { "" };
        format!("  {} {}{null}{comma} -- {}\n", column.name, (dialect.type_of)(column.kind), describe(column))
    };
    let columns: String = columns.iter().enumerate().map(column).collect();
    format!("CREATE TABLE {name} (\n{columns})")
}

/// What a column means, with its unit and its catch.
fn describe(column: &Column) -> String {
    let unit = column.unit.map(|unit| format!(" Unit: {unit}.")).unwrap_or_default();
    format!("{}{unit}", column.description)
}

/// Indexes: one that tells slices and rows apart, and one for whoever asks for an entity over a time.
fn indexes() -> Vec<String> {
    let mut indexes = Vec::new();
    for Table { dataset, entity, entity_or_none, kind, row_name, .. } in &TABLES {
        let (name, table) = (dataset.as_str(), dataset.as_str());
        indexes.push(format!(
            "CREATE UNIQUE INDEX {name}_rows ON {table} (({entity_or_none}), {kind}, start_time, end_time, {row_name}, account)"
        ));
        indexes.push(format!("CREATE INDEX {name}_times ON {table} ({entity}, start_time)"));
    }
    let line = format!("dataset, ({LINE_ENTITY}), ({LINE_KIND}), start_time, end_time, account");
    indexes.push(format!("CREATE UNIQUE INDEX collected_slices ON collected ({line})"));
    indexes.push(format!("CREATE UNIQUE INDEX collected_phones_slices ON collected_phones ({line}, phone_number)"));
    indexes.push("CREATE INDEX restated_times ON restated (start_time, name)".to_owned());
    indexes
}

/// All of it, statement by statement.
pub(super) fn tables(dialect: &Dialect) -> Vec<String> {
    let phones = phone_lines();
    let rows = TABLES.iter().map(|table| create(table.name(), table.columns(), dialect));
    let other = [("collected", &COLLECTED[..]), ("collected_phones", &phones), ("restated", &RESTATED)];
    let other = other.into_iter().map(|(name, columns)| create(name, columns, dialect));
    rows.chain(other).chain(indexes()).chain(views(dialect)).collect()
}

/// What each table, view and column means, as a database keeps it beside them.
pub(super) fn comments() -> Vec<String> {
    let phones = phone_lines();
    let metrics = Dataset::PhoneNumberMetrics.columns().iter();
    let daily: Vec<Column> = metrics.filter(|column| DAILY.contains(&column.name)).copied().collect();
    let mut all: Vec<(&str, &str, &str, &[Column])> =
        TABLES.iter().map(|table| ("TABLE", table.name(), table.dataset.description(), table.columns())).collect();
    all.extend([
        (
            "TABLE",
            "collected",
            "What was fetched: a line for each slice of time, also where there was nothing.",
            &COLLECTED[..],
        ),
        ("TABLE", "collected_phones", "The same of phone numbers that were asked for alone.", &phones),
        ("TABLE", "restated", "Numbers that were FINAL and that the vendor has told otherwise since.", &RESTATED),
        ("VIEW", "measurements", Dataset::Measurements.description(), Dataset::Measurements.columns()),
        ("VIEW", "phone_number_daily", "Messages by phone number and local day: the DAILY rows alone.", &daily),
    ]);
    let quoted = |text: &str| text.replace('\'', "''");
    let of_one = |(kind, name, text, columns): (&str, &str, &str, &[Column])| {
        let column =
            |column: &Column| format!("COMMENT ON COLUMN {name}.{} IS '{}'", column.name, quoted(&describe(column)));
        let own = format!("COMMENT ON {kind} {name} IS '{}'", quoted(text));
        std::iter::once(own).chain(columns.iter().map(column)).collect::<Vec<_>>()
    };
    all.into_iter().flat_map(of_one).collect()
}

/// The columns of `phone_number_daily`.
const DAILY: [&str; 11] = [
    "account",
    "cust_space_id",
    "phone_number",
    "date",
    "start_time",
    "end_time",
    "sent_count",
    "delivered_count",
    "delivery_rate",
    "finality",
    "fetched_at",
];

/// Both views.
fn views(dialect: &Dialect) -> [String; 2] {
    let [yes, no] = dialect.true_false;
    let float = (dialect.type_of)(Kind::Float);
    let measure = |(at, metric, vendor, dimension): &(usize, &str, &str, &str)| {
        let table = &TABLES[*at];
        let adds_up = if table.counts { yes } else { no };
        // Half hours would count every message twice.
        let only = if table.counts { "\n  WHERE granularity = 'DAILY'" } else { "" };
        format!(
            "  SELECT '{vendor}' AS vendor, account, {} AS entity, '{metric}' AS metric, {dimension} AS dimension, \
             {} AS name,\n    start_time, end_time, CAST({metric} AS {float}) AS value, {adds_up} AS is_additive, finality, \
             fetched_at\n  FROM {}{only}",
            table.entity,
            table.row_name,
            table.name(),
        )
    };
    let measures: Vec<String> = MEASURES.iter().map(measure).collect();
    let daily = format!(
        "CREATE VIEW phone_number_daily AS\n  SELECT {}\n  FROM phone_number_metrics\n  WHERE granularity = 'DAILY'",
        DAILY.join(", ")
    );
    [format!("CREATE VIEW measurements AS\n{}", measures.join("\n  UNION ALL\n")), daily]
}
