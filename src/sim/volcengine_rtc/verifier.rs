//! Checks Volcengine's HMAC-SHA256 signature in headers. It has no nonce: a replay inside its validity is legal.

use std::time::Duration;

use bytes::Bytes;
use http::Request;

use crate::domain::Timestamp;
use crate::sim::signature::{
    Keys, TokenFault, VendorRefusal, Verified, authorization_fields, canonical_request, header, hex, hmac_sha256,
    is_same, sha256_hex,
};

const ALGORITHM: &str = "HMAC-SHA256";
const SERVICE: &str = "rtc";
const TERMINATOR: &str = "request";

/// How far `X-Date` may be from the vendor's clock, either way (the default of `X-Expires`, 900 s).
const VALIDITY: Duration = Duration::from_mins(15);

/// Accepts a request that is signed by one of `keys` for the service `rtc` in one of `regions`, dated within 900 s of
/// `now`.
///
/// # Errors
/// The refusal that the vendor's gateway answers.
pub fn verify(
    request: &Request<Bytes>,
    keys: &Keys,
    now: Timestamp,
    regions: &[String],
) -> Result<Verified, VendorRefusal> {
    let authorization = header(request, "authorization").ok_or_else(|| {
        VendorRefusal::new(401, "MissingAuthenticationToken", "Request is missing Authentication Token.")
            .numbered(100_003)
    })?;
    let fields = authorization_fields(&authorization, ALGORITHM).ok_or_else(invalid_authorization)?;
    let (Some(credential), Some(signed)) = (fields.get("Credential"), fields.get("SignedHeaders")) else {
        return Err(invalid_authorization());
    };
    let signature = fields.get("Signature").filter(|signature| !signature.is_empty()).ok_or_else(|| {
        VendorRefusal::new(401, "MissingSignature", "The request is missing signature.").numbered(100_005)
    })?;
    let parts: Vec<&str> = credential.split('/').collect();
    let &[key_id, date, region, service, terminator] = parts.as_slice() else {
        return Err(invalid_credential());
    };
    let x_date = header(request, "x-date").ok_or_else(|| {
        VendorRefusal::new(400, "MissingRequestInfo", "The request is missing X-Date information.").numbered(100_004)
    })?;
    let is_fresh = basic_date(&x_date).is_some_and(|at| at.since(now).max(now.since(at)) <= VALIDITY);
    if !is_fresh {
        return Err(expired());
    }
    let is_scope_right = x_date.get(..8) == Some(date)
        && regions.iter().any(|accepted| accepted == region)
        && (service, terminator) == (SERVICE, TERMINATOR);
    if !is_scope_right {
        return Err(invalid_credential());
    }
    let secret = keys.secret(key_id).ok_or_else(|| {
        let message = format!("The accesskey [{key_id}] included in the request is invalid.");
        VendorRefusal::new(401, "InvalidAccessKey", message).numbered(100_009)
    })?;
    let token = header(request, "x-security-token");
    match keys.token_fault(key_id, token.as_deref()) {
        None => {}
        Some(TokenFault::Missing) => return Err(invalid_token("missing")),
        Some(TokenFault::Wrong) => return Err(invalid_token("does not belong to the key")),
    }

    let names: Vec<&str> = signed.split(';').collect();
    let is_all_signed = names.contains(&"x-date") && (token.is_none() || names.contains(&"x-security-token"));
    let headers: Option<Vec<_>> = names.iter().map(|name| Some(((*name).to_owned(), value(request, name)?))).collect();
    let headers = headers.filter(|_| is_all_signed).ok_or_else(mismatch)?;
    let canonical = sha256_hex(canonical_request(request, &headers).as_bytes());
    let text = format!("{ALGORITHM}\n{x_date}\n{date}/{region}/{service}/{terminator}\n{canonical}");
    let expected = [date, region, service, terminator, &text]
        .iter()
        .try_fold(secret.as_bytes().to_vec(), |key, part| hmac_sha256(&key, part))
        .map(|mac| hex(&mac));
    let is_body_right =
        header(request, "x-content-sha256").is_none_or(|hash| is_same(&hash, &sha256_hex(request.body())));
    if !(is_body_right && expected.is_some_and(|expected| is_same(&expected, signature))) {
        return Err(mismatch());
    }
    Ok(Verified { key_id: key_id.to_owned(), region: region.to_owned() })
}

/// The key id and the region that a request claims, unchecked.
pub(super) fn claims(request: &Request<Bytes>) -> Verified {
    let authorization = header(request, "authorization").unwrap_or_default();
    let fields = authorization_fields(&authorization, ALGORITHM).unwrap_or_default();
    let mut parts = fields.get("Credential").copied().unwrap_or_default().split('/');
    let key_id = parts.next().unwrap_or_default().to_owned();
    Verified { key_id, region: parts.nth(1).unwrap_or_default().to_owned() }
}

/// A header as it is signed: the host without the ports that every client leaves out.
fn value(request: &Request<Bytes>, name: &str) -> Option<String> {
    let value = header(request, name)?;
    if name != "host" {
        return Some(value);
    }
    let bare = value.strip_suffix(":80").or_else(|| value.strip_suffix(":443")).map(str::to_owned);
    Some(bare.unwrap_or(value))
}

/// Reads `20260901T083015Z`.
fn basic_date(text: &str) -> Option<Timestamp> {
    let part =
        |range: std::ops::Range<usize>| text.get(range).filter(|part| part.bytes().all(|byte| byte.is_ascii_digit()));
    let (day, time) = text.strip_suffix('Z')?.split_once('T')?;
    if (day.len(), time.len()) != (8, 6) {
        return None;
    }
    let extended = format!(
        "{}-{}-{}T{}:{}:{}Z",
        part(0..4)?,
        part(4..6)?,
        part(6..8)?,
        part(9..11)?,
        part(11..13)?,
        part(13..15)?
    );
    Timestamp::parse_rfc3339(&extended).ok()
}

pub(super) fn expired() -> VendorRefusal {
    VendorRefusal::new(400, "InvalidTimestamp", "The Signature of the request is expired.").numbered(100_006)
}

fn invalid_authorization() -> VendorRefusal {
    let message = "Invalid 'Authorization' header, Pls check authorization header.";
    VendorRefusal::new(400, "InvalidAuthorization", message)
}

fn invalid_credential() -> VendorRefusal {
    let message = "Invalid credential in 'Authorization', Pls check credential in authorization header.";
    VendorRefusal::new(400, "InvalidCredential", message)
}

fn invalid_token(why: &str) -> VendorRefusal {
    VendorRefusal::new(401, "InvalidSecretToken", format!("Invalid secret token, msg: {why}."))
}

fn mismatch() -> VendorRefusal {
    let message = "The request signature we calculated does not match the signature you provided. \
                   Check your Secret Access Key and signing method.";
    VendorRefusal::new(401, "SignatureDoesNotMatch", message).numbered(100_010)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn basic_dates_are_read_strictly() {
        assert_eq!(basic_date("20260901T083015Z"), Timestamp::parse_rfc3339("2026-09-01T08:30:15Z").ok());
        for wrong in
            ["", "2026-09-01T08:30:15Z", "20260901T083015", "20260901T08301Z", "2026090aT083015Z", "20261301T083015Z"]
        {
            assert_eq!(basic_date(wrong), None, "{wrong}");
        }
    }
}
