//! Whom a command asks: a gateway of its own, one in front of invented data, or a running one.

use url::Url;

use super::remote::{self, Remote};
use super::simulate::DEFAULT_SEED;
use super::{ConfigFile, Failure, demo, gateway};
use crate::app::{App, demo_config};

/// `--config`, `--url` and `--demo`.
#[derive(Debug, Clone, clap::Args)]
pub struct Asked {
    /// Whose accounts to ask.
    #[command(flatten)]
    pub config: ConfigFile,
    /// A running gateway.
    #[arg(long, value_name = "URL", value_parser = remote::parse_base, conflicts_with_all = ["path", "demo"])]
    #[arg(help = "Ask a running gateway, such as http://127.0.0.1:8080; WEIR_API_KEY may hold its key")]
    pub url: Option<Url>,
    /// Ask simulated vendors: invented data, no keys, no config.
    #[arg(long, conflicts_with = "path")]
    pub demo: bool,
}

/// Who answers.
pub(super) enum Answering {
    /// A gateway of the command's own, which has to be ended.
    Own(Box<App>),
    /// A running one.
    Remote(Remote),
}

impl Asked {
    /// Who answers; within a runtime.
    ///
    /// # Errors
    /// A wrong config (2); accounts that are in use, or an HTTP client that cannot be made (1).
    pub(super) fn answering(&self) -> Result<Answering, Failure> {
        if let Some(url) = &self.url {
            return Remote::new(url.clone()).map(Answering::Remote);
        }
        let app =
            if self.demo { demo::build(&demo_config(), DEFAULT_SEED) } else { gateway::build(&self.config.load()?) };
        Ok(Answering::Own(Box::new(app?)))
    }
}

impl Answering {
    /// Puts away what is its own.
    pub(super) async fn end(self) {
        if let Self::Own(app) = self {
            app.end().await;
        }
    }
}
