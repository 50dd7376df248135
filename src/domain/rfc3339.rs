//! Many instants as text, one after the other: neighbours share their day.

use super::Timestamp;

const DAY_MS: i64 = 86_400_000;

/// Writes instants as RFC 3339 in UTC, as [`Timestamp`] prints them.
#[derive(Debug, Default)]
pub struct InstantWriter {
    /// The last day written: days since the epoch, and its text.
    day: Option<(i64, String)>,
    /// The last instant written that is no whole second: rows that came together share when they were fetched.
    odd: Option<(Timestamp, String)>,
}

impl InstantWriter {
    /// Appends `at`.
    pub fn write(&mut self, at: Timestamp, out: &mut Vec<u8>) {
        let (day, ms) = (at.as_ms().div_euclid(DAY_MS), at.as_ms().rem_euclid(DAY_MS));
        if ms % 1_000 != 0 {
            if self.odd.as_ref().is_none_or(|(known, _)| *known != at) {
                self.odd = Some((at, at.to_string()));
            }
            out.extend_from_slice(self.odd.as_ref().map_or(&[], |(_, text)| text.as_bytes()));
            return;
        }
        if self.day.as_ref().is_none_or(|(known, _)| *known != day) {
            let midnight = Timestamp::from_ms(day * DAY_MS).to_string();
            self.day = Some((day, midnight.split('T').next().unwrap_or_default().to_owned()));
        }
        let secs = ms / 1_000;
        let digits = |n: i64| [b'0' + u8::try_from(n / 10).unwrap_or(0), b'0' + u8::try_from(n % 10).unwrap_or(0)];
        let ([h1, h2], [m1, m2], [s1, s2]) = (digits(secs / 3_600), digits(secs / 60 % 60), digits(secs % 60));
        out.extend_from_slice(self.day.as_ref().map_or(&[], |(_, text)| text.as_bytes()));
        out.extend_from_slice(&[b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'Z']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_they_are_printed() {
        let mut writer = InstantWriter::default();
        for text in [
            "2026-11-22T10:20:30Z",
            "2026-11-22T23:59:59Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:00:00.5Z",
            "2026-01-01T00:00:00.25Z",
            "0001-01-01T00:00:00Z",
        ] {
            let at = Timestamp::parse_rfc3339(text).unwrap();
            let mut out = b"x".to_vec();
            writer.write(at, &mut out);
            assert_eq!(String::from_utf8(out).unwrap(), format!("x{at}"));
        }
    }
}
