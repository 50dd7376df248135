//! What is collected of a series: its windows, when they are final, and the way to fetch them. Which of them are due is
//! decided above.

use std::sync::Arc;
use std::time::Duration;

use super::catalog::{Catalog, CatalogApp, CatalogChannel};
use super::collections::{Kind, Name};
use super::operation_distributions;
use super::range::check_window_length;
use super::request::Request;
use super::zone::days;
use crate::archive::Collected;
use crate::domain::calendar::{CalendarStep, calendar_windows, floor_hour};
use crate::domain::dataset::Dataset;
use crate::domain::duration::parse_iso;
use crate::domain::time::{DAY, HOUR};
use crate::domain::{
    Account, ArchiveKey, Archived, ArchivedSlice, ChannelId, Facts, Held, Operation, Slice, Timestamp, Window,
};
use crate::error::WeirError;
use crate::store::Answered;
use crate::vendor::alibaba_cams::{Granularity, MetricSubject, PhoneNumberMetrics};
use crate::vendor::volcengine_rtc::{Dimension, OperationDistributions};
use crate::vendor::{alibaba_cams, volcengine_rtc};

/// What is collected window by window.
#[derive(Debug, Clone)]
pub enum Series {
    /// The messages of a channel.
    Messages {
        /// Which.
        channel: CatalogChannel,
        /// In which steps.
        granularity: Granularity,
    },
    /// The users of an application.
    Users {
        /// Which.
        app: CatalogApp,
        /// By which kind of place.
        dimension: Dimension,
        /// The length of its windows: a step of the calendar.
        window: Duration,
    },
}

/// A window of a series.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Timed {
    /// The window.
    pub window: Window,
    /// From when on all of it is final.
    pub final_from: Timestamp,
}

impl Series {
    /// The account that serves it.
    #[must_use]
    pub fn account(&self) -> &Account {
        match self {
            Self::Messages { channel, .. } => &channel.account,
            Self::Users { app, .. } => &app.account,
        }
    }

    /// What it is called.
    #[must_use]
    pub fn name(&self) -> Name {
        let account = self.account().name().to_owned();
        match self {
            Self::Messages { channel, granularity } => Name {
                dataset: Dataset::PhoneNumberMetrics,
                account,
                entity: channel.id.as_ref().map(|id| id.as_str().to_owned()),
                kind: Kind::Messages(*granularity),
            },
            Self::Users { app, dimension, window } => Name {
                dataset: Dataset::OperationDistributions,
                account,
                entity: Some(app.id.as_str().to_owned()),
                kind: Kind::Users(*dimension, *window),
            },
        }
    }

    /// Whether a slice is of this series: named alike, and one of its windows or the part of one that is over.
    #[must_use]
    pub fn is_of(&self, key: &ArchiveKey, window: Window) -> bool {
        let (dataset, entity) = match self {
            Self::Messages { channel, .. } => (Dataset::PhoneNumberMetrics, channel.id.as_ref().map(ChannelId::as_str)),
            Self::Users { app, .. } => (Dataset::OperationDistributions, Some(app.id.as_str())),
        };
        let is_same_kind = match self {
            Self::Messages { granularity, .. } => key.granularity == Some(granularity.as_str()),
            Self::Users { dimension, .. } => key.dimension == Some(dimension.name()),
        };
        let is_same =
            (key.dataset, key.account.as_str(), key.entity.as_deref()) == (dataset, self.account().name(), entity);
        is_same && is_same_kind && key.name.is_none() && self.whole(window).is_some()
    }

    /// The window that a slice is, or is the first part of.
    fn whole(&self, part: Window) -> Option<Window> {
        match self {
            Self::Messages { .. } => Some(part),
            Self::Users { app, window: step, .. } => {
                let step = CalendarStep::of(*step)?;
                let whole = calendar_windows(part.start(), part.start() + HOUR, step, &app.zone).first().copied()?;
                (whole.start() == part.start() && whole.covers(part)).then_some(whole)
            }
        }
    }

    /// Whether a slice is a whole window of it.
    #[must_use]
    pub fn is_whole(&self, window: Window) -> bool {
        self.whole(window) == Some(window)
    }

    /// The part of the window that runs that is over, as everybody asks for it; `None` of messages, which are kept by the
    /// day, and while there is none.
    #[must_use]
    pub fn running(&self, now: Timestamp) -> Option<Window> {
        let Self::Users { app, window: step, .. } = self else { return None };
        let end = floor_hour(now, &app.zone);
        let begun = calendar_windows(end - 8 * DAY, end, CalendarStep::of(*step)?, &app.zone).last().copied()?;
        Window::new(begun.start(), begun.end().min(end)).filter(|part| *part != begun)
    }

    /// How far back its vendor answers, if it says so.
    #[must_use]
    pub fn lookback(&self) -> Option<Duration> {
        let facts: &Facts = match self {
            Self::Messages { .. } => &alibaba_cams::phone_number_metrics::FACTS,
            Self::Users { .. } => &volcengine_rtc::operation_distributions::FACTS,
        };
        facts.lookback
    }

    /// Whether neighbouring windows are fetched by one call.
    #[must_use]
    pub fn joins(&self) -> bool {
        matches!(self, Self::Messages { .. })
    }

    /// Its windows that begin at or after `from`, in order of time: of messages those that have begun, of users those that
    /// are over.
    ///
    /// # Errors
    /// No store answers it.
    pub fn windows(&self, from: Timestamp, request: &Request) -> Result<Vec<Timed>, WeirError> {
        let now = request.ask().at;
        Ok(match self {
            Self::Messages { channel, granularity } => {
                let operation = request.operation::<PhoneNumberMetrics>()?;
                let subject = messages(channel, *granularity);
                let timed = |window| {
                    let (_, final_from) = operation.final_from(&Slice { subject: subject.clone(), window });
                    Timed { window, final_from }
                };
                let whole = Window::new(from.ceil(DAY), now);
                whole.into_iter().flat_map(|whole| whole.cells_of(Some(DAY))).map(timed).collect()
            }
            Self::Users { app, dimension, window } => {
                let operation = request.operation::<OperationDistributions>()?;
                let subject = operation_distributions::subject(app, *dimension);
                let step = CalendarStep::of(*window).ok_or_else(|| WeirError::bad_input("no step of the calendar"))?;
                let windows = calendar_windows(from, now, step, &app.zone).into_iter();
                // A week in which an hour is passed twice is longer than the vendor answers.
                let is_answered = |window: &Window| window.end() <= now && check_window_length(window.length()).is_ok();
                let timed = |window| {
                    let (_, final_from) = operation.final_from(&Slice { subject: subject.clone(), window });
                    Timed { window, final_from }
                };
                windows.filter(is_answered).map(timed).collect()
            }
        })
    }

    /// What the archive keeps of it inside a span, in order of time; `None` without one, and if it cannot be asked.
    pub async fn collected(&self, span: Window, request: &Request) -> Option<Vec<Collected>> {
        match self {
            Self::Messages { channel, granularity } => {
                request.collected::<PhoneNumberMetrics>(&messages(channel, *granularity), span).await
            }
            Self::Users { app, dimension, .. } => {
                let subject = operation_distributions::subject(app, *dimension);
                request.collected::<OperationDistributions>(&subject, span).await
            }
        }
    }

    /// The series whose slices an archive keeps under a key, as it is configured.
    #[must_use]
    pub fn of(key: &ArchiveKey, window: Option<&str>, catalog: &Catalog) -> Option<Self> {
        match key.dataset {
            Dataset::PhoneNumberMetrics => {
                let granularity = [Granularity::Daily, Granularity::HalfHour];
                let granularity = granularity.into_iter().find(|one| Some(one.as_str()) == key.granularity)?;
                Some(Self::Messages { channel: catalog.channel_of(key)?.clone(), granularity })
            }
            Dataset::OperationDistributions => {
                let dimension = Dimension::ALL.into_iter().find(|one| Some(one.name()) == key.dimension)?;
                Some(Self::Users { app: catalog.app_of(key)?.clone(), dimension, window: parse_iso(window?).ok()? })
            }
            Dataset::PhoneNumberTotals | Dataset::Measurements => None,
        }
    }

    /// Fetches windows; whatever comes is kept in the archive. The first failure, if there is any.
    ///
    /// # Errors
    /// What failed.
    pub async fn fetch(&self, windows: &[Window], request: &Request) -> Result<(), Arc<WeirError>> {
        match self {
            Self::Messages { channel, granularity } => {
                held::<PhoneNumberMetrics>(&messages(channel, *granularity), windows, request).await.map(drop)
            }
            Self::Users { app, dimension, .. } => {
                let subject = operation_distributions::subject(app, *dimension);
                held::<OperationDistributions>(&subject, windows, request).await.map(drop)
            }
        }
    }

    /// Windows as an archive keeps them. The first failure, if there is any.
    ///
    /// # Errors
    /// What failed.
    pub async fn slices(&self, windows: &[Window], request: &Request) -> Result<Vec<ArchivedSlice>, Arc<WeirError>> {
        match self {
            Self::Messages { channel, granularity } => {
                let subject = messages(channel, *granularity);
                slices::<PhoneNumberMetrics>(&subject, windows, request).await
            }
            Self::Users { app, dimension, .. } => {
                let subject = operation_distributions::subject(app, *dimension);
                slices::<OperationDistributions>(&subject, windows, request).await
            }
        }
    }
}

async fn slices<O: Archived>(
    subject: &O::Subject,
    windows: &[Window],
    request: &Request,
) -> Result<Vec<ArchivedSlice>, Arc<WeirError>> {
    let key = Arc::new(O::archive_key(subject));
    let held = held::<O>(subject, windows, request).await?;
    Ok(held.iter().map(|(slice, held)| ArchivedSlice::of::<O>(&key, slice, held)).collect())
}

/// A slice, and what is held of it.
type OfSlice<O> = (Slice<<O as Operation>::Subject>, Arc<Held<<O as Operation>::Data>>);

/// What is held of windows once they were fetched. Each is asked for by itself, so that what is answered is the window itself.
async fn held<O: Archived>(
    subject: &O::Subject,
    windows: &[Window],
    request: &Request,
) -> Result<Vec<OfSlice<O>>, Arc<WeirError>> {
    let wants: Vec<_> = windows.iter().map(|window| Slice { subject: subject.clone(), window: *window }).collect();
    let series = request.series::<O>(wants.clone()).await?;
    let of_slice = |answered: Answered<O::Data>| Ok((wants[answered.want].clone(), answered.outcome?.held));
    series.into_iter().flatten().map(of_slice).collect()
}

fn messages(channel: &CatalogChannel, granularity: Granularity) -> MetricSubject {
    MetricSubject { granularity, ..days(channel) }
}
