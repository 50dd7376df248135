//! Distinct call users per place over exact windows. Windows, applications and places do not add up.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use super::catalog::CatalogApp;
use super::range::{TimeRange, chain, check_window_count, check_window_length};
use super::request::{Omitted, Request};
use crate::domain::calendar::Date;
use crate::domain::count::UserBounds;
use crate::domain::{Finality, Freshness, Held, Slice, Source, Window};
use crate::error::WeirError;
use crate::store::Served;
use crate::vendor::volcengine_rtc::{Dimension, Distribution, DistributionSubject, OperationDistributions};

/// The users of one window.
#[derive(Debug, Clone)]
pub struct DistributionWindow {
    /// Whose.
    pub subject: DistributionSubject,
    /// Over which span.
    pub window: Window,
    /// The date of the application's zone on which it begins.
    pub date: Date,
    /// What the vendor said.
    pub held: Arc<Held<Distribution>>,
    /// Where it came from for this request.
    pub source: Source,
}

/// A window that is asked for.
#[derive(Debug)]
struct Want {
    slice: Slice<DistributionSubject>,
    date: Date,
}

impl Want {
    fn new(app: &CatalogApp, dimension: Dimension, window: Window) -> Self {
        let date = Date::of(window.start(), &app.zone);
        Self { slice: Slice { subject: subject(app, dimension), window }, date }
    }
}

/// One window of a list: `None` where only final ones will do and it is none.
pub type Entry = Option<Result<DistributionWindow, Arc<WeirError>>>;

impl DistributionWindow {
    fn new(want: Want, served: Served<Distribution>, freshness: Freshness) -> Option<Self> {
        let will_do = freshness == Freshness::Any || served.held.data.finality == Finality::Final;
        let Want { slice: Slice { subject, window }, date } = want;
        will_do.then_some(Self { subject, window, date, held: served.held, source: served.source })
    }
}

/// The one window that a range means; `None` where only final ones will do and it is none, and where the request is only
/// explained.
///
/// # Errors
/// A range that makes no sense or is longer than the vendor answers, or what failed upstream.
pub async fn one(
    request: &Request,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<Option<DistributionWindow>, Arc<WeirError>> {
    let window = request.judged(range.distribution_window(request.now(), &app.zone, request.earliest()))?;
    exactly(request, app, dimension, window).await
}

/// One window as it is; `None` as in [`one`].
pub(super) async fn exactly(
    request: &Request,
    app: &CatalogApp,
    dimension: Dimension,
    window: Window,
) -> Result<Option<DistributionWindow>, Arc<WeirError>> {
    let want = Want::new(app, dimension, window);
    request.take_slices(1)?;
    let series = request.series::<OperationDistributions>(vec![want.slice.clone()]).await?;
    let Some(answered) = series.into_iter().flatten().next() else { return Ok(None) };
    Ok(DistributionWindow::new(want, answered.outcome?, request.ask().freshness))
}

/// The windows of several applications, application by application, in order of time.
#[derive(Debug)]
pub struct Windows {
    dimension: Dimension,
    /// Each with whether it is one of the calendar.
    wants: Vec<(Want, bool)>,
}

impl Windows {
    /// The windows of length `step` that a range means; nothing is asked yet.
    ///
    /// # Errors
    /// A range or a length that makes no sense, or too many windows.
    pub fn new(
        request: &Request,
        apps: &[&CatalogApp],
        dimension: Dimension,
        range: TimeRange,
        step: Duration,
    ) -> Result<Self, WeirError> {
        let mut wants = Vec::new();
        for app in apps {
            let tiling = range.distribution_windows(step, request.now(), &app.zone, |n| request.take_slices(n));
            let tiling = request.judged(tiling)?;
            request.judged(check_window_count((wants.len() + tiling.windows.len()) as u128))?;
            let want = |window| (Want::new(app, dimension, window), tiling.is_calendar);
            wants.extend(tiling.windows.into_iter().map(want));
        }
        Ok(Self { dimension, wants })
    }

    /// How many there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.wants.len()
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wants.is_empty()
    }

    /// Their users. Each window may fail alone. Calendar windows that the vendor no longer answers are left out and noted
    /// as [`Omitted`]. `None` where the request is only explained.
    ///
    /// # Errors
    /// What failed for all of them.
    pub async fn answer(self, request: &Request) -> Result<Option<Vec<Entry>>, Arc<WeirError>> {
        let Self { dimension, wants } = self;
        let archived = archived(request, &wants).await;
        let is_kept = |(want, is_calendar): (Want, bool)| {
            let is_answerable = || request.is_answerable::<OperationDistributions>(&want.slice);
            if is_calendar && !archived.contains(&want.slice) && !is_answerable() {
                let Slice { subject, window } = want.slice;
                request.omit(Omitted { app: subject.app, dimension, window });
                return None;
            }
            Some(want)
        };
        let wants: Vec<_> = wants.into_iter().filter_map(is_kept).collect();
        // A calendar window may be longer than the vendor answers: a week with the hour that is passed twice.
        let is_answered = |slice: &&Slice<_>| check_window_length(slice.window.length()).is_ok();
        let asked = wants.iter().map(|want| &want.slice).filter(is_answered).cloned().collect();
        let Some(series) = request.series::<OperationDistributions>(asked).await? else { return Ok(None) };
        let mut answered: HashMap<usize, _> = series.into_iter().map(|one| (one.want, one.outcome)).collect();
        let (mut next, freshness) = (0.., request.ask().freshness);
        let answer = |want: Want| match request.judged(check_window_length(want.slice.window.length())) {
            Ok(()) => match answered.remove(&next.next()?)? {
                Ok(served) => DistributionWindow::new(want, served, freshness).map(Ok),
                Err(error) => Some(Err(error)),
            },
            Err(error) => Some(Err(Arc::new(error))),
        };
        Ok(Some(wants.into_iter().map(answer).collect()))
    }
}

/// The calendar windows that only the archive may hold, as far as it does.
async fn archived(request: &Request, wants: &[(Want, bool)]) -> HashSet<Slice<DistributionSubject>> {
    let mut spans: HashMap<&DistributionSubject, Window> = HashMap::new();
    let is_gone = |(want, is_calendar): &&(Want, bool)| {
        *is_calendar && !request.is_answerable::<OperationDistributions>(&want.slice)
    };
    for (Want { slice, .. }, _) in wants.iter().filter(is_gone) {
        spans.entry(&slice.subject).and_modify(|span| *span = span.hull(slice.window)).or_insert(slice.window);
    }
    let mut archived = HashSet::new();
    for (subject, span) in spans {
        let windows = request.archived::<OperationDistributions>(subject, span).await;
        archived.extend(windows.into_iter().map(|window| Slice { subject: subject.clone(), window }));
    }
    archived
}

/// What is certain of the distinct users of a range that the vendor does not answer in one piece. Never one number: a
/// user of two windows is counted in both, so the truth lies between the largest window and the sum of all.
#[derive(Debug)]
pub struct Bounds {
    /// The whole range.
    pub span: Window,
    /// How many windows tile it.
    pub windows: usize,
    /// The places, by the upper bound descending, then by name.
    pub places: Vec<(String, UserBounds)>,
    /// Whether the vendor may still change any of the windows.
    pub finality: Finality,
}

/// The bounds of a range of any length. All windows are needed: a missing one would make both bounds false. `None` where
/// only final ones will do, and where the request is only explained.
///
/// # Errors
/// A range that makes no sense, or what failed for any of the windows.
pub async fn bounds(
    request: &Request,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<Option<Bounds>, Arc<WeirError>> {
    let (span, windows) = request.judged(cover(request, app, dimension, range).await)?;
    request.take_slices(windows.len() as u64)?;
    let wants = windows.iter().map(|window| Slice { subject: subject(app, dimension), window: *window }).collect();
    let Some(series) = request.series::<OperationDistributions>(wants).await? else { return Ok(None) };
    let distributions =
        series.into_iter().map(|one| Ok(one.outcome?.held)).collect::<Result<Vec<_>, Arc<WeirError>>>()?;
    let is_final =
        distributions.len() == windows.len() && distributions.iter().all(|held| held.data.finality == Finality::Final);
    if !is_final && request.ask().freshness == Freshness::FinalOnly {
        return Ok(None);
    }
    let mut places: HashMap<&str, UserBounds> = HashMap::new();
    for share in distributions.iter().flat_map(|held| &held.data.shares) {
        places.entry(&share.name).or_default().include(share.users);
    }
    let mut places: Vec<_> = places.into_iter().map(|(name, bounds)| (name.to_owned(), bounds)).collect();
    places.sort_by(|(name, bounds), (other, more)| {
        more.at_most().total_cmp(&bounds.at_most()).then_with(|| name.cmp(other))
    });
    let finality = if is_final { Finality::Final } else { Finality::Provisional };
    Ok(Some(Bounds { span, windows: windows.len(), places, finality }))
}

/// The fewest windows that tile a range: those that the vendor answers, and before that those that the archive holds.
async fn cover(
    request: &Request,
    app: &CatalogApp,
    dimension: Dimension,
    range: TimeRange,
) -> Result<(Window, Vec<Window>), WeirError> {
    let (now, earliest) = (request.now(), request.earliest());
    if let Some(whole) = range.distribution_reach(now, &app.zone).filter(|whole| whole.start() < earliest) {
        let archived = request.archived::<OperationDistributions>(&subject(app, dimension), whole).await;
        if let Some(old) = chain(whole, &archived, earliest) {
            let from = old.last().map_or(whole.start(), |last| last.end());
            let rest = match Window::new(from, whole.end()) {
                Some(rest) => range.starting_at(rest).distribution_cover(now, &app.zone, earliest)?.1,
                None => Vec::new(),
            };
            return Ok((whole, old.into_iter().chain(rest).collect()));
        }
    }
    range.distribution_cover(now, &app.zone, earliest)
}

pub(super) fn subject(app: &CatalogApp, dimension: Dimension) -> DistributionSubject {
    DistributionSubject { account: app.account.clone(), app: app.id.clone(), dimension }
}
