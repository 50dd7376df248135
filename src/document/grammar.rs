//! The grammar of executable documents, token by token.
//!
//! apollo's parser is made to go on after a fault: it leaves out what it cannot read, sometimes without a word, and so would
//! run `(first 5)` as if no argument were there. It stumbles over commas where it looks ahead, knows no descriptions of
//! operations, and takes a third of the time of a new document for a tree that nobody needs. So documents are read here, on
//! the tokens of its lexer, into its abstract tree. What is refused is named by the words of the document.

use apollo_compiler::ast::{
    Argument, Definition, Directive, DirectiveList, Document, Field, FloatValue, FragmentDefinition, FragmentSpread,
    InlineFragment, IntValue, OperationDefinition, OperationType, Selection, Type, Value, VariableDefinition,
};
use apollo_compiler::parser::Parser;
use apollo_compiler::{Name, Node};
use apollo_parser::{Lexer, Token, TokenKind};
use async_graphql::Pos;

use super::Limits;
use super::complaint::Complaint;
use super::lines::Lines;
use super::places::Places;
use crate::domain::wording::echo;

/// Reads a document by the grammar: its tree, its places, and how many directives it has.
pub(super) fn read<'a>(text: &'a str, limits: &Limits) -> Result<(Document, Places<'a>, usize), Complaint> {
    let lines = Lines::new(text);
    let mut tokens = Vec::new();
    for token in Lexer::new(text) {
        match token {
            Ok(token) if matches!(token.kind(), TokenKind::Whitespace | TokenKind::Comment | TokenKind::Comma) => {}
            Ok(token) if tokens.len() > limits.tokens => {
                return Err(limits.has_too_many_tokens(lines.at(token.index())));
            }
            Ok(token) => tokens.push(token),
            Err(refused) => {
                let message = format!("syntax error: {}", echo(&refused.message().to_lowercase()));
                return Err(Complaint::new(message, lines.at(refused.index())));
            }
        }
    }
    let texts = unescaped(&tokens).into_iter();
    let places = Places::new(lines, tokens);
    let mut reader = Reader { texts, next: 0, nesting: 0, n_directives: 0, limits: *limits, places };
    let document = reader.document()?;
    Ok((document, reader.places, reader.n_directives))
}

/// Whether a string is other than what stands between its quotes.
fn is_escaped(token: &Token<'_>) -> bool {
    token.kind() == TokenKind::StringValue && (token.data().contains('\\') || token.data().starts_with("\"\"\""))
}

/// What those strings say that have escapes or are blocks, in the order of the text: read by apollo's parser.
fn unescaped(tokens: &[Token<'_>]) -> Vec<String> {
    let mut list = String::new();
    for token in tokens.iter().filter(|token| is_escaped(token)) {
        list.push(' ');
        if token.data().contains('\r') {
            list.push_str(&token.data().replace("\r\n", "\n").replace('\r', "\n"));
        } else {
            list.push_str(token.data());
        }
    }
    if list.is_empty() {
        return Vec::new();
    }
    let read = || {
        let document = Parser::new().parse_ast(format!("{{a(a:[{list}])}}"), "").ok()?;
        let operation = document.definitions.first()?.as_operation_definition()?;
        let list = &operation.selection_set.first()?.as_field()?.arguments.first()?.value;
        Some(list.as_list()?.iter().filter_map(|text| text.as_str().map(str::to_owned)).collect())
    };
    read().unwrap_or_default()
}

type Read<T> = Result<T, Complaint>;

struct Reader<'a> {
    texts: std::vec::IntoIter<String>,
    next: usize,
    nesting: usize,
    n_directives: usize,
    limits: Limits,
    places: Places<'a>,
}

impl<'a> Reader<'a> {
    fn token(&self) -> Option<&Token<'a>> {
        self.places.token(self.next)
    }

    fn kind(&self) -> TokenKind {
        self.token().map_or(TokenKind::Eof, Token::kind)
    }

    fn data(&self) -> &'a str {
        self.token().map_or("", Token::data)
    }

    fn word(&self) -> &'a str {
        if self.kind() == TokenKind::Name { self.data() } else { "" }
    }

    fn offset(&self) -> usize {
        self.token().map_or(0, Token::index)
    }

    fn at(&self) -> Pos {
        self.places.at_offset(self.offset())
    }

    fn refuse<T>(&self, expected: &str) -> Read<T> {
        let found = match self.data() {
            "" => "the end of the query".to_owned(),
            found => format!("`{}`", echo(found)),
        };
        Err(Complaint::new(format!("syntax error: expected {expected}, found {found}"), self.at()))
    }

    fn takes(&mut self, kind: TokenKind) -> bool {
        let is_there = self.kind() == kind;
        self.next += usize::from(is_there);
        is_there
    }

    fn takes_word(&mut self, word: &str) -> bool {
        let is_there = self.word() == word;
        self.next += usize::from(is_there);
        is_there
    }

    fn must(&mut self, kind: TokenKind, expected: &str) -> Read<()> {
        if self.takes(kind) { Ok(()) } else { self.refuse(expected) }
    }

    fn name(&mut self, expected: &str) -> Read<Name> {
        let word = self.word();
        if word.len() > self.limits.name {
            return Err(self.limits.has_too_long_a_name(word.len(), self.at()));
        }
        self.must(TokenKind::Name, expected)?;
        Ok(Name::new_unchecked(word))
    }

    /// What nests in itself, one level deeper.
    fn deeper<T>(&mut self, read: impl FnOnce(&mut Self) -> Read<T>) -> Read<T> {
        self.nesting += 1;
        if self.nesting > self.limits.nesting {
            return Err(self.limits.nests_too_deep(Some(self.at())));
        }
        let read = read(self)?;
        self.nesting -= 1;
        Ok(read)
    }

    fn document(&mut self) -> Read<Document> {
        if self.kind() == TokenKind::Eof {
            return Err(Complaint::new("the query is empty", self.at()));
        }
        let mut document = Document::new();
        while self.kind() != TokenKind::Eof {
            document.definitions.push(self.definition()?);
        }
        Ok(document)
    }

    fn definition(&mut self) -> Read<Definition> {
        let mut operation = OperationDefinition {
            operation_type: OperationType::Query,
            name: None,
            variables: Vec::new(),
            directives: DirectiveList::new(),
            selection_set: Vec::new(),
        };
        if self.kind() != TokenKind::LCurly {
            self.description()?;
            if self.takes_word("fragment") {
                return self.fragment();
            }
            self.head(&mut operation)?;
        }
        operation.selection_set = self.selection_set()?;
        Ok(Definition::OperationDefinition(Node::new(operation)))
    }

    fn fragment(&mut self) -> Read<Definition> {
        if self.word() == "on" {
            return self.refuse("the name of the fragment");
        }
        let name = self.name("the name of the fragment")?;
        if !self.takes_word("on") {
            return self.refuse("`on` and the type of the fragment");
        }
        let type_condition = self.name("the type of the fragment")?;
        let directives = self.directives(false)?;
        let selection_set = self.selection_set()?;
        let fragment = FragmentDefinition { name, type_condition, directives, selection_set };
        Ok(Definition::FragmentDefinition(Node::new(fragment)))
    }

    /// What comes before the selection of an operation.
    fn head(&mut self, operation: &mut OperationDefinition) -> Read<()> {
        operation.operation_type = match self.word() {
            "query" => OperationType::Query,
            "mutation" => OperationType::Mutation,
            "subscription" => OperationType::Subscription,
            _ => return self.refuse("an operation or a fragment"),
        };
        self.next += 1;
        if self.kind() == TokenKind::Name {
            operation.name = Some(self.name("a name")?);
        }
        if self.takes(TokenKind::LParen) {
            operation.variables = self.some(TokenKind::RParen, Self::variable_definition)?;
        }
        operation.directives = self.directives(false)?;
        Ok(())
    }

    /// At least one of something, up to and with `end`.
    fn some<T>(&mut self, end: TokenKind, one: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        let mut all = Vec::new();
        loop {
            all.push(one(self)?);
            if self.takes(end) {
                return Ok(all);
            }
        }
    }

    fn description(&mut self) -> Read<()> {
        if self.kind() == TokenKind::StringValue {
            self.places.note_description(self.next);
            self.text()?;
        }
        Ok(())
    }

    fn text(&mut self) -> Read<String> {
        let Some(token) = self.token() else { return self.refuse("a text") };
        let text = if is_escaped(token) {
            self.texts.next()
        } else {
            token.data().strip_prefix('"').and_then(|text| text.strip_suffix('"')).map(str::to_owned)
        };
        let Some(text) = text else { return self.refuse("a text") };
        self.next += 1;
        Ok(text)
    }

    fn variable_definition(&mut self) -> Read<Node<VariableDefinition>> {
        self.description()?;
        let at = self.offset();
        self.must(TokenKind::Dollar, "a variable such as `$name`")?;
        let name = self.name("the name of the variable")?;
        self.places.note_name(&name, at);
        self.must(TokenKind::Colon, "`:` and the type of the variable")?;
        let ty = Node::new(self.of_type()?);
        let default_value = if self.takes(TokenKind::Eq) { Some(self.value(true)?) } else { None };
        let directives = self.directives(true)?;
        Ok(Node::new(VariableDefinition { name, ty, default_value, directives }))
    }

    fn of_type(&mut self) -> Read<Type> {
        let ty = if self.takes(TokenKind::LBracket) {
            let item = self.deeper(Self::of_type)?;
            self.must(TokenKind::RBracket, "`]`")?;
            item.list()
        } else {
            Type::Named(self.name("a type")?)
        };
        Ok(if self.takes(TokenKind::Bang) { ty.non_null() } else { ty })
    }

    fn directives(&mut self, is_const: bool) -> Read<DirectiveList> {
        let mut directives = DirectiveList::new();
        loop {
            let at = self.offset();
            if !self.takes(TokenKind::At) {
                return Ok(directives);
            }
            self.n_directives += 1;
            if self.n_directives > self.limits.most_directives() {
                return Err(self.limits.has_too_many_directives(self.at()));
            }
            let name = self.name("the name of a directive")?;
            self.places.note_name(&name, at);
            let arguments = self.arguments(is_const)?;
            directives.push(Directive { name, arguments });
        }
    }

    fn arguments(&mut self, is_const: bool) -> Read<Vec<Node<Argument>>> {
        if !self.takes(TokenKind::LParen) {
            return Ok(Vec::new());
        }
        self.some(TokenKind::RParen, |reader| {
            let (name, value) = reader.named_value(is_const, "an argument or `)`")?;
            Ok(Node::new(Argument { name, value }))
        })
    }

    fn named_value(&mut self, is_const: bool, expected: &str) -> Read<(Name, Node<Value>)> {
        let name = self.name(expected)?;
        self.must(TokenKind::Colon, "`:` and a value")?;
        Ok((name, self.value(is_const)?))
    }

    fn value(&mut self, is_const: bool) -> Read<Node<Value>> {
        let at = self.offset();
        let value = Node::new(self.value_at(is_const)?);
        self.places.note_value(&value, at);
        Ok(value)
    }

    fn value_at(&mut self, is_const: bool) -> Read<Value> {
        let data = self.data();
        Ok(match self.kind() {
            TokenKind::StringValue => Value::String(self.text()?),
            TokenKind::Int => {
                self.next += 1;
                Value::Int(IntValue::new_parsed(data))
            }
            TokenKind::Float => {
                self.next += 1;
                Value::Float(FloatValue::new_parsed(data))
            }
            TokenKind::Name => match self.name("a value")? {
                word if word == "true" => Value::Boolean(true),
                word if word == "false" => Value::Boolean(false),
                word if word == "null" => Value::Null,
                word => Value::Enum(word),
            },
            TokenKind::Dollar if !is_const => {
                self.next += 1;
                Value::Variable(self.name("the name of a variable")?)
            }
            TokenKind::LBracket => Value::List(self.any(TokenKind::RBracket, |reader| reader.value(is_const))?),
            TokenKind::LCurly => {
                Value::Object(self.any(TokenKind::RCurly, |reader| reader.named_value(is_const, "a field or `}`"))?)
            }
            _ if is_const => return self.refuse("a value that is no variable"),
            _ => return self.refuse("a value"),
        })
    }

    /// Any number of something between brackets, one level deeper.
    fn any<T>(&mut self, end: TokenKind, one: impl Fn(&mut Self) -> Read<T>) -> Read<Vec<T>> {
        self.deeper(|reader| {
            reader.next += 1;
            if reader.takes(end) { Ok(Vec::new()) } else { reader.some(end, one) }
        })
    }

    fn selection_set(&mut self) -> Read<Vec<Selection>> {
        self.must(TokenKind::LCurly, "`{` and what is selected")?;
        self.deeper(|reader| reader.some(TokenKind::RCurly, Self::selection))
    }

    fn selection(&mut self) -> Read<Selection> {
        if self.takes(TokenKind::Spread) {
            return self.spread();
        }
        let at = self.offset();
        let first = self.name("a field or `}`")?;
        let (alias, name) = if self.takes(TokenKind::Colon) {
            (Some(first), self.name("the field that the alias stands for")?)
        } else {
            (None, first)
        };
        self.places.note_name(&name, at);
        let arguments = self.arguments(false)?;
        let directives = self.directives(false)?;
        let selection_set = if self.kind() == TokenKind::LCurly { self.selection_set()? } else { Vec::new() };
        Ok(Selection::Field(Node::new(Field { alias, name, arguments, directives, selection_set })))
    }

    fn spread(&mut self) -> Read<Selection> {
        if self.kind() == TokenKind::Name && self.word() != "on" {
            let fragment_name = self.name("the name of a fragment")?;
            let directives = self.directives(false)?;
            return Ok(Selection::FragmentSpread(Node::new(FragmentSpread { fragment_name, directives })));
        }
        let type_condition = if self.takes_word("on") { Some(self.name("the type of the fragment")?) } else { None };
        let directives = self.directives(false)?;
        let selection_set = self.selection_set()?;
        Ok(Selection::InlineFragment(Node::new(InlineFragment { type_condition, directives, selection_set })))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(text: &str) -> Document {
        Document::parse(text, "").unwrap_or_else(|refused| panic!("{text}: {}", refused.errors))
    }

    #[test]
    fn trees_are_those_of_apollo() {
        for (text, plain) in [
            ("  { a  ,b }\n", "{a b}"),
            ("query Q ( $x : Int! ) { a ( x : $x ) # why\n b }", "query Q($x:Int!){a(x:$x)b}"),
            ("{ a(s: \"x  # , y\" , t: \"\") ...F }", "{a(s:\"x  # , y\" t:\"\")...F}"),
            ("{ a(s: \"\\\"  \\\\\"  t: 1) }", "{a(s:\"\\\"  \\\\\" t:1)}"),
            (
                "{ a(s: \"\"\" x \\\"\"\"  y\r\n\r \"\"\"  t:  \"z\") }",
                "{a(s:\"\"\" x \\\"\"\"  y\n\n \"\"\" t:\"z\")}",
            ),
            ("{ a(l: [\"\" \"x\", 1 -2 2.5e3]) }", "{a(l:[\"\" \"x\" 1 -2 2.5e3])}"),
            ("\u{feff}{ a , b }", "{a b}"),
            ("\"what it does\" query(\"why\" $x: Int = 1 @d) { a }", "query($x:Int=1@d){a}"),
            (
                "\"\"\"of F\"\"\" fragment F on Q { a: b ... on Q @c { d } ... { e } }",
                "fragment F on Q{a:b...on Q@c{d}...{e}}",
            ),
            ("{ ...,F a,:b }", "{...F a:b}"),
        ] {
            let (tree, places, _) = read(text, &Limits::default()).unwrap();
            assert_eq!(tree, parsed(plain), "{text}");
            let for_apollo = places.for_apollo();
            assert_eq!(parsed(&for_apollo.replace("\r\n", "\n").replace('\r', "\n")), tree, "{for_apollo}");
        }
    }

    #[test]
    fn what_is_not_of_the_grammar_is_named() {
        for (text, words) in [
            ("", "the query is empty"),
            ("{ a ", "expected a field or `}`, found the end of the query"),
            ("{ a } }", "expected an operation or a fragment, found `}`"),
            ("{ a(first 5) }", "expected `:` and a value, found `5`"),
            ("{ a() }", "expected an argument or `)`, found `)`"),
            ("{ a(r: {n start: 1}) }", "expected `:` and a value, found `start`"),
            ("query($x: Int = $y) { a }", "expected a value that is no variable, found `$`"),
            ("query() { a }", "expected a variable such as `$name`, found `)`"),
            ("fragment on on Q { a }", "expected the name of the fragment, found `on`"),
            ("{ }", "expected a field or `}`, found `}`"),
            ("type Q { a: Int }", "expected an operation or a fragment, found `type`"),
            ("\"why\" { a }", "expected an operation or a fragment, found `{`"),
            ("{ a(s: \"x) }", "unterminated"),
        ] {
            let said = read(text, &Limits::default()).unwrap_err().error.message;
            assert!(said.contains(words), "{said}: {text}");
        }
        let found = read("{\n  a(first 5) }", &Limits::default()).unwrap_err().at.unwrap();
        assert_eq!((found.line, found.column), (2, 11));
    }
}
