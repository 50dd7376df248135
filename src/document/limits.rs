//! What a single document may ask for, measured before it is validated. Pure.
//!
//! A short document can ask for a great deal, since every use of a fragment counts anew. Here a fragment is measured once;
//! its uses only add up.

use std::collections::{BTreeSet, HashMap};

use apollo_compiler::Name;
use apollo_compiler::ast::{Definition, Document, FragmentDefinition, Selection};
use async_graphql::Pos;

use super::complaint::Complaint;
use crate::domain::{LimitName, Shadow};
use crate::error::{Code, WeirError};

/// What a single document may ask for. The defaults leave room for any query a person would write and for `GraphiQL`'s
/// introspection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The longest text, in bytes.
    pub text: usize,
    /// How many tokens it has, blanks between them counted.
    pub tokens: usize,
    /// How deep selections, with the fragments they use, or values may nest.
    pub nesting: usize,
    /// How deep fields may nest.
    pub depth: usize,
    /// How many fields all operations select together, every use of a fragment counted: one at least for each.
    pub fields: usize,
    /// How many fields its operations select themselves, those of the same name and of fragments counted each.
    pub root_fields: usize,
    /// How many aliases all operations select together, every use of a fragment counted.
    pub aliases: usize,
    /// How many directives it has.
    pub directives: usize,
    /// The longest name or alias, in bytes.
    pub name: usize,
    /// Whether the description of the schema may be asked for.
    pub introspection: bool,
    /// Which of them are only counted.
    pub shadow: Shadow,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            text: 128 << 10,
            tokens: 40_000,
            nesting: 100,
            depth: 24,
            fields: 10_000,
            root_fields: 100,
            aliases: 100,
            directives: 50,
            name: 256,
            introspection: true,
            shadow: Shadow::default(),
        }
    }
}

impl Limits {
    /// Judges the text before it is parsed.
    pub(super) fn check_text(&self, text: &str) -> Result<(), Complaint> {
        if text.len() <= self.text {
            return Ok(());
        }
        let message = format!("the query is {} bytes long; the limit is {}", text.len(), self.text);
        Err(Complaint::exceeding(LimitName::QueryBytes, message, self.text, Some(text.len()), None))
    }

    pub(super) fn nests_too_deep(&self, at: Option<Pos>) -> Complaint {
        let message =
            format!("the query nests more than {0} levels, fragments counted; the limit is {0}", self.nesting);
        Complaint::exceeding(LimitName::Nesting, message, self.nesting, None, at)
    }

    pub(super) fn has_too_many_tokens(&self, at: Pos) -> Complaint {
        let message = format!("the query has more than {0} tokens; the limit is {0}", self.tokens);
        Complaint::exceeding(LimitName::Tokens, message, self.tokens, None, Some(at))
    }

    pub(super) fn has_too_many_directives(&self, at: Pos) -> Complaint {
        let message = format!("the query has more than {0} directives; the limit is {0}", self.directives);
        Complaint::exceeding(LimitName::Directives, message, self.directives, None, Some(at))
    }

    /// Where directives are only counted, those of the grammar's own bound still hold.
    pub(super) fn most_directives(&self) -> usize {
        if self.shadow.holds(LimitName::Directives) { self.tokens } else { self.directives }
    }

    pub(super) fn has_too_long_a_name(&self, length: usize, at: Pos) -> Complaint {
        let message = format!("a name or alias in the query is {length} characters long; the limit is {}", self.name);
        Complaint::exceeding(LimitName::NameBytes, message, self.name, Some(length), Some(at))
    }

    /// Judges what the parsed document asks for; answers which limits it exceeds that are only counted. A fragment that is not
    /// there or that uses itself counts as its use alone; naming it is for validation.
    pub(super) fn check(&self, document: &Document, n_directives: usize) -> Result<Vec<LimitName>, Complaint> {
        let fragments = document.definitions.iter().filter_map(Definition::as_fragment_definition);
        let fragments = fragments.map(|fragment| (&fragment.name, &**fragment)).collect();
        let mut measure = Measure { limits: self, fragments, known: HashMap::new() };
        let mut exceeded = BTreeSet::new();
        if n_directives > self.directives {
            exceeded.insert(LimitName::Directives);
        }
        let (mut fields, mut aliases) = (0_usize, 0_usize);
        for operation in document.definitions.iter().filter_map(Definition::as_operation_definition) {
            let extent = measure.selection(&operation.selection_set, 1)?;
            fields = fields.saturating_add(extent.fields);
            aliases = aliases.saturating_add(extent.aliases);
            self.compare(Extent { fields, aliases, ..extent }, &mut exceeded)?;
        }
        // Fragments that nobody uses are validated as well.
        let names: Vec<_> = measure.fragments.keys().copied().collect();
        for name in names {
            let extent = measure.fragment(name, 1)?;
            // Its fields are those of an operation once one uses it.
            self.compare(Extent { roots: 0, ..extent }, &mut exceeded)?;
        }
        Ok(exceeded.into_iter().collect())
    }

    fn compare(&self, extent: Extent, exceeded: &mut BTreeSet<LimitName>) -> Result<(), Complaint> {
        let Extent { depth, fields, roots, aliases, levels: _ } = extent;
        for (name, most, actual, what) in [
            (LimitName::Depth, self.depth, depth, "nests fields {} deep"),
            (LimitName::Fields, self.fields, fields, "selects {} fields, every use of a fragment counted"),
            (LimitName::Aliases, self.aliases, aliases, "has {} aliases, every use of a fragment counted"),
            (
                LimitName::RootFields,
                self.root_fields,
                roots,
                "asks {} fields of the operation itself, each use counted",
            ),
        ] {
            if actual > most && self.shadow.holds(name) {
                exceeded.insert(name);
            } else if actual > most {
                let what = what.replace("{}", &actual.to_string());
                let message = format!("the query {what}; the limit is {most}");
                return Err(Complaint::exceeding(name, message, most, Some(actual), None));
            }
        }
        Ok(())
    }
}

/// The schema is not told.
pub(super) fn introspection_is_off(at: Pos) -> Complaint {
    let message = "the schema is not told here: `__schema` and `__type` are off (`limits.introspection`)";
    Complaint { error: Box::new(WeirError::new(Code::Forbidden, message)), at: Some(at) }
}

/// The schema's description may be asked for no deeper than a reader of it would.
pub(super) fn introspects_too_deep() -> Complaint {
    let message = "the query nests fields of the schema's description (`fields`, `inputFields`, `interfaces`, \
                   `possibleTypes`) too deep; the limit is 2";
    Complaint::exceeding(LimitName::IntrospectionDepth, message.to_owned(), 2, None, None)
}

#[derive(Debug, Clone, Copy, Default)]
struct Extent {
    /// Fields within fields.
    depth: usize,
    /// Selections within selections, whatever joins them.
    levels: usize,
    fields: usize,
    /// Fields that are not in another.
    roots: usize,
    aliases: usize,
}

struct Measure<'a> {
    limits: &'a Limits,
    fragments: HashMap<&'a Name, &'a FragmentDefinition>,
    /// Fragments measured so far; one that is being measured counts as nothing.
    known: HashMap<&'a Name, Extent>,
}

impl<'a> Measure<'a> {
    /// `level` is how deep the selection lies; it bounds the recursion.
    fn selection(&mut self, set: &'a [Selection], level: usize) -> Result<Extent, Complaint> {
        let mut sum = Extent::default();
        if !set.is_empty() {
            sum.levels = 1;
            self.bound(level)?;
        }
        for selection in set {
            let part = match selection {
                Selection::Field(field) => {
                    let inner = self.selection(&field.selection_set, level + 1)?;
                    let aliases = inner.aliases.saturating_add(usize::from(field.alias.is_some()));
                    let (depth, fields) = (inner.depth + 1, inner.fields.saturating_add(1));
                    Extent { depth, fields, roots: 1, aliases, levels: inner.levels }
                }
                Selection::InlineFragment(inline) => {
                    let inner = self.selection(&inline.selection_set, level + 1)?;
                    Extent { fields: inner.fields.max(1), ..inner }
                }
                Selection::FragmentSpread(spread) => {
                    let inner = self.fragment(&spread.fragment_name, level + 1)?;
                    Extent { fields: inner.fields.max(1), ..inner }
                }
            };
            sum = Extent {
                depth: sum.depth.max(part.depth),
                levels: sum.levels.max(part.levels + 1),
                fields: sum.fields.saturating_add(part.fields),
                roots: sum.roots.saturating_add(part.roots),
                aliases: sum.aliases.saturating_add(part.aliases),
            };
        }
        Ok(sum)
    }

    fn fragment(&mut self, name: &'a Name, level: usize) -> Result<Extent, Complaint> {
        if let Some(known) = self.known.get(name).copied() {
            self.bound(level + known.levels.saturating_sub(1))?;
            return Ok(known);
        }
        let Some(fragment) = self.fragments.get(name).copied() else { return Ok(Extent::default()) };
        self.known.insert(name, Extent::default());
        let extent = self.selection(&fragment.selection_set, level)?;
        self.known.insert(name, extent);
        Ok(extent)
    }

    fn bound(&self, level: usize) -> Result<(), Complaint> {
        if level > self.limits.nesting { Err(self.limits.nests_too_deep(None)) } else { Ok(()) }
    }
}

#[cfg(test)]
mod tests {
    use super::super::grammar;
    use super::*;

    fn small() -> Limits {
        Limits {
            text: 10_000,
            tokens: 5_000,
            nesting: 20,
            depth: 3,
            fields: 10,
            root_fields: 10,
            aliases: 3,
            directives: 4,
            name: 8,
            ..Limits::default()
        }
    }

    fn check(limits: &Limits, text: &str) -> Result<Vec<LimitName>, String> {
        let judge = || {
            limits.check_text(text)?;
            let (tree, _, n_directives) = grammar::read(text, limits)?;
            limits.check(&tree, n_directives)
        };
        judge().map_err(|complaint| complaint.error.message)
    }

    #[test]
    fn each_limit_is_named_with_what_was_asked() {
        let chain = (0..40).map(|i| format!("fragment F{i} on Q {{ ...F{} }} ", i + 1)).collect::<Vec<_>>().concat();
        for (text, refused) in [
            ("{ a { b { c } } }".to_owned(), None),
            ("{ a { b { c { d } } } }".to_owned(), Some("nests fields 4 deep; the limit is 3")),
            (format!("{{ {} }}", "a ".repeat(10)), None),
            (format!("{{ {} }}", "a ".repeat(11)), Some("selects 11 fields")),
            ("query A { a b c d e f } query B { a b c d e f }".to_owned(), Some("selects 12 fields")),
            (
                "{ ...F } fragment F on Q { a { ...G } } fragment G on Q { b { c { d } } }".to_owned(),
                Some("nests fields 4 deep"),
            ),
            ("{ a } fragment F on Q { ... on Q { b { c { d { e } } } } }".to_owned(), Some("nests fields 4 deep")),
            (format!("{{ ...F0 }} {chain} fragment F40 on Q {{ a }}"), Some("nests more than 20 levels")),
            (format!("{{ ...F30 ...F15 ...F0 }} {chain} fragment F40 on Q {{ a }}"), Some("nests more than 20 levels")),
            (" ".repeat(9_990) + "{ aaaaaaaa }", Some("10002 bytes long; the limit is 10000")),
            ("{ aaaaaaaa }".to_owned(), None),
            ("{ aaaaaaaaa }".to_owned(), Some("9 characters long; the limit is 8")),
            ("{ aaaaaaaaa: a }".to_owned(), Some("9 characters long; the limit is 8")),
            ("{ a: x b: x c: x }".to_owned(), None),
            ("{ a: x b: x { c: x d: x } }".to_owned(), Some("has 4 aliases")),
            ("{ ...F ...F } fragment F on Q { a: x b: x }".to_owned(), Some("has 4 aliases")),
            ("{ a @x @x @x @x }".to_owned(), None),
            ("{ a @x @x @x ... @x { b @x } }".to_owned(), Some("more than 4 directives")),
        ] {
            let verdict = check(&small(), &text);
            match refused {
                None => assert_eq!(verdict, Ok(Vec::new()), "{text}"),
                Some(words) => assert!(verdict.as_ref().is_err_and(|said| said.contains(words)), "{verdict:?} {text}"),
            }
        }
    }

    #[test]
    fn uses_of_fragments_multiply_without_being_walked() {
        let doubling =
            (0..19).map(|i| format!("fragment F{i} on Q {{ ...F{0} ...F{0} }} ", i + 1)).collect::<Vec<_>>().concat();
        let limits = Limits { nesting: 100, ..small() };
        // The last fragment may as well be missing: every use counts by itself.
        for last in ["fragment F19 on Q { a }", ""] {
            let said = check(&limits, &format!("{{ ...F0 }} {doubling} {last}")).unwrap_err();
            assert!(said.contains("fields"), "{said}");
        }
    }

    #[test]
    fn fields_of_the_operation_are_counted_by_themselves() {
        let limits = Limits { root_fields: 2, ..small() };
        for (text, is_good) in [
            ("{ a { b c d } e }", true),
            ("{ a a a }", false),
            ("{ ...F e } fragment F on Q { a { b c d } e }", false),
            ("{ a { ...F } } fragment F on Q { b c d }", true),
            ("query A { a b } query B { a b }", true),
        ] {
            assert_eq!(check(&limits, text).is_ok(), is_good, "{text}");
        }
    }

    #[test]
    fn what_is_shadowed_is_named_and_let_through() {
        let shadow = LimitName::ALL.into_iter().filter(|name| name.always_holds().is_none()).collect();
        let limits = Limits { shadow, ..small() };
        let text = format!("{{ {} a @x @x @x @x @x {{ b {{ c {{ d }} }} }} }}", "z: y ".repeat(8));
        let all = [LimitName::Depth, LimitName::Fields, LimitName::Aliases, LimitName::Directives];
        assert_eq!(check(&limits, &text), Ok(all.to_vec()));
        assert_eq!(check(&limits, "{ a }"), Ok(Vec::new()));
    }

    #[test]
    fn fragments_in_a_circle_come_to_an_end() {
        assert_eq!(check(&small(), "{ ...F } fragment F on Q { a ...G } fragment G on Q { b ...F }"), Ok(Vec::new()));
    }
}
