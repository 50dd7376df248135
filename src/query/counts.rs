//! Rows of counts by buckets: the slices that a question wants, and which of their points are its rows.

use std::sync::Arc;

use super::request::{QUARTER, Request};
use super::rows::{Chosen, Rows};
use crate::domain::{Slice, Window};
use crate::error::WeirError;
use crate::vendor::alibaba_cams::{CountSubject, Counts, Series};

/// The rows of a subject whose own start lies in `window`, from the slices of `asked`: of the subject itself, or of some of
/// its keys. `None` where the request is only explained.
pub(super) async fn rows<C: Counts>(
    request: &Request,
    subject: C::Subject,
    asked: Vec<C::Subject>,
    window: Window,
    is_wanted: impl Fn(&<C::Subject as CountSubject>::Key) -> bool,
) -> Result<Option<Rows<C::Subject, C::Point>>, Arc<WeirError>> {
    // Buckets begin in the past: what lies ahead needs no call.
    let Some(begun) = Window::new(window.start(), window.end().min(request.quarter() + QUARTER)) else {
        return Ok((!request.ask().explain).then(|| Rows::none(subject)));
    };
    request.take::<Series<C>>(asked.len(), begun)?;
    let keys: Vec<_> = asked.iter().map(|asked| asked.key().cloned()).collect();
    let wants = asked.into_iter().map(|subject| Slice { subject, window: begun }).collect();
    let Some(series) = request.series::<Series<C>>(wants).await? else { return Ok(None) };
    let chosen = Chosen { keys: &keys, window, freshness: request.ask().freshness };
    Rows::choose(subject, series, &chosen, is_wanted).map(Some)
}
