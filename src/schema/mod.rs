//! The GraphQL schema and its execution.
//!
//! The fields of the contract, checked arguments, and what a request really cost; whatever needs a vendor goes to the
//! [`loader`](crate::loader).

pub mod catalog;
mod channel;
mod context;
mod controls;
mod cursor;
mod error;
mod mutation;
mod operation_distribution;
mod phone_number_metric;
mod query;
mod quota;
mod range;
mod raw;
mod scalars;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{EmptySubscription, ErrorExtensionValues, Request, Response, Schema, ServerError};
use tokio::time::Instant;

pub use catalog::{Catalog, CatalogApp, CatalogChannel};
pub use context::no_cost;

use crate::domain::ids::masked;
use crate::domain::{Ask, Caller, Clock, Tally};
use crate::error::Code;
use crate::loader::{Loader, Stores};
use context::RequestContext;
use controls::Controls;
use mutation::Mutation;
use query::Query;

/// How long requests may wait.
#[derive(Debug, Clone, Copy)]
pub struct Patience {
    /// For their permits.
    pub max_wait: Duration,
    /// For a call, from its first byte to the end of the reply.
    pub timeout: Duration,
}

/// The schema and everything a request needs to run against it. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    schema: Schema<Query, Mutation, EmptySubscription>,
    stores: Arc<Stores>,
    catalog: Arc<Catalog>,
    clock: Arc<dyn Clock>,
    patience: Patience,
}

impl Gateway {
    /// A gateway over `stores` for what `catalog` names.
    #[must_use]
    pub fn new(stores: Arc<Stores>, catalog: Arc<Catalog>, clock: Arc<dyn Clock>, patience: Patience) -> Self {
        Self { schema: schema(), stores, catalog, clock, patience }
    }

    /// Runs one request for `caller`. Must run in a task of its own: all fields have asked before the batch goes, and a
    /// dropped runner would fail the fields that wait on it.
    pub async fn execute(&self, caller: Caller, mut request: Request) -> Response {
        let controls = match Controls::parse(&request.extensions) {
            Ok(controls) => controls,
            Err(refusal) => return error::refuse(&refusal),
        };
        let max_wait = controls.max_wait.unwrap_or(self.patience.max_wait);
        let ask = Ask {
            caller,
            at: self.clock.now(),
            class: controls.priority,
            deadline: Instant::now() + max_wait + self.patience.timeout,
            max_wait,
            max_stale: controls.max_stale,
            freshness: controls.freshness,
            explain: controls.explain,
            tally: Arc::new(Tally::default()),
        };
        let merges_fields = request.parsed_query().is_ok_and(raw::merges_fields);
        let loader = Loader::new(Arc::clone(&self.stores), ask);
        let context = Arc::new(RequestContext::new(loader, Arc::clone(&self.catalog), merges_fields));
        let mut response = self.schema.execute(request.data(Arc::clone(&context))).await;
        response.errors.iter_mut().for_each(name_code);
        response.extensions.insert("weir".to_owned(), context.extension());
        response
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        sdl()
    }
}

/// The schema in the schema definition language: what `weir schema` prints and `schema.graphql` holds.
#[must_use]
pub fn sdl() -> String {
    schema().sdl()
}

fn schema() -> Schema<Query, Mutation, EmptySubscription> {
    Schema::new(Query, Mutation, EmptySubscription)
}

/// The engine's own refusals, of a variable or an argument, are the caller's to mend; they repeat what was sent.
fn name_code(error: &mut ServerError) {
    let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
    if extensions.get("code").is_none() {
        extensions.set("code", Code::BadUserInput.as_str());
        extensions.set("retryable", false);
        error.message = masked(&error.message);
    }
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
