//! Durations, sizes and addresses with their units, as people write them.

use std::fmt;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use bytesize::ByteSize;
use ipnet::IpNet;
use jiff::SignedDuration;
use serde::Deserialize;
use serde::de::{Deserializer, Error, Visitor};

use crate::domain::Timestamp;
use crate::domain::duration::parse_iso;

/// The longest duration that is taken: a year. Longer ones are slips of the pen, and far longer ones overflow clocks.
pub const LONGEST: Duration = Duration::from_hours(366 * 24);
/// The longest length of days: what the vendors' metrics may be asked back for.
const LONGEST_SPAN: Duration = Duration::from_hours(3_660 * 24);

/// Reads `"5m"`, `"8h30m"`, `"0s"` or ISO 8601 like `"PT5M"`.
///
/// # Errors
/// Text that is no duration, a negative one, or one above [`LONGEST`]; the message does not repeat the text.
pub fn parse_duration(text: &str) -> Result<Duration, &'static str> {
    let not_one = "not a duration; write hours, minutes and seconds, like \"5m\", \"8h30m\" or \"0s\"";
    let duration: SignedDuration = text.trim().parse().map_err(|_unhelpful: jiff::Error| not_one)?;
    let duration = Duration::try_from(duration).map_err(|_negative| "a duration cannot be negative")?;
    if duration > LONGEST { Err("longer than a year; the longest is \"8784h\"") } else { Ok(duration) }
}

/// Reads a length of days, `"P90D"`, or of less as [`parse_duration`] does. Ten years are the most.
///
/// # Errors
/// Text that is neither, nothing at all, or more; the message does not repeat the text.
pub fn parse_span(text: &str) -> Result<Duration, &'static str> {
    let text = text.trim();
    let length = parse_iso(text).or_else(|_| parse_duration(text));
    let length = length.map_err(|_unhelpful| "not a length of time; write days like \"P90D\", or hours like \"6h\"")?;
    match length {
        Duration::ZERO => Err("must be longer than zero"),
        length if length > LONGEST_SPAN => Err("longer than ten years; the longest is \"P3660D\""),
        length => Ok(length),
    }
}

/// The largest size that is taken. Larger ones are slips of the pen, and far larger ones overflow sums.
const LARGEST: u64 = 1 << 40;
const TOO_LARGE: &str = "more than any machine has for it; the largest is \"1TiB\"";

/// Reads `"256MiB"`, `"1GB"` or plain bytes.
///
/// # Errors
/// Text that is no size, or one above a tebibyte; the message does not repeat the text.
pub fn parse_size(text: &str) -> Result<u64, &'static str> {
    let size =
        text.parse::<ByteSize>().map_err(|_unhelpful| "not a size; write a number and its unit, like \"256MiB\"")?;
    if size.as_u64() > LARGEST { Err(TOO_LARGE) } else { Ok(size.as_u64()) }
}

/// Addresses of one network.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Net(pub IpNet);

impl<'de> Deserialize<'de> for Net {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(Text {
            expected: "an address or a network in quotes, like \"10.0.0.0/8\"",
            parse: parse_net,
            bare: None,
        })
    }
}

/// Reads an address, or a network like `"10.0.0.0/8"`.
///
/// # Errors
/// Anything else, host names too, and the network of all addresses.
pub fn parse_net(text: &str) -> Result<Net, &'static str> {
    let net = text.parse::<IpAddr>().map(IpNet::from).or_else(|_| text.parse::<IpNet>());
    match net.map_err(|_unhelpful| "not an address or a network; write it like \"127.0.0.1\" or \"10.0.0.0/8\"")? {
        all if all.prefix_len() == 0 => Err("would believe anybody; list the proxies themselves"),
        net => Ok(Net(net)),
    }
}

/// Reads an instant with its offset.
///
/// # Errors
/// Anything else.
pub fn parse_instant(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text).map_err(|_unhelpful| "not an instant; write one like \"2027-01-01T00:00:00Z\"")
}

/// Reads an address and port.
///
/// # Errors
/// Anything else, host names too: which addresses they mean is not the config's to find out.
pub fn parse_listen(text: &str) -> Result<SocketAddr, &'static str> {
    text.parse().map_err(|_unhelpful| "not an address and port; write them like \"127.0.0.1:8080\" or \"[::1]:8080\"")
}

pub(super) fn duration<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Text {
        expected: "a duration in quotes with its unit, like \"5m\", \"8h30m\" or \"0s\"",
        parse: parse_duration,
        bare: None,
    })
}

/// An instant, where one is said.
pub(super) fn instant<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Option<Timestamp>, D::Error> {
    let expected = "an instant in quotes, like \"2027-01-01T00:00:00Z\"";
    deserializer.deserialize_any(Text { expected, parse: parse_instant, bare: None }).map(Some)
}

pub(super) fn span<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Duration, D::Error> {
    deserializer.deserialize_any(Text {
        expected: "a length of time in quotes, like \"P90D\" or \"6h\"",
        parse: parse_span,
        bare: None,
    })
}

pub(super) fn size<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Text {
        expected: "a size in quotes with its unit, like \"256MiB\"",
        parse: parse_size,
        bare: Some(|bytes| u64::try_from(bytes).ok().filter(|bytes| *bytes <= LARGEST)),
    })
}

pub(super) fn listen<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SocketAddr, D::Error> {
    deserializer.deserialize_any(Text {
        expected: "an address and port in quotes, like \"127.0.0.1:8080\"",
        parse: parse_listen,
        bare: None,
    })
}

/// Text that `parse` understands; with `bare`, a plain number too.
struct Text<T> {
    expected: &'static str,
    parse: fn(&str) -> Result<T, &'static str>,
    bare: Option<fn(i64) -> Option<T>>,
}

impl<T> Visitor<'_> for Text<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.expected)
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<T, E> {
        (self.parse)(text).map_err(E::custom)
    }

    fn visit_i64<E: Error>(self, number: i64) -> Result<T, E> {
        let found = serde::de::Unexpected::Signed(number);
        match self.bare {
            Some(bare) => bare(number).ok_or_else(|| E::invalid_value(found, &self)),
            None => Err(E::invalid_type(found, &self)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_have_units() {
        for (text, seconds) in
            [("5m", 300), ("8h30m", 30_600), ("0s", 0), ("PT5M", 300), ("24h", 86_400), ("1h 1m 1s", 3_661)]
        {
            assert_eq!(parse_duration(text), Ok(Duration::from_secs(seconds)), "{text}");
        }
        assert_eq!(parse_duration("250ms"), Ok(Duration::from_millis(250)));
        for text in ["", "5", "five minutes", "-5m", "5m ago", "PT-5M", "9000h", "1 fortnight", "99999999999999999999h"]
        {
            assert!(parse_duration(text).is_err(), "{text}");
        }
    }

    #[test]
    fn spans_are_days_or_less() {
        for (text, hours) in [("P90D", 90 * 24), ("P7D", 168), ("6h", 6), ("PT6H", 6), ("P1DT12H", 36)] {
            assert_eq!(parse_span(text), Ok(Duration::from_hours(hours)), "{text}");
        }
        for text in ["", "0s", "P0D", "P1M", "90", "-P1D", "P3661D"] {
            assert!(parse_span(text).is_err(), "{text}");
        }
    }

    #[test]
    fn networks_are_addresses_or_have_a_length() {
        for (text, net) in [("127.0.0.1", "127.0.0.1/32"), ("10.0.0.0/8", "10.0.0.0/8"), ("fd00::/8", "fd00::/8")] {
            assert_eq!(parse_net(text).unwrap().0.to_string(), net, "{text}");
        }
        for text in ["", "proxy.example", "10.0.0.0/33", "10.0.0/8", "127.0.0.1:80", "0.0.0.0/0", "::/0"] {
            assert!(parse_net(text).is_err(), "{text}");
        }
    }

    #[test]
    fn sizes_have_units_or_are_bytes() {
        for (text, bytes) in
            [("256MiB", 268_435_456), ("1 MB", 1_000_000), ("1024", 1_024), ("1.5KiB", 1_536), ("1TiB", LARGEST)]
        {
            assert_eq!(parse_size(text), Ok(bytes), "{text}");
        }
        for text in ["", "25 cats", "-1MiB", "MiB"] {
            assert!(parse_size(text).is_err(), "{text}");
        }
        for text in ["1.1TiB", "16EiB", "15EiB", "18446744073709551615"] {
            assert_eq!(parse_size(text), Err(TOO_LARGE), "{text}");
        }
    }
}
