//! Long lists as raw JSON: one plan a list, one loop over its items, no future for each field.
//!
//! The engine resolves every field of every item as a future of its own, which costs many times what writing the answer
//! does. A [`Plan`] reads the selection once and writes all items in one go; the engine passes the bytes on as they are.
//! Types, introspection and validation are those of the item. What the engine would do beyond that inside an item is
//! done before: in the trees that it is given (`document/`) a selection holds fields alone, each response key once, so that a
//! raw list never has to be merged.

use std::borrow::Cow;
use std::collections::HashSet;

use async_graphql::parser::types::{Field, Selection, SelectionSet};
use async_graphql::resolver_utils::EnumType;
use async_graphql::{ContextSelectionSet, OutputType, Positioned};
use tokio::task::yield_now;

use crate::domain::Timestamp;

/// An object whose fields are leaves or other such objects. `item!` makes it (`schema/item.rs`).
pub(crate) trait RawItem: OutputType {
    /// A field, with what is selected of it.
    type Field: Send + Sync;

    /// The field that is selected; `__typename` is not asked for.
    fn field(selected: &Selected<'_>) -> Option<Self::Field>;

    /// Writes the field's value as JSON, as the engine would.
    fn write_field(&self, field: &Self::Field, out: &mut Json);
}

/// A value that a field of such an object may have.
pub(crate) trait RawValue {
    /// What is selected of it, read once for all of a list.
    type Plan: Send + Sync;

    /// Reads it.
    fn plan(selected: &Selected<'_>) -> Option<Self::Plan>;

    /// Writes the value as JSON, as the engine would.
    fn write(&self, plan: &Self::Plan, out: &mut Json);
}

/// Writing so many items takes a tenth of a millisecond or two.
const STEP: usize = 1_000;

/// A selection on items of one type, read once for all of them.
pub(crate) struct Plan<T: RawItem> {
    /// The key with what stands before and after it, and the field; `None` for the type's name.
    fields: Vec<(String, Option<T::Field>)>,
    type_name: Cow<'static, str>,
}

/// A field as a document selects it.
pub(crate) struct Selected<'a> {
    field: &'a Field,
    context: &'a ContextSelectionSet<'a>,
}

impl<T: RawItem> RawValue for T {
    type Plan = Plan<T>;

    fn plan(selected: &Selected<'_>) -> Option<Plan<T>> {
        selected.plan()
    }

    fn write(&self, plan: &Plan<T>, out: &mut Json) {
        out.object(self, plan);
    }
}

impl<V: RawValue> RawValue for Option<V> {
    type Plan = V::Plan;

    fn plan(selected: &Selected<'_>) -> Option<V::Plan> {
        V::plan(selected)
    }

    fn write(&self, plan: &V::Plan, out: &mut Json) {
        match self {
            Some(value) => value.write(plan, out),
            None => out.null(),
        }
    }
}

impl Selected<'_> {
    /// Whether it is the field that is declared as `name`: `sent_count` is selected as `sentCount`.
    pub(crate) fn is(&self, name: &str) -> bool {
        let words = self.field.name.node.chars().flat_map(|letter| {
            let begins_a_word = letter.is_ascii_uppercase();
            begins_a_word.then_some('_').into_iter().chain([letter.to_ascii_lowercase()])
        });
        words.eq(name.chars())
    }

    /// What is selected on the objects that the field answers, if all of it can be written.
    pub(crate) fn plan<T: RawItem>(&self) -> Option<Plan<T>> {
        Plan::read(&self.field.selection_set.node, self.context)
    }
}

impl<T: RawItem> Plan<T> {
    /// `None` if anything in the selection is not known here, or is no field that is selected once.
    pub(crate) fn read(set: &SelectionSet, context: &ContextSelectionSet<'_>) -> Option<Self> {
        let mut keys = HashSet::with_capacity(set.items.len());
        let fields = set.items.iter().enumerate().map(|(at, selection)| {
            let Selection::Field(Positioned { node: field, .. }) = &selection.node else { return None };
            let (before, key) = (if at == 0 { '{' } else { ',' }, field.response_key().node.as_str());
            if !field.directives.is_empty() || !keys.insert(key) {
                return None;
            }
            let selected = Selected { field, context };
            let known = if field.name.node == "__typename" { None } else { Some(T::field(&selected)?) };
            Some((format!("{before}\"{key}\":"), known))
        });
        Some(Self { fields: fields.collect::<Option<_>>()?, type_name: T::type_name() })
    }

    /// The items as JSON, unless it is as long as `room` or longer. Others are let in between each [`STEP`] of them.
    pub(crate) async fn list(&self, items: &[T], room: usize) -> Option<Vec<u8>> {
        if self.least_length(items.len()) > room {
            return None;
        }
        let usual = items.len().min(STEP).saturating_mul(self.least_bytes() + 22 * self.fields.len() + 1) + 2;
        let mut json = Json { text: Vec::with_capacity(usual.min(room)), day: None, instant: None };
        json.text.push(b'[');
        for (nth, step) in items.chunks(STEP).enumerate() {
            if nth == 1 {
                // The others are about as long as the first. What is reserved and not used would take memory all the same.
                let length = (json.text.len() / STEP + 4).saturating_mul(items.len());
                json.text.reserve_exact(length.min(room).saturating_sub(json.text.len()));
            }
            if nth > 0 {
                yield_now().await;
            }
            for item in step {
                if json.text.len() > 1 {
                    json.text.push(b',');
                }
                json.object(item, self);
                if json.text.len() >= room {
                    return None;
                }
            }
        }
        json.text.push(b']');
        Some(json.text)
    }

    /// The bytes that no list of so many items takes less than.
    pub(crate) fn least_length(&self, n: usize) -> usize {
        n.saturating_mul(self.least_bytes())
    }

    /// The bytes that no item takes less than: its keys and the shortest values.
    fn least_bytes(&self) -> usize {
        self.fields.iter().map(|(key, _)| key.len() + 1).sum::<usize>() + 2
    }
}

/// JSON being written.
#[derive(Debug)]
pub(crate) struct Json {
    text: Vec<u8>,
    /// The last day written, since neighbours share it: days since the epoch, and its text.
    day: Option<(i64, String)>,
    /// The last instant written that is no whole second: rows of one slice share when it was fetched.
    instant: Option<(Timestamp, String)>,
}

impl Json {
    /// An object with what is selected of it.
    pub(crate) fn object<T: RawItem>(&mut self, item: &T, plan: &Plan<T>) {
        if plan.fields.is_empty() {
            self.text.push(b'{');
        }
        for (key, field) in &plan.fields {
            self.text.extend_from_slice(key.as_bytes());
            match field {
                Some(field) => item.write_field(field, self),
                None => self.plain(&plan.type_name),
            }
        }
        self.text.push(b'}');
    }

    /// A list of objects within an object.
    pub(crate) fn array<T: RawItem>(&mut self, items: &[T], plan: &Plan<T>) {
        self.text.push(b'[');
        for (at, item) in items.iter().enumerate() {
            if at > 0 {
                self.text.push(b',');
            }
            self.object(item, plan);
        }
        self.text.push(b']');
    }

    pub(crate) fn null(&mut self) {
        self.text.extend_from_slice(b"null");
    }

    pub(crate) fn string(&mut self, text: &str) {
        self.serialize(&text);
    }

    /// Text without anything to escape: digits, and names of the schema.
    pub(crate) fn plain(&mut self, text: &str) {
        self.text.push(b'"');
        self.text.extend_from_slice(text.as_bytes());
        self.text.push(b'"');
    }

    pub(crate) fn flag(&mut self, flag: bool) {
        self.serialize(&flag);
    }

    pub(crate) fn integer(&mut self, number: i64) {
        self.serialize(&number);
    }

    pub(crate) fn float(&mut self, number: f64) {
        self.serialize(&number);
    }

    /// A value of an enum.
    pub(crate) fn choice<E: EnumType>(&mut self, value: E) {
        match E::items().iter().find(|item| item.value == value) {
            Some(item) => self.plain(item.name),
            None => self.null(),
        }
    }

    /// Writes into memory, which never fails for text and numbers.
    fn serialize(&mut self, value: &impl serde::Serialize) {
        if serde_json::to_writer(&mut self.text, value).is_err() {
            self.null();
        }
    }

    /// An instant as RFC 3339 in UTC, as [`Timestamp`] prints it.
    pub(crate) fn instant(&mut self, at: Timestamp) {
        const DAY_MS: i64 = 86_400_000;
        let (day, ms) = (at.as_ms().div_euclid(DAY_MS), at.as_ms().rem_euclid(DAY_MS));
        if ms % 1_000 != 0 {
            let known = self.instant.take().filter(|(known, _)| *known == at);
            let (_, text) = known.unwrap_or_else(|| (at, at.to_string()));
            self.plain(&text);
            self.instant = Some((at, text));
            return;
        }
        if self.day.as_ref().is_none_or(|(known, _)| *known != day) {
            let midnight = Timestamp::from_ms(day * DAY_MS).to_string();
            self.day = Some((day, midnight.split('T').next().unwrap_or_default().to_owned()));
        }
        let Some((_, date)) = &self.day else { return self.null() };
        let secs = ms / 1_000;
        let digits = |n: i64| [b'0' + u8::try_from(n / 10).unwrap_or(0), b'0' + u8::try_from(n % 10).unwrap_or(0)];
        let ([h1, h2], [m1, m2], [s1, s2]) = (digits(secs / 3_600), digits(secs / 60 % 60), digits(secs % 60));
        self.text.push(b'"');
        self.text.extend_from_slice(date.as_bytes());
        self.text.extend_from_slice(&[b'T', h1, h2, b':', m1, m2, b':', s1, s2, b'Z', b'"']);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn instants_are_written_as_they_are_printed() {
        let mut json = Json { text: Vec::new(), day: None, instant: None };
        let instants = [
            "2026-11-22T10:20:30Z",
            "2026-11-22T23:59:59Z",
            "1969-12-31T23:59:59Z",
            "2026-01-01T00:00:00.5Z",
            "0001-01-01T00:00:00Z",
        ];
        for text in instants {
            let at = Timestamp::parse_rfc3339(text).unwrap();
            json.text.clear();
            json.instant(at);
            assert_eq!(String::from_utf8(json.text.clone()).unwrap(), format!("\"{at}\""));
        }
    }
}
