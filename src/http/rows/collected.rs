//! What the list tells of the archive: the series that are collected, and how the writing goes.

use serde_json::{Value, json};

use crate::archive::Standing;
use crate::domain::duration::format_iso;
use crate::domain::{Caller, Timestamp};
use crate::error::Code;
use crate::query::Service;
use crate::query::collections::{Collection, Kind};

/// A line for each series that is collected, by the names of GraphQL's `collections`.
pub(super) fn collections(service: &Service, caller: &Caller) -> Value {
    service.collections().seen_by(caller).iter().map(collection).collect()
}

fn collection(Collection { name, progress, is_ours, ran_at, problem }: &Collection) -> Value {
    let instant = |at: Option<Timestamp>| at.map(|at| at.to_string());
    let (granularity, dimension, window) = match name.kind {
        Kind::Messages(granularity) => (Some(granularity.as_str()), None, None),
        Kind::Users(dimension, window) => (None, Some(dimension.name()), Some(format_iso(window))),
    };
    json!({
        "dataset": name.dataset.as_str(),
        "account": name.account,
        "custSpaceId": name.channel(),
        "appId": name.app(),
        "granularity": granularity,
        "dimension": dimension,
        "window": window,
        "windows": progress.windows,
        "final": progress.finals,
        "provisional": progress.provisional,
        "due": progress.due,
        "missing": progress.missing,
        "oldest": instant(progress.oldest),
        "lateBy": progress.late.map(format_iso),
        "nextRun": instant(progress.next),
        "lastRun": instant(*ran_at),
        "isCollector": is_ours,
        "problem": problem.map(Code::as_str),
    })
}

/// How the writing goes; null without an archive, and for those who see a part of it alone.
pub(super) fn archive(service: &Service, caller: &Caller) -> Value {
    let told = |Standing { waiting, slices, rows, lost, restated, failing }| {
        json!({
            "waiting": waiting,
            "slices": slices,
            "rows": rows,
            "lost": lost,
            "restated": restated,
            // Where the archive is stays in the log.
            "failing": failing.map(|error| error.message),
        })
    };
    service.writing().filter(|_| caller.sees_everything()).map_or(Value::Null, told)
}
