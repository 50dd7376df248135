//! Rows of a dataset whose numbers add up, in order.
//!
//! Rows stay where memory holds them. What is kept of them is runs: neighbouring points of one key in one slice. They are
//! put in order instead of the rows, and nothing is copied before it is written.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use jiff::tz::TimeZone;

use super::cursor::Position;
use crate::domain::calendar::Date;
use crate::domain::{Finality, Freshness, Held, Point, Source, Timestamp, Window};
use crate::error::WeirError;
use crate::store::{Series, Served};

/// One row: a point, and what is known of where it comes from.
pub struct Row<'a, S, P> {
    /// What the vendor said.
    pub point: &'a P,
    /// What it was asked of.
    pub subject: &'a S,
    /// When the request was sent that brought it.
    pub fetched_at: Timestamp,
    /// Where its slice came from.
    slice: Source,
    /// The zone of its subject's days, where it is known.
    zone: Option<&'a TimeZone>,
}

impl<S, P> Clone for Row<'_, S, P> {
    fn clone(&self) -> Self {
        *self
    }
}

impl<S, P> Copy for Row<'_, S, P> {}

impl<S, P: fmt::Debug> fmt::Debug for Row<'_, S, P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.point.fmt(f)
    }
}

impl<S, P: Point> Row<'_, S, P> {
    /// Where it came from for this request.
    #[must_use]
    pub fn source(&self) -> Source {
        match (self.slice, self.point.finality()) {
            // What cannot change is never out of date, whatever else is in its slice.
            (Source::Stale, Finality::Final) => Source::Cache,
            (source, _) => source,
        }
    }

    /// The local date on which it begins; `None` where the zone of its subject is not known.
    #[must_use]
    pub fn date(&self) -> Option<Date> {
        self.zone.map(|zone| Date::of(self.point.start(), zone))
    }
}

/// Which points of the answered slices are rows.
#[derive(Debug)]
pub(super) struct Chosen<'a, K> {
    /// The keys that were asked for, want by want; `None` for all of a slice.
    pub(super) keys: &'a [Option<K>],
    /// Rows are chosen by their own start inside it.
    pub(super) window: Window,
    /// Which of them will do.
    pub(super) freshness: Freshness,
}

/// Rows of one subject, ordered by (key, start).
#[derive(Debug)]
pub struct Rows<S, P> {
    subject: S,
    slices: Vec<Served<Vec<P>>>,
    runs: Vec<Run>,
    zone: Option<TimeZone>,
}

/// Where a row lies in memory.
#[derive(Debug, Clone, Copy)]
pub(super) struct Spot {
    slice: usize,
    point: usize,
}

/// Neighbouring points of one key in one slice.
#[derive(Debug)]
struct Run {
    slice: usize,
    points: Range<usize>,
    /// How many rows come before it.
    before: usize,
}

impl<S, P: Point> Rows<S, P> {
    /// Chooses points by their key and by their own start. The points of a slice are ordered by (key, start), and slices
    /// are whole days, so that runs of one key follow one another.
    pub(super) fn choose(
        subject: S,
        series: Series<Vec<P>>,
        chosen: &Chosen<'_, P::Key>,
        is_wanted: impl Fn(&P::Key) -> bool,
    ) -> Result<Self, Arc<WeirError>> {
        let (mut slices, mut runs) = (Vec::new(), Vec::new());
        for answered in series {
            let served = answered.outcome?;
            let Some(only) = chosen.keys.get(answered.want).map(Option::as_ref) else { continue };
            let slice = slices.len();
            let points = &served.held.data;
            let mut at = only.map_or(0, |only| points.partition_point(|point| point.key() < only));
            while let Some(key) = points.get(at).map(Point::key) {
                let own = at..at + points[at..].partition_point(|point| point.key() <= key);
                at = own.end;
                if only.is_none_or(|only| key == only) && is_wanted(key) {
                    let run = inside(points, own, chosen.window);
                    runs.extend(with(chosen.freshness, points, run).map(|points| Run { slice, points, before: 0 }));
                } else if only.is_some() {
                    break;
                }
            }
            slices.push(served);
        }
        let mut rows = Self { subject, slices, runs, zone: None };
        rows.put_in_order();
        Ok(rows)
    }

    /// The same rows, dated by the clocks of a zone.
    pub(super) fn dated_in(self, zone: Option<TimeZone>) -> Self {
        Self { zone, ..self }
    }

    fn put_in_order(&mut self) {
        let Self { slices, runs, .. } = self;
        runs.sort_by_key(|run| {
            slices.get(run.slice).and_then(|slice| slice.held.data.get(run.points.start)).map(place)
        });
        let mut before = 0;
        for run in &mut self.runs {
            run.before = before;
            before += run.points.len();
        }
    }

    /// How many rows there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.before + run.points.len())
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// The memory that they take beside the slices, which others may hold as well.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.runs.capacity() * size_of::<Run>() + self.slices.capacity() * size_of::<Served<Vec<P>>>()
    }

    /// The rows at these places.
    #[must_use]
    pub fn items(&self, places: Range<usize>) -> Vec<Row<'_, S, P>> {
        let mut items = Vec::with_capacity(places.len());
        let first = self.runs.partition_point(|run| run.before + run.points.len() <= places.start);
        for run in self.runs.iter().skip(first).take_while(|run| run.before < places.end) {
            let Some((served, points)) = self.points(run) else { continue };
            let from = places.start.saturating_sub(run.before);
            let to = points.len().min(places.end - run.before);
            items.extend(points.get(from..to).unwrap_or_default().iter().map(|point| self.row(served, point)));
        }
        items
    }

    /// The slices that were answered, whether rows of them were chosen or not.
    pub(super) fn held(&self) -> impl Iterator<Item = &Held<Vec<P>>> {
        self.slices.iter().map(|served| &*served.held)
    }

    /// Where the first row begins.
    pub(super) fn first_start(&self) -> Option<Timestamp> {
        self.spots().next().and_then(|spot| self.at(spot)).map(|row| row.point.start())
    }

    /// Where the rows lie, in their order.
    pub(super) fn spots(&self) -> impl Iterator<Item = Spot> {
        self.runs.iter().flat_map(|run| run.points.clone().map(|point| Spot { slice: run.slice, point }))
    }

    /// The row at a spot of these rows.
    pub(super) fn at(&self, spot: Spot) -> Option<Row<'_, S, P>> {
        let served = self.slices.get(spot.slice)?;
        let point = served.held.data.get(spot.point)?;
        Some(self.row(served, point))
    }

    fn row<'a>(&'a self, served: &Served<Vec<P>>, point: &'a P) -> Row<'a, S, P> {
        let (fetched_at, zone) = (served.held.sent_at, self.zone.as_ref());
        Row { point, subject: &self.subject, fetched_at, slice: served.source, zone }
    }

    /// How many rows come up to and including this place.
    pub(super) fn up_to(&self, position: &Position<P::Key>) -> usize {
        let is_passed = |point: &P| place(point) <= (&position.key, position.start);
        let passed = self
            .runs
            .partition_point(|run| self.points(run).is_none_or(|(_, points)| points.first().is_none_or(is_passed)));
        let Some(run) = passed.checked_sub(1).and_then(|last| self.runs.get(last)) else { return 0 };
        run.before + self.points(run).map_or(0, |(_, points)| points.partition_point(is_passed))
    }

    fn points(&self, run: &Run) -> Option<(&Served<Vec<P>>, &[P])> {
        let served = self.slices.get(run.slice)?;
        Some((served, served.held.data.get(run.points.clone())?))
    }
}

/// What rows are ordered by.
fn place<P: Point>(point: &P) -> (&P::Key, Timestamp) {
    (point.key(), point.start())
}

/// The part of a key's points that begins inside a window.
fn inside<P: Point>(points: &[P], own: Range<usize>, window: Window) -> Range<usize> {
    let begun = |by| points.get(own.clone()).unwrap_or_default().partition_point(|point| point.start() < by);
    own.start + begun(window.start())..own.start + begun(window.end())
}

/// The parts of a run that will do.
fn with<P: Point>(freshness: Freshness, points: &[P], run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = run.start;
    let parts = points
        .get(run)
        .unwrap_or_default()
        .chunk_by(move |one, other| freshness == Freshness::Any || one.finality() == other.finality());
    parts.filter_map(move |part| {
        let range = at..at + part.len();
        at = range.end;
        let will_do =
            freshness == Freshness::Any || part.first().is_some_and(|point| point.finality() == Finality::Final);
        will_do.then_some(range)
    })
}
