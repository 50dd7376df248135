//! `weir simulate`: both vendors' APIs alone, for SDKs, tests and front ends without vendor accounts.

use std::net::SocketAddr;
use std::sync::Arc;

use jiff::tz::Offset;
use secrecy::{ExposeSecret, SecretString};
use tokio::net::TcpListener;

use super::stop::until_told;
use super::{Failure, bind, block_on, output};
use crate::config::units;
use crate::domain::{Clock, ManualClock, SystemClock, Timestamp};
use crate::sim::{self, Simulator, SimulatorConfig};

/// The seed of the invented data unless told otherwise.
pub const DEFAULT_SEED: u64 = 1;
/// Where the simulator listens unless told otherwise.
pub const DEFAULT_LISTEN: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(std::net::Ipv4Addr::LOCALHOST), 9090);

/// Simulate both vendors' APIs on one port, told apart by the operation's name.
///
/// The key `weir-demo` with the secret `weir-demo-secret` is accepted for both vendors.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir simulate
  weir simulate --listen 127.0.0.1:9191 --key my-id:my-secret --key other-id:other-secret
  weir simulate --clock 2026-09-01T08:30:15Z --bucket-offset +02:00 --seed 7

Point an SDK at it as plain http, or a config of weir: endpoint = \"http://127.0.0.1:9090\".")]
pub struct Args {
    /// Where the simulator listens. Its data is invented, so any address will do.
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_LISTEN, value_parser = units::parse_listen)]
    pub listen: SocketAddr,
    /// One more access key that is accepted. May be given several times.
    #[arg(long = "key", value_name = "ID:SECRET", value_parser = parse_key)]
    pub keys: Vec<Key>,
    /// Freeze dates and data at this instant; quota windows and delays go on, and signatures may be dated by it or by
    /// the real time. RFC 3339 with an offset.
    #[arg(long, value_name = "RFC3339", value_parser = parse_clock)]
    pub clock: Option<Timestamp>,
    /// The zone in which CAMS cuts its day buckets, as an offset from UTC.
    #[arg(long, value_name = "OFFSET", default_value = "+08:00", value_parser = parse_offset, allow_hyphen_values = true)]
    pub bucket_offset: Offset,
    /// What the invented data is made from: the same seed and clock give the same answers.
    #[arg(long, value_name = "N", default_value_t = DEFAULT_SEED)]
    pub seed: u64,
}

/// An access key that the simulator accepts for both vendors.
#[derive(Debug, Clone)]
pub struct Key {
    /// The access key's id.
    pub id: String,
    /// The access key's secret.
    pub secret: SecretString,
}

/// Takes the port and serves the simulator.
///
/// # Errors
/// A busy port and whatever ends the simulator (1).
pub fn run(args: Args) -> Result<(), Failure> {
    block_on(async move {
        let listener = bind(args.listen).await?;
        simulate(args, listener).await
    })
}

/// Serves the simulator on `listener` until told to stop.
async fn simulate(args: Args, listener: TcpListener) -> Result<(), Failure> {
    let clock: Arc<dyn Clock> = match args.clock {
        Some(at) => Arc::new(ManualClock::frozen_at(at)),
        None => Arc::new(SystemClock),
    };
    let mut config = SimulatorConfig::new(args.seed, clock);
    config.signers_clock = Some(Arc::new(SystemClock));
    config.keys.extend(args.keys.iter().map(|key| (key.id.clone(), key.secret.expose_secret().to_owned())));
    config.bucket_zone = args.bucket_offset.to_time_zone();
    let address = listener.local_addr().unwrap_or(args.listen);
    output::print(&format!(
        "weir simulate: Alibaba Cloud CAMS and Volcengine RTC, with invented data, at http://{address}\n\n  \
         key weir-demo, secret weir-demo-secret, for both\n  arrivals   http://{address}/_sim/arrivals\n  \
         faults     http://{address}/_sim/faults\n\nCtrl-C ends it.\n"
    ))?;
    until_told(async move |told| {
        sim::serve(Simulator::new(config), listener, async move { drop(told.await) })
            .await
            .map_err(|error| Failure::failed(format!("the simulator stopped: {error}")))
    })
    .await
}

fn parse_key(text: &str) -> Result<Key, &'static str> {
    match text.split_once(':') {
        Some((id, secret)) if !id.is_empty() && !secret.is_empty() => {
            Ok(Key { id: id.to_owned(), secret: SecretString::from(secret) })
        }
        _ => Err("write the key's id and secret with a colon between them, like my-id:my-secret"),
    }
}

fn parse_clock(text: &str) -> Result<Timestamp, &'static str> {
    Timestamp::parse_rfc3339(text)
        .map_err(|_unhelpful| "not an instant; write RFC 3339 with an offset, like 2026-09-01T08:30:15Z")
}

/// Reads `Z` or `+08:00`. Real zones lie within 14 hours of UTC.
fn parse_offset(text: &str) -> Result<Offset, &'static str> {
    let refusal = "not an offset from UTC; write sign, hours and minutes, like +08:00 or -07:30";
    if text == "Z" {
        return Ok(Offset::UTC);
    }
    let (sign, digits) = match text.split_at_checked(1) {
        Some(("+", digits)) => (1, digits),
        Some(("-", digits)) => (-1, digits),
        _ => return Err(refusal),
    };
    let number = |part: &str| {
        let digits = part.len() == 2 && part.bytes().all(|byte| byte.is_ascii_digit());
        digits.then(|| part.parse::<i32>().ok()).flatten().ok_or(refusal)
    };
    let (hours, minutes) = digits.split_once(':').ok_or(refusal)?;
    let (hours, minutes) = (number(hours)?, number(minutes)?);
    if minutes > 59 || hours * 60 + minutes > 14 * 60 {
        return Err("no zone is more than 14 hours from UTC, and an hour has 60 minutes");
    }
    Offset::from_seconds(sign * (hours * 3_600 + minutes * 60)).map_err(|_out_of_range| refusal)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn offsets_have_a_sign_hours_and_minutes() {
        for (text, seconds) in
            [("+08:00", 28_800), ("-07:30", -27_000), ("Z", 0), ("+00:00", 0), ("+05:45", 20_700), ("+14:00", 50_400)]
        {
            assert_eq!(parse_offset(text).unwrap().seconds(), seconds, "{text}");
        }
        for text in ["", "8", "08:00", "+8:00", "+0800", "+15:00", "+14:01", "+08:60", "+-8:00", "é08:00", "+08:00:00"]
        {
            assert!(parse_offset(text).is_err(), "{text}");
        }
    }

    #[test]
    fn keys_are_split_at_the_first_colon_and_do_not_print() {
        let key = parse_key("my-id:my:secret").unwrap();
        assert_eq!((key.id.as_str(), key.secret.expose_secret()), ("my-id", "my:secret"));
        assert!(!format!("{key:?}").contains("my:secret"), "{key:?}");
        for text in ["", "my-id", ":secret", "my-id:"] {
            assert!(parse_key(text).is_err(), "{text}");
        }
    }

    #[test]
    fn clocks_are_rfc3339() {
        assert_eq!(parse_clock("2026-09-01T08:30:15+08:00").unwrap().to_string(), "2026-09-01T00:30:15Z");
        assert!(parse_clock("2026-09-01").is_err());
    }
}
