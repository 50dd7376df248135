//! What the planner needs of a metered client, whatever its type.

use std::time::Duration;

use futures_util::future::{BoxFuture, FutureExt};

use crate::domain::{CallError, Operation, Sent, Slice};
use crate::quota::{Audience, Call, Limiter, Metered, Permit};

/// The way to the vendor. The one place where the client's type is let go: a box for each call, and no bounds above.
pub(super) trait Upstream<O: Operation>: Send + Sync {
    /// The permits that calls are made with.
    fn limiter(&self) -> &Limiter;

    /// Why no call is made now; `None` while the vendor is asked.
    fn refusal(&self) -> Option<CallError>;

    /// Whether the last that is known of the vendor is that it fails: the next call finds out.
    fn is_failing(&self) -> bool;

    /// Makes a call, as [`Metered::run`] does.
    fn run<'a>(
        &'a self,
        call: &'a Slice<O::Subject>,
        permit: Permit,
        queue_wait: Duration,
        audience: &'a dyn Audience,
    ) -> BoxFuture<'a, Result<Sent<O::Answer>, CallError>>;
}

impl<O, C> Upstream<O> for Metered<C>
where
    O: Operation,
    C: Call<Request = Slice<O::Subject>, Answer = Sent<O::Answer>>,
{
    fn limiter(&self) -> &Limiter {
        Metered::limiter(self)
    }

    fn refusal(&self) -> Option<CallError> {
        Metered::refusal(self)
    }

    fn is_failing(&self) -> bool {
        Metered::is_failing(self)
    }

    fn run<'a>(
        &'a self,
        call: &'a Slice<O::Subject>,
        permit: Permit,
        queue_wait: Duration,
        audience: &'a dyn Audience,
    ) -> BoxFuture<'a, Result<Sent<O::Answer>, CallError>> {
        Metered::run(self, call, permit, queue_wait, audience).boxed()
    }
}
