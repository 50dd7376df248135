//! Which of the processes that share a database collects: the one whose connection holds a lock. It is let go by the server
//! when the connection ends, however that came about.

use std::time::Duration;

use tokio::task::JoinHandle;
use tokio_postgres::{Client, NoTls};

use super::address::Address;
use super::fault::Fault;
use super::link::SESSION;
use super::locks;

/// How long the server may take to say that the lock is still held.
pub(super) const PATIENCE: Duration = Duration::from_secs(5);

/// A connection that is used for nothing else.
pub(super) struct Leader {
    client: Client,
    connection: JoinHandle<()>,
    leads: bool,
}

impl Leader {
    async fn connect(address: &Address) -> Result<Self, Fault> {
        let (client, connection) = match &address.tls {
            None => {
                let (client, connection) = address.config.connect(NoTls).await.map_err(Fault::Connecting)?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
            Some(tls) => {
                let (client, connection) = address.config.connect(tls.clone()).await.map_err(Fault::Connecting)?;
                (client, tokio::spawn(async move { drop(connection.await) }))
            }
        };
        let leader = Self { client, connection, leads: false };
        leader.client.batch_execute(SESSION).await?;
        Ok(leader)
    }

    /// Whether it leads, or leads from now on.
    async fn leads(&mut self) -> Result<bool, Fault> {
        if self.leads {
            // Whoever hears the server still has the lock.
            self.client.batch_execute("").await?;
        } else {
            let sql = "SELECT pg_try_advisory_lock($1)";
            self.leads = self.client.query_one(sql, &[&locks::LEAD]).await?.try_get(0)?;
        }
        Ok(self.leads)
    }
}

impl Drop for Leader {
    fn drop(&mut self) {
        self.connection.abort();
    }
}

/// Whether this process leads, by the connection that it has or by a new one. Cut off in the middle, or without an answer, it
/// has none afterwards.
pub(super) async fn lead(address: &Address, leader: &mut Option<Leader>) -> Result<bool, Fault> {
    if let Some(mut known) = leader.take()
        && let Ok(leads) = known.leads().await
    {
        *leader = Some(known);
        return Ok(leads);
    }
    let mut new = Leader::connect(address).await?;
    let leads = new.leads().await?;
    *leader = Some(new);
    Ok(leads)
}
