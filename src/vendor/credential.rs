//! The access key that a room signs with, and the headers that carry what it makes: nothing of either prints.

use http::HeaderValue;
use http::header::InvalidHeaderValue;
use secrecy::{ExposeSecret, SecretString};

/// An access key, with the token of a temporary one.
#[derive(Debug, Clone)]
pub struct Credential {
    /// The key's id.
    pub access_key_id: SecretString,
    /// The key's secret, used as text even where it looks like base64.
    pub access_key_secret: SecretString,
    /// The STS token of a temporary key.
    pub security_token: Option<SecretString>,
}

impl Credential {
    /// The key as a config holds it, where an empty token means none.
    #[must_use]
    pub fn of(id: &SecretString, secret: &SecretString, token: &SecretString) -> Self {
        let token = Some(token.clone()).filter(|token| !token.expose_secret().is_empty());
        Self { access_key_id: id.clone(), access_key_secret: secret.clone(), security_token: token }
    }
}

/// A header value that does not print.
pub(super) fn sensitive(value: &str) -> Result<HeaderValue, InvalidHeaderValue> {
    let mut value = HeaderValue::from_str(value)?;
    value.set_sensitive(true);
    Ok(value)
}
