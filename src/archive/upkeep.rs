//! What is asked about an archive as a whole, in words that both stores understand.

use std::collections::BTreeMap;

use super::Holding;
use super::tables::{LINE_ENTITY, LINE_KIND, PHONE_LINES, TABLES, Table, key_of, slice_of};
use crate::domain::dataset::Dataset;
use crate::domain::{ArchiveKey, ArchiveRow, Finality, Number, Timestamp, Window};

/// The columns of a key, as [`key_of`] takes them: the first four of every statement here.
const KEY: &str = "dataset, account, entity, coalesce(granularity, dimension)";

/// What is kept of each key: its key, `window_length`, from when, until when, FINAL slices, others, rows, the newest.
pub(super) fn holdings() -> String {
    format!(
        "SELECT {KEY}, window_length, min(start_time), max(end_time), count(*) FILTER (WHERE finality = 'FINAL'), \
         count(*) FILTER (WHERE finality <> 'FINAL'), CAST(sum(row_count) AS BIGINT), max(fetched_at) FROM collected \
         GROUP BY {KEY}, window_length"
    )
}

/// From when, until when, and how many slices.
pub(super) fn extent() -> String {
    let of = |table: &str| format!("SELECT start_time, end_time FROM {table}");
    let lines = [of("collected"), of(PHONE_LINES)].join(" UNION ALL ");
    format!("SELECT min(start_time), max(end_time), count(*) FROM ({lines}) AS l")
}

/// The same order whatever the database sorts by.
pub(super) fn in_order(holdings: &mut [Holding]) {
    holdings.sort_by(|one, other| (&one.key, &one.window_length).cmp(&(&other.key, &other.window_length)));
}

/// The newest numbers that were told otherwise: their keys, `name`, window, `metric`, both values, both instants.
pub(super) fn restated(limit: usize) -> String {
    format!(
        "SELECT {KEY}, name, start_time, end_time, metric, held_value, told_value, held_fetched_at, told_fetched_at \
         FROM restated ORDER BY told_fetched_at DESC, start_time DESC, name, metric LIMIT {limit}"
    )
}

/// How many there are.
pub(super) const COUNT_RESTATED: &str = "SELECT count(*) FROM restated";

/// The lines of each table that do not count their rows: their keys, window, finality, both counts, and the phone number.
pub(super) fn miscounts() -> Vec<String> {
    let statement = |table: &Table, lines: &str, phone: Option<&str>| {
        let rows = table.rows_of(["c.account", LINE_ENTITY, LINE_KIND].map(of_line).each_ref().map(String::as_str));
        let times = if table.counts {
            "start_time >= c.start_time AND start_time < c.end_time"
        } else {
            "start_time = c.start_time AND end_time = c.end_time"
        };
        let name = table.name();
        let own = phone.map(|phone| format!(" AND {} = {phone}", table.row_name)).unwrap_or_default();
        let phone = phone.unwrap_or("CAST(NULL AS TEXT)");
        format!(
            "SELECT * FROM (SELECT {KEY}, start_time, end_time, finality, row_count, \
             (SELECT count(*) FROM {name} WHERE {rows} AND {times}{own}) AS counted, {phone} AS phone \
             FROM {lines} AS c WHERE dataset = '{name}') AS l WHERE row_count <> counted ORDER BY start_time, end_time, phone"
        )
    };
    let phones = TABLES.iter().filter(|table| table.has_phones());
    let phones = phones.map(|table| statement(table, PHONE_LINES, Some("c.phone_number")));
    TABLES.iter().map(|table| statement(table, "collected", None)).chain(phones).collect()
}

/// The columns of an expression as those of the line `c`.
fn of_line(expression: &str) -> String {
    let mut text = expression.to_owned();
    for column in ["entity", "granularity", "dimension"] {
        text = text.replace(column, &format!("c.{column}"));
    }
    text
}

/// The rows of a phone number, whose place in the statement is spelled `phone`: their keys and where they begin.
pub(super) fn rows_of_phone(phone: &str) -> String {
    format!(
        "SELECT '{dataset}', account, {table_entity}, {kind}, start_time FROM {dataset} WHERE phone_number = {phone}",
        dataset = MESSAGES.name(),
        table_entity = MESSAGES.entity,
        kind = MESSAGES.kind
    )
}

/// What deletes all that is kept of it.
pub(super) fn forget_phone(phone: &str) -> [String; 3] {
    let dataset = MESSAGES.name();
    [
        format!("DELETE FROM {dataset} WHERE phone_number = {phone}"),
        format!("DELETE FROM {PHONE_LINES} WHERE phone_number = {phone}"),
        format!("DELETE FROM restated WHERE dataset = '{dataset}' AND name = {phone}"),
    ]
}

const MESSAGES: &Table = &TABLES[0];

/// By how many rows each slice of a channel shrinks when these rows go.
pub(super) fn shrinking(
    rows: impl IntoIterator<Item = (ArchiveKey, Timestamp)>,
) -> BTreeMap<(ArchiveKey, Window), i64> {
    let mut shrinking = BTreeMap::new();
    for (key, start) in rows {
        let nothing = [Number::Integer(0); 2];
        let row = ArchiveRow { name: "".into(), start, end: start, numbers: nothing, finality: Finality::Final };
        if let Some(window) = slice_of(&key, &row) {
            *shrinking.entry((key, window)).or_default() += 1;
        }
    }
    shrinking
}

/// The key that the first four columns of a statement name.
pub(super) fn key(dataset: &str, account: &str, entity: Option<&str>, kind: &str) -> Option<ArchiveKey> {
    key_of(Dataset::named(dataset)?, account, entity, kind)
}
