//! The other yardstick: async-graphql as its guide shows it, one resolver a field, over rows in memory. No quota, no
//! vendor, no finality: it answers what weir answers, and does nothing else.

use std::path::Path;
use std::sync::Arc;

use async_graphql::{
    Context, EmptyMutation, EmptySubscription, Enum, ID, InputObject, InputValueError, InputValueResult, Object,
    OneofObject, Request, Result, Scalar, ScalarType, Schema, SimpleObject, Value,
};
use axum::Router;
use axum::body::Bytes;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::post;

use crate::cases::{Row, nodes};
use crate::processes::CHANNEL;
use crate::{Outcome, bare};

/// Serves the rows until it is killed.
pub(crate) fn run(fixture: &Path) -> Outcome<()> {
    let rows: Vec<Metric> = nodes(&std::fs::read(fixture)?)?.into_iter().map(Metric::from).collect();
    let schema = Schema::build(Query, EmptyMutation, EmptySubscription).data(Arc::new(rows)).finish();
    bare::serve(Router::new().route("/graphql", post(answer)).with_state(schema))
}

type Plain = Schema<Query, EmptyMutation, EmptySubscription>;

async fn answer(State(schema): State<Plain>, body: Bytes) -> Response {
    let Ok(request) = serde_json::from_slice::<Request>(&body) else {
        return StatusCode::BAD_REQUEST.into_response();
    };
    match serde_json::to_vec(&schema.execute(request).await) {
        Ok(body) => ([(header::CONTENT_TYPE, "application/json")], body).into_response(),
        Err(_) => StatusCode::INTERNAL_SERVER_ERROR.into_response(),
    }
}

/// An instant as RFC 3339.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
struct DateTime(jiff::Timestamp);

#[Scalar]
impl ScalarType for DateTime {
    fn parse(value: Value) -> InputValueResult<Self> {
        match &value {
            Value::String(text) => Ok(Self(text.parse()?)),
            _ => Err(InputValueError::expected_type(value)),
        }
    }

    fn to_value(&self) -> Value {
        Value::String(self.0.to_string())
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum Granularity {
    Daily,
    HalfHour,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum Finality {
    Final,
    Provisional,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, Enum)]
enum Source {
    Upstream,
    Cache,
}

#[derive(Debug, OneofObject)]
enum TimeRange {
    Between(Interval),
    Last(String),
}

#[derive(Debug, InputObject)]
struct Interval {
    start: DateTime,
    end: DateTime,
}

#[derive(Debug, Clone, SimpleObject)]
struct Metric {
    cust_space_id: Option<ID>,
    phone_number: String,
    granularity: Granularity,
    start: DateTime,
    end: DateTime,
    sent_count: i64,
    delivered_count: i64,
    delivery_rate: Option<f64>,
    finality: Finality,
    fetched_at: DateTime,
    source: Source,
}

impl From<Row> for Metric {
    fn from(row: Row) -> Self {
        Self {
            cust_space_id: Some(ID(CHANNEL.to_owned())),
            phone_number: row.phone_number,
            granularity: Granularity::HalfHour,
            start: DateTime(row.start),
            end: DateTime(row.end),
            sent_count: row.sent_count,
            delivered_count: row.delivered_count,
            delivery_rate: None,
            finality: if row.finality == "FINAL" { Finality::Final } else { Finality::Provisional },
            fetched_at: DateTime(row.end),
            source: Source::Cache,
        }
    }
}

#[derive(Debug, SimpleObject)]
struct Connection {
    total_count: usize,
    nodes: Vec<Metric>,
}

struct Query;

#[expect(clippy::unused_async, reason = "the engine wants every resolver asynchronous")]
#[Object]
impl Query {
    async fn phone_number_metrics(
        &self,
        context: &Context<'_>,
        cust_space_id: Option<ID>,
        phone_numbers: Option<Vec<String>>,
        #[graphql(default_with = "Granularity::Daily")] granularity: Granularity,
        range: TimeRange,
        #[graphql(default = 10_000)] first: usize,
    ) -> Result<Option<Connection>> {
        let rows: &Arc<Vec<Metric>> = context.data()?;
        let TimeRange::Between(Interval { start, end }) = range else {
            return Err("the plain server knows no clock".into());
        };
        if granularity != Granularity::HalfHour || cust_space_id.is_none_or(|id| id.as_str() != CHANNEL) {
            return Ok(None);
        }
        let phones = phone_numbers.unwrap_or_default();
        // Rows are ordered by phone, then start: those of a phone's range lie together.
        let of_phone = |phone: &String| {
            let from = rows.partition_point(|row| (row.phone_number.as_str(), row.start) < (phone.as_str(), start));
            let to = rows.partition_point(|row| (row.phone_number.as_str(), row.start) < (phone.as_str(), end));
            rows[from..to].to_vec()
        };
        let mut sorted = phones;
        sorted.sort_unstable();
        let mut nodes: Vec<_> = sorted.iter().flat_map(of_phone).collect();
        let total_count = nodes.len();
        nodes.truncate(first);
        Ok(Some(Connection { total_count, nodes }))
    }
}
