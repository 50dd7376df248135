//! The one place that writes to stdout and stderr for people.

use std::io::{ErrorKind, Write};

use super::Failure;

/// Writes a finished text to stdout, with a line end if it has none. A reader that has gone away (`weir schema | head`)
/// is no failure.
///
/// # Errors
/// A stdout that cannot be written, such as a full disk.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let end: &[u8] = if text.is_empty() || text.ends_with('\n') { b"" } else { b"\n" };
    let written = out.write_all(text.as_bytes()).and_then(|()| out.write_all(end)).and_then(|()| out.flush());
    match written {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => {
            Err(Failure::failed(format!("the output cannot be written: {error}")))
        }
        _ => Ok(()),
    }
}

/// Shows `line` on a terminal's stderr, in the place of what was shown before.
pub(super) fn show(line: &str) {
    let _unwritable = write!(std::io::stderr().lock(), "\r{line}\x1b[K");
}

/// Tells a failure on stderr, on one line. A stderr that cannot be written leaves only the exit code.
pub fn complain(line: &str) {
    let line: String = line.chars().map(|letter| if letter.is_control() { ' ' } else { letter }).collect();
    let _unwritable = writeln!(std::io::stderr().lock(), "weir: {line}");
}
