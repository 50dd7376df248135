//! What a request is answered, and how it is written as JSON.

use async_graphql::{ErrorExtensionValues, Response, ServerError, Value};

use super::cost;
use super::error;
use crate::document::Complaint;
use crate::domain::LimitName;
use crate::error::{Code, WeirError};
use crate::query::Lasting;

/// One answer tells of no more errors than these.
pub(super) const MAX_ERRORS: usize = 100;

/// The answer to one request: of the engine, or a refusal in the same shape. Every error has a code, and
/// `extensions.weir` is always there.
#[derive(Debug)]
pub struct Answer {
    response: Response,
    lasting: Option<Lasting>,
    is_refused: bool,
    limit: Option<LimitName>,
}

impl Answer {
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
        Self { response, lasting, is_refused: false, limit: None }
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
        let mut json = Vec::with_capacity(self.least_length());
        json.push(b'{');
        if !self.response.errors.is_empty() {
            json.extend_from_slice(b"\"errors\":");
            write(&self.response.errors, &mut json);
            json.push(b',');
        }
        if !self.is_refused() {
            json.extend_from_slice(b"\"data\":");
            write_value(&self.response.data, &mut json);
            json.push(b',');
        }
        json.extend_from_slice(b"\"extensions\":");
        write(&self.response.extensions, &mut json);
        json.push(b'}');
        json
    }

    /// A little more than the longest list takes.
    fn least_length(&self) -> usize {
        fn raw(value: &Value) -> usize {
            match value {
                Value::Binary(raw) => raw.len(),
                Value::Object(fields) => fields.values().map(raw).sum(),
                _ => 0,
            }
        }
        raw(&self.response.data) + 512
    }
}

/// Writes what the engine answered. Bytes are what a [`RawList`](super::item::RawList) has written: no scalar of the
/// schema has any.
fn write_value(value: &Value, json: &mut Vec<u8>) {
    match value {
        Value::Binary(raw) => json.extend_from_slice(raw),
        Value::Object(fields) => {
            let mut separator = b'{';
            for (name, value) in fields {
                json.push(separator);
                write(name, json);
                json.push(b':');
                write_value(value, json);
                separator = b',';
            }
            json.extend_from_slice(if fields.is_empty() { b"{}" } else { b"}" });
        }
        Value::List(items) => {
            json.push(b'[');
            for (at, item) in items.iter().enumerate() {
                if at > 0 {
                    json.push(b',');
                }
                write_value(item, json);
            }
            json.push(b']');
        }
        leaf => write(leaf, json),
    }
}

/// Writes into memory, which never fails for text, numbers and maps of them.
fn write(value: &impl serde::Serialize, json: &mut Vec<u8>) {
    if serde_json::to_writer(&mut *json, value).is_err() {
        json.extend_from_slice(b"null");
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
    use async_graphql::{PathSegment, value};
    use serde_json::json;

    fn written(response: Response) -> serde_json::Value {
        serde_json::from_slice(&Answer::new(response, None, 0).to_json()).unwrap()
    }

    #[test]
    fn values_are_written_as_the_engine_writes_them() {
        let data = value!({ "a": [], "b": {}, "c": [1, 2.5, null, true, "\"é\n"], "d": { "e": [{ "f": "g" }] } });
        let mut json = Vec::new();
        write_value(&data, &mut json);
        assert_eq!(String::from_utf8(json).unwrap(), serde_json::to_string(&data).unwrap());
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
