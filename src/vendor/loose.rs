//! Numbers as vendors write them: bare, or in a string. Their own SDKs check neither.

use std::borrow::Cow;
use std::fmt::Display;
use std::str::FromStr;

use serde::de::Error;
use serde::{Deserialize, Deserializer};

/// A number, or one in a string.
pub(super) fn number<'de, D, N>(from: D) -> Result<N, D::Error>
where
    D: Deserializer<'de>,
    N: Deserialize<'de> + FromStr<Err: Display>,
{
    #[derive(Deserialize)]
    #[serde(untagged)]
    enum Loose<'a, N> {
        Number(N),
        Text(#[serde(borrow)] Cow<'a, str>),
    }
    match Loose::deserialize(from)? {
        Loose::Number(number) => Ok(number),
        Loose::Text(text) => text.trim().parse().map_err(Error::custom),
    }
}
