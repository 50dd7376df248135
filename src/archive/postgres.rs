//! An archive in a database of PostgreSQL, which replicas and other tools share: its tables are in the schema `weir`.
//!
//! It is connected to when it is first needed, so that one that was down when weir began is used once it is there.

mod address;
mod arrays;
mod fault;
mod link;
mod locks;
mod schema;
mod slices;
mod write;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use futures_util::future::BoxFuture;
use tokio::sync::OnceCell;

use super::{Archive, ArchiveError, ArchiveErrorKind, Collected, Dated, Want, Written};
use crate::domain::{ArchiveKey, ArchivedSlice, Window};
use address::Address;
use link::{Lease, Link};

/// How long an answer is waited for: that of a read, of a write, and of a migration, which may have to wait for another.
const READ: Duration = Duration::from_secs(20);
const WRITE: Duration = Duration::from_mins(1);
const MIGRATE: Duration = Duration::from_mins(10);

/// An archive in a database. Cheap to clone.
#[derive(Clone)]
pub struct Postgres(Arc<Inner>);

struct Inner {
    link: Link,
    reader: String,
    prepared: OnceCell<()>,
}

impl Postgres {
    /// The archive at `url`, which the role `reader` may read unless that is empty. Nothing is connected to yet.
    ///
    /// # Errors
    /// A url that makes no sense.
    pub fn new(url: &str, reader: &str) -> Result<Self, ArchiveError> {
        let address = Address::parse(url).and_then(Link::new).map_err(|message| ArchiveError {
            kind: ArchiveErrorKind::Misconfigured,
            place: "at `[archive] url`".to_owned(),
            message,
        })?;
        let (reader, prepared) = (reader.to_owned(), OnceCell::new());
        Ok(Self(Arc::new(Inner { link: address, reader, prepared })))
    }

    /// A connection to a database whose tables are as they should be.
    async fn lease(&self) -> Result<Lease, ArchiveError> {
        let Inner { link, reader, prepared } = &*self.0;
        let prepare = || async {
            let lease = link.lease().await?;
            link.within(MIGRATE, schema::prepare(&lease, reader)).await?;
            lease.done();
            Ok(())
        };
        prepared.get_or_try_init(prepare).await?;
        link.lease().await
    }
}

impl Archive for Postgres {
    fn prepare(&self) -> BoxFuture<'_, Result<(), ArchiveError>> {
        Box::pin(async { self.lease().await.map(Lease::done) })
    }

    fn read(&self, wants: Vec<Want>) -> BoxFuture<'_, Result<Vec<Vec<ArchivedSlice>>, ArchiveError>> {
        Box::pin(async move {
            let lease = self.lease().await?;
            let found = self.0.link.within(READ, slices::read(&lease, &wants)).await?;
            lease.done();
            Ok(found)
        })
    }

    fn write(&self, slices: Arc<Vec<Dated>>) -> BoxFuture<'_, Result<Written, ArchiveError>> {
        Box::pin(async move {
            let lease = self.lease().await?;
            let written = self.0.link.within(WRITE, write::write(&lease, &slices)).await?;
            lease.done();
            Ok(written)
        })
    }

    fn collected(&self, key: ArchiveKey, span: Window) -> BoxFuture<'_, Result<Vec<Collected>, ArchiveError>> {
        Box::pin(async move {
            let lease = self.lease().await?;
            let found = self.0.link.within(READ, slices::collected(&lease, &key, span)).await?;
            lease.done();
            Ok(found)
        })
    }
}

impl fmt::Debug for Postgres {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Postgres").field(&self.0.link).finish()
    }
}
