//! What a query's own text says of its answer: which of its lists come in pages, and what it selects.
//!
//! A list at the top of the query is followed to its end where its `after` is a variable, or where it has neither `after`
//! nor `first`. Of every other one its page alone is asked for, and whether there is more.

use std::collections::HashMap;

use apollo_compiler::ast::{
    Argument, Definition, DirectiveList, Document, Field, FragmentDefinition, Selection, Value as Literal,
};
use apollo_compiler::ast::{OperationDefinition, VariableDefinition};
use apollo_compiler::{Name, Node, name, ty};
use async_graphql::Value;
use async_graphql::indexmap::IndexMap;

use crate::cli::tables::Shape;

/// Fragments within fragments that are looked into; the gateway refuses circles.
const MAX_DEPTH: usize = 64;

/// A query that is asked page by page.
#[derive(Debug)]
pub(super) struct Pages {
    /// What is asked: the query, with `pageInfo` wherever it selects from pages.
    pub(super) text: String,
    /// What was selected.
    pub(super) shape: Shape,
    lists: Vec<List>,
    /// The answer so far.
    data: Value,
}

/// A list at the top that is followed to its end.
#[derive(Debug)]
struct List {
    key: String,
    variable: String,
    /// Where the next page begins; `None` before the first.
    after: Option<String>,
    is_done: bool,
}

impl Pages {
    /// Reads a query; what cannot be read is asked as it is, and whoever answers says what is wrong with it.
    pub(super) fn of(text: &str) -> Self {
        let as_it_is = |text: String| Self { text, shape: Shape::default(), lists: Vec::new(), data: Value::Null };
        let Ok(mut document) = Document::parse(text, "query.graphql") else { return as_it_is(text.to_owned()) };
        let fragments: HashMap<Name, Node<FragmentDefinition>> =
            document.definitions.iter().filter_map(fragment).collect();
        let operations = document.definitions.iter().filter(|one| matches!(one, Definition::OperationDefinition(_)));
        if operations.count() != 1 {
            return as_it_is(text.to_owned());
        }
        let (mut shape, mut lists) = (Shape::default(), Vec::new());
        for definition in &mut document.definitions {
            match definition {
                Definition::OperationDefinition(operation) => {
                    add_fields(&mut shape, &operation.selection_set, &fragments, 0);
                    lists = follow(operation.make_mut());
                    for selection in &mut operation.make_mut().selection_set {
                        add_page_info_below(selection);
                    }
                }
                Definition::FragmentDefinition(fragment) => add_page_info(&mut fragment.make_mut().selection_set),
                _ => {}
            }
        }
        Self { shape, lists, ..as_it_is(document.serialize().no_indent().to_string()) }
    }

    /// The variables of the next page.
    pub(super) fn cursors(&self) -> impl Iterator<Item = (&str, &str)> {
        self.lists.iter().filter_map(|list| Some((list.variable.as_str(), list.after.as_deref()?)))
    }

    /// Takes a page, and says whether there is another one to ask for.
    pub(super) fn take(&mut self, page: Value) -> bool {
        let is_first = self.data == Value::Null;
        let mut goes_on = false;
        for list in self.lists.iter_mut().filter(|list| !list.is_done) {
            let next = object(&page, &list.key).and_then(next_of);
            list.is_done = next.is_none() || next == list.after;
            if !is_first
                && let Some(Value::Object(more)) = field(&page, &list.key)
                && let Some(known) = object_mut(&mut self.data, &list.key)
            {
                append(known, more);
            }
            if !list.is_done {
                list.after = next;
                goes_on = true;
            }
        }
        if is_first {
            self.data = page;
        }
        goes_on
    }

    /// The answer, and which of its lists have more rows than there are in it.
    pub(super) fn finish(self) -> (Value, Vec<String>) {
        let mut more = Vec::new();
        find_more(&self.data, &mut Vec::new(), &mut more);
        (self.data, more)
    }
}

type Object = IndexMap<async_graphql::Name, Value>;

fn fragment(definition: &Definition) -> Option<(Name, Node<FragmentDefinition>)> {
    match definition {
        Definition::FragmentDefinition(fragment) => Some((fragment.name.clone(), fragment.clone())),
        _ => None,
    }
}

/// Adds what is selected to `shape`, fragments laid open.
fn add_fields(
    shape: &mut Shape,
    selections: &[Selection],
    fragments: &HashMap<Name, Node<FragmentDefinition>>,
    depth: usize,
) {
    for selection in selections.iter().filter(|_| depth < MAX_DEPTH) {
        match selection {
            Selection::Field(field) => {
                let key = field.response_name().as_str();
                let at = shape.fields.iter().position(|known| known.key == key).unwrap_or_else(|| {
                    shape.fields.push(Shape { key: key.to_owned(), fields: Vec::new() });
                    shape.fields.len() - 1
                });
                if let Some(known) = shape.fields.get_mut(at) {
                    add_fields(known, &field.selection_set, fragments, depth + 1);
                }
            }
            Selection::InlineFragment(inner) => add_fields(shape, &inner.selection_set, fragments, depth + 1),
            Selection::FragmentSpread(spread) => {
                if let Some(fragment) = fragments.get(&spread.fragment_name) {
                    add_fields(shape, &fragment.selection_set, fragments, depth + 1);
                }
            }
        }
    }
}

/// The lists at the top that can be followed to their end; each gets a variable for its place.
fn follow(operation: &mut OperationDefinition) -> Vec<List> {
    let mut lists: Vec<List> = Vec::new();
    for selection in &mut operation.selection_set {
        let Selection::Field(field) = selection else { continue };
        if !has_pages(&field.selection_set) {
            continue;
        }
        let variable = match field.arguments.iter().find(|argument| argument.name == "after") {
            Some(after) => match &*after.value {
                Literal::Variable(variable) => variable.clone(),
                _ => continue,
            },
            None if field.arguments.iter().any(|argument| argument.name == "first") => continue,
            None => {
                let Ok(variable) = Name::new(&format!("after_{}", field.response_name())) else { continue };
                let value = Node::new(Literal::Variable(variable.clone()));
                field.make_mut().arguments.push(Node::new(Argument { name: name!("after"), value }));
                operation.variables.push(Node::new(VariableDefinition {
                    name: variable.clone(),
                    ty: Node::new(ty!(String)),
                    default_value: None,
                    directives: DirectiveList::default(),
                }));
                variable
            }
        };
        // One place cannot be that of two lists.
        if lists.iter().all(|list| list.variable != variable.as_str()) {
            let (key, variable) = (field.response_name().to_string(), variable.to_string());
            lists.push(List { key, variable, after: None, is_done: false });
        }
    }
    lists
}

fn has_pages(selections: &[Selection]) -> bool {
    selections.iter().any(|selection| match selection {
        Selection::Field(field) => ["nodes", "edges"].contains(&field.name.as_str()) && !field.selection_set.is_empty(),
        _ => false,
    })
}

/// Asks for `pageInfo` wherever something is selected from a page: it makes no columns.
fn add_page_info(selections: &mut Vec<Selection>) {
    selections.iter_mut().for_each(add_page_info_below);
    if has_pages(selections) {
        let leaf = |name| selected(name, Vec::new());
        selections.push(selected(name!("pageInfo"), vec![leaf(name!("hasNextPage")), leaf(name!("endCursor"))]));
    }
}

fn add_page_info_below(selection: &mut Selection) {
    match selection {
        Selection::Field(field) => add_page_info(&mut field.make_mut().selection_set),
        Selection::InlineFragment(inner) => add_page_info(&mut inner.make_mut().selection_set),
        Selection::FragmentSpread(_) => {}
    }
}

fn selected(name: Name, selection_set: Vec<Selection>) -> Selection {
    Selection::Field(Node::new(Field {
        alias: None,
        name,
        arguments: Vec::new(),
        directives: DirectiveList::default(),
        selection_set,
    }))
}

fn field<'a>(value: &'a Value, key: &str) -> Option<&'a Value> {
    if let Value::Object(fields) = value { fields.get(key) } else { None }
}

fn object<'a>(value: &'a Value, key: &str) -> Option<&'a Object> {
    if let Some(Value::Object(object)) = field(value, key) { Some(object) } else { None }
}

fn object_mut<'a>(value: &'a mut Value, key: &str) -> Option<&'a mut Object> {
    let Value::Object(fields) = value else { return None };
    if let Some(Value::Object(object)) = fields.get_mut(key) { Some(object) } else { None }
}

/// Where the page after this one begins.
fn next_of(page: &Object) -> Option<String> {
    let info = page.get("pageInfo")?;
    match (field(info, "hasNextPage"), field(info, "endCursor")) {
        (Some(Value::Boolean(true)), Some(Value::String(cursor))) => Some(cursor.clone()),
        _ => None,
    }
}

/// Puts the rows of a page behind those of the pages before, and its `pageInfo` in their place.
fn append(known: &mut Object, page: &Object) {
    for (key, value) in page {
        match (known.get_mut(key), value) {
            (Some(Value::List(rows)), Value::List(more)) => rows.extend(more.iter().cloned()),
            (Some(old), new) if key == "pageInfo" => *old = new.clone(),
            _ => {}
        }
    }
}

/// The lists that have more rows, as paths in the answer.
fn find_more(value: &Value, path: &mut Vec<String>, more: &mut Vec<String>) {
    match value {
        Value::Object(fields) => {
            if fields.get("pageInfo").and_then(|info| field(info, "hasNextPage")) == Some(&Value::Boolean(true)) {
                more.push(path.join("."));
            }
            for (key, value) in fields {
                path.push(key.to_string());
                find_more(value, path, more);
                path.pop();
            }
        }
        Value::List(items) => items.iter().for_each(|item| find_more(item, path, more)),
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn page(rows: &[u8], next: Option<&str>) -> Value {
        let nodes: Vec<_> = rows.iter().map(|n| serde_json::json!({ "n": n })).collect();
        let info = serde_json::json!({ "hasNextPage": next.is_some(), "endCursor": next });
        Value::from_json(serde_json::json!({ "a": { "nodes": nodes, "pageInfo": info } })).unwrap()
    }

    #[test]
    fn a_list_without_first_is_followed_to_its_end() {
        let mut pages = Pages::of("{ a(id: 1) { nodes { n } } }");
        assert!(pages.text.contains("after: $after_a") && pages.text.contains("$after_a: String"), "{}", pages.text);
        assert!(pages.text.contains("pageInfo { hasNextPage endCursor }"), "{}", pages.text);
        assert!(pages.take(page(&[1, 2], Some("x"))));
        assert_eq!(pages.cursors().collect::<Vec<_>>(), [("after_a", "x")]);
        assert!(pages.take(page(&[3], Some("y"))));
        assert!(!pages.take(page(&[4], None)));
        let (data, more) = pages.finish();
        assert_eq!(data, page(&[1, 2, 3, 4], None));
        assert_eq!(more, [""; 0]);
    }

    #[test]
    fn a_page_that_was_asked_for_stays_one_and_says_that_there_is_more() {
        for text in ["{ a(first: 2) { nodes { n } } }", "{ a(after: \"w\") { ...P } } fragment P on C { nodes { n } }"]
        {
            let mut pages = Pages::of(text);
            assert!(pages.text.contains("hasNextPage"), "{}", pages.text);
            assert!(!pages.take(page(&[1, 2], Some("x"))));
            assert_eq!(pages.finish().1, ["a"], "{text}");
        }
        let mut pages = Pages::of("query Q($at: String) { a(first: 2, after: $at) { nodes { n } } }");
        assert!(pages.take(page(&[1, 2], Some("x"))), "its place is a variable");
        assert_eq!(pages.cursors().collect::<Vec<_>>(), [("at", "x")]);
        assert!(!pages.take(page(&[3], Some("x"))), "a gateway that does not go on is asked no more");
    }

    #[test]
    fn what_is_selected_is_known_with_fragments_and_aliases() {
        let pages = Pages::of("{ x: a { ...F n } } fragment F on A { m n inner { k } }");
        let leaf = |key: &str| Shape { key: key.to_owned(), fields: Vec::new() };
        let inner = Shape { key: "inner".to_owned(), fields: vec![leaf("k")] };
        let fields = vec![Shape { key: "x".to_owned(), fields: vec![leaf("m"), leaf("n"), inner] }];
        assert_eq!(pages.shape, Shape { key: String::new(), fields });
        assert_eq!(Pages::of("{ a(").text, "{ a(", "what cannot be read is asked as it is");
    }
}
