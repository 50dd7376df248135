//! Lengths of time as ISO 8601 writes them.

use std::time::Duration;

use jiff::{SignedDuration, Span, SpanRelativeTo};

use super::wording::echo;

/// Reads a length of time such as `P7D` or `PT30M`. A day is 24 hours and a week seven of them.
///
/// # Errors
/// What is wrong with it: no ISO 8601, months or years, which have no fixed length, negative, or too long.
pub fn parse_iso(text: &str) -> Result<Duration, String> {
    let problem = |why: &str| format!("`{}` {why}", echo(text));
    // jiff reads friendly forms such as `7 days` too; the contract is ISO 8601 alone.
    let span: Span = (text.starts_with(['P', 'p']).then(|| text.parse().ok()).flatten())
        .ok_or_else(|| problem("is not an ISO 8601 duration, such as P7D or PT30M"))?;
    if span.get_months() != 0 || span.get_years() != 0 {
        return Err(problem("has months or years, which have no fixed length: use days, such as P30D"));
    }
    let exact: Option<SignedDuration> = span.to_duration(SpanRelativeTo::days_are_24_hours()).ok();
    exact.and_then(|exact| Duration::try_from(exact).ok()).ok_or_else(|| problem("is negative or too long"))
}

/// Writes a length of time in days and what is left of them.
#[must_use]
pub fn format_iso(length: Duration) -> String {
    let exact = SignedDuration::try_from(length).unwrap_or(SignedDuration::MAX);
    let days = exact.as_hours() / 24;
    let rest = exact - SignedDuration::from_hours(days * 24);
    match (days, rest.is_zero()) {
        (0, _) => rest.to_string(),
        (_, true) => format!("P{days}D"),
        (_, false) => rest.to_string().replacen('P', &format!("P{days}D"), 1),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_iso_8601_without_months() {
        let hours = |n| Duration::from_hours(n);
        for (text, expected) in
            [("P7D", hours(168)), ("PT30M", hours(1) / 2), ("P1W", hours(168)), ("P1DT12H", hours(36))]
        {
            assert_eq!(parse_iso(text).unwrap(), expected, "{text}");
        }
        for text in ["7 days", "P1M", "P1Y", "-P1D", "", "P", "P99999999999999D", "7d"] {
            assert!(parse_iso(text).is_err(), "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_they_are_read() {
        for text in ["P7D", "PT30M", "P1DT12H", "PT8H30M", "P30D", "PT0S"] {
            assert_eq!(format_iso(parse_iso(text).unwrap()), text);
        }
    }
}
