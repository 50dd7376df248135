//! `PhoneNumberMetricConnection`: message counts page by page.

use std::ops::Range;

use async_graphql::{Description, Object, SimpleObject};

use super::cursor::{self, Position};
use super::metric_rows::{MetricQuery, Rows};
use super::phone_number_metric::PhoneNumberMetric;
use super::range::TimeRange;
use super::raw::{Json, Plan, RawItem, RawList, Selected};
use crate::domain::{Caller, PhoneNumber};
use crate::error::WeirError;
use crate::vendor::alibaba_cams;

/// Rows that a connection answers when nobody says how many.
const DEFAULT_FIRST: usize = 10_000;
/// Rows that a connection answers at most.
const MAX_FIRST: usize = 100_000;

/// A page of message counts, ordered by (custSpaceId, phoneNumber, start).
#[derive(Debug, Description)]
pub(super) struct PhoneNumberMetricConnection {
    rows: Rows,
    page: Range<usize>,
    seal: cursor::Seal,
}

/// A row and its place.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct PhoneNumberMetricEdge<'a> {
    row: PhoneNumberMetric<'a>,
    seal: &'a cursor::Seal,
}

#[Object(use_type_description)]
impl PhoneNumberMetricEdge<'_> {
    /// Stands for the row's place: `after` goes on behind it, also when rows were refreshed or added meanwhile.
    async fn cursor(&self) -> String {
        self.place()
    }

    /// The row.
    async fn node(&self) -> PhoneNumberMetric<'_> {
        self.row
    }
}

impl PhoneNumberMetricEdge<'_> {
    fn place(&self) -> String {
        let (phone, start) = self.row.position();
        self.seal.cursor(phone, start)
    }
}

/// The fields of [`PhoneNumberMetricEdge`], to be written without the engine.
#[derive(Debug)]
pub(super) enum EdgeField<T: RawItem> {
    Cursor,
    Node(Plan<T>),
}

impl<'a> RawItem for PhoneNumberMetricEdge<'a> {
    type Field = EdgeField<PhoneNumberMetric<'a>>;

    fn field(selected: &Selected<'_>) -> Option<Self::Field> {
        match selected.name() {
            "cursor" => Some(EdgeField::Cursor),
            "node" => selected.plan().map(EdgeField::Node),
            _ => None,
        }
    }

    fn write(&self, field: &Self::Field, out: &mut Json) {
        match field {
            EdgeField::Cursor => out.string(&self.place()),
            EdgeField::Node(plan) => out.object(&self.row, plan),
        }
    }
}

/// Where a page lies among all rows.
#[derive(Debug, SimpleObject)]
pub(super) struct PageInfo {
    /// Whether rows follow this page.
    pub has_next_page: bool,
    /// Whether rows come before this page.
    pub has_previous_page: bool,
    /// The cursor of the first row; null on an empty page.
    pub start_cursor: Option<String>,
    /// The cursor of the last row; null on an empty page.
    pub end_cursor: Option<String>,
}

impl PhoneNumberMetricConnection {
    /// The page of `first` rows behind `after`.
    pub(super) fn new(
        rows: Rows,
        first: Option<i32>,
        after: Option<&Position>,
        seal: cursor::Seal,
    ) -> Result<Self, WeirError> {
        let first = Self::check_first(first)?;
        let from = after.map_or(0, |after| rows.up_to(after));
        let page = from..rows.len().min(from + first);
        Ok(Self { rows, page, seal })
    }

    /// How many rows a page has; checked before anything is fetched.
    pub(super) fn check_first(first: Option<i32>) -> Result<usize, WeirError> {
        match first.map(usize::try_from) {
            None => Ok(DEFAULT_FIRST),
            Some(Ok(first)) if first <= MAX_FIRST => Ok(first),
            Some(asked) => {
                Err(WeirError::bad_input(format!("first must be between 0 and {MAX_FIRST}"))
                    .limited(MAX_FIRST, asked.ok()))
            }
        }
    }

    fn edge<'a>(&'a self, row: PhoneNumberMetric<'a>) -> PhoneNumberMetricEdge<'a> {
        PhoneNumberMetricEdge { row, seal: &self.seal }
    }

    /// The cursor of the row at this place, if it is on the page.
    fn cursor_at(&self, place: Option<usize>) -> Option<String> {
        let place = place.filter(|place| self.page.contains(place))?;
        self.rows.items(place..place + 1).first().map(|row| self.edge(*row).place())
    }
}

#[Object(use_type_description)]
impl PhoneNumberMetricConnection {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> RawList<PhoneNumberMetricEdge<'_>> {
        RawList(self.rows.items(self.page.clone()).into_iter().map(|row| self.edge(row)).collect())
    }

    /// The rows of the page.
    async fn nodes(&self) -> RawList<PhoneNumberMetric<'_>> {
        RawList(self.rows.items(self.page.clone()))
    }

    /// Where the page lies.
    async fn page_info(&self) -> PageInfo {
        PageInfo {
            has_next_page: self.page.end < self.rows.len(),
            has_previous_page: self.page.start > 0,
            start_cursor: self.cursor_at(Some(self.page.start)),
            end_cursor: self.cursor_at(self.page.end.checked_sub(1)),
        }
    }

    /// How many rows there are on all pages together.
    async fn total_count(&self) -> usize {
        self.rows.len()
    }
}

/// What a cursor of this query is bound to. A walk over `last` and one over `between` are different queries even where
/// their windows are the same: only the first may be older than the range it names.
pub(super) fn seal(query: &MetricQuery, range: TimeRange, caller: &Caller) -> cursor::Seal {
    let phones = query.phones.as_ref().map(|phones| phones.iter().map(PhoneNumber::expose).collect::<Vec<_>>());
    let range = match range {
        TimeRange::Between(_) => "between",
        TimeRange::Last(_) => "last",
    };
    let channel = query.subject.channel.as_ref().map_or("", |channel| channel.as_str());
    let step = alibaba_cams::Granularity::as_str(query.subject.granularity);
    let parts = [caller.scope(), range, query.subject.account.name(), channel, step].map(str::to_owned);
    let phones = phones.map_or_else(|| "*".to_owned(), |phones| phones.join(","));
    cursor::Seal::new(parts.into_iter().chain([phones]).collect(), query.window)
}
