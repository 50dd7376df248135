//! Connections to PostgreSQL: a few that are used in turn, each put away when its work was not finished.

use std::fmt;
use std::ops::Deref;
use std::time::Duration;

use deadpool_postgres::{
    ClientWrapper, Hook, HookError, Manager, ManagerConfig, Object, Pool, PoolError, RecyclingMethod, Runtime,
    TimeoutType,
};
use tokio_postgres::NoTls;

use super::super::{ArchiveError, ArchiveErrorKind};
use super::address::Address;
use super::fault::{Fault, explain};

/// The most connections of a process, beside the one by which it leads.
const CONNECTIONS: usize = 8;
/// How long a connection is waited for.
const WAIT: Duration = Duration::from_secs(5);
/// How long a query may be asked to stop.
const CANCEL: Duration = Duration::from_secs(2);

/// What every connection begins with. Plans are made for what is asked and for the tables as they are now: one that was
/// made while they were empty reads all of them. A server forgets a process that has vanished within half a minute, and
/// with it its locks; and it ends what nobody waits for any more.
pub(super) const SESSION: &str = "
    SET search_path = weir, pg_temp;
    SET plan_cache_mode = force_custom_plan;
    SET jit = off;
    SET statement_timeout = '60s';
    SET idle_in_transaction_session_timeout = '60s';
    SET tcp_keepalives_idle = 10;
    SET tcp_keepalives_interval = 5;
    SET tcp_keepalives_count = 3;
    SET client_min_messages = warning";

/// The way to one database.
pub(super) struct Link {
    pub(super) address: Address,
    pool: Pool,
}

impl Link {
    /// A way that nobody has gone yet.
    ///
    /// # Errors
    /// Never, as it is configured.
    pub(super) fn new(address: Address) -> Result<Self, String> {
        let settings = ManagerConfig { recycling_method: RecyclingMethod::Fast };
        let manager = match &address.tls {
            None => Manager::from_config(address.config.clone(), NoTls, settings),
            Some(tls) => Manager::from_config(address.config.clone(), tls.clone(), settings),
        };
        let begin = Hook::async_fn(|client: &mut ClientWrapper, _| {
            Box::pin(async move { client.batch_execute(SESSION).await.map_err(HookError::Backend) })
        });
        let pool = Pool::builder(manager)
            .max_size(CONNECTIONS)
            .runtime(Runtime::Tokio1)
            .wait_timeout(Some(WAIT))
            .create_timeout(Some(WAIT))
            .recycle_timeout(Some(WAIT))
            .post_create(begin)
            .build()
            .map_err(|error| error.to_string())?;
        Ok(Self { address, pool })
    }

    /// A connection for one piece of work.
    ///
    /// # Errors
    /// None can be made, or all are busy.
    pub(super) async fn lease(&self) -> Result<Lease, ArchiveError> {
        let object = self.pool.get().await.map_err(|error| match error {
            PoolError::Backend(error) | PoolError::PostCreateHook(HookError::Backend(error)) => {
                self.explain(&Fault::Connecting(error))
            }
            PoolError::Timeout(TimeoutType::Wait) => self.unavailable("has more to do than it can"),
            PoolError::Timeout(_) => self.unavailable(&format!("does not answer within {WAIT:?}")),
            other => self.unavailable(&other.to_string()),
        })?;
        Ok(Lease { object: Some(object), address: self.address.clone() })
    }

    /// What `work` brings, if it takes no longer than `patience`.
    ///
    /// # Errors
    /// It fails, or takes longer.
    pub(super) async fn within<T>(
        &self,
        patience: Duration,
        work: impl Future<Output = Result<T, Fault>>,
    ) -> Result<T, ArchiveError> {
        match tokio::time::timeout(patience, work).await {
            Ok(done) => done.map_err(|fault| self.explain(&fault)),
            Err(_) => Err(self.unavailable(&format!("has not answered for {patience:?}"))),
        }
    }

    pub(super) fn explain(&self, fault: &Fault) -> ArchiveError {
        explain(&self.address.place, fault)
    }

    fn unavailable(&self, message: &str) -> ArchiveError {
        let (place, message) = (self.address.place.clone(), message.to_owned());
        ArchiveError { kind: ArchiveErrorKind::Unavailable, place, message }
    }
}

impl fmt::Debug for Link {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.address.place)
    }
}

/// A connection while it is used. One that is dropped before its work is [`Lease::done`] may still be at it, or in the
/// middle of a transaction: it is closed, and the server is told to stop.
pub(super) struct Lease {
    object: Option<Object>,
    address: Address,
}

impl Lease {
    /// The work is finished: the connection may be used again.
    pub(super) fn done(mut self) {
        self.object = None;
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        let Some(object) = self.object.take() else { return };
        let (is_closed, token, tls) = (object.is_closed(), object.cancel_token(), self.address.tls.clone());
        drop(Object::take(object));
        // Without a runtime the process is ending, which the server will see.
        if is_closed {
            return;
        }
        let Ok(runtime) = tokio::runtime::Handle::try_current() else { return };
        runtime.spawn(tokio::time::timeout(CANCEL, async move {
            // Whether it was heard is not known either way; `statement_timeout` ends what was not stopped.
            drop(match tls {
                None => token.cancel_query(NoTls).await,
                Some(tls) => token.cancel_query(tls).await,
            });
        }));
    }
}

impl Deref for Lease {
    type Target = ClientWrapper;

    #[expect(clippy::expect_used, reason = "only the end of a lease takes it")]
    fn deref(&self) -> &ClientWrapper {
        self.object.as_ref().expect("a lease holds a connection until its end")
    }
}
