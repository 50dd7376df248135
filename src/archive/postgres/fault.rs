//! What went wrong between weir and PostgreSQL, sorted, in one line that holds neither a password nor a value of a row.

use std::error::Error as _;
use std::io;

use tokio_postgres::Error;
use tokio_postgres::error::SqlState;

use super::super::{ArchiveError, ArchiveErrorKind};

/// What went wrong.
#[derive(Debug)]
pub(super) enum Fault {
    /// While a connection was made.
    Connecting(Error),
    /// Later.
    Asking(Error),
    /// What was read cannot be what weir has written.
    Nonsense(&'static str),
    /// It must not be used as it is, for this reason.
    Unusable(String),
}

impl From<Error> for Fault {
    fn from(error: Error) -> Self {
        Self::Asking(error)
    }
}

/// What a fault means.
pub(super) fn explain(place: &str, fault: &Fault) -> ArchiveError {
    let (kind, message) = match fault {
        Fault::Nonsense(what) => {
            let message = format!("is damaged (a row holds no {what} where one belongs); put a backup in its place");
            (ArchiveErrorKind::Unusable, message)
        }
        Fault::Unusable(message) => (ArchiveErrorKind::Unusable, message.clone()),
        Fault::Connecting(error) | Fault::Asking(error) => match error.as_db_error() {
            // Never its detail, which repeats values of rows.
            Some(told) => of_server(told.code(), told.message()),
            None => of_connection(error, matches!(fault, Fault::Connecting(_))),
        },
    };
    ArchiveError { kind, place: place.to_owned(), message }
}

/// What the server has told.
fn of_server(code: &SqlState, told: &str) -> (ArchiveErrorKind, String) {
    let unusable = |mend: &str| (ArchiveErrorKind::Unusable, format!("{mend} ({told})"));
    let unavailable = |why: &str| (ArchiveErrorKind::Unavailable, format!("{why} ({told})"));
    match code.code() {
        "28P01" | "28000" => unusable("refuses the user or the password of `[archive] url`"),
        "3D000" => unusable("has no such database; create it first"),
        "42501" => unusable("does not let this user do what weir needs; let it create the schema `weir` or own it"),
        "42P01" | "42703" | "42804" | "42883" | "3F000" => {
            unusable("has tables in its schema `weir` that were changed by somebody else; put a backup in its place")
        }
        "53100" => unavailable("is on a full disk; what is fetched again later is kept then"),
        "53300" => unavailable("has no connection left"),
        "57014" | "55P03" | "25P03" => unavailable("takes too long"),
        "25006" => unavailable("may only be read; a server that stands by is no archive"),
        code if code.starts_with("XX") => unusable("is damaged; put a backup in its place"),
        code if code.starts_with("57P") => unavailable("is starting or stopping"),
        _ => unavailable("fails"),
    }
}

/// What the way to it has brought.
fn of_connection(error: &Error, is_connecting: bool) -> (ArchiveErrorKind, String) {
    let cause = error.source();
    let at_fault = cause.and_then(|cause| cause.downcast_ref::<io::Error>());
    let tls = at_fault.and_then(io::Error::get_ref).and_then(|inner| inner.downcast_ref::<rustls::Error>());
    let told = cause.map_or_else(|| error.to_string(), |cause| format!("{error}: {cause}"));
    match (tls, at_fault, cause) {
        (Some(rustls::Error::InvalidCertificate(_)), ..) => {
            let mend = "shows a certificate that this machine does not trust; name its issuer's by `sslrootcert`";
            (ArchiveErrorKind::Unusable, format!("{mend} ({told})"))
        }
        // Neither the network nor the server: no password where one is asked for, no TLS where it is wanted.
        (None, None, Some(_)) if is_connecting => {
            (ArchiveErrorKind::Unusable, format!("cannot be connected to as `[archive] url` says ({told})"))
        }
        _ if is_connecting => (ArchiveErrorKind::Unavailable, format!("cannot be reached ({told})")),
        _ => (ArchiveErrorKind::Unavailable, format!("has broken off ({told})")),
    }
}
