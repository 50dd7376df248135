//! Who asks: the key or token of a request becomes its caller, once, before all routes.
//!
//! Every path asks for one but those that probes of the process use. A route finds the caller among the notes of the request;
//! where there is none it answers nothing, so that a route that is added later cannot forget to ask.

use std::borrow::Cow;
use std::sync::Arc;

use axum::extract::FromRequestParts;
use axum::http::request::Parts;
use axum::http::{Extensions, HeaderMap, HeaderName, HeaderValue, Method, Request, StatusCode, header};
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::access_log::RequestId;
use super::by_door;
use crate::access::{Access, Refused};
use crate::domain::Caller;
use crate::error::{Code, WeirError};

/// Where a key may stand alone.
pub(super) const API_KEY: HeaderName = HeaderName::from_static("x-api-key");
/// What is said with a 401. Browsers ask for a password with Basic.
const CHALLENGES: [&str; 2] = ["Bearer realm=\"weir\"", "Basic realm=\"weir\", charset=\"UTF-8\""];

/// Lets requests in.
#[derive(Debug, Clone)]
pub(super) struct Admission(pub(super) Arc<Access>);

impl Admission {
    /// Notes who asks, or says why they are not let in. `None` where the issuer's keys have to be fetched first.
    pub(super) fn admit_now<B>(&self, request: &mut Request<B>) -> Option<Result<(), Refused>> {
        if is_open(request) {
            return Some(Ok(()));
        }
        let admitted = self.0.admit_now(|| credential(request.headers()))?;
        Some(admitted.map(|caller| note(caller, request)))
    }

    /// The same, however long it takes.
    pub(super) async fn admit<B>(&self, request: &mut Request<B>) -> Result<(), Refused> {
        let credential = credential(request.headers()).map(Cow::into_owned);
        self.0.admit(credential.as_deref()).await.map(|caller| note(caller, request))
    }
}

fn note<B>(caller: Caller, request: &Request<B>) {
    if let Some(id) = request.extensions().get::<RequestId>() {
        id.notes().comes_from(caller);
    }
}

/// Whether anybody may ask this: probes, and what a browser asks before it asks.
fn is_open<B>(request: &Request<B>) -> bool {
    request.uri().path().starts_with("/health/") || request.method() == Method::OPTIONS
}

/// The key or token that a request shows.
fn credential(headers: &HeaderMap) -> Option<Cow<'_, str>> {
    if let Some(key) = only(headers, &API_KEY) {
        return Some(Cow::Borrowed(key.trim()));
    }
    let (scheme, value) = only(headers, &header::AUTHORIZATION)?.trim().split_once(' ')?;
    let value = value.trim();
    if scheme.eq_ignore_ascii_case("bearer") {
        return Some(Cow::Borrowed(value));
    }
    if !scheme.eq_ignore_ascii_case("basic") {
        return None;
    }
    let text = String::from_utf8(STANDARD.decode(value).ok()?).ok()?;
    text.split_once(':').map(|(_, password)| Cow::Owned(password.to_owned()))
}

/// The value of a header; `None` where it is sent twice: who would say which of them counts?
fn only<'h>(headers: &'h HeaderMap, name: &HeaderName) -> Option<&'h str> {
    let mut values = headers.get_all(name).iter();
    let first = values.next()?;
    values.next().is_none().then(|| first.to_str().ok())?
}

/// The answer to a request that was not let in.
pub(super) fn refuse<B>(refused: Refused, request: &Request<B>) -> Response {
    let error = WeirError::new(Code::Unauthenticated, refused.to_string());
    let mut response = by_door::refuse(request, StatusCode::UNAUTHORIZED, &error);
    for challenge in CHALLENGES {
        response.headers_mut().append(header::WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
    }
    response
}

/// Who asks, if anybody had to say so.
pub(super) fn noted(extensions: &Extensions) -> Option<&Caller> {
    extensions.get::<RequestId>().and_then(|id| id.notes().caller())
}

/// Who asks, as [`Admission`] has noted it.
pub(super) fn caller(extensions: &Extensions) -> Result<Caller, WeirError> {
    let unknown = || WeirError::new(Code::Unauthenticated, Refused::Nothing.to_string());
    noted(extensions).cloned().ok_or_else(unknown)
}

/// The caller, for routes.
#[derive(Debug)]
pub(super) struct Asking(pub(super) Caller);

impl<S: Sync> FromRequestParts<S> for Asking {
    type Rejection = Response;

    async fn from_request_parts(parts: &mut Parts, _: &S) -> Result<Self, Response> {
        let unknown =
            |error| by_door::refuse(&Request::from_parts(parts.clone(), ()), StatusCode::UNAUTHORIZED, &error);
        caller(&parts.extensions).map(Self).map_err(unknown)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(pairs: &[(&str, &str)]) -> Option<String> {
        let mut headers = HeaderMap::new();
        for (name, value) in pairs {
            headers.append(HeaderName::try_from(*name).unwrap(), HeaderValue::try_from(*value).unwrap());
        }
        credential(&headers).map(Cow::into_owned)
    }

    #[test]
    fn a_key_comes_in_three_ways() {
        for pairs in [
            &[("authorization", "Bearer weir_k")][..],
            &[("authorization", "bearer  weir_k ")],
            &[("x-api-key", "weir_k")],
            // anybody:weir_k
            &[("authorization", "Basic YW55Ym9keTp3ZWlyX2s=")],
            &[("authorization", "Basic cHJveHk6b3du"), ("x-api-key", "weir_k")],
        ] {
            assert_eq!(shown(pairs).as_deref(), Some("weir_k"), "{pairs:?}");
        }
    }

    #[test]
    fn what_is_no_credential_is_none() {
        for pairs in [
            &[][..],
            &[("authorization", "weir_k")],
            &[("authorization", "Digest weir_k")],
            &[("authorization", "Basic %%%")],
            &[("authorization", "Basic d2Vpcg==")],
            &[("authorization", "Bearer a"), ("authorization", "Bearer weir_k")],
            &[("cookie", "key=weir_k")],
        ] {
            assert_eq!(shown(pairs), None, "{pairs:?}");
        }
    }
}
