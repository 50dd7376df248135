//! Walks over pages of flat rows. A cursor holds all that was asked, the instant at which the walk began, and the position of
//! the last row; with a digest over them, so that a damaged one and one of another path are refused. It is no secret:
//! whoever forges one asks what they may ask anyway, since it is read as any question is.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use crate::domain::{Caller, Timestamp};
use crate::error::WeirError;

/// Parameters as they came: names and values, in their order.
pub type Pairs = Vec<(String, String)>;

/// Enough that no damaged cursor passes by chance.
const DIGEST_BYTES: usize = 12;
/// By how much the clock that made a cursor may be ahead of the one that reads it.
const SKEW: Duration = Duration::from_mins(1);

/// A walk over pages.
#[derive(Debug, Clone, Serialize, Deserialize)]
pub(super) struct Walk {
    /// Where its pages are asked for.
    #[serde(skip)]
    pub(super) path: String,
    /// The parameters with which it began.
    pub(super) pairs: Pairs,
    /// When it began: ranges count back from there.
    pub(super) now: Timestamp,
    /// What stands for the channels and applications that it was about.
    pub(super) entities: String,
    /// Behind which row it goes on.
    pub(super) after: Option<RowPosition>,
}

/// The position of a row among all rows.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub(super) struct RowPosition {
    /// The nth of the channels and applications that were asked for.
    pub(super) entity: usize,
    /// The start of its bucket or window.
    pub(super) start: Timestamp,
    /// What rows of one start are ordered by.
    pub(super) name: String,
    /// The nth number of one row of its vendor.
    pub(super) nth: usize,
}

impl Default for Walk {
    fn default() -> Self {
        let (path, entities) = (String::new(), String::new());
        Self { path, pairs: Vec::new(), now: Timestamp::from_ms(0), entities, after: None }
    }
}

impl Walk {
    /// The cursor with which the walk goes on behind `position`.
    pub(super) fn cursor(&self, position: RowPosition) -> String {
        let walk = Self { after: Some(position), ..self.clone() };
        // Texts, numbers and a list of them have no form that cannot be written.
        let text = serde_json::to_string(&walk).unwrap_or_default();
        URL_SAFE_NO_PAD.encode(format!("{}{text}", digest(&self.path, &text)))
    }

    /// The walk that `cursor` goes on with, for whoever asks at `now`.
    pub(super) fn open(path: &str, cursor: &str, now: Timestamp) -> Result<Self, WeirError> {
        let text = URL_SAFE_NO_PAD.decode(cursor).ok().and_then(|bytes| String::from_utf8(bytes).ok());
        let text = text.ok_or_else(refusal)?;
        let (sum, text) = text.split_at_checked(digest("", "").len()).ok_or_else(refusal)?;
        if sum != digest(path, text) {
            return Err(refusal());
        }
        let walk: Self = serde_json::from_str(text).map_err(|_| refusal())?;
        // Clocks of replicas differ a little; ranges that count back from a time to come do not exist.
        if walk.now > now + SKEW {
            return Err(refusal());
        }
        Ok(Self { path: path.to_owned(), ..walk })
    }

    /// Notes who asks, and whose rows it is about: accounts, and channels or applications. Where it goes on, they must be the
    /// same still: places count them, and name what the caller was shown.
    pub(super) fn goes_on_with(&mut self, caller: &Caller, entities: &[(&str, &str)]) -> Result<(), WeirError> {
        let entities = digest(caller.scope(), &serde_json::to_string(entities).unwrap_or_default());
        if self.after.is_some() && self.entities != entities {
            return Err(WeirError::bad_input(
                "the caller, or the channels or applications that it may see, are not those that the cursor's walk began with; \
                 begin anew",
            ));
        }
        self.entities = entities;
        Ok(())
    }
}

fn digest(path: &str, text: &str) -> String {
    let digest = Sha256::new().chain_update((path.len() as u64).to_be_bytes()).chain_update(path).chain_update(text);
    let digest = digest.finalize();
    URL_SAFE_NO_PAD.encode(digest.get(..DIGEST_BYTES).unwrap_or_default())
}

fn refusal() -> WeirError {
    WeirError::bad_input("cursor is not one of this path: pass `next` of the page before, or none to begin anew")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_cursor_opens_only_on_its_own_path_and_undamaged() {
        let pairs = vec![("last".to_owned(), "P7D".to_owned())];
        let walk = Walk { path: "a.csv".to_owned(), pairs, now: Timestamp::from_ms(5), ..Walk::default() };
        let position = RowPosition { entity: 1, start: Timestamp::from_ms(7), name: "上海 1".to_owned(), nth: 0 };
        let cursor = walk.cursor(position.clone());
        let opened = Walk::open("a.csv", &cursor, walk.now).unwrap();
        assert_eq!((opened.after, opened.pairs, opened.now), (Some(position), walk.pairs.clone(), walk.now));
        assert!(Walk::open("a.csv", &cursor, walk.now - 2 * SKEW).is_err(), "made in a time to come");
        assert!(Walk::open("a.json", &cursor, walk.now).is_err());
        for at in 0..cursor.len() {
            let mut forged = cursor.clone().into_bytes();
            forged[at] = if forged[at] == b'A' { b'B' } else { b'A' };
            assert!(Walk::open("a.csv", std::str::from_utf8(&forged).unwrap(), walk.now).is_err(), "character {at}");
        }
        for short in ["", "%", "AAAA", "bm9uZQ"] {
            assert!(Walk::open("a.csv", short, walk.now).is_err());
        }
    }
}
