//! What every resolver of one request shares.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use async_graphql::parser::types::{Selection, SelectionSet};
use async_graphql::{Context, Result};
use tokio::sync::Semaphore;

use super::answer::{Answer, MAX_ERRORS};
use super::error::{self, Nullable};
use crate::domain::{LimitName, Reservation};
use crate::error::WeirError;
use crate::query::Request;

/// What every resolver of one request shares.
#[derive(Debug)]
pub(super) struct RequestContext {
    /// The request as all doors ask it.
    pub(super) query: Request,
    /// The bytes that the answer may still grow by.
    room: AtomicUsize,
    /// The bytes of what is held to make the answer from.
    beside: AtomicUsize,
    /// Entries of lists that have failed.
    n_failed: AtomicUsize,
    answer_bytes: usize,
    /// What the answer has taken so far of the memory for all of them.
    pub(super) reserved: Arc<Reservation>,
    /// Whether that was too little.
    is_crowded_out: AtomicBool,
    /// Whether long lists are written in one go.
    pub(super) writes_raw: bool,
    /// Turns to write a long list.
    pub(super) long_lists: Arc<Semaphore>,
}

impl RequestContext {
    /// The answer may have `answer_bytes`, which are reserved as they are needed.
    pub(super) fn new(
        query: Request,
        answer_bytes: usize,
        reserved: Arc<Reservation>,
        writes_raw: bool,
        long_lists: Arc<Semaphore>,
    ) -> Self {
        let (room, beside, n_failed) = (AtomicUsize::new(answer_bytes), AtomicUsize::new(0), AtomicUsize::new(0));
        let is_crowded_out = AtomicBool::new(false);
        Self { query, room, beside, n_failed, answer_bytes, reserved, is_crowded_out, writes_raw, long_lists }
    }

    /// The bytes that the answer may still grow by.
    pub(super) fn room(&self) -> usize {
        self.room.load(Ordering::Relaxed)
    }

    /// Takes `bytes` of the answer's room, before they are made.
    pub(super) fn take_room(&self, bytes: usize) -> std::result::Result<(), WeirError> {
        let taken = self.room.try_update(Ordering::Relaxed, Ordering::Relaxed, |room| room.checked_sub(bytes));
        taken.map_err(|_| self.too_large())?;
        self.reserve()
    }

    /// Takes `bytes` for what the answer is made from: they are no part of it, and held until it is made.
    pub(super) fn take_beside(&self, bytes: usize) -> std::result::Result<(), WeirError> {
        self.beside.fetch_add(bytes, Ordering::Relaxed);
        self.reserve()
    }

    /// Reserves what is taken so far of the memory for all answers. Little is not counted.
    fn reserve(&self) -> std::result::Result<(), WeirError> {
        let made = self.answer_bytes.saturating_sub(self.room());
        let (bytes, most) = (made.saturating_add(self.beside.load(Ordering::Relaxed)), self.reserved.pool().most());
        if bytes <= Answer::SMALL || self.reserved.try_resize_alone(bytes, most) {
            return Ok(());
        }
        self.is_crowded_out.store(true, Ordering::Relaxed);
        Err(WeirError::no_room(LimitName::HeldAnswerBytes, most))
    }

    /// Whether other answers have left too little memory for this one: it is not made any further.
    pub(super) fn is_crowded_out(&self) -> bool {
        self.is_crowded_out.load(Ordering::Relaxed)
    }

    /// What is said of an answer that has no more room; it is counted as refused.
    pub(super) fn too_large(&self) -> WeirError {
        self.query.refused(LimitName::AnswerBytes);
        let most = self.answer_bytes;
        let message =
            format!("the answer would be longer than {most} bytes, the limit of this gateway; ask for less at a time");
        WeirError::exceeding(LimitName::AnswerBytes, message, most, None::<usize>)
    }

    /// An entry of a list that failed: null with its error beside it, or null alone where there are errors enough.
    pub(super) fn failed<T>(&self, error: &WeirError) -> Nullable<T> {
        let n_before = self.n_failed.fetch_add(1, Ordering::Relaxed);
        (n_before < MAX_ERRORS).then(|| Err(error::failed(error)))
    }

    /// How many entries of lists failed without an error beside them.
    pub(super) fn n_untold(&self) -> usize {
        self.n_failed.load(Ordering::Relaxed).saturating_sub(MAX_ERRORS)
    }
}

/// The context of the request that a resolver runs in.
pub(super) fn request<'a>(context: &Context<'a>) -> Result<&'a RequestContext> {
    context.data::<Arc<RequestContext>>().map(AsRef::as_ref)
}

/// The bytes that an entry of a list takes while the answer is made, what is selected inside its fields not counted.
pub(super) fn entry_width(context: &Context<'_>) -> usize {
    own_width(&context.item.node.selection_set.node)
}

/// The bytes that an object takes while the engine makes it, with all that is selected inside its fields.
pub(super) fn object_width(set: &SelectionSet) -> usize {
    let inner = set.items.iter().map(|selection| match &selection.node {
        Selection::Field(field) if !field.node.selection_set.node.items.is_empty() => {
            object_width(&field.node.selection_set.node)
        }
        _ => 0,
    });
    inner.sum::<usize>() + own_width(set)
}

/// Its keys, and what the engine needs for each value.
fn own_width(set: &SelectionSet) -> usize {
    const BYTES_A_VALUE: usize = 96;
    let keys = set.items.iter().map(|selection| match &selection.node {
        Selection::Field(field) => field.node.response_key().node.len() + BYTES_A_VALUE,
        Selection::FragmentSpread(_) | Selection::InlineFragment(_) => BYTES_A_VALUE,
    });
    keys.sum::<usize>() + BYTES_A_VALUE
}
