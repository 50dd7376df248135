//! Queries that are valid for sure: the engine's validation takes a third of the time of a small new query.
//!
//! This knows what usual queries do: fields, arguments, variables. What it finds valid, the engine would find valid. Whatever
//! it does not know (fragments, directives, the schema's own description) or finds at fault is left to the engine, whose
//! words callers read.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, LazyLock};

use async_graphql::async_trait::async_trait;
use async_graphql::extensions::{Extension, ExtensionContext, ExtensionFactory, NextValidation};
use async_graphql::indexmap::IndexMap;
use async_graphql::parser::parse_schema;
use async_graphql::parser::types::{
    BaseType, ExecutableDocument, InputValueDefinition, OperationDefinition, OperationType, Selection, SelectionSet,
    Type, TypeKind, TypeSystemDefinition, VariableDefinition,
};
use async_graphql::{CacheControl, Name, Positioned, ServerError, ValidationResult, Value as ConstValue, Variables};
use async_graphql_value::Value;

use super::sdl;

/// What the schema has, by name.
static TYPES: LazyLock<Types> = LazyLock::new(|| Types::read(&sdl()));

/// No usual query has more variables.
const MAX_VARIABLES: usize = 100;

/// The type that queries begin with.
const QUERY: &str = "Query";

/// Goes with a request that needs no validation.
pub(super) struct FoundValid;

/// Spares requests with [`FoundValid`] the engine's validation.
pub(super) struct Sparing;

impl ExtensionFactory for Sparing {
    fn create(&self) -> Arc<dyn Extension> {
        Arc::new(Self)
    }
}

#[async_trait]
impl Extension for Sparing {
    async fn validation(
        &self,
        context: &ExtensionContext<'_>,
        next: NextValidation<'_>,
    ) -> Result<ValidationResult, Vec<ServerError>> {
        if context.data_opt::<FoundValid>().is_none() {
            return next.run(context).await;
        }
        // What else validation finds out is used by nobody.
        Ok(ValidationResult { cache_control: CacheControl::default(), complexity: 0, depth: 0 })
    }
}

/// Whether a document is valid for sure, with any values that [`fit`].
pub(super) fn is_valid(document: &ExecutableDocument) -> bool {
    let Some(operation) = only_operation(document) else { return false };
    let mut variables = Usage { definitions: &operation.variable_definitions, used: Vec::new() };
    operation.ty == OperationType::Query
        && operation.directives.is_empty()
        && operation.variable_definitions.len() <= MAX_VARIABLES
        && document.fragments.is_empty()
        && TYPES.has_all(QUERY, &operation.selection_set.node, &mut variables)
        && variables.are_well_defined()
}

/// Whether the values sent with a document [that is valid](is_valid) are of the types of its variables, as far as they are
/// there.
pub(super) fn fit(document: &ExecutableDocument, values: &Variables) -> bool {
    let definitions = only_operation(document).map(|operation| &operation.variable_definitions[..]).unwrap_or_default();
    definitions.iter().all(|Positioned { node, .. }| {
        values.get(&node.name.node).is_none_or(|value| TYPES.takes(&node.var_type.node, value, &mut Usage::default()))
    })
}

fn only_operation(document: &ExecutableDocument) -> Option<&OperationDefinition> {
    let mut operations = document.operations.iter();
    let (_, operation) = operations.next()?;
    operations.next().is_none().then_some(&operation.node)
}

struct Types {
    objects: BTreeMap<String, BTreeMap<String, Field>>,
    inputs: BTreeMap<String, Input>,
}

struct Field {
    arguments: Vec<Argument>,
    of: Output,
}

enum Output {
    /// Nothing can be selected of it.
    Leaf,
    Object(String),
    /// An interface or a union.
    Other,
}

enum Input {
    Boolean,
    Id,
    Int,
    /// Text, also an instant or a duration: what it says is looked at when it is used.
    Text,
    Enum(BTreeSet<String>),
    Object {
        fields: Vec<Argument>,
        one_of: bool,
    },
}

struct Argument {
    name: String,
    kind: Type,
    has_default: bool,
}

impl Types {
    /// What a schema in the schema definition language has.
    fn read(sdl: &str) -> Self {
        let definitions = parse_schema(sdl).map(|document| document.definitions).unwrap_or_default();
        let types: Vec<_> = definitions
            .into_iter()
            .filter_map(|definition| match definition {
                TypeSystemDefinition::Type(definition) => Some(definition.node),
                _ => None,
            })
            .collect();
        let mut inputs: BTreeMap<String, Input> = [
            ("Boolean", Input::Boolean),
            ("ID", Input::Id),
            ("Int", Input::Int),
            ("String", Input::Text),
            ("DateTime", Input::Text),
            ("Duration", Input::Text),
        ]
        .map(|(name, input)| (name.to_owned(), input))
        .into();
        let is_other = |name: &str| {
            types.iter().any(|other| {
                other.name.node == name && matches!(other.kind, TypeKind::Interface(_) | TypeKind::Union(_))
            })
        };
        let is_object =
            |name: &str| types.iter().any(|other| other.name.node == name && matches!(other.kind, TypeKind::Object(_)));
        let output = |kind: &Type| match named(kind) {
            name if is_object(name) => Output::Object(name.to_owned()),
            name if is_other(name) => Output::Other,
            _ => Output::Leaf,
        };
        let mut objects = BTreeMap::new();
        for definition in &types {
            let name = definition.name.node.to_string();
            match &definition.kind {
                TypeKind::Object(object) => {
                    let fields = object.fields.iter().map(|Positioned { node, .. }| {
                        let field = Field { arguments: arguments(&node.arguments), of: output(&node.ty.node) };
                        (node.name.node.to_string(), field)
                    });
                    objects.insert(name, fields.collect());
                }
                TypeKind::Enum(kind) => {
                    let values = kind.values.iter().map(|value| value.node.value.node.to_string());
                    inputs.insert(name, Input::Enum(values.collect()));
                }
                TypeKind::InputObject(object) => {
                    let one_of = definition.directives.iter().any(|directive| directive.node.name.node == "oneOf");
                    inputs.insert(name, Input::Object { fields: arguments(&object.fields), one_of });
                }
                TypeKind::Scalar | TypeKind::Interface(_) | TypeKind::Union(_) => {}
            }
        }
        Self { objects, inputs }
    }

    /// Whether all that is selected of an object is there.
    fn has_all<'a>(&self, object: &str, set: &'a SelectionSet, variables: &mut Usage<'a>) -> bool {
        let Some(fields) = self.objects.get(object) else { return false };
        let mut keys = Vec::with_capacity(set.items.len());
        let is_valid = set.items.iter().all(|selection| {
            let Selection::Field(Positioned { node, .. }) = &selection.node else { return false };
            keys.push(node.response_key().node.as_str());
            let name = node.name.node.as_str();
            let inner = &node.selection_set.node;
            if !node.directives.is_empty() {
                return false;
            }
            if name == "__typename" {
                return node.arguments.is_empty() && inner.items.is_empty();
            }
            let Some(field) = fields.get(name) else { return false };
            let given = node.arguments.iter().map(|(name, value)| (name.node.as_str(), &value.node));
            (match &field.of {
                Output::Leaf => inner.items.is_empty(),
                Output::Object(object) => !inner.items.is_empty() && self.has_all(object, inner, variables),
                Output::Other => false,
            }) && self.take_all(&field.arguments, given, variables)
        });
        // Two answers under one key may not be the same.
        keys.sort_unstable();
        is_valid && keys.windows(2).all(|pair| pair[0] != pair[1])
    }

    /// Whether arguments, or the fields of an object, are those that may be and must be given.
    fn take_all<'a, V: Given + 'a>(
        &self,
        arguments: &[Argument],
        given: impl Iterator<Item = (&'a str, &'a V)> + Clone,
        variables: &mut Usage<'a>,
    ) -> bool {
        let mut names: Vec<_> = given.clone().map(|(name, _)| name).collect();
        names.sort_unstable();
        let is_missing = |argument: &Argument| names.binary_search(&argument.name.as_str()).is_err();
        arguments.iter().all(|argument| argument.kind.nullable || argument.has_default || !is_missing(argument))
            && names.windows(2).all(|pair| pair[0] != pair[1])
            && { given }.all(|(name, value)| {
                let argument = arguments.iter().find(|argument| argument.name == name);
                argument.is_some_and(|argument| self.takes(&argument.kind, value, variables))
            })
    }

    /// Whether a value is of a type.
    fn takes<'a, V: Given>(&self, kind: &Type, value: &'a V, variables: &mut Usage<'a>) -> bool {
        let seen = value.seen();
        match (&kind.base, &seen) {
            (_, Seen::Variable(name)) => variables.suits(name, kind),
            (_, Seen::Null) => kind.nullable,
            (BaseType::List(inner), Seen::List(items)) => items.iter().all(|item| self.takes(inner, item, variables)),
            // One value where a list belongs becomes a list: rare enough for the engine.
            (BaseType::List(_), _) => false,
            (BaseType::Named(name), _) => match (self.inputs.get(name.as_str()), seen) {
                (Some(Input::Boolean), Seen::Boolean)
                | (Some(Input::Int), Seen::Integer)
                | (Some(Input::Id | Input::Text), Seen::Text(_)) => true,
                (Some(Input::Enum(values)), Seen::Enum(value) | Seen::Text(value)) => values.contains(value),
                (Some(Input::Object { fields, one_of: false }), Seen::Object(given)) => {
                    self.take_all(fields, given.iter().map(|(name, value)| (name.as_str(), value)), variables)
                }
                (Some(Input::Object { fields, one_of: true }), Seen::Object(given)) => {
                    let mut given = given.iter();
                    let (Some((name, value)), None) = (given.next(), given.next()) else { return false };
                    let field = fields.iter().find(|field| field.name == name.as_str());
                    field.is_some_and(|field| self.takes(&required(&field.kind), value, variables))
                }
                _ => false,
            },
        }
    }
}

/// The variables of a document, and which of them were found in use.
#[derive(Default)]
struct Usage<'a> {
    definitions: &'a [Positioned<VariableDefinition>],
    used: Vec<&'a str>,
}

impl<'a> Usage<'a> {
    /// Whether a variable may stand where a type is wanted.
    fn suits(&mut self, name: &'a str, wanted: &Type) -> bool {
        self.used.push(name);
        let definition = self.definitions.iter().find(|definition| definition.node.name.node == name);
        definition.is_some_and(|definition| {
            let kind = &definition.node.var_type.node;
            kind.base == wanted.base && (wanted.nullable || !kind.nullable)
        })
    }

    /// Whether all are of types that can be given, begin with fitting values, are defined once and used.
    fn are_well_defined(&self) -> bool {
        let mut names: Vec<_> = self.definitions.iter().map(|definition| &definition.node.name.node).collect();
        names.sort_unstable();
        names.windows(2).all(|pair| pair[0] != pair[1])
            && self.definitions.iter().all(|Positioned { node, .. }| {
                let kind = &node.var_type.node;
                let default = node.default_value.as_ref().map(|value| &value.node);
                node.directives.is_empty()
                    && self.used.contains(&node.name.node.as_str())
                    && TYPES.inputs.contains_key(named(kind))
                    && default.is_none_or(|value| TYPES.takes(kind, value, &mut Usage::default()))
            })
    }
}

/// A value, in a document or with it.
enum Seen<'a, V> {
    Null,
    Boolean,
    Integer,
    Text(&'a str),
    Enum(&'a str),
    List(&'a [V]),
    Object(&'a IndexMap<Name, V>),
    Variable(&'a str),
    Other,
}

trait Given: Sized {
    fn seen(&self) -> Seen<'_, Self>;
}

impl Given for Value {
    fn seen(&self) -> Seen<'_, Self> {
        match self {
            Self::Variable(name) => Seen::Variable(name),
            Self::Null => Seen::Null,
            Self::Boolean(_) => Seen::Boolean,
            Self::Number(number) if number.is_i64() => Seen::Integer,
            Self::String(text) => Seen::Text(text),
            Self::Enum(name) => Seen::Enum(name),
            Self::List(items) => Seen::List(items),
            Self::Object(fields) => Seen::Object(fields),
            Self::Number(_) | Self::Binary(_) => Seen::Other,
        }
    }
}

impl Given for ConstValue {
    fn seen(&self) -> Seen<'_, Self> {
        match self {
            Self::Null => Seen::Null,
            Self::Boolean(_) => Seen::Boolean,
            Self::Number(number) if number.is_i64() => Seen::Integer,
            Self::String(text) => Seen::Text(text),
            Self::Enum(name) => Seen::Enum(name),
            Self::List(items) => Seen::List(items),
            Self::Object(fields) => Seen::Object(fields),
            Self::Number(_) | Self::Binary(_) => Seen::Other,
        }
    }
}

fn arguments(definitions: &[Positioned<InputValueDefinition>]) -> Vec<Argument> {
    let argument = |Positioned { node, .. }: &Positioned<InputValueDefinition>| Argument {
        name: node.name.node.to_string(),
        kind: node.ty.node.clone(),
        has_default: node.default_value.is_some(),
    };
    definitions.iter().map(argument).collect()
}

/// The type inside lists of it.
fn named(kind: &Type) -> &str {
    match &kind.base {
        BaseType::Named(name) => name,
        BaseType::List(inner) => named(inner),
    }
}

fn required(kind: &Type) -> Type {
    Type { nullable: false, ..kind.clone() }
}
