//! Certificates that are their own issuers, made by openssl.

use std::path::{Path, PathBuf};
use std::process::Command;

use super::require;

/// The certificate at `certificate` and its key at `key`, for `name` as openssl has it, such as `IP:127.0.0.1`; `None` where
/// there is no openssl, after saying so.
pub(crate) fn make(certificate: PathBuf, key: &Path, name: &str) -> Option<PathBuf> {
    lasting(certificate, key, name, 30)
}

/// The same, for so many days.
pub(crate) fn lasting(certificate: PathBuf, key: &Path, name: &str, days: u32) -> Option<PathBuf> {
    let openssl = require::program("openssl", "install it (Debian: apt-get install openssl)")?;
    let made = Command::new(openssl)
        .args(["req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days"])
        .arg(days.to_string())
        .args(["-subj", "/CN=weir", "-addext", "basicConstraints=critical,CA:FALSE"])
        .args(["-addext", &format!("subjectAltName={name}"), "-keyout"])
        .arg(key)
        .arg("-out")
        .arg(&certificate)
        .output()
        .unwrap();
    assert!(made.status.success(), "{}", String::from_utf8_lossy(&made.stderr));
    Some(certificate)
}
