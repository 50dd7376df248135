//! Neighbouring slices that are held together, so that looking up a run of them costs one hash for each block. A block is
//! never changed, only replaced.

use std::sync::{Arc, Weak};
use std::time::Duration;

use moka::Expiry;
use tokio::time::Instant;

use crate::domain::{Held, Window};

/// How many cells of a grid are held together.
const CELLS: u32 = 32;
/// What a block weighs beside what it holds: key, handles and the cache's own book-keeping, roughly.
const BLOCK_BYTES: u32 = 600;
/// What a slice weighs beside its rows.
const HELD_BYTES: u32 = 100;

/// A slice of a block that weighs more is held by itself as well, so that the bound drops it alone: 32 of them might be more
/// than all that may be held.
const HEAVY_BYTES: u32 = 8 * 1024;

/// Slices of one subject: so many neighbours of a grid, or a single window.
#[derive(Debug)]
pub(super) struct Block<D> {
    cells: Vec<Cell<D>>,
}

/// What a block knows of one slice.
#[derive(Debug)]
pub(super) enum Cell<D> {
    Empty,
    Here(Arc<Held<D>>),
    /// It is held by itself, as long as it is.
    Apart(Weak<Held<D>>),
}

/// The window of the block that holds a slice, and where in it the slice is.
pub(super) fn place(window: Window, grid: Option<Duration>) -> (Window, usize) {
    let whole = (window, 0);
    let Some(step) = grid.filter(|step| !step.is_zero()) else { return whole };
    let start = window.start().floor(step * CELLS);
    let Some(block) = Window::new(start, start + step * CELLS) else { return whole };
    // Longer numbers are slow to divide.
    let [before, step] = [window.start().since(start), step].map(|span| usize::try_from(span.as_millis()).unwrap_or(1));
    (block, before / step.max(1))
}

/// Whether a slice among others is held by itself.
pub(super) fn is_heavy<D>(held: &Held<D>) -> bool {
    held.bytes > HEAVY_BYTES
}

impl<D> Block<D> {
    /// A single window, or a slice that is held by itself.
    pub(super) fn of_one(held: &Arc<Held<D>>) -> Self {
        Self { cells: vec![Cell::Here(Arc::clone(held))] }
    }

    /// What is `known`, with what was `fetched` in its places. An older result never replaces a newer one that is fresh,
    /// and a settled slice is never replaced: it comes in the other's stead. What is past its time gives way whatever its
    /// instant says: the clock may have been set back since. Each that was fetched with whether it is held by itself.
    pub(super) fn with<'a>(
        known: Option<&Self>,
        fetched: impl Iterator<Item = (usize, bool, &'a mut Arc<Held<D>>)>,
        now: Instant,
    ) -> Self
    where
        D: 'a,
    {
        let is_of_use = |held: &Arc<Held<D>>| held.stale_until.is_none_or(|until| now < until);
        let mut cells = known.map_or_else(Vec::new, |known| known.only(is_of_use));
        for (at, is_apart, held) in fetched {
            cells.resize_with(cells.len().max(at + 1), || Cell::Empty);
            match cells[at].held() {
                Some(old) if old.is_settled() || (old.sent_at > held.sent_at && old.is_fresh(now)) => *held = old,
                _ if is_apart => cells[at] = Cell::Apart(Arc::downgrade(held)),
                _ => cells[at] = Cell::Here(Arc::clone(held)),
            }
        }
        Self { cells }
    }

    /// The same without its empty slices, if it has any; with nothing in it if it has no others.
    pub(super) fn without_empty(&self) -> Option<Self> {
        let is_empty = |cell: &Cell<D>| cell.held().is_some_and(|held| held.is_empty);
        self.cells.iter().any(is_empty).then(|| Self { cells: self.only(|held| !held.is_empty) })
    }

    fn only(&self, is_kept: impl Fn(&Arc<Held<D>>) -> bool) -> Vec<Cell<D>> {
        let kept =
            |cell: &Cell<D>| if cell.held().is_some_and(|held| is_kept(&held)) { cell.clone() } else { Cell::Empty };
        self.cells.iter().map(kept).collect()
    }

    pub(super) fn cell(&self, at: usize) -> Option<&Cell<D>> {
        self.cells.get(at)
    }

    /// What it weighs in memory. Neighbours that are one and the same are counted once.
    pub(super) fn bytes(&self) -> u32 {
        let places = u32::try_from(size_of_val(self.cells.as_slice())).unwrap_or(u32::MAX);
        let (mut bytes, mut last) = (BLOCK_BYTES.saturating_add(places), None);
        for cell in &self.cells {
            let Cell::Here(held) = cell else { continue };
            if !last.is_some_and(|last| Arc::ptr_eq(last, held)) {
                bytes = bytes.saturating_add(held.bytes).saturating_add(HELD_BYTES);
            }
            last = Some(held);
        }
        bytes
    }

    /// From when on none of it may even be served as stale; `None` if that never comes.
    fn useless_from(&self) -> Option<Instant> {
        let until = self.cells.iter().filter_map(Cell::held).map(|held| held.stale_until);
        // `None` is later than every instant here.
        until.reduce(|one, other| Some(one?.max(other?))).unwrap_or_else(|| Some(Instant::now()))
    }
}

impl<D> Cell<D> {
    /// What is held, here or by itself.
    pub(super) fn held(&self) -> Option<Arc<Held<D>>> {
        match self {
            Self::Empty => None,
            Self::Here(held) => Some(Arc::clone(held)),
            Self::Apart(held) => held.upgrade(),
        }
    }
}

impl<D> Clone for Cell<D> {
    fn clone(&self) -> Self {
        match self {
            Self::Empty => Self::Empty,
            Self::Here(held) => Self::Here(Arc::clone(held)),
            Self::Apart(held) => Self::Apart(Weak::clone(held)),
        }
    }
}

/// Lets moka drop what is of no use any more.
pub(super) struct UntilUseless;

impl<K, D> Expiry<K, Arc<Block<D>>> for UntilUseless {
    fn expire_after_create(&self, _: &K, block: &Arc<Block<D>>, _: std::time::Instant) -> Option<Duration> {
        block.useless_from().map(|from| from.saturating_duration_since(Instant::now()))
    }

    fn expire_after_update(
        &self,
        key: &K,
        block: &Arc<Block<D>>,
        updated_at: std::time::Instant,
        _: Option<Duration>,
    ) -> Option<Duration> {
        self.expire_after_create(key, block, updated_at)
    }
}
