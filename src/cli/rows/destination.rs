//! Where rows go: stdout, or a file that is put in its place once it is complete.

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use tempfile::NamedTempFile;

use crate::cli::Failure;

/// Where rows go. Dropped before its end, it leaves no file.
#[derive(Debug)]
pub(super) enum Destination {
    Stdout(io::Stdout),
    /// What is no file, such as a pipe with a name: nothing can be put in its place.
    Device(File),
    /// A file beside the one that it becomes.
    Beside(NamedTempFile, PathBuf),
}

impl Destination {
    /// `path`, or stdout.
    ///
    /// # Errors
    /// A file that cannot be made.
    pub(super) fn new(path: Option<&Path>) -> Result<Self, Failure> {
        let Some(path) = path else { return Ok(Self::Stdout(io::stdout())) };
        // What a link points to is written, and the link stays.
        let path = fs::canonicalize(path).unwrap_or_else(|_| path.to_owned());
        let refusal = |error: io::Error| Failure::usage(format!("--output {}: {error}", path.display()));
        let known = fs::metadata(&path).ok();
        if known.is_some_and(|known| !known.is_file()) {
            return File::options().write(true).open(&path).map(Self::Device).map_err(refusal);
        }
        let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
        let mut builder = tempfile::Builder::new();
        builder.prefix(".weir-rows-");
        // As other programs make files: what may be read by whom is decided by the umask.
        #[cfg(unix)]
        builder.permissions(std::os::unix::fs::PermissionsExt::from_mode(0o666));
        builder.tempfile_in(folder).map_err(refusal).map(|file| Self::Beside(file, path.clone()))
    }

    /// Puts a file in its place.
    ///
    /// # Errors
    /// What the disk cannot take.
    pub(super) fn finish(mut self) -> Result<(), Failure> {
        let flushed = self.flush();
        let put = match self {
            Self::Beside(file, path) => {
                flushed.and_then(|()| file.persist(path).map(drop).map_err(|failed| failed.error))
            }
            // A reader that has gone away is no failure.
            Self::Stdout(_) => flushed.or_else(|error| match error.kind() {
                io::ErrorKind::BrokenPipe => Ok(()),
                _ => Err(error),
            }),
            Self::Device(_) => flushed,
        };
        put.map_err(|error| Failure::failed(format!("the rows cannot be written: {error}")))
    }

    fn inner(&mut self) -> &mut dyn Write {
        match self {
            Self::Stdout(out) => out,
            Self::Device(out) => out,
            Self::Beside(out, _) => out,
        }
    }
}

impl Write for Destination {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.inner().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.inner().flush()
    }
}
