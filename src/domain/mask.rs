//! Phone numbers for those who may not read them: each has a name that stays, and that nobody can turn back.

use std::fmt;

use hmac::digest::array::Array;
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::PhoneNumber;

/// Digits at the end of a number that may be read.
const SHOWN: usize = 2;
/// Letters of a name: no two of a channel's numbers share one by chance.
const LETTERS: usize = 8;
/// What names are written with: no letter that is taken for another.
const ALPHABET: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";

/// Masks phone numbers. Names are the same wherever the secret is: at all replicas, and after a restart.
#[derive(Clone)]
pub struct Mask {
    keyed: Hmac<Sha256>,
}

impl Mask {
    /// Names by `secret`: who does not know it cannot try numbers out.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        // Of any length, by its definition.
        let keyed = Hmac::new_from_slice(secret).unwrap_or_else(|_| Hmac::new(&Array::default()));
        Self { keyed }
    }

    /// The masked number, such as `***48-k3f9m2xw`: its last two digits, and its name.
    #[must_use]
    pub fn of(&self, phone: &PhoneNumber) -> PhoneNumber {
        let digits = phone.expose();
        let shown = digits.get(digits.len().saturating_sub(SHOWN)..).unwrap_or_default();
        let name = self.keyed.clone().chain_update(digits).finalize().into_bytes();
        let letters = name.iter().take(LETTERS).filter_map(|byte| ALPHABET.get(usize::from(byte % 32)));
        let letters: String = letters.map(|letter| char::from(*letter)).collect();
        PhoneNumber::masked_as(&format!("***{shown}-{letters}"))
    }
}

impl Default for Mask {
    /// Where nobody is masked.
    fn default() -> Self {
        Self::new(&[])
    }
}

impl fmt::Debug for Mask {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Mask")
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::Key as _;

    #[test]
    fn a_number_keeps_its_name_and_nobody_else_has_it() {
        let (own, other) = (Mask::new(b"one"), Mask::new(b"two"));
        let phone = |n: u32| PhoneNumber::parse(&format!("86138{n:08}")).unwrap();
        let names: HashSet<_> = (0..10_000).map(|n| own.of(&phone(n)).expose().to_owned()).collect();
        assert_eq!(names.len(), 10_000);
        assert_eq!(own.of(&phone(48)), own.of(&phone(48)));
        assert_ne!(own.of(&phone(48)), other.of(&phone(48)), "the secret is what names them");
        let masked = own.of(&phone(48)).expose().to_owned();
        assert!(masked.starts_with("***48-") && masked.len() == 14 && !masked.contains("86138"), "{masked}");
        assert_eq!(PhoneNumber::read(&masked), Some(own.of(&phone(48))), "cursors hold it as it is");
    }
}
