//! The GraphQL schema and its execution.
//!
//! The fields of the contract, checked arguments, and what a request really cost; whatever needs a vendor goes to the
//! [`loader`](crate::loader).

mod answer;
pub mod catalog;
mod channel;
mod context;
mod controls;
mod cursor;
mod document;
mod error;
mod metric_connection;
mod metric_rows;
mod mutation;
mod operation_distribution;
mod phone_number_metric;
mod query;
mod quota;
mod range;
mod raw;
mod reuse;
mod scalars;
mod validity;

use std::sync::Arc;
use std::time::Duration;

use async_graphql::{EmptySubscription, Request, Schema};
use tokio::time::Instant;

pub use answer::Answer;
pub use catalog::{Catalog, CatalogApp, CatalogChannel};
pub use document::Document;
pub use reuse::Lasting;

use crate::domain::{Account, Ask, Caller, Clock, Tally};
use crate::error::Code;
use crate::loader::{Loader, Stores};
use crate::quota::Standing;
use context::RequestContext;
use controls::Controls;
use mutation::Mutation;
use query::Query;
use reuse::Epoch;
use validity::{FoundValid, Sparing};

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
    pub async fn execute(&self, caller: Caller, mut request: Request) -> Answer {
        match request.parsed_query() {
            Ok(parsed) => {
                let document = Document::new(parsed.clone());
                self.execute_document(caller, &document, request).await
            }
            Err(error) => Answer::refusal(Code::BadUserInput, error),
        }
    }

    /// The same for a request whose document has been looked through before.
    pub async fn execute_document(&self, caller: Caller, document: &Document, mut request: Request) -> Answer {
        // What is held changes while the request runs, too.
        let epoch = self.epoch();
        let controls = match Controls::parse(&request.extensions) {
            Ok(controls) => controls,
            Err(refusal) => return Answer::refusal(refusal.code, error::refused(&refusal)),
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
        let loader = Loader::new(Arc::clone(&self.stores), ask);
        let catalog = Arc::clone(&self.catalog);
        let context = Arc::new(RequestContext::new(loader, catalog, document.merges_fields(), epoch));
        request.set_parsed_query(document.parsed().clone());
        document.fill_in(request.operation_name.as_deref(), &mut request.variables);
        if document.is_valid_with(&request.variables) {
            request = request.data(FoundValid);
        }
        let mut response = self.schema.execute(request.data(Arc::clone(&context))).await;
        let lasting = context.lasting().filter(|_| response.errors.is_empty());
        response.extensions.insert("weir".to_owned(), context.extension());
        Answer::new(response, lasting)
    }

    /// Whether the answer would be given again if the same request were run now.
    #[must_use]
    pub fn still_holds(&self, lasting: &Lasting) -> bool {
        lasting.holds(self.epoch(), Instant::now(), self.clock.now())
    }

    /// The permits of every operation of every configured account, as they are now: account, operation, permits.
    pub fn standings(&self) -> impl Iterator<Item = (&Account, &'static str, u32, Standing)> {
        self.catalog.accounts.iter().flat_map(|account| {
            let of_account = self.stores.standings(account).into_iter();
            of_account.map(move |(operation, permits, standing)| (account, operation, permits, standing))
        })
    }

    fn epoch(&self) -> Epoch {
        [self.stores.metrics.memory().epoch(), self.stores.distributions.memory().epoch()]
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        self.schema.sdl()
    }
}

/// The schema in the schema definition language: what `weir schema` prints and `schema.graphql` holds.
#[must_use]
pub fn sdl() -> String {
    schema().sdl()
}

fn schema() -> Schema<Query, Mutation, EmptySubscription> {
    Schema::build(Query, Mutation, EmptySubscription).extension(Sparing).finish()
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("catalog", &self.catalog).finish_non_exhaustive()
    }
}
