//! Which rows a field of message counts answers.
//!
//! Rows stay where memory holds them. What is kept of them is runs: neighbouring points of one phone in one slice. They
//! are put in order instead of the rows, and nothing is copied before it is written.

use std::borrow::Cow;
use std::ops::Range;
use std::sync::Arc;

use async_graphql::parser::types::Field;
use async_graphql::registry::Registry;
use async_graphql::{ContextSelectionSet, OutputType, Positioned, ServerResult, Value};

use super::context::{QUARTER, RequestContext};
use super::cursor::Position;
use super::phone_number_metric::PhoneNumberMetric;
use super::raw::RawList;
use crate::domain::{Ask, Finality, Freshness, PhoneNumber, Slice, Window};
use crate::error::WeirError;
use crate::loader::MetricSeries;
use crate::store::Served;
use crate::vendor::alibaba_cams::{MetricSubject, PhoneNumberPoint};

/// More phones than these are looked up as the whole channel, which answers for each of them.
const MANY_PHONES: usize = 100;

/// What a field of message counts asks for.
#[derive(Debug)]
pub(super) struct MetricQuery {
    /// The channel as a whole.
    pub(super) subject: MetricSubject,
    /// Some of its phones, in order; `None` for all.
    pub(super) phones: Option<Vec<PhoneNumber>>,
    /// Rows are chosen by their own start inside it.
    pub(super) window: Window,
}

impl MetricQuery {
    /// Phones from an argument.
    pub(super) fn parse_phones(texts: Option<&[String]>) -> Result<Option<Vec<PhoneNumber>>, WeirError> {
        let Some(texts) = texts else { return Ok(None) };
        let parse = |text: &String| {
            PhoneNumber::parse(text).ok_or_else(|| WeirError::bad_input("a phone number must have at least one digit"))
        };
        let mut phones = texts.iter().map(parse).collect::<Result<Vec<_>, _>>()?;
        phones.sort_unstable();
        phones.dedup();
        Ok(Some(phones))
    }

    /// All rows, ordered by (phone number, start).
    pub(super) async fn rows(&self, context: &RequestContext) -> Result<Option<Rows>, Arc<WeirError>> {
        let mut rows = Rows { subject: self.subject.clone(), slices: Vec::new(), runs: Vec::new() };
        // Buckets begin in the past: what lies ahead needs no call.
        let Some(window) = Window::new(self.window.start(), self.window.end().min(context.quarter() + QUARTER)) else {
            return Ok((!context.ask().explain).then_some(rows));
        };
        let subjects: Vec<MetricSubject> = match &self.phones {
            Some(phones) if phones.len() <= MANY_PHONES => {
                let seen = phones.iter().filter(|phone| context.caller().may_see_phone(phone));
                seen.map(|phone| MetricSubject { phone: Some(phone.clone()), ..self.subject.clone() }).collect()
            }
            _ => vec![self.subject.clone()],
        };
        let wants = subjects.iter().map(|subject| Slice { subject: subject.clone(), window }).collect();
        let Some(series) = context.metrics(wants).await? else { return Ok(None) };
        rows.add(series, &subjects, self, context.ask())?;
        Ok(Some(rows))
    }
}

/// Rows, ordered by (phone number, start). In the schema they are the list of their items.
#[derive(Debug)]
pub(super) struct Rows {
    subject: MetricSubject,
    slices: Vec<Served<Vec<PhoneNumberPoint>>>,
    runs: Vec<Run>,
}

/// Neighbouring points of one phone in one slice.
#[derive(Debug)]
struct Run {
    slice: usize,
    points: Range<usize>,
    /// How many rows come before it.
    before: usize,
}

impl Rows {
    /// Chooses points by phone and by their own start. The points of a slice are ordered by (phone, start), and slices
    /// are whole days, so that runs of one phone follow one another.
    fn add(
        &mut self,
        series: MetricSeries,
        subjects: &[MetricSubject],
        query: &MetricQuery,
        ask: &Ask,
    ) -> Result<(), Arc<WeirError>> {
        for answered in series {
            let served = answered.outcome?;
            let Some(subject) = subjects.get(answered.want) else { continue };
            let slice = self.slices.len();
            let points = &served.held.data;
            let mut at = match &subject.phone {
                Some(phone) => points.partition_point(|point| point.phone < *phone),
                None => 0,
            };
            while let Some(PhoneNumberPoint { phone, .. }) = points.get(at) {
                let own = at..at + points[at..].partition_point(|point| point.phone <= *phone);
                at = own.end;
                let is_wanted = match &subject.phone {
                    Some(wanted) => phone == wanted,
                    None => query.phones.as_ref().is_none_or(|phones| phones.binary_search(phone).is_ok()),
                };
                if is_wanted && ask.caller.may_see_phone(phone) {
                    let run = inside(points, own, query.window);
                    self.runs.extend(with(ask.freshness, points, run).map(|points| Run { slice, points, before: 0 }));
                } else if subject.phone.is_some() {
                    break;
                }
            }
            self.slices.push(served);
        }
        let Self { slices, runs, .. } = self;
        runs.sort_by_key(|run| {
            slices.get(run.slice).and_then(|slice| slice.held.data.get(run.points.start)).map(place)
        });
        let mut before = 0;
        for run in &mut self.runs {
            run.before = before;
            before += run.points.len();
        }
        Ok(())
    }

    /// How many rows there are.
    pub(super) fn len(&self) -> usize {
        self.runs.last().map_or(0, |run| run.before + run.points.len())
    }

    /// The rows at these places.
    pub(super) fn items(&self, places: Range<usize>) -> Vec<PhoneNumberMetric<'_>> {
        let mut items = Vec::with_capacity(places.len());
        let first = self.runs.partition_point(|run| run.before + run.points.len() <= places.start);
        for run in self.runs.iter().skip(first).take_while(|run| run.before < places.end) {
            let Some((served, points)) = self.points(run) else { continue };
            let from = places.start.saturating_sub(run.before);
            let to = points.len().min(places.end - run.before);
            items.extend(points.get(from..to).unwrap_or_default().iter().map(|point| PhoneNumberMetric {
                point,
                subject: &self.subject,
                fetched_at: served.held.sent_at,
                slice: served.source,
            }));
        }
        items
    }

    /// How many rows come up to and including this place.
    pub(super) fn up_to(&self, position: &Position) -> usize {
        let is_passed = |point: &PhoneNumberPoint| place(point) <= (&position.phone, position.start);
        let passed = self
            .runs
            .partition_point(|run| self.points(run).is_none_or(|(_, points)| points.first().is_none_or(is_passed)));
        let Some(run) = passed.checked_sub(1).and_then(|last| self.runs.get(last)) else { return 0 };
        run.before + self.points(run).map_or(0, |(_, points)| points.partition_point(is_passed))
    }

    fn points(&self, run: &Run) -> Option<(&Served<Vec<PhoneNumberPoint>>, &[PhoneNumberPoint])> {
        let served = self.slices.get(run.slice)?;
        Some((served, served.held.data.get(run.points.clone())?))
    }
}

/// What rows are ordered by.
fn place(point: &PhoneNumberPoint) -> (&PhoneNumber, crate::domain::Timestamp) {
    (&point.phone, point.start)
}

/// The part of a phone's points that begins inside a window.
fn inside(points: &[PhoneNumberPoint], own: Range<usize>, window: Window) -> Range<usize> {
    let begun = |by| points.get(own.clone()).unwrap_or_default().partition_point(|point| point.start < by);
    own.start + begun(window.start())..own.start + begun(window.end())
}

/// The parts of a run that will do.
fn with(freshness: Freshness, points: &[PhoneNumberPoint], run: Range<usize>) -> impl Iterator<Item = Range<usize>> {
    let mut at = run.start;
    let parts = points
        .get(run)
        .unwrap_or_default()
        .chunk_by(move |one, other| freshness == Freshness::Any || one.finality == other.finality);
    parts.filter_map(move |part| {
        let range = at..at + part.len();
        at = range.end;
        let will_do =
            freshness == Freshness::Any || part.first().is_some_and(|point| point.finality == Finality::Final);
        will_do.then_some(range)
    })
}

impl OutputType for Rows {
    fn type_name() -> Cow<'static, str> {
        RawList::<PhoneNumberMetric<'static>>::type_name()
    }

    fn qualified_type_name() -> String {
        RawList::<PhoneNumberMetric<'static>>::qualified_type_name()
    }

    fn create_type_info(registry: &mut Registry) -> String {
        RawList::<PhoneNumberMetric<'static>>::create_type_info(registry)
    }

    async fn resolve(&self, context: &ContextSelectionSet<'_>, field: &Positioned<Field>) -> ServerResult<Value> {
        RawList(self.items(0..self.len())).resolve(context, field).await
    }
}
