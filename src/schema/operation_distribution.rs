//! `OperationDistribution`: distinct call users per place over one exact window.

use async_graphql::{Description, ID, Object, SimpleObject};

use super::item::{RawList, item};
use super::scalars::{Date, DateTime, Dimension, Finality, Source};
use crate::domain::count::UserBounds;
use crate::query::CatalogApp;
use crate::query::operation_distributions::{Bounds, DistributionWindow};
use crate::vendor::volcengine_rtc;

/// Distinct call users of one application per place, over exactly one window. Source: `ListOperationDistribution` of
/// Volcengine RTC. A user seen in two windows counts in both: windows, applications and places do not add up.
#[derive(Debug, Description)]
pub(super) struct OperationDistribution(pub(super) DistributionWindow);

#[Object(use_type_description)]
impl OperationDistribution {
    /// The application, the vendor's `AppId`.
    async fn app_id(&self) -> ID {
        ID(self.0.subject.app.as_str().to_owned())
    }

    /// What is counted: `user_num`, users of calls, each once.
    async fn indicator(&self) -> &str {
        volcengine_rtc::OperationDistributions::INDICATOR
    }

    /// By which kind of place.
    async fn dimension(&self) -> Dimension {
        self.0.subject.dimension.into()
    }

    /// The window's first instant.
    async fn start(&self) -> DateTime {
        DateTime(self.0.window.start())
    }

    /// The first instant after the window.
    async fn end(&self) -> DateTime {
        DateTime(self.0.window.end())
    }

    /// The date of the account's zone on which it begins.
    async fn date(&self) -> Date {
        Date(self.0.date)
    }

    /// The places, by value descending, then by name.
    async fn data(&self) -> RawList<'_, DistributionShare<'_>> {
        RawList::of(self.0.held.data.shares.iter().map(DistributionShare))
    }

    /// Whether the vendor may still change the counts.
    async fn finality(&self) -> Finality {
        self.0.held.data.finality.into()
    }

    /// When the request that brought the counts was sent.
    async fn fetched_at(&self) -> DateTime {
        DateTime(self.0.held.sent_at)
    }

    /// Where the counts came from for this request.
    async fn source(&self) -> Source {
        self.0.source.into()
    }
}

/// The users of one place.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct DistributionShare<'a>(&'a volcengine_rtc::Share);

item! { DistributionShare<'a>: Self(share) => {
    /// The place as the vendor names it, such as 上海.
    distribution_name: &'a str = &share.name,
    /// Distinct users over the window. Not to be summed over places: a user may appear in two.
    value: f64 = share.users.as_f64(),
    /// The vendor's own percentage, 0 to 100, of all users of the window; users without a known place are in no row, so
    /// the sum may stay below 100.
    proportion: f64 = share.proportion,
}}

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

impl OperationDistributionBounds {
    pub(super) fn new(app: &CatalogApp, dimension: Dimension, bounds: Bounds) -> Self {
        let place = |(distribution_name, users): (String, UserBounds)| DistributionBounds {
            distribution_name,
            at_least: users.at_least(),
            at_most: users.at_most(),
        };
        Self {
            app_id: ID(app.id.as_str().to_owned()),
            indicator: volcengine_rtc::OperationDistributions::INDICATOR.to_owned(),
            dimension,
            start: DateTime(bounds.span.start()),
            end: DateTime(bounds.span.end()),
            windows: i32::try_from(bounds.windows).unwrap_or(i32::MAX),
            data: bounds.places.into_iter().map(place).collect(),
            finality: bounds.finality.into(),
        }
    }
}
