//! Documents: from the text of a request to the tree that the engine runs.
//!
//! A text is parsed once, validated by apollo-compiler, and turned into a [`Document`]: its operations with fragments
//! laid open and equal response keys merged, so that nothing that runs depends on the engine's own merging. For each
//! request the values of the variables are checked and put in ([`Operation::bind`]), and what comes out has constants
//! alone: no variable, no fragment, no directive. The engine neither parses nor validates (docs/decisions/0016).
//!
//! What is refused is refused as a whole, before anything runs, with [`Complaint`]s that name the place. Look next at
//! `build.rs`.

mod build;
mod complaint;
mod grammar;
mod limits;
mod lines;
mod merge;
mod places;
mod values;
mod variables;

use std::sync::Arc;

use apollo_compiler::ast::{DirectiveList, FieldDefinition, Type};
use apollo_compiler::parser::Parser;
use apollo_compiler::schema::{Component, ExtendedType};
use apollo_compiler::validation::Valid;
use apollo_compiler::{Name as ApolloName, Schema, introspection};
use async_graphql::parser::types::{
    DocumentOperations, ExecutableDocument, OperationDefinition, OperationType, SelectionSet,
};
use async_graphql::{Name, Pos, Positioned, Variables};

pub use complaint::Complaint;
pub use limits::Limits;
use places::Places;
pub use values::Scalar;

use crate::domain::LimitName;
use crate::domain::wording::echo;
use variables::Variable;

/// A tree of the engine takes no more memory than this for each field, its arguments included.
const BYTES_A_FIELD: usize = 640;

/// What the schema says, as far as documents are judged by it.
#[derive(Debug)]
pub struct Types {
    schema: Valid<Schema>,
    scalars: &'static [(&'static str, Scalar)],
}

impl Types {
    /// Reads a valid schema in the schema definition language; `scalars` judge the values of its own scalars by name. Where
    /// the schema is not valid (a test of it says so), what of it cannot be read is not there.
    #[must_use]
    pub fn read(sdl: &str, scalars: &'static [(&'static str, Scalar)]) -> Self {
        let mut schema =
            Schema::parse_and_validate(sdl, "schema.graphql").map_or_else(|refused| refused.partial, Valid::into_inner);
        know_one_of(&mut schema);
        let schema = Valid::assume_valid(schema);
        Self { schema, scalars }
    }
}

/// The schema's description of itself has one field more than apollo-compiler knows: `__Type.isOneOf`.
fn know_one_of(schema: &mut Schema) {
    let (name, boolean) = (ApolloName::new_static("isOneOf"), ApolloName::new_static("Boolean"));
    if let (Some(ExtendedType::Object(object)), Ok(name), Ok(boolean)) = (schema.types.get_mut("__Type"), name, boolean)
    {
        let ty = Type::Named(boolean);
        let (description, arguments, directives) = (None, Vec::new(), DirectiveList::new());
        let field = FieldDefinition { description, name: name.clone(), arguments, ty, directives };
        object.make_mut().fields.insert(name, Component::new(field));
    }
}

/// A valid document.
#[derive(Debug)]
pub struct Document {
    operations: Vec<Arc<Operation>>,
    n_fields: usize,
    exceeded: Vec<LimitName>,
}

/// One operation of a document.
#[derive(Debug)]
pub struct Operation {
    kind: OperationType,
    name: Option<Arc<str>>,
    root: Arc<str>,
    variables: Vec<Variable>,
    fields: SelectionSet,
    /// Whether fields of it are selected by variables; then equal keys are merged only once these are known.
    is_conditional: bool,
    /// Whether values of variables are put in.
    is_open: bool,
}

impl Document {
    /// Parses, measures and validates a text.
    ///
    /// # Errors
    /// Everything that is wrong with it, or the limit that it exceeds.
    pub fn read(text: &str, types: &Types, limits: &Limits) -> Result<Self, Vec<Complaint>> {
        let read = Self::judged(text, types, limits);
        // What is near to a name tells of names.
        read.map_err(|complaints| if limits.introspection { complaints } else { complaint::without_hints(complaints) })
    }

    fn judged(text: &str, types: &Types, limits: &Limits) -> Result<Self, Vec<Complaint>> {
        limits.check_text(text).map_err(|complaint| vec![complaint])?;
        let (tree, places, n_directives) = grammar::read(text, limits).map_err(|complaint| vec![complaint])?;
        let exceeded = limits.check(&tree, n_directives).map_err(|complaint| vec![complaint])?;
        let document = match tree.to_executable_validate(&types.schema) {
            Ok(valid) => valid.into_inner(),
            // Values are judged here alone: by the types of the schema's own scalars, too.
            Err(refused) if complaint::is_of_values_alone(&refused.errors) => refused.partial,
            Err(_) => return Err(refused(types, &places)),
        };
        let document = Valid::assume_valid(document);
        for operation in document.operations.iter() {
            // The description of the schema goes round in circles, so that a short question about it may have no end.
            introspection::check_max_depth(&document, operation).map_err(|_| vec![limits::introspects_too_deep()])?;
        }
        let mut roots = document.operations.iter().flat_map(|operation| operation.root_fields(&document));
        let describes = |name: &str| name == "__schema" || name == "__type";
        if let Some(field) = roots.find(|field| !limits.introspection && describes(&field.name)) {
            return Err(vec![limits::introspection_is_off(places.of_name(&field.name))]);
        }
        let (operations, n_fields) = build::operations(&document, types, &places)?;
        Ok(Self { operations, n_fields, exceeded })
    }

    /// The limits that it exceeds and that are only counted.
    #[must_use]
    pub fn exceeded(&self) -> &[LimitName] {
        &self.exceeded
    }

    /// The operation that a request means.
    ///
    /// # Errors
    /// There is none of this name, or there are several and no name.
    pub fn operation(&self, name: Option<&str>) -> Result<&Arc<Operation>, Complaint> {
        match (name, self.operations.as_slice()) {
            (None, []) => Err(Complaint::of_request("the query has no operation, only fragments")),
            (None, [only]) => Ok(only),
            (None, _) => Err(Complaint::of_request("the query has several operations; say which one in operationName")),
            (Some(name), operations) => operations
                .iter()
                .find(|operation| operation.name.as_deref() == Some(name))
                .ok_or_else(|| Complaint::of_request(format!("the query has no operation named {}", echo(name)))),
        }
    }

    /// How much memory it takes, about, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.n_fields.saturating_mul(BYTES_A_FIELD)
    }
}

impl Operation {
    /// Whether it reads, changes or subscribes.
    #[must_use]
    pub fn kind(&self) -> OperationType {
        self.kind
    }

    /// Its name, if it has one.
    #[must_use]
    pub fn name(&self) -> Option<&Arc<str>> {
        self.name.as_ref()
    }

    /// The field of the schema that it asks for, `several` for more than one, or `introspection`: one of few words, whatever
    /// a caller writes.
    #[must_use]
    pub fn root(&self) -> &Arc<str> {
        &self.root
    }

    /// What the engine runs for a request that was sent with these values.
    ///
    /// # Errors
    /// Each value that is missing or not of its variable's type.
    pub fn bind(&self, types: &Types, sent: &Variables) -> Result<ExecutableDocument, Vec<Complaint>> {
        let mut fields = self.fields.clone();
        // Also those that nothing depends on must be right.
        let values = variables::coerce(&self.variables, types, sent)?;
        if self.is_conditional {
            merge::choose(&mut fields, &values).map_err(|complaint| vec![complaint])?;
            merge::merge(&mut fields);
        }
        if self.is_open {
            merge::put_in(&mut fields, &values).map_err(|complaint| vec![complaint])?;
        }
        let operation = OperationDefinition {
            ty: self.kind,
            variable_definitions: Vec::new(),
            directives: Vec::new(),
            selection_set: Positioned::new(fields, Pos::default()),
        };
        let operations = DocumentOperations::Single(Positioned::new(operation, Pos::default()));
        Ok(ExecutableDocument { operations, fragments: std::collections::HashMap::new() })
    }
}

/// What is wrong with a document that is not valid, told where: apollo knows the places of what its own parser has read.
fn refused(types: &Types, places: &Places<'_>) -> Vec<Complaint> {
    let parsed = Parser::new().recursion_limit(usize::MAX).parse_ast(places.for_apollo(), "");
    let found = parsed
        .map_err(|refused| refused.errors)
        .and_then(|tree| tree.to_executable_validate(&types.schema).map_err(|refused| refused.errors));
    match found {
        Err(found) => complaint::of_diagnostics(&found, types, places),
        Ok(_) => vec![Complaint::of_request("the query is not valid")],
    }
}

/// A name of the engine.
fn name(text: &str) -> Name {
    Name::new(text)
}
