//! The GraphQL schema and its execution.

use async_graphql::{EmptyMutation, EmptySubscription, Object, Request, Response, Schema};

use crate::domain::Caller;

/// The roots of all reading.
#[derive(Debug)]
pub struct Query;

#[Object]
impl Query {
    /// Placeholder until the rooms are wired.
    async fn channels(&self) -> Vec<String> {
        Vec::new()
    }
}

/// The schema and everything a request needs to run against it.
#[derive(Clone)]
pub struct Gateway {
    schema: Schema<Query, EmptyMutation, EmptySubscription>,
}

impl Gateway {
    /// Runs one request for `caller`.
    pub async fn execute(&self, _caller: Caller, request: Request) -> Response {
        self.schema.execute(request).await
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        self.schema.sdl()
    }
}

impl Default for Gateway {
    fn default() -> Self {
        Self { schema: Schema::new(Query, EmptyMutation, EmptySubscription) }
    }
}
