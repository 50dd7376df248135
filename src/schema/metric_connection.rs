//! `PhoneNumberMetricConnection`: message counts page by page.

use std::fmt::Debug;

use async_graphql::{Description, Object, SimpleObject};

use super::phone_number_metric::PhoneNumberMetric;
use super::raw::{Json, Plan, RawItem, RawList, Selected};
use crate::domain::Point;
use crate::query::Page;
use crate::query::phone_number_metrics::{MetricPage, MetricRow};

/// A page of message counts, ordered by (custSpaceId, phoneNumber, start).
#[derive(Debug, Description)]
pub(super) struct PhoneNumberMetricConnection(pub(super) MetricPage);

/// A row and its place.
#[derive(Debug, Clone, Copy, Description)]
pub(super) struct PhoneNumberMetricEdge<'a> {
    row: MetricRow<'a>,
    page: &'a MetricPage,
}

#[Object(use_type_description)]
impl PhoneNumberMetricEdge<'_> {
    /// Stands for the row's place: `after` goes on behind it, also when rows were refreshed or added meanwhile.
    async fn cursor(&self) -> String {
        self.page.cursor(self.row)
    }

    /// The row.
    async fn node(&self) -> PhoneNumberMetric<'_> {
        PhoneNumberMetric(self.row)
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
            EdgeField::Cursor => out.string(&self.page.cursor(self.row)),
            EdgeField::Node(plan) => out.object(&PhoneNumberMetric(self.row), plan),
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

impl PageInfo {
    pub(super) fn of<S: Debug, P: Point>(page: &Page<S, P>) -> Self {
        Self {
            has_next_page: page.has_next(),
            has_previous_page: page.has_previous(),
            start_cursor: page.start_cursor(),
            end_cursor: page.end_cursor(),
        }
    }
}

#[Object(use_type_description)]
impl PhoneNumberMetricConnection {
    /// The rows of the page, each with its cursor.
    async fn edges(&self) -> RawList<PhoneNumberMetricEdge<'_>> {
        RawList(self.0.items().into_iter().map(|row| PhoneNumberMetricEdge { row, page: &self.0 }).collect())
    }

    /// The rows of the page.
    async fn nodes(&self) -> RawList<PhoneNumberMetric<'_>> {
        RawList(self.0.items().into_iter().map(PhoneNumberMetric).collect())
    }

    /// Where the page lies.
    async fn page_info(&self) -> PageInfo {
        PageInfo::of(&self.0)
    }

    /// How many rows there are on all pages together.
    async fn total_count(&self) -> usize {
        self.0.total()
    }
}
