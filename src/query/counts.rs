//! Rows of counts by buckets: the slices that a question wants, and which of their points are its rows.

use std::sync::Arc;

use super::request::{QUARTER, Request};
use super::rows::{Chosen, Rows};
use crate::domain::{Slice, Window};
use crate::error::WeirError;
use crate::store::Series as Slices;
use crate::vendor::alibaba_cams::{CountSubject, Counts, Series};

/// The slices whose points may be rows.
pub(super) struct Points<C: Counts> {
    /// What each want asked for: one key, or `None` for all.
    pub(super) keys: Vec<Option<<C::Subject as CountSubject>::Key>>,
    /// The slices, want by want in order of time; without those that cannot be final, where nothing else will do.
    pub(super) series: Slices<Vec<C::Point>>,
}

/// Looks `asked` up: a subject, or some of its keys. `None` where the request is only explained.
pub(super) async fn points<C: Counts>(
    request: &Request,
    asked: Vec<C::Subject>,
    window: Window,
) -> Result<Option<Points<C>>, Arc<WeirError>> {
    let keys: Vec<_> = asked.iter().map(|asked| asked.key().cloned()).collect();
    // Buckets begin in the past: what lies ahead needs no call.
    let Some(begun) = Window::new(window.start(), window.end().min(request.quarter() + QUARTER)) else {
        return Ok((!request.ask().explain).then(|| Points { keys, series: Vec::new() }));
    };
    request.take::<Series<C>>(asked.len(), begun)?;
    let wants = asked.into_iter().map(|subject| Slice { subject, window: begun }).collect();
    let series = request.series::<Series<C>>(wants).await?;
    Ok(series.map(|series| Points { keys, series }))
}

/// The rows of a subject whose own start lies in `window`, from the slices of `asked`: of the subject itself, or of some of
/// its keys. `None` where the request is only explained.
pub(super) async fn rows<C: Counts>(
    request: &Request,
    subject: C::Subject,
    asked: Vec<C::Subject>,
    window: Window,
    is_wanted: impl Fn(&<C::Subject as CountSubject>::Key) -> bool,
) -> Result<Option<Rows<C::Subject, C::Point>>, Arc<WeirError>> {
    let Some(points) = points::<C>(request, asked, window).await? else { return Ok(None) };
    let chosen = Chosen { keys: &points.keys, window, freshness: request.ask().freshness };
    Rows::choose(subject, points.series, &chosen, is_wanted).map(Some)
}
