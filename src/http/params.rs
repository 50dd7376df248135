//! The parameters of a GraphQL request, from a JSON body or from the query string.

use std::collections::HashMap;

use async_graphql::{Value, Variables};
use serde::Deserialize;

use super::answer::Refusal;
use crate::domain::wording::echo;

/// The parameters as they were sent, each of the right type.
#[derive(Debug)]
pub(super) struct Params {
    pub(super) query: String,
    pub(super) operation_name: Option<String>,
    pub(super) variables: Variables,
    pub(super) extensions: HashMap<String, Value>,
}

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Sent {
    query: Option<String>,
    operation_name: Option<String>,
    variables: Option<Variables>,
    extensions: Option<HashMap<String, Value>>,
}

impl Params {
    /// Reads the body of a POST.
    pub(super) fn from_body(body: &[u8]) -> Result<Self, Refusal> {
        match body.iter().find(|byte| !byte.is_ascii_whitespace()) {
            None => Err(Refusal::malformed("the body is empty; send a JSON object with a \"query\"")),
            // A derived struct would read a list as its fields in order.
            Some(b'[') => Err(Refusal::malformed("batches are not supported; send one request at a time")),
            Some(_) => serde_json::from_slice::<Sent>(body)
                .map_err(|error| {
                    Refusal::malformed(format!("the body is not a GraphQL request: {}", echo(&error.to_string())))
                })?
                .checked(),
        }
    }

    /// Reads the query string of a GET. An empty parameter is one that was not sent.
    pub(super) fn from_query_string(text: &str) -> Result<Self, Refusal> {
        let mut named = HashMap::new();
        for (name, value) in form_urlencoded::parse(text.as_bytes()).filter(|(_, value)| !value.is_empty()) {
            if named.insert(name.clone(), value).is_some() {
                return Err(Refusal::malformed(format!("the parameter {} is there twice", echo(&name))));
            }
        }
        let mut take = |name: &str| named.remove(name).map(std::borrow::Cow::into_owned);
        Sent {
            query: take("query"),
            operation_name: take("operationName"),
            variables: take("variables").map(|json| parameter("variables", &json)).transpose()?,
            extensions: take("extensions").map(|json| parameter("extensions", &json)).transpose()?,
        }
        .checked()
    }
}

impl Sent {
    fn checked(self) -> Result<Params, Refusal> {
        Ok(Params {
            query: self.query.ok_or_else(|| Refusal::malformed("the parameter query is missing"))?,
            operation_name: self.operation_name,
            variables: self.variables.unwrap_or_default(),
            extensions: self.extensions.unwrap_or_default(),
        })
    }
}

fn parameter<'a, T: Deserialize<'a>>(name: &str, json: &'a str) -> Result<T, Refusal> {
    serde_json::from_str(json).map_err(|error| {
        Refusal::malformed(format!("the parameter {name} is not a JSON object: {}", echo(&error.to_string())))
    })
}
