//! `weir archive`: what the commands say, and that what goes out comes back the same.

use std::path::Path;
use std::time::Duration;

use tempfile::TempDir;

use crate::support::process::{Finished, Process, config, in_time, note_a_clean_end, run};
use crate::support::table::rows;

const TABLES: [&str; 4] = ["phone_number_metrics", "operation_distributions", "collected", "collected_phones"];
const WATCH: &str = "\n[[watch]]\ndataset = \"phone_number_metrics\"\nsince = \"P20D\"\n\n[[watch]]\ndataset = \"operation_distributions\"\nsince = \"P5D\"\n";

async fn archive(config: &Path, args: &[&str]) -> Finished {
    run(&[&["archive"], args, &["--config", config.to_str().unwrap()]].concat()).await
}

fn file(path: &Path) -> rusqlite::Connection {
    rusqlite::Connection::open(path).unwrap()
}

fn count(path: &Path, sql: &str) -> i64 {
    file(path).query_row(sql, [], |row| row.get(0)).unwrap()
}

/// A gateway has run for a while and was stopped; its config, and the file of its archive.
async fn collected(dir: &Path) -> (Process, std::path::PathBuf, std::path::PathBuf) {
    let vendors = Process::simulate(&["--seed", "3"]).await;
    let path = dir.join("weir.db");
    let more = format!("[archive]\nurl = \"sqlite:{}\"\n{WATCH}", path.display());
    let config = config(dir, &vendors.address, &more);
    let mut gateway = Process::serve(&config).await;
    let full = "SELECT count(*) FROM collected WHERE finality = 'FINAL' AND dataset = 'operation_distributions'";
    in_time(async {
        while !path.exists() || count(&path, full) < 3 {
            tokio::time::sleep(Duration::from_millis(50)).await;
        }
    })
    .await;
    gateway.terminate().await;
    gateway.ended().await;
    (vendors, config, path)
}

#[tokio::test]
async fn what_is_exported_is_taken_in_again_the_same() {
    let dir = TempDir::new().unwrap();
    let (_vendors, config, path) = collected(dir.path()).await;
    let before: Vec<_> = TABLES.map(|table| rows(&path, table)).into();
    assert!(before[0].len() > 50 && before[1].len() > 50, "{} {}", before[0].len(), before[1].len());
    for format in ["parquet", "csv"] {
        let out = dir.path().join(format);
        let out = out.to_str().unwrap();
        let exported = archive(&config, &["export", out, "--format", format]).await;
        assert_eq!(exported.code, Some(0), "{exported:?}");
        let other = dir.path().join(format!("{format}.db"));
        let text = std::fs::read_to_string(&config).unwrap();
        let second = dir.path().join(format!("{format}.toml"));
        std::fs::write(&second, text.replace("weir.db", &format!("{format}.db"))).unwrap();
        let imported = archive(&second, &["import", out]).await;
        assert_eq!(imported.code, Some(0), "{imported:?}");
        for (table, before) in TABLES.iter().zip(&before) {
            assert_eq!(&rows(&other, table), before, "{table} by {format}");
        }
        // Taken in twice it is known.
        let again = archive(&second, &["import", out]).await;
        assert!(again.out.starts_with("0 slices") || again.out.contains(" were known"), "{again:?}");
        assert_eq!(count(&other, "SELECT count(*) FROM restated"), 0);
    }
}

#[tokio::test]
async fn what_is_kept_is_told_and_verified() {
    let dir = TempDir::new().unwrap();
    let (_vendors, config, path) = collected(dir.path()).await;
    note_a_clean_end(&config);
    let status = archive(&config, &["status"]).await;
    assert_eq!(status.code, Some(0), "{status:?}");
    for part in [
        "phone_number_metrics",
        "operation_distributions",
        "cams-alpha",
        "DAILY",
        "PROVINCE P1D",
        "0 numbers were FINAL",
    ] {
        assert!(status.out.contains(part), "{part:?} is not in {}", status.out);
    }
    let verified = archive(&config, &["verify", "--samples", "4"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    assert!(verified.out.contains("4 windows were asked for again"), "{}", verified.out);
    // So are phone numbers that were asked for alone, which no message repeats.
    let phone = "8613999000077";
    let line = "INSERT INTO collected_phones SELECT dataset, account, entity, granularity, dimension, window_length, start_time, \
                end_time, finality, fetched_at, 3, '8613999000077' FROM collected WHERE granularity IS NOT NULL LIMIT 1";
    file(&path).execute(line, []).unwrap();
    let verified = archive(&config, &["verify", "--samples", "0"]).await;
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.err.contains("of a phone number: 0 rows are kept, and 3 were fetched"), "{}", verified.err);
    assert!(!format!("{verified:?}").contains(phone), "{verified:?}");
    file(&path).execute("DELETE FROM collected_phones", []).unwrap();
    // Somebody has meddled with it.
    let lost = "DELETE FROM phone_number_metrics WHERE rowid = (SELECT min(rowid) FROM phone_number_metrics WHERE finality = 'FINAL')";
    file(&path).execute(lost, []).unwrap();
    let verified = archive(&config, &["verify", "--samples", "0"]).await;
    assert_eq!(verified.code, Some(1), "{verified:?}");
    assert!(verified.err.contains("rows are kept, and") && verified.err.lines().count() == 1, "{verified:?}");
    file(&path).execute("UPDATE operation_distributions SET distinct_users = distinct_users + 1", []).unwrap();
    let verified = archive(&config, &["verify", "--samples", "200"]).await;
    assert!(verified.err.contains("numbers are told otherwise now"), "{verified:?}");
    assert!(count(&path, "SELECT count(*) FROM restated") > 0);
    let status = archive(&config, &["status"]).await;
    assert!(status.out.contains("distinct_users of"), "{}", status.out);
}

#[tokio::test]
async fn a_phone_number_is_forgotten() {
    let dir = TempDir::new().unwrap();
    let (_vendors, config, path) = collected(dir.path()).await;
    let phone: String = file(&path)
        .query_row("SELECT phone_number FROM phone_number_metrics ORDER BY 1 LIMIT 1", [], |row| row.get(0))
        .unwrap();
    let forgotten = archive(&config, &["forget", "--phone", &format!("+{phone}")]).await;
    assert_eq!(forgotten.code, Some(0), "{forgotten:?}");
    assert_eq!(count(&path, &format!("SELECT count(*) FROM phone_number_metrics WHERE phone_number = '{phone}'")), 0);
    assert!(!forgotten.out.contains(&phone));
    let bad = archive(&config, &["forget", "--phone", "nobody"]).await;
    assert_eq!(bad.code, Some(2), "{bad:?}");
}

#[tokio::test]
async fn without_an_archive_the_commands_say_so() {
    let dir = TempDir::new().unwrap();
    let config = config(dir.path(), "127.0.0.1:9", "");
    let status = archive(&config, &["status"]).await;
    assert_eq!(status.code, Some(2), "{status:?}");
    assert!(status.err.contains("set `[archive] url`"), "{}", status.err);
    let empty = dir.path().join("empty");
    std::fs::create_dir(&empty).unwrap();
    let text = std::fs::read_to_string(&config).unwrap();
    std::fs::write(&config, format!("{text}\n[archive]\nurl = \"sqlite:{}\"\n", dir.path().join("new.db").display()))
        .unwrap();
    let imported = archive(&config, &["import", empty.to_str().unwrap()]).await;
    assert_eq!(imported.code, Some(1), "{imported:?}");
    assert!(imported.err.contains("no export of an archive"), "{}", imported.err);
    let status = archive(&config, &["status"]).await;
    assert!(status.out.contains("Nothing is kept yet"), "{}", status.out);
}
