//! Whether the archive adds up, and whether the vendors still say the same.

use std::sync::Arc;
use std::time::Duration;

use rand::seq::IndexedRandom as _;
use secrecy::SecretString;

use super::{Failure, output};
use crate::app::BuildError;
use crate::archive::{Archive, Dated, Holding};
use crate::cli::gateway;
use crate::config::Config;
use crate::domain::{Finality, Freshness, Window};
use crate::query::collect::Series;
use crate::query::{Controls, Service};

/// How long permits are waited for.
const PATIENCE: Duration = Duration::from_mins(10);

/// Recounts the rows, and asks the vendors for up to `samples` windows again.
pub(super) async fn run(config: Config, archive: &Arc<dyn Archive>, samples: usize) -> Result<(), Failure> {
    let miscounts = archive.miscounts().await?;
    let holdings = archive.holdings().await?;
    let slices = archive.extent().await?.map_or(0, |extent| extent.slices);
    let mut problems: Vec<String> = Vec::new();
    for one in &miscounts {
        problems.push(format!(
            "{} {} from {}{}: {} rows are kept, and {} were fetched",
            one.key.dataset.as_str(),
            one.key.entity.as_deref().unwrap_or_default(),
            one.window.start(),
            if one.key.name.is_some() { ", of a phone number" } else { "" },
            one.counted,
            one.row_count
        ));
    }
    output::print(&format!(
        "{} of {slices} slices have as many rows as were fetched",
        slices.saturating_sub(miscounts.len() as u64)
    ))?;
    if samples > 0 {
        match sample(config, archive, &holdings, samples).await? {
            Sampled::Busy(why) => output::print(&format!("No vendor was asked: {why}"))?,
            Sampled::Asked { windows, restated } => {
                output::print(&format!("{windows} windows were asked for again"))?;
                if restated > 0 {
                    problems.push(format!("{restated} numbers are told otherwise now (table `restated`)"));
                }
            }
        }
    }
    if problems.is_empty() { Ok(()) } else { Err(Failure::Failed(problems)) }
}

enum Sampled {
    /// The accounts are another process's.
    Busy(String),
    Asked {
        windows: usize,
        restated: u64,
    },
}

async fn sample(
    mut config: Config,
    archive: &Arc<dyn Archive>,
    holdings: &[Holding],
    samples: usize,
) -> Result<Sampled, Failure> {
    // A gateway that knows nothing, so that it has to ask.
    config.archive.url = SecretString::default();
    config.watch = Vec::new();
    let app = match gateway::try_build(&config) {
        Err(gateway::Refused::Build(BuildError::StateFile(error))) => return Ok(Sampled::Busy(error.to_string())),
        Err(refused) => return Err(refused.into()),
        Ok(app) => app,
    };
    let service = app.gateway().service();
    let mut windows: Vec<(Series, Window)> = Vec::new();
    for holding in holdings {
        let Some(series) = Series::of(&holding.key, holding.window_length.as_deref(), service.catalog()) else {
            continue;
        };
        let Some(span) = Window::new(holding.first, holding.last) else { continue };
        let oldest = series.lookback().map(|lookback| service.now() + PATIENCE - lookback);
        let lines = archive.collected(holding.key.clone(), span).await?;
        let is_answered = |window: Window| oldest.is_none_or(|oldest| oldest < window.start());
        let own = lines.iter().filter(|line| line.finality == Finality::Final && is_answered(line.window));
        windows.extend(own.map(|line| (series.clone(), line.window)));
    }
    let chosen: Vec<_> = windows.sample(&mut rand::rng(), samples).collect();
    let mut restated = 0;
    for (series, window) in &chosen {
        let slices = asked(service, series, *window).await?;
        restated += archive.write(Arc::new(slices)).await?.restated;
    }
    let windows = chosen.len();
    app.end().await;
    Ok(Sampled::Asked { windows, restated })
}

/// What the vendor says of a window now.
async fn asked(service: &Service, series: &Series, window: Window) -> Result<Vec<Dated>, Failure> {
    let controls =
        Controls { priority: None, freshness: Freshness::FinalOnly, max_wait: Some(PATIENCE), ..Controls::default() };
    let request = service.own_request(&controls);
    let slices = series.slices(&[window], &request).await.map_err(|error| Failure::failed(error.to_string()))?;
    let dated = |slice: crate::domain::ArchivedSlice| {
        let (dates, fetched) = (vec![None; slice.rows.len()], Vec::new());
        Dated { slice, dates, fetched }
    };
    Ok(slices.into_iter().map(dated).collect())
}
