//! What is wrong with a document or with the values sent with it, in words that a person can act on.
//!
//! apollo-compiler says what it finds in sentences of its own and keeps the parts to itself. Its name for the kind of a
//! fault and the words that it quotes are enough to say the usual ones as weir says everything; the rest of its sentences
//! are plain and are passed on.

use std::collections::HashSet;

use apollo_compiler::Name;
use apollo_compiler::diagnostic::ToCliReport;
use apollo_compiler::parser::SourceSpan;
use apollo_compiler::schema::ExtendedType;
use apollo_compiler::validation::DiagnosticList;
use async_graphql::Pos;

use super::Types;
use super::places::Places;
use crate::domain::LimitName;
use crate::domain::wording::{HINT, echo, hint};
use crate::error::WeirError;

/// What is wrong, and where in the document.
#[derive(Debug, Clone)]
pub struct Complaint {
    /// What is wrong.
    pub error: Box<WeirError>,
    /// Where, if it is anywhere.
    pub at: Option<Pos>,
}

impl Complaint {
    /// Something that makes no sense at a place of the document.
    pub(super) fn new(message: impl Into<String>, at: Pos) -> Self {
        Self { at: Some(at).filter(|at| at.line > 0), ..Self::of_request(message) }
    }

    /// Something that makes no sense, and not for anything that the document says.
    pub(super) fn of_request(message: impl Into<String>) -> Self {
        Self { error: Box::new(WeirError::bad_input(message)), at: None }
    }

    /// A limit that was exceeded.
    pub(super) fn exceeding(
        name: LimitName,
        message: String,
        limit: usize,
        actual: Option<usize>,
        at: Option<Pos>,
    ) -> Self {
        Self { error: Box::new(WeirError::exceeding(name, message, limit, actual)), at }
    }
}

/// The same, without names that are near to wrong ones.
pub(super) fn without_hints(mut complaints: Vec<Complaint>) -> Vec<Complaint> {
    for complaint in &mut complaints {
        if let Some(at) = complaint.error.message.find(HINT) {
            complaint.error.message.truncate(at);
        }
    }
    complaints
}

/// Whether only values are at fault: these are judged anew when the document is built.
pub(super) fn is_of_values_alone(found: &DiagnosticList) -> bool {
    found.iter().all(|found| found.error.unstable_error_name().is_some_and(|kind| VALUES.contains(&kind)))
}

/// All that was found, in the order of the text.
pub(super) fn of_diagnostics(found: &DiagnosticList, types: &Types, places: &Places<'_>) -> Vec<Complaint> {
    let unknown: Vec<_> = found
        .iter()
        .filter(|found| found.error.unstable_error_name() == Some("UndefinedField"))
        .filter_map(|found| found.error.location())
        .collect();
    // A selection of unknown fields alone is no missing selection.
    let follows = |kind: Option<&str>, span: Option<SourceSpan>| {
        kind == Some("MissingSubselection")
            && span.is_some_and(|span| {
                unknown.iter().any(|inner| span.offset() < inner.offset() && inner.end_offset() <= span.end_offset())
            })
    };
    let complaints = found
        .iter()
        .filter(|found| !follows(found.error.unstable_error_name(), found.error.location()))
        .map(|found| {
            let said = found.error.to_string();
            let message = said_again(found.error.unstable_error_name().unwrap_or_default(), &said, types);
            Complaint::new(message.unwrap_or_else(|| echo_sentence(&said)), places.of_span(found.error.location()))
        })
        .collect();
    in_order(complaints)
}

/// Complaints in the order of the text, each once: a fragment that is used twice says everything twice.
pub(super) fn in_order(mut complaints: Vec<Complaint>) -> Vec<Complaint> {
    let place = |complaint: &Complaint| complaint.at.map(|at| (at.line, at.column));
    complaints.sort_by_key(place);
    let mut said = HashSet::new();
    complaints.retain(|complaint| said.insert((place(complaint), complaint.error.message.clone())));
    complaints
}

/// The kinds of faults that values have.
const VALUES: [&str; 8] = [
    "UnsupportedValueType",
    "IntCoercionError",
    "FloatCoercionError",
    "UndefinedEnumValue",
    "UndefinedInputValue",
    "UniqueInputValue",
    "RequiredField",
    "DisallowedVariableUsage",
];

/// The usual faults, with the nearest name that there is.
fn said_again(kind: &str, said: &str, types: &Types) -> Option<String> {
    let mut quoted = said.split('`').skip(1).step_by(2);
    let mut next = || quoted.next();
    Some(match kind {
        "UndefinedField" => {
            let (owner, field) = (next()?, next()?);
            let known = fields_of(owner, types);
            format!("unknown field `{}` on `{owner}`{}", echo(field), hint(field, &known))
        }
        "UndefinedArgument" => {
            let (argument, owner) = (next()?, next()?);
            let known = arguments_of(owner, types);
            format!("unknown argument `{}` of `{}`{}", echo(argument), echo(owner), hint(argument, &known))
        }
        "UndefinedDefinition" => {
            let name = next()?;
            let known: Vec<_> = types.schema.types.keys().map(Name::as_str).collect();
            format!("unknown type `{}`{}", echo(name), hint(name, &known))
        }
        "UndefinedDirective" => {
            let name = next()?.trim_start_matches('@');
            let known: Vec<_> = types.schema.directive_definitions.keys().map(Name::as_str).collect();
            format!("unknown directive `@{}`{}", echo(name), hint(name, &known))
        }
        "UndefinedFragment" => format!("unknown fragment `{}`", echo(next()?)),
        "UndefinedVariable" => format!("the variable `{}` is used and not declared", echo(next()?)),
        "UnusedVariable" => format!("the variable `{}` is declared and not used", echo(next()?)),
        "UnusedFragment" => format!("the fragment `{}` is not used", echo(next()?)),
        _ => return None,
    })
}

/// The fields of a type.
fn fields_of<'a>(name: &str, types: &'a Types) -> Vec<&'a str> {
    match types.schema.types.get(name) {
        Some(ExtendedType::Object(object)) => object.fields.keys().map(Name::as_str).collect(),
        Some(ExtendedType::Interface(interface)) => interface.fields.keys().map(Name::as_str).collect(),
        _ => Vec::new(),
    }
}

/// The arguments of `Type.field` or `@directive`, whatever stands behind these.
fn arguments_of<'a>(coordinate: &str, types: &'a Types) -> Vec<&'a str> {
    let coordinate = coordinate.split('(').next().unwrap_or(coordinate);
    let definitions = match coordinate.strip_prefix('@') {
        Some(directive) => types.schema.directive_definitions.get(directive).map(|known| &known.arguments),
        None => coordinate
            .split_once('.')
            .and_then(|(owner, field)| types.schema.type_field(owner, field).ok())
            .map(|field| &field.arguments),
    };
    definitions.into_iter().flatten().map(|argument| argument.name.as_str()).collect()
}

/// A sentence that may quote long names.
fn echo_sentence(said: &str) -> String {
    said.split('`').enumerate().fold(String::new(), |mut short, (at, part)| {
        if at > 0 {
            short.push('`');
        }
        let part = if at % 2 == 1 { &echo(part) } else { part };
        short.push_str(part);
        short
    })
}
