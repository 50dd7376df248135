//! `weir demo`: the gateway in front of the embedded simulator.

use std::net::SocketAddr;

use tokio::net::TcpListener;

use super::{Failure, bind, block_on};
use crate::config::validate::check_listen;
use crate::config::{DEFAULT_LISTEN, units};

/// Try the gateway with invented channels, phones and apps: no keys, no config, no internet.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir demo
  weir demo --listen 127.0.0.1:9000
  weir demo --seed 7                     other invented data, the same on every start")]
pub struct Args {
    /// Where the gateway listens.
    #[arg(long, value_name = "ADDR", default_value_t = DEFAULT_LISTEN, value_parser = units::parse_listen)]
    pub listen: SocketAddr,
    /// What the invented data is made from.
    #[arg(long, value_name = "N", default_value_t = super::simulate::DEFAULT_SEED)]
    pub seed: u64,
}

/// Takes the port and serves the demo.
///
/// # Errors
/// An address that other machines can reach (2), a busy port and whatever ends the gateway (1).
pub fn run(args: Args) -> Result<(), Failure> {
    check_listen(args.listen).map_err(|message| Failure::usage(format!("--listen: {message}")))?;
    block_on(async move {
        let listener = bind(args.listen).await?;
        demo(args, listener).await
    })
}

/// Serves the gateway and the simulator on `listener` until told to stop; prints the addresses and a query to try.
#[expect(clippy::unused_async, reason = "the gateway is not wired yet")]
async fn demo(_args: Args, _listener: TcpListener) -> Result<(), Failure> {
    Err(Failure::failed("the demo is not wired yet"))
}
