//! Parts of a file: what a `Range` header asks for, by RFC 9110.

use std::ops::RangeInclusive;

use axum::http::{HeaderMap, header};
use http_range_header::{EndPosition, StartPosition, SyntacticallyCorrectRange, parse_range_header};

/// What of a file is wanted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Part {
    /// All of it.
    Whole,
    /// Its bytes from the first to the last.
    Bytes(RangeInclusive<u64>),
    /// Bytes that it does not have.
    Nothing,
}

/// What of a file of `length` bytes, which is known by its `etag`, the caller wants. Several ranges at once are answered
/// whole, as the standard allows, and so is what cannot be read.
pub(super) fn wanted_part(headers: &HeaderMap, length: u64, etag: &str) -> Part {
    let Some(range) = headers.get(header::RANGE).and_then(|value| value.to_str().ok()) else { return Part::Whole };
    // The caller goes on with what it has only if that is still this file.
    if headers.get(header::IF_RANGE).is_some_and(|known| known != etag) {
        return Part::Whole;
    }
    let Ok(ranges) = parse_range_header(range) else { return Part::Whole };
    match ranges.ranges.as_slice() {
        [only] => part_of(only, length),
        _ => Part::Whole,
    }
}

fn part_of(range: &SyntacticallyCorrectRange, length: u64) -> Part {
    let first = match range.start {
        StartPosition::Index(first) => first,
        // More than there is: readers ask so for the end of a file whose length they do not know.
        StartPosition::FromLast(count) => length.saturating_sub(count),
    };
    let last = match range.end {
        EndPosition::Index(last) if last < first => return Part::Whole,
        EndPosition::Index(last) => last.min(length.saturating_sub(1)),
        EndPosition::LastByte => length.saturating_sub(1),
    };
    if first < length { Part::Bytes(first..=last) } else { Part::Nothing }
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderValue;

    use super::*;

    fn part(range: &'static str, if_range: Option<&'static str>) -> Part {
        let mut headers = HeaderMap::from_iter([(header::RANGE, HeaderValue::from_static(range))]);
        headers.extend(if_range.map(|known| (header::IF_RANGE, HeaderValue::from_static(known))));
        wanted_part(&headers, 100, "\"now\"")
    }

    #[test]
    fn one_range_is_answered_and_what_is_odd_is_answered_whole() {
        assert_eq!(wanted_part(&HeaderMap::new(), 100, "\"now\""), Part::Whole);
        for (range, wanted) in [
            ("bytes=0-0", Part::Bytes(0..=0)),
            ("bytes=10-19", Part::Bytes(10..=19)),
            ("bytes=90-", Part::Bytes(90..=99)),
            ("bytes=90-500", Part::Bytes(90..=99)),
            ("bytes=-8", Part::Bytes(92..=99)),
            ("bytes=-100", Part::Bytes(0..=99)),
            ("bytes=-65536", Part::Bytes(0..=99)),
            ("bytes=-0", Part::Whole),
            ("bytes=100-", Part::Nothing),
            ("bytes=200-300", Part::Nothing),
            ("bytes=0-1,5-6", Part::Whole),
            ("bytes=0-5,2-6", Part::Whole),
            ("bytes=5-2", Part::Whole),
            ("lines=0-1", Part::Whole),
            ("nonsense", Part::Whole),
        ] {
            assert_eq!(part(range, None), wanted, "{range}");
        }
        assert_eq!(part("bytes=0-1", Some("\"now\"")), Part::Bytes(0..=1));
        assert_eq!(part("bytes=0-1", Some("\"before\"")), Part::Whole);
    }
}
