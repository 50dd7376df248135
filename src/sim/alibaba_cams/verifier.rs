//! Checks Alibaba Cloud's two signature schemes: ACS3-HMAC-SHA256 in headers, and the legacy HMAC-SHA1 in the query.

use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::Request;

use crate::domain::Timestamp;
use crate::sim::signature::{
    Keys, Nonces, TokenFault, VendorRefusal, Verified, authorization_fields, canonical_query, canonical_request,
    encoded, form_pairs, header, hex, hmac_sha1, hmac_sha256, is_same, query_pairs, sha256_hex, value,
};

const ALGORITHM: &str = "ACS3-HMAC-SHA256";

/// How far a request's date may be from the vendor's clock, either way (text of `InvalidTimeStamp.Expired`).
const VALIDITY: Duration = Duration::from_mins(15);

/// Accepts a request that is signed by one of `keys`, dated within 15 minutes of `now`, with a nonce not seen before.
///
/// # Errors
/// The refusal that the vendor's gateway answers.
pub fn verify(
    request: &Request<Bytes>,
    keys: &Keys,
    now: Timestamp,
    nonces: &Nonces,
) -> Result<Verified, VendorRefusal> {
    let query = query_pairs(request);
    match header(request, "authorization") {
        Some(authorization) => verify_v3(request, &authorization, keys, now, nonces),
        None if value(&query, "Signature").is_some() => verify_v1(request, query, keys, now, nonces),
        None => Err(incomplete("")),
    }
}

/// The key id that a request claims, unchecked.
pub(super) fn claimed_key(request: &Request<Bytes>) -> String {
    let authorization = header(request, "authorization").unwrap_or_default();
    let fields = authorization_fields(&authorization, ALGORITHM).unwrap_or_default();
    match fields.get("Credential") {
        Some(key_id) => (*key_id).to_owned(),
        None => value(&query_pairs(request), "AccessKeyId").unwrap_or_default().to_owned(),
    }
}

fn verify_v3(
    request: &Request<Bytes>,
    authorization: &str,
    keys: &Keys,
    now: Timestamp,
    nonces: &Nonces,
) -> Result<Verified, VendorRefusal> {
    let fields = authorization_fields(authorization, ALGORITHM).unwrap_or_default();
    let (Some(key_id), Some(signed), Some(signature)) =
        (fields.get("Credential"), fields.get("SignedHeaders"), fields.get("Signature"))
    else {
        return Err(incomplete(""));
    };
    let date = accepted_date(header(request, "x-acs-date").as_deref(), now)?;
    let nonce = header(request, "x-acs-signature-nonce").ok_or_else(|| missing("SignatureNonce"))?;
    let secret = keys.secret(key_id).ok_or_else(unknown_key)?;
    check_token(keys, key_id, header(request, "x-acs-security-token").as_deref())?;

    let names: Vec<&str> = signed.split(';').collect();
    let must_be_signed = |name: &str| name == "host" || name.starts_with("x-acs-");
    let present = request.headers().keys().map(http::HeaderName::as_str).chain(["host"]);
    let is_all_signed = present.filter(|name| must_be_signed(name)).all(|name| names.contains(&name));
    let headers: Option<Vec<_>> = names.iter().map(|name| Some(((*name).to_owned(), header(request, name)?))).collect();
    let Some(headers) = headers.filter(|_| is_all_signed) else {
        return Err(incomplete(signed));
    };

    let canonical = canonical_request(request, &headers);
    let text = format!("{ALGORITHM}\n{}", sha256_hex(canonical.as_bytes()));
    let expected = hmac_sha256(secret.as_bytes(), &text).map(|mac| hex(&mac));
    let body_hash = header(request, "x-acs-content-sha256").unwrap_or_default();
    let is_right = expected.is_some_and(|expected| is_same(&expected, signature))
        && is_same(&body_hash, &sha256_hex(request.body()));
    if !is_right {
        return Err(mismatch(&format!("{text}, server canonicalString is:{canonical}")));
    }
    spend_nonce(nonces, key_id, &nonce, now, date)
}

fn verify_v1(
    request: &Request<Bytes>,
    query: Vec<(String, String)>,
    keys: &Keys,
    now: Timestamp,
    nonces: &Nonces,
) -> Result<Verified, VendorRefusal> {
    let mut pairs = query;
    pairs.extend(form_body(request));
    let need = |name: &str| value(&pairs, name).ok_or_else(|| missing(name));
    let (key_id, nonce, signature) = (need("AccessKeyId")?, need("SignatureNonce")?, need("Signature")?);
    if need("SignatureMethod")? != "HMAC-SHA1" || need("SignatureVersion")? != "1.0" {
        return Err(incomplete(""));
    }
    let date = accepted_date(Some(need("Timestamp")?), now)?;
    let secret = keys.secret(key_id).ok_or_else(unknown_key)?;
    check_token(keys, key_id, value(&pairs, "SecurityToken"))?;

    let canonical = canonical_query(pairs.iter().filter(|(name, _)| name != "Signature"));
    let text = format!("{}&%2F&{}", request.method(), encoded(&canonical));
    let expected = hmac_sha1(format!("{secret}&").as_bytes(), &text).map(|mac| STANDARD.encode(mac));
    if !expected.is_some_and(|expected| is_same(&expected, signature)) {
        return Err(mismatch(&text));
    }
    spend_nonce(nonces, key_id, nonce, now, date)
}

/// The parameters of a form body; both vendors' SDKs send none, but the gateway takes them.
pub(super) fn form_body(request: &Request<Bytes>) -> Vec<(String, String)> {
    let is_form = header(request, "content-type").is_some_and(|t| t.starts_with("application/x-www-form-urlencoded"));
    if is_form { form_pairs(&String::from_utf8_lossy(request.body())) } else { Vec::new() }
}

fn accepted_date(text: Option<&str>, now: Timestamp) -> Result<Timestamp, VendorRefusal> {
    let text = text.ok_or_else(|| missing("Timestamp"))?;
    let is_shaped = text.len() == "2026-09-01T08:30:15Z".len() && text.ends_with('Z');
    let date = Timestamp::parse_rfc3339(text).ok().filter(|_| is_shaped).ok_or_else(|| {
        let message = "Specified time stamp or date value is not well formatted.";
        VendorRefusal::new(400, "InvalidTimeStamp.Format", message)
    })?;
    if date.since(now).max(now.since(date)) > VALIDITY {
        return Err(expired());
    }
    Ok(date)
}

fn check_token(keys: &Keys, key_id: &str, token: Option<&str>) -> Result<(), VendorRefusal> {
    match keys.token_fault(key_id, token) {
        None => Ok(()),
        Some(TokenFault::Missing) => Err(missing("SecurityToken")),
        Some(TokenFault::Wrong) => Err(VendorRefusal::new(
            403,
            "InvalidSecurityToken.MismatchWithAccessKey",
            "Specified SecurityToken mismatch with the AccessKey.",
        )),
    }
}

/// After the signature, so that a forged request cannot spend somebody else's nonce.
fn spend_nonce(
    nonces: &Nonces,
    key_id: &str,
    nonce: &str,
    now: Timestamp,
    date: Timestamp,
) -> Result<Verified, VendorRefusal> {
    if !nonces.is_new(key_id, nonce, now, date + VALIDITY) {
        let message = "Specified signature nonce was used already.";
        return Err(VendorRefusal::new(400, "SignatureNonceUsed", message));
    }
    Ok(Verified { key_id: key_id.to_owned(), region: String::new() })
}

pub(super) fn missing(parameter: &str) -> VendorRefusal {
    VendorRefusal::new(400, format!("Missing{parameter}"), format!("{parameter} is mandatory for this action."))
}

pub(super) fn expired() -> VendorRefusal {
    VendorRefusal::new(400, "InvalidTimeStamp.Expired", "Specified time stamp or date value is expired.")
}

fn unknown_key() -> VendorRefusal {
    VendorRefusal::new(404, "InvalidAccessKeyId.NotFound", "Specified access key is not found.")
}

fn incomplete(text: &str) -> VendorRefusal {
    let message = "The request signature does not conform to Aliyun standards. server string to sign is:";
    VendorRefusal::new(400, "IncompleteSignature", format!("{message}{text}"))
}

fn mismatch(text: &str) -> VendorRefusal {
    let message = "Specified signature is not matched with our calculation. server string to sign is:";
    VendorRefusal::new(400, "SignatureDoesNotMatch", format!("{message}{text}"))
}
