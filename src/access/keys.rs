//! Keys: made here, kept by whoever asks, known to weir by their hashes alone.

use std::fmt;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

use crate::domain::digest::hex;
use crate::domain::{Caller, Timestamp};

/// What keys begin with, so that one that was published by mistake is recognised.
const PREFIX: &str = "weir_";
/// Nobody guesses so many random bytes; a fast hash of them is as good as a slow one.
const BYTES: usize = 32;

/// A key that lets somebody in.
pub(super) struct Key {
    pub(super) hash: [u8; 32],
    pub(super) caller: Caller,
    /// From when on it lets nobody in any more.
    pub(super) expires: Option<Timestamp>,
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key")
            .field("caller", &self.caller.name())
            .field("expires", &self.expires)
            .finish_non_exhaustive()
    }
}

/// The key that was shown. How long it takes says nothing of how near a wrong one was, nor of which it is.
pub(super) fn find<'k>(keys: &'k [Key], shown: &str) -> Option<&'k Key> {
    let hash = Sha256::digest(shown.as_bytes());
    let mut found = u64::MAX;
    for (at, key) in keys.iter().enumerate() {
        let is_it: Choice = key.hash.as_slice().ct_eq(hash.as_slice());
        found = u64::conditional_select(&found, &(at as u64), is_it);
    }
    usize::try_from(found).ok().and_then(|found| keys.get(found))
}

/// A new key.
#[must_use]
pub fn generate() -> String {
    format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(rand::random::<[u8; BYTES]>()))
}

/// What the config knows a key by.
#[must_use]
pub fn hash_of(key: &str) -> String {
    format!("sha256:{}", hex(&Sha256::digest(key.as_bytes())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> Key {
        Key { hash: Sha256::digest(text.as_bytes()).into(), caller: Caller::Anonymous, expires: None }
    }

    #[test]
    fn the_key_that_was_shown_is_found() {
        let keys = [key("a"), key("b"), key("c")];
        for (at, text) in ["a", "b", "c"].into_iter().enumerate() {
            assert!(std::ptr::eq(find(&keys, text).unwrap(), &raw const keys[at]));
        }
        for text in ["", "d", "a ", "A"] {
            assert!(find(&keys, text).is_none(), "{text:?}");
        }
        assert!(find(&[], "a").is_none());
    }

    #[test]
    fn no_two_keys_are_alike() {
        let (one, other) = (generate(), generate());
        assert!(one != other && one.len() == PREFIX.len() + 43, "{one}");
        assert_eq!(hash_of("abc"), "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad");
    }
}
