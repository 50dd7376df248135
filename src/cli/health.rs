//! `weir health`: whether a running gateway wants requests, for those who keep processes and have no other client at
//! hand, such as a container's.

use std::time::Duration;

use url::Url;

use super::remote::{self, Remote};
use super::{Failure, block_on, output};

/// How long the answer may take. Whoever asks asks again.
const PATIENCE: Duration = Duration::from_secs(3);

/// Ask a running gateway whether it wants requests: exit code 0 if so.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir health
  weir health --url http://127.0.0.1:9000")]
pub struct Args {
    /// Where the gateway listens.
    #[arg(long, value_name = "URL", default_value = "http://127.0.0.1:8080", value_parser = remote::parse_base)]
    pub url: Url,
}

/// Asks once, and prints `ready`.
///
/// # Errors
/// A gateway that does not answer in time, is stopping, or is none (1).
pub fn run(args: Args) -> Result<(), Failure> {
    block_on(async {
        let remote = Remote::new(args.url)?;
        match tokio::time::timeout(PATIENCE, remote.ready()).await {
            Ok(ready) => ready?,
            Err(_late) => {
                let seconds = PATIENCE.as_secs();
                return Err(Failure::failed(format!("the gateway has not answered within {seconds} s")));
            }
        }
        output::print("ready\n")
    })
}
