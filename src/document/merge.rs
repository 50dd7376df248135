//! What is selected once it is known which fields are: the fields of an object, each response key once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::{Pos, Positioned, Value as ConstValue, Variables};
use async_graphql_value::Value;

use super::complaint::Complaint;

/// The fields of a selection in which all fragments are laid open.
fn fields(set: &mut SelectionSet) -> impl Iterator<Item = &mut Field> {
    set.items.iter_mut().filter_map(|item| match &mut item.node {
        Selection::Field(field) => Some(&mut field.node),
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => None,
    })
}

/// Leaves out the fields that `@skip` and `@include` say so of, and the directives of the others.
pub(super) fn choose(set: &mut SelectionSet, values: &Variables) -> Result<(), Complaint> {
    let mut refused = None;
    set.items.retain(|item| {
        item.node.directives().iter().all(|directive| {
            let condition = directive.node.arguments.first().map(|(_, condition)| condition);
            match condition.map(|condition| (truth(&condition.node, values), condition.pos)) {
                Some((Some(truth), _)) => truth == (directive.node.name.node == "include"),
                Some((None, at)) => {
                    refused = refused.or(Some(at));
                    false
                }
                None => true,
            }
        })
    });
    if let Some(at) = refused {
        return Err(Complaint::new("the condition of @skip or @include must be true or false, and is null", at));
    }
    for item in &mut set.items {
        item.node.directives_mut().clear();
    }
    fields(set).try_for_each(|field| choose(&mut field.selection_set.node, values))
}

fn truth(condition: &Value, values: &Variables) -> Option<bool> {
    match condition {
        Value::Boolean(truth) => Some(*truth),
        Value::Variable(name) => match values.get(name) {
            Some(ConstValue::Boolean(truth)) => Some(*truth),
            _ => None,
        },
        _ => None,
    }
}

/// Makes one field of all that have the same response key; a valid document selects the same under it.
pub(super) fn merge(set: &mut SelectionSet) {
    let mut places: HashMap<async_graphql::Name, usize> = HashMap::with_capacity(set.items.len());
    let mut merged: Vec<Positioned<Selection>> = Vec::with_capacity(set.items.len());
    for item in std::mem::take(&mut set.items) {
        let Selection::Field(field) = item.node else { continue };
        match places.entry(field.node.response_key().node.clone()) {
            Entry::Vacant(place) => {
                place.insert(merged.len());
                merged.push(Positioned::new(Selection::Field(field), item.pos));
            }
            Entry::Occupied(place) => {
                if let Some(Selection::Field(first)) = merged.get_mut(*place.get()).map(|first| &mut first.node) {
                    first.node.selection_set.node.items.extend(field.node.selection_set.node.items);
                }
            }
        }
    }
    set.items = merged;
    fields(set).for_each(|field| merge(&mut field.selection_set.node));
}

/// Puts the values of variables where these stand. An argument whose variable has no value is not given at all.
pub(super) fn put_in(set: &mut SelectionSet, values: &Variables) {
    for field in fields(set) {
        field.arguments.retain_mut(|(name, argument)| {
            put(&mut argument.node, values).is_some() && is_given(&name.node, &argument.node)
        });
        put_in(&mut field.selection_set.node, values);
    }
}

/// The schema's description of itself takes null for no answer; the engine does not.
pub(super) fn is_given(argument: &str, value: &Value) -> bool {
    argument != "includeDeprecated" || *value != Value::Null
}

/// `None` if the value is a variable without one.
fn put(value: &mut Value, values: &Variables) -> Option<()> {
    match value {
        Value::Variable(name) => *value = values.get(name)?.clone().into_value(),
        Value::List(items) => {
            for item in items {
                if put(item, values).is_none() {
                    *item = Value::Null;
                }
            }
        }
        Value::Object(fields) => fields.retain(|_, field| put(field, values).is_some()),
        _ => {}
    }
    Some(())
}

/// A field at its place.
pub(super) fn positioned(field: Field, at: Pos) -> Positioned<Selection> {
    Positioned::new(Selection::Field(Positioned::new(field, at)), at)
}
