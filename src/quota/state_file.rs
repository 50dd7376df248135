//! What carries the rule over a restart: one small file per account identity, locked while a process lives. Without the
//! file nobody knows how the last process ended, or whether it has.

use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::Rule;
use crate::domain::Account;
use crate::domain::digest::sha256_hex;

/// The lock on one account identity, and how its last holder ended.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    _name: Option<Name>,
    ended_cleanly: bool,
}

/// A name that one process of the machine can have, for as long as it lives. It holds where a file's lock does not: the
/// file may be deleted, and another one locked in its place.
#[cfg(target_os = "linux")]
type Name = std::os::unix::net::UnixListener;
#[cfg(not(target_os = "linux"))]
type Name = std::convert::Infallible;

/// Why an account cannot be taken.
#[derive(Debug, thiserror::Error)]
pub enum StateFileError {
    /// Another process holds it.
    #[error(
        "account `{account}` is in use by process {pid}: two processes on one account would overrun its quota; \
         stop the other one, or let both share their permits through Redis"
    )]
    InUse {
        /// The entry's name.
        account: String,
        /// The other process, as far as it wrote its number.
        pid: String,
    },
    /// The file cannot be opened, locked or written.
    #[error("cannot keep the state of account `{account}` in {path}: {source}; set `state_dir` to a writable folder")]
    Io {
        /// The entry's name.
        account: String,
        /// The file.
        path: PathBuf,
        /// What the system said.
        source: std::io::Error,
    },
}

#[derive(Serialize, Deserialize)]
struct State {
    pid: u32,
    ended_cleanly: bool,
}

impl StateFile {
    /// Takes the account for this process.
    ///
    /// # Errors
    /// [`StateFileError::InUse`] if another process has it, [`StateFileError::Io`] if the file cannot be kept.
    pub fn take(dir: &Path, account: &Account) -> Result<Self, StateFileError> {
        let path = dir.join(file_name(account));
        let io = |source| StateFileError::Io { account: account.name().to_owned(), path: path.clone(), source };
        std::fs::create_dir_all(dir).map_err(io)?;
        let mut file =
            OpenOptions::new().read(true).write(true).create(true).truncate(false).open(&path).map_err(io)?;
        let locked = file.try_lock();
        let mut text = String::new();
        file.read_to_string(&mut text).map_err(io)?;
        let last: Option<State> = serde_json::from_str(&text).ok();
        match locked {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = last.map_or_else(|| "unknown".to_owned(), |state| state.pid.to_string());
                return Err(StateFileError::InUse { account: account.name().to_owned(), pid });
            }
            Err(TryLockError::Error(source)) => return Err(io(source)),
        }
        let name = match take_name(&path) {
            Err(error) if error.kind() == std::io::ErrorKind::AddrInUse => {
                let pid = "unknown (its state file was deleted)".to_owned();
                return Err(StateFileError::InUse { account: account.name().to_owned(), pid });
            }
            Err(error) => {
                tracing::warn!(%error, "the account is guarded by its state file alone, which must not be deleted");
                None
            }
            Ok(name) => name,
        };
        // No file may be the first start ever, or a folder that was lost in a crash.
        let ended_cleanly = last.is_some_and(|state| state.ended_cleanly);
        let mut this = Self { file, _name: name, ended_cleanly };
        this.write(false).map_err(io)?;
        Ok(this)
    }

    /// How long all permits are out at the start.
    #[must_use]
    pub fn start_hold(&self, guard: Duration) -> Duration {
        if self.ended_cleanly { Rule::HOLD } else { guard + Rule::HOLD }
    }

    /// Notes that every call of this process is known to have been counted, and lets the account go.
    ///
    /// # Errors
    /// The file could not be written; the next start then waits for the guard as well.
    pub fn end_cleanly(mut self) -> std::io::Result<()> {
        self.write(true)
    }

    fn write(&mut self, ended_cleanly: bool) -> std::io::Result<()> {
        let text = serde_json::to_string(&State { pid: std::process::id(), ended_cleanly })?;
        self.file.seek(SeekFrom::Start(0))?;
        self.file.write_all(text.as_bytes())?;
        self.file.set_len(text.len() as u64)?;
        self.file.sync_data()
    }
}

/// Named by a hash, since the identity holds the key id.
fn file_name(account: &Account) -> String {
    format!("account-{}.json", hashed(account.quota_identity().as_bytes()))
}

fn hashed(secret: &[u8]) -> String {
    let mut name = sha256_hex(secret);
    name.truncate(24);
    name
}

/// A socket without a file, named after the path of the state file; the system takes it back when the process ends.
#[cfg(target_os = "linux")]
fn take_name(file: &Path) -> std::io::Result<Option<Name>> {
    use std::os::linux::net::SocketAddrExt;
    use std::os::unix::ffi::OsStrExt;
    use std::os::unix::net::SocketAddr;

    let path = hashed(file.canonicalize()?.as_os_str().as_bytes());
    Name::bind_addr(&SocketAddr::from_abstract_name(format!("weir-{path}"))?).map(Some)
}

/// Other systems know only sockets with files.
#[cfg(not(target_os = "linux"))]
fn take_name(_file: &Path) -> std::io::Result<Option<Name>> {
    Ok(None)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Vendor;

    const GUARD: Duration = Duration::from_secs(5);

    fn account(owner: &str) -> Account {
        Account::new(Vendor::VolcengineRtc, "calls", "rtc.example", owner)
    }

    #[test]
    fn a_second_holder_is_refused_and_told_who_has_it() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFile::take(dir.path(), &account("a")).unwrap();
        let refusal = StateFile::take(dir.path(), &account("a")).unwrap_err().to_string();
        assert!(refusal.contains(&std::process::id().to_string()), "{refusal}");
        StateFile::take(dir.path(), &account("b")).expect("another identity is another file");
        drop(first);
        StateFile::take(dir.path(), &account("a")).expect("free again");
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn a_deleted_file_lets_no_second_holder_in() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFile::take(dir.path(), &account("a")).unwrap();
        for file in std::fs::read_dir(dir.path()).unwrap() {
            std::fs::remove_file(file.unwrap().path()).unwrap();
        }
        for _ in 0..2 {
            let refusal = StateFile::take(dir.path(), &account("a")).unwrap_err().to_string();
            assert!(refusal.contains("its state file was deleted"), "{refusal}");
        }
        first.end_cleanly().unwrap();
        let next = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(next.start_hold(GUARD), Rule::HOLD + GUARD, "nobody can tell how it ended");
    }

    #[test]
    fn only_an_end_that_was_not_clean_costs_the_guard() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(first.start_hold(GUARD), Rule::HOLD + GUARD, "no file, which may be lost");
        first.end_cleanly().unwrap();
        let second = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(second.start_hold(GUARD), Rule::HOLD, "after a clean end");
        drop(second);
        let third = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(third.start_hold(GUARD), Rule::HOLD + GUARD, "after a crash");
        drop(third);
        std::fs::write(dir.path().join(file_name(&account("a"))), "").unwrap();
        let emptied = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(emptied.start_hold(GUARD), Rule::HOLD + GUARD, "an empty file");
        drop(emptied);
        std::fs::write(dir.path().join(file_name(&account("a"))), "{garbled").unwrap();
        let fourth = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(fourth.start_hold(GUARD), Rule::HOLD + GUARD, "an unreadable file");
    }
}
