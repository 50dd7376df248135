//! `weir demo`: the gateway in front of the embedded simulator.

use std::net::SocketAddr;
use std::ops::Range;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;

use super::{Failure, bind, block_on, gateway, output};
use crate::app::{App, Runtime, Start, demo_config};
use crate::config::validate::check_listen;
use crate::config::{Config, DEFAULT_LISTEN, units};
use crate::domain::{Clock, SystemClock};
use crate::http;
use crate::sim::{Legs, LocalTransport, Simulator, SimulatorConfig};

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
    check_listen(args.listen, false).map_err(|_| {
        Failure::usage(
            "--listen: other machines can reach this address, and the demo asks nobody for a key; listen on loopback, like \
             127.0.0.1:8080, or run `weir serve` with a key of `weir key new`",
        )
    })?;
    block_on(async move {
        let listener = bind(args.listen).await?;
        demo(args, listener).await
    })
}

/// How long a call to the embedded simulator travels each way: about what a vendor in the region takes.
const LEG: Range<Duration> = Duration::from_millis(15)..Duration::from_millis(45);

/// Serves the gateway in front of a simulator in the same process until told to stop; prints the addresses and a query
/// to try.
async fn demo(args: Args, listener: TcpListener) -> Result<(), Failure> {
    let config = demo_config();
    let app = build(&config, args.seed)?;
    let address = listener.local_addr().unwrap_or(args.listen);
    output::print(&welcome(address, http::has_graphiql()))?;
    gateway::serve(app, &config, listener, None).await
}

/// A gateway in front of a simulator in the same process.
pub(super) fn build(config: &Config, seed: u64) -> Result<App, Failure> {
    let clock: Arc<dyn Clock> = Arc::new(SystemClock);
    let simulator = Simulator::new(SimulatorConfig::new(seed, Arc::clone(&clock)));
    let transport = LocalTransport::new(simulator, Legs { there: LEG, back: LEG }, seed);
    let transport = Arc::new(transport.with_timeout(config.upstream.timeout));
    Ok(App::build(config, &Runtime { clock, transport, start: Start::Free })?)
}

fn welcome(address: SocketAddr, has_graphiql: bool) -> String {
    let graphiql = if has_graphiql { "" } else { "   (not in this build; the page says how to get it)" };
    format!(
        "weir demo: both vendors are simulated, all data is invented.

  GraphiQL   http://{address}/graphiql{graphiql}
  GraphQL    http://{address}/graphql
  rows       http://{address}/rows
  schema     http://{address}/schema.graphql

Try it:

  curl -s http://{address}/graphql -H 'content-type: application/json' -d '{QUERY}'

Ctrl-C ends it.
"
    )
}

/// Both vendors in one query.
const QUERY: &str = concat!(
    r#"{"query":"{ phoneNumberMetrics(custSpaceId: \"cams-alpha\", range: {last: \"P7D\"}, first: 3) "#,
    r"{ totalCount nodes { phoneNumber start sentCount deliveredCount finality } } ",
    r#"operationDistribution(appId: \"app-one\", range: {last: \"P7D\"}) "#,
    r#"{ start end data { distributionName value proportion } } }"}"#
);

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_build_without_graphiql_says_so() {
        let line = |has_graphiql| {
            let text = welcome(DEFAULT_LISTEN, has_graphiql);
            text.lines().find(|line| line.contains("/graphiql")).unwrap().to_owned()
        };
        assert_eq!(line(true), "  GraphiQL   http://127.0.0.1:8080/graphiql");
        assert!(line(false).contains("not in this build"), "{}", line(false));
    }
}
