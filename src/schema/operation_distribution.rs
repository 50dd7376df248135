//! `OperationDistribution`: distinct call users per place over one exact window.

use std::collections::HashMap;
use std::sync::Arc;

use async_graphql::{Description, ID, Object, SimpleObject};

use super::context::{Omitted, RequestContext};
use super::error::Nullable;
use super::range::{TimeRange, check_window_count, check_window_length};
use super::raw::{Json, RawItem, RawList, Selected};
use super::scalars::{DateTime, Dimension, Finality, Source};
use crate::domain::{self, Freshness, Held, Slice, Window};
use crate::error::WeirError;
use crate::schema::catalog::CatalogApp;
use crate::store::Served;
use crate::vendor::volcengine_rtc::{self, Distribution, DistributionSubject};

/// Distinct call users of one application per place, over exactly one window. Source: `ListOperationDistribution` of
/// Volcengine RTC. A user seen in two windows counts in both: windows, applications and places do not add up.
#[derive(Debug, Description)]
pub(super) struct OperationDistribution {
    subject: DistributionSubject,
    window: Window,
    held: Arc<Held<Distribution>>,
    source: Source,
}

#[Object(use_type_description)]
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
    async fn data(&self) -> RawList<DistributionShare<'_>> {
        RawList(self.held.data.shares.iter().map(DistributionShare).collect())
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
#[derive(Debug, Clone, Copy)]
pub(super) struct DistributionShare<'a>(&'a volcengine_rtc::Share);

/// The users of one place.
#[Object]
impl DistributionShare<'_> {
    /// The place as the vendor names it, such as 上海.
    async fn distribution_name(&self) -> &str {
        &self.0.name
    }

    /// Distinct users over the window. Not to be summed over places: a user may appear in two.
    async fn value(&self) -> f64 {
        self.0.users.as_f64()
    }

    /// The vendor's own percentage, 0 to 100, of all users of the window; users without a known place are in no row, so
    /// the sum may stay below 100.
    async fn proportion(&self) -> f64 {
        self.0.proportion
    }
}

/// The fields of [`DistributionShare`], to be written without the engine.
#[derive(Debug, Clone, Copy)]
pub(super) enum ShareField {
    Name,
    Value,
    Proportion,
}

impl RawItem for DistributionShare<'_> {
    type Field = ShareField;

    fn field(selected: &Selected<'_>) -> Option<ShareField> {
        Some(match selected.name() {
            "distributionName" => ShareField::Name,
            "value" => ShareField::Value,
            "proportion" => ShareField::Proportion,
            _ => return None,
        })
    }

    fn write(&self, field: &ShareField, out: &mut Json) {
        match field {
            ShareField::Name => out.string(&self.0.name),
            ShareField::Value => out.float(self.0.users.as_f64()),
            ShareField::Proportion => out.float(self.0.proportion),
        }
    }
}

/// One distribution of one application.
pub(super) async fn one(
    context: &RequestContext,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<Option<OperationDistribution>, Arc<WeirError>> {
    let window = range.distribution_window(context.now(), &app.zone, context.earliest())?;
    let want = Slice { subject: subject(app, dimension), window };
    let series = context.distributions(vec![want.clone()]).await?;
    let Some(answered) = series.into_iter().flatten().next() else { return Ok(None) };
    Ok(OperationDistribution::new(want, answered.outcome?, context.ask().freshness))
}

/// The windows of several applications, application by application, in order of time. Each may fail alone. `width` is
/// what an entry takes while the answer is made, in bytes.
pub(super) async fn many(
    context: &RequestContext,
    width: usize,
    apps: &[&CatalogApp],
    dimension: Dimension,
    range: TimeRange,
    step: std::time::Duration,
) -> Result<Option<Vec<Nullable<OperationDistribution>>>, Arc<WeirError>> {
    let (mut tilings, mut count) = (Vec::new(), 0);
    for app in apps {
        let tiling = range.distribution_windows(step, context.now(), &app.zone)?;
        count += tiling.windows.len() as u128;
        check_window_count(count)?;
        context.take_room(tiling.windows.len().saturating_mul(width))?;
        tilings.push((app, tiling));
    }
    let mut wants = Vec::new();
    for (app, tiling) in tilings {
        for window in tiling.windows {
            let want = Slice { subject: subject(app, dimension), window };
            if tiling.is_calendar && !context.lore().is_answerable(&want) {
                context.omit(Omitted { app: app.id.clone(), dimension, window });
            } else {
                wants.push(want);
            }
        }
    }
    // A calendar window may be longer than the vendor answers: a week with the hour that is passed twice.
    let asked = wants.iter().filter(|want| check_window_length(want.window.length()).is_ok()).cloned().collect();
    let Some(series) = context.distributions(asked).await? else { return Ok(None) };
    let mut answered: HashMap<usize, _> = series.into_iter().map(|one| (one.want, one.outcome)).collect();
    let (mut next, freshness) = (0.., context.ask().freshness);
    let answer = |want: Slice<DistributionSubject>| match check_window_length(want.window.length()) {
        Ok(()) => match answered.remove(&next.next()?)? {
            Ok(served) => OperationDistribution::new(want, served, freshness).map(Ok),
            Err(error) => context.failed(&error),
        },
        Err(error) => context.failed(&error),
    };
    Ok(Some(wants.into_iter().map(answer).collect()))
}

/// What is certain of the distinct users of a range that the vendor does not answer in one piece. Never one number: a
/// user of two windows is counted in both, so the truth lies between the largest window and the sum of all.
#[derive(Debug, SimpleObject)]
pub(super) struct OperationDistributionBounds {
    /// The application, the vendor's `AppId`.
    pub(super) app_id: ID,
    /// What is counted: `user_num`, users of calls, each once.
    pub(super) indicator: String,
    /// By which kind of place.
    pub(super) dimension: Dimension,
    /// The range's first instant.
    pub(super) start: DateTime,
    /// The first instant after the range.
    pub(super) end: DateTime,
    /// How many windows tile the range.
    pub(super) windows: i32,
    /// The places, by `atMost` descending, then by name.
    pub(super) data: Vec<DistributionBounds>,
    /// Whether the vendor may still change any of the windows.
    pub(super) finality: Finality,
}

/// The bounds of one place.
#[derive(Debug, SimpleObject)]
pub(super) struct DistributionBounds {
    /// The place as the vendor names it, such as 上海.
    pub(super) distribution_name: String,
    /// Distinct users at least: those of the largest window.
    pub(super) at_least: f64,
    /// Distinct users at most: those of all windows, as if nobody came back.
    pub(super) at_most: f64,
}

/// The bounds of a range of any length. All windows are needed: a missing one would make both bounds false.
pub(super) async fn bounds(
    context: &RequestContext,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<Option<OperationDistributionBounds>, Arc<WeirError>> {
    let (span, windows) = range.distribution_cover(context.now(), &app.zone, context.earliest())?;
    let wants = windows.iter().map(|window| Slice { subject: subject(app, dimension), window: *window }).collect();
    let Some(series) = context.distributions(wants).await? else { return Ok(None) };
    let distributions =
        series.into_iter().map(|one| Ok(one.outcome?.held)).collect::<Result<Vec<_>, Arc<WeirError>>>()?;
    let is_final = distributions.len() == windows.len()
        && distributions.iter().all(|held| held.data.finality == domain::Finality::Final);
    if !is_final && context.ask().freshness == Freshness::FinalOnly {
        return Ok(None);
    }
    let mut places: HashMap<&str, domain::count::UserBounds> = HashMap::new();
    for share in distributions.iter().flat_map(|held| &held.data.shares) {
        places.entry(&share.name).or_default().include(share.users);
    }
    let mut data: Vec<_> = places
        .into_iter()
        .map(|(name, bounds)| DistributionBounds {
            distribution_name: name.to_owned(),
            at_least: bounds.at_least(),
            at_most: bounds.at_most(),
        })
        .collect();
    data.sort_by(|one, other| {
        other.at_most.total_cmp(&one.at_most).then_with(|| one.distribution_name.cmp(&other.distribution_name))
    });
    Ok(Some(OperationDistributionBounds {
        app_id: ID(app.id.as_str().to_owned()),
        indicator: volcengine_rtc::OperationDistributions::INDICATOR.to_owned(),
        dimension,
        start: DateTime(span.start()),
        end: DateTime(span.end()),
        windows: i32::try_from(windows.len()).unwrap_or(i32::MAX),
        data,
        finality: if is_final { Finality::Final } else { Finality::Provisional },
    }))
}

fn subject(app: &CatalogApp, dimension: Dimension) -> DistributionSubject {
    DistributionSubject { account: app.account.clone(), app: app.id.clone(), dimension: dimension.into() }
}

impl OperationDistribution {
    /// `None` where only final windows will do and this is none.
    fn new(want: Slice<DistributionSubject>, served: Served<Distribution>, freshness: Freshness) -> Option<Self> {
        let will_do = freshness == Freshness::Any || served.held.data.finality == domain::Finality::Final;
        let (held, source) = (served.held, served.source.into());
        will_do.then_some(Self { subject: want.subject, window: want.window, held, source })
    }
}
