//! What carries the rule over a restart: one small file per account identity, locked while a process lives.

use std::fmt::Write as _;
use std::fs::{File, OpenOptions, TryLockError};
use std::io::{Read, Seek, SeekFrom, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::Rule;
use crate::domain::Account;

/// The lock on one account identity, and how its last holder ended.
#[derive(Debug)]
pub struct StateFile {
    file: File,
    ended_cleanly: bool,
}

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
        // A new file is the first start ever; one that cannot be read is the trace of an end that was not clean.
        let ended_cleanly = text.is_empty() || last.is_some_and(|state| state.ended_cleanly);
        let mut this = Self { file, ended_cleanly };
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
    let digest = Sha256::digest(account.quota_identity());
    let name = digest.iter().take(12).fold(String::from("account-"), |mut name, byte| {
        // Writing to a string never fails.
        let _never_fails = write!(name, "{byte:02x}");
        name
    });
    name + ".json"
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

    #[test]
    fn only_an_end_that_was_not_clean_costs_the_guard() {
        let dir = tempfile::tempdir().unwrap();
        let first = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(first.start_hold(GUARD), Rule::HOLD, "the first start ever");
        first.end_cleanly().unwrap();
        let second = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(second.start_hold(GUARD), Rule::HOLD, "after a clean end");
        drop(second);
        let third = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(third.start_hold(GUARD), Rule::HOLD + GUARD, "after a crash");
        drop(third);
        std::fs::write(dir.path().join(file_name(&account("a"))), "{garbled").unwrap();
        let fourth = StateFile::take(dir.path(), &account("a")).unwrap();
        assert_eq!(fourth.start_hold(GUARD), Rule::HOLD + GUARD, "an unreadable file");
    }
}
