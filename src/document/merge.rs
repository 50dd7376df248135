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
pub(super) fn put_in(set: &mut SelectionSet, values: &Variables) -> Result<(), Complaint> {
    let sizes = values.iter().map(|(name, value)| (name.clone(), bytes(value))).collect();
    let mut room = MOST_PUT_IN;
    put_into(set, &Values { values, sizes }, &mut room)
        .ok_or_else(|| Complaint::too_much(TOO_MUCH_PUT_IN.to_owned(), MOST_PUT_IN, None, None))
}

/// The most bytes of values that stand where variables stood: a long value may be asked for many times.
const MOST_PUT_IN: usize = 4 << 20;
const TOO_MUCH_PUT_IN: &str =
    "the values of the variables, counted once for each use, are longer than 4 MiB, the limit";

struct Values<'a> {
    values: &'a Variables,
    sizes: HashMap<async_graphql::Name, usize>,
}

/// The memory that a value takes, about.
fn bytes(value: &ConstValue) -> usize {
    size_of::<ConstValue>()
        + match value {
            ConstValue::String(text) => text.len(),
            ConstValue::List(items) => items.iter().map(bytes).sum(),
            ConstValue::Object(fields) => fields.iter().map(|(name, value)| name.len() + bytes(value)).sum(),
            _ => 0,
        }
}

/// `None` if there is no more room.
fn put_into(set: &mut SelectionSet, values: &Values<'_>, room: &mut usize) -> Option<()> {
    for field in fields(set) {
        let mut kept = Vec::with_capacity(field.arguments.len());
        for (name, mut argument) in std::mem::take(&mut field.arguments) {
            if put(&mut argument.node, values, room)? && is_given(&name.node, &argument.node) {
                kept.push((name, argument));
            }
        }
        field.arguments = kept;
        put_into(&mut field.selection_set.node, values, room)?;
    }
    Some(())
}

/// The schema's description of itself takes null for no answer; the engine does not.
pub(super) fn is_given(argument: &str, value: &Value) -> bool {
    argument != "includeDeprecated" || *value != Value::Null
}

/// Whether there is a value: not if it is a variable without one. `None` if there is no more room.
fn put(value: &mut Value, values: &Values<'_>, room: &mut usize) -> Option<bool> {
    match value {
        Value::Variable(name) => {
            let Some(given) = values.values.get(name) else { return Some(false) };
            *room = room.checked_sub(values.sizes.get(name).copied().unwrap_or_default())?;
            *value = given.clone().into_value();
        }
        Value::List(items) => {
            for item in items {
                if !put(item, values, room)? {
                    *item = Value::Null;
                }
            }
        }
        Value::Object(fields) => {
            let mut kept = async_graphql::indexmap::IndexMap::with_capacity(fields.len());
            for (name, mut field) in std::mem::take(fields) {
                if put(&mut field, values, room)? {
                    kept.insert(name, field);
                }
            }
            *fields = kept;
        }
        _ => {}
    }
    Some(true)
}

/// A field at its place.
pub(super) fn positioned(field: Field, at: Pos) -> Positioned<Selection> {
    Positioned::new(Selection::Field(Positioned::new(field, at)), at)
}
