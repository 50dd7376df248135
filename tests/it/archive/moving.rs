//! `weir archive export` and `import`: whatever an archive holds is the same in another one afterwards, of either kind and by
//! either format.

use std::path::Path;
use std::sync::Arc;

use tempfile::TempDir;
use weir::archive::{Archive, TableName, open};
use weir::domain::{ArchiveKey, ArchiveRow, Number};

use super::stores::{FINAL, PROVISIONAL, Stores, application, at, channel, dated, row, span, write};
use crate::support::postgres::Postgres;
use crate::support::process::{Finished, config, run};

fn place(name: &str, users: f64) -> ArchiveRow {
    ArchiveRow {
        name: name.into(),
        start: at(0),
        end: at(24),
        numbers: [users, 12.5].map(Number::Float),
        finality: FINAL,
    }
}

/// One of everything: numbers told otherwise, a phone number asked for before its channel and one asked for alone in a month
/// without anything else, rows that are older than the slice they are in, emptiness.
async fn furnish(archive: &Arc<dyn Archive>) {
    let phone = ArchiveKey { name: Some("861".to_owned()), ..channel("a") };
    let rows = |hour: u32| vec![row("861", hour, 7, FINAL), row("862", hour, 9, FINAL)];
    for slice in [
        dated(&channel("a"), span(0, 24), 90, FINAL, rows(3)),
        dated(&channel("a"), span(0, 24), 95, FINAL, vec![row("861", 3, 8, FINAL), row("863", 3, 1, FINAL)]),
        dated(&phone, span(24, 48), 93, FINAL, vec![row("861", 30, 7, FINAL)]),
        dated(&channel("a"), span(24, 48), 94, FINAL, rows(30)),
        dated(&channel("a"), span(48, 72), 91, PROVISIONAL, vec![row("861", 50, 1, FINAL)]),
        dated(
            &channel("a"),
            span(48, 72),
            96,
            PROVISIONAL,
            vec![row("861", 50, 1, FINAL), row("862", 60, 4, PROVISIONAL)],
        ),
        dated(&channel("a"), span(72, 96), 97, FINAL, vec![]),
        dated(&phone, span(960, 984), 990, FINAL, vec![row("861", 970, 5, FINAL)]),
        dated(&application("a"), span(0, 24), 94, FINAL, vec![place("上海", 3.0), place("北京", 4.25)]),
        dated(&application("a"), span(0, 24), 98, FINAL, vec![place("上海", 3.5), place("北京", 4.25)]),
    ] {
        write(archive, &[slice]).await;
    }
}

/// All rows of all tables, each table in one order.
async fn all(archive: &Arc<dyn Archive>) -> Vec<(TableName, Vec<String>)> {
    let mut tables = Vec::new();
    for table in TableName::ALL {
        let rows = archive.dump(table, span(0, 2_000)).await.unwrap();
        let mut rows: Vec<String> = rows.iter().map(|row| format!("{row:?}")).collect();
        rows.sort();
        tables.push((table, rows));
    }
    tables
}

/// Runs a command on the archive at `url`.
async fn command(dir: &Path, url: &str, args: &[&str]) -> Finished {
    let config = config(dir, "127.0.0.1:9", &format!("[archive]\nurl = \"{url}\"\n"));
    let ran = run(&[&["archive"], args, &["--config", config.to_str().unwrap()]].concat()).await;
    assert_eq!(ran.code, Some(0), "{args:?}: {ran:?}");
    ran
}

#[tokio::test]
async fn what_is_exported_is_the_same_in_another_archive_of_either_kind() {
    let stores = Stores::open().await;
    let dir = TempDir::new().unwrap();
    furnish(&stores.all[0]).await;
    let held = all(&stores.all[0]).await;
    assert!(held.iter().all(|(table, rows)| !rows.is_empty() || panic!("nothing in {table:?}")));
    let mut from = format!("sqlite:{}", stores.file().display());
    let copies = ["copy.db", "another.db"].map(|name| format!("sqlite:{}", dir.path().join(name).display()));
    let server = stores.server.as_ref().map(Postgres::url);
    let [copy, another] = copies;
    for (to, format) in [(server.unwrap_or(copy), "parquet"), (another, "csv")] {
        let files = dir.path().join(format);
        let files = files.to_str().unwrap();
        command(dir.path(), &from, &["export", files, "--format", format]).await;
        command(dir.path(), &to, &["import", files]).await;
        let archive = open(&to, "").unwrap();
        archive.prepare().await.unwrap();
        for (own, held) in all(&archive).await.into_iter().zip(&held) {
            assert_eq!(&own, held, "by {format} into {archive:?}");
        }
        assert_eq!(archive.miscounts().await.unwrap(), [], "{archive:?}");
        // Taken in twice it is known, and is told otherwise no more often.
        let again = command(dir.path(), &to, &["import", files]).await;
        assert!(again.out.starts_with("0 slices with 0 rows"), "{again:?}");
        assert_eq!(&all(&archive).await, &held, "by {format} into {archive:?}");
        from = to;
    }
}

#[tokio::test]
async fn a_part_of_an_export_is_not_taken_for_the_whole() {
    let dir = TempDir::new().unwrap();
    let urls = ["own.db", "copy.db"].map(|name| format!("sqlite:{}", dir.path().join(name).display()));
    let archive = open(&urls[0], "").unwrap();
    furnish(&archive).await;
    let files = dir.path().join("files");
    command(dir.path(), &urls[0], &["export", files.to_str().unwrap()]).await;
    std::fs::remove_dir_all(files.join("phone_number_metrics/month=2026-11")).unwrap();
    let config = config(dir.path(), "127.0.0.1:9", &format!("[archive]\nurl = \"{}\"\n", urls[1]));
    let ran = run(&["archive", "import", files.to_str().unwrap(), "--config", config.to_str().unwrap()]).await;
    assert_eq!(ran.code, Some(1), "{ran:?}");
    assert!(ran.err.contains("month=2026-11") && ran.err.contains("rows, and 0 are there"), "{}", ran.err);
    let copy = open(&urls[1], "").unwrap();
    assert_eq!(copy.collected(channel("a"), span(0, 2_000)).await.unwrap(), [], "nothing is known to be empty");
}
