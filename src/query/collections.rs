//! What is collected, and how far that is: noted by those who do it, read by all doors.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::domain::dataset::Dataset;
use crate::domain::duration::format_iso;
use crate::domain::{AppId, Caller, ChannelId, Timestamp};
use crate::error::Code;
use crate::vendor::alibaba_cams::Granularity;
use crate::vendor::volcengine_rtc::Dimension;

/// What a series is called at every door.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Name {
    /// Which numbers.
    pub dataset: Dataset,
    /// The configured account that serves it.
    pub account: String,
    /// The channel or the application; `None` for the only channel of an account without named ones.
    pub entity: Option<String>,
    /// What tells it from the others of its entity.
    pub kind: Kind,
}

/// What tells the series of one entity apart.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    /// The step of messages.
    Messages(Granularity),
    /// The kind of place of users, and the length of a window of them.
    Users(Dimension, Duration),
}

impl Name {
    /// The channel of messages, where it has an id.
    #[must_use]
    pub fn channel(&self) -> Option<&str> {
        self.entity.as_deref().filter(|_| matches!(self.kind, Kind::Messages(_)))
    }

    /// The application of users.
    #[must_use]
    pub fn app(&self) -> Option<&str> {
        self.entity.as_deref().filter(|_| matches!(self.kind, Kind::Users(..)))
    }

    /// Whether the caller may see whose it is.
    fn is_seen_by(&self, caller: &Caller) -> bool {
        match self.kind {
            Kind::Messages(_) => caller.may_see_channel(self.channel().map(ChannelId::new).as_ref()),
            Kind::Users(..) => self.app().is_some_and(|app| caller.may_see_app(&AppId::new(app))),
        }
    }
}

impl Kind {
    /// The step of messages.
    #[must_use]
    pub fn granularity(self) -> Option<Granularity> {
        match self {
            Self::Messages(granularity) => Some(granularity),
            Self::Users(..) => None,
        }
    }

    /// The kind of place of users.
    #[must_use]
    pub fn dimension(self) -> Option<Dimension> {
        match self {
            Self::Messages(_) => None,
            Self::Users(dimension, _) => Some(dimension),
        }
    }

    /// The length of a window of users.
    #[must_use]
    pub fn window(self) -> Option<Duration> {
        match self {
            Self::Messages(_) => None,
            Self::Users(_, window) => Some(window),
        }
    }
}

/// In one word, such as `DAILY` or `PROVINCE/P1D`.
impl fmt::Display for Kind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Messages(granularity) => f.write_str(granularity.as_str()),
            Self::Users(dimension, window) => {
                write!(f, "{}/{}", dimension.name(), format_iso(*window))
            }
        }
    }
}

/// How far the collecting of a series is.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Progress {
    /// The windows of its span, from the oldest that is kept or can be had.
    pub windows: usize,
    /// Those that are kept and cannot change any more.
    pub finals: usize,
    /// Those that are kept and may still change.
    pub provisional: usize,
    /// Those that are to be fetched now.
    pub due: usize,
    /// Those that the vendor forgot before they were fetched once: gaps that nothing fills any more.
    pub missing: usize,
    /// Where the oldest that is kept begins.
    pub oldest: Option<Timestamp>,
    /// For how long the one that waits longest could have been fetched as final, to the second.
    pub late: Option<Duration>,
    /// When it is asked for next, as far as that is known.
    pub next: Option<Timestamp>,
}

/// A series that is collected.
#[derive(Debug, Clone)]
pub struct Collection {
    /// What it is called.
    pub name: Name,
    /// How far it is; all zeros until it was looked at for the first time.
    pub progress: Progress,
    /// Whether this process collects it; another replica does if not.
    pub is_ours: bool,
    /// When it was last asked for here.
    pub ran_at: Option<Timestamp>,
    /// Why that failed, if it did.
    pub problem: Option<Code>,
}

/// All series that are collected, in the order of their names.
#[derive(Debug, Default)]
pub struct Collections(Mutex<Vec<Collection>>);

impl Collections {
    /// All that the caller may see.
    #[must_use]
    pub fn seen_by(&self, caller: &Caller) -> Vec<Collection> {
        self.lock().iter().filter(|collection| collection.name.is_seen_by(caller)).cloned().collect()
    }

    /// Notes that a series will be collected.
    pub fn expect(&self, name: Name) {
        self.entry(name, |_| ());
    }

    /// Notes how far a series is.
    pub fn note(&self, name: Name, progress: Progress, is_ours: bool) {
        self.entry(name, |known| (known.progress, known.is_ours) = (progress, is_ours));
    }

    /// Notes that a series was asked for, what failed, and when it is asked for again.
    pub fn note_run(&self, name: Name, at: Timestamp, problem: Option<Code>, next: Timestamp) {
        self.entry(name, |known| {
            (known.ran_at, known.problem, known.progress.next) = (Some(at), problem, Some(next));
        });
    }

    fn entry(&self, name: Name, change: impl FnOnce(&mut Collection)) {
        let mut all = self.lock();
        let at = all.binary_search_by(|known| known.name.cmp(&name)).unwrap_or_else(|at| {
            all.insert(
                at,
                Collection { name, progress: Progress::default(), is_ours: false, ran_at: None, problem: None },
            );
            at
        });
        change(&mut all[at]);
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Collection>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
