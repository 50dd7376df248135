//! The grammar of executable documents, token by token.
//!
//! apollo's parser is made to go on after a fault: it leaves out what it cannot read, sometimes without a word, and so would
//! run `(first 5)` as if no argument were there. It stumbles over commas where it looks ahead, and knows no descriptions of
//! operations. So a document is first held against the grammar of the specification here, on the tokens of the same lexer,
//! and the parser is given it without what the grammar ignores. What is refused is named by the words of the document.

use apollo_compiler::parser::SourceSpan;
use apollo_parser::{Lexer, Token, TokenKind};
use async_graphql::Pos;

use super::Limits;
use super::complaint::Complaint;
use super::lines::Lines;
use crate::domain::wording::echo;

/// A document that the grammar has, in its shortest spelling: equal for documents that differ only in what the grammar
/// ignores.
#[derive(Debug)]
pub(super) struct Plain<'a> {
    pub(super) text: String,
    lines: Lines<'a>,
    /// Where tokens were: the offset in `text`, the offset in the document.
    moved: Vec<(usize, usize)>,
}

impl Plain<'_> {
    /// Where in the document it is that apollo finds at a span of the plain text; what has none is nowhere.
    pub(super) fn of(&self, span: Option<SourceSpan>) -> Pos {
        let Some(span) = span else { return Pos::default() };
        let after = self.moved.partition_point(|(plain, _)| *plain <= span.offset());
        let token = after.checked_sub(1).and_then(|at| self.moved.get(at));
        self.lines.at(token.map_or(0, |(_, was)| *was))
    }
}

/// Reads a document by the grammar.
pub(super) fn read<'a>(text: &'a str, limits: &Limits) -> Result<Plain<'a>, Complaint> {
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
    let mut reader = Reader {
        tokens: &tokens,
        next: 0,
        nesting: 0,
        n_directives: 0,
        limits,
        lines: &lines,
        descriptions: Vec::new(),
    };
    reader.document()?;
    let descriptions = reader.descriptions;
    Ok(plain(text, &tokens, &descriptions, lines))
}

/// Writes the tokens as close to one another as they may stand.
fn plain<'a>(text: &str, tokens: &[Token<'_>], descriptions: &[usize], lines: Lines<'a>) -> Plain<'a> {
    let (mut plain, mut moved) = (String::with_capacity(text.len()), Vec::with_capacity(tokens.len()));
    let mut was_word = false;
    for (at, token) in tokens.iter().enumerate() {
        if descriptions.binary_search(&at).is_ok() {
            continue;
        }
        let is_word =
            matches!(token.kind(), TokenKind::Name | TokenKind::Int | TokenKind::Float | TokenKind::StringValue);
        if is_word && was_word {
            plain.push(' ');
        }
        was_word = is_word;
        moved.push((plain.len(), token.index()));
        if token.data().starts_with("\"\"\"") && token.data().contains('\r') {
            plain.push_str(&token.data().replace("\r\n", "\n").replace('\r', "\n"));
        } else {
            plain.push_str(token.data());
        }
    }
    Plain { text: plain, lines, moved }
}

type Read = Result<(), Complaint>;

struct Reader<'a> {
    tokens: &'a [Token<'a>],
    next: usize,
    nesting: usize,
    n_directives: usize,
    limits: &'a Limits,
    lines: &'a Lines<'a>,
    /// Descriptions, by their place among the tokens.
    descriptions: Vec<usize>,
}

impl Reader<'_> {
    fn kind(&self) -> TokenKind {
        self.tokens.get(self.next).map_or(TokenKind::Eof, Token::kind)
    }

    fn word(&self) -> &str {
        self.tokens.get(self.next).filter(|token| token.kind() == TokenKind::Name).map_or("", Token::data)
    }

    fn at(&self) -> Pos {
        self.lines.at(self.tokens.get(self.next).map_or(0, Token::index))
    }

    fn refuse<T>(&self, expected: &str) -> Result<T, Complaint> {
        let found = match self.tokens.get(self.next).map(Token::data) {
            None | Some("") => "the end of the query".to_owned(),
            Some(found) => format!("`{}`", echo(found)),
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

    fn must(&mut self, kind: TokenKind, expected: &str) -> Read {
        if self.takes(kind) { Ok(()) } else { self.refuse(expected) }
    }

    fn name(&mut self, expected: &str) -> Read {
        let length = self.word().len();
        if length > self.limits.name {
            return Err(self.limits.has_too_long_a_name(length, self.at()));
        }
        self.must(TokenKind::Name, expected)
    }

    /// What nests in itself, one level deeper.
    fn deeper(&mut self, read: impl FnOnce(&mut Self) -> Read) -> Read {
        self.nesting += 1;
        if self.nesting > self.limits.nesting {
            return Err(self.limits.nests_too_deep(Some(self.at())));
        }
        read(self)?;
        self.nesting -= 1;
        Ok(())
    }

    fn document(&mut self) -> Read {
        if self.kind() == TokenKind::Eof {
            return Err(Complaint::new("the query is empty", self.at()));
        }
        while self.kind() != TokenKind::Eof {
            self.definition()?;
        }
        Ok(())
    }

    fn definition(&mut self) -> Read {
        if self.kind() == TokenKind::LCurly {
            return self.selection_set();
        }
        self.description();
        if self.takes_word("fragment") {
            if self.word() == "on" {
                return self.refuse("the name of the fragment");
            }
            self.name("the name of the fragment")?;
            if !self.takes_word("on") {
                return self.refuse("`on` and the type of the fragment");
            }
            self.name("the type of the fragment")?;
            self.directives(false)?;
            return self.selection_set();
        }
        if !["query", "mutation", "subscription"].iter().any(|word| self.takes_word(word)) {
            return self.refuse("an operation or a fragment");
        }
        if self.kind() == TokenKind::Name {
            self.name("a name")?;
        }
        if self.takes(TokenKind::LParen) {
            self.some(TokenKind::RParen, Self::variable_definition)?;
        }
        self.directives(false)?;
        self.selection_set()
    }

    /// At least one of something, up to and with `end`.
    fn some(&mut self, end: TokenKind, one: impl Fn(&mut Self) -> Read) -> Read {
        loop {
            one(self)?;
            if self.takes(end) {
                return Ok(());
            }
        }
    }

    fn description(&mut self) {
        if self.kind() == TokenKind::StringValue {
            self.descriptions.push(self.next);
            self.next += 1;
        }
    }

    fn variable_definition(&mut self) -> Read {
        self.description();
        self.must(TokenKind::Dollar, "a variable such as `$name`")?;
        self.name("the name of the variable")?;
        self.must(TokenKind::Colon, "`:` and the type of the variable")?;
        self.of_type()?;
        if self.takes(TokenKind::Eq) {
            self.value(true)?;
        }
        self.directives(true)
    }

    fn of_type(&mut self) -> Read {
        if self.takes(TokenKind::LBracket) {
            self.deeper(Self::of_type)?;
            self.must(TokenKind::RBracket, "`]`")?;
        } else {
            self.name("a type")?;
        }
        self.takes(TokenKind::Bang);
        Ok(())
    }

    fn directives(&mut self, is_const: bool) -> Read {
        while self.takes(TokenKind::At) {
            self.n_directives += 1;
            if self.n_directives > self.limits.directives {
                return Err(self.limits.has_too_many_directives(self.at()));
            }
            self.name("the name of a directive")?;
            self.arguments(is_const)?;
        }
        Ok(())
    }

    fn arguments(&mut self, is_const: bool) -> Read {
        if !self.takes(TokenKind::LParen) {
            return Ok(());
        }
        self.some(TokenKind::RParen, |reader| reader.named_value(is_const, "an argument or `)`"))
    }

    fn named_value(&mut self, is_const: bool, expected: &str) -> Read {
        self.name(expected)?;
        self.must(TokenKind::Colon, "`:` and a value")?;
        self.value(is_const)
    }

    fn value(&mut self, is_const: bool) -> Read {
        match self.kind() {
            TokenKind::Int | TokenKind::Float | TokenKind::StringValue => {
                self.next += 1;
                Ok(())
            }
            TokenKind::Name => self.name("a value"),
            TokenKind::Dollar if !is_const => {
                self.next += 1;
                self.name("the name of a variable")
            }
            TokenKind::LBracket => self.deeper(|reader| {
                reader.next += 1;
                while !reader.takes(TokenKind::RBracket) {
                    reader.value(is_const)?;
                }
                Ok(())
            }),
            TokenKind::LCurly => self.deeper(|reader| {
                reader.next += 1;
                while !reader.takes(TokenKind::RCurly) {
                    reader.named_value(is_const, "a field or `}`")?;
                }
                Ok(())
            }),
            _ if is_const => self.refuse("a value that is no variable"),
            _ => self.refuse("a value"),
        }
    }

    fn selection_set(&mut self) -> Read {
        self.must(TokenKind::LCurly, "`{` and what is selected")?;
        self.deeper(|reader| reader.some(TokenKind::RCurly, Self::selection))
    }

    fn selection(&mut self) -> Read {
        if self.takes(TokenKind::Spread) {
            if self.kind() == TokenKind::Name && self.word() != "on" {
                self.name("the name of a fragment")?;
                return self.directives(false);
            }
            if self.takes_word("on") {
                self.name("the type of the fragment")?;
            }
            self.directives(false)?;
            return self.selection_set();
        }
        self.name("a field or `}`")?;
        if self.takes(TokenKind::Colon) {
            self.name("the field that the alias stands for")?;
        }
        self.arguments(false)?;
        self.directives(false)?;
        if self.kind() == TokenKind::LCurly { self.selection_set() } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(text: &str) -> String {
        read(text, &Limits::default()).map_or_else(|refused| refused.error.message.clone(), |plain| plain.text)
    }

    #[test]
    fn what_the_grammar_ignores_makes_no_other_document() {
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
            assert_eq!(said(text), plain, "{text}");
            assert_eq!(said(plain), plain);
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
            assert!(said(text).contains(words), "{}: {text}", said(text));
        }
        let found = read("{\n  a(first 5) }", &Limits::default()).unwrap_err().at.unwrap();
        assert_eq!((found.line, found.column), (2, 11));
    }
}
