//! What is selected once it is known which fields are: the fields of an object, each response key once.

use std::collections::HashMap;
use std::collections::hash_map::Entry;

use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::{Positioned, Value as ConstValue, Variables};
use async_graphql_value::Value;

use super::complaint::Complaint;
use crate::domain::LimitName;

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

/// The most bytes of values that stand where variables stood: a long value may be asked for many times.
const MOST_PUT_IN: usize = 4 << 20;

/// Puts the values of variables where these stand. An argument whose variable has no value is not given at all.
pub(super) fn put_in(set: &mut SelectionSet, values: &Variables) -> Result<(), Complaint> {
    let mut putting = Putting { values, room: Some(MOST_PUT_IN) };
    putting.put_all(set);
    if putting.room.is_some() {
        return Ok(());
    }
    let message = "the values of the variables, counted once for each use, are longer than 4 MiB, the limit";
    Err(Complaint::exceeding(LimitName::ValueBytes, message.to_owned(), MOST_PUT_IN, None, None))
}

struct Putting<'a> {
    values: &'a Variables,
    /// `None` once a value found none; from then on nothing is copied.
    room: Option<usize>,
}

impl Putting<'_> {
    fn put_all(&mut self, set: &mut SelectionSet) {
        for field in fields(set) {
            field.arguments.retain_mut(|(name, value)| self.put(&mut value.node) && is_given(&name.node, &value.node));
            self.put_all(&mut field.selection_set.node);
        }
    }

    /// Whether there is a value: not if it is a variable without one.
    fn put(&mut self, value: &mut Value) -> bool {
        match value {
            Value::Variable(name) => {
                let Some(given) = self.values.get(name) else { return false };
                self.room = self.room.and_then(|room| room.checked_sub(bytes(given)));
                *value = if self.room.is_some() { given.clone().into_value() } else { Value::Null };
            }
            Value::List(items) => {
                for item in items {
                    if !self.put(item) {
                        *item = Value::Null;
                    }
                }
            }
            Value::Object(fields) => fields.retain(|_, field| self.put(field)),
            _ => {}
        }
        true
    }
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

/// The schema's description of itself takes null for no answer; the engine does not.
pub(super) fn is_given(argument: &str, value: &Value) -> bool {
    argument != "includeDeprecated" || *value != Value::Null
}
