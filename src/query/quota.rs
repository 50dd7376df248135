//! The permits of every operation of every configured account.

use super::catalog::Catalog;
use crate::domain::{Account, Caller};
use crate::loader::{Status, Stores};
use crate::quota::QuotaStatus;

/// The permits of one operation of one account.
#[derive(Debug, Clone)]
pub struct Quota<'a> {
    /// Whose.
    pub account: &'a Account,
    /// The vendor's name for what is counted.
    pub operation: &'static str,
    /// Calls a second at most.
    pub permits: u32,
    /// How it stands.
    pub status: QuotaStatus,
    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    pub is_failing: bool,
}

impl<'a> Quota<'a> {
    /// All of them, in the order of the accounts, with the waits of `caller`.
    pub(super) fn all(catalog: &'a Catalog, stores: &'a Stores, caller: Caller) -> impl Iterator<Item = Self> {
        catalog.accounts.iter().flat_map(move |account| {
            let statuses = stores.statuses(account, &caller).into_iter();
            statuses.map(move |Status { operation, permits, quota: status, is_failing }| Self {
                account,
                operation,
                permits,
                status,
                is_failing,
            })
        })
    }
}
