//! Points of series whose numbers add up, as far as rows are chosen and put in order.

use super::{Finality, PhoneNumber, Timestamp};

/// What the points of one subject are told apart by, beside their time: a phone number, a language.
pub trait Key: Ord + Sized {
    /// As text that [`read`](Self::read) takes.
    fn text(&self) -> &str;

    /// From its text.
    fn read(text: &str) -> Option<Self>;
}

/// What a vendor says of one key in one bucket, with the vendor's own edges.
pub trait Point {
    /// What rows are ordered by before their time.
    type Key: Key;

    /// Whose numbers.
    fn key(&self) -> &Self::Key;

    /// The bucket's first instant.
    fn start(&self) -> Timestamp;

    /// The first instant after the bucket.
    fn end(&self) -> Timestamp;

    /// Whether the vendor may still change the numbers.
    fn finality(&self) -> Finality;
}

impl Key for PhoneNumber {
    fn text(&self) -> &str {
        self.expose()
    }

    fn read(text: &str) -> Option<Self> {
        Self::read_shown(text)
    }
}
