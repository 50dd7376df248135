//! The schema `weir` of a database: made, brought up to date and opened to readers, by one process at a time.

use tokio_postgres::Client;

use super::super::ddl::{Dialect, comments, tables};
use super::fault::Fault;
use super::locks;
use crate::domain::dataset::Kind;

/// The oldest server that is used.
const OLDEST: i32 = 140_000;

/// From each schema to the next. What has been released is never changed.
const MIGRATIONS: [fn() -> Vec<String>; 1] = [first];

pub(super) const DIALECT: Dialect = Dialect {
    type_of: |kind| match kind {
        Kind::Text => "TEXT",
        Kind::Instant => "TIMESTAMPTZ",
        Kind::Date => "DATE",
        Kind::Integer => "BIGINT",
        Kind::Float => "DOUBLE PRECISION",
        Kind::Flag => "BOOLEAN",
    },
    true_false: ["true", "false"],
};

fn first() -> Vec<String> {
    tables(&DIALECT).into_iter().chain(comments()).collect()
}

/// Sees that the schema may be used, brings it up to what this weir writes, and lets `reader` read it.
///
/// # Errors
/// A server that is too old, a schema that is newer than this weir or somebody else's, rights that are lacking, a reader that
/// does not exist.
pub(super) async fn prepare(client: &Client, reader: &str) -> Result<(), Fault> {
    let version: i32 = client.query_one("SELECT current_setting('server_version_num')::int4", &[]).await?.try_get(0)?;
    if version < OLDEST {
        let message = format!("is a PostgreSQL {}; weir needs version 14 or newer", version / 10_000);
        return Err(Fault::Unusable(message));
    }
    let begin = format!(
        "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE; SET LOCAL statement_timeout = 0; \
         SELECT pg_advisory_xact_lock({})",
        locks::MIGRATE
    );
    client.batch_execute(&begin).await?;
    migrate(client).await?;
    if !reader.is_empty() {
        grant(client, reader).await?;
    }
    Ok(client.batch_execute("COMMIT").await?)
}

async fn migrate(client: &Client) -> Result<(), Fault> {
    let there = client
        .query_one("SELECT to_regnamespace('weir') IS NOT NULL, to_regclass('weir.schema_version') IS NOT NULL", &[])
        .await?;
    match (there.try_get(0)?, there.try_get(1)?) {
        (_, true) => {}
        (is_there, false) => {
            if is_there {
                let own = "SELECT count(*) FROM pg_class WHERE relnamespace = to_regnamespace('weir')";
                let others: i64 = client.query_one(own, &[]).await?.try_get(0)?;
                if others > 0 {
                    let message = "has a schema `weir` of another program; name another database";
                    return Err(Fault::Unusable(message.to_owned()));
                }
            } else {
                client.batch_execute("CREATE SCHEMA weir").await?;
            }
            let sql = "CREATE TABLE schema_version (version INTEGER PRIMARY KEY, \
                       applied_at TIMESTAMPTZ NOT NULL DEFAULT now()); \
                       COMMENT ON TABLE schema_version IS 'Which migrations of weir have run.'; \
                       COMMENT ON COLUMN schema_version.version IS 'The number of the schema.'; \
                       COMMENT ON COLUMN schema_version.applied_at IS 'When it was made.'";
            client.batch_execute(sql).await?;
        }
    }
    let newest = "SELECT coalesce(max(version), 0) FROM schema_version";
    let version: i32 = client.query_one(newest, &[]).await?.try_get(0)?;
    let known = i32::try_from(MIGRATIONS.len()).unwrap_or(i32::MAX);
    if version > known {
        let message = format!("was written by a newer weir (schema {version}, this one knows {known}); update weir");
        return Err(Fault::Unusable(message));
    }
    for (number, migration) in (1_i32..).zip(MIGRATIONS).filter(|(number, _)| *number > version) {
        client.batch_execute(&migration().join(";\n")).await?;
        client.execute("INSERT INTO schema_version (version) VALUES ($1)", &[&number]).await?;
    }
    Ok(())
}

/// Lets a role read every table and view that there is now.
async fn grant(client: &Client, reader: &str) -> Result<(), Fault> {
    let known = client.query_opt("SELECT quote_ident(rolname) FROM pg_roles WHERE rolname = $1", &[&reader]).await?;
    let Some(known) = known else {
        let message = format!("has no role {reader:?}, which `[archive] reader` names; create it first (CREATE ROLE)");
        return Err(Fault::Unusable(message));
    };
    let quoted: &str = known.try_get(0)?;
    let sql = format!("GRANT USAGE ON SCHEMA weir TO {quoted}; GRANT SELECT ON ALL TABLES IN SCHEMA weir TO {quoted}");
    Ok(client.batch_execute(&sql).await?)
}
