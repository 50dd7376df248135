//! HMAC and percent-encoding: primitives only, no scheme. What is signed, and in which order, stands in each
//! room's `signer`.

use hmac::{Hmac, KeyInit, Mac};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::Sha256;

/// All but the unreserved characters of RFC 3986, section 2.3.
const RESERVED: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'~');

/// Percent-encodes the UTF-8 of `text` by RFC 3986: only `A-Z a-z 0-9 - . _ ~` stay, hex digits are upper case.
#[must_use]
pub fn percent_encode(text: &str) -> String {
    utf8_percent_encode(text, RESERVED).to_string()
}

/// `name=value` pairs, percent-encoded and joined by `&` in the order given; an empty value stays as `name=`.
#[must_use]
pub fn encode_query(pairs: &[(&str, &str)]) -> String {
    let pairs: Vec<_> =
        pairs.iter().map(|(name, value)| format!("{}={}", percent_encode(name), percent_encode(value))).collect();
    pairs.join("&")
}

/// The HMAC-SHA256 of `message` under `key`.
#[must_use]
#[expect(clippy::expect_used, clippy::missing_panics_doc, reason = "HMAC takes a key of any length (RFC 2104)")]
pub fn hmac_sha256(key: &[u8], message: &[u8]) -> [u8; 32] {
    let mut mac = Hmac::<Sha256>::new_from_slice(key).expect("a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::digest::hex;
    use proptest::prelude::*;

    #[test]
    fn hashes_agree_with_the_published_examples() {
        // RFC 4231, test cases 2 and 6 (a key longer than a block).
        assert_eq!(
            hex(&hmac_sha256(b"Jefe", b"what do ya want for nothing?")),
            "5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"
        );
        assert_eq!(
            hex(&hmac_sha256(&[0xaa; 131], b"Test Using Larger Than Block-Size Key - Hash Key First")),
            "60e431591ee0b67f0d8a26aacbf5b77f8e0bc6213728c5140546040f0ee37f54"
        );
    }

    #[test]
    fn encodes_all_but_the_unreserved_characters() {
        assert_eq!(percent_encode("AZaz09-_.~"), "AZaz09-_.~");
        assert_eq!(percent_encode(" *+/:,é中"), "%20%2A%2B%2F%3A%2C%C3%A9%E4%B8%AD");
    }

    proptest! {
        #[test]
        fn encoding_is_undone_by_decoding_and_leaves_only_safe_characters(text in any::<String>()) {
            let encoded = percent_encode(&text);
            prop_assert!(encoded.bytes().all(|b| b.is_ascii_alphanumeric() || b"-_.~%".contains(&b)));
            let lower = |text: &str| text.bytes().filter(u8::is_ascii_lowercase).count();
            prop_assert_eq!(lower(&encoded), lower(&text), "hex digits are upper case");
            let decoded = percent_encoding::percent_decode_str(&encoded).decode_utf8().unwrap();
            prop_assert_eq!(decoded, text);
        }
    }
}
