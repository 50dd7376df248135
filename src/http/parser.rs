//! Plain documents read fast, straight into the engine's own types.
//!
//! The engine's parser takes half of the time of a small new query. This one knows less of the language: at escapes,
//! block strings, characters beyond ASCII, deep nesting and every mistake it says nothing, and the engine's parser
//! judges. What it takes, it reads exactly as the engine would, positions and oddities included; `tests/it/parser.rs`
//! compares the two. docs/decisions/0014 says why it is here.

use std::collections::HashMap;

use async_graphql::parser::types::{
    BaseType, Directive, DocumentOperations, ExecutableDocument, Field, FragmentDefinition, FragmentSpread,
    InlineFragment, OperationDefinition, OperationType, Selection, SelectionSet, Type, TypeCondition,
    VariableDefinition,
};
use async_graphql::{Name, Pos, Positioned};
use async_graphql_value::Value;

/// How deep brackets may nest here. The engine takes 65 selections within one another and any depth of values.
const MAX_NESTING: usize = 48;

/// The document, if it is plainly written. `None` says nothing about it: ask the engine's parser.
#[must_use]
pub fn parse_plain(text: &str) -> Option<ExecutableDocument> {
    if !text.is_ascii() {
        return None;
    }
    let mut reader = Reader { text, at: 0, line: 1, line_start: 0, nesting: 0 };
    let mut operations = None;
    let mut fragments = HashMap::new();
    reader.skip_ignored();
    while let Some(first) = reader.peek() {
        let pos = reader.pos();
        let word = if first == b'{' { "" } else { reader.word()? };
        reader.skip_ignored();
        let ty = match word {
            "" | "query" => OperationType::Query,
            "mutation" => OperationType::Mutation,
            "subscription" => OperationType::Subscription,
            "fragment" => {
                let (name, fragment) = reader.fragment()?;
                if fragments.insert(name, Positioned::new(fragment, pos)).is_some() {
                    return None;
                }
                continue;
            }
            _ => return None,
        };
        let (name, operation) = reader.operation(ty)?;
        let operation = Positioned::new(operation, pos);
        match (&mut operations, name) {
            (none @ None, None) => *none = Some(DocumentOperations::Single(operation)),
            (none @ None, Some(name)) => {
                *none = Some(DocumentOperations::Multiple(HashMap::from([(name, operation)])));
            }
            (Some(DocumentOperations::Multiple(known)), Some(name)) if !known.contains_key(&name) => {
                known.insert(name, operation);
            }
            _ => return None,
        }
    }
    Some(ExecutableDocument { operations: operations?, fragments })
}

/// Stands at the beginning of a token, or at the end, between any two calls.
struct Reader<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    /// Where the columns of this line begin to count.
    line_start: usize,
    nesting: usize,
}

impl<'a> Reader<'a> {
    /// What follows the word that says which kind of operation it is, if there is one.
    fn operation(&mut self, ty: OperationType) -> Option<(Option<Name>, OperationDefinition)> {
        let name = if self.peek().is_some_and(is_in_name) { Some(self.name()?.node) } else { None };
        let mut variable_definitions = Vec::new();
        if self.peek() == Some(b'(') {
            self.open(b'(')?;
            while !self.closes(b')') {
                variable_definitions.push(self.variable_definition()?);
            }
        }
        let directives = self.directives()?;
        let selection_set = self.selection_set()?;
        Some((name, OperationDefinition { ty, variable_definitions, directives, selection_set }))
    }

    /// The engine wants the directives before the default value.
    fn variable_definition(&mut self) -> Option<Positioned<VariableDefinition>> {
        let pos = self.pos();
        self.expect(b'$')?;
        let name = self.name()?;
        self.expect(b':')?;
        let type_pos = self.pos();
        let var_type = Positioned::new(self.variable_type(MAX_NESTING)?, type_pos);
        self.skip_ignored();
        let directives = self.directives()?;
        let default_value = if self.takes(b'=') {
            let Positioned { pos, node } = self.value()?;
            Some(Positioned::new(node.into_const()?, pos))
        } else {
            None
        };
        Some(Positioned::new(VariableDefinition { name, var_type, directives, default_value }, pos))
    }

    /// One token for the engine: nothing that is ignored elsewhere may stand inside.
    fn variable_type(&mut self, nesting: usize) -> Option<Type> {
        let base = if self.takes_byte(b'[') {
            let item = self.variable_type(nesting.checked_sub(1)?)?;
            self.takes_byte(b']').then(|| BaseType::List(Box::new(item)))?
        } else {
            BaseType::Named(Name::new(self.word()?))
        };
        Some(Type { base, nullable: !self.takes_byte(b'!') })
    }

    /// What follows the word `fragment`.
    fn fragment(&mut self) -> Option<(Name, FragmentDefinition)> {
        let name = self.name()?.node;
        let type_condition = self.type_condition()?;
        let directives = self.directives()?;
        let selection_set = self.selection_set()?;
        Some((name, FragmentDefinition { type_condition, directives, selection_set }))
    }

    /// `on` and a name; the engine takes no comment between them.
    fn type_condition(&mut self) -> Option<Positioned<TypeCondition>> {
        let pos = self.pos();
        (self.word()? == "on").then_some(())?;
        self.skip_blanks();
        Some(Positioned::new(TypeCondition { on: self.name()? }, pos))
    }

    fn selection_set(&mut self) -> Option<Positioned<SelectionSet>> {
        let pos = self.pos();
        self.open(b'{')?;
        let mut items = vec![self.selection()?];
        while !self.closes(b'}') {
            items.push(self.selection()?);
        }
        Some(Positioned::new(SelectionSet { items }, pos))
    }

    fn selection(&mut self) -> Option<Positioned<Selection>> {
        let pos = self.pos();
        let selection = if self.peek() == Some(b'.') {
            self.spread(pos)?
        } else {
            Selection::Field(Positioned::new(self.field()?, pos))
        };
        Some(Positioned::new(selection, pos))
    }

    fn field(&mut self) -> Option<Field> {
        let first = self.name()?;
        let (alias, name) = if self.takes(b':') { (Some(first), self.name()?) } else { (None, first) };
        let arguments = self.arguments()?;
        let directives = self.directives()?;
        let selection_set = if self.peek() == Some(b'{') { self.selection_set()? } else { Positioned::default() };
        Some(Field { alias, name, arguments, directives, selection_set })
    }

    /// A fragment used by its name, or laid out on the spot.
    fn spread(&mut self, pos: Pos) -> Option<Selection> {
        (self.take_while(|byte| byte == b'.') == "...").then_some(())?;
        self.skip_ignored();
        let type_condition = match self.ahead(is_in_name) {
            "" => None,
            "on" => Some(self.type_condition()?),
            _ => {
                let (fragment_name, directives) = (self.name()?, self.directives()?);
                let spread = FragmentSpread { fragment_name, directives };
                return Some(Selection::FragmentSpread(Positioned::new(spread, pos)));
            }
        };
        let directives = self.directives()?;
        let selection_set = self.selection_set()?;
        let fragment = InlineFragment { type_condition, directives, selection_set };
        Some(Selection::InlineFragment(Positioned::new(fragment, pos)))
    }

    fn directives(&mut self) -> Option<Vec<Positioned<Directive>>> {
        let mut directives = Vec::new();
        while self.peek() == Some(b'@') {
            let pos = self.pos();
            self.expect(b'@')?;
            let name = self.name()?;
            let arguments = self.arguments()?;
            directives.push(Positioned::new(Directive { name, arguments }, pos));
        }
        Some(directives)
    }

    fn arguments(&mut self) -> Option<Vec<(Positioned<Name>, Positioned<Value>)>> {
        let mut arguments = Vec::new();
        if self.peek() != Some(b'(') {
            return Some(arguments);
        }
        self.open(b'(')?;
        loop {
            let name = self.name()?;
            self.expect(b':')?;
            arguments.push((name, self.value()?));
            if self.closes(b')') {
                return Some(arguments);
            }
        }
    }

    fn value(&mut self) -> Option<Positioned<Value>> {
        let pos = self.pos();
        let value = match self.peek()? {
            b'$' => {
                self.expect(b'$')?;
                Value::Variable(self.name()?.node)
            }
            b'"' => Value::String(self.string()?),
            // A number of JSON. What touches it has to belong to it.
            b'-' | b'0'..=b'9' => {
                let number = self.take_while(|byte| is_in_name(byte) || matches!(byte, b'+' | b'-' | b'.'));
                Value::Number(number.parse().ok()?)
            }
            b'[' => {
                self.open(b'[')?;
                let mut items = Vec::new();
                while !self.closes(b']') {
                    items.push(self.value()?.node);
                }
                Value::List(items)
            }
            b'{' => {
                self.open(b'{')?;
                let mut fields = Vec::new();
                while !self.closes(b'}') {
                    let name = self.name()?.node;
                    self.expect(b':')?;
                    fields.push((name, self.value()?.node));
                }
                Value::Object(fields.into_iter().collect())
            }
            _ => match self.word()? {
                "true" => Value::Boolean(true),
                "false" => Value::Boolean(false),
                "null" => Value::Null,
                // The engine reads `nullable` as `null` and `able`.
                word if ["true", "false", "null"].iter().any(|literal| word.starts_with(literal)) => return None,
                word => Value::Enum(Name::new(word)),
            },
        };
        self.skip_ignored();
        Some(Positioned::new(value, pos))
    }

    /// Two quotes and a third begin a block string.
    fn string(&mut self) -> Option<String> {
        self.takes_byte(b'"').then_some(())?;
        let content = self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\n' | b'\r'));
        (self.takes_byte(b'"') && self.peek() != Some(b'"')).then(|| content.to_owned())
    }

    fn name(&mut self) -> Option<Positioned<Name>> {
        let pos = self.pos();
        let name = Name::new(self.word()?);
        self.skip_ignored();
        Some(Positioned::new(name, pos))
    }

    /// A name, and nothing behind it.
    fn word(&mut self) -> Option<&'a str> {
        let word = self.ahead(is_in_name);
        self.at += word.len();
        word.starts_with(|first: char| !first.is_ascii_digit()).then_some(word)
    }

    fn open(&mut self, bracket: u8) -> Option<()> {
        self.nesting += 1;
        if self.nesting > MAX_NESTING { None } else { self.expect(bracket) }
    }

    fn closes(&mut self, bracket: u8) -> bool {
        let closes = self.takes(bracket);
        self.nesting -= usize::from(closes);
        closes
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.takes(byte).then_some(())
    }

    fn takes(&mut self, byte: u8) -> bool {
        let takes = self.takes_byte(byte);
        if takes {
            self.skip_ignored();
        }
        takes
    }

    fn takes_byte(&mut self, byte: u8) -> bool {
        let takes = self.peek() == Some(byte);
        self.at += usize::from(takes);
        takes
    }

    fn take_while(&mut self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let taken = self.ahead(belongs);
        self.at += taken.len();
        taken
    }

    fn ahead(&self, belongs: impl Fn(u8) -> bool) -> &'a str {
        let rest = &self.text[self.at..];
        &rest[..rest.bytes().position(|byte| !belongs(byte)).unwrap_or(rest.len())]
    }

    fn skip_ignored(&mut self) {
        self.skip_blanks();
        while self.peek() == Some(b'#') {
            self.take_while(|byte| !matches!(byte, b'\n' | b'\r'));
            self.skip_blanks();
        }
    }

    fn skip_blanks(&mut self) {
        while let Some(byte @ (b' ' | b',' | b'\t' | b'\n' | b'\r')) = self.peek() {
            self.at += 1;
            // A lone `\r` begins the columns anew for the engine, and no line.
            if matches!(byte, b'\n' | b'\r') {
                self.line += usize::from(byte == b'\n');
                self.line_start = self.at;
            }
        }
    }

    fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    fn pos(&self) -> Pos {
        Pos { line: self.line, column: self.at - self.line_start + 1 }
    }
}

fn is_in_name(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || byte == b'_'
}
