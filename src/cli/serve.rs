//! `weir serve`: the gateway in front of the vendors.

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::net::TcpListener;
use tracing::{info, warn};

use super::check::risks;
use super::gateway::{self, Reread};
use super::stop::Hangups;
use super::{ConfigFile, Failure, bind, block_on};
use crate::config::validate::check_listen;
use crate::config::{Config, units};
use crate::http::{Door, Tls};
use crate::telemetry;

/// Run the gateway in front of the vendors that the config names.
#[derive(Debug, Clone, clap::Args)]
#[command(after_help = "Examples:
  weir serve --config weir.toml
  weir serve --config weir.toml --listen 127.0.0.1:9000
  WEIR_LOG=weir=debug weir serve --config weir.toml --log-format json")]
pub struct Args {
    /// Which config to serve.
    #[command(flatten)]
    pub config: ConfigFile,
    /// Listen here instead of where the config says.
    #[arg(long, value_name = "ADDR", value_parser = units::parse_listen)]
    pub listen: Option<SocketAddr>,
}

/// Reads the config, takes the port and serves.
///
/// # Errors
/// A wrong config (2), a busy port and whatever ends the gateway (1).
pub fn run(args: &Args) -> Result<(), Failure> {
    let config = args.read()?;
    telemetry::set_level(config.log.level);
    for risk in risks(&config) {
        warn!(risk, "the config is risky");
    }
    let tls = gateway::tls(&config)?;
    let again = args.clone();
    let read = Box::new(move || again.read().map_err(|failure| failure.lines().join("; ")));
    block_on(async move {
        // Heard before anybody is told that there is something to hear it.
        let reread = Reread { hangups: Hangups::hear()?, read };
        let listener = bind(config.listen).await?;
        serve(config, listener, tls, reread).await
    })
}

impl Args {
    /// The config, listening where it is told to.
    fn read(&self) -> Result<Config, Failure> {
        let mut config = self.config.load()?;
        if let Some(listen) = self.listen {
            check_listen(listen, config.asks_for_keys())
                .map_err(|message| Failure::usage(format!("--listen: {message}")))?;
            config.listen = listen;
        }
        Ok(config)
    }
}

/// Serves on `listener` until told to stop.
async fn serve(config: Config, listener: TcpListener, tls: Option<Arc<Tls>>, reread: Reread) -> Result<(), Failure> {
    let app = gateway::build(&config)?;
    let address = listener.local_addr().unwrap_or(config.listen);
    let scheme = if tls.is_some() { "https" } else { "http" };
    info!(%address, url = %format_args!("{scheme}://{address}"), "listening");
    gateway::serve(app, &config, Door { listener, tls }, Some(reread)).await
}
