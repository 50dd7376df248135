//! Errors as callers see them: message and `extensions`.

use std::sync::Arc;

use async_graphql::{Error, ErrorExtensionValues, Name, Pos, ScalarType, ServerError, Value};

use super::scalars::IsoDuration;
use crate::error::{Amount, WeirError};

/// What a nullable field answers: a value, null, or null and an error. `Option<Result<_>>` and not the other way round,
/// so that one vendor's failure never nulls the other's data (docs/decisions/0001-engine-version.md).
pub(super) type Nullable<T> = Option<Result<T, Error>>;

/// Why a field failed. Its conversions keep the `extensions`, which the engine's own conversion from any error drops.
#[derive(Debug)]
pub(super) struct Failure(Error);

/// A failed field is null with its error beside it; one without an answer is null alone.
pub(super) async fn nullable<T>(field: impl Future<Output = Result<Option<T>, Failure>>) -> Nullable<T> {
    field.await.map_err(|Failure(error)| error).transpose()
}

/// A failed entry of a list: null with its error beside it.
pub(super) fn failed(error: &WeirError) -> Error {
    to_graphql(error)
}

/// A request that is refused as a whole, for something at a place of its document.
pub(super) fn refused(error: &WeirError, at: Option<Pos>) -> ServerError {
    let Error { message, extensions, .. } = to_graphql(error);
    ServerError { extensions, ..ServerError::new(message, at) }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Self {
        Self(error)
    }
}

impl From<WeirError> for Failure {
    fn from(error: WeirError) -> Self {
        Self(to_graphql(&error))
    }
}

impl From<Arc<WeirError>> for Failure {
    fn from(error: Arc<WeirError>) -> Self {
        Self(to_graphql(&error))
    }
}

/// The error's `message` and `extensions` in one object.
pub(super) fn to_value(error: &WeirError) -> Value {
    let message = (Name::new("message"), Value::from(error.message.as_str()));
    Value::Object(std::iter::once(message).chain(extensions(error)).collect())
}

fn to_graphql(error: &WeirError) -> Error {
    let mut values = ErrorExtensionValues::default();
    extensions(error).for_each(|(name, value)| values.set(name, value));
    Error { extensions: Some(values), ..Error::new(error.message.clone()) }
}

fn extensions(error: &WeirError) -> impl Iterator<Item = (Name, Value)> {
    let retry_after = error.retry_after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    let values = [
        ("code", Some(Value::from(error.code.as_str()))),
        ("vendor", error.vendor.map(|vendor| Value::from(vendor.as_str()))),
        ("account", error.account.as_ref().map(|account| Value::from(account.name()))),
        ("vendorCode", error.vendor_code.as_deref().map(Value::from)),
        ("vendorRequestId", error.vendor_request_id.as_deref().map(Value::from)),
        ("retryable", Some(Value::from(error.retryable))),
        ("retryAfterMs", retry_after.map(Value::from)),
        ("limitName", error.limit.as_ref().and_then(|limit| limit.name).map(|name| Value::from(name.as_str()))),
        ("limit", error.limit.as_ref().map(|limit| amount(limit.most))),
        ("actual", error.limit.as_ref().and_then(|limit| limit.actual).map(amount)),
    ];
    values.into_iter().filter_map(|(name, value)| Some((Name::new(name), value?)))
}

/// A number, or a length of time as the schema has it.
fn amount(amount: Amount) -> Value {
    match amount {
        Amount::Count(count) => Value::from(count),
        Amount::Length(length) => ScalarType::to_value(&IsoDuration(length)),
    }
}
