//! Which of several replicas collects: the one whose archive says so and, where each replica has an archive of its own, the
//! one that holds a lease in Redis.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use redis::Script;

use super::Lead;
use crate::archive::Archive;
use crate::redis::Redis;

/// How long a lease lasts if it is not renewed; whoever collects renews it every minute at the latest.
const LEASE: Duration = Duration::from_mins(3);

/// Answers whether the lease is ours now, taken or renewed.
const TAKE: &str = r"
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('PEXPIRE', KEYS[1], ARGV[2]) return 1 end
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then return 1 end
return 0";

/// The one process that collects.
#[derive(Debug)]
pub struct Collector {
    archive: Arc<dyn Archive>,
    /// Where the archive is this process's alone, and others are known.
    link: Option<Redis>,
    take: Script,
}

impl Collector {
    /// Whoever leads the archive; with a `link`, whoever holds the lease there, too.
    #[must_use]
    pub fn new(archive: Arc<dyn Archive>, link: Option<Redis>) -> Self {
        Self { archive, link, take: Script::new(TAKE) }
    }

    async fn holds_lease(&self) -> bool {
        let Some(link) = &self.link else { return true };
        let mut invocation = self.take.prepare_invoke();
        let lease = u64::try_from(LEASE.as_millis()).unwrap_or(u64::MAX);
        invocation.key(Redis::name("collector", "archive")).arg(link.replica()).arg(lease);
        // Nobody collects while Redis is away: no call may be made without its permits either.
        link.run(async |connection| invocation.invoke_async::<bool>(connection).await).await.unwrap_or(false)
    }
}

impl Lead for Collector {
    fn leads(&self) -> BoxFuture<'_, bool> {
        Box::pin(async {
            let leads = self.archive.lead().await.unwrap_or_else(|error| {
                tracing::debug!(%error, "it is not known who collects");
                false
            });
            leads && self.holds_lease().await
        })
    }
}
