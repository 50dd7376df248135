//! `weir key`: keys that let somebody in.

use super::{Failure, output};
use crate::access::keys::{generate, hash_of};
use crate::config::units::parse_instant;
use crate::domain::Class;

/// Make the keys with which callers show who they are.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir key new dashboards
  weir key new reports --channel cams-alpha --app app-one --phones masked
  weir key new exports --class BULK --calls-per-day 10000 --expires 2027-01-01T00:00:00Z
  curl -H 'Authorization: Bearer KEY' 'https://metrics.example.com/rows/phone_number_metrics.csv'")]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Clone, clap::Subcommand)]
enum Command {
    New(New),
}

/// Make a key: print it, once, and the lines for the config, which hold its hash alone.
#[derive(Debug, Clone, clap::Args)]
struct New {
    /// Whose it is; logs and metrics call them so. Use a name again to replace a key: both are valid until one goes.
    name: String,
    /// A channel (`CustSpaceId`) that it shows; all configured ones without it. May be repeated.
    #[arg(long = "channel", value_name = "ID")]
    channels: Vec<String>,
    /// An application (`AppId`) that it shows; all configured ones without it. May be repeated.
    #[arg(long = "app", value_name = "ID")]
    apps: Vec<String>,
    /// Whether phone numbers are shown, or names that stand for them.
    #[arg(long, value_name = "HOW", value_parser = ["shown", "masked"], default_value = "shown")]
    phones: String,
    /// A class in which it may ask; all without it. May be repeated.
    #[arg(long = "class", value_name = "CLASS", value_parser = Class::ALL.map(Class::as_str))]
    classes: Vec<String>,
    /// The upstream calls that it may cause on a UTC day; 0 is none but what is held.
    #[arg(long, value_name = "N")]
    calls_per_day: Option<u64>,
    /// When it ends.
    #[arg(long, value_name = "INSTANT", value_parser = parse_instant)]
    expires: Option<crate::domain::Timestamp>,
}

/// Makes a key.
///
/// # Errors
/// A stdout that cannot be written.
pub fn run(args: Args) -> Result<(), Failure> {
    let Command::New(new) = args.command;
    let key = generate();
    output::print(&format!(
        "# The key, for whoever asks. It is shown this once and kept nowhere.\n{key}\n\n\
         # Lines for weir.toml.\n{}",
        new.lines(&hash_of(&key))
    ))
}

impl New {
    fn lines(&self, hash: &str) -> String {
        let quoted = |text: &str| toml::Value::String(text.to_owned()).to_string();
        let list = |all: &[String]| {
            let all: Vec<_> = all.iter().map(|text| quoted(text)).collect();
            (!all.is_empty()).then(|| format!("[{}]", all.join(", ")))
        };
        let pairs = [
            ("name", Some(quoted(&self.name))),
            ("hash", Some(quoted(hash))),
            ("channels", list(&self.channels)),
            ("apps", list(&self.apps)),
            ("phones", (self.phones != "shown").then(|| quoted(&self.phones))),
            ("classes", list(&self.classes)),
            ("calls_per_day", self.calls_per_day.map(|calls| calls.to_string())),
            ("expires", self.expires.map(|at| quoted(&at.to_string()))),
        ];
        let lines = pairs.iter().filter_map(|(key, value)| value.as_ref().map(|value| format!("{key} = {value}\n")));
        format!("[[api_keys]]\n{}", lines.collect::<String>())
    }
}
