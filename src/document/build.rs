//! From a validated document to the engine's tree.
//!
//! Fragments are laid open where they are used, so that a selection holds fields alone. What they are conditional on, each
//! of their fields is. Literals are judged on the way, also in fields that are never selected.

use std::sync::Arc;

use apollo_compiler::Node;
use apollo_compiler::executable::{self, DirectiveList, ExecutableDocument};
use async_graphql::parser::types::{Directive, Field, OperationType, Selection, SelectionSet};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value;

use super::complaint::{Complaint, in_order};
use super::merge::{is_given, merge};
use super::places::Places;
use super::values::{Literals, Place};
use super::variables::Variable;
use super::{Operation, Types, name};

/// All operations of a document that is valid but for its values, and how many fields they have.
pub(super) fn operations(
    document: &ExecutableDocument,
    types: &Types,
    places: &Places<'_>,
) -> Result<(Vec<Arc<Operation>>, usize), Vec<Complaint>> {
    let (mut operations, mut complaints, mut n_fields) = (Vec::new(), Vec::new(), 0);
    for operation in document.operations.iter() {
        let literals = Literals { types, places, variables: None, complaints: Vec::new(), is_open: false };
        let mut builder = Builder { document, literals, is_conditional: false, n_fields: 0 };
        operations.push(Arc::new(builder.operation(operation)));
        complaints.append(&mut builder.literals.complaints);
        n_fields += builder.n_fields;
    }
    if complaints.is_empty() { Ok((operations, n_fields)) } else { Err(in_order(complaints)) }
}

fn kind(kind: executable::OperationType) -> OperationType {
    match kind {
        executable::OperationType::Query => OperationType::Query,
        executable::OperationType::Mutation => OperationType::Mutation,
        executable::OperationType::Subscription => OperationType::Subscription,
    }
}

/// What an operation asks for, in one of few words: its fields are the schema's.
fn root(fields: &SelectionSet) -> &str {
    let names = fields.items.iter().filter_map(|item| match &item.node {
        Selection::Field(field) => Some(field.node.name.node.as_str()),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
    });
    let mut own = names.filter(|name| !name.starts_with("__"));
    match (own.next(), own.next()) {
        (None, _) => "introspection",
        (Some(only), None) => only,
        (Some(first), Some(second)) if first == second && own.all(|name| name == first) => first,
        (Some(_), Some(_)) => "several",
    }
}

struct Builder<'a> {
    document: &'a ExecutableDocument,
    literals: Literals<'a>,
    is_conditional: bool,
    n_fields: usize,
}

impl<'a> Builder<'a> {
    fn operation(&mut self, operation: &'a Node<executable::Operation>) -> Operation {
        // No variable may stand in their own defaults.
        let variables = operation.variables.iter().map(|definition| self.variable(definition)).collect();
        self.literals.variables = Some(&operation.variables);
        let mut fields = SelectionSet::default();
        self.lay_open(&operation.selection_set, &[], &mut fields);
        if !self.is_conditional {
            merge(&mut fields);
        }
        Operation {
            kind: kind(operation.operation_type),
            name: operation.name.as_ref().map(|name| Arc::from(name.as_str())),
            root: Arc::from(root(&fields)),
            variables,
            fields,
            is_conditional: self.is_conditional,
            is_open: self.literals.is_open,
        }
    }

    fn variable(&mut self, definition: &Node<executable::VariableDefinition>) -> Variable {
        let label = format!("${}", definition.name);
        let default = definition.default_value.as_ref().map(|default| {
            let read = self.literals.read(default, &definition.ty, Place::new("", &label, false));
            read.into_const().unwrap_or_default()
        });
        let at = self.literals.places.of_name(&definition.name);
        Variable { name: name(&definition.name), at, wanted: (*definition.ty).clone(), default }
    }

    /// Adds the fields of a selection, each under `conditions`.
    fn lay_open(
        &mut self,
        set: &executable::SelectionSet,
        conditions: &[Positioned<Directive>],
        out: &mut SelectionSet,
    ) {
        for selection in &set.selections {
            let selected = self.under(selection.directives(), conditions);
            let inner = match selection {
                executable::Selection::Field(field) => {
                    let at = self.literals.places.of_name(&field.name);
                    let is_selected = selected.is_some();
                    let field = self.field(field, selected.unwrap_or_default(), at);
                    // What is never selected must be right all the same.
                    if is_selected {
                        out.items.push(Positioned::new(Selection::Field(Positioned::new(field, at)), at));
                    }
                    continue;
                }
                executable::Selection::InlineFragment(fragment) => Some(&fragment.selection_set),
                executable::Selection::FragmentSpread(spread) => {
                    self.document.fragments.get(&spread.fragment_name).map(|fragment| &fragment.selection_set)
                }
            };
            let Some(inner) = inner else { continue };
            // The schema has no type that is several; one that had would need the fields of each apart.
            match selected.filter(|_| inner.ty == set.ty) {
                Some(conditions) => self.lay_open(inner, &conditions, out),
                None => self.lay_open(inner, &[], &mut SelectionSet::default()),
            }
        }
    }

    fn field(&mut self, field: &executable::Field, directives: Vec<Positioned<Directive>>, at: Pos) -> Field {
        self.n_fields += 1;
        let arguments = field.arguments.iter().filter_map(|argument| {
            let definition = field.definition.argument_by_name(&argument.name)?;
            let place = Place::new(&field.name, &argument.name, definition.default_value.is_some());
            let argument = self.argument(argument, &definition.ty, place);
            Some(argument).filter(|(name, value)| is_given(&name.node, &value.node))
        });
        let arguments = arguments.collect();
        let mut inner = SelectionSet::default();
        self.lay_open(&field.selection_set, &[], &mut inner);
        Field {
            alias: field.alias.as_ref().map(|alias| Positioned::new(name(alias), at)),
            name: Positioned::new(name(&field.name), at),
            arguments,
            directives,
            selection_set: Positioned::new(inner, at),
        }
    }

    fn argument(
        &mut self,
        argument: &Node<executable::Argument>,
        wanted: &executable::Type,
        place: Place<'_>,
    ) -> (Positioned<Name>, Positioned<Value>) {
        let at = self.literals.places.of_value(&argument.value);
        let value = self.literals.read(&argument.value, wanted, place);
        (Positioned::new(name(&argument.name), at), Positioned::new(value, at))
    }

    /// The conditions above and those of `directives`; `None` if one of them never holds.
    fn under(
        &mut self,
        directives: &DirectiveList,
        above: &[Positioned<Directive>],
    ) -> Option<Vec<Positioned<Directive>>> {
        let (mut conditions, mut never) = (above.to_vec(), false);
        for directive in directives {
            let definition = self.literals.types.schema.directive_definitions.get(&directive.name);
            for argument in &directive.arguments {
                let wanted = definition.and_then(|definition| definition.argument_by_name(&argument.name));
                let Some(wanted) = wanted else { continue };
                let place = Place::new(&directive.name, &argument.name, wanted.default_value.is_some());
                let (argument, value) = self.argument(argument, &wanted.ty, place);
                if directive.name != "include" && directive.name != "skip" {
                    continue;
                }
                if let Value::Boolean(truth) = value.node {
                    never |= truth != (directive.name == "include");
                    continue;
                }
                self.is_conditional = true;
                let at = self.literals.places.of_name(&directive.name);
                let arguments = vec![(argument, value)];
                let condition = Directive { name: Positioned::new(name(&directive.name), at), arguments };
                conditions.push(Positioned::new(condition, at));
            }
        }
        (!never).then_some(conditions)
    }
}
