//! The GraphQL schema and its execution: types, and how they ask the [query layer](crate::query).

mod answer;
mod channel;
mod collection;
mod connection;
mod context;
mod cost;
mod error;
mod given;
mod item;
mod mutation;
mod operation_distribution;
mod phone_number_metric;
mod query;
mod quota;
mod range;
mod scalars;
mod template_metric;
mod total;

use std::collections::HashMap;
use std::future::poll_fn;
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;
use std::thread::available_parallelism;

pub use answer::Answer;
use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{
    Extension, ExtensionContext, ExtensionFactory, NextResolve, NextValidation, ResolveInfo,
};
use async_graphql::parser::types::ExecutableDocument;
use async_graphql::{
    CacheControl, EmptySubscription, Request, Response, SDLExportOptions, Schema, ServerError, ServerResult,
    ValidationResult, Value, Variables,
};
use tokio::sync::Semaphore;

use crate::document::{Document, Limits, Operation, Types};
use crate::domain::{Caller, LimitName, Live, MemoryPool, RequestCost};
use crate::error::WeirError;
use crate::fast::FastPath;
use crate::query::{Controls, Lasting, Quota, Service, Setting};
use context::RequestContext;
use mutation::Mutation;
use query::Query;

/// The bytes of one answer, where nobody says otherwise.
const ANSWER_BYTES: usize = 64 << 20;

/// The schema and everything a request needs to run against it. Cheap to clone.
#[derive(Clone)]
pub struct Gateway {
    schema: Schema<Query, Mutation, EmptySubscription>,
    service: Service,
    answer_bytes: Arc<Live<usize>>,
    /// What all answers may take together, while they are made and until they are read.
    memory: Arc<MemoryPool>,
    fast_path: FastPath,
    /// What documents are judged by.
    types: Arc<Types>,
    /// Turns to write a long list.
    long_lists: Arc<Semaphore>,
}

/// An operation that the engine can run as it is: a valid document, and values that fit.
#[derive(Debug)]
pub struct Bound(ExecutableDocument);

impl Gateway {
    /// A gateway that asks `service`.
    #[must_use]
    pub fn new(service: Service, fast_path: FastPath) -> Self {
        let schema = schema();
        let types = Arc::new(Types::read(&written(&schema), &scalars::SCALARS));
        // One fewer than there are cores: short requests and probes find a worker, however many ask for much.
        let cores = available_parallelism().map_or(1, usize::from);
        let long_lists = Arc::new(Semaphore::new(cores.saturating_sub(1).max(1)));
        let (answer_bytes, memory) = (Arc::new(Live::new(ANSWER_BYTES)), MemoryPool::new(usize::MAX));
        Self { schema, service, answer_bytes, memory, fast_path, types, long_lists }
    }

    /// The same gateway, where long lists are written by those who have one of these turns.
    #[must_use]
    pub fn with_long_lists(self, turns: Arc<Semaphore>) -> Self {
        Self { long_lists: turns, ..self }
    }

    /// The same gateway with other shortcuts: faster or slower, and the same answers.
    #[must_use]
    pub fn with_fast_path(self, fast_path: FastPath) -> Self {
        Self { fast_path, ..self }
    }

    /// What it asks: other doors ask the same.
    #[must_use]
    pub fn service(&self) -> &Service {
        &self.service
    }

    /// How much is done for speed alone.
    #[must_use]
    pub fn fast_path(&self) -> FastPath {
        self.fast_path
    }

    /// The same gateway with answers of at most so many bytes.
    #[must_use]
    pub fn with_answer_bytes(self, answer_bytes: usize) -> Self {
        self.set_answer_bytes(answer_bytes);
        self
    }

    /// From now on answers have at most so many bytes: those of all clones.
    pub fn set_answer_bytes(&self, answer_bytes: usize) {
        self.answer_bytes.set(answer_bytes);
    }

    /// The memory of all answers, of which a door may say how much there is: no bound unless it does. An answer that finds
    /// too little of it is refused by [`LimitName::HeldAnswerBytes`], unless it is the only one.
    #[must_use]
    pub fn memory(&self) -> &Arc<MemoryPool> {
        &self.memory
    }

    /// Runs one request for `caller`. Must run in a task of its own: all fields have asked before the batch goes, and a
    /// dropped runner would fail the fields that wait on it.
    pub async fn execute(&self, caller: Caller, request: Request) -> Answer {
        let read = self.read(&request.query, &Limits::default());
        let bound = read.and_then(|document| {
            let operation = document.operation(request.operation_name.as_deref());
            self.bind(operation.map_err(|complaint| Box::new(Answer::refused(&[complaint])))?, &request.variables)
        });
        match bound {
            Ok(bound) => self.run(caller, bound, &request.extensions.0, Arc::default()).await,
            Err(refusal) => *refusal,
        }
    }

    /// Parses and validates a text.
    ///
    /// # Errors
    /// The answer to a document that is refused.
    pub fn read(&self, text: &str, limits: &Limits) -> Result<Document, Box<Answer>> {
        Document::read(text, &self.types, limits).map_err(|complaints| Box::new(Answer::refused(&complaints)))
    }

    /// An operation with the values of its variables put in.
    ///
    /// # Errors
    /// The answer to values that do not fit.
    pub fn bind(&self, operation: &Operation, values: &Variables) -> Result<Bound, Box<Answer>> {
        operation.bind(&self.types, values).map(Bound).map_err(|complaints| Box::new(Answer::refused(&complaints)))
    }

    /// Runs an operation, in a task of its own like [`execute`](Self::execute).
    ///
    /// What it costs is counted in `cost`.
    pub async fn run(
        &self,
        caller: Caller,
        bound: Bound,
        extensions: &HashMap<String, Value>,
        cost: Arc<RequestCost>,
    ) -> Answer {
        let controls = match controls(extensions) {
            Ok(controls) => controls,
            Err(refusal) => return Answer::refusal(&refusal),
        };
        let query = match self.service.request(caller, &controls, cost) {
            Ok(query) => query,
            Err(refusal) => return Answer::refusal(&refusal),
        };
        let (answer_bytes, writes_raw) = (self.answer_bytes.get(), self.fast_path.raw_lists);
        let (reserved, turns) = (Arc::new(self.memory.reservation()), Arc::clone(&self.long_lists));
        let context = Arc::new(RequestContext::new(query, answer_bytes, Arc::clone(&reserved), writes_raw, turns));
        let mut request = Request::new(String::new()).data(Arc::clone(&context));
        request.set_parsed_query(bound.0);
        let Some(mut response) = unless_crowded_out(self.schema.execute(request), &context).await else {
            return Answer::refusal(&WeirError::no_room(LimitName::HeldAnswerBytes, self.memory.most()));
        };
        let lasting = context.query.lasting().filter(|_| response.errors.is_empty());
        response.extensions.insert("weir".to_owned(), cost::of(&context.query));
        Answer::new(response, lasting, context.n_untold()).holding(reserved)
    }

    /// Whether the answer would be given again if the same request were run now.
    #[must_use]
    pub fn still_holds(&self, lasting: &Lasting) -> bool {
        self.service.still_holds(lasting)
    }

    /// The permits of every operation of every configured account, as they are now; waits are those of somebody who shows
    /// no key.
    pub fn quotas(&self) -> impl Iterator<Item = Quota<'_>> {
        self.service.quotas()
    }

    /// The schema in the schema definition language.
    #[must_use]
    pub fn sdl(&self) -> String {
        written(&self.schema)
    }
}

/// The schema in the schema definition language: what `weir schema` prints and `schema.graphql` holds.
#[must_use]
pub fn sdl() -> String {
    written(&schema())
}

/// Runs a request to its end, or until there is too little memory for its answer: what was made of it is let go at once.
async fn unless_crowded_out(work: impl Future<Output = Response>, context: &RequestContext) -> Option<Response> {
    let mut work = pin!(work);
    poll_fn(|waking| match work.as_mut().poll(waking) {
        _ if context.is_crowded_out() => Poll::Ready(None),
        polled => polled.map(Some),
    })
    .await
}

/// The controls in `extensions.weir`; other extensions are not ours.
fn controls(extensions: &HashMap<String, Value>) -> Result<Controls, WeirError> {
    let mut controls = Controls::default();
    let fields = match extensions.get("weir") {
        None | Some(Value::Null) => return Ok(controls),
        Some(Value::Object(fields)) => fields,
        Some(_) => return Err(WeirError::bad_input("extensions.weir must be an object")),
    };
    for (name, value) in fields {
        let setting = match value {
            Value::String(text) => Setting::Text(text),
            Value::Enum(word) => Setting::Text(word),
            Value::Boolean(flag) => Setting::Flag(*flag),
            _ => Setting::Other,
        };
        controls.set(name, format_args!("extensions.weir.{name}"), setting)?;
    }
    Ok(controls)
}

/// What the schema says of itself as a whole: the engine has no place for it, and always answers null.
const DESCRIPTION: &str = "The numbers of two vendors behind one schema: WhatsApp messages of Alibaba Cloud CAMS and call users of Volcengine RTC. \
    weir keeps the vendors' quotas: what it holds is answered at once, and what has to be fetched waits for its turn. \
    Each number says whether it is FINAL, and `extensions.weir` of each answer what it has cost.";

/// What the engine does otherwise here: it does not validate again what has been validated, and it describes the schema.
struct Here;

impl ExtensionFactory for Here {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Here {
    async fn validation(
        &self,
        _: &ExtensionContext<'_>,
        _: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        // What else validation finds out is used by nobody.
        Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 })
    }

    async fn resolve(
        &self,
        ctx: &ExtensionContext<'_>,
        info: ResolveInfo<'_>,
        next: NextResolve<'_>,
    ) -> ServerResult<Option<Value>> {
        if info.parent_type == "__Schema" && info.name == "description" {
            return Ok(Some(Value::from(DESCRIPTION)));
        }
        next.run(ctx, info).await
    }
}

fn written(schema: &Schema<Query, Mutation, EmptySubscription>) -> String {
    schema.sdl_with_options(SDLExportOptions::new().include_specified_by())
}

fn schema() -> Schema<Query, Mutation, EmptySubscription> {
    Schema::build(Query, Mutation, EmptySubscription).extension(Here).finish()
}

impl std::fmt::Debug for Gateway {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Gateway").field("service", &self.service).finish_non_exhaustive()
    }
}
