//! `Collection`: what is collected without being asked for, and how far that is.

use async_graphql::{ID, SimpleObject};

use super::scalars::{DateTime, Dimension, Granularity, IsoDuration};
use crate::error::Code;
use crate::query::collections;

/// A series that is collected into the archive, as a `[[watch]]` entry of the config asks for it. All numbers are of windows:
/// UTC days of a channel, or windows of the calendar of an application. They are zeros until it was looked at for the first
/// time.
#[derive(Debug, SimpleObject)]
pub(super) struct Collection {
    /// The name of its rows, as `/rows` and the tables of the archive have it.
    pub dataset: &'static str,
    /// The configured account that serves it.
    pub account: String,
    /// The channel of messages; null for users, and where the account's only channel is asked without one.
    pub cust_space_id: Option<ID>,
    /// The application of users; null for messages.
    pub app_id: Option<ID>,
    /// The step of messages; null for users.
    pub granularity: Option<Granularity>,
    /// By which kind of place users are told apart; null for messages.
    pub dimension: Option<Dimension>,
    /// The length of a window of users; null for messages.
    pub window: Option<IsoDuration>,
    /// Those of its span: from the oldest that is kept or can be had until now.
    pub windows: i32,
    /// Those that are kept and cannot change any more.
    #[graphql(name = "final")]
    pub finals: i32,
    /// Those that are kept and may still change.
    pub provisional: i32,
    /// Those that are to be fetched now.
    pub due: i32,
    /// Those that the vendor forgot before they were fetched once: gaps that nothing fills any more.
    pub missing: i32,
    /// Where the oldest that is kept begins.
    pub oldest: Option<DateTime>,
    /// For how long the one that waits longest could have been fetched as final; null if none waits.
    pub late_by: Option<IsoDuration>,
    /// When it is asked for next, as far as that is known.
    pub next_run: Option<DateTime>,
    /// When this process last asked for it.
    pub last_run: Option<DateTime>,
    /// Whether this process collects it. If not, another replica does, or none has begun.
    pub is_collector: bool,
    /// The code of the error with which the last run failed; null if it did not.
    pub problem: Option<&'static str>,
}

impl From<collections::Collection> for Collection {
    fn from(collection: collections::Collection) -> Self {
        let collections::Collection { name, progress, is_ours, ran_at, problem } = collection;
        let id = |id: &str| ID(id.to_owned());
        Self {
            dataset: name.dataset.as_str(),
            cust_space_id: name.channel().map(id),
            app_id: name.app().map(id),
            granularity: name.kind.granularity().map(Into::into),
            dimension: name.kind.dimension().map(Into::into),
            window: name.kind.window().map(IsoDuration),
            account: name.account,
            windows: count(progress.windows),
            finals: count(progress.finals),
            provisional: count(progress.provisional),
            due: count(progress.due),
            missing: count(progress.missing),
            oldest: progress.oldest.map(DateTime),
            late_by: progress.late.map(IsoDuration),
            next_run: progress.next.map(DateTime),
            last_run: ran_at.map(DateTime),
            is_collector: is_ours,
            problem: problem.map(Code::as_str),
        }
    }
}

fn count(n: usize) -> i32 {
    i32::try_from(n).unwrap_or(i32::MAX)
}
