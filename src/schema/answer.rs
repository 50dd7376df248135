//! What a request is answered, and how it is written as JSON.

use std::sync::Arc;

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value};
use bytes::Bytes;

use super::cost;
use super::error;
use crate::document::Complaint;
use crate::domain::{LimitName, Reservation};
use crate::error::{Code, WeirError};
use crate::query::Lasting;

/// One answer tells of no more errors than these.
pub(super) const MAX_ERRORS: usize = 100;
/// A list of so many bytes is a piece of its own: it is sent from where it was written.
const LONG_LIST: usize = 16 << 10;

/// The answer to one request: of the engine, or a refusal in the same shape. Every error has a code, and
/// `extensions.weir` is always there.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    lasting: Option<Lasting>,
    is_refused: bool,
    limit: Option<LimitName>,
    reserved: Option<Arc<Reservation>>,
}

impl Answer {
    /// So much of an answer is not counted where memory for all answers is bounded: systems take about as much before
    /// anybody reads, and whoever asks for little is always answered.
    pub const SMALL: usize = 64 << 10;

    /// What the engine answered, until when it may be given again, and how many errors are left out of it already.
    pub(super) fn new(mut response: Response, lasting: Option<Lasting>, mut n_untold: usize) -> Self {
        response.errors.iter_mut().for_each(name_code);
        n_untold += response.errors.len().saturating_sub(MAX_ERRORS);
        response.errors.truncate(MAX_ERRORS);
        if n_untold > 0 {
            let error = WeirError::new(Code::TooExpensive, format!("{n_untold} more errors are not told"));
            let actual = MAX_ERRORS.saturating_add(n_untold);
            response.errors.push(error::refused(&error.limited(MAX_ERRORS, Some(actual)), None));
        }
        response.extensions.entry("weir".to_owned()).or_insert_with(cost::none);
        Self { response, lasting, is_refused: false, limit: None, reserved: None }
    }

    /// The same answer, for which memory is reserved.
    pub(super) fn holding(self, reserved: Arc<Reservation>) -> Self {
        Self { reserved: Some(reserved), ..self }
    }

    /// The memory that is reserved for what was written of it, and is held as long as its pieces are.
    #[must_use]
    pub fn into_reserved(self) -> Option<Arc<Reservation>> {
        self.reserved
    }

    /// The answer to a request that was not run.
    #[must_use]
    pub fn refusal(error: &WeirError) -> Self {
        let response = Response::from_errors(vec![error::refused(error, None)]);
        Self { is_refused: true, limit: error.limit_name(), ..Self::new(response, None, 0) }
    }

    /// The answer to a document, or to values sent with it, that cannot be run.
    #[must_use]
    pub fn refused(complaints: &[Complaint]) -> Self {
        let errors = complaints.iter().take(MAX_ERRORS);
        let errors = errors.map(|complaint| error::refused(&complaint.error, complaint.at)).collect();
        let n_untold = complaints.len().saturating_sub(MAX_ERRORS);
        let limit = complaints.iter().find_map(|complaint| complaint.error.limit_name());
        Self { is_refused: true, limit, ..Self::new(Response::from_errors(errors), None, n_untold) }
    }

    /// The limit that refused it, if one did.
    #[must_use]
    pub fn limit(&self) -> Option<LimitName> {
        self.limit
    }

    /// Whether nothing was executed.
    #[must_use]
    pub fn is_refused(&self) -> bool {
        self.is_refused
    }

    /// Whether an error of this code is in it.
    #[must_use]
    pub fn has(&self, code: Code) -> bool {
        self.response.errors.iter().any(|error| code_of(error) == Some(code.as_str()))
    }

    /// The code of the first error, if there is one.
    #[must_use]
    pub fn code(&self) -> Option<Code> {
        let first = code_of(self.response.errors.first()?);
        Code::ALL.into_iter().find(|code| Some(code.as_str()) == first)
    }

    /// What failed, if anything did.
    #[must_use]
    pub fn errors(&self) -> &[ServerError] {
        &self.response.errors
    }

    /// Until when the same request would be answered the same; `None` if that is not known.
    #[must_use]
    pub fn lasting(&self) -> Option<&Lasting> {
        self.lasting.as_ref()
    }

    /// The answer as a JSON object: `errors` if there are any, `data` unless nothing was executed, `extensions`.
    #[must_use]
    pub fn to_json(&self) -> Vec<u8> {
        self.pieces().concat()
    }

    /// The same in pieces. Long lists are not copied, so that an answer is held once.
    #[must_use]
    pub fn pieces(&self) -> Vec<Bytes> {
        let mut json = Writing { pieces: Vec::with_capacity(1), text: Vec::with_capacity(self.least_length()) };
        json.text.push(b'{');
        if !self.response.errors.is_empty() {
            json.text.extend_from_slice(b"\"errors\":");
            json.write(&self.response.errors);
            json.text.push(b',');
        }
        if !self.is_refused() {
            json.text.extend_from_slice(b"\"data\":");
            json.value(&self.response.data);
            json.text.push(b',');
        }
        json.text.extend_from_slice(b"\"extensions\":");
        json.write(&self.response.extensions);
        json.text.push(b'}');
        json.end()
    }

    /// A little more than its short lists take.
    fn least_length(&self) -> usize {
        fn raw(value: &Value) -> usize {
            match value {
                Value::Binary(raw) if raw.len() < LONG_LIST => raw.len(),
                Value::Object(fields) => fields.values().map(raw).sum(),
                _ => 0,
            }
        }
        raw(&self.response.data) + 512
    }
}

/// JSON being written.
struct Writing {
    pieces: Vec<Bytes>,
    /// What comes after them.
    text: Vec<u8>,
}

impl Writing {
    /// Writes what the engine answered. Bytes are what a [`RawList`](super::item::RawList) has written: no scalar of the
    /// schema has any.
    fn value(&mut self, value: &Value) {
        match value {
            Value::Binary(raw) if raw.len() >= LONG_LIST => {
                self.end_piece();
                self.pieces.push(raw.clone());
            }
            Value::Binary(raw) => self.text.extend_from_slice(raw),
            Value::Object(fields) => {
                let mut separator = b'{';
                for (name, value) in fields {
                    self.text.push(separator);
                    self.write(name);
                    self.text.push(b':');
                    self.value(value);
                    separator = b',';
                }
                self.text.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
            }
            Value::List(items) => {
                self.text.push(b'[');
                for (at, item) in items.iter().enumerate() {
                    if at > 0 {
                        self.text.push(b',');
                    }
                    self.value(item);
                }
                self.text.push(b']');
            }
            leaf => self.write(leaf),
        }
    }

    /// Writes into memory, which never fails for text, numbers and maps of them.
    fn write(&mut self, value: &impl serde::Serialize) {
        if serde_json::to_writer(&mut self.text, value).is_err() {
            self.text.extend_from_slice(b"null");
        }
    }

    fn end_piece(&mut self) {
        if !self.text.is_empty() {
            self.pieces.push(Bytes::from(std::mem::take(&mut self.text)));
        }
    }

    fn end(mut self) -> Vec<Bytes> {
        self.end_piece();
        self.pieces
    }
}

fn code_of(error: &ServerError) -> Option<&str> {
    match error.extensions.as_ref()?.get("code")? {
        Value::String(code) => Some(code),
        Value::Enum(code) => Some(code),
        _ => None,
    }
}

/// Names the code of an error that has none: the engine's own, which are about what was sent.
fn name_code(error: &mut ServerError) {
    if code_of(error).is_none() {
        let extensions = error.extensions.get_or_insert_with(ErrorExtensionValues::default);
        extensions.set("code", Code::BadUserInput.as_str());
        extensions.set("retryable", false);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use async_graphql::{Name, PathSegment, value};
    use serde_json::json;

    fn written(response: Response) -> serde_json::Value {
        serde_json::from_slice(&Answer::new(response, None, 0).to_json()).unwrap()
    }

    #[test]
    fn values_are_written_as_the_engine_writes_them() {
        let data = value!({ "a": [], "b": {}, "c": [1, 2.5, null, true, "\"é\n"], "d": { "e": [{ "f": "g" }] } });
        let mut json = Writing { pieces: Vec::new(), text: Vec::new() };
        json.value(&data);
        assert_eq!(json.end().concat(), serde_json::to_vec(&data).unwrap());
    }

    #[test]
    fn long_lists_are_sent_from_where_they_were_written() {
        let list = |length: usize| Bytes::from(format!("[\"{}\"]", "x".repeat(length)));
        let (short, long) = (list(100), list(LONG_LIST));
        let fields = [("a", &long), ("b", &short), ("c", &long)];
        let fields = fields.map(|(name, list)| (Name::new(name), Value::Binary(list.clone())));
        let answer = Answer::new(Response::new(Value::Object(fields.into_iter().collect())), None, 0);
        let pieces = answer.pieces();
        let shared = pieces.iter().filter(|piece| piece.as_ptr() == long.as_ptr()).count();
        assert_eq!((pieces.len(), shared), (5, 2), "what is between them, and the end, are pieces too");
        let told: serde_json::Value = serde_json::from_slice(&answer.to_json()).unwrap();
        assert_eq!(told["data"]["c"][0].as_str().map(str::len), Some(LONG_LIST));
        assert_eq!(told["data"]["b"][0].as_str().map(str::len), Some(100));
    }

    #[test]
    fn data_is_left_out_only_where_nothing_was_executed() {
        let failed = || ServerError::new("no", None).with_path(vec![PathSegment::Field("a".to_owned())]);
        let refused: serde_json::Value =
            serde_json::from_slice(&Answer::refusal(&WeirError::bad_input("what?")).to_json()).unwrap();
        assert_eq!(refused.get("data"), None);
        assert_eq!(written(Response::from_errors(vec![failed()])).get("data"), Some(&json!(null)));
        let mut partial = Response::new(value!({ "a": null }));
        partial.errors.push(failed());
        let partial = written(partial);
        assert_eq!(partial["data"], json!({ "a": null }));
        assert_eq!(partial["errors"][0]["extensions"], json!({ "code": "BAD_USER_INPUT", "retryable": false }));
        assert_eq!(partial["extensions"]["weir"]["upstreamCalls"]["ALIBABA_CAMS"], 0);
    }

    #[test]
    fn what_the_engine_reports_as_cost_is_left_alone() {
        let counted = written(Response::new(value!({})).extension("weir", value!({ "cacheHits": 3 })));
        assert_eq!(counted, json!({ "data": {}, "extensions": { "weir": { "cacheHits": 3 } } }));
    }
}
