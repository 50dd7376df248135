//! `OperationDistribution`: distinct call users per place over one exact window.

use std::sync::Arc;

use async_graphql::{ID, Object, SimpleObject};

use super::context::{Omitted, RequestContext};
use super::error::{Nullable, entry};
use super::range::{TimeRange, check_window_length};
use super::scalars::{DateTime, Dimension, Finality, Source};
use crate::domain::{Held, Slice, Window};
use crate::error::WeirError;
use crate::schema::catalog::CatalogApp;
use crate::store::Served;
use crate::vendor::volcengine_rtc::{self, Distribution, DistributionSubject};

/// Distinct call users of one application per place, over exactly one window. Source: `ListOperationDistribution` of
/// Volcengine RTC. A user seen in two windows counts in both: windows, applications and places do not add up.
#[derive(Debug)]
pub(super) struct OperationDistribution {
    subject: DistributionSubject,
    window: Window,
    held: Arc<Held<Distribution>>,
    source: Source,
}

#[Object]
impl OperationDistribution {
    /// The application, the vendor's `AppId`.
    async fn app_id(&self) -> ID {
        ID(self.subject.app.as_str().to_owned())
    }

    /// What is counted: `user_num`, users of calls, each once.
    async fn indicator(&self) -> &str {
        volcengine_rtc::OperationDistributions::INDICATOR
    }

    /// By which kind of place.
    async fn dimension(&self) -> Dimension {
        self.subject.dimension.into()
    }

    /// The window's first instant.
    async fn start(&self) -> DateTime {
        DateTime(self.window.start())
    }

    /// The first instant after the window.
    async fn end(&self) -> DateTime {
        DateTime(self.window.end())
    }

    /// The places, by value descending, then by name.
    async fn data(&self) -> Vec<DistributionShare> {
        let share = |share: &volcengine_rtc::Share| DistributionShare {
            distribution_name: share.name.to_string(),
            value: share.users.as_f64(),
            proportion: share.proportion,
        };
        self.held.data.shares.iter().map(share).collect()
    }

    /// Whether the vendor may still change the counts.
    async fn finality(&self) -> Finality {
        self.held.data.finality.into()
    }

    /// When the request that brought the counts was sent.
    async fn fetched_at(&self) -> DateTime {
        DateTime(self.held.sent_at)
    }

    /// Where the counts came from for this request.
    async fn source(&self) -> Source {
        self.source
    }
}

/// The users of one place.
#[derive(Debug, SimpleObject)]
pub(super) struct DistributionShare {
    /// The place as the vendor names it, such as 上海.
    pub distribution_name: String,
    /// Distinct users over the window. Not to be summed over places: a user may appear in two.
    pub value: f64,
    /// The vendor's own percentage, 0 to 100, of all users of the window; users without a known place are in no row, so
    /// the sum may stay below 100.
    pub proportion: f64,
}

/// One distribution of one application.
pub(super) async fn one(
    context: &RequestContext,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<OperationDistribution, Arc<WeirError>> {
    let window = range.distribution_window(context.now, &app.zone, context.earliest())?;
    let want = Slice { subject: subject(app, dimension), window };
    let served = context.loader.distributions(vec![want.clone()]).await?.into_iter().next();
    let served = served.unwrap_or_else(|| Err(Arc::new(WeirError::bad_input("the range holds no window"))))?;
    Ok(OperationDistribution::new(want, served))
}

/// The windows of several applications, application by application, in order of time. Each may fail alone.
pub(super) async fn many(
    context: &RequestContext,
    apps: &[&CatalogApp],
    dimension: Dimension,
    range: TimeRange,
    step: std::time::Duration,
) -> Result<Vec<Nullable<OperationDistribution>>, Arc<WeirError>> {
    let mut wants = Vec::new();
    for app in apps {
        let tiling = range.distribution_windows(step, context.now, &app.zone)?;
        for window in tiling.windows {
            let want = Slice { subject: subject(app, dimension), window };
            if tiling.is_calendar && window.start() < context.earliest() && !context.loader.is_held(&want) {
                context.omit(Omitted { app: app.id.clone(), dimension, window });
            } else {
                wants.push(want);
            }
        }
    }
    // A calendar window may be longer than the vendor answers: a week with the hour that is passed twice.
    let asked = wants.iter().filter(|want| check_window_length(want.window.length()).is_ok()).cloned().collect();
    let mut series = context.loader.distributions(asked).await?.into_iter();
    let answer = |want: Slice<DistributionSubject>| match check_window_length(want.window.length()) {
        Ok(()) => entry(series.next()?.map(|served| OperationDistribution::new(want, served))),
        Err(error) => entry(Err(Arc::new(error))),
    };
    Ok(wants.into_iter().map(answer).collect())
}

fn subject(app: &CatalogApp, dimension: Dimension) -> DistributionSubject {
    DistributionSubject { account: app.account.clone(), app: app.id.clone(), dimension: dimension.into() }
}

impl OperationDistribution {
    fn new(want: Slice<DistributionSubject>, served: Served<Distribution>) -> Self {
        Self { subject: want.subject, window: want.window, held: served.held, source: served.source.into() }
    }
}
