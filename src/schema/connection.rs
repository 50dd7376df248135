//! Connections: rows page by page, the same for every dataset.

use std::fmt::Debug;

use async_graphql::{Description, Object, SimpleObject};

use super::item::{RawList, item};
use super::phone_number_metric::PhoneNumberMetric;
use super::template_metric::TemplateMetric;
use crate::domain::Point;
use crate::query::Page;
use crate::query::phone_number_metrics::{MetricPage, MetricRow};
use crate::query::template_metrics::{TemplatePage, TemplateRow};

/// A connection and its edge, over rows that `$node` wraps. The engine names types where they are declared, so that a macro
/// declares each of them.
macro_rules! connection {
    ($(#[$doc:meta])* $connection:ident, $edge:ident: $node:ident, $page:ident, $row:ident) => {
        $(#[$doc])*
        #[derive(Debug, Description)]
        pub(super) struct $connection(pub(super) $page);

        /// A row and its place.
        #[derive(Debug, Clone, Copy, Description)]
        pub(super) struct $edge<'a> {
            row: $row<'a>,
            page: &'a $page,
        }

        item! { $edge<'a>: edge => {
            /// Stands for the row's place: `after` goes on behind it, also when rows were refreshed or added meanwhile.
            cursor: String = edge.page.cursor(edge.row),
            /// The row.
            node: $node<'a> = $node(edge.row),
        }}

        #[Object(use_type_description)]
        impl $connection {
            /// The rows of the page, each with its cursor.
            async fn edges(&self) -> RawList<'_, $edge<'_>> {
                let page = &self.0;
                let edges = || page.items().into_iter().map(|row| $edge { row, page }).collect();
                RawList::later(page.len(), edges)
            }

            /// The rows of the page.
            async fn nodes(&self) -> RawList<'_, $node<'_>> {
                RawList::later(self.0.len(), || self.0.items().into_iter().map($node).collect())
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
    };
}

connection! {
    /// A page of message counts, ordered by (custSpaceId, phoneNumber, start).
    PhoneNumberMetricConnection, PhoneNumberMetricEdge: PhoneNumberMetric, MetricPage, MetricRow
}

connection! {
    /// A page of template counts, ordered by (language, start).
    TemplateMetricConnection, TemplateMetricEdge: TemplateMetric, TemplatePage, TemplateRow
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
