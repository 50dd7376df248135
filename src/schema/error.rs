//! Errors as callers see them: message and `extensions`.

use std::sync::Arc;

use async_graphql::{Error, ErrorExtensionValues, ServerError};

use crate::error::WeirError;

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

/// A request that is refused as a whole.
pub(super) fn refused(error: &WeirError) -> ServerError {
    let Error { message, extensions, .. } = to_graphql(error);
    ServerError { extensions, ..ServerError::new(message, None) }
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

fn to_graphql(error: &WeirError) -> Error {
    let mut extensions = ErrorExtensionValues::default();
    extensions.set("code", error.code.as_str());
    if let Some(vendor) = error.vendor {
        extensions.set("vendor", vendor.as_str());
    }
    if let Some(account) = &error.account {
        extensions.set("account", account.name());
    }
    if let Some(code) = &error.vendor_code {
        extensions.set("vendorCode", code.as_str());
    }
    if let Some(id) = &error.vendor_request_id {
        extensions.set("vendorRequestId", id.as_str());
    }
    extensions.set("retryable", error.retryable);
    if let Some(after) = error.retry_after {
        extensions.set("retryAfterMs", u64::try_from(after.as_millis()).unwrap_or(u64::MAX));
    }
    Error { extensions: Some(extensions), ..Error::new(error.message.clone()) }
}
