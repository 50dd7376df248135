//! Nobody calls a vendor without a [`Permit`], and only this module can make one.

mod permit;

use std::future::Future;

pub use permit::{Ending, Permit};

use crate::domain::CallError;

/// One kind of upstream call. A call consumes its permit; a retry needs another.
pub trait Call: Send + Sync + 'static {
    /// What to ask the vendor.
    type Request: Clone + Send + Sync + 'static;
    /// The parsed and checked reply.
    type Answer: Send + 'static;

    /// Makes exactly one request.
    fn call(
        &self,
        request: &Self::Request,
        permit: Permit,
    ) -> impl Future<Output = Result<Self::Answer, CallError>> + Send;
}
