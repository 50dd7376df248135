//! The variables of an operation, and the values that are sent for them.

use apollo_compiler::ast::Type;
use apollo_compiler::schema::ExtendedType;
use async_graphql::indexmap::IndexMap;
use async_graphql::{Number, Pos, Value as ConstValue, Variables};

use super::complaint::Complaint;
use super::values::{exactly_one, is_one_of, misfit, missing_field, number_found, own_scalar, unknown_field};
use super::{Types, name};
use crate::domain::wording::echo;

/// A variable as it is declared.
#[derive(Debug)]
pub(super) struct Variable {
    pub(super) name: async_graphql::Name,
    pub(super) at: Pos,
    pub(super) wanted: Type,
    pub(super) default: Option<ConstValue>,
}

/// The values of all variables that have one: those that were sent, each in the form of its type, and the defaults of the
/// others.
pub(super) fn coerce(declared: &[Variable], types: &Types, sent: &Variables) -> Result<Variables, Vec<Complaint>> {
    let (mut values, mut complaints) = (Variables::default(), Vec::new());
    for Variable { name, at, wanted, default } in declared {
        let value = match (sent.get(name), default) {
            (Some(value), _) => value,
            (None, Some(default)) => {
                values.insert(name.clone(), default.clone());
                continue;
            }
            (None, None) if wanted.is_non_null() => {
                let message = format!("the variable ${name} needs a value of type {wanted}");
                complaints.push(Complaint::new(message, *at));
                continue;
            }
            (None, None) => continue,
        };
        match value_of(value, wanted, types) {
            Ok(value) => {
                values.insert(name.clone(), value);
            }
            Err(Misfit { path, message }) => {
                let path: String = path.iter().rev().map(String::as_str).collect();
                complaints.push(Complaint::new(message.replace(PLACE, &format!("${name}{}", echo(&path))), *at));
            }
        }
    }
    if complaints.is_empty() { Ok(values) } else { Err(complaints) }
}

/// A value that does not fit.
struct Misfit {
    /// From the inside out.
    path: Vec<String>,
    message: String,
}

/// Where the name of the place goes, once it is known.
const PLACE: &str = "\u{0}";

impl From<String> for Misfit {
    fn from(message: String) -> Self {
        Self { path: Vec::new(), message }
    }
}

impl Misfit {
    fn within(mut self, step: String) -> Self {
        self.path.push(step);
        self
    }
}

/// The value as its type has it.
fn value_of(value: &ConstValue, wanted: &Type, types: &Types) -> Result<ConstValue, Misfit> {
    if matches!(value, ConstValue::Null) {
        return if wanted.is_non_null() { Err(refuse(value, wanted, types)) } else { Ok(ConstValue::Null) };
    }
    if wanted.is_list() {
        let item = wanted.item_type();
        let ConstValue::List(items) = value else { return Ok(ConstValue::List(vec![value_of(value, item, types)?])) };
        let item = |(at, value)| value_of(value, item, types).map_err(|misfit| misfit.within(format!("[{at}]")));
        return items.iter().enumerate().map(item).collect::<Result<_, _>>().map(ConstValue::List);
    }
    let kind = wanted.inner_named_type().as_str();
    match types.schema.types.get(kind) {
        Some(ExtendedType::InputObject(object)) => {
            let ConstValue::Object(given) = value else { return Err(refuse(value, wanted, types)) };
            if let Some(unknown) = given.keys().find(|key| !object.fields.contains_key(key.as_str())) {
                return Err(format!("`{PLACE}`: {}", unknown_field(unknown, object)).into());
            }
            if is_one_of(object) && (given.len() != 1 || given.values().any(|value| matches!(value, ConstValue::Null)))
            {
                return Err(format!("`{PLACE}`: {}", exactly_one(object)).into());
            }
            let mut fields = IndexMap::with_capacity(given.len());
            for (key, definition) in &object.fields {
                if let Some(value) = given.get(key.as_str()) {
                    let value =
                        value_of(value, &definition.ty, types).map_err(|misfit| misfit.within(format!(".{key}")))?;
                    fields.insert(name(key), value);
                } else if definition.is_required() {
                    return Err(format!("`{PLACE}`: {}", missing_field(key, object)).into());
                }
            }
            Ok(ConstValue::Object(fields))
        }
        Some(ExtendedType::Enum(definition)) => match value {
            ConstValue::String(word) if definition.values.contains_key(word.as_str()) => {
                Ok(ConstValue::Enum(name(word)))
            }
            ConstValue::Enum(word) if definition.values.contains_key(word.as_str()) => Ok(value.clone()),
            _ => Err(refuse(value, wanted, types)),
        },
        _ => scalar(value, kind, types)?.ok_or_else(|| refuse(value, wanted, types)),
    }
}

/// A value of a scalar; `None` if it does not fit.
fn scalar(value: &ConstValue, kind: &str, types: &Types) -> Result<Option<ConstValue>, Misfit> {
    Ok(match (kind, value) {
        ("Int", ConstValue::Number(number)) => {
            whole(number).filter(|number| i32::try_from(*number).is_ok()).map(ConstValue::from)
        }
        ("ID", ConstValue::Number(number)) => id(number).map(ConstValue::String),
        ("Float", ConstValue::Number(_))
        | ("String" | "ID", ConstValue::String(_))
        | ("Boolean", ConstValue::Boolean(_)) => Some(value.clone()),
        ("Int" | "Float" | "String" | "ID" | "Boolean", _)
        | (_, ConstValue::List(_) | ConstValue::Object(_) | ConstValue::Enum(_) | ConstValue::Binary(_)) => None,
        (own, value) => {
            own_scalar(types, own, value).map_err(|why| format!("`{PLACE}`: {why}"))?;
            Some(value.clone())
        }
    })
}

/// JSON does not tell `1.0` from `1`.
fn whole(number: &Number) -> Option<i64> {
    #[expect(clippy::cast_possible_truncation, reason = "only what stays the same is taken")]
    number.as_i64().or_else(|| {
        number.as_f64().filter(|float| float.fract() == 0.0 && float.abs() < 9e15).map(|float| float as i64)
    })
}

fn id(number: &Number) -> Option<String> {
    number.as_u64().map(|id| id.to_string()).or_else(|| whole(number).map(|id| id.to_string()))
}

fn refuse(value: &ConstValue, wanted: &Type, types: &Types) -> Misfit {
    let found = match value {
        ConstValue::List(_) => "a list".to_owned(),
        ConstValue::Object(_) => "an object".to_owned(),
        ConstValue::String(text) => format!("the text \"{}\"", echo(text)),
        ConstValue::Number(number) => number_found(&number.to_string(), wanted),
        other => echo(&other.to_string()),
    };
    let word = match value {
        ConstValue::String(text) => Some(text.as_str()),
        _ => None,
    };
    misfit(types, PLACE, wanted, &found, word).into()
}
