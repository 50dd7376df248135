//! TLS by two files: a certificate and its key, which can be changed while connections are open.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, PoisonError, RwLock};

use rustls::ServerConfig;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::{Error as PemError, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::TlsAcceptor;
use x509_cert::der::Decode as _;

use crate::domain::Timestamp;

/// What makes connections of TLS. Who is connected already goes on with the certificate that it was shown.
pub struct Tls {
    certificate: PathBuf,
    key: PathBuf,
    certified: RwLock<Certified>,
}

/// A certificate with its key, ready to be shown.
#[derive(Debug, Clone)]
pub struct Certified {
    config: Arc<ServerConfig>,
    /// Of those in the file, from the certificate to its issuer, the end of the one that ends first.
    ends_at: Option<Timestamp>,
}

/// The files do not do for TLS.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum TlsError {
    /// What is wrong with the certificate.
    #[error("`http.tls.certificate`: {path}: {0}", path = .1.display())]
    Certificate(String, PathBuf),
    /// What is wrong with the key. Never shows anything of it.
    #[error("`http.tls.key`: {path}: {0}", path = .1.display())]
    Key(String, PathBuf),
}

impl Tls {
    /// Reads the files.
    ///
    /// # Errors
    /// A file that is not there or holds something else, and a key of another certificate.
    pub fn open(certificate: &Path, key: &Path) -> Result<Self, TlsError> {
        let certified = RwLock::new(read(certificate, key)?);
        Ok(Self { certificate: certificate.to_owned(), key: key.to_owned(), certified })
    }

    /// Reads the files again, for [`Tls::put`].
    ///
    /// # Errors
    /// As [`Tls::open`]; then the certificate of before stays.
    pub fn prepare(&self) -> Result<Certified, TlsError> {
        read(&self.certificate, &self.key)
    }

    /// Shows another certificate from now on.
    pub fn put(&self, certified: Certified) {
        *self.certified.write().unwrap_or_else(PoisonError::into_inner) = certified;
    }

    /// When what is shown now is valid no more, as far as that can be read.
    #[must_use]
    pub fn ends_at(&self) -> Option<Timestamp> {
        self.certified.read().unwrap_or_else(PoisonError::into_inner).ends_at
    }

    pub(super) fn acceptor(&self) -> TlsAcceptor {
        Arc::clone(&self.certified.read().unwrap_or_else(PoisonError::into_inner).config).into()
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("certificate", &self.certificate).field("key", &self.key).finish_non_exhaustive()
    }
}

fn read(certificate: &Path, key: &Path) -> Result<Certified, TlsError> {
    let bad_certificate = |why: String| TlsError::Certificate(why, certificate.to_owned());
    let bad_key = |why: String| TlsError::Key(why, key.to_owned());
    let no_certificate = |error| bad_certificate(in_words(error, "certificate", "BEGIN CERTIFICATE"));
    let chain = CertificateDer::pem_file_iter(certificate).map_err(no_certificate)?;
    let chain = chain.collect::<Result<Vec<_>, _>>().map_err(no_certificate)?;
    if chain.is_empty() {
        return Err(no_certificate(PemError::NoItemsFound));
    }
    let ends_at = chain.iter().filter_map(end_of).min();
    let private = PrivateKeyDer::from_pem_file(key);
    let private = private.map_err(|error| bad_key(in_words(error, "private key", "BEGIN PRIVATE KEY")))?;
    let builder = ServerConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().map_err(|error| bad_certificate(error.to_string()))?;
    let made = builder.with_no_client_auth().with_single_cert(chain, private);
    let mut config = made.map_err(|error| match error {
        rustls::Error::InconsistentKeys(_) => bad_key(format!("is not the key of {}", certificate.display())),
        rustls::Error::InvalidCertificate(_) => bad_certificate("holds a certificate that cannot be read".to_owned()),
        _ => bad_key("holds a key that cannot be used; an RSA key of 2048 bits or an EC key of P-256 can".to_owned()),
    })?;
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(Certified { config: Arc::new(config), ends_at })
}

fn end_of(certificate: &CertificateDer<'_>) -> Option<Timestamp> {
    let read = x509_cert::Certificate::from_der(certificate).ok()?;
    let end = read.tbs_certificate.validity.not_after.to_unix_duration();
    i64::try_from(end.as_millis()).ok().map(Timestamp::from_ms)
}

/// Never repeats what the file holds.
fn in_words(error: PemError, what: &str, mark: &str) -> String {
    match error {
        PemError::Io(error) if error.kind() == std::io::ErrorKind::NotFound => "no such file".to_owned(),
        PemError::Io(error) if error.kind() == std::io::ErrorKind::PermissionDenied => {
            "this user may not read it".to_owned()
        }
        PemError::Io(error) => format!("cannot be read: {}", error.kind()),
        _ => format!("holds no {what} in PEM, which begins with \"-----{mark}-----\""),
    }
}
