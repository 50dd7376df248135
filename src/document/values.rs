//! Values by the specification: what a literal of a document becomes where a type is wanted, and what does not fit.

use apollo_compiler::ast::{self, Type};
use apollo_compiler::executable::VariableDefinition;
use apollo_compiler::schema::{ExtendedType, InputObjectType};
use apollo_compiler::{Name, Node};
use async_graphql::indexmap::IndexMap;
use async_graphql::{Number, Value as ConstValue};
use async_graphql_value::Value;

use super::complaint::Complaint;
use super::places::Places;
use super::{Types, name};
use crate::domain::wording::{echo, hint};

/// Judges a value of a scalar of the schema's own; says what is wrong with it.
pub type Scalar = fn(&ConstValue) -> Result<(), String>;

/// Where a literal stands.
#[derive(Debug, Clone, Copy)]
pub(super) struct Place<'a> {
    /// The field, directive or input type that owns it.
    pub(super) owner: &'a str,
    /// The argument or input field.
    pub(super) name: &'a str,
    /// Whether there is another value for it where none is given.
    pub(super) has_default: bool,
    /// Whether it is the one field of an input object that takes exactly one.
    is_one_of: bool,
}

impl<'a> Place<'a> {
    pub(super) fn new(owner: &'a str, name: &'a str, has_default: bool) -> Self {
        Self { owner, name, has_default, is_one_of: false }
    }

    fn within(self) -> Self {
        Self { has_default: false, is_one_of: false, ..self }
    }

    fn label(self) -> String {
        if self.owner.is_empty() { echo(self.name) } else { format!("{}.{}", self.owner, echo(self.name)) }
    }
}

/// Reads the literals of one operation.
#[derive(Debug)]
pub(super) struct Literals<'a> {
    pub(super) types: &'a Types,
    pub(super) places: &'a Places<'a>,
    /// `None` where no variable may stand.
    pub(super) variables: Option<&'a [Node<VariableDefinition>]>,
    pub(super) complaints: Vec<Complaint>,
    /// Whether any variable was met.
    pub(super) is_open: bool,
}

impl<'a> Literals<'a> {
    /// The value as the engine wants it, variables left in it. What does not fit is complained of.
    pub(super) fn read(&mut self, value: &Node<ast::Value>, wanted: &Type, place: Place<'_>) -> Value {
        match &**value {
            ast::Value::Variable(variable) => return self.variable(variable, value, wanted, place),
            ast::Value::Null if wanted.is_non_null() || place.is_one_of => {
                return self.misfit(value, wanted, place);
            }
            ast::Value::Null => return Value::Null,
            _ => {}
        }
        if wanted.is_list() {
            let item = wanted.item_type();
            return match &**value {
                ast::Value::List(items) => {
                    Value::List(items.iter().map(|value| self.read(value, item, place.within())).collect())
                }
                // One value stands for a list of it.
                _ => self.read(value, item, place.within()),
            };
        }
        let types = self.types;
        match types.schema.types.get(wanted.inner_named_type()) {
            Some(ExtendedType::InputObject(object)) => match &**value {
                ast::Value::Object(fields) => self.object(value, fields, object),
                _ => self.misfit(value, wanted, place),
            },
            Some(ExtendedType::Enum(definition)) => match &**value {
                ast::Value::Enum(chosen) if definition.values.contains_key(chosen) => Value::Enum(name(chosen)),
                _ => self.misfit(value, wanted, place),
            },
            _ => match scalar(types, wanted, value) {
                Ok(Some(value)) => value,
                Ok(None) => self.misfit(value, wanted, place),
                Err(why) => self.complain(value, format!("`{}`: {why}", place.label())),
            },
        }
    }

    fn object(
        &mut self,
        value: &Node<ast::Value>,
        given: &[(Name, Node<ast::Value>)],
        object: &'a InputObjectType,
    ) -> Value {
        let is_one_of = is_one_of(object);
        let mut fields = IndexMap::with_capacity(given.len());
        for (key, field) in given {
            let Some(definition) = object.fields.get(key) else {
                self.unknown_field(key, field, object);
                continue;
            };
            let place = Place { is_one_of, ..Place::new(&object.name, key, definition.default_value.is_some()) };
            let read = self.read(field, &definition.ty, place);
            if fields.insert(name(key), read).is_some() {
                self.complain(field, format!("the field `{key}` of `{}` is given twice", object.name));
            }
        }
        for (key, definition) in &object.fields {
            if definition.is_required() && !fields.contains_key(key.as_str()) {
                self.complain(value, missing_field(key, object));
            }
        }
        if is_one_of && given.len() != 1 {
            self.complain(value, exactly_one(object));
        }
        Value::Object(fields)
    }

    fn unknown_field(&mut self, key: &str, value: &Node<ast::Value>, object: &InputObjectType) {
        self.complain(value, unknown_field(key, object));
    }

    /// Whether a variable may stand here: its values must do for the place, whatever they are.
    fn variable(&mut self, variable: &Name, value: &Node<ast::Value>, wanted: &Type, place: Place<'_>) -> Value {
        self.is_open = true;
        let Some(variables) = self.variables else { return self.misfit(value, wanted, place) };
        let Some(definition) = variables.iter().find(|definition| definition.name == *variable) else {
            return self.complain(value, format!("the variable `${}` is used and not declared", echo(variable)));
        };
        let has_default = definition.default_value.as_ref().is_some_and(|default| !default.is_null());
        let declared = &definition.ty;
        let fits = if wanted.is_non_null() && !declared.is_non_null() {
            (has_default || place.has_default) && declared.is_assignable_to(&wanted.clone().nullable())
        } else {
            declared.is_assignable_to(wanted)
        };
        if !fits {
            let label = place.label();
            return self.complain(
                value,
                format!("the variable `${variable}` is of type `{declared}`, and `{label}` takes `{wanted}`"),
            );
        }
        // Whether the one field of an object that takes exactly one is null is seen when its value is.
        Value::Variable(name(variable))
    }

    fn misfit(&mut self, value: &Node<ast::Value>, wanted: &Type, place: Place<'_>) -> Value {
        let found = match &**value {
            ast::Value::List(_) => "a list".to_owned(),
            ast::Value::Object(_) => "an object".to_owned(),
            ast::Value::Null => "null".to_owned(),
            ast::Value::String(text) => format!("the text \"{}\"", echo(text)),
            ast::Value::Enum(word) => format!("`{}`", echo(word)),
            ast::Value::Variable(variable) => format!("the variable `${}`", echo(variable)),
            ast::Value::Int(number) => number_found(number.as_str(), wanted),
            ast::Value::Float(number) => number_found(number.as_str(), wanted),
            ast::Value::Boolean(truth) => truth.to_string(),
        };
        let word = match &**value {
            ast::Value::Enum(word) => Some(word.as_str()),
            ast::Value::String(text) => Some(text.as_str()),
            _ => None,
        };
        let message = misfit(self.types, &place.label(), wanted, &found, word);
        self.complain(value, message)
    }

    fn complain(&mut self, value: &Node<ast::Value>, message: String) -> Value {
        self.complaints.push(Complaint::new(message, self.places.of_value(value)));
        Value::Null
    }
}

/// A number as it is told. Where a number is wanted it stands there by its size, and a long one may be a phone number.
pub(super) fn number_found(digits: &str, wanted: &Type) -> String {
    match wanted.inner_named_type().as_str() {
        "Int" | "Float" | "Long" => "another number".to_owned(),
        _ => echo(digits),
    }
}

/// A literal of a scalar; `None` if it does not fit, an error where the scalar itself says why.
fn scalar(types: &Types, wanted: &Type, value: &ast::Value) -> Result<Option<Value>, String> {
    let kind = wanted.inner_named_type().as_str();
    Ok(match (kind, value) {
        ("Int", ast::Value::Int(number)) => number.try_to_i32().ok().map(|number| Value::Number(number.into())),
        ("Float", ast::Value::Int(number)) => number.try_to_f64().ok().and_then(float),
        ("Float", ast::Value::Float(number)) => number.try_to_f64().ok().and_then(float),
        ("String" | "ID", ast::Value::String(text)) => Some(Value::String(text.clone())),
        ("ID", ast::Value::Int(number)) => Some(Value::String(number.as_str().to_owned())),
        ("Boolean", ast::Value::Boolean(truth)) => Some(Value::Boolean(*truth)),
        ("Int" | "Float" | "String" | "ID" | "Boolean", _) => None,
        (own, value) => {
            let value = match value {
                ast::Value::String(text) => ConstValue::String(text.clone()),
                ast::Value::Boolean(truth) => ConstValue::Boolean(*truth),
                ast::Value::Int(number) => match number.as_str().parse::<i64>() {
                    Ok(number) => ConstValue::from(number),
                    Err(_) => return Ok(None),
                },
                _ => return Ok(None),
            };
            own_scalar(types, own, &value)?;
            Some(value.into_value())
        }
    })
}

fn float(number: f64) -> Option<Value> {
    Number::from_f64(number).map(Value::Number)
}

/// Asks a scalar of the schema's own.
pub(super) fn own_scalar(types: &Types, kind: &str, value: &ConstValue) -> Result<(), String> {
    let judge = types.scalars.iter().find(|(known, _)| *known == kind).map(|(_, judge)| judge);
    judge.map_or(Ok(()), |judge| judge(value))
}

pub(super) fn is_one_of(object: &InputObjectType) -> bool {
    object.directives.has("oneOf")
}

/// "`x`: expected `Granularity`, one of DAILY and so on, found `DAYLY`; did you mean `DAILY`?"
pub(super) fn misfit(types: &Types, label: &str, wanted: &Type, found: &str, word: Option<&str>) -> String {
    let (what, hint) = match types.schema.types.get(wanted.inner_named_type()) {
        _ if wanted.is_list() => (", a list".to_owned(), String::new()),
        Some(ExtendedType::Enum(definition)) => {
            let known: Vec<_> = definition.values.keys().map(Name::as_str).collect();
            (format!(", one of {}", known.join(", ")), word.map(|word| hint(word, &known)).unwrap_or_default())
        }
        Some(ExtendedType::InputObject(_)) => (", an object".to_owned(), String::new()),
        _ => {
            let what = match wanted.inner_named_type().as_str() {
                "Int" => ", a whole number from -2147483648 to 2147483647",
                "Float" => ", a number",
                "String" => ", a text",
                "ID" => ", a text or a whole number",
                "Boolean" => ", true or false",
                _ => "",
            };
            (what.to_owned(), String::new())
        }
    };
    format!("`{label}`: expected `{wanted}`{what}, found {found}{hint}")
}

pub(super) fn unknown_field(key: &str, object: &InputObjectType) -> String {
    let known: Vec<_> = object.fields.keys().map(Name::as_str).collect();
    format!("unknown field `{}` of `{}`{}", echo(key), object.name, hint(key, &known))
}

pub(super) fn missing_field(key: &str, object: &InputObjectType) -> String {
    format!("the field `{key}` of `{}` is missing", object.name)
}

pub(super) fn exactly_one(object: &InputObjectType) -> String {
    let known: Vec<_> = object.fields.keys().map(|field| format!("`{field}`")).collect();
    format!("`{}` takes exactly one of {}", object.name, known.join(" and "))
}
