//! The vendor's own words, and the checks that turn its rows into ours.
//!
//! Tolerant where the vendor is known to be sloppy: unknown fields, `Data` null or absent, numbers as integers, floats
//! or strings, an echoed `Dimension` in any case, `CodeN` absent. Strict where a wrong number could get through.

use std::borrow::Cow;

use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::operation_distributions::{DistributionSubject, Share};
use crate::domain::time::SECOND;
use crate::domain::{DistinctUsers, Timestamp, Window};
use crate::vendor::loose::number;

/// The version that wants the indicator as `user_num`; its page documents that name and sends the other in its example.
const VERSION_OF_USER_NUM: &str = "2020-12-01";

/// The body of a question for `subject` over `window`: compact JSON, times in UTC, which needs no zone here.
///
/// # Errors
/// None that text can cause.
pub(super) fn distribution_body(
    subject: &DistributionSubject,
    window: Window,
    version: &str,
) -> serde_json::Result<String> {
    serde_json::to_string(&Body {
        app_id: subject.app.as_str(),
        start_time: rfc3339(window.start()),
        end_time: rfc3339(window.end()),
        indicator: if version == VERSION_OF_USER_NUM { "user_num" } else { "user_count" },
        dimension: subject.dimension.as_str(),
    })
}

#[derive(Serialize)]
#[serde(rename_all = "PascalCase")]
struct Body<'a> {
    app_id: &'a str,
    start_time: String,
    end_time: String,
    indicator: &'static str,
    dimension: &'static str,
}

/// The vendor's unit is the second; windows begin and end on whole ones.
fn rfc3339(at: Timestamp) -> String {
    at.floor(SECOND).to_string()
}

/// What every reply has, good or bad; the result stays unread until the reply is known to be good.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Envelope<'a> {
    #[serde(borrow, default)]
    pub(super) response_metadata: Option<Metadata<'a>>,
    #[serde(borrow, default)]
    pub(super) result: Option<&'a RawValue>,
}

impl Envelope<'_> {
    pub(super) fn request_id(&self) -> Option<&str> {
        self.response_metadata.as_ref()?.request_id.as_deref()
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct Metadata<'a> {
    #[serde(borrow, default)]
    pub(super) request_id: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    pub(super) error: Option<VendorError<'a>>,
}

/// `CodeN` is left unread: only some of the vendor's parts send it.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
pub(super) struct VendorError<'a> {
    #[serde(borrow, default)]
    pub(super) code: Option<Cow<'a, str>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Distribution<'a> {
    #[serde(borrow, default)]
    name: Option<Cow<'a, str>>,
    #[serde(borrow, default)]
    dimension: Option<Cow<'a, str>>,
    #[serde(default)]
    data: Option<Vec<Row>>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    distribution_name: String,
    #[serde(deserialize_with = "number")]
    value: f64,
    #[serde(deserialize_with = "number")]
    proportion: f64,
}

/// The shares of a successful reply to a question for `asked`, ordered by users descending, then name. Equal duplicates
/// collapse. `None` if the result holds no list of rows, not even an empty one.
///
/// # Errors
/// Why the reply makes no sense. The reason repeats nothing of the reply.
pub(super) fn shares(
    result: Option<&RawValue>,
    asked: &DistributionSubject,
) -> Result<Option<Vec<Share>>, &'static str> {
    // serde would take an array for a struct, and an empty one for a result without rows.
    let result = result.filter(|result| result.get().starts_with('{')).ok_or("it holds no result")?;
    let distribution: Distribution<'_> =
        serde_json::from_str(result.get()).map_err(|_not_shown| "a row is not what the vendor documents")?;
    if distribution.name.is_some_and(|name| !["user_num", "user_count"].contains(&name.as_ref())) {
        return Err("it is about another indicator than the one asked for");
    }
    if distribution.dimension.is_some_and(|text| !text.eq_ignore_ascii_case(asked.dimension.as_str())) {
        return Err("it has another dimension than the one asked for");
    }
    let Some(rows) = distribution.data else { return Ok(None) };
    let shares: Result<Vec<_>, _> = rows.into_iter().map(Row::check).collect();
    let mut shares = shares?;
    shares.sort_by(|a, b| a.name.cmp(&b.name));
    shares.dedup();
    if shares.windows(2).any(|pair| pair[0].name == pair[1].name) {
        return Err("two rows of one name differ");
    }
    shares.sort_by(|a, b| b.users.as_f64().total_cmp(&a.users.as_f64()));
    Ok(Some(shares))
}

impl Row {
    fn check(self) -> Result<Share, &'static str> {
        let users = DistinctUsers::new(self.value).ok_or("a row counts less than nobody")?;
        if !self.proportion.is_finite() || self.proportion < 0.0 {
            return Err("a row has a proportion that is none");
        }
        Ok(Share { name: self.distribution_name, users, proportion: self.proportion })
    }
}

#[cfg(test)]
mod tests;
