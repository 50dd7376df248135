//! What a field hands to its batch, and what it gets back, of any operation.

use std::any::Any;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

use crate::domain::{Operation, Slice};
use crate::error::WeirError;
use crate::store::Ticket;

/// The wants of one field, of the operation of one store.
pub(super) type Wants<O> = Vec<Slice<<O as Operation>::Subject>>;
/// What a field is answered: its ticket, or why it failed as a whole.
pub(super) type Answer<O> = Result<Ticket<<O as Operation>::Data>, Arc<WeirError>>;

/// One field's wants, by the order in which the fields asked: fields are admitted in that order, and two fields that
/// want the same meet at the scheduler, where it is counted.
#[derive(Clone, Debug)]
pub(super) struct Key {
    pub(super) id: u64,
    /// The place of its store.
    pub(super) store: usize,
    /// [`Wants`] of the store's operation.
    wants: Arc<dyn Any + Send + Sync>,
}

/// What a field is answered.
#[derive(Clone)]
pub(super) enum Gathered {
    /// An [`Answer`] of the store's operation.
    Answered(Arc<dyn Any + Send + Sync>),
    /// Only the plan was wanted.
    Explained,
}

impl Key {
    pub(super) fn new<O: Operation>(id: u64, store: usize, wants: Wants<O>) -> Self {
        Self { id, store, wants: Arc::new(wants) }
    }

    /// Its wants; none if they are another operation's.
    pub(super) fn wants<O: Operation>(&self) -> &[Slice<O::Subject>] {
        self.wants.downcast_ref::<Wants<O>>().map(Vec::as_slice).unwrap_or_default()
    }
}

impl PartialEq for Key {
    fn eq(&self, other: &Self) -> bool {
        self.id == other.id
    }
}

impl Eq for Key {}

impl Hash for Key {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.id.hash(state);
    }
}

impl Gathered {
    pub(super) fn of<O: Operation>(answer: Answer<O>) -> Self {
        Self::Answered(Arc::new(answer))
    }
}
