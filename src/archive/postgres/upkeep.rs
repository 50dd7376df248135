//! The tables of a database as a whole: what they hold, whether that adds up, and what is to be forgotten.

use deadpool_postgres::ClientWrapper;
use jiff::civil;
use tokio_postgres::Row;

use super::super::upkeep::{self, COUNT_RESTATED};
use super::super::{Extent, Holding, Miscount, RestatedNumber, TableName};
use super::arrays::Spans;
use super::fault::Fault;
use super::locks;
use super::slices::{count, finality, time, window};
use super::write::grow;
use crate::domain::calendar::Date;
use crate::domain::dataset::{Kind, Value};
use crate::domain::{ArchiveKey, Window};

/// Statements that read whole tables take their time.
const PATIENTLY: &str = "BEGIN; SET LOCAL statement_timeout = 0";

fn key(row: &Row) -> Result<ArchiveKey, Fault> {
    upkeep::key(row.try_get(0)?, row.try_get(1)?, row.try_get(2)?, row.try_get(3)?).ok_or(Fault::Nonsense("key"))
}

pub(super) async fn extent(client: &ClientWrapper) -> Result<Option<Extent>, Fault> {
    let row = client.query_one(&upkeep::extent(), &[]).await?;
    let slices = count(&row, 2)?;
    if slices == 0 { Ok(None) } else { Ok(Some(Extent { span: window(&row, 0)?, slices })) }
}

pub(super) async fn holdings(client: &ClientWrapper) -> Result<Vec<Holding>, Fault> {
    let holding = |row: &Row| {
        let between = window(row, 5)?;
        Ok(Holding {
            key: key(row)?,
            window_length: row.try_get(4)?,
            first: between.start(),
            last: between.end(),
            final_slices: count(row, 7)?,
            provisional_slices: count(row, 8)?,
            rows: count(row, 9)?,
            fetched_at: time(row, 10)?,
        })
    };
    client.query(&upkeep::holdings(), &[]).await?.iter().map(holding).collect()
}

pub(super) async fn size(client: &ClientWrapper) -> Result<u64, Fault> {
    let sql = "SELECT coalesce(sum(pg_total_relation_size(oid)), 0)::int8 FROM pg_class \
               WHERE relnamespace = 'weir'::regnamespace AND relkind = 'r'";
    count(&client.query_one(sql, &[]).await?, 0)
}

pub(super) async fn restated(client: &ClientWrapper, limit: usize) -> Result<(u64, Vec<RestatedNumber>), Fault> {
    let number = |row: &Row| -> Result<RestatedNumber, Fault> {
        Ok(RestatedNumber {
            key: key(row)?,
            name: row.try_get(4)?,
            window: window(row, 5)?,
            metric: row.try_get(7)?,
            held_value: row.try_get(8)?,
            told_value: row.try_get(9)?,
            held_fetched_at: row.try_get::<_, Option<jiff::Timestamp>>(10)?.map(Into::into),
            told_fetched_at: time(row, 11)?,
        })
    };
    let all = count(&client.query_one(COUNT_RESTATED, &[]).await?, 0)?;
    let newest: Result<_, _> = client.query(&upkeep::restated(limit), &[]).await?.iter().map(number).collect();
    Ok((all, newest?))
}

pub(super) async fn miscounts(client: &ClientWrapper) -> Result<Vec<Miscount>, Fault> {
    let mut all = Vec::new();
    client.batch_execute(PATIENTLY).await?;
    for statement in upkeep::miscounts() {
        for row in &client.query(&statement, &[]).await? {
            all.push(Miscount {
                key: ArchiveKey { name: row.try_get(9)?, ..key(row)? },
                window: window(row, 4)?,
                finality: finality(row, 6)?,
                row_count: count(row, 7)?,
                counted: count(row, 8)?,
            });
        }
    }
    client.batch_execute("COMMIT").await?;
    Ok(all)
}

/// Deletes what is kept of a phone number; how many rows went.
pub(super) async fn forget(client: &ClientWrapper, phone: &str) -> Result<u64, Fault> {
    client.batch_execute(PATIENTLY).await?;
    client.batch_execute(&format!("SELECT pg_advisory_xact_lock({})", locks::WRITE)).await?;
    let rows = client.query(&upkeep::rows_of_phone("$1"), &[&phone]).await?;
    let rows: Result<Vec<_>, Fault> = rows.iter().map(|row| Ok((key(row)?, time(row, 4)?))).collect();
    let mut gone = 0;
    for statement in upkeep::forget_phone("$1") {
        gone += client.execute(&statement, &[&phone]).await?;
    }
    let shrinking = upkeep::shrinking(rows?);
    let mut growth = Spans::default();
    for ((key, window), by) in &shrinking {
        growth.push_growth(key, *window, -by);
    }
    client.execute(&grow(), &growth.values()).await?;
    client.batch_execute("COMMIT").await?;
    Ok(gone)
}

/// Rows as they are.
pub(super) async fn dump(client: &ClientWrapper, table: TableName, span: Window) -> Result<Vec<Vec<Value>>, Fault> {
    let columns = table.columns();
    client.batch_execute(PATIENTLY).await?;
    let found = client.query(&table.select(), &[&span.start().to_jiff(), &span.end().to_jiff()]).await?;
    client.batch_execute("COMMIT").await?;
    let row = |row: &Row| columns.iter().enumerate().map(|(at, column)| value(row, at, column.kind)).collect();
    found.iter().map(row).collect()
}

/// The value of a column of this kind.
fn value(row: &Row, at: usize, kind: Kind) -> Result<Value, Fault> {
    let value = match kind {
        Kind::Text => row.try_get::<_, Option<String>>(at)?.map(Value::Text),
        Kind::Instant => row.try_get::<_, Option<jiff::Timestamp>>(at)?.map(|at| Value::Instant(at.into())),
        Kind::Date => {
            let days = |date: civil::Date| civil::date(1970, 1, 1).until(date).map(|span| span.get_days());
            let date = row.try_get::<_, Option<civil::Date>>(at)?;
            let days = date.map(days).transpose().map_err(|_out_of_range| Fault::Nonsense("date"))?;
            days.and_then(Date::of_days).map(Value::Date)
        }
        Kind::Integer => row.try_get::<_, Option<i64>>(at)?.map(Value::Integer),
        Kind::Float => row.try_get::<_, Option<f64>>(at)?.map(Value::Float),
        Kind::Flag => row.try_get::<_, Option<bool>>(at)?.map(Value::Flag),
    };
    Ok(value.unwrap_or(Value::Null))
}
