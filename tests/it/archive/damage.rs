//! Files that must not be used as they are, and disks that are full: each is said in a line, and nothing is read that weir has
//! not written.

use std::os::unix::fs::{PermissionsExt, chown};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use rusqlite::Connection;
use tempfile::TempDir;
use weir::archive::{Archive, ArchiveError, ArchiveErrorKind, Dated, Sqlite, open};
use weir::domain::ArchivedSlice;

use super::stores::{FINAL, channel, dated, read, row, span, write};
use crate::support::postgres::Postgres;
use crate::support::require;

fn at(path: &Path) -> Result<Arc<dyn Archive>, ArchiveError> {
    open(&format!("sqlite:{}", path.display()), "")
}

fn day(day: u32, phones: u32) -> Dated {
    let rows = (0..phones).map(|phone| row(&format!("8613{phone:08}"), day * 24 + 3, 7, FINAL)).collect();
    dated(&channel("a"), span(day * 24, day * 24 + 24), 900, FINAL, rows)
}

fn sorted(mut slices: Vec<ArchivedSlice>) -> Vec<ArchivedSlice> {
    for slice in &mut slices {
        slice.rows.sort_by(|one, other| one.name.cmp(&other.name));
    }
    slices
}

/// A file of some pages, closed, with what is in it.
async fn file(dir: &Path) -> (PathBuf, Vec<ArchivedSlice>) {
    let path = dir.join("weir.db");
    let archive = at(&path).unwrap();
    write(&archive, &(0..6).map(|n| day(n, 80)).collect::<Vec<_>>()).await;
    let kept = sorted(read(&archive, &channel("a"), span(0, 480)).await);
    assert_eq!(kept.len(), 6);
    drop(archive);
    Connection::open(&path).unwrap().execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    (path, kept)
}

fn refused(opened: Result<Arc<dyn Archive>, ArchiveError>, parts: &[&str]) {
    let error = opened.unwrap_err();
    assert_eq!(error.kind, ArchiveErrorKind::Unusable, "{error}");
    let line = error.to_string();
    assert!(parts.iter().all(|part| line.contains(part)) && !line.contains('\n'), "{line}");
}

#[tokio::test]
async fn a_file_that_is_no_archive_is_left_as_it_is() {
    let dir = TempDir::new().unwrap();
    let other = dir.path().join("other.db");
    Connection::open(&other).unwrap().execute_batch("CREATE TABLE dams (n INT); INSERT INTO dams VALUES (1)").unwrap();
    let text = dir.path().join("notes.txt");
    std::fs::write(&text, "what the weir holds back ".repeat(400)).unwrap();
    let (newer, _) = file(dir.path()).await;
    Connection::open(&newer).unwrap().execute_batch("PRAGMA user_version = 99").unwrap();
    let cases: [(&Path, &[&str]); 3] = [
        (&other, &["is a database of another program", "name another file"]),
        (&text, &["is damaged", "not a database"]),
        (&newer, &["was written by a newer weir (schema 99, this one knows 1)", "update weir"]),
    ];
    for (path, parts) in cases {
        let before = std::fs::read(path).unwrap();
        refused(at(path), parts);
        refused(at(path), &[&path.display().to_string()]);
        assert_eq!(std::fs::read(path).unwrap(), before, "{}", path.display());
    }
    refused(at(&dir.path().join("nowhere/weir.db")), &["cannot be opened", "folder"]);
}

/// Wherever a page is overwritten or the file ends too soon: it is refused, or what is read is what was written.
#[tokio::test]
async fn a_damaged_file_is_named_and_never_silently_used() {
    let dir = TempDir::new().unwrap();
    let (path, kept) = file(dir.path()).await;
    let sound = std::fs::read(&path).unwrap();
    let (page, mut refusals) = (4_096, 0);
    let pages = sound.len() / page;
    assert!(pages > 20, "{pages}");
    let garbage = |n: usize| {
        let mut bytes = sound.clone();
        bytes[n * page..(n + 1) * page]
            .iter_mut()
            .zip(1_u32..)
            .for_each(|(byte, at)| *byte = u8::try_from(at * 31 % 251).unwrap());
        bytes
    };
    let cut = |n: usize| sound[..n * page + page / 2].to_vec();
    for bytes in (0..pages).map(garbage).chain((1..pages).map(cut)) {
        std::fs::write(&path, bytes).unwrap();
        match at(&path) {
            Err(error) => {
                refusals += 1;
                refused(Err(error), &["is damaged (", "put a backup in its place", "`weir archive set-aside`"]);
            }
            Ok(archive) => {
                assert_eq!(sorted(read(&archive, &channel("a"), span(0, 480)).await), kept);
                assert_eq!(archive.miscounts().await.unwrap(), []);
            }
        }
        for left in ["-wal", "-shm"] {
            drop(std::fs::remove_file(format!("{}{left}", path.display())));
        }
    }
    assert!(refusals > pages, "{refusals} of {}", pages * 2);
}

#[tokio::test]
async fn a_value_that_weir_has_not_written_is_damage() {
    for spoilt in [
        "fetched_at = 'yesterday'",
        "end_time = '1969-01-01 00:00:00.000000'",
        "finality = 'MAYBE'",
        "sent_count = 'many'",
        "phone_number = x'ff'",
        "phone_number = CAST(x'ff' AS TEXT)",
    ] {
        let dir = TempDir::new().unwrap();
        let (path, _) = file(dir.path()).await;
        let archive = at(&path).unwrap();
        let by_hand = Connection::open(&path).unwrap();
        by_hand.execute_batch(&format!("UPDATE phone_number_metrics SET {spoilt} WHERE rowid = 7")).unwrap();
        let want =
            weir::archive::Want { key: Arc::new(channel("a")), windows: weir::archive::Windows::Within(span(0, 24)) };
        let error = archive.read(vec![want.clone()]).await.unwrap_err();
        assert_eq!(error.kind, ArchiveErrorKind::Unusable, "{spoilt}: {error}");
        assert!(error.message.contains("is damaged (") && !error.message.contains("yesterday"), "{error}");
        // It is not used any more, whatever is asked.
        let error = archive.write(Arc::new(vec![day(9, 1)])).await.unwrap_err();
        assert_eq!(error.kind, ArchiveErrorKind::Unusable, "{spoilt}: {error}");
    }
}

#[tokio::test]
async fn a_damaged_file_is_set_aside_with_its_log_and_a_new_one_begun() {
    let dir = TempDir::new().unwrap();
    let (path, _) = file(dir.path()).await;
    std::fs::write(&path, b"nothing of ours").unwrap();
    std::fs::write(dir.path().join("weir.db-wal"), b"its log").unwrap();
    let aside = Sqlite::set_aside(&path).unwrap();
    let name = aside.file_name().unwrap().to_str().unwrap();
    assert!(name.starts_with("weir.db.damaged-20") && name.ends_with('Z'), "{name}");
    assert_eq!(std::fs::read(&aside).unwrap(), b"nothing of ours");
    assert_eq!(std::fs::read(dir.path().join(format!("{name}-wal"))).unwrap(), b"its log");
    assert!(!path.exists() && !dir.path().join("weir.db-wal").exists());
    let archive = at(&path).unwrap();
    assert_eq!(archive.holdings().await.unwrap(), []);
    // Not from under a weir that runs.
    assert!(archive.lead().await.unwrap());
    let error = Sqlite::set_aside(&path).unwrap_err();
    assert!(error.message.contains("in use"), "{error}");
    assert!(path.exists());
    drop(archive);
    Sqlite::set_aside(&path).unwrap();
    assert_eq!(Sqlite::set_aside(&path).unwrap_err().message, "is not there");
}

/// Runs `weir serve` as somebody who may not do everything.
fn serve(dir: &Path, archive: &Path) -> (Option<i32>, String) {
    const NOBODY: u32 = 65_534;
    let config = dir.join("weir.toml");
    let text = format!(
        "state_dir = \"{}\"\n[archive]\nurl = \"sqlite:{}\"\n[[alibaba_cams]]\nname = \"retail\"\nchannels = [\"a\"]\n\
         endpoint = \"http://127.0.0.1:1\"\naccess_key_id = \"a\"\naccess_key_secret = \"b\"\n",
        dir.join("state").display(),
        archive.display()
    );
    std::fs::write(&config, text).unwrap();
    let mut command = Command::new(env!("CARGO_BIN_EXE_weir"));
    command.args(["serve", "--listen", "127.0.0.1:0", "--config"]).arg(&config).env_clear();
    if chown(dir, Some(NOBODY), Some(NOBODY)).is_ok() {
        command.uid(NOBODY).gid(NOBODY);
    }
    let output = command.output().unwrap();
    (output.status.code(), String::from_utf8(output.stderr).unwrap())
}

#[tokio::test]
async fn a_folder_or_a_file_that_cannot_be_written_is_named_at_the_start() {
    let dir = TempDir::new().unwrap();
    let mode = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
    mode(dir.path(), 0o755);
    let folder = dir.path().join("archive");
    std::fs::create_dir(&folder).unwrap();
    let (path, _) = file(&folder).await;
    let new = folder.join("new.db");
    mode(&path, 0o444);
    mode(&folder, 0o555);
    for (archive, part) in [(&new, "must be there and be writable"), (&path, "must be")] {
        let (code, told) = serve(dir.path(), archive);
        let lines: Vec<&str> = told.lines().filter(|line| line.starts_with("weir: ")).collect();
        assert_eq!(code, Some(1), "{told}");
        assert!(lines.len() == 1 && lines[0].contains(part), "{told}");
        assert!(!told.contains("damaged"), "{told}");
    }
    // A file alone, in a folder that may be written.
    mode(&folder, 0o777);
    let (code, told) = serve(dir.path(), &path);
    assert_eq!(code, Some(1), "{told}");
    assert!(told.contains("cannot be written") && !told.contains("damaged"), "{told}");
}

/// A disk of a few megabytes, where we may make one.
struct SmallDisk(TempDir);

impl SmallDisk {
    fn new(size: &str) -> Option<Self> {
        let dir = TempDir::new().unwrap();
        let mounted = mount(&["-t", "tmpfs", "-o", &format!("size={size}"), "tmpfs"], dir.path());
        let path = require::there_or_left_out("a disk of its own", mounted.then(|| dir.path().to_owned()), "be root")?;
        std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o777)).unwrap();
        Some(Self(dir))
    }

    fn grow(&self, size: &str) {
        assert!(mount(&["-o", &format!("remount,size={size}")], self.0.path()));
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        drop(Command::new("umount").arg("--lazy").arg(self.0.path()).status());
    }
}

fn mount(args: &[&str], path: &Path) -> bool {
    Command::new("mount").args(args).arg(path).output().is_ok_and(|mounted| mounted.status.success())
}

/// Writes day after day until one finds no room; how many did.
async fn fill(archive: &Arc<dyn Archive>) -> (u32, ArchiveError) {
    for n in 0..500 {
        if let Err(error) = archive.write(Arc::new(vec![day(n, 1_000)])).await {
            return (n, error);
        }
    }
    panic!("{archive:?} is never full");
}

/// What was written stays, what finds no room is told, and once there is room it is written.
async fn fills_and_goes_on(archive: &Arc<dyn Archive>, disk: &SmallDisk) {
    let (days, error) = fill(archive).await;
    assert!(days > 2, "{error}");
    assert_eq!(error.kind, ArchiveErrorKind::Unavailable, "{error}");
    assert!(error.message.contains("full disk"), "{error}");
    let again = archive.write(Arc::new(vec![day(days, 1_000)])).await.unwrap_err();
    assert_eq!(again.kind, ArchiveErrorKind::Unavailable, "{again}");
    let kept = read(archive, &channel("a"), span(0, 24 * 500)).await;
    assert_eq!(kept.len(), days as usize, "all that was written, and nothing of what was not");
    assert!(kept.iter().all(|slice| slice.rows.len() == 1_000));
    assert_eq!(archive.miscounts().await.unwrap(), []);
    disk.grow("64m");
    assert_eq!(write(archive, &[day(days, 1_000)]).await.rows, 1_000);
    assert_eq!(archive.miscounts().await.unwrap(), []);
}

#[tokio::test]
async fn a_file_on_a_full_disk_keeps_what_it_has() {
    let Some(disk) = SmallDisk::new("3m") else { return };
    let archive = at(&disk.0.path().join("weir.db")).unwrap();
    fills_and_goes_on(&archive, &disk).await;
}

#[tokio::test]
async fn a_database_on_a_full_disk_keeps_what_it_has() {
    let Some(server) = Postgres::start().await else { return };
    let Some(disk) = SmallDisk::new("16m") else { return };
    server.move_to(disk.0.path()).await;
    let archive = open(&server.url(), "").unwrap();
    archive.prepare().await.unwrap();
    fills_and_goes_on(&archive, &disk).await;
}
