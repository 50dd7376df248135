//! `[[api_keys]]` and `[jwt]`: who may ask.

use std::collections::BTreeSet;

use serde::{Deserialize, Deserializer};

use super::units;
use crate::domain::{Class, Rights, Timestamp};

/// A key that lets somebody in. `weir key new` makes one.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ApiKey {
    /// Whose it is. Several entries of one name are several keys of one caller, while the old one is replaced.
    pub name: String,
    /// `sha256:` and the hash of the key.
    #[serde(deserialize_with = "hash")]
    pub hash: [u8; 32],
    /// The `CustSpaceId`s that it shows; all configured ones without it.
    #[serde(default)]
    pub channels: Option<Vec<String>>,
    /// The `AppId`s that it shows; all configured ones without it.
    #[serde(default)]
    pub apps: Option<Vec<String>>,
    /// Whether phone numbers are shown.
    #[serde(default)]
    pub phones: Phones,
    /// In which classes it may ask; all without it.
    #[serde(default)]
    pub classes: Option<Vec<Priority>>,
    /// The upstream calls that it may cause on a UTC day; without a bound without it.
    #[serde(default)]
    pub calls_per_day: Option<u64>,
    /// When it ends.
    #[serde(default, deserialize_with = "units::instant")]
    pub expires: Option<Timestamp>,
}

/// `[jwt]`: whose tokens let somebody in.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Jwt {
    /// The `iss` of its tokens.
    pub issuer: String,
    /// What their `aud` must name.
    pub audience: String,
    /// Where the issuer's public keys are: an `https://` URL, or a file.
    pub jwks: String,
    /// The signatures that are accepted.
    #[serde(default = "algorithms")]
    pub algorithms: Vec<Algorithm>,
}

/// Whether phone numbers are shown.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phones {
    /// As they are.
    #[default]
    Shown,
    /// By names that stand for them.
    Masked,
}

/// How urgent an ask is, as the config spells it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "SCREAMING_SNAKE_CASE")]
pub enum Priority {
    /// Somebody is looking at the screen.
    Interactive,
    /// A report or an export.
    Bulk,
    /// Nobody waits for it.
    Background,
}

/// A way of signing with a key pair. Shared secrets are none: whoever could check a token could make one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize)]
pub enum Algorithm {
    /// RSA, PKCS #1, SHA-256.
    RS256,
    /// RSA, PKCS #1, SHA-384.
    RS384,
    /// RSA, PKCS #1, SHA-512.
    RS512,
    /// RSA, PSS, SHA-256.
    PS256,
    /// RSA, PSS, SHA-384.
    PS384,
    /// RSA, PSS, SHA-512.
    PS512,
    /// Elliptic curve P-256, SHA-256.
    ES256,
    /// Elliptic curve P-384, SHA-384.
    ES384,
    /// Edwards curve.
    EdDSA,
}

impl From<Priority> for Class {
    fn from(priority: Priority) -> Self {
        match priority {
            Priority::Interactive => Self::Interactive,
            Priority::Bulk => Self::Bulk,
            Priority::Background => Self::Background,
        }
    }
}

impl Jwt {
    /// Whether the keys are fetched; they are in a file otherwise.
    #[must_use]
    pub fn is_fetched(jwks: &str) -> bool {
        jwks.contains("://")
    }
}

impl ApiKey {
    /// What whoever shows it may.
    #[must_use]
    pub fn rights(&self) -> Rights {
        rights(self.channels.as_deref(), self.apps.as_deref(), self.phones, self.classes.as_deref())
    }
}

/// What somebody may with these lists; all without one.
#[must_use]
pub fn rights(
    channels: Option<&[String]>,
    apps: Option<&[String]>,
    phones: Phones,
    classes: Option<&[Priority]>,
) -> Rights {
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<_>>();
    Rights {
        channels: channels.map(set),
        apps: apps.map(set),
        phones_masked: phones == Phones::Masked,
        classes: classes.map(|classes| classes.iter().copied().map(Class::from).collect()),
    }
}

fn algorithms() -> Vec<Algorithm> {
    vec![Algorithm::RS256, Algorithm::ES256]
}

fn hash<'de, D: Deserializer<'de>>(deserializer: D) -> Result<[u8; 32], D::Error> {
    let text = String::deserialize(deserializer)?;
    parse_hash(&text).ok_or_else(|| {
        serde::de::Error::custom(
            "not the hash of a key: write sha256: and 64 hex digits, as `weir key new` prints them",
        )
    })
}

fn parse_hash(text: &str) -> Option<[u8; 32]> {
    let digits = text
        .strip_prefix("sha256:")
        .filter(|digits| digits.len() == 64 && digits.bytes().all(|digit| digit.is_ascii_hexdigit()))?;
    let mut hash = [0; 32];
    for (at, byte) in hash.iter_mut().enumerate() {
        *byte = u8::from_str_radix(digits.get(2 * at..2 * at + 2)?, 16).ok()?;
    }
    Some(hash)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn hashes_are_whole() {
        let hash = "e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
        assert_eq!(parse_hash(&format!("sha256:{hash}")).map(|hash| hash[0]), Some(0xe3));
        for text in ["", hash, "sha256:", "sha256:e3", &format!("sha1:{hash}"), &format!("sha256:{}+1", &hash[..62])] {
            assert_eq!(parse_hash(text), None, "{text}");
        }
    }
}
