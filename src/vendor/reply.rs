//! What a reply says before any vendor's own code is read: bare statuses, waits, and which of its words may be shown.

use std::time::Duration;

use http::header::RETRY_AFTER;
use http::{HeaderMap, StatusCode};

use crate::domain::CallErrorKind;

/// What a status means on its own, where the body names no code that the vendor documents.
#[must_use]
pub(super) fn kind_of_status(status: StatusCode) -> CallErrorKind {
    match status.as_u16() {
        429 => CallErrorKind::Throttled,
        401 | 403 => CallErrorKind::Denied,
        500..=599 => CallErrorKind::Unavailable,
        _ => CallErrorKind::BadReply,
    }
}

/// Waits longer than this are not believed: no vendor documents one, and a single reply must not stop an account for long.
const LONGEST_RETRY_AFTER: Duration = Duration::from_mins(1);

/// What `Retry-After` asks for, where it is a number of seconds, and at most a minute.
#[must_use]
pub(super) fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    number(headers, RETRY_AFTER.as_str()).map(|secs| Duration::from_secs(secs).min(LONGEST_RETRY_AFTER))
}

/// What the header `name` asks for in milliseconds, and at most a minute.
#[must_use]
pub(super) fn retry_after_ms(headers: &HeaderMap, name: &str) -> Option<Duration> {
    number(headers, name).map(|ms| Duration::from_millis(ms).min(LONGEST_RETRY_AFTER))
}

fn number(headers: &HeaderMap, name: &str) -> Option<u64> {
    headers.get(name)?.to_str().ok()?.trim().parse().ok()
}

/// A vendor's code or request id as it may be shown: trimmed (some end in a newline), and only if it looks like one.
/// Free text is dropped, for it may repeat what was sent.
#[must_use]
pub(super) fn shown(text: Option<&str>) -> Option<String> {
    const LONGEST: usize = 128;
    let text = text?.trim();
    let looks_like_an_id = (1..=LONGEST).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_graphic());
    looks_like_an_id.then(|| text.to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;
    use http::HeaderValue;

    #[test]
    fn bare_statuses_have_one_meaning_for_every_vendor() {
        for (status, kind) in [
            (429, CallErrorKind::Throttled),
            (401, CallErrorKind::Denied),
            (403, CallErrorKind::Denied),
            (500, CallErrorKind::Unavailable),
            (599, CallErrorKind::Unavailable),
            (400, CallErrorKind::BadReply),
            (408, CallErrorKind::BadReply),
            (307, CallErrorKind::BadReply),
            (200, CallErrorKind::BadReply),
        ] {
            assert_eq!(kind_of_status(StatusCode::from_u16(status).unwrap()), kind, "{status}");
        }
    }

    #[test]
    fn a_wait_is_read_and_bounded() {
        let headers = |value: &'static str| HeaderMap::from_iter([(RETRY_AFTER, HeaderValue::from_static(value))]);
        assert_eq!(retry_after(&headers("2")), Some(Duration::from_secs(2)));
        assert_eq!(retry_after_ms(&headers(" 700 "), "retry-after"), Some(Duration::from_millis(700)));
        assert_eq!(retry_after(&headers("18446744073709551615")), Some(LONGEST_RETRY_AFTER));
        for odd in ["Wed, 21 Oct 2026 07:28:00 GMT", "-1", ""] {
            assert_eq!(retry_after(&headers(odd)), None, "{odd}");
        }
        assert_eq!(retry_after(&HeaderMap::new()), None);
    }

    #[test]
    fn only_ids_are_shown() {
        assert_eq!(shown(Some(" 608F9CCA\n")).as_deref(), Some("608F9CCA"));
        assert_eq!(shown(Some("1612C226-D******")).as_deref(), Some("1612C226-D******"));
        for hidden in [None, Some(""), Some("\n"), Some("server string to sign is:"), Some("未知")] {
            assert_eq!(shown(hidden), None, "{hidden:?}");
        }
        assert_eq!(shown(Some(&"x".repeat(129))), None);
    }
}
