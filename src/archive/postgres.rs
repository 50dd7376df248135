//! An archive in a database of PostgreSQL, which replicas and other tools share: its tables are in the schema `weir`.
//!
//! It is connected to when it is first needed, so that one that was down when weir began is used once it is there.

mod address;
mod arrays;
mod fault;
mod lead;
mod link;
mod locks;
mod schema;
mod slices;
mod upkeep;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use deadpool_postgres::ClientWrapper;
use futures_util::future::BoxFuture;
use tokio::sync::{Mutex, OnceCell};

use super::upkeep::in_order;
use super::{
    Archive, ArchiveError, ArchiveErrorKind, Collected, Dated, Extent, Holding, Miscount, RestatedNumber, TableName,
    Want, Written,
};
use crate::domain::dataset::Value;
use crate::domain::{ArchiveKey, ArchivedSlice, Window};
use address::Address;
use fault::Fault;
use lead::Leader;
use link::{Lease, Link};

/// How long an answer is waited for: that of a read, of a write, of what reads whole tables, and of a migration, which may have
/// to wait for another.
const READ: Duration = Duration::from_secs(20);
const WRITE: Duration = Duration::from_mins(1);
const ALL: Duration = Duration::from_hours(1);
const MIGRATE: Duration = Duration::from_mins(10);

/// An archive in a database. Cheap to clone.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    link: Link,
    reader: String,
    prepared: OnceCell<()>,
    leader: Mutex<Option<Leader>>,
}

impl Postgres {
    /// The archive at `url`, which the role `reader` may read unless that is empty. Nothing is connected to yet.
    ///
    /// # Errors
    /// A url that makes no sense.
    pub fn new(url: &str, reader: &str) -> Result<Self, ArchiveError> {
        let link = Address::parse(url).and_then(Link::new).map_err(|message| ArchiveError {
            kind: ArchiveErrorKind::Misconfigured,
            place: "at `[archive] url`".to_owned(),
            message,
        })?;
        let (reader, prepared, leader) = (reader.to_owned(), OnceCell::new(), Mutex::default());
        Ok(Self(Arc::new(Inner { link, reader, prepared, leader })))
    }

    /// A connection to a database whose tables are as they should be.
    async fn lease(&self) -> Result<Lease, ArchiveError> {
        let Inner { link, reader, prepared, .. } = &*self.0;
        let prepare = || async {
            let lease = link.lease().await?;
            link.within(MIGRATE, schema::prepare(&lease, reader)).await?;
            lease.done();
            Ok(())
        };
        prepared.get_or_try_init(prepare).await?;
        link.lease().await
    }

    /// Does a piece of work on a connection of its own. If it fails or is given up, nobody else gets that connection.
    fn run<'a, T: Send + 'a>(
        &'a self,
        patience: Duration,
        work: impl for<'c> FnOnce(&'c ClientWrapper) -> BoxFuture<'c, Result<T, Fault>> + Send + 'a,
    ) -> BoxFuture<'a, Result<T, ArchiveError>> {
        Box::pin(async move {
            let lease = self.lease().await?;
            let done = self.0.link.within(patience, work(&lease)).await?;
            lease.done();
            Ok(done)
        })
    }
}

impl Archive for Postgres {
    fn prepare(&self) -> BoxFuture<'_, Result<(), ArchiveError>> {
        Box::pin(async { self.lease().await.map(Lease::done) })
    }

    fn read(&self, wants: Vec<Want>) -> BoxFuture<'_, Result<Vec<Vec<ArchivedSlice>>, ArchiveError>> {
        self.run(READ, move |client| Box::pin(async move { slices::read(client, &wants).await }))
    }

    fn write(&self, slices: Arc<Vec<Dated>>) -> BoxFuture<'_, Result<Written, ArchiveError>> {
        self.run(WRITE, move |client| Box::pin(async move { write::write(client, &slices).await }))
    }

    fn collected(&self, key: ArchiveKey, span: Window) -> BoxFuture<'_, Result<Vec<Collected>, ArchiveError>> {
        self.run(READ, move |client| Box::pin(async move { slices::collected(client, &key, span).await }))
    }

    fn lead(&self) -> BoxFuture<'_, Result<bool, ArchiveError>> {
        Box::pin(async {
            let link = &self.0.link;
            let mut leader = self.0.leader.lock().await;
            link.within(lead::PATIENCE, lead::lead(&link.address, &mut leader)).await
        })
    }

    fn extent(&self) -> BoxFuture<'_, Result<Option<Extent>, ArchiveError>> {
        self.run(ALL, |client| Box::pin(upkeep::extent(client)))
    }

    fn holdings(&self) -> BoxFuture<'_, Result<Vec<Holding>, ArchiveError>> {
        let holdings = self.run(ALL, |client| Box::pin(upkeep::holdings(client)));
        Box::pin(async {
            let mut holdings = holdings.await?;
            in_order(&mut holdings);
            Ok(holdings)
        })
    }

    fn size(&self) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        self.run(READ, |client| Box::pin(upkeep::size(client)))
    }

    fn restated(&self, limit: usize) -> BoxFuture<'_, Result<(u64, Vec<RestatedNumber>), ArchiveError>> {
        self.run(READ, move |client| Box::pin(upkeep::restated(client, limit)))
    }

    fn note(&self, lines: Vec<Vec<Value>>) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        self.run(WRITE, move |client| Box::pin(async move { write::note_lines(client, &lines).await }))
    }

    fn miscounts(&self) -> BoxFuture<'_, Result<Vec<Miscount>, ArchiveError>> {
        self.run(ALL, |client| Box::pin(upkeep::miscounts(client)))
    }

    fn dump(&self, table: TableName, span: Window) -> BoxFuture<'_, Result<Vec<Vec<Value>>, ArchiveError>> {
        self.run(ALL, move |client| Box::pin(upkeep::dump(client, table, span)))
    }

    fn forget(&self, phone: String) -> BoxFuture<'_, Result<u64, ArchiveError>> {
        self.run(ALL, move |client| Box::pin(async move { upkeep::forget(client, &phone).await }))
    }
}
impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.0.link).finish()
    }
}
