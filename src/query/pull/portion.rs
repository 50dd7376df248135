//! What is asked for at a time: about what one call brings of a channel, or one window of an application.

use std::sync::Arc;
use std::time::Duration;

use super::Pull;
use super::batch::{Batch, Stamp};
use super::question::Question;
use crate::domain::calendar::{ceil_hour, floor_hour};
use crate::domain::dataset::Dataset;
use crate::domain::time::DAY;
use crate::domain::{Held, Operation as _, Slice, Subject as _, Timestamp, Window};
use crate::error::WeirError;
use crate::query::catalog::{CatalogApp, CatalogChannel};
use crate::query::operation_distributions::{self, DistributionWindow};
use crate::query::phone_number_metrics::{MetricQuery, MetricRows};
use crate::query::range::{TimeRange, check_window_length};
use crate::query::request::{QUARTER, Request};
use crate::store::Series;
use crate::vendor::alibaba_cams::PhoneNumberMetrics;
use crate::vendor::volcengine_rtc::OperationDistributions;

/// Slices of one portion at most, where the operator allows as many for one request.
const PORTION_SLICES: u64 = 10_000;

/// Whose rows.
#[derive(Debug, Clone)]
pub(super) enum Entity {
    Channel(CatalogChannel),
    App(CatalogApp),
}

impl Entity {
    /// Its account, and its own name.
    pub(super) fn names(&self) -> (&str, &str) {
        match self {
            Self::Channel(channel) => (channel.account.name(), channel.id.as_ref().map_or("", |id| id.as_str())),
            Self::App(app) => (app.account.name(), app.id.as_str()),
        }
    }
}

/// What is asked for at a time.
#[derive(Debug, Clone, Copy)]
pub(super) struct Portion {
    /// The nth channel or application.
    pub(super) entity: usize,
    pub(super) window: Window,
}

/// What came of a portion.
#[derive(Debug)]
enum Fetched {
    Messages(MetricRows),
    Users(DistributionWindow),
    /// Nothing that will do, or it was only explained.
    None,
}

impl Pull {
    /// What is asked for, in order; without what lies before the page that was asked for.
    pub(super) fn portions(&self, request: &Request) -> Result<Vec<Portion>, WeirError> {
        let after = self.question.after().filter(|_| self.totals.is_none());
        let mut portions = Vec::new();
        for (entity, whose) in self.entities.iter().enumerate() {
            let from = match after {
                Some(after) if entity < after.entity => continue,
                Some(after) if entity == after.entity => Some(after.start),
                _ => None,
            };
            let windows = match whose {
                Entity::Channel(channel) => self.message_windows(channel, from, request)?,
                Entity::App(app) => self.user_windows(app, from)?,
            };
            portions.extend(windows.into_iter().map(|window| Portion { entity, window }));
        }
        Ok(portions)
    }

    /// A channel's range in pieces of about one call each.
    fn message_windows(
        &self,
        channel: &CatalogChannel,
        from: Option<Timestamp>,
        request: &Request,
    ) -> Result<Vec<Window>, WeirError> {
        let Question { granularity, range, walk, .. } = &self.question;
        let range = range.metric_window(*granularity, walk.now.floor(QUARTER))?;
        let asked = self.messages(channel)?.asked(request);
        let operation = request.operation::<PhoneNumberMetrics>()?;
        let first_day = range.start().floor(DAY);
        let rows = |days: u32| {
            let whole = asked.first().map(|subject| subject.whole().unwrap_or_else(|| subject.clone()));
            let call = whole.zip(Window::new(first_day, first_day + DAY * days));
            call.map_or(0, |(subject, window)| operation.expected_rows(&Slice { subject, window }))
        };
        // What is expected grows by the day, from what the padding takes.
        let (one, two) = (rows(1), rows(2));
        let a_day = two.saturating_sub(one).max(1);
        let padding = one.saturating_sub(a_day);
        let limits = self.service.limits();
        let fits = limits.call_rows.saturating_sub(padding) / a_day;
        let days = fits.min(PORTION_SLICES.min(limits.slices) / (asked.len() as u64).max(1)).max(1);
        let step = DAY * u32::try_from(days).unwrap_or(u32::MAX);
        let mut at = from.map_or(range.start(), |from| range.start().max(from.floor(DAY)));
        let mut windows = Vec::new();
        while let Some(window) = Window::new(at, range.end().min(at.floor(DAY) + step)) {
            at = window.end();
            windows.push(window);
        }
        Ok(windows)
    }

    /// An application's windows.
    fn user_windows(&self, app: &CatalogApp, from: Option<Timestamp>) -> Result<Vec<Window>, WeirError> {
        let Question { range, window, is_aligned, walk, .. } = &self.question;
        let range = match *range {
            TimeRange::Between { start, end } if *is_aligned && start < end => {
                TimeRange::Between { start: floor_hour(start, &app.zone), end: ceil_hour(end, &app.zone) }
            }
            range => range,
        };
        let now = walk.now.floor(Duration::from_secs(1));
        let mut tiling = range.distribution_windows(*window, now, &app.zone, |_| Ok(()))?;
        tiling.windows.retain(|window| from.is_none_or(|from| from <= window.start()));
        // One of the calendar may be longer than what was asked for: a week with the hour that is passed twice.
        tiling.windows.iter().try_for_each(|window| check_window_length(window.length()))?;
        Ok(tiling.windows)
    }

    /// The question for a channel's messages.
    fn messages(&self, channel: &CatalogChannel) -> Result<MetricQuery, WeirError> {
        let Question { granularity, phones, range, .. } = &self.question;
        MetricQuery::new(channel, *granularity, phones.as_deref(), *range, &self.caller)
    }

    /// Asks for a portion where the request is only explained: what that would take is in its plan.
    pub(super) async fn explain(&self, portion: &Portion, request: &Request) -> Result<(), Arc<WeirError>> {
        self.fetch(portion, request).await?;
        let refused = request.plan().refused.first().map(Arc::clone);
        refused.map_or(Ok(()), Err)
    }

    /// The rows of a portion, behind where the walk goes on.
    pub(super) async fn fetched(&self, portion: &Portion) -> Result<Batch, Arc<WeirError>> {
        let request = self.request(false);
        let is_long = self.question.dataset == Dataset::Measurements;
        let since = self.question.updated_since;
        let fetched = self.fetch(portion, &request).await?;
        self.note_done();
        let mut batch = match fetched {
            Fetched::Messages(rows) => {
                let stamp = portion.stamp(rows.held());
                Batch::of_messages(portion.entity, rows, since, is_long).stamped(stamp)
            }
            Fetched::Users(window) => {
                let stamp = portion.stamp([&*window.held]);
                Batch::of_users(portion.entity, window, since, is_long).stamped(stamp)
            }
            Fetched::None => Batch::empty(),
        };
        if let Some(after) = self.question.after() {
            batch.skip_to(after);
        }
        Ok(batch)
    }

    async fn fetch(&self, portion: &Portion, request: &Request) -> Result<Fetched, Arc<WeirError>> {
        match self.entities.get(portion.entity) {
            Some(Entity::Channel(channel)) => {
                let rows = self.messages(channel)?.rows_in(portion.window, request).await?;
                Ok(rows.map_or(Fetched::None, Fetched::Messages))
            }
            Some(Entity::App(app)) => {
                let dimension = self.question.dimension;
                let one = operation_distributions::exactly(request, app, dimension, portion.window).await?;
                Ok(one.map_or(Fetched::None, Fetched::Users))
            }
            None => Ok(Fetched::None),
        }
    }

    /// The stamp of a portion, if all of its slices are held.
    pub(super) fn stamp_of_held(&self, portion: &Portion, request: &Request) -> Option<Stamp> {
        match self.entities.get(portion.entity)? {
            Entity::Channel(channel) => {
                let asked = self.messages(channel).ok()?.asked(request);
                let wants = asked.into_iter().map(|subject| Slice { subject, window: portion.window });
                portion.stamp(&request.peek::<PhoneNumberMetrics>(&wants.collect::<Vec<_>>())?)
            }
            Entity::App(app) => {
                let subject = operation_distributions::subject(app, self.question.dimension);
                portion.stamp(&request.peek::<OperationDistributions>(&[Slice { subject, window: portion.window }])?)
            }
        }
    }
}

impl Portion {
    /// The stamp of rows from these slices, if none of them can change any more.
    fn stamp<'a, D: 'a>(&self, slices: impl IntoIterator<Item = &'a Held<D>>) -> Option<Stamp> {
        let mut stamp = format!("{self:?}").into_bytes();
        for held in slices {
            if !held.is_settled() {
                return None;
            }
            stamp.extend(held.sent_at.as_ms().to_be_bytes());
        }
        Some(stamp)
    }

    /// The same of what a store answered.
    pub(super) fn stamp_of<D>(&self, series: &Series<D>) -> Option<Stamp> {
        let held: Option<Vec<&Held<D>>> =
            series.iter().map(|one| one.outcome.as_ref().ok().map(|served| &*served.held)).collect();
        self.stamp(held?)
    }
}
