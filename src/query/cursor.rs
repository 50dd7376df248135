//! Cursors of a connection: a place in the order of rows, bound to the query that made it.
//!
//! A cursor holds the place and the query's window, so that a walk over `last: …` goes on in the window it began with,
//! and a digest over the place and everything else the query says, so that a cursor of another query, or a damaged one,
//! is refused. It is no secret: whoever forged one could only name a place among rows they may see anyway.

use std::sync::OnceLock;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use sha2::{Digest, Sha256};

use crate::domain::{Key, Timestamp, Window};
use crate::error::WeirError;

/// Enough that no cursor of another query passes by chance.
const DIGEST_BYTES: usize = 9;

/// What cursors of one query are bound to.
#[derive(Debug)]
pub(super) struct Seal {
    parts: Vec<String>,
    window: Window,
    /// Their digest so far: most answers show no cursor.
    query: OnceLock<Sha256>,
}

/// A place behind which a page begins.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Position<K> {
    pub(super) key: K,
    pub(super) start: Timestamp,
}

impl Seal {
    /// `parts` and the window are everything that decides which rows there are.
    pub(super) fn new(parts: Vec<String>, window: Window) -> Self {
        Self { parts, window, query: OnceLock::new() }
    }

    /// The cursor of a row.
    pub(super) fn cursor(&self, key: &impl Key, start: Timestamp) -> String {
        let place = format!("{} {} {}", key.text(), start.as_ms(), self.window);
        URL_SAFE_NO_PAD.encode(format!("{} {place}", self.digest(&place)))
    }

    /// The place that `cursor` stands for.
    pub(super) fn open<K: Key>(&self, cursor: &str) -> Result<Position<K>, WeirError> {
        let text = decode(cursor)?;
        let (digest, place) = text.split_once(' ').ok_or_else(refusal)?;
        if digest != self.digest(place) {
            return Err(refusal());
        }
        // The last two words are the window's; a key may have blanks.
        let mut words = place.rsplitn(4, ' ').skip(2);
        let start = words.next().and_then(|ms| ms.parse().ok()).map(Timestamp::from_ms).ok_or_else(refusal)?;
        let key = words.next().and_then(K::read).ok_or_else(refusal)?;
        Ok(Position { key, start })
    }

    fn digest(&self, place: &str) -> String {
        let query = self.query.get_or_init(|| {
            self.parts.iter().chain([&self.window.to_string()]).fold(Sha256::new(), |query, part| {
                query.chain_update((part.len() as u64).to_be_bytes()).chain_update(part)
            })
        });
        let digest = query.clone().chain_update(place).finalize();
        URL_SAFE_NO_PAD.encode(&digest[..DIGEST_BYTES])
    }
}

/// The window of the query that made `cursor`, as far as it says; [`Seal::open`] is the check.
pub(super) fn window_of(cursor: &str) -> Result<Window, WeirError> {
    let text = decode(cursor)?;
    let (start, end) = text.rsplit_once(" [").and_then(|(_, window)| window.split_once(", ")).ok_or_else(refusal)?;
    let end = end.strip_suffix(')').ok_or_else(refusal)?;
    let instant = |text: &str| Timestamp::parse_rfc3339(text).map_err(|_| refusal());
    Window::new(instant(start)?, instant(end)?).ok_or_else(refusal)
}

fn decode(cursor: &str) -> Result<String, WeirError> {
    let bytes = URL_SAFE_NO_PAD.decode(cursor).map_err(|_| refusal())?;
    String::from_utf8(bytes).map_err(|_| refusal())
}

fn refusal() -> WeirError {
    WeirError::bad_input(
        "after is not a cursor of this query: pass an endCursor of the same arguments, or none to begin anew",
    )
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::PhoneNumber;

    fn seal(parts: &[&str]) -> Seal {
        let window = Window::new(Timestamp::from_ms(0), Timestamp::from_ms(86_400_000)).unwrap();
        Seal::new(parts.iter().map(|part| (*part).to_owned()).collect(), window)
    }

    #[test]
    fn a_cursor_opens_only_under_its_own_query() {
        let phone = PhoneNumber::parse("861380000").unwrap();
        let start = Timestamp::from_ms(1_756_742_399_000);
        let own = seal(&["anonymous", "retail", "cams-alpha"]);
        let cursor = own.cursor(&phone, start);
        assert_eq!(own.open(&cursor).unwrap(), Position { key: phone, start });
        assert_eq!(window_of(&cursor).unwrap(), own.window);
        assert!(seal(&["anonymous", "retail", "cams-beta"]).open::<PhoneNumber>(&cursor).is_err());
        assert!(seal(&["anonymous", "retailcams-alpha", ""]).open::<PhoneNumber>(&cursor).is_err());
        let other = Window::new(Timestamp::from_ms(0), Timestamp::from_ms(86_400_001)).unwrap();
        assert!(
            Seal { window: other, ..seal(&["anonymous", "retail", "cams-alpha"]) }
                .open::<PhoneNumber>(&cursor)
                .is_err()
        );
    }

    #[test]
    fn every_changed_character_is_noticed() {
        let own = seal(&["anonymous"]);
        let cursor = own.cursor(&PhoneNumber::parse("861380000").unwrap(), Timestamp::from_ms(5));
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(own.open::<PhoneNumber>(std::str::from_utf8(&forged).unwrap()).is_err(), "character {at}");
        }
        assert!(
            own.open::<PhoneNumber>("").is_err()
                && own.open::<PhoneNumber>("%%%").is_err()
                && window_of("bm9uZQ").is_err()
        );
    }
}
